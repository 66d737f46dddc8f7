"""Runs the API: granian, one process, HTTP/1.1."""

from __future__ import annotations

import asyncio
import logging
import signal

from granian.constants import HTTPModes, Interfaces
from granian.errors import FatalError
from granian.http import HTTP1Settings
from granian.server.embed import Server

from infra.settings import Settings
from producers.api.app import build
from producers.api.site import open_site

log = logging.getLogger("api")


def serve(settings: Settings) -> int:
    """Serve the API of this front-end until it is told to stop; the exit code. Raises MissingSetting."""
    site = open_site(settings)
    server = Server(
        build(site),
        address=settings.api_host,
        port=settings.api_port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        websockets=False,
        log_enabled=False,
    )
    return asyncio.run(_until_stopped(server, settings))


async def _until_stopped(server: Server, settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    log.info("api_started", extra={"host": settings.api_host, "port": settings.api_port})
    try:
        await server.serve()
    except FatalError as error:
        log.error("api_failed", extra={"error": type(error).__name__})
        return 1
    log.info("api_stopped")
    return 0
