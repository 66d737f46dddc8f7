"""The addresses of the API. Handing in a claim has a short way round the framework (`producers.api.app`)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from datetime import date
from functools import partial
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from domain import money
from domain.catalogue import OPEN_END, CatalogueItem
from infra import metrics
from infra.reference import NothingPublished
from producers import quote as quotes
from producers.api import claims, error_list, openapi
from producers.api.claims import Reply
from producers.api.commit import Away
from producers.api.keys import Caller
from producers.api.link import link_seen
from producers.api.problems import KINDS, Problem, pointer
from producers.api.reading import read_body, read_bounded
from producers.api.site import Site
from producers.api.wire import CatalogueItemOut, CataloguePageOut
from producers.values import Day


async def only_known_parameters(request: Request) -> None:
    """A parameter nobody reads would be a wish that is not granted. Raises Problem."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    unknown = set(request.query_params) - known
    if unknown:
        raise Problem(
            "parameters-invalid",
            errors=[
                {"pointer": pointer(("query", name)), "code": "unknown-field", "detail": "接口没有这个参数"}
                for name in sorted(unknown)
            ],
        )


router = APIRouter(dependencies=[Depends(only_known_parameters)])

EVENTS_SECONDS = 300.0
MOST_ITEMS = 500

ClaimNo = Annotated[
    str,
    Path(
        pattern=r"^[0-9A-Za-z]{1,16}-[0-9]{1,4}$",
        description="visit number, dash, batch number",
        examples=["H440012603020001-1"],
    ),
]


def site_of(request: Request) -> Site:
    """The site this application serves."""
    site: Site = request.app.state.site
    return site


async def caller_of(request: Request) -> Caller:
    """The institution behind the request, which is served here. Raises Problem."""
    caller = await any_caller_of(request)
    if not caller.is_served:
        raise Problem("not-served")
    return caller


async def any_caller_of(request: Request) -> Caller:
    """The same, also where it was served once: for what asks after things taken before. Raises Problem."""
    return await known_caller(site_of(request), dict(request.scope["headers"]))


async def known_caller(site: Site, headers: dict[bytes, bytes]) -> Caller:
    """The institution whose key the headers carry. Raises Problem."""
    caller = site.keys.caller(headers)
    if caller is None:
        try:
            caller = await site.aside(site.keys.look_again, headers)
        except Away as error:
            raise claims.try_again() from error
    return caller


def answered(reply: Reply) -> Response:
    """The reply as the framework's response."""
    return Response(reply.body, reply.status, reply.headers, reply.media_type)


@router.post("/v1/claims", **openapi.SUBMIT)
async def submit(request: Request) -> Response:
    """Hand in a claim: a registration and its charge lines.

    202 as soon as it is durably stored. With `Prefer: wait=N` the answer is waited for, at most N seconds (30).
    """
    headers = dict(request.scope["headers"])
    caller = await any_caller_of(request)
    raw = await read_body(headers, request.receive)
    return answered(await claims.submit(site_of(request), caller, headers, raw))


@router.post("/v1/claims/{claim_no}/settlement", **openapi.SETTLE)
async def settle(request: Request, claim_no: ClaimNo) -> Response:
    """Let a claim that was handed in with `"settle": "later"` be settled now."""
    headers = dict(request.scope["headers"])
    caller = await caller_of(request)
    if (await read_bounded(headers, request.receive)).strip() not in (b"", b"{}"):
        raise Problem("content-invalid", detail="此请求不带内容")
    return answered(await claims.settle(site_of(request), caller, claim_no, headers))


@router.get("/v1/claims/{claim_no}", **openapi.SHOW)
async def show(request: Request, claim_no: ClaimNo) -> Response:
    """A claim as it stands: its state, and the verdicts, the settlement or the refusal it came to."""
    return answered(claims.seen(await claims.look_up(site_of(request), await any_caller_of(request), claim_no)))


@router.get("/v1/claims/{claim_no}/events", **openapi.EVENTS)
async def events(
    request: Request,
    claim_no: ClaimNo,
    last_event_id: Annotated[str, Header(description="the last event heard, after a broken connection")] = "",
) -> Response:
    """The steps of a claim as they happen (server-sent events), until it is final."""
    site, caller = site_of(request), await any_caller_of(request)
    view = await claims.look_up(site, caller, claim_no)

    async def told() -> AsyncIterator[ServerSentEvent]:
        async for state, body in claims.steps(site, caller, view, EVENTS_SECONDS, heard=last_event_id):
            yield ServerSentEvent(data=body.decode(), event=state, id=state)

    return EventSourceResponse(told(), ping=15)


@router.get("/v1/claims/{claim_no}/statement", **openapi.STATEMENT)
async def statement(
    request: Request,
    claim_no: ClaimNo,
    accept: Annotated[str, Header(description="application/pdf for a PDF, text/plain for plain text")] = "text/html",
) -> Response:
    """The settlement statement (结算单) of a settled claim, to print."""
    caller, site = await any_caller_of(request), site_of(request)
    view = await claims.look_up(site, caller, claim_no)
    return answered(await site.aside(claims.printed, view, caller, accept, site.statement_key))


