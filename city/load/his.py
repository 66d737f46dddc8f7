"""The hospitals with exchange files and with shared tables: their HIS writes what is charged and looks for results.

A process of its own: `python -m city.load.his PLAN`. One thread for each hospital; a claim's wait counts from its
intended moment, whenever its HIS came to write it.
"""

from __future__ import annotations

import gc
import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from city.hospitals import FileHospital, Told
from city.load import told
from city.load.orders import PROGRESS_SECONDS, Orders, tell
from city.load.told import Answer, Clocks, Waiting
from city.sample.claims import SampleClaim
from city.sample.morning import Arrival
from city.table_hospital import TableHospital
from infra.clock import SHANGHAI
from producers.client import JiesuanClient
from producers.his.fields import layout

TURN_SECONDS = 0.2
"""A HIS writes its files, and looks for results, so often (real seconds)."""
FRONT_DESKS = 20
"""So many of a hospital's front desks register patients at once."""


@dataclass(frozen=True, slots=True)
class Due:
    """A claim and the business second of the day it is charged at."""

    second: float
    claim: SampleClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What this process does."""

    day: date
    opens: float
    compress: float
    folders: Mapping[str, str]
    """The exchange folder of each institution with files."""
    tables: Mapping[str, tuple[str, str, str]]
    """Of each institution with shared tables: the front-end's API, its key there, and the database with its login."""
    claims: Mapping[str, Sequence[Due]]
    answers: str


class Files:
    """One hospital with exchange files: it writes what is due, and finds results in MZJS."""

    def __init__(self, folder: Path, day: date) -> None:
        self._folder, self._day = folder, day
        self._hospital = FileHospital(folder, day)
        self._seen: dict[Path, int] = {}

    def turn(self, due: Sequence[SampleClaim], at: datetime) -> Iterator[int | str]:
        """Write what is due; the visit numbers of new results."""
        if due:
            self._hospital.hand_in([Arrival(at=at, claim=claim) for claim in due], at=at)
        for path in sorted(self._folder.glob("MZJS????.DBF")):
            yield from self._new_in(path)

    def told(self) -> Sequence[Told]:
        """What the files say in the end."""
        return self._hospital.told()

    def close(self) -> None:
        """There is nothing to let go of."""

    def _new_in(self, path: Path) -> Iterator[str]:
        """The visit number of each record that was appended; the count in the file's head changes last."""
        with path.open("rb") as file:
            head = file.read(32)
            count, begins, width = (int.from_bytes(head[at:to], "little") for at, to in ((4, 8), (8, 10), (10, 12)))
            seen = self._seen.get(path, 0)
            file.seek(begins + seen * width)
            records = file.read((count - seen) * width)
        self._seen[path] = count
        for at in range(0, len(records), width):
            yield records[at + _VISIT_AT : at + _VISIT_AT + _VISIT_WIDTH].decode("ascii").strip()


def _place_of(column: str) -> tuple[int, int]:
    at = 1  # the deletion mark
    for one in layout("MZJS"):
        if one.code == column:
            return at, one.width
        at += one.width
    raise KeyError(column)


_VISIT_AT, _VISIT_WIDTH = _place_of("JYDJH")


class Tables:
    """One hospital with shared tables."""

    def __init__(self, client: JiesuanClient, address: str) -> None:
        self._client = client
        self._hospital = TableHospital(client, address, marks_all=True, front_desks=FRONT_DESKS)

    def turn(self, due: Sequence[SampleClaim], at: datetime) -> Iterator[int | str]:
        """Register and charge what is due; the numbers of claims that were answered."""
        self._hospital.hand_in([Arrival(at=at, claim=claim) for claim in due])
        yield from self._hospital.turn()

    def told(self) -> Sequence[Told]:
        """What the tables say in the end."""
        return self._hospital.told()

    def close(self) -> None:
        """Close the connections."""
        self._hospital.close()
        self._client.close()


