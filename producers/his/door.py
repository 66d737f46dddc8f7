"""The door of one institution's exchange folder: both sides of it, whether it is there, what the hospital is told."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

from producers.his import dbf
from producers.his.changes import Changes
from producers.his.dbf import DbfProblem, NotYet
from producers.his.exchange import OUTPATIENTS, STAYS, DbfExchange
from producers.his.folder import old_files, put_away
from producers.his.line_files import IMPORTED
from producers.his.outgoing import LINES_ENTERED_HERE, WRITTEN, Outgoing

log = logging.getLogger("his")

LOOK_EVERY_SECONDS = 2.0
"""A folder is looked at so often even when nobody told that something changed in it."""
FLAGS_EVERY_SECONDS = 1.0
"""Our own files are looked at so often: a HIS writes its flags row by row."""
PATIENCE_LOOKS = 20
"""An incomplete file is told to the hospital once it has stayed so for this many looks."""
REFUSED_NOTE = "REFUSED.TXT"
"""Batches of registered visits that the centre refused, with what it said; gone when none is left."""
CLOSED_NOTE = "CLOSED.TXT"
"""Why nothing new is read at present; gone when it is read again."""
WHILE_CLOSED = "已受理的费用照常结算，结果照常写回；恢复受理后，本目录中的文件自动读入。"
UNREAD_STAYS_DAYS = 180
"""A file with rows that nobody has read stays so long before it is put away; its name comes again after a year."""


class Door:
    """One institution's folder, and what the hospital was told about its files."""

    def __init__(self, folder: Path, institution_code: str) -> None:
        self.folder, self.institution_code = folder, institution_code
        self.is_away = False
        self._flow: tuple[int, bool, str] = (2, True, "")
        self._catalogue = ""
        self._due = self._flags_due = 0.0
        self._put_away_on: date | None = None
        self._incomplete: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._refused_words: str | None = None
        self._closed_words: str | None = None
        self._open()

    def _open(self) -> None:
        """Begin with nothing remembered: what was done stands in the files and in the books."""
        self._identity = _identity(self.folder)
        self.exchange = DbfExchange(self.folder, self.institution_code)
        self.outgoing = Outgoing(self.folder)
        flow, at_once, short_code = self._flow
        self.follow(flow, settles_at_once=at_once, short_code=short_code)

    def follow(self, outpatient_flow: int, *, settles_at_once: bool, short_code: str = "") -> None:
        """Where outpatient lines are entered (1 at the client, 2 in the HIS), whether they are settled at once, and
        the code with which the institution's visit numbers begin."""
        self._flow = (outpatient_flow, settles_at_once, short_code)
        self.exchange.short_code = short_code
        entered_here = outpatient_flow == 1
        self.exchange.reads = (STAYS,) if entered_here else (STAYS, OUTPATIENTS)
        self.exchange.settles_at_once = settles_at_once
        self.outgoing.kinds = (*WRITTEN, LINES_ENTERED_HERE) if entered_here else WRITTEN

    # ── A share may vanish and return ─────────────────────────────────────────────────────────────────────

    def is_there(self, changes: Changes) -> bool:
        """Whether the folder is the one we know. One that came back as another is begun anew.

        A share that is not mounted leaves an empty folder in its place; nothing must be written there.
        """
        identity = _identity(self.folder)
        if identity is not None and identity != self._identity and not self._is_a_bare_mount_point():
            changes.forget(self.folder)
            self._open()
        away = identity is None or identity != self._identity
        if away != self.is_away:
            self.is_away = away
            log.warning("folder_away" if away else "folder_back", extra={"institution": self.institution_code})
            self._due = 0.0
        return not away

    def _is_a_bare_mount_point(self) -> bool:
        return self.exchange.holds_files and not os.listdir(self.folder)

    @contextmanager
    def keeping_others_safe(self) -> Iterator[None]:
        """What goes wrong with this folder is this institution's trouble alone."""
        try:
            yield
        except OSError as error:
            log.warning("folder_failed", extra={"institution": self.institution_code, "error": type(error).__name__})

    def see_catalogue(self, version: str) -> None:
        """Take note of the catalogue in force; with another one, what failed for want of a match is read again."""
        if self._catalogue not in ("", version):
            self.exchange.look_again()
        self._catalogue = version

    # ── When it is looked at ──────────────────────────────────────────────────────────────────────────────

    def is_due(self, now: float) -> bool:
        """Whether it is time to look, told or not."""
        return now >= self._due

    def flags_are_due(self, now: float) -> bool:
        """Whether it is time to see what the hospital made of ours; asked once, it is time again later."""
        if now < self._flags_due:
            return False
        self._flags_due = now + FLAGS_EVERY_SECONDS
        return True

    def was_looked_at(self, *, again_soon: bool) -> None:
        """Note the look; `again_soon` when something was left for the next one."""
        self._due = 0.0 if again_soon else time.monotonic() + LOOK_EVERY_SECONDS

    def put_away_old_files(self, at: datetime) -> None:
        """Once a day, move the files that have stayed long enough into the folder of their year."""
        if self._put_away_on == at.date():
            return
        self._put_away_on = at.date()
        for file in old_files(self.folder, today=at.date()):
            if (at.date() - file.day).days < UNREAD_STAYS_DAYS and not _is_read(file.path):
                continue
            try:
                put_away(file.path, file.day.year)
            except dbf.FileBusy:
                continue
            log.info("file_put_away", extra={"institution": self.institution_code, "file": file.path.name})

    # ── What the hospital is told ─────────────────────────────────────────────────────────────────────────

    def tell(self, problems: Sequence[DbfProblem], at: datetime) -> None:
        """Lay a note in Chinese beside each file that cannot be read; take it away when the file is good again."""
        lasting = {problem.file: problem for problem in problems if self._lasts(problem)}
        for name in self._told.keys() - lasting.keys():
            self._note_of(name).unlink(missing_ok=True)
            del self._told[name]
        for name, problem in lasting.items():
            if self._told.get(name) != problem.message_zh:
                words = f"{at:%Y-%m-%d %H:%M:%S} {problem.message_zh}\n"
                self._note_of(name).write_text(words, encoding="gb18030")
                self._told[name] = problem.message_zh
                log.warning("exchange_file_refused", extra={"file": name, "reason": type(problem).__name__})
        named = {problem.file for problem in problems}
        self._incomplete = {name: looks for name, looks in self._incomplete.items() if name in named}

    def tell_refused(self, words: str) -> None:
        """Lay a note about batches the centre refused into the folder; take it away when there are none any more."""
        if words == self._refused_words:
            return
        note = self.folder / REFUSED_NOTE
        if words:
            note.write_text(words, encoding="gb18030")
        else:
            note.unlink(missing_ok=True)
        self._refused_words = words

    def tell_closed(self, why: str) -> None:
        """Lay a note into the folder that nothing new is read and why; take it away when it is again."""
        if why == self._closed_words:
            return
        note = self.folder / CLOSED_NOTE
        if why:
            note.write_text(f"{why}\n{WHILE_CLOSED}\n", encoding="gb18030")
        else:
            note.unlink(missing_ok=True)
        self._closed_words = why

    def _lasts(self, problem: DbfProblem) -> bool:
        if not isinstance(problem, NotYet):
            return True
        looks = self._incomplete[problem.file] = self._incomplete.get(problem.file, 0) + 1
        return looks > PATIENCE_LOOKS

    def _note_of(self, name: str) -> Path:
        return self.folder / f"{name}.txt"


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder the name means now; None when it means none, or the share does not answer."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_read(path: Path) -> bool:
    """Whether whoever reads the file has read every row of it."""
    try:
        return all(flag == IMPORTED for flag in dbf.read(path).numbers("DRBZ"))
    except (DbfProblem, FileNotFoundError):
        return False
