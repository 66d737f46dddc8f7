"""The page of the front desk and its three files, with headers that let it do nothing but what it is for."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response

from producers.api.problems import Problem

router = APIRouter(include_in_schema=False)

_KINDS = {
    "index.html": "text/html; charset=utf-8",
    "desk.css": "text/css; charset=utf-8",
    "money.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "desk.js": "text/javascript; charset=utf-8",
}
# Styles may stand in the page because the settlement slip, shown in a frame of it, brings its own.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@router.get("/desk")
async def desk() -> Response:
    """The page."""
    return _file("index.html")


@router.get("/desk/{name}")
async def part(name: str) -> Response:
    """A file the page needs. Raises Problem."""
    if name not in _KINDS or name == "index.html":
        raise Problem("not-found")
    return _file(name)


def _file(name: str) -> Response:
    return Response(_content(name), headers={**HEADERS, "Content-Type": _KINDS[name]})


@cache
def _content(name: str) -> bytes:
    return files("producers.desk").joinpath("static", name).read_bytes()
