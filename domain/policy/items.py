"""Item groups, the institution and the account of one case, from their facts (诊查费, 定额, 医院负担, 个人账户)."""

from __future__ import annotations

from collections.abc import Iterable

from domain.accumulators import COUNT, IN_SCOPE, TOTAL
from domain.money import unscaled
from domain.policy.facts import Fact
from domain.policy.rules import (
    RATIO_SCALE,
    SHARE_SCALE,
    AccountRule,
    Counted,
    InstitutionRule,
    ItemRule,
    ItemShare,
    Shares,
)
from domain.policy.selection import Selection, cited, most_special
from domain.policy.shares import Counting, bands_of, tag_of
from domain.settlement import IN_SCOPE as IN_SCOPE_SEGMENT
from domain.settlement import IN_SCOPE_SEGMENTS

_TO_SHARE = SHARE_SCALE // RATIO_SCALE


def items_of(selection: Selection, counting: Counting, fund: str) -> tuple[ItemRule, ...]:
    """The rules of item groups, and of whole visits, that a fund pays a fixed amount or a ratio of."""
    rules = []
    limits = _by_item(selection.all("limit_count"))
    for group, facts in _by_item(selection.all("fixed_pooled_amount")).items():
        fact = selection.only(most_special(facts), "定额支付")
        limit = selection.only(most_special(limits.get(group, [])), "次数限制")
        if fact is not None:
            rules.append(_fixed(fact, limit, selection, counting, fund))
    return tuple(rules)


def item_shares_of(selection: Selection, of_all: Shares) -> tuple[ItemShare, ...]:
    """The item groups with a share of their own, rounded as the share of all."""
    found = []
    for group, facts in _by_item(fact for fact in selection.all("share") if "item" in fact.values).items():
        fact = selection.only(most_special(facts), "项目支付比例")
        if fact is not None:
            bands = bands_of([fact], selection)
            nothing_before = (Counted(), Counted(), Counted())
            own = of_all._replace(
                bands=bands, basis="after_deductible", before=nothing_before, once=False, cited=bands[0].cited
            )
            found.append(ItemShare(group, own))
    return tuple(found)


def _by_item(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        found.setdefault(fact.values.get("item", ""), []).append(fact)
    return found


def _fixed(fact: Fact, limit: Fact | None, selection: Selection, counting: Counting, fund: str) -> ItemRule:
    values = fact.values
    group = values.get("item", "")
    amount = ratio = None
    if "amount" in values:
        amount = selection.known(fact, "amount", "定额")
    else:
        ratio = selection.known(fact, "ratio", "比例")
    count_key = ""
    if limit is not None:
        visits = frozenset({counting.case.visit_type})
        count_key = counting.over(fund, COUNT, limit.values["per"], visits, tag=group).keys[0]
    return ItemRule(
        group=group,
        fund=fund,
        amount_fen=amount,
        share=(ratio or 0) * _TO_SHARE,
        ratio="" if ratio is None else unscaled(ratio, RATIO_SCALE),
        per_day=values.get("per") == "day",
        not_below_fen=values.get("not_below", 0),
        above_fen=values.get("above", 0),
        up_to_fen=values.get("up_to"),
        covers=values.get("covers", (IN_SCOPE_SEGMENT,)),
        rest_in_scope=values.get("rest", "person") == IN_SCOPE_SEGMENT,
        times=None if limit is None else limit.values["times"],
        count_key=count_key,
        refuses=limit is not None and limit.values.get("on_limit", "refuse") == "refuse",
        cited=cited(fact, limit),
    )


def institution_of(selection: Selection, counting: Counting) -> InstitutionRule | None:
    """What the institution bears: what is over a fixed price of the stay, a day of it or a period, or a ratio."""
    fact = selection.one("institution_share", "医院负担")
    if fact is None:
        return None
    values = fact.values
    of_total, per_day = values.get("basis") == "total", values.get("per") == "day"
    amount = ratio = None
    counted = Counted()
    if "amount" in values:
        amount = selection.known(fact, "amount", "定额")
        per = "stay" if per_day else values.get("per", "stay")
        tag = tag_of(fact, selection)
        counted = counting.over("visit", TOTAL if of_total else IN_SCOPE, per, fact.visits, tag=tag)
    else:
        ratio = selection.known(fact, "ratio", "比例")
    return InstitutionRule(
        amount_fen=amount,
        per_day=per_day,
        share=(ratio or 0) * _TO_SHARE,
        ratio="" if ratio is None else unscaled(ratio, RATIO_SCALE),
        of_total=of_total,
        group=values.get("item", ""),
        counted=counted,
        cited=cited(fact),
    )


def account_of(selection: Selection) -> tuple[AccountRule | None, tuple[str, ...]]:
    """What the account may pay, and the item groups it may not. No fact, no permission: it then pays nothing."""
    facts = selection.all("account_pays")
    barred = tuple(fact.values["item"] for fact in facts if "item" in fact.values and not fact.values["may_pay"])
    fact = selection.only(most_special(fact for fact in facts if "item" not in fact.values), "个人账户")
    if fact is None:
        return None, barred
    segments: list[str] = []
    for segment in fact.values["may_pay"]:
        segments.extend(IN_SCOPE_SEGMENTS if segment == IN_SCOPE_SEGMENT else (segment,))
    rule = AccountRule(
        tuple(dict.fromkeys(segments)), fact.values.get("family", ""), fact.values.get("first", False), cited(fact)
    )
    return rule, barred
