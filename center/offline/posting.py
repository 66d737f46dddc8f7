"""Posting what was settled off-line: confirmed to the fen, or a difference case with its proposed repair.

The centre's own settlement goes into the books, decided and checked as any other, so they hold whatever was told at a
counter. What differs is between the institution and the person, and a case says who owes whom.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, tuple_, update

from center.reconciling.cases import Case, Kind, open_cases
from center.settling.well_formed import Refused, refuse
from center.tables import difference_case
from domain.link import CLOCK_BOUND, OFFLINE_TYPES
from domain.messages import ClaimTotals
from domain.offline import is_too_late, not_posted, true_up
from domain.refusals import Refusal
from domain.settlement import Settlement

OFFLINE_KINDS = (Kind.OFFLINE_DIFFERS, Kind.OFFLINE_REFUSED)


class Allowed(NamedTuple):
    """Whether an institution may settle off-line, and within how many hours it is to be posted."""

    offline: bool = False
    hours: int = 0


def is_offline(claim: ClaimTotals) -> bool:
    """Whether the patient has the result already."""
    return claim.local is not None and claim.local.offline


def allowed(cursor: psycopg.Cursor[Any], codes: Collection[str]) -> dict[str, Allowed]:
    """What these institutions may, as their terms are now."""
    cursor.execute(
        "SELECT institution_code, offline, offline_hours FROM institution WHERE institution_code = ANY(%s)",
        [sorted(codes)],
    )
    return {code: Allowed(offline, hours) for code, offline, hours in cursor.fetchall()}


def refused(claim: ClaimTotals, terms: Allowed, *, at: datetime) -> Refused | None:
    """Why an off-line settlement is not posted at all, whatever the person's account holds."""
    local = claim.local
    assert local is not None
    if not terms.offline or claim.visit_type not in OFFLINE_TYPES or local.fund_pay_fen:
        return refuse(Refusal.OFFLINE_NOT_ALLOWED)
    if local.settled_at > at + CLOCK_BOUND:
        return refuse(Refusal.CLAIM_IN_FUTURE, f"{local.settled_at:%Y-%m-%d %H:%M:%S}", f"{at:%Y-%m-%d %H:%M:%S}")
    if is_too_late(local.settled_at, hours=terms.hours, at=at):
        return refuse(Refusal.OFFLINE_TOO_LATE, f"{local.settled_at:%Y-%m-%d %H:%M:%S}", str(terms.hours))
    return None


def case_of_settled(claim: ClaimTotals, settlement: Settlement) -> Case | None:
    """The case of an off-line settlement the centre settled otherwise."""
    assert claim.local is not None
    found = true_up(claim.local, settlement)
    if found is None:
        return None
    key = claim.institution_code, claim.visit_no, claim.charge_batch_no
    return Case(Kind.OFFLINE_DIFFERS, *key, found.center_fen, found.frontend_fen, found.words)


def case_of_refused(claim: ClaimTotals, why: str) -> Case:
    """The case of an off-line settlement the centre does not post."""
    assert claim.local is not None
    found = not_posted(claim.local, claim.total_fen, why)
    key = claim.institution_code, claim.visit_no, claim.charge_batch_no
    return Case(Kind.OFFLINE_REFUSED, *key, found.center_fen, found.frontend_fen, found.words)


def keep(connection: Connection, cases: Iterable[Case], settled: Sequence[ClaimTotals], *, at: datetime) -> int:
    """Open these cases, and close those of claims that are settled now; how many were opened."""
    keys = [(claim.visit_no, claim.charge_batch_no) for claim in settled]
    if keys:
        columns = difference_case.c
        connection.execute(
            update(difference_case)
            .where(columns.kind == str(Kind.OFFLINE_REFUSED), columns.closed_at.is_(None))
            .where(tuple_(columns.visit_no, columns.charge_batch_no).in_(keys))
            .values(closed_at=at)
        )
    return open_cases(connection, cases, at)
