"""The institutions of the sample city: how large each is, what it stocks, what it calls its items, how they match."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from random import Random

from city.sample.catalogue import NO_STAT_CATEGORY, SampleItem, sample_items
from domain.catalogue import Match
from domain.institution_class import CLASSES, Size
from domain.money import PRICE_SCALE

HOSPITAL_A, HOSPITAL_B, SHARED = "hospital", "hospital-b", "shared"
FRONTENDS = (HOSPITAL_A, HOSPITAL_B, SHARED)

VERY_LARGE, LARGE, MEDIUM, SMALL = Size.EXTRA_LARGE, Size.LARGE, Size.MEDIUM, Size.SMALL
_SHARE = {size: class_.business_percent for size, class_ in CLASSES.items()}
BUSINESS_SHARE = {VERY_LARGE: _SHARE[VERY_LARGE], LARGE: _SHARE[LARGE], SMALL: _SHARE[MEDIUM] + _SHARE[SMALL]}
"""Percent of the business by class of institution (section 3.1 of the specification); nobody here is medium."""

BACKLOG_CAP = {VERY_LARGE: 20_000, LARGE: 20_000, MEDIUM: 2_000, SMALL: 400}
MEAN_FEN = {VERY_LARGE: 34_270, LARGE: 34_270, MEDIUM: 34_270, SMALL: 8_280}
"""Mean cost of a visit: 342.70 yuan nationally in 2022; 82.80 at a community centre in 2010."""
WORDS_ZH = {VERY_LARGE: "特大型医院", LARGE: "大型医院", MEDIUM: "中型医院", SMALL: "诊所和药店"}

STREETS = ("荷花", "北苑", "临江", "南塘", "文昌", "东湖", "西关", "石榴", "桂城", "花港", "松柏", "望江")
FAIR_DAY = date(2025, 1, 1)
"""Matches hold from here; those that ran out did so the day before."""


@dataclass(frozen=True, slots=True)
class StockItem:
    """An item as its institution knows it: own code, own name, own price in ten-thousandths of a yuan."""

    local_item_code: str
    local_item_name: str
    unit_price_1e4: int
    of: SampleItem


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleInstitution:
    """One institution. `defective` has a local item for each way a match can be wrong, by the code it gives."""

    institution_code: str
    short_code: str
    name: str
    kind: str
    size: Size
    level: int
    frontend: str
    door: str
    mean_fen: int
    stock: tuple[StockItem, ...] = ()
    defective: tuple[tuple[str, StockItem], ...] = ()
    matches: tuple[Match, ...] = ()

    @property
    def is_pharmacy(self) -> bool:
        """Sells, but treats nobody."""
        return self.kind == "pharmacy"


def sample_institutions(chance: Random) -> list[SampleInstitution]:
    """The two hospitals, then twelve clinics and twelve pharmacies."""
    bare = [
        _institution(1, "示例市第一人民医院", "hospital", size=VERY_LARGE, level=3, frontend=HOSPITAL_A),
        _institution(2, "示例市中医院", "hospital", size=LARGE, level=3, frontend=HOSPITAL_B),
    ]
    for number, street in enumerate(STREETS):
        clinic = f"{street}社区卫生服务站" if number % 2 else f"{street}门诊部"
        bare.append(_institution(11 + number, clinic, "clinic", size=SMALL, level=number % 2, frontend=SHARED))
        pharmacy = f"康民大药房{street}店"
        bare.append(_institution(31 + number, pharmacy, "pharmacy", size=SMALL, level=0, frontend=SHARED))
    return [stocked(chance, institution) for institution in bare]


def _institution(number: int, name: str, kind: str, *, size: Size, level: int, frontend: str) -> SampleInstitution:
    return SampleInstitution(
        institution_code=f"9901{number:05d}",
        short_code=f"{kind[0].upper()}{number:05d}",
        name=name,
        kind=kind,
        size=size,
        level=level,
        frontend=frontend,
        door="dbf" if frontend == HOSPITAL_A else "api",
        mean_fen=MEAN_FEN[size],
    )


def stocked(chance: Random, institution: SampleInstitution) -> SampleInstitution:
    """The institution with the items it keeps, in its own codes, names and prices, and their matches."""
    items = [item for item in sample_items() if _keeps(chance, institution, item)]
    stock = tuple(_own(chance, institution, number, item) for number, item in enumerate(items, 1))
    matches = [_match(institution, own) for own in stock]
    defective, wrong = _defective(institution, stock)
    return replace(institution, stock=stock, defective=defective, matches=(*matches, *wrong))


def _keeps(chance: Random, institution: SampleInstitution, item: SampleItem) -> bool:
    """Hospitals have everything; a pharmacy has drugs and some materials, a clinic what a small place needs."""
    if institution.kind == "hospital":
        return True
    price = item.unit_price_1e4 / PRICE_SCALE
    if institution.is_pharmacy:
        return (item.is_drug or item.item.stat_category == "15") and price < 200 and chance.random() < 0.6
    if item.is_consultation:
        return price <= 10
    return price < 60 and chance.random() < 0.5


def _own(chance: Random, institution: SampleInstitution, number: int, item: SampleItem) -> StockItem:
    """Each institution numbers, names and prices its items in its own way."""
    name = item.item.item_name
    if institution.frontend == HOSPITAL_A:
        code = f"{'YP' if item.is_drug else 'ZL'}{number:06d}"
    elif institution.frontend == HOSPITAL_B:
        code, name = f"{2_000_000 + 37 * number}", f"{name}*" if item.is_drug else name
    else:
        code, name = f"{item.item.item_code[0]}{number:04d}", name if item.is_drug else f"{name}（本店）"
    price = item.unit_price_1e4
    if item.is_drug or item.item.price_limit_1e4 is None:
        step = 1 if item.is_herb else 100
        price = max(step, round(price * chance.uniform(0.93, 1.08) / step) * step)
    return StockItem(code, name, price, item)


def _match(institution: SampleInstitution, own: StockItem) -> Match:
    item = own.of.item
    return Match(
        institution.institution_code,
        own.local_item_code,
        item.match_type,
        item.item_code,
        item.item_name,
        item.coverage_class,
        audited=True,
        effective_date=FAIR_DAY,
        local_item_name=own.local_item_name,
        local_dosage_form=own.of.dosage_form,
        local_specification=own.of.specification,
        local_unit_price_1e4=own.unit_price_1e4,
    )


def _defective(
    institution: SampleInstitution, stock: tuple[StockItem, ...]
) -> tuple[tuple[tuple[str, StockItem], ...], list[Match]]:
    """Local items whose matches give codes 06 to 10: not audited, run out, double, incomplete, without types."""
    own = next(item for item in stock if item.of.is_drug)
    right = _match(institution, own)

    def called(code: str, words: str) -> StockItem:
        return replace(own, local_item_code=code, local_item_name=words)

    def match(item: StockItem) -> Match:
        return right._replace(local_item_code=item.local_item_code, local_item_name=item.local_item_name)

    waiting, old = called("X0601", "新进药品（待审核）"), called("X0602", "停用药品")
    double, half = called("X0701", "重复对应药品"), called("X0801", "未对应完药品")
    no_kind, no_category = called("X0901", "未分类项目"), called("X1001", "统计类别待定项目")
    last_day = date.fromordinal(FAIR_DAY.toordinal() - 1)
    items = (
        ("06", waiting),
        ("06", old),
        ("07", double),
        ("08", half),
        ("09", no_kind),
        ("10", no_category),
    )
    return items, [
        match(waiting)._replace(audited=False),
        match(old)._replace(effective_date=date.min, expiry_date=last_day),
        match(double),
        match(double)._replace(coverage_class="9"),
        match(half)._replace(centre_item_code=""),
        match(no_kind)._replace(match_type=""),
        match(no_category)._replace(
            match_type=NO_STAT_CATEGORY.match_type,
            centre_item_code=NO_STAT_CATEGORY.item_code,
            centre_item_name=NO_STAT_CATEGORY.item_name,
            coverage_class=NO_STAT_CATEGORY.coverage_class,
        ),
    ]
