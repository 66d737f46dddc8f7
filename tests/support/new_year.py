"""The turn of the year: the policy of the year that begins, and claims that lie on both sides of midnight."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from domain.visit import VisitType
from infra.clock import SHANGHAI
from tests.support.frontend import HOSPITAL, POLICY, line, submission
from workers.intake import Submission

OLD, NEW = date(2026, 12, 31), date(2027, 1, 1)
BEGINS = datetime(2027, 1, 1, tzinfo=SHANGHAI)
_HUNDRED = 'amount = "100.00", per = "year", from = 2020-01-01'
OF_2027 = (  # a set that is published says of every fact where it is from, or that it is assumed
    POLICY.replace(_HUNDRED, f"{_HUNDRED}, to = 2026-12-31").rstrip().removesuffix("]")
    + """
  { kind = "deductible", scheme = "employee", amount = "200.00", per = "year", from = 2027-01-01, src = "TEST" },
  { kind = "line_split", scheme = "any", over_limit = "own_expense", from = 2027-01-01, src = "TEST" },
]
"""
).replace('src = "TEST"', 'src = "TEST", assumed = true')
"""The same city from 2027 on: twice the deductible, and what is over a price limit reported inside the own expense."""

LINES = [(1, "L001", 5_000_000, 100, 50_000), (2, "L004", 700_000, 100, 7_000)]
"""500.00 of class A, and 70.00 for what the catalogue limits to 20.00."""


def handed_in(key: str, visit_no: str, person: str, kind: VisitType, day: date) -> Submission:
    """A claim of this visit, its lines charged on its first day; a stay ends on the new year's first."""
    lines = [
        line(
            no, charge_date=day, local_item_code=code, unit_price_1e4=price, quantity_1e2=quantity, line_amount_fen=fen
        )
        for no, code, price, quantity, fen in LINES
    ]
    made = submission(HOSPITAL, key, lines=lines, visit_no=visit_no, batch_no=1, person=person)
    visit = replace(made.visit, visit_type=kind, visit_date=day)
    return replace(made, visit=visit, covers_to=NEW if kind is VisitType.INPATIENT else None)
