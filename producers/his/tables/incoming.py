"""Charge lines out of the shared tables: read row by row, checked, imported, and the verdict written on each row.

The rows are locked from the reading to the marking, and the import commits in between. If this process dies after the
import and before the marks, the rows are read again, and the import answers as it did: it knows each line by its visit,
number and content.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from domain.codes import PASSED
from infra.database import reading
from infra.reference import ReferenceShelf
from producers.his.charge_lines import LINE_NO_REPEATED
from producers.his.line_files import Mark
from producers.his.tables.objects import IMPORTED, LINES
from producers.his.tables.place import Patron
from producers.his.tables.shared import Place, SharedTables
from producers.his.tables.values import line_of
from workers import visits

log = logging.getLogger("tables")

CHANNEL = "tables"
VISITS_PER_TRANSACTION = 50


@dataclass(slots=True)
class Taken:
    """What one look at an institution's line tables came to."""

    rows: int = 0
    imported: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Rows imported now, by visit."""
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Rows refused, by code."""
    waiting: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Visits with rows that are not imported, by table, as far as this look went."""


class Incoming:
    """Reads one institution's line tables. What failed and has not changed since costs one look, not an import."""

    def __init__(self, engine: Engine, shelf: ReferenceShelf, tables: SharedTables, patron: Patron) -> None:
        self._engine, self._shelf, self._tables, self._patron = engine, shelf, tables, patron
        self._stands: dict[tuple[str, str], int] = {}
        """What was in the rows of a visit that kept their verdicts, by table and visit."""

    def look(self, *, at: datetime, failed: bool) -> Taken:
        """Import what waits; with `failed`, what failed before is read again as well, and what is gone forgotten."""
        taken = Taken()
        for table in self._read_tables():
            self._look_at(table, taken, at=at, failed=False)
            if failed:
                self._look_at(table, taken, at=at, failed=True)
        if failed:
            self._forget_what_is_gone(taken, at=at)
        return taken

    def forget_what_stands(self) -> None:
        """Verdicts may be other ones now: a new catalogue, a new day, a visit that is open again."""
        self._stands.clear()

    def _read_tables(self) -> Sequence[str]:
        return LINES if self._patron.reads_outpatient_lines else LINES[:1]

    def _look_at(self, table: str, taken: Taken, *, at: datetime, failed: bool) -> None:
        after = ""
        while True:
            with reading(self._tables.engine) as connection:
                waiting = self._tables.waiting_visits(
                    connection, table, self._patron.owners,
                    after=after, at_most=VISITS_PER_TRANSACTION, failed=failed,
                )  # fmt: skip
            if not waiting:
                return
            after = waiting[-1]
            taken.waiting[table].update(waiting)
            self._import(table, waiting, taken, at=at)
            if len(waiting) < VISITS_PER_TRANSACTION:
                return

    def _import(self, table: str, visit_nos: Sequence[str], taken: Taken, *, at: datetime) -> None:
        with self._tables.acting() as connection:
            rows = self._tables.take(connection, table, self._patron.owners, visit_nos)
            contents = {visit_no: _content(places) for visit_no, places in rows.items()}
            for visit_no, content in contents.items():
                if self._stands.get((table, visit_no)) == content:
                    del rows[visit_no]
            if not rows:
                return
            there = self._tables.numbers_imported(connection, table, list(rows))
            deliveries = [self._delivery(table, visit_no, places, there) for visit_no, places in rows.items()]
            verdicts = visits.import_lines(self._engine, self._shelf, deliveries, at=at, per=visits.Per.ROW)
            marks = [
                (place, Mark(told.flag, told.code, "", told.imported_at))
                for places, of_visit in zip(rows.values(), verdicts, strict=True)
                for place, told in zip(places, of_visit, strict=True)
            ]
            self._tables.mark(connection, table, marks, at=at)
        for delivery, of_visit in zip(deliveries, verdicts, strict=True):
            places = rows[delivery.visit_no]
            if [place.marked for place in places] == [(told.flag, told.code) for told in of_visit]:
                self._stands[table, delivery.visit_no] = contents[delivery.visit_no]
            taken.rows += len(of_visit)
            for told in of_visit:
                if told.flag == IMPORTED:
                    taken.imported[delivery.visit_no] += 1
                elif told.code != PASSED:
                    taken.refused[told.code] += 1

    def _delivery(
        self, table: str, visit_no: str, places: Sequence[Place], there: set[tuple[str, int]]
    ) -> visits.Delivery:
        """The rows of one visit. A number that another row has already is refused (94), be its content the same."""
        read = [line_of(place.values) for place in places]
        lines = []
        numbers = {number for visit, number in there if visit == visit_no}
        for shared in read:
            line = shared.line
            if line.line_no is not None and not line.door_code:
                if line.line_no in numbers:
                    line = line._replace(door_code=LINE_NO_REPEATED)
                numbers.add(line.line_no or 0)
            lines.append(line)
        ours = dict.fromkeys(self._patron.owners, self._patron.institution_code)
        return visits.Delivery(
            institution_code=self._patron.institution_code,
            visit_no=visit_no,
            lines=lines,
            channel=CHANNEL,
            source=table,
            institution_codes=[ours.get(shared.institution_code, shared.institution_code) for shared in read],
            citizen_id_nos=[shared.citizen_id_no for shared in read],
            visit_dates=[shared.visit_date for shared in read],
        )

    def _forget_what_is_gone(self, taken: Taken, *, at: datetime) -> None:
        """Failed rows that the HIS took back hold up no settlement any more."""
        with reading(self._engine) as connection:
            failures = visits.failures(connection, self._patron.institution_code)
        gone = sorted(
            {
                (failure.source, failure.visit_no)
                for failure in failures
                if failure.source in self._read_tables() and failure.visit_no not in taken.waiting[failure.source]
            }
        )
        if gone:
            emptied = [
                visits.Delivery(
                    institution_code=self._patron.institution_code,
                    visit_no=visit_no,
                    lines=[],
                    channel=CHANNEL,
                    source=source,
                )
                for source, visit_no in gone
            ]
            visits.import_lines(self._engine, self._shelf, emptied, at=at, per=visits.Per.ROW)
            log.info("failed_rows_gone", extra={"institution": self._patron.institution_code, "visits": len(gone)})


def waiting(tables: SharedTables, owners: Sequence[str]) -> tuple[int, int]:
    """How many rows of charge lines are unread, and how many failed."""
    with reading(tables.engine) as connection:
        counts = [tables.count_waiting(connection, table, owners) for table in LINES]
    return sum(unread for unread, _ in counts), sum(failed for _, failed in counts)


def _content(places: Sequence[Place]) -> int:
    """What stands in rows, marks and all: another number when anything of it changes."""
    return hash(tuple((place.at, *place.values.values()) for place in places))
