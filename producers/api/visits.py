"""The registered visits of the API: register, import lines, settle, discharge, cancel, refund."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import NoReturn, TypeVar

import msgspec
from sqlalchemy import Connection

from domain.lifecycle import FINAL, ClaimState, VisitState
from domain.refusals import Reason, VisitRefusal
from infra.reference import NothingPublished
from producers.api.claims import RETRY_LINK_DOWN, Headers, Reply, look_up, try_again
from producers.api.commit import Away
from producers.api.keys import Caller
from producers.api.problems import FieldError, Problem, arriving
from producers.api.reading import document, idempotency_key, preferred_wait
from producers.api.site import CHANNEL, Asked, Site
from producers.api.visit_wire import (
    DISCHARGE_IN,
    LINES_IN,
    REFUND_IN,
    REGISTRATION_IN,
    SETTLEMENT_IN,
    RefundOut,
    VisitDetailOut,
    VisitListOut,
    VisitOut,
    detail_seen,
    discharge_of,
    import_seen,
    kept_of,
    registration_of,
    visit_seen,
)
from producers.api.wire import ClaimOut, claim_accepted, claim_seen, lines_of
from workers import visits
from workers.admission import why_closed
from workers.claims import claim_no, of_visits
from workers.entitlement import leased
from workers.line_warnings import warnings
from workers.moving.standing import DoorClosed, against_institution, unknown
from workers.refund import refund as ask_refund
from workers.visits import Delivery, Ended, NotReady, Per, Refunding, Settling

T = TypeVar("T")

_written = msgspec.json.Encoder()

_FIELD: dict[VisitRefusal, str] = {
    VisitRefusal.PERSON_NO_MISSING: "#/citizen_id_no",
    VisitRefusal.PERSON_NO_WRONG: "#/citizen_id_no",
    VisitRefusal.VISIT_NO_WRONG: "#/visit_no",
    VisitRefusal.VISIT_IN_FUTURE: "#/visit_date",
    VisitRefusal.DISCHARGE_TOO_EARLY: "#/discharge_date",
    VisitRefusal.DISCHARGE_IN_FUTURE: "#/discharge_date",
    VisitRefusal.KEPT_NOT_CHARGED: "#/kept",
    VisitRefusal.LINES_WRONG: "#/kept",
}
"""The reasons that are a field's fault; all others lie in where the visit stands."""


async def register(site: Site, caller: Caller, headers: Headers, raw: bytes) -> Reply:
    """Register a visit; 201 with its number, 200 where the same key registered it before."""
    key = idempotency_key(headers)
    given, _ = document(raw, REGISTRATION_IN)
    of = registration_of(given, caller.institution_code)
    try:
        outcome = await site.registrations.ask(Asked(of, key))
    except Away as error:
        raise try_again() from error
    if isinstance(outcome, NotReady):
        _refuse(outcome)
    body = _written.encode(await _seen(site, caller, outcome.visit_no))
    location = {"Location": f"/v1/visits/{outcome.visit_no}"}
    return Reply(201, body, location) if outcome.is_new else Reply(200, body, location | _REPLAYED)


async def seen(site: Site, caller: Caller, visit_no: str) -> Reply:
    """The visit as it stands."""
    return Reply(200, _written.encode(await _seen(site, caller, visit_no)), {})


async def detail(site: Site, caller: Caller, visit_no: str) -> Reply:
    """The visit with its lines, what failed of them, and what is known of the person."""

    def whole(connection: Connection) -> VisitDetailOut:
        view = visits.find(connection, caller.institution_code, visit_no)
        if view is None:
            raise _unknown()
        batches = of_visits(connection, [visit_no])[visit_no]
        failed = visits.failures(connection, caller.institution_code, visit_no=visit_no)
        warned = warnings(connection, caller.institution_code, visit_no=visit_no)
        held = leased(connection, view.registration.citizen_id_no, at=site.now())
        return detail_seen(visit_seen(view, batches), visits.imported(connection, visit_no), failed, warned, held)

    return Reply(200, _written.encode(await _read(site, whole)), {})


async def listed(site: Site, caller: Caller, state: str, day: date | None, limit: int) -> Reply:
    """The caller's visits, newest number first; of one state, or registered on one day, or both."""
    states = [VisitState(state)] if state else list(VisitState)

    def some(connection: Connection) -> VisitListOut:
        code = caller.institution_code
        numbers = [each.visit_no for each in visits.listed(connection, code, states=states, day=day, limit=limit)]
        batches = of_visits(connection, numbers)
        return {
            "visits": [
                visit_seen(view, batches[view.registration.visit_no])
                for view in visits.views(connection, code, numbers)
            ]
        }

    return Reply(200, _written.encode(await _read(site, some)), {})


