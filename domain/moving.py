"""Moving an institution from one front-end to another (迁移): the steps, and what each lets both front-ends do."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from domain.terms import Standing


class MoveState(StrEnum):
    """Where a move stands."""

    PREPARING = "preparing"
    """The target is told, and fetches what it needs to settle for the institution."""
    CLOSING = "closing"
    """The source is told to take nothing new."""
    HANDING = "handing"
    """What travels is on its way; from here there is only forward."""
    DRAINING = "draining"
    """The target is open; the source sees through what it had accepted."""
    FINISHED = "finished"
    ABORTED = "aborted"


WORDS: dict[MoveState, str] = {
    MoveState.PREPARING: "准备：目标前置机取条款、目录、政策",
    MoveState.CLOSING: "关门：原前置机停止受理新业务",
    MoveState.HANDING: "移交：在办就诊及受理记录随密封包转往目标前置机",
    MoveState.DRAINING: "收尾：目标前置机已受理，原前置机办结余下业务",
    MoveState.FINISHED: "完成",
    MoveState.ABORTED: "已取消",
}
UNDER_WAY = frozenset({MoveState.PREPARING, MoveState.CLOSING, MoveState.HANDING, MoveState.DRAINING})
CAN_BE_ABORTED = frozenset({MoveState.PREPARING, MoveState.CLOSING})


class Kind(StrEnum):
    """What becomes of the two front-ends."""

    REPLACES = "replaces"
    """The target takes the source's place."""
    JOINS = "joins"
    """The source stays, and the target takes a part of the visit numbers of its own."""
    MERGES = "merges"
    """The target serves the institution already, with its own part; the source goes."""


class Facts(NamedTuple):
    """What is known of a move, from what both front-ends said."""

    kind: Kind = Kind.REPLACES
    target_ready: bool = False
    """It holds the terms of now, and the catalogue and policies in force with the institution's matches."""
    source_told: bool = False
    """It holds the terms of now, so it takes nothing they do not let it take."""
    taken: int = 0
    """Bundles the centre has from the source."""
    kept: int = 0
    """Bundles the target has."""
    whole_at: int = 0
    """The bundle with which the target can open; 0: not made yet."""
    drained: bool = False
    """The source holds nothing open any more, and has nothing to hand over."""


def after(state: MoveState, facts: Facts) -> MoveState:
    """The state that follows from the facts, at most one step on; the same where a fact is still awaited."""
    stays = facts.kind is Kind.JOINS
    is_whole = 0 < facts.whole_at <= facts.kept
    if state is MoveState.PREPARING and facts.target_ready and (facts.source_told or not stays):
        return MoveState.HANDING if stays else MoveState.CLOSING
    if state is MoveState.CLOSING and facts.source_told:
        return MoveState.HANDING
    if state is MoveState.HANDING and is_whole:
        return MoveState.FINISHED if stays else MoveState.DRAINING
    if state is MoveState.DRAINING and facts.drained and facts.kept == facts.taken:
        return MoveState.FINISHED
    return state


class Sides(NamedTuple):
    """How both front-ends stand to the institution."""

    source: Standing
    target: Standing


def sides(state: MoveState, kind: Kind) -> Sides:
    """How both front-ends stand in a state of a move: at no moment do both open what one is to have.

    Of an aborted move the target stands as one that was left: it holds nothing of the institution.
    """
    if state is MoveState.ABORTED:
        return Sides(Standing.OPEN, Standing.OPEN if kind is Kind.MERGES else Standing.MOVED)
    is_open = state in (MoveState.DRAINING, MoveState.FINISHED)
    target = Standing.OPEN if is_open or kind is Kind.MERGES else Standing.MOVING_IN
    if kind is Kind.JOINS or state is MoveState.PREPARING:
        return Sides(Standing.OPEN, target)
    return Sides(Standing.MOVED if is_open else Standing.MOVING_OUT, target)


def merging_in(state: MoveState, kind: Kind) -> bool:
    """Whether the target, open all the time, is about to get what the source has, and does not know of it yet: it is
    told who has the visits it does not know (`moved_to` of one that is open)."""
    return kind is Kind.MERGES and state in (MoveState.PREPARING, MoveState.CLOSING, MoveState.HANDING)


BUNDLES_UNDER_WAY = 4
"""So many bundles wait at the centre for the target at most; then the source is not asked for more."""


def wanted_bundle(state: MoveState, facts: Facts) -> int:
    """The bundle to ask the source for now; 0: none."""
    if state not in (MoveState.HANDING, MoveState.DRAINING) or facts.taken - facts.kept >= BUNDLES_UNDER_WAY:
        return 0
    if facts.kind is Kind.JOINS and facts.whole_at:
        return 0
    return facts.taken + 1


def waits_for(state: MoveState, facts: Facts) -> str:
    """What a move waits for, for an operator."""
    if state is MoveState.PREPARING:
        target = "" if facts.target_ready else "目标前置机取齐条款、目录和政策"
        source = "原前置机改按分段发号" if facts.kind is Kind.JOINS and not facts.source_told else ""
        return "、".join(each for each in (target, source) if each)
    if state is MoveState.CLOSING:
        return "原前置机确认已停止受理"
    if state is MoveState.HANDING:
        return "原前置机交出" if facts.taken == facts.kept else "目标前置机收下"
    if state is MoveState.DRAINING:
        return "原前置机办结余下业务" if facts.kept == facts.taken else "目标前置机收下余下移交包"
    return ""
