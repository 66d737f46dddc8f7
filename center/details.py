"""Detail (费用明细): proof that the lines uploaded are the lines a claim's totals came from."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgpack
from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.postgresql import insert

from center import windows
from center.cases import Case, Kind, open_cases
from center.catalogues import CatalogueShelf
from center.tables import detail, institution, settlement
from domain.messages import ClaimDetail, DetailReceipt, DetailReceived, DetailUploaded
from domain.money import yuan
from domain.totals import LocalTotals, digest_of, total_up
from domain.visit import ChargeLine, unpack_lines
from infra.codec import pack

log = logging.getLogger("center")

Settled = Row[Any]

_WORDS = {
    "line_count": "明细笔数",
    "total_fen": "总金额",
    "own_expense_fen": "全自费金额",
    "over_limit_fen": "超限价金额",
    "pre_self_pay_fen": "部分项目自付金额",
    "in_scope_fen": "政策范围内金额",
    "digest": "明细摘要",
}


class StaleSlice(Exception):
    """The upload came under a slice that is over; the front-end sends it again when it is granted another."""

    def __init__(self, frontend: str, fence: int) -> None:
        super().__init__(f"slice {fence} of front-end {frontend!r} is over")


def receive_details(
    uploaded: DetailUploaded,
    *,
    frontend: str,
    connection: Connection,
    catalogues: CatalogueShelf,
    at: datetime,
) -> DetailReceived:
    """Keep the lines that are those of their settled claims; open one case for each claim whose lines are not.

    Every claim gets a receipt with the count, the sum and the digest of what came. Running it twice changes nothing.
    Raises StaleSlice when the slice is over.
    """
    lines = sum(max(0, claim.line_count) for claim in uploaded.claims)
    if not windows.count_received(connection, frontend, fence=uploaded.fence, lines=lines, at=at):
        raise StaleSlice(frontend, uploaded.fence)
    settled = _settled(connection, {claim.visit_no for claim in uploaded.claims})
    own = _institutions_of(connection, frontend)

    receipts: list[DetailReceipt] = []
    rows: list[dict[str, object]] = []
    cases: list[Case] = []
    for claim in uploaded.claims:
        totals = settled.get((claim.visit_no, claim.charge_batch_no))
        case = None
        accepted = False
        if claim.institution_code not in own or (totals and totals.institution_code != claim.institution_code):
            log.warning("detail_of_another", extra={"frontend": frontend, "institution": claim.institution_code})
        elif totals is None:
            case = _unknown(claim)
        else:
            case = _mismatch(claim, totals, catalogues, connection)
            accepted = case is None
        if case is not None:
            cases.append(case)
        if accepted and totals is not None:
            rows.append(_row(claim, totals.settlement_no, at))
        receipts.append(_receipt(claim, accepted))

    if rows:
        connection.execute(insert(detail).values(rows).on_conflict_do_nothing())
    opened = open_cases(connection, cases, at)
    log.info(
        "detail_received",
        extra={"frontend": frontend, "claims": len(uploaded.claims), "lines": lines, "cases_opened": opened},
    )
    return DetailReceived(receipts=tuple(receipts))


def _settled(connection: Connection, visit_nos: Collection[str]) -> dict[tuple[str, int], Settled]:
    storable = [visit_no for visit_no in visit_nos if "\0" not in visit_no]
    columns = settlement.c
    found = connection.execute(
        select(
            columns.settlement_no,
            columns.institution_code,
            columns.visit_no,
            columns.charge_batch_no,
            columns.line_count,
            columns.total_fen,
            columns.own_expense_fen,
            columns.over_limit_fen,
            columns.pre_self_pay_fen,
            columns.in_scope_fen,
            columns.digest,
            columns.catalogue_version,
        ).where(columns.visit_no.in_(storable), columns.kind == "normal")
    )
    return {(row.visit_no, row.charge_batch_no): row for row in found}


def _institutions_of(connection: Connection, frontend: str) -> set[str]:
    codes = select(institution.c.institution_code).where(institution.c.frontend == frontend)
    return set(connection.execute(codes).scalars())


def _mismatch(
    claim: ClaimDetail, settled: Settled, catalogues: CatalogueShelf, connection: Connection
) -> Case | None:
    """The case to open when the lines are not those the claim was settled from: the first number that differs."""
    try:
        lines = unpack_lines(claim.packed_lines)
        sent = _added_up(claim, lines, settled, catalogues, connection)
    except _UNREADABLE as error:
        log.warning("detail_unreadable", extra={"settlement_no": settled.settlement_no, "error": type(error).__name__})
        return _case(Kind.DETAIL_MISMATCH, claim, settled.total_fen, claim.total_fen, "上传的明细无法读取")
    for name, words in _WORDS.items():
        held, came = getattr(settled, name), getattr(sent, name)
        if held == came:
            continue
        if name == "digest":
            text = f"{words}不符：笔数、金额相同，但明细不是结算时的明细"
        elif name == "line_count":
            text = f"{words}不符：中心 {held} 笔，上传 {came} 笔"
        else:
            text = f"{words}不符：中心 {yuan(held)} 元，上传 {yuan(came)} 元"
        return _case(Kind.DETAIL_MISMATCH, claim, settled.total_fen, sent.total_fen, text)
    return None


_UNREADABLE = (ValueError, TypeError, IndexError, KeyError, AssertionError, msgpack.UnpackException)
"""What reading lines raises that are not in the canonical form."""


def _added_up(
    claim: ClaimDetail,
    lines: list[ChargeLine],
    settled: Settled,
    catalogues: CatalogueShelf,
    connection: Connection,
) -> LocalTotals:
    """The totals of the lines, with the catalogue the claim was settled with."""
    catalogue = catalogues.version(connection, settled.catalogue_version)
    if catalogue is None:
        raise LookupError(settled.catalogue_version)
    matched = []
    for line in lines:
        if line.charge_date is None:
            raise ValueError("a line without its day")
        matched.append((line, catalogue.on(settled.institution_code, line.local_item_code, line.charge_date)))
    return total_up(matched, claim.packed_lines)


def _unknown(claim: ClaimDetail) -> Case:
    return _case(Kind.DETAIL_UNKNOWN, claim, 0, claim.total_fen, "中心无此结算，却收到其明细")


def _case(kind: Kind, claim: ClaimDetail, center_fen: int, frontend_fen: int, words: str) -> Case:
    return Case(
        kind, claim.institution_code, claim.visit_no, claim.charge_batch_no, center_fen, frontend_fen, words
    )


def _row(claim: ClaimDetail, settlement_no: int, at: datetime) -> dict[str, object]:
    return {
        "settlement_no": settlement_no,
        "line_count": claim.line_count,
        "total_fen": claim.total_fen,
        "lines": claim.packed_lines,
        "received_at": at,
    }


def _receipt(claim: ClaimDetail, accepted: bool) -> DetailReceipt:
    return DetailReceipt(
        claim.visit_no,
        claim.charge_batch_no,
        accepted,
        claim.line_count,
        claim.total_fen,
        digest_of(claim.packed_lines),
    )


_ = pack
