"""The sums of each institution-day (日合计), kept in the transaction that settles: one upsert for a whole batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import psycopg

from center.conservation.tables import DAY_AMOUNTS, DAY_KEY
from center.settling.records import SettlementRow

_SUMMED = DAY_AMOUNTS[1:]
"""All but the count of documents."""

_group_of = attrgetter("institution_code", "scheme", "clearing_type", "settled_day", "kind")
_amounts_of = attrgetter(*_SUMMED)

_OF_COLUMN = {"own_pay_fen": "coalesce(own_pay_fen, own_expense_fen + over_limit_fen + pre_self_pay_fen)"}
"""How a column of settlement is read that older rows leave empty."""

AMOUNTS_SQL = [_OF_COLUMN.get(name, name) for name in _SUMMED]
"""The amounts of a row of settlement, in the order of DAY_AMOUNTS after the count."""
SUMMED_SQL = ", ".join(f"coalesce(sum({amount}), 0)::bigint" for amount in AMOUNTS_SQL)
"""The sums over rows of settlement, in the same order."""

_ADD = f"INSERT INTO day_sum ({', '.join((*DAY_KEY, *DAY_AMOUNTS))})"
_TO_WHAT_IS_THERE = f" ON CONFLICT ({', '.join(DAY_KEY)}) DO UPDATE SET " + ", ".join(
    f"{name} = day_sum.{name} + EXCLUDED.{name}" for name in DAY_AMOUNTS
)
_ROW = "(" + ", ".join(["%s"] * (len(DAY_KEY) + len(DAY_AMOUNTS))) + ")"


def add(cursor: psycopg.Cursor[Any], rows: Iterable[SettlementRow]) -> None:
    """Add the settlements of a batch to their days.

    Call it after the heads of the institutions' chains are locked: their lock orders the writers of a day.
    """
    groups: defaultdict[Any, list[tuple[int, ...]]] = defaultdict(list)
    for row in rows:
        groups[_group_of(row)].append(_amounts_of(row))
    if not groups:
        return
    values: list[object] = []
    for group in sorted(groups):
        amounts = groups[group]
        values += [*group, len(amounts), *map(sum, zip(*amounts, strict=True))]
    cursor.execute(_ADD + " VALUES " + ", ".join([_ROW] * len(groups)) + _TO_WHAT_IS_THERE, values)


def add_documents(cursor: psycopg.Cursor[Any], numbers: Sequence[int]) -> None:
    """As `add`, of settlements this transaction has written by SQL: a contra settlement."""
    cursor.execute(
        f"{_ADD} SELECT institution_code, scheme, clearing_type, settled_day, kind, count(*), {SUMMED_SQL}"
        " FROM settlement WHERE settlement_no = ANY(%s)"
        " GROUP BY institution_code, scheme, clearing_type, settled_day, kind ORDER BY 1, 2, 3, 4, 5"
        + _TO_WHAT_IS_THERE,
        [list(numbers)],
    )
