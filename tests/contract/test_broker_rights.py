"""What a login reaches at a real broker: its own lanes and the way to the centre's, and nothing of anybody else's."""

from __future__ import annotations

import pytest
import redis
from amqp.exceptions import AccessRefused
from kombu import Connection, Consumer, Exchange, Queue

from infra import broker_rights, lanes
from infra.broker import BrokerAway, Post, build_app, unacked_keys
from infra.broker_rights import CENTER_LANES, NoPlainName
from infra.embedded import valkey
from infra.supervisor import Supervisor
from tests.support import rabbitmq
from tests.support.installed import is_skipped

OWN, OTHER = "shared-1", "shared-10"
TENANT = "440100000001"
USERS = {
    OWN: broker_rights.frontend(OWN),
    OTHER: broker_rights.frontend(OTHER),
    "bell": broker_rights.tenant(OWN, TENANT),
}
FOREIGN = (
    lanes.results(OTHER),
    lanes.uploads(OTHER),
    lanes.preprocess(OTHER, TENANT),
    unacked_keys(OTHER)[0],
    "unacked",
)
NO_RABBITMQ = pytest.mark.skipif(
    is_skipped(rabbitmq.is_installed()),
    reason="RABBITMQ IS NOT INSTALLED HERE: its permissions were NOT proved (.ci/run installs rabbitmq-server)",
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rights")
    with Supervisor(folder / "data", say=lambda line: None) as supervisor:
        users = {name: ("word", rights) for name, rights in {"center": broker_rights.CENTER, **USERS}.items()}
        made = valkey.prepare(folder / "broker", port=0, users=users)
        supervisor.start(made.service)
        yield made


@pytest.fixture
def owner(broker):
    with redis.Redis.from_url(broker.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def login(broker, owner):
    with redis.Redis.from_url(broker.urls[OWN]) as client:
        yield client


def refused(login, *command):
    with pytest.raises(redis.exceptions.NoPermissionError):
        login.execute_command(*command)


def test_a_front_end_does_with_its_own_login_all_that_its_work_needs(broker, owner):
    app = build_app("desk", broker.urls[OWN], member=OWN)
    own = [lanes.results(OWN), lanes.uploads(OWN), lanes.preprocess(OWN, TENANT), f"idle.desk-{OWN}"]
    for lane in own:
        Post(app).send("note", queue=lane, shown={})
    for lane in CENTER_LANES:
        Post(app, is_guest=True).send("note", queue=lane, shown={})
        assert Post(app).waiting(lane) == 1

    with app.connection_for_read() as connection, connection.channel() as channel:
        taken = []
        queues = [Queue(lane, Exchange(lane), lane) for lane in own]
        with Consumer(channel, queues, on_message=taken.append, accept=app.conf.accept_content, prefetch_count=1):
            while len(taken) < len(own):
                connection.drain_events(timeout=2)
                assert owner.hlen(unacked_keys(OWN)[0]) == 1
                taken[-1].ack()
        channel.qos.restore_visible()
        app.events.Dispatcher(connection, hostname=OWN).send("worker-online")

    assert owner.acl_log() == []
    assert owner.keys("_kombu*") == [], "a lane is its list"
    app.close()


@pytest.mark.parametrize("key", FOREIGN)
def test_a_front_end_reads_and_writes_nothing_of_another(login, owner, key):
    owner.lpush(key, b"theirs")

    for command in (("LRANGE", key, 0, -1), ("RPOP", key), ("BRPOP", key, 1), ("LPUSH", key, "x"), ("LLEN", key)):
        refused(login, *command)
    for command in (("DEL", key), ("HGET", key, "x"), ("SET", key, "x"), ("RENAME", key, lanes.results(OWN))):
        refused(login, *command)

    assert owner.lrange(key, 0, -1) == [b"theirs"]


@pytest.mark.parametrize("lane", CENTER_LANES)
def test_what_is_on_its_way_to_the_centre_is_the_centres(login, owner, lane):
    login.lpush(lane, b"ours")

    for command in (
        ("RPOP", lane),
        ("LRANGE", lane, 0, -1),
        ("DEL", lane),
        ("SET", lane, "x"),
        ("HSET", lane, "a", "b"),
    ):
        refused(login, *command)

    assert owner.llen(lane) == 1


@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET *", "ACL LIST", "ACL WHOAMI", "SHUTDOWN", "MONITOR", "INFO",
     "CLIENT LIST", "CLIENT KILL TYPE normal", "SUBSCRIBE /0.celeryev", "PSUBSCRIBE *", "PUBLISH /0.celery.pidbox x",
     "SWAPDB 0 1", "OBJECT HELP", "EVAL return(1) 0",
     "SCRIPT LOAD return(1)", "FUNCTION LIST", "REPLICAOF no one", "MIGRATE h 1 settle 0 1"],
)  # fmt: skip
def test_a_front_end_neither_empties_nor_lists_nor_orders_about(login, command):
    refused(login, *command.split())


