"""Bands, caps and what they are counted in: the shapes the basic fund and every upper layer have in common."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from domain.accumulators import ALL, BASE, CHARGES, DEDUCTIBLE, FUND, IN_SCOPE, OVER_CAP, key, period_of
from domain.money import unscaled
from domain.policy.facts import ALL_VISITS, BASIC, VISITS, Case, Fact
from domain.policy.rules import RATIO_SCALE, SHARE_SCALE, Band, Cap, Counted, Written
from domain.policy.selection import Selection, cited, most_special
from domain.visit import VisitType

OF_THE_BILL = ("visit", "stay")
STAYING = (*OF_THE_BILL, "settlement_period")


def year_starts(selection: Selection) -> tuple[int, int]:
    """Month and day the benefit year begins: of a dated fact, or of the set."""
    fact = selection.one("benefit_year", "医疗年度")
    starts: tuple[int, int] = selection.policy.year_starts if fact is None else fact.values["starts"]
    return starts


class Counting:
    """Makes the keys of what is counted for one case, and keeps which of them a settlement reads and moves."""

    def __init__(self, selection: Selection) -> None:
        self.case: Case = selection.case
        self.starts = year_starts(selection)
        self.reads: set[str] = set()
        self.stay_reads: set[Counted] = set()
        self.writes: dict[tuple[str, str], Written] = {}

    def over(
        self,
        fund: str,
        segment: str,
        per: str | None,
        visits: frozenset[VisitType] | None = None,
        *,
        tag: str = ALL,
        part: str = "",
    ) -> Counted:
        """What is counted over a calendar period for these visits together, or over the visit itself."""
        if per is None:
            return Counted()
        if per in STAYING:
            counted = Counted((), key(fund, self.case.visit_type, segment, tag, "stay/"), part)
            self.stay_reads.add(counted)
            self._moves(fund, segment, tag, counted.stay_key, part, of_stay=True)
            return counted
        period = period_of(per, self.case.day, self.starts)
        together = ALL_VISITS if visits is None else sorted(visits)
        keys = tuple([key(fund, visit, segment, tag, period) for visit in together])
        self.reads.update(keys)
        own = key(fund, self.case.visit_type, segment, tag, period)
        self._moves(fund, segment, tag, own, "", of_stay=False)
        return Counted(keys)

    def also(self, fund: str, segment: str, per: str = "year") -> None:
        """Count something of this visit type that no rule of the case looks at, for reports and for other cases."""
        period = period_of(per, self.case.day, self.starts)
        self._moves(fund, segment, ALL, key(fund, self.case.visit_type, segment, ALL, period), "", of_stay=False)

    def _moves(self, fund: str, segment: str, tag: str, own: str, part: str, *, of_stay: bool) -> None:
        what = f"{fund}:{segment}:{tag}" if segment == BASE else f"{fund}:{segment}"
        self.writes[own, part] = Written(what, own, of_stay, part)


def tag_of(fact: Fact, selection: Selection) -> str:
    """What a fact counts apart: a counter of its own, the institution, or the disease."""
    if counter := fact.values.get("counter"):
        return f"={counter}"
    if fact.values.get("per_institution"):
        return f"@{selection.case.valued('institution') or ALL}"
    names_disease = any(name.startswith("disease:") for names in fact.conditions for name in names)
    if fact.values.get("per_disease") or names_disease:
        disease = selection.case.valued("disease")
        if not disease:
            selection.refuse("unknown_disease", f"{fact} 按病种计算，但病种不详", fact)
        return disease or ALL
    return ALL


def bands_of(facts: Sequence[Fact], selection: Selection, layer: str = BASIC) -> tuple[Band, ...]:
    """The bands of these share facts. What changes the share: points, a factor on the person's part, on the fund's."""
    plus = selection.all("share_add", layer)
    minus = selection.all("share_minus_points", layer)
    own_factor = selection.one("self_share_factor", "个人比例系数") if layer == BASIC else None
    fund_factor = selection.one("share_factor", "基金比例系数", layer)
    changes = [*plus, *minus, *(fact for fact in (own_factor, fund_factor) if fact is not None)]
    points = sum(_points(fact, selection) for fact in plus) - sum(fact.values["add"] for fact in minus)
    ceiling = min((fact.values["ceiling"] for fact in plus if "ceiling" in fact.values), default=None)
    bands = []
    for fact in sorted(facts, key=lambda fact: fact.values.get("low") or 0):
        percent = max(0, _fund_ratio(fact, selection) + points)
        percent = percent if ceiling is None else min(percent, ceiling)
        if percent > RATIO_SCALE:
            selection.refuse("above_all", f"{fact} 加上 {'、'.join(map(str, changes))} 后基金支付超过全部", fact, *plus)
        share = percent * (SHARE_SCALE // RATIO_SCALE)
        if own_factor is not None:
            share = SHARE_SCALE - (SHARE_SCALE - share) * own_factor.values["factor"] // RATIO_SCALE
        if fund_factor is not None:
            share = share * fund_factor.values["factor"] // RATIO_SCALE
        if not 0 <= share <= SHARE_SCALE:
            selection.refuse("above_all", f"{fact} 乘以系数后基金支付不在 0 与全部之间", fact)
        low, high = fact.values.get("low") or 0, fact.values.get("high")
        bands.append(Band(low, high, share, unscaled(share, SHARE_SCALE), cited(fact, *changes)))
    ordered = sorted(facts, key=lambda fact: fact.values.get("low") or 0)
    for (fact, lower), (other, upper) in pairwise(zip(ordered, bands, strict=True)):
        if lower.low_fen == upper.low_fen:
            selection.refuse("two_facts", f"{fact}、{other} 对同一情形有不同规定（比例）", fact, other)
        elif lower.high_fen is None or lower.high_fen > upper.low_fen:
            selection.refuse("overlap", f"{fact} 与 {other} 的费用段重叠", fact, other)
        elif lower.high_fen < upper.low_fen:
            selection.refuse("gap", f"{fact} 与 {other} 之间有空档", fact, other)
    return tuple(bands)


def charged_borders(bands: tuple[Band, ...]) -> tuple[Band, ...]:
    """Bands whose borders are fund money, with the borders in charges: so much money is reached at so many charges."""
    reached: int | Fraction = 0
    turned = []
    for band in bands:
        if band.high_fen is None:
            turned.append(band._replace(low_fen=reached))
            break
        high = reached + Fraction((band.high_fen - band.low_fen) * SHARE_SCALE, max(1, band.share))
        turned.append(band._replace(low_fen=reached, high_fen=high))
        reached = high
    return tuple(turned)


def _points(fact: Fact, selection: Selection) -> int:
    """The points a fact adds: where it names an age, for each year of the person beyond it."""
    over_age = fact.values.get("over_age")
    years = 1 if over_age is None else max(0, (selection.case.age or 0) - over_age)
    return int(fact.values["add"]) * years


def _fund_ratio(fact: Fact, selection: Selection) -> int:
    if "self_ratio" in fact.values:
        return RATIO_SCALE - int(fact.values["self_ratio"])
    return selection.known(fact, "ratio", "比例")


def caps_of(selection: Selection, counting: Counting, layer: str = BASIC, fund: str = BASIC) -> tuple[Cap, ...]:
    """The caps that limit a fund. Caps of different scope stand side by side; each leaves its own room."""
    scopes: dict[tuple[object, ...], list[Fact]] = {}
    for fact in selection.all("cap", layer):
        values = fact.values
        scope = (
            fact.visits, values["per"], values["basis"], values.get("counter"), values.get("per_disease"),
            values.get("per_institution"),
            tag_of(fact, selection), values.get("layers"),
        )  # fmt: skip
        scopes.setdefault(scope, []).append(fact)
    caps = []
    for facts in scopes.values():
        only = selection.only(most_special(facts), "限额")
        if only is not None and not only.values.get("unlimited"):
            caps.append(
                cap_of(only, selection, counting, fund, _more(only, selection.all("cap_add", layer), selection))
            )
    return tuple(caps)


def _more(cap: Fact, adds: Sequence[Fact], selection: Selection) -> list[Fact]:
    """The facts that add to this cap: of the same visits, period and counter."""

    def scope(fact: Fact) -> tuple[object, ...]:
        return fact.visits, fact.values["per"], fact.values.get("counter")

    return [fact for fact in adds if scope(fact) == scope(cap)]


def cap_of(fact: Fact, selection: Selection, counting: Counting, fund: str, more: Sequence[Fact] = ()) -> Cap:
    """The cap a fact sets on a fund, with what other facts add to it."""
    amount = selection.known(fact, "amount", "限额") + sum(selection.known(each, "amount", "限额") for each in more)
    basis, per, tag = fact.values["basis"], fact.values["per"], tag_of(fact, selection)
    funds = fact.values.get("layers") or (fund,)
    if basis == "fund_paid":
        together = [counting.over(each, FUND, per, fact.visits, tag=tag) for each in funds]
    else:
        together = [counting.over(BASIC, CHARGES if basis == "charges" else IN_SCOPE, per, fact.visits, tag=tag)]
    keys = tuple(key for counted in together for key in counted.keys)
    stay_key = together[0].stay_key if len(together) == 1 else ""
    return Cap(amount, basis, Counted(keys, stay_key), tuple(funds), cited(fact, *more))


def followed_cap(name: str, selection: Selection, counting: Counting, fund: str) -> tuple[Cap, ...]:
    """The caps of another scheme and visit, such as "employee outpatient", for a fund that follows them."""
    scheme, _, visit = name.partition(" ")
    caps = []
    for fact in selection.all("cap"):
        if fact.scheme == scheme and fact.visits is not None and VISITS.get(visit) in fact.visits:
            caps.append(cap_of(fact, selection, counting, fund)._replace(with_funds=(fund,)))
    if not caps:
        selection.refuse("no_cap", f"没有可参照的限额：{name}")
    return tuple(caps)


POSITION = (IN_SCOPE, DEDUCTIBLE, OVER_CAP)
"""The segments that say where in the bands a claim begins."""
