"""A calculation as a cashier would tell it: a sentence for every step, and the sums at the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal

from domain import money, settlement
from domain.policy.facts import PolicySet
from domain.settlement import Settlement, Step
from producers.settled import payer_zh, segment_zh

FACT_NUMBER = re.compile(r"#([0-9]+)")
"""How a step names its facts: `#4 share, #7 share_add`."""

RULES_ZH = {
    "own-expense": "全自费",
    "over-limit": "超限价",
    "pre-self-pay": "部分项目自付",
    "in-scope": "政策范围内",
    "institution-fixed": "医药机构定额",
    "institution-share": "医药机构分担",
    "pooled-item": "定额项目",
    "pooled-fixed": "定额支付",
    "pre-self-pay-visit": "转外先自付",
    "standard": "起付标准",
    "deductible-total": "起付总额",
    "deductible": "起付",
    "over-cap-charges": "超费用限额",
    "shared": "进入共付段",
    "over-cap": "超支付限额",
    "fund-share": "按比例支付",
    "full-cover": "全额支付",
    "layer-base": "计算基数",
    "layer-share": "按比例应付",
    "layer-keeps": "个人留付",
    "layer-cap": "支付限额",
    "relief": "基金支付",
    "entitlement": "待遇状态",
    "account": "账户支付",
}
"""What each rule of the step grammar (`domain.settlement`) is called."""


def in_words(step: Step, policy: PolicySet) -> str:
    """One step as a sentence for the counter; `policy` is the set whose facts the step names."""
    of_layer = _OF_LAYERS.get(step.rule)
    if of_layer is not None:
        return of_layer(step, _layer(step, policy))
    tell = _SENTENCES.get(step.rule)
    return tell(step) if tell else f"{step.rule}：{_yuan(step.input_fen)} 元，得 {_yuan(step.output_fen)} 元"


def _layer(step: Step, policy: PolicySet) -> str:
    """Which layer a step that moves nothing speaks of: that of the first fact it names."""
    found = FACT_NUMBER.search(step.fact)
    scheme = next((fact.scheme for fact in policy.facts if found and fact.number == int(found[1])), "")
    return payer_zh(settlement.FUND_PREFIX + scheme) if scheme else "上层"


def summed_up(settled: Settlement) -> list[str]:
    """Who pays in the end, in one or two sentences."""
    funds = "，".join(
        f"{payer_zh(settlement.FUND_PREFIX + fund)} {_yuan(fen)} 元" for fund, fen in settled.funds().items()
    )
    parts = [
        f"总费用 {_yuan(settled.total_fen)} 元",
        f"基金支付 {_yuan(settled.fund_pay_fen)} 元" + (f"（{funds}）" if funds else ""),
    ]
    if settled.institution_share_fen:
        parts.append(f"医药机构承担 {_yuan(settled.institution_share_fen)} 元")
    parts.append(f"个人负担 {_yuan(settled.person_share_fen)} 元")
    paid = f"其中个人账户支付 {_yuan(settled.account_pay_fen)} 元，" if settled.account_pay_fen else ""
    return ["，".join(parts), f"{paid}现金 {_yuan(settled.cash_fen)} 元"]


def percent(ratio: str) -> str:
    """A ratio as a cashier says it: 0.85 is 85%, 0.895 is 89.5%."""
    return f"{(Decimal(ratio) * 100).normalize():f}%" if ratio else "规定比例"


def _yuan(fen: int) -> str:
    return money.yuan(fen)


def _opened(what: str) -> Callable[[Step], str]:
    return lambda step: f"总费用 {_yuan(step.input_fen)} 元中，{what} {_yuan(step.output_fen)} 元由个人负担"


def _in_scope(step: Step) -> str:
    return f"政策范围内费用 {_yuan(step.output_fen)} 元"


def _institution_fixed(step: Step) -> str:
    return f"定额标准 {_yuan(step.limit_fen or 0)} 元，超出的 {_yuan(step.output_fen)} 元由医药机构负担"


def _institution_share(step: Step) -> str:
    return f"{_product(step)}由医药机构负担"


def _pooled_item(step: Step) -> str:
    return f"定额项目 {_yuan(step.output_fen)} 元单独计算"


def _pooled_fixed(step: Step) -> str:
    how = f"按 {percent(step.ratio)} " if step.ratio else "定额"
    return f"定额项目 {_yuan(step.input_fen)} 元，{payer_zh(step.to_payer)}{how}支付 {_yuan(step.output_fen)} 元"


def _pre_self_pay_visit(step: Step) -> str:
    return f"转外或异地就医先由个人自付：{_product(step)}"


def _standard(step: Step) -> str:
    if step.before_fen:
        return f"多次住院起付标准减少 {_yuan(step.before_fen)} 元，为 {_yuan(step.output_fen)} 元"
    if step.limit_fen is not None:
        return f"住院时间较长，再计一次起付标准 {_yuan(step.limit_fen)} 元，共 {_yuan(step.output_fen)} 元"
    if step.ratio:
        return f"按 {percent(step.ratio)} 计，起付标准为 {_yuan(step.output_fen)} 元"
    return f"起付标准为 {_yuan(step.output_fen)} 元"


def _deductible_total(step: Step) -> str:
    most, before = _yuan(step.limit_fen or 0), _yuan(step.before_fen)
    return f"期内起付最多 {most} 元，已付 {before} 元，本次最多起付 {_yuan(step.output_fen)} 元"


def _deductible(step: Step) -> str:
    before = f"，此前已付 {_yuan(step.before_fen)} 元" if step.before_fen else ""
    return f"起付标准 {_yuan(step.limit_fen or 0)} 元{before}，本次起付 {_yuan(step.output_fen)} 元由个人先付"


def _over_cap_charges(step: Step) -> str:
    left = max(0, (step.limit_fen or 0) - step.before_fen)
    return f"可报销的费用限额还剩 {_yuan(left)} 元，超出的 {_yuan(step.output_fen)} 元不再由统筹基金支付"


def _shared(step: Step) -> str:
    return f"进入{segment_zh(step.to_segment)} {_yuan(step.output_fen)} 元"


def _over_cap(step: Step) -> str:
    fund = payer_zh("fund:large_amount" if step.segment == settlement.LARGE_AMOUNT else settlement.BASIC_FUND)
    left, over = _yuan(step.limit_fen or 0), _yuan(step.output_fen)
    return f"{fund}支付限额还剩 {left} 元，本段超出限额的费用 {over} 元不再由其支付"


def _fund_share(step: Step) -> str:
    kept = _yuan(step.input_fen - step.output_fen)
    fund = payer_zh(step.to_payer)
    if step.limit_fen is not None:
        return f"限额以内 {_yuan(step.input_fen)} 元，{fund}支付到限额 {_yuan(step.output_fen)} 元，个人自付 {kept} 元"
    return f"{fund}支付 {_product(step)}，个人自付 {kept} 元{_rest(step, fund) if _is_rounded(step) else ''}"


def _rest(step: Step, fund: str) -> str:
    """Who takes the rest of the rounding, where there is one."""
    who, _, way = step.rest.partition(" ")
    rounded = {"": "四舍五入到分", "down": "舍去分以下", "up": "进到分"}.get(way, way)
    return {"fund": f"，个人部分{rounded}，尾差归{fund}", "person": f"，{rounded}，尾差归个人"}.get(who, "")


def _full_cover(step: Step) -> str:
    return f"{segment_zh(step.segment)} {_yuan(step.output_fen)} 元由{payer_zh(step.to_payer)}全额支付"


def _layer_base(step: Step, layer: str) -> str:
    before = f"，期内此前累计 {_yuan(step.before_fen)} 元" if step.before_fen else ""
    threshold = step.limit_fen or 0
    reached = "" if step.before_fen + step.input_fen > threshold else "，尚未达到"
    above = f"，起付线 {_yuan(threshold)} 元{reached}" if threshold else ""
    return f"{layer}的计算基数 {_yuan(step.input_fen)} 元{before}{above}"


def _layer_share(step: Step, layer: str) -> str:
    return f"{layer}应付 {_product(step)}"


def _layer_keeps(step: Step, layer: str) -> str:
    base, due = _yuan(step.limit_fen or 0), _yuan(step.output_fen)
    return f"{layer}：个人只留付 {base} 元的 {percent(step.ratio)}，应付 {due} 元"


def _layer_cap(step: Step, layer: str) -> str:
    return f"{layer}限额还剩 {_yuan(step.limit_fen or 0)} 元，应付 {_yuan(step.output_fen)} 元"


def _relief(step: Step) -> str:
    return f"{payer_zh(step.to_payer)}支付{segment_zh(step.to_segment)}中个人负担的 {_yuan(step.output_fen)} 元"


def _entitlement(step: Step) -> str:
    return f"待遇暂停或尚未享受，政策范围内 {_yuan(step.output_fen)} 元由个人负担"


def _account(step: Step) -> str:
    left = step.input_fen - step.output_fen
    short = f"，尚差 {_yuan(left)} 元" if left else ""
    return f"{payer_zh(step.to_payer)}支付{segment_zh(step.to_segment)} {_yuan(step.output_fen)} 元{short}"


def _product(step: Step) -> str:
    if not step.ratio:
        return f"{_yuan(step.output_fen)} 元"
    return f"{_yuan(step.input_fen)} × {percent(step.ratio)} = {_yuan(step.output_fen)} 元"


def _is_rounded(step: Step) -> bool:
    return bool(step.carry or step.exact) or (Decimal(step.ratio or 0) * step.input_fen) % 1 != 0


_SENTENCES: dict[str, Callable[[Step], str]] = {
    "own-expense": _opened("目录外（全自费）项目"),
    "over-limit": _opened("超出限价的"),
    "pre-self-pay": _opened("乙类等项目先由个人自付的"),
    "in-scope": _in_scope,
    "institution-fixed": _institution_fixed,
    "institution-share": _institution_share,
    "pooled-item": _pooled_item,
    "pooled-fixed": _pooled_fixed,
    "pre-self-pay-visit": _pre_self_pay_visit,
    "standard": _standard,
    "deductible-total": _deductible_total,
    "deductible": _deductible,
    "over-cap-charges": _over_cap_charges,
    "shared": _shared,
    "over-cap": _over_cap,
    "fund-share": _fund_share,
    "full-cover": _full_cover,
    "relief": _relief,
    "entitlement": _entitlement,
    "account": _account,
}

_OF_LAYERS: dict[str, Callable[[Step, str], str]] = {
    "layer-base": _layer_base,
    "layer-share": _layer_share,
    "layer-keeps": _layer_keeps,
    "layer-cap": _layer_cap,
}


def told_by_payer(steps: Iterable[Step], policy: PolicySet) -> dict[str, str]:
    """How each payer's money was calculated: the sentences of the steps that moved fen to it."""
    told: dict[str, list[str]] = {}
    for step in steps:
        if step.to_segment and step.to_payer != settlement.PERSON and step.output_fen:
            told.setdefault(step.to_payer, []).append(in_words(step, policy))
    return {payer: "；".join(sentences) for payer, sentences in told.items()}
