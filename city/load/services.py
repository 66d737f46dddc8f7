"""The processes of a load test on one machine, where they listen, and the databases they find.

The centre has its broker and its database; the front-end servers have a broker of their own, which they share here as
they share the machine, and reach the centre's broker over a wire each. The hospital with shared tables has its own
database server.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine, Table, make_url, update

import center.privileges
import center.schema
import center.tables
import workers.schema
import workers.tables
from city.exchange import DATABASE, his_address, open_tables
from city.load.servers import Door, Server
from city.plan import APPLICATION, CENTER, FAIR_BATCH, HOST
from city.sample.morning import City
from city.seed import kept_secret, make_secrets, seed_center, seed_frontend
from domain.ways import Way
from infra import broker_rights
from infra.database import open_database
from infra.embedded import free_port, postgres, valkey
from infra.settings import Settings
from infra.supervisor import Probe, Service, Supervisor, answers, say_on_stderr, touched

CENTER_ROLES = ("center-settle", "center-detail", "beat")
"""Flower is left out: it is a window for people, and nobody looks during a measurement."""
ENGINES = ("broker", "database", "site-broker", "his-database")
COUNTERS = 3
"""Processes that settle."""
AFTER_THE_CENTRE = ("nice", "-n", "10")
"""How front-ends run: the centre, which has machines of its own in a city, does not wait for sixty of them here."""
DOOR_ROLES = {Door.API: "api", Door.FILES: "his", Door.TABLES: "tables"}
BOOKS_TICK_SECONDS = "15"
"""At sixty times the speed a quarter of an hour of the day; books are compared when the day is over, too."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A city for a load test. Nothing is started by making one."""

    settings: Settings
    folder: Path
    city: City
    servers: Sequence[Server]
    way: Way
    say: Callable[[str], None] = say_on_stderr

    @property
    def names(self) -> tuple[str, ...]:
        """Of the front-end servers."""
        return tuple(server.name for server in self.servers)

    @property
    def exchange_dir(self) -> Path:
        """The folders of the DBF exchange."""
        return self.folder / "exchange"

    @property
    def secrets_dir(self) -> Path:
        """Keys and passwords, readable by their owner only."""
        return self.folder / "secrets"

    @cached_property
    def api_keys(self) -> dict[str, str]:
        """The API key of each institution."""
        return make_secrets(self.secrets_dir, self.names, self.city)

    @cached_property
    def api_ports(self) -> dict[str, int]:
        """Where each front-end's API listens."""
        return self._ports("API", [server.name for server in self.servers if Door.API in server.doors])

    @cached_property
    def link_ports(self) -> dict[str, int]:
        """Where each front-end's wire to the centre's broker begins."""
        taken = set(self.api_ports.values())
        return self._ports("link", self.names, taken)

    @cached_property
    def broker(self) -> valkey.Valkey:
        """The centre's."""
        rights = {CENTER: broker_rights.CENTER, **{name: broker_rights.frontend(name) for name in self.names}}
        return self._valkey("broker", rights)

    @cached_property
    def site_broker(self) -> valkey.Valkey:
        """The front-ends' own."""
        return self._valkey("site-broker", {name: broker_rights.frontend(name) for name in self.names})

    @cached_property
    def database(self) -> postgres.Postgres:
        """The centre's."""
        return postgres.prepare(self.folder / "database", port=0, say=self.say)

    @cached_property
    def his_database(self) -> postgres.Postgres:
        """Of the hospital with shared tables."""
        return postgres.prepare(
            self.folder / "his-database", port=0, name="his-database", databases=(DATABASE,), say=self.say
        )

    @cached_property
    def _application_url(self) -> str:
        password = kept_secret(self.secrets_dir / "center_database_password")
        url = make_url(self.database.url).set(username=APPLICATION, password=password)
        return url.render_as_string(hide_password=False)

    def frontend_url(self, name: str) -> str:
        """A front-end's database."""
        return f"sqlite:///{self.folder.resolve() / 'frontends' / f'{name}.db'}"

    def his_address(self, institution_code: str) -> str:
        """The shared tables as an institution's HIS opens them, once the city is prepared."""
        return his_address(self.his_database.urls[DATABASE], self.secrets_dir, institution_code)

    def engines(self) -> list[Service]:
        """Brokers and databases."""
        return [each.service for each in (self.broker, self.database, self.site_broker, self.his_database)]

    def clear(self) -> None:
        """Throw away what an earlier run left in the folder; the supervisor holds it."""
        for name in (*ENGINES, "exchange", "frontends", "secrets", "heartbeats", "audit", "plans"):
            if (self.folder / name).exists():
                shutil.rmtree(self.folder / name)
        (self.folder / "plans").mkdir()

    def prepare(self, supervisor: Supervisor) -> tuple[Engine, dict[str, Engine]]:
        """Start brokers and databases, make schemas and the city's data; the centre's database and each front-end's."""
        supervisor.start(*self.engines())
        keys, policies = self.api_keys, self.settings.policies_dir
        center_engine = open_database(self.database.url)
        center.schema.upgrade(center_engine)
        with center_engine.begin() as connection:
            center.privileges.admit(connection, self._application_url)
        seed_center(center_engine, self.city, policies_dir=policies)
        self._settle_by_way(center_engine, center.tables.institution)

        (self.folder / "frontends").mkdir(mode=0o700, exist_ok=True)
        empty = self.folder / "frontends" / "empty.db"
        template = open_database(f"sqlite:///{empty}")
        workers.schema.upgrade(template)
        template.dispose()
        frontends = {}
        for server in self.servers:
            shutil.copyfile(empty, self.folder / "frontends" / f"{server.name}.db")
            engine = frontends[server.name] = open_database(self.frontend_url(server.name))
            seed_frontend(engine, self.city, server.name, policies_dir=policies, api_keys=keys)
            self._settle_by_way(engine, workers.tables.institution)
            if Door.TABLES in server.doors:
                open_tables(engine, self.his_database.urls[DATABASE], self.secrets_dir)
            self._enter_doors(engine)
        for institution in self.city.institutions:
            if institution.door == "dbf":
                (self.exchange_dir / institution.institution_code).mkdir(parents=True)
        return center_engine, frontends

    def services(self, clock: str) -> list[Service]:
        """The centre's processes and every front-end's, on this clock (JIESUAN_CLOCK)."""
        env = {**self._center_env(), "JIESUAN_CLOCK": clock}
        services = [self._service(role, role, env) for role in CENTER_ROLES]
        services += [self._service(f"center-settle-{n}", "center-settle", env) for n in range(2, COUNTERS + 1)]
        for server in self.servers:
            for role in ("desk", "link", *sorted(DOOR_ROLES[door] for door in server.doors)):
                env = {**self._frontend_env(server), "JIESUAN_CLOCK": clock}
                ready = None
                if role == "api":
                    env["JIESUAN_API_PORT"] = str(self.api_ports[server.name])
                    ready = answers(f"http://{HOST}:{self.api_ports[server.name]}/healthz")
                services.append(self._service(f"{role}:{server.name}", role, env, ready=ready, first=AFTER_THE_CENTRE))
        return services

    def _settle_by_way(self, engine: Engine, institution: Table) -> None:
        """Every institution settles in this way from the beginning, before anything runs."""
        with engine.begin() as connection:
            connection.execute(update(institution).values(way=str(self.way)))

    def _enter_doors(self, engine: Engine) -> None:
        """Each institution's door at its front-end."""
        column = workers.tables.institution.c
        with engine.begin() as connection:
            for one in self.city.institutions:
                entered = update(workers.tables.institution).where(column.institution_code == one.institution_code)
                connection.execute(entered.values(exchange=str(one.door)))

    def _valkey(self, name: str, rights: Mapping[str, str]) -> valkey.Valkey:
        users = {login: (kept_secret(self.secrets_dir / f"{name}-{login}"), words) for login, words in rights.items()}
        return valkey.prepare(self.folder / name, port=0, name=name, users=users, say=self.say)

    def _ports(self, what: str, names: Sequence[str], taken: set[int] | None = None) -> dict[str, int]:
        ports: dict[str, int] = {}
        for name in names:
            port = free_port(0, what, self.say)
            while port in ports.values() or port in (taken or ()):
                port = free_port(0, what, self.say)
            ports[name] = port
        return ports

    def _service(
        self, name: str, role: str, env: Mapping[str, str], *, ready: Probe | None = None, first: Sequence[str] = ()
    ) -> Service:
        heartbeat = self.folder / "heartbeats" / name
        heartbeat.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Service(
            name=name,
            argv=[*first, str(Path(sys.executable).with_name("jiesuan")), "serve", role],
            env={**env, "JIESUAN_HEARTBEAT_FILE": str(heartbeat), "JIESUAN_METRICS_PORT": "0"},
            ready=ready or touched(heartbeat),
            after=ENGINES,
            ready_within=180.0,
            stop_within=15.0,
        )

    def _shared_env(self) -> dict[str, str]:
        return {
            "JIESUAN_DATA_DIR": str(self.folder),
            "JIESUAN_POLICIES_DIR": str(self.settings.policies_dir),
            "JIESUAN_LOG_LEVEL": "WARNING",
            "JIESUAN_BOOKS_TICK_SECONDS": BOOKS_TICK_SECONDS,
        }

    def _center_env(self) -> dict[str, str]:
        return {
            **self._shared_env(),
            "JIESUAN_CENTER_BROKER_URL": self.broker.urls[CENTER],
            "JIESUAN_CENTER_DATABASE_URL": self._application_url,
            "JIESUAN_AUDIT_DIR": str(self.folder / "audit"),
            "JIESUAN_CENTER_SECRET_FILE": str(self.secrets_dir / "center_secret"),
        }

    def _frontend_env(self, server: Server) -> dict[str, str]:
        name = server.name
        wire = make_url(self.broker.urls[name]).set(port=self.link_ports[name])
        env = {
            **self._shared_env(),
            "JIESUAN_CENTER_BROKER_URL": wire.render_as_string(hide_password=False),
            "JIESUAN_FRONTEND": name,
            "JIESUAN_FRONTEND_DATABASE_URL": self.frontend_url(name),
            "JIESUAN_FRONTEND_BROKER_URL": self.site_broker.urls[name],
            "JIESUAN_FRONTEND_KEY_FILE": str(self.secrets_dir / f"{name}.key"),
            "JIESUAN_EXCHANGE_DIR": str(self.exchange_dir),
            "JIESUAN_API_HOST": HOST,
        }
        if Door.TABLES in server.doors:
            env["JIESUAN_EXCHANGE_DATABASE_URL"] = self.his_database.urls[DATABASE]
        if not server.is_own:
            env["JIESUAN_PREPROCESS_BATCH"] = str(FAIR_BATCH)
        return env
