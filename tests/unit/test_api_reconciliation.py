"""Reconciliation over the API: totals, lines and files in, once; the centre's answer and the result file out."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import date, timedelta

import pytest

from domain.messages import BooksCompared, ComparedTotals, FoundDifference
from tests.support.api import CLINIC, HOSPITAL, Api, open_sample_site
from workers.reconciling import books

DAY = date(2026, 3, 2)
TOTAL = {"scheme": "employee", "clearing_type": "11", "documents": 1, "total_amount": "120.00",
         "fund_pay_amount": "42.00", "account_pay_amount": "48.00"}  # fmt: skip
LINE = {"visit_no": "V1", "settlement_no": 42, "total_amount": "120.00", "fund_pay_amount": "42.00",
        "account_pay_amount": "48.00", "cash_amount": "30.00"}  # fmt: skip
ROW = "42\tV1\tnull\t120.00\t42.00\t48.00\t0\n"


@pytest.fixture
def api(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as running:
        yield running


def hand_in(api, what, body):
    return api.call("POST", f"/v1/reconciliation/{what}", json.dumps(body).encode())


def send_file(api, content, kind="application/zip", day=DAY):
    return api.call("POST", f"/v1/reconciliation/{day}/file", content, headers={"Content-Type": kind})


def zipped(text):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("stmt.txt", text)
    return packed.getvalue()


def answer(api, *, differences=(), code=HOSPITAL):
    """What the centre says of the newest book, recorded."""
    engine = api.site.engine
    with engine.begin() as connection:
        book = books.find(connection, code, DAY)
        compared = BooksCompared(
            institution_code=code, day=DAY, submission_no=book.submission_no, result="1", part=0, parts=1,
            compared_at=api.site.now(), lines_wanted=not differences,
            totals=(ComparedTotals("employee", "11", True, "1", (1, 12_000, 4_200, 4_800, 0), (2, 13_000, 1, 1, 0)),),
            differences=tuple(differences),
        )  # fmt: skip
        assert books.record(connection, compared, at=api.site.now())


DIFFERENCE = FoundDifference(
    7, "center-only", "V2", 1, 43, False, "open", "中心已结算 10.00 元", "query-then-contra", "机构账 不变；中心账 …",
    (0, 0, 0, 0, 0), (1, 1_000, 0, 0, 1_000),
)  # fmt: skip


def test_totals_are_kept_once_and_shown_with_the_centres(api):
    first = hand_in(api, "totals", {"day": f"{DAY}", "totals": [TOTAL]})
    again = hand_in(api, "totals", {"day": f"{DAY}", "totals": [TOTAL]})

    assert (first.status_code, first.headers["location"]) == (202, "/v1/reconciliation/2026-03-02")
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json()["submission_no"] == again.json()["submission_no"]
    assert (first.json()["state"], first.json()["lines"], first.json()["result"]) == ("submitted", None, "")

    answer(api)
    seen = api.call("GET", f"/v1/reconciliation/{DAY}").json()
    assert (seen["state"], seen["result"], seen["result_words"], seen["lines_wanted"]) == (
        "compared",
        "1",
        "中心多",
        True,
    )
    assert seen["totals"][0]["institution"]["total_amount"] == "120.00"
    assert seen["totals"][0]["center"]["total_amount"] == "130.00"

    other = hand_in(api, "totals", {"day": f"{DAY}", "totals": [TOTAL | {"documents": 2}]})
    assert other.json()["submission_no"] > first.json()["submission_no"]
    assert other.json()["state"] == "submitted"


def test_lines_are_kept_beside_the_totals_and_come_down_as_a_file(api):
    hand_in(api, "totals", {"day": f"{DAY}", "totals": [TOTAL]})
    kept = hand_in(api, "lines", {"day": f"{DAY}", "lines": [LINE, LINE | {"refund": True, "total_amount": "-1.00"}]})
    assert (kept.status_code, kept.json()["lines"]) == (202, 2)
    assert api.call("GET", f"/v1/reconciliation/{DAY}/file").json()["code"] == "not-compared"

    answer(api, differences=[DIFFERENCE])
    (shown,) = api.call("GET", f"/v1/reconciliation/{DAY}").json()["differences"]
    assert (shown["title"], shown["center"]["total_amount"], shown["repair_words"]) == (
        "中心多", "10.00", "向机构查询；确认机构无此笔后，中心开反向结算",
    )  # fmt: skip
    result = api.call("GET", f"/v1/reconciliation/{DAY}/file")
    assert result.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(result.content)) as file:
        assert file.namelist() == [f"{HOSPITAL}_20260302_result.txt"]
        assert file.read(file.namelist()[0]).decode().split("\t")[1:5] == ["V2", "43", "null", "1"]


def test_a_file_is_the_same_book_as_its_lines(api):
    sent = send_file(api, zipped(ROW))
    assert (sent.status_code, sent.json()["lines"]) == (202, 1)
    with api.site.engine.connect() as connection:
        (line,) = books.lines_of(connection, HOSPITAL, DAY)
    assert (line.visit_no, line.settlement_no, line.total_fen, line.cash_fen) == ("V1", 42, 12_000, None)
    assert send_file(api, zipped(ROW)).headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("what", "body", "errors"),
    [
        (
            "totals",
            {"day": "2026-02-30", "totals": [TOTAL | {"documents": -1, "total_amount": "1", "clearing_type": "12"}]},
            {"#/day", "#/totals/0/documents", "#/totals/0/total_amount", "#/totals/0/clearing_type"},
        ),
        ("totals", {"day": f"{DAY}", "totals": []}, {"#/totals"}),
        (
            "lines",
            {"day": f"{DAY}", "lines": [{"visit_no": "-", "x": 1}]},
            {"#/lines/0/visit_no", "#/lines/0/x", "#/lines/0/total_amount", "#/lines/0/fund_pay_amount",
             "#/lines/0/account_pay_amount"},
        ),
        ("lines", {"day": f"{DAY + timedelta(days=1)}", "lines": []}, {"#/day"}),
        (
            "lines",
            {"day": f"{DAY}", "lines": [LINE | {"total_amount": "-1.00", "refund_of": 7}, LINE | {"refund": True}]},
            {"#/lines/0/total_amount", "#/lines/0/refund_of", "#/lines/1/total_amount"},
        ),
    ],
)  # fmt: skip
def test_every_wrong_field_is_named_and_nothing_kept(api, what, body, errors):
    refused = hand_in(api, what, body)

    assert (refused.status_code, refused.json()["code"]) == (422, "content-invalid")
    assert {error["pointer"] for error in refused.json()["errors"]} == errors
    assert api.call("GET", f"/v1/reconciliation/{DAY}").status_code == 404


def test_every_error_of_a_file_is_named_with_its_row(api):
    refused = send_file(api, zipped(ROW + "x\t\tnull\t1\t0.00\t0.00\t0\n"))

    assert (refused.status_code, refused.json()["code"]) == (422, "content-invalid")
    assert [(error["pointer"], error["code"]) for error in refused.json()["errors"]] == [
        ("#/rows/2/setl_id", "wrong-form"),
        ("#/rows/2/mdtrt_id", "missing"),
        ("#/rows/2/medfee_sumamt", "wrong-form"),
    ]
    assert [error["code"] for error in send_file(api, b"no zip").json()["errors"]] == ["not-a-zip"]
    assert send_file(api, zipped(ROW), "text/plain").json()["code"] == "media-type-unsupported"


def test_an_institution_sees_its_own_books_only(api):
    hand_in(api, "totals", {"day": f"{DAY}", "totals": [TOTAL]})

    assert api.call("GET", f"/v1/reconciliation/{DAY}", key="clinic-key").status_code == 404
    assert api.call("GET", f"/v1/reconciliation/{DAY}/file", key="clinic-key").status_code == 404
    assert api.call("GET", "/v1/reconciliation/notices", key="clinic-key").json() == {"notices": []}
    with api.site.engine.connect() as connection:
        assert books.find(connection, CLINIC, DAY) is None
