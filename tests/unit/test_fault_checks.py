"""What random faults are judged by finds each way in which a client was told something else than the books say."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from tests.faults.checks import _claim, _given_away, _refund
from tests.faults.clients import Claim, Refund
from tests.faults.kinds import KINDS, plan
from tests.faults.run import _report
from tests.faults.town import PERSONS

AMOUNTS = {"settlement_no": 7, "total_amount": "25.00", "fund_pay_amount": "0.00", "account_pay_amount": "25.00"}
ROW = ("key", "V", 1, "settled", 2500, 0, 2500)
BOOKS = {"V-1": ("V", 1, "normal", b"", 7, "code")}


def claim(**change):
    told = {"claim_no": "V-1", "state": "settled", "settlement": AMOUNTS} | change
    return Claim("key", {}, is_prepared_first=False, **told)


def test_a_claim_that_is_what_its_client_was_told_is_right():
    assert list(_claim(claim(), ROW, BOOKS)) == []
    assert list(_claim(claim(claim_no="", state="unknown", settlement=None), None, {})) == []


@pytest.mark.parametrize(
    ("told", "row", "books", "says"),
    [
        (claim(), None, BOOKS, "is lost"),
        (claim(state="unknown", claim_no=""), ROW, BOOKS, "unknown to its client"),
        (claim(is_buried=True, claim_no="", state="cancelled"), ROW, BOOKS, "cancelled to its client"),
        (claim(claim_no="V-2"), ROW, BOOKS, "V-2 settled to its client"),
        (claim(state="cancelled", is_buried=True), (*ROW[:3], "cancelled", *ROW[4:]), BOOKS, "and it is settled"),
        (claim(settlement=None), ROW, BOOKS, "was not told what it came to"),
        (claim(settlement=AMOUNTS | {"total_amount": "25.01"}), ROW, BOOKS, "2501"),
        (claim(settlement=AMOUNTS | {"settlement_no": 8}), ROW, BOOKS, "the books say"),
        (claim(), ROW, {}, "the books say"),
    ],
)
def test_a_claim_that_is_not_what_its_client_was_told_is_found(told, row, books, says):
    assert any(says in words for words in _claim(told, row, books))


@pytest.mark.parametrize(
    ("told", "row", "says"),
    [
        ({"is_refused": True}, ROW, "was refused to its client"),
        ({"contra_no": "V-2"}, None, "is lost"),
        ({"contra_no": "V-2", "state": "settled"}, ROW, "no such contra"),
        ({"contra_no": "V-1", "state": "settled"}, ROW, "no such contra"),
    ],
)
def test_a_refund_that_is_not_what_its_client_was_told_is_found(told, row, says):
    assert any(says in words for words in _refund(Refund("key", claim(), **told), row, BOOKS))


def test_a_log_with_an_identity_number_is_found_and_not_quoted(tmp_path):
    written = [(tmp_path / "clean.log", "nothing"), (tmp_path / "desk.log", f"person {PERSONS[3]} came")]
    town = SimpleNamespace(written=lambda: written)

    assert _given_away(town) == ["desk.log holds the identity number of a person"]


def test_sixty_faults_are_of_every_kind_and_a_seed_is_a_plan():
    assert {kind.name for kind in plan(60, random.Random(1))} == {kind.name for kind in KINDS}
    assert plan(60, random.Random(1)) == plan(60, random.Random(1)) != plan(60, random.Random(2))
    assert len(plan(5, random.Random(1))) == 5


def test_a_failing_run_names_its_seed_its_last_faults_and_its_logs(tmp_path):
    said = _report(42, ["a settlement too many"], [f"fault {number}" for number in range(1, 21)], tmp_path)

    assert "--faults 20 --seed 42" in said
    assert "a settlement too many" in said
    assert "fault 20" in said
    assert "fault 8\n" not in said
    assert str(tmp_path) in said
