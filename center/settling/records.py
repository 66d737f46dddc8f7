"""What settling reads and writes: a handful of statements for a whole batch, in one transaction.

Raw driver statements and COPY: the batch is the unit here, and through SQLAlchemy each statement costs three times
the CPU. The person rows are locked in the order of their key, first of all; every later statement only touches rows
that belong to a locked person, or appends in the order of the key. So two batches can wait for each other, never in
a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import itemgetter
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection

NORMAL = "normal"

FROZEN_OF = (
    "ARRAY(SELECT scheme || ':' || clearing_type || ':' || coalesce(person_no::text, '*') FROM frozen_flow"
    " WHERE released_at IS NULL AND frozen_flow.institution_code IN (institution.institution_code, '*'))"
)
"""What is frozen of an institution, as `center.conservation.freezing.is_frozen` reads it: scheme, type, person."""

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
    groups: list[str] | None
    """None where there is none: an empty array costs as much to read as the rest of the row."""
    birth: date | None
    family_citizen_id_no: str | None
    version: int
    held_until: datetime | None = None
    """A prepared claim holds the person until then (`center.outcomes.holds`)."""


class Standing(NamedTuple):
    """Where a locked person stands at the end of a batch."""

    account_balance_fen: int
    version: int


SENDS_NEW, MOVING_IN = frozenset({"open", "moving_out"}), "moving_in"
"""How a front-end stands to an institution whose new claims it may send (domain.terms.Standing)."""
_SERVED = (
    "ARRAY(SELECT CASE WHEN until IS NULL THEN standing ELSE 'ended' END || ' ' || frontend FROM served_by"
    " WHERE served_by.institution_code = institution.institution_code)"
)


class Institution(NamedTuple):
    """What settling needs of an institution."""

    institution_code: str
    level: int
    served: Sequence[str]
    """Its front-ends, each behind its standing, "ended" where all it had accepted is seen through."""
    active: bool
    frozen: Sequence[str] = ()
    """What of its flows is frozen (`center.conservation.freezing`); empty on nearly every day."""

    def standing_of(self, frontend: str) -> str:
        """How the front-end stands to it; empty: it has nothing to do with it."""
        named = (each.partition(" ") for each in self.served)
        return next((standing for standing, _, each in named if each == frontend), "")

    def has_heard(self, frontend: str) -> bool:
        """Whether the front-end may speak of what it once had settled here: it serves the institution, or once did, or
        is to: of a move that a restored centre lost and makes again it has settled already."""
        return self.standing_of(frontend) != ""


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


class Unsettled(NamedTuple):
    """A claim that is prepared, or is not to be settled any more (`center.outcomes`)."""

    visit_no: str
    charge_batch_no: int
    institution_code: str
    person_no: int | None
    state: str


class StoredRefusal(NamedTuple):
    """What a submission of a claim was refused for, when it was decided."""

    visit_no: str
    charge_batch_no: int
    institution_code: str
    frontend: str
    submission: int
    refusal: str
    detail: str
    totals: bytes
    failed: bytes = b""
    """The lines that failed their checks, packed; empty: none did."""


class Known(NamedTuple):
    """What became of claims under some visit numbers."""

    settled: list[Settled]
    unsettled: list[Unsettled]
    refused: list[StoredRefusal]
    """In the order they were parked."""


class SettlementRow(NamedTuple):
    """A row of `settlement`, in the order of its layout (`center.ledger.layouts`)."""

    settlement_no: int
    person_no: int
    charge_batch_no: int
    line_count: int
    visit_date: date
    total_fen: int
    own_expense_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    deductible_fen: int
    self_pay_fen: int
    over_cap_fen: int
    institution_share_fen: int
    own_pay_fen: int
    institution_level: int
    institution_code: str
    visit_type: str
    clearing_type: str
    scheme: str
    category: str
    kind: str
    frontend: str
    settled_at: datetime
    settled_day: date
    policy_version: str
    catalogue_version: str
    contra_of: int | None
    reason: str
    visit_no: str
    digest: bytes
    circumstances: bytes
    inputs: bytes
    steps: bytes
    answer: bytes


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
    submission: int
    parked_at: datetime
    failed: bytes = b""


def cursor_of(connection: Connection) -> psycopg.Cursor[Any]:
    """A driver cursor inside the connection's transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver.cursor(binary=True)


