"""Refunds under fire: desk, link and centre are killed and the broker forgets everything; each is done exactly once."""

from __future__ import annotations

import random

import redis
from sqlalchemy import func, select, text

from domain.identity import synthetic_citizen_id
from tests.support.center import fill_center
from tests.support.frontend import HOSPITAL, NOON, shelf
from tests.support.site import FRONTEND, site
from tests.support.visits import charge, delivery, outpatient, registered
from tests.support.waiting import eventually
from workers import refund
from workers.doorbell import Doorbell
from workers.tables import claim
from workers.visits import Per, Refunding, ToSettle, find, import_lines, settle_visits

ROLES = ("desk", "link", "center-settle")
VISITS = 24


def test_whatever_dies_every_refund_is_done_once(tmp_path, clean_valkey, center_engine, center_database_url):
    fill_center(center_engine, persons=VISITS, balance_fen=500)
    dice = random.Random(7)
    with site(tmp_path, clean_valkey, HOSPITAL, center_database_url=center_database_url) as city:
        city.start(*ROLES)
        visits = registered(city.engine, *(outpatient(citizen_id_no=synthetic_citizen_id(n)) for n in range(VISITS)))
        import_lines(
            city.engine, shelf(), [delivery(each, charge(1), charge(2)) for each in visits], at=NOON, per=Per.ROW
        )
        asked = [ToSettle(institution_code=HOSPITAL, visit_no=each) for each in visits]
        settle_visits(city.engine, asked, at=NOON)
        Doorbell(city.post, FRONTEND).ring(HOSPITAL)
        eventually(lambda: city.count("settled") == VISITS, within=40)

        for number, visit_no in enumerate(visits):
            kept = {1: 100} if number % 3 == 0 else None
            outcome = refund.refund(city.engine, shelf(), HOSPITAL, visit_no, 1, reason="误", at=NOON, kept=kept)
            assert isinstance(outcome, Refunding)
            Doorbell(city.post, FRONTEND).ring(HOSPITAL)
            if number % 6 == 3:
                role = dice.choice(ROLES)
                city.kill(role)
                if number % 12 == 3:
                    with redis.Redis.from_url(clean_valkey) as client:
                        client.flushall()
                city.start(role)
        with_kept = -(-VISITS // 3)
        eventually(lambda: city.count("settled") == 2 * VISITS + with_kept, within=60)

        with city.engine.connect() as connection:
            held = select(claim.c.kind, func.count(), func.sum(claim.c.total_fen)).group_by(claim.c.kind)
            sums = {kind: (count, total) for kind, count, total in connection.execute(held)}
            free = [find(connection, HOSPITAL, each).lines_unsettled for each in visits]
    assert sums == {
        "normal": (VISITS, 5000 * VISITS),
        "contra": (VISITS, -5000 * VISITS),
        "resettled": (with_kept, 1250 * with_kept),
    }
    assert free == [0 if number % 3 == 0 else 2 for number in range(VISITS)]
    with center_engine.connect() as connection:
        once = "SELECT count(*), count(DISTINCT contra_of), sum(total_fen) FROM settlement WHERE kind = 'contra'"
        assert connection.execute(text(once)).one() == (VISITS, VISITS, -5000 * VISITS)
        left = (
            "SELECT count(*) FROM person WHERE person_no IN (SELECT person_no FROM settlement GROUP BY person_no"
            " HAVING sum(total_fen) = 0) AND (account_balance_fen <> 500 OR EXISTS (SELECT FROM accumulator"
            " WHERE accumulator.person_no = person.person_no AND amount_fen <> 0))"
        )
        assert connection.execute(text(left)).scalar() == 0
