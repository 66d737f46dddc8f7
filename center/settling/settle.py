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
from sqlalchemy.exc import DBAPIError

from center.backup import epochs
from center.conservation import sums
from center.ledger import chain
from center.ledger.layouts import LEDGER
from center.policy.shelf import PolicyShelf
from center.settling import records
from center.settling.copying import Encoded
from center.settling.counter import Counter, Decision, Settling
from center.settling.records import NORMAL, ParkedRow, Settled, SettlementRow
from center.settling.well_formed import MAX_INTEGER, Refused, refuse
from center.transactions import driver_error, in_transaction, sqlstate_of
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, Resubmitted, TotalsSubmitted
from domain.policy import PolicyBook
from domain.refusals import HOLDS, Refusal
from infra.codec import pack, unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")

_pack_steps = msgspec.msgpack.Encoder().encode

BAD_CONTENT = (psycopg.DataError, psycopg.IntegrityError)
"""What the database says when a row, not the database, is wrong."""


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

    def settle_now(connection: Connection) -> ClaimsAnswered:
        reference = shelf.current(connection, records.versions_in_force(records.cursor_of(connection)))
        sent = None
        if submitted.policy_version != reference.policy_version:
            sent = (policies or PolicyShelf()).book(connection, submitted.policy_version)
        return settle_batch(
            submitted, frontend=frontend, connection=connection, reference=reference, at=at, sent_policy=sent
        )

    try:
        answered = in_transaction(engine, settle_now)
    except (DBAPIError, psycopg.Error) as error:
        if not isinstance(driver_error(error), BAD_CONTENT):
            raise
        log.error("batch_refused_by_database", extra={"claims": len(submitted.claims), "sqlstate": sqlstate_of(error)})
        if len(submitted.claims) == 1:
            return in_transaction(engine, lambda c: _park_internal(submitted, frontend=frontend, connection=c, at=at))
        middle = len(submitted.claims) // 2
        halves = [
            settle_submitted(
                engine, shelf, replace(submitted, claims=claims), frontend=frontend, at=at, policies=policies
            )
            for claims in (submitted.claims[:middle], submitted.claims[middle:])
        ]
        return ClaimsAnswered(
            answers=halves[0].answers + halves[1].answers,
            epoch=halves[1].epoch,
            resubmitted=halves[0].resubmitted + halves[1].resubmitted,
        )
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

    decisions = [counter.decide(claim) for claim in submitted.claims]

    refused = [
        (claim, decision)
        for claim, decision in zip(submitted.claims, decisions, strict=True)
        if isinstance(decision, Refused) and decision.refusal not in HOLDS and decision.stored is None
    ]
    record(cursor, counter, at)
    if refused:
        records.park(cursor, [parked_row(claim, decision, frontend, at) for claim, decision in refused])
    answers = tuple(_answer(*pair) for pair in zip(submitted.claims, decisions, strict=True))
    return ClaimsAnswered(
        answers=answers, epoch=counter.epoch.number, resubmitted=_resubmitted(submitted.claims, decisions)
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
    rows, encoded = [], Encoded()
    for settlement_no, settling, answer in zip(numbers, batch.settled, answers, strict=True):
        settling.answer = answer or answer_to(settlement_no, settling, at)
        row = _row(settlement_no, settling, same)
        encoded.add(row, settling.postings, settling.settlement.entries)
        rows.append(row)

    encoded.copy(cursor)
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
    return ClaimAnswer(claim.visit_no, claim.charge_batch_no, str(decision.refusal), decision.detail)


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
    )


def _storable(text: str, longest: int) -> str:
    return text.replace("\0", "")[:longest]


def _park_internal(
    submitted: TotalsSubmitted, *, frontend: str, connection: Connection, at: datetime
) -> ClaimsAnswered:
    """Park the claims because the database refused their rows."""
    refused = refuse(Refusal.INTERNAL)
    cursor = records.cursor_of(connection)
    records.park(cursor, [parked_row(claim, refused, frontend, at) for claim in submitted.claims])
    answers = tuple(_answer(claim, refused) for claim in submitted.claims)
    resubmitted = _resubmitted(submitted.claims, [refused] * len(answers))
    return ClaimsAnswered(answers=answers, epoch=epochs.current(cursor).number, resubmitted=resubmitted)
