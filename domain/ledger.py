"""The postings (记账) of a document: double entry, adding up to zero.

Accounts, each named for whom the money is due from or to; positive is debit, negative is credit. A settlement moves

    fund:<scheme>:<layer>                  +  what a fund pays
    account:<person>                       +  what a person's own account pays
    payable:<institution>:<scheme>:<type>  -  what the centre owes the institution for both, by clearing type
    cash:<institution>                     +  what the person paid at the institution's counter
    share:<institution>                    +  what the institution bears itself
    charges:<institution>                  -  what the institution has earned by these two

and a contra settlement the same with the other sign. A clearing takes what is owed out of `payable` (+) into `cleared`
(-), less what is `withheld` (-) and what a deduction gives back to a fund (-); a payment moves `cleared` (+) to `bank`
(-).
"""

from __future__ import annotations

from typing import NamedTuple

from domain.clearing import ClearingType
from domain.policy.facts import BASIC
from domain.settlement import FAMILY_ACCOUNT, Settlement


class Posting(NamedTuple):
    """One side of an entry, in fen: positive is debit, negative is credit."""

    account: str
    amount_fen: int


# ── Accounts ──────────────────────────────────────────────────────────────────────────────────────────────


def fund(scheme: str, layer: str) -> str:
    """A fund's money: basic, large_amount, ... of employees or of residents."""
    return f"fund:{scheme}:{layer}"


def account(person_no: int | str) -> str:
    """A person's own account (个人账户)."""
    return f"account:{person_no}"


def payable(institution_code: str, scheme: str, clearing_type: ClearingType | str) -> str:
    """What the centre owes an institution and has not cleared."""
    return f"payable:{institution_code}:{scheme}:{clearing_type}"


def cleared(institution_code: str, scheme: str, clearing_type: ClearingType | str) -> str:
    """What is cleared and not yet paid."""
    return f"cleared:{institution_code}:{scheme}:{clearing_type}"


def withheld(institution_code: str, scheme: str, clearing_type: ClearingType | str) -> str:
    """What a clearing keeps back until the review (预留)."""
    return f"withheld:{institution_code}:{scheme}:{clearing_type}"


def bank(scheme: str) -> str:
    """Where payments to institutions leave from."""
    return f"bank:{scheme}"


def cash(institution_code: str) -> str:
    """What persons paid at an institution's counter."""
    return f"cash:{institution_code}"


def share(institution_code: str) -> str:
    """What an institution bears itself."""
    return f"share:{institution_code}"


def charges(institution_code: str) -> str:
    """What an institution earned besides what the centre owes it."""
    return f"charges:{institution_code}"


# ── Settlements ───────────────────────────────────────────────────────────────────────────────────────────


def postings_for(
    settlement: Settlement,
    *,
    institution_code: str,
    clearing_type: ClearingType | str,
    person_no: int | str,
    family_person_no: int | str | None = None,
) -> tuple[Posting, ...]:
    """The postings of a settlement, without those of zero. They balance because the settlement's identities hold.

    Each fund has its own, and so has the account of a relative (`family_person_no`) that pays for the person.
    """
    account_fen, cash_fen, share_fen = settlement.account_pay_fen, settlement.cash_fen, settlement.institution_share_fen
    family_fen = family_pay_of(settlement) if account_fen else 0
    funds = settlement.funds() if settlement.cells else {BASIC: settlement.fund_pay_fen}
    owed_fen = sum(funds.values()) + account_fen
    scheme = settlement.scheme
    sides = [Posting(f"fund:{scheme}:{layer}", amount_fen) for layer, amount_fen in funds.items() if amount_fen]
    if account_fen - family_fen:
        sides.append(Posting(f"account:{person_no}", account_fen - family_fen))
    if family_fen:
        sides.append(Posting(f"account:{family_person_no}", family_fen))
    if owed_fen:
        sides.append(Posting(f"payable:{institution_code}:{scheme}:{clearing_type}", -owed_fen))
    if cash_fen:
        sides.append(Posting(f"cash:{institution_code}", cash_fen))
    if share_fen:
        sides.append(Posting(f"share:{institution_code}", share_fen))
    if owed_fen != settlement.total_fen:
        sides.append(Posting(f"charges:{institution_code}", owed_fen - settlement.total_fen))
    return tuple(sides)


def family_pay_of(settlement: Settlement) -> int:
    """What somebody else's account pays of a settlement."""
    if not settlement.account_pay_fen:
        return 0
    return sum([amount for _, payer, amount in settlement.cells if payer == FAMILY_ACCOUNT])
