"""What is asked in the same moment is done in one go, and one that cannot be done takes nobody with it."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy.exc import OperationalError

from producers.api.pace import LONG_SECONDS, LONGEST_SECONDS, Pace
from producers.api.together import MOST, Together

AWAY = OperationalError("BEGIN", {}, Exception("locked"))


def played(work, asked):
    """The answers to what is asked at once."""

    async def all_at_once():
        together = Together("test", work)
        try:
            return await asyncio.gather(*map(together.ask, asked), return_exceptions=True)
        finally:
            together.close()

    return asyncio.run(all_at_once())


def test_what_comes_at_once_is_one_group_and_each_gets_its_own_answer():
    groups = []

    def work(group):
        groups.append(len(group))
        return [2 * each for each in group]

    assert played(work, range(MOST + 5)) == [2 * each for each in range(MOST + 5)]
    assert groups == [MOST, 5]


def test_what_comes_while_a_group_is_under_way_is_the_next_group():
    groups, go_on = [], threading.Event()

    def work(group):
        groups.append(list(group))
        assert go_on.wait(10)
        return group

    async def in_two_waves():
        together = Together("test", work)
        first = asyncio.create_task(together.ask(1))
        while not groups:
            await asyncio.sleep(0)
        later = [asyncio.create_task(together.ask(each)) for each in (2, 3)]
        await asyncio.sleep(0)
        go_on.set()
        answers = await asyncio.gather(first, *later)
        together.close()
        return answers

    assert asyncio.run(in_two_waves()) == [1, 2, 3]
    assert groups == [[1], [2, 3]]


def test_one_that_cannot_be_done_takes_nobody_with_it():
    def work(group):
        if 3 in group:
            raise ValueError("three")
        return group

    answers = played(work, range(5))

    assert [each for each in answers if not isinstance(each, ValueError)] == [0, 1, 2, 4]
    assert isinstance(answers[3], ValueError)


def test_a_database_that_is_away_is_asked_once_for_the_whole_group():
    asked = []

    def work(group):
        asked.append(len(group))
        raise AWAY

    assert played(work, range(5)) == [AWAY] * 5
    assert asked == [5]


def test_pauses_grow_with_the_wait_for_answers_and_not_without_end():
    pace = Pace()
    assert pace.extra == 0
    for _ in range(50):
        pace.waited(LONG_SECONDS)
    assert pace.extra == 0, "quick answers hold nothing up"
    for _ in range(50):
        pace.waited(LONG_SECONDS + 1.5)
    assert pace.extra == pytest.approx(0.25, abs=0.01)
    for _ in range(50):
        pace.waited(100.0)
    assert pace.extra == LONGEST_SECONDS
    for _ in range(50):
        pace.waited(0.1)
    assert pace.extra == 0


def test_three_pauses_in_a_row_never_keep_themselves_going():
    pace, own = Pace(), 0.9
    for _ in range(20):
        pace.waited(30.0)
    for _ in range(200):
        pace.waited(own + 3 * pace.extra)
    assert pace.extra == 0
