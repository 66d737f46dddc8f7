"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 3
"""A machine on which a city of fifty processes starts beside the test may be so many times as slow."""


def eventually(happened: Callable[[], T], *, within: float = 20.0, every: float = 0.05) -> T:
    """Ask until the answer is true, and return it; fail when the time is up: `within`, were the machine quiet."""
    deadline = time.monotonic() + within * PATIENCE
    while True:
        answer = happened()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"it did not come to pass within {within * PATIENCE:g} seconds"
        time.sleep(every)
