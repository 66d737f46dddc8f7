"""Verifying the chains (验链): every link is followed from the first, every document compared with its digest.

What was edited, deleted, added, put in another order or cut off is found in one pass over a snapshot, link by link:
the memory it takes does not grow with the ledger. A chain that was written anew from some link on is whole in itself;
only a head that left the database before shows it (`center.ledger.export`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import chain as chain_of
from itertools import islice
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Engine

from center.ledger.chain import GENESIS, Head, Link, head_after
from center.ledger.export import ExportedHead
from center.ledger.layouts import AUDIT, DIGEST_BYTES, HEADED, LAYOUTS, LEDGER, stored
from center.settling.records import cursor_of

AT_ONCE = 2_000
"""Documents read and hashed together."""
MOST_TOLD = 1_000
"""Where more than this is wrong, the rest is not looked at."""


class What(StrEnum):
    """What was found."""

    EDITED = "edited"
    DELETED = "deleted"
    ADDED = "added"
    LINK_ALTERED = "link-altered"
    LINK_MISSING = "link-missing"
    CUT_OFF = "cut-off"
    REWRITTEN = "rewritten"


WORDS = {
    What.EDITED: "凭证内容被改动",
    What.DELETED: "凭证被删除",
    What.ADDED: "凭证不在链中（被添加）",
    What.LINK_ALTERED: "链环被改动或调换",
    What.LINK_MISSING: "链环缺失",
    What.CUT_OFF: "链被截断",
    What.REWRITTEN: "链与导出的链头不符（被重写或截断）",
}


class Tampering(NamedTuple):
    """One thing that is not as it was written: in which chain, at which link, which document (0: all of the link)."""

    what: What
    institution_code: str
    link_no: int
    document_no: int
    kind: str = LEDGER


class Verified(NamedTuple):
    """What was looked at, and what is wrong: at most the first thousand of it."""

    chains: int
    links: int
    documents: int
    heads: int
    """Exported heads the chains were compared with; without any, a chain written anew looks whole."""
    lost: int
    """Heads beside these, of what a restored database had lost when they were exported: they match nothing any more."""
    began_at: datetime | None
    """When the oldest of the chains began."""
    tamperings: tuple[Tampering, ...]


class _Row(NamedTuple):
    """A row of chain_link."""

    link_no: int
    kind: str
    layout: int
    made_at: datetime
    documents: Sequence[int]
    digests: bytes
    head: bytes

    @property
    def link(self) -> Link:
        """What the link says, as it was made from."""
        size = DIGEST_BYTES
        return Link(
            self.kind, self.documents, [self.digests[at : at + size] for at in range(0, len(self.digests), size)]
        )


def verify(
    engine: Engine, *, institution_codes: Collection[str] = (), exported: Collection[ExportedHead] = ()
) -> Verified:
    """Verify these institutions' chains, or all of them, on one snapshot of the database; it writes nothing.

    `exported` are heads that left the database before.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        return verify_in(cursor_of(connection), institution_codes=institution_codes, exported=exported)


def verify_in(
    cursor: psycopg.Cursor[Any],
    *,
    institution_codes: Collection[str] = (),
    exported: Collection[ExportedHead] = (),
) -> Verified:
    """As `verify`, of what this transaction sees; it should be one that sees one snapshot."""
    held = _heads(cursor)
    lives = _lost_lives(cursor)
    codes = sorted(
        set(institution_codes) or {*held, *_codes_of_links(cursor), *(one.institution_code for one in exported)}
    )
    chains = [_Chain(cursor, code, held.get(code), exported, lives) for code in codes]
    wrong = chain_of(*(chain.tamperings() for chain in chains), _unlinked(cursor, institution_codes))
    found = tuple(islice(wrong, MOST_TOLD))
    return Verified(
        chains=len(chains),
        links=sum(chain.links for chain in chains),
        documents=sum(chain.documents for chain in chains),
        heads=sum(chain.heads for chain in chains),
        lost=sum(chain.lost for chain in chains),
        began_at=min((chain.began_at for chain in chains if chain.began_at is not None), default=None),
        tamperings=found,
    )


def _heads(cursor: psycopg.Cursor[Any]) -> dict[str, Head]:
    cursor.execute("SELECT institution_code, link_no, head FROM chain_head")
    return {code: Head(link_no, head) for code, link_no, head in cursor.fetchall()}


def _codes_of_links(cursor: psycopg.Cursor[Any]) -> set[str]:
    cursor.execute("SELECT DISTINCT institution_code FROM chain_link")
    return {code for (code,) in cursor.fetchall()}


class _Lost(NamedTuple):
    """What a restored database may have lost: made from `since` on, before its new life `began`."""

    since: datetime
    began: datetime


def _lost_lives(cursor: psycopg.Cursor[Any]) -> list[_Lost]:
    """Of every restore there was; each stands in the audit, with who began the new life and why."""
    cursor.execute("SELECT since, began_at FROM epoch ORDER BY epoch")
    return [_Lost._make(row) for row in cursor.fetchall()]


