"""The files of an institution's exchange folder: their names and days, which are there, how old ones are put away.

A name is NAME and MMDD, the day it was begun (AMB-17). It has no year, so a file left from last year would take this
year's records: files of more than a few weeks are moved into a folder per year.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from infra.clock import SHANGHAI
from producers.his.dbf_lock import FileBusy, locked
from producers.his.fields import FILES

PUT_AWAY_AFTER_DAYS = 28
"""A file stays this long; the rule is a month (AMB-17), and it is looked for once a day."""
CLOCKS_APART_DAYS = 7
"""A hospital's clock may be ahead: a day up to so far in the future is of this year, not of the last."""

_FIRST_YEAR = 80
_NAME = re.compile(rf"({'|'.join(FILES)})(\d\d)(\d\d)\.DBF", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ExchangeFile:
    """One exchange file: which of the seven it is, and the day in its name."""

    path: Path
    kind: str
    day: date


def files_of(folder: Path, kind: str) -> list[Path]:
    """The folder's files of one kind, whatever the case of their names, oldest name first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [name for name in names if (match := _NAME.fullmatch(name)) and match[1].upper() == kind]
    return [folder / name for name in sorted(found)]


def is_exchange_file(name: str) -> bool:
    """Whether a file of this name is one of the seven."""
    return _NAME.fullmatch(name) is not None


def signature_of(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written to; None when it is gone."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size


def file_of_day(folder: Path, kind: str, day: date) -> Path:
    """Where records of this day are added: the file that is there in any case, or the name as it is printed.

    Last year's file of the same name is put away first.
    """
    wanted = f"{kind}{day:%m%d}.DBF"
    for path in files_of(folder, kind):
        if path.name.upper() == wanted:
            if (begun := day_of(path, today=day)) is not None and begun.year < day.year:
                put_away(path, begun.year)
                continue
            return path
    return folder / wanted


def day_of(path: Path, *, today: date = date.min) -> date | None:
    """The day a file was begun; None when its name holds no day of the calendar or the file is gone.

    The year is the latest that fits the name, unless nothing was written to the file for longer than that.
    """
    match = _NAME.fullmatch(path.name)
    changed = _last_changed(path)
    if match is None or changed is None:
        return None
    latest = max(today, changed) + timedelta(days=CLOCKS_APART_DAYS)
    years = range(latest.year, latest.year - 9, -1)  # 29 February comes every eight years at least
    days = [day for year in years if (day := _calendar_day(year, match)) is not None and day <= latest]
    written = changed + timedelta(days=CLOCKS_APART_DAYS)
    return next((day for day in days if day <= written), None)


def old_files(folder: Path, *, today: date) -> Iterator[ExchangeFile]:
    """The files that have stayed long enough."""
    for kind in FILES:
        for path in files_of(folder, kind):
            day = day_of(path, today=today)
            if day is not None and (today - day).days >= PUT_AWAY_AFTER_DAYS:
                yield ExchangeFile(path, kind, day)


def put_away(path: Path, year: int) -> Path:
    """Move a file into the folder of its year; where the name is taken there, it gets a number.

    The file is held while it moves, so that nobody's record is written into it between two names. Raises FileBusy.
    """
    archive = path.parent / f"{year}"
    archive.mkdir(exist_ok=True)
    with locked(path, tries=1):
        for number in range(1, 1000):
            name = path.name if number == 1 else f"{path.stem}-{number}{path.suffix}"
            try:
                os.link(path, archive / name)  # unlike a rename it does not replace what is there
            except FileExistsError:
                if os.path.samefile(path, archive / name):  # linked by a process that was stopped before it went on
                    break
                continue
            break
        else:
            raise FileBusy(path.name)
        path.unlink()
    return archive / name


def _calendar_day(year: int, match: re.Match[str]) -> date | None:
    try:
        return date(year, int(match[2]), int(match[3]))
    except ValueError:
        return None


def _last_changed(path: Path) -> date | None:
    """The day somebody last wrote to the file, by its header or by the file system; None when it is gone."""
    try:
        moment = datetime.fromtimestamp(path.stat().st_mtime, SHANGHAI).date()
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return None
    try:
        year = start[1] + (1900 if start[1] >= _FIRST_YEAR else 2000)  # many write the year without its century
        return max(moment, date(year, start[2], start[3]))
    except (IndexError, ValueError):
        return moment
