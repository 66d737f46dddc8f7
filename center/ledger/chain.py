"""The hash chain (哈希链): one for each institution, over everything its ledger and its audit take up.

Each transaction that writes documents of an institution adds one link, before it commits: the documents' numbers, a
digest of each, and a head that binds all of it to the head before. The newest head stands in `chain_head`; its lock
makes the writers of an institution follow each other, so links are dense and in order of commit. Locks are taken in one
order everywhere: persons, visits, then heads by code. A transaction adds its links last.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import pack
from typing import Any, NamedTuple

import psycopg

from center.ledger.layouts import LEDGER, NEWEST, stored

CITY = "*"
"""The institution whose chain holds what concerns the whole city."""
GENESIS = bytes(32)
"""The head before the first link."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Head(NamedTuple):
    """The newest link of an institution's chain; number 0 where there is none yet."""

    link_no: int
    head: bytes


class Link(NamedTuple):
    """What a transaction adds to one chain: documents by ascending number, and a digest of each."""

    kind: str
    documents: Sequence[int]
    digests: Sequence[bytes]


class NotWritten(Exception):
    """A document is to be sealed that has no row, or more than one; ours to mend."""

    def __init__(self, number: int) -> None:
        super().__init__(f"document {number} is to be sealed and is not written")


def head_after(
    before: bytes,
    institution_code: str,
    link_no: int,
    made_at: datetime,
    link: Link,
    *,
    layout: int = NEWEST,
) -> bytes:
    """The head after a link: SHA-256 over the head before and all the link says."""
    moment = (made_at - _EPOCH) // _MICROSECOND
    count = len(link.documents)
    return sha256(
        b"".join(
            (
                before,
                pack(">QHq", link_no, layout, moment),
                f"{institution_code}\0{link.kind}\0".encode(),
                pack(f">I{count}q", count, *link.documents),
                *link.digests,
            )
        )
    ).digest()


def head_of(cursor: psycopg.Cursor[Any], institution_code: str) -> Head:
    """Where an institution's chain stands; it may be gone on the moment after."""
    cursor.execute("SELECT link_no, head FROM chain_head WHERE institution_code = %s", [institution_code])
    found = cursor.fetchone()
    return Head(0, GENESIS) if found is None else Head(*found)


def lock_heads(cursor: psycopg.Cursor[Any], codes: Collection[str]) -> dict[str, Head]:
    """Lock the heads of these chains in the order of their codes; a chain begins when it is first asked for."""
    heads = _locked(cursor, codes)
    if len(heads) < len(codes):
        cursor.execute(
            "INSERT INTO chain_head SELECT code, 0, %s FROM unnest(%s::text[]) AS code ORDER BY code"
            " ON CONFLICT DO NOTHING",
            [GENESIS, sorted(set(codes) - set(heads))],
        )
        heads = _locked(cursor, codes)
    return heads


def _locked(cursor: psycopg.Cursor[Any], codes: Collection[str]) -> dict[str, Head]:
    cursor.execute(
        "SELECT institution_code, link_no, head FROM chain_head WHERE institution_code = ANY(%s)"
        " ORDER BY institution_code FOR UPDATE",
        [list(codes)],
    )
    return {code: Head(link_no, head) for code, link_no, head in cursor.fetchall()}


def append(cursor: psycopg.Cursor[Any], links: Mapping[str, Link], *, at: datetime, layout: int = NEWEST) -> None:
    """Add one link to each of these chains. The digests must be those of the rows as written."""
    heads = lock_heads(cursor, links)
    for code in sorted(links):
        link = links[code]
        link_no = heads[code].link_no + 1
        head = head_after(heads[code].head, code, link_no, at, link, layout=layout)
        cursor.execute(
            "WITH added AS (INSERT INTO chain_link (institution_code, link_no, kind, layout, made_at, documents,"
            " digests, head) VALUES (%s, %s, %s, %s, %s, %s::bigint[], %s, %s)"
            " RETURNING institution_code, link_no, head)"
            " UPDATE chain_head SET link_no = added.link_no, head = added.head FROM added"
            " WHERE chain_head.institution_code = added.institution_code",
            [code, link_no, link.kind, layout, at, _array(link.documents), b"".join(link.digests), head],
        )


def _array(numbers: Sequence[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def seal(
    cursor: psycopg.Cursor[Any],
    documents: Mapping[str, Collection[int]],
    *,
    at: datetime,
    kind: str = LEDGER,
    layout: int = NEWEST,
) -> None:
    """Add a link over documents this transaction has written, by institution; their rows are read back for it.

    Raises NotWritten.
    """
    links = {code: _link_over(cursor, kind, layout, sorted(numbers)) for code, numbers in documents.items()}
    append(cursor, links, at=at, layout=layout)


def _link_over(cursor: psycopg.Cursor[Any], kind: str, layout: int, numbers: list[int]) -> Link:
    found = stored(cursor, layout, kind, numbers)
    for number in numbers:
        if number not in found or found[number].headings != 1:
            raise NotWritten(number)
    return Link(kind, numbers, [found[number].digest for number in numbers])
