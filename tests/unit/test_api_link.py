"""The API while the link is down: the state is told, claims are kept and estimated, limits refuse, no statement."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from domain.entitlement import Entitlement
from domain.messages import PersonAnswered
from tests.support.api import CLINIC, HOSPITAL, KEYS, PERSON, Api, claim, line, open_sample_site
from workers import entitlement, tables
from workers.offline.settling import look_after

ON = {"way": "local", "offline": True, "offline_claim_fen": 9_000, "offline_total_fen": 20_000, "offline_hours": 24}


@pytest.fixture
def api(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as running:
        at = site.clock.now()
        known = Entitlement(
            PERSON,
            known=True,
            entitled=True,
            scheme="employee",
            category="1",
            account_balance_fen=5_000,
            leased_until=at + timedelta(minutes=30),
            offline_limit_fen=5_000,
            offline_until=at + timedelta(hours=24),
        )
        entitlement.keep(site.engine, PersonAnswered(entitlements=(known,)), at=at)
        yield running


def note(api, state, **values):
    at = api.site.clock.now()
    row = {"only": 1, "state": state, "since": at, "fresh_until": at + timedelta(seconds=18)} | values
    with api.site.engine.begin() as connection:
        if not connection.execute(update(tables.link).values(**row)).rowcount:
            connection.execute(insert(tables.link).values(**row))


def allow(api, **terms):
    with api.site.engine.begin() as connection:
        of_hospital = tables.institution.c.institution_code == HOSPITAL
        connection.execute(update(tables.institution).where(of_hospital).values(**ON | terms))


def look(api):
    api.site.settle_all()
    look_after(api.site.engine, api.site._desk_shelf, at=api.site.clock.now())


def purchase(fen=600):
    yuan = f"{fen // 100}.{fen % 100:02d}"
    return claim(visit={"visit_type": "4"}, lines=0) | {
        "lines": [line(1, unit_price=yuan, quantity="1", line_amount=yuan)]
    }


def test_the_link_is_told_with_what_waits_of_ones_own(api):
    assert api.call("GET", "/v1/link").json()["state"] == "unsure"
    note(api, "down", skew_seconds=-420.0, uncertain_seconds=1.0)
    allow(api)
    api.submit(purchase(), "a")

    told = api.call("GET", "/v1/link").json()

    assert told["state"] == "down"
    assert told["clock"] == {"ahead_seconds": -420, "uncertain_seconds": 1, "agrees": False}
    assert "与中心的链路中断" in told["detail"]
    assert "本机时钟比中心快 7 分 0 秒" in told["detail"]
    assert told["offline"] == {
        "settles": True,
        "claim_limit": "90.00",
        "total_limit": "200.00",
        "unsettled_claims": 1,
        "unsettled_amount": "6.00",
        "offline_claims": 0,
        "offline_account_amount": "0.00",
    }
    assert api.call("GET", "/v1/link", key=KEYS[CLINIC]).json()["offline"]["unsettled_claims"] == 0
    assert api.call("GET", "/v1/link", key=None).status_code == 401


def test_a_kept_claim_is_estimated_and_has_no_statement(api):
    note(api, "down")
    number = api.submit(claim(), "a").json()["claim_no"]
    look(api)

    seen = api.call("GET", f"/v1/claims/{number}").json()

    assert seen["state"] == "totalled"
    assert "settlement" not in seen
    assert seen["waiting"]["code"] == "link-down"
    assert seen["estimate"]["total_amount"] == "50.00"
    assert seen["estimate"]["detail"].startswith("估算，不是结算")
    printed = api.call("GET", f"/v1/claims/{number}/statement")
    assert (printed.status_code, printed.json()["code"]) == (409, "claim-not-settled")


def test_whoever_waits_is_told_at_once_that_it_is_kept(api):
    note(api, "down")
    waiting = api.start_submit(claim(), "a", wait=30)
    while not api.call("GET", "/v1/link").json()["offline"]["unsettled_claims"]:
        pass
    look(api)
    answer = waiting()

    assert answer.status_code == 202
    assert answer.json()["estimate"]["total_amount"] == "50.00"


def test_an_off_line_settlement_is_told_and_printed_as_one(api):
    note(api, "down")
    allow(api)
    number = api.submit(purchase(), "a").json()["claim_no"]
    look(api)

    seen = api.call("GET", f"/v1/claims/{number}").json()

    assert (seen["settlement"]["offline"], seen["settlement"]["account_pay_amount"]) == (True, "6.00")
    assert "provisional" not in seen["settlement"]
    assert "estimate" not in seen
    printed = api.call("GET", f"/v1/claims/{number}/statement", headers={"Accept": "text/plain"})
    assert printed.status_code == 200
    assert "脱机结算" in printed.text
    assert "待中心入账" in printed.text
    assert "本单未经中心确认，没有校验码" in printed.text


def test_over_the_limit_nothing_is_accepted_and_the_key_is_free(api):
    note(api, "down")
    allow(api, offline_claim_fen=599)

    refused = api.submit(purchase(), "a")

    assert (refused.status_code, refused.json()["code"]) == (503, "link-down-limit")
    assert "本笔费用 6.00 元，超过脱机受理限额 5.99 元" in refused.json()["detail"]
    assert int(refused.headers["Retry-After"]) > 0
    note(api, "up")
    assert api.submit(purchase(), "a").status_code == 202


def test_metrics_tell_the_state_of_the_link(api):
    note(api, "down", skew_seconds=400.0, uncertain_seconds=0.0)
    api.submit(purchase(), "a")

    page = api.call("GET", "/metrics", key=None).text

    assert 'jiesuan_link_state{state="down"} 1.0' in page
    assert 'jiesuan_link_state{state="up"} 0.0' in page
    assert "jiesuan_clock_wrong 1.0" in page
    assert f'jiesuan_unsettled_fen{{tenant="{HOSPITAL}"}} 600.0' in page