def test_a_tenants_own_program_rings_its_bell_and_no_more(broker, owner):
    bell = lanes.preprocess(OWN, TENANT)
    Post(build_app("tenant", broker.urls["bell"], member=OWN), is_guest=True).send("note", queue=bell, shown={})

    assert owner.llen(bell) == 1
    with redis.Redis.from_url(broker.urls["bell"]) as login:
        for key in (lanes.preprocess(OWN, "440100000002"), lanes.results(OWN), *CENTER_LANES):
            refused(login, "LPUSH", key, "x")
        refused(login, "RPOP", bell)


@pytest.mark.parametrize("code", ["", "*", "shared-*", "a b", "a.b", "shared[1]", "x" * 33, "-a", "a\n", "前置机"])
def test_a_code_that_means_something_in_a_pattern_gets_no_login(code):
    for rights in (broker_rights.frontend, broker_rights.rabbit_frontend):
        with pytest.raises(NoPlainName, match="消息服务"):
            rights(code)
    with pytest.raises(NoPlainName):
        broker_rights.tenant(OWN, code)


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory):
    users = {
        OWN: broker_rights.rabbit_frontend(OWN),
        OTHER: broker_rights.rabbit_frontend(OTHER),
        "bell": broker_rights.rabbit_tenant(OWN, TENANT),
    }
    with rabbitmq.running_rabbitmq(tmp_path_factory.mktemp("rabbit"), users) as url:
        yield lambda name: url if name == "guest" else url.replace("guest:guest", f"{name}:{rabbitmq.PASSWORD}")


@NO_RABBITMQ
def test_on_rabbitmq_a_front_end_writes_to_the_centre_and_reads_its_own(rabbit):
    for lane in (*CENTER_LANES, lanes.results(OTHER)):
        declared(rabbit("guest"), lane)
    app = build_app("desk", rabbit(OWN), member=OWN)
    guest = Post(app, is_guest=True)

    for lane in CENTER_LANES:
        guest.send("note", queue=lane, shown={})
        assert guest.waiting(lane) == 1
    Post(app).send("note", queue=lanes.preprocess(OWN, TENANT), shown={})
    assert Post(app).waiting(lanes.preprocess(OWN, TENANT)) == 1
    with pytest.raises(BrokerAway):
        guest.send("note", queue=lanes.results(OTHER), shown={})
    tenant = Post(build_app("tenant", rabbit("bell"), member=OWN), is_guest=True)
    tenant.send("note", queue=lanes.preprocess(OWN, TENANT), shown={})
    with pytest.raises(BrokerAway):
        tenant.send("note", queue=lanes.SETTLE, shown={})

    with Connection(rabbit(OWN)) as connection:
        for lane in (lanes.results(OTHER), *CENTER_LANES):
            for act in ("basic_get", "queue_purge", "queue_delete"):
                with pytest.raises(AccessRefused), connection.channel() as channel:
                    getattr(channel, act)(lane)
        with connection.channel() as channel:
            assert channel.basic_get(lanes.preprocess(OWN, TENANT)) is not None
        app.events.Dispatcher(connection, hostname=OWN).send("worker-online")


def declared(url, lane):
    with Connection(url) as connection, connection.channel() as channel:
        channel.exchange_declare(lane, "direct", durable=True, auto_delete=False)
        channel.queue_declare(lane, durable=True, auto_delete=False)
        channel.queue_bind(lane, lane, lane)
