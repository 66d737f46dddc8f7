"""The institution's own book against the centre's: totals, lines, repairs with two persons, and clean afterwards.

The cases are those of a real hospital's tracker.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from datetime import timedelta
from itertools import count

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from sqlalchemy import delete, insert, update
from typer.testing import CliRunner

from center import metrics
from center.approving import decisions
from center.approving.actions import CannotDo
from center.approving.decisions import CannotDecide
from center.approving.proposals import AlreadyProposed
from center.catalogue.shelf import CatalogueShelf
from center.details import receive_details
from center.policy.shelf import PolicyShelf
from center.reconciling import books as center_books
from center.reconciling import daily, differences, entries, orders, submissions
from center.reconciling.actions import propose_repair
from center.reconciling.answers import answers as answers_of
from center.reconciling.cases import Case, Kind, open_cases
from center.reconciling.entries import Book
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from center.tables import difference_case, upload_grant
from city.cli import app
from city.commands import Stop
from domain.catalogue import Catalogue
from domain.day_books import Result
from domain.messages import (
    BooksAsked,
    BooksCompared,
    BooksSubmitted,
    ClaimAnswer,
    ClaimDetail,
    DetailUploaded,
    InstitutionLine,
    RefundAsked,
    RepairDone,
    RepairOrdered,
    ScopeTotals,
    UploadGranted,
)
from domain.reconciliation import Class
from domain.repairs import Repair
from domain.totals import PLAIN, total_up
from domain.visit import Visit, VisitType, pack_lines
from infra.codec import UnreadableMessage, decode, encode, pack
from infra.settings import Settings
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    POLICY_VERSION,
    fill_center,
    first,
    rows_of,
    submitted,
    synthetic_citizen_id,
    totals,
)
from tests.support.frontend import LINES, new_frontend, published
from tests.support.uploading import link_to
from workers import books as own_books
from workers import upload
from workers.reconciling import books as workers_books
from workers.reconciling.orders import carry_out
from workers.tables import claim as claim_table
from workers.tables import claim_content

_days, _visits, _persons, _books = count(1), count(1), count(), count(1)


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=600)


class World:
    """A day of the hospital's no other test has: what is settled, and what its HIS hands in."""

    def __init__(self, engine, shelf):
        self.engine, self.shelf = engine, shelf
        self.at = AT + timedelta(days=10 * next(_days))
        self.day = self.at.date()

    def settle(self, *totals_fen, at=None, **change):
        """Settle claims of these totals, each of a new visit and person; the lines of a HIS that has them all."""
        claims = [
            totals(
                visit_no=f"R{next(_visits):08d}",
                citizen_id_no=synthetic_citizen_id(next(_persons)),
                **parts(fen) | change,
            )
            for fen in totals_fen
        ]
        return self.settle_claims(*claims, at=at)

    def settle_claims(self, *claims, at=None):
        answered = settle_submitted(
            self.engine, self.shelf, submitted(*claims), frontend=FRONTEND, at=at or self.at
        ).answers
        assert {answer.refusal for answer in answered} == {""}
        self.claims = claims
        return [line_of(claim, answer) for claim, answer in zip(claims, answered, strict=True)]

    def take_back(self, line, *, at=None, batch=2):
        asked = RefundAsked(
            institution_code=HOSPITAL,
            visit_no=line.visit_no,
            charge_batch_no=line.charge_batch_no,
            contra_batch_no=batch,
            reason="退费",
            policy_version=POLICY_VERSION,
            catalogue_version=CATALOGUE_VERSION,
        )
        (answer,) = refund(self.engine, self.shelf, asked, frontend=FRONTEND, at=at or self.at).answers
        return contra_of(line, answer.settlement_no, batch)

    def hand_in(self, lines: Iterable[InstitutionLine] | None, *, stated=(), day=None, at=None, **change):
        """Hand a book in, in parts of three lines; what the centre answers of it, merged."""
        numbered = None if lines is None else [line._replace(line_no=n) for n, line in enumerate(lines, 1)]
        parts_of = (
            [numbered[n : n + 3] for n in range(0, len(numbered or ()), 3)] or [[]] if lines is not None else [[]]
        )
        number = next(_books)
        compared = []
        for part, some in reversed(list(enumerate(parts_of))):
            message = BooksSubmitted(
                institution_code=HOSPITAL,
                day=day or self.day,
                submission_no=number,
                line_count=None if lines is None else len(numbered),
                part=part,
                parts=len(parts_of),
                totals=tuple(stated) if part == 0 else (),
                lines=tuple(some),
            )
            compared = self.receive(message, at=at, **change)
        return compared

    def receive(self, message, *, at=None, frontend=FRONTEND):
        at = at or self.at + timedelta(hours=12)
        with self.engine.begin() as connection:
            book = submissions.receive(message, frontend=frontend, connection=connection, at=at)
            if book is None:
                return []
            of_day, *_ = daily.compare_all(connection, book, at=at)
            return list(answers_of(connection, of_day, at=at))

    def upload(self, visit_no, lines):
        """The receipt for these lines of a claim."""
        packed = pack_lines(list(lines))
        detail = ClaimDetail(HOSPITAL, visit_no, 1, len(lines), sum(each.line_amount_fen for each in lines), packed)
        uploaded = DetailUploaded(fence=7, catalogue_version=CATALOGUE_VERSION, claims=(detail,))
        return self.receive_chunk(uploaded).receipts[0]

    def receive_chunk(self, uploaded):
        """What the centre answers to a chunk of detail; the slice is always open."""
        row = {
            "frontend": FRONTEND, "window": "noon", "fence": 7, "first_fence": 5, "lines": 1000, "lines_received": 0,
            "lines_granted": 3000, "granted_at": self.at, "cut_off": self.at + timedelta(days=2),
            "closes_at": self.at + timedelta(days=2),
        }  # fmt: skip
        with self.engine.begin() as connection:
            connection.execute(delete(upload_grant).where(upload_grant.c.frontend == FRONTEND))
            connection.execute(insert(upload_grant).values(row))
            return receive_details(
                uploaded, frontend=FRONTEND, connection=connection, catalogues=CatalogueShelf(),
                policies=PolicyShelf(), at=self.at + timedelta(hours=1),
            )  # fmt: skip

    def found(self, *, day=None, still=True):
        with self.engine.connect() as connection:
            rows = differences.of_day(connection, HOSPITAL, day or self.day)
        return [row for row in rows if row.is_open or not still]

    def repair(self, row, *, at=None, repair=None):
        """Propose by one person and approve by another."""
        at = at or self.at + timedelta(hours=20)
        with self.engine.begin() as connection:
            number = propose_repair(connection, row.difference_no, by="张经办", reason="对账处理", at=at, repair=repair)
        with pytest.raises(CannotDecide):
            decisions.approve(self.engine, number, by="张经办", at=at)
        return decisions.approve(self.engine, number, by="李复核", at=at)


