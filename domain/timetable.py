"""When detail may travel (明细上传时段): windows away from the business peaks of the morning and the afternoon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

EVERY_DAY = "1234567"
ANY_FRONTEND = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadWindow:
    """A daily time slice in which front-ends may upload detail.

    It closes just before `closes`, which is on the next day when it is not later than `opens`. `weekdays` are ISO
    digits, Monday is 1, of the days on which it opens.
    """

    name: str
    opens: time
    closes: time
    lines_per_tick: int
    weekdays: str = EVERY_DAY
    frontend: str = ANY_FRONTEND


# Outside 08:00-12:00 and 14:00-18:00 (AMB-61). At noon the counters are merely quieter, so less may travel.
DEFAULT_WINDOWS = (
    UploadWindow(name="noon", opens=time(12), closes=time(14), lines_per_tick=5_000),
    UploadWindow(name="night", opens=time(18), closes=time(8), lines_per_tick=20_000),
)


def open_window(windows: Iterable[UploadWindow], frontend: str, at: datetime) -> UploadWindow | None:
    """The window open for the front-end at this moment: its own before one for everybody, then the first given."""
    own = [window for window in windows if window.frontend in (frontend, ANY_FRONTEND)]
    own.sort(key=lambda window: window.frontend == ANY_FRONTEND)
    return next((window for window in own if _opened_on(window, at) is not None), None)


class WindowClosed(Exception):
    """A closed window has no cut-off: whoever asks must look first."""

    def __init__(self, window: UploadWindow, at: datetime) -> None:
        super().__init__(f"upload window {window.name!r} is not open at {at.isoformat()}")


def cut_off(window: UploadWindow, at: datetime) -> datetime:
    """The moment the open window closes. Raises WindowClosed."""
    day = _opened_on(window, at)
    if day is None:
        raise WindowClosed(window, at)
    if window.closes <= window.opens:
        day += timedelta(days=1)
    return datetime.combine(day, window.closes, at.tzinfo)


def _opened_on(window: UploadWindow, at: datetime) -> date | None:
    """The day on which the window opened that is open at this moment."""
    today, now = at.date(), at.time()
    if window.closes > window.opens:
        candidates = [today] if window.opens <= now < window.closes else []
    else:
        candidates = [today] if now >= window.opens else [today - timedelta(days=1)] if now < window.closes else []
    return next((day for day in candidates if str(day.isoweekday()) in window.weekdays), None)
