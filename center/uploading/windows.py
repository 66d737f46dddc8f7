"""The windows as the office edits them (明细上传时段): looked at as a whole, said to be wrong as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from center import served
from center.clearing import calendar as clearing_calendar
from center.ledger import audit
from center.tables import upload_window
from domain.pace import SMALL, Budget
from domain.timetable import ANY_FRONTEND, DAYS, EVERY_DAY, Calendar, UploadWindow, overlaps
from domain.workdays import is_workday

ALL_DAY = "24:00"
LONGEST_NAME = 32
MOST_LINES, MOST_BYTES = 2 * 10**9, 2**53

SLICE_SECONDS = range(10, 3601)
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_WORDS = {"every": EVERY_DAY, "workday": "W", "off": "H", "每天": EVERY_DAY, "工作日": "W", "休息日": "H"}


class WindowRefused(Exception):
    """The window cannot be set; `problems` says all that is wrong with it, in Chinese."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("；".join(problems))


class Asked(NamedTuple):
    """What the office asks for, as it was typed; None leaves a field as it is, or at its default."""

    opens: str | None = None
    closes: str | None = None
    days: str | None = None
    lines: str | None = None
    bytes: str | None = None
    frontend: str | None = None
    slice_seconds: str | None = None
    active: bool | None = None


class Stored(NamedTuple):
    """A window with whether it is in use."""

    window: UploadWindow
    active: bool


def every(connection: Connection) -> list[Stored]:
    """All windows by name, those out of use with them."""
    rows = connection.execute(select(upload_window).order_by(upload_window.c.name))
    return [Stored(_window(row), row.active) for row in rows]


def active(connection: Connection) -> list[UploadWindow]:
    """The windows in use, by name."""
    return [stored.window for stored in every(connection) if stored.active]


def calendar(connection: Connection) -> Calendar:
    """Which days are worked: the notices of the State Council, and the days the office has set against them."""
    exceptions = clearing_calendar.load(connection).exceptions
    return lambda day: is_workday(day, exceptions)


def changed(connection: Connection, name: str, asked: Asked) -> list[Stored]:
    """The timetable with this window as it is asked for; nothing is written. Raises WindowRefused."""
    stored = {each.window.name: each for each in every(connection)}
    wanted = _read(name, asked, stored.get(name), served.frontends(connection))
    problems = _too_small(wanted.window, served.frontends(connection))
    if wanted.active:
        for name_, other in stored.items():
            if name_ != name and other.active and overlaps(wanted.window, other.window):
                problems.append(f"与时段 {name_}（{span(other.window)}）重叠：同一前置机同一时刻只能有一个时段")
    if problems:
        raise WindowRefused(problems)
    return [each for each in stored.values() if each.window.name != name] + [wanted]


def put(connection: Connection, name: str, asked: Asked, *, by: str, reason: str, at: datetime) -> Stored:
    """Set a window, a new one or one that is there, and note who did it. Raises WindowRefused, and nothing is done."""
    wanted = changed(connection, name, asked)[-1]
    window = wanted.window
    row = {
        "opens": window.opens,
        "closes": window.closes,
        "days": window.days,
        "frontend": window.frontend,
        "lines_per_hour": window.lines_per_hour,
        "bytes_per_hour": window.bytes_per_hour,
        "slice_seconds": window.slice_length // timedelta(seconds=1),
        "active": wanted.active,
    }
    adding = insert(upload_window).values(name=name, **row)
    connection.execute(adding.on_conflict_do_update(index_elements=["name"], set_=row))
    details: dict[str, str | int] = {
        "window": span(window),
        "frontend": window.frontend,
        "lines": window.lines_per_hour,
        "bytes": window.bytes_per_hour,
        "active": int(wanted.active),
    }
    audit.note(connection, by=by, action="window.set", subject=name, reason=reason, at=at, details=details)
    return wanted


def remove(connection: Connection, name: str, *, by: str, reason: str, at: datetime) -> None:
    """Take a window out for good; a slice that was granted under it runs to its cut-off. Raises WindowRefused."""
    if connection.execute(delete(upload_window).where(upload_window.c.name == name)).rowcount == 0:
        names = "、".join(each.window.name for each in every(connection)) or "（没有）"
        raise WindowRefused([f"没有时段 {name}，现有：{names}"])
    audit.note(connection, by=by, action="window.remove", subject=name, reason=reason, at=at)


def span(window: UploadWindow) -> str:
    """From when to when, and on which days, as the office reads it."""
    closes = ALL_DAY if window.closes == window.opens == time() else f"{window.closes:%H:%M}"
    night = "次日" if window.closes <= window.opens and closes != ALL_DAY else ""
    return f"{days_in_words(window.days)} {window.opens:%H:%M}–{night}{closes}"


def days_in_words(days: str) -> str:
    """Which days, in Chinese."""
    if days == EVERY_DAY:
        return "每天"
    words = {"W": "工作日", "H": "休息日", **dict(zip(EVERY_DAY, "一二三四五六日", strict=True))}
    return "、".join(words[day] if day in "WH" else f"周{words[day]}" for day in days)


# ── Reading what was typed ────────────────────────────────────────────────────────────────────────────────


