"""Settling a document as it would be settled for real; nothing is booked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

from domain import benefit
from domain.catalogue import Catalogue
from domain.occasion import policy_day
from domain.policy import PolicyBook, TwoPoliciesInForce
from domain.policy.cases import CATEGORIES
from domain.policy.facts import CaseNotCovered, NoPolicyInForce, PolicySet
from domain.settlement import Occasion, Person, Settlement
from domain.totals import PLAIN, LineRules, LocalTotals
from producers.api.problems import FieldError, Problem
from producers.quote import claim
from producers.quote.accumulated import Accumulated, accumulated
from producers.quote.claim import wrong
from producers.quote.document import OccasionIn, SoundParts, read

NO_CATALOGUE = Catalogue("", (), ())
SCHEMES_ZH = {"employee": "职工", "resident": "城乡居民"}


class CannotQuote(Exception):
    """The document cannot be settled: the sentence says why, the errors say where and with which code."""

    def __init__(self, words: str, errors: Sequence[FieldError] = ()) -> None:
        self.words, self.errors = words, errors
        super().__init__(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """A quote, and all it was computed from."""

    settlement: Settlement
    totals: LocalTotals
    person: Person
    occasion: Occasion
    used: Accumulated
    looked_at: dict[str, int]
    """The accumulators the policy may look at in this case, as they stood: fen, or counts."""
    policy: PolicySet
    unasked: list[str]
    """What the document says of person or visit that no fact of the policy asks for."""


def quote(asked: Mapping[str, Any], policy: PolicyBook, catalogue: Catalogue = NO_CATALOGUE) -> Quoted:
    """Settle a document that is at hand as values. Raises as `quoted` does."""
    return quoted(msgspec.json.encode(asked), policy, catalogue)


def quoted(
    raw: bytes,
    policy: PolicyBook,
    catalogue: Catalogue = NO_CATALOGUE,
    *,
    institution_code: str = "",
    institution_level: int | None = None,
    as_of: date | None = None,
    is_chosen: bool = False,
) -> Quoted:
    """Settle a document; where `as_of` gives a day, as if the visit had ended on it.

    The document may name its policy set; a book that `is_chosen` for it goes before what it names.

    `institution_code` says whose matches of the catalogue count. Raises producers.api.problems.Problem when the form of
    the document is wrong and CannotQuote when its meaning is, each with everything that is wrong with it.
    """
    given, of_form = read(raw)
    errors: list[FieldError] = []
    if as_of is not None:
        _move(given, as_of)
    if not is_chosen:
        policy = _named(given, policy, errors)
    asked = _asked(given, policy, catalogue, errors, code=institution_code, level=institution_level)
    if not of_form and ("lines" in given) == ("totals" in given):
        words = "费用明细 lines 与费用汇总 totals 须给出且只给出一种"
        errors.append({"pointer": "#", "code": "lines-or-totals", "detail": words})
    if of_form:
        raise Problem("content-invalid", errors=[*of_form, *errors])
    if errors or asked is None:
        only_lines = all(error["pointer"].startswith("#/lines/") for error in errors)
        what = "费用明细未通过效验" if only_lines else "内容不符合要求"
        raise CannotQuote(f"有{what}，不能试算", errors)
    return _settled(asked, policy)


def _named(given: SoundParts, policy: PolicyBook, errors: list[FieldError]) -> PolicyBook:
    """The set the document names, or the whole book where it names none."""
    name = given.get("policy")
    if name is None:
        return policy
    sets = [each for each in policy.sets if name in (each.set_id, each.version)]
    if len(sets) == len(policy.sets):
        return policy
    if not sets:
        known = "、".join(each.version for each in policy.sets)
        errors.append(wrong("policy", "no-policy", f"这里没有政策 {name}；现有：{known}"))
        return policy
    return PolicyBook(sets)


def _move(given: SoundParts, as_of: date) -> None:
    """Let the visit end on another day: all its days move together. Raises CannotQuote."""
    visit = given.get("visit")
    if visit is None:
        return
    by = as_of - visit.get("covers_to", visit["visit_date"])
    try:
        visit["visit_date"] += by
        if "covers_to" in visit:
            visit["covers_to"] += by
        if "settled_on" in visit:
            visit["settled_on"] += by
        for line in given.get("lines", ()):
            if line is not None and "charge_date" in line:
                line["charge_date"] += by
    except OverflowError:
        raise CannotQuote("就诊不能移到这一天：日期超出日历") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    totals: LocalTotals
    person: Person
    occasion: Occasion
    used: Accumulated
    keys: tuple[str, ...]
    policy: PolicySet


def _asked(
    given: SoundParts,
    policy: PolicyBook,
    catalogue: Catalogue,
    errors: list[FieldError],
    *,
    code: str,
    level: int | None,
) -> _Asked | None:
    """What the engine is asked with, as far as the sound parts say it; what is wrong with them goes to `errors`."""
    person = claim.person_of(given["person"]) if "person" in given else None
    occasion = claim.occasion_of(given["visit"], errors, code, level) if "visit" in given else None
    if person is None or occasion is None:
        claim.totals_of(given, catalogue, code, PLAIN, errors)
        return None
    occasion = _on_its_day(person, occasion, given["visit"], policy, errors)
    rules = PLAIN if occasion is None else _line_rules(person, occasion, policy, errors)
    totals = claim.totals_of(given, catalogue, code, rules, errors)
    if occasion is None:
        return None
    holding = policy.in_force_on(person.scheme, occasion.day)
    knows = _knows_category(holding, person)
    if not knows:
        known = "、".join(f"{code} {claim.CATEGORIES_ZH[code]}" for code in CATEGORIES[person.scheme])
        words = f"{SCHEMES_ZH[person.scheme]}没有这个人员类别；现有：{known}"
        errors.append(wrong("person/category", "category-unknown", words))
    keys = _looked_at(person, occasion, policy, errors) if knows else ()
    used = accumulated(given.get("accumulators", {}), keys, occasion, errors)
    if totals is None or not knows:
        return None
    return _Asked(totals=totals, person=person, occasion=occasion, used=used, keys=keys, policy=holding)


def _line_rules(person: Person, occasion: Occasion, policy: PolicyBook, errors: list[FieldError]) -> LineRules:
    try:
        return policy.line_rules(
            person.scheme, person.category, occasion.visit_type, occasion.institution_level, occasion.day
        )
    except CaseNotCovered as error:
        errors.extend(_uncovered(error))
        return PLAIN


def _on_its_day(
    person: Person, occasion: Occasion, visit: OccasionIn, policy: PolicyBook, errors: list[FieldError]
) -> Occasion | None:
    """The occasion with the day whose policy counts, which a set covers; as the centre finds it."""
    settled_on = visit.get("settled_on") or occasion.ends or occasion.day
    try:
        day = policy_day(
            policy,
            person.scheme,
            visit_date=occasion.day,
            visit_started=occasion.started,
            covers_to=occasion.ends,
            settled_on=settled_on,
        )
        policy.in_force_on(person.scheme, day)
    except TwoPoliciesInForce:
        versions = "、".join(each.version for each in policy.sets)
        words = f"{settled_on} 有多个待遇政策适用（{versions}），请在 policy 中（或用 --policy）指定其一"
    except NoPolicyInForce:
        words = f"{settled_on} 没有适用于 {SCHEMES_ZH[person.scheme]}（{person.scheme}）的待遇政策"
    else:
        return occasion._replace(day=day)
    errors.append(wrong("visit/visit_date", "no-policy", words))
    return None


def _knows_category(policy: PolicySet, person: Person) -> bool:
    return person.category in CATEGORIES[person.scheme] or any(
        person.category in (fact.persons or ()) for fact in policy.facts
    )


def _looked_at(person: Person, occasion: Occasion, policy: PolicyBook, errors: list[FieldError]) -> tuple[str, ...]:
    """The accumulators the policy looks at in this case; why it has no answer for it goes to `errors`."""
    try:
        policy.rules_of(person, occasion)
    except CaseNotCovered as error:
        errors.extend(_uncovered(error))
    return benefit.accumulator_keys(person, occasion, policy)


def _settled(asked: _Asked, policy: PolicyBook) -> Quoted:
    try:
        settlement = benefit.settle(asked.totals, asked.person, asked.used.amounts, policy, asked.occasion)
    except CaseNotCovered as error:
        raise CannotQuote("现行政策不能结算这种情形", _uncovered(error)) from None
    except benefit.NegativeTotals:
        words = "合计为负，退费须用冲销结算，不能试算"
        raise CannotQuote(words, [wrong("lines", "totals-negative", words)]) from None
    return Quoted(
        settlement=settlement,
        totals=asked.totals,
        person=asked.person,
        occasion=asked.occasion,
        used=asked.used,
        looked_at={key: asked.used.amounts.get(key, 0) for key in asked.keys},
        policy=asked.policy,
        unasked=_unasked(asked),
    )


def _uncovered(error: CaseNotCovered) -> list[FieldError]:
    return [wrong("visit", reason.code.replace("_", "-"), reason.words) for reason in error.reasons]


def _unasked(asked: _Asked) -> list[str]:
    said = asked.person.groups | asked.occasion.conditions
    if asked.occasion.disease:
        said |= {f"disease:{asked.occasion.disease}"}
    if asked.person.rank:
        said |= {f"rank:{asked.person.rank}"}
    return sorted(said - asked.policy.asks_for)
