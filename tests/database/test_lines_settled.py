"""The centralized way at the centre: lines are checked, settled and kept at once; a copy is answered as the first."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import insert, update

import center.tables
from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, check_new
from center.outcomes.decide import decide
from center.outcomes.prepare_lines import prepare_lines
from center.policy.shelf import PolicyShelf
from center.settling.lines import Published, settle_lines
from center.settling.settle import settle_submitted
from domain.checks import MAX_LINE_NO
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimLines, FailedLine, LinesSubmitted, OutcomeDecided, OutcomeDecision
from domain.outcomes import OutcomeState
from domain.refusals import Refusal
from domain.totals import digest_of
from domain.visit import pack_lines
from infra.reference import catalogue_row
from tests.support.center import AT, FRONTEND, OTHER_FRONTEND, SUSPENDED, fill_center, first, rows_of, submitted
from tests.support.frontend import DAY, HOSPITAL, ITEMS, LINES, line, totals_of
from tests.support.frontend import published as catalogue

_serials = count(1)
HOLD = timedelta(minutes=5)


@pytest.fixture(scope="module")
def published(center_engine):
    return Published(fill_center(center_engine, persons=60), CatalogueShelf())


def claim(*lines, person=None, **change):
    """A claim of a visit of its own with these lines, or with one of every kind."""
    serial = next(_serials)
    packed = pack_lines(list(lines or LINES))
    good = ClaimLines(
        institution_code=HOSPITAL,
        visit_no=f"L00001260302{serial:04d}",
        charge_batch_no=1,
        citizen_id_no=person or synthetic_citizen_id(serial % 60),
        visit_type="3",
        visit_date=DAY,
        line_count=len(lines or LINES),
        total_fen=sum(each.line_amount_fen or 0 for each in lines or LINES),
        digest=digest_of(packed),
        packed_lines=packed,
    )
    return good._replace(**change)


def settle(engine, published, *claims, frontend=FRONTEND, at=AT):
    sent = LinesSubmitted(prepare=False, claims=claims)
    return settle_lines(engine, published, sent, frontend=frontend, at=at).answers


def detail_of(engine, visit_no):
    return rows_of(
        engine, "SELECT d.line_count, d.total_fen, d.lines FROM detail d JOIN settlement USING (settlement_no)"
        " WHERE visit_no = :visit", visit=visit_no,
    )  # fmt: skip


def dearer(version):
    """The catalogue with a lower price limit."""
    items = (*ITEMS[:3], ITEMS[3]._replace(price_limit_1e4=10000))
    return replace(catalogue([HOSPITAL], version), items=items)


def by_category(version):
    """The catalogue with another first share for pensioners."""
    items = (ITEMS[0], ITEMS[1]._replace(group_ratios=(("2", 500),)), *ITEMS[2:])
    return replace(catalogue([HOSPITAL], version), items=items)


@contextmanager
def in_force(engine, published):
    """Let this catalogue be in force for a while."""
    table = center.tables.reference
    of_kind = table.c.kind == "catalogue"
    with engine.begin() as connection:
        connection.execute(update(table).where(of_kind).values(in_force=False))
        connection.execute(insert(table), [catalogue_row(published)])
    yield
    with engine.begin() as connection:
        connection.execute(update(table).where(of_kind).values(in_force=table.c.version != published.version))


def test_lines_are_split_as_at_a_front_end_and_kept_with_the_settlement(center_engine, published):
    sent = claim()

    (answer,) = settle(center_engine, published, sent)

    expected = totals_of(HOSPITAL, sent.visit_no)
    assert answer.refusal == ""
    assert answer.split[:5] == (*expected[7:11], expected.groups)
    assert answer.split.catalogue_version == "catalogue-1"
    assert detail_of(center_engine, sent.visit_no) == [(4, sent.total_fen, sent.packed_lines)]
    report = check_new(center_engine, Shelves(CatalogueShelf(), PolicyShelf()), holder="test", at=AT, now=1.0)
    assert report.findings == []


def test_a_copy_is_answered_byte_for_byte_also_when_another_catalogue_is_in_force(center_engine, published):
    sent = claim()
    told = settle(center_engine, published, sent)

    with in_force(center_engine, dearer("catalogue-2")):
        again = settle(center_engine, published, sent)
        (other,) = settle(center_engine, published, claim())

    assert again == told
    assert other.split.over_limit_fen != told[0].split.over_limit_fen
    assert len(detail_of(center_engine, sent.visit_no)) == 1


def test_the_same_claim_may_come_once_as_totals_and_once_with_its_lines(center_engine, published):
    sent = claim()
    totals = totals_of(HOSPITAL, sent.visit_no)._replace(citizen_id_no=sent.citizen_id_no)
    batch = submitted(totals)

    first_told = settle_submitted(center_engine, published.references, batch, frontend=FRONTEND, at=AT).answers
    again = settle(center_engine, published, sent)

    assert again == first_told
    assert detail_of(center_engine, sent.visit_no) == [], "its detail is still to be uploaded"


def test_failed_lines_go_back_with_every_code_and_a_copy_gets_the_same(center_engine, published):
    person = synthetic_citizen_id(SUSPENDED)
    bad = claim(line(1), line(2, line_amount_fen=2501), line(2, local_item_code="L999"), person=person)
    good = claim()

    answers = settle(center_engine, published, bad, good)
    again = settle(center_engine, published, bad)

    assert [answer.refusal for answer in answers] == [Refusal.LINES_FAILED, ""]
    assert answers[0].failed == (FailedLine(1, ("14",)), FailedLine(2, ("94", "06")))
    assert answers[0].detail == "费用明细有 2 笔未通过效验，退回更正"
    assert again == answers[:1]


def test_what_failed_stays_the_answer_of_its_submission_and_a_later_one_is_decided_anew(center_engine, published):
    early = claim(line(1, charge_date=DAY + timedelta(days=1)))
    assert settle(center_engine, published, early)[0].failed == (FailedLine(0, ("95",)),)

    tomorrow = AT + timedelta(days=1)
    assert settle(center_engine, published, early, at=tomorrow)[0].failed == (FailedLine(0, ("95",)),)
    assert settle(center_engine, published, early._replace(submission=1), at=tomorrow)[0].refusal == ""
    assert settle(center_engine, published, early, at=tomorrow)[0].refusal == "", "it is settled, whoever asks"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"digest": bytes(16)}, "明细摘要与所附明细不符", id="another digest"),
        pytest.param(
            {"packed_lines": b"\xc1", "digest": digest_of(b"\xc1")}, "所附费用明细无法读取", id="no lines at all"
        ),
        pytest.param({"line_count": 5}, "明细笔数 5，所附明细 4 笔", id="a line is missing"),
        pytest.param({"total_fen": 1}, "总金额 0.01 元，所附明细合计 84.83 元", id="another sum"),
        pytest.param({"visit_type": "9"}, "就诊类别", id="no visit of ours"),
        pytest.param({"digest": b"short"}, "明细摘要", id="no digest"),
    ],
)
def test_lines_that_are_not_those_of_their_head_are_refused_and_nothing_is_kept(
    center_engine, published, change, words
):
    bad, good = claim(**change), claim()

    refused, settled = settle(center_engine, published, bad, good)

    assert (refused.refusal, refused.detail) == (Refusal.MALFORMED, f"申请内容不合接口规范：{words}")
    assert settled.refusal == ""
    assert detail_of(center_engine, bad.visit_no) == []


def test_more_lines_than_there_are_numbers_for_are_refused(center_engine, published):
    packed = pack_lines([line(1)] * (MAX_LINE_NO + 1))
    (refused,) = settle(
        center_engine, published, claim(packed_lines=packed, digest=digest_of(packed), line_count=MAX_LINE_NO + 1)
    )
    assert refused.detail == "申请内容不合接口规范：费用明细 100000 笔，多于一笔费用可有的 99999 笔"


def test_a_claim_of_another_front_end_is_refused_before_its_lines_are_told_of(center_engine, published):
    (refused,) = settle(center_engine, published, claim(line(1, line_amount_fen=1)), frontend=OTHER_FRONTEND)
    assert (refused.refusal, refused.failed) == (Refusal.NOT_SERVED, ())


def test_prepared_lines_are_kept_until_they_are_confirmed_and_are_detail_then(center_engine, published):
    sent, bad = claim(), claim(line(1, line_amount_fen=1))
    prepared = LinesSubmitted(prepare=True, claims=(sent, bad))
    asked = {"frontend": FRONTEND, "at": AT, "interval": HOLD}

    told = prepare_lines(center_engine, published, prepared, **asked)
    assert prepare_lines(center_engine, published, prepared, **asked) == told
    assert detail_of(center_engine, sent.visit_no) == []
    key = sent.institution_code, sent.visit_no, sent.charge_batch_no
    confirmed = decide(
        center_engine, OutcomeDecided(decisions=(OutcomeDecision(*key, True),)), frontend=FRONTEND, at=AT
    ).outcomes[0]

    assert [each.state for each in told.outcomes] == [OutcomeState.PREPARED, OutcomeState.REFUSED]
    assert told.outcomes[1].answer.failed == (FailedLine(0, ("14",)),)
    assert replace_no(confirmed.answer) == replace_no(told.outcomes[0].answer)
    assert detail_of(center_engine, sent.visit_no) == [(4, sent.total_fen, sent.packed_lines)]


def replace_no(answer):
    return answer._replace(settlement_no=0, settled_at=None)


def test_a_person_who_changed_since_the_first_look_has_the_lines_split_again(center_engine, published, monkeypatch):
    from center.settling import lines

    sent, looked = claim(), []
    take = lines.take

    def late(cursor, claims, reading):
        taken = take(cursor, claims, reading)
        if not looked:
            looked.append(1)
            with center_engine.begin() as connection:
                connection.execute(
                    update(center.tables.person)
                    .where(center.tables.person.c.citizen_id_no == sent.citizen_id_no).values(category="2")
                )  # fmt: skip
        return taken

    monkeypatch.setattr(lines, "take", late)
    with in_force(center_engine, by_category("catalogue-3")):
        (answer,) = settle(center_engine, published, sent)
    assert (answer.refusal, answer.category) == ("", "2")
    assert answer.split.pre_self_pay_fen == 167, "five per cent of 33.33, as a pensioner pays"


def test_every_settlement_of_this_module_has_its_detail_unless_it_came_as_totals(center_engine):
    missing = first(
        rows_of(center_engine, "SELECT count(*) FROM settlement s WHERE kind = 'normal' AND NOT EXISTS"
                " (SELECT FROM detail d WHERE d.settlement_no = s.settlement_no)")
    )  # fmt: skip
    assert missing == 1
