"""Refund (退费) at the front-end: asked of the centre until it has answered, recorded once, told to the HIS.

What takes a settlement back is a claim of its own, of kind `contra`, under the visit's next batch number; what is kept
of it is one of kind `resettled` beside it. Both travel in one request of their own, so the outbox of the other claims
leaves them alone. The lines of a registered visit that are not kept are free to be settled anew (AMB-38).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, and_, bindparam, or_, select, update

from domain import messages
from domain.checks import check_lines
from domain.lifecycle import FINAL, REOPENED, ClaimState, VisitState
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, RefundAnswered, RefundAsked
from domain.money import amount_of
from domain.refusals import HOLDS, VisitRefusal
from domain.terms import Standing
from domain.totals import LineRules, total_up
from domain.visit import FIRST_OF_CENTRE, ChargeLine, Visit, pack_lines, unpack_lines
from infra import lanes
from infra.codec import pack, unpack
from infra.database import execute_many, reading
from infra.reference import Reference, ReferenceShelf
from workers import contra_claims, entitlement
from workers.contra_claims import CONTRA, RESETTLED, Made
from workers.deliver import record_answers
from workers.desk import line_rules_of
from workers.local import place_of
from workers.moving.arrivals import is_arriving
from workers.moving.standing import against, unknown
from workers.numbers import wait_for_turn
from workers.tables import REFUND_IS_OPEN, claim, claim_content, institution, visit, visit_lines
from workers.visit_steps import NotReady, Refunding, not_ready
from workers.visits import rows

log = logging.getLogger("frontend")

LONGEST_WAIT_SECONDS = 120.0

_UNDER_KEY = select(claim.c.claim_id, claim.c.visit_no, claim.c.charge_batch_no, claim.c.contra_of).where(
    claim.c.institution_code == bindparam("code"), claim.c.idempotency_key == bindparam("key")
)
_STANDS = select(institution.c.standing, institution.c.moved_to, institution.c.move_no).where(
    institution.c.institution_code == bindparam("code")
)
_KEPT = claim.alias("kept")
_OPEN = (
    select(
        claim.c.claim_id,
        claim.c.institution_code,
        claim.c.visit_no,
        claim.c.charge_batch_no,
        claim.c.contra_of,
        claim.c.reason,
        claim.c.policy_version,
        claim.c.catalogue_version,
        claim.c.attempts,
        _KEPT.c.totals.label("kept_totals"),
        claim_content.c.lines.label("kept_lines"),
    )
    .outerjoin(
        _KEPT,
        and_(
            _KEPT.c.visit_no == claim.c.visit_no,
            _KEPT.c.charge_batch_no == claim.c.charge_batch_no + 1,
            _KEPT.c.kind == RESETTLED,
        ),
    )
    .outerjoin(claim_content, claim_content.c.claim_id == _KEPT.c.claim_id)
    .where(REFUND_IS_OPEN, claim.c.state == ClaimState.TOTALLED)
    .order_by(claim.c.claim_id)
)
_DUE = _OPEN.where(or_(claim.c.attempts == 0, claim.c.rung_at < bindparam("rung_before")))
_DUE_OF = _DUE.where(claim.c.institution_code == bindparam("code"))
_OPEN_OF = _OPEN.where(claim.c.institution_code == bindparam("code"), claim.c.visit_no == bindparam("visit"))
_ASKED = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"))
    .values(rung_at=bindparam("due"), attempts=claim.c.attempts + 1)
)


class Asking(Protocol):
    """What it takes to ask the centre: `workers.tasks.Frontend`."""

    @property
    def engine(self) -> Engine:
        """The front-end's database."""

    def send(self, task: str, lane: str, message: messages.Message, shown: dict[str, object]) -> bool:
        """Send one sealed message; False when the broker is away."""


def refund(
    engine: Engine,
    shelf: ReferenceShelf,
    institution_code: str,
    visit_no: str,
    charge_batch_no: int,
    *,
    reason: str,
    at: datetime,
    kept: Mapping[int, int] | None = None,
    key: str = "",
) -> Refunding | NotReady:
    """Ask that a settlement be taken back. Durable when it returns; ring the institution's bell to have it sent.

    `kept` says what is kept of it, line number to quantity in hundredths, of the sign of the line and not above it:
    that is settled anew with the same request, both or neither. Asking again under the same key is asking once.
    Whether the centre allows it is its answer: the contra claim is `settled` or `refused`. Raises NothingPublished.
    """
    with engine.begin() as connection:
        wait_for_turn(connection)
        asked = _under_key(connection, institution_code, key)
        if asked is not None:
            return _asked_before(connection, asked, visit_no, charge_batch_no)
        refunding = _Refund(connection, shelf.current(connection), institution_code, visit_no, at)
        return refunding.ask(charge_batch_no, reason=reason, kept=dict(kept or {}), key=key)


