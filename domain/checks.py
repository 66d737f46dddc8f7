"""The checks of charge lines (费用明细效验): which code each line gets (2.1.2.2.2; AMB-16, 25, 26, 31, 32, 51).

The one place of the checks. A claim that carries its own visit is checked as a whole (`check_lines`); what comes in for
a registered visit is checked against the visit and what was imported before (`check_delivery`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from domain.catalogue import Catalogue, Matched
from domain.codes import OTHER_CATEGORY, OTHER_VISIT_DATE, PASSED
from domain.identity import written
from domain.lifecycle import ALLOWED, VisitState, VisitStep
from domain.money import amount_of
from domain.visit import ChargeLine, Visit

REVERSED_TOO_MUCH = "21"

MAX_LINE_NO = 99_999
"""XMXH is NUMBER(5), counted from 1 (AMB-16)."""
WARN_LINE_NO = 90_000
"""From here on we say in time that the numbers of a visit run out (AMB-16)."""
MAX_ITEM_CODE_BYTES = 15
"""XMBH is VARCHAR2(15), counted in GBK (AMB-15, AMB-19)."""
MAX_PRICE_1E4 = 10**12 - 1
MAX_QUANTITY_1E2 = 10**8 - 1
MAX_AMOUNT_FEN = 10**12 - 1
MAX_CATEGORY = 999


class Verdict(NamedTuple):
    """What came of one line: the code it goes back with, and every check it failed, for the log."""

    code: str
    all_codes: tuple[str, ...] = ()


class Warned(NamedTuple):
    """A warning: the place of the line it is about, and its code. The line is good all the same."""

    at: int
    code: str


class CheckedLines(NamedTuple):
    """Lines after their checks: the item each one matched, and its verdict, in the order given."""

    matched: list[Matched]
    verdicts: list[Verdict]
    passed: bool
    warned: Sequence[Warned] = ()
    """Of lines that are good by themselves."""


class Standing(NamedTuple):
    """What a line's visit is to the checks."""

    institution_code: str
    citizen_id_no: str
    visit_date: date
    state: VisitState = VisitState.OPEN
    discharge_date: date | None = None


class Setting(NamedTuple):
    """What one line is checked against; `visit` is None for a visit number that is empty or unknown."""

    visit: Standing | None
    read_in_day: date
    matched: Matched
    numbers_before: Collection[int | None]
    institution_code: str | None = None
    """YYBH as the row says; None where the door spoke for the visit's own institution."""
    citizen_id_no: str | None = None
    """GMSFHM as the row says; None where the door spoke for the visit's own person."""


Check = Callable[[ChargeLine, Setting], bool]

GOOD = Verdict(PASSED)
NOT_LOOKED_UP = Matched("")


def value_fits(line: ChargeLine, setting: Setting) -> bool:
    return (
        line.door_code != "96"
        and _is_within(line.line_no, 1, MAX_LINE_NO)
        and _is_within(line.charge_category, 0, MAX_CATEGORY)
        and _is_within(line.unit_price_1e4, -MAX_PRICE_1E4, MAX_PRICE_1E4)
        and _is_within(line.quantity_1e2, -MAX_QUANTITY_1E2, MAX_QUANTITY_1E2)
        and _is_within(line.line_amount_fen, -MAX_AMOUNT_FEN, MAX_AMOUNT_FEN)
        and _item_code_fits(line.local_item_code)
    )


def visit_is_known(line: ChargeLine, setting: Setting) -> bool:
    return setting.visit is not None and line.door_code != "90"


def visit_takes_the_charge(line: ChargeLine, setting: Setting) -> bool:
    if setting.visit is None:
        return True  # 90 says so
    allowed = ALLOWED[setting.visit.state]
    return line.door_code != "91" and (
        VisitStep.CHARGE in allowed or ((line.quantity_1e2 or 0) < 0 and VisitStep.REVERSE in allowed)
    )


def institution_is_the_visits(line: ChargeLine, setting: Setting) -> bool:
    if setting.visit is None:
        return True
    return line.door_code != "92" and setting.institution_code in (None, setting.visit.institution_code)


def person_is_the_visits(line: ChargeLine, setting: Setting) -> bool:
    if setting.visit is None or setting.citizen_id_no is None:
        return line.door_code != "93"
    return line.door_code != "93" and written(setting.citizen_id_no) == setting.visit.citizen_id_no


