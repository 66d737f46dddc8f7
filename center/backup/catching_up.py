"""Catching up (追补): the centre asks each front-end, page by page, for what it was answered and may be lost here.

One page of a front-end is under way at a time, and the cursor is kept here: a question or a page that gets lost is
repeated, a page that comes twice is kept once, and nobody is flooded. When all are through, what came is taken up
(`center.backup.taking`) and the centre opens; then the detail it lacks is asked for in the same way.

A front-end may have been answered for an institution that it does not serve here: what an operator decided after the
backup, a move most often, was lost. Its documents wait until that is done again; then it is asked for all of them anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection

from center.backup import epochs
from center.served import institutions_of
from center.settling import refund_refusals
from center.settling.records import ParkedRow, cursor_of, park
from center.settling.settle import parked_row
from center.settling.well_formed import Refused, is_code, malformed
from domain.messages import (
    ClaimKey,
    DetailsAsked,
    DetailsMarked,
    DocumentsAsked,
    DocumentsResent,
    RefundAnswered,
    Resent,
    ResentRefusal,
)
from domain.money import MAX_FEN
from domain.refusals import HOLDS, Refusal
from infra.codec import pack

log = logging.getLogger("center")

PAGE = 500
ASK_AGAIN_SECONDS = 15.0
"""A front-end that does not answer is asked again after this long (real seconds)."""
DETAIL_DAYS = timedelta(days=40)
"""Detail of settlements this much older than the backup has long been uploaded, or a case is open about it."""

Question = DocumentsAsked | DetailsAsked


class _Row(NamedTuple):
    """How far a front-end is."""

    epoch: int
    frontend: str
    after_id: int
    is_complete: bool
    detail_after_no: int
    since: datetime
    is_open: bool


_ROWS = (
    "SELECT c.epoch, c.frontend, c.after_id, c.complete_at IS NOT NULL, c.detail_after_no, e.since,"
    " e.opened_at IS NOT NULL FROM catching_up c JOIN epoch e USING (epoch)"
    " WHERE c.epoch = (SELECT max(epoch) FROM epoch) AND c.done_at IS NULL"
)


_AGAIN = (
    "UPDATE catching_up SET after_id = 0, complete_at = NULL, done_at = NULL, asked_at = 0, strange = '{}'"
    " WHERE epoch = %(epoch)s AND frontend IN (SELECT frontend FROM catching_up AS c"
    "  WHERE epoch = %(epoch)s AND strange <> '{}' AND strange <@ ARRAY("
    "   SELECT institution_code FROM served_by WHERE served_by.frontend = c.frontend) FOR UPDATE SKIP LOCKED)"
)
_ALSO = (
    "INSERT INTO catching_up (epoch, frontend) SELECT DISTINCT %(epoch)s::bigint, frontend"
    " FROM served_by JOIN institution USING (institution_code) WHERE institution.active"
    " AND NOT EXISTS (SELECT FROM catching_up AS c WHERE (c.epoch, c.frontend) = (%(epoch)s, served_by.frontend))"
    " ON CONFLICT DO NOTHING"
)


def tick(connection: Connection, *, now: float) -> list[tuple[str, Question]]:
    """The questions to ask now, by front-end: of those that have not answered the last one for a while, that serve now
    whom they were strange to, and that have come to serve somebody since the restore."""
    cursor = cursor_of(connection)
    epoch = epochs.current(cursor)
    if epoch == epochs.NEVER_RESTORED:
        return []
    cursor.execute(_AGAIN, {"epoch": epoch.number})
    cursor.execute(_ALSO, {"epoch": epoch.number})
    cursor.execute(_ROWS + " AND c.asked_at < %s ORDER BY c.frontend FOR UPDATE OF c SKIP LOCKED", [
        now - ASK_AGAIN_SECONDS
    ])  # fmt: skip
    rows = [_Row._make(row) for row in cursor.fetchall()]
    return [(row.frontend, asked) for row in rows if (asked := _question(connection, row, now)) is not None]


def keep(connection: Connection, page: DocumentsResent, *, frontend: str, at: datetime, now: float) -> Question | None:
    """Keep a page until it is taken up, and return the next question. A page of another epoch is dropped."""
    row = _locked(connection, frontend)
    if row is None or row.epoch != page.epoch:
        log.info("page_of_another_epoch", extra={"frontend": frontend, "epoch": page.epoch})
        return None
    cursor = cursor_of(connection)
    kept, strange = _keep(connection, page, row, at)
    if page.after != row.after_id or row.is_complete:
        return None  # the page before, once more: the next question is on its way
    cursor.execute(
        "UPDATE catching_up SET after_id = %s, documents = documents + %s, complete_at = %s,"
        " moves = coalesce(%s, moves),"
        " strange = ARRAY(SELECT DISTINCT unnest(strange || %s::varchar[]) ORDER BY 1)"
        " WHERE epoch = %s AND frontend = %s",
        [
            max(page.last, page.after),
            kept,
            at if page.complete else None,
            pack(page.moves) if page.moves else None,
            strange,
            row.epoch,
            frontend,
        ],
    )
    log.info("page_kept", extra={"frontend": frontend, "documents": kept, "complete": page.complete})
    return _question(connection, row._replace(after_id=page.last, is_complete=page.complete), now)


def marked(connection: Connection, message: DetailsMarked, *, frontend: str, now: float) -> Question | None:
    """The front-end has marked this detail as due; the next it should."""
    row = _locked(connection, frontend)
    if row is None or row.epoch != message.epoch or message.upto <= row.detail_after_no:
        return None
    cursor_of(connection).execute(
        "UPDATE catching_up SET detail_after_no = %s WHERE epoch = %s AND frontend = %s",
        [message.upto, row.epoch, frontend],
    )
    return _question(connection, row._replace(detail_after_no=message.upto), now)


def _locked(connection: Connection, frontend: str) -> _Row | None:
    cursor = cursor_of(connection)
    cursor.execute(_ROWS + " AND c.frontend = %s FOR UPDATE OF c", [frontend])
    row = cursor.fetchone()
    return None if row is None else _Row._make(row)


def _question(connection: Connection, row: _Row, now: float) -> Question | None:
    """What the front-end is asked next; None while the others are waited for, and when nothing is left."""
    cursor = cursor_of(connection)
    asked: Question | None = None
    if not row.is_complete:
        asked = DocumentsAsked(epoch=row.epoch, since=row.since, after=row.after_id, most=PAGE)
    elif row.is_open:
        asked = _missing_detail(connection, row)
        if asked is None:
            cursor.execute(
                "UPDATE catching_up SET done_at = now() WHERE epoch = %s AND frontend = %s", [row.epoch, row.frontend]
            )
    if asked is not None:
        cursor.execute(
            "UPDATE catching_up SET asked_at = %s WHERE epoch = %s AND frontend = %s", [now, row.epoch, row.frontend]
        )
    return asked


def _missing_detail(connection: Connection, row: _Row) -> DetailsAsked | None:
    """The next settlements of the front-end's institutions whose detail is not here."""
    cursor = cursor_of(connection)
    cursor.execute(
        "SELECT settlement_no, institution_code, visit_no, charge_batch_no FROM settlement s"
        " WHERE settled_day >= %s AND institution_code = ANY(%s) AND kind = 'normal' AND settlement_no > %s"
        " AND NOT EXISTS (SELECT FROM detail d WHERE d.settlement_no = s.settlement_no)"
        " ORDER BY settlement_no LIMIT %s",
        [
            (row.since - DETAIL_DAYS).date(),
            sorted(institutions_of(connection, row.frontend)),
            row.detail_after_no,
            PAGE,
        ],
    )
    found = cursor.fetchall()
    if not found:
        return None
    return DetailsAsked(epoch=row.epoch, upto=found[-1][0], claims=tuple(ClaimKey(*row[1:]) for row in found))