@pytest.fixture
def world(center_engine, shelf):
    return World(center_engine, shelf)


def parts(fen):
    return {"total_fen": fen, "own_expense_fen": 0, "over_limit_fen": 0, "pre_self_pay_fen": 0, "in_scope_fen": fen}


def line_of(claim, answer):
    cash = claim.total_fen - answer.fund_pay_fen - answer.account_pay_fen - answer.institution_share_fen
    return InstitutionLine(
        0, claim.visit_no, answer.settlement_no, False, claim.total_fen, answer.fund_pay_fen, answer.account_pay_fen,
        claim.charge_batch_no, "employee", "11", cash,
    )  # fmt: skip


def contra_of(line, number, batch=2):
    return line._replace(
        settlement_no=number, contra=True, total_fen=-line.total_fen, fund_pay_fen=-line.fund_pay_fen,
        account_pay_fen=-line.account_pay_fen, cash_fen=-line.cash_fen, charge_batch_no=batch,
        contra_of=line.settlement_no,
    )  # fmt: skip


def national(line):
    """What a file of 3202 says of a line."""
    return line._replace(charge_batch_no=0, scheme="", clearing_type="", cash_fen=None, contra_of=0)


def kinds(rows):
    return [(row.kind, row.difference_fen) for row in rows]


# ── The hospital's tracker ────────────────────────────────────────────────────────────────────────────────


def test_171239_20_against_171178_20_is_explained_down_to_the_line_and_put_right(world, tmp_path):
    lines = world.settle(
        *[142_000 + 37 * n for n in range(118)], 17_117_820 - sum(142_000 + 37 * n for n in range(118))
    )
    assert sum(line.total_fen for line in lines) == 17_117_820
    never_answered = InstitutionLine(0, "R99999999", 0, False, 8_500, 0, 0, 1, "employee", "11", 8_500)
    mistyped = lines[7]._replace(total_fen=lines[7].total_fen - 2_400, cash_fen=lines[7].cash_fen - 2_400)
    of_his = [*lines[:7], mistyped, *lines[8:], never_answered]
    stated = ScopeTotals("employee", "11", True, 120, 17_123_920, *(sum(r[n] for r in of_his) for n in (5, 6)))

    (told,) = world.hand_in(None, stated=[stated])
    assert (told.result, told.lines_wanted) == (Result.DIFFERENT, False) or told.lines_wanted
    assert told.totals[0].institution[1] - told.totals[0].center[1] == 6_100

    (told,) = world.hand_in(of_his, stated=[stated])

    assert [(d.kind, d.institution[1] - d.center[1], d.words) for d in told.differences] == [
        (Class.AMOUNT, -2_400, told.differences[0].words),
        (Class.INSTITUTION_ONLY, 8_500, "机构账上已结算 85.00 元，中心没有"),
    ]
    assert told.differences[0].words.startswith("总金额不符：机构 1398.59 元，中心 1422.59 元；现金支付不符：")
    assert sum(d.institution[1] - d.center[1] for d in told.differences) == 6_100
    (day,) = status_of(world)
    assert (day.institution_total_fen, day.center_total_fen, day.open_differences, day.open_fen) == (
        17_123_920, 17_117_820, 2, 10_900,
    )  # fmt: skip

    # Both are put right: the HIS reads the result once more, and what never came is submitted again.
    frontend = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    lost = totals(visit_no="R99999999", citizen_id_no=synthetic_citizen_id(next(_persons)), **parts(8_500))
    with frontend.begin() as connection:
        for claim, of in ((world.claims[7], lines[7]), (lost, never_answered)):
            add_settled_claim(connection, claim, of, world.at)
        of_lost = update(claim_table).where(claim_table.c.visit_no == lost.visit_no)
        connection.execute(of_lost.values(state="totalled", answer=None, settled_at=None, settled_day=None))
    amount, only = world.found()
    assert only.repair == Repair.RESUBMIT
    for row, repair in ((amount, Repair.RESEND_ANSWER), (only, None)):
        assert world.repair(row, repair=repair).state == "approved"
    assert carried_out(world, frontend) == {Repair.RESEND_ANSWER, Repair.RESUBMIT}
    (come,) = world.settle_claims(lost)

    (told,) = world.hand_in([*lines, come])

    (day,) = status_of(world)
    assert told.result == Result.EVEN
    assert (day.institution_total_fen, day.center_total_fen, day.open_differences) == (17_126_320, 17_126_320, 0)
    assert [row.state for row in world.found(still=False)] == ["repaired", "repaired"]
    frontend.dispose()