class Hospital(threading.Thread):
    """One hospital's day."""

    def __init__(self, door: Files | Tables, claims: Sequence[Due], clocks: Clocks, stop: threading.Event) -> None:
        super().__init__(name="hospital")
        self._door, self._clocks, self._stop_all = door, clocks, stop
        self._to_come = deque(claims)
        self._server = claims[0].claim.institution.frontend if claims else ""
        self._names: dict[int | str, int] = {}
        self.waiting = Waiting()
        self.answers: dict[int, Answer] = {}
        self.stopped = False
        """Nobody new comes."""

    def run(self) -> None:
        """Turn after turn until told to stop; then ask the door what it told in the end."""
        midnight = datetime.combine(self._to_come[0].claim.visit.visit_date, datetime.min.time(), SHANGHAI)
        while not self._stop_all.wait(TURN_SECONDS):
            now = time.time()
            second = self._clocks.second(now)
            due = []
            while self._to_come and self._to_come[0].second <= second and not self.stopped:
                due.append(self._begin(self._to_come.popleft()))
            for name in self._door.turn(due, midnight + timedelta(seconds=second)):
                self._answered(self._names[name])
        for one in self._door.told():
            answer = self.answers[one.claim.number]
            answer.claim_no, answer.state = one.claim_no, str(one.state)
            answer.codes, answer.words, answer.amounts = one.codes, one.words, one.amounts
        self._door.close()

    def _begin(self, due: Due) -> SampleClaim:
        claim = due.claim
        self._names[claim.visit.visit_no or claim.number] = claim.number
        self.answers[claim.number] = Answer(claim.number)
        # A wrong file record is told in its mark, not in MZJS: nobody waits for that one.
        if claim.codes or claim.refusal:
            self.waiting.due += 1
            self.waiting.answered += 1
        else:
            self.waiting.begin(self._server, claim.number, self._clocks.real(due.second))
        return claim

    def _answered(self, number: int) -> None:
        answer = self.answers[number]
        if not answer.answered_at:
            answer.answered_at = time.time()
            self.waiting.end(self._server, number)


def run(plan: Plan, orders: Orders) -> None:
    """Wait for the opening, play the day, answer for it."""
    stop = threading.Event()
    hospitals: list[Hospital] = []
    due = time.monotonic()
    while (order := orders.next()) != ["end"]:
        match order:
            case ["open", opened]:
                hospitals = _hospitals(plan, Clocks(plan.opens, float(opened), plan.compress), stop)
                for hospital in hospitals:
                    hospital.start()
            case ["stop"]:
                for hospital in hospitals:
                    hospital.stopped = True
        if time.monotonic() >= due:
            due += PROGRESS_SECONDS
            tell({"door": "his", **_progress(hospitals)})
        time.sleep(0.05)
    stop.set()
    for hospital in hospitals:
        hospital.join()
    told.write(Path(plan.answers), [answer for hospital in hospitals for answer in hospital.answers.values()])
    tell({"door": "his", **_progress(hospitals)})


def _hospitals(plan: Plan, clocks: Clocks, stop: threading.Event) -> list[Hospital]:
    doors: dict[str, Files | Tables] = {code: Files(Path(folder), plan.day) for code, folder in plan.folders.items()}
    for code, (url, key, address) in plan.tables.items():
        doors[code] = Tables(JiesuanClient(url, key), address)
    return [Hospital(door, plan.claims[code], clocks, stop) for code, door in doors.items() if plan.claims.get(code)]


def _progress(hospitals: Sequence[Hospital]) -> dict[str, object]:
    """The hospitals' progress as one: by server, how many wait and how long the oldest has."""
    told_ = [hospital.waiting.progress() for hospital in hospitals]
    waiting: dict[str, list[float]] = {}
    for one in told_:
        for server, (count, oldest) in one["waiting"].items():  # type: ignore[attr-defined]  # its own form
            before = waiting.get(server, [0, 0.0])
            waiting[server] = [before[0] + count, max(before[1], oldest)]
    return {
        "due": sum(hospital.waiting.due for hospital in hospitals),
        "answered": sum(hospital.waiting.answered for hospital in hospitals),
        "waiting": waiting,
    }


if __name__ == "__main__":
    read: Plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    gc.freeze()
    run(read, Orders())