@router.post("/v1/quotes", **openapi.QUOTE)
async def quote(request: Request) -> Response:
    """What a claim would settle to, by the same functions and the policy in force. Nothing is booked."""
    headers = dict(request.scope["headers"])
    caller, site = await caller_of(request), site_of(request)
    body = await read_body(headers, request.receive)
    ask = partial(quotes.quoted, institution_code=caller.institution_code, institution_level=caller.level)
    try:
        reference = await site.aside(site.reference)
        quoted = await site.aside(ask, body, reference.policy, reference.catalogue)
    except quotes.CannotQuote as refused:
        raise Problem("quote-refused", detail=refused.words, errors=refused.errors) from None
    except (*Away, NothingPublished) as error:
        raise claims.try_again() from error
    return answered(Reply(200, msgspec.json.encode(quotes.seen(quoted)), {}))


@router.get("/v1/catalogue", **openapi.CATALOGUE)
async def catalogue(
    request: Request,
    day: Annotated[Day | None, Query(description="valid on this day; today when left out")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 100,
    cursor: Annotated[str, Query(max_length=200, description="next_cursor of the page before")] = "",
) -> Response:
    """The centre items valid on a day, by code."""
    await caller_of(request)
    site = site_of(request)
    try:
        held = (await site.aside(site.reference)).catalogue
    except (*Away, NothingPublished) as error:
        raise claims.try_again() from error
    on = day or site.clock.now().date()
    start = _after(cursor, held.version, on)
    items = await site.aside(held.items_on, on)
    page = items[start : start + limit]
    more = start + limit < len(items)
    body: CataloguePageOut = {
        "version": held.version,
        "day": on.isoformat(),
        "items": [_item(item) for item in page],
        "next_cursor": _cursor(held.version, on, start + limit) if more else None,
    }
    return answered(Reply(200, msgspec.json.encode(body), {}))


@router.get("/v1/errors", **openapi.ERRORS)
async def errors(
    request: Request,
    day: Annotated[Day | None, Query(description="found on this day")] = None,
    visit_no: Annotated[str, Query(pattern=r"^[0-9A-Za-z]{0,16}$", description="of this visit")] = "",
    form: Annotated[error_list.Form, Query(alias="format", description="xlsx: a workbook for people")] = "json",
    limit: Annotated[int, Query(ge=1, le=error_list.MOST_LINES)] = 1000,
) -> Response:
    """The error list (错误清单): charge lines that were not imported and are not mended yet.

    With a day or a visit named also the lines that were imported with a warning.
    """
    caller = await caller_of(request)
    shown = error_list.shown(site_of(request), caller, day=day, visit_no=visit_no, form=form, limit=limit)
    return answered(await shown)


@router.get("/healthz", **openapi.HEALTH)
async def healthz() -> Response:
    """The process is alive."""
    return Response(b'{"alive":true}', media_type="application/json")


@router.get("/v1/link", **openapi.LINK)
async def link(request: Request) -> Response:
    """How the link to the centre stands, and what waits of the institution's own. Down: claims are accepted, not
    settled."""
    caller, site = await caller_of(request), site_of(request)
    ask = partial(link_seen, institution_code=caller.institution_code, at=site.now())
    try:
        seen = await site.read(ask)
    except Away as error:
        raise claims.try_again() from error
    return answered(Reply(200, msgspec.json.encode(seen), {}))


@router.get("/readyz", **openapi.READY)
async def readyz(request: Request) -> Response:
    """Database and broker answer. Without the broker claims are still accepted; they wait for it."""
    site = site_of(request)
    ready = {
        "database": await site.aside(site.database_is_there),
        "broker": await site.aside(site.broker_is_there),
    }
    return Response(msgspec.json.encode(ready), 200 if all(ready.values()) else 503, media_type="application/json")


@router.get("/metrics", **openapi.METRICS)
async def metrics_page(request: Request) -> Response:
    """For Prometheus."""
    site = site_of(request)
    page = await site.aside(metrics.page, site.readings)
    return Response(page, headers={"Content-Type": metrics.CONTENT_TYPE})


@router.get("/problems/{code}", **openapi.PROBLEM)
async def problem(code: Annotated[str, Path(max_length=40)]) -> Response:
    """What a problem's `type` means."""
    kind = KINDS.get(code)
    if kind is None:
        raise Problem("not-found")
    return Response(f"{kind.title}（{kind.status} {kind.code}）\n\n{kind.detail}\n", media_type="text/plain")


def _item(item: CatalogueItem) -> CatalogueItemOut:
    ratio, limit = item.pre_self_pay_ratio_1e4, item.price_limit_1e4
    return {
        "item_code": item.item_code,
        "item_name": item.item_name,
        "match_type": item.match_type,
        "coverage_class": item.coverage_class,
        "stat_category": item.stat_category,
        "pre_self_pay_ratio": None if ratio is None else money.unscaled(ratio, money.RATIO_SCALE),
        "price_limit": None if limit is None else money.unscaled(limit, money.PRICE_SCALE),
        "effective_date": item.effective_date.isoformat(),
        "expiry_date": None if item.expiry_date == OPEN_END else item.expiry_date.isoformat(),
    }


def _cursor(version: str, day: date, start: int) -> str:
    return base64.urlsafe_b64encode(f"{start}|{day}|{version}".encode()).decode().rstrip("=")


def _after(cursor: str, version: str, day: date) -> int:
    """Where the page starts; a cursor of another day or another catalogue version starts nothing. Raises Problem."""
    if not cursor:
        return 0
    try:
        start, on, of = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split("|")
        if (on, of) == (day.isoformat(), version) and start.isascii() and start.isdigit():
            return int(start)
    except (ValueError, binascii.Error):
        pass
    raise Problem(
        "parameters-invalid",
        errors=[{"pointer": "#/query/cursor", "code": "cursor-unknown", "detail": "游标无效，或目录已更新，请从头取"}],
    )
