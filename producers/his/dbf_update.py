"""Writing back into a hospital's file what became of its records: remarks and read-in flag, nothing else."""

import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from producers.his.dbf_format import DbfProblem, Header
from producers.his.dbf_lock import locked
from producers.his.dbf_read import Table
from producers.his.dbf_write import DoesNotFit, Unfit, cell, stored_header

RESERVED = ("BZ1", "BZ2", "BZ3", "DRBZ")

Remark: TypeAlias = str | int | None
Changes: TypeAlias = Mapping[str, Remark]


class ColumnIsTheirs(DbfProblem):
    """Only remarks and read-in flag may be written into a file of the other side; nothing was written."""

    def __init__(self, file: str, columns: Sequence[str]) -> None:
        super().__init__(
            file,
            f"may not be changed or is not there: {', '.join(columns)}",
            f"只能回写文件中的{'、'.join(RESERVED)}，不能回写：{'、'.join(columns)}",
        )


class RecordsChanged(DbfProblem):
    """The file no longer holds the records that were read; nothing was written, read it again."""

    def __init__(self, file: str, records: Sequence[int]) -> None:
        self.records = tuple(records)
        named = "、".join(map(str, self.records[:10])) + ("等" if len(self.records) > 10 else "")
        super().__init__(
            file,
            f"{len(self.records)} records changed since they were read",
            f"第{named}条记录（共{len(self.records)}条）读入后已被修改，未回写，请重新读入",
        )


def update_in_place(path: Path, updates: Mapping[int, Changes], *, as_read: Table) -> None:
    """Set reserved columns of the given record numbers, of all or of none, and have them on disk.

    A record whose other columns are not those of `as_read` is not the one that was checked: refused.
    The file has to be on a disk of this machine, as in a folder it exports: the file is mapped, and another
    machine's file system would send back whole pages, with whatever its owner changed there meanwhile.
    """
    if not updates:
        return
    with locked(path) as file:
        header = stored_header(file, path.name)
        runs = _runs(updates)
        with mmap.mmap(file, header.end) as content:
            _refuse_changed(path.name, header, content, runs, as_read)
            # Everything is encoded before the first byte is changed.
            writes = _Writes(path.name, header)
            planned = [writes.of(run.start, updates[run.start]) for run in runs]
            for run, cells in zip(runs, planned, strict=True):
                _write(content, header, run, cells)
            content.flush()
        os.fsync(file)


def _runs(updates: Mapping[int, Changes]) -> list[range]:
    """Records that follow each other and get the same, together: most of a file is one such run."""
    runs: list[range] = []
    start = last = 0
    same: Changes = {}
    for record in sorted(updates):
        changes = updates[record]
        if record == last + 1 and (changes is same or changes == same):
            last = record
            continue
        if last:
            runs.append(range(start, last + 1))
        start = last = record
        same = changes
    return [*runs, range(start, last + 1)]


def _write(content: mmap.mmap, header: Header, run: range, cells: "_Cells") -> None:
    """Write the same into every record of a run: byte by byte of the record where that is fewer steps."""
    first, size = header.record_at(run.start), header.record_length
    end = header.record_at(run[-1]) + size
    if len(run) * len(cells) <= sum(len(written) for _, _, written in cells):
        for start in range(first, end, size):
            for begin, until, written in cells:
                content[start + begin : start + until] = written
        return
    for begin, _, written in cells:
        for place, byte in enumerate(written, first + begin):
            content[place:end:size] = bytes((byte,)) * len(run)


_Cells: TypeAlias = list[tuple[int, int, bytes]]  # begin and end in the record, what to write there


class _Writes:
    """The bytes of changes; most records of a file get the same, which are encoded once."""

    def __init__(self, name: str, header: Header) -> None:
        self._name = name
        self._fields = {field.code: field for field in header.fields if field.code in RESERVED}
        self._begins = {code: header.offset(code) for code in self._fields}
        self._known: dict[tuple[tuple[str, Remark], ...], _Cells] = {}

    def of(self, record: int, changes: Changes) -> _Cells:
        key = tuple(changes.items())
        if key not in self._known:
            self._known[key] = self._encode(record, changes)
        return self._known[key]

    def _encode(self, record: int, changes: Changes) -> _Cells:
        theirs = [code for code in changes if code not in self._fields]
        if theirs:
            raise ColumnIsTheirs(self._name, theirs)
        cells = []
        for code, value in changes.items():
            begin = self._begins[code]
            try:
                written = cell(self._fields[code], value)
            except Unfit as unfit:
                raise DoesNotFit(self._name, record, code, unfit.misfit) from None
            cells.append((begin, begin + len(written), written))
        return cells


def _refuse_changed(name: str, header: Header, content: mmap.mmap, runs: Sequence[range], as_read: Table) -> None:
    before = as_read.header
    if (header.length, header.fields) != (before.length, before.fields):
        raise RecordsChanged(name, [record for run in runs for record in run])
    known, size, count = as_read.snapshot, header.record_length, min(header.count, before.count)
    theirs = _outside_reserved(header)
    changed = []
    for run in runs:
        if run.start > 0 and run[-1] <= count:
            start, end = header.record_at(run.start), header.record_at(run[-1]) + size
            if content[start:end] == known[start:end]:
                continue
        for record in run:
            start = header.record_at(record)
            now, then = content[start : start + size], known[start : start + size]
            if not 0 < record <= count or (now != then and any(now[part] != then[part] for part in theirs)):
                changed.append(record)
    if changed:
        raise RecordsChanged(name, sorted(changed))


def _outside_reserved(header: Header) -> list[slice]:
    """Return the stretches of a record that are not ours to write, its deletion flag included."""
    stretches, begin = [], 0
    for field in header.fields:
        if field.code in RESERVED:
            at = header.offset(field.code)
            stretches.append(slice(begin, at))
            begin = at + field.width
    return [*stretches, slice(begin, header.record_length)]
