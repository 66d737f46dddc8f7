"""Importing charge lines (费用明细读入) of registered visits: checked, kept once, failures remembered (INV-29 to 33).

One transaction for a whole group of deliveries, no query per line. The lines one delivery brings are kept as they are
digested later: packed, in one row.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from domain.checks import GOOD, REVERSED_TOO_MUCH, WARN_LINE_NO, RowSays, Unsettled, Verdict, Warned, check_delivery
from domain.codes import PASSED
from domain.lifecycle import VisitState
from domain.visit import STAYS, ChargeLine, pack_lines, unpack_lines
from infra.database import execute_many
from infra.reference import Reference, ReferenceShelf
from workers import line_warnings
from workers.moving.standing import DoorClosed, against_step
from workers.numbers import wait_for_turn
from workers.tables import STILL_FAILS, line_failure, visit_lines
from workers.visits import rows
from workers.visits.handout import Kind

log = logging.getLogger("visits")

LEFT, IMPORTED, FAILED = 0, 1, 2
"""The read-in flag DRBZ: not read, read, failed."""

VISIT_NO_LENGTH = 16
FLOW_ONE = 1
FROM_THE_HIS = frozenset({"dbf", "tables"})
"""The channels of lines that come from the HIS and need not be told to it."""


class Per(Enum):
    """What is imported together or not at all (AMB-22)."""

    VISIT = "visit"
    """The file variant: one failed row and no row of the visit is imported."""
    ROW = "row"
    """The shared-table variant: each row for itself; with 21 nothing of the visit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The rows of one visit that one source holds and that are not imported: all of them.

    `institution_codes`, `citizen_id_nos` are YYBH, GMSFHM as each row has them; empty where the source speaks of
    its own institution and of the visit's person. A door sets `door_code` 96 on rows it could not read, nothing else.
    No lines say that the source holds nothing of the visit any more: what failed there is forgotten.
    """

    institution_code: str
    visit_no: str
    lines: Sequence[ChargeLine]
    channel: str
    source: str = ""
    institution_codes: Sequence[str] = ()
    citizen_id_nos: Sequence[str] = ()
    visit_dates: Sequence[date | None] = ()
    """RYRQ as each row has it."""


class LineVerdict(NamedTuple):
    """What is written back to one row: BZ3, every code for the log, DRBZ, and BZ1 where it is imported."""

    code: str
    all_codes: tuple[str, ...]
    flag: int
    imported_at: datetime | None
    warnings: tuple[str, ...] = ()
    """Of a line imported now; they are written nowhere but into the log."""


class FailedLine(NamedTuple):
    """A line of the error list."""

    institution_code: str
    visit_no: str
    source: str
    line: ChargeLine
    code: str
    all_codes: tuple[str, ...]
    found_at: datetime
    gone_at: datetime | None
    """When it was corrected, or went away; None: it still holds up the settlement."""


_HEADS = (
    select(
        visit_lines.c.import_id,
        visit_lines.c.visit_no,
        visit_lines.c.first_no,
        visit_lines.c.last_no,
        visit_lines.c.imported_at,
    )
    .where(visit_lines.c.visit_no.in_(bindparam("visits", expanding=True)))
    .order_by(visit_lines.c.import_id)
)
_LINES = select(visit_lines.c.import_id, visit_lines.c.lines).where(
    visit_lines.c.import_id.in_(bindparam("ids", expanding=True))
)
_OPEN_FAILURES = select(
    line_failure.c.failure_id,
    line_failure.c.visit_no,
    line_failure.c.source,
    line_failure.c.all_codes,
    line_failure.c.line,
).where(STILL_FAILS, line_failure.c.visit_no.in_(bindparam("visits", expanding=True)))
_GONE = update(line_failure).where(line_failure.c.failure_id == bindparam("id")).values(gone_at=bindparam("at"))
_KEEP_LINES, _KEEP_FAILURE = insert(visit_lines), insert(line_failure)
_LAST_IMPORT = select(func.max(visit_lines.c.import_id))


def import_lines(
    engine: Engine, shelf: ReferenceShelf, deliveries: Sequence[Delivery], *, at: datetime, per: Per
) -> list[list[LineVerdict]]:
    """Check and import the deliveries in one transaction; for each of them the verdict of every line, in its order.

    Doing it again changes nothing: a line that is imported with the same content answers 00 and is imported once; the
    same number with other content is 94. Corrected lines are read again like new ones. Durable when it returns.
    Raises NothingPublished; DoorClosed, and then nothing was read, where the institution or a visit moved.
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        reference = shelf.current(connection)
        return _Import(connection, deliveries, reference, at, per).take_all()


