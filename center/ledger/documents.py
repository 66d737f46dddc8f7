"""Documents (凭证) of the ledger that are not settlements: a clearing, a payment, a deduction, a correction.

A document, its postings and its link of the chain are written in the caller's transaction and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from center.ledger import chain


class Document(NamedTuple):
    """One document: what it is, whose, for which day, and why; `amount_fen` is the amount it is known by."""

    kind: str
    institution_code: str
    scheme: str
    clearing_type: str
    day: date
    made_by: str
    reason: str
    amount_fen: int
    approved_by: str = ""
    """The second person, another one than `made_by`; empty where none is asked for."""
    refers_to: int | None = None
    """The document it is about."""
    content: Mapping[str, Any] = {}
    """What else it says, as JSON."""


class Unbalanced(Exception):
    """The postings of a document do not add up to zero; ours to mend."""

    def __init__(self, kind: str, rest_fen: int) -> None:
        super().__init__(f"the postings of a {kind} leave {rest_fen} fen")


def post(cursor: psycopg.Cursor[Any], document: Document, postings: Sequence[tuple[str, int]], *, at: datetime) -> int:
    """Write a document with its postings and its link; its number. Raises Unbalanced.

    It locks the head of the institution's chain: write it after everything that takes other locks.
    """
    number = write(cursor, document, postings, at=at)
    chain.seal(cursor, {document.institution_code: [number]}, at=at)
    return number


def write(cursor: psycopg.Cursor[Any], document: Document, postings: Sequence[tuple[str, int]], *, at: datetime) -> int:
    """As `post`, but without the link: for several documents under one, which the caller seals. Raises Unbalanced."""
    rest = sum(amount_fen for _, amount_fen in postings)
    if rest:
        raise Unbalanced(document.kind, rest)
    cursor.execute(
        "INSERT INTO ledger_document (document_no, kind, institution_code, scheme, clearing_type, day, made_at,"
        " made_by, approved_by, reason, refers_to, amount_fen, content) VALUES (nextval('settlement_no_seq'),"
        " %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING document_no",
        [
            document.kind,
            document.institution_code,
            document.scheme,
            document.clearing_type,
            document.day,
            at,
            document.made_by,
            document.approved_by,
            document.reason,
            document.refers_to,
            document.amount_fen,
            Jsonb(dict(document.content)),
        ],
    )
    found = cursor.fetchone()
    assert found is not None
    number: int = found[0]
    written = [posting for posting in postings if posting[1]]
    cursor.execute(
        "INSERT INTO posting (document_no, account, amount_fen)"
        " SELECT %s, account, amount_fen FROM unnest(%s::text[], %s::bigint[]) AS side (account, amount_fen)",
        [number, [account for account, _ in written], [amount_fen for _, amount_fen in written]],
    )
    return number
