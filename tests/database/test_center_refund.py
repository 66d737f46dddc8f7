"""Contra settlements on a real PostgreSQL: the negative twin, once, everything back where it was, or a reason."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import delete, insert, text
from sqlalchemy.exc import IntegrityError

from center.outcomes.prepare import prepare
from center.serving.tables import served_by
from center.settling import refund as refunding
from center.settling.permits import CannotPermit, permit
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from center.tables import settlement
from domain.messages import PrepareAsked, RefundAsked
from domain.policy import PolicyBook
from domain.policy.reading import parse
from domain.refund import RefundRules, refund_rules
from domain.refusals import Refusal, sentence
from domain.visit import VisitType
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    CLINIC,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    POLICY_VERSION,
    fill_center,
    first,
    rows_of,
    submitted,
    synthetic_citizen_id,
    totals,
)
from tests.support.frontend import POLICY

BALANCE = 3000
YESTERDAY = AT.date() - timedelta(days=1)
_serials = count(1)
_persons = count()


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=400, balance_fen=BALANCE)


@pytest.fixture
def settle(center_engine, shelf):
    def settle(*claims, at=AT):
        return settle_submitted(center_engine, shelf, submitted(*claims), frontend=FRONTEND, at=at).answers

    return settle


@pytest.fixture
def take_back(center_engine, shelf):
    def take_back(asked, *, frontend=FRONTEND, at=AT + timedelta(hours=1)):
        return refund(center_engine, shelf, asked, frontend=frontend, at=at)

    return take_back


def claim(person=None, **change):
    """A good claim of a visit no other test has, and of a new person unless one is named."""
    number = next(_persons) if person is None else person
    return totals(next(_serials), citizen_id_no=synthetic_citizen_id(number), **change)


def stay(person, **change):
    return claim(person, visit_type="1", visit_started=AT.date(), covers_to=AT.date(), **change)


def asking(of, **change):
    values = {
        "institution_code": of.institution_code,
        "visit_no": of.visit_no,
        "charge_batch_no": of.charge_batch_no,
        "contra_batch_no": of.charge_batch_no + 1,
        "reason": "收费有误",
        "policy_version": POLICY_VERSION,
        "catalogue_version": CATALOGUE_VERSION,
    }
    return RefundAsked(**values | change)


def standing(engine, person):
    """The accumulators that stand at something, and the account, of a person."""
    number = synthetic_citizen_id(person)
    sums = rows_of(
        engine,
        "SELECT key, amount_fen FROM accumulator JOIN person USING (person_no)"
        " WHERE citizen_id_no = :number AND amount_fen <> 0",
        number=number,
    )
    balance = first(rows_of(engine, "SELECT account_balance_fen FROM person WHERE citizen_id_no = :n", n=number))
    return dict(sums), balance


def test_what_is_settled_between_the_look_and_the_locks_is_looked_at_again_and_its_person_locked(
    center_engine, shelf, settle, take_back, monkeypatch
):
    """As where a restored centre takes a settlement up while its refund is handed in."""
    late, locked = claim(), []
    lock = refunding.contra.lock_concerned

    def settled_meanwhile(cursor, numbers, visit_nos):
        locked.append(list(numbers))
        if len(locked) == 1:
            assert settle(late)[0].refusal == ""
        return lock(cursor, numbers, visit_nos)

    monkeypatch.setattr(refunding.contra, "lock_concerned", settled_meanwhile)
    answered = take_back(asking(late))

    assert answered.refusal == ""
    assert [len(numbers) for numbers in locked] == [0, 1], "nobody was locked at the first look"


def test_a_refund_is_the_negative_twin_and_everything_is_back_where_it_was(center_engine, settle, take_back):
    person = next(_persons)
    of = claim(person)
    (was,) = settle(of)
    assert standing(center_engine, person) != ({}, BALANCE)

    answered = take_back(asking(of))

    (contra,) = answered.answers
    assert (answered.refusal, contra.charge_batch_no) == ("", 2)
    assert contra.settlement_no > was.settlement_no
    assert (contra.fund_pay_fen, contra.account_pay_fen) == (-was.fund_pay_fen, -was.account_pay_fen)
    assert contra.cells == tuple((segment, payer, -fen) for segment, payer, fen in was.cells)
    assert [(key, applied) for key, _, applied in contra.entries] == sorted((k, -a) for k, _, a in was.entries)
    assert standing(center_engine, person) == ({}, BALANCE)
    sums = "SELECT sum(total_fen), sum(fund_pay_fen), sum(account_pay_fen), sum(self_pay_fen) FROM settlement"
    assert rows_of(center_engine, f"{sums} WHERE visit_no = :v", v=of.visit_no) == [(0, 0, 0, 0)]
    postings = (
        "SELECT account, sum(amount_fen) FROM posting JOIN settlement ON settlement_no = document_no"
        " WHERE visit_no = :v GROUP BY account HAVING sum(amount_fen) <> 0"
    )
    assert rows_of(center_engine, postings, v=of.visit_no) == []
    linked = "SELECT contra_of, reason, kind FROM settlement WHERE settlement_no = :n"
    assert rows_of(center_engine, linked, n=contra.settlement_no) == [(was.settlement_no, "收费有误", "contra")]


def test_asked_again_it_answers_as_the_first_time_and_moves_nothing(center_engine, settle, take_back):
    person = next(_persons)
    of = claim(person)
    settle(of)
    first_answer = take_back(asking(of))

    again = take_back(asking(of), at=AT + timedelta(days=9))

    assert again == first_answer
    assert standing(center_engine, person) == ({}, BALANCE)
    assert settle(of)[0].refusal == "", "the original's own answer stands"


def test_something_else_under_the_number_of_a_refund_is_too_late(center_engine, settle, take_back):
    """As two front-ends of one institution ask it, of which neither knows of the other: what the first was told stays,
    and no front-end records as settled what the centre has not settled."""
    of, unlike = claim(), claim()
    settle(of, unlike)
    all_of_it = of._replace(charge_batch_no=3)
    half = all_of_it._replace(total_fen=5500, in_scope_fen=4500)
    told = take_back(asking(of, kept=(half,)))
    take_back(asking(unlike))
    written = documents_of(center_engine, of, unlike)

    def too_late(asked, **change):
        answered = take_back(asked, **change)
        assert (answered.refusal, answered.answers) == (Refusal.REFUNDED_ALREADY, ())
        assert str(written[0 if asked.visit_no == of.visit_no else -1]) in answered.detail

    too_late(asking(of, kept=(all_of_it,)))
    too_late(asking(of, kept=(half._replace(digest=bytes.fromhex("77" * 16)),)))
    too_late(asking(of, kept=(half._replace(charge_batch_no=4),)))
    too_late(asking(of))
    too_late(asking(unlike, kept=(unlike._replace(charge_batch_no=3),)))
    beside = insert(served_by).values(institution_code=HOSPITAL, frontend=OTHER_FRONTEND, part=1)
    gone = delete(served_by).where(served_by.c.institution_code == HOSPITAL, served_by.c.frontend == OTHER_FRONTEND)
    with center_engine.begin() as connection:
        connection.execute(beside)
    too_late(asking(of, kept=(half,)), frontend=OTHER_FRONTEND)
    with center_engine.begin() as connection:
        connection.execute(gone)

    otherwise_split = half._replace(in_scope_fen=4000, own_expense_fen=half.own_expense_fen + 500)
    assert take_back(asking(of, kept=(otherwise_split,))) == told, "the same lines, as the catalogue of today has them"
    assert documents_of(center_engine, of, unlike) == written


def documents_of(engine, *claims):
    """The settlements of these visits but the original ones, in their order."""
    numbers = "SELECT settlement_no FROM settlement WHERE visit_no = ANY(:visits) AND charge_batch_no > 1 ORDER BY 1"
    return [number for (number,) in rows_of(engine, numbers, visits=[each.visit_no for each in claims])]


def test_a_redelivered_claim_after_its_refund_settles_nothing(center_engine, settle, take_back):
    person = next(_persons)
    of = claim(person)
    settle(of)
    take_back(asking(of))
    settle(of)
    assert standing(center_engine, person) == ({}, BALANCE)


def kept(**change):
    """What is kept, of the claim it is kept of."""
    return {"kept": {"charge_batch_no": 3} | change}


REFUSED = [
    pytest.param(({"visit_no": "T00001260302ZZZZ"}, FRONTEND, Refusal.NOT_SETTLED), id="never settled"),
    pytest.param(({"charge_batch_no": 7}, FRONTEND, Refusal.NOT_SETTLED), id="another batch"),
    pytest.param(({}, OTHER_FRONTEND, Refusal.NOT_SERVED), id="another front-end"),
    pytest.param(({"institution_code": CLINIC}, OTHER_FRONTEND, Refusal.REFUND_OF_ANOTHER), id="another institution"),
    pytest.param(
        ({"institution_code": "990000000000"}, FRONTEND, Refusal.INSTITUTION_UNKNOWN), id="unknown institution"
    ),
    pytest.param(({"reason": "因" * 121}, FRONTEND, Refusal.MALFORMED), id="a reason too long"),
    pytest.param(({"visit_no": "\0"}, FRONTEND, Refusal.MALFORMED), id="a number that cannot be stored"),
    pytest.param(({"contra_batch_no": 1}, FRONTEND, Refusal.MALFORMED), id="the original's own number"),
    pytest.param((kept(total_fen=11001, in_scope_fen=10001), FRONTEND, Refusal.KEPT_MORE), id="more kept than paid"),
    pytest.param((kept(line_count=6), FRONTEND, Refusal.KEPT_MORE), id="more lines kept than there were"),
    pytest.param((kept(visit_type="2"), FRONTEND, Refusal.MALFORMED), id="kept of another kind of visit"),
    pytest.param(
        (kept(visit_date=AT.date() - timedelta(days=1)), FRONTEND, Refusal.MALFORMED), id="kept of another day"
    ),
    pytest.param((kept(charge_batch_no=1), FRONTEND, Refusal.MALFORMED), id="kept under the original's number"),
]


@pytest.fixture(params=REFUSED)
def refused(request):
    return request.param


def test_a_refund_is_refused_with_its_code_and_changes_nothing(center_engine, settle, take_back, refused):
    change, frontend, refusal = refused
    person = next(_persons)
    of = claim(person)
    settle(of)
    before = standing(center_engine, person)
    if "kept" in change:
        change = {"kept": (of._replace(**change["kept"]),)}

    answered = take_back(asking(of, **change), frontend=frontend)

    assert (answered.refusal, bool(answered.detail), answered.answers) == (refusal, True, ())
    assert standing(center_engine, person) == before


@contextmanager
def closed(engine, institution_code):
    """The institution is closed for a while."""
    served = "UPDATE institution SET active = :active WHERE institution_code = :code"
    with engine.begin() as connection:
        connection.execute(text(served), {"active": False, "code": institution_code})
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(text(served), {"active": True, "code": institution_code})


def test_a_refund_stays_answered_though_the_institution_was_closed_since(center_engine, settle, take_back):
    of = claim()
    settle(of)
    first_answer = take_back(asking(of))
    with closed(center_engine, of.institution_code):
        assert take_back(asking(of)) == first_answer, "its answer was lost on the way"


def test_a_refusal_stays_the_answer_of_its_number_though_its_reason_be_gone(center_engine, settle, take_back):
    of = claim()
    settle(of)
    with closed(center_engine, of.institution_code):
        refused_ = take_back(asking(of))
    assert refused_.refusal == Refusal.INSTITUTION_UNKNOWN
    assert take_back(asking(of)) == refused_, "a copy that came late"
    assert not take_back(asking(of, contra_batch_no=of.charge_batch_no + 2)).refusal, "asked again by the cashier"


def test_no_settlement_is_taken_back_twice_and_no_contra_at_all(settle, take_back):
    of = claim()
    settle(of)
    take_back(asking(of))

    assert take_back(asking(of, contra_batch_no=3)).refusal == Refusal.REFUNDED_ALREADY
    assert take_back(asking(of, charge_batch_no=2, contra_batch_no=3)).refusal == Refusal.REFUND_OF_REFUND
    foreign = asking(of, charge_batch_no=2, contra_batch_no=3, institution_code=CLINIC)
    assert take_back(foreign, frontend=OTHER_FRONTEND).refusal == Refusal.REFUND_OF_ANOTHER, "it learns no more"


def test_what_is_prepared_is_confirmed_or_cancelled_first_and_holds_up_the_person(
    center_engine, shelf, settle, take_back
):
    person = next(_persons)
    before, prepared = claim(person), claim(person)
    settle(before)
    asked = PrepareAsked(policy_version=POLICY_VERSION, catalogue_version=CATALOGUE_VERSION, claims=(prepared,))
    prepare(center_engine, shelf, asked, frontend=FRONTEND, at=AT, interval=timedelta(minutes=10))
    during, after = AT + timedelta(minutes=9), AT + timedelta(minutes=11)

    assert take_back(asking(prepared), at=during).refusal == Refusal.NOT_CONFIRMED
    held = standing(center_engine, person)
    assert take_back(asking(before), at=during).refusal == Refusal.BUSY
    assert standing(center_engine, person) == held
    assert take_back(asking(before), at=after).refusal == "", "its time is up"
    assert take_back(asking(prepared, contra_batch_no=3), at=after).refusal == Refusal.NOT_SETTLED
    assert standing(center_engine, person) == ({}, BALANCE)


def test_every_refusal_of_a_refund_has_a_sentence_with_its_numbers():
    for refusal in Refusal:
        assert "{" not in sentence(refusal, "1.00", "2.00")


def test_stays_go_last_first_and_outpatient_visits_in_any_order(settle, take_back):
    person = next(_persons)
    early, late = stay(person), stay(person)
    outpatient, after = claim(person), claim(person)
    settle(early, late, outpatient, after)

    assert take_back(asking(early)).refusal == Refusal.LATER_SETTLEMENT
    assert take_back(asking(outpatient)).refusal == ""
    assert take_back(asking(after)).refusal == ""
    assert take_back(asking(late)).refusal == ""
    assert take_back(asking(early, contra_batch_no=3)).refusal == ""


def test_what_is_kept_is_settled_with_the_refund_both_or_neither(center_engine, settle, take_back):
    person = next(_persons)
    of = claim(person)
    settle(of)
    kept = of._replace(charge_batch_no=5, total_fen=5500, in_scope_fen=4500)
    wrong = kept._replace(charge_batch_no=3, total_fen=1)

    assert take_back(asking(of, kept=(wrong,))).refusal == Refusal.TOTALS_UNEQUAL
    standing_before = standing(center_engine, person)
    refused = rows_of(center_engine, "SELECT count(*) FROM settlement WHERE visit_no = :v", v=of.visit_no)
    assert first(refused) == 1, "nothing of it was committed"

    answered = take_back(asking(of, contra_batch_no=4, kept=(kept,)))

    contra, anew = answered.answers
    assert (contra.charge_batch_no, anew.charge_batch_no) == (4, 5)
    assert standing(center_engine, person) != standing_before
    assert take_back(asking(of, contra_batch_no=4, kept=(kept,))) == answered
    alone = claim(next(_persons))._replace(total_fen=5500, in_scope_fen=4500)
    (expected,) = settle(alone)
    assert (anew.fund_pay_fen, anew.account_pay_fen) == (expected.fund_pay_fen, expected.account_pay_fen)
    assert take_back(asking(kept, contra_batch_no=6)).refusal == ""
    assert standing(center_engine, person) == ({}, BALANCE)


def test_what_is_kept_of_a_stay_goes_by_the_rules_of_the_day_it_was_settled_on(center_engine, settle, take_back):
    person = next(_persons)
    of = stay(person)
    settle(of)
    kept = of._replace(charge_batch_no=3, total_fen=5500, in_scope_fen=4500)

    contra, anew = take_back(asking(of, kept=(kept,)), at=AT + timedelta(days=365)).answers

    years = {key.rsplit(":", 1)[1] for key, _, _ in anew.entries if "stay/" not in key}
    assert years == {str(AT.year)}
    assert (contra.settled_at.year, anew.settled_at.year) == (AT.year + 1, AT.year + 1)


def test_a_crash_before_the_commit_leaves_nothing_and_the_replay_does_it_once(
    center_engine, settle, take_back, monkeypatch
):
    person = next(_persons)
    of = claim(person)
    settle(of)
    before = standing(center_engine, person)
    real = refunding._Refund._settle_kept
    for crash in (True, False):
        if crash:

            def die(self, settled_on):
                raise KeyboardInterrupt

            monkeypatch.setattr(refunding._Refund, "_settle_kept", die)
            with pytest.raises(KeyboardInterrupt):
                take_back(asking(of))
            assert standing(center_engine, person) == before
            monkeypatch.setattr(refunding._Refund, "_settle_kept", real)
        else:
            assert take_back(asking(of)).refusal == ""
    assert standing(center_engine, person) == ({}, BALANCE)


def test_many_at_once_take_it_back_once(center_engine, settle, take_back):
    person = next(_persons)
    of = claim(person)
    settle(of)
    asked = [asking(of, contra_batch_no=2 + number % 3) for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answered = list(pool.map(take_back, asked))

    done = [each for each in answered if not each.refusal]
    assert len({each.answers[0].settlement_no for each in done}) == 1
    assert {each.refusal for each in answered} <= {"", Refusal.REFUNDED_ALREADY}
    assert standing(center_engine, person) == ({}, BALANCE)


def test_the_database_itself_refuses_a_second_contra(center_engine, settle, take_back):
    of = claim()
    settle(of)
    (contra,) = take_back(asking(of)).answers
    own = ("settlement_no", "charge_batch_no")
    copied = ", ".join(column.name for column in settlement.columns if column.name not in own)
    with pytest.raises(IntegrityError, match="uq_settlement_contra_of"), center_engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO settlement (settlement_no, charge_batch_no, {copied})"
            f" SELECT nextval('settlement_no_seq'), 9, {copied} FROM settlement WHERE settlement_no = %s",
            (contra.settlement_no,),
        )


def test_a_refund_and_a_later_settlement_at_once_are_one_after_the_other(center_engine, settle, take_back):
    """Of stays: whichever comes first, the other one sees it."""
    for _ in range(8):
        person, alone, whole = (next(_persons) for _ in range(3))
        early, late = stay(person), stay(person)
        settle(early)
        start = threading.Barrier(2)

        def refund_it(of=early, start=start):
            start.wait()
            return take_back(asking(of)).refusal

        def settle_it(of=late, start=start):
            start.wait()
            return settle(of)[0].fund_pay_fen

        with ThreadPoolExecutor(2) as pool:
            refused, fund = [each.result() for each in (pool.submit(refund_it), pool.submit(settle_it))]

        (alone_answer,) = settle(stay(alone))
        _, second = settle(stay(whole), stay(whole))
        assert alone_answer.fund_pay_fen != second.fund_pay_fen
        expected = {"": alone_answer.fund_pay_fen, Refusal.LATER_SETTLEMENT: second.fund_pay_fen}
        assert fund == expected[refused]


FACT = '{{ kind = "refund", scheme = "any", {say}, from = 2020-01-01, src = "TEST" }},'


@pytest.mark.parametrize(
    ("say", "visit_type", "expected"),
    [
        pytest.param("", VisitType.INPATIENT, RefundRules(last_first=True), id="stays last first"),
        pytest.param("", VisitType.OUTPATIENT, RefundRules(last_first=False), id="outpatients in any order"),
        pytest.param('later = "any"', VisitType.INPATIENT, RefundRules(last_first=False), id="any, by policy"),
        pytest.param(
            'later = "last_first"', VisitType.PHARMACY, RefundRules(last_first=True), id="last first, by policy"
        ),
        pytest.param(
            "across_years = false",
            VisitType.OUTPATIENT,
            RefundRules(last_first=False, across_years=False),
            id="same year",
        ),
        pytest.param(
            "across_months = false, free_days = 3",
            VisitType.OUTPATIENT,
            RefundRules(last_first=False, across_months=False, free_days=3),
            id="three days of one month",
        ),
    ],
)
def test_the_rules_are_those_of_the_policy(say, visit_type, expected):
    text = POLICY.replace("facts = [", "facts = [\n  " + FACT.format(say=say)) if say else POLICY
    assert refund_rules(PolicyBook([parse(text)]), "employee", visit_type, AT.date()) == expected


TOO_LATE = [
    pytest.param(("across_years = false", timedelta(days=305), Refusal.OTHER_BENEFIT_YEAR), id="the next year"),
    pytest.param(("across_years = false", timedelta(days=300), ""), id="the same year"),
    pytest.param(("free_days = 3", timedelta(days=3), ""), id="the third day"),
    pytest.param(("free_days = 3", timedelta(days=4), Refusal.REFUND_TOO_LATE), id="the fourth day"),
    pytest.param(("across_months = false", timedelta(days=30), Refusal.REFUND_TOO_LATE), id="the next month"),
]


@pytest.mark.parametrize("case", TOO_LATE)
def test_a_policy_may_say_that_it_is_too_late(center_engine, shelf, settle, case):
    say, later, refusal = case
    of = claim()
    settle(of)
    text = POLICY.replace("facts = [", "facts = [\n  " + FACT.format(say=say))

    class Shelf:
        def current(self, connection, versions=None):
            return replace(shelf.current(connection, versions), policy=PolicyBook([parse(text)]))

    assert refund(center_engine, Shelf(), asking(of), frontend=FRONTEND, at=AT + later).refusal == refusal


def by_policy(shelf, say):
    """The shelf, with a policy whose refund fact says this."""
    text = POLICY.replace("facts = [", "facts = [\n  " + FACT.format(say=say))

    class Shelf:
        def current(self, connection, versions=None):
            return replace(shelf.current(connection, versions), policy=PolicyBook([parse(text)]))

    return Shelf()


def allow(center_engine, of, *, until, at):
    with center_engine.begin() as connection:
        return permit(connection, of.visit_no, of.charge_batch_no, by="clerk", reason="出国未归", until=until, at=at)


def test_the_office_may_permit_what_is_too_late_until_a_day(center_engine, shelf, settle):
    of = claim()
    settle(of)
    late, free = AT + timedelta(days=30), by_policy(shelf, "free_days = 3")
    allow(center_engine, of, until=late.date(), at=late)

    after = refund(center_engine, free, asking(of), frontend=FRONTEND, at=late + timedelta(days=1))
    assert after.refusal == Refusal.REFUND_TOO_LATE
    assert refund(center_engine, free, asking(of, contra_batch_no=3), frontend=FRONTEND, at=late).refusal == ""

    with pytest.raises(CannotPermit, match="已退费"):
        allow(center_engine, of, until=late.date(), at=late)
    with pytest.raises(CannotPermit, match="没有这笔结算"):
        allow(center_engine, claim(), until=late.date(), at=late)
    with pytest.raises(CannotPermit, match="已过"):
        allow(center_engine, of, until=AT.date(), at=late)


def test_a_refund_by_the_accumulators_of_today_is_the_mirror_while_nothing_came_after_and_else_the_offices(
    center_engine, shelf, settle
):
    person = next(_persons)
    first_one, second = claim(person), claim(person)
    settle(first_one)
    settle(second, at=AT + timedelta(minutes=5))
    today, policy = AT + timedelta(hours=1), by_policy(shelf, 'accumulators = "of_today"')

    def asked(of, number=2):
        asked = asking(of, contra_batch_no=number)
        return refund(center_engine, policy, asked, frontend=FRONTEND, at=today).refusal

    assert asked(first_one) == Refusal.REFUND_BY_TODAY
    assert asked(second) == ""
    assert asked(first_one, 3) == "", "the later one is taken back"

    third, fourth = claim(person), claim(person)
    settle(third)
    settle(fourth)
    allow(center_engine, third, until=today.date(), at=today)
    assert asked(third) == ""
