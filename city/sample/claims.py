"""The claims of the sample city: what is charged on a visit, and every way in which it can be wrong."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import log
from random import Random

from city.sample.institutions import SampleInstitution, StockItem
from city.sample.people import SamplePerson
from domain.lifecycle import ClaimState
from domain.money import amount_of
from domain.refusals import Refusal
from domain.visit import ChargeLine, Visit, VisitType

FEWEST_LINES, MEDIAN_LINES, MOST_LINES = 2, 5, 15
"""No published figure was found for lines per visit: an assumption, stated in the run."""

COST_SPREAD = 0.75
LINE_SPREAD = 0.9

DIAGNOSES = (
    ("急性上呼吸道感染", "J06.900"),
    ("原发性高血压", "I10.x00"),
    ("2型糖尿病", "E11.900"),
    ("慢性胃炎", "K29.500"),
    ("腰椎间盘突出", "M51.202"),
    ("冠状动脉粥样硬化性心脏病", "I25.103"),
    ("支气管哮喘", "J45.900"),
    ("过敏性鼻炎", "J30.400"),
    ("颈椎病", "M47.801"),
    ("湿疹", "L30.900"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleClaim:
    """One visit with its lines, and what has to become of it."""

    number: int
    institution: SampleInstitution
    person: SamplePerson
    visit: Visit
    lines: tuple[ChargeLine, ...]
    outcome: ClaimState = ClaimState.SETTLED
    codes: tuple[str, ...] = ()
    """The code each line has to get where the claim is returned."""
    refusal: str = ""
    forged: Mapping[str, str | int] | None = None
    """Columns that the hospital's file has wrong on the first line: the DBF door sees it, the claim cannot hold it."""
    is_registered: bool = True
    by_tables: bool = False
    """The visit goes through the shared tables of its hospital instead of the API."""
    is_mistyped: bool = False
    """The HIS first writes a wrong amount into the shared table, and corrects it once it is told."""

    @property
    def door(self) -> str:
        """Where it is handed in: dbf, tables or api."""
        return "tables" if self.by_tables else self.institution.door

    @property
    def becomes_a_claim(self) -> bool:
        """Whether a front-end has a claim of it; in shared tables a wrong line keeps its visit from being settled."""
        return self.is_registered and not (self.by_tables and self.outcome is ClaimState.RETURNED)

    @property
    def defect(self) -> str:
        """The first code that is no 00, or the refusal; empty for a claim in order."""
        return next((code for code in self.codes if code != "00"), self.refusal)


# ── In order ──────────────────────────────────────────────────────────────────────────────────────────────


def sound_claim(
    chance: Random, number: int, institution: SampleInstitution, person: SamplePerson, day: date
) -> SampleClaim:
    """A claim in order, with a cost drawn around the mean of its institution."""
    diagnosis, diagnosis_code = chance.choice(DIAGNOSES)
    visit = Visit(
        visit_no="",
        institution_code=institution.institution_code,
        citizen_id_no=person.citizen_id_no,
        visit_type=VisitType.PHARMACY if institution.is_pharmacy else VisitType.OUTPATIENT,
        visit_date=day,
        person_name=person.name,
        person_category=person.category,
        outpatient_no=f"M{number:07d}",
        admission_diagnosis=diagnosis,
        admission_diagnosis_code=diagnosis_code,
        department_code=f"{chance.randrange(1, 40):03d}",
    )
    lines = _lines(chance, institution, day)
    return SampleClaim(number=number, institution=institution, person=person, visit=visit, lines=lines)


def _lines(chance: Random, institution: SampleInstitution, day: date) -> tuple[ChargeLine, ...]:
    count = round(chance.lognormvariate(log(MEDIAN_LINES), 0.45))
    count = min(max(count, FEWEST_LINES), MOST_LINES)
    cost_fen = institution.mean_fen * chance.lognormvariate(-(COST_SPREAD**2) / 2, COST_SPREAD)
    lines = charged(chance, institution, day, count=count, cost_fen=cost_fen)
    if chance.random() < 0.03:
        lines.append(_given_back(chance, lines))
    return tuple(lines)


