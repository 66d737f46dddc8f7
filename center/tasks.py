"""The centre's tasks: each decodes, calls one use case, returns. Answers go out after the commit.

Two workers and a schedule serve the centre. The *counter* (center-settle) settles and does nothing else; the *office*
(center-detail) receives detail, opens windows and reconciles. An answer that does not get out is no loss: the front-end
asks again until it has one.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import psycopg
from celery import Celery
from celery.exceptions import Reject
from redbeat.schedulers import RedBeatScheduler, get_redis
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, TimeoutError

from center import books, lateness, metrics, persons, publications, windows
from center.catalogue.shelf import CatalogueShelf
from center.details import StaleSlice, receive_details
from center.policy import publications as policy_publications
from center.policy.shelf import PolicyShelf
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from center.tables import quarantine, reference
from center.transactions import in_transaction, is_away, sqlstate_of
from domain import messages
from infra import lanes
from infra.broker import BrokerAway, Post, build_app
from infra.codec import UnreadableMessage, decode, encode, pack, unpack
from infra.database import open_database
from infra.envelope import seal, sender, unseal
from infra.quarantine import Quarantine, keep_with
from infra.reference import NothingPublished, ReferenceShelf, activate
from infra.settings import Settings
from infra.worker import run

log = logging.getLogger("center")

T = TypeVar("T")

SITE = "@center"
"""The centre's own name where a front-end's stands; no front-end has it."""

PATIENCE_SECONDS = 15.0
PAUSE_SECONDS = 0.5

TICK_SHARE = 0.9
"""A slice ends just before the next tick, so that it is over when the tick comes."""

SWEEPS_IN_FLIGHT = 3
"""After so many rounds of its sweep a front-end has every answer it can get."""


class CenterFailed(Exception):
    """A task could not do its work, and not because the database is away. Names the task and the database's code."""


@dataclass
class Center:
    """What the tasks of the centre work with."""

    settings: Settings
    patience_seconds: float = PATIENCE_SECONDS
    """How long a task waits for a database that is away before its message goes back."""

    def __post_init__(self) -> None:
        self.settings.need("center_database_url", "center_broker_url")
        self.clock = self.settings.time
        self.shelf = ReferenceShelf(reference)
        self.catalogues = CatalogueShelf()
        self.policies = PolicyShelf()
        self.holder = f"{socket.gethostname()}:{os.getpid()}"
        self.key_of = lru_cache(maxsize=1024)(self.settings.key_of)
        self.app = build_app("center", self.settings.center_broker_url)
        self.app.conf.update(_schedule(self.settings))
        self.post = Post(self.app)

    @cached_property
    def engine(self) -> Engine:
        """The centre's database."""
        return open_database(self.settings.center_database_url)

    def task(self, name: str) -> Callable[[Callable[..., None]], Any]:
        """Register a task under its stable name, with this application only: Celery's default is every one."""
        return self.app.task(name=name, shared=False)

    def now(self) -> datetime:
        """The business moment."""
        return self.clock.now()

    def opened(self, envelope: bytes, lane: str, expected: type[T]) -> tuple[str, T]:
        """Who sealed the envelope, and the message in it. Raises UnreadableMessage."""
        frontend = sender(envelope)
        return frontend, decode(unseal(envelope, lane=lane, key=self.key_of(frontend)), expected)

    def send(self, task: str, lane: str, message: messages.Message, frontend: str, *, shown: dict[str, object]) -> None:
        """Seal a message for a front-end and post it on its lane."""
        envelope = seal(encode(message), frontend=frontend, lane=lane, key=self.key_of(frontend))
        self.post_envelope(task, lane, envelope, {"frontend": frontend, **shown})

    def post_envelope(self, task: str, lane: str, envelope: bytes, shown: dict[str, object]) -> None:
        """Post an envelope. A broker that is away gets nothing: whoever waits for it asks again."""
        try:
            self.post.send(task, queue=lane, shown=shown, envelope=envelope)
        except BrokerAway as error:
            log.warning("not_sent", extra={"task": task, "queue": lane, "error": type(error).__name__})

    def keep_quarantine(self) -> None:
        """Set unreadable messages aside in the centre's database."""
        keep_with(Quarantine(self.engine, quarantine, site=SITE, key=self.key_of(SITE), clock=self.clock))

    def committed(self, task: str, work: Callable[[Connection], T]) -> T:
        """Do the work in one transaction, as `patiently`."""
        return self.patiently(task, lambda: in_transaction(self.engine, work))

    def patiently(self, task: str, work: Callable[[], T]) -> T:
        """Do the work, waiting a while for a database that is away; then the message goes back to its queue.

        Raises Reject, or CenterFailed without the database's words, which could quote a row.
        """
        until = time.monotonic() + self.patience_seconds
        while True:
            try:
                return work()
            except (DBAPIError, TimeoutError, psycopg.Error) as error:
                if not is_away(error):
                    raise CenterFailed(f"{task}: database error {sqlstate_of(error)}") from None
                reason = sqlstate_of(error)
            except NothingPublished as error:
                reason = str(error)
            if time.monotonic() > until:
                log.error("message_goes_back", extra={"task": task, "reason": reason})
                raise Reject(reason, requeue=True)
            log.warning("database_awaited", extra={"task": task, "reason": reason})
            time.sleep(PAUSE_SECONDS)


