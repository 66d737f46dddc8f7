"""What the API of one front-end server works with: its database, its keys, its writer, its watch, its bell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, Self, TypeVar

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from domain.link import LinkState
from domain.visit import Registration
from infra import lanes, metrics
from infra.broker import BrokerAway, Post, build_app
from infra.clock import Clock
from infra.database import open_database, reading
from infra.reference import Reference, ReferenceShelf
from infra.settings import MissingSetting, Settings
from producers.api.commit import GroupCommit
from producers.api.keys import KeyRing
from producers.api.pace import Pace
from producers.api.together import Together
from producers.api.watch import Watch
from producers.his.unread import unread_by
from workers import entitlement, tenants, upload_lag
from workers.doorbell import Doorbell
from workers.intake import Outcome, Submission, accept
from workers.link import Standing, standing
from workers.offline import queue
from workers.outcomes.unknown import oldest_seconds
from workers.tables import claim, institution, reference
from workers.tasks import Frontend
from workers.visits import NotReady, Registered, Unread, register

T = TypeVar("T")

CHANNEL = "api"
"""The door, as what comes through it is marked."""
READERS = 4
_OF_TENANTS: tuple[tuple[str, str, Callable[[tenants.Tenant], float]], ...] = (
    ("jiesuan_tenant_busy_share", "Share of the desks' time of the last half minute.", lambda one: float(one.share)),
    ("jiesuan_tenant_in_flight", "Claims handed in and not answered.", lambda one: one.in_flight),
    ("jiesuan_tenant_weight", "The weight that counts now.", lambda one: float(one.effective_weight)),
)


class Asked(NamedTuple):
    """A registration, and the key it is asked under."""

    registration: Registration
    key: str


class Site:
    """One front-end's side of the API; use it as an async context."""

    def __init__(
        self,
        engine: Engine,
        post: Post,
        clock: Clock,
        *,
        frontend: str,
        ask: Callable[[Sequence[str]], object] | None = None,
        unread: Unread | None = None,
        statement_key: bytes | None = None,
        detail_deadline: timedelta = timedelta(hours=24),
    ) -> None:
        """`ask` asks the centre for the entitlement of these persons; `unread` counts rows a door has not read yet;
        without `statement_key` statements have no check value."""
        self.engine, self.post, self.clock, self.frontend = engine, post, clock, frontend
        self.ask, self.unread, self.statement_key = ask, unread, statement_key
        self.detail_deadline = detail_deadline
        self.in_flight: set[tuple[str, str]] = set()
        """Institution and key of the claims that are being written right now."""
        self.keys = KeyRing(engine)
        self._impatient = impatient(engine)
        pace = Pace()
        self.commit = GroupCommit(
            self._write,
            Doorbell(post, frontend).ring,
            write_at_once=None if self._impatient is None else self._write_at_once,
            pace=pace,
        )
        self.watch = Watch(engine, pace)
        self.registrations: Together[Asked, Registered | NotReady] = Together("registrations", self._register)
        self.shelf = ReferenceShelf(reference)
        self._readers = ThreadPoolExecutor(READERS, "reader")
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self.commit)
        await self._open.enter_async_context(self.watch)
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._open.aclose()
        self.registrations.close()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()
        if self._impatient is not None:
            self._impatient.dispose()

    async def aside(self, work: Callable[..., T], *args: object) -> T:
        """Do something that waits (a query, the broker) without stopping the other requests."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *args)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """The result of a query on a connection that only reads."""
        return await self.aside(self._read, query)

    def reference(self) -> Reference:
        """The catalogue and policies in force. Raises NothingPublished."""
        with reading(self.engine) as connection:
            return self.shelf.current(connection)

    def now(self) -> datetime:
        """The business moment."""
        return self.clock.now()

    def database_is_there(self) -> bool:
        """Whether the database answers."""
        try:
            with reading(self.engine) as connection:
                return connection.execute(text("SELECT 1")).scalar() == 1
        except SQLAlchemyError:
            return False

    def broker_is_there(self) -> bool:
        """Whether the broker answers; while it does not, claims are accepted and wait."""
        try:
            self.post.waiting(lanes.ADMIN)
        except BrokerAway:
            return False
        return True

    def readings(self) -> metrics.Readings:
        """What the database and the broker know at this moment."""
        with reading(self.engine) as connection:
            states = connection.execute(select(claim.c.state, func.count()).group_by(claim.c.state)).all()
            due = upload_lag.lags(connection, at=self.now(), deadline=self.detail_deadline)
            codes = connection.execute(select(institution.c.institution_code)).scalars().all()
            unknown = oldest_seconds(connection, at=self.now())
            held_up = oldest_seconds(connection, at=self.now(), held_up=True)
            served = tenants.tenants(connection, now=self.clock.seconds())
            link, waits = standing(connection, at=self.now()), queue.waiting(connection)
        yield metrics.gauge_by(
            "jiesuan_claims_in_state",
            "Claims by state.",
            "state",
            {state: count for state, count in states},  # noqa: C416  # rows are not pairs to mypy
        )
        yield from upload_lag.readings(due, self.now())
        yield metrics.gauge(
            "jiesuan_oldest_unknown_seconds", "Age of the oldest claim the centre has not answered.", unknown
        )
        yield metrics.gauge(
            "jiesuan_oldest_held_up_seconds", "Age of the oldest claim the centre answered is held up.", held_up
        )
        yield from _link_readings(link, waits)
        for name, words, reading_of in _OF_TENANTS:
            yield metrics.gauge_by(name, words, "tenant", {one.institution_code: reading_of(one) for one in served})
        with contextlib.suppress(*BrokerAway):
            yield metrics.gauge_by(
                "jiesuan_queue_depth",
                "Messages waiting.",
                "queue",
                {lane: self.post.waiting(lane) for lane in (lanes.preprocess(self.frontend, code) for code in codes)},
            )

    def _write(self, submissions: Sequence[Submission]) -> list[Outcome]:
        return accept(self.engine, submissions, at=self.clock.now())

    def _write_at_once(self, submissions: Sequence[Submission]) -> list[Outcome]:
        assert self._impatient is not None
        return accept(self._impatient, submissions, at=self.clock.now())

    def _register(self, asked: Sequence[Asked]) -> list[Registered | NotReady]:
        registrations, keys = [each.registration for each in asked], [each.key for each in asked]
        return register(self.engine, registrations, at=self.now(), keys=keys, channel=CHANNEL, ask=self.ask)

    def _read(self, query: Callable[[Connection], T]) -> T:
        with reading(self.engine) as connection:
            return query(connection)


def _link_readings(link: Standing, waits: Sequence[queue.Waiting]) -> metrics.Readings:
    yield metrics.gauge_by(
        "jiesuan_link_state",
        "The link to the centre: 1 for the state it is in.",
        "state",
        {str(state): float(state is link.state) for state in LinkState},
    )
    if link.skew is not None:
        skew = link.skew
        yield metrics.gauge("jiesuan_clock_skew_seconds", "The centre's clock minus ours.", skew.ahead.total_seconds())
        yield metrics.gauge("jiesuan_clock_wrong", "1: our clock and the centre's do not agree.", float(skew.is_wrong))
    yield metrics.gauge(
        "jiesuan_link_unheard", "1: the centre's answers do not open with our key.", float(link.unheard_at is not None)
    )
    yield metrics.gauge_by(
        "jiesuan_unsettled_fen",
        "Accepted and not settled, or not posted.",
        "tenant",
        {each.institution_code: float(each.total_fen) for each in waits},
    )
    yield metrics.gauge_by(
        "jiesuan_offline_unposted_fen",
        "What accounts paid off-line and is not posted.",
        "tenant",
        {each.institution_code: float(each.offline_fen) for each in waits if each.offline_claims},
    )


def impatient(engine: Engine) -> Engine | None:
    """The same SQLite database, by connections that never wait for another's lock; None for a server."""
    if engine.dialect.name != "sqlite":
        return None
    return open_database(str(engine.url), patience_seconds=0)


def open_site(settings: Settings) -> Site:
    """The site the settings describe. Raises MissingSetting."""
    settings.need("frontend", "frontend_database_url")
    if not settings.local_broker_url:
        settings.need("frontend_broker_url")
    return Site(
        open_database(settings.frontend_database_url),
        Post(build_app("api", settings.local_broker_url, member=settings.frontend)),
        settings.time,
        frontend=settings.frontend,
        ask=_asking(settings),
        unread=unread_by(settings),
        statement_key=_key(settings),
        detail_deadline=timedelta(hours=settings.detail_deadline_hours),
    )


def _key(settings: Settings) -> bytes | None:
    """The front-end's key; None where this process was given none."""
    try:
        return settings.sealing_key()
    except MissingSetting:
        return None


def _asking(settings: Settings) -> Callable[[Sequence[str]], object] | None:
    """Asks the centre who somebody is; None where this process has no link to it. Registering does not need it."""
    try:
        return partial(entitlement.ask, Frontend(settings))
    except MissingSetting:
        return None
