"""Detail (费用明细): proof that the lines uploaded are the lines a claim's totals came from."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgpack
from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.postgresql import insert

from center.backup import epochs
from center.catalogue.shelf import CatalogueShelf
from center.policy.shelf import PolicyShelf
from center.reconciling.cases import Case, Kind, close_detail_cases, open_cases
from center.served import institutions_of
from center.settling import inputs
from center.settling.records import cursor_of
from center.tables import detail, settlement
from center.uploading.granting import count_received
from domain.catalogue import Catalogue
from domain.chunks import sums_of
from domain.messages import ClaimDetail, DetailReceipt, DetailReceived, DetailUploaded
from domain.money import MAX_FEN, yuan
from domain.policy import PolicyBook
from domain.totals import PLAIN, LineRules, LocalTotals, digest_of, total_up
from domain.visit import unpack_lines

log = logging.getLogger("center")

Settled = Row[*tuple[Any, ...]]

_WORDS = {
    "line_count": "明细笔数",
    "total_fen": "总金额",
    "own_expense_fen": "全自费金额",
    "over_limit_fen": "超限价金额",
    "pre_self_pay_fen": "部分项目自付金额",
    "in_scope_fen": "政策范围内金额",
    "digest": "明细摘要",
}


_SUMS = LocalTotals._fields[:7]


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
    policies: PolicyShelf,
    at: datetime,
    size: int = 0,
) -> DetailReceived:
    """Keep the lines that are those of their settled claims; open one case for each claim whose lines are not.

    Every claim gets a receipt with the count, the sum and the digest of what came, and so does the chunk: one that
    does not hold what it says it holds gets no other answer. Running it twice changes nothing. `size` is what it
    weighed on the link. Raises StaleSlice when the slice is over.
    """
    lines = sum(max(0, claim.line_count) for claim in uploaded.claims)
    if not count_received(connection, frontend, fence=uploaded.fence, lines=lines, size=size, at=at):
        raise StaleSlice(frontend, uploaded.fence)
    epoch = epochs.current(cursor_of(connection))
    chunk = tuple(sums_of(sent.chunk_no, uploaded.claims) for sent in uploaded.chunk)
    if chunk != uploaded.chunk:
        log.error("chunk_differs", extra={"frontend": frontend, "claims": len(uploaded.claims), "lines": lines})
        return DetailReceived(receipts=(), epoch=epoch.number, chunk=chunk)
    settled = _settled(connection, {claim.visit_no for claim in uploaded.claims})
    own = institutions_of(connection, frontend)

    receipts: list[DetailReceipt] = []
    rows: dict[int, dict[str, object]] = {}
    cases: list[Case] = []
    for claim in uploaded.claims:
        totals = settled.get((claim.visit_no, claim.charge_batch_no))
        if not _is_of(claim, totals, own):
            log.warning("detail_of_another", extra={"frontend": frontend, "claims": 1})
            receipts.append(_receipt(claim, accepted=False))
            continue
        if totals is None and not epoch.is_open:
            continue  # not taken up again yet; without a receipt the detail stays due at the front-end
        if totals is None:
            cases.append(_case(Kind.DETAIL_UNKNOWN, claim, 0, claim.total_fen, "中心无此结算，却收到其明细"))
            receipts.append(_receipt(claim, accepted=False))
            continue
        catalogue = catalogues.version(connection, totals.catalogue_version)
        if catalogue is None:
            # Ours to mend. Without a receipt the detail stays due at the front-end.
            log.error("catalogue_missing", extra={"catalogue": totals.catalogue_version})
            continue
        rules = _line_rules(totals, policies.book(connection, totals.policy_version))
        case = _mismatch(claim, totals, catalogue, rules)
        if case is None:
            rows[totals.settlement_no] = _row(claim, totals, at)
        else:
            cases.append(case)
        receipts.append(_receipt(claim, accepted=case is None))

    if rows:
        connection.execute(insert(detail).values([rows[number] for number in sorted(rows)]).on_conflict_do_nothing())
    right = [(receipt.visit_no, receipt.charge_batch_no) for receipt in receipts if receipt.accepted]
    closed, opened = close_detail_cases(connection, right, at), open_cases(connection, cases, at)
    shown = {"claims": len(uploaded.claims), "lines": lines, "cases_opened": opened, "cases_closed": closed}
    log.info("detail_received", extra={"frontend": frontend, **shown})
    return DetailReceived(receipts=tuple(receipts), epoch=epoch.number, chunk=chunk)


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
            columns.policy_version,
            columns.inputs,
        ).where(columns.visit_no.in_(storable), columns.kind == "normal")
    )
    return {(row.visit_no, row.charge_batch_no): row for row in found}


def _is_of(claim: ClaimDetail, settled: Settled | None, institutions: set[str]) -> bool:
    """Whether the front-end may speak of this claim, and the claim's key is one we could have stored."""
    if claim.institution_code not in institutions:
        return False
    if settled is not None:
        return bool(settled.institution_code == claim.institution_code)
    return (
        0 < len(claim.visit_no) <= 16
        and claim.visit_no.isprintable()
        and 0 <= claim.charge_batch_no < 2**31
        and abs(claim.total_fen) <= MAX_FEN
    )


