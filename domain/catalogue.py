"""The catalogue (三大目录) and the match (目录对应) of an institution's item to it on a day: codes 06 to 10."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum
from types import MappingProxyType
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
    benefit_group: str = ""
    """The group that facts of a policy may name: a class of negotiated drugs, the consultation fee, ..."""
    level_limits: tuple[tuple[int, int], ...] = ()
    """(institution level, price limit in 1/10000 yuan): goes before `price_limit_1e4` where the level is listed."""
    group_ratios: tuple[tuple[str, int], ...] = ()
    """(person group, pre-self-pay ratio in 1/10000): goes before `pre_self_pay_ratio_1e4` for a person of the group."""


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
    local_item_name: str = ""
    local_dosage_form: str = ""
    local_specification: str = ""
    local_unit_price_1e4: int | None = None
    """The institution's usual price, where it gave one: a suggestion for the front desk, never a check."""


ANY_CATEGORY: frozenset[int | None] = frozenset({None, *range(1000)})
"""Every FLDM there is, and none at all."""


class Matched(NamedTuple):
    """What settling needs to know of a line's item on its day. `code` is 00, or the first of 06 to 10 that applies."""

    code: str
    centre_item_code: str = ""
    coverage_class: str = ""
    pre_self_pay_ratio_1e4: int = 0
    price_limit_1e4: int | None = None
    stat_category: str = ""
    benefit_group: str = ""
    categories: frozenset[int | None] = ANY_CATEGORY
    """The charge categories FLDM that agree with the item (AMB-39, AMB-40)."""
    group_ratios: tuple[tuple[str, int], ...] = ()
    """Of class B: (person group, ratio in 1/10000), which goes before the item's ratio (`LineRules.person_groups`)."""


KNOWN_CLASSES = frozenset(CoverageClass)
MAX_REMEMBERED = 200_000
"""Look-ups kept in memory: item codes and days come from outside, so there is no end to them."""

_NOTHING_YET: Mapping[str, Matched] = MappingProxyType({})

NO_MATCH = Matched("06")
SEVERAL_MATCHES = Matched("07")
INCOMPLETE_MATCH = Matched("08")
NO_MATCH_TYPE = Matched("09")
NO_STAT_CATEGORY = Matched("10")


class Catalogue:
    """One published version of the catalogue with the matches of the institutions it serves.

    `levels` are the institutions' levels (0 to 3), for items whose price limit depends on them.
    """

    def __init__(
        self,
        version: str,
        items: Iterable[CatalogueItem],
        matches: Iterable[Match],
        levels: Mapping[str, int] | None = None,
    ) -> None:
        self.version = version
        self._levels = levels or {}
        self._items: dict[tuple[str, str], list[CatalogueItem]] = {}
        for item in items:
            self._items.setdefault((item.match_type, item.item_code), []).append(item)
        self._matches: dict[tuple[str, str], list[Match]] = {}
        for match in matches:
            self._matches.setdefault((match.institution_code, match.local_item_code), []).append(match)
        self._known: dict[tuple[str, date], dict[str, Matched]] = {}
        self._remembered = 0

    def on(self, institution_code: str, local_item_code: str, day: date) -> Matched:
        """The institution's item as the catalogue has it on the day of the charge (INV-33, INV-34)."""
        matched = self.known(institution_code, day).get(local_item_code)
        if matched is None:
            if self._remembered >= MAX_REMEMBERED:
                self._known.clear()
                self._remembered = 0
            matched = self._look_up(institution_code, local_item_code, day)
            self._known.setdefault((institution_code, day), {})[local_item_code] = matched
            self._remembered += 1
        return matched

    def known(self, institution_code: str, day: date) -> Mapping[str, Matched]:
        """What `on` was asked for this institution and day, by item: for whoever asks for many items of one day.

        Who does not find an item in it asks `on`.
        """
        return self._known.get((institution_code, day), _NOTHING_YET)

    def items_on(self, day: date) -> list[CatalogueItem]:
        """The centre items valid on the day, by code."""
        valid = (i for rows in self._items.values() for i in rows if i.effective_date <= day <= i.expiry_date)
        return sorted(valid, key=lambda item: item.item_code)

    def matches_on(self, institution_code: str, day: date) -> list[Match]:
        """The institution's audited matches valid on the day, by its own item code."""
        valid = (
            match
            for (code, _), rows in self._matches.items()
            if code == institution_code
            for match in rows
            if match.audited and match.effective_date <= day <= match.expiry_date
        )
        return sorted(valid, key=lambda match: match.local_item_code)

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
            item.pre_self_pay_ratio_1e4 or 0 if match.coverage_class == CoverageClass.B else 0,
            self._limit(item, institution_code),
            item.stat_category,
            item.benefit_group,
            agreeing(item.stat_category, match.match_type),
            item.group_ratios if match.coverage_class == CoverageClass.B else (),
        )

    def _limit(self, item: CatalogueItem, institution_code: str) -> int | None:
        if not item.level_limits:
            return item.price_limit_1e4
        return dict(item.level_limits).get(self._levels.get(institution_code, -1), item.price_limit_1e4)


CHINESE_MEDICINE, PATENT_MEDICINE, HERBS = 3, 4, 5
_DRUGS = {"2": PATENT_MEDICINE, "3": HERBS}
"""The charge category of each match type that 3 中药费 may stand for (AMB-40)."""


def agreeing(stat_category: str, match_type: str) -> frozenset[int | None]:
    """The charge categories that say the same as the centre's: its own number, and 3 for 4 or 5 and the other way.

    Many products send 0 where their item has none: that says nothing, as does a category of the centre that is no
    number.
    """
    if not (stat_category.isascii() and stat_category.isdigit()):
        return ANY_CATEGORY
    own = int(stat_category)
    drug = _DRUGS.get(match_type)
    if own == CHINESE_MEDICINE and drug is not None:
        return frozenset({None, 0, own, drug})
    if own in (PATENT_MEDICINE, HERBS):
        return frozenset({None, 0, own, CHINESE_MEDICINE})
    return frozenset({None, 0, own})
