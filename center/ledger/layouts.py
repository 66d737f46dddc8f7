"""What a document's digest is taken over: its rows as PostgreSQL stores them, in the binary form of COPY.

The same bytes go into the database and into the hash, and `COPY ... TO` gives them back years later: nothing is
formatted twice, and no time zone, no JSON writer and no rounding stands between a row and its digest. A layout is never
edited. A column that is to be proved from now on makes a new layout; links made under an older one stay under theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

LEDGER, AUDIT = "ledger", "audit"
DIGEST_BYTES = 32
NEWEST = 1

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_number_first = Struct(">hiq").unpack_from
"""How every row begins: the number of fields, the length of the first, and the first: the document's number."""


class Part(NamedTuple):
    """Some columns of a table, the document's number first."""

    table: str
    columns: tuple[str, ...]


SETTLEMENT = Part("settlement", (
    "settlement_no", "person_no", "charge_batch_no", "line_count", "visit_date", "total_fen", "own_expense_fen",
    "over_limit_fen", "pre_self_pay_fen", "in_scope_fen", "fund_pay_fen", "account_pay_fen", "deductible_fen",
    "self_pay_fen", "over_cap_fen", "institution_share_fen", "own_pay_fen", "institution_level", "institution_code",
    "visit_type", "clearing_type", "scheme", "category", "kind", "frontend", "settled_at", "settled_day",
    "policy_version", "catalogue_version", "contra_of", "reason", "visit_no", "digest", "circumstances", "inputs",
    "steps", "answer",
))  # fmt: skip
POSTING = Part("posting", ("document_no", "account", "amount_fen"))
ENTRY = Part("accumulator_entry", ("settlement_no", "person_no", "key", "before_fen", "applied_fen"))
DOCUMENT = Part("ledger_document", (
    "document_no", "kind", "institution_code", "scheme", "clearing_type", "day", "made_at", "made_by", "approved_by",
    "reason", "refers_to", "amount_fen", "content",
))  # fmt: skip
AUDIT_ROW = Part("audit", ("audit_no", "at", "by", "action", "subject", "reason", "institution_code", "details"))

LAYOUTS: Mapping[int, Mapping[str, tuple[Part, ...]]] = {
    1: {LEDGER: (SETTLEMENT, DOCUMENT, POSTING, ENTRY), AUDIT: (AUDIT_ROW,)},
}
"""Which rows make up a document, by layout and kind of link."""

HEADED = {LEDGER: frozenset({SETTLEMENT.table, DOCUMENT.table}), AUDIT: frozenset({AUDIT_ROW.table})}
"""Tables with exactly one row per document, one of them for each; the others have any number."""


class Stored(NamedTuple):
    """A document as it stands in the database."""

    digest: bytes
    headings: int
    """Rows in the tables that have one per document: 1, unless somebody took it away or made another."""


def digest_of(rows: Sequence[bytes]) -> bytes:
    """The digest of a document's rows, whatever order they are found in."""
    return sha256(b"".join(sorted(rows))).digest()


def stored(cursor: psycopg.Cursor[Any], layout: int, kind: str, numbers: Collection[int]) -> dict[int, Stored]:
    """The documents under these numbers as they stand now; one of which there is no row at all is left out."""
    rows: defaultdict[int, list[bytes]] = defaultdict(list)
    headings: defaultdict[int, int] = defaultdict(int)
    for part in LAYOUTS[layout][kind]:
        is_heading = part.table in HEADED[kind]
        for row in copied(cursor, part, numbers):
            number = _number_first(row)[2]
            rows[number].append(row)
            headings[number] += is_heading
    return {number: Stored(digest_of(found), headings[number]) for number, found in rows.items()}


def copied(cursor: psycopg.Cursor[Any], part: Part, numbers: Collection[int]) -> Iterator[bytes]:
    """The rows of these documents in the binary form of COPY, in no order."""
    if not numbers:
        return
    statement = sql.SQL("COPY (SELECT {} FROM {} WHERE {} = ANY({}::bigint[])) TO STDOUT (FORMAT BINARY)").format(
        sql.SQL(", ").join(map(sql.Identifier, part.columns)),
        sql.Identifier(part.table),
        sql.Identifier(part.columns[0]),
        sql.Literal("{" + ",".join(map(str, numbers)) + "}"),
    )
    with cursor.copy(statement) as copy:
        for chunk in copy:  # the protocol sends one message for each row; the header comes with the first
            row = bytes(chunk).removeprefix(HEADER)
            if row and row != TRAILER:
                yield row
