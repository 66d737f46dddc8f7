"""The postings of a settlement balance, and each stands on the account of whoever pays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.ledger import Posting, postings_for
from domain.settlement import Settlement

SETTLEMENT = Settlement(
    total_fen=10_000,
    fund_pay_fen=6_000,
    account_pay_fen=1_500,
    pre_self_pay_fen=200,
    deductible_fen=0,
    own_pay_fen=700,
    self_pay_fen=3_200,
    institution_share_fen=100,
    scheme="employee",
)
AMOUNTS = st.integers(-(10**9), 10**9)


def test_each_payer_has_an_account():
    assert postings_for(SETTLEMENT, institution_code="H1", clearing_type="11", person_no=7) == (
        Posting("fund:employee:basic", 6_000),
        Posting("account:7", 1_500),
        Posting("payable:H1:employee:11", -7_500),
        Posting("cash:H1", 2_400),
        Posting("share:H1", 100),
        Posting("charges:H1", -2_500),
    )


@given(st.tuples(*[AMOUNTS] * 5), st.booleans())
def test_postings_add_up_to_zero_and_leave_zeros_out(amounts, is_contra):
    fund, account, own, over_cap, share = amounts
    sign = -1 if is_contra else 1
    settlement = Settlement(
        total_fen=sign * (fund + own + over_cap + share),
        fund_pay_fen=sign * fund,
        account_pay_fen=sign * account,
        pre_self_pay_fen=0,
        deductible_fen=0,
        own_pay_fen=sign * own,
        self_pay_fen=0,
        over_cap_fen=sign * over_cap,
        institution_share_fen=sign * share,
        scheme="resident",
    )
    postings = postings_for(settlement, institution_code="H1", clearing_type="11", person_no=7)
    assert sum(posting.amount_fen for posting in postings) == 0
    assert all(posting.amount_fen for posting in postings)


def test_nothing_is_posted_for_nothing():
    nothing = Settlement(
        total_fen=0,
        fund_pay_fen=0,
        account_pay_fen=0,
        pre_self_pay_fen=0,
        deductible_fen=0,
        own_pay_fen=0,
        self_pay_fen=0,
    )
    assert postings_for(nothing, institution_code="H1", clearing_type="11", person_no=7) == ()
