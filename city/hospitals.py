"""The hospitals of a morning: they hand claims in through their doors and note what each door tells them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from city.sample.claims import SampleClaim
from city.sample.morning import Arrival
from domain.codes import PASSED
from domain.lifecycle import FINAL, ClaimState
from domain.money import PRICE_SCALE, QUANTITY_SCALE, fen, unscaled, yuan
from domain.visit import ChargeLine, Visit
from producers.client import JiesuanClient, Refused, TryLater
from producers.his import dbf
from producers.his.fields import layout
from producers.his.line_files import FAILED, IMPORTED
from workers.claims import claim_no

CASHIERS = 32
WAIT_SECONDS = 8
"""Every third cashier waits so long for the answer; the others come back for it later."""
PATIENCE_SECONDS = 60.0
FIRST_MANNERS = ("first", "twice at once")

AMOUNTS = {
    "total_amount": "ZYZJE",
    "fund_pay_amount": "SBZFJE",
    "account_pay_amount": "ZHZFJE",
    "own_pay_amount": "GRZFJE1",
    "self_pay_amount": "GRZFJE2",
    "person_share_amount": "GRZFJE3",
    "pre_self_pay_amount": "BFXMZFJE",
    "deductible_amount": "QFJE",
}
"""The amounts of a result, as the API and as MZJS call them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a door told its institution about one handing-in."""

    claim: SampleClaim
    manner: str
    claim_no: str = ""
    """Empty where the door took no claim."""
    state: str = ""
    codes: tuple[str, ...] = ()
    words: str = ""
    amounts: Mapping[str, int] = field(default_factory=dict)
    """Of a settlement, in fen, by their names in the API."""
    problem: str = ""
    """Why the door took nothing: the API's stable code."""


class FileHospital:
    """The HIS of one institution and the insurance client beside it, on an exchange folder."""

    def __init__(self, folder: Path, day: date) -> None:
        self._folder, self._day = folder, day
        self._handed_in: list[Arrival] = []

    def hand_in(self, arrivals: Sequence[Arrival], *, at: datetime) -> None:
        """Register the new visits, then write their lines; what comes again is written once more."""
        first = [a.claim for a in arrivals if a.manner == "first"]
        registered = [mzdj_row(claim.visit, at) for claim in first if claim.is_registered]
        if registered:
            self._append("MZDJ", registered)
        rows = [row for arrival in arrivals for row in _mzxm(arrival.claim)]
        if rows:
            self._append("MZXM", rows)
        self._handed_in += arrivals

    def told(self) -> list[Told]:
        """What the files say now of everything handed in."""
        results = self._results()
        marks = self._marks()
        heard = []
        for arrival in self._handed_in:
            claim = arrival.claim
            count = len(claim.lines)
            mine, marks[claim.visit.visit_no] = marks[claim.visit.visit_no][:count], marks[claim.visit.visit_no][count:]
            heard.append(_heard(arrival, mine, results))
        return heard

    def _append(self, table: str, rows: Sequence[Mapping[str, dbf.Value]]) -> None:
        dbf.append(self._folder / f"{table}{self._day:%m%d}.DBF", layout(table), rows, day=self._day)

    def _marks(self) -> dict[str, list[tuple[int, str, str]]]:
        """DRBZ, BZ3 and BZ2 of every line, by visit."""
        marks: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        path = self._folder / f"MZXM{self._day:%m%d}.DBF"
        if path.exists():
            for row in dbf.read(path).rows("JYDJH", "DRBZ", "BZ3", "BZ2"):
                flag = row["DRBZ"]
                visit_no, code, note = str(row["JYDJH"]), str(row["BZ3"]), str(row["BZ2"])
                marks[visit_no].append((int(flag) if isinstance(flag, Decimal) else 0, code, note))
        return marks

    def _results(self) -> dict[str, dict[str, Any]]:
        """Every row of MZJS, by visit."""
        return {
            str(row["JYDJH"]): row
            for path in sorted(self._folder.glob("MZJS????.DBF"))
            for row in dbf.read(path).rows()
        }


