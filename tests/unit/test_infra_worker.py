"""A worker outlives its timers' failures and every message; what it cannot read it lets go of only when it is kept."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from celery.worker.consumer import Consumer

from infra import worker
from infra.worker import QuarantiningConsumer, Timer
from tests.support.frontend import PERSON


class Letter:
    """A message as a consumer sees it, that remembers what was done with it."""

    def __init__(self, body=b"body", delivery_info=None):
        self.body = body
        self.delivery_info = {"routing_key": "preprocess.1"} if delivery_info is None else delivery_info
        self.done = []

    def ack_log_error(self, logger, errors):
        self.done.append("acknowledged")

    def reject_log_error(self, logger, errors, requeue=False):
        self.done.append("put back" if requeue else "dropped")


@pytest.fixture
def kept(monkeypatch):
    kept = []
    monkeypatch.setattr(worker, "set_aside", lambda *message: kept.append(message) or True)
    return kept


@pytest.fixture
def consumer():
    consumer = QuarantiningConsumer.__new__(QuarantiningConsumer)
    consumer.connection_errors = (ConnectionError,)
    consumer.channel_errors = (KeyError,)
    return consumer


@pytest.mark.parametrize(
    ("hear", "reason"),
    [
        (lambda consumer, letter: consumer.on_decode_error(letter, ValueError()), "content unreadable"),
        (lambda consumer, letter: consumer.on_unknown_message(None, letter), "not a task"),
        (lambda consumer, letter: consumer.on_unknown_task(None, letter, KeyError()), "unknown task"),
        (lambda consumer, letter: consumer.on_invalid_task(None, letter, ValueError()), "invalid task"),
    ],
)
def test_whatever_celery_would_drop_is_set_aside_with_its_reason(consumer, kept, hear, reason):
    letter = Letter()

    hear(consumer, letter)

    assert kept == [("preprocess.1", reason, b"body")]
    assert letter.done == ["acknowledged"]


@pytest.mark.parametrize("body", ["text", {"a": 1}, None])
def test_a_body_that_is_no_bytes_is_kept_all_the_same(consumer, kept, body):
    consumer.on_unknown_message(None, Letter(body, delivery_info={}))

    assert kept == [("?", "not a task", str(body).encode())]


def test_what_cannot_be_kept_now_is_put_back(consumer, monkeypatch):
    monkeypatch.setattr(worker, "set_aside", lambda *message: False)
    monkeypatch.setattr(worker, "PAUSE_WITHOUT_QUARANTINE_SECONDS", 0)
    letter = Letter()

    consumer.on_unknown_message(None, letter)

    assert letter.done == ["put back"]


def handler_that_raises(monkeypatch, consumer, error):
    def handle(message):
        raise error

    monkeypatch.setattr(Consumer, "create_task_handler", lambda self: handle)
    return consumer.create_task_handler()


def test_a_message_that_breaks_celery_itself_is_set_aside(consumer, kept, monkeypatch):
    letter = Letter()

    handler_that_raises(monkeypatch, consumer, AttributeError(PERSON))(letter)

    assert kept == [("preprocess.1", "invalid task: AttributeError", b"body")]
    assert letter.done == ["acknowledged"]


@pytest.mark.parametrize("error", [ConnectionError(), KeyError(), SystemExit(), KeyboardInterrupt()])
def test_the_brokers_trouble_and_an_order_to_stop_are_not_the_messages_fault(consumer, kept, monkeypatch, error):
    letter = Letter()

    with pytest.raises(type(error)):
        handler_that_raises(monkeypatch, consumer, error)(letter)

    assert (kept, letter.done) == ([], [])


class Clockwork:
    """A worker's timer that only the test turns."""

    def __init__(self):
        self.entries = []

    def call_repeatedly(self, seconds, run):
        self.entries.append((seconds, run))
        return SimpleNamespace(cancel=lambda: self.entries.remove((seconds, run)))


def test_a_timer_runs_at_once_then_again_and_again_until_the_worker_stops():
    runs = []
    consumer = SimpleNamespace(timer=Clockwork())
    step = worker._timer_step(Timer("sweep", 2.0, lambda: runs.append(1)))(consumer)

    step.start(consumer)
    [(seconds, again)] = consumer.timer.entries
    again()
    step.stop(consumer)
    step.stop(consumer)

    assert (seconds, len(runs), consumer.timer.entries) == (2.0, 2, [])


def test_a_failing_timer_is_said_and_tried_again(caplog):
    def fail():
        raise ValueError(PERSON)

    consumer = SimpleNamespace(timer=Clockwork())
    with caplog.at_level(logging.WARNING):
        worker._timer_step(Timer("sweep", 2.0, fail))(consumer).start(consumer)
        consumer.timer.entries[0][1]()

    said = [(record.message, record.timer, record.error) for record in caplog.records]
    assert said == [("timer_failed", "sweep", "ValueError")] * 2
    assert PERSON not in caplog.text


def test_queues_come_and_go_without_a_restart():
    class Listening(SimpleNamespace):
        def add_task_queue(self, name):
            self.task_consumer.queues.append(SimpleNamespace(name=name))

        def cancel_task_queue(self, name):
            self.task_consumer.queues = [queue for queue in self.task_consumer.queues if queue.name != name]

    served = ["preprocess.1", "preprocess.2"]
    consumer = Listening(timer=Clockwork(), task_consumer=SimpleNamespace(queues=[]))
    worker._queue_step(lambda: served)(consumer).start(consumer)
    [(_, follow)] = consumer.timer.entries

    def heard():
        return sorted(queue.name for queue in consumer.task_consumer.queues)

    follow()
    assert heard() == served
    served[:] = ["preprocess.2", "preprocess.3"]
    follow()
    assert heard() == served


@pytest.fixture
def restarts(consumer, monkeypatch):
    """How often the consumer was started anew after a failure; nobody waits for it."""
    done = []
    consumer.blueprint = SimpleNamespace(restart=lambda _consumer: done.append("restarted"))
    monkeypatch.setattr(consumer, "on_close", lambda: done.append("closed"), raising=False)
    monkeypatch.setattr(worker.time, "sleep", lambda _seconds: None)
    return done


@pytest.mark.parametrize("error", [ValueError("protocol"), KeyError("out of memory"), TypeError(), AttributeError()])
def test_whatever_the_broker_sends_ends_the_connection_and_not_the_process(consumer, restarts, monkeypatch, error):
    """Half a stream, a chunk that came twice, a refusal while out of memory: no client's parser foresees them all."""
    failures = iter([error, error])

    def start(_self):
        for failure in failures:
            raise failure

    monkeypatch.setattr(Consumer, "start", start)
    consumer.start()
    assert restarts == ["closed", "restarted"] * 2


def test_an_order_to_stop_stops_and_what_fails_for_ever_ends_the_process(consumer, restarts, monkeypatch):
    monkeypatch.setattr(Consumer, "start", lambda _self: (_ for _ in ()).throw(SystemExit(0)))
    with pytest.raises(SystemExit):
        consumer.start()
    assert restarts == []

    monkeypatch.setattr(Consumer, "start", lambda _self: (_ for _ in ()).throw(ValueError("always")))
    with pytest.raises(ValueError, match="always"):
        consumer.start()
    assert restarts.count("restarted") == worker.MOST_FAILURES - 1
