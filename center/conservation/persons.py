"""Accumulator = Σ entries, and balance of an account = opening − Σ postings: of the persons documents have moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from center.conservation.documents import MOST_FINDINGS, Scope
from center.conservation.findings import Finding, Flow, Level

MOVED = """
SELECT person_no FROM settlement WHERE settlement_no = ANY(%(numbers)s)
UNION SELECT substr(account, 9)::bigint FROM posting
WHERE document_no = ANY(%(numbers)s) AND account LIKE 'account:%%'
"""
"""The persons whose accumulators or account documents have moved; `account:` is eight letters long."""

ACCUMULATORS = """
SELECT b.person_no, b.key, b.entered_fen, b.held_fen, (SELECT max(settlement_no) FROM accumulator_entry e
    WHERE (e.person_no, e.key) = (b.person_no, b.key))
FROM (SELECT person_no, key, coalesce(entered.fen, 0)::bigint AS entered_fen, coalesce(a.amount_fen, 0) AS held_fen
    FROM (SELECT person_no, key, sum(applied_fen) AS fen FROM accumulator_entry WHERE {whose} GROUP BY person_no, key)
    AS entered FULL JOIN (SELECT * FROM accumulator WHERE {whose}) AS a USING (person_no, key)) AS b
WHERE b.entered_fen <> b.held_fen ORDER BY b.person_no, b.key LIMIT %(most)s
"""

ACCOUNTS = """
SELECT person_no, coalesce(o.amount_fen, 0) - coalesce(moved.fen, 0)::bigint, account_balance_fen, moved.last_no
FROM person LEFT JOIN account_opening o USING (person_no) LEFT JOIN (
    SELECT substr(account, 9)::bigint AS person_no, sum(amount_fen) AS fen, max(document_no) AS last_no
    FROM posting WHERE account LIKE 'account:%%' AND {accounts} GROUP BY account) AS moved USING (person_no)
WHERE {whose} AND account_balance_fen <> coalesce(o.amount_fen, 0) - coalesce(moved.fen, 0)
ORDER BY person_no LIMIT %(most)s
"""


def moved(cursor: psycopg.Cursor[Any], scope: Scope) -> list[int]:
    """The persons the documents of the scope have moved."""
    cursor.execute(MOVED, {"numbers": scope.numbers})
    return [person_no for (person_no,) in cursor.fetchall()]


def broken_persons(cursor: psycopg.Cursor[Any], persons: list[int] | None) -> Iterator[Finding]:
    """Accumulators and accounts that are not what their entries say; of these persons, or of all.

    A finding names the last document that moved them, and freezes the person, nobody else.
    """
    values = {
        "persons": persons,
        "accounts": None if persons is None else [f"account:{number}" for number in persons],
        "most": MOST_FINDINGS,
    }
    whose = "true" if persons is None else "person_no = ANY(%(persons)s)"
    cursor.execute(ACCUMULATORS.format(whose=whose), values)
    for person_no, key, expected, found, number in cursor.fetchall():
        yield Finding(Level.PERSON, "accumulator", Flow(), expected, found, number, person_no=person_no, subject=key)
    accounts = "true" if persons is None else "account = ANY(%(accounts)s)"
    cursor.execute(ACCOUNTS.format(whose=whose, accounts=accounts), values)
    for person_no, expected, found, number in cursor.fetchall():
        yield Finding(Level.PERSON, "account", Flow(), expected, found, number, person_no=person_no)


def count(cursor: psycopg.Cursor[Any]) -> int:
    """How many persons there are."""
    cursor.execute("SELECT count(*) FROM person")
    number: int = cursor.fetchall()[0][0]
    return number
