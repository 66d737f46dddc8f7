"""Reconciliation over the API: the institution's own book of a day in, by totals, lines or file; differences out."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import date
from functools import partial
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from domain.messages import InstitutionLine, ScopeTotals
from domain.settlement_files import Wrong, contradictions
from producers.api import openapi
from producers.api.claims import Reply, try_again
from producers.api.commit import Away
from producers.api.keys import Caller
from producers.api.problems import FieldError, Problem, pointer
from producers.api.reading import document, read_body, read_bounded
from producers.api.reconciliation_wire import (
    BOOK_IN,
    TOTALS_IN,
    NoticesOut,
    book_seen,
    lines_of,
    notice_seen,
    totals_of,
)
from producers.api.routes import answered, caller_of, only_known_parameters, site_of
from producers.api.site import Site
from producers.reconciling import files
from producers.values import Day
from workers.reconciling import books, orders
from workers.reconciling.books import DayBook

router = APIRouter(dependencies=[Depends(only_known_parameters)], prefix="/v1/reconciliation", tags=["reconciliation"])

T = TypeVar("T")

API, FILE = "api", "file"
MOST_NOTICES = 500

DayInPath = Annotated[Day, Path(description="结算日期", examples=["2026-03-02"])]
_written = msgspec.json.Encoder()


@router.post("/totals", **openapi.HAND_IN_TOTALS)
async def totals(request: Request) -> Response:
    """Hand in the totals of a day, per scheme and clearing type, with refunds or without (3201).

    The same totals once more are compared once more; others take their place. Lines handed in before stay.
    """
    caller = await caller_of(request)
    raw = await read_body(dict(request.scope["headers"]), request.receive)
    given, _ = document(raw, TOTALS_IN)
    return await _hand_in(site_of(request), caller, given["day"], totals=totals_of(given), channel=API)


@router.post("/lines", **openapi.HAND_IN_LINES)
async def lines(request: Request) -> Response:
    """Hand in the lines of a day, all of them (3202). Others take their place; totals handed in before stay."""
    caller = await caller_of(request)
    raw = await read_body(dict(request.scope["headers"]), request.receive)
    given, _ = document(raw, BOOK_IN)
    read = lines_of(given)
    wrong = [_line_error(each) for line in read for each in contradictions(line)]
    if wrong:
        raise Problem("content-invalid", errors=wrong)
    return await _hand_in(site_of(request), caller, given["day"], lines=read, channel=API)


@router.post("/{day}/file", **openapi.HAND_IN_FILE)
async def file(request: Request, day: DayInPath) -> Response:
    """Hand in the lines of a day as a file: TAB-separated UTF-8 in a ZIP (9101, 3202)."""
    site, caller = site_of(request), await caller_of(request)
    headers = dict(request.scope["headers"])
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/zip":
        raise Problem("media-type-unsupported", detail="只接受 Content-Type: application/zip")
    raw = await read_bounded(headers, request.receive, most=files.MAX_ZIP)
    try:
        read = await site.aside(files.read, raw)
    except files.FileRefused as refused:
        raise Problem("content-invalid", errors=[_error(each) for each in refused.wrong]) from None
    return await _hand_in(site, caller, day, lines=read, channel=FILE)


@router.get("/notices", **openapi.NOTICES)
async def notices(request: Request, limit: Annotated[int, Query(ge=1, le=MOST_NOTICES)] = 100) -> Response:
    """What the centre had done about the institution's differences, newest first."""
    caller = await caller_of(request)
    site = site_of(request)
    code = caller.institution_code
    found = await patiently(site.read(lambda connection: orders.notices(connection, code, limit=limit)))
    body: NoticesOut = {"notices": [notice_seen(each) for each in found]}
    return answered(Reply(200, _written.encode(body), {}))


@router.get("/{day}", **openapi.SHOW_BOOK)
async def show(request: Request, day: DayInPath) -> Response:
    """How a day stands: what was handed in, how it compares, and every difference with what is to be done about it."""
    book = await _book(site_of(request), await caller_of(request), day)
    return answered(Reply(200, _written.encode(book_seen(book)), {}))


@router.get("/{day}/file", **openapi.RESULT_FILE)
async def result(request: Request, day: DayInPath) -> Response:
    """The differences of a day as a file, once the centre's answer is here (3202, 9102)."""
    caller = await caller_of(request)
    book = await _book(site_of(request), caller, day)
    if not book.compared:
        raise Problem("not-compared")
    found = [row for part in book.compared for row in part.differences]
    name = files.result_name(caller.institution_code, day)
    headers = {"Content-Disposition": f'attachment; filename="{name.removesuffix(".txt")}.zip"'}
    return answered(Reply(200, files.write(name, found), headers, "application/zip"))


async def _hand_in(
    site: Site,
    caller: Caller,
    day: date,
    *,
    totals: Sequence[ScopeTotals] | None = None,
    lines: Sequence[InstitutionLine] | None = None,
    channel: str,
) -> Response:
    if day > site.now().date():
        raise Problem("content-invalid", errors=[{"pointer": "#/day", "code": "in-future", "detail": "日期在今天之后"}])
    code = caller.institution_code
    keep = partial(books.hand_in, site.engine, code, day, totals=totals, lines=lines, channel=channel, at=site.now())
    handed_in = await patiently(site.aside(keep))
    book = await _book(site, caller, day)
    headers = {"Location": f"/v1/reconciliation/{day}"}
    if not handed_in.is_new:
        headers["Idempotency-Replayed"] = "true"
    return answered(Reply(202, _written.encode(book_seen(book)), headers))


async def _book(site: Site, caller: Caller, day: date) -> DayBook:
    code = caller.institution_code
    found = await patiently(site.read(lambda connection: books.find(connection, code, day)))
    if found is None:
        raise Problem("not-found", detail="本机构没有提交过这一天的账")
    return found


async def patiently(work: Awaitable[T]) -> T:
    """Raises Problem while the database is away."""
    try:
        return await work
    except Away as error:
        raise try_again() from error


_FIELDS = {"medfee_sumamt": "total_amount", "init_setl_id": "refund_of"}


def _line_error(each: Wrong) -> FieldError:
    return {"pointer": pointer(("lines", each.row - 1, _FIELDS[each.field])), "code": each.code, "detail": each.words}


def _error(each: Wrong) -> FieldError:
    where = ("rows", each.row, each.field)[: 0 if not each.row else 3 if each.field else 2]
    return {"pointer": pointer(where), "code": each.code, "detail": each.words}
