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

from domain.policy_facts import BASIC
from domain.settlement import Settlement


class Posting(NamedTuple):
    """One side of an entry, in fen: positive is debit, negative is credit."""

    account: str
    amount_fen: int


def postings_for(settlement: Settlement, *, institution_code: str, person_no: int | str) -> tuple[Posting, ...]:
    """The postings of a settlement, without those of zero. They balance because the settlement's identities hold."""
    postings = (
        Posting(f"charges:{institution_code}", -settlement.total_fen),
        Posting(f"fund:{settlement.scheme}:{BASIC}", settlement.fund_pay_fen),
        Posting(f"account:{person_no}", settlement.account_pay_fen),
        Posting(f"cash:{institution_code}", settlement.cash_fen),
        Posting(f"share:{institution_code}", settlement.institution_share_fen),
    )
    return tuple(posting for posting in postings if posting.amount_fen)
