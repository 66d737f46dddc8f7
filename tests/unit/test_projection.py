"""The flat amounts of a settlement, of the exchange and of the national interface: sums over one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import fen
from domain.projection import exchange_amounts, fund_type, setl_detail, setl_info
from domain.visit import VisitType

SEGMENTS = (
    "own_expense", "over_price_limit", "pre_self_pay", "pre_self_pay_visit", "self_pay_visit", "fixed_item",
    "deductible", "shared", "large_amount", "over_cap",
)  # fmt: skip
PAYERS = (
    "person", "account", "family_account", "institution", "fund:basic", "fund:large_amount", "fund:serious_illness",
    "fund:civil_servant", "fund:assistance", "fund:enterprise", "fund:retiree_supplement", "fund:disabled_soldiers",
)  # fmt: skip
AMOUNTS = st.integers(0, 10**9)
MATRICES = st.dictionaries(st.tuples(st.sampled_from(SEGMENTS), st.sampled_from(PAYERS)), AMOUNTS).map(
    lambda held: [(*place, amount) for place, amount in held.items()]
)
KINDS = st.sampled_from(VisitType)
SCHEMES = st.sampled_from(("employee", "resident"))


def negated(cells):
    return [(segment, payer, -amount) for segment, payer, amount in cells]


@given(MATRICES, KINDS)
def test_every_identity_of_the_exchange_holds(cells, kind):
    paid = exchange_amounts(cells, kind)
    assert paid.total_fen == sum(amount for _, _, amount in cells)
    assert paid.total_fen == paid.fund_pay_fen + paid.person_share_fen + paid.institution_share_fen  # INV-19
    assert 0 <= paid.deductible_fen <= paid.self_pay_fen  # INV-20
    assert 0 <= paid.pre_self_pay_fen <= paid.own_pay_fen  # INV-21
    assert 0 <= paid.account_pay_fen <= paid.person_share_fen  # INV-22
    assert paid.cash_fen == sum(amount for _, payer, amount in cells if payer == "person")
    if kind in (VisitType.OUTPATIENT, VisitType.PHARMACY):
        assert paid.over_cap_fen == 0  # INV-23


@given(MATRICES, SCHEMES, AMOUNTS)
def test_every_identity_of_setlinfo_holds(cells, scheme, balance):
    info = setl_info(cells, scheme, balance)
    assert info.broken_identities() == []
    assert info.balc == balance - (info.acct_pay - info.acct_mulaid_pay)
    assert 0 <= info.acct_mulaid_pay <= info.acct_pay


@given(MATRICES, SCHEMES)
def test_the_rows_of_setldetail_are_all_but_the_cash(cells, scheme):
    info, rows = setl_info(cells, scheme), setl_detail(cells, scheme)
    assert sum(row.fund_payamt for row in rows) == info.fund_pay_sumamt + info.acct_pay + info.hosp_part_amt
    assert all(row.inscp_scp_amt <= info.inscp_scp_amt for row in rows)


@given(MATRICES, KINDS, SCHEMES)
def test_a_contra_settlement_has_the_negated_amounts(cells, kind, scheme):
    there, back = exchange_amounts(cells, kind), exchange_amounts(negated(cells), kind)
    assert tuple(back) == tuple(-amount for amount in there)
    info, contra = setl_info(cells, scheme), setl_info(negated(cells), scheme)
    assert contra.broken_identities() == []
    assert contra == type(info)(*(-amount for amount in info))._replace(pool_prop_selfpay=info.pool_prop_selfpay)


@given(MATRICES, MATRICES, KINDS)
def test_two_settlements_together_are_the_sum_of_both(first, second, kind):
    together = exchange_amounts([*first, *second], kind)
    assert tuple(together) == tuple(
        a + b for a, b in zip(exchange_amounts(first, kind), exchange_amounts(second, kind), strict=True)
    )


@given(MATRICES, KINDS)
def test_both_interfaces_say_the_same(cells, kind):
    paid, info = exchange_amounts(cells, kind), setl_info(cells, "employee")
    assert paid.total_fen == info.medfee_sumamt
    assert paid.fund_pay_fen == info.fund_pay_sumamt
    assert paid.account_pay_fen == info.acct_pay
    assert paid.person_share_fen == info.psn_part_amt
    assert paid.institution_share_fen == info.hosp_part_amt
    assert paid.deductible_fen == info.act_pay_dedc
    assert paid.cash_fen == info.psn_cash_pay


@dataclass(frozen=True)
class Real:
    """A published settlement, in yuan: what the person and the fund bore of each segment."""

    cells: dict[tuple[str, str], str]
    says: dict[str, str]


@pytest.mark.parametrize("real", [
    pytest.param(Real(
        {("own_expense", "person"): "30.00", ("pre_self_pay", "account"): "6.00", ("shared", "fund:basic"): "42.00",
         ("shared", "account"): "42.00"},
        {"medfee_sumamt": "120.00", "inscp_scp_amt": "84.00", "hifp_pay": "42.00", "fund_pay_sumamt": "42.00",
         "psn_part_amt": "78.00", "acct_pay": "48.00", "psn_cash_pay": "30.00", "balc": "952.00"},
    ), id="the sample of 2207"),
    pytest.param(Real(
        {("own_expense", "person"): "296.20", ("pre_self_pay", "person"): "522.61",
         ("shared", "fund:basic"): "4973.72"},
        {"medfee_sumamt": "5792.53", "fulamt_ownpay_amt": "296.20", "preselfpay_amt": "522.61",
         "inscp_scp_amt": "4973.72"},
    ), id="Shaoyang 2021"),
])  # fmt: skip
def test_published_settlements_are_told_as_they_were(real):
    cells = [(*place, fen(yuan)) for place, yuan in real.cells.items()]
    info = setl_info(cells, "employee", fen("1000.00"))._asdict()
    assert {name: info[name] for name in real.says} == {name: fen(yuan) for name, yuan in real.says.items()}


def test_the_share_of_the_pool_is_of_what_is_above_the_deductible():
    cells = [("deductible", "person", 100_00), ("shared", "fund:basic", 80_00), ("shared", "person", 20_00)]
    assert setl_info(cells, "employee").pool_prop_selfpay == 8000
    assert setl_info(cells[:1], "employee").pool_prop_selfpay == 0


@pytest.mark.parametrize(("payer", "scheme", "code"), [
    ("fund:basic", "employee", "310100"),
    ("fund:basic", "resident", "390100"),
    ("fund:large_amount", "employee", "330100"),
    ("fund:serious_illness", "resident", "390200"),
    ("fund:civil_servant", "employee", "320100"),
    ("fund:assistance", "resident", "610100"),
    ("account", "employee", "310200"),
    ("family_account", "employee", "310200"),
    ("institution", "employee", "999996"),
    ("fund:of_a_city", "employee", "999997"),
])  # fmt: skip
def test_funds_have_the_codes_of_the_dictionary(payer, scheme, code):
    assert fund_type(payer, scheme).code == code


def test_what_is_over_every_cap_is_an_amount_of_its_own_for_stays_only():
    cells = [("over_cap", "person", 5)]
    assert exchange_amounts(cells, VisitType.INPATIENT)[6:8] == (0, 5)
    assert exchange_amounts(cells, VisitType.SPECIFIC_OUTPATIENT)[6:8] == (0, 5)
    assert exchange_amounts(cells, VisitType.OUTPATIENT)[6:8] == (5, 0)


def test_a_person_who_bears_everything_is_told_why():
    assert exchange_amounts(
        [("own_expense", "person", 5), ("shared", "account", 1)], VisitType.PHARMACY
    ).is_all_the_persons
    assert not exchange_amounts([("shared", "fund:basic", 5)], VisitType.PHARMACY).is_all_the_persons
    assert not exchange_amounts([], VisitType.PHARMACY).is_all_the_persons
