"""What a centre restored from a backup asks for, and gets again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple

from domain.messages.claims import ClaimAnswer, ClaimKey, ClaimTotals


class Resent(NamedTuple):
    """One document a front-end was answered and a restored centre may lack: what was asked, and the answer."""

    kind: str
    """normal; contra: takes `contra_of` back; resettled: what is kept of it; prepared: waits to be confirmed."""
    claim: ClaimTotals
    """Of a contra settlement: the totals with the other sign."""
    answer: ClaimAnswer
    policy_version: str
    catalogue_version: str
    contra_of: int | None = None
    """The charge batch that was taken back."""
    reason: str = ""


class ResentRefusal(NamedTuple):
    """What a front-end was refused, or told is cancelled, and a restored centre may have forgotten: it stays so."""

    claim: ClaimTotals
    """As the submission was totalled that was refused."""
    refusal: str
    detail: str
    submission: int = 0
    contra_of: int | None = None
    """Of a refund: the charge batch that was to be taken back; the claim's own is the number of the request."""


class LastMove(NamedTuple):
    """The last move of an institution a front-end had a part in. A restored centre that lost it goes on with it."""

    institution_code: str
    move_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsAsked:
    """A restored centre asks a front-end for what it was answered since a moment: the next page of it."""

    KIND: ClassVar[str] = "documents.asked"
    VERSION: ClassVar[int] = 1

    epoch: int
    since: datetime
    after: int
    """The front-end's own count of claims: the page begins behind it."""
    most: int
    """Documents on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsResent:
    """A front-end sends a page of what it was answered."""

    KIND: ClassVar[str] = "documents.resent"
    VERSION: ClassVar[int] = 1

    epoch: int
    after: int
    """As it was asked."""
    last: int
    """Where the next page begins."""
    complete: bool
    """No page comes behind this one."""
    documents: tuple[Resent, ...] = ()
    refusals: tuple[ResentRefusal, ...] = ()
    moves: tuple[LastMove, ...] = ()
    """On the first page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailsAsked:
    """A restored centre names settlements whose detail it lacks: it is due again."""

    KIND: ClassVar[str] = "details.asked"
    VERSION: ClassVar[int] = 1

    epoch: int
    upto: int
    """The centre's own count, to be sent back."""
    claims: tuple[ClaimKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailsMarked:
    """A front-end has marked the detail it was asked for as due."""

    KIND: ClassVar[str] = "details.marked"
    VERSION: ClassVar[int] = 1

    epoch: int
    upto: int
