"""The contract of every address, on a real SQLite database: states, headers, problems, tenants."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, update

from infra.metrics import REGISTRY
from producers.api.keys import hash_of
from tests.support.api import CLINIC, DAY, HOSPITAL, KEYS, NAME, PERSON, Api, claim, line, open_sample_site, sent
from workers import tables


@pytest.fixture
def api(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as running:
        yield running


def claim_no(api: Api, key: str = "k", **change) -> str:
    return api.submit(claim(**change), key).json()["claim_no"]


# ── Handing in ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_is_accepted_with_its_number_and_place(api):
    answer = api.submit(claim(), "a")
    assert answer.status_code == 202
    assert answer.json() == {
        "claim_no": "T000002603020001-1",
        "visit_no": "T000002603020001",
        "charge_batch_no": 1,
        "state": "accepted",
    }
    assert answer.headers["location"] == "/v1/claims/T000002603020001-1"
    assert answer.headers["content-type"] == "application/json"


def test_it_is_durable_when_it_is_answered(api):
    api.submit(claim(), "a")
    with api.site.engine.connect() as connection:
        stored = connection.execute(select(tables.claim.c.state, tables.claim.c.idempotency_key)).all()
    assert stored == [("accepted", "a")]


def test_waiting_brings_the_settlement(api):
    waiting = api.start_submit(claim(), "a", wait=10)
    while not api.site.settle_all():
        pass
    answer = waiting()
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=10"
    settlement = answer.json()["settlement"]
    assert (settlement["total_amount"], settlement["fund_pay_amount"], settlement["cash_amount"]) == (
        "50.00",
        "50.00",
        "0.00",
    )
    assert settlement["settled_at"] == "2026-03-02T17:00:00+08:00"


def test_waiting_in_vain_ends_with_202(api):
    answer = api.submit(claim(), "a", wait=1)
    assert answer.status_code == 202
    assert answer.json()["state"] == "accepted"


def test_a_claim_for_later_is_held_until_it_is_released(api):
    number = claim_no(api, settle="later")
    assert api.call("GET", f"/v1/claims/{number}").json()["state"] == "held"
    assert api.site.settle_all() == 0
    released = api.call("POST", f"/v1/claims/{number}/settlement", headers={"Idempotency-Key": "s"})
    assert (released.status_code, released.json()["state"]) == (202, "accepted")
    assert api.site.settle_all() == 1
    again = api.call("POST", f"/v1/claims/{number}/settlement", headers={"Idempotency-Key": "s"})
    assert (again.status_code, again.json()["state"]) == (200, "settled")
    assert again.headers["idempotency-replayed"] == "true"


def test_a_second_batch_of_a_visit_gets_the_next_number(api):
    first = api.submit(claim(), "a").json()
    second = api.submit(claim(3, visit={"visit_no": first["visit_no"]}), "b").json()
    assert second["claim_no"] == f"{first['visit_no']}-2"


def test_another_process_that_writes_keeps_the_claim_waiting_but_nobody_else(api):
    other = api.site.engine.raw_connection()
    other.cursor().execute("BEGIN IMMEDIATE")
    waiting = api.start_submit(claim(), "a")
    assert api.call("GET", "/healthz", key=None).status_code == 200
    assert api.call("GET", "/v1/catalogue").status_code == 200
    other.cursor().execute("COMMIT")
    other.close()
    assert waiting().status_code == 202


# ── Once and only once ────────────────────────────────────────────────────────────────────────────────────


def test_the_same_key_and_content_is_the_stored_claim_again(api):
    first, second = api.submit(claim(), "a"), api.submit(claim(), '"a"')
    assert second.status_code == 202
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert second.json()["claim_no"] == first.json()["claim_no"]
    api.site.settle_all()
    third = api.submit(claim(), "a")
    assert (third.status_code, third.json()["state"]) == (200, "settled")


def test_the_same_key_with_other_content_is_refused(api):
    api.submit(claim(), "a")
    answer = api.submit(claim(settle="later"), "a")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


def test_institutions_do_not_share_their_keys(api):
    mine = api.submit(claim(), "a").json()
    theirs = api.submit(claim(3), "a", key=KEYS[CLINIC])
    assert theirs.status_code == 202
    assert theirs.json()["claim_no"] != mine["claim_no"]


def test_a_visit_number_with_other_content_is_a_conflict(api):
    first = api.submit(claim(), "a").json()
    answer = api.submit(claim(3, visit={"visit_no": first["visit_no"]}, charge_batch_no=1), "b")
    assert (answer.status_code, answer.json()["code"]) == (409, "visit-conflict")


# ── What came of it ───────────────────────────────────────────────────────────────────────────────────────


def test_a_returned_claim_says_which_lines_and_why(api):
    wrong = claim() | {"lines": [line(1), line(2, line_amount="24.99"), line(3, local_item_code="NOPE")]}
    number = api.submit(wrong, "a").json()["claim_no"]
    api.site.settle_all()
    seen = api.call("GET", f"/v1/claims/{number}").json()
    assert seen["state"] == "returned"
    assert [(one["pointer"], one["code"]) for one in seen["verdicts"]] == [
        ("#/lines/0", "00"),
        ("#/lines/1", "14"),
        ("#/lines/2", "06"),
    ]
    assert "单价" in seen["verdicts"][1]["detail"]


def test_a_refused_claim_says_why(api):
    number = claim_no(api)
    api.site.settle_all(refuse="person-unknown")
    seen = api.call("GET", f"/v1/claims/{number}").json()
    assert (seen["state"], seen["refusal"]) == ("refused", {"code": "person-unknown", "detail": "中心拒绝"})


def test_events_tell_every_step_up_to_the_last(api):
    number = claim_no(api)
    listening = api.start("GET", f"/v1/claims/{number}/events")
    while not api.site.settle_all():
        pass
    told = listening()
    assert told.headers["content-type"].startswith("text/event-stream")
    events = [part for part in told.text.replace("\r\n", "\n").split("\n\n") if part]
    assert [event.split("\n")[1] for event in events] == ["event: accepted", "event: totalled", "event: settled"]
    last = json.loads(events[-1].split("data: ")[1])
    assert last["settlement"]["total_amount"] == "50.00"


def test_a_listener_that_comes_back_hears_only_what_is_new(api):
    number = claim_no(api)
    api.site.settle_all()
    told = api.call("GET", f"/v1/claims/{number}/events", headers={"Last-Event-ID": "accepted"}).text
    assert "event: accepted" not in told
    assert "event: settled" in told


def test_the_statement_is_a_page_and_hides_the_birthday(api):
    number = claim_no(api)
    api.site.settle_all()
    page = api.call("GET", f"/v1/claims/{number}/statement")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for part in (
        "医疗费用结算单",
        "试验医院",
        NAME,
        "阿莫西林胶囊",
        "应收现金",
        "50.00 元",
        f"{PERSON[:6]}********{PERSON[-4:]}",
    ):
        assert part in page.text
    assert PERSON not in page.text
    plain = api.call("GET", f"/v1/claims/{number}/statement", headers={"Accept": "text/plain"})
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    assert "社保支付金额" in plain.text


def test_a_name_cannot_break_out_of_the_page(api):
    number = api.submit(claim(visit={"person_name": "<b>&甲</b>"}), "a").json()["claim_no"]
    api.site.settle_all()
    assert "<b>" not in api.call("GET", f"/v1/claims/{number}/statement").text


def test_there_is_no_statement_before_the_settlement(api):
    answer = api.call("GET", f"/v1/claims/{claim_no(api)}/statement")
    assert (answer.status_code, answer.json()["code"]) == (409, "claim-not-settled")


# ── Tenants ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "path"), [
    ("GET", ""), ("GET", "/events"), ("GET", "/statement"), ("POST", "/settlement"),
])  # fmt: skip
def test_another_institutions_claim_is_as_unknown_as_none(api, method, path):
    number = claim_no(api, settle="later")
    headers = {"Idempotency-Key": "x"} if method == "POST" else {}
    theirs = api.call(method, f"/v1/claims/{number}{path}", key=KEYS[CLINIC], headers=headers)
    none = api.call(method, f"/v1/claims/T000002603029999-1{path}", key=KEYS[CLINIC], headers=headers)
    assert theirs.status_code == none.status_code == 404
    assert {**theirs.json(), "request_id": ""} == {**none.json(), "request_id": ""}


def test_another_institutions_visit_takes_no_further_charges(api):
    visit_no = api.submit(claim(), "a").json()["visit_no"]
    answer = api.submit(claim(3, visit={"visit_no": visit_no}), "b", key=KEYS[CLINIC])
    assert (answer.status_code, answer.json()["code"]) == (409, "visit-conflict")
    assert HOSPITAL not in answer.text


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic hospital-key", "hospital-key"]
)
def test_without_a_key_nothing_is_told(api, authorization):
    for method, path in (("GET", "/v1/claims/X-1"), ("POST", "/v1/claims"), ("GET", "/v1/catalogue")):
        answer = api.call(method, path, b"{}", key=None, headers={"Authorization": authorization})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_that_is_withdrawn_or_added_counts_within_seconds(api, monkeypatch):
    assert api.call("GET", "/v1/catalogue").status_code == 200
    with api.site.engine.begin() as connection:
        connection.execute(
            update(tables.institution)
            .where(tables.institution.c.institution_code == HOSPITAL)
            .values(api_key_hash=hash_of("new-key"))
        )
    monkeypatch.setattr("producers.api.keys.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("producers.api.keys.UNKNOWN_SECONDS", 0.0)
    assert api.call("GET", "/v1/catalogue", key="new-key").status_code == 200
    assert api.call("GET", "/v1/catalogue").status_code == 401


def test_of_an_institution_that_is_not_served_any_more_what_was_taken_stays_told(api, monkeypatch):
    taken = api.submit(claim(), "unheard")
    with api.site.engine.begin() as connection:
        connection.execute(update(tables.institution).values(active=False))
    monkeypatch.setattr("producers.api.keys.FRESH_SECONDS", 0.0)

    again = api.submit(claim(), "unheard")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert again.json() == taken.json()
    assert api.call("GET", f"/v1/claims/{taken.json()['claim_no']}").status_code == 200
    assert api.call("GET", "/v1/outcomes?key=unheard").json()["outcomes"][0]["state"] == "accepted"

    new = api.submit(claim(), "new")
    unknown = api.call("GET", "/v1/outcomes?key=new")
    other = api.call("GET", "/v1/catalogue")
    for answer in (new, unknown, other):
        assert (answer.status_code, answer.json()["code"]) == (403, "not-served")
    assert "从未收到" in new.json()["detail"]


def test_a_tenant_with_a_full_backlog_is_told_when_to_come_back(tmp_path):
    with open_sample_site(tmp_path, cap=2) as site, Api(site) as api:
        assert [api.submit(claim(), key).status_code for key in "ab"] == [202, 202]
        full = api.submit(claim(), "c")
        assert (full.status_code, full.json()["code"]) == (429, "backlog-full")
        assert full.headers["retry-after"] == "1"
        assert "2 笔" in full.json()["detail"]
        assert api.submit(claim(), "c", key=KEYS[CLINIC]).status_code == 202
        site.settle_all()
        assert api.submit(claim(), "c").status_code == 202


# ── Catalogue and quotes ──────────────────────────────────────────────────────────────────────────────────


def test_the_catalogue_comes_in_pages(api):
    first = api.call("GET", "/v1/catalogue?limit=2").json()
    assert [item["item_code"] for item in first["items"]] == ["W0001", "W0002"]
    assert first["items"][1]["pre_self_pay_ratio"] == "0.1"
    second = api.call("GET", f"/v1/catalogue?limit=2&cursor={first['next_cursor']}").json()
    assert [item["item_code"] for item in second["items"]] == ["X0003"]
    assert second["next_cursor"] is None


def test_the_catalogue_is_that_of_the_day(api):
    codes = [item["item_code"] for item in api.call("GET", "/v1/catalogue?day=2027-01-01").json()["items"]]
    assert codes == ["W0001", "W0002"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("day=2026-02-30", "#/query/day"),
        ("limit=0", "#/query/limit"),
        ("limit=x", "#/query/limit"),
        ("cursor=AAAA", "#/query/cursor"),
        ("day=2027-01-01&cursor=MnwyMDI2LTAzLTAyfDIwMjYtMDE", "#/query/cursor"),
    ],
)
def test_wrong_parameters_are_told(api, query, pointer):
    answer = api.call("GET", f"/v1/catalogue?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "parameters-invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_quote_books_nothing_and_says_how(api):
    asked = {
        "person": {"scheme": "employee", "category": "1"},
        "visit": {"visit_type": "3", "visit_date": DAY.isoformat()},
        "lines": [{"local_item_code": "LW0002", "unit_price": "100", "quantity": "1"}],
    }
    answer = api.call("POST", "/v1/quotes", sent(asked))
    assert answer.status_code == 200
    quoted = answer.json()
    assert quoted["settlement"]["fund_pay_amount"] == "64.00"
    assert quoted["settlement"]["pre_self_pay_amount"] == "10.00"
    assert "".join(step["words"] for step in quoted["steps"])
    with api.site.engine.connect() as connection:
        assert connection.execute(select(tables.claim)).first() is None


def test_a_quote_with_bad_lines_says_which(api):
    asked = {
        "person": {"scheme": "employee", "category": "1"},
        "visit": {"visit_type": "3", "visit_date": DAY.isoformat()},
        "lines": [{"local_item_code": "NOPE", "unit_price": "100", "quantity": "1"}],
    }
    answer = api.call("POST", "/v1/quotes", sent(asked))
    assert (answer.status_code, answer.json()["code"]) == (422, "quote-refused")
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("#/lines/0", "06")]


# ── Problems ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"headers": {}}, 400, "idempotency-key-missing"),
        ({"headers": {"Idempotency-Key": "a b"}}, 400, "idempotency-key-invalid"),
        ({"content": b"{"}, 400, "json-malformed"),
        ({"content": b"[" * 9999}, 400, "json-too-deep"),
        ({"content": b"\xff"}, 400, "not-utf8"),
        ({"content": b'{"visit":1,"visit":2}'}, 400, "json-duplicate-key"),
        ({"content": b"{}"}, 422, "content-invalid"),
        ({"content": b" " * (1024 * 1024 + 1)}, 413, "body-too-large"),
        ({"headers": {"Idempotency-Key": "a", "Content-Type": "text/xml"}}, 415, "media-type-unsupported"),
        ({"method": "PUT"}, 405, "method-not-allowed"),
        ({"path": "/v1/nothing"}, 404, "not-found"),
    ],
)
def test_a_problem_is_a_problem_document(api, change, status, code):
    asked = {"method": "POST", "path": "/v1/claims", "content": sent(claim()), "headers": {"Idempotency-Key": "a"}}
    answer = api.call(**{**asked, **change})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert {"type", "title", "detail"} <= problem.keys()
    assert api.call("GET", problem["type"], key=None).status_code == 200


def test_the_callers_request_id_comes_back_unless_it_looks_like_a_person(api):
    assert api.call("GET", "/healthz", headers={"X-Request-Id": "his-42"}).headers["x-request-id"] == "his-42"
    for odd in (PERSON, "a b", "x" * 65):
        assert api.call("GET", "/healthz", headers={"X-Request-Id": odd}).headers["x-request-id"] != odd


def test_a_database_that_is_away_is_told_as_such(api):
    with api.site.engine.begin() as connection:
        tables.claim.drop(connection)
    answer = api.submit(claim(), "a")
    assert (answer.status_code, answer.json()["code"]) == (503, "try-again")
    assert answer.headers["retry-after"] == "2"


def test_a_fault_of_ours_shows_nothing_of_itself(api, monkeypatch, caplog):
    monkeypatch.setattr("producers.api.claims.visit_of", lambda *_: 1 / 0)
    answer = api.submit(claim(), "a")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "ZeroDivision" not in answer.text
    assert "Traceback" not in answer.text
    assert PERSON not in caplog.text
    assert NAME not in caplog.text


# ── Operations ────────────────────────────────────────────────────────────────────────────────────────────


def test_health_readiness_and_metrics_need_no_key(api):
    assert api.call("GET", "/healthz", key=None).json() == {"alive": True}
    assert api.call("GET", "/readyz", key=None).json() == {"database": True, "broker": True}
    before = REGISTRY.get_sample_value("jiesuan_claims_total", {"channel": "api", "outcome": "accepted"}) or 0
    claim_no(api)
    page = api.call("GET", "/metrics", key=None).text
    assert f'jiesuan_claims_total{{channel="api",outcome="accepted"}} {before + 1}' in page
    assert 'jiesuan_claims_in_state{state="accepted"} 1.0' in page
    assert PERSON not in page


def test_it_is_not_ready_without_a_broker(api, monkeypatch):
    monkeypatch.setattr(api.site.silent, "waiting", lambda queue: (_ for _ in ()).throw(ConnectionError()))
    answer = api.call("GET", "/readyz", key=None)
    assert (answer.status_code, answer.json()) == (503, {"database": True, "broker": False})
    assert api.submit(claim(), "a").status_code == 202


def test_the_pages_of_the_api_load_nothing_from_elsewhere(api):
    for path in ("/docs", "/redoc"):
        page = api.call("GET", path, key=None)
        assert page.status_code == 200
        assert "https://" not in page.text.replace("https://fastapi.tiangolo.com", "")
