"""What we expect of a broker, on every broker: kombu's in-memory one, a real Valkey, a real RabbitMQ."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgpack
import pytest
import redis
from amqp.exceptions import PreconditionFailed
from kombu import Consumer

from infra.broker import FAR_POLL_SECONDS, BrokerAway, Post, build_app
from infra.embedded import valkey
from infra.supervisor import Supervisor
from tests.support import rabbitmq
from tests.support.installed import is_skipped
from tests.support.memory import empty_memory_broker
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
NO_RABBITMQ = pytest.mark.skipif(
    is_skipped(rabbitmq.is_installed()),
    reason="RABBITMQ IS NOT INSTALLED HERE: the contract was NOT proved on it (.ci/run installs rabbitmq-server)",
)


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valkey")
    with Supervisor(folder / "data", say=lambda line: None) as supervisor:
        broker = valkey.prepare(folder / "broker", port=0)
        supervisor.start(broker.service)
        yield broker.url


@pytest.fixture(scope="module")
def rabbitmq_url(tmp_path_factory):
    with rabbitmq.running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


@pytest.fixture(params=["memory", "valkey", "far valkey", pytest.param("rabbitmq", marks=NO_RABBITMQ)])
def url(request):
    if request.param == "memory":
        with empty_memory_broker() as address:
            yield address
    else:
        yield request.getfixturevalue(f"{request.param.removeprefix('far ')}_url")


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=NO_RABBITMQ)])
def real_url(request):
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def queue():
    return f"contract.{uuid4().hex[:8]}"


@pytest.fixture
def app(request, url):
    app = build_app("contract", url, is_far="far" in request.node.callspec.params["url"])
    yield app
    app.close()


@pytest.fixture
def post(app):
    return Post(app)


def send(post, queue, *names):
    for name in names:
        post.send("note", queue=queue, shown={}, name=name)


def name_in(message):
    return msgpack.unpackb(message.body)[1]["name"]


@contextmanager
def listening(app, *queues):
    """A consumer with prefetch 1; gives a function that receives the next message, or None."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        received = []
        consumer = Consumer(
            channel,
            [app.amqp.queues[name] for name in queues],
            on_message=received.append,
            accept=app.conf.accept_content,
            prefetch_count=1,
        )

        def receive(within=2.0):
            for _ in range(int(within / 0.1)):
                if received:
                    break
                try:
                    connection.drain_events(timeout=0.1)
                except TimeoutError:
                    continue
            return received.pop(0) if received else None

        with consumer:
            yield receive


def test_a_message_arrives_as_it_was_sent(app, post, queue):
    envelope = bytes(range(256)) * 10
    post.send("note", queue=queue, shown={"claims": 1}, envelope=envelope, name="结算")

    with listening(app, queue) as receive:
        message = receive()
        _, kwargs, _ = msgpack.unpackb(message.body)
        message.ack()

    assert kwargs == {"envelope": envelope, "name": "结算"}
    assert message.content_type == "application/x-msgpack"
    assert (message.headers["task"], message.headers["kwargsrepr"]) == ("note", "{'claims': 1}")


def test_messages_of_one_queue_arrive_in_order(app, post, queue):
    send(post, queue, *range(20))

    with listening(app, queue) as receive:
        names = []
        for _ in range(20):
            message = receive()
            names.append(name_in(message))
            message.ack()

    assert names == list(range(20))


def test_waiting_says_how_many_messages_nobody_has_taken(app, post, queue):
    assert post.waiting(queue) == 0, "nobody has made the queue yet"
    send(post, queue, "a", "b", "c")

    eventually(lambda: post.waiting(queue) == 3)
    with listening(app, queue) as receive:
        receive().ack()
        eventually(lambda: post.waiting(queue) <= 2)


def test_a_message_that_was_not_acknowledged_comes_again(real_url, queue):
    """Not on the in-memory broker: its messages end with their process, which is why nothing may depend on this."""
    app = build_app("contract", real_url)
    send(Post(app), queue, "a")
    with listening(app, queue) as receive:
        assert name_in(receive()) == "a"

    with listening(app, queue) as receive:
        again = receive()
        assert name_in(again) == "a"
        again.ack()
    app.close()


