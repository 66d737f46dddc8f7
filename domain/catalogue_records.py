"""Catalogue and match as the centre maintains them: every column of VIEW_MEDI, VIEW_ITEM and VIEW_MATCH, with dates.

`domain.catalogue` has the part of it that settling needs; here is the whole record, and what the views show of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import zip_longest
from typing import NamedTuple

from domain.catalogue import OPEN_END, CatalogueItem, CoverageClass, Match
from domain.money import RATIO_SCALE, half_up

SERVICE = "0"
DRUG_TYPES = {"1": "西药", "2": "中成药", "3": "中草药"}
MATCH_TYPES = {**DRUG_TYPES, SERVICE: "诊疗项目/医疗服务设施"}
COVERAGE_CLASSES = {
    CoverageClass.A.value: "甲类",
    CoverageClass.B.value: "乙类",
    CoverageClass.OWN_EXPENSE.value: "全自费",
}
YES, NO = "1", "0"
"""Values of the catalogue's flags (AMB-34)."""

MAX_LOCAL_CODE_BYTES, MAX_INSTITUTION_BYTES = 15, 18
"""A longer HOSP_CODE or HOSPITAL_ID could never be charged: XMBH has 15 bytes, YYBH 18 (AMB-15)."""

ONE_DAY = timedelta(days=1)


class ItemRecord(NamedTuple):
    """One centre item over one period. The first twelve fields are those of `CatalogueItem`, in its order."""

    item_code: str
    item_name: str
    match_type: str
    coverage_class: str
    stat_category: str
    pre_self_pay_ratio_1e4: int | None
    price_limit_1e4: int | None
    effective_date: date
    expiry_date: date
    benefit_group: str = ""
    level_limits: tuple[tuple[int, int], ...] = ()
    group_ratios: tuple[tuple[str, int], ...] = ()
    catalogue_class_code: str = ""
    drug_name_en: str = ""
    wubi_code: str = ""
    pinyin_code: str = ""
    dosage_form: str = ""
    standard_unit: str = ""
    item_serial_no: int | None = None
    prescription_flag: str = NO
    medical_catalogue_flag: str = YES
    work_injury_catalogue_flag: str = NO
    maternity_catalogue_flag: str = NO
    valid_flag: str = YES
    child_catalogue_flag: str = NO
    resident_outpatient_flag: str = NO
    employee_outpatient_flag: str = NO

    @property
    def key(self) -> tuple[str, str]:
        """What a match points to."""
        return self.match_type, self.item_code

    @property
    def item(self) -> CatalogueItem:
        """The part that settling needs."""
        return CatalogueItem._make(self[:12])


def record_of(item: CatalogueItem, *, dosage_form: str = "") -> ItemRecord:
    """The record of an item of which only the part is known that settling needs."""
    return ItemRecord(*item, dosage_form=dosage_form)


def settled_with(records: Iterable[ItemRecord]) -> tuple[CatalogueItem, ...]:
    """The items that lines are settled with: the records whose VALID_FLAG says so."""
    return tuple(record.item for record in records if record.valid_flag == YES)


def classed(match: Match, items: Sequence[ItemRecord]) -> Iterator[Match]:
    """The match with the coverage class of its centre item, as several matches where that class changes on a day.

    `items` are the records of its centre item by effective date. A match that names a class of its own keeps it, and
    so does one whose item is not there: it is incomplete (08) and stays so.
    """
    if match.coverage_class or not items:
        yield match
        return
    starts = match.effective_date
    for item, following in zip_longest(items, items[1:]):
        if following is not None and following.coverage_class == item.coverage_class:
            continue
        ends = match.expiry_date if following is None else min(match.expiry_date, following.effective_date - ONE_DAY)
        if starts <= ends:
            yield match._replace(coverage_class=item.coverage_class, effective_date=starts, expiry_date=ends)
        if following is not None:
            starts = max(starts, following.effective_date)


def in_gb18030(text: str, width: int) -> str:
    """As much of the text as fits into so many bytes of GB18030, never half a character."""
    encoded = text.encode("gb18030", errors="replace")
    return text if len(encoded) <= width else encoded[:width].decode("gb18030", errors="ignore")


# ── Views ─────────────────────────────────────────────────────────────────────────────────────────────────

