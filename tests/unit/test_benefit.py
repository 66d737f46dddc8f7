"""Who pays what: the edges of the basic layer. The published examples are worked in `test_policy_sets`."""

from __future__ import annotations

import pytest

from domain.accumulators import deductible_key, fund_key
from domain.benefit import IdentityBroken, NegativeTotals, accumulator_keys, settle
from domain.money import fen
from domain.policy.facts import NoPolicyInForce
from domain.settlement import AccumulatorEntry
from domain.visit import VisitType
from tests.support.office import (
    OUTPATIENT,
    PHARMACY,
    STAY,
    account,
    cap,
    deductible,
    in_yuan,
    office,
    person,
    share,
    totals,
)

FUND = fund_key(VisitType.OUTPATIENT, 2026)
DEDUCTED = deductible_key(VisitType.OUTPATIENT, 2026)

BEIJING_BANDS = (
    share("0.85", high="30000.00"),
    share("0.90", "30000.00", "40000.00"),
    share("0.95", "40000.00"),
)


@pytest.mark.parametrize(
    ("already", "charged"),
    [({}, "300.00"), ({DEDUCTED: 29_999}, "0.01"), ({DEDUCTED: 30_000}, "0.00"), ({DEDUCTED: 40_000}, "0.00")],
)
def test_a_yearly_deductible_is_charged_once(already, charged):
    found = settle(
        totals(scope="1000.00"), person(), already, office(deductible("300.00", "year"), share("0.50")), OUTPATIENT
    )
    assert in_yuan(found, "deductible") == {"deductible": charged}
    assert [entry for entry in found.entries if entry.key == DEDUCTED] == (
        [AccumulatorEntry(DEDUCTED, already.get(DEDUCTED, 0), fen(charged))] if fen(charged) else []
    )


def test_visit_types_named_together_share_deductible_and_cap():
    named = ', visit = ["outpatient", "pharmacy"]'
    book = office(deductible("300.00", "year") + named, share("0.50"), cap("100.00") + named)
    before = {deductible_key(VisitType.PHARMACY, 2026): 20_000, fund_key(VisitType.PHARMACY, 2026): 9_000}
    found = settle(totals(scope="1000.00"), person(), before, book, OUTPATIENT)
    assert in_yuan(found, "deductible", "fund_pay") == {"deductible": "100.00", "fund_pay": "10.00"}
    assert set(found.entries) == {AccumulatorEntry(FUND, 0, 1_000), AccumulatorEntry(DEDUCTED, 0, 10_000)}


def test_a_cap_for_all_visits_counts_them_all():
    before = {fund_key(VisitType.INPATIENT, 2026): 99_000, fund_key(VisitType.INPATIENT, 2025): 10**9}
    found = settle(totals(scope="100.00"), person(), before, office(share("0.50"), cap("1000.00")), OUTPATIENT)
    assert in_yuan(found, "fund_pay") == {"fund_pay": "10.00"}


@pytest.mark.parametrize(
    ("paid_before", "fund", "over"),
    [
        pytest.param("0.00", "80.00", "0.00", id="room for all"),
        pytest.param("920.00", "80.00", "0.00", id="exactly to the cap"),
        pytest.param("920.01", "79.99", "0.01", id="one fen of the fund is 1.25 fen of charges"),
        pytest.param("999.97", "0.03", "99.96", id="3.75 fen of charges still fit"),
        pytest.param("1000.00", "0.00", "100.00", id="nothing left"),
        pytest.param("2000.00", "0.00", "100.00", id="a cap lowered within the year"),
    ],
)
@pytest.mark.parametrize("rest", ["person", "fund"])
def test_what_is_over_the_cap_is_measured_in_charges(paid_before, fund, over, rest):
    before = {fund_key(VisitType.INPATIENT, 2026): fen(paid_before)}
    found = settle(totals(scope="100.00"), person(), before, office(share("0.80"), cap("1000.00"), rest=rest), STAY)
    assert in_yuan(found, "fund_pay", "over_cap") == {"fund_pay": fund, "over_cap": over}


def test_a_long_published_stay_reaches_the_cap_within_its_last_band():
    """Beijing: 91,759.51 left covers charges of 97,372.1753; 67,039.63 of the rest is over."""
    facts = (
        *BEIJING_BANDS,
        deductible("650.00", "stay"),
        'kind = "self_share_factor", factor = "0.60"',
        cap("91759.51"),
    )
    found = settle(totals(scope="164411.81"), person(), {}, office(*facts, rest="fund"), STAY)
    assert in_yuan(found, "fund_pay", "over_cap") == {"fund_pay": "91759.51", "over_cap": "67039.63"}


@pytest.mark.parametrize(
    ("amount", "over"),
    [
        pytest.param("0.02", "0.00", id="1.32 fen is paid as 1"),
        pytest.param("0.01", "0.01", id="1 fen is the share of 3.03 fen"),
        pytest.param("0.00", "0.04", id="none"),
    ],
)
def test_what_is_over_the_cap_is_exact_before_it_is_rounded(amount, over):
    found = settle(totals(scope="0.04"), person(), {}, office(share("0.33"), cap(amount)), STAY)
    assert in_yuan(found, "fund_pay", "over_cap") == {
        "fund_pay": min(amount, "0.01"),
        "over_cap": over,
    }