def center_app(settings: Settings) -> Celery:
    """The centre's application with all its tasks and its schedule; a worker chooses its queues."""
    return app_of(Center(settings))


def app_of(center: Center) -> Celery:
    """The application of this centre, with all its tasks."""
    center.keep_quarantine()
    for add_tasks in (_settling, _persons, _details, _windows, _books, _reference):
        add_tasks(center)
    return center.app


def _settling(center: Center) -> None:
    @center.task(lanes.CLAIMS_SETTLE)
    def claims_settle(envelope: bytes) -> None:
        frontend, submitted = center.opened(envelope, lanes.SETTLE, messages.TotalsSubmitted)
        answered = center.patiently(
            lanes.CLAIMS_SETTLE,
            lambda: settle_submitted(
                center.engine,
                center.shelf,
                submitted,
                frontend=frontend,
                at=center.now(),
                policies=center.policies,
            ),
        )
        center.send(lanes.CLAIMS_DELIVER, lanes.results(frontend), answered, frontend, shown=_shown(submitted.claims))

    @center.task(lanes.CLAIMS_REFUND)
    def claims_refund(envelope: bytes) -> None:
        frontend, asked = center.opened(envelope, lanes.SETTLE, messages.RefundAsked)
        answered = center.patiently(
            lanes.CLAIMS_REFUND,
            lambda: refund(center.engine, center.shelf, asked, frontend=frontend, at=center.now()),
        )
        shown: dict[str, object] = {"institution": asked.institution_code, "visit": asked.visit_no}
        center.send(lanes.CLAIMS_REFUNDED, lanes.results(frontend), answered, frontend, shown=shown)

    @center.task(lanes.LANES_PROBE)
    def lanes_probe(envelope: bytes) -> None:
        sent_at = _probe_in(envelope, center)
        now = center.clock.seconds()
        center.committed(
            lanes.LANES_PROBE,
            lambda connection: lateness.probe_back(connection, lanes.SETTLE, sent_at=sent_at, now=now),
        )


def _persons(center: Center) -> None:
    @center.task(lanes.PERSONS_ASK)
    def persons_ask(envelope: bytes) -> None:
        frontend, asked = center.opened(envelope, lanes.ADMIN, messages.PersonAsked)
        answered = center.committed(
            lanes.PERSONS_ASK,
            lambda connection: persons.entitlements(asked, frontend=frontend, connection=connection, at=center.now()),
        )
        shown: dict[str, object] = {"persons": len(answered.entitlements)}
        center.send(lanes.PERSONS_ANSWER, lanes.results(frontend), answered, frontend, shown=shown)


