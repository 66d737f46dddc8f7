"""A centre and one front-end server with both doors, as `jiesuan serve` runs them, to be measured from outside."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Engine, func, insert, select, text

import center.schema
import center.tables
import workers.schema
import workers.tables
from center.serving.entering import enter
from domain.identity import synthetic_citizen_id
from domain.lifecycle import OPEN
from infra.clock import Clock
from infra.database import open_database, reading
from infra.embedded import free_port
from infra.envelope import frontend_key
from infra.reference import catalogue_row, policy_row
from infra.supervisor import Service, Supervisor, answers, say_on_stderr, touched
from tests.bench.claims import HOSPITAL, PERSONS, POLICY, SHORT_CODE, STARTS_AT, items, published

FRONTEND = "hospital"
API_KEY = "bench-key"
BALANCE_FEN = 300_000
SERVE = [str(Path(sys.executable).with_name("jiesuan")), "serve"]

CENTER_ROLES = ("center-settle", "center-detail", "beat", "flower")
FRONTEND_ROLES = ("desk", "link", "his", "api")
PARTIES = {
    "broker": ("broker",),
    "front-end": FRONTEND_ROLES,
    "centre": ("center-settle", "center-detail"),
    "database": ("database",),
}
"""Whose CPU time a claim is charged with. The timetable (beat) and Flower run too and are shown apart."""
BESIDE = ("beat", "flower")


class Stuck(Exception):
    """The claims did not get through in time."""


class Site:
    """The running processes, and what can be asked about them and about the claims."""

    def __init__(self, folder: Path, supervisor: Supervisor, *, broker_url: str, database_url: str) -> None:
        self.folder, self._supervisor = folder, supervisor
        self.exchange = folder / "exchange" / HOSPITAL
        self.exchange.mkdir(parents=True)
        self._urls = {"broker": broker_url, "database": database_url}
        self.api_port = free_port(0, "API", say_on_stderr)
        self.flower_port = free_port(0, "Flower", say_on_stderr)
        self._sqlite = f"sqlite:///{folder / 'frontend.db'}"
        self.frontend = self._new_frontend()
        self.center = self._new_center(database_url)
        self._env = self._settings()
        self._history = [0, 0, 0]
        """Settlements of the centre that no claim of the front-end has led to: how many, and their sums."""

    def start(self, *roles: str) -> None:
        """Start these roles, all of them if none is named, and return when they are ready."""
        self._supervisor.start(*(self._service(role) for role in roles or (*CENTER_ROLES, *FRONTEND_ROLES)))

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far of every process that runs, with its children."""
        return {name: self._supervisor.cpu_seconds(name) for name in self._supervisor.pids()}

    def pids(self) -> dict[str, int]:
        """The processes, for a profiler."""
        return self._supervisor.pids()

    @contextmanager
    def stopped(self, *roles: str) -> Iterator[None]:
        """Hold these processes, all if none is named, where they stand for a while; what is sent to them piles up."""
        held = roles or (*CENTER_ROLES, *FRONTEND_ROLES)
        for role in held:
            self._supervisor.kill(role, signal.SIGSTOP)
        try:
            yield
        finally:
            for role in held:
                self._supervisor.kill(role, signal.SIGCONT)

    def accepted(self) -> int:
        """How many claims the front-end has ever accepted; their ids have no gaps."""
        with reading(self.frontend) as connection:
            return connection.execute(select(func.max(workers.tables.claim.c.claim_id))).scalar() or 0

    def is_answered(self, total: int) -> bool:
        """Whether so many claims are accepted in all and none waits for its answer."""
        claim = workers.tables.claim
        with reading(self.frontend) as connection:
            if (connection.execute(select(func.max(claim.c.claim_id))).scalar() or 0) < total:
                return False
            waiting = select(claim.c.claim_id).where(
                claim.c.institution_code == HOSPITAL, claim.c.state.in_([str(state) for state in sorted(OPEN)])
            )
            return connection.execute(waiting.limit(1)).first() is None

    def is_handed_back(self) -> bool:
        """Whether nothing that came in as a file still has to be written back."""
        claim = workers.tables.claim
        with reading(self.frontend) as connection:
            waiting = select(claim.c.claim_id).where(~claim.c.handed_back, claim.c.channel == "dbf")
            return connection.execute(waiting.limit(1)).first() is None

    def wait_until_answered(self, total: int, *, within: float = 180) -> float:
        """The Unix time at which the last of so many claims had its answer recorded. Raises Stuck."""
        deadline = time.monotonic() + within
        while not self.is_answered(total):
            if time.monotonic() > deadline:
                raise Stuck(f"{self.states()} after {within:g} s, of {total} claims")
            time.sleep(0.05)
        return time.time()

    def states(self) -> dict[str, int]:
        """How many claims the front-end has in each state."""
        claim = workers.tables.claim
        with reading(self.frontend) as connection:
            rows = connection.execute(select(claim.c.state, func.count()).group_by(claim.c.state))
            return {str(state): int(count) for state, count in rows}

    def prove(self) -> None:
        """Both books hold the same claims and the same sums, and the centre's postings balance. Raises Stuck."""
        ours, theirs = self._sums()
        with self.center.connect() as connection:
            balance = connection.execute(select(func.sum(center.tables.posting.c.amount_fen))).scalar()
            durable = [connection.execute(text(f"SHOW {name}")).scalar() for name in ("fsync", "synchronous_commit")]
        expected = [mine + before for mine, before in zip(ours, self._history, strict=True)]
        if expected != theirs or balance or set(self.states()) != {"settled"}:
            raise Stuck(f"front-end {ours}, centre {theirs}, postings {balance}, states {self.states()}")
        if durable != ["on", "on"]:
            raise Stuck(f"the centre's database is not durable: {durable}")

    def count_from_here(self) -> None:
        """What the centre holds now beyond the front-end's claims was there before them: `prove` leaves it out."""
        ours, theirs = self._sums()
        self._history = [all_of_them - mine for all_of_them, mine in zip(theirs, ours, strict=True)]

    def _sums(self) -> tuple[list[int], list[int]]:
        """How many settled claims, their totals and what the funds pay: at the front-end, and at the centre."""
        claim, settlement = workers.tables.claim, center.tables.settlement
        with reading(self.frontend) as connection:
            ours = connection.execute(
                select(func.count(), func.sum(claim.c.total_fen), func.sum(claim.c.fund_pay_fen)).where(
                    claim.c.state == "settled"
                )
            ).one()
        with self.center.connect() as connection:
            theirs = connection.execute(
                select(func.count(), func.sum(settlement.c.total_fen), func.sum(settlement.c.fund_pay_fen))
            ).one()
        return [int(value or 0) for value in ours], [int(value or 0) for value in theirs]

    def _service(self, role: str) -> Service:
        heartbeat = self.folder / "heartbeats" / role
        heartbeat.parent.mkdir(exist_ok=True)
        ready = touched(heartbeat)
        if role == "api":
            ready = answers(f"http://127.0.0.1:{self.api_port}/readyz")
        elif role == "flower":
            ready = answers(f"http://127.0.0.1:{self.flower_port}/healthcheck")
        return Service(
            name=role,
            argv=[*SERVE, role],
            env={**self._env, "JIESUAN_HEARTBEAT_FILE": str(heartbeat)},
            ready=ready,
            after=("broker", "database"),
        )

    def _settings(self) -> Mapping[str, str]:
        secret = sha256(b"bench").digest()
        keys = {"center_secret": secret, "frontend_key": frontend_key(secret, FRONTEND)}
        for name, key in keys.items():
            (self.folder / name).write_text(key.hex(), encoding="ascii")
        settings = {
            "DATA_DIR": self.folder,
            "CLOCK": Clock(STARTS_AT, time.time(), 1.0).written(),
            "CENTER_DATABASE_URL": self._urls["database"],
            "CENTER_BROKER_URL": self._urls["broker"],
            "CENTER_SECRET_FILE": self.folder / "center_secret",
            "FRONTEND": FRONTEND,
            "FRONTEND_DATABASE_URL": self._sqlite,
            "FRONTEND_BROKER_URL": self._urls["broker"],
            "FRONTEND_KEY_FILE": self.folder / "frontend_key",
            "EXCHANGE_DIR": self.exchange.parent,
            "API_HOST": "127.0.0.1",
            "API_PORT": self.api_port,
            "FLOWER_PORT": self.flower_port,
        }
        return {f"JIESUAN_{name}": str(value) for name, value in settings.items()}

    def _new_frontend(self) -> Engine:
        engine = open_database(self._sqlite)
        workers.schema.upgrade(engine)
        with engine.begin() as connection:
            connection.execute(
                insert(workers.tables.institution).values(
                    institution_code=HOSPITAL,
                    short_code=SHORT_CODE[::-1],  # another one than in the files, whose numbers the HIS gives
                    name="测试医院",
                    kind="hospital",
                    level=2,
                    api_key_hash=sha256(API_KEY.encode()).hexdigest(),
                    backlog_cap=1_000_000,
                    active=True,
                )
            )
            connection.execute(insert(workers.tables.reference), self._reference())
        return engine

    def _new_center(self, url: str) -> Engine:
        engine = open_database(url)
        center.schema.upgrade(engine)
        tables = center.tables
        with engine.begin() as connection:
            served = {"frontend": FRONTEND, "name": "测试医院", "kind": "hospital", "level": 2, "active": True}
            enter(connection, [{"institution_code": HOSPITAL, **served}])
            connection.execute(
                insert(tables.person),
                [
                    {
                        "citizen_id_no": synthetic_citizen_id(serial),
                        "scheme": "employee",
                        "category": "1",
                        "civil_servant": False,
                        "entitled": True,
                        "account_balance_fen": BALANCE_FEN,
                    }
                    for serial in range(PERSONS)
                ],
            )
            connection.execute(insert(tables.reference), self._reference())
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        return engine

    @staticmethod
    def _reference() -> list[dict[str, object]]:
        return [catalogue_row(published(items())), policy_row(POLICY)]
