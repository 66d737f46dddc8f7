"""The policy book (政策库): the policy sets of one pool, asked for the rules of a case on a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from domain.policy_facts import SCHEMES, Case, NoPolicyInForce, PolicySet, Rules
from domain.policy_rules import compile_rules


class PolicyBook:
    """The policy sets of one pool, and the rules made from them."""

    def __init__(self, sets: Iterable[PolicySet]) -> None:
        self.sets = tuple(sets)
        self._rules: dict[Case, Rules] = {}

    def in_force_on(self, scheme: str, day: date) -> PolicySet:
        """The one set that covers the scheme on the day. Raises NoPolicyInForce."""
        covering = [each for each in self.sets if scheme in SCHEMES and each.covers(scheme, day)]
        if not covering:
            raise NoPolicyInForce(scheme, day)
        if len(covering) > 1:
            raise TwoPoliciesInForce(scheme, day, (each.version for each in covering))
        return covering[0]

    def rules_for(self, case: Case) -> Rules:
        """The rules of the case, made once. Raises NoPolicyInForce or CaseNotCovered."""
        rules = self._rules.get(case)
        if rules is None:
            rules = self._rules[case] = compile_rules(self.in_force_on(case.scheme, case.day), case)
        return rules


class TwoPoliciesInForce(NoPolicyInForce):
    """More than one set covers the day: which of them holds is for the office to say."""

    def __init__(self, scheme: str, day: date, versions: Iterable[str]) -> None:
        Exception.__init__(self, f"scheme {scheme!r} on {day} is covered by {' and by '.join(versions)}")
