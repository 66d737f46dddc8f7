"""The front-end's tasks: each decodes, calls one use case, returns.

Two workers serve a front-end. The *desk* listens on the site's own broker to its institutions' queues; the *link*
listens on the centre's broker to what the centre says to this front-end. Settling never waits behind detail.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from celery import Celery
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from domain import messages
from infra import lanes
from infra.broker import BrokerAway, Post, build_app
from infra.codec import UnreadableMessage, decode, encode, has_room
from infra.database import open_database, reading
from infra.envelope import SealBroken, seal, unseal
from infra.quarantine import Quarantine, keep_with
from infra.reference import ReferenceShelf
from infra.settings import Settings
from infra.worker import Timer, run, show
from workers import (
    books,
    corrections,
    deliver,
    desk,
    entitlement,
    epochs,
    publications,
    refund,
    retotal,
    terms,
    upload,
)
from workers.clearings import held, saying
from workers.dispatch import LOOK_SECONDS, NOTE_SECONDS, Allowed, Dispatch
from workers.doorbell import Doorbell
from workers.link import Hearing, Standing, standing
from workers.moving import handing, taking
from workers.offline.drain import Drain
from workers.offline.settling import look_after
from workers.outbox import Outbox, Sweep
from workers.outcomes import sending, told
from workers.reconciling import books as institution_books
from workers.reconciling import orders
from workers.tables import institution, quarantine, reference

log = logging.getLogger("frontend")

T = TypeVar("T")


@dataclass
class Frontend:
    """What the tasks of one front-end server work with."""

    settings: Settings

    def __post_init__(self) -> None:
        self.settings.need("frontend", "frontend_database_url", "center_broker_url")
        self.key = self.settings.sealing_key()
        self.code = self.settings.frontend
        self.clock = self.settings.time

    @cached_property
    def engine(self) -> Engine:
        """The front-end's database."""
        return open_database(self.settings.frontend_database_url)

    @cached_property
    def shelf(self) -> ReferenceShelf:
        """The published reference data."""
        return ReferenceShelf(reference)

    @cached_property
    def to_center(self) -> Post:
        """Posts on the centre's broker."""
        return Post(build_app("to-center", self.settings.center_broker_url, member=self.code), is_guest=True)

    @cached_property
    def on_site(self) -> Post:
        """Posts on the site's own broker."""
        return Post(build_app("on-site", self.settings.local_broker_url, member=self.code))

    @cached_property
    def doorbell(self) -> Doorbell:
        """Rings this front-end's desk."""
        return Doorbell(self.on_site, self.code)

    @cached_property
    def outbox(self) -> Outbox:
        """Sends totals to the centre."""
        return Outbox(self.to_center, self.code, self.key)

    def sweep(self) -> Sweep:
        """A sweep that knows this process by name."""
        return Sweep(
            self.engine,
            self.outbox,
            self.doorbell,
            holder=f"{socket.gethostname()}:{os.getpid()}",
            after_seconds=self.settings.sweep_after_seconds,
        )

    @cached_property
    def dispatch(self) -> Dispatch:
        """How this process's desk shares itself among the institutions."""
        return Dispatch(
            self.engine,
            self.settings.preprocess_batch,
            self.settings.sweep_after_seconds,
            holder=f"{socket.gethostname()}:{os.getpid()}",
        )

    def ring_who_waited(self) -> None:
        """Ring for institutions whose claims at the centre were answered meanwhile."""
        for institution_code in self.dispatch.due(now=self.clock.seconds()):
            self.doorbell.ring(institution_code)

    def institution_queues(self) -> list[str]:
        """The queues of the institutions this front-end serves now."""
        with reading(self.engine) as connection:
            codes = connection.execute(select(institution.c.institution_code).where(institution.c.active)).scalars()
            return [lanes.preprocess(self.code, code) for code in sorted(codes)]

    def opened(self, envelope: bytes, lane: str, expected: type[T]) -> T:
        """The message in an envelope the centre sealed for us. Raises UnreadableMessage."""
        try:
            content = unseal(envelope, lane=lane, key=self.key)
        except SealBroken:
            self.hearing.broken_seal(at=self.now())
            raise
        self.hearing.heard(now=self.clock.seconds(), at=self.now())
        message = decode(content, expected)
        if not has_room(content):
            raise UnreadableMessage("a number that no column holds")
        return message

    def send(self, task: str, lane: str, message: messages.Message, shown: dict[str, object]) -> bool:
        """Send one sealed message to a lane of the centre; False when the broker is away."""
        return self.post(task, lane, self.sealed(lane, message), shown)

    def sealed(self, lane: str, message: messages.Message) -> bytes:
        """The message in an envelope for a lane of the centre."""
        return seal(encode(message), frontend=self.code, lane=lane, key=self.key)

    def post(self, task: str, lane: str, envelope: bytes, shown: dict[str, object]) -> bool:
        """Post an envelope on a lane of the centre; False when the broker is away."""
        try:
            self.to_center.send(task, queue=lane, shown={"frontend": self.code, **shown}, envelope=envelope)
        except BrokerAway as error:
            log.warning("not_sent", extra={"task": task, "error": type(error).__name__})
            return False
        return True

    @cached_property
    def hearing(self) -> Hearing:
        """What this process hears of the centre."""
        of = self.settings
        return Hearing(
            of.link_every_seconds, of.link_unsure_seconds, of.link_down_seconds, speed=self.clock.speed or 1.0
        )

    def link(self) -> Standing:
        """How the link stands, whoever noted it."""
        with reading(self.engine) as connection:
            return standing(connection, at=self.now())

    def look_at_link(self) -> None:
        """Note how the link stands, and ask the centre whether it is there where nothing was heard lately."""
        now, at = self.clock.seconds(), self.now()
        question = self.hearing.question(now=now, at=at)
        self.hearing.note(self.engine, now=now, at=at)
        if question is not None:
            self.hearing.sent(self.send(lanes.OUTCOMES_ASK, lanes.SETTLE, question, {"claims": 0}))

    @cached_property
    def pace(self) -> publications.Pace:
        """How often the centre is asked for what is published."""
        return publications.Pace(self.settings.reference_every_seconds)

    @cached_property
    def hurry(self) -> publications.Pace:
        """How often the centre is asked for it where a claim was answered as stale."""
        return publications.Pace(self.settings.sweep_after_seconds)

    def look_for_reference(self) -> None:
        """Bring into force what is due, and ask the centre what is published, unless it owes an answer."""
        with self.engine.begin() as connection:
            publications.bring_into_force(connection, at=self.now())
        self.total_again()
        if self.pace.is_due(time.monotonic()):
            self.ask_for_terms()
            self.ask_for_reference()

    def total_again(self) -> None:
        """Let claims that wait for what is in force now be totalled again."""
        with self.engine.begin() as connection:
            institutions = retotal.release(connection, at=self.now())
        self.go_on_with(retotal.Retotalling(institutions))

    def go_on_with(self, stale: retotal.Retotalling) -> None:
        """Ring for claims that are to be totalled again, and ask for the reference data others of them wait for."""
        for institution_code in sorted(stale.institutions):
            self.doorbell.ring(institution_code)
        if stale.waits and self.hurry.is_due(time.monotonic()):
            self.ask_for_reference()

    def ask_for_reference(self, wants: tuple[bytes, ...] = ()) -> None:
        """Ask the centre what is published, and for these parts."""
        with reading(self.engine) as connection:
            asked = publications.asking(connection, wants)
        self.send(lanes.REFERENCE_ASK, lanes.ADMIN, asked, {"parts": len(wants)})

    def ask_for_terms(self) -> None:
        """Tell the centre which terms we hold: it sends others if it has them."""
        with reading(self.engine) as connection:
            asked = terms.asking(connection)
        self.send(lanes.TERMS_ASK, lanes.ADMIN, asked, {})

    def ask_for_clearings(self) -> None:
        """Ask the centre for the clearings that are not as they were told."""
        with reading(self.engine) as connection:
            asked = held.asking(connection, at=self.now())
        self.send(lanes.CLEARINGS_ASK, lanes.ADMIN, asked, {"months": len(asked.held)})

    def keep_quarantine(self) -> None:
        """Set unreadable messages aside in this front-end's database."""
        keep_with(Quarantine(self.engine, quarantine, site=self.code, key=self.key, clock=self.clock))

    def now(self) -> datetime:
        """The business moment."""
        return self.clock.now()