def failures(
    connection: Connection,
    institution_code: str,
    *,
    visit_no: str = "",
    since: datetime | None = None,
    only_open: bool = True,
) -> list[FailedLine]:
    """The lines of an institution that failed their checks, oldest first: the error list."""
    asked = select(line_failure).where(line_failure.c.institution_code == institution_code)
    if only_open:
        asked = asked.where(STILL_FAILS)
    if visit_no:
        asked = asked.where(line_failure.c.visit_no == visit_no)
    if since is not None:
        asked = asked.where(line_failure.c.found_at >= since)
    return [
        FailedLine(
            row.institution_code,
            row.visit_no,
            row.source,
            unpack_lines(row.line)[0],
            row.code,
            tuple(row.all_codes.split(",")),
            row.found_at,
            row.gone_at,
        )
        for row in connection.execute(asked.order_by(line_failure.c.failure_id))
    ]


class _Import:
    """One transaction's view: the visits, what is imported of them already, what failed before."""

    def __init__(
        self, connection: Connection, deliveries: Sequence[Delivery], reference: Reference, at: datetime, per: Per
    ) -> None:
        self._connection, self._deliveries, self._at, self._per = connection, deliveries, at, per
        self._catalogue = reference.catalogue
        visit_nos = {delivery.visit_no for delivery in deliveries if 0 < len(delivery.visit_no) <= VISIT_NO_LENGTH}
        self._visits = rows.visits_by_no(connection, visit_nos)
        for delivery in deliveries:
            row = self._visits.get(delivery.visit_no)
            closed = against_step(connection, delivery.institution_code, row, delivery.visit_no)
            if closed is not None:
                raise DoorClosed(closed)
        self._standings = {visit_no: rows.standing_of(row) for visit_no, row in self._visits.items()}
        self._unsettled = rows.unsettled(connection, list(self._visits))
        self._known = self._lines_known()
        self._before = self._failed_before({_cut(delivery.visit_no) for delivery in deliveries})
        self._kept: list[dict[str, Any]] = []
        self._failed: list[dict[str, Any]] = []
        self._warned: list[dict[str, Any]] = []
        self._gone: list[dict[str, Any]] = []

    def take_all(self) -> list[list[LineVerdict]]:
        """Decide every delivery in order, then write what was imported and what failed."""
        verdicts = [self._take(delivery) for delivery in self._deliveries]
        if self._kept:
            self._correct_failures()
            first_free = (self._connection.execute(_LAST_IMPORT).scalar() or 0) + 1
            for import_id, row in enumerate(self._kept, first_free):
                row["import_id"] = import_id
            execute_many(self._connection, _KEEP_LINES, self._kept)
            self._put_out()
        execute_many(self._connection, _KEEP_FAILURE, self._failed)
        line_warnings.keep(self._connection, self._warned)
        execute_many(self._connection, _GONE, self._gone)
        return verdicts

    def _take(self, delivery: Delivery) -> list[LineVerdict]:
        lines = delivery.lines
        standing = self._standings.get(delivery.visit_no)
        if standing is not None and standing.institution_code != delivery.institution_code:
            # Another institution's visit: 92, and nothing else is told of it.
            standing = standing._replace(state=VisitState.OPEN, discharge_date=None)
            found = [Verdict("92", ("92",))] * len(lines)
            return self._told(delivery, found, [FAILED] * len(lines), {})
        known = self._known.get(delivery.visit_no, {})
        places, again = _candidates(lines, known)
        said = RowSays(delivery.institution_codes, delivery.citizen_id_nos, delivery.visit_dates)
        says = _at_places(said, places, len(lines))
        checked = check_delivery(
            standing,
            [lines[at] for at in places],
            self._catalogue,
            self._at.date(),
            says=says,
            numbers_before=known.keys(),
            unsettled=self._unsettled.get(delivery.visit_no, Unsettled()),
        )
        flags = _flags(checked.verdicts, self._per)
        imported = [lines[at] for at, flag in zip(places, flags, strict=True) if flag == IMPORTED]
        if imported:
            self._keep(delivery, imported)

        found = [GOOD] * len(lines)
        marks = [LEFT] * len(lines)
        for at, verdict, flag in zip(places, checked.verdicts, flags, strict=True):
            found[at], marks[at] = verdict, flag
        for at, first in again.items():
            # The same line once more, imported before or standing twice in this delivery: it goes the way of the first.
            found[at], marks[at] = (GOOD, IMPORTED) if first is None else (found[first], marks[first])
        warned = [Warned(places[each.at], each.code) for each in checked.warned if flags[each.at] == IMPORTED]
        return self._with_warnings(delivery, warned, self._told(delivery, found, marks, known))

    def _with_warnings(
        self, delivery: Delivery, warned: Sequence[Warned], told: list[LineVerdict]
    ) -> list[LineVerdict]:
        """Remember the warnings of what is imported now, and say them beside the verdicts."""
        if warned:
            of = delivery.institution_code, delivery.visit_no, delivery.source, delivery.lines
            self._warned += line_warnings.rows_of(*of, warned, at=self._at)
            for each in warned:
                told[each.at] = told[each.at]._replace(warnings=(*told[each.at].warnings, each.code))
        return told

    def _told(
        self,
        delivery: Delivery,
        found: Sequence[Verdict],
        marks: Sequence[int],
        known: Mapping[int, tuple[ChargeLine, datetime]],
    ) -> list[LineVerdict]:
        """The verdicts as they are written back, and the failed lines as they are remembered."""
        if FAILED in marks or self._before.get((_cut(delivery.visit_no), delivery.source)):
            failed = [
                (line, verdict)
                for line, verdict, flag in zip(delivery.lines, found, marks, strict=True)
                if flag == FAILED
            ]
            self._remember(delivery, failed)
        told = []
        for line, verdict, flag in zip(delivery.lines, found, marks, strict=True):
            imported_at = None
            if flag == IMPORTED:
                before = known.get(line.line_no or 0)
                imported_at = self._at if before is None else before[1]
            told.append(LineVerdict(verdict.code, verdict.all_codes, flag, imported_at))
        return told

    def _keep(self, delivery: Delivery, lines: list[ChargeLine]) -> None:
        amounts = [line.line_amount_fen or 0 for line in lines]
        numbers = [line.line_no or 0 for line in lines]
        if max(numbers) >= WARN_LINE_NO:
            log.warning("line_numbers_run_out", extra={"visit": delivery.visit_no, "last": max(numbers)})
        positive_fen = sum(amount for amount in amounts if amount > 0)
        negative_fen = sum(amounts) - positive_fen
        self._kept.append(
            {
                "import_id": 0,
                "visit_no": delivery.visit_no,
                "line_count": len(lines),
                "first_no": min(numbers),
                "last_no": max(numbers),
                "positive_fen": positive_fen,
                "negative_fen": negative_fen,
                "lines": pack_lines(lines),
                "imported_at": self._at,
                "channel": delivery.channel,
                "source": delivery.source,
            }
        )
        known = self._known.setdefault(delivery.visit_no, {})
        known.update((number, (line, self._at)) for number, line in zip(numbers, lines, strict=True))
        so_far = self._unsettled.get(delivery.visit_no, Unsettled())
        self._unsettled[delivery.visit_no] = Unsettled(
            so_far.positive_fen + positive_fen, so_far.negative_fen + negative_fen
        )

    def _put_out(self) -> None:
        """Lines of flow one, which were entered at the insurance client, go to the HIS (WF-05)."""
        entered = [row for row in self._kept if row["channel"] not in FROM_THE_HIS]
        codes = {self._visits[row["visit_no"]].institution_code for row in entered}
        served = rows.served(self._connection, codes) if codes else {}
        rows.put_out(
            self._connection,
            [
                (of, row["visit_no"], Kind.LINES, row["import_id"])
                for row in entered
                if (of := served.get(self._visits[row["visit_no"]].institution_code)) is not None
                and of.outpatient_flow == FLOW_ONE
                and self._visits[row["visit_no"]].visit_type not in STAYS
            ],
        )

    def _correct_failures(self) -> None:
        """A number that failed in one source and came good from another one is corrected."""
        numbers = (
            {(row["visit_no"], line.line_no) for row in self._kept for line in unpack_lines(row["lines"])}
            if self._before
            else set()
        )
        for (visit_no, _), failed in self._before.items():
            for key in [key for key in failed if (visit_no, unpack_lines(key[0])[0].line_no) in numbers]:
                self._gone.append({"id": failed.pop(key), "at": self._at})

    def _remember(self, delivery: Delivery, failed: Iterable[tuple[ChargeLine, Verdict]]) -> None:
        """Replace what this source had failed of the visit; what fails as it did before stays as it was found."""
        visit_no = _cut(delivery.visit_no)
        before = self._before.pop((visit_no, delivery.source), {})
        now: dict[tuple[bytes, str], Verdict] = {}
        for line, verdict in failed:
            now[pack_lines([line]), ",".join(verdict.all_codes)] = verdict
        self._gone += [{"id": failure_id, "at": self._at} for key, failure_id in before.items() if key not in now]
        self._failed += [
            {
                "institution_code": delivery.institution_code,
                "visit_no": visit_no,
                "source": delivery.source,
                "line_no": unpack_lines(packed)[0].line_no,
                "code": verdict.code,
                "all_codes": all_codes,
                "line": packed,
                "found_at": self._at,
            }
            for (packed, all_codes), verdict in now.items()
            if (packed, all_codes) not in before
        ]

    def _lines_known(self) -> dict[str, dict[int, tuple[ChargeLine, datetime]]]:
        """The imported lines a delivered number may stand for, by visit and number, with their time of import.

        HIS products number on, so most often no imported line's number is delivered again and no line is read here.
        """
        if not self._visits:
            return {}
        asked: dict[str, set[int]] = defaultdict(set)
        for delivery in self._deliveries:
            asked[delivery.visit_no].update(line.line_no for line in delivery.lines if line.line_no is not None)
        wanted = {visit_no: sorted(numbers) for visit_no, numbers in asked.items()}
        heads = {
            head.import_id: head
            for head in self._connection.execute(_HEADS, {"visits": sorted(self._visits)})
            if _reaches(wanted[head.visit_no], head.first_no, head.last_no)
        }
        known: dict[str, dict[int, tuple[ChargeLine, datetime]]] = {}
        ids = list(heads)
        for start in range(0, len(ids), 500):
            for import_id, packed in self._connection.execute(_LINES, {"ids": ids[start : start + 500]}):
                head = heads[import_id]
                of_visit = known.setdefault(head.visit_no, {})
                of_visit.update((line.line_no or 0, (line, head.imported_at)) for line in unpack_lines(packed))
        return known

    def _failed_before(self, visit_nos: Collection[str]) -> dict[tuple[str, str], dict[tuple[bytes, str], int]]:
        found: dict[tuple[str, str], dict[tuple[bytes, str], int]] = defaultdict(dict)
        for row in self._connection.execute(_OPEN_FAILURES, {"visits": sorted(visit_nos)}):
            found[row.visit_no, row.source][row.line, row.all_codes] = row.failure_id
        return found


