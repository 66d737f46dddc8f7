"""The claims of the API: hand one in, let a held one be settled, ask what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from time import perf_counter

import msgspec

from domain.lifecycle import FINAL, ClaimState
from domain.outcomes import Phase
from infra import metrics
from producers import statement
from producers.api.commit import Away, TooManyWaiting
from producers.api.keys import Caller
from producers.api.problems import Problem, arriving, moved
from producers.api.reading import document, idempotency_key, preferred_wait
from producers.api.site import CHANNEL, Site
from producers.api.wire import CLAIM_IN, ClaimOut, claim_accepted, claim_answered, claim_seen, lines_of, visit_of
from workers.admission import DoorsClosed, TooFast
from workers.claims import ClaimView, claim_no, show
from workers.intake import (
    Accepted,
    Arriving,
    BacklogFull,
    Cancelled,
    KeyConflict,
    Moved,
    NotServed,
    Outcome,
    OverOfflineLimit,
    Replayed,
    Submission,
    VisitConflict,
    release,
)

RETRY_LINK_DOWN = "30"
"""Seconds: nobody knows when the link is back."""

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
    settle_now = given.get("settle") != "later"
    first = ClaimState.ACCEPTED if settle_now else ClaimState.HELD
    submission = Submission(
        institution_code=caller.institution_code,
        visit=visit_of(given["visit"], caller.institution_code),
        charge_batch_no=given.get("charge_batch_no"),
        lines=lines_of(given["lines"]),
        idempotency_key=key,
        content_digest=blake2b(written, digest_size=16).digest(),
        channel=CHANNEL,
        settle_now=settle_now,
        phase=Phase.PREPARE if given.get("settle") == "prepare" else Phase.SETTLE,
    )
    stored = _stored(await _commit(site, submission))
    _accept_seconds.observe(perf_counter() - started)

    if isinstance(stored, Replayed):
        _replayed.inc()
        return await _again(site, caller, stored, wait, first)
    _accepted.inc()
    if wait and settle_now:
        view = await site.watch.settled(stored.claim_id, wait)
        if view is not None:
            applied = {"Preference-Applied": f"wait={wait}"}
            if view.queued and not view.provisional:
                return _under_way(claim_answered(view), applied)
            _total_seconds.observe(perf_counter() - started)
            return _found(view, applied)
    return _under_way(claim_accepted(stored.visit_no, stored.charge_batch_no, first), {})


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
    return await _again(site, caller, stored, wait, ClaimState.ACCEPTED)


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


def printed(view: ClaimView, caller: Caller, accept: str, key: bytes | None) -> Reply:
    """The settlement statement (结算单): a page, or a PDF or text where the caller would rather. Raises Problem."""
    if view.state is not ClaimState.SETTLED and view.offline_at is None:
        raise Problem("claim-not-settled")
    try:
        if _prefers(accept, "application/pdf"):
            paper = statement.as_paper(view, institution_name=caller.name, key=key)
            named = {"Content-Disposition": f'inline; filename="{view.claim_no}.pdf"'}
            return Reply(200, paper, named, "application/pdf")
        if _prefers(accept, "text/plain"):
            words = statement.as_text(view, institution_name=caller.name, key=key)
            return Reply(200, words.encode(), {}, "text/plain; charset=utf-8")
        page = statement.as_page(view, institution_name=caller.name, key=key)
        return Reply(200, page.encode(), {}, "text/html; charset=utf-8")
    except statement.NotSettled:
        raise Problem("claim-not-settled") from None


_PATH = {
    ClaimState.HELD: (ClaimState.HELD,),
    ClaimState.ACCEPTED: (ClaimState.ACCEPTED,),
    ClaimState.TOTALLED: (ClaimState.ACCEPTED, ClaimState.TOTALLED),
    ClaimState.PREPARED: (ClaimState.ACCEPTED, ClaimState.TOTALLED, ClaimState.PREPARED),
    ClaimState.SETTLED: (ClaimState.ACCEPTED, ClaimState.TOTALLED, ClaimState.SETTLED),
    ClaimState.RETURNED: (ClaimState.ACCEPTED, ClaimState.RETURNED),
    ClaimState.REFUSED: (ClaimState.ACCEPTED, ClaimState.TOTALLED, ClaimState.REFUSED),
    ClaimState.CANCELLED: (ClaimState.ACCEPTED, ClaimState.CANCELLED),
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
    """Raises Problem; for a key whose first request has not been answered yet, that it is busy."""
    flight = submission.institution_code, submission.idempotency_key
    if flight in site.in_flight:
        raise Problem("request-in-flight", headers={"Retry-After": "1"})
    site.in_flight.add(flight)
    try:
        return await site.commit.accept(submission)
    except (*Away, TooManyWaiting) as error:
        raise try_again() from error
    finally:
        site.in_flight.discard(flight)


def _stored(outcome: Outcome) -> Accepted | Replayed:
    """The claim that is now, or was already, stored. Raises the Problem that kept it out."""
    match outcome:
        case Accepted() | Replayed():
            return outcome
        case KeyConflict():
            problem = Problem("idempotency-key-reused")
        case VisitConflict():
            problem = Problem("visit-conflict")
        case Cancelled():
            problem = Problem("claim-cancelled")
        case BacklogFull(open_claims, cap):
            problem = Problem(
                "backlog-full",
                detail=f"本机构待处理的费用已达上限（{open_claims} 笔，上限 {cap} 笔），请稍后用同一个键重发",
                headers={"Retry-After": "1"},
            )
        case TooFast(seconds):
            problem = too_fast(seconds)
        case OverOfflineLimit(over):
            problem = Problem("link-down-limit", detail=over.words(), headers={"Retry-After": RETRY_LINK_DOWN})
        case DoorsClosed(why):
            problem = Problem("doors-closed", detail=why)
        case Moved(to):
            problem = moved(to)
        case Arriving():
            problem = arriving()
        case NotServed():
            problem = Problem("not-served")
    metrics.CLAIMS.labels("api", problem.kind.code).inc()
    raise problem


async def _again(site: Site, caller: Caller, stored: Replayed, wait: int, first: ClaimState) -> Reply:
    """The answer once more: what it came to, if it came to something; else, byte for byte, what was said at first."""
    view = await look_up(site, caller, claim_no(stored.visit_no, stored.charge_batch_no))
    if wait and view.state not in FINAL and view.state is not ClaimState.HELD:
        view = await site.watch.settled(view.claim_id, wait) or view
    replayed = {"Idempotency-Replayed": "true"}
    if view.state in FINAL or view.state is ClaimState.PREPARED:
        return _found(view, replayed)
    return _under_way(claim_accepted(view.visit_no, view.charge_batch_no, first), replayed)


def _release(site: Site, institution_code: str, claim_id: int) -> bool:
    with site.engine.begin() as connection:
        return release(connection, institution_code, claim_id)


def _found(view: ClaimView, headers: dict[str, str]) -> Reply:
    headers["Location"] = f"/v1/claims/{view.claim_no}"
    return Reply(200, _written.encode(claim_answered(view)), headers)


def _under_way(document: ClaimOut, headers: dict[str, str]) -> Reply:
    headers["Location"] = f"/v1/claims/{document['claim_no']}"
    return Reply(202, _written.encode(document), headers)


def _prefers(accept: str, kind: str) -> bool:
    kinds = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    return kind in kinds and "text/html" not in kinds


def too_fast(seconds: float) -> Problem:
    """The institution's bucket is empty for so many seconds; the same request goes through then."""
    wait = max(1, ceil(seconds))
    words = f"本机构提交过快，请 {wait} 秒后用同一个键重发"
    return Problem("too-many-requests", detail=words, headers={"Retry-After": str(wait)})


def try_again() -> Problem:
    """The database is away or busy; the same request may go through in a moment."""
    return Problem("try-again", headers={"Retry-After": "2"})
