"""From registration to a confirmed local settlement, through the broker: each message sealed, opened, and answered."""

from __future__ import annotations

import base64
import time

import msgpack
import pytest
import redis
from sqlalchemy import text

from center.tasks import Center, app_of
from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState
from infra import lanes
from infra.settings import Settings
from infra.transport import readable
from tests.support.center import FRONTEND, HOSPITAL, fill_center
from tests.support.frontend import new_frontend, short_code, submission
from workers import entitlement, intake
from workers.claims import show
from workers.tasks import Frontend, desk_app, link_app

PERSON = synthetic_citizen_id(7)
CLOCK = f"2026-03-02T09:30:00+08:00@{time.time()}x1.0"


@pytest.fixture(scope="module")
def filled(center_engine):
    fill_center(center_engine, balance_fen=5000)
    change = "UPDATE institution SET way = 'local' WHERE institution_code = :code"
    with center_engine.begin() as connection:
        connection.execute(text(change), {"code": HOSPITAL})


@pytest.fixture
def city(filled, center_database_url, clean_valkey, tmp_path):
    """The tasks of the centre and of one front-end, on one broker."""
    secret, key = tmp_path / "secret", tmp_path / "key"
    secret.write_text("cd" * 32)
    shared = {"_env_file": None, "center_broker_url": clean_valkey, "data_dir": tmp_path, "clock": CLOCK}
    center = Center(Settings(center_database_url=center_database_url, center_secret_file=secret, **shared))
    key.write_text(center.key_of(FRONTEND).hex())
    database = f"sqlite:///{tmp_path}/frontend.db"
    new_frontend(database, HOSPITAL).dispose()
    frontend = Frontend(Settings(frontend=FRONTEND, frontend_database_url=database, frontend_key_file=key, **shared))
    yield City(clean_valkey, center, frontend)
    center.app.close()
    center.engine.dispose()
    frontend.engine.dispose()


class City:
    """Runs whatever waits on the lanes, as the workers do, until nothing waits."""

    def __init__(self, broker_url, center, frontend):
        self.center, self.frontend = center, frontend
        self._broker_url = broker_url
        center_app, desk, link = app_of(center), desk_app(frontend), link_app(frontend)
        self._served = (
            (lanes.preprocess(FRONTEND, HOSPITAL), desk),
            (lanes.SETTLE, center_app),
            (lanes.ADMIN, center_app),
            (lanes.results(FRONTEND), link),
        )

    def learn_terms(self):
        """The front-end asks on which terms it serves, and obeys them."""
        self.frontend.ask_for_terms()
        return self.run()

    def run(self):
        """How many messages of each task were run."""
        ran = []
        while waiting := [found for found in map(self._take, self._served) if found is not None]:
            for app, task, kwargs in waiting:
                app.tasks[task].apply(kwargs=kwargs, throw=True)
                ran.append(task)
        return ran

    def _take(self, served):
        queue, app = served
        with redis.Redis.from_url(self._broker_url) as client:
            item = client.rpop(queue)
        if item is None:
            return None
        message = readable(item)
        return app, message["headers"]["task"], msgpack.unpackb(base64.b64decode(message["body"]))[1]

    def hand_in(self, number):
        outcome = intake.accept(
            self.frontend.engine,
            [submission(HOSPITAL, f"key-{number}", person=PERSON, visit_no=f"{short_code(HOSPITAL)}{number:010d}")],
            at=self.frontend.now(),
        )[0]
        self.frontend.doorbell.ring(HOSPITAL)
        return outcome.visit_no

    def view(self, visit_no):
        with self.frontend.engine.connect() as connection:
            return show(connection, HOSPITAL, f"{visit_no}-1")

    def leased(self):
        with self.frontend.engine.connect() as connection:
            return entitlement.leased(connection, PERSON, at=self.frontend.now())


def test_a_person_is_asked_for_at_registration_and_settled_locally_after_it(city):
    assert city.learn_terms() == [lanes.TERMS_ASK, lanes.TERMS_KEEP, lanes.TERMS_ASK]
    assert entitlement.ask(city.frontend, [PERSON])
    assert city.run() == [lanes.PERSONS_ASK, lanes.PERSONS_ANSWER]
    held = city.leased()
    assert (held.version, held.account_balance_fen) == (0, 5000)

    visit_no = city.hand_in(1)
    assert city.run() == [lanes.CLAIMS_PREPROCESS, lanes.CLAIMS_SETTLE, lanes.CLAIMS_DELIVER]

    view = city.view(visit_no)
    assert (view.state, view.answer.recomputed, view.provisional) == (ClaimState.SETTLED, "", False)
    assert city.leased().version == 1


def test_whom_nobody_asked_for_is_settled_by_the_centre_and_asked_for_now(city):
    # The institution's way comes with its terms: before, its claims are the centre's.
    city.hand_in(11)
    assert lanes.PERSONS_ASK not in city.run()
    city.learn_terms()
    city.hand_in(12)
    assert lanes.PERSONS_ASK in city.run()
    assert city.leased() is not None


def test_a_recomputed_claim_is_explained_and_its_person_asked_for_again(city):
    city.learn_terms()
    entitlement.ask(city.frontend, [PERSON])
    city.run()
    with city.center.engine.begin() as connection:
        change = "UPDATE person SET account_balance_fen = account_balance_fen + 77 WHERE citizen_id_no = :id"
        connection.execute(text(change), {"id": PERSON})

    visit_no = city.hand_in(21)
    ran = city.run()

    assert ran[-2:] == [lanes.PERSONS_ASK, lanes.PERSONS_ANSWER]
    assert "个人账户余额" in city.view(visit_no).answer.recomputed
    assert city.leased().version == _version(city)


def _version(city):
    with city.center.engine.connect() as connection:
        query = text("SELECT version FROM person WHERE citizen_id_no = :id")
        return connection.execute(query, {"id": PERSON}).scalar_one()
