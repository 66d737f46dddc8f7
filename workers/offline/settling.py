"""Looking after what waits while the link is down: whose it is, what it would come to, and what is settled off-line.

An estimate is no result: it is computed as the centre would, from the standing the centre leased. A claim is settled
off-line only where nothing of `domain.offline` stands against it, and only while it has never been sent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Integer, bindparam, or_, select, update

from domain import offline
from domain.entitlement import Entitlement
from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimTotals
from domain.offline import Against
from domain.outcomes import Phase
from domain.visit import Visit
from infra.codec import pack, unpack
from infra.database import execute_many, reading
from infra.reference import Reference, ReferenceShelf
from workers import entitlement
from workers.link import standing
from workers.local import LocalCounter, moved, place_of
from workers.numbers import wait_for_turn
from workers.offline import queue
from workers.offline.limits import terms_of
from workers.tables import IS_OPEN, claim, claim_content

log = logging.getLogger("desk")

MOST = 300

_WAITING = (
    select(
        claim.c.claim_id,
        claim.c.institution_code,
        claim.c.attempts,
        claim.c.queued_at,
        claim.c.offline_at,
        claim.c.totals,
        claim.c.sent_lines,
        claim_content.c.visit,
    )
    .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
    .where(IS_OPEN, claim.c.state == ClaimState.TOTALLED, claim.c.kind == "normal", claim.c.phase == Phase.SETTLE)
    .order_by(claim.c.claim_id)
    .limit(bindparam("most", type_=Integer))
)
_NOT_SEEN_TO = or_(claim.c.queued_at.is_(None), claim.c.released_at.is_not(None), claim.c.person_key.is_(None))
_WHOSE_IS_UNKNOWN = claim.c.queued_at.is_not(None) & claim.c.person_key.is_(None)
_HELD_BACK = (
    update(claim)
    .where(
        claim.c.claim_id == bindparam("id"),
        claim.c.state == ClaimState.TOTALLED,
        claim.c.attempts == bindparam("sent"),
    )
    .values(
        queued_at=bindparam("since"),
        released_at=None,
        person_key=bindparam("key"),
        estimate=bindparam("estimated"),
    )
)
_SETTLED_OFFLINE = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.state == ClaimState.TOTALLED, claim.c.attempts == 0)
    .where(claim.c.offline_at.is_(None), claim.c.released_at.is_(None))
    .values(
        estimate=None,
        totals=bindparam("with_result"),
        local=bindparam("told"),
        offline=bindparam("result"),
        offline_at=bindparam("at"),
        offline_fen=bindparam("of_account"),
    )
)


@dataclass(slots=True)
class Looked:
    """What one look came to."""

    held_back: int = 0
    estimated: int = 0
    settled: int = 0
    against: dict[int, Against] = field(default_factory=dict)
    """By claim: why it is not settled off-line."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One waiting claim, and what it would come to where that is known."""

    row: Any
    totals: ClaimTotals | None
    citizen_id_no: str
    key: bytes
    counted: tuple[ClaimTotals, ClaimAnswer] | None = None


def look_after(
    engine: Engine, shelf: ReferenceShelf, *, at: datetime, institution_code: str = "", most: int = MOST
) -> Looked:
    """Hold back, estimate and settle off-line what waits, oldest first; of one institution or all.

    Does nothing while the link is not down, but for claims that were held back before and of which nobody has looked
    whose they are. Run twice, or by two at once, it changes nothing more.
    """
    with reading(engine) as connection:
        link = standing(connection, at=at)
        if not link.is_down and not link.has_queue:
            return Looked()
        query = _WAITING.where(_NOT_SEEN_TO if link.is_down else _WHOSE_IS_UNKNOWN)
        if institution_code:
            query = query.where(claim.c.institution_code == institution_code)
        rows = connection.execute(query, {"most": most}).all()
        found = [_opened(row) for row in rows]
        may_estimate = link.is_down and link.clock_agrees
        if rows and may_estimate:
            found = _estimated(connection, shelf.current(connection), found, at=at)
    may_settle = may_estimate and link.unheard_at is None
    return _keep(engine, found, may_settle=may_settle, at=at) if found else Looked()


def _opened(row: Any) -> _Waiting:
    totals = None if row.totals is None else unpack(row.totals, ClaimTotals)
    number = unpack(row.visit, Visit).citizen_id_no if totals is None else totals.citizen_id_no
    return _Waiting(row, totals, number, entitlement.key_of(number))