def _details(center: Center) -> None:
    @center.task(lanes.DETAILS_RECEIVE)
    def details_receive(envelope: bytes) -> None:
        frontend, uploaded = center.opened(envelope, lanes.DETAILS, messages.DetailUploaded)
        try:
            received = center.committed(
                lanes.DETAILS_RECEIVE,
                lambda connection: receive_details(
                    uploaded,
                    frontend=frontend,
                    connection=connection,
                    catalogues=center.catalogues,
                    policies=center.policies,
                    at=center.now(),
                ),
            )
        except StaleSlice as error:
            log.info("slice_over", extra={"frontend": frontend, "why": str(error)})
            return
        center.send(lanes.DETAILS_CONFIRM, lanes.results(frontend), received, frontend, shown=_shown(uploaded.claims))


def _windows(center: Center) -> None:
    settings = center.settings
    slice_length = timedelta(seconds=settings.window_tick_seconds * center.clock.speed * TICK_SHARE)

    @center.task(lanes.WINDOWS_TICK)
    def windows_tick() -> None:
        at, now = center.now(), center.clock.seconds()

        def tick(connection: Connection) -> tuple[bool, list[tuple[str, messages.UploadGranted]]]:
            activate(connection, reference, at.date())
            policy_publications.activate(connection, at.date())
            waiting_age = lateness.waiting_age(connection, lanes.SETTLE, now)
            probe_due = lateness.probe_due(connection, lanes.SETTLE, now)
            granted = windows.tick(
                connection,
                at=at,
                now=now,
                holder=center.holder,
                settle_waiting_age=waiting_age,
                settle_late_seconds=settings.settle_late_seconds,
                slice_length=slice_length,
            )
            return probe_due, granted

        probe_due, granted = center.committed(lanes.WINDOWS_TICK, tick)
        if probe_due:
            center.post_envelope(lanes.LANES_PROBE, lanes.SETTLE, _probe(now, center), {"frontend": SITE})
        for frontend, slice_ in granted:
            shown = {"window": slice_.window, "lines": slice_.lines}
            center.send(lanes.DETAILS_UPLOAD, lanes.uploads(frontend), slice_, frontend, shown=shown)


def _books(center: Center) -> None:
    settings = center.settings
    in_flight = timedelta(seconds=SWEEPS_IN_FLIGHT * settings.sweep_after_seconds * center.clock.speed)

    def ask(frontend: str, question: messages.BooksAsked) -> None:
        shown = {"day": question.day.isoformat(), "institutions": len(question.lines_of)}
        center.send(lanes.BOOKS_REPORT, lanes.uploads(frontend), question, frontend, shown=shown)

    @center.task(lanes.BOOKS_TICK)
    def books_tick() -> None:
        at, now = center.now(), center.clock.seconds()
        asked = center.committed(
            lanes.BOOKS_TICK, lambda connection: books.tick(connection, at=at, now=now, holder=center.holder)
        )
        for frontend, question in asked:
            ask(frontend, question)

    @center.task(lanes.BOOKS_RECONCILE)
    def books_reconcile(envelope: bytes) -> None:
        frontend, reported = center.opened(envelope, lanes.BOOKS, messages.BooksReported)
        question = center.committed(
            lanes.BOOKS_RECONCILE,
            lambda connection: books.reconcile(
                reported, frontend=frontend, connection=connection, at=center.now(), in_flight=in_flight
            ),
        )
        if question is not None:
            ask(frontend, question)


def _reference(center: Center) -> None:
    @center.task(lanes.REFERENCE_ASK)
    def reference_ask(envelope: bytes) -> None:
        frontend, asked = center.opened(envelope, lanes.ADMIN, messages.ReferenceAsked)
        sent = center.committed(
            lanes.REFERENCE_ASK,
            lambda connection: publications.answer(connection, asked, frontend=frontend, at=center.now()),
        )
        shown: dict[str, object] = {"versions": len(sent.rows), "parts": len(sent.parts)}
        center.send(lanes.REFERENCE_KEEP, lanes.uploads(frontend), sent, frontend, shown=shown)


