"""The registrations (MZDJ) of one institution's exchange folder: which visits there are, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from domain.identity import written
from domain.visit import Visit, VisitType
from producers.his import dbf
from producers.his.fields import layout
from producers.his.folder import files_of, signature_of

MZDJ = layout("MZDJ")
_COLUMNS = {field.identifier: field.code for field in MZDJ if field.identifier in Visit.__dataclass_fields__}
OF_THIS_EXCHANGE = {"3": VisitType.OUTPATIENT, "4": VisitType.PHARMACY}
"""MZDJ carries outpatient visits and pharmacy purchases only (AMB-09)."""


class Registrations:
    """Every visit registered in the folder, read on as the files grow. Whole records are only ever added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_so_far: dict[Path, tuple[tuple[int, int], int]] = {}
        self.visits: dict[str, Visit] = {}
        self._new: list[Visit] = []

    def refresh(self) -> list[dbf.DbfProblem]:
        """Read what is new. A file that cannot be read is named; what it held before stays known."""
        problems = []
        for path in files_of(self._folder, "MZDJ"):
            signature = signature_of(path)
            seen, count = self._read_so_far.get(path, ((0, 0), 0))
            if signature is None or signature == seen:
                continue
            try:
                table = dbf.read(path)
                table.expect(MZDJ)
            except FileNotFoundError:
                continue
            except dbf.DbfProblem as problem:
                problems.append(problem)
                continue
            if table.header.count < count:
                count = 0  # another file under the same name
            new = table.only([record for record in table.records if record > count])
            read = list(_visits(new))
            self.visits.update((visit.visit_no, visit) for visit in read)
            self._new += read
            self._read_so_far[path] = (signature, table.header.count)
        return problems

    def registered_on(self, day: date) -> set[str]:
        """The identity numbers of the visits of this day that were read since this was last asked."""
        new, self._new = self._new, []
        return {visit.citizen_id_no for visit in new if visit.visit_date == day and visit.citizen_id_no}


def _visits(table: dbf.Table) -> Iterator[Visit]:
    """The registrations that can be read; lines of the others find no visit, and code 90 says so."""
    cells = {name: table.columns[code] for name, code in _COLUMNS.items()}
    types = [OF_THIS_EXCHANGE.get(str(cell)) for cell in cells.pop("visit_type")]
    days = cells.pop("visit_date")
    texts = {name: [cell if isinstance(cell, str) else "" for cell in column] for name, column in cells.items()}
    texts["citizen_id_no"] = list(map(written, texts["citizen_id_no"]))
    named = tuple(texts)
    for visit_type, day, *of_visit in zip(types, days, *texts.values(), strict=True):
        if visit_type is not None and isinstance(day, date):
            visit = Visit(visit_type=visit_type, visit_date=day, **dict(zip(named, of_visit, strict=True)))
            if visit.visit_no:
                yield visit
