"""Line = Σ splits, and document = Σ lines: uploaded detail against the settlement it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

import msgpack
import msgspec
from sqlalchemy import Connection

from center.catalogue.shelf import CatalogueShelf
from center.conservation.documents import Scope
from center.conservation.findings import Finding, Flow, Level
from center.policy.shelf import PolicyShelf
from center.settling import inputs
from center.settling.records import cursor_of
from domain.catalogue import Catalogue, Matched
from domain.money import amount_of
from domain.totals import PLAIN, LineRules, LocalTotals, digest_of, total_up
from domain.visit import ChargeLine, unpack_lines

DETAILS_AT_A_TIME = 500

DETAILS = """
SELECT s.institution_code, s.scheme, s.clearing_type, s.settlement_no, s.total_fen, s.own_expense_fen,
       s.over_limit_fen, s.pre_self_pay_fen, s.in_scope_fen, s.line_count, s.digest, s.inputs, s.catalogue_version,
       s.policy_version, d.line_count, d.total_fen, d.lines
FROM detail d JOIN settlement s USING (settlement_no) {due} WHERE {scope} ORDER BY settlement_no {limit}
"""
_SUMS = ("total_fen", "own_expense_fen", "over_limit_fen", "pre_self_pay_fen", "in_scope_fen")
_CODES = dict.fromkeys(_SUMS, "line-parts") | {"total_fen": "line-total"}


class Uploaded(NamedTuple):
    """The detail of one settlement, and what the settlement says of it."""

    flow: Flow
    settlement_no: int
    sums: LocalTotals
    inputs: bytes
    catalogue_version: str
    policy_version: str
    line_count: int
    total_fen: int
    lines: bytes


class Lines:
    """Checks uploaded lines with the catalogue and the policy their settlement was made with."""

    def __init__(self, connection: Connection, catalogues: CatalogueShelf, policies: PolicyShelf) -> None:
        self._connection, self._catalogues, self._policies = connection, catalogues, policies

    def due(self) -> list[Uploaded]:
        """Detail nobody has checked yet, a bounded number."""
        return list(self._read("JOIN detail_due USING (settlement_no)", Scope(), f"LIMIT {DETAILS_AT_A_TIME}"))

    def all(self, scope: Scope) -> Iterator[Uploaded]:
        """All detail of the scope."""
        return self._read("", scope, "")

    def _read(self, due: str, scope: Scope, limit: str) -> Iterator[Uploaded]:
        cursor = cursor_of(self._connection)
        where = scope.where("s.settlement_no", "s.institution_code")
        cursor.execute(DETAILS.format(due=due, scope=where, limit=limit), scope.values)
        while rows := cursor.fetchmany(DETAILS_AT_A_TIME):
            for row in rows:
                yield Uploaded(Flow(*row[:3]), row[3], LocalTotals(*row[4:11]), *row[11:])

    def broken(self, uploaded: Uploaded) -> Finding | None:
        """The first thing that does not hold of the lines of one settlement."""
        held = uploaded.sums
        if uploaded.line_count != held.line_count:
            return _finding("line-count", uploaded, held.line_count, uploaded.line_count)
        if digest_of(uploaded.lines) != held.digest:
            return _finding("line-digest", uploaded, 1, 0)
        try:
            lines = unpack_lines(uploaded.lines)
            matched = self._matched(uploaded, lines)
        except (ValueError, msgspec.MsgspecError, msgpack.UnpackException):
            return _finding("line-digest", uploaded, 1, 0)
        if matched is None:
            return None
        return self._split(uploaded, lines, matched)

    def _matched(self, uploaded: Uploaded, lines: Sequence[ChargeLine]) -> list[Matched] | None:
        catalogue: Catalogue | None = self._catalogues.version(self._connection, uploaded.catalogue_version)
        if catalogue is None:
            return None
        code = uploaded.flow.institution_code
        return [catalogue.on(code, line.local_item_code, _day_of(line)) for line in lines]

    def _split(self, uploaded: Uploaded, lines: Sequence[ChargeLine], matched: Sequence[Matched]) -> Finding | None:
        rules = self._rules(uploaded)
        for line in lines:
            amount, price, quantity = line.line_amount_fen or 0, line.unit_price_1e4 or 0, line.quantity_1e2 or 0
            if amount != amount_of(price, quantity):
                return _finding("line-amount", uploaded, amount_of(price, quantity), amount, f"第 {line.line_no} 行")
        added = total_up(zip(lines, matched, strict=True), uploaded.lines, rules)
        for name in _SUMS:
            expected, found = getattr(added, name), getattr(uploaded.sums, name)
            if expected != found:
                return _finding(_CODES[name], uploaded, expected, found, name)
        if uploaded.total_fen != added.total_fen:
            return _finding("line-total", uploaded, added.total_fen, uploaded.total_fen, "detail")
        return None

    def _rules(self, uploaded: Uploaded) -> LineRules:
        policy = self._policies.book(self._connection, uploaded.policy_version)
        if not uploaded.inputs or policy is None:
            return PLAIN
        _, person, _, occasion = inputs.unpacked(uploaded.inputs, uploaded.sums)
        return policy.line_rules(
            person.scheme, person.category, occasion.visit_type, occasion.institution_level, occasion.day
        )


def _day_of(line: ChargeLine) -> date:
    """Raises ValueError for a line without its day."""
    if line.charge_date is None:
        raise ValueError("a line without its day")
    return line.charge_date


def _finding(code: str, uploaded: Uploaded, expected: int, found: int, subject: str = "") -> Finding:
    level = Level.LINE if code in ("line-amount", "line-parts") else Level.DOCUMENT
    return Finding(level, code, uploaded.flow, expected, found, uploaded.settlement_no, subject=subject)
