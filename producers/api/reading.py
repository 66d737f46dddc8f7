"""Reads what a caller sends: bounded, JSON only, and either a checked document or every reason why not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from producers.api.problems import FieldError, Problem, content_invalid, pointer
from producers.api.wire import canonical

T = TypeVar("T")
Receive = Callable[[], Awaitable[Mapping[str, Any]]]

MAX_BODY = 1024 * 1024
BODY_SECONDS = 30.0
MAX_DEPTH = 16
MAX_KEY = 255

_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}", re.ASCII)
_WAIT = re.compile(r"(?:^|[,;]) *wait *= *([0-9]{1,6}) *(?:$|[,;])", re.ASCII | re.IGNORECASE)
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"?|[][{}]', re.DOTALL)
LONGEST_WAIT = 30


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """The body, if it is JSON by its own account and not too large. Raises Problem; reads no further than the limit."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json" or headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem("media-type-unsupported")
    return await read_bounded(headers, receive)


async def read_bounded(headers: Mapping[bytes, bytes], receive: Receive, *, most: int = MAX_BODY) -> bytes:
    """The body, whatever its type. Raises Problem for one that is too large, as soon as that is known."""
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > most:
        raise Problem("body-too-large", headers={"Connection": "close"})
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _received(receive, most)
    except TimeoutError:
        raise Problem("body-too-slow", headers={"Connection": "close"}) from None
    if len(body) > most:
        raise Problem("body-too-large", headers={"Connection": "close"})
    return body


async def _received(receive: Receive, most: int) -> bytes:
    """The body up to the part that takes it over the limit."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body") and size <= most:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        body = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise ConnectionAbortedError
    return body


def idempotency_key(headers: Mapping[bytes, bytes]) -> str:
    """The caller's key, with or without the quotes of the draft. Raises Problem."""
    given = headers.get(b"idempotency-key", b"").decode("latin-1").strip()
    if not given:
        raise Problem("idempotency-key-missing")
    if len(given) > 2 and given[0] == given[-1] == '"':
        given = given[1:-1]
    if not _KEY.fullmatch(given):
        raise Problem("idempotency-key-invalid")
    return given


def preferred_wait(headers: Mapping[bytes, bytes]) -> int:
    """Seconds the caller prefers to wait for the answer (RFC 7240), at most 30; an unknown preference is no error."""
    given = headers.get(b"prefer")
    if given is None:
        return 0
    found = _WAIT.search(given.decode("latin-1"))
    return min(int(found[1]), LONGEST_WAIT) if found else 0


def document(raw: bytes, kind: TypeAdapter[T]) -> tuple[T, bytes]:
    """The checked document and its canonical bytes. Raises Problem with everything that is wrong with it.

    A key given twice would be lost in silence. It shows in the number of quotation marks: written again, the document
    has fewer of them than it came with. Only then, or when quotes are hidden in an escape, are the keys looked at.
    """
    try:
        checked = kind.validate_json(raw)
    except ValidationError as error:
        _strictly(raw)
        # The validator's own error holds the values, so it goes no further than here.
        raise content_invalid(error.errors(include_url=False, include_input=False)) from None
    written = canonical(checked)
    if raw.count(b'"') != written.count(b'"') or (b"\\" in raw and b"u0022" in raw):
        _strictly(raw)
    return checked, written


def _strictly(raw: bytes) -> None:
    """Raise Problem unless the bytes are one JSON value in UTF-8, not too deep, no key twice, no NaN."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Problem("not-utf8") from None
    if _is_too_deep(text):
        raise Problem("json-too-deep")
    repeated: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in pairs:
            if name in kept:
                repeated.append(name)
            kept[name] = _Twice((kept[name], value)) if name in kept else value
        return kept

    try:
        whole = json.loads(text, object_pairs_hook=once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"：第 {error.lineno} 行第 {error.colno} 列附近" if text.strip() else "：内容为空"
        raise Problem("json-malformed", detail="请求体不是有效的 JSON" + place) from None
    except ValueError:
        raise Problem("json-malformed") from None
    if repeated:
        raise Problem("json-duplicate-key", errors=list(_twice(whole, ())))
    try:
        text.encode()
        json.dumps(whole, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Problem("not-utf8", detail="字符串中含有不成对的代理字符（\\ud800 至 \\udfff）") from None


class _Twice(list[Any]):
    """The values of a key that was given more than once."""


def _twice(value: Any, path: tuple[str | int, ...]) -> list[FieldError]:
    found: list[FieldError] = []
    if isinstance(value, _Twice):
        found.append({"pointer": pointer(path), "code": "duplicate-key", "detail": "这个键出现了不止一次"})
        inner: list[tuple[str | int, Any]] = []
    elif isinstance(value, dict):
        inner = list(cast(dict[str | int, Any], value).items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        inner = []
    for name, part in inner:
        found.extend(_twice(part, (*path, name)))
    return found


def _is_too_deep(text: str) -> bool:
    depth = 0
    for found in _BRACKETS.finditer(text):
        mark = found[0]
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif mark in "]}":
            depth -= 1
    return False


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
