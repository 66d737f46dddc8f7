"""Reconciliation (对账): each front-end's books of a day against the centre's, totals first, then lines."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from center.reconciling.cases import Case, Kind, close_cases, open_books, open_cases
from center.served import frontends, institutions_of
from center.tables import lease, reconciliation, settlement
from center.ticks import ticked
from domain.day_books import Entry, Scope
from domain.messages import BookLine, BooksAsked, BooksReported, DayTotals
from domain.money import MAX_FEN, yuan
from domain.reconciliation import Class, classify
from infra.codec import UnreadableMessage
from infra.lease import take

log = logging.getLogger("center")

LEASE = "books"
LEASE_SECONDS = 30.0
AFTER_MIDNIGHT = timedelta(hours=2)
"""So long into a new day the books of the day before are still asked for, too."""
INSTITUTIONS_PER_QUESTION = 20
"""Lines travel in one message: of so many institutions at most."""


def tick(
    connection: Connection, *, at: datetime, now: float, holder: str, in_flight: timedelta
) -> list[tuple[str, BooksAsked]]:
    """The questions to ask, by front-end: for the books of the day, and of every day about which a case is open.

    Asked for is what was settled before the `in_flight` last: the answers to the rest may still be on their way to
    the front-end, and what is on its way is no difference. None while another holder ticks.
    """
    if take(connection, lease, name=LEASE, holder=holder, now=now, seconds=LEASE_SECONDS) is None:
        return []
    ticked(connection, LEASE, now)
    days = {(at - in_flight - AFTER_MIDNIGHT).date(), at.date()}
    asked = {(frontend, day) for frontend in frontends(connection) for day in days}
    asked |= {(frontend, day) for frontend, _, day in open_books(connection)}
    return [(frontend, BooksAsked(day=day, before=at - in_flight)) for frontend, day in sorted(asked)]


def reconcile(reported: BooksReported, *, frontend: str, connection: Connection, at: datetime) -> BooksAsked | None:
    """Compare a report with the centre's books as of the same moment; the lines to ask for next where the totals
    differ. Cases are opened once, and closed when the lines agree.

    Raises UnreadableMessage for a report no front-end of ours writes.
    """
    _require_storable(reported)
    own = institutions_of(connection, frontend)
    sent = {row.institution_code: row for row in reported.totals if row.institution_code in own}
    if len(sent) != len(reported.totals):
        log.warning("books_of_another", extra={"frontend": frontend})
    held = _totals(connection, own, frontend, reported)

    differing = _record_totals(connection, own, sent, held, frontend=frontend, day=reported.day, at=at)
    if reported.lines_of:
        codes = own & set(reported.lines_of)
        _compare_lines(connection, reported, codes, frontend=frontend, at=at)
        return None
    if differing:
        log.warning("books_differ", extra={"frontend": frontend, "institutions": len(differing)})
    doubtful = [code for of, code, day in open_books(connection) if (of, day) == (frontend, reported.day)]
    differing += [code for code in doubtful if code not in differing]
    if not differing:
        return None
    asked = tuple(differing[:INSTITUTIONS_PER_QUESTION])
    return BooksAsked(day=reported.day, lines_of=asked, before=reported.before)


def differences(connection: Connection, *, since: date) -> dict[str, int]:
    """By how many fen each institution's books and the centre's differ over the days since, both signs counted."""
    rows = connection.execute(
        select(reconciliation.c.institution_code, func.sum(func.abs(reconciliation.c.difference_fen)))
        .where(reconciliation.c.day >= since)
        .group_by(reconciliation.c.institution_code)
    )
    return {code: int(fen) for code, fen in rows}


def _require_storable(reported: BooksReported) -> None:
    amounts = [fen for total in reported.totals for fen in total[2:]] + [
        fen for row in reported.lines for fen in row[4:]
    ]
    if not all(abs(fen) <= MAX_FEN for fen in amounts):
        raise UnreadableMessage("books with an amount out of bounds")
    for row in reported.lines:
        if not (0 < len(row.visit_no) <= 16 and row.visit_no.isprintable() and 0 <= row.charge_batch_no < 2**31):
            raise UnreadableMessage("books with a key out of bounds")


def _in_the_books(codes: Iterable[str], frontend: str, reported: BooksReported) -> list[ColumnElement[bool]]:
    """What of the centre's settlements a report speaks of."""
    columns = settlement.c
    of = [
        columns.settled_day == reported.day,
        columns.institution_code.in_(sorted(codes)),
        columns.frontend == frontend,
    ]
    return of if reported.before is None else [*of, columns.settled_at < reported.before]


def _totals(
    connection: Connection, codes: Iterable[str], frontend: str, reported: BooksReported
) -> dict[str, DayTotals]:
    columns = settlement.c
    rows = connection.execute(
        select(
            columns.institution_code,
            func.count(),
            func.sum(columns.total_fen),
            func.sum(columns.fund_pay_fen),
            func.sum(columns.account_pay_fen),
        )
        .where(*_in_the_books(codes, frontend, reported))
        .group_by(columns.institution_code)
    )
    return {
        code: DayTotals(code, reported.day, count, int(total), int(fund), int(account))
        for code, count, total, fund, account in rows
    }


