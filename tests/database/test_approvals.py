"""Four eyes on a real PostgreSQL: another person, once, the books as they were foreseen, all of it or nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from center.approving import decisions, proposals
from center.approving.actions import Action, CannotDo
from center.approving.decisions import CannotDecide
from center.approving.proposals import OPEN_FOR, AlreadyProposed, CannotPropose
from center.ledger import audit
from infra.database import opened, station
from tests.support.center import AT, HOSPITAL, first, person_row, rows_of

_people = count(70_000)


def pay(connection, payload, *, at):
    """Foresees a payment onto somebody's account."""
    (balance,) = connection.execute(
        text("SELECT account_balance_fen FROM person WHERE citizen_id_no = :who"), {"who": payload["who"]}
    ).one()
    if payload["fen"] < 0:
        raise CannotDo("金额不能为负")
    return f"余额由 {balance} 变为 {balance + payload['fen']}"


def paid(connection, payload, *, proposal_no, by, approved_by, at):
    connection.execute(
        text("UPDATE person SET account_balance_fen = account_balance_fen + :fen WHERE citizen_id_no = :who"), payload
    )
    if payload["fen"] == 13:
        raise CannotDo("不吉利")
    if payload["fen"] == 14:
        raise ZeroDivisionError
    return f"{by}提请、{approved_by}批准，已支付"


ACTIONS = {"test.pay": Action("付款", pay, paid)}


@pytest.fixture
def who(center_engine):
    """Somebody new with nothing on the account."""
    row = person_row(next(_people))
    with center_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO person (citizen_id_no, scheme, category) VALUES (:citizen_id_no, :scheme, :category)"),
            row,
        )
    return row["citizen_id_no"]


@pytest.fixture
def propose(center_engine, who):
    def propose(fen, *, by="张三", at=AT, **change):
        with center_engine.begin() as connection:
            payload = {"who": who, "fen": fen}
            values = {
                "by": by, "reason": "漏付", "institution_code": HOSPITAL, "effect": "", "at": at
            } | change  # fmt: skip
            effect = values["effect"] or pay(connection, payload, at=at)
            return proposals.propose(connection, "test.pay", payload, **values | {"effect": effect})

    return propose


def approve(engine, number, *, by="李四", at=AT + timedelta(hours=1), by_login=False):
    return decisions.approve(engine, number, by=by, at=at, actions=ACTIONS, by_login=by_login)


def balance(engine, who):
    return first(rows_of(engine, "SELECT account_balance_fen FROM person WHERE citizen_id_no = :who", who=who))


def audited(engine, number):
    rows = rows_of(engine, "SELECT action, by FROM audit WHERE subject = :number ORDER BY audit_no", number=str(number))
    return [tuple(row) for row in rows]


def test_another_person_approves_and_it_is_done_with_the_decision(center_engine, propose, who):
    number = propose(100)
    assert balance(center_engine, who) == 0

    outcome = approve(center_engine, number)

    assert (outcome.state, outcome.words) == ("approved", "张三提请、李四批准，已支付")
    assert balance(center_engine, who) == 100
    assert audited(center_engine, number) == [("approval.propose", "张三"), ("approval.approve", "李四")]


@pytest.mark.parametrize("by", ["张三", " 张三 ", "", "李" * 41])
def test_nobody_approves_or_rejects_their_own_or_without_a_name(center_engine, propose, who, by):
    number = propose(100)
    with pytest.raises(CannotDecide):
        approve(center_engine, number, by=by)
    with pytest.raises(CannotDecide):
        decisions.reject(center_engine, number, by=by, reason="不对", at=AT)
    assert balance(center_engine, who) == 0
    with center_engine.connect() as connection:
        assert proposals.find(connection, number).is_open(AT)


def test_where_every_operator_has_a_login_two_names_from_one_login_are_one_person(center_engine, propose, who):
    number = propose(100)
    elsewhere = center_engine.url.update_query_dict({"application_name": "lisi@office-2"})

    with pytest.raises(CannotDecide, match=station()):
        approve(center_engine, number, by_login=True)
    assert balance(center_engine, who) == 0
    with opened(elsewhere.render_as_string(hide_password=False)) as engine:
        assert approve(engine, number, by_login=True).state == "approved"

    with center_engine.connect() as connection:
        found = proposals.find(connection, number)
        noted = audit.find(connection, audit.Wanted(subject=str(number)), limit=2)
    assert (found.proposed_from, found.decided_from) == (station(), "lisi@office-2")
    assert [row.details["station"] for row in noted] == ["lisi@office-2", station()]


def test_the_database_itself_wants_two_persons_and_one_decision(center_engine, propose):
    number = propose(100)
    decide = "UPDATE proposal SET state = 'approved', decided_by = :by, decided_at = now() WHERE proposal_no = :number"
    with pytest.raises(DBAPIError, match="ck_proposal_four_eyes"), center_engine.begin() as connection:
        connection.execute(text(decide), {"by": "张三", "number": number})
    decisions.reject(center_engine, number, by="李四", reason="不对", at=AT)
    with pytest.raises(DBAPIError, match="is decided"), center_engine.begin() as connection:
        connection.execute(text(decide), {"by": "王五", "number": number})