def line_number_is_given(line: ChargeLine, setting: Setting) -> bool:
    return line.line_no is not None


def line_number_is_new(line: ChargeLine, setting: Setting) -> bool:
    return line.line_no is None or line.line_no not in setting.numbers_before


def item_code_is_given(line: ChargeLine, setting: Setting) -> bool:
    return bool(line.local_item_code.strip())


def item_name_is_given(line: ChargeLine, setting: Setting) -> bool:
    return bool(line.local_item_name.strip())


def charge_date_is_known(line: ChargeLine, setting: Setting) -> bool:
    return line.charge_date is not None


def charge_follows_registration(line: ChargeLine, setting: Setting) -> bool:
    return line.charge_date is None or setting.visit is None or line.charge_date >= setting.visit.visit_date


def charge_has_happened(line: ChargeLine, setting: Setting) -> bool:
    return line.charge_date is None or line.charge_date <= _last_day(setting.visit, setting.read_in_day)


def unit_price_is_positive(line: ChargeLine, setting: Setting) -> bool:
    return line.unit_price_1e4 is not None and line.unit_price_1e4 > 0


def quantity_is_not_zero(line: ChargeLine, setting: Setting) -> bool:
    return bool(line.quantity_1e2)


def amount_is_not_zero(line: ChargeLine, setting: Setting) -> bool:
    return bool(line.line_amount_fen)


def amount_is_price_times_quantity(line: ChargeLine, setting: Setting) -> bool:
    if line.unit_price_1e4 is None or line.quantity_1e2 is None or line.line_amount_fen is None:
        return True  # 11, 12 or 13 says so
    return line.line_amount_fen == amount_of(line.unit_price_1e4, line.quantity_1e2)


def match_is_not(code: str) -> Check:
    """The check that the catalogue did not answer with this code: at most one of 06 to 10 applies to an item."""
    return lambda line, setting: setting.matched.code != code


# Order matters: a line goes back with the code of the first check it fails.
CHECKS: tuple[tuple[str, Check], ...] = (
    ("96", value_fits),
    ("90", visit_is_known),
    ("91", visit_takes_the_charge),
    ("92", institution_is_the_visits),
    ("93", person_is_the_visits),
    ("01", line_number_is_given),
    ("94", line_number_is_new),
    ("02", item_code_is_given),
    ("03", item_name_is_given),
    ("04", charge_date_is_known),
    ("05", charge_follows_registration),
    ("95", charge_has_happened),
    ("06", match_is_not("06")),
    ("07", match_is_not("07")),
    ("08", match_is_not("08")),
    ("09", match_is_not("09")),
    ("10", match_is_not("10")),
    ("11", unit_price_is_positive),
    ("12", quantity_is_not_zero),
    ("13", amount_is_not_zero),
    ("14", amount_is_price_times_quantity),
)
OF_ANOTHER = frozenset({"90", "92", "93"})
"""What belongs to no visit of the institution, or to another person's, is not looked at any further: nothing of the
visit is told by the other checks. The same goes for a row the door could not read (96 from the door)."""


def verdict(line: ChargeLine, setting: Setting) -> Verdict:
    """The code of the first check the line fails, with all others it fails, or GOOD."""
    if line.door_code:
        return Verdict(line.door_code, (line.door_code,))
    failed: list[str] = []
    for code, passes in CHECKS:
        if not passes(line, setting):
            failed.append(code)
            if code in OF_ANOTHER:
                break
    return Verdict(failed[0], tuple(failed)) if failed else GOOD


def check_lines(visit: Visit, lines: Sequence[ChargeLine], catalogue: Catalogue, read_in_day: date) -> CheckedLines:
    """Match and check every line of a claim, then the claim as a whole (code 21) when every line is good.

    A bad line leaves its neighbours at 00: whether they are imported without it is the caller's matter (AMB-22).
    """
    checked, gives_back = _each(standing_of(visit), lines, catalogue, read_in_day, set())
    if not (checked.passed and gives_back):
        return checked
    over_reversed = _over_reversed(lines)
    verdicts = [_OVER if is_over else GOOD for is_over in over_reversed]
    return CheckedLines(checked.matched, verdicts, not any(over_reversed), checked.warned)


