"""The week of `jiesuan window preview`: a line a day, a column an hour, the darker the more may travel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

from domain.timetable import Calendar, Hour

CLOSED = "·"
SHADES = "░▒▓█"
WEEKDAYS = "一二三四五六日"


def picture(hours: Sequence[Hour], is_workday: Calendar) -> Iterator[str]:
    """The lines of the picture: the hours above, then each day with its sums."""
    yield " " * 18 + "".join(f"{hour:02d}  " for hour in range(0, 24, 2)) + "    行/日  字节/日"
    most = max((hour.lines for hour in hours), default=0)
    for day, of_day in groupby(hours, key=lambda hour: hour.begins.date()):
        found = list(of_day)
        cells = [[hour for hour in found if hour.begins.hour == number] for number in range(24)]
        shades = "".join(_shade(sum(hour.lines for hour in cell), most) * 2 for cell in cells)
        lines, size = sum(hour.lines for hour in found), sum(hour.bytes for hour in found)
        yield f"{_named(day, is_workday)}{shades} {_short(lines, 1000):>7} {_short(size, 1024):>8}"
    yield f"{' ' * 18}{CLOSED} 不传   {SHADES[0]} 少 … {SHADES[-1]} 多（最多每小时 {most:,} 行）"


def _named(day: date, is_workday: Calendar) -> str:
    kind = "工作日" if is_workday(day) else "休息日"
    return f"{day:%m-%d} 周{WEEKDAYS[day.weekday()]} {kind} "


def _shade(lines: int, most: int) -> str:
    if not lines:
        return CLOSED
    return SHADES[min(len(SHADES) - 1, (len(SHADES) * lines - 1) // most)]


def _short(number: int, step: int) -> str:
    value, unit = float(number), ""
    for unit in ("", "K", "M", "G", "T"):
        if value < step or unit == "T":
            break
        value /= step
    return f"{value:.1f}{unit}" if unit else str(number)