def send_due(frontend: Asking, *, now: float, after_seconds: float, institution_code: str = "") -> int:
    """Send the refunds that are new or unanswered for a while, to one institution's or all; how many."""
    due = _DUE_OF if institution_code else _DUE
    with reading(frontend.engine) as connection:
        found = connection.execute(due, {"code": institution_code, "rung_before": now - after_seconds}).all()
    if not found:
        return 0
    with frontend.engine.begin() as connection:
        wait = [min(after_seconds * (2 ** min(row.attempts, 10) - 1), LONGEST_WAIT_SECONDS) for row in found]
        marks = [{"id": row.claim_id, "due": now + more} for row, more in zip(found, wait, strict=True)]
        execute_many(connection, _ASKED, marks)
    return _send(frontend, found)


def send_now(frontend: Asking, institution_code: str, visit_no: str) -> int:
    """Send what is asked of a visit and not answered, however lately it was sent; how many refunds."""
    with reading(frontend.engine) as connection:
        found = connection.execute(_OPEN_OF, {"code": institution_code, "visit": visit_no}).all()
    return _send(frontend, found)


def _send(frontend: Asking, found: Sequence[Any]) -> int:
    sent = 0
    for row in found:
        shown: dict[str, object] = {"institution": row.institution_code, "visit": row.visit_no}
        sent += frontend.send(lanes.CLAIMS_REFUND, lanes.SETTLE, _message(row), shown)
    return sent


def record(connection: Connection, answered: RefundAnswered, *, at: datetime) -> int:
    """Record the centre's answer; how many claims it was new to. A repeated or late answer changes nothing."""
    if answered.refusal in HOLDS:
        _of(connection, answered, answered.contra_batch_no, waits_for=answered.refusal)
        return 0
    if answered.refusal:
        return _record_refusal(connection, answered, at)
    recorded = record_answers(connection, ClaimsAnswered(answers=answered.answers), at=at)
    if recorded:
        _of(connection, answered, answered.charge_batch_no, refunded_by=answered.contra_batch_no)
        _record_at_visit(connection, answered)
        _forget_lease(connection, answered)
    return recorded


# ── Asking ────────────────────────────────────────────────────────────────────────────────────────────────


def _under_key(connection: Connection, institution_code: str, key: str) -> Any:
    return connection.execute(_UNDER_KEY, {"code": institution_code, "key": key}).first() if key else None


def _asked_before(connection: Connection, asked: Any, visit_no: str, charge_batch_no: int) -> Refunding | NotReady:
    if (asked.visit_no, asked.contra_of) != (visit_no, charge_batch_no):
        return not_ready(VisitRefusal.KEY_REUSED)
    contra_no = asked.charge_batch_no
    kept = connection.execute(
        select(claim.c.charge_batch_no).where(
            claim.c.visit_no == visit_no, claim.c.charge_batch_no == contra_no + 1, claim.c.kind == RESETTLED
        )
    ).scalar()
    return Refunding(visit_no, charge_batch_no, contra_no, kept, asked.claim_id, is_new=False)


