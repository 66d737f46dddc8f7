"""How a window's budget is shared out (上传份额): by class of institution, then evenly within the class.

A class has the share of the city's business that section 3.1 gives it (62, 27, 7 and 4 percent), among the classes of
which somebody has detail to send. What an office finds unfair it weighs: an institution, or a whole front-end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from domain.institution_class import CLASSES, Size
from domain.messages import UploadShare
from domain.pace import Budget

USUAL_WEIGHT = 100
MOST_WEIGHT = 1000

DEFAULT_CLASS_SHARES: Mapping[str, int] = {size: class_.business_percent for size, class_ in CLASSES.items()}


class Member(NamedTuple):
    """An institution with detail to send, and the front-end that holds it."""

    institution_code: str
    frontend: str
    size: str
    due_lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The office's shares: of classes in percent of each other, weights of institutions and front-ends in percent."""

    classes: Mapping[str, int] = field(default_factory=lambda: DEFAULT_CLASS_SHARES)
    institutions: Mapping[str, int] = field(default_factory=dict)
    frontends: Mapping[str, int] = field(default_factory=dict)

    def weights(self, members: Sequence[Member]) -> list[int]:
        """What each member weighs against the others."""
        of_class = Counter(member.size for member in members)
        many = 1
        for count in of_class.values():
            many *= count
        return [
            max(1, self.classes.get(member.size, self.classes[Size.SMALL]) * many // of_class[member.size])
            * self.institutions.get(member.institution_code, USUAL_WEIGHT)
            * self.frontends.get(member.frontend, USUAL_WEIGHT)
            for member in members
        ]

    def split(self, budget: Budget, members: Sequence[Member]) -> dict[Member, Budget]:
        """Each member's part of the budget, whole lines and bytes; together never more than the budget."""
        weights = self.weights(members)
        whole = sum(weights)
        return {member: budget.part(weight, whole) for member, weight in zip(members, weights, strict=True)}


def by_frontend(parts: Mapping[Member, Budget]) -> dict[str, Budget]:
    """The parts of each front-end's institutions, together."""
    together: dict[str, Budget] = {}
    for member, part in parts.items():
        together[member.frontend] = together.get(member.frontend, Budget(0, 0)).plus(part)
    return together


def lines_of(quota: Budget, members: Iterable[Member], parts: Mapping[Member, Budget]) -> tuple[UploadShare, ...]:
    """A front-end's slice by institution, in lines, as its members' parts stand to each other; at least one each."""
    own = list(members)
    whole = sum(parts[member].lines for member in own)
    if len(own) < 2 or whole <= 0:
        return ()
    return tuple(
        UploadShare(member.institution_code, max(1, quota.lines * parts[member].lines // whole)) for member in own
    )
