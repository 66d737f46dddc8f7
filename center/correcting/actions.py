"""The proposal that corrects later settlements: what it would do, line by line, and doing it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, insert, select

from center.approving import proposals
from center.approving.actions import Action, CannotDo, Payload
from center.backup import epochs
from center.conservation.freezing import is_frozen
from center.correcting import household, writing
from center.correcting.recomputing import Change, Recomputed, recompute
from center.correcting.tables import correction
from center.correcting.writing import AccountTooLow, Corrected, NoNumberLeft
from center.outcomes import holds
from center.policy.shelf import PolicyShelf
from center.settling import contra, records
from center.settling.refund import LONGEST_REASON
from center.tables import settlement
from domain.clearing import clearing_type
from domain.money import yuan
from domain.refusals import Refusal, sentence

SETTLE = "correction.settle"


class NothingToCorrect(Exception):
    """There is no such settlement, or no other one would change; the message is for the clerk."""


class Refunded(NamedTuple):
    """The settlement whose refund changes others."""

    settlement_no: int
    person_no: int
    institution_code: str
    is_taken_back: bool


def find(connection: Connection, visit_no: str, charge_batch_no: int) -> Refunded:
    """The settlement under this key. Raises NothingToCorrect."""
    columns = settlement.c
    row = connection.execute(
        select(columns.settlement_no).where(
            columns.visit_no == visit_no, columns.charge_batch_no == charge_batch_no, columns.kind == records.NORMAL
        )
    ).scalar()
    found = None if row is None else _refunded(connection, row)
    if found is None:
        raise NothingToCorrect("中心没有这笔结算")
    return found


def foreseen(connection: Connection, refunded: Refunded) -> Recomputed:
    """The later settlements, the person's and their relatives', that change by this refund, done or only thought of."""
    return recompute(connection, refunded.person_no, refunded_no=refunded.settlement_no, policies=PolicyShelf())


def propose(connection: Connection, refunded: Refunded, *, by: str, reason: str, at: datetime) -> int:
    """Propose to correct what changed by a refund; the proposal's number.

    Raises NothingToCorrect, and what `center.approving.proposals.propose` raises.
    """
    payload = {"refunded": refunded.settlement_no}
    try:
        effect = _predict(connection, payload, at=at)
    except CannotDo as why:
        raise NothingToCorrect(str(why)) from None
    return proposals.propose(
        connection,
        SETTLE,
        payload,
        by=by,
        reason=reason,
        institution_code=refunded.institution_code,
        effect=effect,
        at=at,
    )


def in_words(changes: Iterable[Change]) -> str:
    """What the changes come to, one settlement a line, the sums first."""
    listed = list(changes)
    lines = [_line(each) for each in listed]
    fund, account, cash = (sum(figures) for figures in zip(*map(_differences, listed), strict=True))
    return "\n".join(
        [f"更正 {len(listed)} 笔：基金 {_signed(fund)}，账户 {_signed(account)}，现金 {_signed(cash)}", *lines]
    )


# ── The action ────────────────────────────────────────────────────────────────────────────────────────────


def _predict(connection: Connection, payload: Payload, *, at: datetime) -> str:
    """Locks the person: what is foreseen is what is done in the same transaction."""
    return in_words(_changes(connection, payload, at=at))


def _execute(
    connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
) -> str:
    changes = _changes(connection, payload, at=at)
    refunded_no = int(payload["refunded"])
    reason = f"更正：结算 {refunded_no} 已退费"[:LONGEST_REASON]
    try:
        corrected = writing.correct(records.cursor_of(connection), changes, reason=reason, at=at)
    except NoNumberLeft:
        raise CannotDo("该就诊的中心费用批次已用完（9001—9999）") from None
    except AccountTooLow:
        raise CannotDo("个人账户余额已不足以按更正后的结果支付") from None
    rows = [_row(each, proposal_no, refunded_no, at) for each in corrected]
    connection.execute(insert(correction), rows)
    return "\n".join(
        [
            f"已更正 {len(corrected)} 笔",
            *[
                f"结算 {each.change.stored.settlement_no}：反向结算 {each.contra.settlement_no}，"
                f"重新结算 {each.resettled.settlement_no}，{_cash_words(each.cash_fen)}"
                for each in corrected
            ],
        ]
    )


ACTIONS: Mapping[str, Action] = {SETTLE: Action("后续结算更正", _predict, _execute)}


def _changes(connection: Connection, payload: Payload, *, at: datetime) -> list[Change]:
    """What is to be corrected, its person and visits locked. Raises CannotDo."""
    refunded = _refunded(connection, int(payload["refunded"]))
    if refunded is None or not refunded.is_taken_back:
        raise CannotDo("该笔结算没有退费，后续结算不须更正")
    cursor = records.cursor_of(connection)
    if not epochs.current(cursor).is_open:
        raise CannotDo(epochs.RECOVERING)
    persons = household.of(connection, refunded.person_no).persons
    cursor.execute("SELECT settlement_no, visit_no FROM settlement WHERE person_no = ANY(%s)", [sorted(persons)])
    numbers, visit_nos = zip(*cursor.fetchall(), strict=True)
    insured = contra.lock_concerned(cursor, numbers, set(visit_nos))
    if holds.is_held(insured.values(), at):
        raise CannotDo("该参保人或其亲属另有一笔预结算尚未确认或取消，办结后再办理")
    expired = holds.met_expired(insured.values(), at)
    if expired:
        holds.release_expired(cursor, expired, at=at)
    recomputed = foreseen(connection, refunded)
    if recomputed.impossible:
        number, why = recomputed.impossible[0]
        raise CannotDo(f"结算 {number} 不能重算：{why}")
    if not recomputed.changes:
        raise CannotDo("没有因此改变的后续结算")
    if not {each.stored.person_no for each in recomputed.changes} <= insured.keys():
        raise CannotDo("其间亲属又有新的结算，请重新办理")
    if _is_frozen(cursor, recomputed.changes, insured):
        raise CannotDo(sentence(Refusal.FROZEN))
    return recomputed.changes


def _is_frozen(cursor: psycopg.Cursor[Any], changes: Iterable[Change], persons: Collection[int]) -> bool:
    flows = {
        (each.stored.institution_code, each.stored.scheme, str(clearing_type(each.stored.visit_type)))
        for each in changes
    }
    institutions = records.institutions(cursor, {code for code, _, _ in flows})
    return any(is_frozen(institutions[code].frozen, scheme, of_type, persons) for code, scheme, of_type in flows)


def _refunded(connection: Connection, settlement_no: int) -> Refunded | None:
    columns, contras = settlement.c, settlement.alias()
    taken = select(contras.c.settlement_no).where(contras.c.contra_of == columns.settlement_no).exists()
    row = connection.execute(
        select(columns.settlement_no, columns.person_no, columns.institution_code, taken).where(
            columns.settlement_no == settlement_no, columns.kind == records.NORMAL
        )
    ).first()
    return None if row is None else Refunded._make(row)


def _row(each: Corrected, proposal_no: int, refunded_no: int, at: datetime) -> dict[str, Any]:
    stored = each.change.stored
    return {
        "proposal_no": proposal_no,
        "refunded_no": refunded_no,
        "settlement_no": stored.settlement_no,
        "place_no": each.change.place_no,
        "contra_no": each.contra.settlement_no,
        "resettled_no": each.resettled.settlement_no,
        "institution_code": stored.institution_code,
        "frontend": each.frontend,
        "visit_no": stored.visit_no,
        "cash_fen": each.cash_fen,
        "corrected_at": at,
    }


# ── Words ─────────────────────────────────────────────────────────────────────────────────────────────────


def _differences(change: Change) -> tuple[int, int, int]:
    before, after = change.before, change.after
    return (
        after.fund_pay_fen - before.fund_pay_fen,
        after.account_pay_fen - before.account_pay_fen,
        after.cash_fen - before.cash_fen,
    )


def _line(change: Change) -> str:
    stored, before, after = change.stored, change.before, change.after
    return (
        f"结算 {stored.settlement_no}"
        f"（{stored.institution_code} 就诊 {stored.visit_no} 批次 {stored.charge_batch_no}）："
        f"基金 {yuan(before.fund_pay_fen)} → {yuan(after.fund_pay_fen)}，"
        f"账户 {yuan(before.account_pay_fen)} → {yuan(after.account_pay_fen)}，"
        f"现金 {yuan(before.cash_fen)} → {yuan(after.cash_fen)}，{_cash_words(after.cash_fen - before.cash_fen)}"
    )


def _cash_words(fen: int) -> str:
    if not fen:
        return "现金不变"
    return f"应向患者补收 {yuan(fen)}" if fen > 0 else f"应退患者 {yuan(-fen)}"


def _signed(fen: int) -> str:
    return f"{'+' if fen > 0 else ''}{yuan(fen)}"
