"""The lines' side of an institution's exchange folder: what the hospital delivered, and the verdicts written back.

CFXM and MZXM are read and marked; MZDJ is read for visits that an insurance client registered without us. The other
side, what we write for the hospital, is in `outgoing`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import date, datetime
from pathlib import Path

from producers.his import dbf
from producers.his.fields import layout
from producers.his.folder import files_of
from producers.his.line_files import Answer, Delivery, LineFile, Rows
from producers.his.registrations import Registrations

STAYS, OUTPATIENTS = "CFXM", "MZXM"
THOROUGH_EVERY = 15
"""Every so many looks a file is read although it seems to be as it was."""


class DbfExchange:
    """The files of charge lines of one institution, or one of them. All of it may be done twice without harm."""

    def __init__(self, folder: Path, institution_code: str, *, file: str | None = None) -> None:
        self.folder = folder
        self._only = file
        self.institution_code = institution_code
        self.short_code = ""
        self.reads: tuple[str, ...] = (STAYS, OUTPATIENTS)
        """The kinds the hospital writes; without MZXM where its lines are entered at the client (flow one)."""
        self.settles_at_once = True
        """Whether outpatients are settled as their lines come in, or on somebody's word."""
        self.failed: defaultdict[str, set[str]] = defaultdict(set)
        """The visits with failed rows, by file, as far as the books hold any; unknown until `knows_failed`."""
        self.knows_failed = False
        self.problems: list[dbf.DbfProblem] = []
        """What could not be read at the last look, in words for the hospital."""
        self._registrations = Registrations(folder)
        self._files: dict[str, LineFile] = {}
        self._present: set[str] = set()
        self._looks = 0

    def deliveries(self, at_most: int) -> Iterator[list[Delivery]]:
        """What was delivered since the last look, in batches. A visit whose rows are out is not given out again.

        Lines are read before registrations, so that every visit of theirs can be known.
        """
        self.problems = []
        self._looks += 1
        thorough = self._looks % THOROUGH_EVERY == 0
        changed = []
        for file in self._line_files():
            try:
                if file.look(thorough=thorough):
                    changed.append(file)
            except dbf.DbfProblem as problem:
                self.problems.append(problem)
        unsure = self._registrations.refresh()
        self.problems += unsure
        for file in changed:
            wait = bool(unsure) and file.layout.table == OUTPATIENTS
            for batch in file.deliveries(self._registrations.visits, at_most, unsure=wait):
                yield [self._under_our_code(delivery) for delivery in batch]

    def gone(self, failed: Mapping[str, Set[str]]) -> Iterator[tuple[str, str]]:
        """Those of the failed visits, by file, whose rows are not in their file any more: (file, visit number).

        The hospital took them back. A file that could not be read has lost nothing, nor has a folder that is away.
        """
        unread = {problem.file for problem in self.problems}
        if not self.folder.is_dir():
            return
        for source, visits in failed.items():
            if source not in unread and (self._only is None or source == self._only):
                file = self._files.get(source)
                there = file.waiting if file is not None and source in self._present else frozenset()
                yield from ((source, visit_no) for visit_no in visits - there)

    def registered_on(self, day: date) -> set[str]:
        """Who was registered in the folder for this day, by identity number, since this was last asked."""
        return self._registrations.registered_on(day)

    @property
    def holds_files(self) -> bool:
        """Whether files of charge lines were there at the last look."""
        return bool(self._present)

    def later(self, rows: Rows) -> None:
        """These rows were not taken: give them out again at the next look."""
        self._files[rows.source].forget(rows.visit_no)

    def answered_before(self, rows: Rows) -> None:
        """The verdict that stands on these rows is still the right one."""
        self._files[rows.source].answered(rows.visit_no)

    def look_again(self) -> None:
        """What stands on failed rows may not be right any more, such as after a new catalogue: give them out again."""
        for file in self._files.values():
            file.forget_answered()

    def rows_out(self, source: str, visit_no: str) -> Rows | None:
        """The rows of this visit that were given out and not answered yet."""
        file = self._files.get(source)
        return None if file is None else file.rows_out(visit_no)

    def answer(self, answers: Sequence[Answer], *, at: datetime) -> None:
        """Write verdicts back; rows that changed meanwhile are left alone and given out again.

        Raises dbf.NotYet when a file is locked for long, or is being replaced.
        """
        by_file: dict[str, list[Answer]] = defaultdict(list)
        for answer in answers:
            by_file[answer.rows.source].append(answer)
        for source, of_file in by_file.items():
            self._files[source].answer(of_file, at)

    def _under_our_code(self, delivery: Delivery) -> Delivery:
        """Some products take YYBH from the first six characters of JYDJH: our short code is our code."""
        institutions = delivery.read.institutions
        if not self.short_code or self.short_code not in institutions:
            return delivery
        ours = [self.institution_code if code == self.short_code else code for code in institutions]
        return delivery._replace(read=delivery.read._replace(institutions=ours))

    def _line_files(self) -> Iterator[LineFile]:
        """The files as they are in the folder now, those of before with what is known of them."""
        self._present = set()
        for kind in self.reads:
            for path in files_of(self.folder, kind):
                if self._only is None or path.name == self._only:
                    self._present.add(path.name)
                    yield self._files.setdefault(path.name, LineFile(path, layout(kind)))
