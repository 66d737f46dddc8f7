"""The registrations (MZDJ) of one institution's exchange folder: which visits there are, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from operator import eq
from pathlib import Path

from domain.identity import written
from domain.visit import Visit, VisitType
from producers.his import dbf
from producers.his.fields import layout

MZDJ = layout("MZDJ")
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
            new = only(table, [record for record in table.records if record > count])
            self.visits.update((visit.visit_no, visit) for visit in _visits(new))
            self._read_so_far[path] = (signature, table.header.count)
        return problems


def files_of(folder: Path, name: str) -> list[Path]:
    """The folder's files of one kind, NAME and MMDD (AMB-17), oldest name first."""
    pattern = re.compile(rf"{name}\d{{4}}\.DBF", re.IGNORECASE)
    try:
        return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))
    except FileNotFoundError:
        return []


def signature_of(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written to; None when it is gone."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size


def only(table: dbf.Table, records: Sequence[int]) -> dbf.Table:
    """The same table with these records alone: what is not asked for need not be decoded."""
    header, content = table.header, table.snapshot
    if len(records) == header.count and all(map(eq, records, table.records)):
        return table
    length = header.record_length
    starts = [header.record_at(record) for record in records]
    count = len(records).to_bytes(4, "little")
    body = b"".join([content[start : start + length] for start in starts])
    return dbf.parse(content[:4] + count + content[8 : header.length] + body, table.name)


def _visits(table: dbf.Table) -> Iterator[Visit]:
    """The registrations that can be read; lines of the others find no visit, and code 90 says so."""
    texts = [
        table.columns[code]
        for code in ("JYDJH", "YYBH", "GMSFHM", "XM", "RYLB", "ZYH", "JZLB", "RYZD", "RYZDGJDM", "BQDM")
    ]
    for visit_no, institution, person, name, category, outpatient_no, kind, *about, day in zip(
        *texts, table.columns["RYRQ"], strict=True
    ):
        visit_type = OF_THIS_EXCHANGE.get(str(kind))
        if not isinstance(visit_no, str) or not visit_no or visit_type is None or not isinstance(day, date):
            continue
        diagnosis, diagnosis_code, department = map(_text, about)
        yield Visit(
            visit_no=visit_no,
            institution_code=_text(institution),
            citizen_id_no=written(_text(person)),
            visit_type=visit_type,
            visit_date=day,
            person_name=_text(name),
            person_category=_text(category),
            outpatient_no=_text(outpatient_no),
            admission_diagnosis=diagnosis,
            admission_diagnosis_code=diagnosis_code,
            department_code=department,
        )


def _text(cell: dbf.Cell) -> str:
    return cell if isinstance(cell, str) else ""
