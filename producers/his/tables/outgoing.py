"""What is handed out to a HIS, into the shared tables: registrations, flow-one lines, results, discharges, catalogue.

A row is in the table before it is noted as handed out, and is known there by its key: what is handed out twice is there
once. Nothing waits for a read flag. The newest result of a visit stands unread and those before it do not, so a reader
that takes any one unread row takes the valid one, and so does a reader that takes the highest batch and flags nothing.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, InternalError, ProgrammingError

from infra.database import reading
from infra.reference import NothingPublished
from producers.his.dbf import Value
from producers.his.fields import Layout, layout
from producers.his.records import row_of
from producers.his.tables.objects import DISCHARGES, LINES, REGISTRATIONS, RESULTS, VIEWS
from producers.his.tables.place import Patron
from producers.his.tables.shared import SharedTables
from workers import catalogue_views, visits
from workers.visits.handout import GWYJB, Kind, Record

log = logging.getLogger("tables")

MATCHES = "VIEW_MATCH"
STAYS_LINES = LINES[0]
"""Lines of stays come from the HIS alone: the insurance system may not write there."""
IN_ORDER = (*REGISTRATIONS, *LINES, *RESULTS, *DISCHARGES)
"""What a visit gets in each table comes after what it gets in those before."""
AT_ONCE = 200
NOT_SAID = "不详"
"""What a required column of words says where nobody said anything: XM and CYZD1 may not be empty."""


class Outgoing:
    """Writes what waits for one institution."""

    def __init__(self, engine: Engine, tables: SharedTables, patron: Patron) -> None:
        self._engine, self._tables, self._patron = engine, tables, patron
        self._set_aside: set[int] = set()

    def hand_out(self, *, at: datetime) -> int:
        """Write everything that waits, oldest first; how many things."""
        done = 0
        while True:
            with reading(self._engine) as connection:
                found = visits.to_hand_out(
                    connection, self._patron.institution_code, at=at, limit=AT_ONCE + len(self._set_aside), dress=GWYJB
                )
            waiting = [each for each in found if each.hand_out_id not in self._set_aside]
            if not waiting:
                return done
            written = self._write(waiting)
            visits.handed_out(self._engine, written, at=at)
            done += len(written)

    def try_again(self) -> None:
        """Whatever the database refused may be taken now."""
        self._set_aside.clear()

    def _write(self, waiting: list[visits.HandOut]) -> list[int]:
        """All in one transaction; where one of them is refused, one by one, so that it holds up no other."""
        try:
            self._write_together(waiting)
            return [each.hand_out_id for each in waiting]
        except (DataError, IntegrityError, ProgrammingError, InternalError, KeyError) as error:
            if len(waiting) == 1:
                [refused] = waiting
                self._set_aside.add(refused.hand_out_id)
                extra = {"visit": refused.visit_no, "kind": str(refused.kind), "error": type(error).__name__}
                log.error("not_handed_out", extra=extra)
                return []
        return [hand_out_id for each in waiting for hand_out_id in self._write([each])]

    def _write_together(self, waiting: list[visits.HandOut]) -> None:
        """A cancellation is written after what comes before it; everything else table by table."""
        with self._tables.acting() as connection:
            rows: dict[str, list[visits.HandOut]] = defaultdict(list)
            for each in waiting:
                table = layout(each.table).counterpart
                if each.kind is Kind.CANCELLATION:
                    self._put(connection, rows)
                    self._tables.cancel(connection, table, each.visit_no)
                else:
                    rows[table].append(each)
            self._put(connection, rows)

    def _put(self, connection: Connection, waiting: dict[str, list[visits.HandOut]]) -> None:
        """Write what waits for each table, and nothing waits any more."""
        for table in (table for table in IN_ORDER if table in waiting):
            columns, of_table = layout(table), waiting.pop(table)
            if table != STAYS_LINES:
                rows = [_row(columns, record) for each in of_table for record in each.records]
                self._tables.put(connection, table, rows)
            grades = {
                each.visit_no: str(record[GWYJB])
                for each in of_table
                for record in reversed(each.records)
                if record.get(GWYJB)
            }
            if grades:
                self._tables.put_grades(connection, table, self._patron.institution_code, grades)


def _row(columns: Layout, record: Record) -> dict[str, Value]:
    """A record as the row of its table; the grade has a place of its own."""
    row = row_of(columns, {name: value for name, value in record.items() if name != GWYJB})
    for field in columns:
        if field.required and field.is_free_text and not row.get(field.code):
            row[field.code] = NOT_SAID
    return row


def show_catalogue(engine: Engine, tables: SharedTables, institutions: list[str], *, at: datetime) -> bool:
    """Bring the views to the version in force and the day; False when they show it already, or nothing is published.

    VIEW_MATCH has no dates, so it is filled anew every day.
    """
    with reading(engine) as connection:
        try:
            version = catalogue_views.version_in_force(connection)
        except NothingPublished:
            return False
        mark = f"{at:%Y%m%d} {len(institutions)} {version}"[:64]
        with reading(tables.engine) as exchange:
            if tables.published_version(exchange) == mark:
                return False
        catalogue = catalogue_views.published(connection, version)
    day = at.date()
    rows = {view: list(catalogue.rows(view, "", day)) for view in VIEWS}
    rows[MATCHES] = [row for code in institutions for row in catalogue.rows(MATCHES, code, day)]
    with tables.acting() as exchange:
        tables.publish(exchange, mark, rows)
    log.info("catalogue_shown", extra={"version": version, "matches": len(rows[MATCHES])})
    return True
