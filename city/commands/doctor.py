"""`jiesuan doctor`: is everything there that the processes on this machine need?"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from city.commands import DONE, REFUSED
from infra.settings import MissingSetting, Settings

FREE_BYTES = 1 << 30
LOOKS_WITHIN = timedelta(minutes=5)
"""Shared tables are looked at thoroughly every minute; longer silence means that nobody does."""
VERIFIED_WITHIN = timedelta(days=2)
"""The chains are verified every night."""
CHECKED_WITHIN = timedelta(minutes=10)
"""The books are checked several times a minute; longer silence means that nobody does."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `ok` is True, False, or None where there was nothing to look at."""

    name: str
    ok: bool | None
    words: str


def examine(*, as_json: bool) -> int:
    """Print every finding; the exit code says whether something is wrong."""
    found = list(findings(Settings()))
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        for one in found:
            mark, colour = {True: ("正常", "green"), False: ("有误", "red"), None: ("未设", "yellow")}[one.ok]
            table.add_row(f"[{colour}]{mark}[/]", one.name, one.words)
        Console().print(table)
    return REFUSED if any(one.ok is False for one in found) else DONE


def findings(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one after the other; what is not configured is not looked at."""
    yield _python()
    yield _disk(settings.data_dir)
    yield from _place("中心数据库", settings.center_database_url, "center")
    yield from _place("前置机数据库", settings.frontend_database_url, "frontend")
    yield from _epoch(settings)
    yield from _books(settings)
    yield from _chains(settings)
    yield from _serving(settings)
    yield from _lanes(settings)
    yield from _uploads(settings)
    yield from _links(settings)
    yield from _tenants(settings)
    yield from _shared_tables(settings)
    yield from _exchange_folders(settings)
    yield _broker("中心消息服务", settings.center_broker_url)
    yield _broker("前置机消息服务", settings.local_broker_url)
    yield _secret("中心密钥", settings.center_secret_file, settings.center_secret)
    yield _secret("前置机密钥", settings.frontend_key_file, settings.sealing_key)
    yield _policies(settings.policies_dir)
    yield _clock(settings)


def _python() -> Finding:
    return Finding("Python", sys.version_info >= (3, 11), f"{sys.version.split()[0]}（需要 3.11 或更新）")


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    words = f"可用 {free >> 20:,} MiB" + ("" if writable else "，但当前用户不能写入")
    return Finding("磁盘", writable and free >= FREE_BYTES, words)


def _place(name: str, url: str, place: str) -> Iterator[Finding]:
    if not url:
        yield Finding(name, None, f"JIESUAN_{place.upper()}_DATABASE_URL 没有设置")
        return
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    from infra.database import open_database, reading

    try:
        engine = open_database(url, pool_size=1)
        with reading(engine) as connection:
            started = time.perf_counter()
            connection.execute(text("SELECT 1"))
            took = (time.perf_counter() - started) * 1000
            yield Finding(name, True, f"{engine.dialect.name}，应答 {took:.1f} 毫秒")
            try:
                version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            except SQLAlchemyError:
                version = None
        engine.dispose()
    except (SQLAlchemyError, OSError) as error:
        yield Finding(name, False, f"连接不上（{type(error).__name__}）")
        return
    newest = _newest(place)
    words = (
        f"版本 {version}"
        if version == newest
        else f"版本 {version or '无'}，应为 {newest}：运行 jiesuan migrate {place}"
    )
    yield Finding(f"{name}结构", version == newest, words)
    if place == "center" and version == newest:
        yield _privileges(url)


def _serving(settings: Settings) -> Iterator[Finding]:
    """Front-ends that speak for institutions they do not serve, and moves that go on for long."""
    if not settings.center_database_url:
        return
    from sqlalchemy.exc import SQLAlchemyError

    from center.serving import strangers
    from center.serving.beginning import long_under_way
    from infra.database import open_database, reading

    engine = open_database(settings.center_database_url, pool_size=1)
    try:
        with reading(engine) as connection:
            found = strangers.strangers(connection, at=settings.time.now())
            slow = long_under_way(connection, at=settings.time.now())
    except SQLAlchemyError:
        return
    finally:
        engine.dispose()
    for each in found:
        words = (
            f"前置机 {each.frontend} 为机构 {each.institution_code} 发来 {each.claims} 笔，"
            f"但中心未登记由它服务，均已拒绝：查 jiesuan tenant move {each.institution_code} --show，停用或改正该前置机"
        )
        yield Finding("前置机归属", False, words)
    for row in slow:
        words = f"机构 {row.institution_code} 的第 {row.move_no} 次迁移停在“{row.state}”已逾一小时，用 --show 查看"
        yield Finding("机构迁移", None, words)
    if not found:
        yield Finding("前置机归属", True, "近一天没有前置机为不属于它的机构发送费用")


def _lanes(settings: Settings) -> Iterator[Finding]:
    """Institutions whose claims are spread over more settle lanes than the centre serves."""
    if not settings.center_database_url:
        return
    from sqlalchemy import func, select
    from sqlalchemy.exc import SQLAlchemyError

    from center.tables import institution
    from infra.database import opened, reading

    served, spread = settings.settle_lanes, institution.c.settle_lanes
    try:
        with opened(settings.center_database_url) as engine, reading(engine) as connection:
            over = connection.execute(select(func.count(), func.max(spread)).where(spread > served)).one()
    except (SQLAlchemyError, OSError):
        return  # said of the centre's database already
    words = f"中心开了 {served} 条（JIESUAN_SETTLE_LANES）"
    if over[0]:
        words += (
            f"，但有 {over[0]} 家机构分到最多 {over[1]} 条，多出的无人结算：jiesuan tenant lanes --lanes {served} --all"
        )
    yield Finding("结算通道", not over[0], words)


def _privileges(url: str) -> Finding:
    """Whether the login of the application could change what is settled."""
    from center.privileges import may_change_the_ledger
    from infra.database import open_database, reading

    engine = open_database(url, pool_size=1)
    try:
        with reading(engine) as connection:
            may = may_change_the_ledger(connection)
    finally:
        engine.dispose()
    words = (
        "只能添加和读取已结算的账"
        if not may
        else (
            "可以改动已结算的账：请给应用另设登录（JIESUAN_CENTER_DATABASE_URL），"
            "所有者登录放在 JIESUAN_CENTER_OWNER_DATABASE_URL，只用于 jiesuan migrate"
        )
    )
    return Finding("中心数据库权限", None if may else True, words)


def _epoch(settings: Settings) -> Iterator[Finding]:
    """Whether a restored centre has back what it lost, and whom it waits for."""
    if not settings.center_database_url:
        return
    from sqlalchemy.exc import SQLAlchemyError

    from center.backup.progress import progress
    from infra.database import opened, reading

    try:
        with opened(settings.center_database_url) as engine, reading(engine) as connection:
            found = progress(connection)
    except (SQLAlchemyError, OSError):
        return  # said above
    awaited = [each for each in found.frontends if each.is_owing]
    owing = [each.frontend for each in awaited if not each.strange]
    again = [f"{each.frontend}（{'、'.join(each.strange)}）" for each in awaited if each.strange]
    details = sum(not each.is_done for each in found.frontends)
    words = found.words
    if again:
        words += f"；备份之后的登记或迁移已丢失，请补做：{'、'.join(again[:5])}（jiesuan epoch show）"
    if owing:
        words += f"；未报送的前置机 {len(owing)} 台：{'、'.join(owing[:5])}（jiesuan epoch show）"
    elif details and not again:
        words += f"；{details} 台前置机的明细尚待补齐"
    yield Finding("纪元", found.is_open, words)


def _books(settings: Settings) -> Iterator[Finding]:
    """Whether the centre's books add up, and whether anybody looks."""
    if not settings.center_database_url:
        return
    from sqlalchemy.exc import SQLAlchemyError

    from center.conservation.metrics import standing
    from infra.database import open_database, reading

    try:
        engine = open_database(settings.center_database_url, pool_size=1)
        with reading(engine) as connection:
            found = standing(connection)
        engine.dispose()
    except (SQLAlchemyError, OSError):
        return  # said of the centre's database already
    if found.frozen:
        words = f"{sum(found.broken.values())} 处不符，{found.frozen} 类结算冻结：jiesuan books frozen"
        yield Finding("账目", False, words)
        return
    newest = max(found.checked_at.values(), default=None)
    if newest is None:
        yield Finding("账目", None if found.unchecked_links == 0 else False, "还没有核对过：jiesuan books check")
        return
    late = found.unchecked_links > 0 and settings.time.now() - newest > CHECKED_WITHIN
    words = f"{newest:%m-%d %H:%M:%S} 核对相符" + (f"，此后 {found.unchecked_links} 笔入账没有核对" if late else "")
    yield Finding("账目", not late, words)


def _chains(settings: Settings) -> Iterator[Finding]:
    """How the chains stood when they were last verified by night, and whether heads leave the database."""
    if not settings.center_database_url:
        return
    from sqlalchemy.exc import SQLAlchemyError

    from center.ledger.nightly import newest
    from infra.database import open_database, reading

    try:
        engine = open_database(settings.center_database_url, pool_size=1)
        with reading(engine) as connection:
            found = newest(connection)
        engine.dispose()
    except (SQLAlchemyError, OSError):
        return  # said of the centre's database already
    if found is None:
        yield Finding("验链", None, "夜间还没有验过：jiesuan audit verify")
        return
    at = settings.time.now()
    words = f"{found.verified_at:%m-%d %H:%M} 验 {found.chains} 条链 {found.links} 环，比对导出的链头 {found.heads} 个"
    if found.wrong:
        words += f"，{found.wrong} 处不符：jiesuan audit verify"
    elif at - found.verified_at > VERIFIED_WITHIN:
        words += "，此后夜间没有再验"
    elif found.newest_head_at is None or at - found.newest_head_at > VERIFIED_WITHIN:
        words += "，没有近两日的链头：查 JIESUAN_AUDIT_DIR 和 beat"
    else:
        yield Finding("验链", True, words)
        return
    yield Finding("验链", False, words)


def _uploads(settings: Settings) -> Iterator[Finding]:
    """Whether the detail comes in time, at the centre and at this front-end."""
    from sqlalchemy.exc import SQLAlchemyError

    from city.commands.window_status import looked_at

    try:
        for name, ok, words in looked_at(settings):
            yield Finding(name, ok, words)
    except (SQLAlchemyError, OSError):
        return  # said of the databases already


def _links(settings: Settings) -> Iterator[Finding]:
    """This front-end's link, and which front-ends the centre does not hear or have another time."""
    from sqlalchemy.exc import SQLAlchemyError

    from city.commands.link_status import looked_at

    try:
        for name, ok, words in looked_at(settings):
            yield Finding(name, ok, words)
    except (SQLAlchemyError, OSError):
        return  # said of the databases already


def _tenants(settings: Settings) -> Iterator[Finding]:
    """Which institutions of this front-end are held back, or take nothing at present."""
    if not settings.frontend_database_url:
        return
    from sqlalchemy.exc import SQLAlchemyError

    from city.commands.tenant_show import held_back
    from infra.database import opened, reading
    from workers.tenants import tenants

    try:
        with opened(settings.frontend_database_url) as engine, reading(engine) as connection:
            served = tenants(connection, now=settings.time.seconds())
    except (SQLAlchemyError, OSError):
        return  # said of the databases already
    words = [held_back(one) for one in served]
    yield Finding("接入机构", not any(words), "；".join(filter(None, words)) or f"{len(served)} 家，权重均未降低")


def _shared_tables(settings: Settings) -> Iterator[Finding]:
    """What the service behind the shared tables said of each institution's at its last look."""
    if not settings.frontend_database_url:
        return
    from sqlalchemy.exc import SQLAlchemyError

    from infra.database import open_database, reading
    from producers.his.tables.place import patrons
    from workers.exchange_status import statuses

    try:
        engine = open_database(settings.frontend_database_url, pool_size=1)
        with reading(engine) as connection:
            served, looks = patrons(connection), statuses(connection)
        engine.dispose()
    except (SQLAlchemyError, OSError):
        return  # said of the front-end's database already
    for patron in served:
        name, look = f"共享数据表 {patron.institution_code}", looks.get(patron.institution_code)
        if look is None:
            yield Finding(name, False, "还没有读取过：jiesuan serve tables 是否在运行")
            continue
        words = f"{look.looked_at:%m-%d %H:%M:%S} 读取，未读 {look.unread} 条，未通过 {look.failed} 条"
        if look.error:
            words = f"{look.looked_at:%m-%d %H:%M:%S} 连接不上（{look.error}）"
        silent = settings.time.now() - look.looked_at > LOOKS_WITHIN
        yield Finding(name, not look.error and not silent, words + ("，此后没有再读取" if silent else ""))


def _exchange_folders(settings: Settings) -> Iterator[Finding]:
    """Whether somebody watches the exchange folders, and what lies in them that could not be read."""
    folder = settings.exchange_dir
    if folder is None:
        return
    from producers.his.watcher import is_watched

    folders = sorted(path for path in folder.glob("*") if path.is_dir())
    if not folders:
        yield Finding("交换目录", None, "还没有机构的目录")
        return
    watched = is_watched(folder)
    yield Finding("交换目录", watched, "有进程在看" if watched else "没有进程在看：jiesuan serve his 是否在运行")
    for of_institution in folders:
        notes = [note.name.removesuffix(".txt") for note in sorted(of_institution.glob("*.DBF.txt"))]
        writable = os.access(of_institution, os.W_OK)
        words = "不能读取：" + "、".join(notes) if notes else "可以读写" if writable else "当前用户不能写入"
        yield Finding(f"交换目录 {of_institution.name}", writable and not notes, words)


def _newest(place: str) -> str:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    folder = Path(__file__).parents[2] / ("center" if place == "center" else "workers") / "migrations"
    config.set_main_option("script_location", str(folder))
    return ScriptDirectory.from_config(config).get_current_head() or ""


def _broker(name: str, url: str) -> Finding:
    if not url:
        return Finding(name, None, "JIESUAN_CENTER_BROKER_URL 或 JIESUAN_FRONTEND_BROKER_URL 没有设置")
    from infra import lanes
    from infra.broker import BrokerAway, Post, build_app

    try:
        started = time.perf_counter()
        waiting = Post(build_app("doctor", url)).waiting(lanes.SETTLE)
        took = (time.perf_counter() - started) * 1000
    except BrokerAway as error:
        return Finding(name, False, f"连接不上（{type(error).__name__}）")
    return Finding(name, True, f"应答 {took:.1f} 毫秒，结算队列 {waiting} 条")


def _secret(name: str, file: Path | None, read: Callable[[], bytes]) -> Finding:
    if file is None:
        return Finding(name, None, "没有设置密钥文件")
    try:
        read()
    except MissingSetting:
        return Finding(name, False, f"{file.name} 不能读取，或不是 64 位十六进制")
    if file.stat().st_mode & 0o077:
        return Finding(name, False, f"{file.name} 其他用户也能读：chmod 600")
    return Finding(name, True, "可读，仅本用户")


def _policies(folder: Path) -> Finding:
    from producers.quote import CannotQuote, policy_book

    try:
        book = policy_book(folder)
    except CannotQuote as error:
        return Finding("政策", False, error.words)
    if not book.sets:
        return Finding("政策", False, f"{folder.name} 里没有政策文件")
    return Finding("政策", True, "、".join(each.set_id for each in book.sets))


def _clock(settings: Settings) -> Finding:
    try:
        clock = settings.time
    except ValueError as error:
        return Finding("时钟", False, str(error))
    now = clock.now()
    words = (
        f"{now:%Y-%m-%d %H:%M:%S}（北京时间）" + ("，回放时钟" if settings.clock else "") + f"，{socket.gethostname()}"
    )
    return Finding("时钟", now.year >= 2020, words)
