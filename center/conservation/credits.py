"""Money into personal accounts (个人账户划入): a document of the ledger, so that a balance is opening - Σ postings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from center.conservation.accounts import PREMIUM
from center.ledger import chain
from center.ledger.documents import Document, write
from center.settling.records import cursor_of
from domain import ledger

CREDIT = "credit"


class NobodyToCredit(Exception):
    """A person is not there, or not of this scheme, or the amount is not positive; nothing was written."""


def credit(
    connection: Connection,
    scheme: str,
    amounts_fen: Mapping[int, int],
    *,
    by: str,
    reason: str,
    at: datetime,
    approved_by: str = "",
) -> int:
    """Pay into the accounts of persons of a scheme, by person_no; the number of the document. Raises NobodyToCredit.

    Persons are locked in the order of settling, the city's chain last.
    """
    cursor = cursor_of(connection)
    cursor.execute(
        "SELECT person_no FROM person WHERE person_no = ANY(%s) AND scheme = %s ORDER BY citizen_id_no FOR UPDATE",
        [list(amounts_fen), scheme],
    )
    if len(cursor.fetchall()) != len(amounts_fen) or not all(fen > 0 for fen in amounts_fen.values()):
        raise NobodyToCredit(f"not every one of {len(amounts_fen)} persons can be credited")
    cursor.execute(
        "UPDATE person SET account_balance_fen = account_balance_fen + new.fen"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS new (person_no, fen) WHERE person.person_no = new.person_no",
        [list(amounts_fen), list(amounts_fen.values())],
    )
    total = sum(amounts_fen.values())
    document = Document(
        kind=CREDIT,
        institution_code=chain.CITY,
        scheme=scheme,
        clearing_type="",
        day=at.date(),
        made_by=by,
        approved_by=approved_by,
        reason=reason,
        amount_fen=total,
        content={"persons": len(amounts_fen)},
    )
    postings = [(ledger.account(person_no), -fen) for person_no, fen in sorted(amounts_fen.items())]
    number = write(cursor, document, [(f"{PREMIUM}:{scheme}", total), *postings], at=at)
    chain.seal(cursor, {chain.CITY: [number]}, at=at)
    return number
