"""Which services a city on one machine consists of: one plan for `run`, for `up` and for the tests."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine, make_url

import center.privileges
import center.schema
import workers.schema
from city.exchange import DATABASE, his_address, open_tables
from city.sample.institutions import FRONTENDS, HOSPITAL_A, HOSPITAL_B, SHARED
from city.sample.morning import City
from city.seed import kept_secret, make_secrets, seed_center, seed_frontend
from infra import broker_rights
from infra.database import open_database
from infra.embedded import free_port, postgres, valkey
from infra.settings import Settings
from infra.supervisor import Probe, Service, Supervisor, answers, say_on_stderr, touched
from producers.his.tables.place import OWN, address_of

HOST = "127.0.0.1"
WISHED_PORTS = {
    "broker": 6379,
    "database": 5432,
    f"api-{HOSPITAL_B}": 8080,
    f"api-{SHARED}": 8081,
    "flower": 5555,
    "metrics": 9101,
    "metrics-tables": 9102,
    "metrics-files": 9103,
}
FAIR_BATCH = 20
"""Claims per turn at the shared front-end: small, so that no tenant waits long for its own."""
STOP_WITHIN_SECONDS = {"flower": 3.0}
"""Flower keeps nothing, and asks workers that are gone for their state before it ends."""
LEFT_BY_A_RUN = ("audit", "broker", "database", "exchange", "frontends", "secrets", "heartbeats")
EMBEDDED = ("broker", "database")
APPLICATION = "center"
"""The login of the centre's services at the embedded server."""
CENTER = "center"
"""Its login at the embedded broker; a front-end's is its code."""


class NotPerFrontend(Exception):
    """One database URL for several front-ends."""

    def __init__(self) -> None:
        super().__init__(
            "JIESUAN_FRONTEND_DATABASE_URL serves several front-ends here: put {frontend} where their names differ"
        )


