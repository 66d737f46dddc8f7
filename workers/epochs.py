"""The epoch of the centre, as this front-end knows it, and what it sends a centre that was restored from a backup.

A restored centre has forgotten what it answered after its backup: settlements, and refusals, which were told to the
HIS as final, those of single lines too. Nothing of that is lost: the claim, its totals and the answer are here. The
centre asks for them page by page, so nobody floods it, and a page that gets lost is asked for again; nothing is marked
here, so sending a page twice is sending it once. With the first page whatever else it had answered since is sent again:
books, what was said of clearings.
"""

from __future__ import annotations

import logging
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, or_, select, update

from domain.codes import PASSED
from domain.lifecycle import ClaimState
from domain.messages import (
    ClaimAnswer,
    ClaimTotals,
    DetailsAsked,
    DetailsMarked,
    DocumentsAsked,
    DocumentsResent,
    LastMove,
    Resent,
    ResentRefusal,
)
from domain.refusals import Refusal, sentence
from infra.clock import SHANGHAI
from infra.codec import unpack
from infra.database import execute_many
from workers.clearings import saying
from workers.detail_states import DETAIL_AT_CENTER, DETAIL_DUE
from workers.reconciling import books
from workers.tables import CENTER_REFUSED, bundle_made, center_epoch, claim, entitlement, institution, verdict

log = logging.getLogger("frontend")

MOST_DOCUMENTS = 500
"""On one page, whatever is asked for."""

_HELD = select(center_epoch.c.epoch).where(center_epoch.c.only == 1).with_for_update(read=True)
_PAGE = (
    select(
        claim.c.claim_id,
        claim.c.kind,
        claim.c.state,
        claim.c.totals,
        claim.c.answer,
        claim.c.policy_version,
        claim.c.catalogue_version,
        claim.c.contra_of,
        claim.c.reason,
    )
    .where(
        claim.c.claim_id > bindparam("after"),
        claim.c.origin == "",
        claim.c.state == ClaimState.SETTLED,
        claim.c.settled_day >= bindparam("day"),
        claim.c.settled_at >= bindparam("since"),
    )
    .order_by(claim.c.claim_id)
    .limit(bindparam("most"))
)
_REFUSED_PAGE = (
    select(
        claim.c.claim_id,
        claim.c.totals,
        claim.c.answer,
        claim.c.refusal,
        claim.c.submission,
        claim.c.contra_of,
        verdict.c.codes,
    )
    .outerjoin(verdict, verdict.c.claim_id == claim.c.claim_id)
    .where(
        claim.c.claim_id > bindparam("after"),
        CENTER_REFUSED,
        claim.c.origin == "",
        claim.c.kind.in_(("normal", "contra")),
        claim.c.totals.is_not(None),
        or_(claim.c.refusal.is_not(None), claim.c.state == ClaimState.RETURNED),
        or_(claim.c.refused_at.is_(None), claim.c.refused_at >= bindparam("since")),
    )
    .order_by(claim.c.claim_id)
    .limit(bindparam("most"))
)
"""Of claims refused before it was noted when, all: they are few."""
_DUE_AGAIN = (
    update(claim)
    .where(
        claim.c.visit_no == bindparam("visit"),
        claim.c.charge_batch_no == bindparam("batch"),
        claim.c.origin == "",
        claim.c.state == ClaimState.SETTLED,
        claim.c.detail_state == DETAIL_AT_CENTER,
    )
    .values(detail_state=DETAIL_DUE, rung_at=0)
)


def known(connection: Connection) -> int:
    """The epoch this front-end has met."""
    held: int = connection.execute(_HELD).scalar_one()
    return held


