"""A hospital on exchange files: its HIS, its insurance client, its front-end, and the centre played by the test."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from domain.identity import synthetic_citizen_id
from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals
from domain.visit import Discharge, Registration, VisitType
from infra.clock import SHANGHAI
from infra.codec import unpack
from producers.his import dbf, watcher
from producers.his.door import Door
from producers.his.fields import layout
from tests.support.frontend import HOSPITAL, PERSON, new_frontend, shelf
from workers import visits
from workers.deliver import record_answers
from workers.desk import preprocess
from workers.tables import claim, institution

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 2, 9, 30, 5, tzinfo=SHANGHAI)
LATER = AT + timedelta(minutes=5)
TIME, LATER_TIME = "2026-03-02 09:30:05", "2026-03-02 09:35:05"


class Ward:
    """A hospital with its HIS and its insurance client, its front-end, and the centre played by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "exchange" / HOSPITAL
        self.folder.mkdir(parents=True)
        self.url = f"sqlite:///{folder / 'frontend.db'}"
        self.engine = new_frontend(self.url, HOSPITAL)
        self.shelf = shelf()
        self.at = AT
        self.restart()

    def restart(self) -> None:
        """The watcher's process ends, and another one begins with nothing in its memory."""
        self.door = Door(self.folder, HOSPITAL)

    def set(self, **settings: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(institution).values(**settings))
            row = connection.execute(select(institution)).one()
        self.door.follow(row.outpatient_flow, settles_at_once=row.settles_at_once, short_code=row.short_code)

    # The insurance client

    def registers(self, visit_type: VisitType = VisitType.INPATIENT, **change: Any) -> str:
        asked = Registration(
            visit_no="", institution_code=HOSPITAL, citizen_id_no=PERSON, visit_type=visit_type, visit_date=DAY,
            person_name="测试人", admission_diagnosis="肺炎", bed_no="12",
        )  # fmt: skip
        [done] = visits.register(self.engine, [replace(asked, **change)], at=self.at - timedelta(minutes=1))
        assert isinstance(done, visits.Registered)
        return done.visit_no

    def registers_many(self, count: int, visit_type: VisitType, *, first: int) -> list[str]:
        """So many visits of as many people."""
        asked = [
            Registration(
                visit_no="", institution_code=HOSPITAL, citizen_id_no=synthetic_citizen_id(first + number),
                visit_type=visit_type, visit_date=DAY, person_name="测试人",
            )
            for number in range(count)
        ]  # fmt: skip
        done = visits.register(self.engine, asked, at=self.at - timedelta(minutes=1))
        return [each.visit_no for each in done if isinstance(each, visits.Registered)]

    def settles(self, visit_no: str, *, final: bool = True):
        return visits.settle_visit(self.engine, HOSPITAL, visit_no, final=final, at=self.at)

    def discharges(self, visit_no: str):
        leaving = Discharge(visit_no=visit_no, discharge_date=DAY, discharge_diagnosis_1="肺炎", discharge_outcome="1")
        return visits.discharge(self.engine, HOSPITAL, leaving, at=self.at)

    # The HIS

    def delivers(self, visit_no: str, *numbers: int, name="CFXM0302.DBF", **change) -> None:
        row = {
            "JYDJH": visit_no, "YYBH": HOSPITAL, "GMSFHM": PERSON, "RYRQ": DAY, "FYRQ": DAY, "XMBH": "L001",
            "XMMC": "阿莫西林胶囊", "FLDM": 1, "JG": Decimal("12.50"), "MCYL": Decimal(2), "JE": Decimal("25.00"),
            "DRBZ": 0,
        }  # fmt: skip
        rows = [{**row, "XMXH": number, **change} for number in numbers]
        dbf.append(self.folder / name, layout(name[:4]), rows, day=DAY)

    def corrects(self, record: int, name="CFXM0302.DBF", **columns: bytes) -> None:
        path = self.folder / name
        header, content = dbf.read(path).header, bytearray(path.read_bytes())
        for code, value in columns.items():
            field = next(field for field in header.fields if field.code == code)
            at = header.record_at(record) + header.offset(code)
            content[at : at + field.width] = value.rjust(field.width)
        path.write_bytes(content)

    def marks(self, name="CFXM0302.DBF") -> list[tuple[str, str, int]]:
        """BZ1, BZ3 and DRBZ of every line."""
        table = dbf.read(self.folder / name)
        return [(row["BZ1"], row["BZ3"], int(row["DRBZ"])) for row in table.rows("BZ1", "BZ3", "DRBZ")]

    def reads(self, name: str, *flags: int) -> list[dict]:
        """The HIS reads a file of ours and writes its flags."""
        path = self.folder / name
        if not path.exists():
            return []
        table = dbf.read(path)
        if flags:
            dbf.update_in_place(path, {n: {"DRBZ": flag} for n, flag in enumerate(flags, 1)}, as_read=table)
        return list(table.rows())

    # The front-end and the centre

    def looks(self) -> None:
        watcher.look(self.engine, self.door, at=self.at, shelf=self.shelf)

    def hands_out(self) -> int:
        return watcher.hand_out(self.engine, self.door, at=self.at)

    def center_answers(self) -> None:
        preprocess(self.engine, self.shelf, HOSPITAL, limit=1000, at=self.at, now=0.0)
        with self.engine.begin() as connection:
            waiting = connection.execute(select(claim.c.totals).where(claim.c.state == ClaimState.TOTALLED)).scalars()
            totals = [unpack(packed, ClaimTotals) for packed in waiting]
            answers = tuple(_answer(each, self.at) for each in totals)
            record_answers(connection, ClaimsAnswered(answers=answers), at=self.at)

    def batches(self) -> list[tuple[str, int, str, int]]:
        with self.engine.connect() as connection:
            rows = connection.execute(
                select(claim.c.visit_no, claim.c.charge_batch_no, claim.c.state, claim.c.line_count).order_by(
                    claim.c.claim_id
                )
            )
            return [tuple(row) for row in rows]


def _answer(totals: ClaimTotals, at: datetime) -> ClaimAnswer:
    return ClaimAnswer(
        totals.visit_no,
        totals.charge_batch_no,
        settlement_no=1,
        fund_pay_fen=totals.in_scope_fen * 8 // 10,
        self_pay_fen=totals.in_scope_fen - totals.in_scope_fen * 8 // 10,
        settled_at=at,
    )
