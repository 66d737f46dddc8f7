"""The log of good lines that were taken in with a warning: kept, shown, and in nobody's way (AMB-06, AMB-39)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select

from domain.checks import Warned
from domain.visit import ChargeLine, pack_lines, unpack_lines
from infra.database import execute_many
from workers.tables import line_warning

_KEEP = insert(line_warning)


class WarnedLine(NamedTuple):
    """An imported line and the warning it got."""

    institution_code: str
    visit_no: str
    source: str
    line: ChargeLine
    code: str
    found_at: datetime


def rows_of(
    institution_code: str,
    visit_no: str,
    source: str,
    lines: Sequence[ChargeLine],
    warned: Iterable[Warned],
    *,
    at: datetime,
) -> list[dict[str, Any]]:
    """What is to be kept of a delivery's warnings; their places are those of `lines`."""
    return [
        {
            "institution_code": institution_code,
            "visit_no": visit_no,
            "source": source,
            "code": each.code,
            "line": pack_lines([lines[each.at]]),
            "found_at": at,
        }
        for each in warned
    ]


def keep(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add these to the log."""
    execute_many(connection, _KEEP, rows)


def warnings(
    connection: Connection,
    institution_code: str,
    *,
    visit_no: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[WarnedLine]:
    """An institution's lines that got a warning, of one visit or found in a time, oldest first."""
    asked = select(line_warning).where(line_warning.c.institution_code == institution_code)
    if visit_no:
        asked = asked.where(line_warning.c.visit_no == visit_no)
    if since is not None:
        asked = asked.where(line_warning.c.found_at >= since)
    if until is not None:
        asked = asked.where(line_warning.c.found_at < until)
    return [
        WarnedLine(row.institution_code, row.visit_no, row.source, unpack_lines(row.line)[0], row.code, row.found_at)
        for row in connection.execute(asked.order_by(line_warning.c.warning_id))
    ]