class _Refund:
    """One transaction's view of the visit a settlement of which is taken back."""

    def __init__(
        self, connection: Connection, reference: Reference, institution_code: str, visit_no: str, at: datetime
    ) -> None:
        self._connection, self._reference, self._at = connection, reference, at
        self._code, self._visit_no = institution_code, visit_no
        self._claims = contra_claims.claims_of(connection, visit_no)
        self._registered = rows.visits_by_no(connection, [visit_no]).get(visit_no)

    def ask(self, charge_batch_no: int, *, reason: str, kept: dict[int, int], key: str) -> Refunding | NotReady:
        """Write the contra, and what is kept, as claims that wait for the centre."""
        original = next((row for row in self._claims if row.charge_batch_no == charge_batch_no), None)
        if original is None or original.institution_code != self._code:
            if not self._is_own():
                return unknown(self._connection, self._code, self._visit_no)
            return not_ready(VisitRefusal.NOT_SETTLED)
        last = max((row.charge_batch_no for row in self._claims if row.charge_batch_no < FIRST_OF_CENTRE), default=0)
        against = self._travelled(original) or self._against(original, last)
        if against is not None:
            return against
        lines = unpack_lines(original.lines)
        kept_lines = _kept_of(lines, kept)
        if isinstance(kept_lines, NotReady):
            return kept_lines
        contra_no = last + 1
        key = key or f"refund:{self._visit_no}:{contra_no}"
        written = [contra_claims.contra_row(original, self._made(contra_no, key), reason=reason)]
        if kept_lines:
            resettled = self._resettled(original, kept_lines, contra_no + 1, written[0]["idempotency_key"])
            if isinstance(resettled, NotReady):
                return resettled
            written.append(resettled)
        contra_id = self._write(original, written)
        return Refunding(self._visit_no, charge_batch_no, contra_no, contra_no + 1 if kept_lines else None, contra_id)

    def _travelled(self, original: Any) -> NotReady | None:
        """A settlement that went along with its institution is taken back where it went, and not before all that was
        asked of its visit where it came from: that may be a refund."""
        of = self._connection.execute(_STANDS, {"code": self._code}).first()
        if of is None:
            return None
        if of.standing == Standing.OPEN:
            comes = of.move_no and is_arriving(self._connection, self._code, visit_no=self._visit_no)
            return not_ready(VisitRefusal.ARRIVING) if comes else None
        return against(of) if original.carried < 0 or of.standing == Standing.MOVING_IN else None

    def _is_own(self) -> bool:
        """Whether the visit is this institution's."""
        known = [*self._claims, *([] if self._registered is None else [self._registered])]
        return any(row.institution_code == self._code for row in known)

    def _against(self, original: Any, last: int) -> NotReady | None:
        if original.kind == CONTRA:
            return not_ready(VisitRefusal.REFUND_OF_REFUND)
        if original.state == ClaimState.PREPARED:
            return not_ready(VisitRefusal.NOT_CONFIRMED)
        if original.state != ClaimState.SETTLED or original.totals is None:
            return not_ready(VisitRefusal.NOT_SETTLED)
        by = next((row for row in self._claims if row.charge_batch_no == original.refunded_by), None)
        if by is not None and by.state not in (ClaimState.REFUSED, ClaimState.CANCELLED):
            done = by.state == ClaimState.SETTLED
            return not_ready(
                VisitRefusal.REFUNDED_ALREADY if done else VisitRefusal.REFUND_UNDER_WAY, by.charge_batch_no
            )
        under_way = [row.charge_batch_no for row in self._claims if row.state not in FINAL]
        if under_way:
            return not_ready(VisitRefusal.BATCH_UNDER_WAY, max(under_way))
        return not_ready(VisitRefusal.BATCHES_USED_UP) if last + 2 > rows.MOST_BATCHES else None

    def _made(self, number: int, key: str) -> Made:
        versions = self._reference.policy_version, self._reference.catalogue.version
        return Made(number, key, self._at, *versions)

    def _resettled(
        self, original: Any, lines: list[ChargeLine], number: int, contra_key: str
    ) -> dict[str, Any] | NotReady:
        of = unpack(original.visit, Visit)
        checked = check_lines(of, lines, self._reference.catalogue, self._at.date())
        if not checked.passed:
            wrong = [
                str(line.line_no) for line, found in zip(lines, checked.verdicts, strict=True) if found.code != "00"
            ]
            return not_ready(VisitRefusal.LINES_WRONG, "、".join(wrong[:5]))
        packed = pack_lines(lines)
        sums = total_up(zip(lines, checked.matched, strict=True), packed, self._line_rules(original, of))
        totals = unpack(original.totals, ClaimTotals)._replace(
            charge_batch_no=number,
            total_fen=sums.total_fen,
            own_expense_fen=sums.own_expense_fen,
            over_limit_fen=sums.over_limit_fen,
            pre_self_pay_fen=sums.pre_self_pay_fen,
            in_scope_fen=sums.in_scope_fen,
            line_count=sums.line_count,
            digest=sums.digest,
            groups=sums.groups,
            local=None,
        )
        return contra_claims.resettled_row(original, self._made(number, f"{contra_key}:kept"[:255]), totals, packed)

    def _line_rules(self, original: Any, of: Visit) -> LineRules:
        """How the policy splits the kept lines: as the desk would have, on the day of the settlement."""
        held = entitlement.leases(self._connection, [of.citizen_id_no], at=self._at).get(of.citizen_id_no)
        level = place_of(self._connection, self._code).level
        settled_on = original.settled_day or self._at.date()
        return line_rules_of(self._reference.policy, original, of, held, level=level, settled_on=settled_on)

    def _write(self, original: Any, written: Sequence[dict[str, Any]]) -> int:
        """The claims, their contents, the link from the original, the visit's count; the id of the contra."""
        last = written[-1]["charge_batch_no"]
        first_id = contra_claims.write(self._connection, original, written)
        if self._registered is not None:
            self._connection.execute(update(visit).where(visit.c.visit_no == self._visit_no).values(last_batch_no=last))
        return first_id


