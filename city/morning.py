"""`make run`: one outpatient morning on real services, with its accidents, and the proof that nothing was lost."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine

from city.doors import Doors, open_doors
from city.faults import Faults
from city.found import Found, returned_and_refused, what_happened, wrong_ends
from city.hospitals import Told
from city.plan import CityPlan
from city.progress import progress
from city.promises import audit
from city.sample.morning import CLOSES, DAY, OPENS, City, sample_city
from city.waiting import still_open
from domain.lifecycle import ClaimState
from infra.clock import SHANGHAI, Clock
from infra.database import reading
from infra.settings import Settings
from infra.supervisor import Supervisor
from producers.statement import as_text
from workers.claims import show

FOLDER = "morning"
PLAY_SECONDS = 42.0
STARTING_SECONDS = 4.0
STARTING_SHARE = 6.0
"""The doors open after so many times what one service took to start: a dozen start side by side on two cores."""
PLAIN_WIDTH = 110
FINISH_WITHIN_SECONDS = 75.0
STEP_SECONDS = 0.1
TURN_EVERY_SECONDS = 0.5
"""A HIS writes its files and looks into its tables so often."""

QUICK = {
    "JIESUAN_SWEEP_AFTER_SECONDS": "4",
    "JIESUAN_SWEEP_EVERY_SECONDS": "1",
    "JIESUAN_WINDOW_TICK_SECONDS": "1",
    "JIESUAN_BOOKS_TICK_SECONDS": "3",
    "JIESUAN_AUDIT_TICK_SECONDS": "5",
}
"""A morning passes in a minute here, so what is done every so often is done oftener."""


def run(settings: Settings) -> int:
    """Play the sample morning and prove the promises; 0 only if all were kept."""
    began = time.monotonic()
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    city = sample_city()
    with Supervisor(settings.data_dir / FOLDER) as supervisor:
        morning = Morning(
            settings=settings,
            folder=settings.data_dir / FOLDER,
            city=city,
            supervisor=supervisor,
            console=console,
        )
        with closing(morning):
            morning.start()
            found = morning.play()
            morning.tell(found)
    print(json.dumps(found.numbers(time.monotonic() - began)), flush=True)
    return 0 if found.audit.all_kept and not found.unfinished else 1


@dataclass(kw_only=True)
class Morning:
    """One morning: the services, the hospitals, the accidents, the audit."""

    settings: Settings
    folder: Path
    city: City
    supervisor: Supervisor
    console: Console
    play_seconds: float = PLAY_SECONDS
    any_ports: bool = False
    plan: CityPlan = field(init=False)
    clock: Clock = field(init=False, default=Clock())
    center_engine: Engine = field(init=False)
    frontends: dict[str, Engine] = field(init=False)
    _engines: list[Engine] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        # A morning plays with its servers, down to FLUSHALL, so it only ever plays with its own.
        servers = ("center_broker", "center_database", "frontend_broker", "frontend_database", "exchange_database")
        nobodys = {f"{server}_url": "" for server in servers}
        self.plan = CityPlan(
            settings=self.settings.model_copy(update=nobodys),
            folder=self.folder,
            city=self.city,
            any_ports=self.any_ports,
        )

    def start(self) -> None:
        """Start the servers, make the city anew, start the services; the clock runs from here on."""
        if self.plan.clear():
            self.console.print(f"清除上次留下的数据 {self.folder}")
        self.center_engine, self.frontends = self.plan.prepare(self.supervisor)
        self._engines = [self.center_engine, *self.frontends.values()]
        # The timetable needs no business clock. It starts alone, which shows how long the others will take.
        began = time.time()
        self.supervisor.start(*(service for service in self.plan.services(QUICK) if service.name == "beat"))
        self.clock = self._clock_from(time.time() - began)
        self._introduce()
        services = self.plan.services({"JIESUAN_CLOCK": self.clock.written(), **QUICK})
        self.supervisor.start(*(service for service in services if service.name != "beat"))
        self.console.print(f"{len(self.supervisor.pids())} 个进程就绪，{self.clock.now():%H:%M}")

    def close(self) -> None:
        """Let go of the databases."""
        for engine in self._engines:
            engine.dispose()

    def play(self) -> Found:
        """Play the morning, wait for its end, audit it. The services still run afterwards."""
        faults = Faults(self.plan, self.supervisor)
        with open_doors(self.plan) as doors:
            self._hand_in(doors, faults)
            unfinished = self._wait_for_the_end(doors)
            told = doors.told()
        return Found(
            city=self.city,
            told=told,
            audit=audit(self.center_engine, self.frontends, told, self.city),
            accidents=tuple(faults.happened),
            outcome_of_accidents=faults.outcome(self.frontends),
            statements=tuple(self._statements(told)),
            unfinished=unfinished,
        )

    def _clock_from(self, one_service_seconds: float) -> Clock:
        """Business time for all processes; the doors open when the services should be up."""
        opens, closes = (datetime.combine(DAY, at, SHANGHAI) for at in (OPENS, CLOSES))
        speed = (closes - opens).total_seconds() / self.play_seconds
        return Clock(opens, time.time() + max(STARTING_SECONDS, STARTING_SHARE * one_service_seconds), speed)

    # ── The play ──────────────────────────────────────────────────────────────────────────────────────────

    def _hand_in(self, doors: Doors, faults: Faults) -> None:
        waiting = deque(self.city.arrivals)
        to_come = deque(faults.planned())
        turn_due = 0.0
        with progress(self.console, self.frontends, len(waiting)) as shown:
            while waiting or to_come or not doors.nothing_waits():
                now, real = self.clock.now(), self.clock.seconds()
                arrived = []
                while waiting and waiting[0].at <= now:
                    arrived.append(waiting.popleft())
                doors.hand_in(arrived)
                if real >= turn_due:
                    turn_due = real + TURN_EVERY_SECONDS
                    doors.turn(at=now)
                if to_come and now >= datetime.combine(DAY, to_come[0].at, SHANGHAI):
                    shown.say(f"{now:%H:%M} {faults.strike(to_come.popleft())}")
                shown.show(len(self.city.arrivals) - len(waiting), now)
                time.sleep(STEP_SECONDS)

    def _wait_for_the_end(self, doors: Doors) -> str:
        """Wait until every claim has its end, all detail is up and the books are compared; what is open if not.

        The end may be overdue for good, so the waiting is bounded; the audit then says what is missing.
        """
        deadline = time.monotonic() + FINISH_WITHIN_SECONDS
        self.console.print(f"{self.clock.now():%H:%M} 收诊，等待结算、明细上传和对账")
        while True:
            doors.turn(at=self.clock.now())
            unanswered = doors.unanswered()
            still = still_open(self.center_engine, self.frontends, self.city.claims)
            if unanswered:
                still = f"共享表未答复 {unanswered} 笔；{still}".rstrip("；")
            if not still or time.monotonic() > deadline:
                break
            time.sleep(0.25)
        self.console.print(f"{self.clock.now():%H:%M} {still or '全部了结'}")
        return still

    # ── What people see ───────────────────────────────────────────────────────────────────────────────────

    def _introduce(self) -> None:
        city, speed = self.city, self.clock.speed
        doors = Counter(one.door for one in city.claims)
        repeated = Counter(arrival.manner for arrival in city.arrivals if arrival.manner != "first")
        self.console.print(
            f"示例城市（种子 {city.seed}）：{len(city.institutions)} 家机构，{len(city.people)} 名参保人，"
            f"目录 {len(city.items)} 项。参保人和机构均为虚构。\n"
            f"{DAY} 上午 {OPENS:%H:%M}–{CLOSES:%H:%M}，按 {speed:.0f} 倍速：{len(city.claims)} 笔费用，"
            f"{city.lines()} 条明细，其中有错 {sum(bool(one.defect) for one in city.claims)} 笔；"
            f"重复提交 {repeated['again']} 笔，同时提交两次 {repeated['twice at once']} 笔，"
            f"换内容用旧键 {repeated['key reused']} 笔。\n"
            f"文件 {doors['dbf']} 笔，接口 {doors['api']} 笔，共享表 {doors['tables']} 笔"
            f"（其中先录错后更正 {sum(one.is_mistyped for one in city.claims)} 笔）。\n"
            "每次就诊明细条数（2–15，中位数 5）未见公布数字，为假设。"
        )

    def tell(self, found: Found) -> None:
        """Print what happened, two statements, and how each promise stands."""
        for statement in found.statements:
            self.console.print(f"\n{statement.rstrip()}")
        self.console.print()
        self.console.print(what_happened(found))
        self.console.print(returned_and_refused(found))
        self.console.print("\n事故：" + "；".join(found.accidents))
        self.console.print(f"结果：{found.outcome_of_accidents}\n")
        for promise in found.audit.promises:
            self.console.print(f"{'✓' if promise.kept else '✗'} {promise.name}：{promise.words}")
        if found.unfinished:
            self.console.print(f"✗ 到时仍未了结：{found.unfinished}")
        for wrong in wrong_ends(found)[:10]:
            self.console.print(f"  {wrong}")
        sys.stdout.flush()

    def _statements(self, told: Sequence[Told]) -> Iterator[str]:
        """The statements of two settled claims, one from each door."""
        for door in ("dbf", "api"):
            settled = next(
                (one for one in told if one.state == ClaimState.SETTLED and one.claim.institution.door == door), None
            )
            if settled is not None:
                institution = settled.claim.institution
                with reading(self.frontends[institution.frontend]) as connection:
                    view = show(connection, institution.institution_code, settled.claim_no)
                if view is not None:
                    yield as_text(view, institution_name=institution.name, key=self.plan.key_of(institution.frontend))
