"""The desk: every accepted claim leaves it once, totalled, returned with its verdicts, or set aside."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import event, insert, select, update

from domain.lifecycle import ClaimState
from domain.messages import ClaimTotals
from domain.refusals import Refusal
from infra.codec import unpack
from infra.reference import NothingPublished, catalogue_row
from tests.support.frontend import (
    BAD_LINE,
    CLINIC,
    HOSPITAL,
    LINES,
    NOON,
    PERSON,
    hand_in,
    line,
    new_frontend,
    published,
    rows,
    shelf,
    states,
    submission,
    totals_of,
)
from workers import claims, desk, intake
from workers.tables import claim, claim_content, reference, verdict

NOW = 1000.0


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def turn(engine, institution_code=HOSPITAL, *, limit=100, now=NOW):
    return desk.preprocess(engine, shelf(), institution_code, limit=limit, at=NOON, now=now)


def verdicts(engine):
    with engine.connect() as connection:
        found = connection.execute(select(verdict.c.claim_id, verdict.c.codes).order_by(verdict.c.claim_id))
        return {
            row.claim_id: [code for code, _ in unpack(row.codes, list[tuple[str, tuple[str, ...]]])] for row in found
        }


def test_a_good_claim_is_totalled_as_the_domain_totals_it(engine):
    accepted = intake.accept(engine, [submission()], at=NOON)[0]

    taken = turn(engine)

    expected = totals_of(HOSPITAL, accepted.visit_no)
    assert list(taken.totals) == [expected]
    row = rows(engine, claim)[0]
    assert row.state == ClaimState.TOTALLED
    assert unpack(row.totals, ClaimTotals) == expected
    assert (row.total_fen, row.line_count) == (expected.total_fen, len(LINES))
    assert (row.policy_version, row.catalogue_version) == (taken.policy_version, taken.catalogue_version)
    assert (row.rung_at, row.attempts) == (NOW, 1)


def test_a_claim_with_a_bad_line_goes_back_with_the_verdict_of_every_line(engine):
    both_wrong = line(3, quantity_1e2=0, line_amount_fen=0)
    intake.accept(engine, [submission(lines=[LINES[0], BAD_LINE._replace(line_no=2), both_wrong])], at=NOON)

    taken = turn(engine)

    assert (list(taken.totals), taken.returned) == ([], 1)
    assert states(engine) == ["returned"]
    with engine.connect() as connection:
        shown = claims.show(connection, HOSPITAL, f"{rows(engine, claim.c.visit_no)[0].visit_no}-1")
    assert [found.code for found in shown.verdicts] == ["00", "14", "12"]
    assert shown.verdicts[2].all_codes == ("12", "13")


def test_our_own_failure_sets_one_claim_aside_and_its_neighbours_go_on(engine, caplog):
    ids = hand_in(engine, HOSPITAL, 3)
    with engine.begin() as connection:
        connection.execute(update(claim_content).where(claim_content.c.claim_id == ids[1]).values(lines=b"\xc1"))

    with caplog.at_level(logging.ERROR, "desk"):
        taken = turn(engine)

    assert states(engine) == ["totalled", "refused", "totalled"]
    assert rows(engine, claim.c.refusal)[1].refusal == Refusal.INTERNAL
    assert len(taken.totals) == 2
    assert [record.claim_id for record in caplog.records] == [ids[1]]
    assert PERSON not in caplog.text


def test_a_second_turn_changes_nothing(engine):
    intake.accept(engine, [submission(key="good"), submission(key="bad", lines=[BAD_LINE])], at=NOON)
    turn(engine)
    before, verdicts_before = rows(engine, claim), verdicts(engine)

    again = turn(engine, now=NOW + 60)

    assert (list(again.totals), again.returned, again.more) == ([], 0, False)
    assert rows(engine, claim) == before
    assert verdicts(engine) == verdicts_before


def test_a_turn_takes_the_oldest_up_to_its_limit_and_says_whether_more_may_wait(engine):
    hand_in(engine, HOSPITAL, 5)

    first = turn(engine, limit=2)
    assert (len(first.totals), first.more) == (2, True)
    assert states(engine) == ["totalled"] * 2 + ["accepted"] * 3
    second = turn(engine, limit=3)
    assert (len(second.totals), second.more) == (3, True)
    assert not turn(engine, limit=3).more


def test_a_turn_takes_one_institutions_claims_only(engine):
    hand_in(engine, CLINIC, 1)
    hand_in(engine, HOSPITAL, 1)

    turn(engine, HOSPITAL)

    assert states(engine) == ["accepted", "totalled"]


def test_held_claims_are_left_alone(engine):
    hand_in(engine, HOSPITAL, 1, settle_now=False)

    assert list(turn(engine).totals) == []
    assert states(engine) == ["held"]


def test_two_desks_at_once_take_each_claim_once_and_no_verdict_is_lost(engine):
    """The second desk overtakes the first between its reading and its writing, with a part of the same claims."""
    batch = [submission(key=f"key-{number}", lines=[BAD_LINE] if number % 2 else LINES) for number in range(6)]
    intake.accept(engine, batch, at=NOON)
    overtaken = []

    def overtake(connection, *_):
        if not overtaken and not connection.get_execution_options().get("reading"):
            overtaken.append(True)
            connection.exec_driver_sql("ROLLBACK")
            turn(engine, limit=3)
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "begin", overtake)
    turn(engine, now=NOW + 1)

    assert overtaken
    assert states(engine) == ["totalled", "returned"] * 3
    assert sorted(verdicts(engine)) == [2, 4, 6]
    assert [row.rung_at for row in rows(engine, claim.c.rung_at)][0::2] == [NOW, NOW, NOW + 1]


def test_a_new_catalogue_is_used_from_the_next_turn_without_a_restart(engine):
    kept = shelf()
    hand_in(engine, HOSPITAL, 1, prefix="before")
    desk.preprocess(engine, kept, HOSPITAL, limit=10, at=NOON, now=NOW)
    with engine.begin() as connection:
        connection.execute(update(reference).where(reference.c.kind == "catalogue").values(in_force=False))
        connection.execute(insert(reference).values(catalogue_row(published([HOSPITAL], "catalogue-2"))))
    hand_in(engine, HOSPITAL, 1, prefix="after")

    desk.preprocess(engine, kept, HOSPITAL, limit=10, at=NOON, now=NOW)

    assert [row.catalogue_version for row in rows(engine, claim.c.catalogue_version)] == ["catalogue-1", "catalogue-2"]


def test_without_reference_data_nothing_is_touched_and_the_reason_is_said(engine):
    hand_in(engine, HOSPITAL, 1)
    with engine.begin() as connection:
        connection.execute(update(reference).values(in_force=False))

    with pytest.raises(NothingPublished, match="no catalogue"):
        turn(engine)

    assert states(engine) == ["accepted"]