def charged(
    chance: Random, institution: SampleInstitution, day: date, *, count: int, cost_fen: float
) -> list[ChargeLine]:
    """So many lines of a day that come to about this cost; the first is the consultation, where there is one."""
    consultations = [own for own in institution.stock if own.of.is_consultation]
    by_price = sorted(
        (own for own in institution.stock if not own.of.is_consultation), key=lambda own: own.unit_price_1e4
    )
    prices = [own.unit_price_1e4 for own in by_price]
    lines: list[ChargeLine] = []
    if consultations:
        lines.append(_line(1, day, chance.choice(consultations), 100))
        cost_fen = max(cost_fen - (lines[0].line_amount_fen or 0), 500.0)
    weights = [chance.lognormvariate(0, LINE_SPREAD) for _ in range(count - len(lines))]
    whole = sum(weights)
    for weight in weights:
        own, quantity = _choice(chance, by_price, prices, cost_fen * weight / whole)
        lines.append(_line(len(lines) + 1, day, own, quantity))
    return lines


def _choice(
    chance: Random, by_price: Sequence[StockItem], prices: Sequence[int], wanted_fen: float
) -> tuple[StockItem, int]:
    """An item and a quantity (in hundredths) that come to about the wanted amount."""
    if chance.random() < 0.06 and by_price[0].of.is_herb:
        herbs = [own for own in by_price if own.of.is_herb]
        return chance.choice(herbs), 100 * chance.choice((10, 12, 15, 30, 60, 90))
    packs = chance.choices((1, 2, 3, 5), weights=(60, 22, 12, 6))[0]
    near = bisect_left(prices, round(wanted_fen * 100 / packs))
    at = min(max(round(chance.gauss(near, 6)), 0), len(by_price) - 1)
    own = by_price[at]
    if own.of.is_herb:
        return own, 100 * chance.choice((10, 12, 15, 30))
    fits = max(1, round(wanted_fen * 100 / own.unit_price_1e4))
    return own, 100 * (min(fits, 6) if own.of.is_drug else 1)


def _line(line_no: int, day: date, own: StockItem, quantity_1e2: int) -> ChargeLine:
    item = own.of.item
    return ChargeLine(
        line_no,
        day,
        own.local_item_code,
        own.local_item_name,
        int(item.stat_category),
        own.of.specification,
        own.of.dosage_form,
        own.unit_price_1e4,
        quantity_1e2,
        amount_of(own.unit_price_1e4, quantity_1e2),
        "1" if own.of.is_drug else "",
    )


def _given_back(chance: Random, lines: Sequence[ChargeLine]) -> ChargeLine:
    """One pack of a line given back on the same claim: a negative quantity, never a negative price."""
    original = lines[-1]
    back = -min(100, original.quantity_1e2 or 100)
    return original._replace(
        line_no=len(lines) + 1,
        quantity_1e2=back,
        line_amount_fen=amount_of(original.unit_price_1e4 or 0, back),
    )


# ── Wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def _first_line(change: Callable[[ChargeLine], ChargeLine], code: str) -> Callable[[SampleClaim], SampleClaim]:
    """Spoil the first line; the others keep 00."""

    def spoil(claim: SampleClaim) -> SampleClaim:
        lines = (change(claim.lines[0]), *claim.lines[1:])
        codes = (code, *("00" for _ in claim.lines[1:]))
        return replace(claim, lines=lines, codes=codes, outcome=ClaimState.RETURNED)

    return spoil


def _repriced(line: ChargeLine, price_1e4: int | None) -> ChargeLine:
    amount = None if price_1e4 is None else amount_of(price_1e4, line.quantity_1e2 or 0)
    return line._replace(unit_price_1e4=price_1e4, line_amount_fen=amount or line.line_amount_fen)


def _wrong_item(code: str, which: int = 0) -> Callable[[SampleClaim], SampleClaim]:
    def spoil(claim: SampleClaim) -> SampleClaim:
        own = [item for found, item in claim.institution.defective if found == code][which]
        named = _first_line(
            lambda line: line._replace(local_item_code=own.local_item_code, local_item_name=own.local_item_name),
            code,
        )
        return named(claim)

    return spoil


