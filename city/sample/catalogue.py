"""The sample city's catalogue: drugs, treatments, examinations and materials, with the classes of a real one."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from domain.catalogue import CatalogueItem
from domain.money import PRICE_SCALE, RATIO_SCALE, scaled

TREATMENT = "0"


@dataclass(frozen=True, slots=True)
class SampleItem:
    """One centre item with what a hospital needs to charge it: pack, form, usual price in ten-thousandths of a yuan."""

    item: CatalogueItem
    specification: str
    dosage_form: str
    unit_price_1e4: int

    @property
    def is_drug(self) -> bool:
        """A medicine of any of the three kinds."""
        return self.item.match_type != TREATMENT

    @property
    def is_herb(self) -> bool:
        """Sold by the gram."""
        return self.specification == "克"

    @property
    def is_consultation(self) -> bool:
        """诊查费: one to a visit."""
        return self.item.stat_category == "18"


NO_STAT_CATEGORY = CatalogueItem("T9001", "新增诊疗项目（统计类别待定）", TREATMENT, "1", "", None)
"""The one item of the catalogue the centre has not finished: a match that points to it gives code 10."""


@cache
def sample_items() -> tuple[SampleItem, ...]:
    """Every item of the catalogue that can be charged."""
    with files("city.sample").joinpath("catalogue.csv").open(encoding="utf-8") as source:
        return tuple(_item(row) for row in csv.DictReader(source))


def _item(row: dict[str, str]) -> SampleItem:
    ratio, limit = row["pre_self_pay_ratio"], row["price_limit"]
    return SampleItem(
        CatalogueItem(
            row["item_code"],
            row["item_name"],
            row["match_type"],
            row["coverage_class"],
            row["stat_category"],
            scaled(ratio, RATIO_SCALE) if ratio else None,
            scaled(limit, PRICE_SCALE) if limit else None,
        ),
        row["specification"],
        row["dosage_form"],
        scaled(row["unit_price"], PRICE_SCALE),
    )
