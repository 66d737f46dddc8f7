"""Imports what a hospital delivered through its side door, many claims to a transaction.

Everything here may happen twice: a delivery is known by the digest of its rows, so a file that is read again, by the
same process or by the next one after a crash, brings nothing new.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, select

from domain.checks import other_visit_dates
from domain.codes import PASSED
from domain.lifecycle import OPEN, ClaimState
from domain.visit import ChargeLine, VisitType, unpack_lines
from infra.database import reading
from infra.metrics import CLAIMS, REFUSED
from infra.reference import ReferenceShelf
from producers.his.charge_lines import LINE_NO_REPEATED, OTHER_INSTITUTION
from producers.his.exchange import DbfExchange
from producers.his.line_files import FAILED, IMPORTED, LEFT, Answer, Delivery, Mark, marks_for
from producers.his.visit_lines import CHANNEL, ImportReport, forget_what_is_gone, take_visits
from workers import line_warnings
from workers.admission import DoorsClosed, TooFast
from workers.doorbell import Doorbell
from workers.intake import Accepted, BacklogFull, Replayed, Submission, VisitConflict, accept
from workers.tables import claim, claim_content, reference, visit

log = logging.getLogger("importer")

CLAIMS_PER_TRANSACTION = 300

_REGISTERED = select(visit.c.visit_no, visit.c.visit_type).where(
    visit.c.visit_no.in_(bindparam("visits", expanding=True))
)


def import_file(
    engine: Engine, path: Path, *, institution_code: str, at: datetime, doorbell: Doorbell | None = None
) -> ImportReport:
    """Import one file of charge lines; outpatient registrations are looked for beside it too."""
    return take_in(engine, DbfExchange(path.parent, institution_code, file=path.name), at=at, doorbell=doorbell)


def take_in(
    engine: Engine,
    exchange: DbfExchange,
    *,
    at: datetime,
    doorbell: Doorbell | None = None,
    shelf: ReferenceShelf | None = None,
) -> ImportReport:
    """Take what was delivered since the last look; durable when it returns. The bell is rung as claims come in.

    Lines of visits that are registered here go to their visit; lines of an outpatient visit that only the folder knows
    become a claim that carries its visit.
    """
    report = ImportReport()
    shelf = shelf or ReferenceShelf(reference)
    for batch in exchange.deliveries(CLAIMS_PER_TRANSACTION):
        accepted_before = report.accepted
        if report.kept_out:
            _postpone(exchange, batch, report)
            continue
        try:
            here = _registered_here(engine, [delivery.rows.visit_no for delivery in batch])
            of_visits = [delivery for delivery in batch if _is_of_a_visit(delivery, here)]
            carrying = [delivery for delivery in batch if not _is_of_a_visit(delivery, here)]
            if carrying:
                _take_batch(engine, exchange, carrying, at, report)
            if of_visits:
                take_visits(engine, shelf, exchange, of_visits, here, report=report, at=at)
        except BaseException:
            for delivery in batch:
                exchange.later(delivery.rows)
            raise
        if report.accepted > accepted_before and doorbell is not None:
            doorbell.ring(exchange.institution_code)
    forget_what_is_gone(engine, shelf, exchange, at=at)
    report.problems = exchange.problems
    CLAIMS.labels(CHANNEL, "accepted").inc(report.accepted)
    CLAIMS.labels(CHANNEL, "replayed").inc(report.known)
    for code, visits in report.refused.items():
        REFUSED.labels(code).inc(visits)
    return report


def _postpone(exchange: DbfExchange, batch: Sequence[Delivery], report: ImportReport) -> None:
    report.postponed += len(batch)
    for delivery in batch:
        exchange.later(delivery.rows)


def _registered_here(engine: Engine, visit_nos: Sequence[str]) -> dict[str, VisitType]:
    """Which of these visits are registered at this front-end, and of what type they are."""
    with reading(engine) as connection:
        rows = connection.execute(_REGISTERED, {"visits": visit_nos})
        return {visit_no: VisitType(visit_type) for visit_no, visit_type in rows}


def _is_of_a_visit(delivery: Delivery, here: Mapping[str, VisitType]) -> bool:
    """Whether its lines go to a registered visit, or to none: only outpatients may carry their visit with them."""
    return delivery.visit is None or delivery.rows.visit_no in here


def _take_batch(
    engine: Engine, exchange: DbfExchange, batch: Sequence[Delivery], at: datetime, report: ImportReport
) -> None:
    institution_code = exchange.institution_code
    registered = [delivery for delivery in batch if _is_visit_here(delivery, institution_code)]
    with reading(engine) as connection:
        earlier = _earlier_claims(connection, [delivery.rows.visit_no for delivery in registered])
        decided = [_decide(delivery, institution_code, earlier, connection) for delivery in registered]

    submissions = [found for found in decided if isinstance(found, Submission)]
    outcomes = iter(accept(engine, submissions, at=at) if submissions else ())
    warned: list[dict[str, Any]] = []

    answers = [_no_visit_here(delivery, institution_code) for delivery in batch]
    at_once: list[Answer] = [answer for answer in answers if answer is not None]
    for delivery, found in zip(registered, decided, strict=True):
        match found:
            case Answer():
                at_once.append(found)
            case Submission():
                match next(outcomes):
                    case Accepted():
                        report.accepted += 1
                        warned += _warned(delivery, at)
                    case Replayed():
                        report.known += 1
                    case VisitConflict():
                        at_once.append(Answer(delivery.rows, marks_for([OTHER_INSTITUTION] * len(delivery.lines))))
                    case outcome:
                        report.kept_out |= isinstance(outcome, (BacklogFull, TooFast, DoorsClosed))
                        _postpone(exchange, [delivery], report)
            case "known":
                report.known += 1
            case "answered":
                report.known += 1
                exchange.answered_before(delivery.rows)
            case _:
                _postpone(exchange, [delivery], report)
    if warned:
        with engine.begin() as connection:
            line_warnings.keep(connection, warned)
    if at_once:
        exchange.answer(at_once, at=at)
        report.refused.update(code for answer in at_once if (code := _worst(answer.marks)) != PASSED)


def _warned(delivery: Delivery, at: datetime) -> list[dict[str, Any]]:
    """Rows of an outpatient visit that say another day than its registration (AMB-06)."""
    visit = delivery.visit
    assert visit is not None
    other = other_visit_dates(visit.visit_date, delivery.read.visit_dates)
    of = visit.institution_code, visit.visit_no, delivery.rows.source, delivery.lines
    return line_warnings.rows_of(*of, other, at=at)


def _is_visit_here(delivery: Delivery, institution_code: str) -> bool:
    return delivery.visit is not None and delivery.visit.institution_code == institution_code


def _no_visit_here(delivery: Delivery, institution_code: str) -> Answer | None:
    """Rows of another institution's visit become no claim: their codes go back at once."""
    if _is_visit_here(delivery, institution_code):
        return None
    lines = delivery.lines_of_visit(institution_code)
    return Answer(delivery.rows, marks_for([line.door_code or OTHER_INSTITUTION for line in lines]))


