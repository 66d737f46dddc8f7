"""The registrations (MZDJ) of one institution's exchange folder: which visits there are, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

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
            self.visits.update((visit.visit_no, visit) for visit in _visits(new))
            self._read_so_far[path] = (signature, table.header.count)
        return problems


def _visits(table: dbf.Table) -> Iterator[Visit]:
    """The registrations that can be read; lines of the others find no visit, and code 90 says so."""
    for cells in zip(*(table.columns[code] for code in _COLUMNS.values()), strict=True):
        given = dict(zip(_COLUMNS, cells, strict=True))
        visit_no, day = given["visit_no"], given["visit_date"]
        visit_type = OF_THIS_EXCHANGE.get(str(given["visit_type"]))
        if not isinstance(visit_no, str) or not visit_no or visit_type is None or not isinstance(day, date):
            continue
        texts: dict[str, Any] = {name: cell if isinstance(cell, str) else "" for name, cell in given.items()}
        texts["citizen_id_no"] = written(texts["citizen_id_no"])
        yield Visit(**texts | {"visit_type": visit_type, "visit_date": day})
