"""The link: its state by what is answered, the skew of two clocks by one round trip, and what a flapping link notes."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.link import CLOCK_BOUND, LinkState, Skew, is_after, skew_of, state_of
from domain.messages import OutcomeTold
from infra.clock import SHANGHAI
from infra.database import reading
from tests.support.frontend import new_frontend
from workers.link import Hearing, standing

AT = datetime(2026, 3, 2, 9, 0, tzinfo=SHANGHAI)
SECOND = timedelta(seconds=1)
LIMITS = {"unsure_after": 6 * SECOND, "down_after": 15 * SECOND}


@pytest.mark.parametrize(
    ("seconds", "state"),
    [(None, LinkState.UP), (5.9, LinkState.UP), (6, LinkState.UNSURE), (14.9, LinkState.UNSURE), (15, LinkState.DOWN)],
)
def test_the_state_is_that_of_the_oldest_unanswered_question(seconds, state):
    unanswered = None if seconds is None else timedelta(seconds=seconds)
    assert state_of(unanswered, **LIMITS) is state


@given(ahead=st.integers(-86_400, 86_400), there=st.integers(0, 900), stay=st.integers(0, 60), back=st.integers(0, 900))
def test_the_true_skew_is_within_what_was_measured(ahead, there, stay, back):
    answered = AT + (there + stay) * SECOND + ahead * SECOND
    skew = skew_of(asked_at=AT, answered_at=answered, heard_at=AT + (there + stay + back) * SECOND)

    assert abs(skew.ahead - ahead * SECOND) <= skew.uncertain
    assert skew.at_least <= abs(ahead * SECOND)
    assert not skew.is_wrong or abs(ahead * SECOND) > CLOCK_BOUND


def test_a_clock_is_wrong_beyond_the_bound_and_only_for_certain():
    assert not Skew(CLOCK_BOUND, timedelta()).is_wrong
    assert Skew(CLOCK_BOUND + SECOND, timedelta()).is_wrong
    assert not Skew(CLOCK_BOUND + SECOND, 2 * SECOND).is_wrong
    assert Skew(-CLOCK_BOUND - SECOND, timedelta()).words() == "本机时钟比中心快 5 分 1 秒"


def test_only_a_wrong_clock_can_have_another_day():
    late = datetime(2026, 3, 2, 23, 58, tzinfo=SHANGHAI)
    assert Skew(4 * 60 * SECOND, timedelta()).same_day(late)
    assert not Skew(6 * 60 * SECOND, timedelta()).same_day(late)
    assert Skew(6 * 60 * SECOND, timedelta()).same_day(AT)


def test_a_day_has_come_when_a_clock_within_the_bound_says_so():
    assert not is_after(date(2026, 3, 3), datetime(2026, 3, 2, 23, 55, tzinfo=SHANGHAI))
    assert is_after(date(2026, 3, 3), datetime(2026, 3, 2, 23, 54, 59, tzinfo=SHANGHAI))


@pytest.fixture
def engine(tmp_path):
    made = new_frontend(f"sqlite:///{tmp_path}/front.db")
    yield made
    made.dispose()


class Process:
    """The process that hears the centre, at a second of its own; and what another process reads."""

    def __init__(self, engine):
        self.engine, self.hearing = engine, Hearing(3.0, 6.0, 15.0)

    def tick(self, second, *, answered=True, taken=None, ahead=timedelta()):
        now, at = float(second), AT + second * SECOND
        question = self.hearing.question(now=now, at=at)
        self.hearing.sent(answered if taken is None else taken)
        if question is not None and answered:
            self.hearing.heard(now=now, at=at)
            self.hearing.told(OutcomeTold(outcomes=(), asked_at=question.asked_at, answered_at=at + ahead), at=at)
        self.hearing.note(self.engine, now=now, at=at)
        return question

    def read(self, second):
        with reading(self.engine) as connection:
            return standing(connection, at=AT + second * SECOND)


def test_nothing_is_known_before_anything_is_noted(engine):
    assert Process(engine).read(0).state is LinkState.UNSURE


def test_a_flapping_link_is_up_unsure_down_and_up_again(engine):
    process = Process(engine)
    seen = []
    for second in range(0, 60, 3):
        process.tick(second, answered=not 9 <= second < 36)
        seen.append(process.read(second).state)

    down = seen.index(LinkState.DOWN)
    assert seen[:3] == [LinkState.UP] * 3
    assert LinkState.UNSURE in seen[:down]
    assert all(state is LinkState.DOWN for state in seen[down : 36 // 3])
    assert all(state is LinkState.UP for state in seen[36 // 3 :])
    assert process.read(57).since == AT + 36 * SECOND


def test_a_question_that_lies_in_the_centres_lane_is_waited_for_longer(engine):
    process = Process(engine)
    process.tick(0)
    seen = {
        second: (process.tick(second, answered=False, taken=True), process.read(second).state)[1]
        for second in range(3, 60, 3)
    }

    assert seen[9] is LinkState.UNSURE
    assert seen[45] is LinkState.UNSURE
    assert seen[48] is LinkState.DOWN


def test_a_note_nobody_renews_is_one_of_a_link_that_is_down(engine):
    process = Process(engine)
    process.tick(0)

    assert process.read(18).state is LinkState.UP
    assert process.read(19).state is LinkState.DOWN
    assert process.read(19).since == AT + 18 * SECOND


def test_nobody_is_asked_while_the_centre_is_heard_but_for_its_time(engine):
    process = Process(engine)
    process.tick(0)
    for second in range(1, 60):
        process.hearing.heard(now=float(second), at=AT + second * SECOND)
        assert process.tick(second) is None
    process.hearing.heard(now=60.0, at=AT + 60 * SECOND)
    assert process.tick(60) is not None


def test_a_wrong_clock_is_said_with_its_side_and_told_to_the_centre(engine):
    process = Process(engine)
    process.tick(0, ahead=timedelta(minutes=-7))

    found = process.read(1)
    assert not found.clock_agrees
    assert "本机时钟比中心快 7 分 0 秒" in found.words()
    assert process.tick(4).skew_seconds == -420


def test_a_key_that_opens_nothing_is_said_and_asked_about_seldom(engine):
    process = Process(engine)
    process.tick(0, answered=False)
    process.hearing.broken_seal(at=AT)
    asked = [second for second in range(1, 130, 3) if process.tick(second, answered=False) is not None]

    assert "请核对前置机密钥" in process.read(129).words()
    assert process.read(129).is_down
    assert len(asked) == 2

    process.hearing.heard(now=130.0, at=AT + 130 * SECOND)
    process.tick(130)
    assert "密钥" not in process.read(130).words()
