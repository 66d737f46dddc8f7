"""What became of a visit's settlements (就诊结算经过), in order: settled, taken back, settled anew, corrected."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, select

from center.correcting.tables import correction
from center.settling.contra import CONTRA
from center.tables import refund_permit, settlement
from domain.messages import ClaimAnswer
from domain.projection import exchange_amounts
from domain.visit import VisitType
from infra.codec import unpack


class Part(StrEnum):
    """What a document is in the story of its visit."""

    SETTLED = "settled"
    TAKEN_BACK = "taken-back"
    SETTLED_ANEW = "settled-anew"
    CORRECTION_BACK = "correction-back"
    CORRECTION = "correction"


class Told(NamedTuple):
    """One document of a visit; amounts in fen."""

    settlement_no: int
    part: Part
    charge_batch_no: int
    institution_code: str
    settled_at: datetime
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    cash_fen: int
    takes_back: int | None
    """The settlement it takes back."""
    taken_back_by: int | None
    reason: str
    proposal_no: int | None
    """The approved proposal of a correction."""
    heard_at: datetime | None
    """When the front-end had recorded a correction."""


class Permit(NamedTuple):
    """A permission the office gave for one refund."""

    permit_no: int
    charge_batch_no: int
    permitted_by: str
    reason: str
    permitted_at: datetime
    until: date


class Story(NamedTuple):
    """All of it."""

    documents: list[Told]
    permits: list[Permit]


def story_of(connection: Connection, visit_no: str) -> Story:
    """The visit's documents in the order they were made, and its permissions; both empty for an unknown visit."""
    columns = settlement.c
    rows = connection.execute(
        select(
            columns.settlement_no,
            columns.kind,
            columns.charge_batch_no,
            columns.institution_code,
            columns.visit_type,
            columns.settled_at,
            columns.contra_of,
            columns.reason,
            columns.answer,
        )
        .where(columns.visit_no == visit_no)
        .order_by(columns.settlement_no)
    ).all()
    corrections = connection.execute(select(correction).where(correction.c.visit_no == visit_no)).all()
    of_documents = {number: each for each in corrections for number in (each.contra_no, each.resettled_no)}
    taken_by = {row.contra_of: row.settlement_no for row in rows if row.contra_of is not None}
    refunded_at = {row.settled_at: row.settlement_no for row in reversed(rows) if row.kind == CONTRA}
    told = []
    for row in rows:
        corrected = of_documents.get(row.settlement_no)
        amounts = exchange_amounts(unpack(row.answer, ClaimAnswer).cells, VisitType(row.visit_type))
        # What is kept is settled in the transaction of the contra, at the same moment and right after it.
        is_anew = row.kind != CONTRA and refunded_at.get(row.settled_at, row.settlement_no) < row.settlement_no
        told.append(
            Told(
                row.settlement_no,
                _part(row.kind == CONTRA, corrected is not None, is_anew),
                row.charge_batch_no,
                row.institution_code,
                row.settled_at,
                amounts.total_fen,
                amounts.fund_pay_fen,
                amounts.account_pay_fen,
                amounts.cash_fen,
                row.contra_of,
                taken_by.get(row.settlement_no),
                row.reason,
                None if corrected is None else corrected.proposal_no,
                None if corrected is None else corrected.heard_at,
            )
        )
    return Story(told, _permits(connection, visit_no))


def _part(is_contra: bool, is_correction: bool, is_anew: bool) -> Part:
    if is_correction:
        return Part.CORRECTION_BACK if is_contra else Part.CORRECTION
    if is_contra:
        return Part.TAKEN_BACK
    return Part.SETTLED_ANEW if is_anew else Part.SETTLED


def _permits(connection: Connection, visit_no: str) -> list[Permit]:
    columns = refund_permit.c
    rows = connection.execute(
        select(
            columns.permit_no,
            columns.charge_batch_no,
            columns.permitted_by,
            columns.reason,
            columns.permitted_at,
            columns.until,
        )
        .where(columns.visit_no == visit_no)
        .order_by(columns.permit_no)
    )
    return [Permit._make(row) for row in rows]
