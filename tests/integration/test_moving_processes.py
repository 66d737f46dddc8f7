"""An institution moves during a stream of claims, with real processes, and its link is killed in the middle of it."""

from __future__ import annotations

import time

from sqlalchemy import insert, select, text, update

from center.serving import beginning
from center.tables import upload_window
from domain.identity import synthetic_citizen_id
from infra.clock import Clock
from infra.reference import catalogue_row
from tests.support.center import FRONTEND, OTHER_FRONTEND, fill_center
from tests.support.frontend import CLINIC, HOSPITAL, NOON, published, short_code, submission
from tests.support.moving_processes import QUICK, book_of, heard, settled, state
from tests.support.site import site
from tests.support.uploading import WIDE
from tests.support.visits import charge, deliver, delivery, registered, registration
from tests.support.waiting import eventually
from workers import intake, visits
from workers.doorbell import Doorbell
from workers.tables import reference, visit

CLAIMS_BEFORE, CLAIMS_AFTER = 40, 10


def hand_in(place, number):
    """What the door says of one claim, and the bell that follows."""
    person = synthetic_citizen_id(number % 20)
    asked = submission(HOSPITAL, f"key-{number}", person=person)
    (outcome,) = intake.accept(place.engine, [asked], at=NOON)
    Doorbell(place.post, place.frontend).ring(HOSPITAL)
    return outcome


def test_nothing_is_lost_and_nothing_double(tmp_path, clean_valkey, center_engine, center_database_url):
    fill_center(center_engine, persons=20, balance_fen=1_000_000)
    with center_engine.begin() as connection:
        connection.execute(insert(upload_window).values(name="always", opens="00:00", closes="00:00", **WIDE))
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    with (
        site(tmp_path / "here", clean_valkey, HOSPITAL, center_database_url=center_database_url) as here,
        site(tmp_path / "there", clean_valkey, CLINIC, frontend=OTHER_FRONTEND) as there,
    ):
        with there.engine.begin() as connection:
            both = catalogue_row(published([HOSPITAL, CLINIC]))["content"]
            connection.execute(update(reference).where(reference.c.kind == "catalogue").values(content=both))
        clock = {"JIESUAN_CLOCK": Clock(NOON, time.time(), 1.0).written()}
        for place in (here, there):
            place.environment |= QUICK | clock
            place.start("desk", "link")
        here.start("center-settle", "center-detail", "beat")
        (stay,) = registered(here.engine, registration(citizen_id_no=synthetic_citizen_id(1)))
        deliver(here.engine, delivery(stay, charge(1)))
        accepted = {hand_in(here, number).visit_no for number in range(5)}
        eventually(lambda: len(settled(here.engine)) == 5, within=100)

        eventually(lambda: heard(center_engine) == {FRONTEND, OTHER_FRONTEND}, within=100)
        with center_engine.begin() as connection:
            wish = beginning.Wish(HOSPITAL, OTHER_FRONTEND, "hosted")
            beginning.begin(connection, wish, by="甲", reason="改为托管", at=NOON)
        for number in range(5, CLAIMS_BEFORE):
            outcome = hand_in(here, number)
            if isinstance(outcome, intake.Moved):
                break
            accepted.add(outcome.visit_no)
            time.sleep(0.03)
        eventually(lambda: state(center_engine) in ("closing", "handing", "draining"), within=100)
        here.kill("link")
        here.start("link")

        eventually(lambda: state(center_engine) in ("draining", "finished"), within=100)
        eventually(lambda: not isinstance(hand_in(there, CLAIMS_BEFORE), intake.Arriving), within=100)
        for number in range(CLAIMS_BEFORE, CLAIMS_BEFORE + CLAIMS_AFTER):
            accepted.add(hand_in(there, number).visit_no)
        deliver(there.engine, delivery(stay, charge(2)), at=NOON)
        going_on = visits.settle_visit(there.engine, HOSPITAL, stay, final=False, at=NOON)
        assert isinstance(going_on, visits.Settling)
        Doorbell(there.post, there.frontend).ring(HOSPITAL)
        accepted.add(stay)

        eventually(lambda: settled(here.engine) | settled(there.engine) == accepted, within=100)
        eventually(lambda: state(center_engine) == "finished", within=100)
        with center_engine.connect() as connection:
            held = list(connection.execute(text("SELECT visit_no FROM settlement ORDER BY 1")).scalars())
            fund = connection.execute(text("SELECT sum(fund_pay_fen) FROM settlement")).scalar()
        assert held == sorted(accepted)
        assert not settled(here.engine) & settled(there.engine)
        assert sum(row.fund_pay_fen for place in (here, there) for row in book_of(place)) == fund
        with here.engine.connect() as connection:
            assert connection.execute(select(visit.c.moved_to)).scalars().all() == [OTHER_FRONTEND]
        (again,) = intake.accept(there.engine, [submission(HOSPITAL, "key-0", person=synthetic_citizen_id(0))], at=NOON)
        assert isinstance(again, intake.Replayed), "what was accepted there before is answered here"
        assert short_code(HOSPITAL) == again.visit_no[:6]
