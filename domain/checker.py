"""The second opinion (复核): a settlement is recomputed from its steps, the facts they cite and what went in.

No code is shared with the engine, only values: here is a second arithmetic, and a second reading of a fact, by the
grammar of `domain.settlement`. The centre checks each settlement, and commits none that does not check.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from operator import attrgetter

from domain.policy import PolicyBook
from domain.policy.facts import Fact, PolicySet
from domain.settlement import AMOUNTS, Occasion, Person, Settlement, Step
from domain.totals import LocalTotals
from domain.visit import VisitType

Counts = Mapping[str, int]
_OPENING = {
    "own-expense": ("own_expense", "own_expense_fen"), "over-limit": ("over_price_limit", "over_limit_fen"),
    "pre-self-pay": ("pre_self_pay", "pre_self_pay_fen"), "in-scope": ("in_scope", "in_scope_fen"),
}  # fmt: skip
"""Rules that put the totals into the matrix: the segment each opens, and the part of the totals it puts there."""
_PURSES = {"account": "account_balance_fen", "family_account": "family_balance_fen"}
_OWN_PAY = ("own_expense", "over_price_limit", "pre_self_pay", "pre_self_pay_visit")
_STATED = ("total_fen", *AMOUNTS, "person_share_fen", "cash_fen")
_stated = attrgetter(*_STATED)
_SCALE, _APART = 10_000, ("counter", "per_disease", "per_institution", "layers")


def check(
    settlement: Settlement, totals: LocalTotals, person: Person, before: Counts, *, policy: PolicyBook, at: Occasion
) -> list[str]:
    """What is wrong with what was settled from the accumulators `before`; empty when all of it can be recomputed."""
    who = (person.scheme, person.category, person.civil_servant, person.rank, person.groups, person.age)
    case = at._replace(visit_no="", started=None, ends=None, final=True, transferred_from="")
    law = _law_for(policy, settlement.policy_version, who, case)
    if law is None:
        return [f"settled under {settlement.policy_version!r}, which is not in the book"]
    audit = _Audit(settlement, totals, law)
    audit.amounts(at.visit_type)
    audit.movements(person, before, law.limits)
    return audit.wrong


@lru_cache(maxsize=65536)
def _exact(text: str) -> Fraction:
    """Read "3", "3/7" or "0.85"; an empty text is nothing."""
    return Fraction(text or 0)


def _rounded(amount: Fraction | int, rest: str = "", by: int = 1) -> int:
    """Half up, away from zero, unless who takes the rest (`fund down`, `person up`) says another way."""
    size, part = divmod(abs(amount.numerator), whole := amount.denominator * by)
    more = 2 * part >= whole if rest[-2:] not in ("up", "wn") else part > 0 and rest[-2:] == "up"
    return size + more if amount >= 0 else -size - more


def _grown(step: Step, ratio: Fraction | None = None) -> int:
    """What rounding the sum adds when its ratio of the input joins what was carried: round(c + r x) - round(c)."""
    share, carried = _exact(step.ratio) if ratio is None else ratio, _exact(step.carry)
    if not carried and not step.exact:
        return _rounded(share.numerator * step.input_fen, step.rest, share.denominator)
    grown = carried + share * (_exact(step.exact) or step.input_fen)
    return _rounded(grown, step.rest) - _rounded(carried, step.rest)


def _fund_share(step: Step) -> int:
    if step.limit_fen is not None:
        return step.limit_fen
    return step.input_fen - _grown(step, 1 - _exact(step.ratio)) if step.rest.startswith("fund") else _grown(step)


def _over_cap(step: Step) -> int:
    """input - (limit + d) / ratio, within the input; d is what rounding the carried sum has given already."""
    ratio, carried = _exact(step.ratio), _exact(step.carry)
    given = _rounded(carried, step.rest) - carried
    covered = max(Fraction(0), _room(step) + (given if step.rest.startswith("person") else -given))
    over = _rounded((_exact(step.exact) or step.input_fen) - covered / ratio) if ratio else 0
    return max(0, min(over, step.input_fen))


def _standard(step: Step) -> int:
    if step.before_fen:
        return max(step.limit_fen or 0, step.input_fen - step.before_fen)
    return _grown(step) if step.ratio else step.input_fen + _room(step) if _room(step) else step.output_fen


def _room(step: Step) -> int:
    return max(0, (step.limit_fen or 0) - step.before_fen)


_ANY, _WHOLE, _WITHIN = "takes what it works out", "looks at the whole cell", "takes no more than the cell holds"
_RULES: Mapping[str, tuple[str, str, Callable[[Step], int]]] = {
    "account": (_WHOLE, "account_pays", lambda s: min(_room(s), s.input_fen)),
    "deductible": (_WHOLE, "deductible", lambda s: min(s.input_fen, _room(s))),
    "deductible-total": (_ANY, "", lambda s: min(s.input_fen, _room(s))),
    "entitlement": (_WHOLE, "entitlement", lambda s: s.input_fen),
    "full-cover": (_WHOLE, "full_cover", lambda s: s.input_fen),
    "fund-share": (_ANY, "share layer_share full_cover", _fund_share),
    "institution-fixed": (_WITHIN, "institution_share", lambda s: max(0, s.input_fen - _room(s))),
    "institution-share": (_WITHIN, "institution_share", _grown),
    "layer-base": (_ANY, "", lambda s: s.input_fen),
    "layer-cap": (_ANY, "cap", lambda s: min(s.input_fen, _room(s))),
    "layer-keeps": (_ANY, "layer_share subsidy", lambda s: max(0, s.input_fen - _rounded(_exact(s.ratio) * _room(s)))),
    "layer-share": (_ANY, "layer_share subsidy person_cap", _grown),
    "over-cap": (_WITHIN, "cap", _over_cap),
    "over-cap-charges": (_WHOLE, "cap", lambda s: max(0, s.input_fen - _room(s))),
    "pooled-fixed": (_WITHIN, "fixed_pooled_amount", lambda s: min(s.limit_fen or 0, s.input_fen, s.output_fen)),
    "pooled-item": (_ANY, "fixed_pooled_amount", lambda s: s.input_fen),
    "pre-self-pay-visit": (_ANY, "pre_self_pay_visit", _grown),
    "relief": (_WITHIN, "", lambda s: s.input_fen),
    "shared": (_ANY, "", lambda s: s.input_fen),
    "standard": (_ANY, "", _standard),
}
"""How each rule looks at the cell it takes from, which kinds of fact say so, and what its output must be."""


class _Audit:
    """One settlement, walked through once with a matrix of our own; `wrong` says what does not hold on the way."""

    def __init__(self, settlement: Settlement, totals: LocalTotals, law: _Law) -> None:
        self._settlement, self._totals, self.wrong, sums = settlement, totals, list[str](), defaultdict[str, int](int)
        self._cells, self._paid = cells, paid = defaultdict[tuple[str, str], int](int), defaultdict[str, int](int)
        for number, step in enumerate(settlement.steps, 1):
            rule, _, _, looked_at, _, amount, segment, payer, to_segment, to_payer, _, _, _, _, _ = step
            there = cells[segment, payer] if segment else 0
            if wrong := _wrong_step(step, there, totals, law):
                self.wrong += [f"step {number} {rule}: {words}" for words in wrong]
            if to_segment:
                cells[to_segment, to_payer] += amount
                paid[to_payer] += amount
            if segment:
                cells[segment, payer] -= amount
                paid[payer] -= amount
            sums[rule] += looked_at if rule == "fund-share" else amount
        self._charged, unshared = sums["deductible"], sums["shared"] - sums["over-cap"] - sums["fund-share"]
        opened = {step.rule: step.output_fen for step in settlement.steps if step.rule in _OPENING}
        if opened != {rule: part for rule, (_, name) in _OPENING.items() if (part := getattr(totals, name))}:
            self.wrong.append(f"the claim opens with {opened}, which is not its totals")
        if unshared < min(0, totals.in_scope_fen) or cells["in_scope", "person"]:
            self.wrong.append("what is shared is not what there was to share")

    def amounts(self, visit_type: VisitType) -> None:
        """The flat amounts and the identities INV-18 to INV-24, from the matrix."""
        cells, paid = {cell: amount for cell, amount in self._cells.items() if amount}, self._paid
        borne = defaultdict[str, int](int)
        for (segment, payer), amount in cells.items():
            borne[segment] += amount if payer == "person" or payer in _PURSES else 0
        account = sum([paid[purse] for purse in _PURSES])
        funds = sum([amount for payer, amount in paid.items() if payer.startswith("fund:")])
        own, share = sum([borne[segment] for segment in _OWN_PAY]), paid["person"] + account
        over_cap = 0 if visit_type in (VisitType.OUTPATIENT, VisitType.PHARMACY) else borne["over_cap"]
        self_pay, pre = share - own - over_cap, borne["pre_self_pay"] + borne["pre_self_pay_visit"]
        expected = (
            self._totals.total_fen, sum(cells.values()), funds, account, min(max(pre, min(0, own)), max(0, own)),
            min(max(borne["deductible"], min(0, self_pay)), max(0, self_pay)), own, self_pay, over_cap,
            paid["institution"], share, paid["person"],
        )  # fmt: skip
        if _stated(self._settlement) != expected:
            both = zip(_STATED, _stated(self._settlement), expected, strict=True)
            self.wrong += [f"{name} is {said}, and it is {amount}" for name, said, amount in both if said != amount]
        if self._settlement.matrix() != cells or len(cells) != len(self._settlement.cells):
            self.wrong.append(f"the matrix is {self._settlement.cells}, and the steps lead to {cells}")

    def movements(self, person: Person, before: Counts, limits: Sequence[tuple[int, str, list[str]]]) -> None:
        """The accumulator entries, from where they stood by what the matrix says; caps and balances gone beyond."""
        if len({entry[0] for entry in self._settlement.entries}) < len(self._settlement.entries):
            self.wrong.append("an accumulator moves twice")
        paid = self._paid
        for key, stood, applied in self._settlement.entries:
            fund, _, what, _, _ = key.split(":")
            expected = paid[f"fund:{fund}"] if what == "fund" else self._charged if what == "deductible" else applied
            if applied != expected or stood != before.get(key, 0):
                self.wrong.append(f"{key}: {stood} {applied:+}, and it is {before.get(key, 0)} {expected:+}")
        for purse, name in _PURSES.items():
            if self._paid[purse] > max(0, getattr(person, name)):
                self.wrong.append(f"{purse} pays {self._paid[purse]} of {getattr(person, name)}")
        for amount, fund, keys in limits:
            earlier = sum([before.get(key, 0) for key in keys]) if self._paid[fund] > 0 else 0
            if self._paid[fund] > max(0, amount - earlier):
                self.wrong.append(f"{fund} pays {self._paid[fund]} after {earlier}, and may pay {amount} in the year")


def _wrong_step(step: Step, there: int, totals: LocalTotals, law: _Law) -> tuple[str, ...]:
    if step.rule in _OPENING:
        opens = (_OPENING[step.rule][0], "person", totals.total_fen)
        return () if (step.to_segment, step.to_payer, step.input_fen) == opens else ("opens another cell",)
    if step.rule not in _RULES:
        return ("an unknown rule",)
    looks, _, rule = _RULES[step.rule]
    wrong, width = law.reading(step)
    if step.rule == "fund-share" and step.input_fen > width:
        wrong += (f"shares {step.input_fen} in a band of {width}",)
    if step.segment and not (0 <= step.output_fen <= there or there <= step.output_fen <= 0):
        wrong += (f"moves {step.output_fen} of a cell that holds {there}",)
    expected = min(rule(step), there) if looks == _WITHIN else rule(step)
    if step.output_fen != expected or (looks == _WHOLE and step.input_fen != there):
        wrong += (f"of {step.input_fen} came to {step.output_fen}, and it is {expected} of a cell of {there}",)
    return wrong


class _Law:
    """The facts of the set a claim was settled under, read for one case."""

    def __init__(self, policy: PolicySet, who: tuple[object, ...], case: Occasion) -> None:
        self._facts = {str(fact): fact for fact in policy.facts}
        self._scheme, self._category, self._servant, rank, groups, age = who
        self._age = age if isinstance(age, int) else -1
        self._case, self._known = case, dict[tuple[str, ...], tuple[tuple[str, ...], int]]()
        named = [f"{name}:{getattr(case, name)}" for name in ("disease", "registration_kind", "medical_type")]
        self._said = {*groups, *case.conditions, f"rank:{rank}", f"institution:{case.institution_code}", *named}  # type: ignore[misc]
        given, derives = self._said, [fact for fact in policy.facts if fact.kind == "condition"]
        for _ in derives:
            says = sorted([fact for fact in derives if self._holds(fact)], key=lambda fact: fact.specificity)
            said = {fact.values["name"]: fact.values["holds"] for fact in says}
            self._said = given | {name for name, holds in said.items() if holds}
        self._follows = any("follows" in fact.values for fact in policy.facts)
        self.limits = list(self._limits(policy))

    def _holds(self, fact: Fact, *, of_any_visit: bool = False) -> bool:
        """Whether the fact is about this person, visit, institution and day, and its conditions hold."""
        case, said = self._case, self._said
        selects = (
            of_any_visit or fact.visits is None or case.visit_type in fact.visits,
            fact.persons is None or self._category in fact.persons,
            fact.levels is None or case.institution_level in fact.levels,
            self._scheme in fact.insured and (fact.scheme != "civil_servant" or self._servant),
            fact.first_day <= case.day and (fact.last_day is None or case.day <= fact.last_day),
            not fact.has_age or (fact.age_from or 0) <= self._age <= (999 if fact.age_to is None else fact.age_to),
            all(any((n.removeprefix("not:") in said) != (n[:4] == "not:") for n in names) for names in fact.conditions),
        )
        return all(selects)

    def reading(self, step: Step) -> tuple[tuple[str, ...], int]:
        """What is wrong with the facts a step names, and what fits into its band; looked at once for each case."""
        asked = (step.rule, step.fact, step.source, step.ratio)
        if (known := self._known.get(asked)) is None:
            facts = [self._facts[name] for name in step.fact.split(", ") if name in self._facts]
            said = [each.values for each in facts if "high" in each.values and each.values.get("basis") != "fund_paid"]
            width = min([each["high"] - each.get("low", 0) for each in said], default=10**15)
            known = self._known[asked] = tuple(self._citation(step, facts)), width
        return known

    def _citation(self, step: Step, facts: Sequence[Fact]) -> Iterator[str]:
        if ", ".join(map(str, facts)) != step.fact:
            yield f"cites {step.fact!r}, which the set does not have"
        yield from (f"{f} does not hold here" for f in facts if not self._holds(f, of_any_visit=self._follows))
        if not set(step.source.split(", ")) <= {fact.source for fact in facts}:
            yield f"names {step.source!r} as source, which its facts do not"
        kinds = _RULES[step.rule][1].split()
        if kinds and not any(fact.kind in kinds for fact in facts):
            yield f"cites {step.fact!r}, none of which says so"
        if step.rule in ("fund-share", "layer-share") and (said := _share_said(facts, self._age)) != _exact(step.ratio):
            yield f"says {step.ratio}, and its facts say {said}"

    def _limits(self, policy: PolicySet) -> Iterator[tuple[int, str, list[str]]]:
        """Caps of the benefit year on a fund's money: the most, the payer, the accumulators that count."""
        scopes: defaultdict[tuple[str, object], list[Fact]] = defaultdict(list)
        day, caps = self._case.day, [fact for fact in policy.facts if fact.kind in ("cap", "cap_add")]
        for fact in [cap for cap in caps if cap.values["per"] == "year"]:
            apart = any(key in fact.values for key in _APART) or "disease:" in str(fact.conditions)
            if fact.values.get("basis", "fund_paid") == "fund_paid" and not apart and self._holds(fact):
                fund = "basic" if fact.scheme in ("any", self._scheme) else fact.scheme
                scopes[fund, fact.visits].append(fact)
        starts = [f.values["starts"] for f in policy.facts if f.kind == "benefit_year" and self._holds(f)]
        year = day.year - ((day.month, day.day) < (starts[0] if starts else policy.year_starts))
        for (fund, _), facts in scopes.items():
            cap = max(facts, key=lambda fact: (fact.kind == "cap", fact.specificity))
            if cap.kind == "cap" and (amount := cap.values.get("amount")) is not None:
                amount += sum([fact.values["amount"] for fact in facts if fact.kind == "cap_add"])
                yield amount, f"fund:{fund}", [f"{fund}:{visit}:fund:-:{year}" for visit in cap.visits or VisitType]


