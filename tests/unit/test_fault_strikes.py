"""What strikes stand on: a process run twice, a strike that counts from when it has begun, a window that is shut."""

from __future__ import annotations

import random
import signal
import sys
import time
from datetime import datetime, timedelta

import pytest

from infra.supervisor import Service, touched
from tests.faults.doubles import Double
from tests.faults.kinds import Kind, Struck
from tests.faults.office import granted_while_shut
from tests.faults.run import Nemesis
from tests.support.waiting import eventually

NOON = datetime(2026, 3, 2, 12)
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.fixture
def double(tmp_path):
    running = []

    def run(*, first="", last="import time; time.sleep(60)"):
        file = tmp_path / "heartbeat"
        program = f"{first}\nimport pathlib\npathlib.Path({str(file)!r}).touch()\n{last}"
        service = Service(name="desk-again", argv=[sys.executable, "-c", program], ready=touched(file))
        running.append(Double(service, tmp_path / "desk-again.log"))
        return running[-1]

    yield run
    for one in running:
        one.end(signal.SIGKILL)
        one.gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_double_has_begun_when_it_is_ready_and_is_gone_when_it_was_ended(double, number):
    again = double()
    eventually(lambda: again.has_begun)
    assert again.was_ready
    assert not again.has_ended

    again.end(number)
    again.gone()
    assert again.has_ended
    assert again.was_ready, "what it was is not forgotten"


def test_a_double_that_could_not_start_holds_nothing_up(double):
    again = double(first="raise SystemExit(75)")

    eventually(lambda: again.has_begun)
    assert not again.was_ready
    again.end(signal.SIGTERM)
    again.gone()


def test_a_double_that_does_not_listen_is_killed(double):
    again = double(first=DEAF)
    eventually(lambda: again.was_ready)

    again.end(signal.SIGTERM)
    again.gone(within=0.2)
    assert again.has_ended


def test_a_strike_holds_on_for_its_seconds_from_when_it_has_begun():
    began, undone = time.monotonic(), []

    def strike(town, dice):
        return Struck("slow to begin", lambda: undone.append(now()), 0.2, lambda: now() > 0.3)

    def now():
        return time.monotonic() - began

    Nemesis(None, random.Random(1), 0.0, lambda words: None).play([Kind("slow", 1, strike)])

    assert undone[0] >= 0.5


@pytest.mark.parametrize(
    ("granted", "shut_since", "is_wrong"),
    [
        pytest.param(None, NOON, False, id="none was granted"),
        pytest.param(NOON, NOON, False, id="by a tick that began before"),
        pytest.param(NOON + timedelta(seconds=1), None, False, id="and it was never wholly shut"),
        pytest.param(NOON + timedelta(seconds=1), NOON, True, id="after it was shut"),
    ],
)
def test_a_slice_that_is_granted_while_the_window_is_shut_is_found(granted, shut_since, is_wrong):
    assert bool(granted_while_shut(granted, shut_since)) is is_wrong
