"""The counter (柜台) a batch of claims stands at: what each is settled to, or what it is refused for.

Everything is decided under the locks of the persons concerned, claim after claim in the order they came, with the
accumulators running on. Nothing is written here: `center.settling.settle` records what was decided.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, TypeGuard

import psycopg

from center.backup import epochs
from center.conservation.freezing import is_frozen
from center.offline import posting
from center.outcomes import holds
from center.reconciling.cases import Case
from center.settling import inputs, records
from center.settling.records import (
    Content,
    Institution,
    InsuredPerson,
    Settled,
    Standing,
    StoredRefusal,
    Unsettled,
)
from center.settling.well_formed import Failed, Refused, malformed, refuse, unequal
from domain.benefit import accumulator_keys, settle
from domain.checker import check
from domain.clearing import clearing_type
from domain.confirmation import difference
from domain.entitlement import person_on
from domain.ledger import family_pay_of, postings_for
from domain.link import is_after
from domain.messages import ClaimAnswer, ClaimSplit, ClaimTotals, TotalsSubmitted
from domain.money import yuan
from domain.occasion import occasion_of
from domain.outcomes import REFUSED_AFTER, OutcomeState
from domain.policy import PolicyBook
from domain.policy.cases import CATEGORIES
from domain.policy.facts import CaseNotCovered, NoPolicyInForce
from domain.refusals import HOLDS, STALE, Refusal
from domain.settlement import Occasion, Person, Settlement
from infra.codec import pack, unpack
from infra.reference import Reference

log = logging.getLogger("center")

COMING = "本医药机构正在迁入该前置机，迁入完成后自动结算，请稍候，无需重新提交"

SCHEME_WORDS = {"employee": "职工医保", "resident": "居民医保"}
_PLAIN = (None, None, True, (), ())
"""What makes a claim the same claim besides its key and its sums, where the visit is an ordinary one."""


class BrokenSettlement(Exception):
    """A calculated settlement does not keep what every settlement keeps, or does not check; ours to mend."""

    def __init__(self, broken: Iterable[str]) -> None:
        super().__init__("a settlement breaks: " + "; ".join(broken))


@dataclass(slots=True)
class Settling:
    """A claim settled in this batch; its number is drawn, and its answer written, when all are decided."""

    claim: ClaimTotals
    content: Content
    insured: InsuredPerson
    institution_level: int
    clearing_type: str
    settlement: Settlement
    postings: Sequence[tuple[str, int]]
    inputs: bytes
    account_before_fen: int
    fund_before_fen: int
    deductible_before_fen: int
    recomputed: str
    answer: ClaimAnswer = field(init=False)
    split: ClaimSplit | None = None
    """Of a claim that came with its lines: what they were split to."""
    lines: bytes = b""
    """The canonical lines it came with: its detail, kept with it."""


class Owner(NamedTuple):
    """Whose a visit number is."""

    institution_code: str
    person_no: int


class Moved(NamedTuple):
    """By how much a person was let stand elsewhere than the database has them (`Counter.stand`)."""

    person_no: int
    amounts: Mapping[str, int]
    """By accumulator: what the database has more."""
    account_fen: int


class _Case(NamedTuple):
    """What the engine is asked about a claim, as it stood when the batch was gathered."""

    occasion: Occasion
    keys: tuple[str, ...]
    person: Person


Decision = Settling | Settled | Refused
CounterCheck = Callable[["Counter", ClaimTotals], Refused | None]


class Counter:
    """The counter one batch stands at: what is known when it comes, and what changes claim by claim."""

    def __init__(
        self,
        submitted: TotalsSubmitted,
        frontend: str,
        reference: Reference,
        at: datetime,
        sent_policy: PolicyBook | None,
        *,
        settled_on: date | None = None,
    ) -> None:
        """`settled_on` is the day whose rules count where they are those of the settlement; today if left out."""
        self.at = at
        self._day = at.date()
        self._settled_on = settled_on or self._day
        self._sent_policy = sent_policy
        self.submitted, self.frontend, self.reference = submitted, frontend, reference
        self.settled: list[Settling] = []
        self._malformed = {claim: words for claim in submitted.claims if (words := malformed(claim))}
        self._institutions: dict[str, Institution] = {}
        self._insured: dict[str, InsuredPerson] = {}
        self._standings: dict[str, Standing] = {}
        self._amounts: dict[int, dict[str, int]] = {}
        self._owners: dict[str, Owner] = {}
        self._cases: dict[int, _Case] = {}
        self._spent: set[str] = set()
        """Whose accounts this batch has drawn on."""
        self._known: dict[tuple[str, int], Settled | Settling] = {}
        self._unsettled: dict[tuple[str, str, int], OutcomeState] = {}
        self._refused: dict[tuple[str, str, int], list[StoredRefusal]] = {}
        """What this front-end was told of claims that came before."""
        self._held: set[str] = set()
        self._speaks_for: set[str] = set()
        self._accepted_before: set[tuple[str, int]] = set()
        """Of an institution that moved away from this front-end: what it may still send."""
        self._live_elsewhere: set[str] = set()
        self._offline: dict[str, posting.Allowed] = {}
        self.cases: list[Case] = []
        """What was settled off-line and is not confirmed to the fen."""
        self.epoch = epochs.NEVER_RESTORED

    @property
    def policy_version(self) -> str:
        """What the claims are settled under."""
        return self.reference.policy_version

    @property
    def catalogue_version(self) -> str:
        """The catalogue in force."""
        return self.reference.catalogue.version

    # ── Gather ──

    def gather(self, cursor: psycopg.Cursor[Any]) -> None:
        """Lock the persons and the visit numbers, then read what the claims will be decided by."""
        self.epoch = epochs.current(cursor)
        claims = self.submitted.claims
        if self._malformed:
            claims = tuple(claim for claim in claims if claim not in self._malformed)
        visit_nos = {claim.visit_no for claim in claims}
        self._insured = records.lock_persons(cursor, {claim.citizen_id_no for claim in claims})
        self._standings = {
            number: Standing(insured.account_balance_fen, insured.version) for number, insured in self._insured.items()
        }
        records.lock_visits(cursor, visit_nos)
        self._institutions = records.institutions(cursor, {claim.institution_code for claim in claims})
        self._see_served(cursor, visit_nos)
        if any(map(posting.is_offline, claims)):
            self._offline = posting.allowed(cursor, self._institutions)
        self._see_holds(cursor)
        known = records.known_of_visits(cursor, visit_nos)
        self._see_unsettled(known.unsettled)
        for refused in known.refused:
            self._see_refused(refused)
        for settled in known.settled:
            self._owners[settled.visit_no] = Owner(settled.institution_code, settled.person_no)
            self._known[settled.visit_no, settled.charge_batch_no] = settled
        self._amounts = records.accumulators(
            cursor, [insured.person_no for insured in self._insured.values()], self._keys_of_all(claims)
        )

    def _see_served(self, cursor: psycopg.Cursor[Any], visit_nos: set[str]) -> None:
        """Whose claims this front-end may send: of an institution that moved, what it had accepted before."""
        standings = {code: row.standing_of(self.frontend) for code, row in self._institutions.items()}
        self._speaks_for = {code for code, standing in standings.items() if standing in records.SENDS_NEW}
        if any(len(row.served) > 1 for row in self._institutions.values()):
            self._accepted_before = records.moved_claims(cursor, self.frontend, visit_nos)
            self._live_elsewhere = records.live_elsewhere(cursor, self.frontend, visit_nos)

    def _see_holds(self, cursor: psycopg.Cursor[Any]) -> None:
        """Whom a prepared claim holds; where its time is up, it is let go of here."""
        held = {number: until for number, row in self._insured.items() if (until := row.held_until) is not None}
        if held:
            expired = holds.met_expired(self._insured.values(), self.at)
            if expired:
                holds.release_expired(cursor, expired, at=self.at)
            self._held = {number for number, until in held.items() if until > self.at}

    def _see_unsettled(self, rows: Iterable[Unsettled]) -> None:
        """What is prepared, cancelled or expired under these visit numbers; a prepared claim owns its number."""
        for row in rows:
            key = row.institution_code, row.visit_no, row.charge_batch_no
            state = self._unsettled[key] = OutcomeState(row.state)
            if state is OutcomeState.PREPARED and row.person_no is not None:
                self._owners[row.visit_no] = Owner(row.institution_code, row.person_no)

    def _see_refused(self, stored: StoredRefusal) -> None:
        """What was refused is the answer of whoever was told so, and of nobody else."""
        if stored.frontend == self.frontend:
            key = stored.institution_code, stored.visit_no, stored.charge_batch_no
            self._refused.setdefault(key, []).append(stored)

    def hold(self, claim: ClaimTotals) -> None:
        """Let the claim's person, and the relative whose account they may use, be held for the rest of the batch."""
        family = self._insured[claim.citizen_id_no].family_citizen_id_no
        self._held.update((claim.citizen_id_no, *([family] if family in self._insured else ())))

    def _keys_of_all(self, claims: Iterable[ClaimTotals]) -> set[str]:
        """The accumulators the rules may look at for any of these claims; what cannot be said is refused later."""
        keys: set[str] = set()
        for claim in claims:
            if claim.citizen_id_no in self._insured and claim.institution_code in self._institutions:
                try:
                    keys.update(self._case(claim).keys)
                except Exception:
                    continue  # deciding the claim meets it again, refuses or parks it, and says so
        return keys

    def _case(self, claim: ClaimTotals) -> _Case:
        """Raises NoPolicyInForce."""
        known = self._cases.get(id(claim))
        if known is None:
            occasion = self._occasion(claim)
            person = self._person(claim, occasion)
            keys = accumulator_keys(person, occasion, self.reference.policy)
            known = self._cases[id(claim)] = _Case(occasion, keys, person)
        return known

    def _occasion(self, claim: ClaimTotals) -> Occasion:
        """Raises NoPolicyInForce."""
        return occasion_of(
            claim,
            self.reference.policy,
            self._insured[claim.citizen_id_no].scheme,
            institution_level=self._institutions[claim.institution_code].level,
            settled_on=self._settled_on,
        )

    def _person(self, claim: ClaimTotals, occasion: Occasion) -> Person:
        """The person as the rules see them now, with what this batch has left on the accounts."""
        insured = self._insured[claim.citizen_id_no]
        family = self._standings.get(insured.family_citizen_id_no or "")
        return person_on(
            occasion.day,
            scheme=insured.scheme,
            category=insured.category,
            civil_servant=insured.civil_servant,
            rank=insured.rank,
            groups=insured.groups or (),
            birth=insured.birth,
            account_balance_fen=self._standings[claim.citizen_id_no].account_balance_fen,
            family_balance_fen=family.account_balance_fen if family is not None else 0,
        )

    # ── Decide ──

    def decide(self, claim: ClaimTotals) -> Decision:
        """Settle the claim, find what it was settled to before, or refuse it."""
        try:
            decision = self._decide(claim)
        except Exception as error:
            # Whatever went wrong is ours. The claim waits for a person, its neighbours do not wait for it.
            log.exception("claim_failed", extra={"error": type(error).__name__})
            decision = refuse(Refusal.INTERNAL)
        if posting.is_offline(claim) and _is_final_refusal(decision):
            self.cases.append(posting.case_of_refused(claim, decision.detail))
        return decision

    def _decide(self, claim: ClaimTotals) -> Decision:
        refused = self._first(self.CHECKS_OF_ANY, claim)
        if refused is not None:
            return refused
        known = self._known.get((claim.visit_no, claim.charge_batch_no))
        if known is not None:
            return known
        return self._first(self.CHECKS_OF_NEW, claim) or self._settle(claim)

    def refused_at_once(self, claim: ClaimTotals) -> Refused | None:
        """Why the claim is refused whatever became of it before; none where it is to be decided."""
        return self._first(self.CHECKS_OF_ANY, claim)

    def _first(self, checks: Iterable[CounterCheck], claim: ClaimTotals) -> Refused | None:
        for check_ in checks:
            refused = check_(self, claim)
            if refused is not None:
                return refused
        return None

    def _is_well_formed(self, claim: ClaimTotals) -> Refused | None:
        wrong = self._malformed.get(claim) if self._malformed else None
        return None if wrong is None else refuse(Refusal.MALFORMED, wrong)

    def _is_of_this_frontend(self, claim: ClaimTotals) -> Refused | None:
        institution = self._institutions.get(claim.institution_code)
        if institution is None:
            return epochs.lacking(self.epoch, Refusal.INSTITUTION_UNKNOWN)
        if claim.institution_code in self._speaks_for and claim.visit_no not in self._live_elsewhere:
            return None
        if (claim.visit_no, claim.charge_batch_no) in self._accepted_before:
            return None
        if institution.standing_of(self.frontend) == records.MOVING_IN:
            return Refused(Refusal.BUSY, COMING)  # of a move that was lost with a restore, and is made again
        return epochs.lacking(self.epoch, Refusal.NOT_SERVED)

    def _is_of_its_visit(self, claim: ClaimTotals) -> Refused | None:
        owner = self._owners.get(claim.visit_no)
        if owner is None:
            return None
        insured = self._insured.get(claim.citizen_id_no)
        is_owner = insured is not None and owner == (claim.institution_code, insured.person_no)
        return None if is_owner else refuse(Refusal.VISIT_OF_ANOTHER)

    def _is_as_settled(self, claim: ClaimTotals) -> Refused | None:
        known = self._known.get((claim.visit_no, claim.charge_batch_no))
        if known is None or self.is_same(known.content, content_of(claim)):
            return None
        return refuse(Refusal.CONTENT_CONFLICT, yuan(claim.total_fen), yuan(known.content.total_fen))

    def _is_to_be_settled(self, claim: ClaimTotals) -> Refused | None:
        if not self._unsettled:
            return None
        state = self._unsettled.get((claim.institution_code, claim.visit_no, claim.charge_batch_no))
        return None if state is None else refuse(REFUSED_AFTER.get(state, Refusal.BUSY))

    def _was_not_refused(self, claim: ClaimTotals) -> Refused | None:
        """A refusal that was told stays the answer, though its reason be gone: to a copy of the same submission, and
        to any of an earlier one."""
        if not self._refused:
            return None
        for stored in reversed(self._refused.get((claim.institution_code, claim.visit_no, claim.charge_batch_no), ())):
            is_same = claim.submission == stored.submission and self._repeats(claim, stored)
            if claim.submission < stored.submission or is_same:
                failed = unpack(stored.failed, Failed) if stored.failed else ()
                return Refused(Refusal(stored.refusal), stored.detail, stored.submission, failed)
        return None

    def _repeats(self, claim: ClaimTotals, stored: StoredRefusal) -> bool:
        before = unpack(stored.totals, ClaimTotals)
        return claim.citizen_id_no == before.citizen_id_no and self.is_same(content_of(claim), content_of(before))

    def is_same(self, one: Content, other: Content) -> bool:
        """Whether two contents that came under one key are those of the same claim."""
        return one == other

    def _center_is_whole(self, _claim: ClaimTotals) -> Refused | None:
        return None if self.epoch.is_open else Refused(Refusal.BUSY, epochs.RECOVERING)

    def _is_not_in_future(self, claim: ClaimTotals) -> Refused | None:
        day = max(claim.visit_date, claim.visit_started or claim.visit_date)
        if not is_after(day, self.at):
            return None
        return refuse(Refusal.CLAIM_IN_FUTURE, day.isoformat(), f"{self.at:%Y-%m-%d %H:%M:%S}")

    def _may_be_posted(self, claim: ClaimTotals) -> Refused | None:
        if not posting.is_offline(claim):
            return None
        return posting.refused(claim, self._offline.get(claim.institution_code, posting.Allowed()), at=self.at)

    def _institution_is_active(self, claim: ClaimTotals) -> Refused | None:
        return None if self._institutions[claim.institution_code].active else refuse(Refusal.INSTITUTION_UNKNOWN)

    def _person_is_entitled(self, claim: ClaimTotals) -> Refused | None:
        insured = self._insured.get(claim.citizen_id_no)
        if insured is None:
            return refuse(Refusal.PERSON_UNKNOWN)
        return None if insured.entitled else refuse(Refusal.ENTITLEMENT_SUSPENDED)

    def _category_is_known(self, claim: ClaimTotals) -> Refused | None:
        insured = self._insured[claim.citizen_id_no]
        scheme, category = insured.scheme, insured.category
        if category in CATEGORIES.get(scheme, ()):
            return None
        named = (fact.persons for policy in self.reference.policy.sets for fact in policy.facts if fact.persons)
        if any(category in persons for persons in named):
            return None
        return refuse(Refusal.CATEGORY_UNKNOWN, category, SCHEME_WORDS.get(scheme, scheme))

    def _policy_splits_alike(self, claim: ClaimTotals) -> Refused | None:
        """Of the policy, totals depend on how it splits lines: where that is what it was, totals made under another
        version are settled under the one in force. Which version that was is for the front-end to say truly."""
        sent, held = self.submitted.policy_version, self.reference.policy_version
        if sent == held and claim.totalled_on in (None, self._settled_on):
            return None
        made_by = self.reference.policy if sent == held else self._sent_policy
        if made_by is not None and self._splits_alike(claim, made_by):
            return None
        return refuse(Refusal.POLICY_STALE, sent, held)

    def _splits_alike(self, claim: ClaimTotals, made_by: PolicyBook) -> bool:
        """Whether the policy the totals were made by, on the day they were made, splits as the one in force today."""
        insured = self._insured[claim.citizen_id_no]
        try:
            now = self._occasion(claim)
            then = now.day
            if claim.totalled_on is not None and claim.totalled_on != self._settled_on:
                level = now.institution_level
                then = occasion_of(
                    claim, made_by, insured.scheme, institution_level=level, settled_on=claim.totalled_on
                ).day
            case = insured.scheme, insured.category, now.visit_type, now.institution_level
            return made_by.line_rules(*case, then) == self.reference.policy.line_rules(*case, now.day)
        except NoPolicyInForce:
            return False

    def _catalogue_is_in_force(self, _claim: ClaimTotals) -> Refused | None:
        """The lines were split by the catalogue: totals of one that no longer holds cannot be mended here."""
        sent, held = self.submitted.catalogue_version, self.reference.catalogue.version
        if sent == held or self.reference.accepts_catalogue(sent, self._day):
            return None
        return refuse(Refusal.CATALOGUE_STALE, sent, held)

    def _totals_add_up(self, claim: ClaimTotals) -> Refused | None:
        return unequal(claim)

    def _person_is_free(self, claim: ClaimTotals) -> Refused | None:
        if not self._held:
            return None
        family = self._insured[claim.citizen_id_no].family_citizen_id_no
        return refuse(Refusal.BUSY) if claim.citizen_id_no in self._held or family in self._held else None

    def _flow_is_open(self, claim: ClaimTotals) -> Refused | None:
        frozen = self._institutions[claim.institution_code].frozen
        if not frozen:
            return None
        insured = self._insured[claim.citizen_id_no]
        family = self.family_person_no(insured)
        persons = (insured.person_no,) if family is None else (insured.person_no, family)
        shut = is_frozen(frozen, insured.scheme, clearing_type(claim.visit_type), persons)
        return refuse(Refusal.FROZEN) if shut else None

    # Order matters: a claim is refused for the first check it fails. A claim that was settled before is answered as
    # it was then, even if its institution or its person could not settle today.
    CHECKS_OF_ANY: ClassVar[tuple[CounterCheck, ...]] = (
        _is_well_formed,
        _is_of_this_frontend,
        _is_of_its_visit,
        _is_as_settled,
    )
    CHECKS_OF_NEW: ClassVar[tuple[CounterCheck, ...]] = (
        _center_is_whole,
        _is_to_be_settled,
        _was_not_refused,
        _is_not_in_future,
        _may_be_posted,
        _institution_is_active,
        _person_is_entitled,
        _category_is_known,
        _policy_splits_alike,
        _catalogue_is_in_force,
        _totals_add_up,
        _flow_is_open,
        _person_is_free,
    )
    CHECKS_OF_TAKEN_UP: ClassVar[tuple[CounterCheck, ...]] = (_category_is_known,)
    """Of what was settled before a restore and is taken up again: what was let through then is let through."""

    # ── Settle ──

    def _settle(self, claim: ClaimTotals) -> Settling | Refused:
        insured = self._insured[claim.citizen_id_no]
        amounts = self._amounts[insured.person_no]
        totals = claim.local_totals()
        policy = self.reference.policy
        try:
            occasion, keys, person = self._case(claim)
            if self._spent and not self._spent.isdisjoint((claim.citizen_id_no, insured.family_citizen_id_no or "")):
                person = self._person(claim, occasion)
            settlement = settle(totals, person, amounts, policy, occasion)
        except CaseNotCovered as why:
            log.warning("case_not_covered", extra={"why": str(why)})
            return refuse(Refusal.CASE_NOT_COVERED, "；".join(map(str, why.reasons)), self.reference.policy_version)
        except NoPolicyInForce as why:
            log.warning("no_policy", extra={"why": str(why)})
            scheme = SCHEME_WORDS.get(insured.scheme, insured.scheme)
            day = claim.visit_date if claim.visit_started is None else self._settled_on
            return refuse(Refusal.NO_POLICY, scheme, day.isoformat())
        # What checks has postings that balance, pays no more than accounts hold, and keeps every CHECK of the table.
        wrong = check(settlement, totals, person, amounts, policy=policy, at=occasion)
        if wrong:
            raise BrokenSettlement(wrong)
        of_clearing = clearing_type(claim.visit_type)
        postings = postings_for(
            settlement,
            institution_code=claim.institution_code,
            clearing_type=of_clearing,
            person_no=insured.person_no,
            family_person_no=self.family_person_no(insured),
        )

        settling = Settling(
            claim,
            content_of(claim),
            insured,
            occasion.institution_level,
            of_clearing,
            settlement,
            postings,
            inputs.packed(totals, person, amounts, occasion, keys),
            person.account_balance_fen,
            *paid_before(claim.visit_type, keys, amounts),
            self._confirmed(claim, settlement, person, amounts, keys),
        )
        if posting.is_offline(claim) and (case := posting.case_of_settled(claim, settlement)) is not None:
            self.cases.append(case)
        self._move(settling)
        return settling

    def family_person_no(self, insured: InsuredPerson) -> int | None:
        """The relative whose account the person may use, if there is one."""
        family = self._insured.get(insured.family_citizen_id_no or "")
        return None if family is None else family.person_no

    def _confirmed(
        self,
        claim: ClaimTotals,
        settlement: Settlement,
        person: Person,
        amounts: Mapping[str, int],
        keys: Sequence[str],
    ) -> str:
        """How the settlement differs from the front-end's own, in Chinese; empty when it has none or they agree."""
        local = claim.local
        if local is None:
            return ""
        policies = self.submitted.policy_version, self.reference.policy_version
        words = difference(
            local,
            settlement,
            account_before_fen=person.account_balance_fen,
            family_before_fen=person.family_balance_fen,
            accumulators=amounts,
            keys=keys,
            policies=policies,
        )
        moved = policies[0] != policies[1]
        if words and not moved and local.snapshot_version == self._version(self._insured[claim.citizen_id_no]):
            # Nothing had moved, and still it differs: one of us computes by something else.
            log.error("local_result_differs", extra={"frontend": self.frontend, "visit_no": claim.visit_no})
        return words

    def _version(self, insured: InsuredPerson) -> int:
        """The person's version as a front-end is told it: with that of the account they may use besides their own."""
        family = self._standings.get(insured.family_citizen_id_no or "")
        return self._standings[insured.citizen_id_no].version + (family.version if family is not None else 0)

    def _move(self, settling: Settling) -> None:
        """Let the next claim of the batch start from where this one leads."""
        claim, insured, settlement = settling.claim, settling.insured, settling.settlement
        self.settled.append(settling)
        self._owners[claim.visit_no] = Owner(claim.institution_code, insured.person_no)
        self._known[claim.visit_no, claim.charge_batch_no] = settling
        amounts = self._amounts[insured.person_no]
        for key, before, applied in settlement.entries:
            amounts[key] = before + applied
        family_pay = family_pay_of(settlement)
        self._pay(insured.citizen_id_no, settlement.account_pay_fen - family_pay)
        if family_pay:
            assert insured.family_citizen_id_no is not None
            self._pay(insured.family_citizen_id_no, family_pay)

    def _pay(self, citizen_id_no: str, amount_fen: int) -> None:
        balance, version = self._standings[citizen_id_no]
        if amount_fen:
            self._spent.add(citizen_id_no)
        self._standings[citizen_id_no] = Standing(balance - amount_fen, version + 1)

    # ── What is left when all are decided ──

    def wanted(self, decisions: Iterable[Decision]) -> tuple[str, ...]:
        """The versions claims are to be totalled with, where one of them was stale."""
        stale = any(isinstance(decision, Refused) and decision.refusal in STALE for decision in decisions)
        return (self.policy_version, self.catalogue_version) if stale else ()

    def accumulators_now(self) -> dict[tuple[int, str], int]:
        """Every accumulator this batch moved, as it stands at the end."""
        return {
            (settling.insured.person_no, entry.key): self._amounts[settling.insured.person_no][entry.key]
            for settling in self.settled
            for entry in settling.settlement.entries
        }

    def stand(self, citizen_id_no: str, amounts: Mapping[str, int], account_balance_fen: int) -> Moved | None:
        """Let a person of the gathered batch stand here, instead of where the database has them, before anything is
        decided; by how much the database has more. None for nobody we know."""
        insured = self._insured.get(citizen_id_no)
        if insured is None:
            return None
        held, standing = self._amounts[insured.person_no], self._standings[citizen_id_no]
        more = {key: held.get(key, 0) - amount for key, amount in amounts.items()}
        held.update(amounts)
        self._standings[citizen_id_no] = standing._replace(account_balance_fen=account_balance_fen)
        self._cases.clear()  # they were looked at with the account as it is
        return Moved(insured.person_no, more, standing.account_balance_fen - account_balance_fen)

    def standings_now(self) -> dict[int, Standing]:
        """Every person this batch moved, as they stand at the end."""
        return {
            insured.person_no: self._standings[number]
            for number, insured in self._insured.items()
            if self._standings[number].version != insured.version
        }


def _is_final_refusal(decision: Decision) -> TypeGuard[Refused]:
    """Whether the claim is refused now, and not only held up."""
    return isinstance(decision, Refused) and decision.refusal not in HOLDS and decision.stored is None


def content_of(claim: ClaimTotals) -> Content:
    """What makes two claims under one key the same claim; what the front-end settled itself is not of it."""
    rest = claim[13:18]
    return Content._make((claim.visit_type, claim.visit_date, *claim[6:13], b"" if rest == _PLAIN else pack(rest)))


def paid_before(visit_type: str, keys: tuple[str, ...], amounts: Mapping[str, int]) -> tuple[int, int]:
    """What the basic fund had paid, and what deductible was charged, on visits of this type in the benefit year."""
    fund, deductible = _keys_of_the_year(visit_type, keys)
    return sum([amounts.get(key, 0) for key in fund]), sum([amounts.get(key, 0) for key in deductible])


@lru_cache(maxsize=4096)
def _keys_of_the_year(visit_type: str, keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    def of(segment: str) -> tuple[str, ...]:
        prefix = f"basic:{visit_type}:{segment}:-:"
        return tuple(key for key in keys if key.startswith(prefix) and key.removeprefix(prefix).isdigit())

    return of("fund"), of("deductible")
