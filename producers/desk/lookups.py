"""What a counter looks up before it charges: the institution itself, and which of its items have a match today."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import Connection, func, select

from domain import money
from domain.catalogue import Match
from domain.lifecycle import VisitState
from domain.visit import STAYS
from infra.reference import NothingPublished
from producers.api import claims
from producers.api.claims import Reply
from producers.api.commit import Away
from producers.api.openapi import INSTITUTION, MATCHES
from producers.api.routes import answered, caller_of, only_known_parameters, site_of
from producers.desk.documents import InstitutionOut, MatchesOut, MatchOut
from workers.tables import visit

ADVISORY_STAYS = 50
"""So many inpatient and specific outpatient visits a month the desk is meant for (4.3, AMB-52): advice only."""
MOST_MATCHES = 50

router = APIRouter(dependencies=[Depends(only_known_parameters)])


@router.get("/v1/institution", **INSTITUTION)
async def institution(request: Request) -> Response:
    """Who the key belongs to, and how much of the desk's volume this month has used."""
    caller, site = await caller_of(request), site_of(request)
    today = site.clock.now().date()
    try:
        stays = await site.read(lambda connection: _stays(connection, caller.institution_code, today))
    except Away as error:
        raise claims.try_again() from error
    body: InstitutionOut = {
        "institution_code": caller.institution_code,
        "name": caller.name,
        "level": caller.level,
        "today": today.isoformat(),
        "this_month": {"stays": stays, "advisory": ADVISORY_STAYS},
    }
    return answered(Reply(200, msgspec.json.encode(body), {}))


@router.get("/v1/matches", **MATCHES)
async def matches(
    request: Request,
    q: Annotated[str, Query(max_length=40, description="part of the own code or name; all when left out")] = "",
    day: Annotated[date | None, Query(description="valid on this day; today when left out")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_MATCHES)] = 20,
) -> Response:
    """The institution's own items that can be charged on a day: codes that begin with the text first."""
    caller, site = await caller_of(request), site_of(request)
    try:
        held = (await site.aside(site.reference)).catalogue
    except (*Away, NothingPublished) as error:
        raise claims.try_again() from error
    on = day or site.clock.now().date()
    found = await site.aside(_found, held.matches_on(caller.institution_code, on), q, limit)
    body: MatchesOut = {"version": held.version, "day": on.isoformat(), "matches": [_out(one) for one in found]}
    return answered(Reply(200, msgspec.json.encode(body), {}))


def _stays(connection: Connection, institution_code: str, today: date) -> int:
    return int(
        connection.execute(
            select(func.count())
            .select_from(visit)
            .where(
                visit.c.institution_code == institution_code,
                visit.c.visit_type.in_(sorted(STAYS)),
                visit.c.visit_date.between(today.replace(day=1), today),
                visit.c.state != VisitState.CANCELLED,
            )
        ).scalar_one()
    )


def _found(matches: Iterable[Match], text: str, limit: int) -> list[Match]:
    """Codes equal to the text, then codes that begin with it, then names that have it in them."""
    sought = text.strip().casefold()
    ranked: list[tuple[int, str, Match]] = []
    for match in matches:
        code, name = match.local_item_code.casefold(), _name(match).casefold()
        if code == sought:
            rank = 0
        elif code.startswith(sought):
            rank = 1
        elif name.startswith(sought):
            rank = 2
        elif sought in name or sought in code:
            rank = 3
        else:
            continue
        ranked.append((rank, match.local_item_code, match))
    return [match for _, _, match in sorted(ranked, key=lambda one: one[:2])[:limit]]


def _name(match: Match) -> str:
    return match.local_item_name or match.centre_item_name


def _out(match: Match) -> MatchOut:
    price = match.local_unit_price_1e4
    return {
        "local_item_code": match.local_item_code,
        "local_item_name": _name(match),
        "specification": match.local_specification,
        "dosage_form": match.local_dosage_form,
        "centre_item_code": match.centre_item_code,
        "coverage_class": match.coverage_class,
        "unit_price": None if price is None else money.unscaled(price, money.PRICE_SCALE),
    }