@pytest.mark.parametrize(("for_all", "for_one"), [("1000.00", "30.00"), ("30.00", "1000.00")])
def test_of_two_caps_the_tighter_one_holds(for_all, for_one):
    book = office(share("0.50"), cap(for_all), cap(for_one) + ', visit = "outpatient"')
    assert in_yuan(settle(totals(scope="100.00"), person(), {}, book, OUTPATIENT), "fund_pay") == {"fund_pay": "30.00"}


@pytest.mark.parametrize("occasion", [OUTPATIENT, PHARMACY])
def test_outpatient_results_leave_the_over_cap_field_empty(occasion):
    found = settle(totals(scope="100.00"), person(), {}, office(share("0.80"), cap("40.00")), occasion)
    assert in_yuan(found, "fund_pay", "self_pay", "over_cap") == {
        "fund_pay": "40.00",
        "self_pay": "60.00",
        "over_cap": "0.00",
    }
    assert [step.output_fen for step in found.steps if step.rule == "over-cap"] == [5_000]


@pytest.mark.parametrize(("rest", "fund"), [("person", "0.01"), ("fund", "0.00")])
def test_the_rest_of_a_rounded_share_goes_where_the_policy_says(rest, fund):
    found = settle(totals(scope="0.01"), person(), {}, office(share("0.50"), rest=rest), OUTPATIENT)
    assert in_yuan(found, "fund_pay") == {"fund_pay": fund}


@pytest.mark.parametrize(
    ("segments", "balance", "paid"),
    [
        (("in_scope", "pre_self_pay", "over_price_limit", "own_expense"), "1000.00", "65.00"),
        (("in_scope", "pre_self_pay", "over_price_limit", "own_expense"), "64.99", "64.99"),
        (("in_scope",), "1000.00", "52.00"),
        (("deductible",), "1000.00", "40.00"),
        (("own_expense", "pre_self_pay"), "1000.00", "12.00"),
        ((), "1000.00", "0.00"),
        (("in_scope",), "0.00", "0.00"),
    ],
)
def test_the_account_pays_what_it_may_as_far_as_it_goes(segments, balance, paid):
    book = office(deductible("40.00"), share("0.80"), account(*segments))
    found = settle(totals("10.00", "1.00", "2.00", "100.00"), person(balance), {}, book, OUTPATIENT)
    assert in_yuan(found, "person_share", "account_pay") == {"person_share": "65.00", "account_pay": paid}


def test_the_account_never_pays_more_than_the_person_owes():
    book = office(share("0.80"), account("in_scope"))
    found = settle(totals(pre="-0.01", scope="1.00"), person("9.00"), {}, book, OUTPATIENT)
    assert in_yuan(found, "person_share", "account_pay", "cash") == {
        "person_share": "0.19",
        "account_pay": "0.19",
        "cash": "0.00",
    }


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        pytest.param(totals(), {"fund_pay": "0.00", "person_share": "0.00"}, id="nothing"),
        pytest.param(totals(own="5.00"), {"fund_pay": "0.00", "person_share": "5.00"}, id="own expense only"),
        pytest.param(
            totals(own="5.00", pre="-0.01", scope="0.01"),
            {"fund_pay": "0.01", "pre_self_pay": "0.00", "own_pay": "4.99", "person_share": "4.99"},
            id="reversals left a first share of -1 fen",
        ),
        pytest.param(
            totals(own="5.00", scope="-0.01"),
            {"fund_pay": "0.00", "self_pay": "-0.01", "person_share": "4.99"},
            id="reversals left a scope of -1 fen: no fund moves",
        ),
    ],
)
def test_claims_with_little_in_them(claim, expected):
    book = office(share("0.80"), account("own_expense"))
    assert in_yuan(settle(claim, person(), {}, book, OUTPATIENT), *expected) == expected


def test_totals_below_zero_are_refused_with_their_numbers():
    with pytest.raises(NegativeTotals, match="-100 fen over 1 lines"):
        settle(totals(scope="-1.00"), person(), {}, office(share("0.80")), OUTPATIENT)


def test_totals_that_do_not_add_up_never_become_a_settlement():
    with pytest.raises(IdentityBroken, match=r"setlinfo-5.*total_fen=101"):
        settle(totals(scope="1.00")._replace(total_fen=101), person(), {}, office(share("0.80")), OUTPATIENT)


def test_a_scheme_without_policy_is_refused():
    with pytest.raises(NoPolicyInForce, match=r"'pirate'.*2026-03-02"):
        settle(totals(), person(scheme="pirate"), {}, office(share("0.80")), OUTPATIENT)


def test_the_keys_to_read_are_those_settling_looks_at():
    asked = set()

    class Watched(dict):
        def get(self, key, default=None):
            asked.add(key)
            return default

    named = ', visit = ["outpatient", "pharmacy"]'
    book = office(deductible("300.00", "year") + named, share("0.50"), cap("9.00"), cap("5.00") + named)
    settle(totals(scope="1000.00"), person(), Watched(), book, OUTPATIENT)
    keys = accumulator_keys(person(), OUTPATIENT, book)
    assert asked <= set(keys)
    assert len(asked) > 2
    assert len(keys) == len(set(keys))
    assert "basic:3:fund:-:2026" in keys
    assert "basic:3:deductible:-:2026" in keys
