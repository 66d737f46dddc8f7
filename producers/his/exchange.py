"""The exchange with a hospital information system: registrations and lines in, verdicts back, results out.

`HisExchange` is the seam: whoever imports claims knows it and no file format. `DbfExchange` is the file variant for
outpatient visits and pharmacy purchases (flow two of WF-06): MZDJ and MZXM are read, MZXM is marked, MZJS is added to.
"""

from __future__ import annotations

import logging
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

from domain.codes import PASSED
from domain.visit import ChargeLine, Visit
from producers.his import dbf
from producers.his.charge_lines import MZXM, charge_lines
from producers.his.fields import layout
from producers.his.registrations import Registrations, files_of, only, signature_of

log = logging.getLogger("exchange")

MZJS = layout("MZJS")
LEFT, IMPORTED, FAILED = 0, 1, 2
"""The read-in flag DRBZ: not read, read, failed."""

DIGEST_BYTES = 16
DECODED_TOGETHER = 3_000
"""Visits whose lines are decoded in one go: the more, the oftener a price or a name is one that is known already."""
THOROUGH_EVERY = 60
"""Every so many looks a file is read although it seems to be as it was."""

ALL_BY_PERSON = "本次费用全部由个人负担"
"""ZFYY, filled when the person bears all charges (INV-25)."""


class Rows(NamedTuple):
    """Where a visit's rows that are not imported stand, and what is in them; `unread` when no verdict stands there."""

    source: str
    visit_no: str
    records: tuple[int, ...]
    digest: bytes
    unread: bool


class Delivery(NamedTuple):
    """What a hospital delivered for one visit: its rows as charge lines, and the registration if there is one."""

    rows: Rows
    visit: Visit | None
    lines: list[ChargeLine]


class Mark(NamedTuple):
    """What is written back to one row: read-in flag DRBZ, code BZ3, and words for people in BZ2."""

    flag: int
    code: str
    note: str = ""


