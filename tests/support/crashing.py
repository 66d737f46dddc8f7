"""A role that dies, as by `kill -9`, the first time it comes to a chosen point; run by `warm`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

KILLED = 137


def _die(*_: Any, **__: Any) -> None:
    os._exit(KILLED)


def _die_after(owner: Any, name: str) -> None:
    """Let the call do its work, and die before anything else happens."""
    work: Callable[..., Any] = getattr(owner, name)

    def worked(*args: Any, **kwargs: Any) -> None:
        work(*args, **kwargs)
        os._exit(KILLED)

    setattr(owner, name, worked)


def _in_the_middle_of_a_turn() -> None:
    from workers import desk

    desk.total_up = _die  # type: ignore[assignment]


def _before_the_totals_are_sent() -> None:
    from workers.outbox import Outbox

    Outbox.send = _die  # type: ignore[method-assign, assignment]


def _before_the_acknowledgement() -> None:
    from kombu.transport import virtual

    virtual.Channel.basic_ack = _die


def _before_the_answers_are_committed() -> None:
    from workers import deliver

    _die_after(deliver, "record_answers")


def _before_the_settlements_are_committed() -> None:
    from center.settling import settle

    _die_after(settle, "settle_batch")


def _before_the_answer_is_sent() -> None:
    from center.tasks import Center

    Center.send = _die  # type: ignore[method-assign, assignment]


POINTS: dict[str, tuple[str, Callable[[], None]]] = {
    "the desk, in the middle of a turn": ("desk", _in_the_middle_of_a_turn),
    "the desk, totals committed and not sent": ("desk", _before_the_totals_are_sent),
    "the desk, totals sent and its bell not acknowledged": ("desk", _before_the_acknowledgement),
    "the centre, settlements not committed": ("center-settle", _before_the_settlements_are_committed),
    "the centre, settlements committed and not answered": ("center-settle", _before_the_answer_is_sent),
    "the centre, answer sent and not acknowledged": ("center-settle", _before_the_acknowledgement),
    "the link, answers not committed": ("link", _before_the_answers_are_committed),
    "the link, answers committed and not acknowledged": ("link", _before_the_acknowledgement),
}
"""Where a process may die: its role, and how to make it."""


def main() -> None:
    """Serve the role of the point, armed."""
    from city.commands.serve import serve

    role, arm = POINTS[sys.argv[1]]
    arm()
    sys.exit(serve(role))
