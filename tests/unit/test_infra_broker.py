"""The broker's settings, each learnt the hard way: a value that drifts fails here. And what a message shows."""

from __future__ import annotations

import pytest
from kombu import serialization
from kombu.exceptions import ContentDisallowed, OperationalError, SerializerNotInstalled
from kombu.transport import TRANSPORT_ALIASES

from infra.broker import CONTENT_TYPE, TASK_TIME_LIMIT, BrokerAway, Post, QuietTask, build_app
from tests.support.frontend import PERSON
from tests.support.memory import empty_memory_broker

URL = "redis://127.0.0.1:6379/0"


@pytest.fixture
def memory():
    with empty_memory_broker() as url:
        yield url


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param("task_acks_late", True, id="acknowledged after the work"),
        pytest.param("task_acks_on_failure", True, id="a failed task does not come again: the rows send it again"),
        pytest.param("task_acks_on_timeout", True, id="nor one that took too long"),
        pytest.param("task_reject_on_worker_lost", False, id="a task that kills its worker does not loop"),
        pytest.param("task_ignore_result", True, id="no results to leak"),
        pytest.param("result_backend", None, id="nowhere to put them"),
        pytest.param("task_time_limit", 60, id="no task runs for ever"),
        pytest.param("task_soft_time_limit", 45, id="and it is told before"),
        pytest.param("worker_prefetch_multiplier", 1, id="a worker holds one message: fair between tenants"),
        pytest.param("worker_pool", "solo", id="one process per role"),
        pytest.param("accept_content", [CONTENT_TYPE], id="msgpack and nothing else"),
        pytest.param("task_serializer", "msgpack", id="msgpack out"),
        pytest.param("event_serializer", "json", id="Flower reads json"),
        pytest.param("worker_hijack_root_logger", False, id="our logs stay ours"),
        pytest.param("worker_redirect_stdouts", False, id="and so does stdout"),
        pytest.param("worker_consumer", "infra.worker:QuarantiningConsumer", id="the unreadable is set aside"),
        pytest.param("worker_cancel_long_running_tasks_on_connection_loss", False, id="a task survives its broker"),
        pytest.param("broker_connection_max_retries", None, id="a worker waits for its broker for ever"),
        pytest.param("broker_connection_retry_on_startup", True, id="also when it starts before it"),
        pytest.param("task_publish_retry", True, id="sending is tried once more"),
        pytest.param("enable_utc", True, id="moments in messages are UTC"),
        pytest.param("timezone", "Asia/Shanghai", id="schedules are Shanghai's"),
    ],
)
def test_a_setting_that_keeps_a_promise_is_as_it_has_to_be(setting, value):
    assert build_app("any", URL).conf[setting] == value


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("visibility_timeout", 5 * TASK_TIME_LIMIT),
        ("unacked_restore_interval", 5),
        ("unacked_restore_throttle", 1),
        ("unacked_mutex_expire", 10),
        ("socket_timeout", 5),
        ("socket_connect_timeout", 3),
        ("socket_keepalive", True),
        ("health_check_interval", 25),
        ("retry_on_timeout", False),
        ("priority_steps", [0]),
        ("queue_order_strategy", "round_robin"),
        ("max_retries", 1),
        ("interval_max", 0.5),
    ],
)
def test_a_wait_on_redis_is_bounded_and_the_queues_take_turns(option, value):
    assert build_app("any", URL).conf.broker_transport_options[option] == value


@pytest.mark.parametrize(
    ("is_far", "option", "value"),
    [
        pytest.param(True, "ack_emulation", False, id="what is taken is not copied back over the link"),
        pytest.param(True, "polling_interval", 3, id="and messages are asked for every three seconds"),
        pytest.param(False, "ack_emulation", None, id="near by it is noted"),
        pytest.param(False, "polling_interval", None, id="and asked for every second"),
    ],
)
def test_who_is_far_from_its_broker_says_little(is_far, option, value):
    assert build_app("any", URL, is_far=is_far).conf.broker_transport_options.get(option) == value


def test_a_server_calls_connections_by_application_and_front_end():
    names = [
        build_app("link", URL, member=member).conf.broker_transport_options["client_name"] for member in ("", "F1")
    ]

    assert names == ["link", "link.F1"]


def test_publishing_to_rabbitmq_is_confirmed():
    assert build_app("any", "amqp://127.0.0.1").conf.broker_transport_options["confirm_publish"] is True


def test_a_second_try_is_the_last():
    policy = build_app("any", URL).conf.task_publish_retry_policy

    assert policy["max_retries"] == 1
    assert policy["interval_max"] <= 0.5


def test_redis_means_our_transport():
    build_app("any", URL)

    assert TRANSPORT_ALIASES["redis"] == TRANSPORT_ALIASES["rediss"] == "infra.transport:Transport"


@pytest.mark.parametrize("name", ["pickle", "yaml"])
def test_pickle_and_yaml_cannot_be_written(name):
    build_app("any", URL)

    with pytest.raises(SerializerNotInstalled):
        serialization.dumps({}, serializer=name)


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "application/x-yaml", "application/json"])
@pytest.mark.parametrize("content", [b"cos\nsystem\n(S'exit 1'\ntR.", b"{}"])
def test_other_content_is_not_read(content_type, content):
    accept = serialization.prepare_accept_content(build_app("any", URL).conf.accept_content)

    with pytest.raises(ContentDisallowed):
        serialization.loads(content, content_type, "utf-8", accept=accept)


def test_every_task_is_quiet_and_acknowledged_late():
    app = build_app("any", URL)
    task = app.task(name="some.task")(work)

    assert isinstance(task, QuietTask)
    assert task.acks_late
    assert task.ignore_result


def headers_of(app, queue):
    with app.connection_for_read() as connection:
        return connection.default_channel.basic_get(queue, no_ack=True).headers


def work(person="", day=""):
    """Does nothing with a person."""


def test_a_task_shows_none_of_its_arguments(memory):
    app = build_app("any", memory)
    task = app.task(name="some.task")(work)

    task.apply_async(args=[PERSON], kwargs={"day": PERSON}, queue="q")

    headers = headers_of(app, "q")
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("()", "{}")
    assert PERSON not in str(headers)


def test_a_post_shows_what_it_was_told_to_and_nothing_else(memory):
    app = build_app("any", memory)

    Post(app).send("some.task", queue="q", shown={"claims": 3}, envelope=PERSON.encode())

    headers = headers_of(app, "q")
    assert (headers["task"], headers["argsrepr"], headers["kwargsrepr"]) == ("some.task", "()", "{'claims': 3}")
    assert PERSON not in str(headers)


def test_a_queue_nobody_has_made_is_empty(memory):
    assert Post(build_app("any", memory)).waiting("nobody.made.it") == 0


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1"])
def test_a_broker_that_is_away_is_one_kind_of_error_and_quick(url):
    post = Post(build_app("any", url))

    with pytest.raises(BrokerAway):
        post.send("some.task", queue="q", shown={})
    with pytest.raises(OperationalError):
        post.waiting("q")
