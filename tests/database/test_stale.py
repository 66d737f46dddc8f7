"""Totals made with what is no longer in force: the front-end fetches what is, and totals again by itself."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import select

from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimTotals
from domain.outcomes import Phase
from domain.refusals import Refusal
from domain.ways import Way
from infra import lanes
from infra.codec import unpack
from tests.support.center import fill_center, rows_of
from tests.support.frontend import DAY, HOSPITAL, ITEMS, LINES, POLICY, short_code, submission
from tests.support.publishing import fetching_line, publish_catalogue, publish_policy
from tests.support.ways import Ways
from workers import entitlement, intake, retotal
from workers.tables import claim

_serials = count(1)
_versions = count(2)


def split_otherwise(day):
    """A policy that reports what is over the price limit inside the own expense, in a version of its own."""
    fact = f'{{ kind = "line_split", scheme = "any", over_limit = "own_expense", from = 2020-01-0{day}, src = "TEST" }}'
    return f"{POLICY.rstrip().removesuffix(']')}  {fact},\n]\n"


@pytest.fixture(scope="module")
def centre(center_engine):
    fill_center(center_engine, persons=40)
    return center_engine


@pytest.fixture
def line(tmp_path, centre, center_database_url):
    publish_catalogue(centre, f"catalogue-{next(_versions)}", ITEMS, day=DAY - timedelta(days=30))
    publish_policy(centre, POLICY)
    made = fetching_line(tmp_path, center_database_url)
    yield made
    made.close()
    made.engine.dispose()


def hand_in(line, **change):
    """Accept a claim with a line of every kind; its visit number."""
    serial = next(_serials)
    visit_no = f"{short_code(HOSPITAL)}{serial:010d}"
    person = synthetic_citizen_id(serial % 40)
    handed_in = submission(
        HOSPITAL, f"stale-{serial}", lines=LINES, visit_no=visit_no, batch_no=1, person=person, **change
    )
    intake.accept(line.engine, [handed_in], at=line.clock.now())
    return visit_no


def of(line, visit_no):
    with line.engine.connect() as connection:
        return connection.execute(select(claim).where(claim.c.visit_no == visit_no)).one()


def dearer(centre):
    """A catalogue with a lower price limit has been in force for longer than an old one is accepted."""
    version = f"catalogue-{next(_versions)}"
    items = (*ITEMS[:3], ITEMS[3]._replace(price_limit_1e4=10000))
    publish_catalogue(centre, version, items, day=DAY - timedelta(days=9))
    return version


def settled(centre, visit_no):
    return rows_of(
        centre, "SELECT catalogue_version, policy_version, over_limit_fen, own_expense_fen FROM settlement"
        " WHERE visit_no = :visit", visit=visit_no,
    )  # fmt: skip


def test_a_front_end_that_was_cut_off_fetches_the_catalogue_and_totals_again_by_itself(centre, line):
    held = held_here(line)
    version = dearer(centre)
    visit_no = hand_in(line)

    line.ring()
    done = of(line, visit_no)

    assert lanes.REFERENCE_KEEP in line.sent
    assert (done.state, done.waits_for, done.submission, done.retotalled) == (ClaimState.SETTLED, None, 1, 1)
    assert (done.catalogue_version, held[1] == version) == (version, False)
    ((catalogue, _, over_limit_fen, _),) = settled(centre, visit_no)
    assert (catalogue, over_limit_fen) == (version, 2400)
    assert unpack(done.totals, ClaimTotals).over_limit_fen == 2400


def test_a_policy_that_splits_lines_otherwise_is_fetched_and_nobody_is_asked(centre, line):
    version = publish_policy(centre, split_otherwise(2))
    visit_no = hand_in(line)

    line.ring()

    done = of(line, visit_no)
    assert (done.state, done.policy_version, done.retotalled) == (ClaimState.SETTLED, version, 1)
    assert settled(centre, visit_no)[0][1:] == (version, 0, 650)


def test_a_late_copy_of_the_old_totals_changes_nothing(centre, line):
    publish_policy(centre, split_otherwise(3))
    visit_no = hand_in(line)
    line._run(lanes.CLAIMS_PREPROCESS, institution=HOSPITAL)
    copies = list(line.carried)
    answers = []
    line.loses = lambda task: task == lanes.CLAIMS_DELIVER and answers.append(task) is None and len(answers) == 2
    line.carry()  # told that they are stale, totalled again, settled; and that answer is lost
    line.loses = lambda task: False
    line.carried.extend(copies)
    line.carry()
    assert (of(line, visit_no).state, of(line, visit_no).submission) == (ClaimState.TOTALLED, 1)
    line.let_pass(20.0)
    before = of(line, visit_no)

    publish_policy(centre, POLICY)  # the old totals would be good again
    line.carried.extend(copies)
    line.carry()

    assert (before.state, before.submission) == (ClaimState.SETTLED, 1)
    assert of(line, visit_no) == before
    assert len(settled(centre, visit_no)) == 1


def test_a_claim_to_be_prepared_is_totalled_again_too(centre, line):
    version = publish_policy(centre, split_otherwise(4))
    visit_no = hand_in(line, phase=Phase.PREPARE)

    line.ring()

    done = of(line, visit_no)
    assert (done.state, done.phase, done.policy_version) == (ClaimState.PREPARED, Phase.PREPARE, version)


def test_one_to_be_prepared_is_sent_again_when_the_centre_only_knows_the_old_totals(centre, line):
    """It says that it refused those whenever it is asked; of the new ones, which were lost, it says nothing."""
    version = publish_policy(centre, split_otherwise(6))
    visit_no = hand_in(line, phase=Phase.PREPARE)
    sent = []
    line.loses = lambda task: task == lanes.CLAIMS_PREPARE and sent.append(task) is None and len(sent) == 2
    line.ring()
    line.loses = lambda task: False
    waiting = of(line, visit_no)
    assert (waiting.state, waiting.submission) == (ClaimState.TOTALLED, 1)

    line.let_pass(20.0)

    done = of(line, visit_no)
    assert (done.state, done.submission, done.policy_version) == (ClaimState.PREPARED, 1, version)


def test_a_result_that_was_told_locally_is_computed_anew(centre, line):
    Ways.set_way(line, Way.LOCAL)
    person = synthetic_citizen_id((next(_serials) + 1) % 40)
    entitlement.ask(line.frontend, [person])
    line.carry()
    publish_policy(centre, split_otherwise(5))
    visit_no = hand_in(line)

    line.ring()

    done = of(line, visit_no)
    assert done.state == ClaimState.SETTLED
    assert settled(centre, visit_no)[0][3] == 650


def test_what_the_centre_wants_and_never_comes_is_told_to_the_cashier_after_bounded_tries(centre, line):
    version = publish_policy(centre, split_otherwise(6))
    held, _ = held_here(line)
    visit_no = hand_in(line)
    line.loses = lambda task: task == lanes.REFERENCE_KEEP

    line.ring()
    assert of(line, visit_no).waits_for == Refusal.POLICY_STALE
    line.let_pass(1800.0, every=8.0)

    refused = of(line, visit_no)
    assert (refused.state, refused.refusal) == (ClaimState.REFUSED, Refusal.POLICY_STALE)
    words = unpack(refused.answer, ClaimAnswer).detail
    assert f"政策版本：前置机 {held}，中心 {version}" in words
    assert "请信息科检查前置机与中心的同步，同步后重送本笔" in words
    assert line.sent.count(lanes.CLAIMS_SETTLE) == retotal.MOST_WAITS
    assert settled(centre, visit_no) == []


def held_here(line):
    with line.engine.connect() as connection:
        return retotal.held(connection)


def test_two_that_never_agree_are_tried_a_few_times_only(centre, line):
    visit_no = hand_in(line)
    publish_policy(centre, split_otherwise(7))
    for number in range(2 * retotal.MOST_TRIES):
        line.loses = lambda task: task == lanes.CLAIMS_SETTLE  # it is replaced again while the totals are on their way
        line.ring()
        line.let_pass(1.0)
        publish_policy(centre, split_otherwise(7 + number % 2))
        line.loses = lambda task: False
        line.let_pass(20.0)
        if of(line, visit_no).state in (ClaimState.SETTLED, ClaimState.REFUSED):
            break
    assert of(line, visit_no).retotalled <= retotal.MOST_TRIES


def test_with_its_lines_at_the_centre_nothing_is_ever_stale(centre, line):
    Ways.set_way(line, Way.CENTRALIZED)
    version = dearer(centre)
    policy = publish_policy(centre, split_otherwise(8))
    visit_no = hand_in(line)

    line.ring()

    done = of(line, visit_no)
    assert (done.state, done.retotalled, done.detail_state) == (ClaimState.SETTLED, 0, 1)
    assert (done.policy_version, done.catalogue_version) == (policy, version)
    assert settled(centre, visit_no) == [(version, policy, 0, 2550)]
