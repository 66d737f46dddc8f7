"""Two or three books in, every difference out: one class each, figures that add up, a repair that would mend it."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.day_books import Entry, Figures, Group, Result, Scope, differences_of, result_of, totals
from domain.reconciliation import Class, classify
from domain.repairs import Repair, effect_in_words, in_words, proposed

DAY = date(2026, 3, 2)
SCOPE = Scope(DAY, DAY)


def entry(number=1, **change):
    """Settlement `number`, the first batch of the visit of that number: 110.00 yuan, 70.00 of it by the fund."""
    row = Entry(f"V{number:05d}", 1, number, False, "employee", "11", DAY, 11000, 7000, 1000, 3000)
    return row._replace(**change)


def contra(of, number, **change):
    row = of._replace(
        charge_batch_no=of.charge_batch_no + 1,
        settlement_no=number,
        contra=True,
        contra_of=of.settlement_no,
        **{name: -getattr(of, name) for name in Figures._fields[1:]},
    )
    return row._replace(**change)


def found(institution, center, *, frontend=None, scope=SCOPE):
    return [each.kind for each in classify(institution, center, scope=scope, frontend=frontend)]


ONE, TWICE = entry(), entry(charge_batch_no=2, settlement_no=2, fund_pay_fen=7800, cash_fen=2200)
BACK = contra(ONE, 9)


@pytest.mark.parametrize(
    ("institution", "center", "kind", "repair", "words"),
    [
        pytest.param(
            [ONE._replace(settlement_no=0, fund_pay_fen=0, account_pay_fen=0, cash_fen=0)], [ONE],
            Class.LOST_ANSWER, Repair.RESEND_ANSWER,
            "机构有此笔 110.00 元，但没有中心单号 1 的结果（中心 110.00 元）",
            id="charged, and the answer never came",
        ),
        pytest.param(
            [ONE._replace(settlement_no=77)], [ONE], Class.LOST_ANSWER, Repair.RESEND_ANSWER,
            "机构有此笔 110.00 元，但没有中心单号 1 的结果（中心 110.00 元）",
            id="another number than the centre's",
        ),
        pytest.param(
            [ONE], [ONE, TWICE], Class.SUBMITTED_TWICE, Repair.CONTRA, "中心对同一笔费用记了两次，多记 110.00 元",
            id="the same charges settled under two batches",
        ),
        pytest.param(
            [ONE, ONE], [ONE], Class.SUBMITTED_TWICE, Repair.REVERSE_AT_INSTITUTION,
            "机构对同一笔费用记了两次，多记 110.00 元",
            id="booked twice by the institution",
        ),
        pytest.param(
            [ONE, BACK], [ONE], Class.ONE_SIDED_REFUND, Repair.CONTRA, "机构已退费 110.00 元，中心没有退费",
            id="refunded at the institution only",
        ),
        pytest.param(
            [ONE], [ONE, BACK], Class.ONE_SIDED_REFUND, Repair.SEND_CONTRA, "中心已退费 110.00 元，机构没有退费",
            id="refunded at the centre only",
        ),
        pytest.param(
            [ONE._replace(total_fen=11100, cash_fen=3100)], [ONE], Class.AMOUNT, Repair.COMPARE,
            "总金额不符：机构 111.00 元，中心 110.00 元；现金支付不符：机构 31.00 元，中心 30.00 元",
            id="another amount",
        ),
        pytest.param(
            [ONE._replace(clearing_type="21")], [ONE], Class.WRONG_CLEARING_TYPE, Repair.NOTE,
            "清算类别不符：机构 employee 21（住院），中心 employee 11（门诊），金额相同",
            id="counted as a stay",
        ),
        pytest.param(
            [ONE._replace(day=DAY + timedelta(days=1))], [ONE], Class.DAY_BOUNDARY, Repair.NOTE,
            "同一笔 110.00 元：机构记在 2026-03-03，中心记在 2026-03-02",
            id="booked after midnight",
        ),
        pytest.param(
            [], [ONE], Class.CENTER_ONLY, Repair.QUERY_THEN_CONTRA,
            "中心已结算 110.00 元，机构账上没有，前置机也没有",
            id="nobody else has it",
        ),
        pytest.param(
            [ONE], [], Class.INSTITUTION_ONLY, Repair.RESUBMIT, "机构账上已结算 110.00 元，中心没有",
            id="the centre never settled it",
        ),
        pytest.param(
            [ONE], [ONE._replace(wrong_detail="明细笔数不符：中心 5 笔，上传 6 笔")],
            Class.DETAIL_MISMATCH, Repair.UPLOAD_AGAIN, "明细笔数不符：中心 5 笔，上传 6 笔",
            id="lines left from an earlier upload",
        ),
    ],
)  # fmt: skip
def test_a_difference_has_its_class_its_words_and_its_repair(institution, center, kind, repair, words):
    (difference,) = classify(institution, center, scope=SCOPE)

    assert (difference.kind, in_words(difference)) == (kind, words)
    assert proposed(difference).repair is repair


def test_what_the_front_end_knows_of_was_answered_and_the_answer_lost():
    assert found([], [ONE]) == [Class.CENTER_ONLY]
    assert found([], [ONE], frontend=[]) == [Class.CENTER_ONLY]
    (lost,) = classify([], [ONE], scope=SCOPE, frontend=[ONE._replace(settlement_no=0)])
    assert lost.kind is Class.LOST_ANSWER
    assert in_words(lost) == "中心已结算 110.00 元（单号 1），机构未收到结果"


def test_two_equal_charges_with_other_lines_are_two_charges():
    one, other = ONE._replace(digest=b"a"), TWICE._replace(digest=b"b")

    assert found([ONE], [one, other], frontend=[one, other]) == [Class.LOST_ANSWER]
    assert found([ONE], [one, other._replace(digest=b"a")], frontend=[one, other]) == [Class.SUBMITTED_TWICE]


def test_settled_again_after_a_refund_is_not_settled_twice():
    assert found([ONE, BACK], [ONE, BACK, TWICE]) == [Class.CENTER_ONLY]


def test_what_a_book_took_back_itself_is_explained_and_not_open():
    second_back = contra(TWICE, 10)
    (difference,) = classify([ONE], [ONE, TWICE, second_back], scope=SCOPE)

    assert (difference.kind, difference.is_open) == (Class.SUBMITTED_TWICE, False)
    assert difference.figures() == Figures(-2, 0, 0, 0, 0)
    assert proposed(difference).repair is Repair.NOTHING
    assert in_words(difference) == "中心账上 110.00 元已由反向结算 10 冲平，另一方没有这两笔"

    later = second_back._replace(day=DAY + timedelta(days=3))
    (difference,) = classify([ONE], [ONE, TWICE, later], scope=SCOPE)
    assert (difference.is_open, difference.figures().total_fen) == (False, -11000)
    assert totals([ONE, TWICE, later], SCOPE, with_refunds=False) == totals([ONE], SCOPE)


def test_an_entry_of_another_day_explains_and_is_not_counted():
    later = ONE._replace(day=DAY + timedelta(days=1))

    (difference,) = classify([later], [ONE], scope=SCOPE)
    assert difference.figures() == Figures(-1, -11000, -7000, -1000, -3000)
    (difference,) = classify([later], [ONE], scope=Scope(later.day, later.day))
    assert difference.figures() == Figures(1, 11000, 7000, 1000, 3000)
    (difference,) = classify([later], [ONE], scope=Scope(DAY, later.day))
    assert difference.figures() == Figures()
    assert len(difference.by_group()) == 2
    assert found([later], [], scope=SCOPE) == found([], [later], scope=SCOPE) == []


def test_without_number_and_batch_it_is_found_by_its_total():
    assert found([ONE._replace(charge_batch_no=0, settlement_no=0)], [TWICE, ONE._replace(total_fen=5)]) == [
        Class.CENTER_ONLY,
        Class.LOST_ANSWER,
    ]


def test_the_refunds_are_counted_or_neither_they_nor_what_they_take_back():
    group = Group("employee", "11", DAY)
    book = [ONE, BACK, entry(5)]

    assert totals(book, SCOPE) == {group: Figures(3, 11000, 7000, 1000, 3000)}
    assert totals(book, SCOPE, with_refunds=False) == {group: Figures(1, 11000, 7000, 1000, 3000)}


@pytest.mark.parametrize(
    ("theirs", "ours", "result"),
    [
        (Figures(1, 100), Figures(1, 100), Result.EVEN),
        (Figures(1, 100), Figures(2, 200), Result.CENTER_MORE),
        (Figures(2, 200), Figures(1, 100), Result.INSTITUTION_MORE),
        (Figures(2, 100), Figures(1, 200), Result.DIFFERENT),
    ],
)
def test_totals_compare_as_3201_answers(theirs, ours, result):
    assert result_of(theirs, ours) is result


# ── Laws ──────────────────────────────────────────────────────────────────────────────────────────────────

amounts = st.integers(-5, 5).map(lambda n: n * 100)
entries = st.builds(
    Entry,
    visit_no=st.sampled_from(["V1", "V2", "V3"]),
    charge_batch_no=st.integers(0, 3),
    settlement_no=st.integers(0, 6),
    contra=st.booleans(),
    scheme=st.sampled_from(["employee", "resident", ""]),
    clearing_type=st.sampled_from(["11", "21", ""]),
    day=st.integers(-1, 1).map(lambda n: DAY + timedelta(days=n)),
    total_fen=amounts,
    fund_pay_fen=amounts,
    account_pay_fen=amounts,
    cash_fen=amounts,
    contra_of=st.integers(0, 6),
    digest=st.sampled_from([b"", b"a", b"b"]),
    wrong_detail=st.sampled_from(["", "明细不符"]),
)
books = st.lists(entries, max_size=12)
scopes = st.sampled_from([SCOPE, Scope(DAY - timedelta(days=1), DAY), Scope(DAY, DAY + timedelta(days=1))])


@given(institution=books, center=books, frontend=st.none() | books, scope=scopes)
@example(institution=[ONE, ONE._replace(charge_batch_no=2), BACK], center=[], frontend=None, scope=SCOPE)
def test_whatever_the_books_the_differences_add_up_to_that_of_the_totals(institution, center, frontend, scope):
    sums = Counter()
    for each in classify(institution, center, scope=scope, frontend=frontend):
        for group, figures in each.by_group().items():
            for place, figure in enumerate(figures):
                sums[group, place] += figure
        assert in_words(each)
        assert effect_in_words(proposed(each).effect)

    expected = differences_of(totals(institution, scope), totals(center, scope))
    assert {key: figure for key, figure in sums.items() if figure} == {
        (group, place): figure for group, figures in expected.items() for place, figure in enumerate(figures) if figure
    }


@given(institution=books, center=books, scope=scopes, data=st.data())
def test_the_order_of_the_books_does_not_matter(institution, center, scope, data):
    shuffled = [data.draw(st.permutations(book)) for book in (institution, center)]

    def shown(differences):
        return [(each.kind, each.institution, each.center, each.is_open) for each in differences]

    assert shown(classify(institution, center, scope=scope)) == shown(classify(*shuffled, scope=scope))


@given(book=books, scope=scopes)
def test_equal_books_have_no_differences_but_those_of_detail(book, scope):
    answered = [row._replace(settlement_no=row.settlement_no or 7, wrong_detail="") for row in book]

    assert classify(answered, answered, scope=scope) == []


@given(institution=books, center=books, scope=scopes)
def test_after_its_repair_both_books_have_the_same_money(institution, center, scope):
    for each in classify(institution, center, scope=scope, frontend=center):
        repair, effect = proposed(each)
        if repair in (Repair.NOTE, Repair.COMPARE, Repair.UPLOAD_AGAIN, Repair.NOTHING):
            assert not any([*effect.institution, *effect.center])
            continue
        theirs, ours = (sum_of(side) for side in (each.institution, each.center))
        assert theirs.plus(effect.institution).money() == ours.plus(effect.center).money()


def sum_of(rows):
    total = Figures()
    for row in rows:
        total = total.plus(row.figures())
    return total


def break_in(kind, of):
    """What an entry both books have comes to when this goes wrong with it: institution's, centre's, front-end's."""
    number = of.settlement_no
    back = contra(of, number + 10_000)
    again = of._replace(charge_batch_no=2, settlement_no=number + 20_000)
    return {
        "lost answer": ([], [of], [of], Class.LOST_ANSWER),
        "unanswered": ([of._replace(settlement_no=0, fund_pay_fen=0)], [of], [of], Class.LOST_ANSWER),
        "twice at the centre": ([of], [of, again], [of, again], Class.SUBMITTED_TWICE),
        "twice at the institution": ([of, of], [of], [of], Class.SUBMITTED_TWICE),
        "refund at the institution": ([of, back], [of], [of], Class.ONE_SIDED_REFUND),
        "refund at the centre": ([of], [of, back], [of, back], Class.ONE_SIDED_REFUND),
        "amount": ([of._replace(total_fen=of.total_fen + 1)], [of], [of], Class.AMOUNT),
        "clearing type": ([of._replace(clearing_type="41")], [of], [of], Class.WRONG_CLEARING_TYPE),
        "scheme": ([of._replace(scheme="resident")], [of], [of], Class.WRONG_CLEARING_TYPE),
        "day": ([of._replace(day=DAY - timedelta(days=1))], [of], [of], Class.DAY_BOUNDARY),
        "centre only": ([], [of], [], Class.CENTER_ONLY),
        "institution only": ([of], [], [], Class.INSTITUTION_ONLY),
        "detail": ([of], [of._replace(wrong_detail="明细不符")], [of], Class.DETAIL_MISMATCH),
        "nothing": ([of], [of], [of], None),
    }[kind]


KINDS = (
    "lost answer", "unanswered", "twice at the centre", "twice at the institution", "refund at the institution",
    "refund at the centre", "amount", "clearing type", "scheme", "day", "centre only", "institution only", "detail",
    "nothing",
)  # fmt: skip


@given(
    kinds=st.lists(st.sampled_from(KINDS), max_size=25),
    totals_fen=st.lists(st.integers(0, 900), min_size=25, max_size=25),
)
def test_what_is_put_wrong_into_two_books_is_found_and_nothing_else(kinds, totals_fen):
    theirs, ours, frontends, expected = [], [], [], []
    for number, kind in enumerate(kinds, 1):
        of = entry(number, total_fen=totals_fen[number - 1], day=DAY, digest=bytes([number]))
        *sides, broken = break_in(kind, of)
        theirs += sides[0]
        ours += sides[1]
        frontends += sides[2]
        expected += [(of.visit_no, broken)] if broken else []

    differences = classify(theirs, ours, scope=SCOPE, frontend=frontends)

    assert sorted((each.subject().visit_no, each.kind) for each in differences) == sorted(expected)
