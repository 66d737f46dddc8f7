"""The addresses of registered visits."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from producers.api import openapi, visits
from producers.api.problems import Problem
from producers.api.reading import read_body, read_bounded
from producers.api.routes import answered, any_caller_of, caller_of, only_known_parameters, site_of
from producers.values import Day

router = APIRouter(dependencies=[Depends(only_known_parameters)], prefix="/v1/visits", tags=["visits"])

MOST_VISITS = 500

VisitNo = Annotated[
    str, Path(pattern=r"^[0-9A-Za-z]{1,16}$", description="就医登记号 JYDJH", examples=["H440012603020001"])
]

BatchNo = Annotated[int, Path(ge=1, le=9999, description="费用批次 FYPC")]


async def _no_body(request: Request) -> None:
    """Raises Problem for a request with a body."""
    if (await read_bounded(dict(request.scope["headers"]), request.receive)).strip() not in (b"", b"{}"):
        raise Problem("content-invalid", detail="此请求不带内容")


@router.post("", **openapi.REGISTER)
async def register(request: Request) -> Response:
    """Register a visit: it gets its number, and the entitlement is asked from the centre."""
    headers = dict(request.scope["headers"])
    caller = await any_caller_of(request)
    raw = await read_body(headers, request.receive)
    return answered(await visits.register(site_of(request), caller, headers, raw))


@router.get("", **openapi.LIST_VISITS)
async def listed(
    request: Request,
    state: Annotated[
        Literal["", "open", "settled", "discharged", "closed", "cancelled"], Query(description="all when left out")
    ] = "",
    day: Annotated[Day | None, Query(description="registered on this day")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_VISITS)] = 100,
) -> Response:
    """The institution's registered visits, newest number first."""
    return answered(await visits.listed(site_of(request), await caller_of(request), state, day, limit))


@router.get("/{visit_no}", **openapi.SHOW_VISIT)
async def show(request: Request, visit_no: VisitNo) -> Response:
    """A registered visit as it stands, with its lines, what failed of them, and what is known of the person."""
    return answered(await visits.detail(site_of(request), await any_caller_of(request), visit_no))


@router.post("/{visit_no}/lines", **openapi.ADD_LINES)
async def add_lines(request: Request, visit_no: VisitNo) -> Response:
    """Import charge lines of the visit: all of the request, or none, with the verdict of every line.

    The same line again is imported once; the same number with other content is 94.
    """
    caller = await caller_of(request)
    raw = await read_body(dict(request.scope["headers"]), request.receive)
    return answered(await visits.add_lines(site_of(request), caller, visit_no, raw))


@router.post("/{visit_no}/settlements", **openapi.SETTLE_VISIT)
async def settle(request: Request, visit_no: VisitNo) -> Response:
    """Settle the lines that are imported and not settled, as the visit's next batch."""
    headers = dict(request.scope["headers"])
    caller = await any_caller_of(request)
    raw = await read_body(headers, request.receive)
    return answered(await visits.settle(site_of(request), caller, visit_no, headers, raw))


@router.post("/{visit_no}/discharge", **openapi.DISCHARGE)
async def discharge(request: Request, visit_no: VisitNo) -> Response:
    """Discharge a stay. Saying the same twice is saying it once."""
    caller = await caller_of(request)
    raw = await read_body(dict(request.scope["headers"]), request.receive)
    return answered(await visits.discharge(site_of(request), caller, visit_no, raw))


@router.post("/{visit_no}/cancellation", **openapi.CANCEL)
async def cancel(request: Request, visit_no: VisitNo) -> Response:
    """Take the registration back; only before a line was imported. Doing it twice is doing it once."""
    caller = await caller_of(request)
    await _no_body(request)
    return answered(await visits.cancel(site_of(request), caller, visit_no))


@router.post("/{visit_no}/batches/{charge_batch_no}/withdrawal", **openapi.GIVE_UP)
async def give_up(request: Request, visit_no: VisitNo, charge_batch_no: BatchNo) -> Response:
    """Give a batch up that the centre refused: its lines are free to be settled anew. Twice is once."""
    caller = await caller_of(request)
    await _no_body(request)
    return answered(await visits.give_up(site_of(request), caller, visit_no, charge_batch_no))


@router.post("/{visit_no}/batches/{charge_batch_no}/resubmission", **openapi.SEND_AGAIN)
async def send_again(request: Request, visit_no: VisitNo, charge_batch_no: BatchNo) -> Response:
    """Send a batch to the centre again that it refused, as it was, after its cause was mended."""
    caller = await caller_of(request)
    await _no_body(request)
    headers = dict(request.scope["headers"])
    return answered(await visits.send_again(site_of(request), caller, visit_no, charge_batch_no, headers))


@router.post("/{visit_no}/refunds", **openapi.REFUND)
async def refund(request: Request, visit_no: VisitNo) -> Response:
    """Take a settlement back, and settle what is kept of it with the same request: both or neither.

    Also for visits that were handed in as a claim.
    """
    headers = dict(request.scope["headers"])
    caller = await any_caller_of(request)
    raw = await read_body(headers, request.receive)
    return answered(await visits.refund(site_of(request), caller, visit_no, headers, raw))
