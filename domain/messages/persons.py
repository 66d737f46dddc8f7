"""Who a person is, and what is leased of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from domain.entitlement import Entitlement


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonAsked:
    """A front-end asks who these persons are to the insurance, at registration."""

    KIND: ClassVar[str] = "person.asked"
    VERSION: ClassVar[int] = 1

    citizens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonAnswered:
    """The centre says who these persons are, and leases the front-end their accumulators for a while."""

    KIND: ClassVar[str] = "person.answered"
    VERSION: ClassVar[int] = 1

    entitlements: tuple[Entitlement, ...]
    settling_locally: tuple[str, ...] = ()
    """The institutions of this front-end that settle locally, by code; of its terms since, this is for older ones."""
    epoch: int = 1
