"""One thread, many fibers: who runs next is decided by simulated time and by the seed, by nothing else.

A process of the city is a few fibers that live and die together. A fiber gives way at every statement, message and
sleep; simulated time passes there and nowhere else.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from greenlet import getcurrent, greenlet


class Killed(BaseException):
    """The process of this fiber has died: no `except Exception` of the product may stop it."""


class Process:
    """Something that can be killed, stopped for a while, and started again."""

    def __init__(self, name: str, host: Any = None) -> None:
        self.name, self.host = name, host
        self.alive = False
        self.starts = 0
        self.paused_until = 0.0
        self.fibers: list[Fiber] = []
        self.being: Any = None
        """What its code finds when it asks who it is (`processes.Being`)."""

    def __repr__(self) -> str:
        return f"{self.name}#{self.starts}"


class Fiber(greenlet):
    """One line of execution. `ticket` tells a wake-up that is meant from one that is out of date."""

    def __init__(self, loop: Loop, process: Process | None, work: Callable[[], Any]) -> None:
        super().__init__(self._live, parent=loop.hub)
        self.loop, self.process, self._work = loop, process, work
        self.ticket = 0
        self.woken = False

    def _live(self) -> None:
        try:
            self._work()
        except Killed:
            pass
        except Exception as error:
            self.loop.failed(self, error)
        finally:
            if self.process is not None and self in self.process.fibers:
                self.process.fibers.remove(self)


class Condition:
    """What fibers wait for; whoever changes it wakes them all, and each looks for itself."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Fiber, int]] = []


class Loop:
    """Simulated time and who is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hub = getcurrent()
        self.steps = 0
        self.errors: list[tuple[str, BaseException]] = []
        self.nobodys: list[Fiber] = []
        self._due: list[tuple[float, int, Fiber | None, Any]] = []
        self._count = 0
        self._until = 0.0

    @property
    def fiber(self) -> Fiber | None:
        """The fiber that runs; None in the hub, where nothing is simulated."""
        current = getcurrent()
        return current if isinstance(current, Fiber) else None

    def failed(self, fiber: Fiber, error: BaseException) -> None:
        """A fiber ended with an error nobody expected: the run has failed."""
        self.errors.append((repr(fiber.process), error))

    # ── Fibers ──

    def spawn(self, process: Process | None, work: Callable[[], Any], *, after: float = 0.0) -> Fiber:
        """Start a fiber of a process; of nobody who could die when there is no process."""
        fiber = Fiber(self, process, work)
        (self.nobodys if process is None else process.fibers).append(fiber)
        self._push(self.now + after, fiber, fiber.ticket)
        return fiber

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do something in the hub at a moment."""
        self._push(max(moment, self.now), None, action)

    def sleep(self, seconds: float) -> None:
        """Let the running fiber's time pass. Others run meanwhile."""
        moment = self.now + seconds
        fiber = self.fiber
        assert fiber is not None
        process = fiber.process
        if process is not None and process.paused_until > moment:
            moment = process.paused_until
        if process is not None and not process.alive:
            raise Killed
        self.steps += 1
        if moment <= self._until and (not self._due or moment < self._due[0][0]):
            self.now = moment  # nobody else is due before
            return
        fiber.ticket += 1
        self._push(moment, fiber, fiber.ticket)
        self.hub.switch()

    def wait(self, condition: Condition, timeout: float) -> bool:
        """Wait until somebody wakes the condition; False when the time is over."""
        fiber = self.fiber
        assert fiber is not None
        if fiber.process is not None and not fiber.process.alive:
            raise Killed
        fiber.ticket += 1
        fiber.woken = False
        condition.waiting.append((fiber, fiber.ticket))
        self._push(self.now + timeout, fiber, fiber.ticket)
        self.hub.switch()
        return fiber.woken

    def wake(self, condition: Condition) -> None:
        """Wake everybody who waits, in the order they came."""
        waiting, condition.waiting = condition.waiting, []
        for fiber, ticket in waiting:
            if fiber.ticket == ticket and not fiber.dead:
                fiber.woken = True
                fiber.ticket += 1
                self._push(self.now, fiber, fiber.ticket)

    # ── Processes ──

    def kill(self, process: Process) -> None:
        """End a process as `kill -9` does. To be called in the hub."""
        process.alive = False
        process.starts += 1
        process.paused_until = 0.0
        for fiber in list(process.fibers):
            fiber.ticket += 1
            if fiber:  # one that has not begun has nothing to unwind
                fiber.throw(Killed)
        process.fibers.clear()

    def end(self, processes: Iterable[Process]) -> None:
        """Unwind every fiber there is, so that what it holds is let go of now."""
        for process in processes:
            self.kill(process)
        for fiber in self.nobodys:
            if fiber:
                fiber.throw(Killed)

    # ── The hub ──

    def run(self, until: float, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Run what is due until a moment, an error, or until `stop` says so after an action of the hub."""
        self._until = until
        while self._due and self._due[0][0] <= until and not self.errors:
            moment, _, fiber, what = heapq.heappop(self._due)
            if fiber is None:
                self.now = max(self.now, moment)
                what()
                if stop():
                    return
                continue
            if fiber.ticket != what or fiber.dead:
                continue
            process = fiber.process
            if process is not None and process.paused_until > moment:
                self._push(process.paused_until, fiber, what)
                continue
            self.now = max(self.now, moment)
            self.steps += 1
            fiber.ticket += 1
            fiber.switch()
        if not self.errors:
            self.now = max(self.now, until)

    def _push(self, moment: float, fiber: Fiber | None, what: Any) -> None:
        self._count += 1
        heapq.heappush(self._due, (moment, self._count, fiber, what))
