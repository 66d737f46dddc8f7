"""Settling claims that come with all their lines (明细集中): checked, split, settled, kept with their detail.

They stand at the same counter as claims that come as totals, under the same locks and checks. No front-end has totals
of its own here, so nothing of them is ever stale.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar

import psycopg
from sqlalchemy import Connection, Engine

from center.catalogue.shelf import CatalogueShelf
from center.settling import records
from center.settling.counter import Counter, CounterCheck, Settling
from center.settling.halving import in_halves
from center.settling.records import Content
from center.settling.settle import joined, park_internal, settle_all
from center.settling.taking_lines import Payer, Reading, Taken, take
from center.settling.well_formed import Refused, refuse
from center.transactions import LookAgain
from domain.messages import ClaimLines, ClaimsAnswered, ClaimTotals, LinesSubmitted, TotalsSubmitted, bare_of
from domain.refusals import Refusal
from infra.codec import unpack
from infra.reference import CATALOGUE, NothingPublished, Reference, ReferenceShelf

log = logging.getLogger("center")


@dataclass(frozen=True, slots=True)
class Published:
    """What is published: the versions in force, and the catalogue's items, which the centre keeps beside them."""

    references: ReferenceShelf
    catalogues: CatalogueShelf


def settle_lines(
    engine: Engine, published: Published, submitted: LinesSubmitted, *, frontend: str, at: datetime
) -> ClaimsAnswered:
    """Settle a batch from its lines and commit it with its detail, or say of each claim which lines failed.

    Done again from the top when another transaction was in the way. Should the database refuse a row of it, the batch
    is halved until the claim at fault stands alone and is parked. Raises NothingPublished.
    """

    def settle_now(connection: Connection, claims: Sequence[ClaimLines]) -> ClaimsAnswered:
        cursor = records.cursor_of(connection)
        return settle_all(cursor, gathered(connection, published, claims, frontend=frontend, at=at), at)

    def park_now(connection: Connection, claims: Sequence[ClaimLines]) -> ClaimsAnswered:
        return park_internal(connection, [bare_of(claim) for claim in claims], frontend=frontend, at=at)

    answered = joined(in_halves(engine, submitted.claims, settle_now, park_now))
    refused = sum(1 for answer in answered.answers if answer.refusal)
    log.info("lines_settled", extra={"frontend": frontend, "claims": len(answered.answers), "refused": refused})
    return answered


def gathered(
    connection: Connection, published: Published, claims: Sequence[ClaimLines], *, frontend: str, at: datetime
) -> LinesCounter:
    """The counter the claims stand at, with everything under its locks. Raises LookAgain, NothingPublished."""
    reference = published.references.current(connection, records.versions_in_force(records.cursor_of(connection)))
    return counter_of(connection, reference, published.catalogues, claims, frontend=frontend, at=at)


def counter_of(
    connection: Connection,
    reference: Reference,
    catalogues: CatalogueShelf,
    claims: Sequence[ClaimLines],
    *,
    frontend: str,
    at: datetime,
    settled_on: date | None = None,
) -> LinesCounter:
    """The same by this reference data; `settled_on` is the day the rules go by, where it is not today."""
    cursor = records.cursor_of(connection)
    catalogue = catalogues.version(connection, reference.catalogue.version)
    if catalogue is None:
        raise NothingPublished(CATALOGUE)
    day = settled_on or at.date()
    taken = take(cursor, claims, Reading(catalogue, reference.policy, reference.policy_version, at.date(), day))
    counter = LinesCounter(taken, frontend, reference, at, settled_on=day)
    counter.gather(cursor)
    return counter


def _lines_are_good(counter: Counter, claim: ClaimTotals) -> Refused | None:
    assert isinstance(counter, LinesCounter)
    return counter.failure_of(claim)


_PLACE = Counter.CHECKS_OF_NEW.index(Counter._was_not_refused) + 1


class LinesCounter(Counter):
    """The counter of claims that came with their lines."""

    # A refusal that was told goes before what the lines are today; a line that failed, before all there is against
    # the person or the institution: those are not asked about a claim that would not have left its front-end.
    CHECKS_OF_NEW: ClassVar[tuple[CounterCheck, ...]] = (
        *Counter.CHECKS_OF_NEW[:_PLACE],
        _lines_are_good,
        *Counter.CHECKS_OF_NEW[_PLACE:],
    )

    def __init__(
        self, taken: Sequence[Taken], frontend: str, reference: Reference, at: datetime, *, settled_on: date
    ) -> None:
        submitted = TotalsSubmitted(
            policy_version=reference.policy_version,
            catalogue_version=reference.catalogue.version,
            claims=tuple(each.claim for each in taken),
        )
        super().__init__(submitted, frontend, reference, at, None, settled_on=settled_on)
        self._taken = {id(each.claim): each for each in taken}
        self._malformed |= {each.claim: each.malformed for each in taken if each.malformed}

    def gather(self, cursor: psycopg.Cursor[Any]) -> None:
        """As any counter. Raises LookAgain where lines were split for somebody who is not so any more."""
        super().gather(cursor)
        if any(each.split is not None and each.payer != self._payer_of(each.claim) for each in self._taken.values()):
            raise LookAgain

    def _payer_of(self, claim: ClaimTotals) -> Payer | None:
        insured = self._insured.get(claim.citizen_id_no)
        institution = self._institutions.get(claim.institution_code)
        if insured is None or institution is None:
            return None
        return Payer(insured.scheme, insured.category, institution.level)

    def is_same(self, one: Content, other: Content) -> bool:
        """The same lines of the same visit, however the catalogue and the policy of their day split them."""
        return _handed_in(one) == _handed_in(other)

    def failure_of(self, claim: ClaimTotals) -> Refused | None:
        """Why its lines are not settled."""
        taken = self._taken[id(claim)]
        if taken.is_broken:
            return refuse(Refusal.INTERNAL)
        if not taken.failed:
            return None
        return refuse(Refusal.LINES_FAILED, str(len(taken.failed)))._replace(failed=taken.failed)

    def _settle(self, claim: ClaimTotals) -> Settling | Refused:
        decision = super()._settle(claim)
        if isinstance(decision, Settling):
            taken = self._taken[id(claim)]
            decision.split, decision.lines = taken.split, taken.lines
        return decision


def _handed_in(content: Content) -> tuple[object, ...]:
    """What an institution handed in, without what a catalogue or a policy made of it."""
    stay = unpack(content.circumstances, tuple[Any, ...])[:4] if content.circumstances else (None, None, True, [])
    return content.visit_type, content.visit_date, content.total_fen, content.line_count, content.digest, stay
