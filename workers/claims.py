"""Reading claims: for the API, for the door that hands results back, for whoever waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Integer, bindparam, func, select, update

from domain.lifecycle import FINAL, OPEN, ClaimState
from domain.messages import ClaimAnswer, ClaimTotals
from domain.outcomes import Phase
from domain.projection import ExchangeAmounts, exchange_amounts
from domain.visit import ChargeLine, Visit, unpack_lines
from infra.codec import unpack
from infra.database import execute_many
from workers.tables import IS_OPEN, IS_UNDECIDED, TO_HAND_BACK, claim, claim_content, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LineVerdict:
    """One line's verdict: the first failed code (00 when it passed) and all failed codes."""

    code: str
    all_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOutcome:
    """A claim and what became of it, without its lines: what a door hands back."""

    claim_id: int
    claim_no: str
    institution_code: str
    visit_no: str
    charge_batch_no: int
    channel: str
    source: str
    state: ClaimState
    line_count: int
    total_fen: int
    accepted_at: datetime
    settled_at: datetime | None
    detail_state: int
    visit: Visit
    totals: ClaimTotals | None
    answer: ClaimAnswer | None
    refusal: str
    verdicts: tuple[LineVerdict, ...]
    kind: str = "normal"
    """normal; contra: it takes the settlement of another batch back; resettled: what was kept of that one."""
    contra_of: int | None = None
    """Of a contra, or of what was resettled with it: the batch that is taken back."""
    refunded_by: int | None = None
    """The contra batch that takes, or took, this one back."""
    provisional: bool = False
    """The answer is our own, of a claim settled locally; the centre's is awaited."""
    phase: Phase = Phase.SETTLE
    expires_at: datetime | None = None
    """Prepared: about when the centre lets it expire."""
    waits_for: str = ""
    """What holds it up at the centre: a code of domain.refusals.HOLDS."""
    queued: bool = False
    """It waits here: it was accepted while the link to the centre was down."""
    estimate: ClaimAnswer | None = None
    """Queued: what it would come to by the leased standing. No result: nothing of it is due or printed."""
    offline_at: datetime | None = None
    """When it was settled off-line: the answer is the patient's result, to be posted at the centre."""

    @property
    def estimated(self) -> ExchangeAmounts | None:
        """Who would pay what, by the estimate."""
        if self.estimate is None or not self.estimate.cells:
            return None
        return exchange_amounts(self.estimate.cells, self.visit.visit_type)

    @property
    def amounts(self) -> ExchangeAmounts | None:
        """Who pays what, as FYJS and MZJS say it; None while nothing is settled."""
        totals, answer = self.totals, self.answer
        if totals is None or answer is None or answer.refusal:
            return None
        return _amounts(answer, totals, self.visit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView(ClaimOutcome):
    """A claim as its institution may see it, lines and all."""

    packed_lines: bytes

    @property
    def lines(self) -> list[ChargeLine]:
        """The lines as handed in; unpacked when somebody wants them, which a settled claim's reader seldom does."""
        return unpack_lines(self.packed_lines)


class ReadyClaim(NamedTuple):
    """A final claim of a file door, no more of it than its files are told; `codes` are those of its lines, if any."""

    claim_id: int
    visit_no: str
    charge_batch_no: int
    source: str
    state: str
    line_count: int
    refusal: str | None
    packed_totals: bytes | None
    packed_answer: bytes | None
    packed_visit: bytes
    packed_codes: bytes | None

    @property
    def answer(self) -> ClaimAnswer | None:
        """What the centre answered."""
        return None if self.packed_answer is None else _answer_of(self.packed_answer)

    @property
    def visit(self) -> Visit:
        """Whose it is."""
        return _visit_of(self.packed_visit)

    @property
    def codes(self) -> list[str]:
        """The first failed code of each line, of a claim that was returned; empty of any other."""
        return [] if self.packed_codes is None else [code for code, _ in unpack(self.packed_codes, _Codes)]

    def amounts(self, answer: ClaimAnswer, visit: Visit) -> ExchangeAmounts:
        """Who pays what of a settled claim, given its answer and its visit."""
        assert self.packed_totals is not None
        return _amounts(answer, None if answer.cells else unpack(self.packed_totals, ClaimTotals), visit)


_Codes = list[tuple[str, tuple[str, ...]]]
_answer_of = msgspec.msgpack.Decoder(ClaimAnswer).decode
_visit_of = msgspec.msgpack.Decoder(Visit).decode


def _amounts(answer: ClaimAnswer, totals: ClaimTotals | None, visit: Visit) -> ExchangeAmounts:
    if answer.cells:
        return exchange_amounts(answer.cells, visit.visit_type)
    # An answer from before there were cells holds the amounts itself.
    assert totals is not None
    return ExchangeAmounts(
        total_fen=totals.total_fen,
        fund_pay_fen=answer.fund_pay_fen,
        account_pay_fen=answer.account_pay_fen,
        pre_self_pay_fen=totals.pre_self_pay_fen,
        deductible_fen=answer.deductible_fen,
        own_pay_fen=totals.own_expense_fen + totals.over_limit_fen + totals.pre_self_pay_fen,
        self_pay_fen=answer.self_pay_fen,
        over_cap_fen=answer.over_cap_fen,
        institution_share_fen=answer.institution_share_fen,
    )


def claim_no(visit_no: str, charge_batch_no: int) -> str:
    """A claim's number outside: its visit number and batch number."""
    return f"{visit_no}-{charge_batch_no}"


def split_claim_no(number: str) -> tuple[str, int] | None:
    """The visit number and batch number, or None when the text is not a claim number."""
    visit_no, dash, batch = number.rpartition("-")
    if not dash or not visit_no or not batch.isascii() or not batch.isdigit() or len(batch) > 4:
        return None
    return visit_no, int(batch)


_OUTCOME = (
    select(
        claim.c.claim_id,
        claim.c.institution_code,
        claim.c.visit_no,
        claim.c.charge_batch_no,
        claim.c.channel,
        claim.c.source,
        claim.c.state,
        claim.c.line_count,
        claim.c.total_fen,
        claim.c.accepted_at,
        claim.c.settled_at,
        claim.c.detail_state,
        claim.c.totals,
        claim.c.answer,
        claim.c.local,
        claim.c.refusal,
        claim.c.kind,
        claim.c.contra_of,
        claim.c.refunded_by,
        claim.c.phase,
        claim.c.expires_at,
        claim.c.waits_for,
        claim.c.queued_at,
        claim.c.released_at,
        claim.c.estimate,
        claim.c.offline_at,
        claim_content.c.visit,
        verdict.c.codes,
    )
    .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
    .outerjoin(verdict, verdict.c.claim_id == claim.c.claim_id)
)
_READY = (
    select(
        claim.c.claim_id,
        claim.c.visit_no,
        claim.c.charge_batch_no,
        claim.c.source,
        claim.c.state,
        claim.c.line_count,
        claim.c.refusal,
        claim.c.totals,
        claim.c.answer,
        claim_content.c.visit,
        verdict.c.codes,
    )
    .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
    .outerjoin(verdict, verdict.c.claim_id == claim.c.claim_id)
    .where(
        TO_HAND_BACK,
        claim.c.institution_code == bindparam("code"),
        claim.c.state.in_([str(state) for state in sorted(FINAL)]),
    )
    .order_by(claim.c.claim_id)
    .limit(bindparam("most", type_=Integer))
)
_HANDED_BACK = update(claim).where(claim.c.claim_id == bindparam("id")).values(handed_back=True)
_WHOLE = _OUTCOME.add_columns(claim_content.c.lines)
_ENDED = _WHOLE.where(
    claim.c.claim_id.in_(bindparam("ids", expanding=True)),
    claim.c.state.in_([str(state) for state in sorted(FINAL)])
    | claim.c.local.is_not(None)
    | ((claim.c.state == ClaimState.TOTALLED) & claim.c.person_key.is_not(None) & claim.c.released_at.is_(None))
    | ((claim.c.state == ClaimState.PREPARED) & (claim.c.phase == Phase.PREPARE)),
)
_OF_VISITS = _OUTCOME.where(claim.c.visit_no.in_(bindparam("visits", expanding=True)))
_STATES = select(claim.c.claim_id, claim.c.state).where(claim.c.claim_id.in_(bindparam("ids", expanding=True)))


def show(connection: Connection, institution_code: str, number: str) -> ClaimView | None:
    """The claim with this number, if it is the institution's own."""
    key = split_claim_no(number)
    if key is None:
        return None
    row = connection.execute(
        _WHOLE.where(
            claim.c.institution_code == institution_code,
            claim.c.visit_no == key[0],
            claim.c.charge_batch_no == key[1],
        )
    ).first()
    return None if row is None else _view(row)


def under_key(connection: Connection, institution_code: str, key: str) -> str | None:
    """The number of the claim the institution handed in under this key."""
    row = connection.execute(
        select(claim.c.visit_no, claim.c.charge_batch_no).where(
            claim.c.institution_code == institution_code, claim.c.idempotency_key == key
        )
    ).first()
    return None if row is None else claim_no(row.visit_no, row.charge_batch_no)


def open_claims(connection: Connection, institution_code: str, limit: int) -> list[tuple[str, ClaimView]]:
    """The institution's claims that are not finished, oldest first, each with the key it came under."""
    of_institution = claim.c.institution_code == institution_code
    prepared = IS_UNDECIDED, claim.c.state == ClaimState.PREPARED
    found: dict[int, tuple[str, ClaimView]] = {}
    for condition in ((IS_OPEN,), prepared):
        query = _WHOLE.add_columns(claim.c.idempotency_key).where(*condition, of_institution)
        for row in connection.execute(query.order_by(claim.c.claim_id).limit(limit)):
            found[row.claim_id] = (row.idempotency_key or "", _view(row))
    return [found[claim_id] for claim_id in sorted(found)[:limit]]


def ended_views(connection: Connection, claim_ids: Iterable[int]) -> dict[int, ClaimView]:
    """Those of the claims of which nothing more is to be heard for now, by id: in their final state, settled locally,
    prepared and not decided, or kept here while the link is down; one query however many wait."""
    ids = list(claim_ids)
    rows = connection.execute(_ENDED, {"ids": ids}) if ids else ()
    return {row.claim_id: _view(row) for row in rows}


def states(connection: Connection, claim_ids: Iterable[int]) -> dict[int, ClaimState]:
    """The states of these claims; one small query however many wait."""
    ids = list(claim_ids)
    rows = connection.execute(_STATES, {"ids": ids}) if ids else ()
    return {row.claim_id: ClaimState(row.state) for row in rows}


def ready_to_hand_back(connection: Connection, institution_code: str, limit: int) -> list[ReadyClaim]:
    """One institution's claims of the DBF door that are final and were not handed back yet, oldest first."""
    return list(map(ReadyClaim._make, connection.execute(_READY, {"code": institution_code, "most": limit}).all()))


def outcomes(connection: Connection, keys: Iterable[tuple[str, int]]) -> dict[tuple[str, int], ClaimOutcome]:
    """The claims of these visit and batch numbers; one query however many."""
    wanted = set(keys)
    rows = connection.execute(_OF_VISITS, {"visits": sorted({visit_no for visit_no, _ in wanted})}) if wanted else ()
    return {
        (row.visit_no, row.charge_batch_no): ClaimOutcome(**_outcome(row))
        for row in rows
        if (row.visit_no, row.charge_batch_no) in wanted
    }


def of_visits(connection: Connection, visit_nos: Iterable[str]) -> dict[str, list[ClaimOutcome]]:
    """Every claim of these visits, in the order of their batches; one query however many."""
    wanted = sorted(set(visit_nos))
    found: dict[str, list[ClaimOutcome]] = {visit_no: [] for visit_no in wanted}
    if wanted:
        for row in connection.execute(_OF_VISITS.order_by(claim.c.charge_batch_no), {"visits": wanted}):
            found[row.visit_no].append(ClaimOutcome(**_outcome(row)))
    return found


def counts_by_state(connection: Connection) -> dict[ClaimState, int]:
    """How many claims stand in each state, for metrics and the doctor."""
    rows = connection.execute(select(claim.c.state, func.count()).group_by(claim.c.state))
    return {ClaimState(state): count for state, count in rows}


def mark_handed_back(connection: Connection, claim_ids: Iterable[int]) -> None:
    """These claims' verdicts and results are with the institution."""
    execute_many(connection, _HANDED_BACK, [{"id": claim_id} for claim_id in claim_ids])


def _view(row: Any) -> ClaimView:
    return ClaimView(**_outcome(row), packed_lines=row.lines)


def _outcome(row: Any) -> dict[str, Any]:
    is_open = row.state in OPEN
    own = row.local if row.state == ClaimState.TOTALLED or row.offline_at is not None else None
    answer = own if row.answer is None and is_open else row.answer
    queued = is_open and row.queued_at is not None and row.released_at is None
    codes = () if row.codes is None else unpack(row.codes, _Codes)
    return {
        "claim_id": row.claim_id,
        "claim_no": claim_no(row.visit_no, row.charge_batch_no),
        "institution_code": row.institution_code,
        "visit_no": row.visit_no,
        "charge_batch_no": row.charge_batch_no,
        "channel": row.channel,
        "source": row.source,
        "state": ClaimState(row.state),
        "line_count": row.line_count,
        "total_fen": row.total_fen,
        "accepted_at": row.accepted_at,
        "settled_at": row.settled_at,
        "detail_state": row.detail_state,
        "visit": unpack(row.visit, Visit),
        "totals": None if row.totals is None else unpack(row.totals, ClaimTotals),
        "answer": None if answer is None else unpack(answer, ClaimAnswer),
        "refusal": row.refusal or "",
        "kind": row.kind,
        "contra_of": row.contra_of,
        "refunded_by": row.refunded_by,
        "provisional": row.answer is None and answer is not None,
        "queued": queued,
        "estimate": unpack(row.estimate, ClaimAnswer) if queued and row.estimate is not None else None,
        "offline_at": row.offline_at,
        "phase": Phase(row.phase),
        "expires_at": row.expires_at,
        "waits_for": row.waits_for or "",
        "verdicts": tuple(LineVerdict(code=code, all_codes=all_codes) for code, all_codes in codes),
    }
