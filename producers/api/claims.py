"""The claims of the API: hand one in, let a held one be settled, ask what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from time import perf_counter

import msgspec

from domain.lifecycle import FINAL, ClaimState
from infra import metrics
from producers import statement
from producers.api.commit import Away, TooManyWaiting
from producers.api.keys import Caller
from producers.api.problems import Problem
from producers.api.reading import document, idempotency_key, preferred_wait
from producers.api.site import Site
from producers.api.wire import CLAIM_IN, ClaimOut, claim_accepted, claim_seen, lines_of, visit_of
from workers.claims import ClaimView, claim_no, show
from workers.intake import (
    Accepted,
    BacklogFull,
    KeyConflict,
    NotServed,
    Outcome,
    Replayed,
    Submission,
    VisitConflict,
    release,
)

Headers = Mapping[bytes, bytes]

_written = msgspec.json.Encoder()
_accept_seconds = metrics.CLAIM_SECONDS.labels("api", "accept")
_total_seconds = metrics.CLAIM_SECONDS.labels("api", "total")
_accepted = metrics.CLAIMS.labels("api", "accepted")
_replayed = metrics.CLAIMS.labels("api", "replayed")


@dataclass(slots=True)
class Reply:
    """An answer: status, body and the headers that are not on every answer."""

    status: int
    body: bytes
    headers: dict[str, str]
    media_type: str = "application/json"


async def submit(site: Site, caller: Caller, headers: Headers, raw: bytes) -> Reply:
    """Accept a claim; 202 once it is durable, 200 with its answer if the caller waits and it comes in time."""
    started = perf_counter()
    key = idempotency_key(headers)
    wait = preferred_wait(headers)
    given, written = document(raw, CLAIM_IN)
    settle_now = given.get("settle", "now") == "now"
    submission = Submission(
        institution_code=caller.institution_code,
        visit=visit_of(given["visit"], caller.institution_code),
        charge_batch_no=given.get("charge_batch_no"),
        lines=lines_of(given["lines"]),
        idempotency_key=key,
        content_digest=blake2b(written, digest_size=16).digest(),
        channel="api",
        settle_now=settle_now,
    )
    stored = _stored(await _commit(site, submission))
    _accept_seconds.observe(perf_counter() - started)

    if isinstance(stored, Replayed):
        _replayed.inc()
        return await _again(site, caller, stored, wait)
    _accepted.inc()
    if wait and settle_now:
        view = await site.watch.settled(stored.claim_id, wait)
        if view is not None:
            _total_seconds.observe(perf_counter() - started)
            return _found(view, {"Preference-Applied": f"wait={wait}"})
    state = ClaimState.ACCEPTED if settle_now else ClaimState.HELD
    return _under_way(claim_accepted(stored.visit_no, stored.charge_batch_no, state), {})


async def settle(site: Site, caller: Caller, number: str, headers: Headers) -> Reply:
    """Let a held claim be settled. Doing it twice is doing it once: the claim's own state remembers."""
    idempotency_key(headers)
    wait = preferred_wait(headers)
    view = await look_up(site, caller, number)
    if view.state is ClaimState.HELD:
        try:
            released = await site.aside(_release, site, caller.institution_code, view.claim_id)
        except Away as error:
            raise try_again() from error
        if released:
            site.commit.ring(caller.institution_code)
            finished = await site.watch.settled(view.claim_id, wait) if wait else None
            if finished is not None:
                return _found(finished, {"Preference-Applied": f"wait={wait}"})
            return _under_way(claim_accepted(view.visit_no, view.charge_batch_no, ClaimState.ACCEPTED), {})
    stored = Replayed(view.claim_id, view.visit_no, view.charge_batch_no)
    return await _again(site, caller, stored, wait)


async def look_up(site: Site, caller: Caller, number: str) -> ClaimView:
    """The caller's claim of this number. Raises Problem; another institution's claim is as unknown as none."""
    try:
        view = await site.read(lambda connection: show(connection, caller.institution_code, number))
    except Away as error:
        raise try_again() from error
    if view is None:
        raise Problem("not-found", detail="本机构没有这笔费用")
    return view


def seen(view: ClaimView) -> Reply:
    """The claim as it stands."""
    return Reply(200, _written.encode(claim_seen(view)), {})


