"""A shared front-end serves 24 tenants: a flood of one of them delays nobody, and a newcomer needs no restart."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from infra import lanes
from tests.support.frontend import add_institution
from tests.support.site import site
from tests.support.waiting import eventually
from workers.tables import claim

TENANTS = [f"4401000001{number:02d}" for number in range(24)]
FLOOD, *OTHERS = TENANTS
NEWCOMER = "440100000199"


@pytest.fixture(scope="module")
def shared(tmp_path_factory, valkey_url):
    with site(tmp_path_factory.mktemp("shared"), valkey_url, *TENANTS, frontend="shared-1") as made:
        with made.engine.begin() as connection:
            connection.execute(text("CREATE TABLE served (place INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT)"))
            connection.execute(
                # The centre answers at once: nothing is in flight.
                text(
                    "CREATE TRIGGER note_order AFTER UPDATE OF state ON claim WHEN NEW.state = 'totalled'"
                    " BEGIN INSERT INTO served (code) VALUES (NEW.institution_code);"
                    " UPDATE claim SET state = 'settled', detail_state = 1 WHERE claim_id = NEW.claim_id; END"
                )
            )
        yield made


def served(shared):
    with shared.engine.connect().execution_options(reading=True) as connection:
        return list(connection.execute(text("SELECT code FROM served ORDER BY place")).scalars())


def test_when_one_tenant_floods_every_other_tenants_next_claim_is_among_the_first_fifty(shared):
    shared.hand_in(FLOOD, 2000)
    for code in OTHERS:
        shared.hand_in(code, 1)
    shared.start("desk")

    eventually(lambda: shared.count("settled") == 2000 + len(OTHERS), within=60, every=0.2)

    order = served(shared)
    places = {code: order.index(code) + 1 for code in OTHERS}
    assert max(places.values()) <= 50, places


def test_a_tenant_that_comes_while_another_floods_is_served_next(shared):
    before = len(served(shared))
    shared.hand_in(FLOOD, 800, prefix="second")
    eventually(lambda: len(served(shared)) > before + 100)

    shared.hand_in(OTHERS[0], 1, prefix="second")
    handed_in_at = len(served(shared))
    eventually(lambda: OTHERS[0] in served(shared)[before:])

    waited = served(shared)[before:].index(OTHERS[0]) + before - handed_in_at
    assert waited <= 50
    eventually(lambda: shared.count("accepted") == 0, within=60, every=0.2)


def test_a_new_institution_is_served_without_a_restart(shared):
    with shared.engine.begin() as connection:
        add_institution(connection, NEWCOMER)
        connection.execute(text("UPDATE institution SET backlog_cap = 100000"))

    shared.hand_in(NEWCOMER, 3)

    eventually(lambda: shared.listens(lanes.preprocess("shared-1", NEWCOMER)), within=15)
    eventually(lambda: served_of(shared, NEWCOMER) == 3, within=15)


def served_of(shared, code):
    with shared.engine.connect().execution_options(reading=True) as connection:
        # Its items are in no catalogue yet, so its claims go back: that, too, is being served.
        states = connection.execute(select(claim.c.state).where(claim.c.institution_code == code)).scalars()
        return sum(1 for state in states if state != "accepted")
