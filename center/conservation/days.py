"""Institution-day = Σ documents: the sums kept in settling against what the documents themselves add up to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

import psycopg

from center.conservation.documents import Scope
from center.conservation.findings import Finding, Flow, Level
from center.conservation.sums import AMOUNTS_SQL, SUMMED_SQL
from center.conservation.tables import DAY_AMOUNTS, DAY_KEY

Amounts = tuple[int, ...]
"""In the order of DAY_AMOUNTS."""

_KEY, _AMOUNTS = ", ".join(DAY_KEY), ", ".join(DAY_AMOUNTS)
WIDTH = len(DAY_AMOUNTS)
_NOTHING: Amounts = (0,) * WIDTH

ADDED_UP = f"""
SELECT institution_code, scheme, clearing_type, settled_day, kind, count(*), {SUMMED_SQL}
FROM settlement s WHERE {{scope}} GROUP BY institution_code, scheme, clearing_type, settled_day, kind
"""
HELD = f"""
SELECT {_KEY}, {_AMOUNTS} FROM {{table}} JOIN
    (SELECT * FROM unnest(%(institution_code)s::text[], %(scheme)s::text[], %(clearing_type)s::text[],
        %(day)s::date[], %(kind)s::text[]) AS wanted ({_KEY})) AS wanted USING ({_KEY})
UNION SELECT {_KEY}, {_AMOUNTS} FROM {{table}} WHERE institution_code = ANY(%(codes)s) AND day >= %(since)s
"""
SUSPECTS = f"""
SELECT settlement_no FROM settlement WHERE (institution_code, scheme, clearing_type, settled_day, kind)
    = (%s, %s, %s, %s, %s) AND ({", ".join(AMOUNTS_SQL)}) = ({", ".join(["%s"] * len(AMOUNTS_SQL))})
ORDER BY settlement_no LIMIT 5
"""
TAKE_UP = (
    f"INSERT INTO checked_day ({_KEY}, {_AMOUNTS}) VALUES ({', '.join(['%s'] * (len(DAY_KEY) + len(DAY_AMOUNTS)))})"
    f" ON CONFLICT ({_KEY}) DO UPDATE SET "
    + ", ".join(f"{name} = checked_day.{name} + EXCLUDED.{name}" for name in DAY_AMOUNTS)
)


class DayKey(NamedTuple):
    """One row of day_sum."""

    institution_code: str
    scheme: str
    clearing_type: str
    day: date
    kind: str

    @property
    def flow(self) -> Flow:
        """Whose day it is."""
        return Flow(self.institution_code, self.scheme, self.clearing_type)


Days = Mapping[DayKey, Amounts]


def added_up(cursor: psycopg.Cursor[Any], scope: Scope) -> dict[DayKey, Amounts]:
    """What the documents of the scope come to, by day."""
    cursor.execute(ADDED_UP.format(scope=scope.where("s.settlement_no", "s.institution_code")), scope.values)
    return _by_day(cursor)


def held(
    cursor: psycopg.Cursor[Any], table: str, keys: Collection[DayKey], codes: Collection[str], since: date
) -> dict[DayKey, Amounts]:
    """The rows of day_sum or checked_day under these keys, and those of the institutions since the day."""
    columns = {name: [getattr(key, name) for key in keys] for name in DAY_KEY}
    cursor.execute(HELD.format(table=table), {**columns, "codes": list(codes), "since": since})
    return _by_day(cursor)


def held_of(cursor: psycopg.Cursor[Any], table: str, institution_code: str | None) -> dict[DayKey, Amounts]:
    """Every row of day_sum or checked_day, of one institution or of all."""
    condition = "true" if institution_code is None else "institution_code = %s"
    values = [] if institution_code is None else [institution_code]
    cursor.execute(f"SELECT {_KEY}, {_AMOUNTS} FROM {table} WHERE {condition}", values)
    return _by_day(cursor)


def together(one: Days, other: Days) -> dict[DayKey, Amounts]:
    """Both added up."""
    summed = dict(one)
    for key, amounts in other.items():
        summed[key] = tuple(map(sum, zip(summed.get(key, _NOTHING), amounts, strict=True)))
    return summed


def negative(days: Days) -> dict[DayKey, Amounts]:
    """The same with the other sign."""
    return {key: tuple(-amount for amount in amounts) for key, amounts in days.items()}


def broken_days(cursor: psycopg.Cursor[Any], expected: Days, found: Days) -> Iterator[Finding]:
    """The first amount of each day that is not what it should be, with the documents the whole day is off by."""
    for key in sorted({*expected, *found}):
        should, is_ = expected.get(key, _NOTHING), found.get(key, _NOTHING)
        wrong = next((place for place in range(WIDTH) if should[place] != is_[place]), None)
        if wrong is not None:
            name = DAY_AMOUNTS[wrong]
            code = "day-sum-count" if name in ("documents", "line_count") else "day-sum"
            suspects = _suspects(cursor, key, tuple(one - other for one, other in zip(is_, should, strict=True)))
            yield Finding(
                Level.DAY, code, key.flow, should[wrong], is_[wrong], day=key.day, subject=f"{key.kind} {name}",
                suspects=suspects,
            )  # fmt: skip


def _suspects(cursor: psycopg.Cursor[Any], key: DayKey, off: Amounts) -> tuple[int, ...]:
    """Documents of the day of which one was left out of its sum, or is in it twice: the sum is off by just that."""
    documents, *amounts = off
    if abs(documents) != 1:
        return ()
    cursor.execute(SUSPECTS, [*key, *(documents * amount for amount in amounts)])
    return tuple(number for (number,) in cursor.fetchall())


def take_up(cursor: psycopg.Cursor[Any], new: Days) -> None:
    """Add what a run has added up to what was checked before."""
    if new:
        cursor.executemany(TAKE_UP, [(*key, *amounts) for key, amounts in sorted(new.items())])


def _by_day(cursor: psycopg.Cursor[Any]) -> dict[DayKey, Amounts]:
    width = len(DAY_KEY)
    return {DayKey(*row[:width]): tuple(row[width:]) for row in cursor.fetchall()}
