"""The service behind the DBF door: watches the exchange folders, imports, hands verdicts and results back.

One process watches all folders of a front-end. It may be killed at any point: a result is in its file before its
rows are marked, rows are marked before the claim is, and each of the three is looked at before it is done again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from domain.codes import PASSED
from domain.lifecycle import ClaimState
from domain.refusals import Refusal, sentence
from infra.database import reading
from infra.memory import spare_the_collector
from infra.settings import Settings
from producers.his.dbf import DbfProblem, NotYet
from producers.his.exchange import Answer, DbfExchange, Result, marks_for
from producers.his.importer import take_in
from workers.claims import ClaimOutcome, mark_handed_back, ready_to_hand_back
from workers.doorbell import Doorbell
from workers.tables import institution
from workers.tasks import Frontend

log = logging.getLogger("his")

PAUSE_SECONDS = 0.1
ROUNDS_PER_FOLDERS = 45
"""After so many rounds the institutions and their folders are asked for again."""
CLAIMS_PER_HAND_BACK = 1000
PATIENCE_LOOKS = 20
"""An incomplete file is told to the hospital once it has stayed so for this many looks."""


class AnotherWatcher(Exception):
    """Another process watches this exchange folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"the exchange folder {folder} is watched by another process already")


@dataclass(slots=True)
class Door:
    """One institution's folder, and what the hospital was told about its files."""

    exchange: DbfExchange
    _incomplete: dict[str, int] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)

    def tell(self, problems: Sequence[DbfProblem], at: datetime) -> None:
        """Lay a note in Chinese beside each file that cannot be read; take it away when the file is good again."""
        lasting = {problem.file: problem for problem in problems if self._lasts(problem)}
        for name in self._told.keys() - lasting.keys():
            _note_of(self.exchange.folder, name).unlink(missing_ok=True)
            del self._told[name]
        for name, problem in lasting.items():
            if self._told.get(name) != problem.message_zh:
                words = f"{at:%Y-%m-%d %H:%M:%S} {problem.message_zh}\n"
                _note_of(self.exchange.folder, name).write_text(words, encoding="gb18030")
                self._told[name] = problem.message_zh
                log.warning("exchange_file_refused", extra={"file": name, "reason": type(problem).__name__})
        named = {problem.file for problem in problems}
        self._incomplete = {name: looks for name, looks in self._incomplete.items() if name in named}

    def _lasts(self, problem: DbfProblem) -> bool:
        if not isinstance(problem, NotYet):
            return True
        looks = self._incomplete[problem.file] = self._incomplete.get(problem.file, 0) + 1
        return looks > PATIENCE_LOOKS


def serve(settings: Settings) -> int:
    """Watch until told to stop; the exit code."""
    settings.need("frontend", "frontend_database_url", "exchange_dir")
    assert settings.exchange_dir is not None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    frontend = Frontend(settings)
    spare_the_collector()
    watch(frontend, settings.exchange_dir, stop=stop, heartbeat_file=settings.heartbeat_file)
    return 0


