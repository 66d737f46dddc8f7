"""Settling registered visits (费用结算): what is imported and not settled becomes a claim, the visit's next batch.

The claim then goes the way of every claim: desk, outbox, centre. Its lines are those of the imports it is made of, in
their order, and no import is in two claims that may both be settled: a batch the centre refused is asked again as it
was, under its own number, and only what never left this server or was taken back is free for another batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from math import ceil
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, select, update

from domain.checks import over_reversed_items
from domain.lifecycle import AFTER, ALLOWED, ASKED_AGAIN, FINAL, REOPENED, ClaimState, VisitState, VisitStep
from domain.refusals import Reason, VisitRefusal, not_in_this_state, reason
from domain.visit import ChargeLine, Registration, Visit, pack_lines, unpack_lines
from infra.codec import unpack
from infra.database import execute_many, reading
from workers.admission import DoorsClosed, TooFast
from workers.intake import Accepted, Arriving, BacklogFull, Moved, OverOfflineLimit, Submission, accept_within
from workers.moving.standing import against_step, unknown
from workers.numbers import wait_for_turn
from workers.tables import claim, visit, visit_lines
from workers.visit_steps import Ended, NotReady, Settling, not_ready
from workers.visits import rows
from workers.visits.handout import Kind

Unread = Callable[[Connection, str, str], int]
"""How many rows of a visit (connection, institution code, visit number) a door has not read yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSettle:
    """One visit is to be settled; `final` ends a stay. `key` is the caller's: asking again under it is asking once."""

    institution_code: str
    visit_no: str
    final: bool = False
    key: str = ""


Outcome = Settling | Ended | NotReady

_FREE_LINES = (
    select(visit_lines.c.visit_no, visit_lines.c.import_id, visit_lines.c.lines)
    .select_from(rows.LINES)
    .where(visit_lines.c.visit_no.in_(bindparam("visits", expanding=True)), rows.ARE_FREE)
    .order_by(visit_lines.c.import_id)
)
_LAST_CLAIMS = select(
    claim.c.claim_id,
    claim.c.visit_no,
    claim.c.charge_batch_no,
    claim.c.state,
    claim.c.kind,
    claim.c.final,
    claim.c.refunded_by,
).where(claim.c.visit_no.in_(bindparam("visits", expanding=True)))
_BY_KEY = select(
    claim.c.claim_id,
    claim.c.institution_code,
    claim.c.visit_no,
    claim.c.charge_batch_no,
    claim.c.idempotency_key,
    claim.c.state,
).where(
    claim.c.institution_code.in_(bindparam("codes", expanding=True)),
    claim.c.idempotency_key.in_(bindparam("keys", expanding=True)),
)
_TAKE_LINES = (
    update(visit_lines).where(visit_lines.c.import_id == bindparam("id")).values(charge_batch_no=bindparam("batch"))
)
_MOVE_VISIT = (
    update(visit)
    .where(visit.c.visit_no == bindparam("no"))
    .values(last_batch_no=bindparam("last"), final_batch_no=bindparam("final"), state=bindparam("to"))
)
_ASK_AGAIN = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.state == ASKED_AGAIN[0])
    .values(
        state=ASKED_AGAIN[1],
        refusal=None,
        refused_at=None,
        answer=None,
        local=None,
        rung_at=0,
        attempts=0,
        submission=claim.c.submission + 1,
        origin="",
        detail_state=0,
    )
)


def settle_visit(
    engine: Engine,
    institution_code: str,
    visit_no: str,
    *,
    final: bool,
    at: datetime,
    key: str = "",
    unread: Unread | None = None,
) -> Outcome:
    """Settle one visit; see `settle_visits`."""
    asked = ToSettle(institution_code=institution_code, visit_no=visit_no, final=final, key=key)
    return settle_visits(engine, [asked], at=at, unread=unread)[0]


