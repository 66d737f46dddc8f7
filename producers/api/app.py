"""The application: request ids, problems and the short way for claims in front, the framework behind."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from infra import metrics
from infra.logs import hide_identity_numbers
from producers.api import claims, openapi
from producers.api.claims import Reply
from producers.api.clearings import router as clearing_router
from producers.api.outcome_routes import router as outcome_router
from producers.api.problems import MEDIA_TYPE, Problem, field_errors
from producers.api.reading import read_body
from producers.api.reconciliation import router as reconciliation_router
from producers.api.routes import known_caller, router
from producers.api.site import Site
from producers.api.visit_routes import router as visit_router
from producers.desk import lookups, pages, sheets

log = logging.getLogger("api")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REQUEST_ID = "jiesuan.request_id"
_SENT_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class Front:
    """Stands before the framework: gives every answer its request id, turns every failure into a problem.

    Handing in a claim is most of what happens here, so it does not go through the framework at all: the same
    handler that the framework's route calls is called directly. Measured in docs/api.md.
    """

    def __init__(self, site: Site, framework: FastAPI) -> None:
        self._site, self.framework = site, framework
        self._made_id = f"{os.urandom(4).hex()}-"
        self._count = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.framework(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = self._id_for(headers.get(b"x-request-id", b""))
        scope[REQUEST_ID] = request_id
        if scope["method"] == "POST" and scope["path"] == "/v1/claims":
            await self._submit(headers, receive, send, request_id)
        else:
            await self._pass_on(scope, receive, send, request_id)

    async def _submit(self, headers: dict[bytes, bytes], receive: Receive, send: Send, request_id: str) -> None:
        try:
            caller = await known_caller(self._site, headers)
            reply = await claims.submit(self._site, caller, headers, await read_body(headers, receive))
        except Problem as problem:
            reply = told(problem, request_id)
        except ConnectionAbortedError:
            return
        except Exception as error:
            reply = told(_unforeseen(error, request_id), request_id)
        await _send(send, reply, request_id)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = False

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.framework(scope, receive, send_with_id)
        except ConnectionAbortedError:
            return
        except Exception as error:
            problem = _unforeseen(error, request_id)
            if not started:
                await _send(send, told(problem, request_id), request_id)

    def _id_for(self, sent: bytes) -> str:
        """The caller's own id, if it looks like one and not like a person; otherwise one of ours."""
        if sent and _SENT_ID.fullmatch(sent):
            given = sent.decode("ascii")
            if hide_identity_numbers(given) == given:
                return given
        return f"{self._made_id}{next(self._count)}"


def build(site: Site) -> Front:
    """The application of one site."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with site:
            yield

    app = FastAPIOffline(
        title="Jiesuan 结算",
        version=version("jiesuan"),
        description="Hand in claims, ask what became of them, quote, print. Errors are problem details (RFC 9457).",
        lifespan=lifespan,
    )
    app.state.site = site
    for part in (
        router,
        reconciliation_router,
        clearing_router,
        outcome_router,
        visit_router,
        lookups.router,
        sheets.router,
        pages.router,
    ):
        app.include_router(part)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_wrong_parameters)
    app.add_exception_handler(HTTPException, _on_refusal_of_the_framework)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.complete(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # how FastAPI takes a document of one's own
    return Front(site, app)


def told(problem: Problem, request_id: str) -> Reply:
    """The problem as an answer."""
    metrics.PROBLEMS.labels(problem.kind.code).inc()
    return Reply(problem.kind.status, problem.body(request_id), problem.headers, MEDIA_TYPE)


def _unforeseen(error: Exception, request_id: str) -> Problem:
    log.error("request_failed", exc_info=error, extra={"request_id": request_id, "error": type(error).__name__})
    return Problem("internal")


async def _send(send: Send, reply: Reply, request_id: str) -> None:
    headers = [
        (b"content-type", reply.media_type.encode()),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request_id.encode()),
    ]
    for name, value in reply.headers.items():
        headers.append((name.lower().encode(), value.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    reply = told(error, request.scope[REQUEST_ID])
    return Response(reply.body, reply.status, reply.headers, reply.media_type)


async def _on_wrong_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _on_problem(request, Problem("parameters-invalid", errors=field_errors(error.errors())))


async def _on_refusal_of_the_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "method-not-allowed" if error.status_code == 405 else "not-found"
    return await _on_problem(request, Problem(code, headers=error.headers))
