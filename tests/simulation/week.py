"""One week of a ward on paper: who is admitted when, what is ordered, what goes wrong, when it is settled.

A plan is made from a seed and knows nothing of files or tables, so that the same week can be lived through either.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from domain.money import amount_of
from domain.visit import ChargeLine, VisitType

DAYS = 7
ITEMS = (("L001", "阿莫西林胶囊"), ("L002", "头孢克肟片"), ("L003", "一次性手套"), ("L004", "血常规"))
"""What the ward orders: class A, class B, own expense, over the price limit (tests.support.frontend.ITEMS)."""

CATEGORIES = ("1", "2")
"""In work, retired: the policy of the week pays them differently."""

MISTAKES = {
    "03": {"local_item_name": ""},
    "06": {"local_item_code": "L999"},
    "12": {"quantity_1e2": 0},
    "14": {"line_amount_fen": 1},
}
"""What a HIS gets wrong at first, by the code it comes back with."""


@dataclass(slots=True)
class Round:
    """One stay's orders of one day: as they are sent at first, and as they should have been."""

    first: list[ChargeLine]
    right: list[ChargeLine]

    @property
    def has_mistakes(self) -> bool:
        """Whether the HIS has to send it again."""
        return self.first != self.right


@dataclass(slots=True)
class Stay:
    """One patient of the week. Days count from 0; `interim` is the evening of a settlement before the end."""

    serial: int
    visit_type: VisitType
    category: str
    admitted: int
    discharged: int
    interim: int | None
    is_refunded: bool
    rounds: dict[int, Round] = field(default_factory=dict)

    @property
    def batches(self) -> list[list[ChargeLine]]:
        """The lines of each settlement, in order; contra settlements are not counted."""
        ends = [self.discharged] if self.interim is None else [self.interim, self.discharged]
        begins = [self.admitted, *(end + 1 for end in ends)]
        return [
            [line for day in range(begin, end + 1) for line in self.rounds[day].right]
            for begin, end in zip(begins, ends, strict=False)
        ]

    def right_lines(self) -> Iterator[ChargeLine]:
        """Every line as it ends up in the insurance's books."""
        for day in sorted(self.rounds):
            yield from self.rounds[day].right


@dataclass(frozen=True, slots=True)
class Week:
    """All stays of a week that begins on `monday`."""

    monday: date
    stays: tuple[Stay, ...]

    def day(self, number: int) -> date:
        """The calendar day."""
        return self.monday + timedelta(days=number)


def plan(*, seed: int, inpatients: int, monday: date) -> Week:
    """A week of this many stays; the same seed gives the same week."""
    dice = random.Random(seed)
    return Week(monday, tuple(_stay(dice, serial, monday) for serial in range(inpatients)))


def _stay(dice: random.Random, serial: int, monday: date) -> Stay:
    admitted = dice.randrange(DAYS - 2)
    discharged = dice.randrange(admitted + 1, DAYS)
    between = range(admitted, discharged)
    stay = Stay(
        serial=serial,
        visit_type=VisitType.SPECIFIC_OUTPATIENT if dice.random() < 0.1 else VisitType.INPATIENT,
        category=dice.choice(CATEGORIES),
        admitted=admitted,
        discharged=discharged,
        interim=dice.choice(between) if dice.random() < 0.25 else None,
        is_refunded=dice.random() < 0.05,
    )
    unsettled: list[ChargeLine] = []
    number = 0
    for day in range(admitted, discharged + 1):
        lines = [_order(dice, number + n + 1, monday + timedelta(days=day)) for n in range(dice.randrange(2, 7))]
        if unsettled and dice.random() < 0.2:
            taken_back = unsettled.pop(dice.randrange(len(unsettled)))
            lines.append(_reversal(taken_back, number + len(lines) + 1, monday + timedelta(days=day)))
        number += len(lines)
        stay.rounds[day] = Round(_with_mistakes(dice, lines), lines)
        unsettled += [line for line in lines if (line.quantity_1e2 or 0) > 0]
        if day == stay.interim:
            unsettled.clear()
    return stay


def _order(dice: random.Random, line_no: int, day: date) -> ChargeLine:
    code, name = dice.choice(ITEMS)
    price, quantity = dice.randrange(10_000, 3_000_000), dice.randrange(1, 9) * 100
    amount = amount_of(price, quantity)
    return ChargeLine(line_no, day, code, name, 1, "0.25g*24", "胶囊", price, quantity, amount)


def _reversal(line: ChargeLine, line_no: int, day: date) -> ChargeLine:
    assert line.quantity_1e2 is not None and line.line_amount_fen is not None
    return line._replace(
        line_no=line_no, charge_date=day, quantity_1e2=-line.quantity_1e2, line_amount_fen=-line.line_amount_fen
    )


def _with_mistakes(dice: random.Random, lines: list[ChargeLine]) -> list[ChargeLine]:
    if dice.random() >= 0.15:
        return lines
    wrong = dice.randrange(len(lines))
    change = MISTAKES[dice.choice(sorted(MISTAKES))]
    return [line._replace(**change) if n == wrong else line for n, line in enumerate(lines)]