def printed(view: ClaimView, caller: Caller, accept: str) -> Reply:
    """The settlement statement (结算单): a page, or text where the caller would rather have text. Raises Problem."""
    if view.state is not ClaimState.SETTLED or view.answer is None:
        raise Problem("claim-not-settled")
    if _prefers_text(accept):
        words = statement.as_text(view, institution_name=caller.name)
        return Reply(200, words.encode(), {}, "text/plain; charset=utf-8")
    return Reply(200, statement.as_page(view, institution_name=caller.name).encode(), {}, "text/html; charset=utf-8")


_PATH = {
    ClaimState.HELD: (ClaimState.HELD,),
    ClaimState.ACCEPTED: (ClaimState.ACCEPTED,),
    ClaimState.TOTALLED: (ClaimState.ACCEPTED, ClaimState.TOTALLED),
    ClaimState.SETTLED: (ClaimState.ACCEPTED, ClaimState.TOTALLED, ClaimState.SETTLED),
    ClaimState.RETURNED: (ClaimState.ACCEPTED, ClaimState.RETURNED),
    ClaimState.REFUSED: (ClaimState.ACCEPTED, ClaimState.TOTALLED, ClaimState.REFUSED),
}
"""The states a claim has been through, as far as the caller needs to know; a quick step is told with the next."""


async def steps(
    site: Site, caller: Caller, view: ClaimView, seconds: float, heard: str = ""
) -> AsyncIterator[tuple[str, bytes]]:
    """Each step of a claim as (state, document) from the first on, until it is final or the time is up.

    `heard` is the last state a reconnecting caller knows of.
    """
    told = set(_PATH[ClaimState(heard)]) if heard in set(ClaimState) else set()
    while True:
        path = _PATH[view.state]
        for state in path:
            if state not in told:
                told.add(state)
                whole = state is path[-1]
                brief = claim_accepted(view.visit_no, view.charge_batch_no, state)
                yield state.value, _written.encode(claim_seen(view) if whole else brief)
        if view.state in FINAL or await site.watch.moved(view.claim_id, view.state, seconds) is None:
            return
        view = await look_up(site, caller, view.claim_no)


async def _commit(site: Site, submission: Submission) -> Outcome:
    try:
        return await site.commit.accept(submission)
    except (*Away, TooManyWaiting) as error:
        raise try_again() from error


def _stored(outcome: Outcome) -> Accepted | Replayed:
    """The claim that is now, or was already, stored. Raises the Problem that kept it out."""
    match outcome:
        case Accepted() | Replayed():
            return outcome
        case KeyConflict():
            problem = Problem("idempotency-key-reused")
        case VisitConflict():
            problem = Problem("visit-conflict")
        case BacklogFull(open_claims, cap):
            problem = Problem(
                "backlog-full",
                detail=f"本机构待处理的费用已达上限（{open_claims} 笔，上限 {cap} 笔），请稍后用同一个键重发",
                headers={"Retry-After": "1"},
            )
        case NotServed():
            problem = Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="jiesuan"'})
    metrics.CLAIMS.labels("api", problem.kind.code).inc()
    raise problem


async def _again(site: Site, caller: Caller, stored: Replayed, wait: int) -> Reply:
    """The stored claim once more, as far as it has come by now."""
    view = await look_up(site, caller, claim_no(stored.visit_no, stored.charge_batch_no))
    if wait and view.state not in FINAL and view.state is not ClaimState.HELD:
        view = await site.watch.settled(view.claim_id, wait) or view
    replayed = {"Idempotency-Replayed": "true"}
    return _found(view, replayed) if view.state in FINAL else _under_way(claim_seen(view), replayed)


def _release(site: Site, institution_code: str, claim_id: int) -> bool:
    with site.engine.begin() as connection:
        return release(connection, institution_code, claim_id)


def _found(view: ClaimView, headers: dict[str, str]) -> Reply:
    headers["Location"] = f"/v1/claims/{view.claim_no}"
    return Reply(200, _written.encode(claim_seen(view)), headers)


def _under_way(document: ClaimOut, headers: dict[str, str]) -> Reply:
    headers["Location"] = f"/v1/claims/{document['claim_no']}"
    return Reply(202, _written.encode(document), headers)


def _prefers_text(accept: str) -> bool:
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    return "text/plain" in kinds and "text/html" not in kinds


def try_again() -> Problem:
    """The database is away or busy; the same request may go through in a moment."""
    return Problem("try-again", headers={"Retry-After": "2"})
