"""Beginning a move: everything that stands against it is said at once, and nothing is begun by halves.

One that a restored centre has lost goes on under its old number (`center.backup.lost_moves`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from center.backup import lost_moves
from center.catalogue.tables import reference_report
from center.ledger import audit
from center.serving import terms
from center.serving.moves import stand
from center.serving.tables import move, served_by, terms_report
from center.serving.terms import LONGEST_REASON, STRICT, Rules, TermsRefused
from center.tables import institution
from domain.institution_class import CLASSES, Size
from domain.moving import CAN_BE_ABORTED, UNDER_WAY, WORDS, Kind, MoveState
from domain.terms import CONNECTION_WORDS, PARTS, Standing
from domain.terms import Connection as Connected

SHARES = frozenset({Connected.SHARED, Connected.HOSTED})
LARGE = frozenset({Size.LARGE, Size.EXTRA_LARGE})


class Wish(NamedTuple):
    """A move as an operator asks for it."""

    institution_code: str
    target: str
    connection: str = ""
    """How it will be connected: domain.terms.Connection; empty: as it is."""
    joins: bool = False
    """The source stays, the target takes a part of its own."""
    source: str = ""
    """Which of several front-ends is left; empty where there is one."""
    part: int | None = None
    """Which part a joining target takes; None: the first that is free."""


class Begun(NamedTuple):
    """A move that has begun, and what the specification would rather have, in Chinese."""

    move_no: int
    advice: list[str]


def begin(connection: Connection, wish: Wish, *, by: str, reason: str, at: datetime, rules: Rules = STRICT) -> Begun:
    """Begin a move; the front-ends are told with the next tick. Raises TermsRefused with all problems; NobodyNamed."""
    terms.renewing(connection)
    row = terms.read(connection, wish.institution_code)
    if row is None:
        raise TermsRefused([f"没有医药机构 {wish.institution_code}", *_of_target(connection, wish)])
    served = _served(connection, wish.institution_code)
    source, problems = _source(wish, served)
    problems += _against(connection, wish, row, served, source)
    problems += [] if 0 < len(reason) <= LONGEST_REASON else [f"请写明理由，至多 {LONGEST_REASON} 字"]
    if wish.connection in set(Connected) and row.civil_servants and not rules.civil_servants_may_share:
        problems += _civil_servants(Connected(wish.connection))
    if problems or source is None:
        raise TermsRefused(problems)
    move_no = _write(connection, wish, served, source, by=by, reason=reason, at=at)
    return Begun(move_no, _advice(row, wish.connection or source.connection))


def abort(connection: Connection, institution_code: str, *, by: str, reason: str, at: datetime) -> int:
    """Take a move back before anything travelled; its number. Raises TermsRefused, NobodyNamed."""
    terms.renewing(connection)
    row = connection.execute(
        select(move).where(move.c.institution_code == institution_code, move.c.state.in_(UNDER_WAY)).with_for_update()
    ).first()
    if row is None:
        raise TermsRefused([f"机构 {institution_code} 没有正在进行的迁移"])
    if MoveState(row.state) not in CAN_BE_ABORTED:
        raise TermsRefused([f"迁移已到“{WORDS[MoveState(row.state)]}”，在办业务已开始移交，不能取消；完成后可再迁回"])
    connection.execute(update(move).where(move.c.move_no == row.move_no).values(state=MoveState.ABORTED, changed_at=at))
    stand(connection, row, MoveState.ABORTED, at=at)
    audit.note(
        connection, by=by, action="tenant.move.abort", subject=institution_code, reason=reason,
        institution_code=institution_code, at=at, details={"move": row.move_no},
    )  # fmt: skip
    return int(row.move_no)


def finish(connection: Connection, institution_code: str, *, by: str, reason: str, at: datetime) -> int:
    """End a move although results wait at the source that nobody fetches any more; its number.

    Only when its claims are settled, its detail is at the centre and all visits have travelled. Raises TermsRefused.
    """
    terms.renewing(connection)
    row = connection.execute(
        select(move).where(move.c.institution_code == institution_code, move.c.state.in_(UNDER_WAY)).with_for_update()
    ).first()
    if row is None or row.state != MoveState.DRAINING:
        raise TermsRefused([f"机构 {institution_code} 没有处于收尾的迁移"])
    names = {"open_claims": "笔费用未办结", "details_due": "笔明细未上传", "visits_behind": "次就诊未转出"}
    left = [f"原前置机还有 {getattr(row, name)} {words}" for name, words in names.items() if getattr(row, name) != 0]
    if row.open_claims is None or left or row.kept != row.taken:
        raise TermsRefused(left if row.open_claims is not None and left else ["原前置机尚未报告余下的业务"])
    connection.execute(
        update(move).where(move.c.move_no == row.move_no).values(state=MoveState.FINISHED, drained=True, changed_at=at)
    )
    stand(connection, row, MoveState.FINISHED, at=at)
    audit.note(
        connection, by=by, action="tenant.move.finish", subject=institution_code, reason=reason,
        institution_code=institution_code, at=at,
        details={"move": row.move_no, "results_waiting": row.results_waiting or 0},
    )  # fmt: skip
    return int(row.move_no)


def _served(connection: Connection, institution_code: str) -> list[Row[Any]]:
    rows = connection.execute(
        select(served_by)
        .where(served_by.c.institution_code == institution_code)
        .order_by(served_by.c.part)
        .with_for_update()
    )
    return list(rows)


def _source(wish: Wish, served: Sequence[Row[Any]]) -> tuple[Row[Any] | None, list[str]]:
    """The front-end that is left, or that gives up a part of the numbers."""
    takes = [row for row in served if row.standing == Standing.OPEN]
    if not takes:
        return None, [f"机构 {wish.institution_code} 现无前置机受理，无从迁移"]
    if not wish.source:
        if len(takes) > 1 and not wish.joins:
            names = "、".join(row.frontend for row in takes)
            return None, [f"机构 {wish.institution_code} 有多台前置机（{names}），请用 --from 指明从哪一台迁出"]
        return takes[0], []
    named = next((row for row in takes if row.frontend == wish.source), None)
    return named, [] if named is not None else [f"前置机 {wish.source} 现不受理机构 {wish.institution_code}"]


def _against(
    connection: Connection, wish: Wish, row: Row[Any], served: Sequence[Row[Any]], source: Row[Any] | None
) -> list[str]:
    found = [] if row.active else [f"机构 {row.institution_code} 已停用"]
    if not row.short_code:
        found.append("中心不知该机构就医登记号前六位，目标前置机无法发号；先用 jiesuan tenant change --short-code 登记")
    if wish.connection and wish.connection not in set(Connected):
        found.append(f"没有接入方式“{wish.connection}”；可用：{'、'.join(Connected)}")
    if source is not None and source.frontend == wish.target:
        found.append(f"目标与原前置机同为 {wish.target}")
    under_way = select(move.c.move_no, move.c.source, move.c.target, move.c.state).where(
        move.c.institution_code == wish.institution_code, move.c.state.in_(UNDER_WAY)
    )
    if going := connection.execute(under_way).first():
        words = WORDS[MoveState(going.state)]
        found.append(f"该机构正在由 {going.source} 迁往 {going.target}（第 {going.move_no} 次迁移，{words}）")
    found += _of_target(connection, wish)
    found += _of_the_restored(connection, wish, source)
    found += _parts(wish, served)
    return found + against_neighbours(connection, wish)


def _of_target(connection: Connection, wish: Wish) -> list[str]:
    if is_heard_of(connection, wish.target):
        return []
    return [f"中心从未收到前置机 {wish.target!r} 的消息：先在该处装好并启动，或检查名称"]


def is_heard_of(connection: Connection, frontend: str) -> bool:
    """Whether the centre has heard of a front-end of this name."""
    known = [
        select(table.c.frontend).where(table.c.frontend == frontend)
        for table in (terms_report, reference_report, served_by)
    ]
    return any(connection.execute(each.limit(1)).first() for each in known)


def _of_the_restored(connection: Connection, wish: Wish, source: Row[Any] | None) -> list[str]:
    """Whether the move may be one that was lost is known when both front-ends have said what they know."""
    named = lost_moves.awaited(connection, wish.target, *([] if source is None else [source.frontend]))
    return [f"中心刚从备份恢复，前置机 {each} 尚未报完：待 jiesuan epoch show 显示其报完后再迁" for each in named]


def _parts(wish: Wish, served: Sequence[Row[Any]]) -> list[str]:
    if not wish.joins:
        return [] if wish.part is None else ["只有增设前置机（--as part）才选号段"]
    found = []
    taken = {row.part: row.frontend for row in served if row.standing in (Standing.OPEN, Standing.MOVING_OUT)}
    if wish.target in taken.values():
        found.append(f"前置机 {wish.target} 已为该机构服务")
    if len(taken) >= PARTS:
        found.append(f"该机构已有 {PARTS} 台前置机，号段已用完")
    if wish.part is not None and not 0 <= wish.part < PARTS:
        found.append(f"号段须为 0 至 {PARTS - 1}")
    if wish.part is not None and wish.part in taken:
        found.append(f"号段 {wish.part} 已由前置机 {taken[wish.part]} 使用")
    return found


def against_neighbours(connection: Connection, wish: Wish) -> list[str]:
    """Whose server the target is: an institution's own serves others as a host or as a head office, if at all."""
    others = connection.execute(
        select(served_by.c.institution_code, served_by.c.connection).where(
            served_by.c.frontend == wish.target,
            served_by.c.institution_code != wish.institution_code,
            served_by.c.standing.in_([Standing.OPEN, Standing.MOVING_OUT, Standing.MOVING_IN]),
        )
    ).all()
    found = []
    if wish.connection == Connected.OWN and others and not wish.joins:
        found.append(f"前置机 {wish.target} 已为 {len(others)} 家其他机构服务，不是该机构的本地前置机")
    owner = next((row.institution_code for row in others if row.connection == Connected.OWN), None)
    if wish.connection == Connected.SHARED and owner is not None:
        found.append(f"前置机 {wish.target} 是机构 {owner} 的本地前置机：托管用 hosted，分院、连锁用 head_office")
    return found