def _read(name: str, asked: Asked, held: Stored | None, frontends: Iterable[str]) -> Stored:
    """The window that is asked for. Raises WindowRefused with everything that cannot be read or used."""
    problems: list[str] = []
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        problems.append(f"时段名称应为 1 至 {LONGEST_NAME} 个字，前后没有空格")
    missing = [
        option
        for option, value in (("--opens", asked.opens), ("--closes", asked.closes), ("--lines", asked.lines),
                              ("--bytes", asked.bytes))
        if held is None and value is None
    ]  # fmt: skip
    if missing:
        problems.append(f"新时段还要给出 {'、'.join(missing)}")
    fields: dict[str, Any] = {}
    for field, value, read in (
        ("opens", asked.opens, _time),
        ("closes", asked.closes, _closing_time),
        ("days", asked.days, _days),
        ("lines_per_hour", asked.lines, _lines),
        ("bytes_per_hour", asked.bytes, _bytes),
        ("frontend", asked.frontend, _frontend_of(frontends)),
        ("slice_length", asked.slice_seconds, _slice),
    ):
        if value is not None:
            try:
                fields[field] = read(value.strip())
            except ValueError as problem:
                problems.append(str(problem))
    problems += _empty(asked, held, fields)
    if problems:
        raise WindowRefused(problems)
    window = UploadWindow(name=name, **fields) if held is None else replace(held.window, **fields)
    is_active = asked.active if asked.active is not None else held is None or held.active
    return Stored(window, is_active)


def _too_small(window: UploadWindow, frontends: Sequence[str]) -> list[str]:
    """The small slice of every front-end and hour has to be in the budget."""
    count = max(1, len(frontends)) if window.frontend == ANY_FRONTEND else 1
    if Budget(window.lines_per_hour, window.bytes_per_hour).is_enough_for(SMALL.part(count, 1)):
        return []
    return [
        f"预算太小：{count} 台前置机每小时各要传一小片（{SMALL.lines} 行、{SMALL.bytes >> 10}K），"
        f"至少 --lines {SMALL.lines * count} --bytes {(SMALL.bytes * count) >> 10}K"
    ]


def _empty(asked: Asked, held: Stored | None, fields: dict[str, Any]) -> list[str]:
    """A window that opens and closes at one time would never be open; a whole day is written with 24:00."""
    opens = fields.get("opens", held.window.opens if held else None)
    closes = fields.get("closes", held.window.closes if held else None)
    if opens is None or opens != closes or (asked.opens is None and asked.closes is None):
        return []
    if opens == time() and (asked.closes or "").strip() == ALL_DAY:
        return []
    return [f"时段是空的：{opens:%H:%M} 开始又在 {opens:%H:%M} 结束；全天请写 --opens 00:00 --closes 24:00"]


def _time(text: str) -> time:
    found = _TIME.fullmatch(text)
    if found is None or found[1] == "24":
        raise ValueError(f"开始时间 {text} 不是时间，应写作 18:00")
    return time(int(found[1]), int(found[2]))


def _closing_time(text: str) -> time:
    found = _TIME.fullmatch(text)
    if found is None or (found[1] == "24" and text != ALL_DAY):
        raise ValueError(f"结束时间 {text} 不是时间，应写作 08:00，午夜写 24:00")
    return time(int(found[1]) % 24, int(found[2]))


def _days(text: str) -> str:
    parts = [_WORDS.get(part.strip().lower(), part.strip().upper()) for part in re.split("[,，、+]", text)]
    days = "".join(day for day in DAYS if day in "".join(parts))
    if not days or any(letter not in DAYS for part in parts for letter in part):
        raise ValueError(f"日期 {text or '（空）'} 读不懂：1-7 是周一至周日，workday 工作日，off 休息日，每天写 every")
    return days


def _lines(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= MOST_LINES:
        raise ValueError(f"每小时明细行数 {text} 应是大于零的整数")
    return int(text)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMG]?)", text.upper(), re.ASCII)
    size = int(found[1]) * _SIZES[found[2]] if found else 0
    if not 0 < size <= MOST_BYTES:
        raise ValueError(f"每小时字节数 {text} 应大于零，如 64M")
    return size


def _slice(text: str) -> timedelta:
    if not text.isascii() or not text.isdecimal() or int(text) not in SLICE_SECONDS:
        raise ValueError(f"片长 {text} 应在 {SLICE_SECONDS[0]} 至 {SLICE_SECONDS[-1]} 秒之间")
    return timedelta(seconds=int(text))


def _frontend_of(frontends: Iterable[str]) -> Any:
    known = list(frontends)

    def read(text: str) -> str:
        if text != ANY_FRONTEND and text not in known:
            raise ValueError(f"没有前置机 {text}，现有：{'、'.join(known) or '（没有）'}；全部前置机写 *")
        return text

    return read


def _window(row: Any) -> UploadWindow:
    return UploadWindow(
        name=row.name,
        opens=row.opens,
        closes=row.closes,
        days=row.days,
        frontend=row.frontend,
        lines_per_hour=row.lines_per_hour,
        bytes_per_hour=row.bytes_per_hour,
        slice_length=timedelta(seconds=row.slice_seconds),
    )
