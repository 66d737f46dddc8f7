"""From a claim to what the engine is asked: the occasion, and the day whose policy counts. Both sites begin here."""

from __future__ import annotations

from datetime import date

from domain.messages import ClaimTotals
from domain.policy import PolicyBook
from domain.settlement import Occasion
from domain.visit import VisitType

NAMED = frozenset({"disease", "registration_kind", "medical_type", "transferred_from"})
"""Conditions of a visit that name something, as "disease:<x>": each is a field of the occasion."""

_VISIT_TYPES = {kind.value: kind for kind in VisitType}
_NONE: frozenset[str] = frozenset()


def policy_day(
    policy: PolicyBook,
    scheme: str,
    *,
    visit_date: date,
    visit_started: date | None,
    covers_to: date | None,
    settled_on: date,
) -> date:
    """The day whose policy counts: of the visit, or for a stay the one the policy says. Raises NoPolicyInForce."""
    if visit_started is None:
        return visit_date
    return policy.day_that_counts(scheme, settled_on=settled_on, started=visit_started, ends=covers_to)


def occasion_of(
    claim: ClaimTotals, policy: PolicyBook, scheme: str, *, institution_level: int, settled_on: date
) -> Occasion:
    """What the benefit of a well-formed claim depends on besides the person. Raises NoPolicyInForce."""
    day = claim.visit_date
    if claim.visit_started is not None:
        day = policy_day(
            policy,
            scheme,
            visit_date=claim.visit_date,
            visit_started=claim.visit_started,
            covers_to=claim.covers_to,
            settled_on=settled_on,
        )
    plain, named = _told_apart(claim.conditions) if claim.conditions else (_NONE, {})
    return Occasion(
        _VISIT_TYPES[claim.visit_type],
        institution_level,
        day,
        claim.institution_code,
        claim.visit_no,
        claim.visit_started,
        claim.covers_to,
        claim.final,
        plain,
        **named,
    )


def _told_apart(conditions: tuple[str, ...]) -> tuple[frozenset[str], dict[str, str]]:
    """The conditions that hold or do not, and those that name something."""
    parts = {condition: condition.partition(":") for condition in conditions}
    named = {name: value for name, _, value in parts.values() if name in NAMED}
    return frozenset(each for each, (name, _, _) in parts.items() if name not in NAMED), named