def _keep(connection: Connection, page: DocumentsResent, row: _Row, at: datetime) -> tuple[int, list[str]]:
    """Write down what a centre of an earlier epoch can have said to this front-end: how many are new, and for which
    institutions it was answered that it does not serve here."""
    cursor: psycopg.Cursor[Any] = cursor_of(connection)
    cursor.execute("SELECT first_no FROM epoch WHERE epoch = %s", [row.epoch])
    (first_no,) = cursor.fetchone() or (0,)
    own = institutions_of(connection, row.frontend)
    _park(cursor, page, own, row.frontend, at)
    storable = [each for each in page.documents if _is_storable(each, first_no)]
    if len(storable) < len(page.documents):
        lost = len(page.documents) - len(storable)
        log.error("not_ours_to_take", extra={"frontend": row.frontend, "documents": lost})
    strange = sorted({each.claim.institution_code for each in storable} - own)
    if strange:
        log.error("answered_for_strangers", extra={"frontend": row.frontend, "institutions": strange})
    return _note(cursor, [each for each in storable if each.claim.institution_code in own], row, at), strange


def _note(cursor: psycopg.Cursor[Any], documents: Sequence[Resent], row: _Row, at: datetime) -> int:
    """Put them where they wait to be taken up; how many were not there yet."""
    if not documents:
        return 0
    columns: list[list[Any]] = [
        [each.answer.settlement_no for each in documents],
        [each.kind for each in documents],
        [each.claim.institution_code for each in documents],
        [each.claim.visit_no for each in documents],
        [each.claim.charge_batch_no for each in documents],
        [pack(each) for each in documents],
    ]
    cursor.execute(
        "INSERT INTO resent (epoch, frontend, came_at, document_no, kind, institution_code, visit_no, charge_batch_no,"
        " content) SELECT %s, %s, %s, * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[],"
        " %s::bytea[]) ON CONFLICT DO NOTHING",
        [row.epoch, row.frontend, at, *columns],
    )
    return cursor.rowcount


