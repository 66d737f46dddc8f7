"""Files of charge lines (CFXM, MZXM): which rows wait to be read, what is in them, and the marks written back.

Rows are known by what the hospital wrote in them, so nothing here depends on the name of a file or on its being read
once only.
"""

from __future__ import annotations

import logging
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

from domain.codes import PASSED
from domain.visit import ChargeLine, Visit
from producers.his import dbf
from producers.his.charge_lines import ReadLines, read_lines, with_door_codes
from producers.his.fields import Layout
from producers.his.folder import signature_of

log = logging.getLogger("exchange")

LEFT, IMPORTED, FAILED = 0, 1, 2
"""The read-in flag DRBZ: not read, read, failed."""

DIGEST_BYTES = 16
DECODED_TOGETHER = (300, 1_200, 3_000)
"""Visits whose lines are decoded in one go: the more, the oftener a price or a name is one that is known already; but
the first ones soon, so that the desk has something to do while the others are decoded."""


class Rows(NamedTuple):
    """Where a visit's rows that are not imported stand, and what is in them; `unread` when no verdict stands there."""

    source: str
    visit_no: str
    records: tuple[int, ...]
    digest: bytes
    unread: bool


class Delivery(NamedTuple):
    """What a hospital delivered for one visit: its rows, and the registration if the folder holds one."""

    rows: Rows
    visit: Visit | None
    read: ReadLines

    @property
    def lines(self) -> list[ChargeLine]:
        """The rows as charge lines; 96 where one cannot be read."""
        return self.read.lines

    def lines_of_visit(self, institution_code: str) -> list[ChargeLine]:
        """The same, with the codes 90, 92 and 93 of rows that do not belong to the registration."""
        return with_door_codes(self.read, self.visit, institution_code)


class Mark(NamedTuple):
    """What is written back to one row: read-in flag DRBZ, code BZ3, words for people in BZ2, the time for BZ1."""

    flag: int
    code: str
    note: str = ""
    imported_at: datetime | None = None
    """The moment of the answer where it is left out."""


class Answer(NamedTuple):
    """What became of a delivery, row by row; None leaves a row as it is."""

    rows: Rows
    marks: Sequence[Mark | None]


def marks_for(codes: Sequence[str], note: str = "") -> list[Mark]:
    """All or nothing per visit (AMB-22, AMB-23): every row is imported, or none is and the good ones stay unread."""
    if all(code == PASSED for code in codes):
        return [Mark(IMPORTED, PASSED, note)] * len(codes)
    return [Mark(LEFT, PASSED) if code == PASSED else Mark(FAILED, code) for code in codes]


@dataclass(slots=True)
class _Out:
    """A visit's rows that were given out; `answered` once a verdict stands on them."""

    rows: Rows
    answered: bool = False
    changed: bool = False


