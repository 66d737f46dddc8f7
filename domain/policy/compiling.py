"""From facts to the rules of one case: what holds, what contradicts, what is missing.

A fact that concerns a case and cannot be applied refuses it by its number; it is never left out.
"""

from __future__ import annotations

from domain.accumulators import ALL, DEDUCTIBLE, DUE, IN_SCOPE, STAY_NO, STAYS
from domain.accumulators import FUND as FUND_PAID
from domain.money import half_up, unscaled
from domain.policy.facts import BASIC, VISITS, Case, CaseNotCovered, Fact, PolicySet
from domain.policy.items import account_of, institution_of, item_shares_of, items_of
from domain.policy.layers import layers_of
from domain.policy.rules import (
    RATIO_SCALE,
    SHARE_SCALE,
    Band,
    Cap,
    Cited,
    Counted,
    Deductible,
    FullCover,
    Nth,
    Rules,
    Shares,
    StayCounter,
    VisitPrePay,
    YearEnd,
)
from domain.policy.selection import Selection, cited, most_special
from domain.policy.shares import OF_THE_BILL, POSITION, STAYING, Counting, bands_of, caps_of, charged_borders, tag_of
from domain.settlement import DEDUCTIBLE as DEDUCTIBLE_SEGMENT
from domain.settlement import IN_SCOPE as IN_SCOPE_SEGMENT
from domain.settlement import OVER_CAP, PRE_SELF_PAY_VISIT, SELF_PAY_VISIT, SHARED, Step
from domain.visit import VisitType

NOTHING = Cited("", "")


def compile_rules(policy: PolicySet, case: Case) -> Rules:
    """Turn the facts that concern a case into its rules. Raises CaseNotCovered with every reason."""
    selection = Selection(policy, case)
    counting = Counting(selection)
    stays = _StayParts(selection, counting)
    no_benefit = _no_benefit(selection)
    full_cover = _full_cover(selection) if no_benefit is None else None
    fund = full_cover.fund if full_cover is not None and SHARED in full_cover.segments else BASIC
    shares = _shares(selection, counting, full_cover, stays)
    account, item_account = account_of(selection)
    rules = Rules(
        version=policy.version,
        scheme=case.scheme,
        no_benefit=no_benefit,
        institution=institution_of(selection, counting),
        visit_prepay=_visit_prepay(selection, counting),
        items=items_of(selection, counting, fund),
        item_shares=item_shares_of(selection, shares),
        stay_counters=_stay_counters(selection, counting),
        full_cover=full_cover,
        fund=fund,
        deductible=_deductible(selection, counting, full_cover, stays),
        shares=shares,
        caps=_caps(selection, counting, full_cover, fund),
        layers=() if no_benefit is not None else layers_of(selection, counting),
        account=account,
        item_account=item_account,
        split_at_year_end=stays.split,
        year_starts=counting.starts,
        writes=(),
        reads=(),
        stay_reads=(),
    )
    if selection.reasons:
        raise CaseNotCovered(policy.version, case, selection.reasons)
    _count_for_others(policy, case, counting, fund)
    return rules._replace(
        writes=tuple(sorted(counting.writes.values())),
        reads=tuple(
            sorted(counting.reads | {written.key for written in counting.writes.values() if not written.of_stay})
        ),
        stay_reads=tuple(sorted(counting.stay_reads)),
    )


class _StayParts:
    """What a stay over the end of the benefit year does."""

    def __init__(self, selection: Selection, counting: Counting) -> None:
        fact = selection.one("year_end", "跨年度住院")
        values = {} if fact is None else fact.values
        self.bands = "year" if values.get("bands") == "restart" else ""
        self.deductible = "year" if values.get("deductible") == "again" else ""
        self.split: YearEnd | None = None
        if fact is not None and values.get("stay") == "split":
            self.split = YearEnd(counting.over(BASIC, IN_SCOPE, "stay"), cited(fact))


def _no_benefit(selection: Selection) -> Cited | None:
    fact = selection.one("entitlement", "待遇状态")
    if fact is None:
        return None
    if fact.values["benefit"] == "refused":
        selection.refuse("refused", f"按 {fact}，该待遇状态下不予结算", fact)
    return cited(fact)


def _full_cover(selection: Selection) -> FullCover | None:
    fact = selection.one("full_cover", "全额保障")
    if fact is None:
        return None
    segments = fact.values["covers"]
    if IN_SCOPE_SEGMENT in segments:
        rest = tuple(segment for segment in segments if segment != IN_SCOPE_SEGMENT)
        segments = tuple(dict.fromkeys((*rest, DEDUCTIBLE_SEGMENT, SHARED, OVER_CAP)))
    return FullCover(fact.values.get("pays", "full_cover"), segments, cited(fact))


