"""What a refund was refused for stays the answer of its number, though its reason be gone when a late copy arrives.

The cashier was told no, and may have asked again under another number: a copy that then took the settlement back would
leave the two books apart. What only holds a refund up is no refusal, and a request that cannot be read has no number.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from domain.messages import RefundAnswered, RefundAsked
from domain.refusals import HOLDS, STALE, Refusal


def told_before(cursor: Any, asked: RefundAsked, frontend: str) -> tuple[str, str] | None:
    """The refusal and its detail that this front-end was told under this number. Look under the lock of the visit."""
    cursor.execute(
        "SELECT refusal, detail FROM refused_refund WHERE visit_no = %s AND contra_batch_no = %s"
        " AND institution_code = %s AND frontend = %s AND charge_batch_no = %s",
        [asked.visit_no, asked.contra_batch_no, asked.institution_code, frontend, asked.charge_batch_no],
    )
    found: tuple[str, str] | None = cursor.fetchone()
    return found


def keep(cursor: Any, answered: RefundAnswered, frontend: str, at: datetime) -> None:
    """Remember a refusal in the transaction in which it was decided; the first one counts."""
    if answered.refusal and is_kept(answered.refusal):
        write(cursor, answered, frontend, at)


def is_kept(refusal: str) -> bool:
    """Whether the refusal stays the answer of its number. What is stale is totalled again and asked under it."""
    return refusal not in HOLDS | STALE | {Refusal.MALFORMED}


def write(cursor: Any, answered: RefundAnswered, frontend: str, at: datetime) -> None:
    """Write a refusal that stays; the first one counts."""
    cursor.execute(
        "INSERT INTO refused_refund (visit_no, contra_batch_no, institution_code, frontend, charge_batch_no, refusal,"
        " detail, refused_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [
            answered.visit_no,
            answered.contra_batch_no,
            answered.institution_code,
            frontend,
            answered.charge_batch_no,
            answered.refusal,
            answered.detail,
            at,
        ],
    )
