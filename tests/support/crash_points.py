"""The crash points C1 to C9 as a table: who dies where, what is true then. Whatever dies, the end is the same.

The notes' table of crash points is one for Call and Confirm; here it is one for every operation, because each travels
the same way: written down, sent, done, answered, written down.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from infra import lanes
from infra.broker import unacked_keys
from tests.support.crash_city import OPERATIONS, CrashCity, Operation, State
from tests.support.nursery import KILLED
from tests.support.site import FRONTEND

DONE_AT_CENTER, DONE = "done at the centre", "done"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a process dies, and what is true while it is dead: before the operation, done at the centre, or done."""

    names: dict[str, str]
    """The crash point's name by operation; "" for all others."""
    role: str
    how: str
    true: str = ""
    loses_message: bool = False

    def name_of(self, operation: str) -> str:
        """The name in the table of crash points."""
        return self.names.get(operation, self.names[""])

    def what(self, operation: Operation) -> str:
        """The message, or the task, at which it dies."""
        if self.how == "send":
            return operation.sent_as if self.role == "desk" else operation.answered_as
        return (operation.answered if self.role == "link" else operation.asked).__name__


POINTS = (
    Point({"": "C1", "confirm": "C6", "cancel": "C6"}, "desk", "send"),
    Point({"": "C2"}, "center-settle", "received", loses_message=True),
    Point({"": "C3", "confirm": "C7", "cancel": "C7"}, "center-settle", "before-commit"),
    Point({"": "C8", "prepare": "C4"}, "center-settle", "send", DONE_AT_CENTER),
    Point({"": "C5"}, "link", "before-commit", DONE_AT_CENTER),
    Point({"": "C9"}, "link", "committed", DONE),
)
"""Every point at which a process of either side may die on an operation's way."""


def crash(city: CrashCity, point: Point, operation: Operation) -> None:
    """Let a process die at the point of an operation, see what is true, start it again, and see it through."""
    serial = city.new(operation.name)
    city.everybody()
    city.arm(point.role, point.how, point.what(operation))
    city.ask(operation.name, serial)
    status = city.nursery.wait(point.role)
    assert status == KILLED, f"the {point.role} did not come to {point.name_of(operation.name)}: {status}"
    if point.loses_message:
        lose(city)
    found, true = city.state(serial), _true(point, operation)
    assert found == true, f"{point.name_of(operation.name)} {operation.name}: {found}, not {true}"
    city.everybody()
    city.becomes(serial, operation.after)
    if operation.after.center in ("settled", "refunded"):
        assert city.answers(serial) == city.stored(serial), "what is reprinted is what the centre holds"


def _true(point: Point, operation: Operation) -> State:
    if point.true == DONE:
        return operation.after
    if point.true == DONE_AT_CENTER:
        return operation.after._replace(frontend=operation.before.frontend)
    return operation.before


def lose(city: CrashCity) -> None:
    """The broker loses what its dead consumer had taken; on RabbitMQ it does not, and hands it out again."""
    if city.site.broker_url.startswith("redis"):
        with redis.Redis.from_url(city.site.broker_url) as client:
            client.delete(lanes.SETTLE, *unacked_keys(), *unacked_keys(FRONTEND))


def product() -> list[tuple[Point, Operation]]:
    """Every point with every operation."""
    return [(point, operation) for point in POINTS for operation in OPERATIONS.values()]