def _record_totals(
    connection: Connection,
    codes: Iterable[str],
    sent: Mapping[str, DayTotals],
    held: Mapping[str, DayTotals],
    *,
    frontend: str,
    day: date,
    at: datetime,
) -> list[str]:
    """Write how each institution-day compares; those that differ in any number, the largest difference first."""
    rows: list[dict[str, object]] = []
    differing: list[tuple[int, str]] = []
    for code in sorted(set(sent) | set(held)):
        nothing = DayTotals(code, day, 0, 0, 0, 0)
        theirs, ours = sent.get(code, nothing), held.get(code, nothing)
        difference_fen = theirs.total_fen - ours.total_fen
        rows.append(
            {
                "institution_code": code,
                "day": day,
                "frontend": frontend,
                "frontend_claims": theirs.claims,
                "center_claims": ours.claims,
                "difference_fen": difference_fen,
                "fund_difference_fen": theirs.fund_pay_fen - ours.fund_pay_fen,
                "compared_at": at,
            }
        )
        if theirs != ours:
            differing.append((-abs(difference_fen), code))
    if rows:
        adding = insert(reconciliation).values(rows)
        keys = ("institution_code", "day", "frontend")
        newest = {name: adding.excluded[name] for name in rows[0] if name not in keys}
        connection.execute(adding.on_conflict_do_update(index_elements=keys, set_=newest))
    return [code for _, code in sorted(differing)]


def _compare_lines(
    connection: Connection, reported: BooksReported, codes: set[str], *, frontend: str, at: datetime
) -> None:
    """Open a case for each claim that one book lacks or has with other amounts; close those that agree again."""
    theirs = {(line.visit_no, line.charge_batch_no): line for line in reported.lines if line.institution_code in codes}
    columns = settlement.c
    rows = connection.execute(
        select(
            columns.institution_code,
            columns.visit_no,
            columns.charge_batch_no,
            columns.settlement_no,
            columns.total_fen,
            columns.fund_pay_fen,
            columns.account_pay_fen,
            columns.digest,
            columns.contra_of,
        ).where(*_in_the_books(codes, frontend, reported))
    ).all()
    ours = {(row.visit_no, row.charge_batch_no): BookLine(*row[:7]) for row in rows}
    known = {(row.visit_no, row.charge_batch_no): _Settled._make(row[7:]) for row in rows}

    differing = [key for key in sorted(theirs.keys() | ours.keys()) if theirs.get(key) != ours.get(key)]
    kinds = _kinds(theirs, ours, known, reported.day)
    cases = [
        _case(ours.get(key), theirs.get(key), kinds.get(key), reported.day)._replace(frontend=frontend)
        for key in differing
    ]
    opened = open_cases(connection, cases, at)
    closed = close_cases(connection, reported.day, codes, frontend=frontend, but=differing, at=at)
    log.info("books_compared", extra={"institutions": len(codes), "cases_opened": opened, "cases_closed": closed})


class _Settled(NamedTuple):
    """What a line of a book does not say of a settlement."""

    digest: bytes
    contra_of: int | None


Key = tuple[str, int]
"""Visit and charge batch."""


def _kinds(
    theirs: Mapping[Key, BookLine], ours: Mapping[Key, BookLine], known: Mapping[Key, _Settled], day: date
) -> dict[Key, Class]:
    """What each difference is, by the key of whoever has it."""
    of_center = {line.settlement_no: known[key] for key, line in ours.items()}
    found = classify(
        [_entry(line, of_center.get(line.settlement_no), day) for line in theirs.values()],
        [_entry(line, known[key], day) for key, line in ours.items()],
        scope=Scope(day, day),
    )
    return {
        (entry.visit_no, entry.charge_batch_no): each.kind for each in found for entry in each.institution + each.center
    }


def _entry(line: BookLine, known: _Settled | None, day: date) -> Entry:
    """A line as an entry; what only the centre's settlement says comes from there. Only a contra is below zero."""
    contra_of = 0 if known is None else known.contra_of or 0
    return Entry(
        line.visit_no, line.charge_batch_no, line.settlement_no, bool(contra_of) or line.total_fen < 0,
        line.institution_code, "", day, line.total_fen, line.fund_pay_fen, line.account_pay_fen,
        line.total_fen - line.fund_pay_fen - line.account_pay_fen, contra_of, b"" if known is None else known.digest,
    )  # fmt: skip


_ONE_SIDED = {
    Class.SUBMITTED_TWICE: "对同一笔费用记了两次，多记",
    Class.ONE_SIDED_REFUND: "账上已退费",
}


def _case(ours: BookLine | None, theirs: BookLine | None, kind: Class | None, day: date) -> Case:
    named = ours or theirs
    assert named is not None
    center_fen, frontend_fen = (0 if line is None else line.total_fen for line in (ours, theirs))
    if ours is not None and theirs is not None:
        of_both, words = Kind.AMOUNT, _amounts_differ(ours, theirs)
    elif ours is not None:
        of_both = Kind(kind or Class.CENTER_ONLY)
        what = _ONE_SIDED.get(Class(of_both), "已结算")
        words = f"中心{what} {yuan(center_fen)} 元，前置机账上没有"
    else:
        of_both = Kind(kind or Class.INSTITUTION_ONLY)
        what = _ONE_SIDED.get(Class(of_both), "账上已结算")
        words = f"前置机{what} {yuan(frontend_fen)} 元，中心没有"
    return Case(
        of_both, named.institution_code, named.visit_no, named.charge_batch_no, center_fen, frontend_fen, words, day
    )


def _amounts_differ(ours: BookLine, theirs: BookLine) -> str:
    """The first number that differs, from both books."""
    pairs = (
        ("总金额", ours.total_fen, theirs.total_fen),
        ("统筹支付", ours.fund_pay_fen, theirs.fund_pay_fen),
        ("账户支付", ours.account_pay_fen, theirs.account_pay_fen),
    )
    for what, held, sent in pairs:
        if held != sent:
            return f"{what}不符：中心 {yuan(held)} 元，前置机 {yuan(sent)} 元"
    if ours.institution_code != theirs.institution_code:
        return f"医药机构不符：中心 {ours.institution_code}，前置机 {theirs.institution_code}"
    return f"结算单号不符：中心 {ours.settlement_no}，前置机 {theirs.settlement_no}"