def settle_visits(
    engine: Engine, asked: Sequence[ToSettle], *, at: datetime, unread: Unread | None = None
) -> list[Outcome]:
    """Settle visits in one transaction and say, in their order, what became of each. Durable when it returns.

    Refused with every reason while rows of the visit failed or are unread, while an earlier batch is under way, and
    where an item gives back more than was charged. The institutions' bells are for the caller to ring.
    """
    counts: dict[str, int] = {}
    if unread is not None:
        # Asked before the writer's turn is taken: a door may have to read a file for it. What comes in meanwhile is
        # of the next batch.
        with reading(engine) as connection:
            counts = {each.visit_no: unread(connection, each.institution_code, each.visit_no) for each in asked}
    with engine.begin() as connection:
        wait_for_turn(connection)
        return _Settle(connection, asked, at, counts).take_all()


def reopen(connection: Connection, claim_ids: Collection[int]) -> None:
    """These claims went back for a failed line: a stay whose final settlement one of them was goes on."""
    found = connection.execute(
        select(visit.c.visit_no, visit.c.state, visit.c.last_batch_no)
        .join(claim, and_(claim.c.visit_no == visit.c.visit_no, claim.c.charge_batch_no == visit.c.final_batch_no))
        .where(claim.c.claim_id.in_(list(claim_ids)))
    ).all()
    moved = [
        {"no": row.visit_no, "last": row.last_batch_no, "final": None, "to": REOPENED[VisitState(row.state)]}
        for row in found
    ]
    execute_many(connection, _MOVE_VISIT, moved)


def ask_again(connection: Connection, row: Any, refused: Any) -> None:
    """The batch the centre refused, of the visit in `row`, goes to it once more, number and lines as they were."""
    connection.execute(_ASK_AGAIN, {"id": refused.claim_id})
    if refused.final and rows.registration_of(row).is_stay and row.final_batch_no is None:
        state = AFTER[VisitState(row.state), VisitStep.SETTLE_FINALLY]
        values = {"no": row.visit_no, "last": row.last_batch_no, "final": refused.charge_batch_no, "to": state}
        connection.execute(_MOVE_VISIT, values)


