"""How a long-running process of ours treats Python's cycle collector."""

from __future__ import annotations

import gc

SELDOM = (100_000, 50, 100)
"""Thresholds: what a process makes is kept, or gone without the collector."""
USUAL = (700, 10, 10)
"""Python's own."""


def spare_the_collector() -> None:
    """Let the collector run seldom: a batch is tens of thousands of short-lived tuples without a cycle among them.

    Call it when a process has loaded what it keeps.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)


def collect_as_usual() -> None:
    """Leave it to Python again: the processes that are not ours throughout (beat, Flower) make cycles all day."""
    gc.set_threshold(*USUAL)