def met(connection: Connection, epoch: int, *, at: datetime) -> bool:
    """Whether a message of this epoch may be recorded: not when a later one has been met, because a centre that was
    restored does not know of it; what it answers is asked for again. A later epoch is met here for the first time:
    what was leased of persons is not what that centre has. Call it in the transaction that records."""
    held = known(connection)
    if epoch == held:
        return True
    if epoch < held:
        log.warning("answer_of_an_older_epoch", extra={"epoch": epoch, "known": held})
        return False
    connection.execute(update(center_epoch).values(epoch=epoch, met_at=at))
    connection.execute(delete(entitlement))
    log.warning("epoch_met", extra={"epoch": epoch, "known": held})
    return True


def page(connection: Connection, asked: DocumentsAsked, *, at: datetime) -> DocumentsResent | None:
    """The next page of what this front-end was answered since the moment the centre names; None for a question of an
    epoch that is over. Ask in a writing transaction: answers of an older epoch are not recorded behind the page."""
    if not met(connection, asked.epoch, at=at):
        return None
    if asked.after == 0:
        books.send_again_since(connection, asked.since)
        saying.send_again_since(connection, asked.since)
    most = max(1, min(asked.most, MOST_DOCUMENTS))
    behind = {"after": asked.after, "since": asked.since, "most": most}
    settled = connection.execute(_PAGE, behind | {"day": _day(asked.since)}).all()
    refused = connection.execute(_REFUSED_PAGE, behind).all()
    numbers = sorted(row.claim_id for row in (*settled, *refused))[:most]
    last = numbers[-1] if numbers else asked.after
    return DocumentsResent(
        epoch=asked.epoch,
        after=asked.after,
        last=last,
        complete=len(settled) + len(refused) < most,
        documents=tuple(_resent(row) for row in settled if row.claim_id <= last),
        refusals=tuple(_resent_refusal(row) for row in refused if row.claim_id <= last),
        moves=_moves(connection) if asked.after == 0 else (),
    )


def _moves(connection: Connection) -> tuple[LastMove, ...]:
    """In which move each institution was last, as far as this front-end had a part in it. What it was told since by the
    restored centre may name an earlier one."""
    told = select(institution.c.institution_code, institution.c.move_no).where(institution.c.move_no > 0)
    gave = select(bundle_made.c.institution_code, bundle_made.c.move_no).where(bundle_made.c.institution_code != "")
    last: dict[str, int] = {}
    for code, move_no in connection.execute(told.union(gave)):
        last[code] = max(move_no, last.get(code, 0))
    return tuple(LastMove(*each) for each in sorted(last.items()))


def mark_details(connection: Connection, asked: DetailsAsked, *, at: datetime) -> DetailsMarked | None:
    """Let detail that the centre has lost be due again, for the next time slices; None where the epoch is over."""
    if not met(connection, asked.epoch, at=at):
        return None
    keys = [{"visit": key.visit_no, "batch": key.charge_batch_no} for key in asked.claims]
    due = execute_many(connection, _DUE_AGAIN, keys)
    log.info("details_due_again", extra={"claims": due})
    return DetailsMarked(epoch=asked.epoch, upto=asked.upto)


def _day(since: datetime) -> date:
    """The business day of the moment, as `settled_day` has it."""
    return since.astimezone(SHANGHAI).date()


def _resent(row: Any) -> Resent:
    return Resent(
        kind=row.kind,
        claim=unpack(row.totals, ClaimTotals),
        answer=unpack(row.answer, ClaimAnswer),
        policy_version=row.policy_version or "",
        catalogue_version=row.catalogue_version or "",
        contra_of=row.contra_of,
        reason=row.reason or "",
    )


def _resent_refusal(row: Any) -> ResentRefusal:
    refusal, detail = row.refusal, unpack(row.answer, ClaimAnswer).detail if row.answer is not None else ""
    if refusal is None:
        failed = sum(code != PASSED for code, _ in unpack(row.codes, list[tuple[str, tuple[str, ...]]]))
        refusal, detail = Refusal.LINES_FAILED, sentence(Refusal.LINES_FAILED, str(failed))
    return ResentRefusal(
        claim=unpack(row.totals, ClaimTotals),
        refusal=refusal,
        detail=detail,
        submission=row.submission,
        contra_of=row.contra_of,
    )
