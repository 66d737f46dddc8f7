"""A hospital of the morning whose HIS works with the shared tables: plain SQL through the institution's own login."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg
from psycopg.rows import DictRow, dict_row

from city.hospitals import AMOUNTS, Told, claim_document, mzxm_row
from city.sample.claims import SampleClaim
from city.sample.morning import Arrival
from domain.lifecycle import ClaimState
from domain.visit import ChargeLine
from producers.client import JiesuanClient, TryLater
from producers.his.fields import layout
from producers.his.line_files import FAILED, IMPORTED
from workers.claims import claim_no

COLUMNS = layout("HIS_MZXM").codes
_CHARGE = f"INSERT INTO HIS_MZXM VALUES ({', '.join(['%s'] * len(COLUMNS))})"
MISTYPED_BY_FEN = 1


class TableHospital:
    """The front desk that registers visits at the front-end, and the HIS that charges them in HIS_MZXM.

    The HIS knows of a visit what stands in HIS_MZDJ, and of its settlement what stands in HIS_MZJS. It marks every
    other result as read, as some products do and some do not.
    """

    def __init__(self, client: JiesuanClient, address: str, *, marks_all: bool = False, front_desks: int = 1) -> None:
        """`address` is the exchange database, with the institution's login; `marks_all` marks every result as read;
        so many `front_desks` register patients at once."""
        self._client, self._marks_all = client, marks_all
        self._front_desks = ThreadPoolExecutor(front_desks, "front desk")
        self._his: psycopg.Connection[DictRow] = psycopg.connect(address, autocommit=True, row_factory=dict_row)
        self._to_register: list[SampleClaim] = []
        self._registering: list[tuple[SampleClaim, Future[None]]] = []
        self._handed_in: list[Arrival] = []
        self._by_outpatient_no: dict[str, SampleClaim] = {}
        self._charged: dict[str, SampleClaim] = {}
        self._answered: set[str] = set()

    def close(self) -> None:
        """The HIS is switched off, and the front desks go home."""
        self._front_desks.shutdown(cancel_futures=True)
        self._his.close()

    def hand_in(self, arrivals: Sequence[Arrival]) -> None:
        """These patients stand at the front desk."""
        self._handed_in += arrivals
        self._to_register += [arrival.claim for arrival in arrivals]

    def turn(self) -> list[int]:
        """Register who waits, charge whose registration has come, mend what was mistyped, read results.

        The numbers of the claims whose results were read.
        """
        self._register_who_waits()
        registered = self._ask("SELECT * FROM HIS_MZDJ WHERE DRBZ = 0")
        with self._his.pipeline():
            for row in registered:
                self._charge(row["jydjh"], self._by_outpatient_no[row["zyh"]])
        for row in self._ask("SELECT DISTINCT JYDJH FROM HIS_MZXM WHERE DRBZ = %s", FAILED):
            self._mend(row["jydjh"])
        results = self._ask("SELECT JYDJH FROM HIS_MZJS WHERE DRBZ = 0")
        with self._his.pipeline():
            return [self._read_result(row["jydjh"]) for row in results]

    def unanswered(self) -> int:
        """How many patients wait for a settlement, or for the verdict that keeps them from one."""
        return len(self._handed_in) - len(self._answered)

    def told(self) -> list[Told]:
        """What the tables say now of everything handed in."""
        numbers = {claim.number: visit_no for visit_no, claim in self._charged.items()}
        marks: dict[str, list[tuple[int, str]]] = {visit_no: [] for visit_no in self._charged}
        for row in self._ask("SELECT JYDJH, DRBZ, BZ3 FROM HIS_MZXM ORDER BY JYDJH, XMXH"):
            marks[row["jydjh"]].append((int(row["drbz"]), row["bz3"] or ""))
        results = {row["jydjh"]: row for row in self._ask("SELECT * FROM HIS_MZJS ORDER BY JYDJH, FYPC")}
        return [
            _heard(arrival, marks.get(visit_no, []), results.get(visit_no))
            for arrival in self._handed_in
            for visit_no in (numbers.get(arrival.claim.number, ""),)
        ]

    def _register_who_waits(self) -> None:
        """Each front desk takes the next patient, while the HIS goes on; who could not be registered stands there
        again."""
        going_on = []
        for claim, asked in self._registering:
            if not asked.done():
                going_on.append((claim, asked))
            elif isinstance(asked.exception(), TryLater):
                self._to_register.append(claim)
            else:
                asked.result()
        begun = [(claim, self._front_desks.submit(self._register, claim)) for claim in self._to_register]
        self._registering, self._to_register = going_on + begun, []

    def _register(self, claim: SampleClaim) -> None:
        self._by_outpatient_no[claim.visit.outpatient_no] = claim
        self._client.register(claim_document(claim)["visit"], key=f"visit-{claim.number}")

    def _charge(self, visit_no: str, claim: SampleClaim) -> None:
        """The lines of the prescription in one transaction; a slip of the keyboard is in the first one's amount."""
        first, *others = claim.lines
        written = [_mistyped(first) if claim.is_mistyped else first, *others]
        with self._his.transaction():
            self._write(visit_no, claim, written)
            self._do("UPDATE HIS_MZDJ SET DRBZ = 1 WHERE JYDJH = %s", visit_no)
        self._charged[visit_no] = claim

    def _mend(self, visit_no: str) -> None:
        """Correct what was mistyped, in place or by another row, as products do; any other mistake is left as it is."""
        claim = self._charged[visit_no]
        if not claim.is_mistyped:
            self._answered.add(visit_no)
            return
        first = claim.lines[0]
        own = (visit_no, first.line_no, FAILED)
        if claim.number % 2:
            amount = mzxm_row(claim.visit, first)["JE"]
            self._do("UPDATE HIS_MZXM SET JE = %s WHERE JYDJH = %s AND XMXH = %s AND DRBZ = %s", amount, *own)
            return
        with self._his.transaction():
            self._do("DELETE FROM HIS_MZXM WHERE JYDJH = %s AND XMXH = %s AND DRBZ = %s", *own)
            self._write(visit_no, claim, [first])

    def _read_result(self, visit_no: str) -> int:
        self._answered.add(visit_no)
        number = self._charged[visit_no].number
        if self._marks_all or number % 2:
            self._do("UPDATE HIS_MZJS SET DRBZ = 1 WHERE JYDJH = %s", visit_no)
        return number

    def _write(self, visit_no: str, claim: SampleClaim, lines: Sequence[ChargeLine]) -> None:
        rows = [{**mzxm_row(claim.visit, line), "JYDJH": visit_no} for line in lines]
        with self._his.cursor() as cursor:
            cursor.executemany(_CHARGE, [[row.get(code) for code in COLUMNS] for row in rows])

    def _ask(self, statement: LiteralString, *values: object) -> list[DictRow]:
        return self._his.execute(statement, values).fetchall()

    def _do(self, statement: LiteralString, *values: object) -> None:
        self._his.execute(statement, values)


def _mistyped(line: ChargeLine) -> ChargeLine:
    return line._replace(line_amount_fen=(line.line_amount_fen or 0) + MISTYPED_BY_FEN)


def _heard(arrival: Arrival, marks: Sequence[tuple[int, str]], result: Mapping[str, Any] | None) -> Told:
    claim, flags = arrival.claim, {flag for flag, _ in marks}
    if FAILED in flags:
        codes = tuple(code for _, code in marks)
        return Told(claim=claim, manner=arrival.manner, state=ClaimState.RETURNED, codes=codes)
    if flags != {IMPORTED} or result is None:
        return Told(claim=claim, manner=arrival.manner)
    return Told(
        claim=claim,
        manner=arrival.manner,
        claim_no=claim_no(result["jydjh"], int(result["fypc"])),
        state=ClaimState.SETTLED,
        amounts={name: int(result[column.lower()] * 100) for name, column in AMOUNTS.items()},
    )
