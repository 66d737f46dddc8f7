"""Registering, cancelling, discharging: once per key, numbers in order of issue, refused with every reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from domain.identity import substitute_no
from domain.lifecycle import VisitState
from domain.refusals import VisitRefusal
from domain.visit import Discharge
from tests.support.frontend import CLINIC, DAY, HOSPITAL, NOON, PERSON, new_frontend, short_code, submission
from tests.support.visits import ADMITTED, charge, deliver, delivery, outpatient, registered, registration
from workers import intake
from workers.intake import VisitConflict
from workers.numbers import VISITS_PER_DAY, next_sequence, visit_number
from workers.tables import institution
from workers.visits import Done, NotReady, Registered, cancel, discharge, find, listed, register, settle_visit


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


def view(engine, visit_no, code=HOSPITAL):
    with engine.connect() as connection:
        return find(connection, code, visit_no)


def leave(visit_no, day=DAY, **change):
    return Discharge(visit_no=visit_no, discharge_date=day, discharge_diagnosis_1="肺炎", **change)


def test_a_visit_gets_its_number_and_what_its_identity_number_says(engine):
    (visit_no,) = registered(engine)

    kept = view(engine, visit_no)
    assert visit_no == f"{short_code(HOSPITAL)}2603020001"
    assert (kept.state, kept.registered_at) == (VisitState.OPEN, NOON)
    assert (kept.registration.birth_date, kept.registration.sex) == (date(1949, 12, 31), "2")
    assert kept.registration.outpatient_no == visit_no[-10:], "ZYH is filled"


def test_numbers_are_shared_with_claims_that_carry_their_own_visit(engine):
    (first,) = registered(engine)
    (claim,) = intake.accept(engine, [submission()], at=NOON)
    (second,) = registered(engine)

    assert [number[-4:] for number in (first, claim.visit_no, second)] == ["0001", "0002", "0003"]


def test_the_same_key_is_the_same_visit_and_other_content_under_it_is_refused(engine):
    (first,) = register(engine, [registration()], at=NOON, keys=["k"])
    (again,) = register(engine, [registration()], at=NOON + timedelta(hours=1), keys=["k"])
    (other,) = register(engine, [registration(bed_no="2")], at=NOON, keys=["k"])

    assert again == Registered(first.visit_no, is_new=False)
    assert other.codes == (VisitRefusal.KEY_REUSED,)


def test_without_a_key_every_registration_is_a_visit_of_its_own(engine):
    assert len(set(registered(engine, registration(), registration()))) == 2


def test_a_number_already_given_is_kept_once(engine):
    given_no = "T000012603020Z9Z"
    (first,) = register(engine, [registration(visit_no=given_no)], at=NOON)
    (again,) = register(engine, [registration(visit_no=given_no)], at=NOON)
    (other,) = register(engine, [registration(visit_no=given_no, bed_no="2")], at=NOON)
    (theirs,) = register(engine, [registration(visit_no=given_no, institution_code=CLINIC)], at=NOON)

    assert (first, again) == (Registered(given_no), Registered(given_no, is_new=False))
    assert other.codes == theirs.codes == (VisitRefusal.VISIT_CONFLICT,)


def test_a_claim_cannot_bring_its_own_visit_under_a_registered_number(engine):
    (visit_no,) = registered(engine, outpatient())

    assert intake.accept(engine, [submission(visit_no=visit_no)], at=NOON) == [VisitConflict()]


def test_every_reason_is_told_at_once(engine):
    (outcome,) = register(
        engine,
        [registration(citizen_id_no="123", visit_no="不是号码", visit_date=DAY + timedelta(days=1))],
        at=NOON,
    )
    assert outcome.codes == (VisitRefusal.PERSON_NO_WRONG, VisitRefusal.VISIT_NO_WRONG, VisitRefusal.VISIT_IN_FUTURE)


def test_persons_without_a_number_come_under_the_centres_substitute(engine):
    (none, substitute) = register(
        engine, [registration(citizen_id_no=""), registration(citizen_id_no=substitute_no(7))], at=NOON
    )
    assert none.codes == (VisitRefusal.PERSON_NO_MISSING,)
    assert isinstance(substitute, Registered)


def test_the_entitlement_of_new_visits_is_asked_after_the_commit(engine):
    asked = []
    register(engine, [registration(), outpatient()], at=NOON, keys=["a", "b"], ask=asked.append)
    register(engine, [registration()], at=NOON, keys=["a"], ask=asked.append)

    assert asked == [[PERSON]]


@given(
    last=st.integers(0, VISITS_PER_DAY // 2),
    seconds=st.integers(0, 86_399),
    frontends=st.integers(1, 9),
)
def test_front_ends_of_one_institution_never_issue_the_same_number(last, seconds, frontends):
    at = NOON.replace(hour=0) + timedelta(seconds=seconds)
    numbers = [next_sequence(last, at=at, frontends=frontends, part=part) for part in range(frontends)]

    assert len(set(numbers)) == frontends
    assert all(number > last for number in numbers)
    if frontends > 1:
        assert [number % frontends for number in numbers] == list(range(frontends))


def test_numbers_of_several_front_ends_sort_in_order_of_issue(tmp_path):
    issued = []
    engines = [new_frontend(f"sqlite:///{tmp_path}/frontend-{part}.db") for part in range(2)]
    for part, engine in enumerate(engines):
        with engine.begin() as connection:
            connection.execute(update(institution).values(frontends=2, frontend_part=part))
    for minute in range(20):
        for engine in engines if minute % 3 else engines[:1]:
            issued += registered(engine, at=NOON + timedelta(seconds=len(issued)))
    for engine in engines:
        engine.dispose()

    assert issued == sorted(set(issued))


def test_visits_are_listed_newest_first(engine):
    numbers = registered(engine, registration(), outpatient(), registration(institution_code=CLINIC))
    with engine.connect() as connection:
        assert [each.visit_no for each in listed(connection, HOSPITAL)] == [numbers[1], numbers[0]]


def test_another_institutions_visit_is_as_unknown_as_none(engine):
    (visit_no,) = registered(engine)

    assert view(engine, visit_no, CLINIC) is None
    for outcome in (
        cancel(engine, CLINIC, visit_no, at=NOON),
        discharge(engine, CLINIC, leave(visit_no), at=NOON),
        settle_visit(engine, CLINIC, visit_no, final=False, at=NOON),
    ):
        assert outcome.codes == (VisitRefusal.VISIT_UNKNOWN,)


def test_a_registration_is_taken_back_only_before_a_line_is_imported(engine):
    first, second = registered(engine, registration(), registration())
    deliver(engine, delivery(first, charge(1)))

    assert cancel(engine, HOSPITAL, first, at=NOON).codes == (VisitRefusal.LINES_IMPORTED,)
    assert cancel(engine, HOSPITAL, second, at=NOON) == cancel(engine, HOSPITAL, second, at=NOON) == Done(second)
    assert view(engine, second).state is VisitState.CANCELLED
    assert discharge(engine, HOSPITAL, leave(second), at=NOON).codes == (VisitRefusal.STATE,)


@pytest.mark.parametrize(
    ("day", "code"),
    [
        pytest.param(ADMITTED - timedelta(days=1), VisitRefusal.DISCHARGE_TOO_EARLY, id="before the admission"),
        pytest.param(DAY - timedelta(days=3), VisitRefusal.DISCHARGE_TOO_EARLY, id="before the last charge"),
        pytest.param(DAY + timedelta(days=1), VisitRefusal.DISCHARGE_IN_FUTURE, id="tomorrow"),
        pytest.param(DAY - timedelta(days=2), None, id="the day of the last charge"),
    ],
)
def test_the_day_of_discharge_fits_the_stay(engine, day, code):
    (visit_no,) = registered(engine)
    deliver(engine, delivery(visit_no, charge(1, DAY - timedelta(days=2))))

    outcome = discharge(engine, HOSPITAL, leave(visit_no, day), at=NOON)

    assert outcome == Done(visit_no) if code is None else outcome.codes == (code,)
    assert view(engine, visit_no).state is (VisitState.DISCHARGED if code is None else VisitState.OPEN)


def test_discharging_twice_is_discharging_once_and_otherwise_is_refused(engine):
    (visit_no,) = registered(engine)

    assert discharge(engine, HOSPITAL, leave(visit_no), at=NOON) == Done(visit_no)
    assert discharge(engine, HOSPITAL, leave(visit_no), at=NOON) == Done(visit_no)
    other = discharge(engine, HOSPITAL, leave(visit_no, discharge_outcome="1"), at=NOON)
    assert isinstance(other, NotReady)
    assert "已出院" in other.words


def test_outpatients_are_not_discharged(engine):
    (visit_no,) = registered(engine, outpatient())

    assert discharge(engine, HOSPITAL, leave(visit_no), at=NOON).codes == (VisitRefusal.NO_STAY,)


def test_an_institution_that_is_not_served_registers_nothing(engine):
    (outcome,) = register(engine, [registration(institution_code="990000000000")], at=NOON)

    assert outcome.codes == (VisitRefusal.NOT_SERVED,)


def test_a_registration_stays_answered_when_its_institution_is_not_served_any_more(engine):
    (first,) = register(engine, [registration()], at=NOON, keys=["unheard"])
    with engine.begin() as connection:
        connection.execute(update(institution).values(active=False))

    (again,) = register(engine, [registration()], at=NOON, keys=["unheard"])
    (other,) = register(engine, [registration()], at=NOON, keys=["new"])

    assert again == replace(first, is_new=False)
    assert other.codes == (VisitRefusal.NOT_SERVED,)


def test_the_number_is_the_short_code_the_day_and_the_sequence(engine):
    with engine.connect() as connection:
        (code,) = connection.execute(
            select(institution.c.short_code).where(institution.c.institution_code == HOSPITAL)
        ).one()
    assert registered(engine) == [visit_number(code, DAY, 1)]
