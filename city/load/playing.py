"""One day on real processes: played at its speed, watched, brought to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import Engine

from center.clearing import schedule as clearing
from city.load import told
from city.load.arrivals import Arrival
from city.load.claims import Cast
from city.load.day import Day
from city.load.model import CityModel
from city.load.scripts import FLOOD
from city.load.servers import Server
from city.load.services import Site
from city.load.staging import Stage, Wanted
from city.load.told import Answer, Clocks
from city.load.watching import Look, Watch
from city.sample.claims import SampleClaim
from city.waiting import still_open
from infra.clock import Clock

LOOK_SECONDS = 1.0
INTERRUPTED_DRAIN_SECONDS = 60.0
"""After Ctrl-C what was handed in is settled and told; its detail is not waited for."""
CLEARED_AFTER_DAYS = 8
"""The month closes on the fifth working day after its end (the sample city's calendar)."""


@dataclass(slots=True, kw_only=True)
class Played:
    """What came of a day: everything the figures are made of."""

    wanted: Wanted
    city: CityModel
    servers: list[Server]
    day: Day
    cast: Cast
    arrivals: list[Arrival]
    claims: list[SampleClaim]
    """Without their lines."""
    lines: list[int]
    """How many each had."""
    clocks: Clocks
    clock: Clock
    answers: dict[int, Answer]
    looks: list[Look]
    link: list[dict[str, Any]]
    drivers: list[dict[str, Any]]
    is_cut_short: bool
    unfinished: str
    closing: dict[str, float]
    processes: dict[str, int]
    ready_at: float
    ended_at: float
    center_engine: Engine
    frontends: Mapping[str, Engine]
    site: Site


Show = Callable[["Playing", str], None]


@dataclass(kw_only=True)
class Playing(Stage):
    """One day while it is played."""

    show: Show
    """Called about once a second with the words of the moment."""

    def play(self) -> Played:
        """Play the hours, let everything come to its end, close the month. The services still run afterwards."""
        with ExitStack() as stack:
            brokers = [redis.Redis.from_url(each.url) for each in (self.site.broker, self.site.site_broker)]
            for broker in brokers:
                stack.callback(broker.close)
            self.watch = Watch(self.clock, self.frontends, brokers)
            is_cut_short = False
            try:
                self._hours()
                unfinished = self._drain(self.wanted.drain_seconds)
            except KeyboardInterrupt:
                is_cut_short = True
                self.say("提前结束：不再来新的费用，已受理的办完 Nobody new; what was handed in is finished")
                unfinished = self._interrupted()
        ended_at = time.time()
        answers = self._answers()
        if not is_cut_short:
            unfinished = unfinished or self._settled_down(answers)
        closing = {} if is_cut_short or unfinished else self._close_month()
        for helper in self._helpers.values():
            helper.end()
        return Played(
            wanted=self.wanted,
            city=self.city,
            servers=self.servers,
            day=self.day,
            cast=self.cast,
            arrivals=self.arrivals,
            claims=self.claims,
            lines=self.lines,
            clocks=self.clocks,
            clock=self.clock,
            answers=answers,
            looks=self.watch.looks,
            link=self._link,
            drivers=self._drivers,
            is_cut_short=is_cut_short,
            unfinished=unfinished,
            closing=closing,
            processes=self.pids(),
            ready_at=self.ready_at,
            ended_at=ended_at,
            center_engine=self.center_engine,
            frontends=self.frontends,
            site=self.site,
        )

    def due_and_answered(self) -> tuple[int, int]:
        """How many claims were due so far, and how many are answered."""
        doors = [self.progress.get(name, {}) for name in ("api", "his")]
        return sum(door.get("due", 0) for door in doors), sum(door.get("answered", 0) for door in doors)

    def oldest_seconds(self) -> float:
        """How long the longest waiting claim has waited at its counter, in real seconds, but for the noisy clinic's."""
        crowds = [crowd for name in ("api", "his") for crowd in self.progress.get(name, {}).get("waiting", {}).items()]
        return max((age for name, (_, age) in crowds if not name.endswith(FLOOD)), default=0.0)

    def _hours(self) -> None:
        cut = self.day.cut
        accidents: list[tuple[float, Callable[[], None], str]] = [
            (cut.begins, lambda: self._helpers["link"].order("cut", cut.server), f"{cut.server} 的链路断开 link cut"),
            (cut.ends, lambda: self._helpers["link"].order("join", cut.server), f"{cut.server} 的链路恢复 link back"),
        ]
        due = time.time()
        while (second := self.clocks.second(time.time())) < self.day.closes:
            while accidents and accidents[0][0] <= second:
                _, strike, words = accidents.pop(0)
                strike()
                self.say(f"{self.clock.now():%H:%M} {words}")
            due = self._look(due, "")
        for _, strike, _ in accidents:
            strike()

    def _drain(self, within: float) -> str:
        """Look on until nothing is under way; what still is when the time is up."""
        deadline, due, rounds = time.time() + within, time.time(), 0
        left = "…"
        while time.time() < deadline:
            due = self._look(due, f"收尾 {left}")
            rounds += 1
            if self._waiting() or rounds % 3:
                continue
            left = still_open(self.center_engine, self.frontends, ())
            if not left:
                return ""
        return left if left != "…" else f"柜台仍在等待 {self._waiting()} 笔"

    def _interrupted(self) -> str:
        for name in ("api", "his"):
            self._helpers[name].order("stop")
        self._helpers["link"].order("join", self.day.cut.server)
        deadline, due = time.time() + INTERRUPTED_DRAIN_SECONDS, time.time()
        try:
            while self._waiting() or not self.watch.looks or self.watch.looks[-1].open_claims:
                if time.time() > deadline:
                    return f"柜台仍在等待 {self._waiting()} 笔"
                due = self._look(due, "收尾")
        except KeyboardInterrupt:
            return "再次中断，未收尾"
        return ""

    def _waiting(self) -> int:
        doors = [self.progress.get(name, {}) for name in ("api", "his")]
        return sum(int(count) for door in doors for count, _ in door.get("waiting", {}).values()) + int(
            doors[0].get("under_way", 0)
        )

    def _look(self, due: float, words: str) -> float:
        """One look when it is due; when the next one is."""
        if (early := due - time.time()) > 0:
            time.sleep(min(early, 0.1))
            return due
        self.watch.look(self.pids())
        for helper in self._helpers.values():
            helper.check()
        self.show(self, words)
        return max(due + LOOK_SECONDS, time.time())

    def _answers(self) -> dict[int, Answer]:
        """End the counters and take what they were told."""
        answers: dict[int, Answer] = {}
        for name, file in (("api", "cashiers"), ("his", "his")):
            self._helpers.pop(name).end()
            answers |= {one.number: one for one in told.read(self.folder / "plans" / f"{file}.answers")}
        return answers

    def _settled_down(self, answers: Mapping[int, Answer]) -> str:
        """What of the claims handed in is not at its end, once more and by their number."""
        return still_open(
            self.center_engine, self.frontends, [claim for claim in self.claims if claim.number in answers]
        )

    def _close_month(self) -> dict[str, float]:
        """The month's clearing closes, as the calendar's tick would have it."""
        at = self.day.moment(self.day.closes + CLEARED_AFTER_DAYS * 86_400)
        self.say("月末清算关账 The month's clearing closes")
        began, done = time.time(), clearing.tick(self.center_engine, at=at, now=time.time(), holder="load")
        return {"seconds": time.time() - began, "closed": done.closed, "refused": done.refused}