def watch(frontend: Frontend, folder: Path, *, stop: threading.Event, heartbeat_file: Path | None = None) -> None:
    """Look at every institution's folder again and again. Raises AnotherWatcher."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = _alone(folder)
    try:
        doors: dict[str, Door] = {}
        rounds = 0
        while not stop.is_set():
            try:
                if rounds % ROUNDS_PER_FOLDERS == 0:
                    _follow_folders(frontend.engine, folder, doors)
                for door in doors.values():
                    look(frontend.engine, door, at=frontend.now(), doorbell=frontend.doorbell)
                while hand_back(frontend.engine, doors, at=frontend.now()) >= CLAIMS_PER_HAND_BACK:
                    pass
                if heartbeat_file is not None:
                    heartbeat_file.touch()
            except (OperationalError, OSError) as error:
                # The database or the folder is away; what was not done is done at a later look.
                log.warning("look_failed", extra={"error": type(error).__name__})
            rounds += 1
            stop.wait(PAUSE_SECONDS)
    finally:
        os.close(lock)


def look(engine: Engine, door: Door, *, at: datetime, doorbell: Doorbell | None = None) -> None:
    """Import what one folder holds, and tell the hospital which files cannot be read."""
    try:
        report = take_in(engine, door.exchange, at=at, doorbell=doorbell)
    except NotYet as problem:
        log.info("exchange_file_busy", extra={"file": problem.file})
        return
    if report.accepted or report.refused or report.postponed:
        log.info(
            "deliveries_taken_in",
            extra={
                "institution": door.exchange.institution_code,
                "accepted": report.accepted,
                "refused": report.refused.total(),
                "postponed": report.postponed,
            },
        )
    door.tell(report.problems, at)


def hand_back(engine: Engine, doors: dict[str, Door], *, at: datetime) -> int:
    """Hand verdicts and results of finished claims back to their folders; how many claims."""
    done: list[int] = []
    for code, door in doors.items():
        with reading(engine) as connection:
            views = ready_to_hand_back(connection, code, CLAIMS_PER_HAND_BACK)
        unreadable = {problem.file for problem in door.exchange.problems}
        views = [view for view in views if view.source not in unreadable]
        try:
            hand_back_to(door.exchange, views, at=at)
        except DbfProblem as problem:
            log.warning("hand_back_postponed", extra={"file": problem.file, "reason": type(problem).__name__})
            door.tell([problem], at)
            continue
        done += [view.claim_id for view in views]
    if done:
        with engine.begin() as connection:
            mark_handed_back(connection, done)
        log.info("claims_handed_back", extra={"claims": len(done)})
    return len(done)


def hand_back_to(exchange: DbfExchange, views: Sequence[ClaimOutcome], *, at: datetime) -> None:
    """Results first, then the marks: a row with flag 1 says that the result is there. Raises DbfProblem."""
    exchange.hand_over([_result(view) for view in views if view.state is ClaimState.SETTLED], at=at)
    answers = []
    for view in views:
        rows = exchange.rows_out(view.source, view.visit_no)
        if rows is not None and len(rows.records) == view.line_count:
            codes = [verdict.code for verdict in view.verdicts] or [PASSED] * view.line_count
            answers.append(Answer(rows, marks_for(codes, _note(view))))
    if answers:
        exchange.answer(answers, at=at)


def _note(view: ClaimOutcome) -> str:
    """What BZ2 says of a claim whose lines are in order but which the centre refused."""
    if view.state is not ClaimState.REFUSED:
        return ""
    if view.answer is not None and view.answer.detail:
        return view.answer.detail
    return sentence(Refusal(view.refusal), "-", "-")


def _result(view: ClaimOutcome) -> Result:
    totals, answer = view.totals, view.answer
    assert totals is not None and answer is not None and answer.settled_at is not None
    return Result(
        visit=view.visit,
        charge_batch_no=view.charge_batch_no,
        settled_at=answer.settled_at,
        total_fen=totals.total_fen,
        fund_pay_fen=answer.fund_pay_fen,
        account_pay_fen=answer.account_pay_fen,
        pre_self_pay_fen=totals.pre_self_pay_fen,
        deductible_fen=answer.deductible_fen,
        own_pay_fen=totals.own_expense_fen + totals.over_limit_fen + totals.pre_self_pay_fen,
        self_pay_fen=answer.self_pay_fen,
        institution_share_fen=answer.institution_share_fen,
    )


def _follow_folders(engine: Engine, folder: Path, doors: dict[str, Door]) -> None:
    """Open a door for every institution that is served here and has a folder."""
    with reading(engine) as connection:
        codes = connection.execute(select(institution.c.institution_code).where(institution.c.active)).scalars().all()
    for code in codes:
        if code not in doors and (folder / code).is_dir():
            doors[code] = Door(DbfExchange(folder / code, code))
            log.info("door_opened", extra={"institution": code})
    for code in doors.keys() - set(codes):
        del doors[code]


def _note_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.txt"


def _alone(folder: Path) -> int:
    """Hold the folder against a second watcher; the kernel gives it back when this process ends, however it ends."""
    lock = os.open(folder / ".watcher.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise AnotherWatcher(folder) from None
    return lock
