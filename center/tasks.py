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
from functools import cached_property, lru_cache, partial
from typing import Any, TypeVar

import psycopg
from celery import Celery
from celery.exceptions import Reject
from redbeat.schedulers import RedBeatScheduler, get_redis
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, TimeoutError

from center import lateness, metrics, persons, publications
from center.backup import catching_up
from center.backup.taking import take_up
from center.catalogue.shelf import CatalogueShelf
from center.clearing import deciding as clearing_deciding
from center.clearing import schedule as clearing_schedule
from center.clearing import telling as clearing_telling
from center.conservation.checking import Shelves, check_new, check_nightly
from center.correcting import proposing, telling
from center.details import StaleSlice, receive_details
from center.ledger.export import export, is_exported
from center.ledger.nightly import verify_nightly
from center.offline import leasing, trouble
from center.outcomes.ask import tell
from center.outcomes.decide import decide
from center.outcomes.expiry import expire
from center.outcomes.prepare import prepare
from center.outcomes.prepare_lines import prepare_lines
from center.policy import publications as policy_publications
from center.policy.shelf import PolicyShelf
from center.reconciling import answers as book_answers
from center.reconciling import books, daily, orders, submissions
from center.reconciling.comparing import Compared
from center.serving import moves, terms
from center.settling.lines import Published, settle_lines
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from center.tables import quarantine, reference
from center.transactions import driver_error, in_transaction, is_away, sqlstate_of
from center.uploading import granting
from domain import messages
from infra import lanes
from infra.broker import BrokerAway, Post, build_app
from infra.codec import UnreadableMessage, decode, encode, pack, unpack
from infra.database import open_database
from infra.envelope import PLAIN, SealBroken, seal, sender, unseal, version_of
from infra.lease import LeaseLost
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

