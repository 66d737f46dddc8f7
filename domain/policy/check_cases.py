"""What a policy set answers to every case it speaks about: the part of the check that asks the engine itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import groupby

from domain.money import yuan
from domain.policy import PolicyBook
from domain.policy.cases import CATEGORIES, LEVELS, cases, days_of_change, plain_cases
from domain.policy.facts import LAYERS, Case, CaseNotCovered, Fact, NoPolicyInForce, PolicySet
from domain.policy.findings import ERROR, Finding, error, warning
from domain.policy.sweep import Drop, sweep

EXPIRES_WITHIN = timedelta(days=30)

NOT_SPOKEN_OF = "no_share"
"""The reason that says the set does not speak of a case at all."""
NOT_KNOWN = "unknown_amount"
"""The reason that says a document names a value nobody has found; the set says so itself."""
OF_THE_CLAIM = frozenset({
    "unknown_rank", "unknown_age", "unknown_disease", "no_item", "refused", "limit_reached", "split_at_year_end",
})  # fmt: skip
"""Reasons that are the claim's, not the set's."""

SEEN_IN_STEPS = frozenset({
    "cap", "deductible", "full_cover", "layer_share", "person_cap", "pre_self_pay_visit", "self_share_factor", "share",
    "share_add", "share_factor", "share_minus_points", "subsidy", "threshold",
})  # fmt: skip
"""Kinds whose number stands in the steps of a bill they decide, without a second stay, a group of items, a disease."""

OF_NO_CASE = frozenset({"benefit_year", "line_split", "pre_self_pay", "refund", "rounding", "year_end"})
"""Kinds about lines, the calendar, rounding or reversal: the engine says elsewhere when they are missing."""

_ONE_DAY = timedelta(days=1)


def answers(policy: PolicySet, today: date) -> Iterator[Finding]:
    """Cases with two answers or half an answer, gaps in time, facts for nobody, bills that cost less when dearer."""
    asked = _Asked(policy)
    contradictions = [*asked.contradictions(), *asked.gaps()]
    yield from contradictions
    lawful = not any(each.severity == ERROR for each in contradictions)
    yield from (each for each in asked.facts_for_nobody() if lawful or each.severity == ERROR)
    yield from asked.bills()
    yield from _endings(policy, today)


class _Asked:
    """A set that has been asked about all its cases."""

    def __init__(self, policy: PolicySet) -> None:
        self.policy, self.book = policy, PolicyBook([policy])
        self.settled: list[Case] = []
        self.refused: list[tuple[Case, CaseNotCovered]] = []
        for case in cases(policy):
            refusal = self._refusal(case)
            if refusal is None:
                self.settled.append(case)
            elif isinstance(refusal, CaseNotCovered):
                self.refused.append((case, refusal))

    def _refusal(self, case: Case) -> NoPolicyInForce | None:
        try:
            self.book.rules_for(case)
        except NoPolicyInForce as refusal:
            return refusal
        return None

    def contradictions(self) -> Iterator[Finding]:
        """Every reason for which a case is not settled, once, with the first case that shows it."""
        told: set[tuple[object, ...]] = set()
        for case, refusal in self.refused:
            silent = any(reason.code == NOT_SPOKEN_OF for reason in refusal.reasons)
            for reason in refusal.reasons:
                if reason.code in OF_THE_CLAIM or (silent and reason.code != NOT_SPOKEN_OF):
                    continue
                if silent and not self._looks_forgotten(case):
                    continue
                about = (reason.code, reason.facts) if reason.facts else (reason.code, case.scheme, case.visit_type)
                if about in told:
                    continue
                told.add(about)
                found = warning if reason.code in (NOT_SPOKEN_OF, NOT_KNOWN) else error
                yield found(reason.code.replace("_", "-"), reason.words, *reason.facts, case=case)

    def _looks_forgotten(self, case: Case) -> bool:
        """Whether the set settles such visits for others of the scheme on that day."""
        return not case.holds and any(
            self._refusal(case._replace(category=category, institution_level=level)) is None
            for category in CATEGORIES[case.scheme]
            for level in LEVELS
        )

    def gaps(self) -> Iterator[Finding]:
        """Days between two stretches that are settled, on which the same case is not."""
        told = set()
        every = sorted(
            plain_cases(self.policy, days_of_change(self.policy.facts)), key=lambda case: (_who(case), case.day)
        )
        for who, stretch in groupby(every, key=_who):
            settled_before, gap = False, None
            for case in stretch:
                if self._refusal(case) is not None:
                    gap = gap or (case if settled_before else None)
                    continue
                if gap is not None and (who[0], who[3], gap.day) not in told:
                    told.add((who[0], who[3], gap.day))
                    words = f"{gap.day} 至 {case.day - _ONE_DAY} 没有规定，前后都有"
                    yield error("gap-in-time", words, case=gap)
                settled_before, gap = True, None

    def facts_for_nobody(self) -> Iterator[Finding]:
        """Facts that hold in no case, and facts that hold only where the set settles nothing."""
        for fact in self.policy.facts:
            if fact.kind in OF_NO_CASE:
                continue
            if any(_holds(fact, case) for case in self.settled):
                continue
            if any(_holds(fact, case) for case, _ in self.refused):
                yield warning("no-effect", "这一条只涉及本政策不能结算的情形", fact.number)
            else:
                yield error("for-nobody", "没有任何人、就诊或日期适用这一条", fact.number)

    def bills(self) -> Iterator[Finding]:
        """Facts no bill reaches, and borders at which a dearer bill costs the person less."""
        reached: set[int] = set()
        dropped: set[tuple[int, ...]] = set()
        for case in self.settled:
            swept = sweep(case, self.book, [fact for fact in self.policy.facts if _holds(fact, case)])
            reached |= swept.facts
            for drop in swept.drops:
                if drop.facts not in dropped:
                    dropped.add(drop.facts)
                    yield _dearer(drop, case)
        for fact in self.policy.facts:
            if fact.kind not in SEEN_IN_STEPS or fact.number in reached or _says_nothing(fact):
                continue
            shown = next((case for case in self.settled if _holds(fact, case) and self._at_counter(fact, case)), None)
            if shown is not None:
                words = "任何金额的费用都到不了这一条：它总被别的条款取代，或落在别的界限之后"
                yield error("unreachable", words, fact.number, case=shown)

    def _at_counter(self, fact: Fact, case: Case) -> bool:
        """Whether the counter settles the layer the fact is about."""
        return fact.scheme not in LAYERS or any(layer.fund == fact.scheme for layer in self.book.rules_for(case).layers)


def _who(case: Case) -> tuple[str, str, bool, str, int]:
    return (case.scheme, case.category, case.civil_servant, case.visit_type.value, case.institution_level)


def _holds(fact: Fact, case: Case) -> bool:
    return fact.concerns(case) and fact.holds(case.holds, case.age)


def _says_nothing(fact: Fact) -> bool:
    """A fact that says there is none, such as a deductible of 0.00 or no cap, or that is about a group of items."""
    return bool(fact.values.get("item")) or not any(
        fact.values.get(key) for key in ("amount", "ratio", "self_ratio", "keeps", "add", "factor", "covers")
    )


def _dearer(drop: Drop, case: Case) -> Finding:
    words = (
        f"范围内 {yuan(drop.bill_fen)} 元时个人负担 {yuan(drop.person_fen)} 元，"
        f"多到 {yuan(drop.dearer_bill_fen)} 元时反而只负担 {yuan(drop.dearer_person_fen)} 元"
    )
    return Finding(
        severity=ERROR,
        code="dearer-pays-less",
        words=words,
        facts=drop.facts,
        case=case,
        bills_fen=(drop.bill_fen, drop.dearer_bill_fen),
    )


def _endings(policy: PolicySet, today: date) -> Iterator[Finding]:
    """Facts that end within 30 days with none of their kind behind them."""
    for fact in policy.facts:
        if fact.last_day is None or not today <= fact.last_day <= today + EXPIRES_WITHIN:
            continue
        next_day = fact.last_day + _ONE_DAY
        if not any(
            other.kind == fact.kind and other.scheme == fact.scheme and other.first_day == next_day
            for other in policy.facts
        ):
            yield warning("expires", f"{fact.last_day} 到期，之后没有同类条款接续", fact.number)