def _over_reversed(claim: SampleClaim) -> SampleClaim:
    """All of the first line is given back, and as much again; code 21 is on the lines that give back too much."""
    first = claim.lines[0]
    back = -2 * (first.quantity_1e2 or 0)
    extra = first._replace(
        line_no=MOST_LINES + 9,
        quantity_1e2=back,
        line_amount_fen=amount_of(first.unit_price_1e4 or 0, back),
    )
    lines = (*claim.lines, extra)
    claim_is_over = sum(line.line_amount_fen or 0 for line in lines) < 0
    codes = tuple(
        "21"
        if (line.quantity_1e2 or 0) < 0 and (claim_is_over or line.local_item_code == first.local_item_code)
        else "00"
        for line in lines
    )
    return replace(claim, lines=lines, codes=codes, outcome=ClaimState.RETURNED)


def _repeated_number(claim: SampleClaim) -> SampleClaim:
    second = claim.lines[1]._replace(line_no=claim.lines[0].line_no)
    lines = (claim.lines[0], second, *claim.lines[2:])
    codes = ("00", "94", *("00" for _ in lines[2:]))
    return replace(claim, lines=lines, codes=codes, outcome=ClaimState.RETURNED)


def _forged(code: str, column: str, value: str | int) -> Callable[[SampleClaim], SampleClaim]:
    """What is wrong is not the line but whose it says it is; every other line is in order."""

    def spoil(claim: SampleClaim) -> SampleClaim:
        codes = (code, *("00" for _ in claim.lines[1:]))
        return replace(claim, forged={column: value}, codes=codes, outcome=ClaimState.RETURNED)

    return spoil


def _unregistered(claim: SampleClaim) -> SampleClaim:
    codes = tuple("90" for _ in claim.lines)
    return replace(claim, is_registered=False, codes=codes, outcome=ClaimState.RETURNED)


DEFECTS: Mapping[str, Callable[[SampleClaim], SampleClaim]] = {
    "01": _first_line(lambda line: line._replace(line_no=None), "01"),
    "02": _first_line(lambda line: line._replace(local_item_code=""), "02"),
    "03": _first_line(lambda line: line._replace(local_item_name=""), "03"),
    "04": _first_line(lambda line: line._replace(charge_date=None), "04"),
    "05": _first_line(
        lambda line: line._replace(charge_date=line.charge_date and line.charge_date - timedelta(days=1)), "05"
    ),
    "06": _wrong_item("06"),
    "06, run out": _wrong_item("06", 1),
    "06, never matched": _first_line(lambda line: line._replace(local_item_code="NEW001"), "06"),
    "07": _wrong_item("07"),
    "08": _wrong_item("08"),
    "09": _wrong_item("09"),
    "10": _wrong_item("10"),
    "11": _first_line(lambda line: _repriced(line, 0), "11"),
    "11, empty": _first_line(lambda line: _repriced(line, None), "11"),
    "12": _first_line(lambda line: line._replace(quantity_1e2=0), "12"),
    "13": _first_line(lambda line: line._replace(line_amount_fen=None), "13"),
    "14": _first_line(lambda line: line._replace(line_amount_fen=(line.line_amount_fen or 0) + 1), "14"),
    "21": _over_reversed,
    "94": _repeated_number,
    "95": _first_line(
        lambda line: line._replace(charge_date=line.charge_date and line.charge_date + timedelta(days=1)), "95"
    ),
}
"""Every way a line can be wrong, whatever door it comes through, by code (and what is special about it)."""

FILE_DEFECTS: Mapping[str, Callable[[SampleClaim], SampleClaim]] = {
    "90": _unregistered,
    "92": _forged("92", "YYBH", "990199999"),
    "93": _forged("93", "GMSFHM", "990000194001010010"),
    "96": _forged("96", "XMXH", 0),
}
"""What can be wrong only with the records of an exchange file."""


def refused(claim: SampleClaim, person: SamplePerson) -> SampleClaim:
    """The same claim for a person the centre does not know, or whose entitlement is suspended."""
    refusal = Refusal.ENTITLEMENT_SUSPENDED if person.is_known else Refusal.PERSON_UNKNOWN
    visit = replace(
        claim.visit,
        citizen_id_no=person.citizen_id_no,
        person_name=person.name,
        person_category=person.category,
    )
    return replace(claim, person=person, visit=visit, refusal=refusal, outcome=ClaimState.REFUSED)
