"""A front-end obeys the terms the centre gives, without a restart, and never those of yesterday."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from domain.messages import TermsSent
from domain.terms import InstitutionTerms, Standing, digest_of, problems_of, problems_together
from tests.support.frontend import CLINIC, HOSPITAL, NOON, PHARMACY, new_frontend, short_code, submission
from workers import intake, terms
from workers.tables import institution


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL, CLINIC)
    yield engine
    engine.dispose()


def of(code, version=5, **change):
    plain = InstitutionTerms(
        institution_code=code, short_code=short_code(code), name="试验机构", kind="clinic", level=1, size="small",
        way="central", weight=10, rate_per_second=0, burst=0, backlog_cap=77, active=True, suspended="", part=0,
        parts=1, standing="open", moved_to="", offline=False, offline_claim_fen=0, offline_total_fen=0,
        offline_hours=0, version=version,
    )  # fmt: skip
    return plain._replace(**change)


def keep(engine, *rows, version=None):
    sent = TermsSent(terms=rows, version=version or max(row.version for row in rows))
    with engine.begin() as connection:
        return terms.keep(connection, sent)


def held(engine, code=HOSPITAL):
    with engine.connect() as connection:
        return connection.execute(select(institution).where(institution.c.institution_code == code)).first()


def asked(engine):
    with engine.connect() as connection:
        return terms.asking(connection)


def outcome(engine, code=HOSPITAL):
    return intake.accept(engine, [submission(code)], at=NOON)[0]


def test_terms_are_obeyed_and_told_back_by_their_digest(engine):
    both = (of(HOSPITAL, weight=50, way="local"), of(CLINIC, version=6))
    assert asked(engine).digest == digest_of([])
    assert keep(engine, *both)

    row = held(engine)
    assert (row.weight, row.way, row.backlog_cap, row.terms_version) == (50, "local", 77, 5)
    assert asked(engine).digest == digest_of(reversed(both))
    assert asked(engine).short_codes == ((HOSPITAL, short_code(HOSPITAL)), (CLINIC, short_code(CLINIC)))
    assert keep(engine, *both)


def test_numbers_that_were_cut_into_parts_stay_so_whatever_a_restored_centre_says(engine):
    keep(engine, of(HOSPITAL, version=9, parts=8, part=3), of(CLINIC, version=9))
    keep(engine, of(HOSPITAL, version=1000, parts=1, part=0, weight=50), of(CLINIC, version=1000))
    assert (held(engine).frontends, held(engine).frontend_part, held(engine).weight) == (8, 3, 50)
    keep(engine, of(HOSPITAL, version=1001, parts=8, part=5), of(CLINIC, version=1000))
    assert (held(engine).frontends, held(engine).frontend_part) == (8, 5)


def test_an_older_list_that_comes_late_changes_nothing(engine):
    keep(engine, of(HOSPITAL, version=9, weight=50), of(CLINIC, version=8))
    assert not keep(engine, of(HOSPITAL, version=7, weight=1))
    assert held(engine).weight == 50
    assert held(engine, CLINIC).active


def test_an_institution_comes_by_its_terms_and_one_that_is_not_named_is_not_served(engine):
    keep(engine, of(HOSPITAL), of(PHARMACY, version=6))
    assert isinstance(outcome(engine, PHARMACY), intake.Accepted)
    assert isinstance(outcome(engine, CLINIC), intake.NotServed)
    assert held(engine, CLINIC).suspended == terms.NOT_NAMED


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        pytest.param(Standing.OPEN, intake.Accepted, id="open"),
        pytest.param(Standing.MOVING_OUT, intake.Moved, id="it goes"),
        pytest.param(Standing.MOVED, intake.Moved, id="it is gone"),
        pytest.param(Standing.MOVING_IN, intake.Arriving, id="it comes"),
    ],
)
def test_what_is_new_is_taken_only_where_the_institution_is(engine, standing, said):
    keep(engine, of(HOSPITAL, standing=standing, moved_to="elsewhere" if said is intake.Moved else ""), of(CLINIC))
    assert isinstance(outcome(engine), said)


def test_a_repeat_is_answered_although_the_institution_is_gone(engine):
    accepted = outcome(engine)
    keep(engine, of(HOSPITAL, standing="moved", moved_to="elsewhere"), of(CLINIC))
    assert outcome(engine) == intake.Replayed(accepted.claim_id, accepted.visit_no, 1)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        pytest.param({}, 1, id="nothing"),
        pytest.param({"weight": 100, "backlog_cap": 1, "size": "large"}, 0, id="good"),
        pytest.param({"weight": 0}, 1, id="below"),
        pytest.param({"weight": True}, 1, id="no number"),
        pytest.param({"way": "fast", "size": "huge", "kind": "x"}, 3, id="not one of them"),
        pytest.param({"short_code": "abc123"}, 1, id="small letters"),
        pytest.param({"suspended": "停" * 61}, 1, id="too long"),
        pytest.param({"active": 1, "terms_version": 3}, 2, id="no field"),
    ],
)
def test_every_wrong_field_is_named(changes, wrong):
    assert len(problems_of(changes)) == wrong


def test_what_does_not_go_together_is_named():
    limits = {"offline": True, "offline_claim_fen": 0, "offline_total_fen": -1, "offline_hours": 0}
    assert len(problems_together(limits)) == 3
    assert problems_together(limits | {"offline": False}) == []
    good = {"offline": True, "offline_claim_fen": 100, "offline_total_fen": 100, "offline_hours": 1}
    assert problems_together(good) == []