class RowSays(NamedTuple):
    """Whose the rows of a delivery are by their own account, row by row; empty: the visit's own."""

    institution_codes: Sequence[str] = ()
    citizen_id_nos: Sequence[str] = ()
    visit_dates: Sequence[date | None] = ()
    """RYRQ, which only warns: the registration's counts (AMB-06)."""


class Unsettled(NamedTuple):
    """The amounts of a visit's lines that are imported and not settled, in fen: those above and those below zero."""

    positive_fen: int = 0
    negative_fen: int = 0


OF_THE_VISIT = RowSays()
NOTHING_UNSETTLED = Unsettled()


def check_delivery(
    visit: Standing | None,
    lines: Sequence[ChargeLine],
    catalogue: Catalogue,
    read_in_day: date,
    *,
    says: RowSays = OF_THE_VISIT,
    numbers_before: Iterable[int] = (),
    unsettled: Unsettled = NOTHING_UNSETTLED,
) -> CheckedLines:
    """Check lines that come in for a visit: each by itself, then 21 over those that passed and what is not settled.

    With 21 it is the visit's lines with a negative amount that fail, the others keep 00 and are not imported (AMB-31).
    """
    checked, gives_back = _each(visit, lines, catalogue, read_in_day, set(numbers_before))
    if visit is None:
        return checked
    strangers = _strangers(visit, says)
    if strangers:
        taken: set[int | None] = set(numbers_before)
        for at, line in enumerate(lines):
            if at in strangers:
                found = Setting(visit, read_in_day, checked.matched[at], set(taken), *_said_of(says, at))
                checked.verdicts[at] = verdict(line, found)
            taken.add(line.line_no)
        checked = checked._replace(passed=all(found.code == PASSED for found in checked.verdicts))
    other_dates = other_visit_dates(visit.visit_date, says.visit_dates)
    if other_dates:
        checked = checked._replace(warned=sorted([*checked.warned, *other_dates]))

    if not gives_back:
        return checked
    amounts = [
        line.line_amount_fen or 0 for line, found in zip(lines, checked.verdicts, strict=True) if found.code == PASSED
    ]
    negative_fen = unsettled.negative_fen + sum(amount for amount in amounts if amount < 0)
    positive_fen = unsettled.positive_fen + sum(amount for amount in amounts if amount > 0)
    if -negative_fen <= positive_fen:
        return checked
    verdicts = [
        _OVER if found.code == PASSED and (line.line_amount_fen or 0) < 0 else found
        for line, found in zip(lines, checked.verdicts, strict=True)
    ]
    return CheckedLines(checked.matched, verdicts, False, checked.warned)


def other_visit_dates(registered: date, said: Sequence[date | None]) -> list[Warned]:
    """The rows that say another day of admission or visit than the registration; most often none (AMB-06)."""
    if said.count(registered) == len(said):
        return []
    return [Warned(at, OTHER_VISIT_DATE) for at, day in enumerate(said) if day is not None and day != registered]


def standing_of(visit: Visit) -> Standing:
    """What a visit that goes on is to the checks."""
    return Standing(visit.institution_code, visit.citizen_id_no, visit.visit_date)


def over_reversed_items(lines: Iterable[ChargeLine]) -> list[str]:
    """The local items of a charge batch that give back more than was charged: net quantity or amount below zero.

    Asked at settlement, so that no component turns negative (AMB-31).
    """
    quantities, amounts = _net(lines)
    return sorted(item for item in quantities if quantities[item] < 0 or amounts[item] < 0)


