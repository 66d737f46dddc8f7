"""A frozen flow through front-end and centre: the claim is kept, says why, and settles by itself after the release."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from center.approving.decisions import approve
from center.conservation.actions import propose_release
from domain.identity import synthetic_citizen_id
from domain.outcomes import Phase
from domain.visit import VisitType
from tests.support.books import Books
from tests.support.center import fill_center, totals
from tests.support.frontend import HOSPITAL, new_frontend, submission
from tests.support.line import Line
from workers import intake
from workers.claims import show
from workers.outcomes import decide

SERIALS = itertools.count()


@pytest.fixture
def line(tmp_path, center_engine, center_database_url):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL)
    line = Line(tmp_path, engine, center_database_url)
    yield line
    line.close()
    engine.dispose()


def hand_in(line, visit_type=VisitType.OUTPATIENT, **change):
    """The number of a claim of a person of its own."""
    serial = next(SERIALS)
    one = submission(
        HOSPITAL, f"key-{serial}", person=synthetic_citizen_id(serial), visit_no=f"V{serial:06d}", **change
    )
    one = replace(one, visit=replace(one.visit, visit_type=visit_type))
    (accepted,) = intake.accept(line.engine, [one], at=line.clock.now())
    return f"{accepted.visit_no}-{accepted.charge_batch_no}"


def seen(line, number):
    with line.engine.connect() as connection:
        view = show(connection, HOSPITAL, number)
    return str(view.state), view.waits_for


def test_a_claim_of_a_frozen_flow_is_kept_and_settles_by_itself_after_the_release(line, center_engine, owner_engine):
    books = Books(center_engine, owner_engine, fill_center(center_engine, persons=400, balance_fen=3000))
    at = line.clock.now()
    books.settle(totals(7_000, citizen_id_no=synthetic_citizen_id(399)), at=at)
    prepared = hand_in(line, phase=Phase.PREPARE)
    line.ring()
    assert seen(line, prepared) == ("prepared", "")
    change = "UPDATE day_sum SET total_fen = total_fen {} 1 WHERE clearing_type = '11'"
    books.break_it(change.format("+"), change.format("-"), {})
    assert not books.check(at=at).holds

    held, pharmacy = hand_in(line), hand_in(line, visit_type=VisitType.PHARMACY)
    new = hand_in(line, phase=Phase.PREPARE)
    line.ring()

    assert seen(line, held) == seen(line, new) == ("totalled", "frozen")
    assert seen(line, pharmacy) == ("settled", "")
    assert books.rows("SELECT count(*) FROM parked") == [(0,)]
    assert isinstance(decide.confirm(line.engine, HOSPITAL, prepared, at=line.clock.now()), decide.Decided)
    line.ring()
    line.let_pass(30)
    assert seen(line, prepared) == ("settled", "")  # it was computed before the freeze, and the hospital has booked it
    assert seen(line, held) == ("totalled", "frozen")

    books.mend_only()
    ((number,),) = books.rows("SELECT min(freeze_no) FROM frozen_flow")
    with center_engine.begin() as connection:
        proposal = propose_release(connection, number, by="王核算", reason="已恢复", at=at)
    approve(center_engine, proposal, by="李科长", at=at)
    line.let_pass(120)

    assert seen(line, held) == ("settled", "")
    assert seen(line, new) == ("prepared", "")
    assert books.check_all(at=at).findings == []