class _Chain:
    """One institution's chain, followed once."""

    def __init__(
        self,
        cursor: psycopg.Cursor[Any],
        code: str,
        held: Head | None,
        exported: Collection[ExportedHead],
        lives: Sequence[_Lost],
    ) -> None:
        self._cursor, self._code, self._held, self._lives = cursor, code, held, lives
        self._exported: defaultdict[int, list[ExportedHead]] = defaultdict(list)
        for one in exported:
            if one.institution_code == code:
                self._exported[one.head.link_no].append(one)
        self.links = self.documents = self.heads = self.lost = 0
        self.began_at: datetime | None = None

    def tamperings(self) -> Iterator[Tampering]:
        """Everything that is wrong with it, in the order of its links."""
        before, expected = GENESIS, 1
        for rows in _in_turn(self._cursor, self._code):
            for row in rows:
                while expected < row.link_no:
                    yield self._at(What.LINK_MISSING, expected)
                    expected += 1
                yield from self._link(row, before)
                before, expected = row.head, row.link_no + 1
                self.began_at = self.began_at or row.made_at
                self.links += 1
                self.documents += len(row.documents)
            yield from self._contents(rows)
        newest, held = expected - 1, self._held or Head(0, GENESIS)
        if held.link_no > newest:
            yield self._at(What.CUT_OFF, newest + 1)
        elif held != (newest, before):
            yield self._at(What.LINK_ALTERED, newest)
        for link_no in sorted(self._exported):
            if link_no > newest and not self._agrees(link_no, b"", made_at=None):
                yield self._at(What.REWRITTEN, link_no)

    def _link(self, row: _Row, before: bytes) -> Iterator[Tampering]:
        whole = (
            len(row.digests) == DIGEST_BYTES * len(row.documents)
            and row.layout in LAYOUTS
            and row.kind in LAYOUTS[row.layout]
            and head_after(before, self._code, row.link_no, row.made_at, row.link, layout=row.layout) == row.head
        )
        if not whole:
            yield self._at(What.LINK_ALTERED, row.link_no, kind=row.kind)
        if not self._agrees(row.link_no, row.head, made_at=row.made_at):
            yield self._at(What.REWRITTEN, row.link_no, kind=row.kind)

    def _agrees(self, link_no: int, head: bytes, *, made_at: datetime | None) -> bool:
        """Whether every head exported of this link is the link's, or of a life of the database that was lost. `made_at`
        is when the link was made; None where it is not there."""
        wrong = [one for one in self._exported.get(link_no, ()) if one.head.head != head]
        lost = [
            one
            for one in wrong
            if any(life.since <= one.at < life.began and (made_at or life.since) >= life.since for life in self._lives)
        ]
        self.lost += len(lost)
        self.heads += len(self._exported.get(link_no, ())) - len(lost)
        return len(wrong) == len(lost)

    def _contents(self, rows: Sequence[_Row]) -> Iterator[Tampering]:
        """The documents of some links against their digests."""
        for layout, kind in {(row.layout, row.kind) for row in rows}:
            if layout not in LAYOUTS or kind not in LAYOUTS[layout]:
                continue
            of_kind = [row for row in rows if (row.layout, row.kind) == (layout, kind)]
            there = stored(self._cursor, layout, kind, [number for row in of_kind for number in row.documents])
            for row in of_kind:
                for number, digest in zip(row.documents, row.link.digests, strict=False):
                    document = there.get(number)
                    if document is None or not document.headings:
                        yield self._at(What.DELETED, row.link_no, number, kind)
                    elif document.digest != digest:
                        yield self._at(What.EDITED, row.link_no, number, kind)

    def _at(self, what: What, link_no: int, document_no: int = 0, kind: str = LEDGER) -> Tampering:
        return Tampering(what, self._code, link_no, document_no, kind)


def _in_turn(cursor: psycopg.Cursor[Any], code: str) -> Iterator[list[_Row]]:
    """The links of a chain in their order, as many at a time as hold some two thousand documents."""
    last, at_once = 0, 20
    while True:
        cursor.execute(
            "SELECT link_no, kind, layout, made_at, documents, digests, head FROM chain_link"
            " WHERE institution_code = %s AND link_no > %s ORDER BY link_no LIMIT %s",
            [code, last, at_once],
        )
        rows = [_Row._make(row) for row in cursor.fetchall()]
        if not rows:
            return
        yield rows
        last = rows[-1].link_no
        documents = sum(len(row.documents) for row in rows)
        at_once = max(1, min(AT_ONCE, AT_ONCE * len(rows) // max(1, documents)))


_UNLINKED = {
    LEDGER: (
        "SELECT settlement_no, institution_code FROM settlement",
        "SELECT document_no, institution_code FROM ledger_document",
    ),
    AUDIT: ("SELECT audit_no, institution_code FROM audit",),
}
_STRAY = {"posting": "document_no", "accumulator_entry": "settlement_no"}
"""Rows of a document that have no heading of their own: they may name a document there is not."""


def _unlinked(cursor: psycopg.Cursor[Any], institution_codes: Collection[str]) -> Iterator[Tampering]:
    """Rows that belong to no link: somebody wrote them past the application."""
    only = " WHERE institution_code = ANY(%s)" if institution_codes else ""
    values = [list(institution_codes)] if institution_codes else []
    for kind, headings in _UNLINKED.items():
        linked = f"SELECT unnest(documents), institution_code FROM chain_link WHERE kind = '{kind}'"
        for heading in headings:
            cursor.execute(f"({heading}{only}) EXCEPT ({linked}) ORDER BY 2, 1", values)
            for number, code in cursor.fetchall():
                yield Tampering(What.ADDED, code, 0, number, kind)
    for table, number_column in _STRAY.items():
        cursor.execute(
            f"SELECT {number_column} FROM {table} EXCEPT SELECT unnest(documents) FROM chain_link"
            f" WHERE kind = '{LEDGER}' ORDER BY 1"
        )
        for (number,) in cursor.fetchall():
            yield Tampering(What.ADDED, "", 0, number, LEDGER)


assert set(HEADED) == set(_UNLINKED)
