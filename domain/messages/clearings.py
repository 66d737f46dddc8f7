"""Clearings told to institutions, and what these say of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from domain.clearings import MonthHeld, ToldClearing


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingsAsked:
    """A front-end asks for the clearings of its institutions that are not as it was told."""

    KIND: ClassVar[str] = "clearings.asked"
    VERSION: ClassVar[int] = 1

    since: str
    """The first month it asks for, as 2026-03."""
    held: tuple[MonthHeld, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingsTold:
    """The centre tells all periods an institution has in these months."""

    KIND: ClassVar[str] = "clearings.told"
    VERSION: ClassVar[int] = 1

    institution_code: str
    months: tuple[str, ...]
    """Whole: a period that is not among `clearings` is not there any more."""
    clearings: tuple[ToldClearing, ...] = ()
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingDecided:
    """An institution confirms a clearing, or objects to it. Sent until it is heard; the same once more is one."""

    KIND: ClassVar[str] = "clearing.decided"
    VERSION: ClassVar[int] = 1

    institution_code: str
    period_no: int
    clearing_no: int
    """Whose figures were looked at."""
    decision: str
    """domain.clearings.Decision."""
    by: str
    """Who at the institution."""
    reason: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingHeard:
    """What became of an institution's decision."""

    KIND: ClassVar[str] = "clearing.heard"
    VERSION: ClassVar[int] = 1

    institution_code: str
    period_no: int
    clearing_no: int
    decision: str
    decided_at: datetime
    code: str
    """domain.clearings.Refused; empty: it was taken."""
    words: str
    epoch: int = 1
