"""Proposals that make themselves: after a refund out of order, what it changes is proposed, once; two persons decide.

Every contra settlement is looked at once, a little after it was made. A proposal that was rejected or expired is not
made again; whoever wants it proposes it (`jiesuan refund later --propose`).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert

from center.approving.proposals import AlreadyProposed, CannotPropose
from center.backup import epochs
from center.correcting import actions, due
from center.correcting.actions import NothingToCorrect
from center.correcting.tables import considered_refund
from center.settling.records import cursor_of
from center.ticks import ticked

log = logging.getLogger("center")

BY = "更正日程"
"""Who proposes."""
REASON = "退费改变了后续结算，按退费后的累计和账户重新计算"

LOOKED_BACK = timedelta(days=31)
AT_ONCE = 20


def tick(connection: Connection, *, at: datetime, now: float) -> int:
    """Look at the next refunds nobody has looked at; how many corrections are proposed. Twice at once does no harm:
    a refund is written down before it is looked at."""
    ticked(connection, "corrections.propose", now)
    if not epochs.current(cursor_of(connection)).is_open:
        return 0
    today = at.date()
    waiting = due.candidates(connection, today - LOOKED_BACK, today, most=AT_ONCE)
    return sum(_consider(connection, each, at) for each in waiting)


def _consider(connection: Connection, candidate: due.Candidate, at: datetime) -> bool:
    try:
        with connection.begin_nested():
            refunded = actions.find(connection, candidate.visit_no, candidate.charge_batch_no)
            number = actions.propose(connection, refunded, by=BY, reason=REASON, at=at)
        words = ""
    except (NothingToCorrect, CannotPropose, AlreadyProposed) as why:
        number, words = None, str(why)
    connection.execute(
        insert(considered_refund).values(
            contra_no=candidate.contra_no, considered_at=at, proposal_no=number, words=words[:500]
        )
    )
    log.info("refund_considered", extra={"institution": candidate.institution_code, "proposed": number is not None})
    return number is not None