class Answer(NamedTuple):
    """What became of a delivery, row by row; None leaves a row as it is."""

    rows: Rows
    marks: Sequence[Mark | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One settlement for the hospital, in fen, under the names of MZJS (2.1.3.2.3)."""

    visit: Visit
    charge_batch_no: int
    settled_at: datetime
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    pre_self_pay_fen: int
    deductible_fen: int
    own_pay_fen: int
    self_pay_fen: int
    institution_share_fen: int

    @property
    def person_share_fen(self) -> int:
        """GRZFJE3; there is no CXZFJE for outpatients (INV-23)."""
        return self.own_pay_fen + self.self_pay_fen


class HisExchange(Protocol):
    """One institution's side door. All of it may be done twice without harm."""

    institution_code: str
    problems: list[dbf.DbfProblem]
    """What could not be read at the last look, in words for the hospital."""

    def deliveries(self, at_most: int) -> Iterator[list[Delivery]]:
        """What was delivered since the last look, in batches. A visit whose rows are out is not given out again."""

    def later(self, rows: Rows) -> None:
        """These rows were not taken: give them out again at the next look."""

    def answered_before(self, rows: Rows) -> None:
        """The verdict that stands on these rows is still the right one."""

    def rows_out(self, source: str, visit_no: str) -> Rows | None:
        """The rows of this visit that were given out and not answered yet."""

    def answer(self, answers: Sequence[Answer], *, at: datetime) -> None:
        """Write verdicts back; rows that changed meanwhile are left alone and given out again."""

    def hand_over(self, results: Sequence[Result], *, at: datetime) -> int:
        """Hand settlements to the hospital; those it has already are left out. Returns how many were new."""


def marks_for(codes: Sequence[str], note: str = "") -> list[Mark]:
    """All or nothing per visit (AMB-22, AMB-23): every row is imported, or none is and the good ones stay unread."""
    if all(code == PASSED for code in codes):
        return [Mark(IMPORTED, PASSED, note)] * len(codes)
    return [Mark(LEFT, PASSED) if code == PASSED else Mark(FAILED, code) for code in codes]


class DbfExchange:
    """The exchange folder of one institution, or one MZXM file of it."""

    def __init__(self, folder: Path, institution_code: str, *, file: str | None = None) -> None:
        self.folder = folder
        self._only = file
        self.institution_code = institution_code
        self.problems: list[dbf.DbfProblem] = []
        self._registrations = Registrations(folder)
        self._files: dict[str, _LinesFile] = {}
        self._looks = 0
        self._handed_over: set[tuple[str, int]] | None = None

    def deliveries(self, at_most: int) -> Iterator[list[Delivery]]:
        """See HisExchange. Lines are read before registrations, so that every visit of theirs can be known."""
        self.problems = []
        self._looks += 1
        thorough = self._looks % THOROUGH_EVERY == 0
        changed = []
        for path in self._line_files():
            file = self._files.setdefault(path.name, _LinesFile(path))
            try:
                if file.look(thorough=thorough):
                    changed.append(file)
            except dbf.DbfProblem as problem:
                self.problems.append(problem)
        unsure = self._registrations.refresh()
        self.problems += unsure
        for file in changed:
            yield from file.deliveries(self._registrations.visits, self.institution_code, at_most, bool(unsure))

    def later(self, rows: Rows) -> None:
        """See HisExchange."""
        self._files[rows.source].forget(rows.visit_no)

    def answered_before(self, rows: Rows) -> None:
        """See HisExchange."""
        self._files[rows.source].answered(rows.visit_no)

    def rows_out(self, source: str, visit_no: str) -> Rows | None:
        """See HisExchange."""
        file = self._files.get(source)
        return None if file is None else file.rows_out(visit_no)

    def answer(self, answers: Sequence[Answer], *, at: datetime) -> None:
        """See HisExchange. Raises dbf.NotYet when a file is locked for long, or is being replaced."""
        by_file: dict[str, list[Answer]] = defaultdict(list)
        for answer in answers:
            by_file[answer.rows.source].append(answer)
        for source, of_file in by_file.items():
            self._files[source].answer(of_file, at)

    def hand_over(self, results: Sequence[Result], *, at: datetime) -> int:
        """See HisExchange. The row itself is the record: what is in a file is never written again."""
        if self._handed_over is None:
            self._handed_over = set(self._results_there())
        new = [result for result in results if (result.visit.visit_no, result.charge_batch_no) not in self._handed_over]
        if new:
            path = self.folder / f"MZJS{at:%m%d}.DBF"
            dbf.append(path, MZJS, [_mzjs(result, at) for result in new], day=at.date())
            self._handed_over.update((result.visit.visit_no, result.charge_batch_no) for result in new)
        return len(new)

    def _line_files(self) -> list[Path]:
        return files_of(self.folder, "MZXM") if self._only is None else [self.folder / self._only]

    def _results_there(self) -> Iterator[tuple[str, int]]:
        for path in files_of(self.folder, "MZJS"):
            table = dbf.read(path)
            for visit_no, batch_no in zip(table.texts("JYDJH"), table.numbers("FYPC"), strict=True):
                if isinstance(visit_no, str) and isinstance(batch_no, Decimal):
                    yield visit_no, int(batch_no)


@dataclass(slots=True)
class _Out:
    """A visit's rows that were given out; `answered` once a verdict stands on them."""

    rows: Rows
    answered: bool = False
    changed: bool = False


@dataclass(slots=True)
class _LinesFile:
    """One MZXM file: the last snapshot of it, and the visits whose rows are out."""

    path: Path
    _seen: tuple[int, int] | None = None
    _table: dbf.Table | None = None
    _new: list[Rows] = field(default_factory=list)
    _out: dict[str, _Out] = field(default_factory=dict)
    _passed_over: bool = False
    """The last look found rows that have to wait for the verdict of others."""

    def look(self, *, thorough: bool) -> bool:
        """Whether there are rows to give out. Raises dbf.DbfProblem when the file cannot be read."""
        signature = signature_of(self.path)
        if signature is None or (signature == self._seen and not thorough):
            return bool(self._new)
        try:
            table = dbf.read(self.path)
        except FileNotFoundError:
            return False
        table.expect(MZXM)
        self._table, self._seen = table, signature
        self._new = self._to_give_out(table)
        return bool(self._new)

    def deliveries(
        self, visits: Mapping[str, Visit], institution_code: str, at_most: int, unsure: bool
    ) -> Iterator[list[Delivery]]:
        """Give out what `look` found. While registrations are unsure, rows of unknown visits wait."""
        assert self._table is not None
        wanted, self._new = self._new, []
        sure = [rows for rows in wanted if rows.visit_no in visits] if unsure else wanted
        given = 0
        try:
            for together in _parts(sure, DECODED_TOGETHER):
                lines = _Lines(self._table, together, visits, institution_code)
                for batch in _parts(together, at_most):
                    self._out.update((rows.visit_no, _Out(rows)) for rows in batch)
                    given += len(batch)
                    yield [Delivery(rows, visits.get(rows.visit_no), lines.of(rows)) for rows in batch]
        finally:
            if given < len(wanted):
                self._seen = None

    def forget(self, visit_no: str) -> None:
        """Give these rows out again at the next look."""
        self._out.pop(visit_no, None)
        self._seen = None

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
            changes = {mark: _changes(mark, written) for mark in marks}
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
        for visit_no in self._out.keys() - {rows.visit_no for rows in not_imported}:
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
                part = only(table, out.rows.records)
                out.changed = _Content(part).digest(range(len(part))) != out.rows.digest
        if not (wanted or self._out):
            self._table = None
        return wanted


def _parts(rows: Sequence[Rows], at_most: int) -> Iterator[Sequence[Rows]]:
    return (rows[start : start + at_most] for start in range(0, len(rows), at_most))


class _Lines:
    """The charge lines of a batch of rows, decoded together."""

    def __init__(
        self, table: dbf.Table, wanted: Sequence[Rows], visits: Mapping[str, Visit], institution_code: str
    ) -> None:
        self._places: dict[str, range] = {}
        records: list[int] = []
        for rows in wanted:
            self._places[rows.visit_no] = range(len(records), len(records) + len(rows.records))
            records.extend(rows.records)
        self._lines = charge_lines(only(table, records), visits, self._places, institution_code)

    def of(self, rows: Rows) -> list[ChargeLine]:
        places = self._places[rows.visit_no]
        return self._lines[places.start : places.stop]


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
    part = only(table, records)
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
                form += f"{header.offset(column.code) - begin}s{column.width}x"
                begin = header.offset(column.code) + column.width
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


def _changes(mark: Mark, written: str) -> dict[str, str | int | None]:
    changes: dict[str, str | int | None] = {"BZ3": mark.code, "DRBZ": mark.flag}
    if mark.flag == IMPORTED:
        changes["BZ1"] = written
    if mark.note:
        changes["BZ2"] = dbf.shorten(mark.note, MZXM["BZ2"].width)
    return changes


def _mzjs(result: Result, at: datetime) -> dict[str, dbf.Value]:
    """A result as its row of MZJS: no outpatient number, nothing above the cap (AMB-14), flag 0 for the HIS."""
    visit = result.visit
    borne_by_person = result.person_share_fen == result.total_fen
    return {
        "JYDJH": visit.visit_no,
        "FYPC": result.charge_batch_no,
        "YYBH": visit.institution_code,
        "GMSFHM": visit.citizen_id_no,
        "RYRQ": visit.visit_date,
        "JSRQ": result.settled_at.date(),
        "ZYZJE": _yuan(result.total_fen),
        "SBZFJE": _yuan(result.fund_pay_fen),
        "ZHZFJE": _yuan(result.account_pay_fen),
        "BFXMZFJE": _yuan(result.pre_self_pay_fen),
        "QFJE": _yuan(result.deductible_fen),
        "GRZFJE1": _yuan(result.own_pay_fen),
        "GRZFJE2": _yuan(result.self_pay_fen),
        "GRZFJE3": _yuan(result.person_share_fen),
        "ZFYY": ALL_BY_PERSON if borne_by_person else None,
        "YYFDJE": _yuan(result.institution_share_fen),
        "BZ1": f"{at:%Y-%m-%d %H:%M:%S}",
        "DRBZ": LEFT,
    }


def _yuan(amount_fen: int) -> Decimal:
    return Decimal(amount_fen).scaleb(-2)
