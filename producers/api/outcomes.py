"""Two phases and unknown outcomes over the API: confirm, cancel, cancel by one's own key, ask by one's own key."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from domain.lifecycle import FINAL, ClaimState
from domain.refusals import Refusal, VisitRefusal
from producers.api.claims import Headers, Reply, look_up, try_again
from producers.api.commit import Away
from producers.api.keys import Caller
from producers.api.problems import Problem, arriving
from producers.api.reading import document, preferred_wait
from producers.api.site import Site
from producers.api.wire import CANCELLATION_IN, OutcomeListOut, OutcomeOut, claim_answered, claim_seen
from workers.claims import ClaimView, claim_no, open_claims, show, under_key
from workers.moving.standing import against_unknown_key
from workers.outcomes.decide import Against, Buried, Decided, Decision, Unknown, cancel_key, is_buried
from workers.outcomes.decide import cancel as cancel_claim
from workers.outcomes.decide import confirm as confirm_claim
from workers.visit_steps import NotReady

T = TypeVar("T")

_written = msgspec.json.Encoder()


async def confirm(site: Site, caller: Caller, number: str, headers: Headers) -> Reply:
    """Settle what was prepared: 200 once the centre has answered, 202 while it has not. Raises Problem.

    Doing it twice is doing it once. Where it came too late the answer is the problem that says so.
    """
    wait = preferred_wait(headers)
    decision = await _aside(site, partial(confirm_claim, site.engine, caller.institution_code, number, at=site.now()))
    view = await _decided(site, caller, _noted(decision), wait)
    if view.state is ClaimState.CANCELLED:
        raise Problem("claim-expired" if view.refusal == Refusal.PREPARE_EXPIRED else "claim-cancelled")
    return _told(view)


async def cancel(site: Site, caller: Caller, number: str, headers: Headers) -> Reply:
    """Let a claim not be settled: 200 once that is certain, 202 while it is not. Raises Problem."""
    wait = preferred_wait(headers)
    decision = await _aside(site, partial(cancel_claim, site.engine, caller.institution_code, number, at=site.now()))
    return _told(await _cancelled(site, caller, _noted(decision), wait))


async def cancel_by_key(site: Site, caller: Caller, headers: Headers, raw: bytes) -> Reply:
    """The same by the key the claim was sent under, whether it came or not. Raises Problem."""
    wait = preferred_wait(headers)
    given, _ = document(raw, CANCELLATION_IN)
    key = given["key"]
    decision = await _aside(site, partial(cancel_key, site.engine, caller.institution_code, key, at=site.now()))
    if isinstance(decision, Buried):
        buried: OutcomeOut = {"key": key, "state": "cancelled", "claim": None}
        return Reply(200, _written.encode(buried), {})
    if isinstance(decision, NotReady):
        raise _elsewhere(decision)
    view = await _cancelled(site, caller, _noted(decision), wait)
    return Reply(200 if view.state in FINAL else 202, _written.encode(_outcome(key, view)), {})


async def ask(site: Site, caller: Caller, key: str, limit: int) -> Reply:
    """What became of the claim sent under a key; without a key, of all the caller's that are not finished.

    Raises Problem for a key nothing came under at a front-end that would not take it: another may know more.
    """

    def found(connection: Connection) -> OutcomeListOut | NotReady:
        if not key:
            views = open_claims(connection, caller.institution_code, limit)
            return {"outcomes": [_outcome(each_key, view) for each_key, view in views]}
        number = under_key(connection, caller.institution_code, key)
        view = None if number is None else show(connection, caller.institution_code, number)
        if view is not None:
            return {"outcomes": [_outcome(key, view)]}
        buried = is_buried(connection, caller.institution_code, key)
        elsewhere = None if buried else against_unknown_key(connection, caller.institution_code, key)
        return elsewhere or {"outcomes": [{"key": key, "state": "cancelled" if buried else "unknown", "claim": None}]}

    try:
        body = await site.read(found)
    except Away as error:
        raise try_again() from error
    if isinstance(body, NotReady):
        raise _elsewhere(body)
    return Reply(200, _written.encode(body), {})


async def _cancelled(site: Site, caller: Caller, decided: Decided, wait: int) -> ClaimView:
    view = await _decided(site, caller, decided, wait)
    if view.state is ClaimState.SETTLED:
        raise Problem("claim-settled")
    return view


async def _decided(site: Site, caller: Caller, decided: Decided, wait: int) -> ClaimView:
    """The claim after its decision is on its way; after the centre's answer, if that comes in time."""
    if decided.is_new:
        site.commit.ring(caller.institution_code)
    view = await look_up(site, caller, claim_no(decided.visit_no, decided.charge_batch_no))
    if wait and view.state not in FINAL:
        await site.watch.settled(decided.claim_id, wait)
        view = await look_up(site, caller, view.claim_no)
    return view


def _noted(decision: Decision) -> Decided:
    """Raises the Problem that says why not."""
    match decision:
        case Decided():
            return decision
        case Unknown():
            raise Problem("not-found", detail="本机构没有这笔费用")
        case Against.CONFIRMING:
            raise Problem(decision.value, headers={"Retry-After": "2"})
        case _:
            raise Problem(decision.value)


def _elsewhere(against: NotReady) -> Problem:
    if VisitRefusal.NOT_SERVED in against.codes:
        return Problem("not-served")
    return arriving() if VisitRefusal.ARRIVING in against.codes else Problem("moved", detail=against.words)


def _told(view: ClaimView) -> Reply:
    headers = {"Location": f"/v1/claims/{view.claim_no}"}
    return Reply(200 if view.state in FINAL else 202, _written.encode(claim_answered(view)), headers)


def _outcome(key: str, view: ClaimView) -> OutcomeOut:
    return {"key": key, "state": view.state.value, "claim": claim_seen(view)}


async def _aside(site: Site, work: partial[T]) -> T:
    try:
        return await site.aside(work)
    except Away as error:
        raise try_again() from error
