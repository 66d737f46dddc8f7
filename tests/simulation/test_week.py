"""A hospital week in short, through files and through shared tables: both come to the same, whatever dies meanwhile.

`python -m tests.simulation.kills` lives it at full size.
"""

from __future__ import annotations

from datetime import date

import pytest

from tests.simulation.deaths import READING, WRITING
from tests.simulation.kills import week_of
from tests.simulation.week import MISTAKES, plan

INPATIENTS, KILLS = 25, 12
SEED = 3


@pytest.mark.timeout(300)
def test_a_week_through_files_and_through_tables_is_the_same_to_the_fen_whatever_dies(tmp_path, world):
    life, found = week_of(tmp_path, **world, seed=SEED, inpatients=INPATIENTS, kills=KILLS)

    assert life.kills == KILLS
    assert set(life.deaths) == {
        (role, point) for by_role in (READING, WRITING) for role, points in by_role.items() for point in points
    }, "a reader died at every boundary"
    assert found["stays"] == 2 * INPATIENTS


def test_the_plan_of_a_week_has_everything_in_it_that_a_week_has():
    stays = plan(seed=SEED, inpatients=INPATIENTS, monday=date(2026, 3, 2)).stays
    lines = [line for stay in stays for line in stay.right_lines()]
    mistakes = sum(orders.has_mistakes for stay in stays for orders in stay.rounds.values())

    assert any(stay.is_refunded for stay in stays)
    assert any(stay.interim is not None for stay in stays)
    assert {stay.visit_type for stay in stays} == {"1", "2"}
    assert any((line.quantity_1e2 or 0) < 0 for line in lines)
    assert mistakes >= len(MISTAKES)
    for stay in stays:
        numbers = [line.line_no for line in stay.right_lines()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert [line for batch in stay.batches for line in batch] == list(stay.right_lines())