TAKING_SECONDS = 20.0
"""After a restore documents are taken up this long at a time; then the office looks after its other lanes."""

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
        self._reads: dict[str, int] = {}
        """By front-end, the version of the envelopes it sends, so of those it can read."""
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

    @property
    def prepare_interval(self) -> timedelta:
        """How long a prepared claim holds its person, on the business clock; by one that stands, for ever."""
        return timedelta(seconds=self.settings.prepare_seconds * (self.clock.speed or 1.0))

    def opened(self, envelope: bytes, lane: str, expected: type[T]) -> tuple[str, T]:
        """Who sealed the envelope, and the message in it. Raises UnreadableMessage."""
        frontend = sender(envelope)
        try:
            content = unseal(envelope, lane=lane, key=self.key_of(frontend))
        except SealBroken:
            self._not_heard(frontend)
            raise
        self._reads[frontend] = version_of(envelope)
        return frontend, decode(content, expected)

    def _not_heard(self, frontend: str) -> None:
        """Note that somebody sends under this front-end's name what its key does not open, and tell it now and then."""
        at = self.now()
        try:
            is_to_be_told = in_transaction(
                self.engine, lambda connection: trouble.note(connection, frontend, trouble.KEY, at=at)
            )
        except (DBAPIError, TimeoutError, psycopg.Error) as error:
            log.error("not_noted", extra={"frontend": frontend, "error": type(error).__name__})
            return
        if is_to_be_told:
            log.error("frontend_not_heard", extra={"frontend": frontend})
            told = messages.OutcomeTold(outcomes=(), unopened=True)
            self.send(lanes.OUTCOMES_TELL, lanes.results(frontend), told, frontend, shown={"claims": 0})

    def send(self, task: str, lane: str, message: messages.Message, frontend: str, *, shown: dict[str, object]) -> None:
        """Seal a message for a front-end and post it on its lane."""
        version = self._reads.get(frontend, PLAIN)
        envelope = seal(encode(message), frontend=frontend, lane=lane, key=self.key_of(frontend), version=version)
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

        Raises Reject; UnreadableMessage for values no column holds; or CenterFailed without the database's words,
        which could quote a row.
        """
        until = time.monotonic() + self.patience_seconds
        while True:
            try:
                return work()
            except (DBAPIError, TimeoutError, psycopg.Error) as error:
                if isinstance(driver_error(error), psycopg.DataError):
                    raise UnreadableMessage(f"{task}: content that cannot be stored ({sqlstate_of(error)})") from None
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
    for add_tasks in (
        _recovery,
        _settling,
        _persons,
        _details,
        _windows,
        _books,
        _reconciling,
        _clearing,
        _audit,
        _reference,
        _serving,
    ):
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

    published = Published(center.shelf, center.catalogues)

    @center.task(lanes.CLAIMS_SETTLE_LINES)
    def claims_settle_lines(envelope: bytes) -> None:
        frontend, submitted = center.opened(envelope, lanes.SETTLE, messages.LinesSubmitted)
        shown = _shown(submitted.claims)
        if submitted.prepare:
            prepare_now = partial(prepare_lines, center.engine, published, submitted, interval=center.prepare_interval)
            told = center.patiently(lanes.CLAIMS_SETTLE_LINES, lambda: prepare_now(frontend=frontend, at=center.now()))
            center.send(lanes.OUTCOMES_TELL, lanes.results(frontend), told, frontend, shown=shown)
            return
        settle_now = partial(settle_lines, center.engine, published, submitted)
        answered = center.patiently(lanes.CLAIMS_SETTLE_LINES, lambda: settle_now(frontend=frontend, at=center.now()))
        center.send(lanes.CLAIMS_DELIVER, lanes.results(frontend), answered, frontend, shown=shown)

    @center.task(lanes.CLAIMS_REFUND)
    def claims_refund(envelope: bytes) -> None:
        frontend, asked = center.opened(envelope, lanes.SETTLE, messages.RefundAsked)
        answered = center.patiently(
            lanes.CLAIMS_REFUND,
            lambda: refund(
                center.engine,
                center.shelf,
                asked,
                frontend=frontend,
                at=center.now(),
                catalogues=center.catalogues,
            ),
        )
        shown: dict[str, object] = {"institution": asked.institution_code, "visit": asked.visit_no}
        center.send(lanes.CLAIMS_REFUNDED, lanes.results(frontend), answered, frontend, shown=shown)

    @center.task(lanes.CORRECTIONS_TICK)
    def corrections_tick() -> None:
        now, after = center.clock.seconds(), center.settings.sweep_after_seconds
        due = center.committed(
            lanes.CORRECTIONS_TICK, lambda connection: telling.due(connection, now=now, after_seconds=after)
        )
        for frontend, corrected in due:
            shown: dict[str, object] = {"institution": corrected.institution_code, "visit": corrected.visit_no}
            center.send(lanes.CLAIMS_CORRECTED, lanes.results(frontend), corrected, frontend, shown=shown)

    @center.task(lanes.CORRECTIONS_PROPOSE)
    def corrections_propose() -> None:
        now = center.clock.seconds()
        center.patiently(lanes.CORRECTIONS_PROPOSE, lambda: proposing.tick(center.engine, at=center.now(), now=now))

    @center.task(lanes.CORRECTIONS_HEARD)
    def corrections_heard(envelope: bytes) -> None:
        frontend, message = center.opened(envelope, lanes.ADMIN, messages.CorrectionHeard)
        center.committed(
            lanes.CORRECTIONS_HEARD,
            lambda connection: telling.heard(connection, message, frontend=frontend, at=center.now()),
        )

    @center.task(lanes.CLAIMS_PREPARE)
    def claims_prepare(envelope: bytes) -> None:
        frontend, asked = center.opened(envelope, lanes.SETTLE, messages.PrepareAsked)
        told = center.patiently(
            lanes.CLAIMS_PREPARE,
            lambda: prepare(
                center.engine,
                center.shelf,
                asked,
                frontend=frontend,
                at=center.now(),
                interval=center.prepare_interval,
                policies=center.policies,
            ),
        )
        center.send(lanes.OUTCOMES_TELL, lanes.results(frontend), told, frontend, shown=_shown(asked.claims))

    @center.task(lanes.CLAIMS_DECIDE)
    def claims_decide(envelope: bytes) -> None:
        frontend, decided = center.opened(envelope, lanes.SETTLE, messages.OutcomeDecided)
        told = center.patiently(
            lanes.CLAIMS_DECIDE, lambda: decide(center.engine, decided, frontend=frontend, at=center.now())
        )
        center.send(lanes.OUTCOMES_TELL, lanes.results(frontend), told, frontend, shown={"claims": len(told.outcomes)})

    @center.task(lanes.OUTCOMES_ASK)
    def outcomes_ask(envelope: bytes) -> None:
        frontend, asked = center.opened(envelope, lanes.SETTLE, messages.OutcomeAsked)
        told = center.committed(
            lanes.OUTCOMES_ASK, lambda connection: tell(connection, asked, frontend=frontend, at=center.now())
        )
        center.send(lanes.OUTCOMES_TELL, lanes.results(frontend), told, frontend, shown={"claims": len(told.outcomes)})

    @center.task(lanes.OUTCOMES_TICK)
    def outcomes_tick() -> None:
        center.committed(lanes.OUTCOMES_TICK, lambda connection: expire(connection, at=center.now()))
        center.committed(lanes.OUTCOMES_TICK, lambda connection: leasing.prune(connection, at=center.now()))

    @center.task(lanes.LANES_PROBE)
    def lanes_probe(envelope: bytes) -> None:
        lane, sent_at = _probe_in(envelope, center)
        now = center.clock.seconds()
        center.committed(
            lanes.LANES_PROBE,
            lambda connection: lateness.probe_back(connection, lane, sent_at=sent_at, now=now),
        )


def _recovery(center: Center) -> None:
    def ask(frontend: str, question: catching_up.Question | None) -> None:
        if question is None:
            return
        task = lanes.DOCUMENTS_ASK if isinstance(question, messages.DocumentsAsked) else lanes.DETAILS_ASK
        center.send(task, lanes.uploads(frontend), question, frontend, shown={"epoch": question.epoch})

    def answered(
        envelope: bytes, task: str, expected: type[T], step: Callable[..., catching_up.Question | None]
    ) -> None:
        frontend, message = center.opened(envelope, lanes.BOOKS, expected)
        now = center.clock.seconds()
        ask(frontend, center.committed(task, lambda connection: step(connection, message, frontend=frontend, now=now)))

    @center.task(lanes.EPOCH_TICK)
    def epoch_tick() -> None:
        now = center.clock.seconds()
        for frontend, question in center.committed(lanes.EPOCH_TICK, lambda c: catching_up.tick(c, now=now)):
            ask(frontend, question)
        until = time.monotonic() + TAKING_SECONDS
        while center.patiently(
            lanes.EPOCH_TICK, lambda: take_up(center.engine, center.shelf, center.policies, at=center.now())
        ):
            if time.monotonic() > until:
                break

    @center.task(lanes.DOCUMENTS_RESEND)
    def documents_resend(envelope: bytes) -> None:
        keep = partial(catching_up.keep, at=center.now())
        answered(envelope, lanes.DOCUMENTS_RESEND, messages.DocumentsResent, keep)

    @center.task(lanes.DETAILS_MARK)
    def details_mark(envelope: bytes) -> None:
        answered(envelope, lanes.DETAILS_MARK, messages.DetailsMarked, catching_up.marked)


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
                    size=len(envelope),
                ),
            )
        except StaleSlice as error:
            log.info("slice_over", extra={"frontend": frontend, "why": str(error)})
            return
        center.send(lanes.DETAILS_CONFIRM, lanes.results(frontend), received, frontend, shown=_shown(uploaded.claims))


def _windows(center: Center) -> None:
    settings = center.settings
    tick_length = timedelta(seconds=settings.window_tick_seconds * center.clock.speed)
    deadline = timedelta(hours=settings.detail_deadline_hours)
    settle_lanes = lanes.settle_lanes(settings.settle_lanes)

    @center.task(lanes.WINDOWS_TICK)
    def windows_tick() -> None:
        at, now = center.now(), center.clock.seconds()

        def tick(connection: Connection) -> tuple[list[str], list[tuple[str, messages.UploadGranted]]]:
            activate(connection, reference, at.date())
            policy_publications.activate(connection, at.date())
            waiting_age = max(lateness.waiting_age(connection, lane, now) for lane in settle_lanes)
            to_probe = [lane for lane in settle_lanes if lateness.probe_due(connection, lane, now)]
            granted = granting.tick(
                connection,
                at=at,
                now=now,
                holder=center.holder,
                settle_waiting_age=waiting_age,
                settle_late_seconds=settings.settle_late_seconds,
                tick_length=tick_length,
                deadline=deadline,
                last_slice_after=granting.LAST_SLICE_AFTER * center.clock.speed,
            )
            return to_probe, granted

        to_probe, granted = center.committed(lanes.WINDOWS_TICK, tick)
        for lane in to_probe:
            center.post_envelope(lanes.LANES_PROBE, lane, _probe(lane, now, center), {"frontend": SITE})
        for frontend, slice_ in granted:
            shown = {"window": slice_.window, "lines": slice_.lines, "bytes": slice_.bytes}
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
            lanes.BOOKS_TICK,
            lambda connection: books.tick(connection, at=at, now=now, holder=center.holder, in_flight=in_flight),
        )
        for frontend, question in asked:
            ask(frontend, question)

    @center.task(lanes.BOOKS_CHECK)
    def books_check() -> None:
        shelves = Shelves(center.catalogues, center.policies)
        check = partial(check_new, center.engine, shelves, holder=center.holder)
        try:
            center.patiently(lanes.BOOKS_CHECK, lambda: check(at=center.now(), now=center.clock.seconds()))
            center.patiently(lanes.BOOKS_CHECK, lambda: check_nightly(center.engine, shelves, at=center.now()))
        except LeaseLost:
            log.warning("books_check_overtaken")

    @center.task(lanes.BOOKS_RECONCILE)
    def books_reconcile(envelope: bytes) -> None:
        frontend, reported = center.opened(envelope, lanes.BOOKS, messages.BooksReported)
        question = center.committed(
            lanes.BOOKS_RECONCILE,
            lambda connection: books.reconcile(reported, frontend=frontend, connection=connection, at=center.now()),
        )
        if question is not None:
            ask(frontend, question)


def _reconciling(center: Center) -> None:
    def tell(frontend: str, compared: Sequence[messages.BooksCompared]) -> None:
        for part in compared:
            shown: dict[str, object] = {"institution": part.institution_code, "day": part.day.isoformat()}
            center.send(lanes.BOOKS_COMPARED, lanes.results(frontend), part, frontend, shown=shown)

    def answers(connection: Connection, compared: Sequence[Compared]) -> list[messages.BooksCompared]:
        at = center.now()
        return [part for each in compared for part in book_answers.answers(connection, each, at=at)]

    def give(ordered: Sequence[tuple[str, messages.RepairOrdered]]) -> None:
        for frontend, order in ordered:
            shown: dict[str, object] = {"institution": order.institution_code, "visit": order.visit_no}
            center.send(lanes.BOOKS_REPAIR, lanes.results(frontend), order, frontend, shown=shown)

    @center.task(lanes.BOOKS_SUBMIT)
    def books_submit(envelope: bytes) -> None:
        frontend, submitted = center.opened(envelope, lanes.BOOKS, messages.BooksSubmitted)

        def take(connection: Connection) -> list[messages.BooksCompared]:
            at = center.now()
            book = submissions.receive(submitted, frontend=frontend, connection=connection, at=at)
            return [] if book is None else answers(connection, daily.compare_all(connection, book, at=at))

        tell(frontend, center.committed(lanes.BOOKS_SUBMIT, take))

    @center.task(lanes.BOOKS_REPAIRED)
    def books_repaired(envelope: bytes) -> None:
        frontend, told = center.opened(envelope, lanes.BOOKS, messages.RepairDone)
        center.committed(
            lanes.BOOKS_REPAIRED,
            lambda connection: orders.done(connection, told, frontend=frontend, at=center.now()),
        )

    @center.task(lanes.BOOKS_COMPARE)
    def books_compare() -> None:
        def run_day(connection: Connection) -> list[tuple[str, list[messages.BooksCompared]]]:
            compared = daily.run(connection, at=center.now())
            return [
                (orders.frontend_of(connection, each.book.institution_code), answers(connection, [each]))
                for each in compared
            ]

        for frontend, parts in center.committed(lanes.BOOKS_COMPARE, run_day):
            tell(frontend, parts)
        now = center.clock.seconds()
        give(center.committed(lanes.BOOKS_COMPARE, lambda connection: orders.due(connection, now=now)))


def _clearing(center: Center) -> None:
    @center.task(lanes.CLEARING_TICK)
    def clearing_tick() -> None:
        at, now = center.now(), center.clock.seconds()
        center.patiently(
            lanes.CLEARING_TICK,
            lambda: clearing_schedule.tick(
                center.engine, at=at, now=now, holder=center.holder, pool=center.settings.pool
            ),
        )

    def tell(frontend: str, told: messages.ClearingsTold) -> None:
        shown: dict[str, object] = {"institution": told.institution_code, "clearings": len(told.clearings)}
        center.send(lanes.CLEARINGS_TELL, lanes.results(frontend), told, frontend, shown=shown)

    @center.task(lanes.CLEARINGS_ASK)
    def clearings_ask(envelope: bytes) -> None:
        frontend, asked = center.opened(envelope, lanes.ADMIN, messages.ClearingsAsked)
        for told in center.committed(
            lanes.CLEARINGS_ASK, lambda connection: clearing_telling.answer(connection, asked, frontend=frontend)
        ):
            tell(frontend, told)

    @center.task(lanes.CLEARINGS_DECIDE)
    def clearings_decide(envelope: bytes) -> None:
        frontend, said = center.opened(envelope, lanes.ADMIN, messages.ClearingDecided)
        heard = center.committed(
            lanes.CLEARINGS_DECIDE,
            lambda connection: clearing_deciding.decided(connection, said, frontend=frontend, at=center.now()),
        )
        shown: dict[str, object] = {"institution": said.institution_code, "period": said.period_no}
        center.send(lanes.CLEARINGS_HEARD, lanes.results(frontend), heard, frontend, shown=shown)


def _audit(center: Center) -> None:
    folder = center.settings.audit_folder

    @center.task(lanes.AUDIT_TICK)
    def audit_tick() -> None:
        at = center.now()
        if not is_exported(folder, at.date()):
            center.committed(lanes.AUDIT_TICK, lambda connection: export(connection, folder, at=at))
        center.patiently(lanes.AUDIT_TICK, lambda: verify_nightly(center.engine, folder, at=center.now()))


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


MOVES = "moves"
"""The lane a bundle is sealed for while the centre keeps it."""


def _serving(center: Center) -> None:
    def sealed(content: bytes) -> bytes:
        return seal(content, frontend=SITE, lane=MOVES, key=center.key_of(SITE))

    def opened(envelope: bytes) -> bytes:
        return unseal(envelope, lane=MOVES, key=center.key_of(SITE))

    def tell(frontend: str, sent: messages.TermsSent) -> None:
        shown: dict[str, object] = {"institutions": len(sent.terms), "version": sent.version}
        center.send(lanes.TERMS_KEEP, lanes.results(frontend), sent, frontend, shown=shown)

    def give(due: Sequence[moves.Due]) -> None:
        for frontend, message in due:
            task = lanes.HANDOVER_ASK if isinstance(message, messages.HandOverAsked) else lanes.BUNDLE_KEEP
            shown: dict[str, object] = {"institution": message.institution_code, "move": message.move_no}
            center.send(task, lanes.results(frontend), message, frontend, shown=shown)

    @center.task(lanes.TERMS_ASK)
    def terms_ask(envelope: bytes) -> None:
        frontend, asked = center.opened(envelope, lanes.ADMIN, messages.TermsAsked)

        now = center.clock.seconds()

        def hear(connection: Connection) -> tuple[messages.TermsSent | None, list[moves.Due]]:
            sent = moves.heard(connection, asked, frontend=frontend, at=center.now())
            return sent, moves.due(connection, now=now, opened=opened)

        sent, due = center.committed(lanes.TERMS_ASK, hear)
        if sent is not None:
            tell(frontend, sent)
        give(due)

    @center.task(lanes.SERVING_TICK)
    def serving_tick() -> None:
        now = center.clock.seconds()

        def tick(connection: Connection) -> tuple[list[tuple[str, messages.TermsSent]], list[moves.Due]]:
            moves.advance(connection, at=center.now())
            return terms.due(connection, now=now), moves.due(connection, now=now, opened=opened)

        changed, due = center.committed(lanes.SERVING_TICK, tick)
        for frontend, sent in changed:
            tell(frontend, sent)
        give(due)

    @center.task(lanes.HANDOVER_TAKE)
    def handover_take(envelope: bytes) -> None:
        frontend, handed = center.opened(envelope, lanes.ADMIN, messages.HandedOver)
        take = partial(moves.take, handed=handed, frontend=frontend, sealed=sealed, opened=opened)
        give(center.committed(lanes.HANDOVER_TAKE, lambda connection: take(connection, at=center.now())))

    @center.task(lanes.HANDOVER_REPORT)
    def handover_report(envelope: bytes) -> None:
        frontend, told = center.opened(envelope, lanes.ADMIN, messages.HandOverReported)
        center.committed(
            lanes.HANDOVER_REPORT,
            lambda connection: moves.reported(connection, told, frontend=frontend, at=center.now()),
        )

    @center.task(lanes.BUNDLE_KEPT)
    def bundle_kept(envelope: bytes) -> None:
        frontend, told = center.opened(envelope, lanes.ADMIN, messages.BundleKept)
        kept = partial(moves.kept, told=told, frontend=frontend, opened=opened)
        due = center.committed(lanes.BUNDLE_KEPT, lambda connection: kept(connection, at=center.now()))
        if due is not None:
            give(due)
            serving_tick()


def _shown(claims: Sequence[messages.ClaimTotals | messages.ClaimLines | messages.ClaimDetail]) -> dict[str, object]:
    """What Flower may show of a batch: where from and how many; the visit when there is one only."""
    institutions = sorted({claim.institution_code for claim in claims})
    shown: dict[str, object] = {"claims": len(claims)}
    shown |= {"institution": institutions[0]} if len(institutions) == 1 else {"institutions": len(institutions)}
    if len(claims) == 1:
        shown["visit"] = claims[0].visit_no
    return shown


def _probe(lane: str, now: float, center: Center) -> bytes:
    return seal(pack((lane, now)), frontend=SITE, lane=lanes.SETTLE, key=center.key_of(SITE))


def _probe_in(envelope: bytes, center: Center) -> tuple[str, float]:
    if sender(envelope) != SITE:
        raise UnreadableMessage("a probe that is not the centre's own")
    return unpack(unseal(envelope, lane=lanes.SETTLE, key=center.key_of(SITE)), tuple[str, float])


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
            lanes.BOOKS_COMPARE: entry(lanes.BOOKS_COMPARE, settings.books_tick_seconds),
            lanes.BOOKS_CHECK: entry(lanes.BOOKS_CHECK, settings.books_check_seconds),
            lanes.CLEARING_TICK: entry(lanes.CLEARING_TICK, settings.clearing_tick_seconds),
            lanes.EPOCH_TICK: entry(lanes.EPOCH_TICK, settings.window_tick_seconds),
            lanes.AUDIT_TICK: entry(lanes.AUDIT_TICK, settings.audit_tick_seconds),
            lanes.CORRECTIONS_TICK: entry(lanes.CORRECTIONS_TICK, settings.sweep_after_seconds),
            lanes.CORRECTIONS_PROPOSE: entry(lanes.CORRECTIONS_PROPOSE, settings.corrections_propose_seconds),
            lanes.OUTCOMES_TICK: entry(lanes.OUTCOMES_TICK, settings.outcomes_tick_seconds),
            lanes.SERVING_TICK: entry(lanes.SERVING_TICK, settings.serving_tick_seconds),
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
        queues=_settle_lanes(settings),
        heartbeat_file=settings.heartbeat_file,
        log_level=settings.log_level,
    )


def _settle_lanes(settings: Settings) -> list[str]:
    """Those this worker serves: the one it was given, or all there are."""
    if settings.settle_lane is not None:
        return [lanes.settle(settings.settle_lane)]
    return lanes.settle_lanes(settings.settle_lanes)


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
