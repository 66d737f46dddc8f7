"""The check of the books (账目核对): always on, and from nothing whenever somebody asks.

A run reads in one snapshot (REPEATABLE READ: it locks nothing and waits for nobody), so it sees whole transactions:
what settles meanwhile is no difference, it is the next run's. What it found and how far it came is written in a second,
short transaction under a lease with a fencing number; a run that slept past its lease writes nothing, and the next one
looks at the same links again.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import psycopg
from sqlalchemy import Connection, Engine, delete, select, text
from sqlalchemy.dialects.postgresql import insert

from center.catalogue.shelf import CatalogueShelf
from center.conservation import accounts, clearings, days, documents, freezing, links, persons, running
from center.conservation.days import DayKey
from center.conservation.documents import Scope
from center.conservation.findings import Finding, Level
from center.conservation.freezing import Frozen
from center.conservation.lines import DETAILS_AT_A_TIME, Lines
from center.conservation.links import News
from center.conservation.report import Report
from center.conservation.running import Off, Sums
from center.conservation.tables import DAY_AMOUNTS, books_run, detail_due
from center.policy.shelf import PolicyShelf
from center.settling.records import cursor_of
from center.tables import lease
from center.ticks import is_for_tonight, ticked
from center.transactions import in_transaction
from infra.lease import guard, take

log = logging.getLogger("center")

LEASE = "books.check"
LEASE_SECONDS = 120.0
NEW, ALL = "new", "all"
LOOKED_BACK = timedelta(days=7)
"""The sums of so many days are compared whenever an institution has anything new, whatever days that is of."""
_TOTAL = DAY_AMOUNTS.index("total_fen")

ADVANCE = """
INSERT INTO books_watermark AS w (institution_code, link_no, checked_at)
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::timestamptz[])
ON CONFLICT (institution_code) DO UPDATE SET link_no = EXCLUDED.link_no, checked_at = EXCLUDED.checked_at
"""


class Shelves(NamedTuple):
    """The versions lines are checked by."""

    catalogues: CatalogueShelf
    policies: PolicyShelf


class _Run(NamedTuple):
    """What a run carries from snapshot to snapshot."""

    report: Report
    at: datetime
    touched: set[DayKey]
    """Days documents were taken up for; they are compared when the chain of their institution is read to its end."""


class _Seen(NamedTuple):
    """What a snapshot showed."""

    news: News
    sums: Sums
    details: list[int]
    findings: list[Finding]


def check_new(
    engine: Engine,
    shelves: Shelves,
    *,
    holder: str,
    at: datetime,
    now: float,
    links_at_a_time: int = links.LINKS_AT_A_TIME,
) -> Report | None:
    """Check what has come since the last run, snapshot after snapshot until nothing is left; freeze what is broken.

    `at` is the business moment, `now` real seconds. None while another holder checks. Raises LeaseLost when this
    holder slept: what it had not written is left for the next run.
    """
    fence = in_transaction(engine, lambda connection: _take(connection, holder, now))
    if fence is None:
        return None
    report = Report(NEW)
    run = _Run(report, at, set())
    while True:
        with _snapshot(engine) as connection:
            seen = _look(connection, shelves, run, links_at_a_time)
        if seen is None:
            break
        frozen = in_transaction(engine, partial(_write, seen=seen, fence=fence, at=at))
        _tell(report, seen.findings, frozen)
        if _is_all(seen):
            break
    in_transaction(engine, partial(_end, report=report, holder=holder, at=at, now=now))
    _log(report)
    return report


def check_all(engine: Engine, shelves: Shelves, *, at: datetime, institution_code: str | None = None) -> Report:
    """Check everything from nothing, of one institution or of all, and freeze what is broken.

    It may run beside anything; it takes no lease.
    """
    scope = Scope(institution_code=institution_code)
    report, off = _examined(engine, shelves, scope)
    findings, report.findings = report.findings, []
    freezing_all = partial(_freeze_all, report=report, findings=findings, off=off, scope=scope, at=at)
    _tell(report, findings, in_transaction(engine, freezing_all))
    _log(report)
    return report


def check_nightly(engine: Engine, shelves: Shelves, *, at: datetime) -> Report | None:
    """Check everything from nothing once a night, while hardly anybody settles; None when it is not the time.

    What was changed behind the books' back after it had been checked shows in no incremental run.
    """
    with engine.connect() as connection:
        last = connection.execute(select(books_run.c.checked_at).where(books_run.c.way == ALL)).scalar()
    if not is_for_tonight(last, at):
        return None
    return check_all(engine, shelves, at=at)


def examine(engine: Engine, shelves: Shelves) -> Report:
    """Look at everything from nothing and write nothing."""
    return _examined(engine, shelves, Scope())[0]


def _examined(engine: Engine, shelves: Shelves, scope: Scope) -> tuple[Report, Off]:
    report = Report(ALL)
    with _snapshot(engine) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        off = _look_at_all(connection, shelves, report, scope)
    return report, off


def _snapshot(engine: Engine) -> Connection:
    return engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


# ── What is new ───────────────────────────────────────────────────────────────────────────────────────────


def _look(connection: Connection, shelves: Shelves, run: _Run, limit: int) -> _Seen | None:
    """One snapshot: the new links, and the detail that is due. None when there is neither."""
    cursor = cursor_of(connection)
    news = links.news(cursor, limit)
    lines = Lines(connection, *shelves)
    details = lines.due()
    if not news.upto and not details:
        return None
    scope = news.scope
    new = running.added_up(cursor, scope)
    moved = persons.moved(cursor, scope)
    findings = list(news.findings)
    findings += [finding for detail in details if (finding := lines.broken(detail)) is not None]
    if scope.numbers:
        findings += links.misplaced(cursor, news)
        findings += documents.broken_documents(cursor, scope)
        findings += documents.broken_answers(cursor, scope)
        findings += persons.broken_persons(cursor, moved)
        findings += clearings.broken_clearings(cursor, scope)
        findings += clearings.broken_layers(cursor, scope)
    findings += _broken_sums(cursor, news, new, run)
    report = run.report
    total = sum(amounts[_TOTAL] for amounts in new.days.values())
    report.links += sum(last - before for before, last in news.upto.values())
    report.looked_at(Level.LINE, sum(each.line_count for each in details), sum(each.total_fen for each in details))
    report.looked_at(Level.DOCUMENT, len(scope.numbers or ()), total)
    report.looked_at(Level.DAY, len(new.days), total)
    report.looked_at(Level.CLEARING, *clearings.looked_at(cursor, scope))
    report.looked_at(Level.FUND, len(new.accounts), total)
    report.looked_at(Level.PERSON, len(moved))
    report.snapshots += 1
    return _Seen(news, new, [detail.settlement_no for detail in details], findings)


def _broken_sums(cursor: psycopg.Cursor[object], news: News, new: Sums, run: _Run) -> list[Finding]:
    """Days, clearings and accounts of the institutions whose chains are read to the end."""
    run.touched.update(new.days)
    codes = news.at_head
    if not codes:
        return []
    since = run.at.date() - LOOKED_BACK
    touched = {key for key in run.touched if key.institution_code in codes}
    own = {key: amounts for key, amounts in new.days.items() if key in touched}
    checked, summed = (days.held(cursor, table, touched, codes, since) for table in ("checked_day", "day_sum"))
    moved = {key: amount for key, amount in new.accounts.items() if key.institution_code in codes}
    found = accounts.together(accounts.held(cursor, codes), moved)
    compared = days.together(checked, own)
    flows = accounts.flows_checked(cursor, codes, new.days, days.together(summed, days.negative(compared)))
    findings = list(days.broken_days(cursor, compared, summed))
    findings += accounts.broken_accounts(cursor, sorted(codes), found, flows)
    findings += clearings.broken_days(cursor, news.scope, touched)
    return findings


def _is_all(seen: _Seen) -> bool:
    return set(seen.news.upto) <= seen.news.at_head and len(seen.details) < DETAILS_AT_A_TIME


def _write(connection: Connection, *, seen: _Seen, fence: int, at: datetime) -> Frozen:
    """Take up what was checked, and freeze what is broken. Raises LeaseLost."""
    guard(connection, lease, name=LEASE, fence=fence)
    cursor = cursor_of(connection)
    running.take_up(cursor, seen.sums)
    codes = sorted(seen.news.upto)
    cursor.execute(ADVANCE, [codes, [seen.news.upto[code][1] for code in codes], [at] * len(codes)])
    if seen.details:
        connection.execute(delete(detail_due).where(detail_due.c.settlement_no.in_(seen.details)))
    return freezing.freeze(connection, seen.findings, at=at)


def _tell(report: Report, findings: list[Finding], frozen: Frozen) -> None:
    report.findings += findings
    report.newly_frozen += len(frozen.new)
    report.accepted += frozen.released


# ── Everything ────────────────────────────────────────────────────────────────────────────────────────────


def _look_at_all(connection: Connection, shelves: Shelves, report: Report, scope: Scope) -> Off:
    cursor = cursor_of(connection)
    lines = Lines(connection, *shelves)
    for detail in lines.all(scope):
        report.looked_at(Level.LINE, detail.line_count, detail.total_fen)
        finding = lines.broken(detail)
        report.findings += [] if finding is None else [finding]
    whole = running.added_up(cursor, scope)
    held = days.held_of(cursor, "day_sum", scope.institution_code)
    total = sum(amounts[_TOTAL] for amounts in whole.days.values())
    report.looked_at(Level.DOCUMENT, sum(amounts[0] for amounts in whole.days.values()), total)
    report.looked_at(Level.DAY, len(whole.days), total)
    report.findings += links.unlinked(cursor, scope)
    report.findings += documents.broken_documents(cursor, scope)
    report.findings += documents.broken_answers(cursor, scope)
    report.findings += days.broken_days(cursor, whole.days, held)
    report.findings += clearings.broken_clearings(cursor, scope)
    report.findings += clearings.broken_layers(cursor, scope)
    report.findings += clearings.broken_days(cursor, scope)
    report.looked_at(Level.CLEARING, *clearings.looked_at(cursor, scope))
    codes = {key.institution_code for key in held} | {key.institution_code for key in whole.accounts}
    report.looked_at(Level.FUND, len(whole.accounts), total)
    flows = accounts.flows_summed(cursor, codes)
    report.findings += accounts.broken_accounts(cursor, sorted(codes), whole.accounts, flows)
    if scope.institution_code is None:
        missing = {each.document_no for each in report.findings if each.code == "document-missing"}
        report.findings += [each for each in documents.strays(cursor) if each.document_no not in missing]
        report.findings += persons.broken_persons(cursor, None)
        report.looked_at(Level.PERSON, persons.count(cursor))
    return running.off(cursor, whole, scope)


def _freeze_all(
    connection: Connection, *, report: Report, findings: list[Finding], off: Off, scope: Scope, at: datetime
) -> Frozen:
    running.set_right(cursor_of(connection), off, scope)
    freezing.mended(connection, findings, institution_code=scope.institution_code, at=at)
    if scope.institution_code is None:
        _note_run(connection, report, len(findings), at)
    return freezing.freeze(connection, findings, at=at)


# ── Notes ─────────────────────────────────────────────────────────────────────────────────────────────────


def _take(connection: Connection, holder: str, now: float) -> int | None:
    fence = take(connection, lease, name=LEASE, holder=holder, now=now, seconds=LEASE_SECONDS)
    if fence is not None:
        ticked(connection, LEASE, now)
    return fence


def _end(connection: Connection, *, report: Report, holder: str, at: datetime, now: float) -> None:
    """Note the run and give the lease back."""
    _note_run(connection, report, len(report.findings), at)
    take(connection, lease, name=LEASE, holder=holder, now=now, seconds=0)


def _note_run(connection: Connection, report: Report, broken: int, at: datetime) -> None:
    row = {"way": report.way, "checked_at": at, "documents": report.documents, "broken": broken}
    adding = insert(books_run).values(row)
    connection.execute(adding.on_conflict_do_update(index_elements=["way"], set_=row))


def _log(report: Report) -> None:
    log.info(
        "books_checked",
        extra={"way": report.way, "documents": report.documents, "links": report.links, "broken": len(report.findings)},
    )
