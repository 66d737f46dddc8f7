"""The check's own running sums: what it has seen of the documents, so that a run need look at new ones only.

A check from nothing sets them right where they are not what the documents come to: a document that was broken when it
was taken up, and is mended since, would else be missed in every later comparison.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from center.conservation import accounts, days, links
from center.conservation.days import Amounts, DayKey
from center.conservation.documents import Scope

EVERY_LINK = 2**31

WATERMARKS = """
SELECT institution_code, link_no FROM books_watermark WHERE {scope} ORDER BY institution_code {lock}
"""


class Sums(NamedTuple):
    """What documents come to, by day and by account."""

    days: dict[DayKey, Amounts]
    accounts: dict[accounts.Key, int]


class Off(NamedTuple):
    """By how much the running sums are off, and the watermarks at which they were."""

    sums: Sums
    watermarks: dict[str, int]


def added_up(cursor: psycopg.Cursor[Any], scope: Scope) -> Sums:
    """What the documents of the scope come to."""
    return Sums(days.added_up(cursor, scope), accounts.added_up(cursor, scope))


def off(cursor: psycopg.Cursor[Any], whole: Sums, scope: Scope) -> Off:
    """By how much the running sums are off, in the snapshot in which all documents of the scope came to `whole`."""
    news = links.news(cursor, EVERY_LINK, scope.institution_code)
    rest = added_up(cursor, news.scope)
    codes = None if scope.institution_code is None else [scope.institution_code]
    held = days.together(days.held_of(cursor, "checked_day", scope.institution_code), rest.days)
    balances = accounts.together(accounts.held(cursor, codes), rest.accounts)
    nothing = (0,) * days.WIDTH
    by_day = {
        key: tuple(a - b for a, b in zip(whole.days.get(key, nothing), held.get(key, nothing), strict=True))
        for key in {*whole.days, *held}
    }
    by_account = {key: whole.accounts.get(key, 0) - balances.get(key, 0) for key in {*whole.accounts, *balances}}
    return Off(
        Sums(
            {key: amounts for key, amounts in by_day.items() if any(amounts)},
            {key: amount for key, amount in by_account.items() if amount},
        ),
        _watermarks(cursor, scope, ""),
    )


def take_up(cursor: psycopg.Cursor[Any], new: Sums) -> None:
    """Add what a run has added up."""
    days.take_up(cursor, new.days)
    accounts.take_up_flows(cursor, new.days)
    accounts.take_up(cursor, new.accounts)


def set_right(cursor: psycopg.Cursor[Any], wrong: Off, scope: Scope) -> None:
    """Correct the running sums of the institutions whose watermark stands where it stood."""
    if not any(wrong.sums):
        return
    now = _watermarks(cursor, scope, "FOR UPDATE")
    codes = {key.institution_code for of_kind in wrong.sums for key in of_kind}
    still = {code for code in codes if wrong.watermarks.get(code) == now.get(code)}
    take_up(
        cursor,
        Sums(
            {key: amounts for key, amounts in wrong.sums.days.items() if key.institution_code in still},
            {key: amount for key, amount in wrong.sums.accounts.items() if key.institution_code in still},
        ),
    )


def _watermarks(cursor: psycopg.Cursor[Any], scope: Scope, lock: str) -> dict[str, int]:
    cursor.execute(WATERMARKS.format(scope=scope.where("", "institution_code"), lock=lock), scope.values)
    return dict(cursor.fetchall())