def _civil_servants(connected: Connected) -> list[str]:
    if connected not in SHARES:
        return []
    return [f"该机构已开通公务员医疗补助业务，须有本地前置机，不能改由{CONNECTION_WORDS[connected]}接入（4.2(1)）"]


def _advice(row: Row[Any], connection: str) -> list[str]:
    if connection not in SHARES:
        return []
    found = []
    if row.size in LARGE:
        found.append(f"业务量为{CLASSES[Size(row.size)].name_zh}，规范建议在本地安装前置机（4.2(2)）")
    if row.level >= 3:
        found.append("三级医院宜在本地部署前置机（4.2(2)）")
    return found


def _write(
    connection: Connection,
    wish: Wish,
    served: Sequence[Row[Any]],
    source: Row[Any],
    *,
    by: str,
    reason: str,
    at: datetime,
) -> int:
    target = next((row for row in served if row.frontend == wish.target), None)
    serves = target is not None and target.standing == Standing.OPEN
    kind = Kind.JOINS if wish.joins else Kind.MERGES if serves else Kind.REPLACES
    connected = wish.connection or source.connection
    lost = lost_moves.number_of(connection, wish.institution_code, source.frontend, wish.target)
    row = connection.execute(
        insert(move)
        .values(
            **({} if lost is None else {"move_no": lost}),
            institution_code=wish.institution_code, source=source.frontend, target=wish.target, connection=connected,
            kind=kind, state=MoveState.PREPARING, asked_by=by, reason=reason, begun_at=at, changed_at=at,
        )
        .returning(move)
    ).one()  # fmt: skip
    part, parts = source.part, source.parts
    if kind is Kind.JOINS:
        taken = {each.part for each in served if each.standing in (Standing.OPEN, Standing.MOVING_OUT)}
        part = wish.part if wish.part is not None else min(set(range(PARTS)) - taken)
        parts = PARTS
        connection.execute(
            update(served_by).where(served_by.c.institution_code == wish.institution_code).values(parts=PARTS)
        )
    if kind is not Kind.MERGES:
        values = {"part": part, "parts": parts, "connection": connected, "since": at, "until": None}
        adding = insert(served_by).values(
            institution_code=wish.institution_code, frontend=wish.target, standing=Standing.MOVING_IN, **values
        )
        connection.execute(
            adding.on_conflict_do_update(
                index_elements=["institution_code", "frontend"], set_={**values, "standing": Standing.MOVING_IN}
            )
        )
    stand(connection, row, MoveState.PREPARING, at=at)
    audit.note(
        connection, by=by, action="tenant.move", subject=wish.institution_code, reason=reason,
        institution_code=wish.institution_code, at=at,
        details={"move": row.move_no, "source": source.frontend, "target": wish.target, "connection": connected,
                 "kind": str(kind)},
    )  # fmt: skip
    return int(row.move_no)


def listed(connection: Connection, institution_code: str) -> list[Row[Any]]:
    """The moves of an institution, the newest first."""
    rows = connection.execute(
        select(move).where(move.c.institution_code == institution_code).order_by(move.c.move_no.desc())
    )
    return list(rows)


LONG = timedelta(hours=1)


def long_under_way(connection: Connection, *, at: datetime) -> list[Row[Any]]:
    """Moves that stand at one step, before the source's last one, for longer than an hour."""
    early = [state for state in UNDER_WAY if state is not MoveState.DRAINING]
    rows = connection.execute(select(move).where(move.c.state.in_(early), move.c.changed_at < at - LONG))
    return list(rows)


def known(connection: Connection, institution_code: str) -> bool:
    """Whether there is such an institution."""
    found = select(institution.c.institution_code).where(institution.c.institution_code == institution_code)
    return connection.execute(found).first() is not None
