"""When detail may travel (明细上传时段): windows away from the business peaks of the morning and the afternoon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise, product
from typing import NamedTuple

EVERY_DAY = "1234567"
WORKDAY, DAY_OFF = "W", "H"
DAYS = EVERY_DAY + WORKDAY + DAY_OFF
ANY_FRONTEND = "*"
HOUR = timedelta(hours=1)

Calendar = Callable[[date], bool]
"""Whether a day is worked: domain.workdays with the exceptions of the office."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadWindow:
    """A time of the day in which front-ends may upload detail, and how much all of them together in an hour of it.

    It closes just before `closes`, which is on the next day when it is not later than `opens`. `days` are those on
    which it opens: ISO digits, Monday is 1, W for every working day, H for every day off. `lines_per_hour` and
    `bytes_per_hour`, the latter on the link, are by the business clock; so is `slice_length`, of one grant.
    """

    name: str
    opens: time
    closes: time
    lines_per_hour: int
    bytes_per_hour: int
    days: str = EVERY_DAY
    frontend: str = ANY_FRONTEND
    slice_length: timedelta = timedelta(seconds=60)


class Opening(NamedTuple):
    """From when to when a window is open; `closes` is exclusive."""

    opened: datetime
    closes: datetime


MIB = 1 << 20

# Outside 08:00-12:00 and 14:00-18:00 (AMB-61). At noon the counters are merely quieter, so less may travel.
DEFAULT_WINDOWS = (
    UploadWindow(name="noon", opens=time(12), closes=time(14), lines_per_hour=1_500_000, bytes_per_hour=48 * MIB),
    UploadWindow(name="night", opens=time(18), closes=time(8), lines_per_hour=6_000_000, bytes_per_hour=192 * MIB),
)


def open_window(
    windows: Iterable[UploadWindow], frontend: str, at: datetime, is_workday: Calendar
) -> UploadWindow | None:
    """The window open for the front-end at this moment: its own before one for everybody, then the first given."""
    own = [window for window in windows if window.frontend in (frontend, ANY_FRONTEND)]
    own.sort(key=lambda window: window.frontend == ANY_FRONTEND)
    return next((window for window in own if opening(window, at, is_workday) is not None), None)


def opening(window: UploadWindow, at: datetime, is_workday: Calendar) -> Opening | None:
    """The opening of the window this moment lies in."""
    now = at.timetz().replace(tzinfo=None)
    past_midnight = window.closes <= window.opens
    if now >= window.opens and (past_midnight or now < window.closes):
        day = at.date()
    elif past_midnight and now < window.closes:
        day = at.date() - timedelta(days=1)
    else:
        return None
    if not opens_on(window.days, day.isoweekday(), worked=is_workday(day)):
        return None
    closing_day = day + timedelta(days=1) if past_midnight else day
    return Opening(
        datetime.combine(day, window.opens, at.tzinfo), datetime.combine(closing_day, window.closes, at.tzinfo)
    )


def opens_on(days: str, weekday: int, *, worked: bool) -> bool:
    """Whether a window of these days opens on such a day."""
    return str(weekday) in days or (WORKDAY if worked else DAY_OFF) in days


def overlaps(one: UploadWindow, other: UploadWindow) -> bool:
    """Whether both could be open for the same front-end at once, on whatever days the calendar may bring.

    A front-end's own window may lie in one for everybody: there it comes first.
    """
    if one.frontend != other.frontend:
        return False
    kinds = product(range(1, 8), (True, False), (True, False))
    return any(
        _cross(first, second)
        for weekday, worked, next_worked in kinds
        for first in _spans(one, weekday, worked, next_worked)
        for second in _spans(other, weekday, worked, next_worked)
    )


class Hour(NamedTuple):
    """One hour of the timetable of a front-end: for how many minutes which window is open, and what it may carry."""

    begins: datetime
    window: str
    minutes: int
    lines: int
    bytes: int


def hours_of(
    windows: Sequence[UploadWindow], frontend: str, first: datetime, days: int, is_workday: Calendar
) -> Iterator[Hour]:
    """The hours of so many days from `first`, a midnight; an hour in which two windows are open comes twice."""
    for number in range(24 * days):
        begins = first + number * HOUR
        edges = sorted({begins, begins + HOUR, *_edges(windows, begins)})
        parts: dict[str, tuple[UploadWindow | None, timedelta]] = {}
        for start, end in pairwise(edges):
            window = open_window(windows, frontend, start, is_workday)
            name = window.name if window else ""
            parts[name] = window, parts.get(name, (window, timedelta()))[1] + (end - start)
        opened = [(window, share) for window, share in parts.values() if window is not None]
        for window, share in opened:
            lines, size = (int(whole * share / HOUR) for whole in (window.lines_per_hour, window.bytes_per_hour))
            yield Hour(begins, window.name, round(share / timedelta(minutes=1)), lines, size)
        if not opened:
            yield Hour(begins, "", 0, 0, 0)


def _edges(windows: Iterable[UploadWindow], begins: datetime) -> Iterator[datetime]:
    """The moments within the hour at which a window may open or close."""
    for window in windows:
        for edge in (window.opens, window.closes):
            moment = datetime.combine(begins.date(), edge, begins.tzinfo)
            if begins < moment < begins + HOUR:
                yield moment


def _spans(window: UploadWindow, weekday: int, worked: bool, next_worked: bool) -> Iterator[tuple[int, int]]:
    """The seconds after a midnight in which the window is open, opened on that day or the next."""
    start, end = (each.hour * 3600 + each.minute * 60 + each.second for each in (window.opens, window.closes))
    end += 86_400 if end <= start else 0
    for number, (day, is_worked) in enumerate(((weekday, worked), (weekday % 7 + 1, next_worked))):
        if opens_on(window.days, day, worked=is_worked):
            yield start + number * 86_400, end + number * 86_400


def _cross(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
