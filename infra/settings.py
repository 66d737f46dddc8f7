"""What the environment decides. Policies, windows and institutions are data, not settings."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.clock import Clock, clock_from
from infra.envelope import frontend_key


class MissingSetting(Exception):
    """A role needs a setting that nobody gave; the message names it."""


class Settings(BaseSettings):
    """Environment first (prefix JIESUAN_), then `.env`; secrets come from files."""

    model_config = SettingsConfigDict(env_prefix="JIESUAN_", env_file=".env", extra="ignore")

    data_dir: Path = Path(".data")
    policies_dir: Path = Path(__file__).parent.parent / "policies"
    clock: str = ""

    center_database_url: str = ""
    """As the application: its login may add to the ledger and read it, nothing else (`jiesuan doctor` says)."""
    center_owner_database_url: str = ""
    """As the owner of the tables, for `jiesuan migrate center`; left out: the same as the application's."""
    audit_dir: Path | None = None
    """Where the heads of the chains are exported to, day by day; `audit` in the data folder where it is left out."""
    four_eyes_by_login: bool = False
    """Whether what needs a second person also needs a second login: set it where every operator has one of his own."""
    center_broker_url: str = ""
    settle_lanes: int = Field(default=1, ge=1, le=64)
    """How many settle lanes the centre has; institutions are spread over them by `jiesuan tenant lanes`."""
    settle_lane: int | None = Field(default=None, ge=0, le=63)
    """The one lane this settling worker serves; left out: all of them."""
    pool: int = Field(default=0, ge=0, le=89)
    """The number of the pool (统筹区) in document numbers; another one for each pool that shares a database."""
    center_secret_file: Path | None = None
    """32 bytes in hex; every front-end's sealing key is derived from it."""

    frontend: str = ""
    """The code of this front-end server."""
    frontend_database_url: str = ""
    frontend_broker_url: str = ""
    """The front-end's own broker; the centre's where it is left out."""
    frontend_key_file: Path | None = None
    """This front-end's sealing key in hex (`jiesuan key FRONTEND` at the centre prints it)."""
    exchange_dir: Path | None = None
    """The folder of the DBF exchange, one subfolder per institution code."""
    exchange_database_url: str = ""
    """Where the shared tables are, `{institution}` for one database each; left out: with the front-end's database."""

    api_host: str = "127.0.0.1"
    api_port: int = 8080
    flower_port: int = 5555
    metrics_port: int = 0
    """Where a centre worker serves /metrics; 0 does not serve."""
    heartbeat_file: Path | None = None
    """Touched by a worker while it is able to work."""

    preprocess_batch: int = Field(default=300, ge=1, le=1000)
    """Most claims of one institution taken per turn; 20 keeps a shared front-end fair."""
    settle_late_seconds: float = 2.0
    """Detail upload yields while the oldest waiting settlement is older than this (real seconds)."""
    sweep_every_seconds: float = 2.0
    sweep_after_seconds: float = 8.0
    """An unanswered claim is sent again after this long (real seconds); longer than a healthy queue's dwell."""
    prepare_seconds: float = Field(default=600.0, gt=0)
    """How long the centre holds a prepared claim's person before it expires (real seconds)."""
    outcomes_tick_seconds: float = 15.0
    """How often the centre lets expired ones go that nobody met."""
    serving_tick_seconds: float = 2.0
    """How often the centre looks whether a front-end holds old terms, and whether a move can go on."""
    civil_servants_may_share: bool = False
    """AMB-43: let institutions with the civil-servant business be served by a shared or hosted front-end."""
    window_tick_seconds: float = 2.0
    detail_deadline_hours: float = Field(default=24.0, gt=0)
    """Detail is overdue when it is not at the centre so long after its settlement (business clock; AMB-61)."""
    books_tick_seconds: float = 60.0
    books_check_seconds: float = 20.0
    """How often the centre checks what has come into its books (real seconds)."""
    clearing_tick_seconds: float = 600.0
    corrections_propose_seconds: float = 60.0
    """How often the centre looks whether a clearing period is due to be closed (real seconds)."""
    audit_tick_seconds: float = 600.0
    """How often it is looked whether the day's heads are exported (real seconds)."""
    reference_every_seconds: float = 30.0
    """How often a front-end asks the centre for newly published catalogues and policies (real seconds)."""
    link_every_seconds: float = Field(default=5.0, gt=0)
    """So long nothing was heard from the centre, a front-end asks whether it is there (real seconds)."""
    link_unsure_seconds: float = Field(default=6.0, gt=0)
    """The link is unsure when a question is unanswered for so long; longer than a settlement waits at the peak."""
    link_down_seconds: float = Field(default=15.0, gt=0)
    """And down then: claims are kept, not sent (`docs/offline.md`)."""
    drain_pause_seconds: float = Field(default=5.0, ge=0)
    """Front-ends whose links are back at once begin to send what they kept within so long of each other."""
    log_level: str = "INFO"

    @cached_property
    def time(self) -> Clock:
        """The business clock."""
        return clock_from(self.clock)

    @property
    def local_broker_url(self) -> str:
        """The broker of this front-end."""
        return self.frontend_broker_url or self.center_broker_url

    @property
    def center_migration_url(self) -> str:
        """The centre's database for migrations."""
        return self.center_owner_database_url or self.center_database_url

    @property
    def audit_folder(self) -> Path:
        """The folder of exported heads."""
        return self.audit_dir or self.data_dir / "audit"

    def center_secret(self) -> bytes:
        """The centre's secret. Raises MissingSetting."""
        return _secret(self.center_secret_file, "JIESUAN_CENTER_SECRET_FILE")

    def sealing_key(self) -> bytes:
        """This front-end's sealing key. Raises MissingSetting."""
        return _secret(self.frontend_key_file, "JIESUAN_FRONTEND_KEY_FILE")

    def key_of(self, frontend: str) -> bytes:
        """The sealing key of a front-end, as the centre derives it."""
        return frontend_key(self.center_secret(), frontend)

    def need(self, *names: str) -> None:
        """Raise MissingSetting naming every one of the settings that is empty."""
        missing = [f"JIESUAN_{name.upper()}" for name in names if not getattr(self, name)]
        if missing:
            raise MissingSetting("missing: " + ", ".join(missing))


def _secret(file: Path | None, name: str) -> bytes:
    if file is None:
        raise MissingSetting(f"missing: {name}")
    try:
        secret = bytes.fromhex(file.read_text().strip())
    except (OSError, ValueError) as error:
        raise MissingSetting(f"{name}: not a readable file of 64 hex digits") from error
    if len(secret) != 32:
        raise MissingSetting(f"{name}: not 64 hex digits")
    return secret
