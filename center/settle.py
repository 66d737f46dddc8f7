"""Settling (医保结算): a batch of claims becomes settlements, postings and answers in one transaction.

Everything is decided under the locks of the persons concerned, claim after claim in the order they came, with the
accumulators running on. A refused claim is parked for a person to look at and never disturbs its neighbours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import ClassVar, NamedTuple

import msgpack
import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from center import records
from center.records import (
    NORMAL,
    Content,
    Institution,
    InsuredPerson,
    ParkedRow,
    Settled,
    SettlementRow,
)
from center.transactions import driver_error, in_transaction, sqlstate_of
from domain.benefit import accumulator_keys, deductible_key, fund_key, settle
from domain.ledger import postings_for
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, TotalsSubmitted
from domain.money import MAX_FEN, yuan
from domain.policy_facts import Case, NoPolicyInForce, Rules
from domain.refusals import Refusal, sentence
from domain.settlement import Occasion, Person, Settlement
from domain.totals import DIGEST_BYTES, LocalTotals
from domain.visit import VisitType
from infra.codec import pack, unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")

_VISIT_TYPES = {kind.value: kind for kind in VisitType}
_MAX_INTEGER = 2**31 - 1

_BAD_CONTENT = (psycopg.DataError, psycopg.IntegrityError)
"""What the database says when a row, not the database, is wrong."""


class BrokenSettlement(Exception):
    """A calculated settlement does not keep an identity every settlement keeps; ours to mend."""

    def __init__(self, identities: Iterable[str]) -> None:
        super().__init__("a settlement breaks " + ", ".join(identities))


def settle_submitted(
    engine: Engine, shelf: ReferenceShelf, submitted: TotalsSubmitted, *, frontend: str, at: datetime
) -> ClaimsAnswered:
    """Settle a batch and commit it; done again from the top when another transaction was in the way.

    Should the database refuse a row of it, the batch is halved until the claim at fault stands alone and is parked.
    """

    def settle_now(connection: Connection) -> ClaimsAnswered:
        reference = shelf.current(connection, records.versions_in_force(records.cursor_of(connection)))
        return settle_batch(submitted, frontend=frontend, connection=connection, reference=reference, at=at)

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
            settle_submitted(engine, shelf, replace(submitted, claims=claims), frontend=frontend, at=at)
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
    submitted: TotalsSubmitted, *, frontend: str, connection: Connection, reference: Reference, at: datetime
) -> ClaimsAnswered:
    """Answer every claim of the batch, in its order: settled now, settled before, or refused.

    Running it twice changes nothing: what is settled answers as it did the first time, byte for byte.
    """
    cursor = records.cursor_of(connection)
    counter = _Counter(submitted, frontend, reference)
    counter.gather(cursor)

    decisions = [counter.decide(claim) for claim in submitted.claims]

    refused = [
        (claim, decision)
        for claim, decision in zip(submitted.claims, decisions, strict=True)
        if isinstance(decision, _Refused)
    ]
    if counter.settled:
        _record(cursor, counter, at)
    if refused:
        records.park(cursor, [_parked(claim, decision, frontend, at) for claim, decision in refused])
    return ClaimsAnswered(answers=tuple(_answer(*pair) for pair in zip(submitted.claims, decisions, strict=True)))


# ── Decide ────────────────────────────────────────────────────────────────────────────────────────────────


class _Refused(NamedTuple):
    refusal: Refusal
    detail: str


@dataclass(slots=True)
class _Settling:
    """A claim settled in this batch; its number is drawn, and its answer written, when all are decided."""

    claim: ClaimTotals
    content: Content
    insured: InsuredPerson
    settlement: Settlement
    postings: Sequence[tuple[str, int]]
    account_before_fen: int
    fund_before_fen: int
    deductible_before_fen: int
    answer: ClaimAnswer = field(init=False)


class _Visit(NamedTuple):
    """Whose a visit number is."""

    institution_code: str
    person_no: int


_Check = Callable[["_Counter", ClaimTotals], _Refused | None]


class _Counter:
    """The counter one batch stands at: what is known when it comes, and what changes claim by claim."""

    def __init__(self, submitted: TotalsSubmitted, frontend: str, reference: Reference) -> None:
        self.submitted, self.frontend, self.reference = submitted, frontend, reference
        self.settled: list[_Settling] = []
        self._malformed = {claim: words for claim in submitted.claims if (words := _malformed(claim))}
        self._institutions: dict[str, Institution] = {}
        self._insured: dict[str, InsuredPerson] = {}
        self._persons: dict[str, Person] = {}
        self._amounts: dict[int, dict[str, int]] = {}
        self._visits: dict[str, _Visit] = {}
        self._known: dict[tuple[str, int], Settled | _Settling] = {}

    def gather(self, cursor: psycopg.Cursor[tuple[object, ...]]) -> None:
        """Lock the persons, then read what the claims will be decided by."""
        claims = [claim for claim in self.submitted.claims if claim not in self._malformed]
        self._insured = records.lock_persons(cursor, {claim.citizen_id_no for claim in claims})
        self._persons = {citizen_id_no: _person(insured) for citizen_id_no, insured in self._insured.items()}
        self._institutions = records.institutions(cursor, {claim.institution_code for claim in claims})
        for settled in records.settled_visits(cursor, {claim.visit_no for claim in claims}):
            self._visits[settled.visit_no] = _Visit(settled.institution_code, settled.person_no)
            self._known[settled.visit_no, settled.charge_batch_no] = settled
        self._amounts = records.accumulators(
            cursor,
            [insured.person_no for insured in self._insured.values()],
            {
                key
                for claim in claims
                if claim.citizen_id_no in self._persons and claim.institution_code in self._institutions
                for key in accumulator_keys(self._persons[claim.citizen_id_no], self._occasion(claim))
            },
        )

    def decide(self, claim: ClaimTotals) -> _Settling | Settled | _Refused:
        """Settle the claim, find what it was settled to before, or refuse it."""
        try:
            return self._decide(claim)
        except Exception as error:
            # Whatever went wrong is ours. The claim waits for a person, its neighbours do not wait for it.
            log.exception("claim_failed", extra={"error": type(error).__name__})
            return _refuse(Refusal.INTERNAL)

    def _decide(self, claim: ClaimTotals) -> _Settling | Settled | _Refused:
        refused = self._first(self.CHECKS_OF_ANY, claim)
        if refused is not None:
            return refused
        known = self._known.get((claim.visit_no, claim.charge_batch_no))
        if known is not None:
            return known
        return self._first(self.CHECKS_OF_NEW, claim) or self._settle(claim)

    def _first(self, checks: Iterable[_Check], claim: ClaimTotals) -> _Refused | None:
        for check in checks:
            refused = check(self, claim)
            if refused is not None:
                return refused
        return None

    def _is_well_formed(self, claim: ClaimTotals) -> _Refused | None:
        wrong = self._malformed.get(claim)
        return None if wrong is None else _refuse(Refusal.MALFORMED, wrong)

    def _is_of_this_frontend(self, claim: ClaimTotals) -> _Refused | None:
        institution = self._institutions.get(claim.institution_code)
        if institution is None:
            return _refuse(Refusal.INSTITUTION_UNKNOWN)
        return None if institution.frontend == self.frontend else _refuse(Refusal.FRONTEND_WRONG)

    def _is_of_its_visit(self, claim: ClaimTotals) -> _Refused | None:
        owner = self._visits.get(claim.visit_no)
        if owner is None:
            return None
        insured = self._insured.get(claim.citizen_id_no)
        is_owner = insured is not None and owner == (claim.institution_code, insured.person_no)
        return None if is_owner else _refuse(Refusal.VISIT_OF_ANOTHER)

    def _is_as_settled(self, claim: ClaimTotals) -> _Refused | None:
        known = self._known.get((claim.visit_no, claim.charge_batch_no))
        if known is None or known.content == _content(claim):
            return None
        return _refuse(Refusal.CONTENT_CONFLICT, yuan(claim.total_fen), yuan(known.content.total_fen))

    def _institution_is_active(self, claim: ClaimTotals) -> _Refused | None:
        return None if self._institutions[claim.institution_code].active else _refuse(Refusal.INSTITUTION_UNKNOWN)

    def _person_is_entitled(self, claim: ClaimTotals) -> _Refused | None:
        insured = self._insured.get(claim.citizen_id_no)
        if insured is None:
            return _refuse(Refusal.PERSON_UNKNOWN)
        return None if insured.entitled else _refuse(Refusal.ENTITLEMENT_SUSPENDED)

    def _versions_are_in_force(self, _claim: ClaimTotals) -> _Refused | None:
        for refusal, sent, held in (
            (Refusal.POLICY_STALE, self.submitted.policy_version, self.reference.policy_version),
            (Refusal.CATALOGUE_STALE, self.submitted.catalogue_version, self.reference.catalogue.version),
        ):
            if sent != held:
                return _refuse(refusal, sent, held)
        return None

    def _totals_add_up(self, claim: ClaimTotals) -> _Refused | None:
        return _unequal(claim)

    # Order matters: a claim is refused for the first check it fails. A claim that was settled before is answered as
    # it was then, even if its institution or its person could not settle today.
    CHECKS_OF_ANY: ClassVar[tuple[_Check, ...]] = (
        _is_well_formed,
        _is_of_this_frontend,
        _is_of_its_visit,
        _is_as_settled,
    )
    CHECKS_OF_NEW: ClassVar[tuple[_Check, ...]] = (
        _institution_is_active,
        _person_is_entitled,
        _versions_are_in_force,
        _totals_add_up,
    )

    def _settle(self, claim: ClaimTotals) -> _Settling | _Refused:
        insured = self._insured[claim.citizen_id_no]
        person = self._persons[claim.citizen_id_no]
        amounts = self._amounts[insured.person_no]
        occasion = self._occasion(claim)
        policy = self.reference.policy
        try:
            settlement = settle(LocalTotals(*claim[6:]), person, amounts, policy, occasion)
        except NoPolicyInForce as why:
            log.warning("no_policy", extra={"why": str(why)})
            return _refuse(Refusal.NO_POLICY)
        rules = policy.rules_for(Case(person.scheme, person.category, person.civil_servant, *occasion))
        postings = postings_for(settlement, institution_code=claim.institution_code, person_no=insured.person_no)
        _prove(claim, settlement, postings, person.account_balance_fen)

        settling = _Settling(
            claim,
            _content(claim),
            insured,
            settlement,
            postings,
            person.account_balance_fen,
            *_before(rules, occasion, amounts),
        )
        self.settled.append(settling)
        self._visits[claim.visit_no] = _Visit(claim.institution_code, insured.person_no)
        self._known[claim.visit_no, claim.charge_batch_no] = settling
        for entry in settlement.entries:
            amounts[entry.key] = entry.before_fen + entry.applied_fen
        if settlement.account_pay_fen:
            self._persons[claim.citizen_id_no] = replace(
                person, account_balance_fen=person.account_balance_fen - settlement.account_pay_fen
            )
        return settling

    def _occasion(self, claim: ClaimTotals) -> Occasion:
        level = self._institutions[claim.institution_code].level
        return Occasion(_VISIT_TYPES[claim.visit_type], level, claim.visit_date)

    def accumulators_now(self) -> dict[tuple[int, str], int]:
        """Every accumulator this batch moved, as it stands at the end."""
        return {
            (settling.insured.person_no, entry.key): self._amounts[settling.insured.person_no][entry.key]
            for settling in self.settled
            for entry in settling.settlement.entries
        }

    def balances_now(self) -> dict[int, int]:
        """Every account balance this batch moved, as it stands at the end."""
        return {
            settling.insured.person_no: self._persons[settling.claim.citizen_id_no].account_balance_fen
            for settling in self.settled
            if settling.settlement.account_pay_fen
        }


def _person(insured: InsuredPerson) -> Person:
    return Person(
        scheme=insured.scheme,
        category=insured.category,
        account_balance_fen=insured.account_balance_fen,
        civil_servant=insured.civil_servant,
    )


def _content(claim: ClaimTotals) -> Content:
    return Content._make((claim.visit_type, claim.visit_date, *claim[6:]))


def _refuse(refusal: Refusal, sent: str = "", held: str = "") -> _Refused:
    return _Refused(refusal, sentence(refusal, sent, held))


def _malformed(claim: ClaimTotals) -> str:
    """What of the claim cannot be stored or looked up, in Chinese; empty when nothing is wrong."""
    amounts = claim[6:11]
    fits = (
        _is_code(claim.institution_code, 18),
        _is_code(claim.visit_no, 16),
        _is_code(claim.citizen_id_no, 18),
        claim.visit_type in _VISIT_TYPES,
        0 <= claim.charge_batch_no <= _MAX_INTEGER,
        0 <= claim.line_count <= _MAX_INTEGER,
        len(claim.digest) == DIGEST_BYTES,
        min(amounts) >= -MAX_FEN and max(amounts) <= MAX_FEN,
    )
    return "" if all(fits) else "、".join(what for what, good in zip(_CHECKED, fits, strict=True) if not good)


_CHECKED = ("医院编号", "就医登记号", "公民身份号码", "就诊类别", "费用批次", "明细笔数", "明细摘要", "金额")


def _is_code(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and text.isascii() and text.isprintable()


def _unequal(claim: ClaimTotals) -> _Refused | None:
    """Totals that are not those of any lines: parts that are not the whole, amounts below zero, no lines at all.

    A part may be the odd fen below zero: reversals within a claim are rounded line by line, each by less than a fen.
    """
    least = min(claim[7:11])
    parts = claim.own_expense_fen + claim.over_limit_fen + claim.pre_self_pay_fen + claim.in_scope_fen
    if claim.total_fen == parts and claim.line_count > 0 and claim.total_fen >= 0 and least >= -claim.line_count:
        return None
    refused = _refuse(Refusal.TOTALS_UNEQUAL, yuan(claim.total_fen), yuan(parts))
    if claim.total_fen != parts:
        return refused
    why = f"最小一项 {yuan(least)} 元，不得为负" if claim.line_count else "明细为 0 笔"
    return refused._replace(detail=f"{refused.detail}；{why}")


def _prove(claim: ClaimTotals, settlement: Settlement, postings: Sequence[tuple[str, int]], balance_fen: int) -> None:
    """Raise BrokenSettlement for what the database would refuse the whole batch for; `settle` has proved the rest."""
    broken = []
    if settlement.total_fen != claim.total_fen:
        broken.append("total")
    if settlement.own_pay_fen != claim.own_expense_fen + claim.over_limit_fen + claim.pre_self_pay_fen:
        broken.append("own_pay")
    if settlement.account_pay_fen > balance_fen:
        broken.append("account balance")
    if sum(amount_fen for _, amount_fen in postings):
        broken.append("double entry")
    if broken:
        raise BrokenSettlement(broken)


def _before(rules: Rules, occasion: Occasion, amounts: Mapping[str, int]) -> tuple[int, int]:
    """What the fund had paid, towards its tightest cap, and what deductible was charged, when the claim came."""
    year, so_far = occasion.day.year, amounts.get
    paid = [(cap.amount_fen, sum(so_far(key, 0) for key in _fund_keys(cap.counted_with, year))) for cap in rules.caps]
    if paid:
        fund = min(paid, key=lambda cap_and_paid: cap_and_paid[0] - cap_and_paid[1])[1]
    else:
        fund = so_far(fund_key(occasion.visit_type, year), 0)
    counted_with = rules.deductible.counted_with if rules.deductible is not None else ()
    return fund, sum(so_far(key, 0) for key in _deductible_keys(counted_with, year))


@lru_cache(maxsize=256)
def _fund_keys(visit_types: tuple[VisitType, ...], year: int) -> tuple[str, ...]:
    return tuple(fund_key(visit_type, year) for visit_type in visit_types)


@lru_cache(maxsize=256)
def _deductible_keys(visit_types: tuple[VisitType, ...], year: int) -> tuple[str, ...]:
    return tuple(deductible_key(visit_type, year) for visit_type in visit_types)


# ── Record ────────────────────────────────────────────────────────────────────────────────────────────────


def _record(cursor: psycopg.Cursor[tuple[object, ...]], counter: _Counter, at: datetime) -> None:
    numbers = records.settlement_numbers(cursor, len(counter.settled))
    settlements: list[SettlementRow] = []
    postings: list[records.PostingRow] = []
    entries: list[records.EntryRow] = []
    for settlement_no, settling in zip(numbers, counter.settled, strict=True):
        claim, settlement, person_no = settling.claim, settling.settlement, settling.insured.person_no
        settling.answer = ClaimAnswer(
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
        )
        settlements.append(
            SettlementRow._make(
                (
                    settlement_no,
                    claim.institution_code,
                    claim.visit_no,
                    claim.charge_batch_no,
                    NORMAL,
                    counter.frontend,
                    person_no,
                    at,
                    at.date(),
                    *settling.content,
                    settlement.fund_pay_fen,
                    settlement.account_pay_fen,
                    settlement.deductible_fen,
                    settlement.self_pay_fen,
                    settlement.over_cap_fen,
                    settlement.institution_share_fen,
                    counter.reference.policy_version,
                    counter.reference.catalogue.version,
                    msgpack.packb(settlement.steps),
                    pack(settling.answer),
                )
            )
        )
        postings += [(settlement_no, *posting) for posting in settling.postings]
        entries += [(settlement_no, person_no, *entry) for entry in settlement.entries]

    records.append_settlements(cursor, settlements, postings, entries)
    records.set_accumulators(cursor, counter.accumulators_now())
    balances = counter.balances_now()
    if balances:
        records.set_balances(cursor, balances)


def _answer(claim: ClaimTotals, decision: _Settling | Settled | _Refused) -> ClaimAnswer:
    if isinstance(decision, _Settling):
        return decision.answer
    if isinstance(decision, Settled):
        return unpack(decision.answer, ClaimAnswer)
    return ClaimAnswer(claim.visit_no, claim.charge_batch_no, str(decision.refusal), decision.detail)


def _parked(claim: ClaimTotals, refused: _Refused, frontend: str, at: datetime) -> ParkedRow:
    return ParkedRow(
        frontend=frontend,
        institution_code=_storable(claim.institution_code, 18),
        visit_no=_storable(claim.visit_no, 16),
        charge_batch_no=max(-_MAX_INTEGER, min(claim.charge_batch_no, _MAX_INTEGER)),
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
    refused = _refuse(Refusal.INTERNAL)
    cursor = records.cursor_of(connection)
    records.park(cursor, [_parked(claim, refused, frontend, at) for claim in submitted.claims])
    return ClaimsAnswered(answers=tuple(_answer(claim, refused) for claim in submitted.claims))
