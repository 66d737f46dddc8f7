"""The second opinion (复核): a settlement is recomputed from its steps, the facts they cite and what went in.

This file shares no code with the engine, only values: it has its own arithmetic and its own reading of a fact. The
grammar it reads is that of `domain.settlement`; every formula there stands here once more. The centre checks each
settlement before it commits and settles nothing that does not check.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from domain.policy import PolicyBook
from domain.policy.facts import Fact, PolicySet
from domain.settlement import Occasion, Person, Settlement, Step
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


def _rounded(amount: Fraction | int, rest: str = "") -> int:
    """Half up, away from zero, unless who takes the rest (`fund down`, `person up`) says another way."""
    size, part = divmod(abs(amount.numerator), amount.denominator)
    more = {"down": False, "up": part > 0}.get(rest.partition(" ")[2], 2 * part >= amount.denominator)
    return size + more if amount >= 0 else -size - more


def _grown(step: Step, ratio: Fraction | None = None) -> int:
    """What rounding the sum adds when its ratio of the input joins what was carried: round(c + r x) - round(c)."""
    part = (_exact(step.ratio) if ratio is None else ratio) * (_exact(step.exact) or step.input_fen)
    carried = _exact(step.carry)
    return _rounded(carried + part, step.rest) - _rounded(carried, step.rest) if carried else _rounded(part, step.rest)


def _fund_share(step: Step) -> int:
    if step.limit_fen is not None:
        return step.limit_fen
    return step.input_fen - _grown(step, 1 - _exact(step.ratio)) if step.rest.startswith("fund") else _grown(step)


def _over_cap(step: Step) -> int:
    """input - (limit + d) / ratio, within the input; d is what rounding the carried sum has given already."""
    ratio, carried = _exact(step.ratio), _exact(step.carry)
    given = _rounded(carried, step.rest) - carried
    covered = max(Fraction(0), _limit(step) + (given if step.rest.startswith("person") else -given))
    over = _rounded((_exact(step.exact) or step.input_fen) - covered / ratio) if ratio else 0
    return max(0, min(over, step.input_fen))


def _standard(step: Step) -> int:
    if step.before_fen:
        return max(_limit(step), step.input_fen - step.before_fen)
    return _grown(step) if step.ratio else step.input_fen + _limit(step) if _limit(step) else step.output_fen


def _limit(step: Step) -> int:
    return step.limit_fen or 0


def _room(step: Step) -> int:
    return max(0, _limit(step) - step.before_fen)


_ANY, _WHOLE, _WITHIN = "takes what it works out", "looks at the whole cell", "takes no more than the cell holds"
_RULES: Mapping[str, tuple[str, str, Callable[[Step], int]]] = {
    "account": (_WHOLE, "account_pays", lambda s: min(_limit(s), s.input_fen)),
    "deductible": (_WHOLE, "deductible", lambda s: min(s.input_fen, _room(s))),
    "deductible-total": (_ANY, "", lambda s: min(s.input_fen, _room(s))),
    "entitlement": (_WHOLE, "entitlement", lambda s: s.input_fen),
    "full-cover": (_WHOLE, "full_cover", lambda s: s.input_fen),
    "fund-share": (_ANY, "share layer_share full_cover", _fund_share),
    "institution-fixed": (_WITHIN, "institution_share", lambda s: max(0, s.input_fen - _room(s))),
    "institution-share": (_WITHIN, "institution_share", _grown),
    "layer-base": (_ANY, "", lambda s: s.input_fen),
    "layer-cap": (_ANY, "cap", lambda s: min(s.input_fen, _limit(s))),
    "layer-keeps": (_ANY, "layer_share subsidy", lambda s: max(0, s.input_fen - _rounded(_exact(s.ratio) * _limit(s)))),
    "layer-share": (_ANY, "layer_share subsidy person_cap", _grown),
    "over-cap": (_WITHIN, "cap", _over_cap),
    "over-cap-charges": (_WHOLE, "cap", lambda s: max(0, s.input_fen - _room(s))),
    "pooled-fixed": (_WITHIN, "fixed_pooled_amount", lambda s: min(_limit(s), s.input_fen, s.output_fen)),
    "pooled-item": (_ANY, "fixed_pooled_amount", lambda s: s.input_fen),
    "pre-self-pay-visit": (_ANY, "pre_self_pay_visit", _grown),
    "relief": (_WITHIN, "", lambda s: s.input_fen),
    "shared": (_ANY, "", lambda s: s.input_fen),
    "standard": (_ANY, "", lambda s: _standard(s)),
}
"""How each rule looks at the cell it takes from, which kinds of fact say so, and what its output must be."""


class _Audit:
    """One settlement, walked through once with a matrix of our own; `wrong` says what does not hold on the way."""

    def __init__(self, settlement: Settlement, totals: LocalTotals, law: _Law) -> None:
        self._settlement, self._totals = settlement, totals
        self.wrong: list[str] = []
        self._cells: defaultdict[tuple[str, str], int] = defaultdict(int)
        unshared = 0
        for number, step in enumerate(settlement.steps, 1):
            there = self._cells[step.segment, step.payer] if step.segment else 0
            unshared += step.output_fen if step.rule == "shared" else 0
            unshared -= {"fund-share": step.input_fen, "over-cap": step.output_fen}.get(step.rule, 0)
            self.wrong += [f"step {number} {step.rule}: {words}" for words in _wrong_step(step, there, totals, law)]
            if step.to_segment:
                self._cells[step.to_segment, step.to_payer] += step.output_fen
            if step.segment:
                self._cells[step.segment, step.payer] -= step.output_fen
        self._paid: defaultdict[str, int] = defaultdict(int)
        for (_, payer), amount in self._cells.items():
            self._paid[payer] += amount
        opened = {step.rule: step.output_fen for step in settlement.steps if step.rule in _OPENING}
        if opened != {rule: part for rule, (_, name) in _OPENING.items() if (part := getattr(totals, name))}:
            self.wrong.append(f"the claim opens with {opened}, which is not its totals")
        if unshared < min(0, totals.in_scope_fen) or self._cells["in_scope", "person"]:
            self.wrong.append("what is shared is not what there was to share")

    def amounts(self, visit_type: VisitType) -> None:
        """The flat amounts and the identities INV-18 to INV-24, from the matrix."""
        cells, paid = {cell: amount for cell, amount in self._cells.items() if amount}, self._paid
        borne: defaultdict[str, int] = defaultdict(int)
        for (segment, payer), amount in cells.items():
            borne[segment] += amount if payer in ("person", *_PURSES) else 0
        account = sum([paid[purse] for purse in _PURSES])
        funds = sum([amount for payer, amount in paid.items() if payer.startswith("fund:")])
        own, share = sum([borne[segment] for segment in _OWN_PAY]), paid["person"] + account
        over_cap = 0 if visit_type in (VisitType.OUTPATIENT, VisitType.PHARMACY) else borne["over_cap"]
        self_pay, pre = share - own - over_cap, sum([borne[segment] for segment in _OWN_PAY[2:]])
        expected = (
            ("total_fen", self._totals.total_fen), ("total_fen", sum(cells.values())), ("fund_pay_fen", funds),
            ("account_pay_fen", account), ("institution_share_fen", paid["institution"]), ("own_pay_fen", own),
            ("self_pay_fen", self_pay), ("over_cap_fen", over_cap), ("person_share_fen", share),
            ("cash_fen", paid["person"]), ("pre_self_pay_fen", min(max(pre, min(0, own)), max(0, own))),
            ("deductible_fen", min(max(borne["deductible"], min(0, self_pay)), max(0, self_pay))),
        )  # fmt: skip
        stated = [(name, getattr(self._settlement, name), amount) for name, amount in expected]
        self.wrong += [f"{name} is {said}, and it is {amount}" for name, said, amount in stated if said != amount]
        matrix = self._settlement.matrix()
        if matrix != cells or len(cells) != len(self._settlement.cells):
            self.wrong.append(f"the matrix is {self._settlement.cells}, and the steps lead to {cells}")

    def movements(self, person: Person, before: Counts, limits: Sequence[tuple[int, str, list[str]]]) -> None:
        """The accumulator entries, from where they stood by what the matrix says; caps and balances gone beyond."""
        entries = self._settlement.entries
        charged = sum([step.output_fen for step in self._settlement.steps if step.rule == "deductible"])
        if len({entry.key for entry in entries}) < len(entries):
            self.wrong.append("an accumulator moves twice")
        for key, stood, applied in entries:
            fund, _, what, _, _ = key.split(":")
            expected = {"fund": self._paid[f"fund:{fund}"], "deductible": charged}.get(what, applied)
            if (stood, applied) != (before.get(key, 0), expected):
                self.wrong.append(f"{key}: {stood} {applied:+}, and it is {before.get(key, 0)} {expected:+}")
        for purse, name in _PURSES.items():
            if self._paid[purse] > getattr(person, name):
                self.wrong.append(f"{purse} pays {self._paid[purse]} of {getattr(person, name)}")
        for amount, fund, keys in limits:
            earlier = sum([before.get(key, 0) for key in keys])
            if self._paid[fund] > max(0, amount - earlier):
                self.wrong.append(f"{fund} pays {self._paid[fund]} after {earlier}, and may pay {amount} in the year")


def _wrong_step(step: Step, there: int, totals: LocalTotals, law: _Law) -> list[str]:
    if step.rule in _OPENING:
        opens = (_OPENING[step.rule][0], "person", totals.total_fen)
        return [] if (step.to_segment, step.to_payer, step.input_fen) == opens else ["opens another cell"]
    if step.rule not in _RULES:
        return ["an unknown rule"]
    looks, _, rule = _RULES[step.rule]
    wrong = [*law.wrong_citation(step)]
    if step.rule == "fund-share" and step.input_fen > law.width(step.fact):
        wrong.append(f"shares {step.input_fen} in a band of {law.width(step.fact)}")
    if step.segment and not min(0, there) <= step.output_fen <= max(0, there):
        wrong.append(f"moves {step.output_fen} of a cell that holds {there}")
    expected = min(rule(step), there) if looks == _WITHIN else rule(step)
    if step.output_fen != expected or (looks == _WHOLE and step.input_fen != there):
        wrong.append(f"of {step.input_fen} came to {step.output_fen}, and it is {expected} of a cell of {there}")
    return wrong


class _Law:
    """The facts of the set a claim was settled under, read for one case."""

    def __init__(self, policy: PolicySet, who: tuple[object, ...], case: Occasion) -> None:
        self._facts = {str(fact): fact for fact in policy.facts}
        self._scheme, self._category, self._servant, rank, groups, age = who
        self._age = age if isinstance(age, int) else -1
        self._case, self._known = case, dict[tuple[str, ...], list[str]]()
        named = [f"{name}:{getattr(case, name)}" for name in ("disease", "registration_kind", "medical_type")]
        self._said = {*groups, *case.conditions, f"rank:{rank}", f"institution:{case.institution_code}", *named}  # type: ignore[misc]
        derives = [fact for fact in policy.facts if fact.kind == "condition" and fact.values["holds"]]
        for _ in derives:
            self._said |= {fact.values["name"] for fact in derives if self._holds(fact)}
        self._follows = any("follows" in fact.values for fact in policy.facts)
        self.limits = list(self._limits(policy))

    def _holds(self, fact: Fact, *, of_any_visit: bool = False) -> bool:
        """Whether the fact is about this person, visit, institution and day, and its conditions hold."""
        selects = (
            of_any_visit or fact.visits is None or self._case.visit_type in fact.visits,
            fact.persons is None or self._category in fact.persons,
            fact.levels is None or self._case.institution_level in fact.levels,
            self._scheme in fact.insured and (fact.scheme != "civil_servant" or self._servant),
            fact.first_day <= self._case.day and (fact.last_day is None or self._case.day <= fact.last_day),
            not fact.has_age or (fact.age_from or 0) <= self._age <= (999 if fact.age_to is None else fact.age_to),
        )
        return all(selects) and all(any(map(self._is_said, names)) for names in fact.conditions)

    def _is_said(self, name: str) -> bool:
        return name[4:] not in self._said if name.startswith("not:") else name in self._said

    def wrong_citation(self, step: Step) -> list[str]:
        """What is wrong with the facts a step names; looked at once for each case."""
        asked = (step.rule, step.fact, step.source, step.ratio)
        if asked not in self._known:
            self._known[asked] = list(self._citation(step))
        return self._known[asked]

    def _citation(self, step: Step) -> Iterator[str]:
        facts = [self._facts[name] for name in step.fact.split(", ") if name in self._facts]
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

    def width(self, cited: str) -> int:
        """What fits into the band of the share facts cited; without end where a border is open, or fund money."""
        said = [self._facts[name].values for name in cited.split(", ") if name in self._facts]
        ends = [each for each in said if "high" in each and each.get("basis") != "fund_paid"]
        return min([each["high"] - each.get("low", 0) for each in ends], default=10**15)

    def _limits(self, policy: PolicySet) -> Iterator[tuple[int, str, list[str]]]:
        """Caps of the benefit year on a fund's money: the most, the payer, the accumulators that count."""
        scopes: defaultdict[tuple[str, object], list[Fact]] = defaultdict(list)
        for fact in policy.facts:
            more = fact.kind == "cap_add" and fact.values["per"] == "year"
            if more or (fact.kind == "cap" and (fact.values["per"], fact.values["basis"]) == ("year", "fund_paid")):
                apart = any(key in fact.values for key in _APART) or "disease:" in str(fact.conditions)
                if not apart and self._holds(fact):
                    fund = "basic" if fact.scheme in ("any", self._scheme) else fact.scheme
                    scopes[fund, fact.visits].append(fact)
        starts = [f.values["starts"] for f in policy.facts if f.kind == "benefit_year" and self._holds(f)]
        day = self._case.day
        year = day.year - ((day.month, day.day) < (starts[0] if starts else policy.year_starts))
        for (fund, _), caps in scopes.items():
            cap = max(caps, key=lambda fact: (fact.kind == "cap", fact.specificity))
            if cap.kind == "cap" and (amount := cap.values.get("amount")) is not None:
                amount += sum([fact.values["amount"] for fact in caps if fact.kind == "cap_add"])
                yield amount, f"fund:{fund}", [f"{fund}:{visit}:fund:-:{year}" for visit in cap.visits or VisitType]


