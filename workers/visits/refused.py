"""Batches of registered visits that the centre refused: told to whom it concerns, sent again, or given up.

A batch sent again goes as it was, under its own number, as a further submission: the centre decides it anew, while a
late copy of an earlier one is answered as it was. Given up, it goes back: its lines are free for another batch, with
what came in since, and no copy of it is settled any more.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, and_, select, update

from domain.lifecycle import ASKED_AGAIN, GIVEN_UP, ClaimState
from domain.messages import ClaimAnswer
from domain.refusals import VisitRefusal, refusal_words
from infra.codec import unpack
from workers.moving.standing import unknown
from workers.numbers import wait_for_turn
from workers.tables import TO_HAND_OUT, claim, hand_out
from workers.visit_steps import Done, NotReady, Settling, not_ready
from workers.visits import rows
from workers.visits.handout import Kind
from workers.visits.settlement import ask_again, reopen

log = logging.getLogger("visits")

_COLUMNS = (
    claim.c.claim_id,
    claim.c.institution_code,
    claim.c.visit_no,
    claim.c.charge_batch_no,
    claim.c.state,
    claim.c.final,
    claim.c.total_fen,
    claim.c.accepted_at,
    claim.c.refusal,
    claim.c.answer,
)
_IS_REFUSED = and_(claim.c.state == ClaimState.REFUSED, claim.c.kind == "normal", claim.c.channel == rows.CHANNEL)


class RefusedBatch(NamedTuple):
    """A batch the centre refused, and why, in the words for the cashier."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    total_fen: int
    accepted_at: datetime
    refusal: str
    words: str


def refused(connection: Connection, institution_code: str, *, visit_no: str = "") -> list[RefusedBatch]:
    """The institution's batches that stand refused, of one visit or all, in the order they were made."""
    asked = select(*_COLUMNS).where(_IS_REFUSED, claim.c.institution_code == institution_code)
    if visit_no:
        asked = asked.where(claim.c.visit_no == visit_no)
    return [_batch(row) for row in connection.execute(asked.order_by(claim.c.claim_id))]


def refused_of_exchange(connection: Connection, institution_code: str) -> list[RefusedBatch]:
    """The same of an institution with an exchange, found among the results it still waits for: a short look."""
    asked = (
        select(*_COLUMNS)
        .join(hand_out, and_(hand_out.c.visit_no == claim.c.visit_no, hand_out.c.number == claim.c.charge_batch_no))
        .where(TO_HAND_OUT, hand_out.c.institution_code == institution_code, hand_out.c.kind == Kind.RESULT)
        .where(_IS_REFUSED)
    )
    return [_batch(row) for row in connection.execute(asked.order_by(claim.c.claim_id))]


def send_again(
    engine: Engine, institution_code: str, visit_no: str, charge_batch_no: int, *, at: datetime
) -> Settling | NotReady:
    """Send a refused batch to the centre once more, after what it was refused for was mended. Ring the bell afterwards.

    Asking again while it is under way, or settled, is asking once.
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        found = _find(connection, institution_code, visit_no, charge_batch_no)
        if found is None:
            return unknown(connection, institution_code, visit_no)
        row = rows.visits_by_no(connection, [visit_no])[visit_no]
        if row.moved_to:
            return not_ready(VisitRefusal.MOVED, row.moved_to)
        if found.state == ASKED_AGAIN[0]:
            ask_again(connection, row, found)
            return Settling(found.claim_id, visit_no, charge_batch_no)
        if found.state == ClaimState.RETURNED:
            return not_ready(VisitRefusal.NOT_REFUSED, charge_batch_no)
    return Settling(found.claim_id, visit_no, charge_batch_no, is_new=False)


def give_up(
    engine: Engine, institution_code: str, visit_no: str, charge_batch_no: int, *, at: datetime
) -> Done | NotReady:
    """Give a refused batch up: its lines are free again, and a stay whose final batch it was goes on.

    Its number is not given again. Doing it twice is doing it once.
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        found = _find(connection, institution_code, visit_no, charge_batch_no)
        if found is None:
            return unknown(connection, institution_code, visit_no)
        moved_to = rows.visits_by_no(connection, [visit_no])[visit_no].moved_to
        if moved_to:
            return not_ready(VisitRefusal.MOVED, moved_to)
        if found.state == GIVEN_UP[1] and found.refusal:
            return Done(visit_no)
        if found.state != GIVEN_UP[0]:
            return not_ready(VisitRefusal.NOT_REFUSED, charge_batch_no)
        connection.execute(update(claim).where(claim.c.claim_id == found.claim_id).values(state=GIVEN_UP[1]))
        reopen(connection, [found.claim_id])
    log.info("batch_given_up", extra={"visit": visit_no, "batch": charge_batch_no, "refusal": found.refusal})
    return Done(visit_no)


def _find(connection: Connection, institution_code: str, visit_no: str, charge_batch_no: int) -> Any:
    return connection.execute(
        select(*_COLUMNS).where(
            claim.c.visit_no == visit_no,
            claim.c.charge_batch_no == charge_batch_no,
            claim.c.institution_code == institution_code,
            claim.c.channel == rows.CHANNEL,
            claim.c.kind == "normal",
        )
    ).first()


def _batch(row: Any) -> RefusedBatch:
    detail = "" if row.answer is None else unpack(row.answer, ClaimAnswer).detail
    return RefusedBatch(
        row.institution_code,
        row.visit_no,
        row.charge_batch_no,
        row.total_fen,
        row.accepted_at,
        row.refusal or "",
        refusal_words(row.refusal or "", detail),
    )


def words_of(batches: Sequence[RefusedBatch]) -> str:
    """What is told to people of these batches, a line each; empty when there is none."""
    return "".join(f"{each.visit_no}  费用批次 {each.charge_batch_no}  {each.words}\n" for each in batches)
