"""Runs a Celery worker for one role: its queues, its heartbeat file, its timers, its quarantine."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from celery import Celery, bootsteps
from celery.utils.nodenames import host_format
from celery.worker.consumer import Consumer

from infra.memory import spare_the_collector
from infra.quarantine import set_aside

log = logging.getLogger("worker")

HEARTBEAT_SECONDS = 5.0
FAR_BEAT_SECONDS = 60.0
PAUSE_WITHOUT_QUARANTINE_SECONDS = 1.0
PAUSE_AFTER_FAILURE_SECONDS = 1.0
MOST_FAILURES, FAILURES_WITHIN_SECONDS = 20, 60.0
"""A consumer that fails so often so soon does not come right by itself: the process ends, and is started anew."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Something a worker does between messages, every so many seconds; a failure is logged and tried again."""

    name: str
    every_seconds: float
    run: Callable[[], None]


def show(task: Any, shown: Mapping[str, object]) -> None:
    """Show more of a running task than its message did, behind the worker's own events, which would hide it."""
    events = getattr(getattr(task.app, "consumer", None), "event_dispatcher", None)
    if events is not None:
        events.send("task-received", uuid=task.request.id, name=task.name, args="()", kwargs=repr(dict(shown)))


class QuarantiningConsumer(Consumer):
    """Celery logs the body of what it cannot read and drops it; this one sets it aside with its reason."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc,valid-type]  # an alias in Celery's stubs
        """Celery's, without what it declares beside quorum queues for tasks to be run later: nothing of ours is, and a
        front-end's login may not declare it."""

        default_steps: ClassVar[list[str]] = [
            step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")
        ]

    app: Any
    connection_errors: Any
    channel_errors: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.app.consumer = self

    def start(self) -> None:
        """Run until the worker is told to stop. Whatever else ends the loop (an answer of the broker's no client can
        read, a refusal it gives while it is out of memory) ends the connection, not the process."""
        failures = deque[float](maxlen=MOST_FAILURES)
        while True:
            try:
                super().start()
                return
            except Exception as error:
                log.error("consumer_failed", extra={"error": type(error).__name__})
                log.debug("consumer_failure", exc_info=True)
                failures.append(time.monotonic())
                if len(failures) == MOST_FAILURES and failures[-1] - failures[0] < FAILURES_WITHIN_SECONDS:
                    raise
            time.sleep(PAUSE_AFTER_FAILURE_SECONDS)
            self.on_close()
            self.blueprint.restart(self)

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        """What a message does to Celery before its task has begun concerns that message, not the worker."""
        handle = super().create_task_handler(*args, **options)

        def on_message(message: Any) -> None:
            try:
                handle(message)
            except (*self.connection_errors, *self.channel_errors):
                raise  # the broker's, not the message's
            except Exception as error:
                self._set_aside(message, f"invalid task: {type(error).__name__}")

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The content is not msgpack."""
        self._set_aside(message, "content unreadable")

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Not a task at all."""
        self._set_aside(message, "not a task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task this release does not know."""
        self._set_aside(message, "unknown task")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task whose envelope or content type is refused."""
        self._set_aside(message, "invalid task")

    def _set_aside(self, message: Any, reason: str) -> None:
        queue = (message.delivery_info or {}).get("routing_key") or "?"
        body = message.body
        if set_aside(queue, reason, body if isinstance(body, bytes) else str(body).encode()):
            message.ack_log_error(log, self.connection_errors)
        else:
            time.sleep(PAUSE_WITHOUT_QUARANTINE_SECONDS)
            message.reject_log_error(log, self.connection_errors, requeue=True)


def run(
    app: Celery,
    *,
    role: str,
    queues: Sequence[str] | Callable[[], Sequence[str]],
    timers: Sequence[Timer] = (),
    heartbeat_file: Path | None = None,
    log_level: str = "INFO",
    is_far: bool = False,
) -> int:
    """Run the worker in this process until it is told to stop; the exit code.

    One that `is_far` from its broker sends no event for each task, which would be half of what the link carries, and
    only a beat a minute: Flower sees that it is there, and the centre's side of what it does.

    `queues` may be a function: it is asked again every few seconds, so that a queue can come and go without a restart.
    """
    # A worker without a queue would listen to Celery's default one, which is somebody else's.
    first = list(queues() if callable(queues) else queues) or [f"idle.{role}"]
    steps = [_timer_step(timer) for timer in timers]
    if heartbeat_file is not None:
        steps.append(_timer_step(Timer("heartbeat", HEARTBEAT_SECONDS, heartbeat_file.touch)))
        heartbeat_file.parent.mkdir(parents=True, exist_ok=True)
    if callable(queues):
        steps.append(_queue_step(queues))
    app.steps["consumer"].update(steps)
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # one line per message is what Flower is for
    spare_the_collector()
    worker = app.Worker(
        hostname=host_format(f"{role}@%h"),
        pool_cls="solo",
        queues=first,
        loglevel=log_level,
        without_mingle=True,
        without_gossip=True,
        quiet=True,
        task_events=not is_far,
        heartbeat_interval=FAR_BEAT_SECONDS if is_far else None,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _guarded(timer: Timer) -> Callable[[], None]:
    def tick() -> None:
        try:
            timer.run()
        except Exception as error:
            # A timer must outlive a database or broker that is away; the next tick tries again.
            log.warning("timer_failed", extra={"timer": timer.name, "error": type(error).__name__})
            log.debug("timer_failure", exc_info=True)

    return tick


def _timer_step(timer: Timer) -> type[bootsteps.StartStopStep]:
    class TimerStep(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.tasks:Tasks",)
        name = f"jiesuan.{timer.name}"

        def __init__(self, consumer: Any, **_: Any) -> None:
            self._entry: Any = None

        def start(self, consumer: Any) -> None:
            tick = _guarded(timer)
            tick()
            self._entry = consumer.timer.call_repeatedly(timer.every_seconds, tick)

        def stop(self, consumer: Any) -> None:
            if self._entry is not None:
                self._entry.cancel()
                self._entry = None

    return TimerStep


def _queue_step(queues: Callable[[], Sequence[str]]) -> type[bootsteps.StartStopStep]:
    class QueueStep(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.tasks:Tasks",)
        name = "jiesuan.queues"

        def __init__(self, consumer: Any, **_: Any) -> None:
            self._entry: Any = None

        def start(self, consumer: Any) -> None:
            def follow() -> None:
                wanted = set(queues())
                consumed = {queue.name for queue in consumer.task_consumer.queues}
                for queue in sorted(wanted - consumed):
                    consumer.add_task_queue(queue)
                for queue in sorted(consumed - wanted):
                    consumer.cancel_task_queue(queue)

            self._entry = consumer.timer.call_repeatedly(2.0, _guarded(Timer("queues", 2.0, follow)))

        def stop(self, consumer: Any) -> None:
            if self._entry is not None:
                self._entry.cancel()
                self._entry = None

    return QueueStep
