"""The catalogue (三大目录) and the match (目录对应) of an institution's item to it on a day: codes 06 to 10."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import NamedTuple

OPEN_END = date(9999, 12, 31)


class CoverageClass(StrEnum):
    """甲乙标志 STAPLE_FLAG."""

    A = "1"
    B = "2"
    OWN_EXPENSE = "9"


class CatalogueItem(NamedTuple):
    """A centre item: a row of VIEW_MEDI (match types 1 to 3) or VIEW_ITEM (0), valid from the first to the last day."""

    item_code: str
    item_name: str
    match_type: str
    coverage_class: str
    stat_category: str
    pre_self_pay_ratio_1e4: int | None
    price_limit_1e4: int | None = None
    effective_date: date = date.min
    expiry_date: date = OPEN_END


class Match(NamedTuple):
    """A row of VIEW_MATCH: which centre item an institution's own item is (AMB-27 gives it days of its own)."""

    institution_code: str
    local_item_code: str
    match_type: str
    centre_item_code: str
    centre_item_name: str
    coverage_class: str
    audited: bool
    effective_date: date = date.min
    expiry_date: date = OPEN_END


class Matched(NamedTuple):
    """What settling needs to know of a line's item on its day. `code` is 00, or the first of 06 to 10 that applies."""

    code: str
    centre_item_code: str = ""
    coverage_class: str = ""
    pre_self_pay_ratio_1e4: int = 0
    price_limit_1e4: int | None = None
    stat_category: str = ""


KNOWN_CLASSES = frozenset(CoverageClass)
MAX_REMEMBERED = 200_000
"""Look-ups kept in memory: item codes and days come from outside, so there is no end to them."""

NO_MATCH = Matched("06")
SEVERAL_MATCHES = Matched("07")
INCOMPLETE_MATCH = Matched("08")
NO_MATCH_TYPE = Matched("09")
NO_STAT_CATEGORY = Matched("10")


class Catalogue:
    """One published version of the catalogue with the matches of the institutions it serves."""

    def __init__(self, version: str, items: Iterable[CatalogueItem], matches: Iterable[Match]) -> None:
        self.version = version
        self._items: dict[tuple[str, str], list[CatalogueItem]] = {}
        for item in items:
            self._items.setdefault((item.match_type, item.item_code), []).append(item)
        self._matches: dict[tuple[str, str], list[Match]] = {}
        for match in matches:
            self._matches.setdefault((match.institution_code, match.local_item_code), []).append(match)
        self._known: dict[tuple[str, str, date], Matched] = {}

    def on(self, institution_code: str, local_item_code: str, day: date) -> Matched:
        """The institution's item as the catalogue has it on the day of the charge (INV-33, INV-34)."""
        key = (institution_code, local_item_code, day)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._look_up(*key)
        return known

    def items_on(self, day: date) -> list[CatalogueItem]:
        """The centre items valid on the day, by code."""
        valid = (i for rows in self._items.values() for i in rows if i.effective_date <= day <= i.expiry_date)
        return sorted(valid, key=lambda item: item.item_code)

    def _look_up(self, institution_code: str, local_item_code: str, day: date) -> Matched:
        audited = [
            match
            for match in self._matches.get((institution_code, local_item_code), ())
            if match.audited and match.effective_date <= day <= match.expiry_date
        ]
        if len(audited) != 1:
            return SEVERAL_MATCHES if audited else NO_MATCH
        match = audited[0]
        if not match.centre_item_code or match.coverage_class not in KNOWN_CLASSES:
            return INCOMPLETE_MATCH
        if not match.match_type:
            return NO_MATCH_TYPE
        item = next(
            (
                item
                for item in self._items.get((match.match_type, match.centre_item_code), ())
                if item.effective_date <= day <= item.expiry_date
            ),
            None,
        )
        if item is None or (match.coverage_class == CoverageClass.B and item.pre_self_pay_ratio_1e4 is None):
            return INCOMPLETE_MATCH
        if not item.stat_category:
            return NO_STAT_CATEGORY
        return Matched(
            "00",
            item.item_code,
            match.coverage_class,
            (item.pre_self_pay_ratio_1e4 or 0) if match.coverage_class == CoverageClass.B else 0,
            item.price_limit_1e4,
            item.stat_category,
        )
