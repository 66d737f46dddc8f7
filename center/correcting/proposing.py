"""Proposals that make themselves: after a refund out of order, what it changes is proposed, once; two persons decide.

Every contra settlement is looked at once, a little after it was made. A proposal that was rejected or expired is not
made again; whoever wants it proposes it (`jiesuan refund later --propose`).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Connection, Engine, insert

from center.approving.proposals import AlreadyProposed, CannotPropose
from center.backup import epochs
from center.correcting import actions, due
from center.correcting.actions import NothingToCorrect
from center.correcting.tables import considered_refund
from center.settling.records import cursor_of
from center.ticks import ticked
from center.transactions import in_transaction

log = logging.getLogger("center")

BY = "更正日程"
"""Who proposes."""
REASON = "退费改变了后续结算，按退费后的累计和账户重新计算"

LOOKED_BACK = timedelta(days=31)
AT_ONCE = 20


def tick(engine: Engine, *, at: datetime, now: float) -> int:
    """Look at the next refunds nobody has looked at; how many corrections are proposed.

    Each is looked at in a transaction of its own: it locks persons, and then the head of a chain, so with the persons
    of the next locked after that it could wait in a circle with a settlement. Two ticks at once take turns.
    """
    looked_at = iter(lambda: in_transaction(engine, lambda connection: _next(connection, at, now)), None)
    return sum(islice(looked_at, AT_ONCE))


def _next(connection: Connection, at: datetime, now: float) -> bool | None:
    """Whether a correction of the next refund is proposed; None where no refund waits."""
    ticked(connection, "corrections.propose", now)
    if not epochs.current(cursor_of(connection)).is_open:
        return None
    today = at.date()
    waiting = due.candidates(connection, today - LOOKED_BACK, today, most=1)
    return _consider(connection, waiting[0], at) if waiting else None


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
