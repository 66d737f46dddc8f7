"""Two front-ends and a centre in real processes, every link between them a wire of the proxy.

clients ─ door ─ api, desk, link ─ wire ─ broker ─ two counters, office, timetable ─ base ─ PostgreSQL
                    │
                   site (the front-ends' own broker)
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Engine, insert, make_url, update

from center import privileges, schema, tables
from center.serving.entering import enter
from domain.identity import synthetic_citizen_id
from infra.clock import Clock
from infra.database import open_database
from infra.embedded import free_port, postgres, valkey
from infra.envelope import frontend_key
from infra.reference import catalogue_row, policy_row
from infra.supervisor import Service, Supervisor, answers, touched
from producers.api.keys import hash_of
from tests.faults.doubles import Double
from tests.faults.office import WINDOW, Office
from tests.faults.proxy import Line, Wire
from tests.faults.rooms import Rooms
from tests.simulation.city.town import BALANCE_FEN
from tests.support.center import AT, CATALOGUE_VERSION, FRONTEND, OTHER_FRONTEND, institution_row, person_row
from tests.support.databases import as_application
from tests.support.frontend import CLINIC, HOSPITAL, POLICY, new_frontend, published
from tests.support.uploading import WIDE
from workers.tables import institution

PERSONS = tuple(synthetic_citizen_id(serial) for serial in range(60))
SERVE = [str(Path(sys.executable).with_name("jiesuan")), "serve"]
SERVERS = ("database", "broker", "site")
CENTRE = ("settle-1", "settle-2", "office", "beat")
LOOKERS = "lookers"
"""What the connections of the watch and the operator are called."""
ROOMS_MEGABYTES = {"database": 700, "logs": 96, "front-end": 64}

QUICK = {
    "JIESUAN_SWEEP_EVERY_SECONDS": "1",
    "JIESUAN_SWEEP_AFTER_SECONDS": "2",
    "JIESUAN_WINDOW_TICK_SECONDS": "1",
    "JIESUAN_BOOKS_TICK_SECONDS": "4",
    "JIESUAN_BOOKS_CHECK_SECONDS": "5",
    "JIESUAN_OUTCOMES_TICK_SECONDS": "3",
    "JIESUAN_PREPARE_SECONDS": "10",
    "JIESUAN_AUDIT_TICK_SECONDS": "20",
}
"""What is done every so often is done oftener, so that a run of minutes sees it all; nothing else is different."""


@dataclass(frozen=True, slots=True)
class Site:
    """One front-end: its institution, its database, its processes."""

    number: int
    frontend: str
    institution_code: str
    folder: Path
    engine: Engine
    api_port: int
    api_key: str
    exchange: Path | None
    """The folder of its HIS, where that speaks in files, too."""

    @property
    def services(self) -> tuple[str, ...]:
        """The names of its processes."""
        roles = ("desk", "link", "api") if self.exchange is None else ("desk", "link", "api", "his")
        return tuple(f"{role}-{self.number}" for role in roles)


class Town:
    """Everything that runs, and the wires in between."""

    def __init__(self, folder: Path, supervisor: Supervisor, rooms: Rooms, line: Line, dice: random.Random) -> None:
        self.folder, self.supervisor, self.rooms = folder, supervisor, rooms
        self.logs = supervisor.data_dir / "logs"
        self.ended: Counter[str] = Counter()
        """How often each process was ended on purpose."""
        self._make_rooms()
        database = postgres.prepare(folder / "database", port=0, say=_silent)
        brokers = {name: valkey.prepare(folder / name, port=0, name=name, say=_silent) for name in ("broker", "site")}
        supervisor.start(database.service, *(broker.service for broker in brokers.values()))
        self.broker_urls = {name: broker.url for name, broker in brokers.items()}
        self.center_url = database.url
        self.center = self._new_center(database.url)
        self.sites = tuple(
            self._new_site(number, frontend, code)
            for number, (frontend, code) in enumerate(((FRONTEND, HOSPITAL), (OTHER_FRONTEND, CLINIC)), start=1)
        )
        targets = {f"wire-{site.number}": _port(self.broker_urls["broker"]) for site in self.sites}
        targets |= {f"door-{site.number}": site.api_port for site in self.sites}
        targets["base"] = _port(database.url)
        self.wires = {name: Wire(line, name, port, dice) for name, port in targets.items()}
        self._began = time.time()
        self._clock = Clock(AT, self._began, 1.0).written()
        self._secrets()
        self._made: dict[str, tuple[str, dict[str, str]]] = {}
        self.doubles: list[Double] = []
        """Every process that was run a second time."""
        self.lookers = self._for_lookers(database.url)
        self.office = Office(self.lookers, [site.engine for site in self.sites], self._clock)
        supervisor.start(*self._services())

    def close(self) -> None:
        """Let go of wires and databases; the supervisor ends the processes, and doubles are ended here."""
        for double in self.doubles:
            double.end(signal.SIGKILL)
            double.gone()
        self.office.close()
        for wire in self.wires.values():
            wire.close()
        for engine in (self.center, self.lookers, *(site.engine for site in self.sites)):
            engine.dispose()

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of all processes of ours."""
        return (*CENTRE, *(name for site in self.sites for name in site.services))

    @property
    def everybody(self) -> tuple[str, ...]:
        """The names of all processes."""
        return (*SERVERS, *self.workers)

    @property
    def can_be_doubled(self) -> tuple[str, ...]:
        """The names of the processes of which there may be two; two of one API would want the same port, and a second
        watcher of a folder refuses to begin."""
        return tuple(name for name in self.workers if not name.startswith(("api-", "his-")))

    def double(self, name: str) -> Double:
        """Run a process a second time, beside the first."""
        again = f"{name}-again-{len(self.doubles) + 1}"
        double = Double(self._service(again, *self._made[name]), self.logs / f"{again}.log")
        self.doubles.append(double)
        return double

    def set_clock(self, site: Site, ahead: timedelta) -> Callable[[], bool]:
        """Start a front-end's processes again, with a clock that is so far ahead; whether all of them run with it."""
        before = self.supervisor.pids()
        for name in site.services:
            self._made[name][1]["JIESUAN_CLOCK"] = Clock(AT + ahead, self._began, 1.0).written()
            with contextlib.suppress(ProcessLookupError):
                self.supervisor.kill(name, signal.SIGKILL)
                self.ended[name] += 1

        def is_set() -> bool:
            now = self.supervisor.pids()
            return all(now.get(name, before.get(name)) != before.get(name) for name in site.services)

        return is_set

    def end_doubles(self) -> None:
        """Return when there is one of each again."""
        for double in self.doubles:
            if not double.was_asked_to_end:
                double.end(signal.SIGTERM)
        for double in self.doubles:
            double.gone()

    def door(self, site: Site) -> str:
        """Where clients find the API of a front-end."""
        return f"http://127.0.0.1:{self.wires[f'door-{site.number}'].port}"

    def written(self) -> Iterator[tuple[Path, str]]:
        """Every log there is."""
        for file in sorted(self.logs.glob("*.log*")):
            yield file, file.read_text(encoding="utf-8", errors="replace")

    # ── How it is made ──

    def _make_rooms(self) -> None:
        for folder, what in ((self.folder / "database", "database"), (self.logs, "logs"), (self._site(2), "front-end")):
            self.rooms.make(folder, ROOMS_MEGABYTES[what])

    def _site(self, number: int) -> Path:
        return self.folder / f"front-end-{number}"

    def _new_center(self, url: str) -> Engine:
        engine = open_database(url)
        schema.upgrade(engine)
        with engine.begin() as connection:
            privileges.admit(connection, as_application(url))
        with engine.begin() as connection:
            enter(connection, [institution_row(HOSPITAL, FRONTEND), institution_row(CLINIC, OTHER_FRONTEND)])
            connection.execute(
                insert(tables.person),
                [person_row(serial, account_balance_fen=BALANCE_FEN) for serial in range(len(PERSONS))],
            )
            connection.execute(
                insert(tables.reference),
                [catalogue_row(published([HOSPITAL, CLINIC], CATALOGUE_VERSION)), policy_row(POLICY)],
            )
            connection.execute(insert(tables.upload_window).values(name=WINDOW, opens="00:00", closes="00:00", **WIDE))
        return engine

    def _new_site(self, number: int, frontend: str, code: str) -> Site:
        folder = self._site(number)
        folder.mkdir(exist_ok=True)
        engine = new_frontend(f"sqlite:///{folder}/frontend.db", code, backlog_cap=100_000)
        api_key = f"key of {frontend}"
        with engine.begin() as connection:
            connection.execute(update(institution).values(api_key_hash=hash_of(api_key)))
        exchange = self.folder / "exchange" / code if number == 1 else None
        if exchange is not None:
            exchange.mkdir(parents=True)
        return Site(number, frontend, code, folder, engine, free_port(0, "API", _silent), api_key, exchange)

    def _for_lookers(self, url: str) -> Engine:
        """The centre's database for the watch and the operator, whose connections are no targets."""
        return open_database(make_url(url).update_query_dict({"application_name": LOOKERS}).render_as_string(False))

    def _secrets(self) -> None:
        secret = sha256(b"faults").digest()
        (self.folder / "secret").write_text(secret.hex(), encoding="ascii")
        for site in self.sites:
            (self.folder / f"{site.frontend}.key").write_text(frontend_key(secret, site.frontend).hex(), "ascii")

    def _services(self) -> Iterator[Service]:
        roles = {"settle-1": "center-settle", "settle-2": "center-settle", "office": "center-detail", "beat": "beat"}
        base = make_url(as_application(self.center_url)).set(port=self.wires["base"].port)
        shared = {
            **{name: "" for name in os.environ if name.startswith("JIESUAN_")},
            "JIESUAN_DATA_DIR": str(self.folder),
            "JIESUAN_CLOCK": self._clock,
            **QUICK,
        }
        env = {
            **shared,
            "JIESUAN_CENTER_BROKER_URL": self.broker_urls["broker"],
            "JIESUAN_CENTER_DATABASE_URL": base.render_as_string(hide_password=False),
            "JIESUAN_CENTER_SECRET_FILE": str(self.folder / "secret"),
            "JIESUAN_METRICS_PORT": "0",
        }
        for name, role in roles.items():
            yield self._service(name, role, env)
        for site in self.sites:
            wire = self.wires[f"wire-{site.number}"].port
            broker = urlsplit(self.broker_urls["broker"])
            env = {
                **shared,
                "JIESUAN_CENTER_BROKER_URL": f"redis://:{broker.password}@127.0.0.1:{wire}/0",
                "JIESUAN_FRONTEND": site.frontend,
                "JIESUAN_FRONTEND_BROKER_URL": self.broker_urls["site"],
                "JIESUAN_FRONTEND_DATABASE_URL": f"sqlite:///{site.folder}/frontend.db",
                "JIESUAN_FRONTEND_KEY_FILE": str(self.folder / f"{site.frontend}.key"),
                "JIESUAN_API_HOST": "127.0.0.1",
                "JIESUAN_API_PORT": str(site.api_port),
                "JIESUAN_EXCHANGE_DIR": str(self.folder / "exchange"),
            }
            for name in site.services:
                yield self._service(name, name.partition("-")[0], env)

    def _service(self, name: str, role: str, env: dict[str, str]) -> Service:
        heartbeat = self.folder / "heartbeats" / name
        heartbeat.parent.mkdir(exist_ok=True)
        port = env.get("JIESUAN_API_PORT")
        own = {**env, "JIESUAN_HEARTBEAT_FILE": str(heartbeat)}
        self._made.setdefault(name, (role, own))
        return Service(
            name=name,
            argv=[*SERVE, role],
            env=own,
            ready=answers(f"http://127.0.0.1:{port}/healthz") if role == "api" else touched(heartbeat),
            after=SERVERS,
            ready_within=120.0,
        )


@contextmanager
def running(folder: Path, dice: random.Random) -> Iterator[Town]:
    """The town, for the length of a block."""
    with ExitStack() as last:
        rooms = Rooms()
        last.callback(rooms.unmake)
        line = Line()
        last.callback(line.close)
        with Supervisor(folder / "data", say=_silent) as supervisor:
            town = Town(folder, supervisor, rooms, line, dice)
            last.callback(town.close)
            yield town


def _silent(words: str) -> None:
    """Restarts are what these runs are about."""


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
