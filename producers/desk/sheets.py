"""The counter's sheet of a visit: who it is, what the centre says of them, the lines, the settlements; and a quote.

The steps themselves are those of the API (`/v1/visits/...`); here is what a person at a counter has to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy import ColumnElement, Connection, and_, func, select

from domain import money
from domain.catalogue import Catalogue
from domain.codes import CODES
from domain.entitlement import Entitlement
from domain.identity import written
from domain.lifecycle import ClaimState, VisitState
from domain.policy import PolicyBook
from domain.visit import ChargeLine, Registration, unpack_lines
from infra.clock import SHANGHAI
from infra.codec import unpack
from infra.reference import NothingPublished
from producers import quote as quotes
from producers.api import claims
from producers.api.claims import Reply
from producers.api.commit import Away
from producers.api.keys import Caller
from producers.api.openapi import DESK_QUOTE, DESK_VISIT, DESK_VISITS
from producers.api.problems import Problem
from producers.api.reading import document, read_body
from producers.api.routes import answered, caller_of, only_known_parameters, site_of
from producers.api.visit_wire import LINES_IN
from producers.api.wire import LineIn, refusal_words
from producers.desk.documents import (
    BatchOut,
    EntitlementOut,
    ListedOut,
    SheetLineOut,
    SheetOut,
    VisitsOut,
)
from producers.quote.accumulated import is_count
from workers import claims as claim_views
from workers import entitlement
from workers.tables import claim, visit, visit_lines
from workers.visits import FailedLine, VisitView, failures, find
from workers.visits.rows import ARE_FREE, LINES

MOST_VISITS = 500
_NAMED_CONDITIONS = ("disease", "registration_kind", "medical_type", "transferred_from")

VisitNo = Annotated[str, Path(pattern=r"^[0-9A-Za-z]{1,16}$", description="就医登记号 JYDJH")]

_PRIVATE = {"Cache-Control": "no-store"}
"""Names and identity numbers are in it: no browser keeps it."""

router = APIRouter(prefix="/v1/desk", dependencies=[Depends(only_known_parameters)])


@router.get("/visits", **DESK_VISITS)
async def visits_of(
    request: Request,
    day: Annotated[date | None, Query(description="registered on this day; today when left out")] = None,
    state: Annotated[Literal["", "open"], Query(description="open: every visit that is not ended")] = "",
) -> Response:
    """The institution's visits of a day, or all that are not ended; newest first."""
    caller, site = await caller_of(request), site_of(request)
    on = day or site.clock.now().date()
    query = partial(_listed, institution_code=caller.institution_code, day=None if state else on)
    try:
        body: VisitsOut = {"visits": await site.read(query)}
    except Away as error:
        raise claims.try_again() from error
    return answered(Reply(200, msgspec.json.encode(body), dict(_PRIVATE)))


@router.get("/visits/{visit_no}", **DESK_VISIT)
async def sheet(request: Request, visit_no: VisitNo) -> Response:
    """Everything the counter shows of a visit."""
    caller, site = await caller_of(request), site_of(request)
    query = partial(_sheet, caller=caller, visit_no=visit_no, at=site.clock.now())
    try:
        body = await site.read(query)
    except Away as error:
        raise claims.try_again() from error
    return answered(Reply(200, msgspec.json.encode(body), dict(_PRIVATE)))


@router.post("/visits/{visit_no}/quotes", **DESK_QUOTE)
async def quote(request: Request, visit_no: VisitNo) -> Response:
    """What the visit's unsettled lines, and these, would settle to by what the centre said of the person."""
    headers = dict(request.scope["headers"])
    caller, site = await caller_of(request), site_of(request)
    given, _ = document(await read_body(headers, request.receive), LINES_IN)
    query = partial(_unsettled, caller=caller, visit_no=visit_no, at=site.clock.now())
    try:
        reference = await site.aside(site.reference)
        view, lines, person = await site.read(query)
        asked = _question(view, lines, given["lines"], person, site.clock.now().date())
        quoted = await site.aside(_quoted, asked, reference.policy, reference.catalogue, caller)
    except quotes.CannotQuote as refused:
        raise Problem("quote-refused", detail=refused.words, errors=refused.errors) from None
    except (*Away, NothingPublished) as error:
        raise claims.try_again() from error
    return answered(Reply(200, msgspec.json.encode(quotes.seen(quoted)), {}))


# ── List ──────────────────────────────────────────────────────────────────────────────────────────────────