@lru_cache(maxsize=4096)
def _law_for(policy: PolicyBook, version: str, who: tuple[object, ...], case: Occasion) -> _Law | None:
    """The law of a case, read once; None where the book has no such set."""
    return next((_Law(each, who, case) for each in policy.sets if each.version == version), None)


def _share_said(facts: Sequence[Fact], age: int) -> Fraction:
    """What facts come to: (1 - (1 - min(ratio + points, ceiling)) * factor on the person's part) * factor on all."""
    share, own_factor, fund_factor = 0, Fraction(1), Fraction(1)
    ceiling = min([fact.values.get("ceiling", _SCALE) for fact in facts], default=_SCALE)
    for fact in facts:
        said = fact.values
        if fact.kind in ("share", "layer_share", "subsidy"):
            share += said["ratio"] if "ratio" in said else _SCALE - said["self_ratio"]
        elif fact.kind in ("share_add", "share_minus_points"):
            years = max(0, age - said["over_age"]) if "over_age" in said else 1
            share += said["add"] * years if fact.kind == "share_add" else -said["add"]
        elif fact.kind in ("full_cover", "person_cap"):
            share += _SCALE - said.get("beyond", 0)
        elif fact.kind == "self_share_factor":
            own_factor = Fraction(said["factor"], _SCALE)
        elif fact.kind == "share_factor":
            fund_factor = Fraction(said["factor"], _SCALE)
    return (1 - (1 - Fraction(min(max(0, share), ceiling), _SCALE)) * own_factor) * fund_factor
