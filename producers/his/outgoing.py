"""What we write for a hospital: RYDJ, FYJS, CYDJ, MZDJ, MZJS, and MZXM where its lines are entered at the client.

Records are added to the file of the day. The rows themselves are the record of what was written: a row is known by its
key, wherever it stands, so whoever is stopped between writing and noting that it was written writes nothing twice.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, TypeAlias

from producers.his import dbf
from producers.his.fields import FILES, layout
from producers.his.folder import day_of, file_of_day, files_of, signature_of
from producers.his.line_files import FAILED, IMPORTED, LEFT
from producers.his.records import row_of

log = logging.getLogger("outgoing")

WRITTEN = ("RYDJ", "FYJS", "CYDJ", "MZDJ", "MZJS")
"""The kinds that only we write."""
RESULTS = ("FYJS", "MZJS")
LINES_ENTERED_HERE = "MZXM"
CANCELLED = "CANCEL"
"""BZ3 of the second row of a registration that was taken back (AMB-37)."""

Key: TypeAlias = tuple[dbf.Value, ...]
_KEYS = {kind: tuple(layout(kind)[code].identifier for code in layout(kind).key) for kind in FILES}


class Record(NamedTuple):
    """One row for the hospital: its file, and its values under the names our code uses."""

    kind: str
    values: Mapping[str, dbf.Value]

    @property
    def key(self) -> Key:
        """What the row is known by."""
        known = tuple(map(self.values.__getitem__, _KEYS[self.kind]))
        return (*known, CANCELLED) if self.values.get("remark3") == CANCELLED else known


class Place(NamedTuple):
    """Where a row of ours stands, and what the hospital made of it."""

    file: str
    record: int
    flag: int


class Unread(NamedTuple):
    """A row of ours that the hospital could not read (DRBZ=2), for the operator."""

    kind: str
    visit_no: str
    file: str
    record: int
    said: str
    """What the hospital wrote into BZ2."""


@dataclass(slots=True)
class _Read:
    """One file of ours as it was read last: its rows by key, and what the hospital said of those it refused."""

    signature: tuple[int, int]
    day: date
    places: dict[Key, Place] = field(default_factory=dict)
    keys_of: dict[str, list[Key]] = field(default_factory=dict)
    """The rows of each visit."""
    said: dict[int, str] = field(default_factory=dict)

    def add(self, key: Key, place: Place) -> None:
        """One more row, later than those before."""
        if key not in self.places:
            self.keys_of.setdefault(str(key[0]), []).append(key)
        self.places[key] = place


class Outgoing:
    """Our side of one institution's exchange folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kinds: tuple[str, ...] = WRITTEN
        self._read: dict[str, dict[str, _Read]] = defaultdict(dict)
        self._written_again: date | None = None
        """The day for which every row the hospital refused was looked at; None after something changed."""

    def refresh(self) -> list[dbf.DbfProblem]:
        """Read what the hospital marked since the last look; what could not be read, in words for it."""
        return [problem for kind in self.kinds for problem in self._refresh(kind)]

    def write(self, records: Sequence[Record], *, at: datetime) -> int:
        """Add the records that are not there yet to the files of the day; how many. Raises DbfProblem.

        What was written just before we were stopped stands in the file of today or of yesterday. While one of them
        cannot be read, nothing is added to its kind.
        """
        by_kind: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            by_kind[record.kind].append(record)
        written = 0
        for kind, of_kind in by_kind.items():
            last_files = {f"{kind}{day:%m%d}.DBF" for day in (at.date(), at.date() - timedelta(days=1))}
            for problem in self._refresh(kind, whole=False):
                if problem.file.upper() in last_files:
                    raise problem
            keyed = {record.key: record for record in of_kind}
            new = {key: record for key, record in keyed.items() if not self._stands(kind, key)}
            if new and kind in RESULTS:
                self._supersede(kind, new)
            if new:
                self._append(kind, new, at)
                written += len(new)
        return written

    def refused(self) -> list[Unread]:
        """The rows that the hospital could not read, where no later row of the same key took their place (AMB-62)."""
        return [
            Unread(kind, str(key[0]), place.file, place.record, self._read[kind][place.file].said.get(place.record, ""))
            for kind in self.kinds
            for key, place in self._failed(kind).items()
        ]

    def write_again(self, *, at: datetime, only: Collection[str] = ()) -> int:
        """Export the rows again that the hospital could not read: once a day each, or those of the named visits now.

        How many. Raises DbfProblem.
        """
        again = 0
        if not only and self._written_again == at.date():
            return again
        for kind in self.kinds:
            today = file_of_day(self.folder, kind, at.date()).name
            rows = [
                self._row(kind, place)
                for key, place in self._failed(kind).items()
                if (key[0] in only if only else place.file != today)
            ]
            if rows:
                written_at = {"BZ1": f"{at:%Y-%m-%d %H:%M:%S}", "BZ2": None, "DRBZ": LEFT}
                path = self.folder / today
                dbf.append(path, layout(kind), [{**row, **written_at} for row in rows], day=at.date())
                log.info("rows_exported_again", extra={"file": today, "rows": len(rows)})
                self._refresh(kind)
                again += len(rows)
        self._written_again = at.date()
        return again

    def _supersede(self, kind: str, results: Collection[Key]) -> None:
        """Mark the unread results of these visits as read before a newer one comes: its batch is the valid one.

        Some products take any one unread result of a visit and then mark all of them; others take the newest and never
        write the flag. So a visit has one unread result at a time, and none of ours waits for a flag.
        """
        visit_nos = {str(key[0]) for key in results}
        for name, read in self._read[kind].items():
            unread = [
                key
                for visit_no in visit_nos & read.keys_of.keys()
                for key in read.keys_of[visit_no]
                if read.places[key].flag == LEFT
            ]
            if unread:
                path = self.folder / name
                marks = {read.places[key].record: {"DRBZ": IMPORTED} for key in unread}
                dbf.update_in_place(path, marks, as_read=dbf.read(path))
                for key in unread:
                    read.places[key] = read.places[key]._replace(flag=IMPORTED)

    def _append(self, kind: str, records: Mapping[Key, Record], at: datetime) -> None:
        columns = layout(kind)
        path = file_of_day(self.folder, kind, at.date())
        before = (signature_of(path) or (0, 0))[0]
        first = dbf.append(
            path, columns, [row_of(columns, record.values) for record in records.values()], day=at.date()
        )
        signature = signature_of(path)
        if signature is None:
            return
        known = self._read[kind].get(path.name)
        if known is None or first != 1 + max((place.record for place in known.places.values()), default=0):
            self._refresh(kind)  # somebody else wrote into it as well
            return
        if known.signature[0] == before:
            known.signature = signature  # nobody but us wrote
        else:
            known.signature = (0, signature[1])
        for number, key in enumerate(records, first):
            known.add(key, Place(path.name, number, LEFT))

    def _refresh(self, kind: str, *, whole: bool = True) -> Iterator[dbf.DbfProblem]:
        """Read the files that changed; without `whole` those that grew, since a flag makes no file longer."""
        found = {}
        problems = []
        for path in files_of(self.folder, kind):
            signature = signature_of(path)
            known = self._read[kind].get(path.name)
            if signature is None:
                continue
            if known is None or (known.signature != signature if whole else known.signature[1] != signature[1]):
                try:
                    known = _read(path, kind, signature)
                    self._written_again = None
                except FileNotFoundError:
                    continue
                except dbf.DbfProblem as problem:
                    problems.append(problem)
            if known is not None:
                found[path.name] = known
        self._read[kind] = found
        return iter(problems)

    def _stands(self, kind: str, key: Key) -> bool:
        return any(key in read.places for read in self._read[kind].values())

    def _last(self, kind: str) -> dict[Key, Place]:
        """Every key's last row: of the file of the newest day, and there the last."""
        last: dict[Key, Place] = {}
        for read in sorted(self._read[kind].values(), key=lambda read: read.day):
            last.update(read.places)
        return last

    def _failed(self, kind: str) -> dict[Key, Place]:
        """The last rows that the hospital could not read; of results only the newest batch of a visit counts."""
        last = self._last(kind)
        failed = {key: place for key, place in last.items() if place.flag == FAILED}
        if failed and kind in RESULTS:
            newest: dict[dbf.Value, Key] = {}
            for key in sorted(last, key=lambda key: str(key[1]).zfill(4)):
                newest[key[0]] = key
            failed = {key: place for key, place in failed.items() if newest[key[0]] == key}
        return failed

    def _row(self, kind: str, place: Place) -> dict[str, dbf.Value]:
        table = dbf.read(self.folder / place.file).only([place.record])
        [row] = table.rows(*layout(kind).codes)
        return {code: value for code, value in row.items() if not isinstance(value, dbf.BadValue)}


def _read(path: Path, kind: str, signature: tuple[int, int]) -> _Read:
    """The rows of one file by key; the last of several with the same key counts."""
    columns = layout(kind)
    table = dbf.read(path)
    table.expect(columns)
    keys = [table.columns[code] for code in columns.key]
    flags, remarks, told = table.numbers("DRBZ"), table.texts("BZ3"), table.texts("BZ2")
    read = _Read(signature, day_of(path) or date.min)
    for record, flag, remark, said, *key in zip(table.records, flags, remarks, told, *keys, strict=True):
        known: Key = tuple(int(part) if isinstance(part, Decimal) else str(part) for part in key)
        if remark == CANCELLED:
            known = (*known, CANCELLED)
        read.add(known, Place(path.name, record, int(flag) if isinstance(flag, Decimal) else LEFT))
        if flag == FAILED and isinstance(said, str):
            read.said[record] = said
    return read