@pytest.mark.parametrize("change", ["payload = '{}'", "effect = 'x'", "proposed_by = 'x'", "expires_at = now()"])
def test_what_was_proposed_is_never_changed(center_engine, propose, change):
    number = propose(100)
    with pytest.raises(DBAPIError, match="is changed"), center_engine.begin() as connection:
        connection.execute(text(f"UPDATE proposal SET {change} WHERE proposal_no = :number"), {"number": number})
    with pytest.raises(DBAPIError, match=r"not deleted|permission denied"), center_engine.begin() as connection:
        connection.execute(text("DELETE FROM proposal WHERE proposal_no = :number"), {"number": number})


def test_what_is_decided_is_not_decided_again(center_engine, propose, who):
    number = propose(100)
    assert decisions.reject(center_engine, number, by="李四", reason="重复", at=AT).state == "rejected"
    with pytest.raises(CannotDecide, match="已退回（李四）"):
        approve(center_engine, number, by="王五")
    assert balance(center_engine, who) == 0
    with pytest.raises(CannotDecide, match="没有申请"):
        approve(center_engine, 10**9)


def test_books_that_moved_since_make_it_stale_for_good(center_engine, propose, who):
    number, other = propose(100), propose(40)
    approve(center_engine, other)

    outcome = approve(center_engine, number)

    assert (outcome.state, balance(center_engine, who)) == ("stale", 40)
    assert "现在的结果是：余额由 40 变为 140" in outcome.words
    with pytest.raises(CannotDecide, match="作废"):
        approve(center_engine, number, by="王五")
    assert audited(center_engine, number)[-1] == ("approval.stale", "李四")


def test_what_cannot_be_done_stays_open_with_the_reason_and_leaves_nothing(center_engine, propose, who):
    number = propose(13)
    outcome = approve(center_engine, number)
    assert (outcome.state, outcome.words, balance(center_engine, who)) == ("open", "不吉利", 0)
    with center_engine.connect() as connection:
        found = proposals.find(connection, number)
    assert (found.state, found.outcome, found.decided_by) == ("open", "不吉利", None)
    assert found.failed_at is not None
    assert audited(center_engine, number)[-1] == ("approval.failed", "李四")


def test_a_fault_of_ours_is_noted_and_raised(center_engine, propose, who):
    number = propose(14)
    with pytest.raises(ZeroDivisionError):
        approve(center_engine, number)
    with center_engine.connect() as connection:
        found = proposals.find(connection, number)
    assert (found.state, found.outcome, balance(center_engine, who)) == ("open", "程序内部错误 ZeroDivisionError", 0)


def test_it_waits_seven_days_and_no_longer(center_engine, propose, who):
    number = propose(100)
    with pytest.raises(CannotDecide, match="过期"):
        approve(center_engine, number, at=AT + OPEN_FOR)
    assert approve(center_engine, number, at=AT + OPEN_FOR - timedelta(seconds=1)).state == "approved"
    assert balance(center_engine, who) == 100


def test_the_same_is_proposed_once_while_it_is_open(center_engine, propose):
    number = propose(100)
    with pytest.raises(AlreadyProposed) as again:
        propose(100, by="王五")
    assert again.value.proposal_no == number
    assert propose(100, at=AT + OPEN_FOR) > number, "the first has expired"


@pytest.mark.parametrize("change", [{"reason": " "}, {"by": ""}, {"reason": "因" * 201}])
def test_a_proposal_says_who_and_why(propose, change):
    with pytest.raises(CannotPropose):
        propose(100, **change)


def test_many_approve_and_reject_at_once_and_it_is_decided_once(center_engine, propose, who):
    for _ in range(5):
        before, number = balance(center_engine, who), propose(100)
        start = threading.Barrier(6)

        def decide(by, number=number, start=start):
            start.wait()
            try:
                if int(by) % 3:
                    return approve(center_engine, number, by=by).state
                return decisions.reject(center_engine, number, by=by, reason="不对", at=AT).state
            except CannotDecide:
                return None

        with ThreadPoolExecutor(6) as pool:
            decided = [each for each in pool.map(decide, "012345") if each is not None]
        assert len(decided) == 1
        assert balance(center_engine, who) == before + (100 if decided == ["approved"] else 0)


def test_the_list_shows_what_waits_and_all_of_it_on_request(center_engine, propose):
    waiting, gone = propose(100), propose(200)
    decisions.reject(center_engine, gone, by="李四", reason="不对", at=AT)
    with center_engine.connect() as connection:
        open_now = [each.proposal_no for each in proposals.listed(connection, at=AT)]
        every = [each.proposal_no for each in proposals.listed(connection, at=AT, all_states=True)]
        later = [each.proposal_no for each in proposals.listed(connection, at=AT + OPEN_FOR)]
        elsewhere = proposals.listed(connection, at=AT, institution_code="990000000000")
    assert waiting in open_now and gone not in open_now
    assert {waiting, gone} <= set(every)
    assert waiting not in later
    assert elsewhere == []