def carried_out(world, frontend):
    """Have the front-end do what is ordered, and the centre hear of it; which repairs these were."""
    ordered = world_orders(world)
    for order in ordered:
        with frontend.begin() as connection:
            done = carry_out(connection, decode(encode(order), RepairOrdered), at=world.at)
        assert done.done, done.words
        with world.engine.begin() as connection:
            assert orders.done(connection, done, frontend=FRONTEND, at=world.at)
    return {order.repair for order in ordered}


def status_of(world):
    with world.engine.connect() as connection:
        return daily.status(connection, since=world.day, until=world.day)


def test_the_same_discharge_settlement_submitted_twice(world):
    (line,) = world.settle(500_000, visit_type="1", visit_started=AT.date(), covers_to=AT.date())
    (claim,) = world.claims
    (again,) = world.settle_claims(claim._replace(charge_batch_no=2), at=world.at + timedelta(minutes=3))
    line = line._replace(clearing_type="21")

    world.hand_in([line])
    (found,) = world.found()
    assert (found.kind, found.settlement_no, found.repair) == (
        Class.SUBMITTED_TWICE, again.settlement_no, Repair.CONTRA,
    )  # fmt: skip
    assert found.words == "中心对同一笔费用记了两次，多记 5000.00 元"
    assert "中心账 增加 1 笔，总金额 -5000.00 元" in found.effect

    outcome = world.repair(found)

    assert outcome.state == "approved", outcome.words
    contra = first(
        rows_of(world.engine, "SELECT settlement_no FROM settlement WHERE contra_of = :n", n=again.settlement_no)
    )
    assert outcome.words == f"已开反向结算 {contra}，冲销结算 {again.settlement_no}"
    (told,) = world.hand_in([line])
    assert world.found() == []
    assert [(d.kind, d.state) for d in told.differences] == [(Class.SUBMITTED_TWICE, "repaired")]
    with world.engine.connect() as connection:
        sums = entries.totals(connection, HOSPITAL, world.day, with_refunds=False)
    assert [figures.total_fen for figures in sums.values()] == [500_000]
    (order,) = world_orders(world)
    assert (order.repair, order.answer.settlement_no, order.contra_of) == (Repair.SEND_CONTRA, contra, 2)


def world_orders(world):
    with world.engine.begin() as connection:
        sent = orders.due(connection, now=1e9)
    numbers = {row.difference_no for row in world.found(still=False)}
    known = dict(rows_of(world.engine, "SELECT order_no, difference_no FROM repair_order"))
    return [order for frontend, order in sent if known[order.order_no] in numbers and frontend == FRONTEND]


@pytest.mark.parametrize(
    ("how", "hours", "result", "states"),
    [
        ("numbered", 13, Result.EVEN, ["repaired"]),
        ("as 3202 has it", 13, Result.EVEN, ["repaired"]),
        pytest.param("numbered", 20, Result.DIFFERENT, ["repaired", "explained"], id="taken back the day after"),
    ],
)
def test_a_refund_the_institution_made_alone(world, how, hours, result, states):
    line, *rest = world.settle(10_000, 20_000)
    back = contra_of(line, 0, 0)
    of_his = [line, back, *rest] if how == "numbered" else [national(row) for row in (line, back, *rest)]

    world.hand_in(of_his)
    (found,) = world.found()
    assert kinds([found]) == [(Class.ONE_SIDED_REFUND, -10_000)]
    assert world.repair(found, at=world.at + timedelta(hours=hours)).state == "approved"

    (told,) = world.hand_in(of_his)
    assert (told.result, world.found(), status_of(world)[0].open_fen) == (result, [], 0)
    assert [row.state for row in world.found(still=False)] == states


def test_a_refund_the_centre_has_alone_is_sent_with_its_answer(world):
    line, *rest = world.settle(10_000, 20_000)
    back = world.take_back(line)

    world.hand_in([line, *rest])
    (found,) = world.found()
    assert (found.kind, found.repair, found.settlement_no) == (
        Class.ONE_SIDED_REFUND, Repair.SEND_CONTRA, back.settlement_no,
    )  # fmt: skip
    assert world.repair(found).state == "approved"
    (order,) = world_orders(world)
    assert (order.answer.settlement_no, order.answer.charge_batch_no, order.contra_of) == (back.settlement_no, 2, 1)

    (told,) = world.hand_in([line, *rest, back])
    assert (told.result, world.found()) == (Result.EVEN, [])
    assert [row.state for row in world.found(still=False)] == ["repaired"]


