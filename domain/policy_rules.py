"""From facts to the rules of one case: what concerns it, what contradicts, what cannot be settled yet.

A fact that concerns a case and cannot be settled is refused by its number, never left out.
"""

from __future__ import annotations

from domain.money import half_up, unscaled
from domain.policy_facts import (
    _RATIO_SCALE,
    ALL_VISITS,
    LAYERS,
    NOT_OF_A_SETTLEMENT,
    SHARE_SCALE,
    Band,
    Cap,
    Case,
    CaseNotCovered,
    Deductible,
    Fact,
    PolicySet,
    Rules,
)
from domain.visit import VisitType


def compile_rules(policy: PolicySet, case: Case) -> Rules:
    """Turn the facts that concern a case into its rules. Raises CaseNotCovered with every reason."""
    reasons: list[str] = []
    facts = _in_play(policy, case, reasons)
    rules = Rules(
        version=policy.version,
        scheme=case.scheme,
        deductible=_deductible(facts, reasons),
        bands=_bands(facts, reasons),
        caps=_caps(facts, reasons),
        account_pays=_account_pays(facts, reasons),
        account_fact=", ".join(str(fact) for fact in facts if fact.kind == "account_pays"),
        account_source=", ".join(fact.source for fact in facts if fact.kind == "account_pays"),
        rest_goes_to_fund=_rest_goes_to_fund(facts, reasons),
    )
    if reasons:
        raise CaseNotCovered(policy.version, case, reasons)
    return rules


def _in_play(policy: PolicySet, case: Case, reasons: list[str]) -> list[Fact]:
    """The facts that hold for the case, without those of a layer the counter does not settle."""
    concerned = [fact for fact in policy.facts if fact.kind not in NOT_OF_A_SETTLEMENT and fact.concerns(case)]
    holds: dict[str, bool] = {}
    for fact in _unconditional(concerned, "condition", reasons):
        name = fact.values["name"]
        if name in holds:
            reasons.append(f"{fact}: two facts for one case (condition {name})")
        holds[name] = fact.values["holds"]
    counter = _one(_unconditional(concerned, "settled_at_counter", reasons), "settled at the counter", reasons)
    in_play = []
    for fact in concerned:
        if fact.kind in ("condition", "settled_at_counter"):
            continue
        if fact.scheme in LAYERS and counter is not None and fact.scheme not in counter.values["layers"]:
            continue
        unknown = [name for name in fact.conditions if name not in holds]
        if unknown:
            reasons.append(f"{fact}: no fact says whether {', '.join(unknown)} holds")
        elif all(holds[name] for name in fact.conditions):
            if fact.scheme in LAYERS:
                reasons.append(f"{fact}: the layer {fact.scheme} is not built yet")
            elif fact.kind not in _COMPILED:
                reasons.append(f"{fact}: this kind is not built yet")
            else:
                in_play.append(fact)
    return in_play


_COMPILED = frozenset({
    "account_pays", "cap", "deductible", "deductible_factor", "rounding", "self_share_factor", "share", "share_add",
})  # fmt: skip


def _unconditional(facts: list[Fact], kind: str, reasons: list[str]) -> list[Fact]:
    found = _of_kind(facts, kind)
    reasons.extend(f"{fact}: takes no condition" for fact in found if fact.conditions)
    return found


def _one(facts: list[Fact], what: str, reasons: list[str]) -> Fact | None:
    if len(facts) > 1:
        reasons.append(f"{' and '.join(map(str, facts))}: two facts for one case ({what})")
    return facts[0] if facts else None


def _of_kind(facts: list[Fact], kind: str) -> list[Fact]:
    return [fact for fact in facts if fact.kind == kind]


def _counted_with(fact: Fact) -> tuple[VisitType, ...]:
    return ALL_VISITS if fact.visits is None else tuple(sorted(fact.visits))


def _deductible(facts: list[Fact], reasons: list[str]) -> Deductible | None:
    fact = _one(_of_kind(facts, "deductible"), "deductible", reasons)
    factor = _one(_of_kind(facts, "deductible_factor"), "deductible factor", reasons)
    if fact is None:
        reasons.append("no deductible fact; where there is none, say 0.00")
        return None
    amount, per = fact.values["amount"], fact.values["per"]
    if amount is None:
        reasons.append(f"{fact}: the amount is not known")
        return None
    if per not in ("visit", "stay", "year"):
        reasons.append(f"{fact}: counted per {per} is not built yet")
    label, source = str(fact), fact.source
    if factor is not None:
        amount = half_up(amount * factor.values["factor"], _RATIO_SCALE)
        label, source = f"{fact}, {factor}", f"{source}, {factor.source}"
    if amount == 0:
        return None
    return Deductible(amount, _counted_with(fact) if per == "year" else (), label, source)