def desk_app(frontend: Frontend) -> Celery:
    """The application of the desk: `claims.preprocess` for every institution of this front-end."""
    frontend.keep_quarantine()
    app = build_app("desk", frontend.settings.local_broker_url, member=frontend.code)

    @app.task(name=lanes.CLAIMS_PREPROCESS, bind=True, shared=False)
    def preprocess(task: Any, institution: str) -> None:
        allowed = frontend.dispatch.begin(institution, now=frontend.clock.seconds())
        if allowed is None:
            return  # its bell is rung when it has not to wait any more, and the sweep sends what it asks of the centre
        if not _take_turn(frontend, task, institution, allowed):
            return
        refund.send_due(
            frontend,
            now=frontend.clock.seconds(),
            after_seconds=frontend.settings.sweep_after_seconds,
            institution_code=institution,
        )
        sending.send_due(
            frontend,
            now=frontend.clock.seconds(),
            after_seconds=frontend.settings.sweep_after_seconds,
            institution_code=institution,
        )

    return app


def _take_turn(frontend: Frontend, task: Any, institution: str, allowed: Allowed) -> bool:
    """One turn of an institution at the desk, and what is to be sent of it; False while nothing can be sent."""
    began = time.perf_counter()
    turn = desk.preprocess(
        frontend.engine,
        frontend.shelf,
        institution,
        limit=allowed.claims,
        grant=allowed.grant,
        at=frontend.now(),
        now=frontend.clock.seconds(),
    )
    if turn.totals:
        frontend.outbox.send(
            turn.totals,
            policy_version=turn.policy_version,
            catalogue_version=turn.catalogue_version,
            settle_lanes=turn.settle_lanes,
        )
    frontend.outbox.send_lines(turn.whole, settle_lanes=turn.settle_lanes)
    frontend.outbox.send_lines(turn.whole_prepares, prepare=True)
    if turn.prepares:
        sending.send_prepare(
            frontend,
            turn.prepares,
            policy_version=turn.policy_version,
            catalogue_version=turn.catalogue_version,
        )
    if not turn.link_is_down:
        entitlement.ask(frontend, turn.unleased)
    if turn.visits:
        # The doorbell carried no visits: tell Flower which ones this turn took.
        shown = {"institution": institution, "visits": " ".join(turn.visits), "claims": len(turn.visits)}
        show(task, shown)
    seconds = time.perf_counter() - began
    frontend.dispatch.end(
        institution,
        allowed,
        claims=len(turn.visits),
        work=turn.work,
        more=turn.more,
        seconds=seconds,
        now=frontend.clock.seconds(),
    )
    if turn.more:
        frontend.doorbell.ring(institution)
    if turn.link_is_down:
        look_after(frontend.engine, frontend.shelf, at=frontend.now(), institution_code=institution)
    return not turn.link_is_down