def test_an_acknowledged_message_does_not_come_again(app, post, queue):
    send(post, queue, "a")
    with listening(app, queue) as receive:
        receive().ack()

    with listening(app, queue) as receive:
        assert receive(within=0.5) is None


def test_a_rejected_message_that_is_to_stay_comes_again(app, post, queue):
    send(post, queue, "a")

    with listening(app, queue) as receive:
        receive().reject(requeue=True)
        again = receive()
        assert name_in(again) == "a"
        again.ack()


def test_with_prefetch_one_a_second_message_waits_for_the_first_to_be_acknowledged(app, post, queue):
    send(post, queue, "a", "b")

    with listening(app, queue) as receive:
        first = receive()
        assert receive(within=0.5) is None
        first.ack()
        second = receive()
        assert name_in(second) == "b"
        second.ack()


def test_queues_take_turns_however_full_one_of_them_is(app, post, queue):
    small = [f"{queue}.{number}" for number in range(5)]
    send(post, f"{queue}.flood", *["flood"] * 100)
    for name in small:
        send(post, name, name)

    with listening(app, f"{queue}.flood", *small) as receive:
        order = []
        for _ in range(12):
            message = receive()
            order.append(name_in(message))
            message.ack()

    assert Counter(order) >= Counter(small), f"one of the small queues waited: {order}"


@contextmanager
def noting(url, file, *queues, visibility_seconds=300, distance="near"):
    """A real worker process; gives the process."""
    how = [url, str(file), str(visibility_seconds), distance]
    command = [sys.executable, "-m", "tests.support.noting_worker", *how, *queues]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=20)


def notes(file):
    return file.read_text().split("\n")[:-1] if file.exists() else []


def test_when_a_worker_is_killed_in_the_middle_another_does_its_work(real_url, queue, tmp_path):
    app, file = build_app("contract", real_url), tmp_path / "notes"
    Post(app).send("note", queue=queue, shown={}, name="a", seconds=0.5)

    with noting(real_url, file, queue, visibility_seconds=2) as first:
        eventually(lambda: notes(file) == ["begin a"])
        first.kill()
    with noting(real_url, file, queue, visibility_seconds=2):
        eventually(lambda: notes(file) == ["begin a", "begin a", "end a"], within=30)
    app.close()


def test_what_a_far_worker_has_taken_is_noted_nowhere_and_dies_with_it(valkey_url, queue, tmp_path):
    """A front-end asks its rows for what is missing, long before any broker would send it again."""
    app, file = build_app("contract", valkey_url), tmp_path / "notes"
    Post(app).send("note", queue=queue, shown={}, name="a", seconds=0.5)

    with noting(valkey_url, file, queue, distance="far") as first, redis.Redis.from_url(valkey_url) as client:
        eventually(lambda: notes(file) == ["begin a"])
        noted, called = client.keys("unacked*"), {row["name"] for row in client.client_list()}
        first.kill()
    with noting(valkey_url, file, queue, visibility_seconds=1, distance="far"):
        send(Post(app), queue, "b")
        eventually(lambda: notes(file) == ["begin a", "begin b", "end b"])

    assert noted == []
    assert "noting.front-end" in called, "the server's list of clients says who is who"
    app.close()


def test_a_far_worker_that_waits_asks_seldom(valkey_url, queue, tmp_path):
    app, file = build_app("contract", valkey_url), tmp_path / "notes"
    send(Post(app), queue, "a")

    with noting(valkey_url, file, queue, distance="far"), redis.Redis.from_url(valkey_url) as client:
        eventually(lambda: notes(file) == ["begin a", "end a"])
        time.sleep(1)
        before = said_by_others(client)
        time.sleep(2 * FAR_POLL_SECONDS)
        asked = said_by_others(client) - before
        send(Post(app), queue, "b")
        eventually(lambda: "end b" in notes(file))

    assert set(asked) <= {"brpop", "ping", "publish"}, "nothing is looked for that a dead worker might have left"
    assert asked["brpop"] <= 3
    app.close()


