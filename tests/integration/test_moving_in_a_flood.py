"""A tenant of a shared front-end moves in the middle of its own flood, with real processes that are killed; its
neighbours go on."""

from __future__ import annotations

import time

from sqlalchemy import insert, text, update

from center.serving import beginning
from center.serving.entering import enter
from center.tables import upload_window
from domain.identity import synthetic_citizen_id
from infra.clock import Clock
from infra.reference import catalogue_row
from tests.support.center import FRONTEND, OTHER_FRONTEND, fill_center, institution_row
from tests.support.frontend import CLINIC, HOSPITAL, NOON, PHARMACY, published, submission
from tests.support.moving_processes import QUICK, book_of, heard, settled, state
from tests.support.site import site
from tests.support.uploading import WIDE
from tests.support.waiting import eventually
from workers import intake
from workers.doorbell import Doorbell
from workers.tables import reference

BURST, BEFORE, AFTER, AT_MOST = 15, 10, 25, 600
"""Claims a turn; turns before the move begins, after the hospital is elsewhere, and within which that has to happen."""
PERSON = synthetic_citizen_id(0)


def flood_of(place, numbers):
    """A burst of the hospital's: the visits that were accepted, and whether it was told to go elsewhere."""
    asked = [submission(HOSPITAL, f"flood-{number}", person=synthetic_citizen_id(number % 20)) for number in numbers]
    outcomes = intake.accept(place.engine, asked, at=NOON)
    Doorbell(place.post, place.frontend).ring(HOSPITAL)
    return {each.visit_no for each in outcomes if isinstance(each, intake.Accepted)}, any(
        isinstance(each, intake.Moved) for each in outcomes
    )


def test_a_tenant_moves_in_the_middle_of_its_flood_and_its_neighbours_go_on(
    tmp_path, clean_valkey, center_engine, center_database_url
):
    fill_center(center_engine, persons=20, balance_fen=100_000_000)
    with center_engine.begin() as connection:
        enter(connection, [institution_row(PHARMACY, FRONTEND)])
        connection.execute(insert(upload_window).values(name="always", opens="00:00", closes="00:00", **WIDE))
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    with (
        site(tmp_path / "here", clean_valkey, HOSPITAL, PHARMACY, center_database_url=center_database_url) as here,
        site(tmp_path / "there", clean_valkey, CLINIC, frontend=OTHER_FRONTEND) as there,
    ):
        everybody = catalogue_row(published([HOSPITAL, CLINIC, PHARMACY]))["content"]
        for engine in (here.engine, there.engine):
            with engine.begin() as connection:
                connection.execute(update(reference).where(reference.c.kind == "catalogue").values(content=everybody))
        clock = {"JIESUAN_CLOCK": Clock(NOON, time.time(), 1.0).written()}
        for place in (here, there):
            place.environment |= QUICK | clock
            place.start("desk", "link")
        here.start("center-settle", "center-detail", "beat")
        eventually(lambda: heard(center_engine) == {FRONTEND, OTHER_FRONTEND}, within=100)

        accepted: set[str] = set()
        neighbours = {PHARMACY: (here, set()), CLINIC: (there, set())}
        turned_away = 0
        for turn in range(AT_MOST):
            if turned_away and turn > turned_away + AFTER:
                break
            numbers = range(turn * BURST, (turn + 1) * BURST)
            taken, is_elsewhere = flood_of(there if turned_away else here, numbers)
            accepted |= taken
            if is_elsewhere:
                turned_away = turn
                eventually(lambda: takes_in(there), within=100)
                accepted |= flood_of(there, numbers)[0]
            for code, (beside, visits_of) in neighbours.items():
                (outcome,) = intake.accept(beside.engine, [submission(code, f"beside-{turn}", person=PERSON)], at=NOON)
                assert isinstance(outcome, intake.Accepted), "a neighbour is never turned away"
                visits_of.add(outcome.visit_no)
                Doorbell(beside.post, beside.frontend).ring(code)
            if turn == BEFORE:
                with center_engine.begin() as connection:
                    wish = beginning.Wish(HOSPITAL, OTHER_FRONTEND, "hosted")
                    beginning.begin(connection, wish, by="甲", reason="洪峰中迁移", at=NOON)
            if turn == BEFORE + 2:
                for role in ("desk", "link"):
                    here.kill(role)
                here.start("desk", "link")
            time.sleep(0.1)
        assert turned_away, "the move happened while the flood went on"

        everyone = accepted.union(*(visits_of for _, visits_of in neighbours.values()))
        eventually(lambda: settled(here.engine) | settled(there.engine) == everyone, within=100)
        eventually(lambda: state(center_engine) == "finished", within=100)
        with center_engine.connect() as connection:
            held = list(connection.execute(text("SELECT visit_no FROM settlement ORDER BY 1")).scalars())
            fund = connection.execute(text("SELECT sum(fund_pay_fen) FROM settlement")).scalar()
        assert held == sorted(everyone), "each exactly once"
        assert not settled(here.engine) & settled(there.engine)
        assert settled(here.engine) & accepted, "part of the flood was settled where it began"
        assert settled(there.engine) & accepted, "and part of it where it went on"
        assert sum(row.fund_pay_fen for place in (here, there) for row in book_of(place)) == fund


def takes_in(place):
    """Whether the hospital's claims are accepted there by now; asked with one of the flood's, so nothing is added."""
    asked = submission(HOSPITAL, "flood-0", person=PERSON)
    (outcome,) = intake.accept(place.engine, [asked], at=NOON)
    return isinstance(outcome, intake.Replayed)
