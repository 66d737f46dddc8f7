"""Corrections at the front-end: the centre corrected a settlement, because one before it of the person was refunded.

The correction comes as two answers nobody here has asked for: a contra of the settlement, and what it comes to now.
Both are recorded as claims of their own, under charge batch numbers of the centre's, with the lines of the settlement;
from there they go the way of a refund: to the HIS, into the books, into the statements.
"""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import Connection, select

from domain.lifecycle import ClaimState
from domain.messages import ClaimTotals, RefundAnswered, SettlementCorrected
from infra.codec import unpack
from workers import contra_claims, refund
from workers.contra_claims import Made
from workers.tables import claim

log = logging.getLogger("frontend")


def record(connection: Connection, corrected: SettlementCorrected, *, at: datetime) -> bool:
    """Record it; whether it is recorded, now or before, so that the centre need not tell it again.

    False while the settlement's own answer has not come: the centre tells it again, by then it has.
    """
    back, new = corrected.answers
    recorded = select(claim.c.claim_id).where(
        claim.c.visit_no == corrected.visit_no, claim.c.charge_batch_no == back.charge_batch_no
    )
    if connection.execute(recorded).first() is not None:
        return True
    claims = contra_claims.claims_of(connection, corrected.visit_no)
    original = next((row for row in claims if row.charge_batch_no == corrected.charge_batch_no), None)
    if original is None or original.institution_code != corrected.institution_code or original.totals is None:
        log.error("correction_of_nothing", extra={"correction": corrected.correction_no})
        return False
    if original.state != ClaimState.SETTLED:
        return False
    versions = original.policy_version, original.catalogue_version
    key = f"correction:{corrected.correction_no}"
    totals = unpack(original.totals, ClaimTotals)._replace(charge_batch_no=new.charge_batch_no, local=None)
    rows = [
        contra_claims.contra_row(original, Made(back.charge_batch_no, key, at, *versions), reason=corrected.reason),
        contra_claims.resettled_row(
            original, Made(new.charge_batch_no, f"{key}:settled", at, *versions), totals, original.lines
        ),
    ]
    contra_claims.write(connection, original, rows)
    answered = RefundAnswered(
        institution_code=corrected.institution_code,
        visit_no=corrected.visit_no,
        charge_batch_no=corrected.charge_batch_no,
        contra_batch_no=back.charge_batch_no,
        answers=corrected.answers,
    )
    refund.record(connection, answered, at=at)
    log.info("correction_recorded", extra={"correction": corrected.correction_no})
    return True
