"""Clearings at the API: what the centre told is shown, what the institution says is kept, sent until heard, once."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta

import pytest

from domain.clearings import (
    ClearedDay,
    ClearedFund,
    ClearingHead,
    ClearingSums,
    Decision,
    Refused,
    ToldClearing,
    digest,
)
from domain.messages import ClearingHeard, ClearingsTold
from infra.clock import SHANGHAI
from infra.codec import decode, encode
from tests.support.api import CLINIC, HOSPITAL, KEYS, Api, open_sample_site
from workers.clearings import held, saying

CLOSED_AT = datetime(2026, 4, 8, 2, 0, tzinfo=SHANGHAI)
SUMS = ClearingSums(3, 1, 2, 12_345, 7_150, 2_000, 357, 100, 0, -5, 8_688)
HEAD = ClearingHead(
    17, "employee", "11", "2026-03", date(2026, 3, 1), date(2026, 3, 31), date(2026, 4, 8), "closed", 900, CLOSED_AT,
    "", None, None, "", 0, None,
)  # fmt: skip
OPEN = HEAD._replace(
    period_no=18, name="2026-04", last_day=date(2026, 4, 30), state="open", clearing_no=0, closed_at=None
)
AGREE = {"clearing_no": 900, "by": "王敏"}
DIFFER = AGREE | {"reason": "3 月 17 日少一笔住院"}


def told(*heads, months=("2026-03", "2026-04"), code=HOSPITAL):
    funds, days = (ClearedFund("basic", 7_150, 357, 100, 0),), (ClearedDay(date(2026, 3, 17), 3, 1, 12_345, 7_150, 2),)
    clearings = tuple(ToldClearing(h, SUMS, funds, days) if h.clearing_no else ToldClearing(h) for h in heads)
    return ClearingsTold(institution_code=code, months=months, clearings=clearings)


@pytest.fixture
def api(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as running:
        tell(running, told(HEAD, OPEN))
        yield running


def tell(api, message):
    with api.site.engine.begin() as connection:
        held.record(connection, decode(encode(message), ClearingsTold), at=api.site.now())


def say(api, what, body, period=17, **options):
    return api.call("POST", f"/v1/clearings/{period}/{what}", json.dumps(body).encode(), **options)


class Link:
    """A front-end that can send, or cannot; what it sent."""

    def __init__(self, engine):
        self.engine, self.sent, self.is_up = engine, [], True

    def send(self, task, lane, message, shown):
        if self.is_up:
            self.sent.append(decode(encode(message), type(message)))
        return self.is_up


def send(link, now):
    link.sent.clear()
    saying.send_due(link, now=now, after_seconds=10.0)
    return link.sent


def hear(api, said, code=Refused.NO):
    heard = ClearingHeard(
        institution_code=said.institution_code, period_no=said.period_no, clearing_no=said.clearing_no,
        decision=said.decision, decided_at=said.decided_at, code=str(code), words="话",
    )  # fmt: skip
    with api.site.engine.begin() as connection:
        return saying.record(connection, heard, at=api.site.now())


def test_periods_are_shown_with_what_they_come_to(api):
    newest, closed = api.call("GET", "/v1/clearings").json()["clearings"]
    assert (newest["month"], newest["state_words"], newest["figures"]) == ("2026-04", "未关账", None)
    assert (closed["insutype"], closed["clearing_type_name"], closed["clearing_no"]) == ("310", "门诊", 900)
    assert closed["figures"] == {
        "documents": 3, "contra_documents": 1, "persons": 2, "total_amount": "123.45", "fund_pay_amount": "71.50",
        "account_pay_amount": "20.00", "withheld_amount": "3.57", "deducted_amount": "1.00", "released_amount": "0.00",
        "carried_in_amount": "-0.05", "due_amount": "86.88",
    }  # fmt: skip
    whole = api.call("GET", "/v1/clearings/17").json()
    assert (whole["funds"][0]["code"], whole["funds"][0]["fund_pay_amount"]) == ("310100", "71.50")
    assert (whole["days"][0]["day"], whole["said"]) == ("2026-03-17", None)
    assert [row["period_no"] for row in api.call("GET", "/v1/clearings?month=2026-03").json()["clearings"]] == [17]


def test_nobody_sees_or_decides_about_the_clearings_of_another(api):
    assert api.call("GET", "/v1/clearings", key=KEYS[CLINIC]).json() == {"clearings": []}
    assert api.call("GET", "/v1/clearings/17", key=KEYS[CLINIC]).status_code == 404
    assert say(api, "confirmation", AGREE, key=KEYS[CLINIC]).status_code == 404
    assert say(api, "confirmation", AGREE, period=99).json()["code"] == "not-found"


def test_a_confirmation_is_kept_once_sent_until_heard_and_shown(api):
    link = Link(api.site.engine)
    first, again = say(api, "confirmation", AGREE), say(api, "confirmation", AGREE)
    assert (first.status_code, first.headers["location"]) == (202, "/v1/clearings/17")
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (first.json()["said"]["state"], first.json()["said"]["by"]) == ("sent", "王敏")

    link.is_up = False
    assert send(link, 100.0) == []
    link.is_up = True
    assert send(link, 105.0) == []
    (said,) = send(link, 110.0)
    assert (said.institution_code, said.period_no, said.clearing_no) == (HOSPITAL, 17, 900)
    assert (said.decision, said.by) == (Decision.CONFIRM, "王敏")
    assert send(link, 129.0) == []
    assert send(link, 130.0) == [said]

    assert hear(api, said)
    assert hear(api, said)
    assert send(link, 1e9) == []
    tell(api, told(HEAD._replace(state="confirmed", confirmed_at=CLOSED_AT, confirmed_by=f"{HOSPITAL} 王敏"), OPEN))
    shown = api.call("GET", "/v1/clearings/17").json()
    assert (shown["state"], shown["said"]["state"], shown["said"]["code"]) == ("confirmed", "taken", "")
    assert say(api, "confirmation", AGREE).headers["idempotency-replayed"] == "true"
    assert say(api, "objection", DIFFER).json()["code"] == "clearing-confirmed"


def test_the_newest_objection_is_sent_and_a_confirmation_may_follow_it(api):
    link = Link(api.site.engine)
    for body in (DIFFER, DIFFER, DIFFER | {"reason": "另有一笔"}):
        assert say(api, "objection", body).status_code == 202
    sent = send(link, 0.0)
    assert [one.reason for one in sent] == ["3 月 17 日少一笔住院", "另有一笔"]
    assert sent[0].decided_at < sent[1].decided_at
    assert say(api, "confirmation", AGREE).json()["said"]["decision"] == "confirm"
    refused = say(api, "objection", DIFFER)
    assert (refused.status_code, refused.json()["code"]) == (409, "clearing-confirmed")


@pytest.mark.parametrize(
    ("period", "body", "status", "code"),
    [
        pytest.param(18, AGREE, 409, "clearing-open", id="not closed"),
        pytest.param(17, AGREE | {"clearing_no": 899}, 409, "clearing-another", id="closed anew meanwhile"),
        pytest.param(17, {"clearing_no": 900}, 422, "content-invalid", id="by nobody"),
        pytest.param(17, {"by": "王敏"}, 422, "content-invalid", id="of no figures"),
        pytest.param(17, AGREE | {"by": "王" * 21}, 422, "content-invalid", id="a long name"),
        pytest.param(17, AGREE | {"by": "王\n敏"}, 422, "content-invalid", id="a name over two lines"),
        pytest.param(17, AGREE | {"reason": "无"}, 422, "content-invalid", id="a field there is not"),
    ],
)
def test_what_cannot_be_confirmed_says_why_and_nothing_is_kept(api, period, body, status, code):
    answer = say(api, "confirmation", body, period=period)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert send(Link(api.site.engine), 0.0) == []


def test_an_objection_needs_its_reason(api):
    assert say(api, "objection", AGREE).json()["errors"][0]["pointer"] == "#/reason"
    assert say(api, "objection", AGREE | {"reason": "  "}).status_code == 422


def test_what_the_centre_refused_may_be_said_again(api):
    link = Link(api.site.engine)
    say(api, "confirmation", AGREE)
    (said,) = send(link, 0.0)
    hear(api, said, Refused.ANOTHER)
    shown = api.call("GET", "/v1/clearings/17").json()["said"]
    assert (shown["state"], shown["code"]) == ("refused", "clearing-another")
    assert "idempotency-replayed" not in say(api, "confirmation", AGREE).headers
    (later,) = send(link, 1.0)
    assert later.decided_at > said.decided_at
    assert not hear(api, said.__class__(**{n: getattr(said, n) for n in said.__slots__} | {"period_no": 3}))


def test_a_month_is_told_whole_and_what_is_not_in_it_is_gone(api):
    tell(api, told(HEAD._replace(state="open", clearing_no=0), months=("2026-03",)))
    assert [row["state"] for row in api.call("GET", "/v1/clearings").json()["clearings"]] == ["open", "open"]
    tell(api, told(months=("2026-03",)))
    assert [row["period_no"] for row in api.call("GET", "/v1/clearings").json()["clearings"]] == [18]
    tell(api, told(months=("2026-03", "2026-04"), code=CLINIC))
    assert len(api.call("GET", "/v1/clearings").json()["clearings"]) == 1


def test_what_is_asked_names_each_month_by_what_was_told(api):
    with api.site.engine.connect() as connection:
        asked = held.asking(connection, at=CLOSED_AT + timedelta(days=1))
    assert [row[:2] for row in asked.held] == [(HOSPITAL, "2026-03"), (HOSPITAL, "2026-04")]
    assert [row.digest for row in asked.held] == [digest([HEAD]), digest([OPEN])]
    assert asked.since == "2024-01"


def test_a_restored_centre_is_told_again_what_it_had_taken(api):
    link = Link(api.site.engine)
    say(api, "confirmation", AGREE)
    (said,) = send(link, 0.0)
    hear(api, said)
    with api.site.engine.begin() as connection:
        saying.send_again_since(connection, api.site.now() + timedelta(hours=1))
    assert send(link, 0.0) == []
    with api.site.engine.begin() as connection:
        saying.send_again_since(connection, api.site.now() - timedelta(hours=1))
    assert send(link, 0.0) == [said]