def _candidates(
    lines: Sequence[ChargeLine], known: Mapping[int, tuple[ChargeLine, datetime]]
) -> tuple[list[int], dict[int, int | None]]:
    """The places of the lines to check, and of those that are another line once more: imported before (None), or the
    one at that place of this delivery."""
    places: list[int] = []
    again: dict[int, int | None] = {}
    here: dict[int, int] = {}
    for at, line in enumerate(lines):
        number = line.line_no
        if number is None or line.door_code:
            places.append(at)
        elif number in known and known[number][0] == line:
            again[at] = None
        elif number in here and lines[here[number]] == line:
            again[at] = here[number]
        else:
            here.setdefault(number, at)
            places.append(at)
    return places, again


def _flags(verdicts: Sequence[Verdict], per: Per) -> list[int]:
    """DRBZ of each line: failed rows 2; good rows 1, or 0 where nothing of the visit is imported (AMB-22, AMB-23)."""
    codes = [verdict.code for verdict in verdicts]
    nothing = any(code != PASSED for code in codes) if per is Per.VISIT else REVERSED_TOO_MUCH in codes
    good = LEFT if nothing else IMPORTED
    return [good if code == PASSED else FAILED for code in codes]


def _at_places(says: RowSays, places: Sequence[int], count: int) -> RowSays:
    if len(places) == count:
        return says
    codes, persons, days = says
    return RowSays(
        [codes[at] for at in places] if codes else (),
        [persons[at] for at in places] if persons else (),
        [days[at] for at in places] if days else (),
    )


def _reaches(numbers: Sequence[int], first: int, last: int) -> bool:
    """Whether one of the numbers, sorted, lies between the two."""
    at = bisect_left(numbers, first)
    return at < len(numbers) and numbers[at] <= last


def _cut(visit_no: str) -> str:
    return visit_no[:VISIT_NO_LENGTH]
