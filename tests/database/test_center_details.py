"""Detail at the centre: the lines are those the totals came from, or a case is opened, once."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import insert, text, update

from center.catalogue.shelf import CatalogueShelf
from center.details import StaleSlice, receive_details
from center.policy.shelf import PolicyShelf
from center.reconciling.cases import Kind
from center.settling.settle import settle_submitted
from center.tables import reference, upload_grant
from domain.catalogue import Catalogue
from domain.chunks import sums_of
from domain.messages import ClaimDetail, DetailUploaded
from domain.totals import PLAIN, LineRules, digest_of, total_up
from domain.visit import pack_lines
from infra.reference import policy_row
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    CLINIC,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    fill_center,
    rows_of,
    submitted,
    totals,
)
from tests.support.frontend import LINES, POLICY, line, published

_serials = count(5000)
_published = published([HOSPITAL, CLINIC], CATALOGUE_VERSION)
CATALOGUE = Catalogue(_published.version, _published.items, _published.matches)
LATER = AT + timedelta(hours=3)


@pytest.fixture(scope="module")
def shelf(center_engine):
    shelf = fill_center(center_engine)
    with center_engine.begin() as connection:
        for frontend in (FRONTEND, OTHER_FRONTEND):
            connection.execute(
                upload_grant.insert().values(
                    frontend=frontend,
                    window="noon",
                    fence=7,
                    first_fence=5,
                    lines=1000,
                    granted_at=AT,
                    cut_off=LATER,
                    closes_at=LATER + timedelta(hours=1),
                    lines_granted=3000,
                    lines_received=0,
                )
            )
    return shelf


@pytest.fixture
def settled(center_engine, shelf):
    """Settle these lines as a claim of its own and return the detail that proves it."""

    def settled(lines=LINES, rules=PLAIN, **versions):
        detail = detail_of(lines)
        sums = total_up([(each, CATALOGUE.on(HOSPITAL, each.local_item_code, each.charge_date)) for each in lines],
                        detail.packed_lines, rules)  # fmt: skip
        claim = totals(visit_no=detail.visit_no, **sums._asdict())
        batch = submitted(claim, **versions)
        (answer,) = settle_submitted(center_engine, shelf, batch, frontend=FRONTEND, at=AT).answers
        assert not answer.refusal
        return detail

    return settled


@pytest.fixture
def receive(center_engine):
    def receive(*details, frontend=FRONTEND, fence=7, at=LATER):
        uploaded = DetailUploaded(fence=fence, catalogue_version=CATALOGUE_VERSION, claims=details)
        with center_engine.begin() as connection:
            received = receive_details(
                uploaded,
                frontend=frontend,
                connection=connection,
                catalogues=CatalogueShelf(),
                policies=PolicyShelf(),
                at=at,
            )
        return received.receipts

    return receive


def detail_of(lines, visit_no=None):
    packed = pack_lines(list(lines))
    total = sum(each.line_amount_fen for each in lines)
    return ClaimDetail(HOSPITAL, visit_no or f"D{next(_serials):08d}", 1, len(lines), total, packed)


def cases_of(engine, detail):
    return rows_of(
        engine,
        "SELECT kind, center_fen, frontend_fen, words FROM difference_case WHERE visit_no = :visit",
        visit=detail.visit_no,
    )


def kept(engine, detail):
    query = "SELECT lines FROM detail JOIN settlement USING (settlement_no) WHERE visit_no = :visit"
    return [bytes(lines) for (lines,) in rows_of(engine, query, visit=detail.visit_no)]


def test_the_lines_a_claim_was_settled_from_are_kept_once(center_engine, settled, receive):
    detail = settled()

    (receipt,) = receive(detail)
    assert receive(detail, detail) == (receipt, receipt)

    assert receipt.accepted
    assert (receipt.line_count, receipt.total_fen) == (len(LINES), detail.total_fen)
    assert receipt.digest == digest_of(detail.packed_lines)
    assert kept(center_engine, detail) == [detail.packed_lines]
    assert cases_of(center_engine, detail) == []


CHEAPER = (LINES[0]._replace(unit_price_1e4=124950, line_amount_fen=2499), *LINES[1:])
ANOTHER_CLASS = (LINES[0]._replace(local_item_code="L003"), *LINES[1:])
ANOTHER_NAME = (LINES[0]._replace(local_item_name="阿莫西林"), *LINES[1:])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (LINES[1:], "明细笔数不符：中心 4 笔，上传 3 笔"),
        (CHEAPER, "总金额不符：中心 84.83 元，上传 84.82 元"),
        (ANOTHER_CLASS, "全自费金额不符：中心 1.50 元，上传 26.50 元"),
        (ANOTHER_NAME, "明细摘要不符：笔数和各项金额相同，但不是结算时的明细"),
    ],
)
def test_other_lines_open_one_case_and_are_not_kept(center_engine, settled, receive, lines, words):
    good, neighbour = settled(), settled()
    bad = detail_of(lines, good.visit_no)

    receipts = receive(bad, neighbour)
    receive(bad, at=LATER + timedelta(minutes=1))

    assert [receipt.accepted for receipt in receipts] == [False, True]
    assert cases_of(center_engine, good) == [(Kind.DETAIL_MISMATCH, good.total_fen, bad.total_fen, words)]
    opened = "SELECT opened_at FROM difference_case WHERE visit_no = :visit"
    assert rows_of(center_engine, opened, visit=good.visit_no) == [(LATER,)]
    assert kept(center_engine, good) == []


@pytest.mark.parametrize(
    "packed", [b"", b"\xc1", b"\x90" * 9, b"\x91\x01", pack_lines([line(charge_date=None)]), b"\xdd\xff\xff\xff\xff"]
)
def test_lines_nobody_can_read_open_a_case(center_engine, settled, receive, packed):
    good = settled()

    (receipt,) = receive(good._replace(packed_lines=packed))

    assert not receipt.accepted
    assert cases_of(center_engine, good) == [(Kind.DETAIL_MISMATCH, good.total_fen, 0, "上传的明细无法读取")]


def test_a_head_that_is_not_of_its_lines_opens_a_case(center_engine, settled, receive):
    good = settled()

    (receipt,) = receive(good._replace(total_fen=good.total_fen + 1))

    assert not receipt.accepted
    assert len(cases_of(center_engine, good)) == 1


def test_detail_of_a_claim_the_centre_never_settled_opens_a_case(center_engine, shelf, receive):
    stray = detail_of(LINES)

    assert [receipt.accepted for receipt in receive(stray, stray)] == [False, False]

    assert cases_of(center_engine, stray) == [(Kind.DETAIL_UNKNOWN, 0, stray.total_fen, "中心无此结算，却收到其明细")]


@pytest.mark.parametrize("change", [{"visit_no": "X" * 17}, {"visit_no": "A\0"}, {"charge_batch_no": 2**40}])
def test_a_key_that_cannot_be_stored_is_not_accepted_and_disturbs_nobody(settled, receive, change):
    good = settled()

    receipts = receive(detail_of(LINES)._replace(**change), good)

    assert [receipt.accepted for receipt in receipts] == [False, True]


def test_another_front_ends_claim_is_not_accepted(center_engine, settled, receive):
    good = settled()

    assert not receive(good, frontend=OTHER_FRONTEND)[0].accepted
    assert not receive(good._replace(institution_code=CLINIC), frontend=OTHER_FRONTEND)[0].accepted

    assert kept(center_engine, good) == []
    assert cases_of(center_engine, good) == []


def test_the_catalogue_is_the_one_the_claim_was_settled_with(center_engine, settled, receive):
    good = settled()
    in_force = update(reference).where(reference.c.kind == "catalogue")
    with center_engine.begin() as connection:
        connection.execute(in_force.values(in_force=False))
    try:
        assert receive(good)[0].accepted
    finally:
        with center_engine.begin() as connection:
            connection.execute(in_force.values(in_force=True))


def test_a_catalogue_we_lost_is_our_fault_and_gets_no_receipt(center_engine, settled, receive, caplog):
    good = settled()
    with center_engine.begin() as connection:
        connection.execute(text("UPDATE reference SET version = 'lost' WHERE kind = 'catalogue'"))
    try:
        assert receive(good) == ()
    finally:
        with center_engine.begin() as connection:
            connection.execute(
                text("UPDATE reference SET version = :v WHERE kind = 'catalogue'"), {"v": CATALOGUE_VERSION}
            )

    assert "catalogue_missing" in caplog.text
    assert cases_of(center_engine, good) == []


@pytest.mark.parametrize(
    ("fence", "at"),
    [
        pytest.param(4, LATER, id="the opening before"),
        pytest.param(8, LATER, id="a slice nobody granted"),
        pytest.param(7, LATER + timedelta(hours=1), id="the window has closed"),
    ],
)
def test_a_slice_that_is_over_is_refused_and_nothing_is_kept(center_engine, settled, receive, fence, at):
    detail = settled()

    with pytest.raises(StaleSlice):
        receive(detail, fence=fence, at=at)

    assert kept(center_engine, detail) == []


def test_what_was_sent_late_in_a_slice_may_arrive_in_the_next(settled, receive):
    assert receive(settled(), fence=5)[0].accepted


def test_lines_are_counted_against_the_slice(center_engine, settled, receive):
    count_lines = "SELECT lines_received FROM upload_grant WHERE frontend = :frontend"
    (before,) = rows_of(center_engine, count_lines, frontend=FRONTEND)

    receive(settled(), settled())

    (after,) = rows_of(center_engine, count_lines, frontend=FRONTEND)
    assert after[0] - before[0] == 2 * len(LINES)


def test_lines_are_split_as_the_policy_says_that_the_claim_was_settled_with(center_engine, settled, receive):
    split = '{ kind = "line_split", scheme = "any", over_limit = "own_expense", from = 2020-01-01, src = "TEST" },'
    row = policy_row(f"{POLICY.rstrip().removesuffix(']')}  {split}\n]")
    of_policy = reference.c.kind == "policy"
    with center_engine.begin() as connection:
        connection.execute(update(reference).where(of_policy).values(in_force=False))
        connection.execute(insert(reference), [row])
    try:
        detail = settled(rules=LineRules(over_limit_is_own=True), policy_version=row["version"])
    finally:
        with center_engine.begin() as connection:
            is_row = reference.c.version == row["version"]
            connection.execute(update(reference).where(of_policy).values(in_force=~is_row))

    (receipt,) = receive(detail)

    assert receipt.accepted
    assert cases_of(center_engine, detail) == []


# ── A chunk as a whole ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"line_count": 3}, id="count"),
        pytest.param({"total_fen": 1}, id="sum"),
        pytest.param({"digest": bytes(16)}, id="digest"),
    ],
)
def test_a_chunk_that_is_not_what_it_says_is_answered_in_kind_and_nothing_else(center_engine, settled, change):
    detail = settled()
    came = sums_of(9, (detail,))

    def receive_chunk(said):
        uploaded = DetailUploaded(fence=7, catalogue_version=CATALOGUE_VERSION, claims=(detail,), chunk=(said,))
        with center_engine.begin() as connection:
            return receive_details(
                uploaded, frontend=FRONTEND, connection=connection, catalogues=CatalogueShelf(),
                policies=PolicyShelf(), at=LATER, size=321,
            )  # fmt: skip

    received = receive_chunk(came._replace(**change))
    assert (received.receipts, received.chunk) == ((), (came,))
    stored = "SELECT count(*) FROM detail d JOIN settlement s USING (settlement_no) WHERE s.visit_no = :visit"
    assert rows_of(center_engine, stored, visit=detail.visit_no) == [(0,)]

    received = receive_chunk(came)
    assert [receipt.accepted for receipt in received.receipts] == [True]
    assert received.chunk == (came,)
    assert rows_of(center_engine, stored, visit=detail.visit_no) == [(1,)]
