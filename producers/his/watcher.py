"""The service behind the exchange files: watches the folders, takes lines in, hands out what the hospital is told.

One process watches all folders of a front-end. It may be killed at any point: a record is in its file before it is
noted as handed out, a result is in its file before the rows it is for are marked, rows are marked before their claim
is, and each of these is looked at before it is done again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from prometheus_client import start_http_server
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from domain.codes import PASSED
from domain.lifecycle import ClaimState
from domain.refusals import refusal_words
from domain.ways import Way
from infra import metrics
from infra.database import reading
from infra.memory import spare_the_collector
from infra.reference import ReferenceShelf
from infra.settings import Settings
from producers.his.changes import Changes
from producers.his.dbf import DbfProblem, NotYet
from producers.his.door import Door
from producers.his.importer import take_in
from producers.his.line_files import LEFT, Answer, marks_for
from producers.his.outgoing import Record
from producers.his.visit_lines import CHANNEL, ImportReport
from workers import entitlement, visits
from workers.admission import why_closed
from workers.claims import ReadyClaim, mark_handed_back, ready_to_hand_back
from workers.doorbell import Doorbell
from workers.local import place_of
from workers.tables import TO_HAND_OUT, institution
from workers.tables import hand_out as to_hand_out
from workers.tasks import Frontend
from workers.visits.handout import ALL_BY_PERSON
from workers.visits.refused import words_of

log = logging.getLogger("his")

PAUSE_SECONDS = 0.1
ROUNDS_PER_FOLDERS = 45
"""After so many rounds the institutions and their folders are asked for again."""
LOCK_FILE = ".watcher.lock"
CLAIMS_PER_HAND_BACK = 1000
RECORDS_PER_HAND_OUT = 500

_WAITING = select(to_hand_out.c.institution_code).where(TO_HAND_OUT).distinct()
_SERVED = select(
    institution.c.institution_code,
    institution.c.short_code,
    institution.c.outpatient_flow,
    institution.c.settles_at_once,
).where(institution.c.active, institution.c.exchange == "dbf")


class AnotherWatcher(Exception):
    """Another process watches this exchange folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"the exchange folder {folder} is watched by another process already")


def serve(settings: Settings) -> int:
    """Watch until told to stop; the exit code."""
    settings.need("frontend", "frontend_database_url", "exchange_dir")
    assert settings.exchange_dir is not None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    frontend = Frontend(settings)
    spare_the_collector()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.api_host, registry=metrics.REGISTRY)
    watch(frontend, settings.exchange_dir, stop=stop, heartbeat_file=settings.heartbeat_file)
    return 0


