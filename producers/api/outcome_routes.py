"""The addresses of two-phase settlement and of unknown outcomes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from producers.api import openapi, outcomes
from producers.api.problems import Problem
from producers.api.reading import read_body, read_bounded
from producers.api.routes import ClaimNo, answered, any_caller_of, only_known_parameters, site_of

router = APIRouter(dependencies=[Depends(only_known_parameters)], prefix="/v1", tags=["outcomes"])

MOST_OUTCOMES = 500


async def _no_body(request: Request) -> None:
    """Raises Problem for a request with a body."""
    if (await read_bounded(dict(request.scope["headers"]), request.receive)).strip() not in (b"", b"{}"):
        raise Problem("content-invalid", detail="此请求不带内容")


@router.post("/claims/{claim_no}/confirmation", **openapi.CONFIRM)
async def confirm(request: Request, claim_no: ClaimNo) -> Response:
    """Confirm a prepared claim: the HIS has booked it, and the centre settles exactly what it prepared."""
    headers, caller = dict(request.scope["headers"]), await any_caller_of(request)
    await _no_body(request)
    return answered(await outcomes.confirm(site_of(request), caller, claim_no, headers))


@router.post("/claims/{claim_no}/cancellation", **openapi.CANCEL_CLAIM)
async def cancel(request: Request, claim_no: ClaimNo) -> Response:
    """Cancel a claim that is not settled. What is settled is not cancelled but refunded."""
    headers, caller = dict(request.scope["headers"]), await any_caller_of(request)
    await _no_body(request)
    return answered(await outcomes.cancel(site_of(request), caller, claim_no, headers))


@router.post("/cancellations", **openapi.CANCEL_BY_KEY)
async def cancel_by_key(request: Request) -> Response:
    """Cancel whatever was sent under a key (冲正), whether it came or not. A claim that comes afterwards is refused."""
    headers, caller = dict(request.scope["headers"]), await any_caller_of(request)
    raw = await read_body(headers, request.receive)
    return answered(await outcomes.cancel_by_key(site_of(request), caller, headers, raw))


@router.get("/outcomes", **openapi.OUTCOMES)
async def ask(
    request: Request,
    key: Annotated[
        str,
        Query(pattern=r"^[!-~]{0,255}$", description="of the claim; left out: all unfinished"),
    ] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_OUTCOMES)] = 100,
) -> Response:
    """What became of a claim, by one's own key (查询不确定交易); or every claim of one's own that is not finished."""
    return answered(await outcomes.ask(site_of(request), await any_caller_of(request), key, limit))
