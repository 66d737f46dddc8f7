"""The claims of a refund or a correction, as they stand in a front-end's database: what takes a settlement back is of
kind `contra`, what is settled instead of it of kind `resettled`, each under a charge batch number of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from domain.lifecycle import ClaimState
from domain.messages import ClaimTotals
from domain.visit import ChargeLine, pack_lines, unpack_lines
from infra.codec import pack, unpack
from workers.detail_states import DETAIL_AT_CENTER, DETAIL_DUE
from workers.tables import claim, claim_content
from workers.visits import rows
from workers.visits.handout import Kind

CONTRA, RESETTLED = "contra", "resettled"
LONGEST_REASON = 120

_CLAIMS = (
    select(
        claim.c.claim_id,
        claim.c.institution_code,
        claim.c.visit_no,
        claim.c.charge_batch_no,
        claim.c.channel,
        claim.c.state,
        claim.c.kind,
        claim.c.final,
        claim.c.covers_to,
        claim.c.line_count,
        claim.c.total_fen,
        claim.c.totals,
        claim.c.settled_day,
        claim.c.policy_version,
        claim.c.catalogue_version,
        claim.c.refunded_by,
        claim.c.carried,
        claim_content.c.visit,
        claim_content.c.lines,
    )
    .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
    .where(claim.c.visit_no == bindparam("visit"))
    .order_by(claim.c.claim_id)
)
_LAST_ID = select(func.max(claim.c.claim_id))
_INSERT_CLAIM, _INSERT_CONTENT = insert(claim), insert(claim_content)


class Made(NamedTuple):
    """What such a claim has of its own."""

    charge_batch_no: int
    key: str
    """Its idempotency key."""
    at: datetime
    policy_version: str
    catalogue_version: str


def claims_of(connection: Connection, visit_no: str) -> Sequence[Any]:
    """The claims of the visit with their contents, oldest first."""
    return connection.execute(_CLAIMS, {"visit": visit_no}).all()


def contra_row(original: Any, made: Made, *, reason: str) -> dict[str, Any]:
    """The negative twin of a settled claim; its lines are at the centre with the original's."""
    totals = _negated(unpack(original.totals, ClaimTotals), made.charge_batch_no)
    return _row(original, CONTRA, made, totals) | {
        "reason": reason[:LONGEST_REASON],
        "detail_state": DETAIL_AT_CENTER,
        "lines": pack_lines([_reversed(line) for line in unpack_lines(original.lines)]),
    }


def resettled_row(original: Any, made: Made, totals: ClaimTotals, packed_lines: bytes) -> dict[str, Any]:
    """What is settled instead of it: these totals of these lines."""
    return _row(original, RESETTLED, made, totals) | {
        "reason": None,
        "detail_state": DETAIL_DUE,
        "lines": packed_lines,
    }


def write(connection: Connection, original: Any, written: Sequence[dict[str, Any]]) -> int:
    """Write the claims and their contents, link the original to the first of them, and put their results out; the id
    of the first."""
    first_id = (connection.execute(_LAST_ID).scalar() or 0) + 1
    for claim_id, row in enumerate(written, first_id):
        content = {"claim_id": claim_id, "visit": original.visit, "lines": row.pop("lines")}
        connection.execute(_INSERT_CLAIM.values(row | {"claim_id": claim_id}))
        connection.execute(_INSERT_CONTENT.values(content))
    connection.execute(
        update(claim).where(claim.c.claim_id == original.claim_id).values(refunded_by=written[0]["charge_batch_no"])
    )
    if original.visit_no in rows.visits_by_no(connection, [original.visit_no]):
        of = rows.served(connection, [original.institution_code]).get(original.institution_code)
        if of is not None:
            rows.put_out(
                connection, [(of, original.visit_no, Kind.RESULT, row["charge_batch_no"]) for row in written]
            )  # fmt: skip
    return first_id


def _row(original: Any, kind: str, made: Made, totals: ClaimTotals) -> dict[str, Any]:
    return {
        "institution_code": original.institution_code,
        "visit_no": original.visit_no,
        "charge_batch_no": made.charge_batch_no,
        "channel": original.channel,
        "idempotency_key": made.key,
        "content_digest": blake2b(pack(totals), digest_size=16).digest(),
        "state": ClaimState.TOTALLED,
        "line_count": totals.line_count,
        "total_fen": totals.total_fen,
        "accepted_at": made.at,
        "totals": pack(totals),
        "policy_version": made.policy_version,
        "catalogue_version": made.catalogue_version,
        "kind": kind,
        "final": original.final,
        "covers_to": original.covers_to,
        "contra_of": original.charge_batch_no,
    }


def _reversed(line: ChargeLine) -> ChargeLine:
    return line._replace(quantity_1e2=-(line.quantity_1e2 or 0), line_amount_fen=-(line.line_amount_fen or 0))


def _negated(totals: ClaimTotals, number: int) -> ClaimTotals:
    """The totals with the other sign; count and digest stay those of the original's lines."""
    groups = tuple(
        group._replace(**{name: -getattr(group, name) for name in group._fields[1:]}) for group in totals.groups
    )
    return totals._replace(
        charge_batch_no=number,
        total_fen=-totals.total_fen,
        own_expense_fen=-totals.own_expense_fen,
        over_limit_fen=-totals.over_limit_fen,
        pre_self_pay_fen=-totals.pre_self_pay_fen,
        in_scope_fen=-totals.in_scope_fen,
        groups=groups,
        local=None,
    )
