"""Document = Σ lines, as far as the document itself says it: its parts, who pays, its postings, its contra, its answer.

Each check is one statement over a scope of documents and gives back what does not hold, with both figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import psycopg

from center.conservation.findings import NOWHERE, Finding, Flow, Level, flow_of
from domain.messages import ClaimAnswer
from domain.settlement import FUND_PREFIX

MOST_FINDINGS = 1000
"""Of one kind and run: who has more has one cause, and the first thousand name it."""
ANSWERS_AT_A_TIME = 2000


class Scope(NamedTuple):
    """Which documents are looked at: those named, or all there are, of one institution or of every one."""

    numbers: list[int] | None = None
    institution_code: str | None = None

    def where(self, number: str, institution: str) -> str:
        """The condition on a column of document numbers and one of institutions."""
        if self.numbers is not None:
            return f"{number} = ANY(%(numbers)s)"
        return "true" if self.institution_code is None else f"{institution} = %(institution)s"

    @property
    def values(self) -> dict[str, object]:
        """What the condition names."""
        return {"numbers": self.numbers, "institution": self.institution_code, "most": MOST_FINDINGS}


OWN_PAY = "coalesce(s.own_pay_fen, s.own_expense_fen + s.over_limit_fen + s.pre_self_pay_fen)"
_PERSON = f"({OWN_PAY} + s.self_pay_fen + s.over_cap_fen)"
_OWED = "(s.fund_pay_fen + s.account_pay_fen)"

_SIDES = {
    "fund": ("starts_with(p.account, 'fund:' || s.scheme || ':') OR s.scheme = '' AND starts_with(p.account, 'fund:')",
             "s.fund_pay_fen"),
    "account": ("starts_with(p.account, 'account:')", "s.account_pay_fen"),
    "payable": ("p.account = 'payable:' || s.institution_code || ':' || s.scheme || ':' || s.clearing_type"
                " OR s.scheme = '' AND p.account LIKE 'payable:' || s.institution_code || ':%%:' || s.clearing_type",
                f"-{_OWED}"),
    "cash": ("p.account = 'cash:' || s.institution_code", f"({_PERSON} - s.account_pay_fen)"),
    "share": ("p.account = 'share:' || s.institution_code", "s.institution_share_fen"),
    "charges": ("p.account = 'charges:' || s.institution_code", f"({_OWED} - s.total_fen)"),
}  # fmt: skip
"""The sides of a settlement's entry: which postings are of it, and to what they must come (domain.ledger).

A settlement from before its scheme was kept is posted to accounts of the scheme its person then had.
"""

_NAMED = " OR ".join(f"({which})" for which, _ in _SIDES.values())
_POSTED = ", ".join(
    f"coalesce(sum(p.amount_fen) FILTER (WHERE {which}), 0)::bigint AS {name}_fen"
    for name, (which, _) in _SIDES.items()
)
_EXPECTED = ",\n        ".join(
    f"('document-postings', '{name}', {expected}, posted.{name}_fen)" for name, (_, expected) in _SIDES.items()
)

SETTLEMENTS = f"""
SELECT broken.code, s.institution_code, s.scheme, s.clearing_type, s.settlement_no, broken.subject, broken.expected,
       broken.found
FROM settlement s JOIN (
    SELECT s.settlement_no, {_POSTED},
        coalesce(sum(abs(p.amount_fen)) FILTER (WHERE NOT ({_NAMED})), 0)::bigint AS other_fen,
        coalesce(sum(p.amount_fen), 0)::bigint AS rest_fen
    FROM settlement s LEFT JOIN posting p ON p.document_no = s.settlement_no
    WHERE {{scope}} GROUP BY s.settlement_no) AS posted USING (settlement_no)
CROSS JOIN LATERAL (VALUES
        ('document-splits', '', s.total_fen,
            s.own_expense_fen + s.over_limit_fen + s.pre_self_pay_fen + s.in_scope_fen),
        ('document-payers', '', s.total_fen, s.fund_pay_fen + {_PERSON} + s.institution_share_fen),
        ('document-balance', '', 0, posted.rest_fen),
        ('document-postings', 'other', 0, posted.other_fen),
        {_EXPECTED}) AS broken (code, subject, expected, found)
WHERE broken.expected <> broken.found ORDER BY s.settlement_no LIMIT %(most)s
"""

_MIRRORED = (
    "total_fen", "own_expense_fen", "over_limit_fen", "pre_self_pay_fen", "in_scope_fen", "fund_pay_fen",
    "account_pay_fen", "deductible_fen", "self_pay_fen", "over_cap_fen", "institution_share_fen",
)  # fmt: skip
_MIRRORS = ",\n        ".join(f"('{name}', -coalesce(o.{name}, 0), s.{name})" for name in _MIRRORED)

CONTRAS = f"""
SELECT 'document-contra', s.institution_code, s.scheme, s.clearing_type, s.settlement_no, broken.subject,
       broken.expected, broken.found
FROM settlement s LEFT JOIN settlement o ON o.settlement_no = s.contra_of
    AND (o.institution_code, o.scheme, o.clearing_type, o.person_no)
      = (s.institution_code, s.scheme, s.clearing_type, s.person_no)
CROSS JOIN LATERAL (VALUES
        {_MIRRORS}) AS broken (subject, expected, found)
