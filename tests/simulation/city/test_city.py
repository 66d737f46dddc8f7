"""The city under its seeds: nothing lost, nothing double, every fen conserved, nothing left unknown.

`make prove` plays 10,000 of them: `python -m tests.simulation.city --seeds 10000`, and 300 days of
`python -m tests.simulation.city.orders`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.simulation.city import orders
from tests.simulation.city.guards import GUARDS
from tests.simulation.city.many import Tally, play, stage_in_memory, told
from tests.simulation.city.run import Stage

SEEDS = 300
DAYS = 1, 4, 7
"""Of which institutions move, terms change and processes die."""
PARTS = 6
FIRST_SEEDS = 25

TRIED = ("the desk sweeps", "persons are locked (FOR UPDATE)", "a contra moves the accumulators back")
"""Guards taken away here; `python -m tests.simulation.city.guarded` takes away every one."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Databases to play many seeds on."""
    with stage_in_memory() as made:
        yield made


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_goes_wrong_nothing_is_lost_nothing_is_double_and_every_fen_is_there(stage, part):
    tally = Tally()
    for seed in range(part + 1, SEEDS + 1, PARTS):
        verdict = play(stage, seed)
        tally.add(verdict)
        assert verdict.is_good, told(verdict)

    assert tally.faults["crash"] and tally.faults["connection lost"] and tally.faults["wipe"] and tally.faults["cut"]
    assert tally.operations["submit unknown"] and tally.operations["refund ok"] and tally.operations["confirm ok"]
    assert tally.operations["sold off-line"]
    assert tally.operations["outcome.force approved"] and tally.operations["deduction.make approved"]
    assert tally.operations["payment.make approved"] and tally.operations["clearing.reopen approved"]


@pytest.mark.parametrize("seed", [7, 12, 31])
def test_a_seed_is_the_same_city_every_time(stage, seed):
    assert play(stage, seed).trace == play(stage, seed).trace


@pytest.mark.timeout(300)
@pytest.mark.parametrize("guard", TRIED)
def test_without_a_guard_some_seed_fails(stage, guard):
    assert guard in GUARDS
    assert any(not play(stage, seed, without=guard).is_good for seed in range(1, FIRST_SEEDS + 1))


def test_whatever_the_order_of_ways_moves_and_faults_the_books_of_the_day_are_the_same(stage):
    quiet, wanted = orders.books_of(stage, 0, orders.quiet())
    happened: Counter[str] = Counter()
    for day in DAYS:
        verdict, books = orders.books_of(stage, day, orders.eventful(day))
        assert verdict.is_good, told(verdict)
        assert orders.differences(books, wanted) == []
        happened += verdict.faults
        ((moves, changes),) = stage.center.rows(
            "SELECT (SELECT count(*) FROM move), (SELECT count(*) FROM audit WHERE action = 'terms.change')"
        )
        happened += Counter(moves=moves, changes=changes)

    assert quiet.is_good and sum(row[5] for row in wanted["institution, scheme and clearing type"]) >= 20
    assert happened["moves"] and happened["changes"] and happened["crash"]
