"""No tenant sees another: every address of the API, asked with another institution's key, gives nothing of ours."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from sqlalchemy import insert, select

from infra.clock import SHANGHAI
from tests.support.api import CLINIC, HOSPITAL, KEYS, NAME, PERSON, Api, claim, line, open_sample_site, sent
from workers import tables

NOON = datetime(2026, 3, 2, 12, tzinfo=SHANGHAI)
REASON, WORDS = "别人不应看到的理由", "别人不应看到的通知"
NOT_OF_A_TENANT = {"/healthz", "/readyz", "/metrics", "/problems/{code}"}
"""Addresses without a key: they speak of the front-end, of nobody's claims."""
OF_THE_CALLER_ALONE = {"/v1/link", "/v1/catalogue", "/v1/matches", "/v1/institution", "/v1/quotes"}
"""Addresses that name nothing of anybody's: what they answer is the caller's own, or everybody's."""


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with open_sample_site(tmp_path_factory.mktemp("tenants")) as site, Api(site) as running:
        yield running


@pytest.fixture(scope="module")
def ours(api):
    """The hospital's business in every state, and the words by which it would be known: what is asked for, and what
    must not be told."""
    settled = api.submit(claim(), "settled").json()
    api.submit(claim(lines=0) | {"lines": [line(1, line_amount="25.01")]}, "returned")
    prepared = api.submit(claim() | {"settle": "prepare"}, "prepared").json()
    visit = api.call("POST", "/v1/visits", sent(registration()), headers={"Idempotency-Key": "visit"}).json()[
        "visit_no"
    ]
    api.call("POST", f"/v1/visits/{visit}/lines", sent({"lines": [line(1), line(2)]}))
    api.call("POST", f"/v1/visits/{visit}/lines", sent({"lines": [line(3, line_amount="1.00")]}))
    api.site.settle_all()
    held = api.submit(claim() | {"settle": "later"}, "held").json()
    with api.site.engine.begin() as connection:
        connection.execute(
            insert(tables.metadata.tables["told_clearing"]).values(
                institution_code=HOSPITAL, period_no=1, name="2026-03", content=WORDS.encode(), told_at=NOON
            )
        )
        connection.execute(
            insert(tables.metadata.tables["repair_notice"]).values(
                order_no=1, institution_code=HOSPITAL, repair="x", visit_no=visit, charge_batch_no=1, words=WORDS,
                done=True, outcome=REASON, done_at=NOON,
            )
        )  # fmt: skip
    return {
        "claim_no": settled["claim_no"], "prepared": prepared["claim_no"], "held": held["claim_no"], "visit_no": visit,
        "day": "2026-03-02", "charge_batch_no": "1", "period_no": "1", "key": "settled",
    }  # fmt: skip


def registration():
    return {"citizen_id_no": PERSON, "visit_type": "1", "visit_date": "2026-03-02", "person_name": NAME}


def operations():
    """Every operation of the interface, as its own document lists them."""
    from producers.api import openapi
    from producers.api.app import build

    with open_sample_site_once() as site:
        document = openapi.complete(build(site).framework)
    return sorted(
        (method.upper(), path)
        for path, found in document["paths"].items()
        for method in found
        if path not in NOT_OF_A_TENANT
    )


def open_sample_site_once():
    from pathlib import Path
    from tempfile import mkdtemp

    return open_sample_site(Path(mkdtemp()))


BODIES = {
    "/v1/claims": lambda ours: claim(visit={"visit_no": ours["visit_no"]}),
    "/v1/quotes": lambda ours: claim(),
    "/v1/visits": lambda ours: registration() | {"visit_no": ours["visit_no"]},
    "/v1/visits/{visit_no}/lines": lambda ours: {"lines": [line(9)]},
    "/v1/visits/{visit_no}/settlements": lambda ours: {"final": False},
    "/v1/visits/{visit_no}/discharge": lambda ours: {
        "discharge_date": "2026-03-02", "discharge_diagnosis_1": "肺炎", "discharge_outcome": "1"
    },
    "/v1/visits/{visit_no}/refunds": lambda ours: {"charge_batch_no": 1, "reason": "错"},
    "/v1/desk/visits/{visit_no}/quotes": lambda ours: {"lines": [line(1)]},
    "/v1/clearings/{period_no}/confirmation": lambda ours: {"clearing_no": 1, "by": "甲"},
    "/v1/clearings/{period_no}/objection": lambda ours: {"clearing_no": 1, "by": "甲", "reason": "不符"},
    "/v1/cancellations": lambda ours: {"idempotency_key": ours["key"]},
}  # fmt: skip
QUERIES = {
    "/v1/errors": "?day={day}&visit_no={visit_no}",
    "/v1/outcomes": "?key={key}",
    "/v1/visits": "?day={day}",
    "/v1/desk/visits": "?day={day}",
}


