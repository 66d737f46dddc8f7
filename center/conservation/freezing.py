"""Freezing (冻结): a broken sum stops new settlement of its flow, and nothing else, until two persons release it.

A row of `frozen_flow` is a finding. Its flow is frozen while one of its rows is not released; reading stays open. A
finding that was released does not freeze again while it is the same; what is worse than it was is another finding.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select, update

from center.conservation.findings import EVERY, Finding
from center.conservation.tables import frozen_flow
from center.ledger import audit, chain

log = logging.getLogger("center")

BY = "books.check"
"""Who freezes: the check, no person."""

FREEZE = """
INSERT INTO frozen_flow (institution_code, scheme, clearing_type, person_no, level, code, document_no, day, subject,
    expected_fen, found_fen, why, finding, frozen_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (finding) WHERE mended_at IS NULL DO NOTHING RETURNING freeze_no
"""

_COLUMNS = frozen_flow.c


class Frozen(NamedTuple):
    """What a run has frozen, and what of its findings was frozen or released before."""

    new: list[Finding]
    released: int
    """Of the findings, those that two persons have released as they are."""


def is_frozen(frozen: Iterable[str], scheme: str, clearing_type: str, persons: Collection[int]) -> bool:
    """Whether nothing new is settled now for these persons under this scheme and clearing type.

    `frozen` is what `center.settling.records.Institution` says of the institution.
    """
    wanted = {str(person_no) for person_no in persons} | {EVERY}
    for row in frozen:
        of_scheme, of_type, of_person = row.split(":")
        if of_scheme in (EVERY, scheme) and of_type in (EVERY, clearing_type) and of_person in wanted:
            return True
    return False


def freeze(connection: Connection, findings: Sequence[Finding], *, at: datetime) -> Frozen:
    """Freeze what is broken, each finding once, with an alarm in the log; call it last, it locks chains."""
    new = [finding for finding in findings if _add(connection, finding, at)]
    for finding in new:
        log.error(
            "books_broken",
            extra={
                "code": finding.code,
                "level": str(finding.level),
                "institution": finding.flow.institution_code,
                "scheme": finding.flow.scheme,
                "clearing_type": finding.flow.clearing_type,
                "document_no": finding.document_no,
                "day": None if finding.day is None else finding.day.isoformat(),
                "expected": finding.expected_fen,
                "found": finding.found_fen,
            },
        )
    flows = {finding.flow for finding in new}
    for flow in sorted(flows):
        of_flow = [finding for finding in new if finding.flow == flow]
        audit.note(
            connection,
            by=BY,
            action="flow.freeze",
            subject=":".join(flow),
            reason=of_flow[0].why,
            institution_code=flow.institution_code or chain.CITY,
            at=at,
            details={"findings": len(of_flow)},
        )
    return Frozen(new, _released(connection, [finding.key for finding in findings]))


def _add(connection: Connection, finding: Finding, at: datetime) -> bool:
    """Write the finding; False when it stands already, released or not."""
    cursor = connection.connection.cursor()
    cursor.execute(
        FREEZE,
        [
            *finding.flow,
            finding.person_no,
            str(finding.level),
            finding.code,
            finding.document_no,
            finding.day,
            finding.subject,
            finding.expected_fen,
            finding.found_fen,
            finding.why,
            finding.key,
            at,
        ],
    )
    return cursor.fetchone() is not None


def _released(connection: Connection, keys: Sequence[str]) -> int:
    query = select(func.count()).where(
        _COLUMNS.finding.in_(keys), _COLUMNS.mended_at.is_(None), _COLUMNS.released_at.is_not(None)
    )
    return connection.execute(query).scalar_one() if keys else 0


def mended(connection: Connection, findings: Iterable[Finding], *, institution_code: str | None, at: datetime) -> int:
    """Note that released findings are no longer found by a check from nothing: should they come back, they are new."""
    still = [finding.key for finding in findings]
    closing = update(frozen_flow).where(
        _COLUMNS.released_at.is_not(None), _COLUMNS.mended_at.is_(None), _COLUMNS.finding.not_in(still)
    )
    if institution_code is not None:
        closing = closing.where(_COLUMNS.institution_code == institution_code)
    return connection.execute(closing.values(mended_at=at)).rowcount


def frozen_rows(connection: Connection) -> Sequence[Row[Any]]:
    """The findings that freeze, oldest first."""
    query = select(frozen_flow).where(_COLUMNS.released_at.is_(None)).order_by(_COLUMNS.freeze_no)
    return connection.execute(query).all()