def _listed(connection: Connection, *, institution_code: str, day: date | None) -> list[ListedOut]:
    settled = (
        select(claim.c.visit_no, func.sum(claim.c.total_fen).label("fen"))
        .where(claim.c.institution_code == institution_code, claim.c.state == ClaimState.SETTLED)
        .group_by(claim.c.visit_no)
        .subquery()
    )
    chosen: ColumnElement[bool]
    if day is None:
        chosen = visit.c.state.in_([VisitState.OPEN, VisitState.SETTLED, VisitState.DISCHARGED])
    else:
        midnight = datetime.combine(day, time(), SHANGHAI)
        chosen = and_(visit.c.registered_at >= midnight, visit.c.registered_at < midnight + timedelta(days=1))
    rows = connection.execute(
        select(visit.c.content, visit.c.state, func.coalesce(settled.c.fen, 0).label("fen"))
        .outerjoin(settled, settled.c.visit_no == visit.c.visit_no)
        .where(visit.c.institution_code == institution_code, chosen)
        .order_by(visit.c.visit_no.desc())
        .limit(MOST_VISITS)
    )
    return [_listed_out(unpack(row.content, Registration), row.state, int(row.fen)) for row in rows]


def _listed_out(of: Registration, state: str, settled_fen: int) -> ListedOut:
    return {
        "visit_no": of.visit_no,
        "visit_type": of.visit_type.value,
        "visit_date": of.visit_date.isoformat(),
        "state": state,
        "person_name": of.person_name,
        "settled_amount": money.yuan(settled_fen),
    }


# ── Sheet ─────────────────────────────────────────────────────────────────────────────────────────────────


def _sheet(connection: Connection, *, caller: Caller, visit_no: str, at: datetime) -> SheetOut:
    view = _view(connection, caller, visit_no)
    of = view.registration
    held = entitlement.last_known(connection, of.citizen_id_no, at=at)
    return {
        "visit_no": of.visit_no,
        "visit_type": of.visit_type.value,
        "visit_date": of.visit_date.isoformat(),
        "state": view.state.value,
        "person_name": of.person_name,
        "citizen_id_no": of.citizen_id_no,
        "admission_diagnosis": of.admission_diagnosis,
        "discharge_date": "" if view.discharge is None else view.discharge.discharge_date.isoformat(),
        "last_batch_no": view.last_batch_no,
        "entitlement": None if held is None else _entitlement_out(held, at),
        "lines": [_line_out(line, batch) for batch, line in _lines(connection, visit_no)],
        "failed_lines": [_failed_out(one) for one in failures(connection, caller.institution_code, visit_no=visit_no)],
        "batches": _batches(connection, visit_no),
    }


def _view(connection: Connection, caller: Caller, visit_no: str) -> VisitView:
    view = find(connection, caller.institution_code, visit_no)
    if view is None:
        raise Problem("not-found", detail="本机构没有登记过这次就诊")
    return view


def _lines(connection: Connection, visit_no: str) -> list[tuple[int | None, ChargeLine]]:
    """(batch it is settled in, line) of everything imported, in the order of import."""
    rows = connection.execute(
        select(visit_lines.c.lines, visit_lines.c.charge_batch_no, ARE_FREE.label("free"))
        .select_from(LINES)
        .where(visit_lines.c.visit_no == visit_no)
        .order_by(visit_lines.c.import_id)
    )
    return [(None if row.free else row.charge_batch_no, line) for row in rows for line in unpack_lines(row.lines)]


def _batches(connection: Connection, visit_no: str) -> list[BatchOut]:
    numbers = connection.execute(select(claim.c.charge_batch_no).where(claim.c.visit_no == visit_no)).scalars()
    found = claim_views.outcomes(connection, [(visit_no, number) for number in numbers])
    return [_batch_out(found[key]) for key in sorted(found)]


def _batch_out(view: Any) -> BatchOut:
    amounts = view.amounts
    return {
        "charge_batch_no": view.charge_batch_no,
        "claim_no": view.claim_no,
        "state": view.state.value,
        "kind": view.kind,
        "contra_of": view.contra_of,
        "refunded_by": view.refunded_by,
        "total_amount": money.yuan(view.total_fen),
        "fund_pay_amount": "" if amounts is None else money.yuan(amounts.fund_pay_fen),
        "cash_amount": "" if amounts is None else money.yuan(amounts.cash_fen),
        "refusal": refusal_words(view) if view.state is ClaimState.REFUSED else "",
    }


