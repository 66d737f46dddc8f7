"""Figures over the day: what was seen second by second, put into steps of the business clock."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

STEPS = 78
"""About so many steps a day has: ten minutes each of thirteen hours."""
NICE_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@dataclass(frozen=True, slots=True)
class Steps:
    """Equal steps of the business day, in seconds of the day."""

    begins: float
    seconds: float
    count: int

    @property
    def edges(self) -> list[float]:
        """Where each begins, and the last ends."""
        return [self.begins + number * self.seconds for number in range(self.count + 1)]

    def of(self, second: float) -> int:
        """The step a moment falls into; outside the day: the first or the last."""
        return min(max(int((second - self.begins) // self.seconds), 0), self.count - 1)

    def hours(self) -> list[float]:
        """Hours of the day at the middle of each step, for an axis."""
        return [round((edge + self.seconds / 2) / 3600, 4) for edge in self.edges[:-1]]


def steps_between(begins: float, ends: float, *, at_least: float = 1.0) -> Steps:
    """Steps of a length that reads well, and of so many seconds at least."""
    wished = max(max(ends - begins, 1.0) / STEPS, at_least)
    seconds = next((nice for nice in NICE_SECONDS if nice >= wished), NICE_SECONDS[-1])
    return Steps(begins, seconds, max(1, math.ceil((ends - begins) / seconds)))


def counted(steps: Steps, moments: Iterable[float]) -> list[int]:
    """How many of the moments fall into each step."""
    counts = [0] * steps.count
    for moment in moments:
        counts[steps.of(moment)] += 1
    return counts


def risen(steps: Steps, seen: Sequence[tuple[float, float]]) -> list[float]:
    """By how much a counter rose in each step, from what it was seen to stand at (business second, value)."""
    if not seen:
        return [0.0] * steps.count
    moments = [moment for moment, _ in seen]

    def at(edge: float) -> float:
        place = bisect_right(moments, edge)
        if place == 0:
            return seen[0][1]
        if place == len(seen):
            return seen[-1][1]
        (before, low), (after, high) = seen[place - 1], seen[place]
        return low + (high - low) * (edge - before) / (after - before)

    edges = [at(edge) for edge in steps.edges]
    return [round(high - low, 3) for low, high in pairwise(edges)]


def highest(steps: Steps, seen: Iterable[tuple[float, float]]) -> list[float]:
    """The most that was seen in each step; a step in which nothing was looked at has what the one before had."""
    most: list[float | None] = [None] * steps.count
    for moment, value in seen:
        step = steps.of(moment)
        most[step] = value if most[step] is None else max(most[step] or 0.0, value)
    filled, last = [], 0.0
    for value_ in most:
        last = last if value_ is None else value_
        filled.append(round(last, 3))
    return filled


def percentile(in_order: Sequence[float], percent: float) -> float:
    """Of values in their order; 0 of none."""
    if not in_order:
        return 0.0
    return in_order[min(len(in_order) - 1, int(len(in_order) * percent / 100))]


def spread_of(values: Iterable[float], digits: int = 3) -> dict[str, float]:
    """How many, p50, p95, p99 and the most."""
    in_order = sorted(values)
    found: dict[str, float] = {"n": len(in_order)}
    for percent in (50, 95, 99):
        found[f"p{percent}"] = round(percentile(in_order, percent), digits)
    found["max"] = round(in_order[-1], digits) if in_order else 0.0
    return found


def summed(names: Iterable[str], of: Callable[[str], Sequence[float]], count: int) -> list[float]:
    """Several series added up, step by step."""
    total = [0.0] * count
    for name in names:
        for step, value in enumerate(of(name)):
            total[step] += value
    return [round(value, 3) for value in total]


def in_hours(steps: Steps, values: Sequence[float], hours: Sequence[tuple[float, float]]) -> float:
    """What of a series falls into these hours of the day, by the middle of its steps."""
    return sum(
        value
        for hour, value in zip(steps.hours(), values, strict=True)
        if any(first <= hour < last for first, last in hours)
    )


def latest(seen: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, float]:
    """Where each counter stood in the end."""
    return {name: values[-1][1] if values else 0.0 for name, values in seen.items()}
