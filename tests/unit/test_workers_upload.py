"""Detail upload: oldest first, within the slice, resumable anywhere; due until the centre's receipt is recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from domain.messages import ClaimAnswer, ClaimsAnswered, DetailReceipt, DetailReceived, UploadGranted
from domain.totals import digest_of
from domain.visit import pack_lines, unpack_lines
from tests.support.frontend import HOSPITAL, LINES, NOON, hand_in, new_frontend, rows, shelf
from workers import deliver, desk, upload
from workers.tables import claim
from workers.upload import CLAIMS_PER_CHUNK, RESEND_AFTER_SECONDS, Slice

START = 1_000_000.0
CUT_OFF = NOON + timedelta(minutes=5)


class Slot:
    """A slice's surroundings: a clock that only the test moves, and a centre that keeps what it is sent."""

    def __init__(self, engine):
        self.engine = engine
        self.seconds = START
        self.moment = NOON
        self.chunks = []
        self.broken_after = None

    def send(self, chunk):
        if self.broken_after is not None and len(self.chunks) >= self.broken_after:
            return False
        self.chunks.append(chunk)
        return True

    def use(self, lines=1_000_000, cut_off=CUT_OFF, fence=1):
        granted = UploadGranted(window="noon", fence=fence, lines=lines, cut_off=cut_off)
        return upload.upload(
            self.engine, granted, send=self.send, now=lambda: self.moment, seconds=lambda: self.seconds
        )

    @property
    def visits(self):
        return [detail.visit_no for chunk in self.chunks for detail in chunk.claims]


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


@pytest.fixture
def slot(engine):
    return Slot(engine)


def settle(engine, count, prefix="key"):
    hand_in(engine, HOSPITAL, count, prefix=prefix)
    turn = desk.preprocess(engine, shelf(), HOSPITAL, limit=1000, at=NOON, now=1.0)
    answers = tuple(ClaimAnswer(row.visit_no, 1, settlement_no=1, settled_at=NOON) for row in turn.totals)
    with engine.begin() as connection:
        deliver.record_answers(connection, ClaimsAnswered(answers=answers), at=NOON)
    return [row.visit_no for row in turn.totals]


def receive(engine, *visits, accepted=True):
    with engine.begin() as connection:
        receipts = tuple(DetailReceipt(visit_no, 1, accepted, 4, 0, b"") for visit_no in visits)
        deliver.record_receipts(connection, DetailReceived(receipts=receipts))


def test_the_lines_travel_in_the_very_bytes_their_digest_was_taken_over(engine, slot):
    [visit_no] = settle(engine, 1)

    assert slot.use(fence=7) == Slice(claims=1, lines=4)

    [chunk] = slot.chunks
    [detail] = chunk.claims
    assert (chunk.fence, chunk.catalogue_version) == (7, "catalogue-1")
    assert (detail.institution_code, detail.visit_no, detail.charge_batch_no) == (HOSPITAL, visit_no, 1)
    assert (detail.line_count, detail.total_fen) == (4, sum(line.line_amount_fen for line in LINES))
    assert unpack_lines(detail.packed_lines) == list(LINES)
    assert digest_of(detail.packed_lines) == digest_of(pack_lines(list(LINES)))


def test_oldest_first_in_bounded_chunks(engine, slot):
    visits = settle(engine, CLAIMS_PER_CHUNK + 50)

    slot.use()

    assert slot.visits == visits
    assert [len(chunk.claims) for chunk in slot.chunks] == [CLAIMS_PER_CHUNK, 50]


def test_a_chunk_is_bounded_in_bytes_too(engine, slot, monkeypatch):
    settle(engine, 10)
    monkeypatch.setattr(upload, "CHUNK_BYTES", 3 * len(pack_lines(list(LINES))))

    slot.use()

    assert [len(chunk.claims) for chunk in slot.chunks] == [3, 3, 3, 1]


def test_a_slice_stops_when_its_lines_are_used_up_and_the_next_one_goes_on(engine, slot):
    visits = settle(engine, 10)

    assert slot.use(lines=12) == Slice(claims=3, lines=12)
    assert slot.use(lines=7) == Slice(claims=2, lines=8), "a claim is not cut in two; one at least makes progress"
    assert slot.use(lines=1) == Slice(claims=1, lines=4)
    slot.use()

    assert slot.visits == visits


def test_a_slice_stops_at_its_cut_off_in_the_middle(engine, slot, monkeypatch):
    visits = settle(engine, 9)
    monkeypatch.setattr(upload, "CLAIMS_PER_CHUNK", 2)
    send = slot.send

    def slow(chunk):
        slot.moment += timedelta(minutes=2)
        return send(chunk)

    slot.send = slow
    assert slot.use().claims == 6, "the third chunk starts before the cut-off"
    assert slot.use().claims == 0, "nothing starts after it"

    slot.send = send
    slot.use(cut_off=slot.moment + timedelta(minutes=1))
    assert slot.visits == visits


def test_a_slice_stops_when_the_broker_is_away_and_nothing_counts_as_sent(engine, slot, monkeypatch):
    visits = settle(engine, 6)
    monkeypatch.setattr(upload, "CLAIMS_PER_CHUNK", 2)
    slot.broken_after = 1

    assert slot.use() == Slice(claims=2, lines=8)

    slot.broken_after = None
    assert slot.use().claims == 4
    assert slot.visits == visits


def test_detail_without_a_receipt_is_due_again_after_a_while_and_with_one_never(engine, slot):
    first, second = settle(engine, 2)
    slot.use()
    receive(engine, first)

    slot.seconds += RESEND_AFTER_SECONDS
    assert slot.use().claims == 0
    slot.seconds += 1
    assert slot.use().claims == 1
    assert slot.visits == [first, second, second]
    receive(engine, second)
    slot.seconds += 1000
    assert slot.use() == Slice(0, 0)


def test_a_mismatch_is_not_sent_again_by_itself(engine, slot):
    [visit_no] = settle(engine, 1)
    slot.use()
    receive(engine, visit_no, accepted=False)

    slot.seconds += 1000

    assert slot.use() == Slice(0, 0)


def test_a_chunk_carries_one_catalogue_version(engine, slot):
    settle(engine, 5)
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.claim_id == 3).values(catalogue_version="catalogue-0"))

    slot.use()

    carried = [(chunk.catalogue_version, len(chunk.claims)) for chunk in slot.chunks]
    assert carried == [("catalogue-1", 2), ("catalogue-0", 1), ("catalogue-1", 2)]


def test_only_settled_claims_are_uploaded(engine, slot):
    settle(engine, 1)
    hand_in(engine, HOSPITAL, 1, prefix="new")
    hand_in(engine, HOSPITAL, 1, prefix="held", settle_now=False)

    assert slot.use().claims == 1


def test_sending_detail_moves_no_money(engine, slot):
    settle(engine, 3)
    before = [row._asdict() for row in rows(engine, claim)]

    slot.use()

    after = [row._asdict() for row in rows(engine, claim)]
    assert [{**row, "rung_at": 0} for row in after] == before