def test_dirty_lines_left_from_an_earlier_upload(world, tmp_path):
    """Settled from four lines; of an earlier upload a fifth stands beside them. Told, sent again by order, even."""
    frontend = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    rest = world.settle(20_000)
    claim = with_lines(totals(visit_no=f"R{next(_visits):08d}", citizen_id_no=synthetic_citizen_id(next(_persons))))
    lines = [*world.settle_claims(claim), *rest]
    with frontend.begin() as connection:
        add_settled_claim(connection, claim, lines[0], world.at, lines=LINES)

    dirty = [*LINES, LINES[0]._replace(line_no=5)]
    receipt = world.upload(claim.visit_no, dirty)
    assert not receipt.accepted
    (told,) = world.hand_in(lines)
    (found,) = world.found()
    assert (told.result, found.kind, found.words, found.difference_fen) == (
        Result.DIFFERENT, Class.DETAIL_MISMATCH, "明细笔数不符：中心 4 笔，上传 5 笔", 0,
    )  # fmt: skip

    assert world.repair(found).state == "approved"
    (order,) = world_orders(world)
    assert order.repair == Repair.UPLOAD_AGAIN
    with frontend.begin() as connection:
        done = carry_out(connection, decode(encode(order), RepairOrdered), at=world.at)
    assert done.done
    with world.engine.begin() as connection:
        assert orders.done(connection, done, frontend=OTHER_FRONTEND, at=world.at) is False
        assert orders.done(connection, done, frontend=FRONTEND, at=world.at) is True
        assert orders.done(connection, done, frontend=FRONTEND, at=world.at) is False

    (chunk,) = uploaded_by(frontend, world.at)
    (receipt,) = world.receive_chunk(chunk).receipts
    assert receipt.accepted
    (told,) = world.hand_in(lines)
    assert (told.result, [row.state for row in world.found(still=False)]) == (Result.EVEN, ["repaired"])
    frontend.dispose()


def with_lines(claim):
    """The claim with the totals of LINES, matched as the centre's catalogue has them."""
    published_ = published([HOSPITAL], CATALOGUE_VERSION)
    catalogue = Catalogue(published_.version, published_.items, published_.matches)
    matched = [(each, catalogue.on(HOSPITAL, each.local_item_code, each.charge_date)) for each in LINES]
    return claim._replace(**total_up(matched, pack_lines(list(LINES)), PLAIN)._asdict())


def uploaded_by(frontend, at):
    """The chunks the front-end sends in a slice."""
    sent = []
    granted = UploadGranted(window="noon", fence=7, lines=100, cut_off=at + timedelta(hours=30))
    upload.upload(frontend, granted, link_to(sent.append, at=at + timedelta(hours=25)))
    return sent


# ── Every other class ─────────────────────────────────────────────────────────────────────────────────────


def test_equal_books_differ_in_nothing_however_little_they_say(world):
    lines = world.settle(*range(1_000, 8_000, 1_000))
    back = world.take_back(lines[0])

    (told,) = world.hand_in([*lines, back])
    assert (told.result, told.differences, told.lines_wanted) == (Result.EVEN, (), False)
    (told,) = world.hand_in([national(line) for line in (*lines, back)])
    assert (told.result, told.differences) == (Result.EVEN, ())


def test_a_lost_answer_is_sent_again_and_the_institution_books_it(world):
    lost, *rest = world.settle(10_000, 20_000)

    world.hand_in(rest)
    (found,) = world.found()
    assert (found.kind, found.repair) == (Class.LOST_ANSWER, Repair.RESEND_ANSWER)
    assert "机构账 增加 1 笔，总金额 +100.00 元" in found.effect
    world.repair(found)
    (order,) = world_orders(world)
    assert order.answer.settlement_no == lost.settlement_no
    with pytest.raises(CannotDo, match="已处理"):
        world.repair(found)

    (told,) = world.hand_in([lost, *rest])
    assert told.result == Result.EVEN


def test_what_only_the_centre_has_is_asked_about_before_it_is_taken_back(world):
    alone, *rest = world.settle(10_000, 20_000)
    with world.engine.begin() as connection:
        case = Case(Kind.CENTER_ONLY, HOSPITAL, alone.visit_no, 1, 10_000, 0, "前置机账上没有", world.day)
        open_cases(connection, [case], world.at)

    world.hand_in(rest)
    (found,) = world.found()
    assert (found.kind, found.repair) == (Class.CENTER_ONLY, Repair.QUERY_THEN_CONTRA)
    with pytest.raises(CannotDo, match="尚未答复"):
        world.repair(found)
    (order,) = world_orders(world)
    assert (order.repair, order.answer) == (Repair.QUERY_THEN_CONTRA, None)

    with world.engine.begin() as connection:
        orders.done(connection, RepairDone(order_no=order.order_no, done=True, words="前置机没有此笔"),
                    frontend=FRONTEND, at=world.at)  # fmt: skip
    assert world.repair(found).state == "approved"
    (told,) = world.hand_in(rest)
    assert (world.found(), told.differences[0].state) == ([], "repaired")