def _line_out(line: ChargeLine, batch: int | None, code: str = "00") -> SheetLineOut:
    known = CODES[code]
    return {
        "line_no": line.line_no,
        "charge_date": "" if line.charge_date is None else line.charge_date.isoformat(),
        "local_item_code": line.local_item_code,
        "local_item_name": line.local_item_name,
        "specification": line.specification,
        "dosage_form": line.dosage_form,
        "unit_price": money.unscaled(line.unit_price_1e4 or 0, money.PRICE_SCALE),
        "quantity": money.unscaled(line.quantity_1e2 or 0, money.QUANTITY_SCALE),
        "line_amount": money.yuan(line.line_amount_fen or 0),
        "charge_batch_no": batch,
        "code": code,
        "detail": known.message_zh,
        "advice": known.advice_zh,
    }


def _failed_out(failed: FailedLine) -> SheetLineOut:
    return _line_out(failed.line, None, failed.code)


def _entitlement_out(held: Entitlement, at: datetime) -> EntitlementOut:
    return {
        "entitled": held.entitled,
        "scheme": held.scheme,
        "category": held.category,
        "civil_servant": held.civil_servant,
        "account_balance": money.yuan(held.account_balance_fen),
        "as_of_lease": held.holds_at(at),
    }


# ── Quote ─────────────────────────────────────────────────────────────────────────────────────────────────


def _unsettled(
    connection: Connection, *, caller: Caller, visit_no: str, at: datetime
) -> tuple[VisitView, list[ChargeLine], Entitlement | None]:
    view = _view(connection, caller, visit_no)
    lines = [line for batch, line in _lines(connection, visit_no) if batch is None]
    return view, lines, entitlement.last_known(connection, written(view.registration.citizen_id_no), at=at)


def _question(
    view: VisitView, lines: Sequence[ChargeLine], more: Sequence[LineIn], held: Entitlement | None, today: date
) -> dict[str, Any]:
    """The document a quote is asked for with. Raises CannotQuote."""
    if held is None:
        raise quotes.CannotQuote("还没有这位参保人的参保信息，暂不能试算；可以直接结算，以中心为准")
    if not held.entitled:
        raise quotes.CannotQuote("参保人待遇已暂停，不能按医保试算")
    asked = [_asked_line(line) for line in lines] + [_given_line(line) for line in more]
    if not asked:
        raise quotes.CannotQuote("没有尚未结算的明细")
    of = view.registration
    person = held.person_on(of.visit_date)
    occasion: dict[str, Any] = {
        "visit_type": of.visit_type.value,
        "visit_date": of.visit_date.isoformat(),
        "visit_no": of.visit_no,
        "conditions": [],
    }
    if of.is_stay:
        occasion["covers_to"] = (
            view.discharge.discharge_date if view.discharge else max(today, of.visit_date)
        ).isoformat()
    for condition in of.conditions:
        kind, _, name = condition.partition(":")
        if kind in _NAMED_CONDITIONS:
            occasion[kind] = name
        else:
            occasion["conditions"].append(condition)
    insured: dict[str, Any] = {
        "scheme": person.scheme,
        "category": person.category,
        "civil_servant": person.civil_servant,
        "groups": sorted(person.groups),
        "account_balance": money.yuan(person.account_balance_fen),
        "family_account_balance": money.yuan(person.family_balance_fen),
    }
    if person.rank:
        insured["rank"] = person.rank
    if person.age is not None:
        insured["age"] = person.age
    return {"person": insured, "visit": occasion, "lines": asked, "accumulators": _used(dict(held.accumulators))}


def _quoted(asked: Mapping[str, Any], policy: PolicyBook, catalogue: Catalogue, caller: Caller) -> quotes.Quoted:
    return quotes.quoted(
        msgspec.json.encode(asked),
        policy,
        catalogue,
        institution_code=caller.institution_code,
        institution_level=caller.level,
    )


def _used(accumulators: Mapping[str, int]) -> dict[str, str]:
    return {key: str(amount) if is_count(key) else money.yuan(amount) for key, amount in accumulators.items()}


def _asked_line(line: ChargeLine) -> dict[str, Any]:
    out = _line_out(line, None)
    return {
        "line_no": line.line_no,
        **{
            name: out[name]
            for name in (
                "charge_date",
                "local_item_code",
                "local_item_name",
                "unit_price",
                "quantity",
                "line_amount",
            )
        },
    }


def _given_line(line: LineIn) -> dict[str, Any]:
    """A line as it was given; a quote needs price and quantity, so a line without them is told so by the quote."""
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in line.items()
        if value not in (None, "")
    }