@lru_cache(maxsize=4096)
def _law_for(policy: PolicyBook, version: str, who: tuple[object, ...], case: Occasion) -> _Law | None:
    """The law of a case, read once; None where the book has no such set."""
    return next((_Law(each, who, case) for each in policy.sets if each.version == version), None)


def _share_said(facts: Sequence[Fact], age: int) -> Fraction:
    """What facts come to: (1 - (1 - min(ratio + points, ceiling)) * factor on the person's part) * factor on all."""
    share, factors = 0, {"self_share_factor": Fraction(1), "share_factor": Fraction(1)}
    ceiling = min([fact.values.get("ceiling", _SCALE) for fact in facts], default=_SCALE)
    for kind, said in [(fact.kind, fact.values) for fact in facts]:
        if kind in ("share", "layer_share", "subsidy"):
            share += said["ratio"] if "ratio" in said else _SCALE - said["self_ratio"]
        elif kind in ("share_add", "share_minus_points"):
            years = max(0, age - said["over_age"]) if "over_age" in said else 1
            share += said["add"] * years if kind == "share_add" else -said["add"]
        elif kind in ("full_cover", "person_cap"):
            share += _SCALE - said.get("beyond", 0)
        elif kind in factors:
            factors[kind] = Fraction(said["factor"], _SCALE)
    own, fund = factors.values()
    return (1 - (1 - Fraction(min(max(0, share), ceiling), _SCALE)) * own) * fund