def _shown(claims: Sequence[messages.ClaimTotals | messages.ClaimDetail]) -> dict[str, object]:
    """What Flower may show of a batch: where from and how many; the visit when there is one only."""
    institutions = sorted({claim.institution_code for claim in claims})
    shown: dict[str, object] = {"claims": len(claims)}
    shown |= {"institution": institutions[0]} if len(institutions) == 1 else {"institutions": len(institutions)}
    if len(claims) == 1:
        shown["visit"] = claims[0].visit_no
    return shown


def _probe(now: float, center: Center) -> bytes:
    return seal(pack(now), frontend=SITE, lane=lanes.SETTLE, key=center.key_of(SITE))


def _probe_in(envelope: bytes, center: Center) -> float:
    if sender(envelope) != SITE:
        raise UnreadableMessage("a probe that is not the centre's own")
    return unpack(unseal(envelope, lane=lanes.SETTLE, key=center.key_of(SITE)), float)


# ── Schedule ──────────────────────────────────────────────────────────────────────────────────────────────

BEAT_KEYS = "jiesuan:beat:"


class Beat(RedBeatScheduler):  # type: ignore[misc]  # RedBeat has no types
    """RedBeat that finds its schedule again when the broker has lost everything, and outlives a broker that is away.

    It takes no lock: every tick takes a lease in the database, so a second beat does no harm.
    """

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Ring what is due; how long to sleep."""
        try:
            if not get_redis(self.app).exists(self.app.redbeat_conf.statics_key):
                self.setup_schedule()
            return float(super().tick(*args, **kwargs))
        except RedisError as error:
            log.warning("beat_waits_for_broker", extra={"error": type(error).__name__})
            return float(self.max_interval)


def _schedule(settings: Settings) -> dict[str, Any]:
    """The static entries. A tick nobody took within a few periods is not worth taking any more."""

    def entry(task: str, seconds: float) -> dict[str, Any]:
        return {"task": task, "schedule": seconds, "options": {"queue": lanes.ADMIN, "expires": max(10.0, 3 * seconds)}}

    return {
        "beat_scheduler": "center.tasks:Beat",
        "beat_schedule": {
            lanes.WINDOWS_TICK: entry(lanes.WINDOWS_TICK, settings.window_tick_seconds),
            lanes.BOOKS_TICK: entry(lanes.BOOKS_TICK, settings.books_tick_seconds),
        },
        "beat_max_loop_interval": min(settings.window_tick_seconds, 5.0),
        "redbeat_redis_url": settings.center_broker_url,
        "redbeat_redis_options": {"socket_timeout": 5, "socket_connect_timeout": 3, "retry_period": 0},
        "redbeat_key_prefix": BEAT_KEYS,
        "redbeat_lock_key": None,
    }


# ── Processes ─────────────────────────────────────────────────────────────────────────────────────────────


def serve_counter(settings: Settings) -> int:
    """Run the worker that settles until it is told to stop; the exit code."""
    return run(
        center_app(settings),
        role=f"center-settle-{os.getpid()}",
        queues=[lanes.SETTLE],
        heartbeat_file=settings.heartbeat_file,
        log_level=settings.log_level,
    )


def serve_office(settings: Settings) -> int:
    """Run the worker for detail, windows and books, with the centre's /metrics, until it is told to stop."""
    metrics.serve(settings)
    return run(
        center_app(settings),
        role=f"center-detail-{os.getpid()}",
        queues=[lanes.ADMIN, lanes.DETAILS, lanes.BOOKS],
        heartbeat_file=settings.heartbeat_file,
        log_level=settings.log_level,
    )


def serve_beat(settings: Settings) -> int:
    """Run the schedule until it is told to stop."""
    app = center_app(settings)
    app.Beat(loglevel=settings.log_level, quiet=True).run()
    return 0
