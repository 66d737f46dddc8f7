"""The week is lived: both hospitals do the same things on the same days, and their readers are killed meanwhile."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from datetime import time as time_of_day

from domain.visit import ChargeLine
from infra.clock import SHANGHAI, Clock
from tests.simulation.deaths import READING, WRITING
from tests.simulation.his import His, Ordered
from tests.simulation.insurance import Insurance, citizen
from tests.simulation.readers import ROLES, Readers
from tests.simulation.week import DAYS, Round, Stay, Week
from workers import visits

EVENING, NIGHT = timedelta(hours=10), timedelta(hours=12)
PHASES = DAYS * 5
FEWEST_PARTS = 3
"""A day's orders come in so many parts at least, and a reader is killed after each of them."""
LONGEST_PAUSE = 0.35
"""A reader lives at most so many seconds before it is killed, while kills are left: it needs a tenth to begin."""
PATIENCE_SECONDS = 90.0


class Stuck(AssertionError):
    """Something did not come to pass."""


class Life:
    """One week of both hospitals. Whatever goes wrong is told with the seed."""

    def __init__(
        self, week: Week, insurance: Insurance, his: dict[str, His], readers: Readers, *, seed: int, kills: int
    ) -> None:
        self.week, self.insurance, self.his, self.seed = week, insurance, his, seed
        self.visit_nos: dict[str, dict[int, str]] = {code: {} for code in his}
        self._readers, self._dice = readers, random.Random(seed)
        self._kills_left, self._phases_left = kills, PHASES
        self._results = self._discharged = 0
        self._clock = ""
        self._begun = False
        self._parts = max(FEWEST_PARTS, kills // (3 * DAYS))
        self.kills = self.kills_at_rest = 0
        """How often a reader was killed at a random moment, and how often of these when nothing was left to do."""
        self.deaths: Counter[tuple[str, str]] = Counter()
        """How often one died at a boundary, by role and point."""
        self._armed: dict[str, str] = {}
        self._points = {
            (way, role): itertools.cycle(points)
            for way, by_role in (("in", READING), ("out", WRITING))
            for role, points in by_role.items()
        }

    def live(self) -> None:
        """All days, one after the other; what is left of the kills comes when everything is done. Raises Stuck."""
        for day in range(DAYS):
            self._morning(day)
            self._register(day)
            self._order(day)
            self._correct(day)
            self._settle(day)
            self._refund(day)
        self.kills_at_rest = self._kills_left
        while self._kills_left:
            self._kill_one()
        self._until(lambda: self._is_told() and not self.insurance.is_to_hand_out(at=self.at + NIGHT), "rest")

    # ── A day ─────────────────────────────────────────────────────────────────────────────────────────────

    def _morning(self, day: int) -> None:
        """The readers begin with the new day's clock."""
        self.at = datetime.combine(self.week.day(day), time_of_day(8), SHANGHAI)
        self._clock = Clock(self.at, time.time(), 1.0).written()
        self._begin_anew("in")

    def _register(self, day: int) -> None:
        new = [stay for stay in self.week.stays if stay.admitted == day]
        for code in self.his:
            self.visit_nos[code] |= self.insurance.registers(code, new, at=self.at)
        so_far = sum(stay.admitted <= day for stay in self.week.stays)
        self._until(lambda: all(len(his.registered()) == so_far for his in self.his.values()), "registrations")
        for code, his in self.his.items():
            told = his.registered()
            assert all(told[citizen(code, stay)] == self.visit_nos[code][stay.serial] for stay in new)

    def _order(self, day: int) -> None:
        """First as the wards write it, mistakes and all, until every row has its verdict."""
        there = [(stay, stay.rounds[day]) for stay in self.week.stays if day in stay.rounds]
        for part in range(self._parts):
            for code, his in self.his.items():
                lines = [
                    ordered
                    for stay, orders in there[part :: self._parts]
                    for ordered in self._ordered(code, stay, orders.first)
                ]
                his.orders(lines, self.week.day(day))
            self._kill_one()
        wrong = {code: self._mistakes(code, there) for code in self.his}
        self._until(lambda: all(self._is_judged(code, wrong[code]) for code in self.his), "verdicts")

    def _correct(self, day: int) -> None:
        """Every line that came back is mended, until all lines of the week so far are read in."""
        there = [(stay, stay.rounds[day]) for stay in self.week.stays if day in stay.rounds]
        for code, his in self.his.items():
            for stay, orders in there:
                mended = [right for first, right in zip(orders.first, orders.right, strict=True) if first != right]
                his.corrects(self._ordered(code, stay, mended), anew=stay.serial % 2 == 0)
        self._until(lambda: all(self._is_all_read(code) for code in self.his), "lines read in")

    def _settle(self, day: int) -> None:
        """Interim settlements, discharges and final settlements, until each HIS has its results.

        In two halves, so that the second is written into files that are there.
        """
        for half in (0, 1):
            if half:
                self._begin_anew("out")
            ending = [stay for stay in self.week.stays[half::2] if day in (stay.interim, stay.discharged)]
            for code in self.his:
                for stay in ending:
                    self._settle_one(code, stay, day)
            self.insurance.center_settles(at=self.at + EVENING)
            self._results += len(ending)
            self._discharged += sum(stay.discharged == day for stay in ending)
            self._until(self._is_told, "results")
        if day % 2:
            for his in self.his.values():
                his.reads_results()

    def _settle_one(self, code: str, stay: Stay, day: int) -> None:
        visit_no, is_final = self.visit_nos[code][stay.serial], day == stay.discharged
        if is_final:
            left = self.insurance.discharges(code, visit_no, at=self.at + EVENING)
            assert isinstance(left, visits.Done), self._said(code, stay, left)
        settling = self.insurance.settles(code, visit_no, final=is_final, at=self.at + EVENING)
        assert isinstance(settling, visits.Settling), self._said(code, stay, settling)

    def _refund(self, day: int) -> None:
        """The stays that were a mistake altogether are taken back, the last settlement first."""
        taken_back = [stay for stay in self.week.stays if stay.is_refunded and stay.discharged == day]
        for code in self.his:
            for stay in taken_back:
                for batch in range(len(stay.batches), 0, -1):
                    refused = self.insurance.refunds(code, self.visit_nos[code][stay.serial], batch, at=self.at + NIGHT)
                    assert not refused, self._said(code, stay, refused)
        self._results += sum(len(stay.batches) for stay in taken_back)
        self._until(self._is_told, "results taken back")

    # ── What is waited for ────────────────────────────────────────────────────────────────────────────────

    def _mistakes(self, code: str, there: Sequence[tuple[Stay, Round]]) -> dict[tuple[str, int], bool]:
        return {
            (self.visit_nos[code][stay.serial], first.line_no or 0): first != right
            for stay, orders in there
            for first, right in zip(orders.first, orders.right, strict=True)
        }

    def _is_judged(self, code: str, wrong: dict[tuple[str, int], bool]) -> bool:
        """Whether every row of today has its verdict, and the right one."""
        verdicts = self.his[code].verdicts()
        if any(key not in verdicts or not verdicts[key].code for key in wrong):
            return False
        for key, is_wrong in wrong.items():
            said = verdicts[key]
            assert (said.flag == 2) == is_wrong == (said.code != "00"), f"seed {self.seed}, line {key}: {said}"
        return True

    def _is_all_read(self, code: str) -> bool:
        return all(said == (1, "00") for said in self.his[code].verdicts().values())

    def _is_told(self) -> bool:
        """Whether every HIS has all its results and discharges; never more of them."""
        for code, his in self.his.items():
            found = len(his.results()), len(his.discharged())
            wanted = self._results, self._discharged
            assert found[0] <= wanted[0] and found[1] <= wanted[1], f"seed {self.seed}, {code}: {found} of {wanted}"
            if found != wanted:
                return False
        return True

    def _ordered(self, code: str, stay: Stay, lines: Sequence[ChargeLine]) -> list[Ordered]:
        visit_no, admitted = self.visit_nos[code][stay.serial], self.week.day(stay.admitted)
        return [Ordered(visit_no, citizen(code, stay), admitted, line) for line in lines]

    def _said(self, code: str, stay: Stay, what: object) -> str:
        return f"seed {self.seed}, institution {code}, stay {stay.serial}: {what}"

    # ── Killing ───────────────────────────────────────────────────────────────────────────────────────────

    def _begin_anew(self, way: str) -> None:
        """Readers that will die at the next of the boundaries on this way."""
        for role in ROLES:
            if self._begun:
                self._revive(role)
                self._readers.kill(role)
            self._armed[role] = next(self._points[way, role])
            self._readers.start(role, self._clock, dying_at=self._armed[role])
        self._begun = True

    def _until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for it, killing this phase's share of readers before it comes to pass."""
        last = self._kills_left - self._kills_left // max(self._phases_left, 1)
        self._phases_left -= 1
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._kills_left > last and not happened():
            self._kill_one()
        while not happened():
            if time.monotonic() > deadline:
                raise Stuck(f"seed {self.seed}, {self.at:%m-%d}: no {what} in {PATIENCE_SECONDS:g} s")
            time.sleep(0.05)
            for role in ROLES:
                self._revive(role)

    def _kill_one(self) -> None:
        """Let the readers work a moment, then kill one of them and begin another in its place."""
        time.sleep(self._dice.uniform(0.0, LONGEST_PAUSE))
        role = self._dice.choice(ROLES)
        if not self._revive(role) and self._kills_left > 0:
            self._kills_left -= 1
            self.kills += 1
            self._readers.kill(role)
            self._readers.start(role, self._clock, dying_at=self._armed.get(role, ""))

    def _revive(self, role: str) -> bool:
        """Whether the reader had died where it was made to; another one is there now that will not."""
        if self._readers.is_running(role):
            return False
        self.deaths[role, self._armed.pop(role)] += 1
        self._readers.kill(role)
        self._readers.start(role, self._clock)
        return True
