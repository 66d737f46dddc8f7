"""Which facts hold for a case (适用条款): of one kind and one scope, the most special ones.

A fact that names conditions goes before one that names fewer. Two equally special facts contradict each other; a case
they contradict in is refused with every reason, never settled by guess.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from domain.policy.facts import BASIC, LAYERS, Case, Fact, PolicySet, Reason
from domain.policy.rules import Cited

NOT_OF_A_SETTLEMENT = frozenset({"pre_self_pay", "line_split", "refund"})
"""What these say is said to the line split, or when something is given back."""


class Selection:
    """The facts that hold for one case, and the reasons why they do not settle it."""

    def __init__(self, policy: PolicySet, case: Case) -> None:
        self.policy, self.case = policy, case
        self.reasons: list[Reason] = []
        concerned = [fact for fact in policy.facts if fact.kind not in NOT_OF_A_SETTLEMENT and fact.concerns(case)]
        self.holds = self._derived(concerned)
        self._facts: defaultdict[tuple[str, str], list[Fact]] = defaultdict(list)
        for fact in concerned:
            if fact.kind != "condition" and self._in_play(fact):
                self._facts[_layer_of(fact), fact.kind].append(fact)
        self.counter = self.one("settled_at_counter", "柜台结算层次")

    def all(self, kind: str, layer: str = BASIC) -> list[Fact]:
        """Every fact of the kind that holds."""
        return self._facts.get((layer, kind), [])

    def best(self, kind: str, layer: str = BASIC) -> list[Fact]:
        """The most special facts of the kind."""
        return most_special(self.all(kind, layer))

    def one(self, kind: str, what: str, layer: str = BASIC) -> Fact | None:
        """The one most special fact of the kind, if there is any."""
        return self.only(self.best(kind, layer), what)

    def only(self, facts: list[Fact], what: str) -> Fact | None:
        """The one fact of these; more of them contradict."""
        if len(facts) > 1:
            self.refuse("two_facts", f"{'、'.join(map(str, facts))} 对同一情形有不同规定（{what}）", *facts)
        return facts[0] if facts else None

    def known(self, fact: Fact, key: str, what: str) -> int:
        """The value of an amount or ratio; an empty one is known to exist and not known."""
        value = fact.values.get(key)
        if value is None:
            self.refuse("unknown_amount", f"{fact} 的{what}未知，政策中尚待填写", fact)
            return 0
        return int(value)

    def refuse(self, code: str, words: str, *facts: Fact) -> None:
        """Say why the case is not settled."""
        reason = Reason(code, tuple(fact.number for fact in facts), words)
        if reason not in self.reasons:
            self.reasons.append(reason)

    def settles(self, layer: str) -> bool:
        """Whether the counter settles the layer."""
        return self.counter is None or layer in self.counter.values["layers"]

    def _in_play(self, fact: Fact) -> bool:
        """Whether the fact's conditions hold. What must be known for that, and is not, refuses the case."""
        if fact.asks_age and self.case.age is None:
            self.refuse("unknown_age", f"{fact} 与年龄有关，但参保人年龄不详", fact)
            return False
        asks_rank = any(names[0].startswith("rank:") for names in fact.conditions)
        if asks_rank and self.case.civil_servant and not any(name.startswith("rank:") for name in self.holds):
            self.refuse("unknown_rank", f"{fact} 与职级有关，但公务员职级不详", fact)
            return False
        return fact.holds(self.holds, self.case.age)

    def _derived(self, concerned: list[Fact]) -> frozenset[str]:
        """The conditions of the case, and those `condition` facts derive from them."""
        holds = self.case.holds
        rules = [fact for fact in concerned if fact.kind == "condition"]
        for _ in range(len(rules)):
            by_name: defaultdict[str, list[Fact]] = defaultdict(list)
            for fact in rules:
                if fact.holds(holds, self.case.age):
                    by_name[fact.values["name"]].append(fact)
            derived = set(self.case.holds)
            for name, facts in by_name.items():
                said = most_special(facts)
                if len({fact.values["holds"] for fact in said}) > 1:
                    self.refuse("two_facts", f"{'、'.join(map(str, said))} 对条件 {name} 有不同规定", *said)
                if said[0].values["holds"]:
                    derived.add(name)
            if derived == holds:
                break
            holds = frozenset(derived)
        return holds


def most_special(facts: Iterable[Fact]) -> list[Fact]:
    """Those of the facts that name the most conditions."""
    listed = list(facts)
    if len(listed) < 2:
        return listed
    most = max([fact.specificity for fact in listed])
    return [fact for fact in listed if fact.specificity == most]


def cited(*facts: Fact | None) -> Cited:
    """The facts a rule is made of, and their sources, once each."""
    named = [fact for fact in facts if fact is not None]
    return Cited(", ".join(map(str, named)), ", ".join(dict.fromkeys(fact.source for fact in named)))


def _layer_of(fact: Fact) -> str:
    return fact.scheme if fact.scheme in LAYERS else BASIC
