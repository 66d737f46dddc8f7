"""The checks of charge lines (费用明细效验): which code each line of a claim gets (2.1.2.2.2; AMB-25, 26, 31, 32)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from typing import NamedTuple

from domain.catalogue import Catalogue, Matched
from domain.codes import PASSED
from domain.money import amount_of
from domain.visit import ChargeLine, Visit

REVERSED_TOO_MUCH = "21"


class Verdict(NamedTuple):
    """What came of one line: the code it goes back with, and every check it failed, for the log."""

    code: str
    all_codes: tuple[str, ...] = ()


class CheckedLines(NamedTuple):
    """The lines of a claim after their checks: the item each one matched, and its verdict, in the order given."""

    matched: list[Matched]
    verdicts: list[Verdict]
    passed: bool


class Setting(NamedTuple):
    """What one line is checked against."""

    visit_date: date
    read_in_day: date
    matched: Matched
    numbers_before: set[int | None]


Check = Callable[[ChargeLine, Setting], bool]

GOOD = Verdict(PASSED)
NOT_LOOKED_UP = Matched("")


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
    return line.charge_date is None or line.charge_date >= setting.visit_date


def charge_has_happened(line: ChargeLine, setting: Setting) -> bool:
    return line.charge_date is None or line.charge_date <= setting.read_in_day


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


# Order matters: a line goes back with the code of the first check it fails. A code the door has set, 96 or 90 to 93,
# comes before them all: such a record could not be read as a line of its visit, so there is nothing more to check.
CHECKS: tuple[tuple[str, Check], ...] = (
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


def verdict(line: ChargeLine, setting: Setting) -> Verdict:
    """The code of the first check the line fails, with all others it fails, or GOOD."""
    if line.door_code:
        return Verdict(line.door_code, (line.door_code,))
    failed = tuple(code for code, passes in CHECKS if not passes(line, setting))
    return Verdict(failed[0], failed) if failed else GOOD


def check_lines(visit: Visit, lines: Sequence[ChargeLine], catalogue: Catalogue, read_in_day: date) -> CheckedLines:
    """Match and check every line of a claim, then the claim as a whole (code 21) when every line is good.

    A bad line leaves its neighbours at 00: whether they are imported without it is the caller's matter (AMB-22).
    """
    institution_code, visit_date = visit.institution_code, visit.visit_date
    matched: list[Matched] = []
    verdicts: list[Verdict] = []
    numbers: set[int | None] = set()
    gives_back = False
    passed = True
    for line in lines:
        line_no, day, item, name, _, _, _, price, quantity, amount, _, door_code = line
        found = catalogue.on(institution_code, item, day) if day is not None and item.strip() else NOT_LOOKED_UP
        # Nearly every line is good, so all of CHECKS is asked here in one go; a property test holds the two together.
        if (
            found.code == PASSED
            and not door_code
            and line_no is not None
            and line_no not in numbers
            and name.strip()
            and day is not None
            and visit_date <= day <= read_in_day
            and price is not None
            and price > 0
            and quantity
            and amount
            and amount == amount_of(price, quantity)
        ):
            verdicts.append(GOOD)
            if quantity < 0:
                gives_back = True
        else:
            passed = False
            verdicts.append(verdict(line, Setting(visit_date, read_in_day, found, numbers)))
        matched.append(found)
        numbers.add(line_no)

    if passed and gives_back:
        over_reversed = _over_reversed(lines)
        passed = not any(over_reversed)
        bad = Verdict(REVERSED_TOO_MUCH, (REVERSED_TOO_MUCH,))
        verdicts = [bad if is_over else GOOD for is_over in over_reversed]
    return CheckedLines(matched, verdicts, passed)


def _over_reversed(lines: Sequence[ChargeLine]) -> list[bool]:
    """For each good line, whether it takes part in giving back more than was charged (INV-15, AMB-31).

    Of the whole claim: its negative amounts outweigh the positive ones. Of one item: its net quantity is below zero,
    or its net amount is, because it is given back at a higher price than it was charged at.
    """
    quantities: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    for line in lines:
        quantities[line.local_item_code] += line.quantity_1e2 or 0
        amounts[line.local_item_code] += line.line_amount_fen or 0
    claim_is_over = amounts.total() < 0
    return [
        (line.quantity_1e2 or 0) < 0
        and (claim_is_over or quantities[line.local_item_code] < 0 or amounts[line.local_item_code] < 0)
        for line in lines
    ]
