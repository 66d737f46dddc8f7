"""What the centre answers to claims that went with all their lines: what they were split to, or which lines failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update

from domain.checks import Warned
from domain.codes import PASSED
from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimTotals, with_split
from domain.visit import unpack_lines
from infra.codec import pack, unpack
from workers import line_warnings
from workers.detail_states import DETAIL_AT_CENTER
from workers.tables import claim, claim_content, verdict
from workers.visits.rows import CHANNEL as REGISTERED
from workers.visits.settlement import reopen

Key = tuple[str, int]
"""visit_no, charge_batch_no"""

_SPLIT = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"))
    .values(
        totals=bindparam("packed"),
        policy_version=bindparam("policy"),
        catalogue_version=bindparam("catalogue"),
        detail_state=DETAIL_AT_CENTER,
    )
)
_RETURNED = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.state == ClaimState.TOTALLED)
    .values(state=ClaimState.RETURNED, waits_for=None, refused_at=bindparam("at"))
)


def record_splits(connection: Connection, answers: Sequence[ClaimAnswer], *, at: datetime) -> None:
    """Note what the centre split the lines of these claims to, by which versions, and that their detail is there.

    To be called where the answers are recorded, before they are; what is settled already is left as it is.
    """
    told = {(answer.visit_no, answer.charge_batch_no): answer.split for answer in answers if answer.split is not None}
    for row in _rows(connection, told):
        split = told[row.visit_no, row.charge_batch_no]
        if row.state == ClaimState.SETTLED or row.totals is None:
            continue
        values = {
            "id": row.claim_id,
            "packed": pack(with_split(unpack(row.totals, ClaimTotals), split)),
            "policy": split.policy_version,
            "catalogue": split.catalogue_version,
        }
        connection.execute(_SPLIT, values)
        if split.warned and row.policy_version is None and row.channel != REGISTERED:
            _keep_warnings(connection, row, [Warned(*each) for each in split.warned], at)


def record_failed(
    connection: Connection, answers: Sequence[ClaimAnswer], numbers: Mapping[Key, int], *, at: datetime
) -> int:
    """Give these claims back with the codes of their lines, as the desk would have; how many there were.

    `numbers` are the submissions that were answered, 0 where none is said: a later one is not given back for it.
    """
    told = {(answer.visit_no, answer.charge_batch_no): answer for answer in answers}
    failed = [
        row
        for row in _rows(connection, told)
        if row.state == ClaimState.TOTALLED and row.submission <= numbers.get((row.visit_no, row.charge_batch_no), 0)
    ]
    for row in failed:
        codes = {line.at: line.codes for line in told[row.visit_no, row.charge_batch_no].failed}
        verdicts = [(codes[at][0], codes[at]) if codes.get(at) else (PASSED, ()) for at in range(row.line_count)]
        connection.execute(_RETURNED, {"id": row.claim_id, "at": at})
        connection.execute(insert(verdict).values(claim_id=row.claim_id, codes=pack(verdicts)))
    reopen(connection, [row.claim_id for row in failed])
    return len(failed)


def _rows(connection: Connection, keys: Collection[Key]) -> Sequence[Any]:
    if not keys:
        return ()
    return connection.execute(
        select(
            claim.c.claim_id,
            claim.c.institution_code,
            claim.c.visit_no,
            claim.c.charge_batch_no,
            claim.c.state,
            claim.c.line_count,
            claim.c.totals,
            claim.c.policy_version,
            claim.c.channel,
            claim.c.source,
            claim.c.submission,
        )
        .where(tuple_(claim.c.visit_no, claim.c.charge_batch_no).in_(list(keys)))
        .order_by(claim.c.claim_id)
    ).all()


def _keep_warnings(connection: Connection, row: Any, warned: Sequence[Warned], at: datetime) -> None:
    packed = connection.execute(
        select(claim_content.c.lines).where(claim_content.c.claim_id == row.claim_id)
    ).scalar_one()
    of = row.institution_code, row.visit_no, row.source or row.channel
    line_warnings.keep(connection, line_warnings.rows_of(*of, unpack_lines(packed), warned, at=at))