def _park(cursor: psycopg.Cursor[Any], page: DocumentsResent, own: set[str], frontend: str, at: datetime) -> None:
    """Let what was refused stay refused: a copy of it that still comes is answered as it was."""
    good = [each for each in page.refusals if _is_refusal(each, own)]
    if len(good) < len(page.refusals):
        log.error("not_ours_to_refuse", extra={"frontend": frontend, "refusals": len(page.refusals) - len(good)})
    claims = [each for each in good if each.contra_of is None]
    if claims:
        park(cursor, [_parked(each, frontend, at) for each in claims])
    for each in good:
        if each.contra_of is not None and refund_refusals.is_kept(each.refusal):
            refund_refusals.write(cursor, _refund_answered(each, each.contra_of), frontend, at)


def _parked(resent: ResentRefusal, frontend: str, at: datetime) -> ParkedRow:
    claim = resent.claim._replace(submission=resent.submission)
    return parked_row(claim, Refused(Refusal(resent.refusal), resent.detail), frontend, at)


def _refund_answered(resent: ResentRefusal, contra_of: int) -> RefundAnswered:
    return RefundAnswered(
        institution_code=resent.claim.institution_code,
        visit_no=resent.claim.visit_no,
        charge_batch_no=contra_of,
        contra_batch_no=resent.claim.charge_batch_no,
        refusal=resent.refusal,
        detail=resent.detail.replace("\0", ""),
    )


def _is_refusal(resent: ResentRefusal, own: set[str]) -> bool:
    """Whether it names one of the front-end's institutions, and a final refusal of a claim that can be stored."""
    claim = resent.claim._replace(submission=resent.submission)
    final = resent.refusal in set(Refusal) - HOLDS and 0 <= (resent.contra_of or 0) < 2**31
    return final and claim.institution_code in own and not malformed(claim)


def _is_storable(resent: Resent, first_no: int) -> bool:
    """Whether it names an institution, a number of an earlier epoch, and amounts that fit."""
    claim, answer = resent.claim, resent.answer
    return (
        resent.kind in ("normal", "contra", "resettled")
        and is_code(claim.institution_code, 18)
        and (claim.visit_no, claim.charge_batch_no) == (answer.visit_no, answer.charge_batch_no)
        and 0 < len(claim.visit_no) <= 16
        and claim.visit_no.isprintable()
        and 0 <= claim.charge_batch_no < 2**31
        and 0 < answer.settlement_no < first_no
        and answer.settled_at is not None
        and not answer.refusal
        and abs(claim.total_fen) <= MAX_FEN
    )
