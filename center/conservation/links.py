"""What is new since the last check: the links of the chains above the watermarks, dense and in order of commit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg

from center.conservation.documents import MOST_FINDINGS, Scope
from center.conservation.findings import Finding, Level, flow_of

LINKS_AT_A_TIME = 1000
"""So many links are looked at in one snapshot; each is one transaction of an institution."""

NEW_LINKS = """
SELECT l.institution_code, l.link_no, l.kind, l.documents, h.link_no, coalesce(w.link_no, 0)
FROM chain_head h LEFT JOIN books_watermark w USING (institution_code)
JOIN chain_link l ON l.institution_code = h.institution_code AND l.link_no > coalesce(w.link_no, 0)
WHERE h.link_no > coalesce(w.link_no, 0) AND {heads}
ORDER BY l.institution_code, l.link_no LIMIT %(limit)s
"""

MISPLACED = """
SELECT named.institution_code, found.scheme, found.clearing_type, named.document_no, found.institution_code
FROM unnest(%s::text[], %s::bigint[]) AS named (institution_code, document_no) LEFT JOIN LATERAL (
    SELECT institution_code, scheme, clearing_type FROM settlement WHERE settlement_no = named.document_no
    UNION ALL SELECT institution_code, scheme, clearing_type FROM ledger_document d
    WHERE d.document_no = named.document_no) AS found ON true
WHERE found.institution_code IS DISTINCT FROM named.institution_code
"""

POSTED = """
SELECT document_no, split_part(account, ':', 3), split_part(account, ':', 4) FROM posting
WHERE document_no = ANY(%s) AND (account LIKE 'payable:%%' OR account LIKE 'cleared:%%')
"""
"""The flow of a document that is not there any more, by the postings it has left."""

UNLINKED = """
WITH linked AS (
    SELECT institution_code, unnest(documents) AS document_no FROM chain_link l WHERE kind = 'ledger' AND {links}),
written AS (
    SELECT institution_code, scheme, clearing_type, settlement_no AS document_no FROM settlement s WHERE {settlements}
    UNION ALL
    SELECT institution_code, scheme, clearing_type, document_no FROM ledger_document d WHERE {documents})
SELECT coalesce(w.institution_code, l.institution_code), w.scheme, w.clearing_type,
       document_no, (l.institution_code IS NOT NULL)::int, (w.institution_code IS NOT NULL)::int
FROM linked l FULL JOIN written w USING (institution_code, document_no)
WHERE l.institution_code IS NULL OR w.institution_code IS NULL ORDER BY document_no LIMIT %(most)s
"""

GAPS = """
SELECT h.institution_code, h.link_no, count(l.link_no), coalesce(max(l.link_no), 0)
FROM chain_head h LEFT JOIN chain_link l USING (institution_code) WHERE {heads}
GROUP BY h.institution_code HAVING h.link_no <> count(l.link_no) OR h.link_no <> coalesce(max(l.link_no), 0)
"""


class News(NamedTuple):
    """The new links of one snapshot."""

    upto: dict[str, tuple[int, int]]
    """By institution: the watermark as it was, and the last link that is new."""
    at_head: frozenset[str]
    """Institutions of whose chain nothing is left: their sums can be compared."""
    documents: dict[str, list[int]]
    """The numbers of ledger documents, by institution."""
    findings: list[Finding]
    """Links that are not there."""

    @property
    def scope(self) -> Scope:
        """All new documents."""
        return Scope([number for numbers in self.documents.values() for number in numbers])


def news(cursor: psycopg.Cursor[Any], limit: int = LINKS_AT_A_TIME, institution_code: str | None = None) -> News:
    """What is new, a bounded number of links of it; of one institution, or of all."""
    scope = Scope(institution_code=institution_code)
    wanted = NEW_LINKS.format(heads=scope.where("", "h.institution_code"))
    cursor.execute(wanted, {**scope.values, "limit": limit})
    upto: dict[str, tuple[int, int]] = {}
    heads: dict[str, int] = {}
    documents: defaultdict[str, list[int]] = defaultdict(list)
    findings: list[Finding] = []
    for code, link_no, kind, numbers, head, watermark in cursor.fetchall():
        before, last = upto.get(code, (watermark, watermark))
        if link_no != last + 1:
            findings.append(_gap(code, last + 1, link_no))
        upto[code] = before, link_no
        heads[code] = head
        if kind == "ledger":
            documents[code] += numbers
    at_head = frozenset(code for code, head in heads.items() if upto[code][1] >= head)
    return News(upto, at_head, dict(documents), findings)


def misplaced(cursor: psycopg.Cursor[Any], found: News) -> Iterator[Finding]:
    """Documents a link names and nobody has, or another institution has."""
    pairs = [(code, number) for code, numbers in found.documents.items() for number in numbers]
    cursor.execute(MISPLACED, [[code for code, _ in pairs], [number for _, number in pairs]])
    rows = cursor.fetchall()
    posted = _posted(cursor, [number for _, scheme, _, number, _ in rows if scheme is None])
    for code, scheme, clearing_type, number, owner in rows:
        what = "document-missing" if owner is None else "document-institution"
        flow = posted.get(number, ()) if scheme is None else (scheme, clearing_type)
        yield Finding(Level.DOCUMENT, what, flow_of(code, *flow), 1, 0, number, subject=owner or "")


def unlinked(cursor: psycopg.Cursor[Any], scope: Scope) -> Iterator[Finding]:
    """Of all documents: those no link names, those no table has, and links that are not there."""
    where = {
        "links": scope.where("", "l.institution_code"),
        "settlements": scope.where("", "s.institution_code"),
        "documents": scope.where("", "d.institution_code"),
        "heads": scope.where("", "h.institution_code"),
    }
    cursor.execute(UNLINKED.format(**where), scope.values)
    rows = cursor.fetchall()
    posted = _posted(cursor, [number for _, scheme, _, number, *_ in rows if scheme is None])
    for code, scheme, clearing_type, number, is_linked, is_written in rows:
        what = "document-unlinked" if is_written else "document-missing"
        flow = posted.get(number, ()) if scheme is None else (scheme, clearing_type)
        yield Finding(Level.DOCUMENT, what, flow_of(code, *flow), is_written, is_linked, number)
    cursor.execute(GAPS.format(**where), {**scope.values, "most": MOST_FINDINGS})
    for code, head, count, last in cursor.fetchall():
        yield _gap(code, head, count if count != head else last)


def _posted(cursor: psycopg.Cursor[Any], numbers: list[int]) -> dict[int, tuple[str, str]]:
    """Scheme and clearing type of documents that are not there, where their postings still say it."""
    if not numbers:
        return {}
    cursor.execute(POSTED, [numbers])
    return {number: (scheme, clearing_type) for number, scheme, clearing_type in cursor.fetchall()}


def _gap(code: str, expected: int, found: int) -> Finding:
    return Finding(Level.DOCUMENT, "link-missing", flow_of(code), expected, found)
