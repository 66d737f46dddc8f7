"""Detail upload: oldest first, within the slice, resumable anywhere; due until the centre's receipt is recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from domain.chunks import sums_of
from domain.messages import (
    ClaimAnswer,
    ClaimsAnswered,
    DetailReceipt,
    DetailReceived,
    UploadGranted,
    UploadShare,
)
from domain.totals import digest_of
from domain.visit import pack_lines, unpack_lines
from infra.codec import encode
from infra.database import open_database
from tests.support.frontend import CLINIC, HOSPITAL, LINES, NOON, hand_in, new_frontend, rows, shelf
from workers import chunks, deliver, desk, upload
from workers.chunks import CLAIMS_PER_CHUNK
from workers.detail_states import DETAIL_DUE
from workers.tables import claim, upload_chunk
from workers.upload import CHUNKS_UNDER_WAY, RESEND_AFTER_SECONDS, Link, Slice

START = 1_000_000.0
CUT_OFF = NOON + timedelta(minutes=5)


class Killed(Exception):
    """The process is gone."""


class Centre:
    """What a slice meets: a clock that only the test moves, and a centre that keeps what it is sent and answers it."""

    def __init__(self, engine):
        self.engine = engine
        self.seconds = START
        self.moment = NOON
        self.chunks = []
        self.unanswered = []
        self.broken_after = None
        self.dies_after = None
        self.link = Link(seal=encode, post=self.post, now=lambda: self.moment, seconds=lambda: self.seconds)

    def post(self, chunk, envelope):
        if self.dies_after is not None and len(self.chunks) >= self.dies_after:
            raise Killed
        if self.broken_after is not None and len(self.chunks) >= self.broken_after:
            return False
        self.chunks.append(chunk)
        self.unanswered.append(chunk)
        return True

    def use(self, lines=1_000_000, cut_off=CUT_OFF, fence=1, size=0, shares=()):
        """Grant a slice; what is sent at once."""
        granted = UploadGranted(window="noon", fence=fence, lines=lines, cut_off=cut_off, bytes=size, shares=shares)
        return upload.upload(self.engine, granted, self.link)

    def answer(self, accepted=True):
        """Answer the oldest chunk, and let the front-end go on."""
        chunk = self.unanswered.pop(0)
        receipts = tuple(
            DetailReceipt(each.visit_no, 1, accepted, each.line_count, each.total_fen, digest_of(each.packed_lines))
            for each in chunk.claims
        )
        self.hear(DetailReceived(receipts=receipts, chunk=chunk.chunk))
        return upload.go_on(self.engine, self.link)

    def hear(self, received):
        with self.engine.begin() as connection:
            return upload.confirm(connection, received)

    def use_all(self, **granted):
        """Grant a slice and answer whatever comes."""
        total = self.use(**granted)
        while self.unanswered:
            total = upload._together(total, self.answer())
        return total

    @property
    def visits(self):
        return [detail.visit_no for chunk in self.chunks for detail in chunk.claims]


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


@pytest.fixture
def centre(engine):
    return Centre(engine)


@pytest.fixture
def two_a_chunk(monkeypatch):
    monkeypatch.setattr(chunks, "CLAIMS_PER_CHUNK", 2)


def settle(engine, count, prefix="key", code=HOSPITAL, at=NOON):
    hand_in(engine, code, count, prefix=prefix)
    turn = desk.preprocess(engine, shelf(), code, limit=1000, at=NOON, now=1.0)
    answers = tuple(ClaimAnswer(row.visit_no, 1, settlement_no=1, settled_at=at) for row in turn.totals)
    with engine.begin() as connection:
        deliver.record_answers(connection, ClaimsAnswered(answers=answers), at=at)
    return [row.visit_no for row in turn.totals]


def test_the_lines_travel_in_the_very_bytes_their_digest_was_taken_over(engine, centre):
    [visit_no] = settle(engine, 1)

    assert centre.use(fence=7) == Slice(claims=1, lines=4, bytes=len(encode(centre.chunks[0])))

    [chunk] = centre.chunks
    [detail] = chunk.claims
    assert (chunk.fence, chunk.catalogue_version) == (7, "catalogue-1")
    assert (detail.institution_code, detail.visit_no, detail.charge_batch_no) == (HOSPITAL, visit_no, 1)
    assert (detail.line_count, detail.total_fen) == (4, sum(line.line_amount_fen for line in LINES))
    assert unpack_lines(detail.packed_lines) == list(LINES)
    assert digest_of(detail.packed_lines) == digest_of(pack_lines(list(LINES)))
    assert chunk.chunk == (sums_of(1, chunk.claims),)


# ── A slice's budget ──────────────────────────────────────────────────────────────────────────────────────


def test_oldest_first_in_bounded_chunks(engine, centre):
    visits = settle(engine, CLAIMS_PER_CHUNK + 50)

    centre.use()

    assert centre.visits == visits
    assert [len(chunk.claims) for chunk in centre.chunks] == [CLAIMS_PER_CHUNK, 50]


def test_what_was_settled_first_is_due_first(engine, centre):
    later = settle(engine, 1, at=NOON)
    earlier = settle(engine, 1, prefix="early", at=NOON - timedelta(hours=3))

    centre.use()

    assert centre.visits == earlier + later


def test_a_chunk_is_bounded_in_bytes_too(engine, centre, monkeypatch):
    settle(engine, 10)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 3 * len(pack_lines(list(LINES))))

    centre.use_all()

    assert [len(chunk.claims) for chunk in centre.chunks] == [3, 3, 3, 1]


def test_a_slice_stops_when_its_lines_are_used_up_and_the_next_one_goes_on(engine, centre):
    visits = settle(engine, 10)

    assert centre.use_all(lines=12).lines == 12
    assert centre.use_all(lines=7, fence=2).lines == 4, "a claim is not cut in two"
    assert centre.use_all(lines=1, fence=3).lines == 4, "one at least makes progress"
    centre.use_all(fence=4)

    assert centre.visits == visits


def test_a_slice_stops_when_its_bytes_are_used_up(engine, centre):
    visits = settle(engine, 40)
    centre.use(lines=4)
    alone = len(encode(centre.chunks[0]))

    sent = centre.use_all(size=6 * alone, fence=2)

    assert 1 < sent.claims < 39
    assert sum(len(encode(chunk)) for chunk in centre.chunks[1:]) <= 6 * alone
    assert centre.use_all(size=10, fence=3).claims == 1, "one at least makes progress"
    centre.use_all(fence=4)
    assert sorted(centre.visits) == sorted(visits)


def test_institutions_have_their_shares_and_what_one_leaves_is_the_others(engine, centre):
    settle(engine, 20)
    settle(engine, 3, prefix="clinic", code=CLINIC, at=NOON + timedelta(hours=1))
    shares = (UploadShare(HOSPITAL, 24), UploadShare(CLINIC, 16))

    centre.use_all(lines=40, shares=shares)

    of = [detail.institution_code for chunk in centre.chunks for detail in chunk.claims]
    assert (of.count(HOSPITAL), of.count(CLINIC)) == (7, 3), "six of its own, and one the clinic left"


def test_a_grant_again_does_not_begin_the_slice_anew(engine, centre):
    settle(engine, 10)
    assert centre.use(lines=8).lines == 8
    assert centre.use(lines=8) == Slice()


# ── No more under way than the centre keeps up with ───────────────────────────────────────────────────────


def test_the_next_chunk_waits_for_an_answer(engine, centre, two_a_chunk):
    visits = settle(engine, 10)

    assert centre.use().claims == 2 * CHUNKS_UNDER_WAY
    assert upload.go_on(engine, centre.link) == Slice()
    assert centre.answer().claims == 2
    while centre.unanswered:
        centre.answer()

    assert centre.visits == visits
    assert [chunk.chunk[0].chunk_no for chunk in centre.chunks] == [1, 2, 3, 4, 5]


def test_a_slice_stops_at_its_cut_off_in_the_middle(engine, centre, two_a_chunk):
    visits = settle(engine, 9)

    assert centre.use().claims == 4
    centre.moment += timedelta(minutes=4)
    assert centre.answer().claims == 2
    centre.moment += timedelta(minutes=1)
    assert centre.answer() == Slice(), "nothing starts after it"
    while centre.unanswered:
        assert centre.answer() == Slice()

    centre.use_all(cut_off=centre.moment + timedelta(minutes=1), fence=2)
    assert centre.visits == visits, "nothing lost, nothing twice"


def test_a_slice_stops_when_the_broker_is_away_and_nothing_counts_as_sent(engine, centre, two_a_chunk):
    visits = settle(engine, 6)
    centre.broken_after = 1

    assert centre.use().claims == 2

    centre.broken_after = None
    centre.answer()
    while centre.unanswered:
        centre.answer()
    assert centre.visits == visits


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_link_that_was_killed_goes_on_where_it_was(engine, centre, two_a_chunk, kept):
    """Killed in the middle of a chunk: the chunks sent before it stay under way, the slice what it was."""
    visits = settle(engine, 8)
    centre.dies_after = kept
    with pytest.raises(Killed):
        centre.use(lines=24)
        while centre.unanswered:
            centre.answer()

    centre.dies_after = None
    again = open_database(str(engine.url))
    centre.engine = again
    centre.use(lines=24)
    while centre.unanswered:
        centre.answer()
    assert centre.visits == visits[:6], "not a line more than was granted"
    centre.use_all(fence=2)
    assert centre.visits == visits
    again.dispose()


def test_killed_between_sending_and_noting_a_chunk_is_sent_again(engine, centre, two_a_chunk, monkeypatch):
    visits = settle(engine, 2)

    def dies(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(upload, "_record", dies)
        with pytest.raises(Killed):
            centre.use()

    centre.use()
    assert centre.visits == visits * 2
    for _ in range(2):
        centre.answer()
    assert centre.use_all(fence=2) == Slice()


# ── Answered in kind ──────────────────────────────────────────────────────────────────────────────────────


def test_detail_without_a_receipt_is_due_again_after_a_while_and_with_one_never(engine, centre):
    settle(engine, 1)
    centre.use()
    centre.unanswered.clear()

    centre.seconds += RESEND_AFTER_SECONDS - 1
    assert centre.use(fence=2).claims == 0
    centre.seconds += 2
    assert centre.use(fence=3).claims == 1
    centre.answer()
    centre.seconds += 1000
    assert centre.use(fence=4) == Slice()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"line_count": 5}, id="count"),
        pytest.param({"total_fen": 1}, id="sum"),
        pytest.param({"digest": bytes(16)}, id="digest"),
    ],
)
def test_a_chunk_that_came_otherwise_than_it_was_sent_stays_due(engine, centre, change, caplog):
    [visit_no] = settle(engine, 1)
    centre.use()
    [came] = centre.chunks[0].chunk
    receipt = DetailReceipt(visit_no, 1, True, 4, 0, b"")

    assert centre.hear(DetailReceived(receipts=(receipt,), chunk=(came._replace(**change),))) == 0

    assert "chunk_answered_differently" in [record.message for record in caplog.records]
    assert rows(engine, claim.c.detail_state)[0].detail_state == DETAIL_DUE
    centre.seconds += RESEND_AFTER_SECONDS + 1
    assert centre.use(fence=2).claims == 1


def test_a_centre_of_an_earlier_release_answers_claim_by_claim(engine, centre):
    visit_no, _ = settle(engine, 2)
    centre.use()
    assert centre.hear(DetailReceived(receipts=(DetailReceipt(visit_no, 1, True, 4, 0, b""),))) == 1


def test_a_mismatch_is_not_sent_again_by_itself(engine, centre):
    settle(engine, 1)
    centre.use()
    centre.answer(accepted=False)

    centre.seconds += 1000

    assert centre.use(fence=2) == Slice()


def test_a_chunk_carries_one_catalogue_version(engine, centre):
    settle(engine, 5)
    with engine.begin() as connection:
        connection.execute(update(claim).where(claim.c.claim_id == 3).values(catalogue_version="catalogue-0"))

    centre.use_all()

    carried = [(chunk.catalogue_version, len(chunk.claims)) for chunk in centre.chunks]
    assert carried == [("catalogue-1", 2), ("catalogue-0", 1), ("catalogue-1", 2)]


def test_only_settled_claims_are_uploaded(engine, centre):
    settle(engine, 1)
    hand_in(engine, HOSPITAL, 1, prefix="new")
    hand_in(engine, HOSPITAL, 1, prefix="held", settle_now=False)

    assert centre.use().claims == 1


def test_sending_detail_moves_no_money(engine, centre):
    settle(engine, 3)
    before = [row._asdict() for row in rows(engine, claim)]

    centre.use()

    after = [row._asdict() for row in rows(engine, claim)]
    assert [{**row, "rung_at": 0} for row in after] == before


def test_chunks_nobody_answered_do_not_pile_up(engine, centre):
    with engine.begin() as connection:
        old = {"claims": 1, "line_count": 1, "total_fen": 1, "digest": bytes(16), "sent_at": START - 31}
        connection.execute(insert(upload_chunk), [{"chunk_no": number, **old} for number in range(1, 5)])

    centre.use()

    with engine.connect() as connection:
        assert connection.execute(select(upload_chunk)).all() == []