@dataclass(slots=True)
class LineFile:
    """One file of charge lines: the last snapshot of it, and the visits whose rows are out."""

    path: Path
    layout: Layout
    _seen: tuple[int, int] | None = None
    _table: dbf.Table | None = None
    _new: list[Rows] = field(default_factory=list)
    _out: dict[str, _Out] = field(default_factory=dict)
    _odd: tuple[int, int] = (0, 0)
    """Deleted records and surplus bytes, as they were reported."""
    _passed_over: bool = False
    """The last look found rows that have to wait for the verdict of others."""
    waiting: frozenset[str] = frozenset()
    """The visits that have rows without DRBZ=1 here, as of the last look."""

    def look(self, *, thorough: bool) -> bool:
        """Whether there are rows to give out. Raises dbf.DbfProblem when the file cannot be read."""
        signature = signature_of(self.path)
        if signature is None or (signature == self._seen and not thorough):
            return bool(self._new)
        try:
            table = dbf.read(self.path)
        except FileNotFoundError:
            return False
        table.expect(self.layout)
        self._tell_what_is_odd(table)
        self._table, self._seen = table, signature
        self._new = self._to_give_out(table)
        return bool(self._new)

    def _tell_what_is_odd(self, table: dbf.Table) -> None:
        """Report, once, deleted records and bytes behind the last record: they are not read, and may be missed."""
        odd = (table.deleted, table.surplus_bytes)
        if odd != self._odd and any(odd):
            extra = {"file": self.path.name, "deleted_records": odd[0], "surplus_bytes": odd[1]}
            log.warning("exchange_file_odd", extra=extra)
        self._odd = odd

    def deliveries(self, visits: Mapping[str, Visit], at_most: int, *, unsure: bool) -> Iterator[list[Delivery]]:
        """Give out what `look` found. While registrations are unsure, rows of unknown visits wait."""
        assert self._table is not None
        wanted, self._new = self._new, []
        sure = [rows for rows in wanted if rows.visit_no in visits] if unsure else wanted
        given = 0
        try:
            for together in _growing_parts(sure, DECODED_TOGETHER):
                read = _Together(self._table, together)
                for batch in _parts(together, at_most):
                    self._out.update((rows.visit_no, _Out(rows)) for rows in batch)
                    given += len(batch)
                    yield [Delivery(rows, visits.get(rows.visit_no), read.of(rows)) for rows in batch]
        finally:
            if given < len(wanted):
                self._seen = None

    def forget(self, visit_no: str) -> None:
        """Give these rows out again at the next look."""
        self._out.pop(visit_no, None)
        self._seen = None

    def forget_answered(self) -> None:
        """Give every row out again on which a verdict stands and which is not imported."""
        for visit_no in [visit_no for visit_no, out in self._out.items() if out.answered]:
            self.forget(visit_no)

    def answered(self, visit_no: str) -> None:
        """A verdict stands on these rows."""
        if visit_no in self._out:
            self._out[visit_no].answered = True

    def rows_out(self, visit_no: str) -> Rows | None:
        """The rows given out and not answered."""
        out = self._out.get(visit_no)
        return None if out is None or out.answered else out.rows

    def answer(self, answers: Sequence[Answer], at: datetime) -> None:
        """Write marks; the file is compared under its lock with what was read, so nothing else is ever marked."""
        before = signature_of(self.path)
        marked = self._mark([answer for answer in answers if self._may_mark(answer.rows)], at)
        whole = len(marked) == len(answers)
        for answer in answers:
            visit_no = answer.rows.visit_no
            flags = {mark.flag if mark else None for mark in answer.marks}
            if visit_no in marked and flags <= {LEFT, FAILED}:
                self.answered(visit_no)
            else:  # Nothing is left of it, or what is left has to be looked at again.
                self._out.pop(visit_no, None)
                whole = whole and None not in flags
        after = signature_of(self.path)
        only_ours = before == self._seen and before is not None and after is not None and before[1] == after[1]
        # What we wrote ourselves need not be read again.
        self._seen = after if only_ours and whole and not self._passed_over else None

    def _mark(self, answers: list[Answer], at: datetime) -> set[str]:
        """Write what may be written and return the visits whose rows were still those that were read."""
        written = f"{at:%Y-%m-%d %H:%M:%S}"
        while answers and self._table is not None:
            marks = {mark for answer in answers for mark in answer.marks if mark is not None}
            changes = {mark: _changes(mark, written, self.layout) for mark in marks}
            updates = {
                record: changes[mark]
                for answer in answers
                for record, mark in zip(answer.rows.records, answer.marks, strict=True)
                if mark is not None
            }
            try:
                dbf.update_in_place(self.path, updates, as_read=self._table)
                return {answer.rows.visit_no for answer in answers}
            except dbf.RecordsChanged as found:
                changed = set(found.records)
                answers = [answer for answer in answers if changed.isdisjoint(answer.rows.records)]
            except FileNotFoundError:
                log.warning("exchange_file_gone", extra={"file": self.path.name, "visits": len(answers)})
                break
        return set()

    def _may_mark(self, rows: Rows) -> bool:
        out = self._out.get(rows.visit_no)
        return out is not None and out.rows == rows and not out.changed

    def _to_give_out(self, table: dbf.Table) -> list[Rows]:
        """Rows that are new, changed after their verdict, or put back to unread after it."""
        not_imported, self._passed_over = _not_imported(table)
        self.waiting = frozenset(rows.visit_no for rows in not_imported)
        for visit_no in self._out.keys() - self.waiting:
            del self._out[visit_no]
        wanted = []
        for rows in not_imported:
            out = self._out.get(rows.visit_no)
            if out is None:
                wanted.append(rows)
            elif out.answered:
                if rows.unread or rows.digest != out.rows.digest:
                    wanted.append(rows)
            elif rows.digest != out.rows.digest:
                # Their verdict is under way; it must not be written on other content than it was given for.
                self._passed_over = True
                part = table.only(out.rows.records)
                out.changed = _Content(part).digest(range(len(part))) != out.rows.digest
        if not (wanted or self._out):
            self._table = None
        return wanted