def of_numbers(numbers: Iterable[int]) -> str:
    """Numbers as PostgreSQL reads an array: for a parameter that says its type. The driver's own arrays cost more than
    the rows they name."""
    return "{" + ",".join(map(str, numbers)) + "}"


def of_texts(texts: Collection[str]) -> str:
    """Texts in the same way, whatever stands in them."""
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * max(0, len(texts) - 1):
        joined = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in texts])
    return f'{{"{joined}"}}' if texts else "{}"


# ── Gather ────────────────────────────────────────────────────────────────────────────────────────────────


def versions_in_force(cursor: psycopg.Cursor[Any]) -> tuple[tuple[str, str], ...]:
    """As `infra.reference.versions_in_force`, at a quarter of its cost: it is asked for every batch."""
    cursor.execute("SELECT kind, version FROM reference WHERE in_force ORDER BY kind, version")
    return tuple(cursor.fetchall())


def lock_persons(cursor: psycopg.Cursor[Any], citizen_id_nos: Collection[str]) -> dict[str, InsuredPerson]:
    """Lock the persons, one after the other in the order of their key, and return those there are.

    With them go those whose account one of them may use: that account may pay, too.
    """
    wanted = of_texts(citizen_id_nos)
    cursor.execute(
        "SELECT citizen_id_no, person_no, scheme, category, civil_servant, entitled, account_balance_fen, rank,"
        " nullif(groups, '{}'),"
        " birth, family_citizen_id_no, version, held_until FROM person WHERE citizen_id_no = ANY(%s::text[] || ARRAY("
        "SELECT family_citizen_id_no::text FROM person"
        " WHERE citizen_id_no = ANY(%s::text[]) AND family_citizen_id_no IS NOT NULL))"
        " ORDER BY citizen_id_no FOR UPDATE",
        [wanted, wanted],
    )
    return {row[0]: InsuredPerson(*row) for row in cursor.fetchall()}


def lock_persons_numbered(cursor: psycopg.Cursor[Any], person_nos: Collection[int]) -> dict[int, InsuredPerson]:
    """Lock these very persons, in the order of `lock_persons`, and return them by number."""
    if not person_nos:
        return {}
    cursor.execute(
        "SELECT citizen_id_no, person_no, scheme, category, civil_servant, entitled, account_balance_fen, rank,"
        " nullif(groups, '{}'),"
        " birth, family_citizen_id_no, version, held_until FROM person WHERE person_no = ANY(%s::bigint[])"
        " ORDER BY person.citizen_id_no FOR UPDATE",
        [list(person_nos)],
    )
    return {row[1]: InsuredPerson(*row) for row in cursor.fetchall()}


def lock_visits(cursor: psycopg.Cursor[Any], visit_nos: Collection[str]) -> None:
    """Lock the visit numbers, after the persons: whose a number is, is read and decided by one transaction at a time.

    Two persons under one new number share no person's lock; this one they share. Numbers are locked in the order of
    their hashes, so two batches can wait for each other, never in a circle.
    """
    cursor.execute(
        "SELECT pg_advisory_xact_lock(%s, hash) FROM (SELECT DISTINCT hashtext(visit_no) AS hash"
        " FROM unnest(%s::text[]) AS visit_no ORDER BY hash) AS visit",
        [VISITS, of_texts(visit_nos)],
    )


def institutions(cursor: psycopg.Cursor[Any], codes: Collection[str]) -> dict[str, Institution]:
    """The institutions there are under these codes."""
    cursor.execute(
        f"SELECT institution_code, level, {_SERVED}, active, {FROZEN_OF} FROM institution"
        " WHERE institution_code = ANY(%s)",
        [list(codes)],
    )
    return {row[0]: Institution(*row) for row in cursor.fetchall()}


def moved_claims(cursor: psycopg.Cursor[Any], frontend: str, visit_nos: Collection[str]) -> set[tuple[str, int]]:
    """Of these visits, the claims a front-end had accepted before their institution moved away from it."""
    cursor.execute(
        "SELECT visit_no, charge_batch_no FROM drained_claim WHERE frontend = %s AND visit_no = ANY(%s::text[])",
        [frontend, of_texts(visit_nos)],
    )
    return set(cursor.fetchall())


def live_elsewhere(cursor: psycopg.Cursor[Any], frontend: str, visit_nos: Collection[str]) -> set[str]:
    """Of these visits, those that travelled to another front-end than this one."""
    cursor.execute(
        "SELECT visit_no FROM moved_visit WHERE frontend <> %s AND visit_no = ANY(%s::text[])",
        [frontend, of_texts(visit_nos)],
    )
    return {row[0] for row in cursor.fetchall()}


