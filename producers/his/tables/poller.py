"""The service behind the shared tables: reads what HIS wrote, settles outpatients, hands out what waits for them.

One process serves all institutions of a front-end that exchange by tables; each exchange database has a thread of its
own, so one that is away, or slow, keeps no other waiting. The process may be killed at any point: every step is found
done, or done again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from prometheus_client import Counter, Gauge, start_http_server
from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from domain.refusals import VisitRefusal
from domain.visit import STAYS
from infra.database import reading
from infra.memory import spare_the_collector
from infra.metrics import REGISTRY
from infra.reference import NothingPublished, ReferenceShelf
from infra.settings import Settings
from producers.his.tables.incoming import Incoming, Taken, waiting
from producers.his.tables.outgoing import Outgoing, show_catalogue
from producers.his.tables.place import Patron, address_of, open_tables, patrons
from producers.his.tables.shared import SharedTables
from producers.his.tables.sqlite import NoExchangeFile
from producers.his.tables.unread import unread_rows
from workers import exchange_status, visits
from workers.lines_waiting import unsettled_outpatients
from workers.tables import reference, visit
from workers.tasks import Frontend

log = logging.getLogger("tables")

PAUSE_SECONDS = 0.25
"""How long a turn waits for news: results are handed out this often."""
PROBE_SECONDS = 2.0
"""How often unread rows are looked for although nobody told of any."""
THOROUGH_SECONDS = 60.0
"""How often rows that failed are read again although nobody told of a change, such as after a match was audited."""
AGAIN_SECONDS, AGAIN_SHARE = 0.5, 10.0
"""The least pause between two readings of failed rows: so many seconds, and so many times what the last one took."""
PATRONS_SECONDS = 5.0
"""How often the front-end's institutions are asked for anew."""
QUIET_SECONDS = 2.0
"""An outpatient is settled when no line of the visit has come in for so long: a HIS may commit them one by one."""
ASK_AGAIN_SECONDS = {False: 1.0, True: 30.0}
"""When to ask again for a settlement that had to wait: for a moment, or for a person to mend a line."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0
"""Seconds before a database that is away is tried again."""

FOR_A_MOMENT = {
    VisitRefusal.BATCH_UNDER_WAY,
    VisitRefusal.BACKLOG_FULL,
    VisitRefusal.LINK_DOWN_LIMIT,
    VisitRefusal.TOO_FAST,
    VisitRefusal.DOORS_CLOSED,
    VisitRefusal.ROWS_UNREAD,
}

UP = Gauge(
    "jiesuan_exchange_up", "Whether an institution's shared tables can be reached.", ["institution"], registry=REGISTRY
)
ROWS_WAITING = Gauge(
    "jiesuan_exchange_rows_waiting", "Charge lines in shared tables that are not imported: unread, or failed.",
    ["institution", "state"], registry=REGISTRY,
)  # fmt: skip
LINES_READ = Counter(
    "jiesuan_exchange_lines", "Charge lines read from shared tables, by what became of them.",
    ["institution", "outcome"], registry=REGISTRY,
)  # fmt: skip
HANDED_OUT = Counter(
    "jiesuan_exchange_handed_out", "Registrations, results and discharges written to shared tables.",
    ["institution"], registry=REGISTRY,
)  # fmt: skip

_TYPES = select(visit.c.visit_no, visit.c.visit_type).where(visit.c.visit_no.in_(bindparam("visits", expanding=True)))


class AnotherPoller(Exception):
    """Another process serves the shared tables of this front-end."""

    def __init__(self, frontend: str) -> None:
        super().__init__(f"the shared tables of {frontend} are served by another process already")


def serve(settings: Settings) -> int:
    """Serve until told to stop; the exit code. Raises AnotherPoller."""
    settings.need("frontend", "frontend_database_url")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.api_host, registry=REGISTRY)
    spare_the_collector()
    poll(Frontend(settings), stop=stop, heartbeat_file=settings.heartbeat_file)
    return 0


def poll(frontend: Frontend, *, stop: threading.Event, heartbeat_file: Path | None = None) -> None:
    """Keep one station per exchange database, as institutions come and go. Raises AnotherPoller."""
    settings = frontend.settings
    lock = _alone(settings.data_dir, frontend.code)
    stations: dict[str, Station] = {}
    try:
        while not stop.is_set():
            try:
                with reading(frontend.engine) as connection:
                    wanted = _by_address(settings, patrons(connection))
                for url in stations.keys() - wanted.keys():
                    stations.pop(url).end()
                for url, served in wanted.items():
                    if url not in stations:
                        stations[url] = Station(frontend, url)
                        stations[url].start()
                    stations[url].serve(served)
            except OperationalError as error:
                log.warning("look_failed", extra={"error": type(error).__name__})
            if heartbeat_file is not None:
                heartbeat_file.parent.mkdir(parents=True, exist_ok=True)
                heartbeat_file.touch()
            stop.wait(PATRONS_SECONDS)
    finally:
        for station in stations.values():
            station.end()
        os.close(lock)


class Station(threading.Thread):
    """One exchange database and the institutions that share it."""

    def __init__(self, frontend: Frontend, url: str) -> None:
        super().__init__(name="exchange", daemon=True)
        self._frontend, self._url = frontend, url
        self._patrons: list[Patron] = []
        self._ended = threading.Event()
        self._away = ""

    def serve(self, patrons_: Sequence[Patron]) -> None:
        """These are the institutions from now on."""
        self._patrons = list(patrons_)

    def end(self) -> None:
        """Stop, and wait until the turn that is under way is done."""
        self._ended.set()
        if self.is_alive():
            self.join(timeout=10)

    def run(self) -> None:
        """Turn after turn; a database that is away is tried again, with patience."""
        delay = FIRST_DELAY
        while not self._ended.is_set():
            try:
                tables = open_tables(self._url)
                try:
                    turns = Turns(self._frontend, tables)
                    while not self._ended.is_set():
                        turns.take(self._patrons)
                        self._is_there()
                        delay = FIRST_DELAY
                finally:
                    tables.close()
            except NothingPublished:
                self._is_away("nothing published", delay)
            except Exception as error:
                # Whatever one institution's database does, it ends neither this service nor this thread.
                self._is_away(type(error).__name__, delay)
                if not isinstance(error, (DBAPIError, OSError)):
                    log.debug("turn_failure", exc_info=True)
            self._ended.wait(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    def _is_there(self) -> None:
        for patron in self._patrons:
            UP.labels(patron.institution_code).set(1)
        if self._away:
            log.info("exchange_back", extra={"institutions": self._codes()})
            self._away = ""

    def _is_away(self, why: str, delay: float) -> None:
        for patron in self._patrons:
            UP.labels(patron.institution_code).set(0)
        if why != self._away:
            log.warning("exchange_away", extra={"institutions": self._codes(), "error": why, "again_in": delay})
            self._away = why
        try:
            with self._frontend.engine.begin() as connection:
                for patron in self._patrons:
                    status = exchange_status.Status(patron.institution_code, self._frontend.now(), why, 0, 0)
                    exchange_status.note(connection, status)
        except OperationalError:
            log.debug("status_not_noted")  # it may be the front-end's own database that is away

    def _codes(self) -> str:
        return " ".join(patron.institution_code for patron in self._patrons)


@dataclass(slots=True)
class _Seat:
    """What a station keeps for one institution."""

    patron: Patron
    incoming: Incoming
    outgoing: Outgoing
    told: bool = False
    """A HIS wrote something since failed rows were last read."""
    probe_at: float = 0.0
    again_at: float = 0.0
    """Failed rows are not read again before, however much is written: a part of the time at most goes to them."""
    afresh_at: float = 0.0
    """When every failed row is checked anew, whether it changed or not."""
    due: dict[str, float] = field(default_factory=dict)
    """Outpatient visits to settle, and when."""


class Turns:
    """What is done over and over at one exchange database."""

    def __init__(self, frontend: Frontend, tables: SharedTables) -> None:
        self._frontend, self._tables = frontend, tables
        self._shelf = ReferenceShelf(reference)
        self._seats: dict[str, _Seat] = {}
        self._shown: tuple[object, ...] = ()

    def take(self, served: Sequence[Patron]) -> None:
        """One turn: wait for news a moment, read what came in, settle what is due, hand out what waits."""
        told = self._tables.wait_for_changes(PAUSE_SECONDS)
        at, now = self._frontend.now(), self._frontend.clock.seconds()
        self._show_catalogue(served, at)
        for patron in served:
            try:
                self._serve(patron, bool(told & set(patron.owners)), at, now)
            except (OperationalError, InterfaceError, OSError, NothingPublished, NoExchangeFile):
                raise  # it is the same for all who share this database
            except Exception as error:
                # What one institution's rows do to us must not keep the next one waiting.
                extra = {"institution": patron.institution_code, "error": type(error).__name__}
                log.error("institution_failed", extra=extra)
                log.debug("institution_failure", exc_info=True)

    def _serve(self, patron: Patron, told: bool, at: datetime, now: float) -> None:
        seat = self._seat(patron, at, now)
        if not patron.closed:
            self._read(seat, told, at, now)
            self._settle(seat, at, now)
        HANDED_OUT.labels(patron.institution_code).inc(seat.outgoing.hand_out(at=at))

    def _seat(self, patron: Patron, at: datetime, now: float) -> _Seat:
        seat = self._seats.get(patron.institution_code)
        if seat is None or seat.patron != patron:
            engine = self._frontend.engine
            incoming = Incoming(engine, self._shelf, self._tables, patron)
            seat = _Seat(patron, incoming, Outgoing(engine, self._tables, patron))
            if patron.settles_at_once:
                # What an earlier process imported and did not live to settle.
                with reading(engine) as connection:
                    left = unsettled_outpatients(connection, patron.institution_code, patron.short_code, day=at.date())
                seat.due = dict.fromkeys(left, now + QUIET_SECONDS)
            self._seats[patron.institution_code] = seat
        return seat

    def _read(self, seat: _Seat, told: bool, at: datetime, now: float) -> None:
        seat.told = seat.told or told
        afresh = now >= seat.afresh_at
        again = afresh or (seat.told and now >= seat.again_at)
        if not again and not told and now < seat.probe_at:
            return
        began = self._frontend.clock.seconds()
        if afresh:
            seat.incoming.forget_what_stands()
            seat.outgoing.try_again()
        taken = seat.incoming.look(at=at, failed=again)
        took = self._frontend.clock.seconds() - began
        seat.probe_at = now + PROBE_SECONDS
        if again:
            seat.told = False
            seat.again_at = now + AGAIN_SECONDS + AGAIN_SHARE * took
            self._count(seat, at)
        if afresh:
            seat.afresh_at = now + THOROUGH_SECONDS + AGAIN_SHARE * took
        if taken.rows:
            self._note(seat.patron, taken)
        if seat.patron.settles_at_once:
            mended = [visit_no for visit_no, when in seat.due.items() if when > now + QUIET_SECONDS and again]
            for visit_no in (*self._outpatients(taken.imported), *mended):
                seat.due[visit_no] = now + QUIET_SECONDS

    def _settle(self, seat: _Seat, at: datetime, now: float) -> None:
        due = [visit_no for visit_no, when in seat.due.items() if when <= now]
        if not due:
            return
        code = seat.patron.institution_code
        asked = [visits.ToSettle(institution_code=code, visit_no=visit_no) for visit_no in due]
        unread = unread_rows(self._tables, due)
        outcomes = visits.settle_visits(
            self._frontend.engine, asked, at=at, unread=lambda _connection, _code, visit_no: unread[visit_no]
        )
        settling = 0
        for visit_no, outcome in zip(due, outcomes, strict=True):
            del seat.due[visit_no]
            if isinstance(outcome, visits.Settling):
                settling += 1
            elif isinstance(outcome, visits.NotReady):
                reasons = set(outcome.codes)
                if reasons & FOR_A_MOMENT or VisitRefusal.ROWS_FAILED in reasons:
                    seat.due[visit_no] = now + ASK_AGAIN_SECONDS[not reasons & FOR_A_MOMENT]
                elif VisitRefusal.NOTHING_TO_SETTLE not in reasons:
                    log.warning("not_settled_at_once", extra={"visit": visit_no, "reasons": " ".join(outcome.codes)})
        if settling:
            self._frontend.doorbell.ring(code)

    def _outpatients(self, visit_nos: Iterable[str]) -> list[str]:
        wanted = sorted(visit_nos)
        if not wanted:
            return []
        with reading(self._frontend.engine) as connection:
            rows = connection.execute(_TYPES, {"visits": wanted})
            return [visit_no for visit_no, visit_type in rows if visit_type not in STAYS]

    def _show_catalogue(self, served: Sequence[Patron], at: datetime) -> None:
        codes = [patron.institution_code for patron in served]
        with reading(self._frontend.engine) as connection:
            try:
                versions = self._shelf.current(connection).versions
            except NothingPublished:
                return
        now_shown = (versions, at.date(), tuple(codes))
        if now_shown != self._shown:
            show_catalogue(self._frontend.engine, self._tables, codes, at=at)
            self._shown = now_shown
            for seat in self._seats.values():
                seat.afresh_at = 0.0  # a line may be good that was not

    def _count(self, seat: _Seat, at: datetime) -> None:
        unread, failed = waiting(self._tables, seat.patron.owners)
        status = exchange_status.Status(seat.patron.institution_code, at, "", unread, failed)
        with self._frontend.engine.begin() as connection:
            exchange_status.note(connection, status)
        for state, count in (("unread", unread), ("failed", failed)):
            ROWS_WAITING.labels(seat.patron.institution_code, state).set(count)

    def _note(self, patron: Patron, taken: Taken) -> None:
        imported, refused = sum(taken.imported.values()), sum(taken.refused.values())
        LINES_READ.labels(patron.institution_code, "imported").inc(imported)
        LINES_READ.labels(patron.institution_code, "refused").inc(refused)
        if imported or refused:
            log.info(
                "lines_taken_in",
                extra={"institution": patron.institution_code, "imported": imported, "refused": refused},
            )


def _by_address(settings: Settings, served: Iterable[Patron]) -> dict[str, list[Patron]]:
    found: dict[str, list[Patron]] = defaultdict(list)
    for patron in served:
        found[address_of(settings, patron.institution_code)].append(patron)
    return found


def _alone(folder: Path, frontend: str) -> int:
    """Hold the front-end's tables against a second poller; the kernel gives them back when this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / f".tables-{frontend}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise AnotherPoller(frontend) from None
    return lock
