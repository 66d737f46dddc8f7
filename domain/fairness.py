"""How one front-end shares its work among its tenants: weighted deficit round robin, and the rule for a noisy one.

Every tenant with claims waiting has a turn in each round (its bell hangs in a queue of its own, and queues are taken
in turn). In its turn it is granted a quantum of work in proportion to its weight; claims are taken while anything of
the grant is left, so the last may overdraw it, and the next grant is less by that. Work is counted in lines, with
something for the claim itself, because a stay of three hundred lines is not a box of aspirin (R37).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

DEFAULT_WEIGHT = 10
CLAIM_IS_WORTH_LINES = 10
"""What a claim costs beside its lines: reading, noting, sending, its share of the commit."""
LINES_OF_A_CLAIM = 20
"""An ordinary claim; the batch of a front-end is meant in these."""
LEAST_QUANTUM = CLAIM_IS_WORTH_LINES + LINES_OF_A_CLAIM
LOWEST = 3
"""A noisy tenant's weight is halved at most this often: it is never zero."""
TURNS_IN_FLIGHT = 4
"""How many full turns of a tenant may be unanswered at the centre: enough to keep the centre busy, short enough that
nobody waits long behind them (R38)."""
NOISY_SHARE, NOISY_IN_FLIGHT = Fraction(1, 10), 30
"""R39: more than this share of the processing time, with at least so many claims handed in and not answered."""
NOISY_TIMES_FAIR, NOISY_TURNS = 2, 2
"""And more than so many times the fair share, and so many full turns waiting: where six hospitals share a front-end
with long turns, a third of the time and thirty claims under way are an ordinary morning."""
CALM_LOOKS = 5
"""After so many looks in a row that found nothing, a lowered weight is raised by one step."""


def work_of(line_count: int) -> int:
    """What a claim of so many lines costs, in lines."""
    return CLAIM_IS_WORTH_LINES + line_count


@dataclass(frozen=True, slots=True)
class Turn:
    """What a tenant may have in one turn."""

    work: int
    """In lines (see `work_of`); nothing is taken where it is zero or less."""
    claims: int
    """At most so many claims, whatever their size."""
    in_flight: int
    """No more is taken while so many of its claims are unanswered at the centre."""


def turn_of(weight: int, lowered: int, *, batch: int) -> Turn:
    """A tenant's share of a round by its weight (1 to 100), halved `lowered` times; `batch`: claims of an ordinary
    tenant's turn. Never nothing."""
    weighed = Fraction(weight, DEFAULT_WEIGHT * 2 ** min(lowered, LOWEST))
    claims = max(1, int(batch * weighed))
    return Turn(max(LEAST_QUANTUM, int(batch * LEAST_QUANTUM * weighed)), claims, TURNS_IN_FLIGHT * claims)


def granted(left: int, quantum: int, *, is_alone: bool) -> int:
    """The work a tenant may have now: its quantum, and what its last turn left or overdrew.

    A tenant that has two turns running is alone: nobody waits, so nobody is owed anything.
    """
    return quantum if is_alone else left + quantum


def left_over(grant: int, used: int, quantum: int, *, more_waits: bool) -> int:
    """What goes into the next round: a debt whole, a rest up to a quantum; nothing when no more claims wait."""
    return min(grant - used, quantum) if more_waits else 0


def takes(grant: int, works: list[int]) -> int:
    """How many of the claims that wait, oldest first, are taken: while anything of the grant is left."""
    taken = 0
    for work in works:
        if grant <= 0:
            break
        grant -= work
        taken += 1
    return taken


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a tenant has behaved: how often its weight is halved, and how many looks in a row found it calm since."""

    lowered: int = 0
    calm: int = 0


def noisy_from(weight: int, *, batch: int) -> int:
    """How many unanswered claims are many for a tenant of this weight."""
    return max(NOISY_IN_FLIGHT, NOISY_TURNS * turn_of(weight, 0, batch=batch).claims)


def is_noisy(*, share: Fraction, fair: Fraction, in_flight: int, many: int = NOISY_IN_FLIGHT) -> bool:
    """Whether a tenant takes more than a tenth of the processing time, more than twice its fair share, and has `many`
    claims waiting (R39). All it takes is fair for the only tenant there is, and for one of two."""
    return share > max(NOISY_SHARE, NOISY_TIMES_FAIR * fair) and in_flight >= many


def judged(before: Conduct, *, share: Fraction, fair: Fraction, in_flight: int, many: int = NOISY_IN_FLIGHT) -> Conduct:
    """One step down for a noisy tenant, one step up after `CALM_LOOKS` calm looks."""
    if is_noisy(share=share, fair=fair, in_flight=in_flight, many=many):
        return Conduct(min(before.lowered + 1, LOWEST), 0)
    if not before.lowered:
        return Conduct()
    if before.calm + 1 >= CALM_LOOKS:
        return Conduct(before.lowered - 1, 0)
    return replace(before, calm=before.calm + 1)


def effective_weight(weight: int, lowered: int) -> Fraction:
    """The weight that counts at the moment; never zero."""
    return Fraction(weight, 2 ** min(lowered, LOWEST))
