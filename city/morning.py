"""`make run`: one outpatient morning on real services, with its accidents, and the proof that nothing was lost."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Engine, func, select

import center.tables as centre
from city.faults import Faults
from city.hospitals import ApiHospitals, FileHospital, Told, is_as_expected
from city.plan import CityPlan
from city.promises import Audit, audit
from city.sample.institutions import BUSINESS_SHARE, WORDS_ZH
from city.sample.morning import CLOSES, DAY, OPENS, Arrival, City, sample_city
from domain.lifecycle import OPEN, ClaimState
from domain.money import yuan
from infra.clock import SHANGHAI, Clock
from infra.database import reading
from infra.settings import Settings
from infra.supervisor import Supervisor
from producers.client import JiesuanClient
from producers.statement import as_text
from workers.claims import counts_by_state, show
from workers.tables import claim

FOLDER = "morning"
PLAY_SECONDS = 42.0
STARTING_SECONDS = 4.0
STARTING_SHARE = 6.0
"""The doors open after so many times what one service took to start: a dozen start side by side on two cores."""
PLAIN_WIDTH = 110
FINISH_WITHIN_SECONDS = 75.0
STEP_SECONDS = 0.1
FILES_EVERY_SECONDS = 0.5
REPORT_EVERY_SECONDS = 5.0

QUICK = {
    "JIESUAN_SWEEP_AFTER_SECONDS": "4",
    "JIESUAN_SWEEP_EVERY_SECONDS": "1",
    "JIESUAN_WINDOW_TICK_SECONDS": "1",
    "JIESUAN_BOOKS_TICK_SECONDS": "3",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of a morning."""

    city: City
    told: tuple[Told, ...]
    audit: Audit
    accidents: tuple[str, ...]
    outcome_of_accidents: str
    statements: tuple[str, ...]
    unfinished: str

    def numbers(self, seconds: float) -> dict[str, float]:
        """The last line of a run."""
        ends = Counter(one.state for one in self.first_told())
        return {
            "claims_submitted": len(self.city.claims),
            "claims_settled": ends[ClaimState.SETTLED],
            "claims_refused": ends[ClaimState.RETURNED] + ends[ClaimState.REFUSED],
            "claims_lost": self.audit.lost,
            "claims_paid_twice": self.audit.paid_twice,
            "detail_lines_total": self.audit.detail_lines_total,
            "detail_lines_uploaded": self.audit.detail_lines_uploaded,
            "difference_fen": self.audit.difference_fen,
            "seconds": round(seconds, 1),
        }

    def first_told(self) -> list[Told]:
        """One answer per claim: repetitions are left out."""
        firsts = {one.claim.number: one for one in reversed(self.told) if one.manner in ("first", "twice at once")}
        return list(firsts.values())


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
        nobodys = dict.fromkeys(
            ("center_broker_url", "center_database_url", "frontend_broker_url", "frontend_database_url"), ""
        )
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
        center_engine, frontends = self.center_engine, self.frontends
        faults = Faults(self.plan, self.supervisor)
        with self._hospitals() as (files, cashiers):
            self._hand_in(files, cashiers, faults, frontends)
            unfinished = self._wait_for_the_end(center_engine, frontends)
            told = (*(one for hospital in files.values() for one in hospital.told()), *cashiers.told())
        return Found(
            city=self.city,
            told=told,
            audit=audit(center_engine, frontends, told, self.city),
            accidents=tuple(faults.happened),
            outcome_of_accidents=faults.outcome(frontends),
            statements=tuple(self._statements(told, frontends)),
            unfinished=unfinished,
        )

    def _clock_from(self, one_service_seconds: float) -> Clock:
        """Business time for all processes; the doors open when the services should be up."""
        opens, closes = (datetime.combine(DAY, at, SHANGHAI) for at in (OPENS, CLOSES))
        speed = (closes - opens).total_seconds() / self.play_seconds
        return Clock(opens, time.time() + max(STARTING_SECONDS, STARTING_SHARE * one_service_seconds), speed)

    # ── The play ──────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _hospitals(self) -> Iterator[tuple[dict[str, FileHospital], ApiHospitals]]:
        files, clients = {}, {}
        for institution in self.city.institutions:
            code = institution.institution_code
            if institution.door == "dbf":
                files[code] = FileHospital(self.plan.exchange_dir / code, DAY)
            else:
                clients[code] = JiesuanClient(self.plan.api_url(institution.frontend), self.plan.api_keys[code])
        cashiers = ApiHospitals(clients)
        try:
            yield files, cashiers
        finally:
            cashiers.close()
            for client in clients.values():
                client.close()

    def _hand_in(
        self,
        files: Mapping[str, FileHospital],
        cashiers: ApiHospitals,
        faults: Faults,
        frontends: Mapping[str, Engine],
    ) -> None:
        waiting = deque(self.city.arrivals)
        to_come = deque(faults.planned())
        on_files: dict[str, list[Arrival]] = {code: [] for code in files}
        files_due = 0.0
        with self._progress(frontends) as progress:
            while waiting or to_come or any(on_files.values()):
                now, real = self.clock.now(), self.clock.seconds()
                at_desks: list[Arrival] = []
                while waiting and waiting[0].at <= now:
                    arrival = waiting.popleft()
                    code = arrival.claim.institution.institution_code
                    on_files.get(code, at_desks).append(arrival)
                cashiers.hand_in(at_desks)
                if real >= files_due:
                    files_due = real + FILES_EVERY_SECONDS
                    for code, hospital in files.items():
                        hospital.hand_in(on_files[code], at=now)
                        on_files[code] = []
                if to_come and now >= datetime.combine(DAY, to_come[0].at, SHANGHAI):
                    progress.say(f"{now:%H:%M} {faults.strike(to_come.popleft())}")
                progress.show(len(self.city.arrivals) - len(waiting), now)
                time.sleep(STEP_SECONDS)

    def _wait_for_the_end(self, center_engine: Engine, frontends: Mapping[str, Engine]) -> str:
        """Wait until every claim has its end, all detail is up and the books are compared; what is open if not.

        The end may be overdue for good, so the waiting is bounded; the audit then says what is missing.
        """
        deadline = time.monotonic() + FINISH_WITHIN_SECONDS
        self.console.print(f"{self.clock.now():%H:%M} 收诊，等待结算、明细上传和对账")
        while True:
            still = self._still_open(center_engine, frontends)
            if not still or time.monotonic() > deadline:
                break
            time.sleep(0.25)
        self.console.print(f"{self.clock.now():%H:%M} {still or '全部了结'}")
        return still

    def _still_open(self, center_engine: Engine, frontends: Mapping[str, Engine]) -> str:
        unsettled = not_back = no_detail = 0
        expected = dict.fromkeys(frontends, 0)
        for one in self.city.claims:
            expected[one.institution.frontend] += one.is_registered
        settled: Counter[str] = Counter()
        for frontend, engine in frontends.items():
            with reading(engine) as connection:
                rows = connection.execute(
                    select(
                        claim.c.institution_code,
                        claim.c.state,
                        claim.c.channel,
                        claim.c.handed_back,
                        claim.c.detail_state,
                        func.count().label("claims"),
                    ).group_by(
                        claim.c.institution_code,
                        claim.c.state,
                        claim.c.channel,
                        claim.c.handed_back,
                        claim.c.detail_state,
                    )
                ).all()
            unsettled += max(0, expected[frontend] - sum(row.claims for row in rows))
            unsettled += sum(row.claims for row in rows if row.state in OPEN)
            not_back += sum(row.claims for row in rows if row.channel == "dbf" and not row.handed_back)
            for row in rows:
                if row.state == ClaimState.SETTLED:
                    settled[row.institution_code] += row.claims
                    no_detail += row.claims if row.detail_state != 1 else 0
        if unsettled or not_back or no_detail:
            return f"未了结 {unsettled} 笔，未回写 {not_back} 笔，明细未上传 {no_detail} 笔"
        with center_engine.connect() as connection:
            agreed = connection.execute(
                select(centre.reconciliation.c.institution_code, func.sum(centre.reconciliation.c.center_claims))
                .where(
                    centre.reconciliation.c.difference_fen == 0,
                    centre.reconciliation.c.fund_difference_fen == 0,
                    centre.reconciliation.c.frontend_claims == centre.reconciliation.c.center_claims,
                )
                .group_by(centre.reconciliation.c.institution_code)
            )
            compared = {code: int(claims) for code, claims in agreed}
        apart = sum(compared.get(code, 0) != count for code, count in settled.items())
        return f"未对平机构 {apart} 家" if apart else ""

    # ── What people see ───────────────────────────────────────────────────────────────────────────────────

    def _introduce(self) -> None:
        city, speed = self.city, self.clock.speed
        repeated = Counter(arrival.manner for arrival in city.arrivals if arrival.manner != "first")
        self.console.print(
            f"示例城市（种子 {city.seed}）：{len(city.institutions)} 家机构，{len(city.people)} 名参保人，"
            f"目录 {len(city.items)} 项。参保人和机构均为虚构。\n"
            f"{DAY} 上午 {OPENS:%H:%M}–{CLOSES:%H:%M}，按 {speed:.0f} 倍速：{len(city.claims)} 笔费用，"
            f"{city.lines()} 条明细，其中有错 {sum(bool(one.defect) for one in city.claims)} 笔；"
            f"重复提交 {repeated['again']} 笔，同时提交两次 {repeated['twice at once']} 笔，"
            f"换内容用旧键 {repeated['key reused']} 笔。\n"
            "每次就诊明细条数（2–15，中位数 5）未见公布数字，为假设。"
        )

    @contextmanager
    def _progress(self, frontends: Mapping[str, Engine]) -> Iterator[_Progress]:
        bar = Progress(
            TextColumn("{task.fields[clock]}"),
            BarColumn(),
            TextColumn("提交 {task.completed}/{task.total}  {task.fields[states]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with bar:
            yield _Progress(bar, self.console, frontends, len(self.city.arrivals))

    def tell(self, found: Found) -> None:
        """Print what happened, two statements, and how each promise stands."""
        for statement in found.statements:
            self.console.print(f"\n{statement.rstrip()}")
        self.console.print()
        self.console.print(_what_happened(found))
        self.console.print(_codes(found))
        self.console.print("\n事故：" + "；".join(found.accidents))
        self.console.print(f"结果：{found.outcome_of_accidents}\n")
        for promise in found.audit.promises:
            self.console.print(f"{'✓' if promise.kept else '✗'} {promise.name}：{promise.words}")
        if found.unfinished:
            self.console.print(f"✗ 到时仍未了结：{found.unfinished}")
        for wrong in _wrong(found)[:10]:
            self.console.print(f"  {wrong}")
        sys.stdout.flush()

    def _statements(self, told: Sequence[Told], frontends: Mapping[str, Engine]) -> Iterator[str]:
        """The statements of two settled claims, one from each door."""
        for door in ("dbf", "api"):
            settled = next(
                (one for one in told if one.state == ClaimState.SETTLED and one.claim.institution.door == door), None
            )
            if settled is not None:
                institution = settled.claim.institution
                with reading(frontends[institution.frontend]) as connection:
                    view = show(connection, institution.institution_code, settled.claim_no)
                if view is not None:
                    yield as_text(view, institution_name=institution.name)


@dataclass(slots=True)
class _Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    bar: Progress
    console: Console
    frontends: Mapping[str, Engine]
    total: int
    _task: int = -1
    _next: float = 0.0

    def show(self, handed_in: int, now: datetime) -> None:
        """Show how far the morning is."""
        real = time.monotonic()
        if real < self._next:
            return
        self._next = real + (1.0 if self.console.is_terminal else REPORT_EVERY_SECONDS)
        states = "  ".join(f"{WORDS[state]} {count}" for state, count in self._states().items() if count)
        if self.console.is_terminal:
            if self._task < 0:
                self._task = int(self.bar.add_task("", total=self.total, clock="", states=""))
            self.bar.update(self.bar.task_ids[0], completed=handed_in, clock=f"{now:%H:%M}", states=states)
        else:
            self.console.print(f"{now:%H:%M}  提交 {handed_in}/{self.total}  {states}")

    def say(self, words: str) -> None:
        """Say something above the bar."""
        self.console.print(words)

    def _states(self) -> dict[ClaimState, int]:
        counts: Counter[ClaimState] = Counter()
        for engine in self.frontends.values():
            with reading(engine) as connection:
                counts.update(counts_by_state(connection))
        return {state: counts[state] for state in WORDS}


WORDS = {
    ClaimState.ACCEPTED: "已受理",
    ClaimState.TOTALLED: "待中心",
    ClaimState.SETTLED: "已结算",
    ClaimState.RETURNED: "已退回",
    ClaimState.REFUSED: "中心拒绝",
}


def _what_happened(found: Found) -> Table:
    table = Table(title="按机构类别", title_justify="left")
    table.add_column("类别")
    for name in ("提交", "结算", "退回", "中心拒绝", "重复提交", "总金额", "基金支付"):
        table.add_column(name, justify="right")
    firsts = found.first_told()
    for size in (*BUSINESS_SHARE, None):
        mine = [one for one in firsts if size in (None, one.claim.institution.size)]
        again = [one for one in found.told if one.manner != "first" and size in (None, one.claim.institution.size)]
        ends = Counter(one.state for one in mine)
        table.add_row(
            WORDS_ZH[size] if size else "合计",
            str(len(mine)),
            *(str(ends[state]) for state in (ClaimState.SETTLED, ClaimState.RETURNED, ClaimState.REFUSED)),
            str(len(again)),
            *(yuan(sum(one.amounts.get(name, 0) for one in mine)) for name in ("total_amount", "fund_pay_amount")),
        )
    return table


def _codes(found: Found) -> str:
    """How many claims went back with which code, or were refused for which reason."""
    firsts = found.first_told()
    codes = Counter(code for one in firsts for code in [c for c in one.codes if c != "00"][:1])
    refused = Counter(one.words for one in firsts if one.state == ClaimState.REFUSED)
    back = "  ".join(f"{code}×{count}" for code, count in sorted(codes.items()))
    return f"退回代码：{back}\n中心拒绝：" + "  ".join(f"{words}×{count}" for words, count in sorted(refused.items()))


def _wrong(found: Found) -> list[str]:
    """The handings-in that did not end as they should, by number: no person is named."""
    return [
        f"{one.claim.number} {one.claim.institution.institution_code} {one.manner} {one.claim_no}: "
        f"应为 {one.claim.outcome} {one.claim.defect}，"
        f"实为 {one.state or one.problem} {'/'.join(one.codes)} {one.words}"
        for one in found.told
        if not is_as_expected(one)
    ]
