"""What the doctor says of links: this front-end's own, and which front-ends the centre does not hear."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from domain.link import LinkState
from domain.money import yuan
from infra.database import opened, reading
from infra.settings import Settings

Looked = tuple[str, bool | None, str]
"""The name of what was looked at, whether it is well, and the words."""


def looked_at(settings: Settings) -> Iterator[Looked]:
    """The link as this front-end has it, and what the centre knows of others. Raises SQLAlchemyError, OSError."""
    at = settings.time.now()
    if settings.frontend_database_url:
        with opened(settings.frontend_database_url) as engine, reading(engine) as connection:
            yield from _own(connection, at)
    if settings.center_database_url:
        with opened(settings.center_database_url) as engine, reading(engine) as connection:
            yield from _others(connection, at)


def _own(connection: Connection, at: datetime) -> Iterator[Looked]:
    from workers.link import standing
    from workers.offline.queue import waiting

    link = standing(connection, at=at)
    if link.since is None:
        yield "与中心的链路", None, "还没有记录：jiesuan serve link 是否在运行"
        return
    waits = waiting(connection)
    said = "".join(
        f"；{each.institution_code} 已受理未结算 {each.claims} 笔 {yuan(each.total_fen)} 元"
        + (f"，其中脱机结算 {each.offline_claims} 笔" if each.offline_claims else "")
        for each in waits
        if link.state is not LinkState.UP
    )
    yield (
        "与中心的链路",
        link.state is LinkState.UP and link.unheard_at is None and link.clock_agrees,
        link.words() + said,
    )


def _others(connection: Connection, at: datetime) -> Iterator[Looked]:
    from center.offline import trouble
    from center.offline.cases import listed
    from center.offline.exposure import exposure

    for each in trouble.recent(connection, at=at):
        name = "不明前置机" if each.frontend == trouble.NOBODY else f"前置机 {each.frontend}"
        yield (
            name,
            False,
            f"{each.words}（{each.first_at:%m-%d %H:%M:%S} 起 {each.times} 次，最近 {each.last_at:%H:%M:%S}）",
        )
    found = exposure(connection, at=at)
    if found.persons:
        yield "脱机限额", True, f"租出 {found.persons} 人，最坏情形透支 {yuan(found.worst_fen)} 元"
    cases = listed(connection)
    if cases:
        yield "脱机结算差异", False, f"{len(cases)} 项未办结：jiesuan offline cases"