def _each(
    visit: Standing | None,
    lines: Sequence[ChargeLine],
    catalogue: Catalogue,
    read_in_day: date,
    numbers: set[int | None],
) -> tuple[CheckedLines, bool]:
    """Each line by itself: matched, and asked for everything but 21; and whether a good one has a negative quantity."""
    institution_code = "" if visit is None else visit.institution_code
    first_day = date.max if visit is None else visit.visit_date
    last_day = _last_day(visit, read_in_day)
    charges, reverses = (False, False) if visit is None else _takes(visit.state)
    matched: list[Matched] = []
    verdicts: list[Verdict] = []
    warned: list[Warned] = []
    passed = True
    gives_back = False
    known_on: date | None = None
    known: Mapping[str, Matched] = {}
    for line in lines:
        line_no, day, item, name, category, _, _, price, quantity, amount, _, door_code = line
        if day != known_on:
            known_on, known = day, {} if day is None else catalogue.known(institution_code, day)
        found = known.get(item)
        if found is None:
            found = catalogue.on(institution_code, item, day) if day is not None and item.strip() else NOT_LOOKED_UP
        # Nearly every line is good, so all of CHECKS is asked here in one go; a property test holds the two together.
        # The length of the item code is not asked: a code that is matched fits, the catalogue takes no other (AMB-15).
        if (
            found.code == PASSED
            and not door_code
            and line_no is not None
            and 0 < line_no <= MAX_LINE_NO
            and line_no not in numbers
            and name.strip()
            and day is not None
            and first_day <= day <= last_day
            and price is not None
            and 0 < price <= MAX_PRICE_1E4
            and quantity
            and amount
            and amount == amount_of(price, quantity)
            and (charges or (reverses and quantity < 0))
            and -MAX_QUANTITY_1E2 <= quantity <= MAX_QUANTITY_1E2
            and -MAX_AMOUNT_FEN <= amount <= MAX_AMOUNT_FEN
            and (category is None or 0 <= category <= MAX_CATEGORY)
        ):
            verdicts.append(GOOD)
            if quantity < 0:
                gives_back = True
            if category not in found.categories:
                warned.append(Warned(len(matched), OTHER_CATEGORY))
        else:
            passed = False
            verdicts.append(verdict(line, Setting(visit, read_in_day, found, numbers)))
        matched.append(found)
        numbers.add(line_no)
    return CheckedLines(matched, verdicts, passed, warned), gives_back


_OVER = Verdict(REVERSED_TOO_MUCH, (REVERSED_TOO_MUCH,))


def _over_reversed(lines: Sequence[ChargeLine]) -> list[bool]:
    """For each good line of a claim, whether it takes part in giving back more than was charged (INV-15, AMB-31).

    Of the whole claim: its negative amounts outweigh the positive ones. Of one item: its net quantity is below zero,
    or its net amount is, because it is given back at a higher price than it was charged at.
    """
    quantities, amounts = _net(lines)
    claim_is_over = amounts.total() < 0
    return [
        (line.quantity_1e2 or 0) < 0
        and (claim_is_over or quantities[line.local_item_code] < 0 or amounts[line.local_item_code] < 0)
        for line in lines
    ]


def _net(lines: Iterable[ChargeLine]) -> tuple[Counter[str], Counter[str]]:
    """Net quantity and net amount by local item."""
    quantities: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    for line in lines:
        quantities[line.local_item_code] += line.quantity_1e2 or 0
        amounts[line.local_item_code] += line.line_amount_fen or 0
    return quantities, amounts


def _strangers(visit: Standing, says: RowSays) -> set[int]:
    """The places of rows that say another institution or another person than the visit's; most often none."""
    codes, persons, _ = says
    found: set[int] = set()
    if codes and codes.count(visit.institution_code) < len(codes):
        found.update(at for at, code in enumerate(codes) if code != visit.institution_code)
    if persons and persons.count(visit.citizen_id_no) < len(persons):
        found.update(at for at, person in enumerate(persons) if written(person) != visit.citizen_id_no)
    return found


def _said_of(says: RowSays, at: int) -> tuple[str | None, str | None]:
    codes, persons, _ = says
    return (codes[at] if codes else None, persons[at] if persons else None)


def _takes(state: VisitState) -> tuple[bool, bool]:
    """Whether a visit in this state takes charges, and whether reversals."""
    allowed = ALLOWED[state]
    return VisitStep.CHARGE in allowed, VisitStep.REVERSE in allowed


def _last_day(visit: Standing | None, read_in_day: date) -> date:
    if visit is None or visit.discharge_date is None:
        return read_in_day
    return min(read_in_day, visit.discharge_date)


def _is_within(value: int | None, least: int, most: int) -> bool:
    return value is None or least <= value <= most


def _item_code_fits(code: str) -> bool:
    if code.isascii():
        return len(code) <= MAX_ITEM_CODE_BYTES
    return len(code.encode("gb18030", "replace")) <= MAX_ITEM_CODE_BYTES
