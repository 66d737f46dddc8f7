"""Books of institutions at their front-end: kept, sent until answered; the centre's orders carried out once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from domain.lifecycle import ClaimState
from domain.messages import (
    BooksCompared,
    ClaimAnswer,
    ClaimsAnswered,
    InstitutionLine,
    RepairDone,
    RepairOrdered,
    ScopeTotals,
)
from domain.refund import taken_back
from domain.repairs import Repair
from infra.codec import decode, encode, unpack
from tests.support.frontend import DAY, HOSPITAL, NOON, hand_in, new_frontend, shelf
from workers import deliver, desk, detail_states
from workers.reconciling import books, orders
from workers.tables import claim

LINE = InstitutionLine(0, "V1", 1, False, 100, 70, 10)
TOTAL = ScopeTotals("employee", "11", True, 1, 100, 70, 10)


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


class Link:
    """A front-end that can send, or cannot; what it sent."""

    def __init__(self, engine):
        self.engine, self.sent, self.is_up = engine, [], True

    def send(self, task, lane, message, shown):
        if self.is_up:
            self.sent.append(decode(encode(message), type(message)))
        return self.is_up


@pytest.fixture
def link(engine):
    return Link(engine)


def keep(engine, lines=None, totals=None, at=NOON, day=DAY):
    return books.hand_in(engine, HOSPITAL, day, totals=totals, lines=lines, channel="api", at=at)


def send(link, now):
    link.sent.clear()
    books.send_due(link, now=now, after_seconds=10.0)
    return link.sent


def compared(number, *, at=NOON, part=0, parts=1, result="0"):
    return BooksCompared(
        institution_code=HOSPITAL, day=DAY, submission_no=number, result=result, part=part, parts=parts, compared_at=at
    )


def record(engine, message):
    with engine.begin() as connection:
        return books.record(connection, message, at=NOON)


def find(engine):
    with engine.connect() as connection:
        return books.find(connection, HOSPITAL, DAY)


def test_a_book_is_sent_in_parts_until_it_is_answered(engine, link, monkeypatch):
    monkeypatch.setattr(books, "LINES_PER_PART", 2)
    kept = keep(engine, [LINE] * 5, [TOTAL])

    link.is_up = False
    assert send(link, 100.0) == []
    link.is_up = True
    parts = send(link, 111.0)
    assert [(m.part, m.parts, m.line_count, len(m.lines), len(m.totals)) for m in parts] == [
        (0, 3, 5, 2, 1), (1, 3, 5, 2, 0), (2, 3, 5, 1, 0),
    ]  # fmt: skip
    assert [line.line_no for m in parts for line in m.lines] == [1, 2, 3, 4, 5]
    assert send(link, 112.0) == []
    assert len(send(link, 200.0)) == 3

    assert record(engine, compared(kept.submission_no)) is True
    assert send(link, 10_000.0) == []


def test_the_same_book_again_is_compared_again_and_another_takes_its_place(engine, link):
    first = keep(engine, [LINE], [TOTAL])
    record(engine, compared(first.submission_no))
    assert find(engine).compared

    again = keep(engine, [LINE], [TOTAL], at=NOON + timedelta(hours=1))
    assert (again.submission_no, again.is_new) == (first.submission_no, False)
    assert len(send(link, 1.0)) == 1
    assert find(engine).compared == ()

    other = keep(engine, [LINE, LINE])
    assert (other.submission_no > first.submission_no, other.is_new) == (True, True)
    (message,) = send(link, 1e6)
    assert (len(message.lines), message.totals) == (2, (TOTAL,))
    assert record(engine, compared(first.submission_no)) is False
    assert keep(engine, totals=[TOTAL]).is_new is False
    assert keep(engine, []).is_new is True


def test_an_answer_is_whole_or_not_shown_and_an_older_one_is_passed_over(engine):
    number = keep(engine, [LINE]).submission_no
    later = NOON + timedelta(minutes=5)

    assert record(engine, compared(number, at=later, part=1, parts=2))
    assert find(engine).compared == ()
    assert record(engine, compared(number, at=NOON)) is False
    assert record(engine, compared(number, at=later, part=0, parts=2))
    assert record(engine, compared(number, at=later, part=0, parts=2))
    assert [part.part for part in find(engine).compared] == [0, 1]

    latest = later + timedelta(minutes=5)
    assert record(engine, compared(number, at=latest, result="3"))
    assert [part.result for part in find(engine).compared] == ["3"]


def test_an_answer_about_no_book_of_ours_is_passed_over(engine):
    assert record(engine, compared(1)) is False
    assert find(engine) is None


# ── Orders ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def totalled(engine):
    """The totals of a claim the centre has not answered, as it seems here."""
    hand_in(engine, HOSPITAL, 1)
    (of,) = desk.preprocess(engine, shelf(), HOSPITAL, limit=10, at=NOON, now=1.0).totals
    return of


def answer_to(of, number=42):
    return ClaimAnswer(of.visit_no, 1, settlement_no=number, fund_pay_fen=100, account_pay_fen=10, settled_at=NOON)


def settled(engine, of):
    with engine.begin() as connection:
        deliver.record_answers(connection, ClaimsAnswered(answers=(answer_to(of),)), at=NOON)


def order(engine, repair, of=None, number=1, **values):
    ordered = RepairOrdered(
        order_no=number, institution_code=HOSPITAL, repair=repair, visit_no="nowhere" if of is None else of.visit_no,
        charge_batch_no=1, words="对账", **values,
    )  # fmt: skip
    with engine.begin() as connection:
        return orders.carry_out(connection, ordered, at=NOON)


def row(engine, of, batch=1):
    with engine.connect() as connection:
        return connection.execute(
            select(claim).where(claim.c.visit_no == of.visit_no, claim.c.charge_batch_no == batch)
        ).one()


def test_a_lost_answer_is_recorded_and_handed_out_once_more(engine, totalled):
    assert order(engine, Repair.RESEND_ANSWER, totalled, answer=answer_to(totalled)) == RepairDone(
        order_no=1, done=True, words="结果已补记，并重新交给机构"
    )
    assert row(engine, totalled).state == ClaimState.SETTLED

    with engine.begin() as connection:
        connection.execute(update(claim).values(handed_back=True))
    again = order(engine, Repair.RESEND_ANSWER, totalled, 2, answer=answer_to(totalled))
    assert (again.done, again.words) == (True, "前置机已有结果，重新交给机构")
    assert row(engine, totalled).handed_back is False


def test_a_contra_of_the_centres_own_is_recorded_beside_its_original_once(engine, totalled):
    settled(engine, totalled)
    back = taken_back(answer_to(totalled))._replace(charge_batch_no=9_999, settlement_no=43, settled_at=NOON)

    for number in (1, 1, 2):
        assert order(engine, Repair.SEND_CONTRA, totalled, number, answer=back, contra_of=1).done is True

    contra = row(engine, totalled, 9_999)
    assert (contra.state, contra.kind, contra.contra_of, contra.total_fen, contra.fund_pay_fen) == (
        ClaimState.SETTLED, "contra", 1, -totalled.total_fen, -100,
    )  # fmt: skip
    assert unpack(contra.answer, ClaimAnswer).settlement_no == 43
    assert row(engine, totalled).refunded_by == 9_999


@pytest.mark.parametrize(
    ("repair", "done", "words"),
    [
        (Repair.QUERY_THEN_CONTRA, True, "前置机没有此笔"),
        (Repair.RESEND_ANSWER, False, "前置机没有此笔"),
        (Repair.SEND_CONTRA, True, "前置机没有此笔，无须记反向结算"),
        (Repair.RESUBMIT, False, "前置机没有此笔，请机构以原就医登记号重新提交"),
        (Repair.UPLOAD_AGAIN, False, "前置机没有此笔"),
        (Repair.REVERSE_AT_INSTITUTION, True, "已通知机构"),
        ("of-next-year", False, "本版本前置机不能办理此事项"),
    ],
)
def test_of_a_claim_nobody_here_knows_it_says_so(engine, repair, done, words):
    assert order(engine, repair) == RepairDone(order_no=1, done=done, words=words)


def test_what_it_knows_of_is_not_to_be_taken_back(engine, totalled):
    told = order(engine, Repair.QUERY_THEN_CONTRA, totalled)
    assert (told.done, told.words) == (False, "前置机有此笔，状态 totalled")


def test_a_claim_the_centre_lacks_goes_out_again_under_its_key(engine, totalled):
    with engine.begin() as connection:
        connection.execute(update(claim).values(rung_at=1e9, attempts=9))
    assert order(engine, Repair.RESUBMIT, totalled).done is True
    assert (row(engine, totalled).rung_at, row(engine, totalled).state) == (0.0, ClaimState.TOTALLED)

    with engine.begin() as connection:
        connection.execute(update(claim).values(state=ClaimState.REFUSED, refusal="internal"))
    assert order(engine, Repair.RESUBMIT, totalled, 2).done is True
    assert (row(engine, totalled).state, row(engine, totalled).submission) == (ClaimState.ACCEPTED, 1)

    settled_one = update(claim).values(state=ClaimState.SETTLED)
    with engine.begin() as connection:
        connection.execute(settled_one)
    assert order(engine, Repair.RESUBMIT, totalled, 3).done is False


def test_detail_is_due_again(engine, totalled):
    settled(engine, totalled)
    with engine.begin() as connection:
        connection.execute(update(claim).values(detail_state=detail_states.DETAIL_MISMATCH))
    assert order(engine, Repair.UPLOAD_AGAIN, totalled).done is True
    assert row(engine, totalled).detail_state == detail_states.DETAIL_DUE


def test_an_order_that_comes_again_is_answered_and_not_carried_out_again(engine, totalled):
    first = order(engine, Repair.QUERY_THEN_CONTRA)
    again = order(engine, Repair.RESEND_ANSWER, totalled, answer=answer_to(totalled))

    assert again == first
    assert row(engine, totalled).state == ClaimState.TOTALLED
    with engine.connect() as connection:
        (notice,) = orders.notices(connection, HOSPITAL, limit=10)
    assert (notice.order_no, notice.repair, notice.outcome) == (1, Repair.QUERY_THEN_CONTRA, "前置机没有此笔")