class _Settle:
    """One transaction's view of the visits to settle."""

    def __init__(
        self, connection: Connection, asked: Sequence[ToSettle], at: datetime, unread: Mapping[str, int]
    ) -> None:
        self._connection, self._asked, self._at, self._unread = connection, asked, at, unread
        visit_nos = sorted({each.visit_no for each in asked})
        self._visits = rows.visits_by_no(connection, visit_nos)
        self._served = rows.served(connection, {each.institution_code for each in asked})
        self._claims: dict[str, list[Any]] = defaultdict(list)
        for row in connection.execute(_LAST_CLAIMS.order_by(claim.c.claim_id), {"visits": visit_nos}):
            self._claims[row.visit_no].append(row)
        self._free: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for visit_no, import_id, packed in connection.execute(_FREE_LINES, {"visits": visit_nos}):
            self._free[visit_no].append((import_id, packed))
        self._failed = rows.lines_failed(connection, visit_nos)
        self._by_key = self._claims_by_key()
        self._taken: set[str] = set()

    def take_all(self) -> list[Outcome]:
        """Decide each visit; the new batches are accepted together."""
        decided = [self._decide(each) for each in self._asked]
        batches = [each for each in decided if isinstance(each, _Batch)]
        accepted = accept_within(self._connection, [each.submission for each in batches], at=self._at)
        outcomes: list[Outcome] = []
        answers = iter(accepted)
        kept: list[tuple[_Batch, Accepted]] = []
        for each in decided:
            if not isinstance(each, _Batch):
                outcomes.append(each)
                continue
            answer = next(answers)
            if isinstance(answer, Accepted):
                kept.append((each, answer))
                outcomes.append(Settling(answer.claim_id, answer.visit_no, answer.charge_batch_no))
            else:
                outcomes.append(_not_accepted(answer))
        self._keep(kept)
        return outcomes

    def _decide(self, asked: ToSettle) -> Outcome | _Batch:
        row = self._visits.get(asked.visit_no)
        if row is None or row.institution_code != asked.institution_code:
            return unknown(self._connection, asked.institution_code, asked.visit_no)
        return self._asked_before(asked) or self._decide_anew(asked, row)

    def _decide_anew(self, asked: ToSettle, row: Any) -> Outcome | _Batch:
        if asked.institution_code not in self._served:
            return not_ready(VisitRefusal.NOT_SERVED)
        refused = next((each for each in self._claims[asked.visit_no] if _was_refused(each)), None)
        if refused is not None:
            return self._ask_again(row, refused)
        elsewhere = against_step(self._connection, asked.institution_code, row, asked.visit_no)
        against = self._against(asked, row) if elsewhere is None else elsewhere.reasons
        if against:
            return NotReady(tuple(against))
        free = self._free[asked.visit_no]
        if not free:
            return self._end(asked, row)
        self._taken.add(asked.visit_no)
        return _Batch(asked, row, free)

    def _asked_before(self, asked: ToSettle) -> Outcome | None:
        """The batch that stands under the caller's key, told also when the institution is not served here any more."""
        known = self._by_key.get((asked.institution_code, asked.key)) if asked.key else None
        if known is None:
            return None
        if known.visit_no != asked.visit_no:
            return not_ready(VisitRefusal.KEY_REUSED)
        if known.state == ClaimState.REFUSED:
            return None
        return Settling(known.claim_id, known.visit_no, known.charge_batch_no, is_new=False)

    def _against(self, asked: ToSettle, row: Any) -> list[Reason]:
        """Every reason not to settle now."""
        found: list[Reason] = []
        state = VisitState(row.state)
        step = VisitStep.SETTLE_FINALLY if asked.final else VisitStep.SETTLE
        if asked.final and not rows.registration_of(row).is_stay:
            found.append(reason(VisitRefusal.NO_STAY))
        elif step not in ALLOWED[state]:
            found.append(not_in_this_state(state, step))
        failed = self._failed.get(asked.visit_no, 0)
        if failed:
            found.append(reason(VisitRefusal.ROWS_FAILED, failed))
        unread = self._unread.get(asked.visit_no, 0)
        if unread:
            found.append(reason(VisitRefusal.ROWS_UNREAD, unread))
        under_way = [each.charge_batch_no for each in self._claims[asked.visit_no] if each.state not in FINAL]
        if under_way or asked.visit_no in self._taken:
            found.append(reason(VisitRefusal.BATCH_UNDER_WAY, max(under_way, default=row.last_batch_no + 1)))
        if row.last_batch_no >= rows.MOST_BATCHES:
            found.append(reason(VisitRefusal.BATCHES_USED_UP))
        over = over_reversed_items(_lines(self._free[asked.visit_no]))
        if over:
            found.append(reason(VisitRefusal.REVERSED_TOO_MUCH, "、".join(over[:5])))
        return found

    def _end(self, asked: ToSettle, row: Any) -> Outcome:
        """No line is left: a final settlement makes the last one of the stay its final one."""
        settled = [
            each.charge_batch_no
            for each in self._claims[asked.visit_no]
            if each.state == ClaimState.SETTLED and each.kind != "contra" and each.refunded_by is None
        ]
        if not asked.final or not settled:
            return not_ready(VisitRefusal.NOTHING_TO_SETTLE)
        state = AFTER[VisitState(row.state), VisitStep.SETTLE_FINALLY]
        self._move(row, last=row.last_batch_no, final=max(settled), to=state)
        return Ended(asked.visit_no, max(settled))

    def _ask_again(self, row: Any, refused: Any) -> Outcome:
        """The batch the centre refused, on its way once more."""
        ask_again(self._connection, row, refused)
        return Settling(refused.claim_id, refused.visit_no, refused.charge_batch_no)

    def _keep(self, kept: Sequence[tuple[_Batch, Accepted]]) -> None:
        """The imports, the visits and the exchange hear of their new batch."""
        taken = [
            {"id": import_id, "batch": answer.charge_batch_no}
            for batch, answer in kept
            for import_id in batch.import_ids
        ]
        execute_many(self._connection, _TAKE_LINES, taken)
        for batch, answer in kept:
            row, number = batch.row, answer.charge_batch_no
            state, final = VisitState(row.state), row.final_batch_no
            if batch.asked.final:
                state, final = AFTER[state, VisitStep.SETTLE_FINALLY], number
            self._move(row, last=number, final=final, to=state)
        rows.put_out(
            self._connection,
            [
                (self._served[batch.asked.institution_code], answer.visit_no, Kind.RESULT, answer.charge_batch_no)
                for batch, answer in kept
            ],
        )

    def _move(self, row: Any, *, last: int, final: int | None, to: VisitState) -> None:
        self._connection.execute(_MOVE_VISIT, {"no": row.visit_no, "last": last, "final": final, "to": to})

    def _claims_by_key(self) -> dict[tuple[str, str], Any]:
        keys = [each.key for each in self._asked if each.key]
        if not keys:
            return {}
        codes = sorted({each.institution_code for each in self._asked})
        found = self._connection.execute(_BY_KEY, {"codes": codes, "keys": keys})
        return {(row.institution_code, row.idempotency_key): row for row in found}