def _line_rules(settled: Settled, policy: PolicyBook | None) -> LineRules:
    """How the policy the claim was settled with splits lines; the plain way for claims from before it was kept."""
    if not settled.inputs or policy is None:
        return PLAIN
    sums = LocalTotals(*(getattr(settled, name) for name in _SUMS))
    _, person, _, occasion = inputs.unpacked(settled.inputs, sums)
    return policy.line_rules(
        person.scheme, person.category, occasion.visit_type, occasion.institution_level, occasion.day
    )


def _mismatch(claim: ClaimDetail, settled: Settled, catalogue: Catalogue, rules: LineRules) -> Case | None:
    """The case to open when the lines are not those the claim was settled from: the first number that differs."""
    try:
        sent = _added_up(claim, catalogue, rules)
    except _UNREADABLE as error:
        log.warning("detail_unreadable", extra={"settlement_no": settled.settlement_no, "error": type(error).__name__})
        return _case(Kind.DETAIL_MISMATCH, claim, settled.total_fen, 0, "上传的明细无法读取")
    for name, words in _WORDS.items():
        held, came = getattr(settled, name), getattr(sent, name)
        if held == came:
            continue
        if name == "digest":
            text = f"{words}不符：笔数和各项金额相同，但不是结算时的明细"
        elif name == "line_count":
            text = f"{words}不符：中心 {held} 笔，上传 {came} 笔"
        else:
            text = f"{words}不符：中心 {yuan(held)} 元，上传 {yuan(came)} 元"
        return _case(Kind.DETAIL_MISMATCH, claim, settled.total_fen, sent.total_fen, text)
    return None


_UNREADABLE = (ValueError, TypeError, IndexError, AssertionError, OverflowError, msgpack.UnpackException)
"""What reading raises when the bytes are not lines in the canonical form."""


def _added_up(claim: ClaimDetail, catalogue: Catalogue, rules: LineRules) -> LocalTotals:
    """The totals of the lines, split with the catalogue and the policy the claim was settled with."""
    matched = []
    for line in unpack_lines(claim.packed_lines):
        if line.charge_date is None:
            raise ValueError("a line without its day")
        matched.append((line, catalogue.on(claim.institution_code, line.local_item_code, line.charge_date)))
    totals = total_up(matched, claim.packed_lines, rules)
    if (totals.line_count, totals.total_fen) != (claim.line_count, claim.total_fen) or abs(totals.total_fen) > MAX_FEN:
        raise ValueError("lines that are not those their head names")
    return totals


def _case(kind: Kind, claim: ClaimDetail, center_fen: int, frontend_fen: int, words: str) -> Case:
    return Case(kind, claim.institution_code, claim.visit_no, claim.charge_batch_no, center_fen, frontend_fen, words)


def _row(claim: ClaimDetail, settled: Settled, at: datetime) -> dict[str, object]:
    return {
        "settlement_no": settled.settlement_no,
        "line_count": settled.line_count,
        "total_fen": settled.total_fen,
        "lines": claim.packed_lines,
        "received_at": at,
    }


def _receipt(claim: ClaimDetail, *, accepted: bool) -> DetailReceipt:
    """Count, sum and digest of what came, answered in kind."""
    digest = digest_of(claim.packed_lines)
    return DetailReceipt(claim.visit_no, claim.charge_batch_no, accepted, claim.line_count, claim.total_fen, digest)