WHERE {{scope}} AND s.kind = 'contra' AND broken.expected <> broken.found ORDER BY s.settlement_no LIMIT %(most)s
"""

STRAYS = """
SELECT table_name, document_no, count(*) FROM (
    SELECT 'posting' AS table_name, document_no FROM posting
    UNION ALL SELECT 'accumulator_entry', settlement_no FROM accumulator_entry
    UNION ALL SELECT 'detail', settlement_no FROM detail) AS kept
WHERE NOT EXISTS (SELECT FROM settlement s WHERE s.settlement_no = document_no)
    AND NOT EXISTS (SELECT FROM ledger_document d WHERE d.document_no = kept.document_no)
GROUP BY table_name, document_no ORDER BY document_no, table_name LIMIT %(most)s
"""

OTHERS = """
SELECT 'document-balance', d.institution_code, d.scheme, d.clearing_type, d.document_no, d.kind, 0,
       sum(p.amount_fen)::bigint
FROM ledger_document d JOIN posting p USING (document_no)
WHERE {scope} GROUP BY d.document_no HAVING sum(p.amount_fen) <> 0 ORDER BY d.document_no LIMIT %(most)s
"""

_ANSWERED = ("fund_pay_fen", "account_pay_fen", "deductible_fen", "self_pay_fen", "over_cap_fen",
             "institution_share_fen")  # fmt: skip
_PLACES = {name: ClaimAnswer._fields.index(name) for name in ("settlement_no", *_ANSWERED, "cells")}

ANSWERS = f"""
SELECT s.institution_code, s.scheme, s.clearing_type, s.settlement_no, s.total_fen, {
    ", ".join(f"s.{name}" for name in _ANSWERED)
}, s.answer,
       posted.accounts, posted.fen
FROM settlement s CROSS JOIN LATERAL (
    SELECT array_agg(p.account) AS accounts, array_agg(p.amount_fen) AS fen FROM posting p
    WHERE p.document_no = s.settlement_no AND starts_with(p.account, '{FUND_PREFIX}')) AS posted
WHERE {{scope}} ORDER BY s.settlement_no
"""
_read_answer = msgspec.msgpack.Decoder(list).decode


def broken_documents(cursor: psycopg.Cursor[Any], scope: Scope) -> Iterator[Finding]:
    """What does not hold of the documents of the scope, each by itself."""
    own = scope.where("s.settlement_no", "s.institution_code")
    for statement, condition in (
        (SETTLEMENTS, own),
        (CONTRAS, own),
        (OTHERS, scope.where("d.document_no", "d.institution_code")),
    ):
        cursor.execute(statement.format(scope=condition), scope.values)
        for code, institution_code, scheme, clearing_type, number, subject, expected, found in cursor.fetchall():
            flow = flow_of(institution_code, scheme, clearing_type)
            yield Finding(Level.DOCUMENT, code, flow, expected, found, number, subject=subject)


def strays(cursor: psycopg.Cursor[Any]) -> Iterator[Finding]:
    """What is kept of documents there are not: postings, movements of accumulators, detail."""
    cursor.execute(STRAYS, {"most": MOST_FINDINGS})
    for table, number, rows in cursor.fetchall():
        yield Finding(Level.DOCUMENT, "document-stray", NOWHERE, 0, rows, number, subject=table)


def broken_answers(cursor: psycopg.Cursor[Any], scope: Scope) -> Iterator[Finding]:
    """Documents whose stored answer, the one the front-end was given, says other amounts than they do, or others for
    the layers of their fund than are posted."""
    cursor.execute(ANSWERS.format(scope=scope.where("s.settlement_no", "s.institution_code")), scope.values)
    while rows := cursor.fetchmany(ANSWERS_AT_A_TIME):
        for institution_code, scheme, clearing_type, number, total_fen, *amounts, packed, accounts, fen in rows:
            posted = _by_layer(zip(accounts or (), fen or (), strict=True))
            wrong = _differs(number, total_fen, amounts, packed, posted)
            if wrong is not None:
                flow = Flow(institution_code, scheme, clearing_type)
                yield Finding(Level.DOCUMENT, "document-answer", flow, wrong[1], wrong[2], number, subject=wrong[0])


def _by_layer(paid: Iterable[tuple[str, int]]) -> dict[str, int]:
    """By the last name of a fund's account or cell: its layer; without those that come to nothing."""
    layers: defaultdict[str, int] = defaultdict(int)
    for name, fen in paid:
        layers[name.rpartition(":")[2]] += fen
    return {layer: fen for layer, fen in layers.items() if fen}


def _differs(
    number: int, total_fen: int, amounts: list[int], packed: bytes, posted: dict[str, int]
) -> tuple[str, int, int] | None:
    """The first name under which the answer says another number, with both."""
    try:
        answer = _read_answer(packed)
        told = [answer[_PLACES[name]] for name in _ANSWERED]
        cells = answer[_PLACES["cells"]] if len(answer) > _PLACES["cells"] else []
        pairs = [("settlement_no", number, answer[_PLACES["settlement_no"]])]
    except (msgspec.MsgspecError, IndexError):
        return "answer", total_fen, 0
    pairs += zip(_ANSWERED, amounts, told, strict=True)
    if cells:
        pairs.append(("cells", total_fen, sum([cell[2] for cell in cells])))
        funds = _by_layer((cell[1], cell[2]) for cell in cells if cell[1].startswith(FUND_PREFIX))
        pairs.append(("cells of funds", amounts[0], sum(funds.values())))
        layers = sorted({*posted, *funds})
        pairs += [(f"{FUND_PREFIX}{layer}", funds.get(layer, 0), posted.get(layer, 0)) for layer in layers]
    return next(((name, held, said) for name, held, said in pairs if held != said), None)
