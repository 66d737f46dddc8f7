"""Two phases, cancellation and unknown outcomes over the API; and one key: one effect, the same bytes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from tests.support.api import CLINIC, HOSPITAL, KEYS, Api, claim, open_sample_site
from workers import tables


@pytest.fixture
def api(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as running:
        yield running


def prepared(api, key="k", **change):
    number = api.submit(claim(settle="prepare", **change), key).json()["claim_no"]
    api.site.settle_all()
    return number


def post(api, path, content=None, **headers):
    body = None if content is None else json.dumps(content)
    return api.call("POST", path, body, headers=headers)


# ── Two phases ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_is_prepared_and_shows_what_it_would_come_to(api):
    waiting = api.start_submit(claim(settle="prepare"), "a", wait=10)
    while not api.site.settle_all():
        pass
    answer = waiting()
    shown = answer.json()
    assert (answer.status_code, shown["state"]) == (200, "prepared")
    assert (shown["settlement"]["fund_pay_amount"], shown["settlement"]["settlement_no"]) == ("50.00", 0)
    assert shown["preparation"] == {"expires_at": "2026-03-02T17:10:00+08:00", "decision": None}
    assert api.call("GET", f"/v1/claims/{shown['claim_no']}/statement").json()["code"] == "claim-not-settled"


def test_confirmed_it_is_settled_and_twice_is_once(api):
    number = prepared(api)
    first = post(api, f"/v1/claims/{number}/confirmation")
    assert (first.status_code, first.json()["state"]) == (202, "prepared")
    assert first.json()["preparation"]["decision"] == "confirm"
    api.site.settle_all()
    for _ in range(2):
        again = post(api, f"/v1/claims/{number}/confirmation")
        assert (again.status_code, again.json()["state"]) == (200, "settled")
        assert "preparation" not in again.json()
    assert post(api, f"/v1/claims/{number}/cancellation").json()["code"] == "claim-settled"


def test_waiting_for_the_confirmation_brings_the_settlement(api):
    number = prepared(api)
    waiting = api.start("POST", f"/v1/claims/{number}/confirmation", headers={"Prefer": "wait=10"})
    while api.call("GET", f"/v1/claims/{number}").json()["state"] != "settled":
        api.site.settle_all()
    assert (waiting().status_code, waiting().json()["state"]) == (200, "settled")


def test_cancelled_it_stays_cancelled(api):
    number = prepared(api)
    assert post(api, f"/v1/claims/{number}/cancellation").status_code == 202
    assert post(api, f"/v1/claims/{number}/confirmation").json()["code"] == "claim-cancelled"
    api.site.settle_all()
    done = post(api, f"/v1/claims/{number}/cancellation")
    assert (done.status_code, done.json()["state"]) == (200, "cancelled")
    assert done.json()["refusal"]["code"] == "cancelled"
    replay = api.submit(claim(settle="prepare"), "k")
    assert (replay.status_code, replay.json()["state"]) == (200, "cancelled")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"state": "cancelled", "refusal": "prepare-expired"}, "claim-expired", id="too late"),
        pytest.param({"state": "refused", "refusal": "busy"}, "claim-refused", id="refused"),
        pytest.param({"state": "totalled"}, "claim-not-prepared", id="not prepared yet"),
    ],
)
def test_what_cannot_be_confirmed_says_why(api, change, code):
    number = prepared(api)
    with api.site.engine.begin() as connection:
        connection.execute(update(tables.claim).values(**change))
    answer = post(api, f"/v1/claims/{number}/confirmation")
    assert (answer.status_code, answer.json()["code"]) == (409, code)


def test_a_claim_in_one_phase_is_not_confirmed_but_may_be_cancelled(api):
    number = api.submit(claim(), "a").json()["claim_no"]
    assert post(api, f"/v1/claims/{number}/confirmation").json()["code"] == "claim-not-prepared"
    done = post(api, f"/v1/claims/{number}/cancellation")
    assert (done.status_code, done.json()["state"]) == (200, "cancelled")
    assert api.site.settle_all() == 0


def test_once_confirmed_it_is_not_cancelled(api):
    number = prepared(api)
    post(api, f"/v1/claims/{number}/confirmation")
    answer = post(api, f"/v1/claims/{number}/cancellation")
    assert (answer.status_code, answer.json()["code"]) == (409, "claim-confirming")
    assert answer.headers["retry-after"] == "2"


def test_what_holds_a_claim_up_is_said(api):
    number = api.submit(claim(), "a").json()["claim_no"]
    api.site.settle_all(refuse="busy")
    shown = api.call("GET", f"/v1/claims/{number}").json()
    assert shown["state"] == "totalled"
    assert (shown["waiting"]["code"], shown.get("refusal")) == ("busy", None)
    assert "自动继续" in shown["waiting"]["detail"]


def test_another_institution_confirms_and_cancels_nothing(api):
    number = prepared(api)
    for step in ("confirmation", "cancellation"):
        answer = api.call("POST", f"/v1/claims/{number}/{step}", key=KEYS[CLINIC])
        assert answer.status_code == 404
    assert api.call("GET", f"/v1/claims/{number}").json()["preparation"]["decision"] is None


# ── By one's own key ──────────────────────────────────────────────────────────────────────────────────────


def test_by_own_key_the_outcome_is_known(api):
    def outcome(key):
        (one,) = api.call("GET", f"/v1/outcomes?key={key}").json()["outcomes"]
        return one["state"], one["claim"] and one["claim"]["claim_no"]

    assert outcome("a") == ("unknown", None)
    number = prepared(api, "a")
    assert outcome("a") == ("prepared", number)
    assert [one["key"] for one in api.call("GET", "/v1/outcomes").json()["outcomes"]] == ["a"]
    post(api, f"/v1/claims/{number}/confirmation")
    api.site.settle_all()
    assert outcome("a") == ("settled", number)
    assert api.call("GET", "/v1/outcomes").json() == {"outcomes": []}
    assert api.call("GET", "/v1/outcomes?key=a", key=KEYS[CLINIC]).json()["outcomes"][0]["state"] == "unknown"


def test_a_key_is_cancelled_whether_its_claim_came_or_not(api):
    never = post(api, "/v1/cancellations", {"key": "never"})
    assert (never.status_code, never.json()) == (200, {"key": "never", "state": "cancelled", "claim": None})
    late = api.submit(claim(), "never")
    assert (late.status_code, late.json()["code"]) == (409, "claim-cancelled")
    assert api.call("GET", "/v1/outcomes?key=never").json()["outcomes"][0]["state"] == "cancelled"
    assert api.submit(claim(), "never", key=KEYS[CLINIC]).status_code == 202

    number = prepared(api, "came")
    asked = post(api, "/v1/cancellations", {"key": "came"})
    assert (asked.status_code, asked.json()["claim"]["claim_no"]) == (202, number)
    api.site.settle_all()
    assert post(api, "/v1/cancellations", {"key": "came"}).json()["state"] == "cancelled"


@pytest.mark.parametrize(("standing", "status", "code"), [("moved", 421, "moved"), ("moving_in", 503, "arriving")])
def test_a_key_nothing_came_under_is_not_called_unknown_where_its_claim_would_not_be_taken(api, standing, status, code):
    number = prepared(api, "came")
    with api.site.engine.begin() as connection:
        here = tables.institution.c.institution_code == HOSPITAL
        connection.execute(update(tables.institution).where(here).values(standing=standing, moved_to="shared"))

    never, came = (api.call("GET", f"/v1/outcomes?key={key}") for key in ("never", "came"))

    assert (never.status_code, never.json()["code"]) == (status, code)
    assert came.json()["outcomes"][0]["claim"]["claim_no"] == number


def test_a_batch_of_a_registered_visit_is_not_cancelled_here(api):
    number = prepared(api)
    with api.site.engine.begin() as connection:
        connection.execute(update(tables.claim).values(channel="visit"))
    assert post(api, f"/v1/claims/{number}/cancellation").json()["code"] == "claim-of-visit"


# ── One key: one effect, the same bytes ───────────────────────────────────────────────────────────────────


def test_fifty_at_once_under_one_key_are_one_claim_and_one_answer(api):
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: api.submit(claim(), "same"), range(50)))
    stored = {answer.content for answer in answers if answer.status_code == 202}
    busy = [answer for answer in answers if answer.status_code != 202]
    assert len(stored) == 1
    assert all((each.status_code, each.json()["code"]) == (409, "request-in-flight") for each in busy)
    assert all(each.headers["retry-after"] == "1" for each in busy)
    with api.site.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(tables.claim)).scalar() == 1
    api.site.settle_all()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: api.submit(claim(), "same"), range(50)))
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1


def test_the_answer_stays_the_same_bytes_whatever_happens_to_the_claim_later(api):
    first = api.submit(claim(), "a")
    assert api.submit(claim(), "a").content == first.content
    desk_has_it = update(tables.claim).values(state="totalled")
    with api.site.engine.begin() as connection:
        connection.execute(desk_has_it)
    assert api.submit(claim(), "a").content == first.content
    with api.site.engine.begin() as connection:
        connection.execute(update(tables.claim).values(state="accepted"))

    api.site.settle_all()
    settled = api.submit(claim(), "a")
    assert settled.json()["state"] == "settled"
    with api.site.engine.begin() as connection:
        connection.execute(update(tables.claim).values(refunded_by=2, detail_state=1, handed_back=True))
    again = api.submit(claim(), "a")
    assert (again.content, again.headers["idempotency-replayed"]) == (settled.content, "true")
    assert api.call("GET", f"/v1/claims/{settled.json()['claim_no']}").json()["refunded_by"].endswith("-2")


def test_a_wrong_document_does_not_use_its_key_up(api):
    wrong = claim()
    wrong["lines"][0]["quantity"] = "many"
    assert api.submit(wrong, "a").status_code == 422
    assert api.submit(claim(), "a").status_code == 202
    other = api.submit(claim(charge_batch_no=7), "a")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_a_key_whose_first_request_is_not_answered_yet_is_busy(api):
    api.site.in_flight.add((HOSPITAL, "a"))
    busy = api.submit(claim(), "a")
    assert (busy.status_code, busy.json()["code"], busy.headers["retry-after"]) == (409, "request-in-flight", "1")
    assert api.submit(claim(), "a", key=KEYS[CLINIC]).status_code == 202
    api.site.in_flight.clear()
    assert api.submit(claim(), "a").status_code == 202
    assert api.site.in_flight == set()
