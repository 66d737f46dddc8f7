"""Who serves whom on which terms, and institutions on the move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from domain.messages.claims import ClaimKey
from domain.terms import InstitutionTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsAsked:
    """A front-end says which terms it holds, and what it could settle with; the centre sends others if it has them."""

    KIND: ClassVar[str] = "terms.asked"
    VERSION: ClassVar[int] = 1

    digest: bytes
    """domain.terms.digest_of the terms it holds."""
    catalogue_version: str = ""
    """The catalogue in force there; empty: none."""
    policy_versions: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()
    """The institutions whose matches its catalogue holds."""
    short_codes: tuple[tuple[str, str], ...] = ()
    """(institution, first six characters of its visit numbers): a centre that does not know them learns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsSent:
    """The centre tells a front-end whom it serves, and on which terms: all of them; who is not named is not served."""

    KIND: ClassVar[str] = "terms.sent"
    VERSION: ClassVar[int] = 1

    terms: tuple[InstitutionTerms, ...]
    version: int
    """No list with a lower one is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverAsked:
    """The centre asks the front-end an institution moves away from for the next bundle of what travels."""

    KIND: ClassVar[str] = "handover.asked"
    VERSION: ClassVar[int] = 1

    move_no: int
    institution_code: str
    target: str
    bundle_no: int
    """The bundle wanted, from 1."""
    joins: bool = False
    """The source stays: only what the target needs to begin travels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A bundle of what travels in a move: from the source to the centre, and from there to the target."""

    KIND: ClassVar[str] = "handed.over"
    VERSION: ClassVar[int] = 1

    move_no: int
    institution_code: str
    bundle_no: int
    content: bytes
    """workers.moving.bundles: rows by table. The centre keeps it sealed until the target has it."""
    visits: tuple[str, ...] = ()
    """The visits in it: from now on they are live at the target."""
    accepted: tuple[ClaimKey, ...] = ()
    """What the source has accepted and not settled: it may still send these."""
    whole: bool = False
    """With this bundle and those before it the target can open."""
    claims: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverReported:
    """The source of a move has no further bundle at present, and says what it still holds open."""

    KIND: ClassVar[str] = "handover.reported"
    VERSION: ClassVar[int] = 1

    move_no: int
    institution_code: str
    bundle_no: int
    """The bundle it was asked for."""
    open_claims: int
    results_waiting: int
    details_due: int
    visits_behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleKept:
    """The target of a move has a bundle, and all before it."""

    KIND: ClassVar[str] = "bundle.kept"
    VERSION: ClassVar[int] = 1

    move_no: int
    institution_code: str
    bundle_no: int
