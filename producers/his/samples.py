"""One small sample of every exchange file: a stay of four days and an outpatient visit, of people who do not exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

from domain.identity import synthetic_citizen_id
from producers.his import dbf
from producers.his.fields import FILES, layout
from producers.his.records import row_of

ADMITTED, ENDED = date(2026, 3, 2), date(2026, 3, 5)
INSTITUTION = "990100001"
STAY = {"visit_no": "9901012603020001", "institution_code": INSTITUTION, "citizen_id_no": synthetic_citizen_id(1)}
OUTPATIENT = {"visit_no": "9901012603020002", "institution_code": INSTITUTION, "citizen_id_no": synthetic_citizen_id(2)}

Values = Mapping[str, dbf.Value]


def write_samples(folder: Path) -> list[Path]:
    """Write the seven files into a folder; those that are there already are put in their place."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in FILES:
        records = list(RECORDS[kind])
        day = max(value for record in records for value in record.values() if isinstance(value, date))
        path = folder / f"{kind}{day:%m%d}.DBF"
        path.unlink(missing_ok=True)
        dbf.write(path, layout(kind), [row_of(layout(kind), record) for record in records], day=day)
        written.append(path)
    return written


def _registered(visit: Values, **more: dbf.Value) -> Values:
    return {**visit, "visit_date": ADMITTED, "remark1": f"{ADMITTED} 09:12:40", "read_flag": 0, **more}


def _lines(visit: Values, *given: tuple[date, str, str, int, str, int]) -> Iterator[Values]:
    """Lines as a HIS writes them: (day, code, name, category, price, quantity)."""
    for number, (day, code, name, category, price, quantity) in enumerate(given, 1):
        yield {
            **visit,
            "visit_date": ADMITTED,
            "charge_date": day,
            "line_no": number,
            "local_item_code": code,
            "local_item_name": name,
            "charge_category": category,
            "unit_price": Decimal(price),
            "quantity": Decimal(quantity),
            "line_amount": Decimal(price) * quantity,
            "read_flag": 0,
        }


def _result(visit: Values, day: date, **amounts: str | None) -> Values:
    said = {f"{name}_amount": None if amount is None else Decimal(amount) for name, amount in amounts.items()}
    written: dict[str, dbf.Value] = {
        "charge_batch_no": 1,
        "settlement_date": day,
        "remark1": f"{day} 10:20:31",
        "read_flag": 0,
    }
    return {**visit, "visit_date": ADMITTED, **written, **said}


_FIRST, _SECOND = date(2026, 3, 3), date(2026, 3, 4)
RECORDS: dict[str, tuple[Values, ...]] = {
    "RYDJ": (
        _registered(
            STAY, person_name="示例甲", employer_name="示例单位", sex="1", birth_date=date(1960, 1, 1),
            person_category="1", inpatient_no="2603020001", visit_type="1", admission_diagnosis="社区获得性肺炎",
            admission_diagnosis_code="J15.902", department_code="0301", bed_no="12",
        ),
    ),
    "CFXM": tuple(
        _lines(
            STAY,
            (_FIRST, "F0001", "普通病房床位费", 1, "50.00", 3),
            (_FIRST, "Y0203", "头孢呋辛注射液", 2, "35.50", 7),
            (_FIRST, "H0107", "血细胞分析", 10, "25.00", 1),
            (_SECOND, "Y0203", "头孢呋辛注射液", 2, "35.50", -1),
        )
    ),
    "FYJS": (
        _result(
            STAY, ENDED, total="388.00", fund_pay="150.03", account_pay="0.00", pre_self_pay="21.30",
            deductible="200.00", own_pay="21.30", self_pay="216.67", person_share="237.97", over_cap="0.00",
            institution_share="0.00",
        ),
    ),
    "CYDJ": (
        {
            **STAY, "visit_date": ADMITTED, "inpatient_no": "2603020001", "discharge_date": ENDED,
            "discharge_diagnosis_1": "社区获得性肺炎", "discharge_diagnosis_code_1": "J15.902",
            "discharge_outcome": "1", "remark1": f"{ENDED} 10:31:02", "read_flag": 0,
        },
    ),
    "MZDJ": (
        _registered(
            OUTPATIENT, person_name="示例乙", sex="2", birth_date=date(1985, 6, 1), person_category="1",
            visit_type="3", admission_diagnosis="急性咽炎", admission_diagnosis_code="J02.900", department_code="0101",
        ),
    ),
    "MZXM": tuple(
        _lines(
            OUTPATIENT,
            (ADMITTED, "Z0001", "普通门诊诊查费", 18, "10.00", 1),
            (ADMITTED, "Y0101", "阿莫西林胶囊", 2, "12.50", 2),
        )
    ),
    "MZJS": (
        _result(
            OUTPATIENT, ADMITTED, total="35.00", fund_pay="17.50", account_pay="17.50", pre_self_pay="0.00",
            deductible="0.00", own_pay="0.00", self_pay="17.50", person_share="17.50", over_cap=None,
            institution_share="0.00",
        ),
    ),
}  # fmt: skip
