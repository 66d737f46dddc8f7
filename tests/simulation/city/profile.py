"""What a seed is like: how much of everything, and how often what goes wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime

from infra.clock import SHANGHAI
from tests.simulation.city import town

MORNINGS = (
    datetime(2026, 3, 2, 9, 30, tzinfo=SHANGHAI),
    datetime(2026, 3, 2, 23, 57, tzinfo=SHANGHAI),
    datetime(2026, 12, 31, 23, 56, tzinfo=SHANGHAI),
    datetime(2026, 4, 30, 21, 0, tzinfo=SHANGHAI),
)
"""An ordinary morning, a midnight, the end of a benefit year, the end of a month."""


@dataclass(slots=True)
class Profile:
    """The dice of one seed, thrown once; rates are per occasion, times in simulated seconds."""

    starts_at: datetime
    operations: int
    """Of each client."""
    safety_seconds: float
    latency_seconds: float
    statement_seconds: float
    """The longest a statement takes: where it is long, transactions meet each other."""
    message_faults: float
    window_loss: float
    longest_delay_seconds: float
    crash: float
    """Per point at which a process may die: a statement, before and after a commit, a message sent, taken, answered."""
    database_faults: float
    """Per statement: the connection breaks."""
    commit_faults: float
    """Per commit: the connection breaks before it, or after it, and nobody hears which."""
    nemesis_every: float
    visibility_seconds: float
    skew_seconds: float
    second_desk: bool
    second_beat: bool
    operators: bool
    closes_month: bool
    """When all is healed, the calendar goes on for as long as it takes to close the periods."""
    rushes: bool
    """All institutions hand in claims of the same persons at one moment, before anything else."""
    restores: bool
    """The centre is restored from a backup in the middle of everything."""
    connects: bool
    """Ways, weights, lanes and windows change, institutions are suspended and move."""
    publishes: bool
    """A policy is published, and comes into force at midnight."""
    offline_fen: int
    """0, or what an account may pay at a counter whose link is down: the links of both front-ends go down for minutes,
    and institutions at both settle off-line what was leased to them."""
    parts: bool = False
    """A very large hospital is served by both front-ends for a while, each with its part of the visit numbers."""
    accounts: bool = False
    """Prepared claims are decided in the place of their institutions, settlements deducted from, clearings paid and
    taken back."""
    floods: str = ""
    """The institution whose claims come in bursts, and which is moved in the middle of them; empty: none."""

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.message_faults = self.window_loss = self.crash = self.database_faults = self.commit_faults = 0.0
        self.operators = self.restores = False  # `connects` stays: what has begun goes on


def of_seed(seed: int, dice: random.Random) -> Profile:
    """The profile of a seed, from its dice; whether a hospital has two front-ends, who floods, and whether there are
    accountants, apart from them."""
    profile = drawn(dice)
    flood = random.Random(f"floods {seed}")
    if profile.connects and flood.random() < 0.3:
        profile.floods = flood.choice(town.CODES)
    profile.parts = profile.connects and not profile.restores and random.Random(f"parts {seed}").random() < 0.3
    profile.accounts = random.Random(f"accountants {seed}").random() < 0.4
    if profile.parts:  # a front-end comes and goes, each in its own time
        profile.safety_seconds += 60.0
        profile.operations = max(profile.operations, 4)
    return profile


def drawn(dice: random.Random, *, operations: int = 0) -> Profile:
    """The profile of a seed: every kind of fault is absent, rare or frequent, independently."""

    def rate(rare: float, frequent: float) -> float:
        return dice.choice((0.0, rare, rare, frequent))

    profile = Profile(
        starts_at=dice.choice(MORNINGS),
        operations=operations or dice.choice((1, 1, 2, 2, 3, 6)),
        safety_seconds=dice.choice((dice.uniform(20.0, 50.0), dice.uniform(40.0, 90.0))),
        latency_seconds=dice.choice((0.002, 0.02, 0.3)),
        statement_seconds=dice.choice((0.001, 0.02, 0.2)),
        message_faults=rate(0.05, 0.25),
        window_loss=rate(0.02, 0.2),
        longest_delay_seconds=dice.choice((1.0, 20.0, 90.0)),
        crash=rate(0.001, 0.006),
        database_faults=rate(0.0005, 0.004),
        commit_faults=rate(0.02, 0.1),
        nemesis_every=dice.choice((8.0, 20.0, 1e9)),
        visibility_seconds=dice.choice((15.0, 60.0, 300.0)),
        skew_seconds=rate(2.0, 40.0),
        second_desk=dice.random() < 0.4,
        second_beat=dice.random() < 0.4,
        operators=dice.random() < 0.7,
        closes_month=dice.random() < 0.15,
        rushes=dice.random() < 0.2,
        restores=dice.random() < 0.12,
        connects=dice.random() < 0.4,
        publishes=dice.random() < 0.3,
        offline_fen=dice.choice((*[0] * 18, 4_000, 40_000)),
    )
    if profile.offline_fen:  # counters need time to notice that their link is down, and customers meanwhile
        profile.safety_seconds += 60.0
        profile.operations = max(profile.operations, 5)
    return profile
