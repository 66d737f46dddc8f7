"""The three ways to settle: the same result to the fen, through the real code of each."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from domain.ways import Way
from tests.support.ways import Ways


@pytest.fixture(scope="module")
def ways(tmp_path_factory, center_engine, center_database_url):
    made = Ways(tmp_path_factory.mktemp("ways"), center_engine, center_database_url, policy="guangzhou_2024")
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(3))
def test_all_three_ways_come_to_the_same_to_the_fen(ways, seed):
    chance = random.Random(seed)
    histories = ways.histories(chance, claims=30)

    for way, handed_in in histories.items():
        ways.settle(way, handed_in, together=chance.choice((1, 7, 30)))
    found = {way: ways.became(way, handed_in) for way, handed_in in histories.items()}

    assert found[Way.LOCAL] == found[Way.CENTRAL]
    assert found[Way.CENTRALIZED] == found[Way.CENTRAL]
    assert {"settled", "returned", "refused"} <= Counter(each["state"] for each in found[Way.CENTRAL]).keys()