def said_by_others(client):
    """How often each command was called at that broker, by its name."""
    calls = {name.removeprefix("cmdstat_"): row["calls"] for name, row in client.info("commandstats").items()}
    return Counter({name: count for name, count in calls.items() if name != "info"})


@pytest.mark.parametrize(
    ("broker", "distance"),
    [("valkey_url", "near"), ("valkey_url", "far"), pytest.param("rabbitmq_url", "near", marks=NO_RABBITMQ)],
)
def test_a_worker_that_is_asked_to_stop_ends_its_task_first(request, queue, tmp_path, broker, distance):
    url = request.getfixturevalue(broker)
    app, file = build_app("contract", url), tmp_path / "notes"
    Post(app).send("note", queue=queue, shown={}, name="a", seconds=1.0)
    send(Post(app), queue, "b")

    with noting(url, file, queue, distance=distance) as worker:
        eventually(lambda: notes(file) == ["begin a"])
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=20) == 0

    assert notes(file)[:2] == ["begin a", "end a"]
    with noting(url, file, queue, distance=distance):
        eventually(lambda: sorted(notes(file)) == ["begin a", "begin b", "end a", "end b"])
    app.close()


def test_a_valkey_that_is_full_refuses_and_forgets_nothing(valkey_url, queue):
    app = build_app("contract", valkey_url)
    post = Post(app)
    send(post, queue, "kept")
    with redis.Redis.from_url(valkey_url) as client:
        limit = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(BrokerAway):
                send(post, queue, "too many")
            assert post.waiting(queue) == 1
        finally:
            client.config_set("maxmemory", limit)
    send(post, queue, "again")
    assert post.waiting(queue) == 2
    app.close()


def test_a_valkey_that_is_silent_costs_seconds_and_then_works_again(tmp_path):
    with Supervisor(tmp_path / "data", say=lambda line: None) as supervisor:
        broker = valkey.prepare(tmp_path / "broker", port=0)
        supervisor.start(broker.service)
        app = build_app("contract", broker.url)
        post = Post(app)
        send(post, "q", "a")
        [pid] = supervisor.pids().values()
        subprocess.run(["kill", "-STOP", str(pid)], check=True)
        try:
            with pytest.raises(BrokerAway):
                post.waiting("q")
            with pytest.raises(BrokerAway):
                send(post, "q", "b")
        finally:
            subprocess.run(["kill", "-CONT", str(pid)], check=True)
        eventually(lambda: post.waiting("q") >= 1)
        app.close()


def test_a_valkey_that_was_killed_and_came_back_is_used_again(tmp_path):
    with Supervisor(tmp_path / "data", say=lambda line: None) as supervisor:
        broker = valkey.prepare(tmp_path / "broker", port=0)
        supervisor.start(broker.service)
        app = build_app("contract", broker.url)
        post = Post(app)
        send(post, "q", "a")
        assert post.waiting("q") == 1
        [pid] = supervisor.pids().values()
        subprocess.run(["kill", "-KILL", str(pid)], check=True)

        with pytest.raises(BrokerAway):
            for _ in range(3):
                post.waiting("q")
                send(post, "q", "b")
        # The supervisor has it back in a second; the post's kept connection finds that out by itself.
        eventually(lambda: _works(post), within=30)
        app.close()


def _works(post):
    try:
        send(post, "q", "c")
        return post.waiting("q") >= 1
    except BrokerAway:
        return False


@NO_RABBITMQ
def test_a_lane_on_rabbitmq_is_a_quorum_queue(rabbitmq_url, queue):
    app = build_app("contract", rabbitmq_url)
    Post(app).send("note", queue=queue, shown={}, name="first")

    def declared_as(kind):
        with app.connection_for_read() as connection, connection.channel() as channel:
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": kind})

    declared_as("quorum")
    with pytest.raises(PreconditionFailed, match="x-queue-type"):
        declared_as("classic")
    app.close()