def _heard(arrival: Arrival, marks: Sequence[tuple[int, str, str]], results: Mapping[str, Mapping[str, Any]]) -> Told:
    claim = arrival.claim
    visit_no = claim.visit.visit_no
    flags = {flag for flag, _, _ in marks}
    result = results.get(visit_no)
    if FAILED in flags:
        codes = tuple(code for _, code, _ in marks)
        number = claim_no(visit_no, 1) if claim.is_registered else ""
        return Told(claim=claim, manner=arrival.manner, claim_no=number, state=ClaimState.RETURNED, codes=codes)
    if flags != {IMPORTED}:
        return Told(claim=claim, manner=arrival.manner)
    if result is None:
        note = marks[0][2]
        return Told(
            claim=claim, manner=arrival.manner, claim_no=claim_no(visit_no, 1), state=ClaimState.REFUSED, words=note
        )
    return Told(
        claim=claim,
        manner=arrival.manner,
        claim_no=claim_no(visit_no, int(result["FYPC"])),
        state=ClaimState.SETTLED,
        amounts={name: int(result[column] * 100) for name, column in AMOUNTS.items()},
    )


def mzdj_row(visit: Visit, at: datetime) -> dict[str, dbf.Value]:
    """A registration as the insurance client lays it out."""
    return {
        "JYDJH": visit.visit_no,
        "YYBH": visit.institution_code,
        "GMSFHM": visit.citizen_id_no,
        "XM": visit.person_name,
        "RYLB": visit.person_category,
        "ZYH": visit.outpatient_no,
        "JZLB": visit.visit_type.value,
        "RYRQ": visit.visit_date,
        "RYZD": visit.admission_diagnosis,
        "RYZDGJDM": visit.admission_diagnosis_code,
        "BQDM": visit.department_code,
        "BZ1": f"{at:%Y-%m-%d %H:%M:%S}",
        "DRBZ": 0,
    }


def mzxm_row(visit: Visit, line: ChargeLine) -> dict[str, dbf.Value]:
    """A charge line as a HIS writes it."""
    return {
        "JYDJH": visit.visit_no,
        "YYBH": visit.institution_code,
        "GMSFHM": visit.citizen_id_no,
        "ZYH": visit.outpatient_no,
        "RYRQ": visit.visit_date,
        "FYRQ": line.charge_date,
        "XMXH": line.line_no,
        "XMBH": line.local_item_code,
        "XMMC": line.local_item_name,
        "FLDM": line.charge_category,
        "YPGG": line.specification,
        "YPJX": line.dosage_form,
        "JG": _decimal(line.unit_price_1e4, 4),
        "MCYL": _decimal(line.quantity_1e2, 2),
        "JE": _decimal(line.line_amount_fen, 2),
        "DRBZ": 0,
        "YPLY": line.drug_origin,
    }


def _mzxm(claim: SampleClaim) -> list[dict[str, dbf.Value]]:
    rows = [mzxm_row(claim.visit, line) for line in claim.lines]
    rows[0] |= claim.forged or {}
    return rows


def _decimal(value: int | None, places: int) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(-places)


