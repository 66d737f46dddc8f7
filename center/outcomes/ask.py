"""Asking by own key (98 查询中心不确定交易): what the centre has of claims whose answer a front-end did not get."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Connection

from center.backup import epochs
from center.offline import trouble
from center.outcomes import rows
from center.outcomes.rows import Key
from center.outcomes.telling import told_of, told_refused, told_settled, told_unknown
from center.settling import records
from center.settling.well_formed import MAX_INTEGER, Failed, Refused, is_code, refuse
from domain.messages import OutcomeAsked, OutcomeTold, ToldOutcome
from domain.outcomes import OutcomeState
from domain.refusals import Refusal
from infra.codec import unpack


def tell(connection: Connection, asked: OutcomeAsked, *, frontend: str, at: datetime) -> OutcomeTold:
    """Tell what there is under each key, and what time it is; no claim is changed, and nobody is kept waiting.

    A claim is of the front-end that handed it in: where another one of the institution came first with the number, it
    is not known here, and sent again it is refused as a conflict.
    Settled, prepared, cancelled or expired; else refused, if that is all that ever became of it; else unknown. While
    a restored centre does not have back what it answered, it says nothing about what it does not know.
    """
    cursor = records.cursor_of(connection)
    epoch = epochs.current(cursor)
    answered_at = None if asked.asked_at is None else at
    trouble.see_clock(connection, frontend, asked.skew_seconds, at=at)
    if not asked.keys:
        return OutcomeTold(outcomes=(), epoch=epoch.number, asked_at=asked.asked_at, answered_at=answered_at)
    keys: list[Key] = [(key.institution_code, key.visit_no, key.charge_batch_no) for key in asked.keys]
    good = {key for key in keys if _is_storable(key)}
    institutions = records.institutions(cursor, {code for code, _, _ in good})
    visits = {visit_no for _, visit_no, _ in good}
    settled = {
        (each.institution_code, each.visit_no, each.charge_batch_no): each.answer
        for each in records.known_of_visits(cursor, visits).settled
        if each.frontend == frontend
    }
    outcomes = {key: row for key, row in rows.read(cursor, good).items() if row.frontend == frontend}
    parked = _parked(cursor, good - set(settled) - set(outcomes), frontend)

    def told(key: Key) -> ToldOutcome:
        institution = institutions.get(key[0])
        if key not in good:
            return told_unknown(key, refuse(Refusal.NOT_SERVED))
        if institution is None or not institution.has_heard(frontend):
            return told_unknown(key, epochs.lacking(epoch, Refusal.NOT_SERVED))
        if key in settled:
            return told_settled(key, settled[key])
        if key in outcomes:
            return told_of(outcomes[key], at=at)
        return told_refused(key, parked[key]) if key in parked else told_unknown(key)

    found = [told(key) for key in keys]
    known = [each for each in found if epoch.is_open or each.refusal or each.state != OutcomeState.UNKNOWN]
    return OutcomeTold(outcomes=tuple(known), epoch=epoch.number, asked_at=asked.asked_at, answered_at=answered_at)


def _is_storable(key: Key) -> bool:
    code, visit_no, batch_no = key
    return is_code(code, 18) and is_code(visit_no, 16) and 0 <= batch_no <= MAX_INTEGER


def _parked(cursor: psycopg.Cursor[Any], keys: Collection[Key], frontend: str) -> dict[Key, Refused]:
    """The newest refusal of each of these claims of the front-end, where there is one."""
    if not keys:
        return {}
    codes, visits, batches = zip(*keys, strict=True)
    cursor.execute(
        "SELECT institution_code, visit_no, charge_batch_no, refusal, detail, submission, failed FROM parked"
        " WHERE frontend = %s AND (visit_no, charge_batch_no, institution_code) IN"
        " (SELECT * FROM unnest(%s::text[], %s::int[], %s::text[])) ORDER BY submission, parked_id",
        [frontend, list(visits), list(batches), list(codes)],
    )
    return {
        (code, visit, batch): Refused(Refusal(why), detail, number, unpack(failed, Failed) if failed else ())
        for code, visit, batch, why, detail, number, failed in cursor
    }
