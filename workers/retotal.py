"""Totalling again (重新汇总): the centre has other reference data in force than a claim's totals were made with.

Nobody is asked: the front-end fetches what is in force, and the claim goes through the desk once more, as a submission
of its own number, so that a late copy of the old totals is never settled behind it. That is tried a few times; then the
cashier is told what is the matter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, select, tuple_, update

from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimTotals
from domain.outcomes import Phase
from domain.refusals import STALE
from infra.codec import pack, unpack
from infra.database import execute_many
from infra.reference import CATALOGUE, POLICY, joined, versions_in_force
from workers.tables import IS_OPEN, claim, reference

MOST_TRIES = 5
"""So often a claim is totalled anew by itself."""
MOST_WAITS = 12
"""So often it is sent as it is while what the centre wants is not here."""

_COLUMNS = (
    claim.c.claim_id,
    claim.c.institution_code,
    claim.c.visit_no,
    claim.c.charge_batch_no,
    claim.c.policy_version,
    claim.c.catalogue_version,
    claim.c.submission,
    claim.c.totals,
    claim.c.attempts,
    claim.c.retotalled,
)
_IS_MINE = (
    IS_OPEN,
    claim.c.state == ClaimState.TOTALLED,
    claim.c.kind == "normal",
    claim.c.phase.in_((Phase.SETTLE, Phase.PREPARE)),
    claim.c.sent_lines.is_(False),
)
_AGAIN = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.state == ClaimState.TOTALLED)
    .values(
        state=ClaimState.ACCEPTED,
        totals=None,
        # What was given to a patient off-line stays as it was given.
        local=case((claim.c.offline.is_not(None), claim.c.local), else_=None),
        waits_for=None,
        rung_at=0,
        attempts=0,
        submission=bindparam("number"),
        retotalled=claim.c.retotalled + 1,
    )
)
_WAITS = update(claim).where(claim.c.claim_id == bindparam("id")).values(waits_for=bindparam("code"))
_GIVEN_BACK = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.state == ClaimState.TOTALLED)
    .values(
        state=ClaimState.REFUSED,
        refusal=bindparam("code"),
        answer=bindparam("packed"),
        refused_at=bindparam("at"),
        waits_for=None,
    )
)


@dataclass(slots=True)
class Retotalling:
    """What is to be done when it is committed."""

    institutions: set[str] = field(default_factory=set)
    """Whose desks have claims to total again: ring their bells."""
    waits: bool = False
    """What the centre wants is not here: ask for it."""


def take_back(
    connection: Connection,
    answers: Sequence[ClaimAnswer],
    numbers: Mapping[tuple[str, int], int],
    *,
    wanted: Sequence[str],
    at: datetime,
) -> Retotalling:
    """Take the claims back that were answered as stale: to total them again now where other reference data is in force
    here than they were made with, else when it comes; or to refuse them when that has been tried often enough.

    `numbers` are the submissions that were answered, 0 where none is said; `wanted` the centre's versions.
    """
    stale = {(each.visit_no, each.charge_batch_no): each for each in answers if each.refusal in STALE}
    came = Retotalling()
    if not stale:
        return came
    here = held(connection)
    for row in _rows(connection, stale):
        key = row.visit_no, row.charge_batch_no
        if row.submission > numbers.get(key, 0):
            continue
        is_same = _is_as_here(row, here, at.date())
        if row.retotalled >= MOST_TRIES or (is_same and row.attempts >= MOST_WAITS):
            connection.execute(_GIVEN_BACK, _told(row, stale[key].refusal, here, wanted, at))
        elif is_same:
            connection.execute(_WAITS, {"id": row.claim_id, "code": stale[key].refusal})
            came.waits = True
        else:
            connection.execute(_AGAIN, {"id": row.claim_id, "number": numbers.get(key, 0) + 1})
            came.institutions.add(row.institution_code)
    return came


def release(connection: Connection, *, at: datetime) -> set[str]:
    """Let the claims that wait for other reference data be totalled again, where it has come; whose bells to ring."""
    here = held(connection)
    waiting = connection.execute(
        select(*_COLUMNS).where(*_IS_MINE, claim.c.waits_for.in_([str(code) for code in STALE]))
    ).all()
    due = [row for row in waiting if not _is_as_here(row, here, at.date())]
    execute_many(connection, _AGAIN, [{"id": row.claim_id, "number": row.submission + 1} for row in due])
    return {row.institution_code for row in due}


def held(connection: Connection) -> tuple[str, str]:
    """The versions in force here, of the policy and of the catalogue."""
    versions = versions_in_force(connection, reference)
    catalogues = [version for kind, version, *_ in versions if kind == CATALOGUE]
    return joined(version for kind, version, *_ in versions if kind == POLICY), catalogues[-1] if catalogues else ""


def _is_as_here(row: Any, here: tuple[str, str], today: date) -> bool:
    """Whether the claim would be totalled again with the same reference data, and on the same day."""
    totalled_on = None if row.totals is None else unpack(row.totals, ClaimTotals).totalled_on
    return (row.policy_version, row.catalogue_version) == here and totalled_on in (None, today)


def _rows(connection: Connection, keys: Collection[tuple[str, int]]) -> Sequence[Any]:
    return connection.execute(
        select(*_COLUMNS)
        .where(*_IS_MINE, tuple_(claim.c.visit_no, claim.c.charge_batch_no).in_(list(keys)))
        .order_by(claim.c.claim_id)
    ).all()


def _told(row: Any, refusal: str, here: tuple[str, str], wanted: Sequence[str], at: datetime) -> dict[str, Any]:
    """The refusal in words a cashier can pass on: what is held, what is wanted, what to do."""
    names = ("政策", "目录")
    apart = "；".join(
        f"{name}版本：前置机 {ours or '无'}，中心 {theirs}"
        for name, ours, theirs in zip(names, here, wanted, strict=False)
        if ours != theirs
    )
    detail = (
        f"前置机的参考数据与中心不一致，已自动重新汇总 {row.retotalled} 次、重送 {row.attempts} 次，未能结算"
        f"（{apart or '版本已一致，请重送'}）；请信息科检查前置机与中心的同步，同步后重送本笔"
    )
    answer = ClaimAnswer(row.visit_no, row.charge_batch_no, refusal, detail)
    return {"id": row.claim_id, "code": refusal, "packed": pack(answer), "at": at}
