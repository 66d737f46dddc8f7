"""The lines a claim came with become its detail in the transaction that settles it: no upload is due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any

import psycopg

from center.ledger.layouts import HEADER, TRAILER
from center.settling.records import SettlementRow

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_begins = Struct(">hiqiiiqi").pack
_ends = Struct(">iq").pack


def keep(cursor: psycopg.Cursor[Any], settled: Iterable[tuple[SettlementRow, bytes]], at: datetime) -> None:
    """Append the canonical lines of these new settlements to `detail`."""
    moment = _ends(8, (at - _EPOCH) // _MICROSECOND)
    rows = [
        _begins(5, 8, row.settlement_no, 4, row.line_count, 8, row.total_fen, len(lines)) + lines + moment
        for row, lines in settled
    ]
    with cursor.copy(
        "COPY detail (settlement_no, line_count, total_fen, lines, received_at) FROM STDIN (FORMAT BINARY)"
    ) as copy:
        copy.write(b"".join((HEADER, *rows, TRAILER)))