async def add_lines(site: Site, caller: Caller, visit_no: str, raw: bytes) -> Reply:
    """Import lines, all of the request or none; 200 with the verdict of each line either way."""
    given, _ = document(raw, LINES_IN)
    lines = lines_of(given["lines"])
    await _seen(site, caller, visit_no)
    await _need_open_doors(site, caller)
    delivery = Delivery(
        institution_code=caller.institution_code, visit_no=visit_no, lines=lines, channel=CHANNEL, source=CHANNEL
    )
    try:
        (verdicts,) = await _aside(
            site, lambda: visits.import_lines(site.engine, site.shelf, [delivery], at=site.now(), per=Per.VISIT)
        )
    except DoorClosed as closed:
        _refuse(closed.against)
    return Reply(200, _written.encode(import_seen(visit_no, lines, verdicts)), {})


async def _need_open_doors(site: Site, caller: Caller) -> None:
    """Raises Problem while the caller's institution may hand in nothing new."""
    elsewhere = await _read(site, lambda connection: against_institution(connection, caller.institution_code))
    if elsewhere is not None:
        _refuse(elsewhere)
    why = await _read(site, lambda connection: why_closed(connection, caller.institution_code))
    if why:
        raise Problem("doors-closed", detail=why)


async def settle(site: Site, caller: Caller, visit_no: str, headers: Headers, raw: bytes) -> Reply:
    """Settle what is imported and not settled: a claim, as when it is handed in."""
    key, wait = idempotency_key(headers), preferred_wait(headers)
    given, _ = document(raw, SETTLEMENT_IN)
    final = given.get("final", False)
    outcome = await _aside(
        site,
        lambda: visits.settle_visit(
            site.engine,
            caller.institution_code,
            visit_no,
            final=final,
            at=site.now(),
            key=key,
            unread=site.unread,
        ),
    )
    match outcome:
        case NotReady():
            _refuse(outcome)
        case Ended():
            view = await look_up(site, caller, claim_no(visit_no, outcome.charge_batch_no))
            return _claim(claim_seen(view), 200)
        case Settling():
            return await _settling(site, caller, outcome, wait)


async def discharge(site: Site, caller: Caller, visit_no: str, raw: bytes) -> Reply:
    """Discharge a stay."""
    given, _ = document(raw, DISCHARGE_IN)
    of = discharge_of(given, visit_no)
    outcome = await _aside(site, lambda: visits.discharge(site.engine, caller.institution_code, of, at=site.now()))
    if isinstance(outcome, NotReady):
        _refuse(outcome)
    return await seen(site, caller, visit_no)


async def give_up(site: Site, caller: Caller, visit_no: str, charge_batch_no: int) -> Reply:
    """Give a batch up that the centre refused."""
    outcome = await _aside(
        site,
        lambda: visits.give_up(site.engine, caller.institution_code, visit_no, charge_batch_no, at=site.now()),
    )
    if isinstance(outcome, NotReady):
        _refuse(outcome)
    return await seen(site, caller, visit_no)


async def send_again(site: Site, caller: Caller, visit_no: str, charge_batch_no: int, headers: Headers) -> Reply:
    """Send a batch to the centre again that it refused."""
    wait = preferred_wait(headers)
    outcome = await _aside(
        site,
        lambda: visits.send_again(site.engine, caller.institution_code, visit_no, charge_batch_no, at=site.now()),
    )
    if isinstance(outcome, NotReady):
        _refuse(outcome)
    return await _settling(site, caller, outcome, wait)


async def cancel(site: Site, caller: Caller, visit_no: str) -> Reply:
    """Take a registration back."""
    outcome = await _aside(site, lambda: visits.cancel(site.engine, caller.institution_code, visit_no, at=site.now()))
    if isinstance(outcome, NotReady):
        _refuse(outcome)
    return await seen(site, caller, visit_no)


async def refund(site: Site, caller: Caller, visit_no: str, headers: Headers, raw: bytes) -> Reply:
    """Ask that a settlement be taken back; 202 once that is durable, 200 with the answer if it came in time."""
    key, wait = idempotency_key(headers), preferred_wait(headers)
    given, _ = document(raw, REFUND_IN)
    outcome = await _aside(
        site,
        lambda: ask_refund(
            site.engine,
            site.shelf,
            caller.institution_code,
            visit_no,
            given.get("charge_batch_no") or 1,
            reason=given["reason"],
            at=site.now(),
            kept=kept_of(given),
            key=key,
        ),
    )
    if isinstance(outcome, NotReady):
        _refuse(outcome)
    if outcome.is_new:
        site.commit.ring(caller.institution_code)
    if wait:
        await site.watch.settled(outcome.contra_claim_id, wait)
    return await _refunding(site, caller, outcome)


