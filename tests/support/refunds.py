"""What the centre would answer to the refunds a front-end asked for."""

from __future__ import annotations

import math
from datetime import datetime

from sqlalchemy import Engine, select

from domain.messages import ClaimAnswer, RefundAnswered
from domain.refund import taken_back
from infra.codec import unpack
from workers import refund as refunds
from workers.tables import claim


def answer_refunds(engine: Engine, *, at: datetime, refusal: str = "") -> None:
    """Take back what every open refund asks for and settle what is kept of it, all by the fund; or refuse all."""
    with engine.begin() as connection:
        for row in connection.execute(refunds._DUE, {"rung_before": math.inf}).all():
            asked = refunds._message(row)
            packed = connection.execute(
                select(claim.c.answer).where(
                    claim.c.visit_no == asked.visit_no, claim.c.charge_batch_no == asked.charge_batch_no
                )
            ).scalar_one()
            was = unpack(packed, ClaimAnswer)
            answers = [taken_back(was)._replace(charge_batch_no=asked.contra_batch_no, settlement_no=8001)]
            answers += [
                was._replace(charge_batch_no=kept.charge_batch_no, settlement_no=8002, fund_pay_fen=kept.in_scope_fen)
                for kept in asked.kept
            ]
            answered = RefundAnswered(
                institution_code=asked.institution_code,
                visit_no=asked.visit_no,
                charge_batch_no=asked.charge_batch_no,
                contra_batch_no=asked.contra_batch_no,
                refusal=refusal,
                detail="中心拒绝" if refusal else "",
                answers=() if refusal else tuple(answers),
            )
            refunds.record(connection, answered, at=at)