def asked(api, method, path, ours, *, key):
    """The answer of one operation to whoever has this key, asked for what is ours."""
    body = BODIES.get(path)
    where = path.format(**ours) + (QUERIES.get(path, "").format(**ours) if method == "GET" else "")
    headers = {"Idempotency-Key": f"walk-{path}"} if method == "POST" else {}
    if path.endswith("/events"):
        headers["Prefer"] = "wait=0"
    content = sent(body(ours)) if body is not None and method == "POST" else b"{}" if method == "POST" else None
    return api.call(method, where, content, key=key, headers=headers)


def rows_of(api):
    """All that is the hospital's, table by table."""
    found = {}
    with api.site.engine.connect() as connection:
        for table in tables.metadata.sorted_tables:
            if "institution_code" in table.c:
                own = select(table).where(table.c.institution_code == HOSPITAL)
                found[table.name] = connection.execute(own.order_by(*table.primary_key)).all()
        of_claims = select(tables.claim_content).join(
            tables.claim, tables.claim.c.claim_id == tables.claim_content.c.claim_id
        )
        found["content"] = connection.execute(of_claims.where(tables.claim.c.institution_code == HOSPITAL)).all()
    return found


OPERATIONS = operations()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_another_institutions_key_gets_nothing_and_changes_nothing(api, ours, method, path):
    before = rows_of(api)

    answer = asked(api, method, path, ours, key=KEYS[CLINIC])

    told = answer.text.replace(ours["visit_no"], "").replace(ours["key"], "")  # what was asked for may be repeated
    for word in (HOSPITAL, "试验医院", REASON, WORDS, "T00000"):
        assert word not in told, answer.status_code
    if path not in OF_THE_CALLER_ALONE:
        assert PERSON not in told and NAME not in told
    if "{claim_no}" in path or "{visit_no}" in path or "{period_no}" in path:
        assert answer.status_code == 404, told
        nowhere = {**ours, "claim_no": "T000002603029999-1", "visit_no": "T000002603029999", "period_no": "999"}
        unknown = asked(api, method, path, nowhere, key=KEYS[CLINIC])
        assert told_apart(answer) == told_apart(unknown), "what is another's is as unknown as what is nobody's"
    assert rows_of(api) == before


def told_apart(answer):
    return answer.status_code, {name: value for name, value in answer.json().items() if name != "request_id"}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_without_a_key_nobody_gets_anything(api, ours, method, path):
    assert asked(api, method, path, ours, key=None).status_code == 401
    assert asked(api, method, path, ours, key="guessed").status_code == 401


def test_what_the_walk_asks_for_is_there_for_its_owner(api, ours):
    for path in ("/v1/claims/{claim_no}", "/v1/visits/{visit_no}", "/v1/claims/{claim_no}/statement"):
        assert asked(api, "GET", path, ours, key=KEYS[HOSPITAL]).status_code == 200, path
    for path, word in (
        ("/v1/visits", ours["visit_no"]),
        ("/v1/desk/visits", ours["visit_no"]),
        ("/v1/errors", ours["visit_no"]),
        ("/v1/reconciliation/notices", WORDS),
        ("/v1/outcomes", ours["claim_no"]),
    ):
        assert word in asked(api, "GET", path, ours, key=KEYS[HOSPITAL]).text, path


def test_a_key_that_was_cancelled_by_another_is_not_cancelled_for_us(api, ours):
    asked(api, "POST", "/v1/cancellations", ours, key=KEYS[CLINIC])

    again = api.submit(claim(), "settled")

    assert (again.status_code, again.json()["claim_no"]) == (200, ours["claim_no"])
    assert json.loads(again.text)["state"] == "settled"
