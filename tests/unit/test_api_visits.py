"""Registered visits by HTTP: once per key, every reason at once, one institution's own."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from openpyxl import load_workbook

from domain.identity import synthetic_citizen_id
from tests.support.api import CLINIC, HOSPITAL, KEYS, NAME, Api, claim, line, open_sample_site, sent
from tests.support.refunds import answer_refunds
from workers import tables


@pytest.fixture
def api(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as running:
        yield running


PERSON = synthetic_citizen_id(1)
WRONG = PERSON[:17] + ("1" if PERSON[17] != "1" else "2")
"""A number with a wrong check character."""
STAY = {
    "citizen_id_no": PERSON,
    "visit_type": "1",
    "visit_date": "2026-02-28",
    "person_name": NAME,
    "admission_diagnosis": "肺炎",
}


def post(api, path, document=None, key="k", institution=KEYS[HOSPITAL]):
    body = None if document is None else sent(document)
    return api.call("POST", path, body, key=institution, headers={"Idempotency-Key": key})


def registered(api, key="r", **change):
    answer = post(api, "/v1/visits", STAY | change, key)
    assert answer.status_code == 201, answer.text
    return answer.json()["visit_no"]


def charged(api, visit_no, *lines):
    return post(api, f"/v1/visits/{visit_no}/lines", {"lines": list(lines)}).json()


def settled(api, visit_no, key="s", **change):
    answer = post(api, f"/v1/visits/{visit_no}/settlements", change, key)
    assert answer.status_code == 202, answer.text
    api.site.settle_all()
    return answer.json()["claim_no"]


def test_a_visit_is_registered_once_and_shows_no_identity_number(api):
    first = post(api, "/v1/visits", STAY)
    again = post(api, "/v1/visits", STAY)
    other = post(api, "/v1/visits", STAY | {"bed_no": "1"})

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert first.headers["location"] == f"/v1/visits/{first.json()['visit_no']}"
    assert first.json()["state"] == "open"
    shown = api.call("GET", first.headers["location"])
    assert first.json().items() <= shown.json().items()
    assert PERSON not in first.text + shown.text


def test_visits_are_listed_newest_first_with_their_batches(api):
    first, second = registered(api, "a"), registered(api, "b", visit_type="3", visit_date="2026-03-02")
    charged(api, second, line(1))
    settled(api, second)
    post(api, f"/v1/visits/{first}/cancellation")

    def asked(query):
        return [each["visit_no"] for each in api.call("GET", f"/v1/visits{query}").json()["visits"]]

    assert asked("") == asked("?day=2026-03-02") == [second, first]
    assert asked("?state=open") == [second]
    assert asked("?day=2026-03-01") == asked("?state=closed") == []
    (batch,) = api.call("GET", "/v1/visits?state=open").json()["visits"][0]["batches"]
    assert (batch["claim_no"], batch["state"], batch["total_amount"]) == (f"{second}-1", "settled", "25.00")
    assert api.call("GET", "/v1/visits", key=KEYS[CLINIC]).json() == {"visits": []}


def test_a_visit_shows_its_lines_and_what_failed_of_them(api):
    visit_no = registered(api)
    charged(api, visit_no, line(1))
    charged(api, visit_no, line(2, line_amount="1.00"))

    shown = api.call("GET", f"/v1/visits/{visit_no}").json()

    assert [each["line_amount"] for each in shown["lines"]] == ["25.00"]
    assert [(each["line_no"], each["code"], each["source"]) for each in shown["failed_lines"]] == [(2, "14", "api")]
    assert shown["entitlement"] is None


def test_everything_wrong_with_a_registration_is_told_at_once(api):
    answer = post(api, "/v1/visits", STAY | {"visit_date": "2027-01-01", "citizen_id_no": WRONG})

    assert answer.status_code == 422
    assert [(each["pointer"], each["code"]) for each in answer.json()["errors"]] == [
        ("#/citizen_id_no", "person-no-wrong"),
        ("#/visit_date", "visit-in-future"),
    ]
    assert WRONG not in answer.text


def test_lines_come_in_all_or_none_and_again_changes_nothing(api):
    visit_no = registered(api)
    mixed = charged(api, visit_no, line(1), line(2, line_amount="1.00"))
    assert (mixed["imported"], [each["code"] for each in mixed["verdicts"]]) == (0, ["00", "14"])
    assert mixed["verdicts"][1]["pointer"] == "#/lines/1"

    good = charged(api, visit_no, line(1), line(2))
    again = charged(api, visit_no, line(1), line(2), line(3))
    assert (good["imported"], again["imported"]) == (2, 3)
    assert api.call("GET", f"/v1/visits/{visit_no}").json()["unsettled_amount"] == "75.00"


def test_a_failed_line_holds_up_the_settlement_until_it_is_corrected_or_withdrawn(api):
    visit_no = registered(api)
    charged(api, visit_no, line(1))
    charged(api, visit_no, line(2, line_amount="1.00"))
    refused = post(api, f"/v1/visits/{visit_no}/settlements", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "visit-not-ready")
    assert [each["code"] for each in refused.json()["errors"]] == ["rows-failed"]

    charged(api, visit_no)

    assert post(api, f"/v1/visits/{visit_no}/settlements", {}).status_code == 202


def test_a_stay_from_registration_to_discharge(api):
    visit_no = registered(api)
    charged(api, visit_no, line(1), line(2))
    first = settled(api, visit_no, "s1")
    charged(api, visit_no, line(3, quantity="-1", line_amount="-12.50"))
    charged(api, visit_no, line(4))
    charged(api, visit_no, line(3, quantity="-1", line_amount="-12.50"))
    second = settled(api, visit_no, "s2", final=True)
    left = {"discharge_date": "2026-03-02", "discharge_diagnosis_1": "肺炎", "discharge_outcome": "1"}
    closed = post(api, f"/v1/visits/{visit_no}/discharge", left)

    assert (first, second) == (f"{visit_no}-1", f"{visit_no}-2")
    assert closed.json()["state"] == "closed"
    assert post(api, f"/v1/visits/{visit_no}/discharge", left).json() == closed.json()
    assert api.call("GET", f"/v1/claims/{second}").json()["settlement"]["total_amount"] == "12.50"
    late = charged(api, visit_no, line(5))
    assert [each["code"] for each in late["verdicts"]] == ["91"]


def test_settling_again_under_the_same_key_is_settling_once(api):
    visit_no = registered(api)
    charged(api, visit_no, line(1))
    first = post(api, f"/v1/visits/{visit_no}/settlements", {}, "s")
    api.site.settle_all()
    again = post(api, f"/v1/visits/{visit_no}/settlements", {}, "s")

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["state"] == "settled"


def test_a_registration_is_cancelled_before_lines_and_not_after(api):
    first, second = registered(api, "a"), registered(api, "b")
    charged(api, second, line(1))

    cancelled = post(api, f"/v1/visits/{first}/cancellation")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    refused = post(api, f"/v1/visits/{second}/cancellation")
    assert [each["code"] for each in refused.json()["errors"]] == ["lines-imported"]


def test_a_refund_takes_a_settlement_back_and_its_lines_are_free_again(api):
    visit_no = registered(api)
    charged(api, visit_no, line(1))
    settled(api, visit_no, final=True)

    asked = post(api, f"/v1/visits/{visit_no}/refunds", {"charge_batch_no": 1, "reason": "收费有误"}, "f")
    assert asked.status_code == 202
    assert (asked.json()["contra"]["contra_of"], asked.json()["resettled"]) == (f"{visit_no}-1", None)
    answer_refunds(api.site.engine, at=api.site.now())
    done = post(api, f"/v1/visits/{visit_no}/refunds", {"charge_batch_no": 1, "reason": "收费有误"}, "f")

    assert done.status_code == 200
    contra = done.json()["contra"]
    assert (contra["state"], contra["settlement"]["total_amount"]) == ("settled", "-25.00")
    original = api.call("GET", f"/v1/claims/{visit_no}-1").json()
    assert original["refunded_by"] == contra["claim_no"] == f"{visit_no}-2"
    visit = api.call("GET", f"/v1/visits/{visit_no}").json()
    assert (visit["state"], visit["lines_unsettled"]) == ("open", 1)
    assert settled(api, visit_no, "again", final=True) == f"{visit_no}-3"


def test_what_is_kept_is_settled_anew_under_its_own_number(api):
    number = api.submit(claim(2), "c").json()["visit_no"]
    api.site.settle_all()
    wanted = {"charge_batch_no": 1, "reason": "退一盒", "kept": [{"line_no": 1, "quantity": "1"}]}

    asked = post(api, f"/v1/visits/{number}/refunds", wanted, "f").json()
    answer_refunds(api.site.engine, at=api.site.now())
    kept = api.call("GET", f"/v1/claims/{number}-3").json()

    assert (asked["contra"]["claim_no"], asked["resettled"]["claim_no"]) == (f"{number}-2", f"{number}-3")
    assert (kept["settlement"]["total_amount"], kept["contra_of"]) == ("12.50", f"{number}-1")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        pytest.param({"charge_batch_no": 9}, 409, "not-settled", id="unknown batch"),
        pytest.param({"kept": [{"line_no": 9, "quantity": "1"}]}, 422, "kept-not-charged", id="no line of it"),
        pytest.param({"kept": [{"line_no": 1, "quantity": "3"}]}, 422, "kept-not-charged", id="more than was charged"),
        pytest.param({"kept": [{"line_no": 1, "quantity": "-1"}]}, 422, "kept-not-charged", id="of the other sign"),
    ],
)
def test_a_refund_that_cannot_be_asked_is_told_why(api, change, status, code):
    number = api.submit(claim(1), "c").json()["visit_no"]
    api.site.settle_all()

    answer = post(api, f"/v1/visits/{number}/refunds", {"charge_batch_no": 1, "reason": "误"} | change)

    assert answer.status_code == status
    assert [each["code"] for each in answer.json()["errors"]] == [code]


def test_a_refund_the_centre_refuses_leaves_the_settlement_and_may_be_asked_again(api):
    number = api.submit(claim(1), "c").json()["visit_no"]
    api.site.settle_all()
    ask = {"charge_batch_no": 1, "reason": "误"}
    post(api, f"/v1/visits/{number}/refunds", ask, "1")
    again = post(api, f"/v1/visits/{number}/refunds", ask, "2")
    assert [each["code"] for each in again.json()["errors"]] == ["refund-under-way"]
    answer_refunds(api.site.engine, at=api.site.now(), refusal="later-settlement")

    refused = post(api, f"/v1/visits/{number}/refunds", ask, "1").json()["contra"]
    assert (refused["state"], refused["refusal"]["code"]) == ("refused", "later-settlement")
    assert "refunded_by" not in api.call("GET", f"/v1/claims/{number}-1").json()
    assert post(api, f"/v1/visits/{number}/refunds", ask, "3").status_code == 202


def test_another_institutions_visit_is_answered_as_if_it_did_not_exist(api):
    visit_no = registered(api)
    theirs = {"institution": KEYS[CLINIC]}
    left = {"discharge_date": "2026-03-02", "discharge_diagnosis_1": "x"}
    answers = [
        api.call("GET", f"/v1/visits/{visit_no}", key=KEYS[CLINIC]),
        post(api, f"/v1/visits/{visit_no}/lines", {"lines": [line(1)]}, **theirs),
        post(api, f"/v1/visits/{visit_no}/settlements", {}, **theirs),
        post(api, f"/v1/visits/{visit_no}/cancellation", **theirs),
        post(api, f"/v1/visits/{visit_no}/discharge", left, **theirs),
        post(api, f"/v1/visits/{visit_no}/refunds", {"charge_batch_no": 1, "reason": "x"}, **theirs),
    ]
    nowhere = api.call("GET", "/v1/visits/X999", key=KEYS[CLINIC])
    assert {answer.status_code for answer in answers} == {404}
    for answer in answers:
        assert json.loads(answer.content) | {"request_id": ""} == nowhere.json() | {"request_id": ""}


def test_a_refused_batch_is_told_sent_again_and_given_up(api):
    number = registered(api)
    charged(api, number, line(1, charge_date="2026-03-01"))
    assert post(api, f"/v1/visits/{number}/settlements", {}, "s").status_code == 202
    with api.site.engine.begin() as connection:
        connection.execute(tables.claim.update().values(state="refused", refusal="entitlement-suspended"))

    (batch,) = api.call("GET", f"/v1/visits/{number}", key=KEYS[HOSPITAL]).json()["batches"]
    assert batch["refusal"] == {"code": "entitlement-suspended", "detail": "参保人待遇已暂停"}
    (listed,) = api.call("GET", "/v1/errors", key=KEYS[HOSPITAL]).json()["lines"]
    assert (listed["level"], listed["code"], listed["detail"]) == ("error", "entitlement-suspended", "参保人待遇已暂停")

    assert post(api, f"/v1/visits/{number}/batches/1/resubmission").status_code == 202
    refused = post(api, f"/v1/visits/{number}/batches/1/withdrawal")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "not-refused")
    with api.site.engine.begin() as connection:
        connection.execute(tables.claim.update().values(state="refused", refusal="entitlement-suspended"))
    for _ in range(2):
        given_up = post(api, f"/v1/visits/{number}/batches/1/withdrawal")
        assert (given_up.status_code, given_up.json()["lines_unsettled"]) == (200, 1)
    claim = api.call("GET", f"/v1/claims/{number}-1", key=KEYS[HOSPITAL]).json()
    assert (claim["state"], claim["refusal"]["code"]) == ("returned", "entitlement-suspended")
    assert post(api, f"/v1/visits/{number}/batches/2/withdrawal").status_code == 404


def test_the_error_list_has_errors_and_of_a_day_or_a_visit_warnings_too(api):
    number = registered(api)
    charged(api, number, line(1, charge_date="2026-03-01", local_item_name=""))
    told = charged(api, number, line(2, charge_date="2026-03-01", charge_category=17))
    assert [(each["line_no"], each["code"]) for each in told["warnings"]] == [(2, "W2")]
    assert [each["code"] for each in told["verdicts"]] == ["00"]
    charged(api, number, line(3, charge_date="2026-03-01", local_item_name=""))

    def levels(query, key=KEYS[HOSPITAL]):
        lines = api.call("GET", f"/v1/errors{query}", key=key).json()["lines"]
        return [(each["line_no"], each["level"], each["code"]) for each in lines]

    today = api.site.now().date()
    both = [(2, "warning", "W2"), (3, "error", "03")]
    assert levels("") == both[1:]
    assert levels(f"?visit_no={number}") == levels(f"?day={today}") == both
    assert [levels(f"?day={day}") for day in ("2026-01-01", "0001-01-01", "9999-12-31")] == [[], [], []]
    assert levels("", KEYS[CLINIC]) == []
    detail = api.call("GET", f"/v1/visits/{number}", key=KEYS[HOSPITAL]).json()
    assert [each["code"] for each in detail["warned_lines"]] == ["W2"]
    cut = api.call("GET", f"/v1/errors?visit_no={number}&limit=1", key=KEYS[HOSPITAL]).json()
    assert (len(cut["lines"]), cut["more"]) == (1, True)

    page = api.call("GET", f"/v1/errors?format=xlsx&visit_no={number}", key=KEYS[HOSPITAL])
    sheet = load_workbook(BytesIO(page.content))["错误清单"]
    assert page.headers["content-type"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert [row[-1].value for row in sheet.iter_rows()] == ["类别", "警告", "错误"]
    wrong = api.call("GET", "/v1/errors?format=pdf", key=KEYS[HOSPITAL])
    assert (wrong.status_code, wrong.json()["code"]) == (400, "parameters-invalid")