def _parts(rows: Sequence[Rows], at_most: int) -> Iterator[Sequence[Rows]]:
    return (rows[start : start + at_most] for start in range(0, len(rows), at_most))


def _growing_parts(rows: Sequence[Rows], sizes: Sequence[int]) -> Iterator[Sequence[Rows]]:
    """Parts of these sizes, one after the other, and from then on of the last."""
    start = 0
    for size in chain(sizes, repeat(sizes[-1])):
        if start >= len(rows):
            return
        yield rows[start : start + size]
        start += size


class _Together:
    """The charge lines of a batch of rows, decoded together."""

    def __init__(self, table: dbf.Table, wanted: Sequence[Rows]) -> None:
        self._places: dict[str, slice] = {}
        records: list[int] = []
        for rows in wanted:
            self._places[rows.visit_no] = slice(len(records), len(records) + len(rows.records))
            records.extend(rows.records)
        self._read = read_lines(table.only(records))

    def of(self, rows: Rows) -> ReadLines:
        places = self._places[rows.visit_no]
        lines, institutions, persons, visit_dates = self._read
        return ReadLines(lines[places], institutions[places], persons[places], visit_dates[places])


def _not_imported(table: dbf.Table) -> tuple[list[Rows], bool]:
    """The rows without DRBZ=1, together by visit, and whether rows were left out as repetitions of others.

    Rows whose visit number is no text go without one. A row that stands twice is one line: the second waits until
    the first has its verdict.
    """
    flags = table.numbers("DRBZ")
    imported = {id(flag) for flag in dict(zip(map(id, flags), flags, strict=True)).values() if flag == IMPORTED}
    records = table.records
    if imported:
        records = [record for record, flag in zip(records, flags, strict=True) if id(flag) not in imported]
    part = table.only(records)
    groups: dict[str, list[int]] = defaultdict(list)
    for at, visit_no in enumerate(part.texts("JYDJH")):
        groups[visit_no if isinstance(visit_no, str) else ""].append(at)

    said, numbers = part.texts("BZ3"), list(map(id, part.numbers("XMXH")))
    any_said, any_twice = any(said), False
    content = _Content(part)
    found = []
    for visit_no, all_places in groups.items():
        places = all_places
        if len({numbers[at] for at in all_places}) < len(all_places):
            places = content.without_repetitions(all_places)
            any_twice = any_twice or len(places) < len(all_places)
        unread = not any_said or not any(said[at] for at in places)
        of_visit = tuple([records[at] for at in places])
        found.append(Rows(table.name, visit_no, of_visit, content.digest(places), unread))
    return found, any_twice


class _Content:
    """What the hospital wrote in the records of a table: all but the columns that are ours."""

    def __init__(self, table: dbf.Table) -> None:
        header = table.header
        form, begin = "", 0
        for column in header.fields:
            if column.code in dbf.RESERVED:
                at = header.offset(column.code)
                form += (f"{at - begin}s" if at > begin else "") + f"{column.width}x"
                begin = at + column.width
        if begin < header.record_length:
            form += f"{header.record_length - begin}s"
        records = memoryview(table.snapshot)[header.length : header.end]
        self._records = list(struct.iter_unpack(form, records))

    def without_repetitions(self, places: Sequence[int]) -> list[int]:
        """These records without those that are, byte for byte, one before them."""
        return sorted({self._records[at]: at for at in reversed(places)}.values())

    def digest(self, places: Sequence[int]) -> bytes:
        """The digest of these records, by place in the table."""
        parts = chain.from_iterable([self._records[at] for at in places])
        return blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest()


def _changes(mark: Mark, written: str, columns: Layout) -> dict[str, str | int | None]:
    changes: dict[str, str | int | None] = {"BZ3": mark.code, "DRBZ": mark.flag}
    if mark.flag == IMPORTED:
        changes["BZ1"] = f"{mark.imported_at:%Y-%m-%d %H:%M:%S}" if mark.imported_at else written
    if mark.note:
        changes["BZ2"] = dbf.shorten(mark.note, columns["BZ2"].width)
    return changes
