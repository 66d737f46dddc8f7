"""Off-line settlement, the rules alone: what stands against it, the limits, the worst case, the true-up."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import offline
from domain.entitlement import Entitlement
from domain.messages import ClaimAnswer, LocalResult
from domain.offline import Against, Grant, Terms
from domain.settlement import Cell, Settlement
from infra.clock import SHANGHAI

AT = datetime(2026, 3, 2, 9, 0, tzinfo=SHANGHAI)
HOUR = timedelta(hours=1)
ON = Terms(offline=True, is_local=True, claim_fen=50_000, total_fen=200_000, hours=48)
HELD = Entitlement(
    "T1", known=True, entitled=True, account_balance_fen=9_000, offline_limit_fen=5_000, offline_until=AT + HOUR
)
PAID = ClaimAnswer("V1", 1, account_pay_fen=3_000, self_pay_fen=4_000)


def test_nothing_stands_against_a_leased_purchase():
    assert offline.against_claim(ON, "4", HELD, at=AT) is None
    assert offline.against_result(ON, PAID, total_fen=4_000, limit_fen=5_000, spent_fen=2_000) is None


@pytest.mark.parametrize(
    ("terms", "visit_type", "held", "against"),
    [
        pytest.param(Terms(), "4", HELD, Against.OFF, id="off by default"),
        pytest.param(ON._replace(offline=False), "4", HELD, Against.OFF, id="switched off"),
        pytest.param(ON._replace(is_local=False), "4", HELD, Against.OFF, id="the centre settles for it"),
        pytest.param(ON._replace(hours=0), "4", HELD, Against.OFF, id="no time limit"),
        pytest.param(ON._replace(claim_fen=0), "4", HELD, Against.OFF, id="no limit per claim"),
        pytest.param(ON, "1", HELD, Against.WRONG_TYPE, id="a stay"),
        pytest.param(ON, "2", HELD, Against.WRONG_TYPE, id="a specific outpatient visit"),
        pytest.param(ON, "3", None, Against.NO_LEASE, id="nothing is leased"),
        pytest.param(ON, "3", HELD._replace(offline_until=None), Against.NO_LEASE, id="leased on line only"),
        pytest.param(ON, "3", HELD._replace(offline_until=AT), Against.NO_LEASE, id="the lease is over"),
        pytest.param(ON, "3", HELD._replace(entitled=False), Against.NOT_ENTITLED, id="suspended"),
    ],
)
def test_what_stands_against_a_claim(terms, visit_type, held, against):
    assert offline.against_claim(terms, visit_type, held, at=AT) is against


@pytest.mark.parametrize(
    ("answer", "total_fen", "spent_fen", "against"),
    [
        pytest.param(PAID._replace(fund_pay_fen=1), 4_000, 0, Against.FUND_PAYS, id="a fen of a fund"),
        pytest.param(PAID._replace(institution_share_fen=1), 4_000, 0, Against.FUND_PAYS, id="of the institution"),
        pytest.param(
            PAID._replace(cells=(Cell("shared", "family_account", 3_000),)), 4_000, 0, Against.FAMILY_PAYS, id="family"
        ),
        pytest.param(PAID._replace(account_pay_fen=0), 4_000, 0, Against.NOTHING_FROM_ACCOUNT, id="all cash"),
        pytest.param(PAID, 50_001, 0, Against.OVER_CLAIM_LIMIT, id="a fen over the limit of a claim"),
        pytest.param(PAID, 4_000, 2_001, Against.OVER_LEASE, id="a fen more than is left of the lease"),
    ],
)
def test_what_stands_against_a_result(answer, total_fen, spent_fen, against):
    found = offline.against_result(ON, answer, total_fen=total_fen, limit_fen=5_000, spent_fen=spent_fen)
    assert found is against


def test_store_and_forward_has_a_limit_per_claim_and_one_in_sum():
    assert offline.over_limit(ON, claim_fen=50_000, unsettled_fen=150_000) is None
    one = offline.over_limit(ON, claim_fen=50_001, unsettled_fen=0)
    assert one is not None and not one.of_sum and "本笔费用 500.01 元，超过脱机受理限额 500.00 元" in one.words()
    summed = offline.over_limit(ON, claim_fen=50_000, unsettled_fen=150_001)
    assert summed is not None and summed.of_sum and "2000.01 元，超过脱机受理限额 2000.00 元" in summed.words()
    assert offline.over_limit(Terms(), claim_fen=10**12, unsettled_fen=10**12) is None


FRONTENDS = ("F1", "F2", "F3")
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("lease"), st.sampled_from(FRONTENDS), st.integers(1, 80)),
        st.tuples(st.just("spend"), st.sampled_from(FRONTENDS), st.integers(1, 80)),
        st.tuples(st.just("post"), st.sampled_from(FRONTENDS), st.just(0)),
        st.tuples(st.just("online"), st.just(""), st.integers(1, 80)),
        st.tuples(st.just("lost"), st.sampled_from(FRONTENDS), st.integers(1, 80)),
    ),
    max_size=40,
)


@given(balance=st.integers(0, 200), moves=MOVES, cut=st.integers(0, 40))
def test_no_account_is_overdrawn_by_more_than_the_worst_case(balance, moves, cut):
    """Whatever is leased, lost on the way, spent, spent on line and posted from any moment on: what the account lacks
    when the off-line settlements of then are posted, and all that may still be spent without asking, is bounded."""
    until = AT + 100 * HOUR
    kept: dict[str, Grant] = {}
    limits = dict.fromkeys(FRONTENDS, 0)
    spent = dict.fromkeys(FRONTENDS, 0)
    unposted = dict.fromkeys(FRONTENDS, 0)
    worst = 0
    for number, (move, frontend, amount) in enumerate(moves):
        if number == cut:
            break
        if move in ("lease", "lost"):
            others = [grant for holder, grant in kept.items() if holder != frontend]
            limit = offline.lease_limit(balance, others, most_fen=amount, at=AT)
            assert limit + offline.exposure(others, at=AT) <= max(balance, offline.exposure(others, at=AT))
            before = kept.get(frontend)
            kept[frontend] = Grant(frontend, max(limit, before.limit_fen if before else 0), until)
            if move == "lease":
                limits[frontend], spent[frontend] = limit, unposted[frontend]
        elif move == "spend" and amount <= limits[frontend] - spent[frontend]:
            spent[frontend] += amount
            unposted[frontend] += amount
        elif move == "post":
            balance -= min(balance, unposted[frontend])
            unposted[frontend] = 0
        elif move == "online":
            balance -= min(balance, amount)
    worst = offline.exposure(kept.values(), at=AT)
    could_come = sum(unposted[frontend] + max(0, limits[frontend] - spent[frontend]) for frontend in FRONTENDS)
    assert could_come <= worst


def test_a_lease_counts_until_nothing_of_it_can_be_posted_any_more():
    grants = [Grant("F1", 700, AT + HOUR), Grant("F1", 300, AT + 2 * HOUR), Grant("F2", 50, AT + 3 * HOUR)]
    assert [offline.exposure(grants, at=AT + n * HOUR) for n in range(4)] == [750, 350, 50, 0]


LOCAL = LocalResult(
    snapshot_version=1,
    settled_at=AT,
    fund_pay_fen=0,
    account_pay_fen=5_000,
    deductible_fen=0,
    self_pay_fen=8_000,
    over_cap_fen=0,
    institution_share_fen=0,
    offline=True,
)


def settled(*, fund=0, account=5_000):
    own = 8_000 - fund
    return Settlement(
        total_fen=8_000,
        fund_pay_fen=fund,
        account_pay_fen=account,
        pre_self_pay_fen=0,
        deductible_fen=0,
        own_pay_fen=0,
        self_pay_fen=own,
    )


def test_the_same_to_the_fen_is_confirmed():
    assert offline.true_up(LOCAL, settled()) is None


@pytest.mark.parametrize(
    ("result", "repair"),
    [
        pytest.param(settled(account=2_000), "医药机构向参保人补收现金 30.00 元", id="the account was spent meanwhile"),
        pytest.param(settled(fund=3_000), "医药机构向参保人退还现金 30.00 元", id="a fund pays now"),
        pytest.param(settled(fund=3_000, account=2_000), "现金不变", id="only who pays is another"),
        pytest.param(settled(account=4_999), "补收现金 0.01 元", id="one fen"),
    ],
)
def test_what_differs_has_its_repair(result, repair):
    found = offline.true_up(LOCAL, result)
    assert found is not None
    assert found.words.endswith(repair) or repair in found.words
    assert (found.center_fen, found.frontend_fen) == (result.account_pay_fen, 5_000)


def test_what_is_not_posted_is_to_be_collected():
    found = offline.not_posted(LOCAL, 8_000, "参保人待遇已暂停")
    assert (found.center_fen, found.frontend_fen) == (0, 5_000)
    assert "现金 30.00 元" in found.words and "补收现金 50.00 元" in found.words and "待遇已暂停" in found.words


def test_the_time_limit_is_inclusive():
    assert not offline.is_too_late(AT, hours=48, at=AT + 48 * HOUR)
    assert offline.is_too_late(AT, hours=48, at=AT + 48 * HOUR + timedelta(seconds=1))
