"""A sample API behind a real granian, on the loop it already has, for tests that need sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from infra.embedded import free_port
from tests.support.api import Api


@contextmanager
def served(api: Api) -> Iterator[str]:
    """The address it answers under."""
    port = free_port(0, "API", lambda words: None)
    server = Server(
        api.front, "127.0.0.1", port, interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False,
        log_enabled=False,
    )  # fmt: skip
    running = asyncio.run_coroutine_threadsafe(server.serve(), api.loop)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            httpx.get(f"{url}/healthz", trust_env=False)
            break
        except httpx.TransportError:
            time.sleep(0.05)
    try:
        yield url
    finally:
        api.loop.call_soon_threadsafe(server.stop)
        running.result(10)