def _visit_prepay(selection: Selection, counting: Counting) -> VisitPrePay | None:
    fact = selection.one("pre_self_pay_visit", "转外先自付")
    if fact is None:
        return None
    share = selection.known(fact, "ratio", "比例") * (SHARE_SCALE // RATIO_SCALE)
    if not share:
        return None
    segment = SELF_PAY_VISIT if fact.values.get("counts_as") == "self_pay" else PRE_SELF_PAY_VISIT
    counted = counting.over("visit", IN_SCOPE, "stay" if counting.case.visit_type == VisitType.INPATIENT else None)
    return VisitPrePay(share, unscaled(share, SHARE_SCALE), segment, counted, cited(fact))


# ── The deductible ────────────────────────────────────────────────────────────────────────────────────────


def _deductible(
    selection: Selection, counting: Counting, full_cover: FullCover | None, stays: _StayParts
) -> Deductible | None:
    if full_cover is not None and DEDUCTIBLE_SEGMENT in full_cover.segments:
        return None
    fact = selection.one("deductible", "起付标准")
    if selection.best("deductible_exempt"):
        return None
    if fact is None:
        if full_cover is None or SHARED not in full_cover.segments:
            selection.refuse("no_deductible", "政策没有规定起付标准（没有起付标准时应写 0.00）")
        return None
    amount = selection.known(fact, "amount", "起付标准")
    factor = selection.one("deductible_factor", "起付标准系数")
    standards: tuple[Step, ...] = ()
    if factor is not None:
        standard = Step("standard", str(fact), fact.source, 0, "", amount)
        ratio = unscaled(factor.values["factor"], RATIO_SCALE)
        reduced = half_up(amount * factor.values["factor"], RATIO_SCALE)
        standards = (standard, Step("standard", str(factor), factor.source, amount, ratio, reduced))
        amount = reduced
    nth = _nth_stays(selection)
    if not amount and not nth:
        return None
    per = fact.values["per"]
    tag = tag_of(fact, selection)
    again = selection.one("deductible_again", "再次计算起付标准") if per in OF_THE_BILL else None
    total = selection.one("deductible_total", "起付标准累计限额")
    transfer = selection.one("deductible_on_transfer", "转院起付标准")
    mode = "new" if transfer is None else transfer.values["mode"]
    if mode == "continue":
        counting.over(BASIC, DUE, "stay")
    counting.also(BASIC, DEDUCTIBLE)
    return Deductible(
        amount_fen=amount,
        counted=counting.over(
            BASIC, DEDUCTIBLE, per, fact.visits, tag=tag, part=stays.deductible if per in OF_THE_BILL else ""
        ),
        standards=standards,
        nth=nth,
        again_days=0 if again is None else again.values["days"],
        again_as_next_stay=again is not None and again.values.get("as_next_stay", False),
        again=NOTHING if again is None else cited(again),
        total_fen=None if total is None else selection.known(total, "amount", "起付标准累计限额"),
        total_counted=(
            Counted() if total is None else counting.over(BASIC, DEDUCTIBLE, total.values["per"], total.visits)
        ),
        on_transfer=mode,
        cited=cited(fact, factor, total, transfer if mode != "new" else None),
    )


def _counter(fact: Fact) -> str:
    return f"={fact.values['counter']}" if "counter" in fact.values else ALL


def _stay_counters(selection: Selection, counting: Counting) -> tuple[StayCounter, ...]:
    """What counts this stay: the stays of all where any fact asks for their number, and the counters that hold."""
    tags = {_counter(fact) for fact in selection.all("deductible_nth_stay")}
    if any(
        fact.kind == "deductible_nth_stay" and fact.concerns(selection.case) and "counter" not in fact.values
        for fact in selection.policy.facts
    ):
        tags.add(ALL)
    visits = frozenset({selection.case.visit_type})
    return tuple(
        StayCounter(
            tag,
            counting.over(BASIC, STAYS, "year", visits, tag=tag).keys[0],
            counting.over(BASIC, STAY_NO, "stay", tag=tag).stay_key,
        )
        for tag in sorted(tags)
    )


def _nth_stays(selection: Selection) -> tuple[Nth, ...]:
    """Every factor or amount by number of stays. Factors of one number of stays must not differ."""
    best = most_special(selection.all("deductible_nth_stay"))
    rules = []
    for fact in best:
        low, high = fact.values["stays"]
        rules.append(
            Nth(
                low,
                high,
                selection.known(fact, "amount", "起付标准") if "amount" in fact.values else None,
                fact.values.get("factor", RATIO_SCALE),
                fact.values.get("less", 0),
                fact.values.get("at_least", 0),
                _counter(fact),
                cited(fact),
            )
        )
    for one, fact in zip(rules, best, strict=True):
        others = [each for each in rules if each is not one and each.low <= one.high and one.low <= each.high]
        if others:
            selection.refuse("two_facts", f"{fact} 与 {others[0].cited.fact} 的住院次数重叠", fact)
    return tuple(rules)


# ── The shared part and its caps ──────────────────────────────────────────────────────────────────────────


def _shares(selection: Selection, counting: Counting, full_cover: FullCover | None, stays: _StayParts) -> Shares:
    rest, once, mode, rounding = _rest(selection)
    if full_cover is not None and SHARED in full_cover.segments:
        whole = Band(0, None, SHARE_SCALE, "1", full_cover.cited)
        return Shares((whole,), "after_deductible", (Counted(),) * 3, rest or "person", once, full_cover.cited, mode)
    facts = _share_facts(selection)
    bands = bands_of(facts, selection)
    if not facts:
        selection.refuse("no_share", "政策没有规定统筹支付比例（基金不支付时应写 0.00）")
    elif bands[0].low_fen:
        selection.refuse("gap", f"{bands[0].cited.fact} 之下有空档", facts[0])
    elif bands[-1].high_fen is not None:
        selection.refuse("gap", f"{bands[-1].cited.fact} 之上没有规定", facts[-1])
    if not rest and (facts or not selection.reasons):
        selection.refuse("no_rounding", "政策没有规定分段支付的尾差由谁承担（rounding 的 rest_goes_to）")
    bases = {fact.values.get("basis", "in_scope") for fact in facts} or {"in_scope"}
    pers = {fact.values.get("per") for fact in facts} or {None}
    if len(bases) > 1 or len(pers) > 1:
        selection.refuse("two_facts", "各费用段的计算基数或累计期间不一致", *facts)
    basis, per = min(bases), min(pers, key=str)
    if basis == "fund_paid" and any(not band.share and band.high_fen is not None for band in bands):
        selection.refuse("gap", "按基金支付额分段时，支付比例不能为 0", *facts)
    position = _position(counting, per, facts, stays)
    if basis == "fund_paid":
        bands, basis = charged_borders(bands), "after_deductible"
        if per not in (None, *STAYING):
            paid = counting.over(BASIC, FUND_PAID, per, facts[0].visits)
            basis, position = "fund_paid", (paid, Counted(), Counted())
    return Shares(bands, basis, position, rest, once, cited(*facts, rounding), mode)


def _share_facts(selection: Selection) -> list[Fact]:
    """The most special share facts that are not about one item group; those of another visit where they follow it."""
    facts = most_special(fact for fact in selection.all("share") if "item" not in fact.values)
    followed = {fact.values["follows"] for fact in facts if "follows" in fact.values}
    if not followed:
        return facts
    if len(followed) > 1 or len(facts) > 1:
        selection.only(facts, "比照其他就诊类别")
    other = Selection(selection.policy, selection.case._replace(visit_type=VISITS[followed.pop()]))
    return [fact for fact in _share_facts(other) if "follows" not in fact.values]


def _position(
    counting: Counting, per: str | None, facts: list[Fact], stays: _StayParts
) -> tuple[Counted, Counted, Counted]:
    """What says where in the bands a claim begins: by default what the stay had before."""
    is_stay = counting.case.visit_type == VisitType.INPATIENT
    if per is None and (is_stay or len(facts) > 1):
        per = "stay"
    part = "settlement_period" if per == "settlement_period" else stays.bands
    visits = facts[0].visits if facts else None
    first, second, third = (counting.over(BASIC, segment, per, visits, part=part) for segment in POSITION)
    return first, second, third


def _rest(selection: Selection) -> tuple[str, bool, str, Fact | None]:
    """Who takes the rest of a rounded share, whether it is rounded once over all bands, and in which way."""
    places = ("fund_share", "band", "shared_segment")
    facts = most_special(fact for fact in selection.all("rounding") if fact.values["place"] in places)
    fact = selection.only(facts, "四舍五入")
    if fact is None:
        return "", False, "half_up", None
    return fact.values.get("rest_goes_to", ""), fact.values["place"] != "band", fact.values["mode"], fact


def _caps(selection: Selection, counting: Counting, full_cover: FullCover | None, fund: str) -> tuple[Cap, ...]:
    counting.also(fund, FUND_PAID)
    if full_cover is not None and OVER_CAP in full_cover.segments:
        return ()
    return caps_of(selection, counting, BASIC, fund)


def _count_for_others(policy: PolicySet, case: Case, counting: Counting, fund: str) -> None:
    """Count too what caps and deductibles of other persons, levels or conditions count of visits like this one.

    Without it a person whose category changes would begin the period again.
    """
    for fact in policy.facts:
        if (
            fact.kind in ("cap", "deductible")
            and not ({"counter", "per_disease", "per_institution"} & fact.values.keys() or fact.conditions)
            and (fact.visits is None or case.visit_type in fact.visits)
            and case.scheme in fact.insured
            and fact.in_force_on(case.day)
            and fact.values["per"] not in OF_THE_BILL
        ):
            funds = fact.values.get("layers") or (fund if fact.scheme in ("any", *(case.scheme,)) else fact.scheme,)
            basis = fact.values.get("basis", "")
            segment = DEDUCTIBLE if fact.kind == "deductible" else {"fund_paid": FUND_PAID}.get(basis, basis)
            if fact.kind == "cap" or fact.scheme in ("any", case.scheme):
                for each in funds:
                    counting.also(each, segment, fact.values["per"])
