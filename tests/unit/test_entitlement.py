"""Who a person is on a day: the age the rules see, and how long a lease holds."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from domain.entitlement import Entitlement, age_on
from infra.clock import SHANGHAI

AT = datetime(2026, 3, 2, 9, 30, tzinfo=SHANGHAI)
LEASED = Entitlement(
    citizen_id_no="somebody",
    known=True,
    entitled=True,
    scheme="employee",
    category="2",
    civil_servant=True,
    rank="county",
    groups=("assistance", "veteran"),
    birth=date(1960, 3, 2),
    account_balance_fen=500,
    family_balance_fen=70,
    version=3,
    leased_until=AT + timedelta(minutes=30),
)


@pytest.mark.parametrize(
    ("birth", "day", "age"),
    [
        pytest.param(date(1990, 3, 2), date(2026, 3, 2), 36, id="on the birthday"),
        pytest.param(date(1990, 3, 2), date(2026, 3, 1), 35, id="the day before"),
        pytest.param(date(2024, 2, 29), date(2025, 2, 28), 0, id="born on 29 February, the day before 1 March"),
        pytest.param(date(2024, 2, 29), date(2025, 3, 1), 1, id="born on 29 February, on 1 March"),
        pytest.param(date(2026, 3, 2), date(2026, 3, 2), 0, id="born today"),
        pytest.param(date(2026, 3, 3), date(2026, 3, 2), None, id="not born yet"),
        pytest.param(date(1875, 1, 1), date(2026, 3, 2), None, id="beyond any life"),
    ],
)
def test_age_counts_completed_years(birth, day, age):
    assert age_on(birth, day) == age


def test_the_rules_see_standing_and_balances_and_no_number():
    person = LEASED.person_on(date(2026, 3, 1))

    assert (person.scheme, person.category, person.civil_servant, person.rank) == ("employee", "2", True, "county")
    assert (person.groups, person.age) == ({"assistance", "veteran"}, 65)
    assert (person.account_balance_fen, person.family_balance_fen) == (500, 70)
    assert "somebody" not in str(person)
    assert LEASED._replace(birth=None).person_on(AT.date()).age is None


def test_a_lease_holds_until_its_end_and_for_nobody_unknown():
    assert LEASED.holds_at(AT)
    assert not LEASED.holds_at(AT + timedelta(minutes=30))
    assert not LEASED._replace(known=False).holds_at(AT)
    assert not LEASED._replace(leased_until=None).holds_at(AT)
