"""Confirmation (确认): what a locally settling front-end came to, against what the centre settles under its lock.

The centre's result holds. Where the two differ the cashier is told by how much, and what had moved since the front-end
was told where the person's account and accumulators stood.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from domain.accumulators import COUNT, STAY_NO, STAYS, NotAKey, read_key
from domain.messages import LocalResult
from domain.money import yuan
from domain.settlement import Settlement

AMOUNTS: tuple[tuple[str, str], ...] = (
    ("fund_pay_fen", "统筹支付"),
    ("account_pay_fen", "账户支付"),
    ("deductible_fen", "起付线"),
    ("self_pay_fen", "个人自付"),
    ("over_cap_fen", "超限额自付"),
    ("institution_share_fen", "医院负担"),
)
"""The amounts of a result that can differ, and what the cashier calls them; the total cannot."""

FUNDS = {
    "basic": "基本医疗",
    "large_amount": "大额医疗",
    "retiree_supplement": "退休补充",
    "serious_illness": "大病保险",
    "civil_servant": "公务员补助",
    "assistance": "医疗救助",
    "visit": "就诊",
}
SEGMENTS = {
    "fund": "基金支付累计",
    "deductible": "起付线累计",
    "in_scope": "政策内费用累计",
    "over_cap": "超限额累计",
    "base": "费用累计",
    "due": "应付起付线",
    "stays": "住院次数",
    "stay_no": "住院次序",
    "count": "次数",
}
PLAIN_COUNTS = frozenset({STAYS, STAY_NO, COUNT})


def difference(
    local: LocalResult,
    settlement: Settlement,
    *,
    account_before_fen: int,
    family_before_fen: int,
    accumulators: Mapping[str, int],
    keys: Collection[str],
    policies: tuple[str, str] = ("", ""),
) -> str:
    """How the centre's settlement differs from the front-end's, in Chinese; empty when they agree to the fen.

    `accumulators` are the centre's before the settlement, `keys` those the rules may look at, `policies` the versions
    of front-end and centre.
    """
    changed = [
        f"{words}由 {yuan(getattr(local, name))} 元改为 {yuan(getattr(settlement, name))} 元"
        for name, words in AMOUNTS
        if getattr(local, name) != getattr(settlement, name)
    ]
    if not changed:
        return ""
    local_cash_fen = settlement.total_fen - local.fund_pay_fen - local.account_pay_fen - local.institution_share_fen
    if local_cash_fen != settlement.cash_fen:
        changed.append(f"现金由 {yuan(local_cash_fen)} 元改为 {yuan(settlement.cash_fen)} 元")
    moved = [
        f"{words}由 {yuan(before)} 元变为 {yuan(now)} 元"
        for words, before, now in (
            ("个人账户余额", local.account_before_fen, account_before_fen),
            ("家庭共济账户余额", local.family_before_fen, family_before_fen),
        )
        if before != now
    ]
    known = dict(local.accumulators)
    moved += [
        f"{words_for(key)}由 {_said(key, known.get(key, 0))}变为 {_said(key, accumulators.get(key, 0))}"
        for key in sorted(keys)
        if known.get(key, 0) != accumulators.get(key, 0)
    ]
    if policies[0] != policies[1]:
        moved.append(f"前置机按政策版本 {policies[0]} 计算，中心现行版本 {policies[1]}")
    why = "、".join(moved) if moved else "前置机与中心的政策或参保信息不同"
    return f"以中心结算为准：{'，'.join(changed)}。原因：{why}"


def words_for(key: str) -> str:
    """An accumulator as the cashier would call it."""
    try:
        fund, _, segment, tag, period = read_key(key)
    except NotAKey:
        return key
    among = "" if tag == "-" else f"（{tag.removeprefix('=')}）"
    when = "本次住院" if period.startswith("stay/") else period
    return f"{when} {FUNDS.get(fund, fund)}{SEGMENTS.get(segment, segment)}{among}"


def _said(key: str, amount: int) -> str:
    parts = key.split(":")
    return f"{amount} 次" if len(parts) > 2 and parts[2] in PLAIN_COUNTS else f"{yuan(amount)} 元"
