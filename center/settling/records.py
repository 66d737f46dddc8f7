"""What settling reads and writes: a handful of statements for a whole batch, in one transaction.

Raw driver statements and COPY: the batch is the unit here, and through SQLAlchemy each statement costs three times
the CPU. The person rows are locked in the order of their key, first of all; every later statement only touches rows
that belong to a locked person, or appends in the order of the key. So two batches can wait for each other, never in
a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection

NORMAL = "normal"

VISITS = 7371
"""The class of advisory locks on visit numbers."""


class InsuredPerson(NamedTuple):
    """A row of `person`, locked until the transaction ends."""

    citizen_id_no: str
    person_no: int
    scheme: str
    category: str
    civil_servant: bool
    entitled: bool
    account_balance_fen: int
    rank: str
    groups: list[str]
    birth: date | None
    family_citizen_id_no: str | None
    version: int


class Standing(NamedTuple):
    """Where a locked person stands at the end of a batch."""

    account_balance_fen: int
    version: int


class Institution(NamedTuple):
    """What settling needs of an institution."""

    institution_code: str
    level: int
    frontend: str
    active: bool


class Content(NamedTuple):
    """What makes two claims under one key the same claim."""

    visit_type: str
    visit_date: date
    total_fen: int
    own_expense_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int
    line_count: int
    digest: bytes
    circumstances: bytes = b""
    """What else makes it the same claim, packed (`settlement.circumstances`)."""


class Settled(NamedTuple):
    """A claim the centre has settled: whose it is, what it was settled from, and the answer that was given."""

    visit_no: str
    charge_batch_no: int
    institution_code: str
    person_no: int
    frontend: str
    content: Content
    answer: bytes


class SettlementRow(NamedTuple):
    """A row of `settlement`, in the order it is copied."""

    settlement_no: int
    institution_code: str
    visit_no: str
    charge_batch_no: int
    kind: str
    frontend: str
    person_no: int
    settled_at: datetime
    settled_day: date
    visit_type: str
    visit_date: date
    total_fen: int
    own_expense_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int
    line_count: int
    digest: bytes
    circumstances: bytes
    fund_pay_fen: int
    account_pay_fen: int
    deductible_fen: int
    self_pay_fen: int
    over_cap_fen: int
    institution_share_fen: int
    own_pay_fen: int
    policy_version: str
    catalogue_version: str
    scheme: str
    category: str
    institution_level: int
    inputs: bytes
    steps: bytes
    answer: bytes


PostingRow = tuple[int, str, int]
"""settlement_no, account, amount_fen"""

EntryRow = tuple[int, int, str, int, int]
"""settlement_no, person_no, key, before_fen, applied_fen"""


class ParkedRow(NamedTuple):
    """A row of `parked`."""

    frontend: str
    institution_code: str
    visit_no: str
    charge_batch_no: int
    digest: bytes
    refusal: str
    detail: str
    totals: bytes
    parked_at: datetime


def cursor_of(connection: Connection) -> psycopg.Cursor[Any]:
    """A driver cursor inside the connection's transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver.cursor(binary=True)


# ── Gather ────────────────────────────────────────────────────────────────────────────────────────────────


def versions_in_force(cursor: psycopg.Cursor[Any]) -> tuple[tuple[str, str], ...]:
    """As `infra.reference.versions_in_force`, at a quarter of its cost: it is asked for every batch."""
    cursor.execute("SELECT kind, version FROM reference WHERE in_force ORDER BY kind, version")
    return tuple(cursor.fetchall())


def lock_persons(cursor: psycopg.Cursor[Any], citizen_id_nos: Collection[str]) -> dict[str, InsuredPerson]:
    """Lock the persons, one after the other in the order of their key, and return those there are.

    With them go those whose account one of them may use: that account may pay, too.
    """
    wanted = list(citizen_id_nos)
    cursor.execute(
        "SELECT citizen_id_no, person_no, scheme, category, civil_servant, entitled, account_balance_fen, rank, groups,"
        " birth, family_citizen_id_no, version FROM person WHERE citizen_id_no = ANY(%s::text[] || ARRAY("
        "SELECT family_citizen_id_no::text FROM person"
        " WHERE citizen_id_no = ANY(%s) AND family_citizen_id_no IS NOT NULL))"
        " ORDER BY citizen_id_no FOR UPDATE",
        [wanted, wanted],
    )
    return {row[0]: InsuredPerson(*row) for row in cursor.fetchall()}


def lock_visits(cursor: psycopg.Cursor[Any], visit_nos: Collection[str]) -> None:
    """Lock the visit numbers, after the persons: whose a number is, is read and decided by one transaction at a time.

    Two persons under one new number share no person's lock; this one they share. Numbers are locked in the order of
    their hashes, so two batches can wait for each other, never in a circle.
    """
    cursor.execute(
        "SELECT pg_advisory_xact_lock(%s, hash) FROM (SELECT DISTINCT hashtext(visit_no) AS hash"
        " FROM unnest(%s::text[]) AS visit_no ORDER BY hash) AS visit",
        [VISITS, list(visit_nos)],
    )