ViewRow = dict[str, object]
"""One row of a view under the column codes of the specification, every column, in their printed order."""


def medi_row(record: ItemRecord) -> ViewRow:
    """The row of VIEW_MEDI (2.2.4.1)."""
    return {
        "MEDI_ITEM_TYPE": record.match_type,
        "CLASS_CODE": record.catalogue_class_code,
        "STAT_TYPE": record.stat_category,
        "MEDI_CODE": record.item_code,
        "MEDI_NAME": in_gb18030(record.item_name, 50),
        "ENGLISH_NAME": in_gb18030(record.drug_name_en, 50),
        "CODE_WB": record.wubi_code,
        "CODE_PY": record.pinyin_code,
        "MODEL": in_gb18030(record.dosage_form, 30),
        "STAPLE_FLAG": record.coverage_class,
        "OTC": record.prescription_flag,
        "MT_FLAG": record.medical_catalogue_flag,
        "WL_FLAG": record.work_injury_catalogue_flag,
        "BO_FLAG": record.maternity_catalogue_flag,
        "VALID_FLAG": record.valid_flag,
        "EFFECT_DATE": _first_day(record),
        "EXPIRE_DATE": _last_day(record),
        "SELF_SCALE": self_scale(record),
        "CHILD_FLAG": record.child_catalogue_flag,
        "DIAGNOSE_FLAG": record.resident_outpatient_flag,
        "PATIENT_FLAG": record.employee_outpatient_flag,
    }


def item_row(record: ItemRecord) -> ViewRow:
    """The row of VIEW_ITEM (2.2.4.2)."""
    return {
        "SERIAL_ITEM": record.item_serial_no,
        "STAT_TYPE": record.stat_category,
        "ITEM_CODE": record.item_code,
        "ITEM_NAME": in_gb18030(record.item_name, 50),
        "UNIT": in_gb18030(record.standard_unit, 20),
        "MT_FLAG": record.medical_catalogue_flag,
        "STAPLE_FLAG": record.coverage_class,
        "WL_FLAG": record.work_injury_catalogue_flag,
        "BO_FLAG": record.maternity_catalogue_flag,
        "VALID_FLAG": record.valid_flag,
        "EFFECT_DATE": _first_day(record),
        "EXPIRE_DATE": _last_day(record),
        "SELF_SCALE": self_scale(record),
        "CHILD_FLAG": record.child_catalogue_flag,
        "DIAGNOSE_FLAG": record.resident_outpatient_flag,
        "PATIENT_FLAG": record.employee_outpatient_flag,
    }


def match_row(match: Match, item: ItemRecord | None) -> ViewRow:
    """The row of VIEW_MATCH (2.2.4.3). `item` is the centre item it points to, where there is one."""
    return {
        "MATCH_TYPE": match.match_type,
        "ITEM_CODE": match.centre_item_code,
        "ITEM_NAME": in_gb18030(match.centre_item_name or (item.item_name if item else ""), 50),
        "MODEL": in_gb18030(item.dosage_form if item else "", 20),
        "HOSPITAL_ID": match.institution_code,
        "HOSP_CODE": match.local_item_code,
        "HOSP_NAME": in_gb18030(match.local_item_name or match.centre_item_name, 60),
        "HOSP_MODEL": in_gb18030(match.local_dosage_form, 20),
        "HOSP_STANDARD": in_gb18030(match.local_specification, 30),
        "STAPLE_FLAG": match.coverage_class,
        "AUDIT_FLAG": YES if match.audited else NO,
    }


def self_scale(record: ItemRecord) -> str:
    """SELF_SCALE, a decimal with two places and never null: deployed products read it without looking (AMB-34).

    Class A is 0.00 and own expense 1.00; a class B item without a ratio is incomplete (08) and shows 1.00.
    """
    if record.coverage_class == CoverageClass.A:
        ratio: int | None = 0
    elif record.coverage_class == CoverageClass.B:
        ratio = record.pre_self_pay_ratio_1e4
    else:
        ratio = RATIO_SCALE
    hundredths = half_up(RATIO_SCALE if ratio is None else ratio, 100)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _first_day(record: ItemRecord) -> date | None:
    return None if record.effective_date == date.min else record.effective_date


def _last_day(record: ItemRecord) -> date | None:
    return None if record.expiry_date == OPEN_END else record.expiry_date
