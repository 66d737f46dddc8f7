"""The three ways to settle: the same result to the fen, through the real code of each."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from sqlalchemy import select

from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, check_new
from center.policy.shelf import PolicyShelf
from domain.ways import Way
from tests.support.center import AT, rows_of
from tests.support.ways import Ways
from workers.tables import claim


@pytest.fixture(scope="module")
def ways(tmp_path_factory, center_engine, center_database_url):
    made = Ways(tmp_path_factory.mktemp("ways"), center_engine, center_database_url, policy="guangzhou_2024")
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(2))
def test_all_three_ways_come_to_the_same_to_the_fen(ways, seed):
    chance = random.Random(seed)
    histories = ways.histories(chance, claims=20)

    for way, handed_in in histories.items():
        ways.settle(way, handed_in, together=chance.choice((1, 7, 30)))
    found = {way: ways.became(way, handed_in) for way, handed_in in histories.items()}

    assert found[Way.LOCAL] == found[Way.CENTRAL]
    assert found[Way.CENTRALIZED] == found[Way.CENTRAL]
    assert {"settled", "returned", "refused"} <= Counter(each["state"] for each in found[Way.CENTRAL]).keys()


@pytest.mark.parametrize("seed", range(2))
def test_a_switch_in_the_middle_of_the_stream_loses_nothing_doubles_nothing_and_changes_no_amount(ways, seed):
    chance = random.Random(100 + seed)
    histories = ways.histories(chance, claims=20)
    plain, switching = histories[Way.CENTRAL], histories[Way.CENTRALIZED]
    ways.settle(Way.CENTRAL, plain, together=30)
    line = ways.lines[Way.CENTRALIZED]

    line.loses = lambda task: chance.random() < 0.3
    try:
        for start in range(0, len(switching), 5):
            ways.settle(Way.CENTRALIZED, switching[start : start + 5], together=5)
            ways.set_way(line, chance.choice(list(Way)))  # some are on their way, some are still to be answered
            line.let_pass(chance.choice((0.0, 10.0)))
    finally:
        line.loses = lambda _: False
    # In the order they came: who draws on an accumulator first is not the same when messages get lost.
    line.let_pass(300.0, every=8.0)
    found = ways.became(Way.CENTRALIZED, switching)
    ways.set_way(line, Way.CENTRALIZED)

    assert {each["state"] for each in found} <= {"settled", "returned", "refused"}
    for ours, theirs in zip(found, ways.became(Way.CENTRAL, plain), strict=True):
        assert [ours[name] for name in ALIKE] == [theirs[name] for name in ALIKE]
    numbers = [each.visit.visit_no for each in switching]
    settled = rows_of(ways.center, "SELECT visit_no FROM settlement WHERE visit_no = ANY(:numbers)", numbers=numbers)
    assert Counter(visit_no for (visit_no,) in settled) == Counter(
        number for number, each in zip(numbers, found, strict=True) if each["state"] == "settled"
    )
    with_lines = sent_as(line, numbers)
    assert set(with_lines) == {True, False}, "some went with their lines, some as totals"
    kept = sum(sent and each["state"] == "settled" for sent, each in zip(with_lines, found, strict=True))
    of_lines = "SELECT count(*) FROM detail JOIN settlement USING (settlement_no) WHERE visit_no = ANY(:numbers)"
    assert rows_of(ways.center, of_lines, numbers=numbers) == [(kept,)]


ALIKE = ("state", "refusal", "codes", "detail", "sums", "versions")


def sent_as(line, visit_nos):
    with line.engine.connect() as connection:
        rows = connection.execute(select(claim.c.visit_no, claim.c.sent_lines).where(claim.c.visit_no.in_(visit_nos)))
        sent = {row.visit_no: row.sent_lines for row in rows}
    return [sent[visit_no] for visit_no in visit_nos]


def test_the_books_of_the_three_ways_are_the_same(ways):
    chance = random.Random(7)
    histories = ways.histories(chance, claims=20)
    for way, handed_in in histories.items():
        ways.settle(way, handed_in, together=20)
    sums = {
        way: rows_of(
            ways.center,
            "SELECT count(*), sum(total_fen), sum(fund_pay_fen), sum(account_pay_fen), sum(self_pay_fen),"
            " sum(own_pay_fen) FROM settlement WHERE visit_no = ANY(:numbers)",
            numbers=[each.visit.visit_no for each in handed_in],
        )
        for way, handed_in in histories.items()
    }
    assert sums[Way.LOCAL] == sums[Way.CENTRALIZED] == sums[Way.CENTRAL]
    assert sums[Way.CENTRAL][0][0] > 5
    report = check_new(ways.center, Shelves(CatalogueShelf(), PolicyShelf()), holder="test", at=AT, now=1.0)
    assert report.findings == []