def _decide(
    delivery: Delivery, institution_code: str, earlier: Mapping[str, Sequence[Any]], connection: Connection
) -> Submission | Answer | str:
    """A claim to accept, rows to answer at once, or "known", "answered", "later"."""
    claims = earlier.get(delivery.rows.visit_no, ())
    same = next((row for row in reversed(claims) if row.content_digest == delivery.rows.digest), None)
    if same is not None:
        if not same.handed_back:
            return "known"
        if same.state == ClaimState.RETURNED:
            # Unchanged but put back to unread: corrected elsewhere, such as a match audited since. Checked again.
            return _submission(delivery, institution_code, after=same.claim_id) if delivery.rows.unread else "answered"
        return Answer(delivery.rows, marks_for([PASSED] * len(delivery.lines)))
    if any(row.state in OPEN or not row.handed_back for row in claims):
        return "later"
    return _beside(_imported_lines(connection, claims), delivery) or _submission(delivery, institution_code)


def _beside(before: Mapping[int | None, ChargeLine], delivery: Delivery) -> Answer | None:
    """What to answer where line numbers were imported before: code 94, or for the same line that it is imported."""
    if not before or not any(line.line_no in before for line in delivery.lines):
        return None
    marks: list[Mark | None] = []
    for line in delivery.lines:
        known = before.get(line.line_no)
        if known is None:
            marks.append(None)
        elif known == line:
            marks.append(Mark(IMPORTED, PASSED))
        else:
            marks.append(Mark(FAILED, LINE_NO_REPEATED))
    if any(mark is not None and mark.flag == FAILED for mark in marks):
        return Answer(delivery.rows, [mark or Mark(LEFT, PASSED) for mark in marks])
    return Answer(delivery.rows, marks)


def _submission(delivery: Delivery, institution_code: str, *, after: int | None = None) -> Submission:
    """The key is the content, so that the same rows are the same claim; no batch number asks for the next one."""
    visit = delivery.visit
    assert visit is not None
    key = f"dbf:{visit.visit_no}:{delivery.rows.digest.hex()}"
    return Submission(
        institution_code=visit.institution_code,
        visit=visit,
        charge_batch_no=None,
        lines=delivery.lines_of_visit(institution_code),
        idempotency_key=key if after is None else f"{key}:{after}",
        content_digest=delivery.rows.digest,
        channel=CHANNEL,
        source=delivery.rows.source,
    )


def _earlier_claims(connection: Connection, visit_nos: Sequence[str]) -> dict[str, list[Any]]:
    """The claims these visits have already, oldest first."""
    found: dict[str, list[Any]] = defaultdict(list)
    if visit_nos:
        for row in connection.execute(
            select(claim.c.claim_id, claim.c.visit_no, claim.c.content_digest, claim.c.state, claim.c.handed_back)
            .where(claim.c.visit_no.in_(visit_nos))
            .order_by(claim.c.claim_id)
        ):
            found[row.visit_no].append(row)
    return found


def _imported_lines(connection: Connection, claims: Sequence[Any]) -> dict[int | None, ChargeLine]:
    """The lines of a visit that were imported, by number: those of every claim that was not returned."""
    ids = [row.claim_id for row in claims if row.state != ClaimState.RETURNED]
    if not ids:
        return {}
    packed = connection.execute(select(claim_content.c.lines).where(claim_content.c.claim_id.in_(ids))).scalars()
    return {line.line_no: line for lines in packed for line in unpack_lines(lines)}


def _worst(marks: Sequence[Mark | None]) -> str:
    return next((mark.code for mark in marks if mark is not None and mark.flag == FAILED), PASSED)
