"""Preparing (预结算): the centre computes what a claim comes to, answers, and holds its person; nothing is posted.

It stands at the same counter as any claim, under the same locks and checks. What is decided is kept as it is until the
institution confirms it, cancels it, or lets it expire.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine

from center.backup import epochs
from center.outcomes import holds, rows
from center.outcomes.prepared import packed
from center.outcomes.rows import Key, OutcomeRow
from center.outcomes.telling import told_of, told_refused
from center.policy.shelf import PolicyShelf
from center.settling import records
from center.settling.counter import Counter, Decision, Settling, content_of
from center.settling.halving import in_halves
from center.settling.records import Settled
from center.settling.settle import answer_to, parked_row
from center.settling.well_formed import Refused, malformed, refuse
from domain.messages import ClaimAnswer, ClaimTotals, OutcomeTold, PrepareAsked, ToldOutcome, TotalsSubmitted
from domain.money import yuan
from domain.outcomes import OutcomeState
from domain.policy import PolicyBook
from domain.refusals import HOLDS, Refusal
from infra.codec import pack, unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")


def prepare(
    engine: Engine,
    shelf: ReferenceShelf,
    asked: PrepareAsked,
    *,
    frontend: str,
    at: datetime,
    interval: timedelta,
    policies: PolicyShelf | None = None,
) -> OutcomeTold:
    """Prepare a batch and commit it. What is known already is told as it is; asking twice is asking once.

    `interval` is how long a person is held. Should the database refuse a row of the batch, it is halved until the
    claim at fault stands alone and is parked.
    """

    def prepare_now(connection: Connection, claims: Sequence[ClaimTotals]) -> OutcomeTold:
        reference = shelf.current(connection, records.versions_in_force(records.cursor_of(connection)))
        sent = None
        if asked.policy_version != reference.policy_version:
            sent = (policies or PolicyShelf()).book(connection, asked.policy_version)
        return prepare_batch(
            replace(asked, claims=tuple(claims)),
            frontend=frontend,
            connection=connection,
            reference=reference,
            at=at,
            interval=interval,
            sent_policy=sent,
        )

    def park_now(connection: Connection, claims: Sequence[ClaimTotals]) -> OutcomeTold:
        return park_internal(connection, claims, frontend, at)

    return joined(in_halves(engine, asked.claims, prepare_now, park_now), frontend=frontend)


def prepare_batch(
    asked: PrepareAsked,
    *,
    frontend: str,
    connection: Connection,
    reference: Reference,
    at: datetime,
    interval: timedelta,
    sent_policy: PolicyBook | None = None,
) -> OutcomeTold:
    """Tell of every claim of the batch, in its order: prepared now, or what became of it before, or refused."""
    cursor = records.cursor_of(connection)
    submitted = TotalsSubmitted(
        policy_version=asked.policy_version, catalogue_version=asked.catalogue_version, claims=asked.claims
    )
    counter = Counter(submitted, frontend, reference, at, sent_policy)
    counter.gather(cursor)
    return prepare_all(cursor, counter, at=at, interval=interval)


def prepare_all(cursor: psycopg.Cursor[Any], counter: Counter, *, at: datetime, interval: timedelta) -> OutcomeTold:
    """Prepare every claim at a counter that has gathered, and write what was decided."""
    claims = counter.submitted.claims
    known = rows.read(cursor, {_key(claim) for claim in claims if not malformed(claim)}, lock=True)
    preparing = _Preparing(cursor, counter, known, at, interval)
    told = tuple(preparing.tell(claim) for claim in claims)

    if preparing.refused:
        records.park(cursor, [parked_row(claim, why, counter.frontend, at) for claim, why in preparing.refused])
    return OutcomeTold(outcomes=told, epoch=counter.epoch.number, wanted=counter.wanted(preparing.decided))


def joined(parts: Sequence[OutcomeTold], *, frontend: str) -> OutcomeTold:
    """What is told of the parts of a batch that was halved, as one."""
    outcomes = tuple(outcome for part in parts for outcome in part.outcomes)
    log.info("batch_prepared", extra={"frontend": frontend, "claims": len(outcomes)})
    wanted = next((part.wanted for part in parts if part.wanted), ())
    return OutcomeTold(outcomes=outcomes, epoch=parts[-1].epoch, wanted=wanted)


class _Preparing:
    """One batch under its locks."""

    def __init__(
        self,
        cursor: psycopg.Cursor[Any],
        counter: Counter,
        known: Mapping[Key, OutcomeRow],
        at: datetime,
        interval: timedelta,
    ) -> None:
        self._cursor, self._counter, self._known = cursor, counter, dict(known)
        self._at, self._until = at, at + interval
        self.refused: list[tuple[ClaimTotals, Refused]] = []
        self.decided: list[Decision] = []

    def tell(self, claim: ClaimTotals) -> ToldOutcome:
        """What there is under the claim's key now."""
        refused = self._counter.refused_at_once(claim)
        if refused is not None:
            return self._refuse(claim, refused)
        known = self._known.get(_key(claim))
        if known is not None and known.content:
            held = unpack(known.content, records.Content)
            if not self._counter.is_same(held, content_of(claim)):
                return self._refuse(
                    claim, refuse(Refusal.CONTENT_CONFLICT, yuan(claim.total_fen), yuan(held.total_fen))
                )
        if known is not None:
            return told_of(known, at=self._at)
        decision = self._counter.decide(claim)
        self.decided.append(decision)
        if isinstance(decision, Refused):
            return self._refuse(claim, decision)
        if isinstance(decision, Settled):
            return ToldOutcome(*_key(claim), OutcomeState.CONFIRMED, answer=unpack(decision.answer, ClaimAnswer))
        return self._prepare(claim, decision)

    def _prepare(self, claim: ClaimTotals, settling: Settling) -> ToldOutcome:
        """Keep what was decided, and hold whom it concerns."""
        counter, insured = self._counter, settling.insured
        versions = counter.policy_version, counter.catalogue_version
        row = OutcomeRow(
            *_key(claim),
            frontend=counter.frontend,
            state=OutcomeState.PREPARED,
            person_no=insured.person_no,
            family_person_no=counter.family_person_no(insured),
            content=pack(settling.content),
            expires_at=self._until,
            prepared=packed(settling, policy_version=versions[0], catalogue_version=versions[1]),
            answer=pack(answer_to(0, settling, None)),
            settlement_no=None,
        )
        rows.insert_prepared(self._cursor, row, at=self._at)
        holds.hold(self._cursor, row.persons(), until=self._until)
        counter.hold(claim)
        self._known[row.key] = row
        return told_of(row, at=self._at)

    def _refuse(self, claim: ClaimTotals, refused: Refused) -> ToldOutcome:
        if refused.refusal not in HOLDS and refused.stored is None:
            self.refused.append((claim, refused))
        return _told_refused(claim, refused)


def _told_refused(claim: ClaimTotals, refused: Refused) -> ToldOutcome:
    return told_refused(
        _key(claim), refused if refused.stored is not None else refused._replace(stored=claim.submission)
    )


def _key(claim: ClaimTotals) -> Key:
    return claim.institution_code, claim.visit_no, claim.charge_batch_no


def park_internal(connection: Connection, claims: Sequence[ClaimTotals], frontend: str, at: datetime) -> OutcomeTold:
    """Park the claims because the database refused their rows."""
    refused = refuse(Refusal.INTERNAL)
    cursor = records.cursor_of(connection)
    records.park(cursor, [parked_row(claim, refused, frontend, at) for claim in claims])
    told = tuple(_told_refused(claim, refused) for claim in claims)
    return OutcomeTold(outcomes=told, epoch=epochs.current(cursor).number)
