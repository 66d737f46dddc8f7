"""The claims that are measured: a city's catalogue, its persons, and claims of so many good lines for each door."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from city.hospitals import mzdj_row, mzxm_row
from domain.catalogue import CatalogueItem, Match
from domain.identity import synthetic_citizen_id
from domain.money import PRICE_SCALE, QUANTITY_SCALE, RATIO_SCALE, amount_of, scaled, unscaled, yuan
from domain.visit import ChargeLine, Visit, VisitType
from infra.clock import SHANGHAI
from infra.reference import CataloguePublished
from producers.his import dbf
from producers.his.fields import layout

ROOT = Path(__file__).parents[2]
POLICY = (ROOT / "policies" / "nanchang_2025.toml").read_text(encoding="utf-8")

HOSPITAL = "360100000001"
SHORT_CODE = "H00001"
PERSONS = 50_000
LINES = 20
STARTS_AT = datetime(2026, 3, 2, 9, 0, tzinfo=SHANGHAI)
DAY = STARTS_AT.date()


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the hospital's own price list, and the centre item it stands for."""

    code: str
    name: str
    specification: str
    dosage_form: str
    category: int
    unit_price_1e4: int
    centre: CatalogueItem


@dataclass(frozen=True, slots=True)
class Claim:
    """One outpatient claim before it goes through a door."""

    visit: Visit
    lines: list[ChargeLine]


def items() -> list[Item]:
    """The hospital's price list: every item of the sample catalogue."""
    with (ROOT / "city" / "sample" / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        return [_item(row) for row in csv.DictReader(file)]


def published(listed: Sequence[Item]) -> CataloguePublished:
    """The catalogue with the hospital's matches."""
    matches = tuple(
        Match(
            HOSPITAL,
            item.code,
            item.centre.match_type,
            item.centre.item_code,
            item.centre.item_name,
            item.centre.coverage_class,
            True,
        )
        for item in listed
    )
    return CataloguePublished(version="bench-1", items=tuple(item.centre for item in listed), matches=matches)


def claims(count: int, *, lines: int = LINES, seed: int = 1, first: int = 0) -> Iterator[Claim]:
    """Outpatient claims, each of other items and of a person drawn from all; `first` sets their visit numbers apart."""
    chance = random.Random(seed)
    listed = items()
    persons = [synthetic_citizen_id(serial) for serial in range(PERSONS)]
    for serial in range(first, first + count):
        visit = Visit(
            visit_no=f"{SHORT_CODE}{DAY + timedelta(days=serial >> 16):%y%m%d}{serial & 0xFFFF:04X}",
            institution_code=HOSPITAL,
            citizen_id_no=chance.choice(persons),
            visit_type=VisitType.OUTPATIENT,
            visit_date=DAY,
            person_name="测试人",
            person_category="1",
            outpatient_no=f"M{serial:09d}",
            admission_diagnosis="急性上呼吸道感染",
            admission_diagnosis_code="J06.900",
            department_code="0301",
        )
        yield Claim(visit, [_line(number, item, chance) for number, item in enumerate(chance.sample(listed, lines), 1)])


def as_json(claim: Claim) -> bytes:
    """The claim as the API takes it; the visit number is left to the front-end."""
    visit = claim.visit
    document = {
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
        "lines": [_line_as_json(line) for line in claim.lines],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def write_registrations(path: Path, handed_in: Sequence[Claim], day: date) -> None:
    """The MZDJ file of these claims."""
    at = datetime.combine(day, time(8), SHANGHAI)
    dbf.write(path, layout("MZDJ"), [mzdj_row(claim.visit, at) for claim in handed_in], day=day)


def write_lines(path: Path, handed_in: Sequence[Claim], day: date) -> None:
    """The MZXM file of these claims."""
    dbf.write(
        path, layout("MZXM"), [mzxm_row(claim.visit, line) for claim in handed_in for line in claim.lines], day=day
    )


def _item(row: dict[str, str]) -> Item:
    ratio, limit = row["pre_self_pay_ratio"], row["price_limit"]
    return Item(
        f"H{row['item_code']}",
        row["item_name"],
        row["specification"],
        row["dosage_form"],
        int(row["stat_category"]),
        scaled(row["unit_price"], PRICE_SCALE),
        CatalogueItem(
            row["item_code"],
            row["item_name"],
            row["match_type"],
            row["coverage_class"],
            row["stat_category"],
            scaled(ratio, RATIO_SCALE) if ratio else None,
            scaled(limit, PRICE_SCALE) if limit else None,
        ),
    )


def _line(number: int, item: Item, chance: random.Random) -> ChargeLine:
    quantity = chance.choice((1, 1, 1, 2, 3, 6)) * QUANTITY_SCALE
    return ChargeLine(
        number,
        DAY,
        item.code,
        item.name,
        item.category,
        item.specification,
        item.dosage_form,
        item.unit_price_1e4,
        quantity,
        amount_of(item.unit_price_1e4, quantity),
        "1",
    )


def _line_as_json(line: ChargeLine) -> dict[str, Any]:
    assert line.charge_date and line.unit_price_1e4 and line.quantity_1e2 and line.line_amount_fen
    return {
        "line_no": line.line_no,
        "charge_date": line.charge_date.isoformat(),
        "local_item_code": line.local_item_code,
        "local_item_name": line.local_item_name,
        "charge_category": line.charge_category,
        "specification": line.specification,
        "dosage_form": line.dosage_form,
        "unit_price": unscaled(line.unit_price_1e4, PRICE_SCALE),
        "quantity": unscaled(line.quantity_1e2, QUANTITY_SCALE),
        "line_amount": yuan(line.line_amount_fen),
        "drug_origin": line.drug_origin,
    }