def link_app(frontend: Frontend) -> Celery:
    """The application of the link: the centre's answers, grants and questions to this front-end."""
    frontend.keep_quarantine()
    app = build_app("link", frontend.settings.center_broker_url, member=frontend.code, is_far=True)
    _answer_restored_center(app, frontend)
    _record_outcomes(app, frontend)
    _reconcile(app, frontend)
    _hear_of_clearings(app, frontend)
    _keep_reference(app, frontend)
    _move(app, frontend)
    results, uploads = lanes.results(frontend.code), lanes.uploads(frontend.code)
    uplink = upload.Link(
        seal=lambda chunk: frontend.sealed(lanes.DETAILS, chunk),
        post=lambda chunk, envelope: frontend.post(
            lanes.DETAILS_RECEIVE, lanes.DETAILS, envelope, {"claims": len(chunk.claims)}
        ),
        now=frontend.now,
        seconds=frontend.clock.seconds,
    )

    @app.task(name=lanes.CLAIMS_DELIVER, shared=False)
    def claims_deliver(envelope: bytes) -> None:
        answered = frontend.opened(envelope, results, messages.ClaimsAnswered)
        with frontend.engine.begin() as connection:
            if not epochs.met(connection, answered.epoch, at=frontend.now()):
                return
            doubted = deliver.doubted(connection, answered)
            entitlement.forget(connection, doubted)
            deliver.record_answers(connection, answered, at=frontend.now())
            numbers = {(row.visit_no, row.charge_batch_no): row.submission for row in answered.resubmitted}
            stale = retotal.take_back(connection, answered.answers, numbers, wanted=answered.wanted, at=frontend.now())
        entitlement.ask(frontend, doubted)
        frontend.go_on_with(stale)

    @app.task(name=lanes.PERSONS_ANSWER, shared=False)
    def persons_answer(envelope: bytes) -> None:
        entitlement.keep(
            frontend.engine, frontend.opened(envelope, results, messages.PersonAnswered), at=frontend.now()
        )

    @app.task(name=lanes.CLAIMS_REFUNDED, shared=False)
    def claims_refunded(envelope: bytes) -> None:
        answered = frontend.opened(envelope, results, messages.RefundAnswered)
        with frontend.engine.begin() as connection:
            if not epochs.met(connection, answered.epoch, at=frontend.now()):
                return
            refund.record(connection, answered, at=frontend.now())

    @app.task(name=lanes.CLAIMS_CORRECTED, shared=False)
    def claims_corrected(envelope: bytes) -> None:
        corrected = frontend.opened(envelope, results, messages.SettlementCorrected)
        with frontend.engine.begin() as connection:
            if not epochs.met(connection, corrected.epoch, at=frontend.now()):
                return
            recorded = corrections.record(connection, corrected, at=frontend.now())
        if recorded:
            heard = messages.CorrectionHeard(correction_no=corrected.correction_no)
            shown: dict[str, object] = {"institution": corrected.institution_code, "visit": corrected.visit_no}
            frontend.send(lanes.CORRECTIONS_HEARD, lanes.ADMIN, heard, shown)

    @app.task(name=lanes.DETAILS_CONFIRM, shared=False)
    def details_confirm(envelope: bytes) -> None:
        received = frontend.opened(envelope, results, messages.DetailReceived)
        with frontend.engine.begin() as connection:
            if not epochs.met(connection, received.epoch, at=frontend.now()):
                return
            upload.confirm(connection, received)
        upload.go_on(frontend.engine, uplink)

    @app.task(name=lanes.DETAILS_UPLOAD, shared=False)
    def details_upload(envelope: bytes) -> None:
        granted = frontend.opened(envelope, uploads, messages.UploadGranted)
        sent = upload.upload(frontend.engine, granted, uplink)
        log.info("slice_begun", extra={"window": granted.window, "claims": sent.claims, "lines": sent.lines})

    return app