def known_of_visits(cursor: psycopg.Cursor[Any], visit_nos: Collection[str]) -> Known:
    """Everything settled, everything prepared or cancelled, and everything refused under these visit numbers.

    Read after the persons and the visits are locked, it is the newest.
    """
    visits = of_texts(visit_nos)
    cursor.execute(
        "SELECT visit_no, charge_batch_no, institution_code, person_no, frontend, visit_type, visit_date, total_fen,"
        " own_expense_fen, over_limit_fen, pre_self_pay_fen, in_scope_fen, line_count, digest, circumstances,"
        " answer, '' AS state, 0 AS place FROM settlement WHERE visit_no = ANY(%s::text[]) AND kind = 'normal'"
        " UNION ALL SELECT visit_no, charge_batch_no, institution_code, person_no, NULL, NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL, NULL, NULL, NULL, NULL, state, 1 FROM outcome WHERE visit_no = ANY(%s::text[])"
        " AND state <> 'confirmed'"
        " UNION ALL SELECT visit_no, charge_batch_no, institution_code, submission, frontend, refusal, NULL, parked_id,"
        " NULL, NULL, NULL, NULL, NULL, totals, failed, NULL, detail, 2 FROM parked WHERE visit_no = ANY(%s::text[])",
        [visits, visits, visits],
    )
    rows = cursor.fetchall()
    settled = [Settled._make((*row[:5], Content(*row[5:15]), row[15])) for row in rows if row[17] == 0]
    if len(settled) == len(rows):
        return Known(settled, [], [])
    unsettled = [Unsettled._make((*row[:4], row[16])) for row in rows if row[17] == 1]
    parked = sorted((row for row in rows if row[17] == 2), key=itemgetter(7))
    refused = [StoredRefusal._make((*row[:3], row[4], row[3], row[5], row[16], row[13], row[14])) for row in parked]
    return Known(settled, unsettled, refused)


def accumulators(
    cursor: psycopg.Cursor[Any], person_nos: Collection[int], keys: Collection[str]
) -> dict[int, dict[str, int]]:
    """The accumulators of the persons under the keys; one that has no row stands at zero."""
    cursor.execute(
        "SELECT person_no, key, amount_fen FROM accumulator"
        " WHERE person_no = ANY(%s::bigint[]) AND key = ANY(%s::text[])",
        [of_numbers(person_nos), of_texts(keys)],
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


def set_accumulators(cursor: psycopg.Cursor[Any], amounts: Mapping[tuple[int, str], int]) -> None:
    """Set accumulators of locked persons."""
    cursor.execute(
        "INSERT INTO accumulator SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[])"
        " ON CONFLICT (person_no, key) DO UPDATE SET amount_fen = EXCLUDED.amount_fen",
        [
            of_numbers(person_no for person_no, _ in amounts),
            of_texts([key for _, key in amounts]),
            of_numbers(amounts.values()),
        ],
    )


def set_standings(cursor: psycopg.Cursor[Any], standings: Mapping[int, Standing]) -> None:
    """Set the account balances and the versions of locked persons."""
    balances, versions = zip(*standings.values(), strict=True)
    cursor.execute(
        "UPDATE person SET account_balance_fen = new.balance, version = new.version"
        " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS new (person_no, balance, version)"
        " WHERE person.person_no = new.person_no",
        [of_numbers(standings), of_numbers(balances), of_numbers(versions)],
    )


def park(cursor: psycopg.Cursor[Any], rows: Iterable[ParkedRow]) -> None:
    """Park refused claims, each submission once per reason: the answer of its copies from now on."""
    ordered = sorted(rows, key=lambda row: (row.visit_no, row.charge_batch_no, row.digest, row.refusal))
    columns = [list(column) for column in zip(*ordered, strict=True)]
    cursor.execute(
        "INSERT INTO parked (frontend, institution_code, visit_no, charge_batch_no, digest, refusal, detail, totals,"
        " submission, parked_at, failed) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::int[],"
        " %s::bytea[], %s::text[], %s::text[], %s::bytea[], %s::int[], %s::timestamptz[], %s::bytea[])"
        " ON CONFLICT ON CONSTRAINT uq_parked DO NOTHING",
        columns,
    )
