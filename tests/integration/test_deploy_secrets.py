"""The centre's login at the broker: rights enough to work, none to do harm."""

from __future__ import annotations

import pytest
import redis

from infra.broker import CONTENT_TYPE, build_app
from infra.broker_rights import CENTER


@pytest.fixture
def site_url(valkey_url):
    with redis.Redis.from_url(valkey_url) as admin:
        admin.execute_command("ACL", "SETUSER", "site", "on", ">word", *CENTER.split())
        yield valkey_url.replace(valkey_url[len("redis://") : valkey_url.index("@")], "site:word")
        admin.execute_command("ACL", "DELUSER", "site")


def test_a_site_can_send_receive_acknowledge_and_ask_its_workers(site_url):
    app = build_app("site", site_url)
    with (
        app.connection() as connection,
        connection.SimpleQueue("rights", serializer="msgpack", accept=[CONTENT_TYPE]) as queue,
    ):
        queue.put({"claims": 3})
        message = queue.get(timeout=5)
        assert message.payload == {"claims": 3}
        message.ack()
    assert app.control.ping(timeout=0.1) == []
    app.close()


@pytest.mark.parametrize("command", ["FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST", "SHUTDOWN", "MONITOR"])
def test_a_site_cannot_empty_or_administer_the_broker(site_url, command):
    with redis.Redis.from_url(site_url) as site, pytest.raises(redis.exceptions.NoPermissionError):
        site.execute_command(*command.split())
