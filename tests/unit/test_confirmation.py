"""What the cashier is told when the centre settles otherwise than the front-end did."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from domain.confirmation import difference, words_for
from domain.messages import LocalResult
from domain.settlement import Settlement
from infra.clock import SHANGHAI

AT = datetime(2026, 3, 2, 9, 30, tzinfo=SHANGHAI)
FUND, DEDUCTIBLE, STAYS = "basic:1:fund:-:2026", "basic:1:deductible:-:2026", "visit:1:stays:-:2026"
SETTLED = Settlement(
    total_fen=20_000,
    fund_pay_fen=8_000,
    account_pay_fen=6_000,
    pre_self_pay_fen=0,
    deductible_fen=10_000,
    own_pay_fen=0,
    self_pay_fen=12_000,
    scheme="employee",
)
LOCAL = LocalResult(
    snapshot_version=3,
    settled_at=AT,
    fund_pay_fen=8_000,
    account_pay_fen=6_000,
    deductible_fen=10_000,
    self_pay_fen=12_000,
    over_cap_fen=0,
    institution_share_fen=0,
    account_before_fen=6_000,
    accumulators=((FUND, 500),),
)


def told(settlement, local=LOCAL, *, account=6_000, family=0, accumulators=None):
    return difference(
        local,
        settlement,
        account_before_fen=account,
        family_before_fen=family,
        accumulators={FUND: 500} if accumulators is None else accumulators,
        keys=(FUND, DEDUCTIBLE, STAYS),
    )


def test_the_same_to_the_fen_is_confirmed_without_a_word_whatever_moved():
    assert told(SETTLED) == ""
    assert told(SETTLED, account=7_000, accumulators={}) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fund_pay_fen": 7_999, "self_pay_fen": 12_001}, "统筹支付由 80.00 元改为 79.99 元"),
        ({"fund_pay_fen": 7_999, "self_pay_fen": 12_001}, "现金由 60.00 元改为 60.01 元"),
        ({"account_pay_fen": 0}, "账户支付由 60.00 元改为 0.00 元"),
        ({"deductible_fen": 0}, "起付线由 100.00 元改为 0.00 元"),
        ({"over_cap_fen": 1, "self_pay_fen": 11_999}, "超限额自付由 0.00 元改为 0.01 元"),
        ({"institution_share_fen": 5, "fund_pay_fen": 7_995}, "医院负担由 0.00 元改为 0.05 元"),
    ],
)
def test_each_amount_that_changed_is_named_with_both_numbers(change, words):
    assert words in told(replace(SETTLED, **change))


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        ({"account": 1_000}, "个人账户余额由 60.00 元变为 10.00 元"),
        ({"family": 1_000}, "家庭共济账户余额由 0.00 元变为 10.00 元"),
        ({"accumulators": {FUND: 900}}, "2026 基本医疗基金支付累计由 5.00 元变为 9.00 元"),
        ({"accumulators": {}}, "2026 基本医疗基金支付累计由 5.00 元变为 0.00 元"),
        ({"accumulators": {FUND: 500, STAYS: 1}}, "2026 就诊住院次数由 0 次变为 1 次"),
        ({}, "前置机与中心的政策或参保信息不同"),
    ],
)
def test_the_reason_is_what_had_moved(moved, words):
    assert words in told(replace(SETTLED, deductible_fen=0), **moved).split("原因：")[1]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("basic:3:deductible:-:2026-07", "2026-07 基本医疗起付线累计"),
        ("large_amount:1:base:M00500:2026", "2026 大额医疗费用累计（M00500）"),
        ("basic:1:due:=chemo:stay/V1", "本次住院 基本医疗应付起付线（chemo）"),
        ("no key", "no key"),
    ],
)
def test_accumulators_have_words(key, words):
    assert words_for(key) == words
