"""`jiesuan run`, `up`, `play`, `prove`, `load`: the sample city."""

from __future__ import annotations

import importlib
from typing import Any

from city.commands import Stop
from infra.settings import Settings


def run() -> int:
    """Play one morning on embedded services and prove the promises; the exit code."""
    return _call("city.morning", "run", Settings())


def up() -> int:
    """Keep the city running; the exit code."""
    return _call("city.up", "up", Settings())


def play() -> int:
    """Hand in sample claims to services that run already; the exit code."""
    return _call("city.play", "play", Settings())


def prove() -> int:
    """Take the guards away one by one, in a copy of the working tree; the exit code."""
    return _call("tests.guards.__main__", "main", [])


def load() -> int:
    """Simulate a peak day; the exit code."""
    return _call("city.load", "load", Settings())


def _call(module: str, function: str, given: object) -> int:
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not module.startswith(error.name or module):
            raise
        raise Stop(f"这里没有 {module}：此命令在源码目录中运行", 2) from None
    return int(getattr(found, function)(given) or 0)