def test_what_its_front_end_does_know_is_not_taken_back(world):
    alone, *rest = world.settle(10_000, 20_000)
    with world.engine.begin() as connection:
        connection.execute(insert(difference_case).values(
            kind=Kind.CENTER_ONLY, institution_code=HOSPITAL, visit_no=alone.visit_no, charge_batch_no=1,
            center_fen=10_000, frontend_fen=0, words="x", day=world.day, opened_at=world.at))  # fmt: skip
    world.hand_in(rest)
    (found,), (order,) = world.found(), world_orders(world)
    with world.engine.begin() as connection:
        orders.done(connection, RepairDone(order_no=order.order_no, done=False, words="前置机有此笔，已结算"),
                    frontend=FRONTEND, at=world.at)  # fmt: skip

    with pytest.raises(CannotDo, match="前置机有此笔"):
        world.repair(found)


def test_a_wrong_clearing_type_is_explained_by_a_note_that_moves_nothing(world):
    line, *rest = world.settle(10_000, 20_000)

    (told,) = world.hand_in([line._replace(clearing_type="21"), *rest])
    assert told.result == Result.DIFFERENT
    (found,) = world.found()
    assert (found.kind, found.difference_fen, found.repair) == (Class.WRONG_CLEARING_TYPE, 0, Repair.NOTE)
    outcome = world.repair(found)

    (found,) = world.found(still=False)
    assert (found.state, found.outcome) == ("explained", outcome.words)
    document = rows_of(
        world.engine, "SELECT kind, amount_fen, made_by, approved_by FROM ledger_document WHERE document_no = :n",
        n=found.document_no,
    )  # fmt: skip
    assert document == [("note", 0, "张经办", "李复核")]
    world.hand_in([line._replace(clearing_type="21"), *rest])
    assert world.found() == []


def test_booked_after_midnight_is_a_day_boundary_once_both_days_are_in(world):
    late, *rest = world.settle(10_000, 20_000)
    tomorrow = world.day + timedelta(days=1)

    world.hand_in(rest)
    assert kinds(world.found()) == [(Class.LOST_ANSWER, -10_000)]
    (told,) = world.hand_in([late], day=tomorrow)

    assert [(d.kind, d.institution[1], d.center[1]) for d in told.differences] == [(Class.DAY_BOUNDARY, 10_000, 0)]
    assert kinds(world.found()) == [(Class.DAY_BOUNDARY, -10_000)]
    assert [row.state for row in world.found(still=False)] == ["gone", "open"]


def test_an_amount_is_for_a_person_who_decides_after_comparing(world):
    line, *rest = world.settle(10_000, 20_000)
    world.hand_in([line._replace(total_fen=10_100, cash_fen=line.cash_fen + 100), *rest])
    (found,) = world.found()
    assert (found.kind, found.repair) == (Class.AMOUNT, Repair.COMPARE)

    with pytest.raises(CannotDo, match="经办人"):
        world.repair(found)
    assert world.repair(found, repair=Repair.NOTE).state == "approved"
    world.hand_in([line._replace(total_fen=10_100, cash_fen=line.cash_fen + 100), *rest])
    assert world.found() == [], "the note is of these figures"
    world.hand_in([line._replace(total_fen=10_200, cash_fen=line.cash_fen + 200), *rest])
    assert kinds(world.found()) == [(Class.AMOUNT, 200)], "and of no others"


@pytest.mark.parametrize(
    ("repair", "said"),
    [
        (
            Repair.CONTRA,
            "机构账 增加 1 笔，总金额 -101.00 元，现金支付 -101.00 元；"
            "中心账 增加 1 笔，总金额 -100.00 元，现金支付 -100.00 元",
        ),
        (Repair.REVERSE_AT_INSTITUTION, "机构账 增加 1 笔，总金额 -101.00 元，现金支付 -101.00 元；中心账 不变"),
        (Repair.RESEND_ANSWER, "机构账 改记一笔，总金额 -1.00 元，现金支付 -1.00 元；中心账 不变"),
        (Repair.NOTE, "机构账 不变；中心账 不变"),
    ],
    ids=["contra", "reverse", "resend", "note"],
)
def test_what_a_person_chose_after_comparing_is_predicted_as_what_it_will_do(world, repair, said):
    line, *rest = world.settle(10_000, 20_000)
    theirs = line._replace(total_fen=10_100, cash_fen=line.cash_fen + 100)
    world.hand_in([theirs, *rest])
    (found,) = world.found()
    before = center_total(world, line)

    world.repair(found, repair=repair)

    effect = first(rows_of(world.engine, "SELECT effect FROM proposal ORDER BY proposal_no DESC LIMIT 1"))
    assert effect.endswith(said)
    assert center_total(world, line) == (0 if repair is Repair.CONTRA else before)
    if repair is Repair.CONTRA:
        world.hand_in(rest)
        assert world.found() == [], "out of both books"


