"""Tells front-ends of their institutions' clearings: the months that are not as they hold them, whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Table, select

from center.backup import epochs
from center.clearing.tables import clearing, clearing_day, clearing_layer, clearing_period
from center.served import institutions_of
from center.settling.records import cursor_of
from domain.clearings import ClearedDay, ClearedFund, ClearingHead, ClearingSums, ToldClearing, digest
from domain.messages import ClearingsAsked, ClearingsTold

CLEARINGS_AT_ONCE = 60
"""So many travel in one message; a month is never parted."""


def answer(connection: Connection, asked: ClearingsAsked, *, frontend: str) -> list[ClearingsTold]:
    """What is not as the front-end holds it, of the institutions it speaks for; nothing where nothing has moved.

    A month the front-end holds and the centre has nothing of, as after a restore, is told without a period.
    """
    codes = institutions_of(connection, frontend)
    months = _months(connection, codes, asked.since)
    held = {(row.institution_code, row.name): row.digest for row in asked.held if row.institution_code in codes}
    moved = defaultdict(list)
    for key in sorted({*months, *held}):
        if digest(months.get(key, ())) != held.get(key):
            moved[key[0]].append(key[1])
    return [told for code in moved for told in _told(connection, code, moved[code], months)]


def of_month(connection: Connection, institution_code: str, name: str) -> ClearingsTold:
    """One month of an institution, as it stands now."""
    months = _months(connection, [institution_code], name)
    return _message(connection, institution_code, [name], months.get((institution_code, name), []))


_Months = dict[tuple[str, str], list[ClearingHead]]


def _months(connection: Connection, codes: Iterable[str], since: str) -> _Months:
    columns = clearing_period.c
    rows = connection.execute(
        select(clearing_period)
        .where(columns.institution_code.in_(sorted(codes)), columns.name >= since)
        .order_by(columns.institution_code, columns.name, columns.period_no)
    )
    grouped = groupby(rows, key=attrgetter("institution_code", "name"))
    return {key: [_head(row) for row in of_month] for key, of_month in grouped}


def _head(row: Any) -> ClearingHead:
    return ClearingHead(
        row.period_no,
        row.scheme,
        row.clearing_type,
        row.name,
        row.first_day,
        row.last_day,
        row.closes_on,
        row.state,
        row.clearing_no or 0,
        row.closed_at,
        row.objection,
        row.objected_at,
        row.confirmed_at,
        row.confirmed_by or "",
        row.payment_no or 0,
        row.paid_at,
    )


def _told(connection: Connection, code: str, names: Sequence[str], months: _Months) -> Iterable[ClearingsTold]:
    """The months in as few messages as hold them."""
    together: list[str] = []
    heads: list[ClearingHead] = []
    for name in names:
        of_month = months.get((code, name), [])
        if together and len(heads) + len(of_month) > CLEARINGS_AT_ONCE:
            yield _message(connection, code, together, heads)
            together, heads = [], []
        together.append(name)
        heads.extend(of_month)
    yield _message(connection, code, together, heads)


def _message(connection: Connection, code: str, names: Sequence[str], heads: Sequence[ClearingHead]) -> ClearingsTold:
    numbers = [head.clearing_no for head in heads if head.clearing_no]
    sums = _rows_of(connection, clearing, ClearingSums._fields, numbers)
    funds = _rows_of(connection, clearing_layer, ClearedFund._fields, numbers)
    days = _rows_of(connection, clearing_day, ClearedDay._fields, numbers)
    return ClearingsTold(
        institution_code=code,
        months=tuple(names),
        clearings=tuple(
            ToldClearing(
                head,
                ClearingSums._make(sums[head.clearing_no][0]) if head.clearing_no else None,
                tuple(map(ClearedFund._make, funds[head.clearing_no])),
                tuple(map(ClearedDay._make, days[head.clearing_no])),
            )
            for head in heads
        ),
        epoch=epochs.current(cursor_of(connection)).number,
    )


def _rows_of(
    connection: Connection, table: Table, names: Sequence[str], numbers: Sequence[int]
) -> dict[int, list[tuple[Any, ...]]]:
    rows = connection.execute(
        select(table.c.clearing_no, *[table.c[name] for name in names])
        .where(table.c.clearing_no.in_(numbers))
        .order_by(table.c.clearing_no, table.c[names[0]])
    )
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for number, *values in rows:
        found[number].append(tuple(values))
    return found