def watch(frontend: Frontend, folder: Path, *, stop: threading.Event, heartbeat_file: Path | None = None) -> None:
    """Look at every institution's folder again and again. Raises AnotherWatcher."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = _alone(folder)
    doors: dict[str, Door] = {}
    changes = Changes()
    readings = metrics.ReadAtScrape(lambda: _readings(doors))
    metrics.REGISTRY.register(readings)
    rounds = 0
    try:
        while not stop.is_set():
            try:
                if rounds % ROUNDS_PER_FOLDERS == 0:
                    _follow_folders(frontend.engine, folder, doors)
                _one_round(frontend, doors, changes)
                if heartbeat_file is not None:
                    heartbeat_file.touch()
            except (OperationalError, OSError) as error:
                # The database or the folder is away; what was not done is done at a later look.
                log.warning("look_failed", extra={"error": type(error).__name__})
            rounds += 1
            stop.wait(PAUSE_SECONDS)
    finally:
        metrics.REGISTRY.unregister(readings)
        changes.close()
        os.close(lock)


def _one_round(frontend: Frontend, doors: dict[str, Door], changes: Changes) -> None:
    """Look into the folders where something may have happened, and hand out what waits."""
    at, now = frontend.now(), time.monotonic()
    there = {code: door for code, door in doors.items() if door.is_there(changes)}
    for door in there.values():
        if changes.changed(door.folder) or door.is_due(now):
            with door.keeping_others_safe():
                theirs = door.flags_are_due(now)
                look(frontend.engine, door, at=at, doorbell=frontend.doorbell, shelf=frontend.shelf, flags=theirs)
                _ask_about_registered(frontend, door, at)
    while hand_back(frontend.engine, there, at=at) >= CLAIMS_PER_HAND_BACK:
        pass
    with reading(frontend.engine) as connection:
        waiting = connection.execute(_WAITING).scalars().all()
    for code in waiting:
        if code in there:
            with there[code].keeping_others_safe():
                hand_out(frontend.engine, there[code], at=at)


def _ask_about_registered(frontend: Frontend, door: Door, at: datetime) -> None:
    """Ask the centre who was registered here, where we settle for them ourselves before it answers."""
    citizens = door.exchange.registered_on(at.date())
    if not citizens:
        return
    with reading(frontend.engine) as connection:
        way = place_of(connection, door.institution_code).way
    if way == Way.LOCAL:
        entitlement.ask(frontend, citizens)


def look(
    engine: Engine,
    door: Door,
    *,
    at: datetime,
    doorbell: Doorbell | None = None,
    shelf: ReferenceShelf | None = None,
    flags: bool = True,
) -> None:
    """Take in what one folder holds, see what the hospital made of ours, tell it which files cannot be read.

    Without `flags` ours are not looked at: a HIS writes them row by row, and each makes the file another one.
    """
    door.put_away_old_files(at)
    if shelf is not None:
        with reading(engine) as connection:
            door.see_catalogue(shelf.current(connection).catalogue.version)
    problems = door.outgoing.refresh() if flags else []
    try:
        report = _taken_in(engine, door, at=at, doorbell=doorbell, shelf=shelf)
        if flags:
            door.outgoing.write_again(at=at)
    except NotYet as problem:
        log.info("exchange_file_busy", extra={"file": problem.file})
        door.was_looked_at(again_soon=True)
        return
    except DbfProblem as problem:
        log.warning("exchange_file_failed", extra={"file": problem.file, "reason": type(problem).__name__})
        door.tell([*door.exchange.problems, *problems, problem], at)
        door.was_looked_at(again_soon=False)
        return
    if report.accepted or report.imported or report.refused or report.postponed:
        log.info(
            "deliveries_taken_in",
            extra={
                "institution": door.exchange.institution_code,
                "accepted": report.accepted,
                "imported": report.imported,
                "refused": report.refused.total(),
                "postponed": report.postponed,
            },
        )
    if flags:
        door.tell([*report.problems, *problems], at)
        with reading(engine) as connection:
            door.tell_refused(words_of(visits.refused_of_exchange(connection, door.institution_code)))
    door.was_looked_at(again_soon=bool(report.postponed or report.problems))


def _taken_in(
    engine: Engine, door: Door, *, at: datetime, doorbell: Doorbell | None, shelf: ReferenceShelf | None
) -> ImportReport:
    """What was taken in; nothing while the institution's doors are closed, and the folder says why."""
    with reading(engine) as connection:
        why = why_closed(connection, door.institution_code)
    door.tell_closed(why)
    return ImportReport() if why else take_in(engine, door.exchange, at=at, doorbell=doorbell, shelf=shelf)


def hand_out(engine: Engine, door: Door, *, at: datetime) -> int:
    """Write what the books have for the hospital and it was not given yet; how many records were new.

    Written first and noted then: a row that stands in a file already is not written again.
    """
    written = 0
    while True:
        with reading(engine) as connection:
            code = door.exchange.institution_code
            waiting = visits.to_hand_out(connection, code, at=at, limit=RECORDS_PER_HAND_OUT)
        if not waiting:
            return written
        records = [Record(each.table, values) for each in waiting for values in each.records]
        try:
            written += door.outgoing.write(records, at=at)
        except DbfProblem as problem:
            log.warning("hand_out_postponed", extra={"file": problem.file, "reason": type(problem).__name__})
            door.tell([problem], at)
            return written
        visits.handed_out(engine, [each.hand_out_id for each in waiting], at=at)
        log.info("records_handed_out", extra={"institution": door.exchange.institution_code, "records": len(records)})


def hand_back(engine: Engine, doors: Mapping[str, Door], *, at: datetime) -> int:
    """Hand verdicts and results of finished claims back to their folders; how many claims."""
    done: list[int] = []
    for code, door in doors.items():
        with reading(engine) as connection:
            views = ready_to_hand_back(connection, code, CLAIMS_PER_HAND_BACK)
        if not views:
            continue
        unreadable = {problem.file for problem in door.exchange.problems}
        views = [view for view in views if view.source not in unreadable]
        try:
            hand_back_to(door, views, at=at)
        except (DbfProblem, OSError) as problem:
            log.warning("hand_back_postponed", extra={"institution": code, "reason": type(problem).__name__})
            if isinstance(problem, DbfProblem):
                door.tell([problem], at)
            continue
        for state, claims in Counter([view.state for view in views]).items():
            metrics.CLAIMS.labels(CHANNEL, state).inc(claims)
        done += [view.claim_id for view in views]
    if done:
        with engine.begin() as connection:
            mark_handed_back(connection, done)
        log.info("claims_handed_back", extra={"claims": len(done)})
    return len(done)


