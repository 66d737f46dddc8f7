"""Clearing over the API: the institution looks at its periods, confirms what it agrees with, objects to the rest.

Neither needs a key: the same once more is the same. What is said is kept at once, and the centre told until it has
heard it.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy import Connection

from domain.clearings import Decision, Refused
from producers.api import openapi
from producers.api.claims import Reply
from producers.api.clearing_wire import (
    CONFIRMATION_IN,
    OBJECTION_IN,
    ClearingDetailOut,
    ClearingsOut,
    seen,
    seen_wholly,
)
from producers.api.keys import Caller
from producers.api.problems import Problem
from producers.api.reading import document, read_body
from producers.api.reconciliation import patiently
from producers.api.routes import answered, caller_of, only_known_parameters, site_of
from producers.api.site import Site
from workers.clearings import held, saying
from workers.clearings.saying import CannotSay

router = APIRouter(dependencies=[Depends(only_known_parameters)], prefix="/v1/clearings", tags=["clearings"])

MOST_PERIODS = 500

PeriodNo = Annotated[int, Path(ge=1, le=10**18 - 1, description="清算期编号", examples=[17])]
_written = msgspec.json.Encoder()


@router.get("", **openapi.LIST_CLEARINGS)
async def listed(
    request: Request,
    month: Annotated[
        str, Query(pattern=r"^([0-9]{4}-(0[1-9]|1[0-2]))?$", description="清算年月; all if left out")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_PERIODS)] = 100,
) -> Response:
    """The institution's clearing periods, newest first, with what each comes to where it is closed."""
    caller = await caller_of(request)
    code = caller.institution_code

    def query(connection: Connection) -> ClearingsOut:
        found = held.listed(connection, code, name=month, most=limit)
        return {
            "clearings": [seen(each, saying.newest(connection, code, each.clearing.head.period_no)) for each in found]
        }

    return answered(Reply(200, _written.encode(await patiently(site_of(request).read(query))), {}))


@router.get("/{period_no}", **openapi.SHOW_CLEARING)
async def show(request: Request, period_no: PeriodNo) -> Response:
    """One period: what it comes to, by fund and by day, and what the institution said of it."""
    found = await _seen(site_of(request), await caller_of(request), period_no)
    return answered(Reply(200, _written.encode(found), {}))


@router.post("/{period_no}/confirmation", **openapi.CONFIRM_CLEARING)
async def confirm(request: Request, period_no: PeriodNo) -> Response:
    """Agree with a closed period. `clearing_no` names the figures that were looked at."""
    caller = await caller_of(request)
    given, _ = document(await read_body(dict(request.scope["headers"]), request.receive), CONFIRMATION_IN)
    return await _say(
        site_of(request), caller, period_no, Decision.CONFIRM, given["clearing_no"], by=given["by"], reason=""
    )


@router.post("/{period_no}/objection", **openapi.OBJECT_CLEARING)
async def object_to(request: Request, period_no: PeriodNo) -> Response:
    """Object to a closed period: it is not confirmed by time any more, and the centre looks into it."""
    caller = await caller_of(request)
    given, _ = document(await read_body(dict(request.scope["headers"]), request.receive), OBJECTION_IN)
    return await _say(
        site_of(request),
        caller,
        period_no,
        Decision.OBJECT,
        given["clearing_no"],
        by=given["by"],
        reason=given["reason"],
    )


async def _say(
    site: Site, caller: Caller, period_no: int, decision: Decision, clearing_no: int, *, by: str, reason: str
) -> Response:
    keep = partial(
        saying.say,
        site.engine,
        caller.institution_code,
        period_no,
        clearing_no=clearing_no,
        decision=decision,
        by=by,
        reason=reason,
        at=site.now(),
    )
    try:
        is_new = await patiently(site.aside(keep))
    except CannotSay as why:
        raise (_not_found() if why.code is Refused.UNKNOWN else Problem(str(why.code))) from None
    found = await _seen(site, caller, period_no)
    headers = {"Location": f"/v1/clearings/{period_no}"} | ({} if is_new else {"Idempotency-Replayed": "true"})
    return answered(Reply(202, _written.encode(found), headers))


async def _seen(site: Site, caller: Caller, period_no: int) -> ClearingDetailOut:
    code = caller.institution_code

    def query(connection: Connection) -> ClearingDetailOut | None:
        found = held.find(connection, code, period_no)
        return None if found is None else seen_wholly(found, saying.newest(connection, code, period_no))

    found = await patiently(site.read(query))
    if found is None:
        raise _not_found()
    return found


def _not_found() -> Problem:
    return Problem("not-found", detail="本机构没有这个清算期，或中心还没有告知")
