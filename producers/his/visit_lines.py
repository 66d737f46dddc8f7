"""Lines of registered visits out of exchange files: imported all or none (AMB-22), and settled where that is at once.

The order keeps every crash harmless: lines are imported, then settled, then their rows are marked. Each step done
again changes nothing, so a process that ended in between does them again.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from domain.codes import PASSED
from domain.refusals import VisitRefusal
from domain.visit import STAYS, VisitType
from infra.database import reading
from infra.reference import ReferenceShelf
from producers.his.dbf import DbfProblem
from producers.his.exchange import DbfExchange
from producers.his.folder import is_exchange_file
from producers.his.line_files import FAILED, IMPORTED, Answer, Delivery, Mark
from workers import visits

log = logging.getLogger("importer")

CHANNEL = "dbf"
NOT_NOW = {
    VisitRefusal.BATCH_UNDER_WAY,
    VisitRefusal.BACKLOG_FULL,
    VisitRefusal.LINK_DOWN_LIMIT,
    VisitRefusal.TOO_FAST,
    VisitRefusal.DOORS_CLOSED,
}
"""Why a settlement has to wait for a moment: its rows stay as they are and are looked at again."""


@dataclass(slots=True)
class ImportReport:
    """What one look at a door came to."""

    accepted: int = 0
    """Claims that are to be settled now."""
    imported: int = 0
    """Visits whose lines were imported."""
    known: int = 0
    """Delivered before: nothing new."""
    refused: Counter[str] = field(default_factory=Counter)
    """Visits whose rows went back at once, by code."""
    postponed: int = 0
    """Left for the next look: the backlog is full, or an earlier delivery of the visit has no verdict yet."""
    kept_out: bool = False
    """The institution may hand in no more for the moment: what follows is left unread."""
    problems: list[DbfProblem] = field(default_factory=list)


def take_visits(
    engine: Engine,
    shelf: ReferenceShelf,
    exchange: DbfExchange,
    deliveries: Sequence[Delivery],
    types: Mapping[str, VisitType],
    *,
    report: ImportReport,
    at: datetime,
) -> None:
    """Import these rows, ask for the settlement of outpatients where nobody else does, and mark the rows."""
    handed_in = [_handed_in(delivery, exchange.institution_code) for delivery in deliveries]
    verdicts = visits.import_lines(engine, shelf, handed_in, at=at, per=visits.Per.VISIT)
    told = list(zip(deliveries, verdicts, strict=True))
    outpatients = [
        delivery.rows.visit_no
        for delivery, lines in told
        if exchange.settles_at_once
        and types.get(delivery.rows.visit_no, VisitType.INPATIENT) not in STAYS
        and all(line.flag == IMPORTED for line in lines)
    ]
    waiting = _settle(engine, exchange.institution_code, outpatients, report, at=at)

    answers = []
    for delivery, lines in told:
        if delivery.rows.visit_no in waiting:
            report.postponed += 1
            exchange.later(delivery.rows)
            continue
        answers.append(Answer(delivery.rows, [Mark(line.flag, line.code, "", line.imported_at) for line in lines]))
        failed = next((line.code for line in lines if line.flag == FAILED), PASSED)
        if failed == PASSED:
            report.imported += 1
            exchange.failed[delivery.rows.source].discard(delivery.rows.visit_no)
        else:
            report.refused[failed] += 1
            exchange.failed[delivery.rows.source].add(delivery.rows.visit_no)
    exchange.answer(answers, at=at)


def forget_what_is_gone(engine: Engine, shelf: ReferenceShelf, exchange: DbfExchange, *, at: datetime) -> None:
    """Tell the books which failed rows the hospital took out of its files: they hold up no settlement any more."""
    if not exchange.knows_failed:
        exchange.failed = _failed_before(engine, exchange.institution_code)
        exchange.knows_failed = True
    gone = list(exchange.gone(exchange.failed))
    if not gone:
        return
    emptied = [
        visits.Delivery(
            institution_code=exchange.institution_code, visit_no=visit_no, lines=[], channel=CHANNEL, source=source
        )
        for source, visit_no in gone
    ]
    visits.import_lines(engine, shelf, emptied, at=at, per=visits.Per.VISIT)
    for source, visit_no in gone:
        exchange.failed[source].discard(visit_no)
    log.info("failed_rows_gone", extra={"institution": exchange.institution_code, "visits": len(gone)})


def _handed_in(delivery: Delivery, institution_code: str) -> visits.Delivery:
    lines, institutions, persons, visit_dates = delivery.read
    return visits.Delivery(
        institution_code=institution_code,
        visit_no=delivery.rows.visit_no,
        lines=lines,
        channel=CHANNEL,
        source=delivery.rows.source,
        institution_codes=institutions,
        citizen_id_nos=persons,
        visit_dates=visit_dates,
    )


def _settle(
    engine: Engine, institution_code: str, visit_nos: Sequence[str], report: ImportReport, *, at: datetime
) -> set[str]:
    """Ask for these settlements; the visits whose settlement has to wait."""
    if not visit_nos:
        return set()
    asked = [visits.ToSettle(institution_code=institution_code, visit_no=visit_no) for visit_no in visit_nos]
    waiting = set()
    for visit_no, outcome in zip(visit_nos, visits.settle_visits(engine, asked, at=at), strict=True):
        if isinstance(outcome, visits.Settling):
            report.accepted += 1
        elif isinstance(outcome, visits.NotReady):
            if VisitRefusal.NOTHING_TO_SETTLE in outcome.codes:
                continue  # asked for before, by a process that ended before it marked the rows
            if NOT_NOW & set(outcome.codes):
                waiting.add(visit_no)
            else:
                log.warning("not_settled_at_once", extra={"visit": visit_no, "reasons": " ".join(outcome.codes)})
    return waiting


def _failed_before(engine: Engine, institution_code: str) -> defaultdict[str, set[str]]:
    """The visits that have failed rows, by the file they stood in."""
    failed: defaultdict[str, set[str]] = defaultdict(set)
    with reading(engine) as connection:
        for line in visits.failures(connection, institution_code):
            if is_exchange_file(line.source):
                failed[line.source].add(line.visit_no)
    return failed