def center_total(world, line):
    query = "SELECT sum(total_fen)::bigint FROM settlement WHERE visit_no = :v"
    return first(rows_of(world.engine, query, v=line.visit_no))


def test_only_its_own_repair_is_proposed_and_once(world):
    line, *rest = world.settle(10_000, 20_000)
    world.hand_in([line, line, *rest])
    (found,) = world.found()
    assert (found.kind, found.repair) == (Class.SUBMITTED_TWICE, Repair.REVERSE_AT_INSTITUTION)

    with pytest.raises(CannotDo, match="处理方式是"), world.engine.begin() as connection:
        propose_repair(connection, found.difference_no, by="甲", reason="试", at=world.at, repair=Repair.CONTRA)
    with world.engine.begin() as connection:
        propose_repair(connection, found.difference_no, by="甲", reason="试", at=world.at)
    with pytest.raises(AlreadyProposed), world.engine.begin() as connection:
        propose_repair(connection, found.difference_no, by="乙", reason="试", at=world.at)
    with pytest.raises(CannotDo, match="没有差异"), world.engine.begin() as connection:
        propose_repair(connection, 10**9, by="甲", reason="试", at=world.at)


def test_a_proposal_about_books_that_moved_is_not_carried_out(world):
    line, *rest = world.settle(10_000, 20_000)
    world.hand_in([line, line, *rest])
    (found,) = world.found()
    with world.engine.begin() as connection:
        number = propose_repair(connection, found.difference_no, by="甲", reason="试", at=world.at)
    world.hand_in([line, *rest])

    outcome = decisions.approve(world.engine, number, by="乙", at=world.at)
    assert (outcome.state, "已处理" in outcome.words) == ("open", True)


# ── Coming in ─────────────────────────────────────────────────────────────────────────────────────────────


def test_totals_are_compared_with_and_without_refunds_and_lines_asked_for_where_they_differ(world):
    line, *rest = world.settle(10_000, 20_000)
    world.take_back(line, at=world.at + timedelta(days=3))
    fund, account = (sum(r[n] for r in (line, *rest)) for n in (5, 6))

    stated = [
        ScopeTotals("employee", "11", True, 2, 30_000, fund, account),
        ScopeTotals(
            "employee", "11", False, 1, 20_000, rest[0].fund_pay_fen, rest[0].account_pay_fen, rest[0].cash_fen
        ),
    ]
    (told,) = world.hand_in(None, stated=stated)
    assert (told.result, told.lines_wanted) == (Result.EVEN, False)

    (told,) = world.hand_in(None, stated=[stated[0]._replace(documents=1)])
    assert (told.result, told.lines_wanted) == (Result.CENTER_MORE, True)
    (told,) = world.hand_in(None, stated=[ScopeTotals("", "", True, 2, 30_001, fund, account)])
    assert (told.result, told.totals[0].center[:2]) == (Result.INSTITUTION_MORE, (2, 30_000))
    (told,) = world.hand_in(None, stated=[ScopeTotals("resident", "11", True, 0, 0, 0, 0, 0)])
    assert told.result == Result.EVEN


def message(world, **change):
    values = {"institution_code": HOSPITAL, "day": world.day, "submission_no": next(_books), "line_count": 1, "part": 0,
              "parts": 1, "lines": (InstitutionLine(1, "R1", 0, False, 100, 0, 0),)}  # fmt: skip
    return BooksSubmitted(**values | change)


def test_a_part_that_comes_twice_and_an_older_book_change_nothing(world):
    (line,) = world.settle(10_000)
    number = next(_books)
    parts_of = [
        message(world, submission_no=number, line_count=1, part=n, parts=2, lines=some)
        for n, some in enumerate([(line._replace(line_no=1),), ()])
    ]
    older = message(world, submission_no=0)

    assert world.receive(parts_of[0]) == []
    assert world.receive(parts_of[0]) == []
    (told,) = world.receive(parts_of[1])
    (again,) = world.receive(parts_of[1])
    assert told.result == again.result == Result.EVEN
    assert world.receive(older) == []
    assert world.found(still=False) == []


def test_a_front_end_hands_in_the_books_of_its_own_institutions_only(world, caplog):
    assert world.receive(message(world), frontend=OTHER_FRONTEND) == []
    assert "books_of_another" in caplog.text
    assert world.found(still=False) == []


@pytest.mark.parametrize(
    "change",
    [
        {"parts": 0},
        {"part": 1},
        {"parts": 10**6},
        {"lines": (InstitutionLine(1, "R" * 17, 0, False, 100, 0, 0),)},
        {"lines": (InstitutionLine(1, "R\0", 0, False, 100, 0, 0),)},
        {"lines": (InstitutionLine(1, "R1", -1, False, 100, 0, 0),)},
        {"lines": (InstitutionLine(1, "R1", 0, False, 10**13, 0, 0),)},
        {"lines": (InstitutionLine(1, "R1", 0, False, 1, 0, 0, 0, "x" * 17),)},
        {"totals": (ScopeTotals("employee", "11111", True, 1, 1, 1, 1),)},
    ],
)
def test_a_book_nobody_can_store_is_unreadable(world, change):
    with pytest.raises(UnreadableMessage):
        world.receive(message(world, **change))