def _keep_reference(app: Celery, frontend: Frontend) -> None:
    """What the centre publishes, and what waits for it."""
    uploads = lanes.uploads(frontend.code)

    @app.task(name=lanes.REFERENCE_KEEP, shared=False)
    def reference_keep(envelope: bytes) -> None:
        sent = frontend.opened(envelope, uploads, messages.ReferenceSent)
        kept = publications.keep(frontend.engine, sent, at=frontend.now())
        frontend.pace.answered()
        frontend.hurry.answered()
        frontend.total_again()
        if kept.versions:
            frontend.ask_for_terms()
        if kept.wants:
            frontend.ask_for_reference(kept.wants)


def _move(app: Celery, frontend: Frontend) -> None:
    """The terms the centre gives, and what is handed over to and from other front-ends."""
    results = lanes.results(frontend.code)

    @app.task(name=lanes.TERMS_KEEP, shared=False)
    def terms_keep(envelope: bytes) -> None:
        sent = frontend.opened(envelope, results, messages.TermsSent)
        try:
            with frontend.engine.begin() as connection:
                terms.keep(connection, sent)
        except IntegrityError as error:
            raise UnreadableMessage("terms that cannot hold together") from error
        frontend.ask_for_terms()
        with reading(frontend.engine) as connection:
            lacks = terms.lacks_matches(connection)
        if lacks:
            frontend.ask_for_reference()

    @app.task(name=lanes.HANDOVER_ASK, shared=False)
    def handover_ask(envelope: bytes) -> None:
        asked = frontend.opened(envelope, results, messages.HandOverAsked)
        with frontend.engine.begin() as connection:
            made = handing.handed(connection, asked, frontend=frontend.code, at=frontend.now())
        if made is not None:
            task = lanes.HANDOVER_TAKE if isinstance(made, messages.HandedOver) else lanes.HANDOVER_REPORT
            shown: dict[str, object] = {"institution": made.institution_code, "move": made.move_no}
            frontend.send(task, lanes.ADMIN, made, shown)

    @app.task(name=lanes.BUNDLE_KEEP, shared=False)
    def bundle_keep(envelope: bytes) -> None:
        handed = frontend.opened(envelope, results, messages.HandedOver)
        with frontend.engine.begin() as connection:
            kept = taking.take(connection, handed, frontend=frontend.code, at=frontend.now())
        if kept is not None:
            shown: dict[str, object] = {"institution": kept.institution_code, "move": kept.move_no}
            frontend.send(lanes.BUNDLE_KEPT, lanes.ADMIN, kept, shown)


