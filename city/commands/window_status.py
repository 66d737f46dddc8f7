"""What `jiesuan window` says without a command: who has detail to send, since when, and at what pace it travels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from city.commands import DONE, REFUSED
from city.commands.catalogue_office import print_json, print_table
from domain.pace import FULL
from infra.database import opened, reading
from infra.settings import Settings


def show(*, as_json: bool) -> int:
    """Print it, as the centre has it, or as this front-end has where there is no centre; the exit code."""
    settings = Settings()
    at, deadline = settings.time.now(), timedelta(hours=settings.detail_deadline_hours)
    if not settings.center_database_url and settings.frontend_database_url:
        return _at_a_frontend(settings, at, deadline, as_json=as_json)
    settings.need("center_database_url")
    from center.uploading import marks, standing

    with opened(settings.center_database_url) as engine, reading(engine) as connection:
        due = marks.due(connection, at=at, deadline=deadline)
        found = standing.read(connection, at=at)
    if as_json:
        print_json(
            {
                "at": at.isoformat(),
                "deadline_hours": settings.detail_deadline_hours,
                "pace": found.pace / FULL,
                "waiting_seconds": found.waiting_seconds,
                "open": list(found.open_windows),
                "due": [_document(mark, at) for mark in due],
                "slices": [_slice(row) for row in found.slices],
            }
        )
    else:
        print(found.in_words())
        _print_due(due, at, settings.detail_deadline_hours)
        print_table(
            "最近的片",
            ["前置机", "时段", "片号", "开始", "截止", "行", "本次开放已收/已批（行）", "字节"],
            [
                [
                    row.frontend, row.window, row.fence, f"{row.granted_at.astimezone(at.tzinfo):%m-%d %H:%M:%S}",
                    f"{row.cut_off.astimezone(at.tzinfo):%H:%M:%S}", row.lines,
                    f"{row.lines_received:,}/{row.lines_granted:,}", f"{row.bytes_received:,}/{row.bytes_granted:,}",
                ]
                for row in found.slices
            ],
        )  # fmt: skip
    return REFUSED if any(mark.overdue_claims for mark in due) else DONE


def _at_a_frontend(settings: Settings, at: datetime, deadline: timedelta, *, as_json: bool) -> int:
    from workers.upload_lag import lags

    with opened(settings.frontend_database_url) as engine, reading(engine) as connection:
        due = lags(connection, at=at, deadline=deadline)
    if as_json:
        print_json({"at": at.isoformat(), "due": [_document(lag, at) for lag in due]})
    else:
        _print_due(due, at, settings.detail_deadline_hours)
    return REFUSED if any(lag.overdue_claims for lag in due) else DONE


def looked_at(settings: Settings) -> Iterator[tuple[str, bool | None, str]]:
    """What `jiesuan doctor` says of it: name, well or not or nothing to look at, words."""
    at, deadline = settings.time.now(), timedelta(hours=settings.detail_deadline_hours)
    if settings.center_database_url:
        from center.uploading import marks, standing

        with opened(settings.center_database_url) as engine, reading(engine) as connection:
            due = marks.due(connection, at=at, deadline=deadline)
            found = standing.read(connection, at=at)
        yield "明细上传时段", found.windows > 0, found.in_words()
        yield "明细水位（中心）", *_in_words(due, at)
    if settings.frontend_database_url:
        from workers.upload_lag import lags

        with opened(settings.frontend_database_url) as engine, reading(engine) as connection:
            held = lags(connection, at=at, deadline=deadline)
        yield "明细水位（前置机）", *_in_words(held, at)


def _in_words(due: Sequence[Any], at: datetime) -> tuple[bool, str]:
    if not due:
        return True, "全部明细已到中心"
    oldest = max(due, key=lambda mark: mark.lag(at))
    words = f"{sum(mark.due_claims for mark in due):,} 笔待传，最早一笔已等 {in_hours(oldest.lag(at))}"
    overdue = sum(mark.overdue_claims for mark in due)
    if not overdue:
        return True, words
    return False, f"{words}（{oldest.institution_code}）；{overdue:,} 笔超期：jiesuan window"


def _print_due(due: Sequence[Any], at: datetime, deadline_hours: float) -> None:
    if not due:
        print("全部明细已到中心")
        return
    print_table(
        f"待传明细（结算后 {deadline_hours:g} 小时为限）",
        ["医药机构", "前置机", "结算笔数", "明细行数", "此前已到齐", "最早一笔已等", "超期笔数"],
        [
            [
                mark.institution_code,
                getattr(mark, "frontend", "本机"),
                f"{mark.due_claims:,}",
                f"{mark.due_lines:,}",
                f"{mark.oldest_due_at.astimezone(at.tzinfo):%Y-%m-%d %H:%M:%S}",
                in_hours(mark.lag(at)),
                mark.overdue_claims or "",
            ]
            for mark in due
        ],
    )


def in_hours(span: timedelta) -> str:
    """A time that has passed, as people read it."""
    minutes = span // timedelta(minutes=1)
    return f"{minutes // 60} 小时 {minutes % 60} 分" if minutes >= 60 else f"{minutes} 分"


def _document(mark: Any, at: datetime) -> dict[str, Any]:
    document = mark._asdict()
    document["oldest_due_at"] = mark.oldest_due_at.astimezone(at.tzinfo).isoformat()
    return {**document, "lag_seconds": int(mark.lag(at).total_seconds())}


def _slice(row: Any) -> dict[str, Any]:
    document = dict(row._mapping)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in document.items()}