def _bands(facts: list[Fact], reasons: list[str]) -> tuple[Band, ...]:
    shares = sorted(_of_kind(facts, "share"), key=lambda fact: fact.values.get("low") or 0)
    points = _of_kind(facts, "share_add")
    factor = _one(_of_kind(facts, "self_share_factor"), "factor on the person's share", reasons)
    if points and factor is not None:
        reasons.append(f"{points[0]} and {factor}: two facts change one share")
    if not shares:
        reasons.append("no share fact; where the fund pays nothing, say 0.00")
    bands: list[Band] = []
    reached: int | None = 0
    for fact in shares:
        low, high, basis = fact.values.get("low") or 0, fact.values.get("high"), fact.values.get("basis")
        if basis != "in_scope" or "ratio" not in fact.values or fact.values.get("per", "visit") not in _ONE_BILL:
            reasons.append(f"{fact}: only a ratio of what is in scope of one bill is built yet")
            continue
        if low != reached:
            reasons.append(f"{fact}: its band overlaps another or leaves a gap below it")
        reached = high
        share = fact.values["ratio"] + sum(each.values["add"] for each in points)
        if share > _RATIO_SCALE:
            reasons.append(f"{fact}: with {', '.join(map(str, points))} the fund would pay more than all")
        share *= SHARE_SCALE // _RATIO_SCALE
        if factor is not None:
            share = SHARE_SCALE - (_RATIO_SCALE - fact.values["ratio"]) * factor.values["factor"]
        changes = points if factor is None else [factor]
        bands.append(
            Band(
                low,
                high,
                share,
                unscaled(share, SHARE_SCALE),
                ", ".join(str(each) for each in (fact, *changes)),
                ", ".join(dict.fromkeys(each.source for each in (fact, *changes))),
            )
        )
    if bands and reached is not None:
        reasons.append("share: nothing is said above the last band")
    return tuple(bands)


_ONE_BILL = ("visit", "stay", "settlement_period")


def _caps(facts: list[Fact], reasons: list[str]) -> tuple[Cap, ...]:
    caps = []
    for fact in _of_kind(facts, "cap"):
        amount = fact.values["amount"]
        if amount is None:
            reasons.append(f"{fact}: the amount is not known")
        elif fact.values["basis"] != "fund_paid" or fact.values["per"] != "year" or fact.values.get("per_disease"):
            reasons.append(f"{fact}: only a cap on the fund's money in a year is built yet")
        else:
            caps.append(Cap(amount, _counted_with(fact), str(fact), fact.source))
    for scope in {cap.counted_with for cap in caps}:
        same = [cap for cap in caps if cap.counted_with == scope]
        if len(same) > 1:
            reasons.append(f"{' and '.join(cap.fact for cap in same)}: two facts for one case (cap)")
    return tuple(caps)


def _account_pays(facts: list[Fact], reasons: list[str]) -> frozenset[str]:
    """No fact, no permission: the account then pays nothing."""
    fact = _one(_of_kind(facts, "account_pays"), "account", reasons)
    if fact is None:
        return frozenset()
    if fact.values.get("item"):
        reasons.append(f"{fact}: an account for one item only is not built yet")
    may_pay = set(fact.values["may_pay"])
    if "in_scope" in may_pay:
        may_pay = may_pay - {"in_scope"} | {"deductible", "shared", "over_cap"}
    return frozenset(may_pay)


def _rest_goes_to_fund(facts: list[Fact], reasons: list[str]) -> bool:
    """Read the rounding facts: whole fen, half up, lines and shares; the rest is the fund's or the person's."""
    roundings = _of_kind(facts, "rounding")
    for fact in roundings:
        if fact.values["mode"] != "half_up" or fact.values["digits"] != 2:
            reasons.append(f"{fact}: only half up to 2 digits is built yet")
    rests = [fact for fact in roundings if fact.values["place"] in ("fund_share", "band", "shared_segment")]
    rest = _one(rests, "rounding of the share", reasons)
    if rest is None or "rest_goes_to" not in rest.values:
        reasons.append("no rounding fact says who takes the rest of a share, fund or person")
        return False
    return bool(rest.values["rest_goes_to"] == "fund")