def _record_outcomes(app: Celery, frontend: Frontend) -> None:
    """What the centre tells of claims by their own keys, and what is to be sent because of it."""
    results = lanes.results(frontend.code)

    @app.task(name=lanes.OUTCOMES_TELL, shared=False)
    def outcomes_tell(envelope: bytes) -> None:
        outcomes = frontend.opened(envelope, results, messages.OutcomeTold)
        frontend.hearing.told(outcomes, at=frontend.now())
        if not outcomes.outcomes:
            return
        with frontend.engine.begin() as connection:
            if not epochs.met(connection, outcomes.epoch, at=frontend.now()):
                return
            came = told.record(connection, outcomes, at=frontend.now())
            entitlement.forget(connection, came.doubted)
        frontend.go_on_with(came.stale)
        if came.again:
            sending.send_again(frontend, came.again)
        if came.is_due:
            after = frontend.settings.sweep_after_seconds
            sending.send_due(frontend, now=frontend.clock.seconds(), after_seconds=after)


def _reconcile(app: Celery, frontend: Frontend) -> None:
    """Our own books, as the centre asks for them; what it found in the institutions', and has done about it."""
    results, uploads = lanes.results(frontend.code), lanes.uploads(frontend.code)

    @app.task(name=lanes.BOOKS_COMPARED, shared=False)
    def books_compared(envelope: bytes) -> None:
        compared = frontend.opened(envelope, results, messages.BooksCompared)
        with frontend.engine.begin() as connection:
            institution_books.record(connection, compared, at=frontend.now())

    @app.task(name=lanes.BOOKS_REPAIR, shared=False)
    def books_repair(envelope: bytes) -> None:
        ordered = frontend.opened(envelope, results, messages.RepairOrdered)
        with frontend.engine.begin() as connection:
            done = orders.carry_out(connection, ordered, at=frontend.now())
        frontend.send(lanes.BOOKS_REPAIRED, lanes.BOOKS, done, {"institution": ordered.institution_code})

    @app.task(name=lanes.BOOKS_REPORT, shared=False)
    def books_report(envelope: bytes) -> None:
        asked = frontend.opened(envelope, uploads, messages.BooksAsked)
        with reading(frontend.engine) as connection:
            reported = books.report(connection, asked)
        frontend.send(lanes.BOOKS_RECONCILE, lanes.BOOKS, reported, {"institutions": len(reported.totals)})


