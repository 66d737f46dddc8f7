"""Clearings over the link: front-ends are told what moved, institutions confirm and object, each decision once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta

import pytest

from center.clearing import actions, deciding, periods, telling
from center.serving.entering import enter
from domain.clearings import Decision, MonthHeld
from domain.messages import ClearingDecided, ClearingsAsked, ClearingsTold
from infra.codec import UnreadableMessage, decode, encode
from tests.support.center import FRONTEND, OTHER_FRONTEND, institution_row, rows_of
from tests.support.clearing import City, moment
from tests.support.frontend import new_frontend
from workers.clearings import held, saying

CLOSES = moment(date(2026, 4, 8), 2)
LATER = CLOSES + timedelta(hours=8)


@pytest.fixture(scope="module")
def city(center_engine):
    return City(center_engine)


@pytest.fixture
def code(city):
    """An institution with one closed period and one open."""
    code = city.institution()
    city.settled(code, 1, date(2026, 3, 17), 150_000)
    city.settled(code, 2, date(2026, 4, 3), 150_000)
    city.opened(date(2026, 4, 30))
    city.close(city.periods_of(code)[0].period_no, CLOSES)
    return code


@pytest.fixture
def frontend(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def first(city, code):
    return city.periods_of(code)[0]


def ask(city, asked, frontend=FRONTEND):
    with city.engine.begin() as connection:
        return [
            decode(encode(told), ClearingsTold)
            for told in telling.answer(connection, decode(encode(asked), ClearingsAsked), frontend=frontend)
        ]


def of(told, code):
    return [each for each in told if each.institution_code == code]


def pull(city, engine, code):
    """What a front-end does every few minutes: ask with what it holds, record what it is told; the messages."""
    with engine.connect() as connection:
        asked = held.asking(connection, at=LATER)
    told = of(ask(city, asked), code)
    with engine.begin() as connection:
        for each in told:
            held.record(connection, each, at=LATER)
    return told


def decision(city, code, decision=Decision.CONFIRM, **change):
    period = first(city, code)
    said = ClearingDecided(
        institution_code=code, period_no=period.period_no, clearing_no=period.clearing_no or 0, decision=str(decision),
        by="王敏", reason="" if decision == Decision.CONFIRM else "少一笔", decided_at=LATER,
    )  # fmt: skip
    return replace(said, **change)


def decide(city, said, frontend=FRONTEND, at=LATER):
    with city.engine.begin() as connection:
        return deciding.decided(connection, said, frontend=frontend, at=at)


def test_a_frontend_is_told_what_moved_and_nothing_else(city, code, frontend):
    (told,) = pull(city, frontend, code)
    assert told.months == ("2026-03", "2026-04")
    closed, opened = told.clearings
    period = first(city, code)
    assert (closed.head.period_no, closed.head.clearing_no) == (period.period_no, period.clearing_no)
    due = rows_of(city.engine, "SELECT due_fen FROM clearing WHERE clearing_no = :no", no=period.clearing_no)
    assert closed.sums is not None
    assert ((closed.sums.due_fen,),) == tuple(due)
    assert sum(day.fund_fen for day in closed.days) == closed.sums.fund_fen == sum(f.fund_fen for f in closed.funds)
    assert (opened.head.state, opened.sums, opened.days) == ("open", None, ())

    assert pull(city, frontend, code) == []
    city.confirm(period.period_no, LATER)
    (told,) = pull(city, frontend, code)
    assert (told.months, told.clearings[0].head.state) == (("2026-03",), "confirmed")
    assert pull(city, frontend, code) == []


def test_another_frontend_is_told_nothing_of_it(city, code, frontend):
    asked = ClearingsAsked(since="2020-01", held=(MonthHeld(code, "2026-03", bytes(8)),))
    assert of(ask(city, asked, OTHER_FRONTEND), code) == []
    assert of(ask(city, ClearingsAsked(since="2026-05")), code) == []


def test_a_month_the_centre_does_not_know_any_more_is_told_empty(city, code, frontend):
    asked = ClearingsAsked(since="2026-01", held=(MonthHeld(code, "2026-02", bytes(8)),))
    (told,) = of(ask(city, asked), code)
    assert (told.months[0], {each.head.name for each in told.clearings}) == ("2026-02", {"2026-03", "2026-04"})


def test_the_institution_confirms_what_it_was_told_and_sees_it(city, code, frontend):
    pull(city, frontend, code)
    period = first(city, code)
    assert saying.say(
        frontend, code, period.period_no, clearing_no=period.clearing_no, decision=Decision.CONFIRM, by="王敏",
        reason="", at=LATER,
    )  # fmt: skip
    sent = []

    class Link:
        engine = frontend

        def send(self, task, lane, message, shown):
            sent.append(decode(encode(message), ClearingDecided))
            return True

    saying.send_due(Link(), now=0.0, after_seconds=10.0)
    heard = decide(city, sent[0])
    with frontend.begin() as connection:
        assert saying.record(connection, heard, at=LATER)
    pull(city, frontend, code)
    with frontend.connect() as connection:
        said = saying.newest(connection, code, period.period_no)
        assert held.find(connection, code, period.period_no).clearing.head.confirmed_by == f"{code} 王敏"
    assert (said.state, first(city, code).state) == ("taken", "confirmed")
    city.pay(period.period_no, LATER)
    city.check(code)
    audited = rows_of(
        city.engine, "SELECT by FROM audit WHERE action = 'clearing.confirm' AND subject = :s", s=str(period.period_no)
    )
    assert audited == [(f"{code} 王敏",)]


def test_the_same_decision_is_taken_once_and_answered_the_same(city, code):
    said = decision(city, code)
    with ThreadPoolExecutor(4) as pool:
        heard = list(pool.map(lambda _: decide(city, said), range(4)))
    assert {each.code for each in heard} == {""}
    confirmed = first(city, code).confirmed_at
    assert decide(city, said, at=LATER + timedelta(days=3)) == heard[0]
    assert first(city, code).confirmed_at == confirmed
    found = rows_of(city.engine, "SELECT count(*) FROM clearing_decision WHERE period_no = :no", no=said.period_no)
    assert found == [(1,)]


def test_an_objection_opens_a_case_and_a_confirmation_closes_it(city, code):
    assert decide(city, decision(city, code, Decision.OBJECT)).code == ""
    cases = "SELECT closed_at IS NULL FROM difference_case WHERE kind = 'clearing-objection' AND visit_no = :no"
    number = str(first(city, code).period_no)
    assert rows_of(city.engine, cases, no=number) == [(True,)]
    assert first(city, code).objection == "少一笔"
    assert decide(city, decision(city, code, decided_at=LATER + timedelta(hours=1))).code == ""
    assert rows_of(city.engine, cases, no=number) == [(False,)]
    late = decide(city, decision(city, code, Decision.OBJECT, decided_at=LATER + timedelta(hours=2)))
    assert late.code == "clearing-confirmed"
    assert "以后的清算期" in late.words


def test_of_two_objections_the_one_made_later_stands_whichever_comes_first(city, code):
    newer = decision(city, code, Decision.OBJECT, reason="两笔", decided_at=LATER + timedelta(minutes=1))
    assert decide(city, newer).code == ""
    assert decide(city, decision(city, code, Decision.OBJECT)).code == "clearing-overtaken"
    assert first(city, code).objection == "两笔"


def test_what_is_confirmed_already_stays_as_it_is(city, code):
    city.confirm(first(city, code).period_no, CLOSES)
    assert decide(city, decision(city, code)).code == ""
    assert (first(city, code).confirmed_by, first(city, code).confirmed_at) == ("医院财务", CLOSES)


def test_the_figures_that_were_looked_at_have_to_stand(city, code):
    said = decision(city, code)
    city.done(actions.REOPEN, {"period_no": said.period_no}, LATER)
    assert decide(city, said).code == "clearing-open"
    city.close(said.period_no, LATER)
    assert decide(city, replace(said, decided_at=LATER + timedelta(minutes=1))).code == "clearing-another"
    assert first(city, code).state == "closed"
    assert decide(city, decision(city, code, decided_at=LATER + timedelta(minutes=2))).code == ""


def test_nobody_decides_for_another(city, code):
    with city.engine.begin() as connection:
        enter(connection, [institution_row(f"{code}X", OTHER_FRONTEND)])
    said = decision(city, code)
    assert decide(city, said, frontend=OTHER_FRONTEND).code == "clearing-unknown"
    assert decide(city, replace(said, institution_code=f"{code}X"), frontend=OTHER_FRONTEND).code == "clearing-unknown"
    assert decide(city, replace(said, period_no=10**9)).code == "clearing-unknown"
    assert first(city, code).state == "closed"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"decision": "pay"}, id="another decision"),
        pytest.param({"by": ""}, id="nobody"),
        pytest.param({"by": "王" * 21}, id="a long name"),
        pytest.param({"period_no": 2**63}, id="a number no column holds"),
        pytest.param({"decision": "object", "reason": " "}, id="an objection to nothing"),
        pytest.param({"decision": "object", "reason": "a\x00b"}, id="a reason no column holds"),
    ],
)
def test_what_no_frontend_writes_is_unreadable(city, code, change):
    with pytest.raises(UnreadableMessage):
        decide(city, decision(city, code, **change))
    assert periods.PeriodState(first(city, code).state) == "closed"
