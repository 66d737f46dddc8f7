"""Settlements as the database takes them: each row encoded once, for COPY and for the digest of the chain alike.

The encoding is that of `center.ledger.layouts`; what it writes, PostgreSQL gives back byte for byte, and a test
compares the two. Strings that come again and again, claim after claim, are encoded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any

import psycopg

from center.ledger.layouts import ENTRY, HEADER, POSTING, SETTLEMENT, TRAILER, Part
from center.settling.records import SettlementRow

_NUMBERS = 18
"""How many columns a settlement begins with that are numbers; then come those that repeat, then those of its own."""
_OWN = SettlementRow._fields.index("visit_no")

_length = Struct(">i").pack
_settlement = Struct(">hiqiqiiiiii" + "iq" * 12 + "ii").pack
_posting_begins = Struct(">hiq").pack
_posting_ends = Struct(">iq").pack
_entry_begins = Struct(">hiqiq").pack
_entry_ends = Struct(">iqiq").pack
_DAYS_BEFORE = date(2000, 1, 1).toordinal()
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ABSENT = _length(-1)


class Encoded:
    """The rows of a batch, ready to be copied, and the digest of each settlement."""

    __slots__ = ("_entries", "_postings", "_settlements", "digests")

    def __init__(self) -> None:
        self._settlements: list[tuple[tuple[str, int], bytes]] = []
        self._postings: list[bytes] = []
        self._entries: list[bytes] = []
        self.digests: dict[str, tuple[list[int], list[bytes]]] = {}
        """By institution: numbers, and their digests in the same order."""

    def add(self, row: SettlementRow, postings: Iterable[tuple[str, int]], entries: Iterable[Sequence[Any]]) -> None:
        """Add a settlement with its postings (account, fen) and entries (key, before, applied)."""
        number = row[0]
        settlement = _settlement_bytes(row)
        begins = _posting_begins(3, 8, number)
        posted = [begins + text_field(account) + _posting_ends(8, amount_fen) for account, amount_fen in postings]
        begins = _entry_begins(5, 8, number, 8, row[1])
        entered = [begins + text_field(key) + _entry_ends(8, before, 8, applied) for key, before, applied in entries]
        self._settlements.append(((row.visit_no, row.charge_batch_no), settlement))
        self._postings += posted
        self._entries += entered
        numbers, digests = self.digests.setdefault(row.institution_code, ([], []))
        numbers.append(number)
        digests.append(sha256(b"".join(sorted([settlement, *posted, *entered]))).digest())

    def copy(self, cursor: psycopg.Cursor[Any]) -> None:
        """Append all of it; settlements in the order of their key, so that two batches do not wait in a circle, and
        after their postings, without which the database takes none."""
        _copy(cursor, POSTING, self._postings)
        _copy(cursor, SETTLEMENT, [row for _, row in sorted(self._settlements)])
        _copy(cursor, ENTRY, self._entries)


def _settlement_bytes(row: SettlementRow) -> bytes:
    values: tuple[Any, ...] = row
    number, person_no, batch_no, lines, day, a, b, c, d, e, f, g, h, i, j, k, own, level = values[:_NUMBERS]
    visit_no, digest, circumstances, inputs, steps, answer = values[_OWN:]
    visit = visit_no.encode()
    return b"".join(
        (
            _settlement(
                37, 8, number, 8, person_no, 4, batch_no, 4, lines, 4, day.toordinal() - _DAYS_BEFORE,
                8, a, 8, b, 8, c, 8, d, 8, e, 8, f, 8, g, 8, h, 8, i, 8, j, 8, k, 8, own, 4, level,
            ),
            _repeated(values[_NUMBERS:_OWN]),
            _length(len(visit)), visit, _length(len(digest)), digest, _length(len(circumstances)), circumstances,
            _length(len(inputs)), inputs, _length(len(steps)), steps, _length(len(answer)), answer,
        )
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _repeated(values: tuple[Any, ...]) -> bytes:
    return b"".join(map(_field, values))


def _field(value: str | date | datetime | None) -> bytes:
    if value is None:
        return _ABSENT
    if isinstance(value, datetime):
        return _posting_ends(8, (value - _EPOCH) // _MICROSECOND)
    if isinstance(value, date):
        return _length(4) + _length(value.toordinal() - _DAYS_BEFORE)
    return text_field(value)


@lru_cache(maxsize=65536)
def text_field(text: str) -> bytes:
    """A text with its length before it."""
    written = text.encode()
    return _length(len(written)) + written


def _copy(cursor: psycopg.Cursor[Any], part: Part, rows: Sequence[bytes]) -> None:
    with cursor.copy(f"COPY {part.table} ({', '.join(part.columns)}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(b"".join((HEADER, *rows, TRAILER)))