class ApiHospitals:
    """The cashiers of every institution with the API: each hands one claim in at a time and keeps at it."""

    def __init__(self, clients: Mapping[str, JiesuanClient], *, batch: str = "sample") -> None:
        """`batch` makes the keys of these claims others than those of another batch."""
        self._clients, self._batch = clients, batch
        self._cashiers = ThreadPoolExecutor(CASHIERS, "cashier")
        self._asked: list[Future[Told]] = []
        self._first: dict[int, Future[Told]] = {}
        self._stop = threading.Event()

    def hand_in(self, arrivals: Sequence[Arrival]) -> None:
        """Give each arrival to a cashier; a claim handed in twice at once goes to two."""
        for arrival in arrivals:
            number = arrival.claim.number
            for _ in range(2 if arrival.manner == "twice at once" else 1):
                before = None if arrival.manner in FIRST_MANNERS else self._first.get(number)
                asked = self._cashiers.submit(self._serve, arrival, before)
                self._first.setdefault(number, asked)
                self._asked.append(asked)

    def told(self) -> list[Told]:
        """What the API said of everything handed in; who did not wait asks again, once the claims are settled."""
        heard = [asked.result(timeout=PATIENCE_SECONDS) for asked in self._asked]
        return list(self._cashiers.map(self._once_more, heard))

    def told_in_the_end(self) -> list[Told]:
        """The same, asked again and again until every claim has its end, or patience is over."""
        until = time.monotonic() + PATIENCE_SECONDS
        heard = self.told()
        while any(one.claim_no and one.state not in FINAL for one in heard) and time.monotonic() < until:
            self._stop.wait(0.5)
            heard = list(self._cashiers.map(self._once_more, heard))
        return heard

    def close(self) -> None:
        """Send the cashiers home, whatever they are doing."""
        self._stop.set()
        self._cashiers.shutdown(cancel_futures=True)

    def _serve(self, arrival: Arrival, before: Future[Told] | None) -> Told:
        if before is not None:
            before.result()
        claim = arrival.claim
        document = claim_document(claim, altered=arrival.manner == "key reused")
        wait = WAIT_SECONDS if claim.number % 3 == 0 and arrival.manner != "twice at once" else 0
        client = self._clients[claim.institution.institution_code]
        while True:
            try:
                answer = client.submit(document, wait=wait, key=f"{self._batch}-{claim.number}")
                return _told(arrival.claim, arrival.manner, answer)
            except Refused as refused:
                return Told(claim=claim, manner=arrival.manner, problem=refused.code or str(refused.status))
            except TryLater:
                if self._stop.wait(0.5):
                    raise

    def _once_more(self, told: Told) -> Told:
        if not told.claim_no or told.state in FINAL:
            return told
        client = self._clients[told.claim.institution.institution_code]
        return _told(told.claim, told.manner, client.show(told.claim_no))


def _told(claim: SampleClaim, manner: str, answer: Mapping[str, Any]) -> Told:
    settlement = answer.get("settlement") or {}
    return Told(
        claim=claim,
        manner=manner,
        claim_no=answer["claim_no"],
        state=answer["state"],
        codes=tuple(verdict["code"] for verdict in answer.get("verdicts", ())),
        words=answer.get("refusal", {}).get("detail", ""),
        amounts={name: fen(settlement[name]) for name in AMOUNTS if name in settlement},
    )


def claim_document(claim: SampleClaim, *, altered: bool = False) -> dict[str, Any]:
    """The claim as the API takes it; `altered` is other content for the same visit."""
    visit = claim.visit
    document: dict[str, Any] = {
        "visit": {
            "citizen_id_no": visit.citizen_id_no,
            "visit_type": visit.visit_type.value,
            "visit_date": visit.visit_date.isoformat(),
            "person_name": visit.person_name,
            "person_category": visit.person_category,
            "outpatient_no": visit.outpatient_no,
            "admission_diagnosis": visit.admission_diagnosis,
            "admission_diagnosis_code": visit.admission_diagnosis_code,
            "department_code": visit.department_code,
        },
        "lines": [_line_document(line) for line in claim.lines],
    }
    if altered:
        document["visit"]["department_code"] = "099"
    return document


def _line_document(line: ChargeLine) -> dict[str, Any]:
    price, quantity, amount = line.unit_price_1e4, line.quantity_1e2, line.line_amount_fen
    return {
        "line_no": line.line_no,
        "charge_date": line.charge_date and line.charge_date.isoformat(),
        "local_item_code": line.local_item_code,
        "local_item_name": line.local_item_name,
        "charge_category": line.charge_category,
        "specification": line.specification,
        "dosage_form": line.dosage_form,
        "unit_price": None if price is None else unscaled(price, PRICE_SCALE),
        "quantity": None if quantity is None else unscaled(quantity, QUANTITY_SCALE),
        "line_amount": None if amount is None else yuan(amount),
        "drug_origin": line.drug_origin,
    }


def is_as_expected(told: Told) -> bool:
    """Whether a door told of a claim what the sample city meant to happen to it."""
    claim = told.claim
    if told.manner == "key reused":
        return told.problem == "idempotency-key-reused"
    if told.state != claim.outcome:
        return False
    if claim.outcome is ClaimState.RETURNED:
        return told.codes == claim.codes
    return all(code == PASSED for code in told.codes)