def _kept_of(lines: Sequence[ChargeLine], kept: Mapping[int, int]) -> list[ChargeLine] | NotReady:
    """The kept lines in their old order, with the kept quantity; every number that is no line of it, or too much."""
    by_no = {line.line_no: line for line in lines}
    wrong = [
        number
        for number, quantity in kept.items()
        if number not in by_no or not 0 < quantity * (by_no[number].quantity_1e2 or 0) <= _square(by_no[number])
    ]
    if wrong:
        return not_ready(VisitRefusal.KEPT_NOT_CHARGED, "、".join(map(str, sorted(wrong)[:5])))
    return [_with_quantity(line, kept[line.line_no or 0]) for line in lines if line.line_no in kept]


def _square(line: ChargeLine) -> int:
    return (line.quantity_1e2 or 0) ** 2


def _with_quantity(line: ChargeLine, quantity_1e2: int) -> ChargeLine:
    amount = amount_of(line.unit_price_1e4 or 0, quantity_1e2)
    return line._replace(quantity_1e2=quantity_1e2, line_amount_fen=amount)


def _message(row: Any) -> RefundAsked:
    kept = () if row.kept_totals is None else (unpack(row.kept_totals, ClaimTotals),)
    return RefundAsked(
        institution_code=row.institution_code,
        visit_no=row.visit_no,
        charge_batch_no=row.contra_of,
        contra_batch_no=row.charge_batch_no,
        reason=row.reason or "",
        policy_version=row.policy_version,
        catalogue_version=row.catalogue_version,
        kept=kept,
        kept_lines=() if row.kept_totals is None else (row.kept_lines,),
    )


# ── Recording ─────────────────────────────────────────────────────────────────────────────────────────────


def _record_refusal(connection: Connection, answered: RefundAnswered, at: datetime) -> int:
    """The contra, and what was to be kept, are refused; the original stands as before."""
    batches = (answered.contra_batch_no, answered.contra_batch_no + 1)
    answer = ClaimAnswer(answered.visit_no, answered.contra_batch_no, answered.refusal, answered.detail)
    refused = connection.execute(
        update(claim)
        .where(
            claim.c.visit_no == answered.visit_no,
            claim.c.charge_batch_no.in_(batches),
            claim.c.contra_of == answered.charge_batch_no,
            claim.c.state == ClaimState.TOTALLED,
        )
        .values(state=ClaimState.REFUSED, refusal=answered.refusal, answer=pack(answer), waits_for=None, refused_at=at)
    ).rowcount
    if refused:
        # Not where the centre has corrected it meanwhile: then it is taken back, by another one.
        connection.execute(
            update(claim)
            .where(
                claim.c.visit_no == answered.visit_no,
                claim.c.charge_batch_no == answered.charge_batch_no,
                claim.c.refunded_by == answered.contra_batch_no,
            )
            .values(refunded_by=None)
        )
    return refused


def _of(connection: Connection, answered: RefundAnswered, number: int, **values: Any) -> None:
    connection.execute(
        update(claim).where(claim.c.visit_no == answered.visit_no, claim.c.charge_batch_no == number).values(**values)
    )


def _record_at_visit(connection: Connection, answered: RefundAnswered) -> None:
    """The lines of what is settled anew belong to that batch now; a stay that lost its final settlement is open."""
    visit_no, original_no = answered.visit_no, answered.charge_batch_no
    kept_no = next((each.charge_batch_no for each in answered.answers[1:]), None)
    if kept_no is not None:
        connection.execute(
            update(visit_lines)
            .where(visit_lines.c.visit_no == visit_no, visit_lines.c.charge_batch_no == original_no)
            .values(charge_batch_no=kept_no)
        )
    row = rows.visits_by_no(connection, [visit_no]).get(visit_no)
    if row is None or row.final_batch_no != original_no:
        return
    state = VisitState(row.state)
    connection.execute(
        update(visit)
        .where(visit.c.visit_no == visit_no)
        .values(final_batch_no=kept_no, state=state if kept_no is not None else REOPENED.get(state, state))
    )


def _forget_lease(connection: Connection, answered: RefundAnswered) -> None:
    """What was leased of the person is not what the centre has any more."""
    packed = connection.execute(
        select(claim_content.c.visit)
        .join(claim, claim.c.claim_id == claim_content.c.claim_id)
        .where(claim.c.visit_no == answered.visit_no, claim.c.charge_batch_no == answered.contra_batch_no)
    ).scalar()
    if packed is not None:
        entitlement.forget(connection, [unpack(packed, Visit).citizen_id_no])
