"""An operator looks after one unknown claim: asks the centre now, or decides in the place of its institution."""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import select, update

from domain.lifecycle import FINAL
from domain.messages import ClaimKey
from infra.database import reading
from workers import refund
from workers.claims import split_claim_no
from workers.outcomes import decide, sending
from workers.outcomes.sending import Sending
from workers.tables import claim

log = logging.getLogger("frontend")


class Impossible(Exception):
    """There is nothing to ask or to decide; the words say why."""


def ask_now(frontend: Sending, institution_code: str, number: str) -> None:
    """Ask the centre what it has under the claim's key; the answer is recorded when it comes. A refund, or what is kept
    of one, is asked for again: its answer is the stored one. Raises Impossible."""
    key = split_claim_no(number)
    if key is None:
        raise Impossible(f"不是费用编号：{number}")
    with reading(frontend.engine) as connection:
        row = connection.execute(
            select(claim.c.claim_id, claim.c.state, claim.c.contra_of).where(
                claim.c.institution_code == institution_code,
                claim.c.visit_no == key[0],
                claim.c.charge_batch_no == key[1],
            )
        ).first()
    if row is None:
        raise Impossible(f"本前置机没有这笔费用：{number}")
    if row.state in FINAL:
        return
    with frontend.engine.begin() as connection:  # what held it up is asked anew
        held_up = update(claim).where(claim.c.claim_id == row.claim_id, claim.c.state == row.state)
        connection.execute(held_up.values(waits_for=None))
    if row.contra_of is None:
        sent = sending.ask(frontend, [ClaimKey(institution_code, *key)])
    else:
        sent = refund.send_now(frontend, institution_code, key[0])
    if not sent:
        raise Impossible("与中心的链路不通，没有发出询问；恢复后会自动询问")


def decide_now(
    frontend: Sending, institution_code: str, number: str, *, confirm: bool, by: str, reason: str, at: datetime
) -> None:
    """Note the decision as the institution's, by whom and why, and send it. Raises Impossible."""
    work = decide.confirm if confirm else decide.cancel
    decision = work(frontend.engine, institution_code, number, at=at, by=by, reason=reason)
    if isinstance(decision, decide.Unknown):
        raise Impossible(f"本前置机没有这笔费用：{number}")
    if isinstance(decision, decide.Against):
        raise Impossible(WORDS[decision])
    log.info("decided_by_operator", extra={"claim_no": number, "confirm": confirm, "by": by})
    sending.send_due(frontend, now=0.0, after_seconds=0.0, institution_code=institution_code)


WORDS = {
    decide.Against.NOT_PREPARED: "该笔费用没有等待确认的预结算结果，不能确认",
    decide.Against.EXPIRED: "预结算已过确认时限而失效，请重新提交",
    decide.Against.CANCELLED: "该笔费用已取消",
    decide.Against.REFUSED: "该笔费用已退回或被中心拒绝",
    decide.Against.SETTLED: "该笔费用已经结算，不能取消；需要撤销请办理退费",
    decide.Against.CONFIRMING: "该笔费用已确认，正在等待中心的结果，不能再取消",
    decide.Against.OF_A_VISIT: "登记就诊的费用批次不能在此取消，请用就诊的撤回或退费",
}
