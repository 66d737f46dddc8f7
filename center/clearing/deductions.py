"""Deductions after review (审核扣款): from named settlements, by fund, back to the fund; posted when approved.

A deduction belongs to the next clearing. Is its settlement taken back later, the fund has its money twice: the closing
that takes up the contra gives the deduction back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, text

from center.clearing.members import DEDUCTION, DEDUCTION_BACK
from center.ledger import documents
from center.ledger.documents import Document
from center.settling.records import cursor_of
from domain import ledger
from domain.clearing import Flow
from domain.money import yuan

MOST_PARTS = 500


class Part(NamedTuple):
    """What is deducted of one settlement from one fund."""

    settlement_no: int
    layer: str
    amount_fen: int


class CannotDeduct(Exception):
    """It cannot be deducted; the message is for the clerk."""


def flow_of(connection: Connection, parts: Sequence[Part]) -> Flow:
    """The flow all the parts are of, when each can be deducted. Raises CannotDeduct.

    A part is at most what the fund paid of the settlement less what is deducted of it already; a settlement that is
    taken back, or is a contra itself, has nothing to deduct from.
    """
    _require_parts(parts)
    numbers = sorted({part.settlement_no for part in parts})
    rows = connection.execute(
        text(
            "SELECT settlement_no, institution_code, scheme, clearing_type, kind,"
            " (SELECT contra.settlement_no FROM settlement AS contra"
            "  WHERE contra.contra_of = settlement.settlement_no) AS taken_back"
            " FROM settlement WHERE settlement_no = ANY(:numbers)"
        ),
        {"numbers": numbers},
    ).all()
    found = {row.settlement_no: row for row in rows}
    for number in numbers:
        if number not in found or found[number].kind != "normal":
            raise CannotDeduct(f"没有结算单 {number}")
        if found[number].taken_back is not None:
            raise CannotDeduct(f"结算单 {number} 已由 {found[number].taken_back} 冲回，无可扣款")
    flows = {Flow(row.institution_code, row.scheme, row.clearing_type) for row in rows}
    if len(flows) != 1:
        raise CannotDeduct("一份扣款只能涉及同一机构、险种和清算类别")
    (flow,) = flows
    left = _left(connection, numbers, flow.scheme)
    for part in parts:
        rest = left.get((part.settlement_no, part.layer), 0)
        if part.amount_fen > rest:
            asked = yuan(part.amount_fen)
            raise CannotDeduct(
                f"结算单 {part.settlement_no} 的 {part.layer} 只剩 {yuan(rest)} 元可扣，不能扣 {asked} 元"
            )
    return flow


def _require_parts(parts: Sequence[Part]) -> None:
    if not 0 < len(parts) <= MOST_PARTS:
        raise CannotDeduct(f"一份扣款要有 1 至 {MOST_PARTS} 笔")
    if len({part[:2] for part in parts}) != len(parts):
        raise CannotDeduct("同一结算单的同一基金只能写一次")
    if any(part.amount_fen <= 0 for part in parts):
        raise CannotDeduct("扣款金额应大于零")


def _left(connection: Connection, numbers: Sequence[int], scheme: str) -> dict[tuple[int, str], int]:
    """What each fund paid of each settlement and is not deducted."""
    rows = connection.execute(
        text(
            "SELECT number, layer, sum(fen)::bigint FROM ("
            " SELECT document_no AS number, substr(account, length(CAST(:funds AS text)) + 1) AS layer,"
            "  amount_fen AS fen"
            " FROM posting WHERE document_no = ANY(:numbers) AND starts_with(account, :funds)"
            " UNION ALL SELECT settlement_no, layer, -amount_fen FROM deduction WHERE settlement_no = ANY(:numbers)"
            ") AS moved GROUP BY number, layer"
        ),
        {"numbers": list(numbers), "funds": ledger.fund(scheme, "")},
    )
    return {(number, layer): fen for number, layer, fen in rows}


def deduct(
    connection: Connection, parts: Sequence[Part], *, by: str, approved_by: str, reason: str, at: datetime
) -> int:
    """Post a deduction; its number. The caller holds the lock of the institution's chain. Raises CannotDeduct."""
    flow = flow_of(connection, parts)
    total_fen = sum(part.amount_fen for part in parts)
    cursor = cursor_of(connection)
    number = documents.post(
        cursor,
        Document(
            kind=DEDUCTION,
            **flow._asdict(),
            day=at.date(),
            made_by=by,
            approved_by=approved_by,
            reason=reason,
            amount_fen=total_fen,
            content={"parts": [list(part) for part in parts]},
        ),
        [(ledger.cleared(*flow), total_fen), *_to_funds(flow, parts)],
        at=at,
    )
    _record(cursor, number, parts)
    return number


def give_back(cursor: psycopg.Cursor[Any], flow: Flow, *, until: date, by: str, at: datetime) -> list[int]:
    """Give back what is deducted from settlements that are taken back by the day; the numbers of the documents.

    They are written without a link: the caller seals them with what else it writes.
    """
    cursor.execute(
        "SELECT min(document_no), deduction.settlement_no, layer, sum(amount_fen)::bigint"
        " FROM deduction JOIN settlement USING (settlement_no)"
        " JOIN settlement AS contra ON contra.contra_of = settlement.settlement_no"
        " WHERE settlement.institution_code = %(institution_code)s AND settlement.scheme = %(scheme)s"
        " AND settlement.clearing_type = %(clearing_type)s AND contra.settled_day <= %(until)s"
        " GROUP BY deduction.settlement_no, layer HAVING sum(amount_fen) > 0 ORDER BY 2, layer",
        {**flow._asdict(), "until": until},
    )
    by_settlement: dict[int, tuple[int, list[Part]]] = {}
    for deduction_no, settlement_no, layer, amount_fen in cursor.fetchall():
        by_settlement.setdefault(settlement_no, (deduction_no, []))[1].append(Part(settlement_no, layer, -amount_fen))
    numbers = []
    for settlement_no, (deduction_no, parts) in by_settlement.items():
        total_fen = -sum(part.amount_fen for part in parts)
        document = Document(
            kind=DEDUCTION_BACK,
            **flow._asdict(),
            day=until,
            made_by=by,
            reason=f"结算单 {settlement_no} 已冲回，原扣款退还",
            amount_fen=total_fen,
            refers_to=deduction_no,
            content={"parts": [list(part) for part in parts]},
        )
        number = documents.write(
            cursor, document, [(ledger.cleared(*flow), -total_fen), *_to_funds(flow, parts)], at=at
        )
        _record(cursor, number, parts)
        numbers.append(number)
    return numbers


def _to_funds(flow: Flow, parts: Sequence[Part]) -> list[tuple[str, int]]:
    return [(ledger.fund(flow.scheme, part.layer), -part.amount_fen) for part in parts]


def _record(cursor: psycopg.Cursor[Any], number: int, parts: Sequence[Part]) -> None:
    cursor.execute(
        "INSERT INTO deduction (document_no, settlement_no, layer, amount_fen)"
        " SELECT %s, * FROM unnest(%s::bigint[], %s::text[], %s::bigint[])",
        [number, *map(list, zip(*parts, strict=True))],
    )