@dataclass(frozen=True, kw_only=True)
class CityPlan:
    """What is to run, where it listens, and where it keeps its things. Nothing is started by making a plan."""

    settings: Settings
    folder: Path
    city: City
    any_ports: bool = False
    say: Callable[[str], None] = say_on_stderr

    # ── Where things are ──────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def ports(self) -> dict[str, int]:
        """The port of each service that listens: the usual one, or the next free one above it, said aloud."""
        ports: dict[str, int] = {}
        for name, wished in WISHED_PORTS.items():
            if name in EMBEDDED:
                continue
            port = free_port(0 if self.any_ports else wished, name, self.say)
            while port in ports.values():
                port = free_port(port + 1, name, self.say)
            ports[name] = port
        return ports

    @property
    def exchange_dir(self) -> Path:
        """The folders of the DBF exchange."""
        return self.folder / "exchange"

    @property
    def audit_dir(self) -> Path:
        """The heads of the ledger's chains, day by day."""
        return self.settings.audit_dir or self.folder / "audit"

    @property
    def secrets_dir(self) -> Path:
        """Keys and passwords, readable by their owner only."""
        return self.folder / "secrets"

    def key_of(self, frontend: str) -> bytes:
        """The sealing key of a front-end, once the city is prepared."""
        return bytes.fromhex((self.secrets_dir / f"{frontend}.key").read_text(encoding="utf-8"))

    def api_url(self, frontend: str) -> str:
        """Where a front-end's API listens."""
        return f"http://{HOST}:{self.ports[f'api-{frontend}']}"

    @property
    def flower_url(self) -> str:
        """Where Flower listens."""
        return f"http://{HOST}:{self.ports['flower']}"

    @property
    def metrics_urls(self) -> dict[str, str]:
        """Every page of metrics, by service."""
        pages = {f"api-{frontend}": f"{self.api_url(frontend)}/metrics" for frontend in (HOSPITAL_B, SHARED)}
        pages["center-detail"] = f"http://{HOST}:{self.ports['metrics']}/metrics"
        pages[f"his-{HOSPITAL_A}"] = f"http://{HOST}:{self.ports['metrics-files']}/metrics"
        pages[f"tables-{HOSPITAL_B}"] = f"http://{HOST}:{self.ports['metrics-tables']}/metrics"
        return pages

    @cached_property
    def api_keys(self) -> dict[str, str]:
        """The API key of each institution."""
        return make_secrets(self.secrets_dir, FRONTENDS, self.city)

    def operator_files(self) -> dict[str, Path]:
        """Write, for the centre and each front-end, the settings of its services as a file for a shell (`. FILE`): with
        them `jiesuan doctor`, `unknown`, `reconcile` and all others are the operator's there."""
        sites = {CENTER: self._center_env()} | {frontend: self._frontend_env(frontend) for frontend in FRONTENDS}
        names = sorted({key for env in sites.values() for key in env})
        files = {}
        for name, env in sites.items():
            files[name] = file = self.secrets_dir / f"{name}.sh"
            file.touch(mode=0o600)
            lines = [f"export {key}={shlex.quote(env[key])}" if env.get(key) else f"unset {key}" for key in names]
            file.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return files

    # ── What runs ─────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _valkey(self) -> valkey.Valkey | None:
        if self.settings.center_broker_url:
            return None
        port = 0 if self.any_ports else WISHED_PORTS["broker"]
        rights = {CENTER: broker_rights.CENTER, **{code: broker_rights.frontend(code) for code in FRONTENDS}}
        users = {login: (kept_secret(self.secrets_dir / f"broker-{login}"), words) for login, words in rights.items()}
        return valkey.prepare(self.folder / "broker", port=port, users=users, say=self.say)

    @cached_property
    def _postgres(self) -> postgres.Postgres | None:
        if self.settings.center_database_url:
            return None
        port = 0 if self.any_ports else WISHED_PORTS["database"]
        databases = ("center", DATABASE)
        return postgres.prepare(self.folder / "database", port=port, databases=databases, say=self.say)

    @property
    def broker_url(self) -> str:
        """The centre's broker; as its owner, where it is the embedded one."""
        return self.settings.center_broker_url or (self._valkey.url if self._valkey else "")

    def broker_url_of(self, login: str) -> str:
        """The centre's broker as the centre or a front-end enters it: on the embedded one by a login of its own."""
        return self._valkey.urls[login] if self._valkey else self.broker_url

    @property
    def database_url(self) -> str:
        """The centre's database, as the owner of its tables."""
        return self.settings.center_migration_url or (self._postgres.url if self._postgres else "")

    @cached_property
    def application_database_url(self) -> str:
        """The centre's database as its services have it: on the embedded server a login that may only add to the
        ledger."""
        if self.settings.center_database_url:
            return self.settings.center_database_url
        password = kept_secret(self.secrets_dir / "center_database_password")
        url = make_url(self.database_url).set(username=APPLICATION, password=password)
        return url.render_as_string(hide_password=False)

    def frontend_database_url(self, frontend: str) -> str:
        """A front-end's database: its own SQLite file, unless a URL is given. Raises NotPerFrontend."""
        given = self.settings.frontend_database_url
        if not given:
            return f"sqlite:///{self.folder.resolve() / 'frontends' / f'{frontend}.db'}"
        if "{frontend}" not in given:
            raise NotPerFrontend
        return given.replace("{frontend}", frontend)

    @property
    def exchange_database_url(self) -> str:
        """Where the second hospital's shared tables are: on the embedded server, else beside its front-end's file."""
        if self.settings.exchange_database_url or self._postgres is None:
            return self.settings.exchange_database_url
        return self._postgres.urls[DATABASE]

    def his_address(self, institution_code: str) -> str:
        """The shared tables as an institution's HIS opens them, once the city is prepared."""
        return his_address(self.exchange_database_url, self.secrets_dir, institution_code)

    def servers(self) -> list[Service]:
        """The broker and the database, where they are embedded."""
        return [server.service for server in (self._valkey, self._postgres) if server is not None]

    def services(self, more: Mapping[str, str] | None = None) -> list[Service]:
        """Everything else, for after `migrate`; `more` settings for all, such as a clock that runs faster."""
        more = more or {}
        env = {**self._center_env(), **more}
        centre = [
            self._service("center-settle", "center-settle", env),
            self._service(
                "center-detail", "center-detail", {**env, "JIESUAN_METRICS_PORT": str(self.ports["metrics"])}
            ),
            self._service("beat", "beat", env),
            self._service("flower", "flower", env, ready=answers(f"{self.flower_url}/healthcheck")),
        ]
        sites = []
        for frontend in FRONTENDS:
            env = {**self._frontend_env(frontend), **more}
            sites += [self._service(f"{role}-{frontend}", role, env) for role in ("desk", "link")]
        env = {
            **self._frontend_env(HOSPITAL_A),
            **more,
            "JIESUAN_API_HOST": HOST,
            "JIESUAN_METRICS_PORT": str(self.ports["metrics-files"]),
        }
        sites.append(self._service(f"his-{HOSPITAL_A}", "his", env))
        env = {
            **self._frontend_env(HOSPITAL_B),
            **more,
            "JIESUAN_API_HOST": HOST,
            "JIESUAN_METRICS_PORT": str(self.ports["metrics-tables"]),
        }
        sites.append(self._service(f"tables-{HOSPITAL_B}", "tables", env))
        for frontend in (HOSPITAL_B, SHARED):
            env = {
                **self._frontend_env(frontend),
                **more,
                "JIESUAN_API_HOST": HOST,
                "JIESUAN_API_PORT": str(self.ports[f"api-{frontend}"]),
            }
            ready = answers(f"{self.api_url(frontend)}/healthz")
            sites.append(self._service(f"api-{frontend}", "api", env, ready=ready))
        return [*centre, *sites]

    def engines(self) -> tuple[Engine, dict[str, Engine]]:
        """The centre's database and each front-end's."""
        (self.folder / "frontends").mkdir(mode=0o700, parents=True, exist_ok=True)
        frontends = {frontend: open_database(self.frontend_database_url(frontend)) for frontend in FRONTENDS}
        return open_database(self.database_url), frontends

    def prepare(self, supervisor: Supervisor) -> tuple[Engine, dict[str, Engine]]:
        """Start the servers, make schemas and the city's data; everything is there for the services. The databases."""
        supervisor.start(*self.servers())
        engines = self.engines()
        self.migrate(*engines)
        return engines

    def migrate(self, center_engine: Engine, frontends: Mapping[str, Engine]) -> None:
        """Bring every database to this release's schema and write the sample city where there is none."""
        keys = self.api_keys
        policies = self.settings.policies_dir
        center.schema.upgrade(center_engine)
        with center_engine.begin() as connection:
            center.privileges.admit(connection, self.application_database_url)
        seed_center(center_engine, self.city, policies_dir=policies)
        for frontend, engine in frontends.items():
            workers.schema.upgrade(engine)
            seed_frontend(engine, self.city, frontend, policies_dir=policies, api_keys=keys)
        shared = self.settings.model_copy(
            update={
                "frontend_database_url": self.frontend_database_url(HOSPITAL_B),
                "exchange_database_url": self.exchange_database_url,
            }
        )
        open_tables(frontends[HOSPITAL_B], address_of(shared, OWN), self.secrets_dir)
        for institution in self.city.institutions:
            if institution.door == "dbf":
                (self.exchange_dir / institution.institution_code).mkdir(parents=True, exist_ok=True)

    def clear(self) -> bool:
        """Throw away what an earlier run left in the folder, if it left anything; the supervisor holds the folder."""
        left = [self.folder / name for name in LEFT_BY_A_RUN if (self.folder / name).exists()]
        for folder in left:
            shutil.rmtree(folder)
        return bool(left)

    # ── How each is run ───────────────────────────────────────────────────────────────────────────────────

    def _service(self, name: str, role: str, env: Mapping[str, str], *, ready: Probe | None = None) -> Service:
        heartbeat = self.folder / "heartbeats" / name
        heartbeat.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Service(
            name=name,
            argv=[str(Path(sys.executable).with_name("jiesuan")), "serve", role],
            env={**env, "JIESUAN_HEARTBEAT_FILE": str(heartbeat)},
            ready=ready or touched(heartbeat),
            after=tuple(server.name for server in self.servers()),
            stop_within=STOP_WITHIN_SECONDS.get(role, 15.0),
        )

    def _shared_env(self) -> dict[str, str]:
        return {
            "JIESUAN_DATA_DIR": str(self.folder),
            "JIESUAN_POLICIES_DIR": str(self.settings.policies_dir),
            "JIESUAN_LOG_LEVEL": self.settings.log_level,
        }

    def _center_env(self) -> dict[str, str]:
        return {
            **self._shared_env(),
            "JIESUAN_CENTER_BROKER_URL": self.broker_url_of(CENTER),
            "JIESUAN_CENTER_DATABASE_URL": self.application_database_url,
            "JIESUAN_AUDIT_DIR": str(self.audit_dir),
            "JIESUAN_CENTER_SECRET_FILE": str(self.secrets_dir / "center_secret"),
            "JIESUAN_FLOWER_PORT": str(self.ports["flower"]),
            "JIESUAN_METRICS_PORT": "0",
        }

    def _frontend_env(self, frontend: str) -> dict[str, str]:
        env = {
            **self._shared_env(),
            "JIESUAN_CENTER_BROKER_URL": self.broker_url_of(frontend),
            "JIESUAN_FRONTEND": frontend,
            "JIESUAN_FRONTEND_DATABASE_URL": self.frontend_database_url(frontend),
            "JIESUAN_FRONTEND_BROKER_URL": self.settings.frontend_broker_url,
            "JIESUAN_FRONTEND_KEY_FILE": str(self.secrets_dir / f"{frontend}.key"),
            "JIESUAN_EXCHANGE_DIR": str(self.exchange_dir),
            "JIESUAN_EXCHANGE_DATABASE_URL": self.exchange_database_url,
            "JIESUAN_PREPROCESS_BATCH": str(self.settings.preprocess_batch),
        }
        if frontend == SHARED:
            env["JIESUAN_PREPROCESS_BATCH"] = str(FAIR_BATCH)
        return env