def _hear_of_clearings(app: Celery, frontend: Frontend) -> None:
    """How clearings of the institutions stand, and what became of what the institutions said of them."""
    results = lanes.results(frontend.code)

    @app.task(name=lanes.CLEARINGS_TELL, shared=False)
    def clearings_tell(envelope: bytes) -> None:
        told = frontend.opened(envelope, results, messages.ClearingsTold)
        with frontend.engine.begin() as connection:
            if epochs.met(connection, told.epoch, at=frontend.now()):
                held.record(connection, told, at=frontend.now())

    @app.task(name=lanes.CLEARINGS_HEARD, shared=False)
    def clearings_heard(envelope: bytes) -> None:
        heard = frontend.opened(envelope, results, messages.ClearingHeard)
        with frontend.engine.begin() as connection:
            if not epochs.met(connection, heard.epoch, at=frontend.now()):
                return
            saying.record(connection, heard, at=frontend.now())
        frontend.ask_for_clearings()


def _answer_restored_center(app: Celery, frontend: Frontend) -> None:
    """What a centre that was restored from a backup asks for."""
    uploads = lanes.uploads(frontend.code)

    @app.task(name=lanes.DOCUMENTS_ASK, shared=False)
    def documents_ask(envelope: bytes) -> None:
        asked = frontend.opened(envelope, uploads, messages.DocumentsAsked)
        with frontend.engine.begin() as connection:
            page = epochs.page(connection, asked, at=frontend.now())
        if page is not None:
            shown: dict[str, object] = {"epoch": page.epoch, "documents": len(page.documents)}
            frontend.send(lanes.DOCUMENTS_RESEND, lanes.BOOKS, page, shown)

    @app.task(name=lanes.DETAILS_ASK, shared=False)
    def details_ask(envelope: bytes) -> None:
        asked = frontend.opened(envelope, uploads, messages.DetailsAsked)
        with frontend.engine.begin() as connection:
            marked = epochs.mark_details(connection, asked, at=frontend.now())
        if marked is not None:
            frontend.send(lanes.DETAILS_MARK, lanes.BOOKS, marked, {"epoch": marked.epoch})


def serve_desk(settings: Settings) -> int:
    """Run the desk until it is told to stop; the exit code. Institutions come and go without a restart."""
    frontend = Frontend(settings)
    sweep = frontend.sweep()
    drain = Drain(frontend.engine, frontend.code, sweep.holder, settings.drain_pause_seconds)

    def swept() -> None:
        look_after(frontend.engine, frontend.shelf, at=frontend.now())
        if frontend.link().is_down:
            sweep.run(now=frontend.clock.seconds(), may_send=False)
            return
        drain.run(now=frontend.clock.seconds(), at=frontend.now())
        sweep.run(now=frontend.clock.seconds())
        refund.send_due(frontend, now=frontend.clock.seconds(), after_seconds=settings.sweep_after_seconds)
        sending.send_due(frontend, now=frontend.clock.seconds(), after_seconds=settings.sweep_after_seconds)
        institution_books.send_due(frontend, now=frontend.clock.seconds(), after_seconds=settings.sweep_after_seconds)
        saying.send_due(frontend, now=frontend.clock.seconds(), after_seconds=settings.sweep_after_seconds)

    return run(
        desk_app(frontend),
        role=f"desk-{frontend.code}",
        queues=frontend.institution_queues,
        timers=[
            Timer("sweep", settings.sweep_every_seconds, swept),
            Timer("waited", LOOK_SECONDS, frontend.ring_who_waited),
            Timer(
                "tenants", NOTE_SECONDS, lambda: frontend.dispatch.note(now=frontend.clock.seconds(), at=frontend.now())
            ),
        ],
        heartbeat_file=settings.heartbeat_file,
        log_level=settings.log_level,
    )


def serve_link(settings: Settings) -> int:
    """Run the link until it is told to stop; the exit code."""
    frontend = Frontend(settings)
    return run(
        link_app(frontend),
        role=f"link-{frontend.code}",
        queues=[lanes.results(frontend.code), lanes.uploads(frontend.code)],
        timers=[
            Timer("reference", frontend.settings.reference_every_seconds, frontend.look_for_reference),
            Timer("clearings", frontend.settings.clearing_tick_seconds, frontend.ask_for_clearings),
            Timer("link", frontend.settings.link_every_seconds, frontend.look_at_link),
        ],
        heartbeat_file=settings.heartbeat_file,
        log_level=settings.log_level,
        is_far=True,
    )