# ── Every day ─────────────────────────────────────────────────────────────────────────────────────────────


def test_every_institution_day_is_looked_at_once_even_if_nothing_was_handed_in(world):
    world.settle(10_000)
    morning_after = world.at.replace(hour=11) + timedelta(days=1)
    with world.engine.begin() as connection:
        daily.run(connection, at=morning_after - timedelta(hours=4))
    assert status_of(world)[0].result == ""

    with world.engine.begin() as connection:
        daily.run(connection, at=morning_after)
        missing = daily.days_missing(connection, since=world.day)
    (day,) = status_of(world)
    assert (day.handed_in, day.result, day.center_total_fen) == (False, Result.CENTER_MORE, 10_000)
    assert missing >= 1


def test_a_book_whose_comparison_was_cut_off_is_compared_by_the_daily_run(world):
    (line,) = world.settle(10_000)
    with world.engine.begin() as connection:
        of = message(world, lines=(line._replace(line_no=1),))
        assert submissions.receive(of, frontend=FRONTEND, connection=connection, at=world.at) is not None
    with world.engine.begin() as connection:
        compared = daily.run(connection, at=world.at)

    assert Book(HOSPITAL, world.day, of.submission_no) in [each.book for each in compared]
    assert status_of(world)[0].result == Result.EVEN


def test_figures_of_open_differences_are_counted_by_class(world):
    line, *rest = world.settle(10_000, 20_000)
    world.hand_in([line, line, *rest])

    with world.engine.connect() as connection:
        counted = {(code, kind): (many, fen) for code, kind, many, fen in daily.open_differences(connection)}
    assert counted[HOSPITAL, Class.SUBMITTED_TWICE][1] >= 10_000


# ── Both ends ─────────────────────────────────────────────────────────────────────────────────────────────


def test_from_the_front_end_to_the_centre_and_back_until_all_three_books_agree(world, tmp_path):
    """Settled twice under two batches: the HIS hands its book in, the centre finds it, two persons repair it, and the
    front-end has the contra beside its original."""
    frontend = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    link = Wire(frontend)
    (line,) = world.settle(10_000)
    (claim,) = world.claims
    (again,) = world.settle_claims(claim._replace(charge_batch_no=2), at=world.at + timedelta(minutes=1))
    with frontend.begin() as connection:
        for batch, of in ((1, line), (2, again)):
            add_settled_claim(connection, claim._replace(charge_batch_no=batch), of, world.at)

    workers_books.hand_in(frontend, HOSPITAL, world.day, lines=[line], channel="file", at=world.at)
    workers_books.send_due(link, now=1.0, after_seconds=5.0)
    for message in link.sent:
        for told in world.receive(message):
            with frontend.begin() as connection:
                assert workers_books.record(connection, decode(encode(told), BooksCompared), at=world.at)
    with frontend.connect() as connection:
        (difference,) = workers_books.find(connection, HOSPITAL, world.day).compared[0].differences
    assert difference.kind == Class.SUBMITTED_TWICE
    world.repair(world.found()[0])

    (order,) = world_orders(world)
    with frontend.begin() as connection:
        done = carry_out(connection, decode(encode(order), RepairOrdered), at=world.at)
    with world.engine.begin() as connection:
        assert orders.done(connection, decode(encode(done), RepairDone), frontend=FRONTEND, at=world.at)

    asked = BooksAsked(day=(world.at + timedelta(hours=20)).date(), lines_of=(HOSPITAL,))
    with frontend.connect() as connection:
        reported = own_books.report(connection, asked)
    assert [(row.charge_batch_no, row.total_fen) for row in reported.lines] == [(9_998, -10_000)]
    with world.engine.begin() as connection:
        question = center_books.reconcile(
            reported, frontend=FRONTEND, connection=connection, at=world.at + timedelta(days=2)
        )
    assert question is None
    frontend.dispose()


class Wire:
    """A link that takes everything."""

    def __init__(self, engine):
        self.engine, self.sent = engine, []

    def send(self, task, lane, message, shown):
        self.sent.append(decode(encode(message), BooksSubmitted))
        return True


def add_settled_claim(connection, of, line, at, lines=()):
    """A claim of the front-end's as it is after its answer."""
    answer = ClaimAnswer(
        of.visit_no, of.charge_batch_no, settlement_no=line.settlement_no, fund_pay_fen=line.fund_pay_fen,
        account_pay_fen=line.account_pay_fen, settled_at=at,
    )  # fmt: skip
    claim_id = connection.execute(
        insert(claim_table)
        .values(
            institution_code=HOSPITAL, visit_no=of.visit_no, charge_batch_no=of.charge_batch_no, channel="api",
            idempotency_key=f"{of.visit_no}:{of.charge_batch_no}", content_digest=b"", state="settled",
            line_count=len(lines),
            total_fen=of.total_fen, accepted_at=at, totals=pack(of), catalogue_version="c", policy_version="p",
            answer=pack(answer), settled_at=at, settled_day=at.date(), fund_pay_fen=line.fund_pay_fen,
            account_pay_fen=line.account_pay_fen,
        )
        .returning(claim_table.c.claim_id)
    ).scalar_one()  # fmt: skip
    of_visit = Visit(visit_no=of.visit_no, institution_code=HOSPITAL, citizen_id_no=of.citizen_id_no,
                     visit_type=VisitType.OUTPATIENT, visit_date=of.visit_date)  # fmt: skip
    connection.execute(
        insert(claim_content).values(claim_id=claim_id, visit=pack(of_visit), lines=pack_lines(list(lines)))
    )


