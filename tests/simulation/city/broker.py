"""A broker as Celery's Redis transport uses one, with its loss window, its redeliveries and its empty restarts.

A message is taken from its list first and written to `unacked` then: whoever dies in between, or whose link breaks,
has lost it. What is unacknowledged for too long comes back, whether or not somebody still works on it. Of what a far
worker takes there is no note: what it has not done when it dies is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgpack
from kombu.exceptions import OperationalError

from tests.simulation.city.fibers import Condition, Killed, Process

if TYPE_CHECKING:
    from tests.simulation.city.city import City

SOCKET_TIMEOUT = 5.0


@dataclass(slots=True)
class Message:
    """A task on its way: its name, the bytes of its arguments, and when nobody needs it any more."""

    number: int
    task: str
    body: bytes
    expires_at: float


class Broker:
    """The lists of one broker, at one host."""

    def __init__(self, city: City, host: Any, name: str) -> None:
        self.city, self.host, self.name = city, host, name
        self.queues: dict[str, deque[Message]] = {}
        self.unacked: dict[int, tuple[str, Message, float]] = {}
        self.arrived = Condition()
        self.down_until = 0.0
        self._tags = 0
        self._turns: dict[str, int] = {}

    # ── Faults ──

    def wipe(self) -> None:
        """FLUSHALL, or a restart without its file: everything it held is gone."""
        self.queues.clear()
        self.unacked.clear()

    def restore(self) -> None:
        """What was unacknowledged for longer than the visibility timeout goes back to the head of its list."""
        before = self.city.loop.now - self.city.profile.visibility_seconds
        for tag in [tag for tag, (_, _, since) in self.unacked.items() if since < before]:
            queue, message, _ = self.unacked.pop(tag)
            self.city.note("restored", self.name, message.task)
            self._queue(queue).appendleft(message)
            self.city.loop.wake(self.arrived)

    # ── What a client of the broker does ──

    def put(self, process: Process, queue: str, task: str, body: bytes, *, expires_in: float = 1e9) -> None:
        """LPUSH, over the network. Raises OperationalError, and then it may have arrived or not."""
        city = self.city
        number = city.next_number()
        message = Message(number, task, body, city.loop.now + expires_in)
        city.note("send", process, f"{queue} {task} {len(body)}")
        fate = city.network.fate(process.host, self.host, self.is_down())
        city.network.travel(process.host, self.host)
        if fate.arrives and not self.is_down():
            self._arrive(queue, message)
            if fate.again_after is not None:
                city.loop.at(city.loop.now + fate.again_after, lambda: self._arrive(queue, message))
        elif fate.later is not None:
            city.loop.at(city.loop.now + fate.later, lambda: self._arrive(queue, message))
        if fate.is_error or (not fate.arrives and fate.later is None and not fate.is_silent):
            city.loop.sleep(SOCKET_TIMEOUT)
            raise OperationalError("away")
        city.point(process, "sent")

    def length(self, process: Process, queue: str) -> int:
        """LLEN."""
        if not self.city.network.is_open(process.host, self.host) or self.is_down():
            self.city.loop.sleep(SOCKET_TIMEOUT)
            raise OperationalError("away")
        self.city.network.travel(process.host, self.host)
        return len(self.queues.get(queue, ()))

    def take(
        self, process: Process, queues: Sequence[str], timeout: float, *, is_far: bool
    ) -> tuple[int, Message] | None:
        """BRPOP over the queues in turn, then `unacked` unless it is far; None when nothing came in time."""
        city = self.city
        until = city.loop.now + timeout
        while True:
            found = self._pop(process, queues) if self._reaches(process) else None
            if found is not None:
                queue, message = found
                try:
                    city.network.travel(self.host, process.host)
                    city.point(process, "popped")
                except Killed:
                    city.note("lost in the window", process, message.task)
                    raise
                if not city.network.is_open(self.host, process.host) or city.chance(city.profile.window_loss):
                    city.note("lost in the window", process, message.task)
                    continue
                if message.expires_at < city.loop.now:
                    continue
                self._tags += 1
                if not is_far:
                    self.unacked[self._tags] = (queue, message, city.loop.now)
                return self._tags, message
            left = until - city.loop.now
            if left <= 0:
                return None
            city.loop.wait(self.arrived, min(left, 5.0) if not self._reaches(process) else left)

    def acknowledge(self, process: Process, tag: int) -> None:
        """Remove it from `unacked`; where the broker is not reached it stays there, and comes again."""
        self.city.point(process, "before ack")
        if tag in self.unacked and self._reaches(process):
            self.unacked.pop(tag)
            self.city.point(process, "acked")

    def put_back(self, process: Process, tag: int) -> None:
        """Reject with requeue."""
        held = self.unacked.pop(tag, None)
        if held is not None:
            self._queue(held[0]).appendleft(held[1])

    def is_down(self) -> bool:
        """Whether it answers nobody."""
        return self.down_until > self.city.loop.now

    def _reaches(self, process: Process) -> bool:
        return not self.is_down() and self.city.network.is_open(process.host, self.host)

    def _arrive(self, queue: str, message: Message) -> None:
        if self.is_down():
            return
        self._queue(queue).append(message)
        self.city.loop.wake(self.arrived)

    def _queue(self, name: str) -> deque[Message]:
        return self.queues.setdefault(name, deque())

    def _pop(self, process: Process, queues: Sequence[str]) -> tuple[str, Message] | None:
        """Round robin: the queue served last is looked at last."""
        turn = self._turns.get(process.name, 0)
        for offset in range(len(queues)):
            index = (turn + offset) % len(queues)
            waiting = self.queues.get(queues[index])
            if waiting:
                self._turns[process.name] = index + 1
                return queues[index], waiting.popleft()
        return None


class SimulatedPost:
    """Stands where `infra.broker.Post` does: the same two calls, the bytes as they are on the real lanes."""

    def __init__(self, app: Any, *, is_guest: bool = False) -> None:
        self._broker, self._process = app.broker, app.process

    def send(self, task: str, *, queue: str, shown: Any, **kwargs: Any) -> None:
        """Put one task on a queue. Raises one of BrokerAway."""
        assert isinstance(repr(dict(shown)), str)
        self._broker.put(self._process, queue, task, msgpack.packb(kwargs))

    def waiting(self, queue: str) -> int:
        """How many messages wait on a queue. Raises one of BrokerAway."""
        return int(self._broker.length(self._process, queue))


def mark(content: bytes) -> str:
    """A short digest, for the trace."""
    return blake2b(content, digest_size=4).hexdigest()