def institutions(cursor: psycopg.Cursor[Any], codes: Collection[str]) -> dict[str, Institution]:
    """The institutions there are under these codes."""
    cursor.execute(
        "SELECT institution_code, level, frontend, active FROM institution WHERE institution_code = ANY(%s)",
        [list(codes)],
    )
    return {row[0]: Institution(*row) for row in cursor.fetchall()}


def settled_visits(cursor: psycopg.Cursor[Any], visit_nos: Collection[str]) -> list[Settled]:
    """Everything already settled under these visit numbers. Read after the persons are locked, it is the newest."""
    cursor.execute(
        "SELECT visit_no, charge_batch_no, institution_code, person_no, frontend, visit_type, visit_date, total_fen,"
        " own_expense_fen, over_limit_fen, pre_self_pay_fen, in_scope_fen, line_count, digest, circumstances,"
        " answer FROM settlement WHERE visit_no = ANY(%s) AND kind = 'normal'",
        [list(visit_nos)],
    )
    return [Settled._make((*row[:5], Content(*row[5:15]), row[15])) for row in cursor.fetchall()]


def accumulators(
    cursor: psycopg.Cursor[Any], person_nos: Collection[int], keys: Collection[str]
) -> dict[int, dict[str, int]]:
    """The accumulators of the persons under the keys; one that has no row stands at zero."""
    cursor.execute(
        "SELECT person_no, key, amount_fen FROM accumulator WHERE person_no = ANY(%s::bigint[]) AND key = ANY(%s)",
        [list(person_nos), list(keys)],
    )
    held: dict[int, dict[str, int]] = {person_no: {} for person_no in person_nos}
    for person_no, key, amount_fen in cursor.fetchall():
        held[person_no][key] = amount_fen
    return held


def settlement_numbers(cursor: psycopg.Cursor[Any], count: int) -> list[int]:
    """So many new settlement numbers, ascending."""
    cursor.execute("SELECT nextval('settlement_no_seq') FROM generate_series(1, %s)", [count])
    return [number for (number,) in cursor.fetchall()]


# ── Record ────────────────────────────────────────────────────────────────────────────────────────────────


def append_settlements(
    cursor: psycopg.Cursor[Any],
    settlements: Iterable[SettlementRow],
    postings: Iterable[PostingRow],
    entries: Iterable[EntryRow],
) -> None:
    """Append what was settled, its postings and its movements of accumulators."""
    ordered = sorted(settlements, key=lambda row: (row.visit_no, row.charge_batch_no))
    _copy(cursor, "settlement", SettlementRow._fields, ordered)
    _copy(cursor, "posting", ("settlement_no", "account", "amount_fen"), postings)
    columns = ("settlement_no", "person_no", "key", "before_fen", "applied_fen")
    _copy(cursor, "accumulator_entry", columns, entries)


def set_accumulators(cursor: psycopg.Cursor[Any], amounts: Mapping[tuple[int, str], int]) -> None:
    """Set accumulators of locked persons."""
    cursor.execute(
        "INSERT INTO accumulator SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[])"
        " ON CONFLICT (person_no, key) DO UPDATE SET amount_fen = EXCLUDED.amount_fen",
        [[person_no for person_no, _ in amounts], [key for _, key in amounts], list(amounts.values())],
    )


def set_standings(cursor: psycopg.Cursor[Any], standings: Mapping[int, Standing]) -> None:
    """Set the account balances and the versions of locked persons."""
    balances, versions = zip(*standings.values(), strict=True)
    cursor.execute(
        "UPDATE person SET account_balance_fen = new.balance, version = new.version"
        " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS new (person_no, balance, version)"
        " WHERE person.person_no = new.person_no",
        [list(standings), list(balances), list(versions)],
    )


def park(cursor: psycopg.Cursor[Any], rows: Iterable[ParkedRow]) -> None:
    """Park refused claims, each once per reason."""
    ordered = sorted(rows, key=lambda row: (row.visit_no, row.charge_batch_no, row.digest, row.refusal))
    columns = [list(column) for column in zip(*ordered, strict=True)]
    cursor.execute(
        "INSERT INTO parked (frontend, institution_code, visit_no, charge_batch_no, digest, refusal, detail, totals,"
        " parked_at) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::int[], %s::bytea[], %s::text[],"
        " %s::text[], %s::bytea[], %s::timestamptz[])"
        " ON CONFLICT ON CONSTRAINT uq_parked DO NOTHING",
        columns,
    )


def _copy(cursor: psycopg.Cursor[Any], table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
