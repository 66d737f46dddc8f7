"""The postings (记账) of a settlement: double entry, adding up to zero.

Accounts, each named for whom the money is due from or to:

    charges:<institution>     what the institution earned; the one side that is negative
    fund:<scheme>:<layer>     what a fund owes the institution, cleared periodically
    account:<person>          what the person's own account pays
    cash:<institution>        what the person paid at the institution's counter
    share:<institution>       what the institution bears itself
"""

from __future__ import annotations

from typing import NamedTuple

from domain.policy.facts import BASIC
from domain.settlement import FAMILY_ACCOUNT, Settlement


class Posting(NamedTuple):
    """One side of an entry, in fen: positive is debit, negative is credit."""

    account: str
    amount_fen: int


def postings_for(
    settlement: Settlement, *, institution_code: str, person_no: int | str, family_person_no: int | str | None = None
) -> tuple[Posting, ...]:
    """The postings of a settlement, without those of zero. They balance because the settlement's identities hold.

    Each fund has its own, and so has the account of a relative (`family_person_no`) that pays for the person.
    """
    account_fen, family_fen = settlement.account_pay_fen, 0
    if account_fen:
        family_fen = sum([amount for _, payer, amount in settlement.cells if payer == FAMILY_ACCOUNT])
    funds = settlement.funds() if settlement.cells else {BASIC: settlement.fund_pay_fen}
    sides = [
        (f"charges:{institution_code}", -settlement.total_fen),
        *[(f"fund:{settlement.scheme}:{fund}", amount_fen) for fund, amount_fen in funds.items()],
        (f"account:{person_no}", account_fen - family_fen),
        (f"account:{family_person_no}", family_fen),
        (f"cash:{institution_code}", settlement.cash_fen),
        (f"share:{institution_code}", settlement.institution_share_fen),
    ]
    return tuple([Posting(*side) for side in sides if side[1]])
