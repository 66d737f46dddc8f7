"""Group commit: nobody is answered before the commit, a group is bounded, and one bad claim fails alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

from domain.visit import Visit, VisitType
from producers.api import commit
from producers.api.commit import GroupCommit, TooManyWaiting
from tests.support.api import DAY, HOSPITAL
from workers.intake import Accepted, Outcome, Submission


def submission(number: int, *, settle_now: bool = True) -> Submission:
    visit = Visit(
        visit_no="", institution_code=HOSPITAL, citizen_id_no="", visit_type=VisitType.OUTPATIENT, visit_date=DAY
    )
    return Submission(
        institution_code=HOSPITAL,
        visit=visit,
        charge_batch_no=None,
        lines=[],
        idempotency_key=str(number),
        content_digest=b"",
        channel="api",
        settle_now=settle_now,
    )


class Ledger:
    """Writes down the groups; fails as told."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.rung: list[str] = []
        self.bad: set[str] = set()
        self.away = False
        self.gate = threading.Event()
        self.gate.set()

    def write(self, submissions: Sequence[Submission]) -> list[Outcome]:
        self.gate.wait(10)
        if self.away:
            raise OperationalError("", {}, Exception("away"))
        keys = [one.idempotency_key for one in submissions]
        self.groups.append(keys)
        if self.bad & set(keys):
            raise ValueError("one of these")
        return [Accepted(int(key), f"V{key}", 1) for key in keys]

    def ring(self, institution_code: str) -> bool:
        self.rung.append(institution_code)
        return True


def together(ledger: Ledger, count: int, *, settle_now: bool = True):
    async def run():
        async with GroupCommit(ledger.write, ledger.ring) as group:
            asked = [group.accept(submission(number, settle_now=settle_now)) for number in range(count)]
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            await asyncio.sleep(0.05)
            return outcomes

    return asyncio.run(run())


def test_claims_that_arrive_together_are_written_together_and_each_gets_its_own_outcome():
    ledger = Ledger()
    assert [outcome.claim_id for outcome in together(ledger, 200)] == list(range(200))
    assert max(len(group) for group in ledger.groups) == commit.MOST_CLAIMS
    assert len(ledger.groups) <= 5


def test_nobody_is_answered_before_the_commit_has_returned():
    ledger = Ledger()
    ledger.gate.clear()

    async def run():
        async with GroupCommit(ledger.write, ledger.ring) as group:
            asked = asyncio.ensure_future(group.accept(submission(1)))
            await asyncio.sleep(0.1)
            assert not asked.done()
            assert ledger.rung == []
            ledger.gate.set()
            return await asked

    assert asyncio.run(run()) == Accepted(1, "V1", 1)


def test_one_claim_that_fails_its_group_fails_alone():
    ledger = Ledger()
    ledger.bad = {"3"}
    outcomes = together(ledger, 10)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Accepted"] * 3 + ["ValueError"] + ["Accepted"] * 6


def test_a_database_that_is_away_is_told_to_everyone_and_asked_again_by_nobody():
    ledger = Ledger()
    ledger.away = True
    assert {type(outcome) for outcome in together(ledger, 10)} == {OperationalError}
    assert ledger.rung == []


def test_one_bell_for_a_group_and_none_for_a_claim_that_is_held():
    ledger = Ledger()
    together(ledger, 50)
    assert ledger.rung == [HOSPITAL]
    quiet = Ledger()
    together(quiet, 5, settle_now=False)
    assert quiet.rung == []


def test_a_bell_that_does_not_ring_hurts_no_claim():
    ledger = Ledger()
    ledger.ring = lambda code: (_ for _ in ()).throw(ConnectionError())
    assert len(together(ledger, 3)) == 3


def test_more_than_memory_should_hold_is_turned_away(monkeypatch):
    monkeypatch.setattr(commit, "MOST_WAITING", 5)
    outcomes = together(Ledger(), 9)
    assert [isinstance(outcome, TooManyWaiting) for outcome in outcomes] == [False] * 5 + [True] * 4


def test_what_was_handed_in_is_written_before_the_process_stops():
    ledger = Ledger()

    async def run():
        group = GroupCommit(ledger.write, ledger.ring)
        async with group:
            asked = [asyncio.ensure_future(group.accept(submission(number))) for number in range(100)]
            await asyncio.sleep(0)
        return await asyncio.gather(*asked)

    assert len(asyncio.run(run())) == 100


@pytest.mark.parametrize("count", [1, 2])
def test_a_lone_claim_does_not_wait_for_company(count):
    ledger = Ledger()
    together(ledger, count)
    assert ledger.groups[0][0] == "0"


def test_what_can_be_written_at_once_is_and_what_would_wait_goes_to_the_writer():
    ledger, busy = Ledger(), [False, True, False]

    def at_once(submissions: Sequence[Submission]) -> list[Outcome]:
        if busy.pop(0):
            raise OperationalError("", {}, Exception("database is locked"))
        return [Accepted(-1, "at once", 1) for _ in submissions]

    async def run():
        async with GroupCommit(ledger.write, ledger.ring, write_at_once=at_once) as group:
            return [(await group.accept(submission(number))).visit_no for number in range(3)]

    assert asyncio.run(run()) == ["at once", "V1", "at once"]
