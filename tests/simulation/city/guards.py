"""Guards taken away, one at a time: seeds have to notice. Those whose loss others absorb are named as such."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psycopg
from sqlalchemy import bindparam, update
from sqlalchemy.exc import DBAPIError

import center.offline.leasing
import center.settling.contra
import center.settling.refund
import center.settling.settle
import workers.deliver
import workers.detail_states
import workers.epochs
import workers.intake
import workers.offline.queue
import workers.outbox
import workers.outcomes.decide
import workers.refund
import workers.upload
from center.ledger import chain
from center.outcomes import holds, rows
from center.settling import records
from tests.simulation.city.processes import Role
from workers.tables import claim

if TYPE_CHECKING:
    from tests.simulation.city.run import Stage

Away = Callable[["Stage"], AbstractContextManager[Any]]

LOST, TWICE = "Nothing accepted is lost", "Nothing is paid twice"
FEN, DETAIL = "Every fen is accounted for", "The detail is the detail"


@dataclass(frozen=True, slots=True)
class Guard:
    """What keeps a promise, how to do without it, and what keeps the promise then, if anything does."""

    promise: str
    taken_away: Away
    absorbed_by: str = ""
    covered_by: str = ""
    """The guard of `tests.guards` of this name is noticed there, by a test that leads straight to the case."""


def _made(owner: Any, name: str, make: Callable[[Any], Any]) -> Away:
    """Something of the product, replaced by what is made of it."""
    return lambda _stage: patch.object(owner, name, make(getattr(owner, name)))


def _does_nothing(owner: Any, name: str, instead: Any = None) -> Away:
    return _made(owner, name, lambda _: lambda *_, **__: instead)


class _Rewritten:
    """A cursor that leaves something out of every statement."""

    def __init__(self, cursor: Any, what: str) -> None:
        self._cursor, self._what = cursor, what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, query: Any, *rest: Any, **named: Any) -> Any:
        """The statement without it."""
        return self._cursor.execute(query.replace(self._what, ""), *rest, **named)


def _without(owner: Any, name: str, what: str) -> Away:
    """A function whose first argument is a cursor, with something left out of its statement."""
    return _made(owner, name, lambda work: lambda cursor, *rest: work(_Rewritten(cursor, what), *rest))


@contextmanager
def _neither_looked_up_nor_unique(stage: Stage) -> Iterator[None]:
    stage.center.run("ALTER TABLE settlement DROP CONSTRAINT uq_settlement_key")
    try:
        with patch.object(records, "known_of_visits", lambda cursor, visit_nos: records.Known([], [], [])):
            yield
    finally:
        stage.center.reset()
        stage.center.run(
            "ALTER TABLE settlement ADD CONSTRAINT uq_settlement_key UNIQUE (visit_no, charge_batch_no, kind)"
        )


def _commit_taken_for_done(in_transaction: Any) -> Any:
    """Answered, whether or not the commit was seen to be done."""

    def careless(engine: Any, work: Any) -> Any:
        came_to: list[Any] = []

        def noting(connection: Any) -> Any:
            came_to[:] = [work(connection)]
            return came_to[0]

        try:
            return in_transaction(engine, noting)
        except (DBAPIError, psycopg.Error):
            if not came_to:
                raise
            return came_to[0]

    return careless


def _in_the_order_they_come(lock_persons: Any) -> Any:
    """A statement a person, forwards in one batch and backwards in the next."""
    turn = [False]

    def locked(cursor: Any, citizen_id_nos: Any) -> Any:
        turn[0] = not turn[0]
        found: dict[str, Any] = {}
        for number in sorted(citizen_id_nos, reverse=turn[0]):
            found |= lock_persons(cursor, [number])
        return found

    return locked


def _whatever_its_content(taken: Any) -> Any:
    """A repeated key is answered as the first time, whatever comes under it."""

    def careless(desk: Any, submission: Any) -> Any:
        held = desk._by_key.get((submission.institution_code, submission.idempotency_key))
        if held is not None and held.claim_id:
            submission = replace(submission, content_digest=held.content_digest)
        return taken(desk, submission)

    return careless


def _sent_is_received(go_on: Any) -> Any:
    """Detail counts as received when it was sent."""
    marked = update(claim).where(claim.c.visit_no == bindparam("v"), claim.c.charge_batch_no == bindparam("b"))

    def careless(engine: Any, link: Any) -> Any:
        def sent(chunk: Any, envelope: bytes) -> Any:
            keys = [{"v": each.visit_no, "b": each.charge_batch_no} for each in chunk.claims]
            with engine.begin() as connection:
                connection.execute(marked.values(detail_state=workers.detail_states.DETAIL_AT_CENTER), keys)
            return link.post(chunk, envelope)

        return go_on(engine, replace(link, post=sent))

    return careless


def _refusal_whatever_the_state(_refused: Any) -> Any:
    return (
        update(claim)
        .where(*workers.deliver._KEY)
        .values(
            state=bindparam("to"),
            answer=bindparam("packed"),
            refusal=bindparam("code"),
            waits_for=None,
            submission=bindparam("number"),
        )
    )


def _acknowledged_first(handle: Any) -> Any:
    def careless(role: Any, broker: Any, tasks: Any, tag: int, message: Any) -> Any:
        broker.acknowledge(role.process, tag)
        return handle(role, broker, tasks, tag, message)

    return careless


def _as_if_nothing_were_leased(lease_limit: Any) -> Any:
    return lambda balance_fen, others, **terms: lease_limit(balance_fen, (), **terms)


GUARDS: Mapping[str, Guard] = {
    "the desk sweeps": Guard(LOST, _does_nothing(workers.outbox.Sweep, "run", 0)),
    "refunds are asked again": Guard(LOST, _does_nothing(workers.refund, "send_due", 0)),
    "detail is due until its receipt": Guard(DETAIL, _made(workers.upload, "go_on", _sent_is_received)),
    "acknowledged after the work": Guard(
        LOST, _made(Role, "_handle", _acknowledged_first), "the sweep: whatever was lost is sent again"
    ),
    "who slept past its lease writes nothing (fencing)": Guard(
        LOST, _does_nothing(workers.outbox, "guard"), "the unique key: what two sweeps send is settled once"
    ),
    "settled before is looked up": Guard(
        TWICE, _made(records, "known_of_visits", lambda _: lambda cursor, visit_nos: records.Known([], [], []))
    ),
    "settled before is looked up, one settlement per key": Guard(TWICE, _neither_looked_up_nor_unique),
    "persons are locked (FOR UPDATE)": Guard(TWICE, _without(records, "lock_persons", " FOR UPDATE")),
    "persons are locked in one order": Guard(TWICE, _made(records, "lock_persons", _in_the_order_they_come)),
    "the digest of a repeat is compared": Guard(TWICE, _made(workers.intake._Desk, "_known", _whatever_its_content)),
    "a late refusal changes nothing (CAS)": Guard(
        TWICE,
        _made(workers.deliver, "_REFUSED", _refusal_whatever_the_state),
        covered_by="a late refusal changes nothing (CAS)",
    ),
    "cancelled before it came (tombstone at the door)": Guard(
        TWICE, _does_nothing(workers.outcomes.decide, "is_buried", True)
    ),
    "cancelled before it came (tombstone at the centre)": Guard(
        TWICE, _does_nothing(rows, "insert_tombstone"), covered_by="a cancellation leaves a tombstone"
    ),
    "what is prepared holds its person": Guard(FEN, _does_nothing(holds, "hold")),
    "answered after the commit": Guard(FEN, _made(center.settling.settle, "in_transaction", _commit_taken_for_done)),
    "a contra moves the accumulators back": Guard(FEN, _does_nothing(center.settling.contra, "_entries_back", [])),
    "a contra pays the account back": Guard(FEN, _does_nothing(center.settling.contra, "pay_accounts", {})),
    "every contra is in the chain": Guard(FEN, _does_nothing(chain, "seal")),
    "what is leased to others is not leased again": Guard(
        FEN, _made(center.offline.leasing, "lease_limit", _as_if_nothing_were_leased)
    ),
    "what was spent off-line is not spent again": Guard(FEN, _does_nothing(workers.offline.queue, "spent_offline", 0)),
    "a front-end tells a restored centre what it was answered": Guard(LOST, _does_nothing(workers.epochs, "page")),
    "an answer of an epoch that is over is not recorded": Guard(
        LOST,
        _does_nothing(workers.epochs, "met", True),
        covered_by="an answer of an epoch that is over is not recorded",
    ),
}