# ── Commands ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def command(world, center_database_url, capsys):
    def command(*words, at=None, frontend_url="", code=0):
        env = {
            "JIESUAN_CENTER_DATABASE_URL": center_database_url,
            "JIESUAN_FRONTEND_DATABASE_URL": frontend_url,
            "JIESUAN_CLOCK": f"{(at or world.at + timedelta(hours=12)).isoformat()}@0.0x0.0",
        }
        result = CliRunner().invoke(app, ["reconcile", *map(str, words)], env=env)
        if isinstance(result.exception, Stop):
            assert result.exception.code == code
            return str(result.exception)
        assert result.exit_code == code, result.output
        return result.output

    return command


def test_an_operator_sees_the_day_the_difference_and_proposes_its_repair(world, command):
    line, *rest = world.settle(10_000, 20_000)
    world.hand_in([line, line, *rest])
    (found,) = world.found()

    assert "机构多" in command("status", "--since", world.day, code=1)
    (day,) = json.loads(command("status", "--since", world.day, "--institution", HOSPITAL, "--json", code=1))
    assert (day["institution_total"], day["center_total"], day["open_amount"]) == ("400.00", "300.00", "100.00")
    listed = json.loads(command("differences", "--day", world.day, "--json"))
    assert [(row["difference_no"], row["difference"]) for row in listed] == [(found.difference_no, "100.00")]
    shown = command("show", found.difference_no)
    assert "机构对同一笔费用记了两次" in shown
    assert (shown.count("机构  "), shown.count("中心  ")) == (2, 1)
    assert "中心没有这笔" not in shown
    sums = json.loads(command("totals", world.day, "--json"))
    assert [(row["with_refunds"], row["documents"], row["total_amount"]) for row in sums] == [
        (True, 2, "300.00"), (False, 2, "300.00"),
    ]  # fmt: skip
    assert json.loads(command("lines", world.day, "--institution", HOSPITAL, "--json", code=1))["result"] == "2"

    proposed = json.loads(
        command("propose", found.difference_no, "--by", "张经办", "--reason", "医院重复记账", "--json")
    )
    assert f"申请：{proposed['proposal_no']}" in command("show", found.difference_no)
    assert decisions.approve(world.engine, proposed["proposal_no"], by="李复核", at=world.at).state == "approved"
    assert "已处理" in command("propose", found.difference_no, "--by", "张", "--reason", "再", code=1)
    assert "没有差异" in command("show", 10**9, code=1)
    assert "没有提交" in command("lines", "2020-01-01", "--institution", HOSPITAL, code=1)


def test_a_file_goes_in_and_the_result_comes_out_at_the_front_end(world, command, tmp_path):
    url = f"sqlite:///{tmp_path}/frontend.db"
    frontend = new_frontend(url)
    good, bad, out = (tmp_path / name for name in ("good.txt", "bad.txt", "out.zip"))
    good.write_text("null\tR7\tnull\t1.00\t0.00\t0.00\t0\n", encoding="utf-8")
    bad.write_text("x\n", encoding="utf-8")
    where = ("--institution", HOSPITAL, "--day", world.day)

    assert "1 处错误" in command("import", bad, *where, frontend_url=url, code=1)
    assert "没有提交过" in command("export", out, *where, frontend_url=url, code=1)
    assert json.loads(command("import", good, *where, "--json", frontend_url=url))["lines"] == 1
    assert "还没有到" in command("export", out, *where, frontend_url=url, code=75)
    assert "不服务" in command("import", good, "--institution", "X", "--day", world.day, frontend_url=url, code=1)

    link = Wire(frontend)
    workers_books.send_due(link, now=1.0, after_seconds=5.0)
    (told,) = world.receive(link.sent[0])
    with frontend.begin() as connection:
        workers_books.record(connection, told, at=world.at)
    command("export", out, *where, frontend_url=url)
    with zipfile.ZipFile(out) as file:
        assert file.read(file.namelist()[0]).decode().startswith("null\tR7\tnull\tnull\t2\t0\t机构多：")
    frontend.dispose()


def test_open_differences_are_metrics(world, center_database_url):
    line, *rest = world.settle(10_000, 20_000)
    world.hand_in([line, line, *rest])
    settings = Settings(
        _env_file=None, center_database_url=center_database_url, center_broker_url="redis://127.0.0.1:1/0",
        clock=f"{world.at.isoformat()}@0.0x0.0",
    )  # fmt: skip
    registry = CollectorRegistry()
    registry.register(metrics.collector(settings))
    page = generate_latest(registry).decode()

    assert f'jiesuan_open_differences{{kind="{Class.SUBMITTED_TWICE}"}}' in page
    assert f'jiesuan_open_difference_fen{{tenant="{HOSPITAL}"}}' in page
    assert "jiesuan_books_missing" in page