async def _settling(site: Site, caller: Caller, outcome: Settling, wait: int) -> Reply:
    number = claim_no(outcome.visit_no, outcome.charge_batch_no)
    if outcome.is_new:
        site.commit.ring(caller.institution_code)
        finished = await site.watch.settled(outcome.claim_id, wait) if wait else None
        if finished is None:
            return _claim(claim_accepted(outcome.visit_no, outcome.charge_batch_no, ClaimState.ACCEPTED), 202)
        return _claim(claim_seen(finished), 200)
    if wait:
        await site.watch.settled(outcome.claim_id, wait)
    view = await look_up(site, caller, number)
    reply = _claim(claim_seen(view), 200 if view.state in FINAL else 202)
    reply.headers |= _REPLAYED
    return reply


async def _refunding(site: Site, caller: Caller, outcome: Refunding) -> Reply:
    contra = await look_up(site, caller, claim_no(outcome.visit_no, outcome.contra_batch_no))
    resettled = None
    if outcome.resettled_batch_no is not None:
        resettled = await look_up(site, caller, claim_no(outcome.visit_no, outcome.resettled_batch_no))
    body: RefundOut = {
        "contra": claim_seen(contra),
        "resettled": None if resettled is None else claim_seen(resettled),
    }
    headers = {"Location": f"/v1/claims/{contra.claim_no}"} | ({} if outcome.is_new else _REPLAYED)
    return Reply(200 if contra.state in FINAL else 202, _written.encode(body), headers)


_REPLAYED = {"Idempotency-Replayed": "true"}


def _claim(document: ClaimOut, status: int) -> Reply:
    return Reply(status, _written.encode(document), {"Location": f"/v1/claims/{document['claim_no']}"})


async def _seen(site: Site, caller: Caller, visit_no: str) -> VisitOut:
    """Raises Problem for a visit that is not the caller's."""

    def one(connection: Connection) -> VisitOut:
        view = visits.find(connection, caller.institution_code, visit_no)
        if view is None:
            _refuse(unknown(connection, caller.institution_code, visit_no))
        return visit_seen(view, of_visits(connection, [visit_no])[visit_no])

    return await _read(site, one)


async def _read(site: Site, query: Callable[[Connection], T]) -> T:
    try:
        return await site.read(query)
    except Away as error:
        raise try_again() from error


async def _aside(site: Site, work: Callable[[], T]) -> T:
    try:
        return await site.aside(work)
    except (*Away, NothingPublished) as error:
        raise try_again() from error


def _unknown() -> Problem:
    return Problem("not-found", detail="本机构没有登记过这次就诊")


def _refuse(outcome: NotReady) -> NoReturn:
    """Raise the problem that says every reason."""
    codes = set(outcome.codes)
    if VisitRefusal.VISIT_UNKNOWN in codes:
        raise _unknown()
    if VisitRefusal.NOT_SERVED in codes:
        raise Problem("not-served")
    if VisitRefusal.KEY_REUSED in codes:
        raise Problem("idempotency-key-reused")
    if VisitRefusal.VISIT_CONFLICT in codes:
        raise Problem("visit-conflict")
    if VisitRefusal.BACKLOG_FULL in codes:
        raise Problem("backlog-full", detail=outcome.words, headers={"Retry-After": "1"})
    if VisitRefusal.LINK_DOWN_LIMIT in codes:
        raise Problem("link-down-limit", detail=outcome.words, headers={"Retry-After": RETRY_LINK_DOWN})
    if VisitRefusal.TOO_FAST in codes:
        raise Problem("too-many-requests", detail=outcome.words, headers={"Retry-After": "1"})
    if VisitRefusal.MOVED in codes:
        raise Problem("moved", detail=outcome.words)
    if VisitRefusal.ARRIVING in codes:
        raise arriving()
    if VisitRefusal.DOORS_CLOSED in codes:
        raise Problem("doors-closed", detail=outcome.words)
    errors = [_error(each) for each in outcome.reasons]
    raise Problem("content-invalid" if codes <= _FIELD.keys() else "visit-not-ready", errors=errors)


def _error(reason: Reason) -> FieldError:
    return {"pointer": _FIELD.get(reason.code, "#"), "code": reason.code.value, "detail": reason.words}
