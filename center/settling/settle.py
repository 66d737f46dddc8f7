"""Settling (医保结算): a batch of claims becomes settlements, postings and answers in one transaction.

What each claim comes to is decided at `center.settling.counter`; here it is written. A refused claim is parked for a
person to look at and never disturbs its neighbours.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Protocol

import msgspec
import psycopg
from sqlalchemy import Connection, Engine

from center.backup import epochs
from center.conservation import sums
from center.ledger import chain
from center.ledger.layouts import LEDGER
from center.offline import posting
from center.policy.shelf import PolicyShelf
from center.settling import kept_lines, records
from center.settling.copying import Encoded
from center.settling.counter import Counter, Decision, Settling
from center.settling.halving import in_halves
from center.settling.records import NORMAL, ParkedRow, Settled, SettlementRow
from center.settling.well_formed import MAX_INTEGER, Refused, refuse
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, Resubmitted, TotalsSubmitted
from domain.policy import PolicyBook
from domain.refusals import HOLDS, Refusal
from infra.codec import pack, unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")

_pack_steps = msgspec.msgpack.Encoder().encode


def settle_submitted(
    engine: Engine,
    shelf: ReferenceShelf,
    submitted: TotalsSubmitted,
    *,
    frontend: str,
    at: datetime,
    policies: PolicyShelf | None = None,
) -> ClaimsAnswered:
    """Settle a batch and commit it; done again from the top when another transaction was in the way.

    Should the database refuse a row of it, the batch is halved until the claim at fault stands alone and is parked.
    """

    def settle_now(connection: Connection, claims: Sequence[ClaimTotals]) -> ClaimsAnswered:
        reference = shelf.current(connection, records.versions_in_force(records.cursor_of(connection)))
        sent = None
        if submitted.policy_version != reference.policy_version:
            sent = (policies or PolicyShelf()).book(connection, submitted.policy_version)
        batch = submitted if claims is submitted.claims else replace(submitted, claims=tuple(claims))
        return settle_batch(
            batch, frontend=frontend, connection=connection, reference=reference, at=at, sent_policy=sent
        )

    def park_now(connection: Connection, claims: Sequence[ClaimTotals]) -> ClaimsAnswered:
        return park_internal(connection, claims, frontend=frontend, at=at)

    answered = joined(in_halves(engine, submitted.claims, settle_now, park_now))
    log.info(
        "batch_settled",
        extra={
            "frontend": frontend,
            "claims": len(answered.answers),
            "refused": sum(1 for answer in answered.answers if answer.refusal),
        },
    )
    return answered


def settle_batch(
    submitted: TotalsSubmitted,
    *,
    frontend: str,
    connection: Connection,
    reference: Reference,
    at: datetime,
    sent_policy: PolicyBook | None = None,
    settled_on: date | None = None,
) -> ClaimsAnswered:
    """Answer every claim of the batch, in its order: settled now, settled before, or refused.

    `sent_policy` is the book of the policy versions the batch names, where they are not those in force; `settled_on`
    the day of the settlement the rules go by, where it is not today. Running it twice changes nothing: what is settled
    answers as it did the first time, byte for byte.
    """
    cursor = records.cursor_of(connection)
    counter = Counter(submitted, frontend, reference, at, sent_policy, settled_on=settled_on)
    counter.gather(cursor)
    answered = settle_all(cursor, counter, at)
    offline = [settling.claim for settling in counter.settled if posting.is_offline(settling.claim)]
    if offline or counter.cases:
        posting.keep(connection, counter.cases, offline, at=at)
    return answered


def settle_all(cursor: psycopg.Cursor[Any], counter: Counter, at: datetime) -> ClaimsAnswered:
    """Decide every claim at a counter that has gathered, and write what was decided."""
    claims = counter.submitted.claims
    decisions = [counter.decide(claim) for claim in claims]

    refused = [
        (claim, decision)
        for claim, decision in zip(claims, decisions, strict=True)
        if isinstance(decision, Refused) and decision.refusal not in HOLDS and decision.stored is None
    ]
    record(cursor, counter, at)
    if refused:
        records.park(cursor, [parked_row(claim, decision, counter.frontend, at) for claim, decision in refused])
    answers = tuple(_answer(*pair) for pair in zip(claims, decisions, strict=True))
    return ClaimsAnswered(
        answers=answers,
        epoch=counter.epoch.number,
        resubmitted=_resubmitted(claims, decisions),
        wanted=counter.wanted(decisions),
    )


def joined(parts: Sequence[ClaimsAnswered]) -> ClaimsAnswered:
    """The answers to the parts of a batch that was halved, as one."""
    if len(parts) == 1:
        return parts[0]
    return ClaimsAnswered(
        answers=tuple(answer for part in parts for answer in part.answers),
        epoch=parts[-1].epoch,
        resubmitted=tuple(row for part in parts for row in part.resubmitted),
        wanted=next((part.wanted for part in parts if part.wanted), ()),
    )


# ── Record ────────────────────────────────────────────────────────────────────────────────────────────────


class Batch(Protocol):
    """Claims decided together, under locks that are still held: what `record` needs of them."""

    @property
    def settled(self) -> Sequence[Settling]:
        """Each gets its answer when it is recorded."""

    @property
    def frontend(self) -> str:
        """Who speaks for them."""

    @property
    def policy_version(self) -> str:
        """What they were settled under."""

    @property
    def catalogue_version(self) -> str:
        """What their lines were split by."""

    def accumulators_now(self) -> Mapping[tuple[int, str], int]:
        """(person, key) to where the batch leaves it."""

    def standings_now(self) -> Mapping[int, records.Standing]:
        """Person to where the batch leaves them."""


def record(
    cursor: psycopg.Cursor[tuple[object, ...]], batch: Batch, at: datetime, told: Sequence[ClaimAnswer] = ()
) -> None:
    """Append what was decided, let accumulators, balances and versions stand where the batch leaves them, and link the
    documents into their institutions' chains. Last in its transaction: it locks the heads of the chains.

    `told` are the answers that were given already, in the order of the batch, each under its number: a restored centre
    takes them up as they are."""
    if not batch.settled:
        return
    answers: Sequence[ClaimAnswer | None] = told or [None] * len(batch.settled)
    numbers = [answer.settlement_no for answer in told] or records.settlement_numbers(cursor, len(batch.settled))
    same = (NORMAL, batch.frontend, at, at.date(), batch.policy_version, batch.catalogue_version, None, "")
    rows, encoded, with_lines = [], Encoded(), list[tuple[SettlementRow, bytes]]()
    for settlement_no, settling, answer in zip(numbers, batch.settled, answers, strict=True):
        settling.answer = answer or answer_to(settlement_no, settling, at)
        row = _row(settlement_no, settling, same)
        encoded.add(row, settling.postings, settling.settlement.entries)
        rows.append(row)
        if settling.lines:
            with_lines.append((row, settling.lines))

    encoded.copy(cursor)
    if with_lines:
        kept_lines.keep(cursor, with_lines, at)
    records.set_accumulators(cursor, batch.accumulators_now())
    records.set_standings(cursor, batch.standings_now())
    chain.append(cursor, {code: chain.Link(LEDGER, *of) for code, of in encoded.digests.items()}, at=at)
    sums.add(cursor, rows)


def answer_to(settlement_no: int, settling: Settling, at: datetime | None) -> ClaimAnswer:
    """What the front-end is told; of a claim that is only prepared there is no number and no moment yet."""
    claim, settlement = settling.claim, settling.settlement
    return ClaimAnswer(
        claim.visit_no,
        claim.charge_batch_no,
        "",
        "",
        settlement_no,
        settlement.fund_pay_fen,
        settlement.account_pay_fen,
        settlement.deductible_fen,
        settlement.self_pay_fen,
        settlement.over_cap_fen,
        settlement.institution_share_fen,
        settling.account_before_fen,
        settling.fund_before_fen,
        settling.deductible_before_fen,
        at,
        settlement.cells,
        settlement.entries,
        settlement.scheme,
        settling.insured.category,
        settling.recomputed,
        settling.split,
    )


def _row(settlement_no: int, settling: Settling, same: tuple[Any, ...]) -> SettlementRow:
    claim, content, insured, settlement = settling.claim, settling.content, settling.insured, settling.settlement
    visit_type, visit_date, total, own_expense, over_limit, pre_self_pay, in_scope, lines, digest, circumstances = (
        content
    )
    return SettlementRow._make(
        (
            settlement_no,
            insured.person_no,
            claim.charge_batch_no,
            lines,
            visit_date,
            total,
            own_expense,
            over_limit,
            pre_self_pay,
            in_scope,
            settlement.fund_pay_fen,
            settlement.account_pay_fen,
            settlement.deductible_fen,
            settlement.self_pay_fen,
            settlement.over_cap_fen,
            settlement.institution_share_fen,
            settlement.own_pay_fen,
            settling.institution_level,
            claim.institution_code,
            visit_type,
            settling.clearing_type,
            insured.scheme,
            insured.category,
            *same,
            claim.visit_no,
            digest,
            circumstances,
            settling.inputs,
            _pack_steps(settlement.steps),
            pack(settling.answer),
        )
    )


def _answer(claim: ClaimTotals, decision: Decision) -> ClaimAnswer:
    if isinstance(decision, Settling):
        return decision.answer
    if isinstance(decision, Settled):
        return unpack(decision.answer, ClaimAnswer)
    return refused_answer(claim.visit_no, claim.charge_batch_no, decision)


def refused_answer(visit_no: str, charge_batch_no: int, refused: Refused) -> ClaimAnswer:
    """What the front-end is told of a claim that is refused."""
    return ClaimAnswer(visit_no, charge_batch_no, str(refused.refusal), refused.detail, failed=refused.failed)


def _resubmitted(claims: Sequence[ClaimTotals], decisions: Sequence[Decision]) -> tuple[Resubmitted, ...]:
    """Which submission each refusal answers, where it is not the first."""
    numbered = [
        (claim, claim.submission if decision.stored is None else decision.stored)
        for claim, decision in zip(claims, decisions, strict=True)
        if isinstance(decision, Refused)
    ]
    return tuple(Resubmitted(claim.visit_no, claim.charge_batch_no, number) for claim, number in numbered if number)


def parked_row(claim: ClaimTotals, refused: Refused, frontend: str, at: datetime) -> ParkedRow:
    """A refused claim as a person will look at it."""
    return ParkedRow(
        frontend=frontend,
        institution_code=_storable(claim.institution_code, 18),
        visit_no=_storable(claim.visit_no, 16),
        charge_batch_no=max(-MAX_INTEGER, min(claim.charge_batch_no, MAX_INTEGER)),
        digest=claim.digest,
        refusal=str(refused.refusal),
        detail=refused.detail.replace("\0", ""),
        totals=pack(claim),
        submission=max(0, min(claim.submission, MAX_INTEGER)),
        parked_at=at,
        failed=pack(refused.failed) if refused.failed else b"",
    )


def _storable(text: str, longest: int) -> str:
    return text.replace("\0", "")[:longest]


def park_internal(
    connection: Connection, claims: Sequence[ClaimTotals], *, frontend: str, at: datetime
) -> ClaimsAnswered:
    """Park the claims because the database refused their rows."""
    refused = refuse(Refusal.INTERNAL)
    cursor = records.cursor_of(connection)
    records.park(cursor, [parked_row(claim, refused, frontend, at) for claim in claims])
    answers = tuple(_answer(claim, refused) for claim in claims)
    resubmitted = _resubmitted(claims, [refused] * len(answers))
    return ClaimsAnswered(answers=answers, epoch=epochs.current(cursor).number, resubmitted=resubmitted)