def _estimated(
    connection: Connection, reference: Reference, found: Sequence[_Waiting], *, at: datetime
) -> list[_Waiting]:
    """The claims with what they would come to, each person's one after the other; those settled off-line are."""
    known = entitlement.last_known_of(connection, [each.citizen_id_no for each in found], at=at)
    counters: dict[str, LocalCounter] = {}
    estimated = []
    for each in found:
        code = each.row.institution_code
        if code not in counters:
            counters[code] = LocalCounter(reference.policy, place_of(connection, code).level, at, known)
        counted = None
        if each.totals is not None and not each.row.sent_lines and each.row.offline_at is None:
            counted = _counted(counters[code], each.totals)
        estimated.append(_Waiting(each.row, each.totals, each.citizen_id_no, each.key, counted))
    return estimated


def _counted(counter: LocalCounter, totals: ClaimTotals) -> tuple[ClaimTotals, ClaimAnswer] | None:
    try:
        return counter.settle(totals)
    except Exception as error:
        # Nothing hangs on an estimate: the claim waits without one, and the centre decides it.
        log.warning("not_estimated", extra={"visit_no": totals.visit_no, "error": type(error).__name__})
        return None


def _keep(engine: Engine, found: Sequence[_Waiting], *, may_settle: bool, at: datetime) -> Looked:
    looked = Looked()
    with engine.begin() as connection:
        wait_for_turn(connection)
        for each in found:
            kept = execute_many(connection, _HELD_BACK, [_held_back(each, at)])
            looked.held_back += kept
            looked.estimated += kept if each.counted is not None else 0
        if may_settle:
            _settle_offline(connection, found, looked, at=at)
    if looked.settled:
        log.info("settled_offline", extra={"claims": looked.settled})
    return looked


def _held_back(each: _Waiting, at: datetime) -> dict[str, Any]:
    return {
        "id": each.row.claim_id,
        "sent": each.row.attempts,
        "since": each.row.queued_at or at,
        "key": each.key,
        "estimated": None if each.counted is None else pack(each.counted[1]),
    }


def _settle_offline(connection: Connection, found: Sequence[_Waiting], looked: Looked, *, at: datetime) -> None:
    """Settle off-line what may be, in order: under the write lock, so that a limit is never spent twice."""
    terms = terms_of(connection, {each.row.institution_code for each in found})
    keys, ids = {each.key for each in found}, [each.row.claim_id for each in found]
    unsettled = queue.persons_unsettled(connection, keys, but=ids)
    for each in found:
        against = _against(connection, each, terms[each.row.institution_code], unsettled, at=at)
        if against is None and not _settle_one(connection, each, at=at):
            against = Against.SENT
        if against is None:
            looked.settled += 1
        else:
            looked.against[each.row.claim_id] = against
            if each.row.offline_at is None:
                unsettled.add(each.key)


def _against(
    connection: Connection, each: _Waiting, terms: offline.Terms, unsettled: set[bytes], *, at: datetime
) -> Against | None:
    if not terms.may_settle:
        return Against.OFF
    if each.row.attempts or each.row.offline_at is not None:
        return Against.SENT
    if each.totals is None or each.counted is None:
        return Against.NO_LEASE
    if each.key in unsettled:
        return Against.EARLIER_WAITS
    held = _held(connection, each, at=at)
    against = offline.against_claim(terms, each.totals.visit_type, held, at=at)
    if against is not None or held is None or (leased_at := offline.leased_at(held)) is None:
        return against or Against.NO_LEASE
    spent = queue.spent_offline(connection, each.key, leased_at=leased_at)
    answer = each.counted[1]
    return offline.against_result(
        terms, answer, total_fen=each.totals.total_fen, limit_fen=held.offline_limit_fen, spent_fen=spent
    )


def _held(connection: Connection, each: _Waiting, *, at: datetime) -> Entitlement | None:
    return entitlement.last_known(connection, each.citizen_id_no, at=at)


def _settle_one(connection: Connection, each: _Waiting, *, at: datetime) -> bool:
    """Whether the claim is settled off-line now: not where the person's standing moved since it was computed."""
    assert each.counted is not None
    totals, answer = each.counted
    assert totals.local is not None
    result = totals.local._replace(offline=True)
    held = _held(connection, each, at=at)
    if held is None or held.version != result.snapshot_version:
        return False
    after = moved(held, answer)
    if not entitlement.move(connection, {each.citizen_id_no: (held.version, after)}):
        return False
    row = {
        "id": each.row.claim_id,
        "with_result": pack(totals._replace(local=result)),
        "told": pack(answer),
        "result": pack(result),
        "at": at,
        "of_account": answer.account_pay_fen,
    }
    return execute_many(connection, _SETTLED_OFFLINE, [row]) == 1
