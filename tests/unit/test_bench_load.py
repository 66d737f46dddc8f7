"""The load generator: what is asked is answered or counted, whatever the server does with its connections."""

from __future__ import annotations

import asyncio

import pytest

from tests.bench import load
from tests.bench.load import Plan, claim_request

IDLE_SECONDS = 0.3


async def forgetful(reader, writer):
    """Answer every request with 200, and close the connection when nothing comes for a while."""
    try:
        while True:
            await asyncio.wait_for(reader.readuntil(b"{}"), IDLE_SECONDS)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    except (TimeoutError, asyncio.IncompleteReadError):
        writer.close()
        await writer.wait_closed()


async def played(arrivals, *, connections):
    server = await asyncio.start_server(forgetful, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        request = claim_request(f"127.0.0.1:{port}", "key", "claim", b"{}")
        plan = Plan(
            host="127.0.0.1",
            port=port,
            requests=[request] * len(arrivals),
            arrivals=arrivals,
            connections=connections,
            longest_seconds=5,
        )
        outcome = await load._run(plan)
        await asyncio.sleep(2 * IDLE_SECONDS)  # until every connection is closed
        return outcome


@pytest.mark.parametrize("arrivals", [[0.0, 0.6, 1.2], [0.0, 0.0, 0.0, 0.6, 0.6, 0.6]], ids=["one by one", "bursts"])
def test_a_connection_the_server_has_closed_meanwhile_is_opened_anew(arrivals, monkeypatch):
    monkeypatch.setattr(load, "LEAD_SECONDS", 0.0)

    outcome = asyncio.run(played(arrivals, connections=2))

    assert outcome.statuses == {"200": len(arrivals)}
