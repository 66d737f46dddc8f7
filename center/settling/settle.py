"""Settling (医保结算): a batch of claims becomes settlements, postings and answers in one transaction.

What each claim comes to is decided at `center.settling.counter`; here it is written. A refused claim is parked for a
person to look at and never disturbs its neighbours.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

import msgspec
import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from center.policy.shelf import PolicyShelf
from center.settling import records
from center.settling.counter import Counter, Decision, Settling
from center.settling.records import NORMAL, ParkedRow, Settled, SettlementRow
from center.settling.well_formed import MAX_INTEGER, Refused, refuse
from center.transactions import driver_error, in_transaction, sqlstate_of
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, TotalsSubmitted
from domain.policy import PolicyBook
from domain.refusals import Refusal
from infra.codec import pack, unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")

_pack_steps = msgspec.msgpack.Encoder().encode

_BAD_CONTENT = (psycopg.DataError, psycopg.IntegrityError)
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
        if not isinstance(driver_error(error), _BAD_CONTENT):
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
        return ClaimsAnswered(answers=halves[0].answers + halves[1].answers)
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
) -> ClaimsAnswered:
    """Answer every claim of the batch, in its order: settled now, settled before, or refused.

    `sent_policy` is the book of the policy versions the batch names, where they are not those in force. Running it
    twice changes nothing: what is settled answers as it did the first time, byte for byte.
    """
    cursor = records.cursor_of(connection)
    counter = Counter(submitted, frontend, reference, at, sent_policy)
    counter.gather(cursor)

    decisions = [counter.decide(claim) for claim in submitted.claims]

    refused = [
        (claim, decision)
        for claim, decision in zip(submitted.claims, decisions, strict=True)
        if isinstance(decision, Refused)
    ]
    if counter.settled:
        _record(cursor, counter, at)
    if refused:
        records.park(cursor, [_parked(claim, decision, frontend, at) for claim, decision in refused])
    return ClaimsAnswered(answers=tuple(_answer(*pair) for pair in zip(submitted.claims, decisions, strict=True)))


# ── Record ────────────────────────────────────────────────────────────────────────────────────────────────


def _record(cursor: psycopg.Cursor[tuple[object, ...]], counter: Counter, at: datetime) -> None:
    """Append what was decided, and let accumulators, balances and versions stand where the batch leaves them."""
    numbers = records.settlement_numbers(cursor, len(counter.settled))
    settlements: list[SettlementRow] = []
    postings: list[records.PostingRow] = []
    entries: list[records.EntryRow] = []
    for settlement_no, settling in zip(numbers, counter.settled, strict=True):
        person_no = settling.insured.person_no
        settling.answer = _settled_answer(settlement_no, settling, at)
        settlements.append(_row(settlement_no, settling, counter, at))
        postings += [(settlement_no, *posting) for posting in settling.postings]
        entries += [(settlement_no, person_no, *entry) for entry in settling.settlement.entries]

    records.append_settlements(cursor, settlements, postings, entries)
    records.set_accumulators(cursor, counter.accumulators_now())
    records.set_standings(cursor, counter.standings_now())


def _settled_answer(settlement_no: int, settling: Settling, at: datetime) -> ClaimAnswer:
    claim, settlement = settling.claim, settling.settlement
    return ClaimAnswer(
        visit_no=claim.visit_no,
        charge_batch_no=claim.charge_batch_no,
        settlement_no=settlement_no,
        fund_pay_fen=settlement.fund_pay_fen,
        account_pay_fen=settlement.account_pay_fen,
        deductible_fen=settlement.deductible_fen,
        self_pay_fen=settlement.self_pay_fen,
        over_cap_fen=settlement.over_cap_fen,
        institution_share_fen=settlement.institution_share_fen,
        account_before_fen=settling.account_before_fen,
        fund_before_fen=settling.fund_before_fen,
        deductible_before_fen=settling.deductible_before_fen,
        settled_at=at,
        cells=settlement.cells,
        entries=settlement.entries,
        scheme=settlement.scheme,
        category=settling.insured.category,
        recomputed=settling.recomputed,
    )


def _row(settlement_no: int, settling: Settling, counter: Counter, at: datetime) -> SettlementRow:
    claim, settlement = settling.claim, settling.settlement
    return SettlementRow._make(
        (
            settlement_no,
            claim.institution_code,
            claim.visit_no,
            claim.charge_batch_no,
            NORMAL,
            counter.frontend,
            settling.insured.person_no,
            at,
            at.date(),
            *settling.content,
            settlement.fund_pay_fen,
            settlement.account_pay_fen,
            settlement.deductible_fen,
            settlement.self_pay_fen,
            settlement.over_cap_fen,
            settlement.institution_share_fen,
            settlement.own_pay_fen,
            counter.reference.policy_version,
            counter.reference.catalogue.version,
            settling.insured.scheme,
            settling.insured.category,
            settling.institution_level,
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


def _parked(claim: ClaimTotals, refused: Refused, frontend: str, at: datetime) -> ParkedRow:
    return ParkedRow(
        frontend=frontend,
        institution_code=_storable(claim.institution_code, 18),
        visit_no=_storable(claim.visit_no, 16),
        charge_batch_no=max(-MAX_INTEGER, min(claim.charge_batch_no, MAX_INTEGER)),
        digest=claim.digest,
        refusal=str(refused.refusal),
        detail=refused.detail.replace("\0", ""),
        totals=pack(claim),
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
    records.park(cursor, [_parked(claim, refused, frontend, at) for claim in submitted.claims])
    return ClaimsAnswered(answers=tuple(_answer(claim, refused) for claim in submitted.claims))