def hand_back_to(door: Door, views: Sequence[ReadyClaim], *, at: datetime) -> None:
    """Results first, then the marks: a row with flag 1 says that the result is there. Raises DbfProblem."""
    door.outgoing.write([_result(view, at) for view in views if view.state == ClaimState.SETTLED], at=at)
    answers = []
    for view in views:
        rows = door.exchange.rows_out(view.source, view.visit_no)
        if rows is not None and len(rows.records) == view.line_count:
            codes = view.codes or [PASSED] * view.line_count
            answers.append(Answer(rows, marks_for(codes, _note(view))))
    if answers:
        door.exchange.answer(answers, at=at)


def _note(view: ReadyClaim) -> str:
    """What BZ2 says of a claim whose lines are in order but which the centre refused."""
    if view.state != ClaimState.REFUSED:
        return ""
    answer = view.answer
    return refusal_words(view.refusal or "", "" if answer is None else answer.detail)


def _result(view: ReadyClaim, at: datetime) -> Record:
    """The row of MZJS of a claim that carried its visit: no outpatient number, nothing above the cap (AMB-14)."""
    answer, visit = view.answer, view.visit
    assert answer is not None and answer.settled_at is not None
    amounts = view.amounts(answer, visit)
    return Record(
        "MZJS",
        {
            "visit_no": visit.visit_no,
            "charge_batch_no": view.charge_batch_no,
            "institution_code": visit.institution_code,
            "citizen_id_no": visit.citizen_id_no,
            "visit_date": visit.visit_date,
            "settlement_date": answer.settled_at.date(),
            "total_amount": _yuan(amounts.total_fen),
            "fund_pay_amount": _yuan(amounts.fund_pay_fen),
            "account_pay_amount": _yuan(amounts.account_pay_fen),
            "pre_self_pay_amount": _yuan(amounts.pre_self_pay_fen),
            "deductible_amount": _yuan(amounts.deductible_fen),
            "own_pay_amount": _yuan(amounts.own_pay_fen),
            "self_pay_amount": _yuan(amounts.self_pay_fen),
            "person_share_amount": _yuan(amounts.person_share_fen),
            "own_pay_reason": ALL_BY_PERSON if amounts.is_all_the_persons else None,
            "institution_share_amount": _yuan(amounts.institution_share_fen),
            "remark1": f"{at:%Y-%m-%d %H:%M:%S}",
            "read_flag": LEFT,
        },
    )


def _yuan(amount_fen: int) -> Decimal:
    return Decimal(amount_fen).scaleb(-2)


def _follow_folders(engine: Engine, folder: Path, doors: dict[str, Door]) -> None:
    """Open a door for every institution that is served here by files and has a folder."""
    with reading(engine) as connection:
        served = {row.institution_code: row for row in connection.execute(_SERVED)}
    for code, row in served.items():
        if code not in doors and (folder / code).is_dir():
            doors[code] = Door(folder / code, code)
            log.info("door_opened", extra={"institution": code})
        if code in doors:
            at_once = row.settles_at_once
            doors[code].follow(row.outpatient_flow, settles_at_once=at_once, short_code=row.short_code)
    for code in doors.keys() - served.keys():
        del doors[code]


def _readings(doors: Mapping[str, Door]) -> metrics.Readings:
    """Whether each folder is there, and what its hospital could not read of ours."""
    yield metrics.gauge_by(
        "jiesuan_exchange_folder_up", "Whether an institution's exchange folder can be reached.", "tenant",
        {code: float(not door.is_away) for code, door in list(doors.items())},
    )  # fmt: skip
    yield metrics.gauge_by(
        "jiesuan_exchange_rows_refused", "Rows of ours that the HIS could not read (DRBZ=2).", "tenant",
        {code: float(len(door.outgoing.refused())) for code, door in list(doors.items())},
    )  # fmt: skip


def is_watched(folder: Path) -> bool:
    """Whether a process watches this exchange folder now."""
    try:
        lock = os.open(folder / LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _alone(folder: Path) -> int:
    """Hold the folder against a second watcher; the kernel gives it back when this process ends, however it ends."""
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise AnotherWatcher(folder) from None
    return lock