class _Batch:
    """A visit's unsettled lines on their way to be accepted."""

    def __init__(self, asked: ToSettle, row: Any, free: Sequence[tuple[int, bytes]]) -> None:
        self.asked, self.row = asked, row
        self.import_ids = [import_id for import_id, _ in free]
        lines = _lines(free)
        registration = unpack(row.content, Registration)
        number = row.last_batch_no + 1
        covers_to = row.discharge_date if asked.final and row.discharge_date else _last_day(lines)
        self.submission = Submission(
            institution_code=row.institution_code,
            visit=visit_of(registration),
            charge_batch_no=number,
            lines=lines,
            idempotency_key=asked.key or f"visit:{row.visit_no}:{number}",
            content_digest=blake2b(pack_lines(lines), digest_size=16, key=row.visit_no.encode()).digest(),
            channel=rows.CHANNEL,
            of_registered=True,
            final=asked.final or not registration.is_stay,
            covers_to=covers_to if registration.is_stay else None,
        )


def visit_of(registration: Registration) -> Visit:
    """What a claim keeps of its visit's registration."""
    return Visit(**{name: getattr(registration, name) for name in Visit.__dataclass_fields__})


def _lines(packed: Iterable[tuple[int, bytes]]) -> list[ChargeLine]:
    return [line for _, lines in packed for line in unpack_lines(lines)]


def _last_day(lines: Sequence[ChargeLine]) -> date | None:
    return max((line.charge_date for line in lines if line.charge_date is not None), default=None)


def _was_refused(row: Any) -> bool:
    return bool(row.state == ClaimState.REFUSED and row.kind == "normal")


def _not_accepted(answer: object) -> NotReady:
    return not_ready(*_why_not(answer))


def _why_not(answer: object) -> tuple[VisitRefusal, object]:
    found: tuple[VisitRefusal, object] = (VisitRefusal.KEY_REUSED, "")
    match answer:
        case BacklogFull(_, cap):
            found = VisitRefusal.BACKLOG_FULL, cap
        case OverOfflineLimit(over):
            found = VisitRefusal.LINK_DOWN_LIMIT, over.words()
        case TooFast(seconds):
            found = VisitRefusal.TOO_FAST, ceil(seconds)
        case DoorsClosed(why):
            found = VisitRefusal.DOORS_CLOSED, why
        case Moved(to):
            found = VisitRefusal.MOVED, to
        case Arriving():
            found = VisitRefusal.ARRIVING, ""
    return found
