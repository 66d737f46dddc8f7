"""Refund (退费) at the centre: a settlement is taken back by a contra settlement (冲正), and what is kept of it is
settled anew, both or neither, in one transaction under the locks of settling.

What a contra settlement is, `center.settling.contra` says and writes; here it is decided whether there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from center.backup import epochs
from center.catalogue.shelf import CatalogueShelf
from center.conservation import sums
from center.conservation.freezing import is_frozen
from center.ledger import chain
from center.outcomes import holds
from center.outcomes.states import state_of
from center.settling import contra, records, refund_refusals
from center.settling.contra import CONTRA, Original
from center.settling.lines import counter_of
from center.settling.permits import is_permitted
from center.settling.records import NORMAL
from center.settling.settle import settle_all, settle_batch
from center.settling.spoken_for import spoken_for
from center.settling.well_formed import MAX_INTEGER, Refused, is_code, refuse
from center.transactions import LookAgain, in_transaction
from domain.messages import ClaimAnswer, RefundAnswered, RefundAsked, TotalsSubmitted, with_lines
from domain.money import yuan
from domain.outcomes import OutcomeState
from domain.refund import refund_rules
from domain.refusals import Refusal
from domain.visit import VisitType
from infra.codec import unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")

LONGEST_REASON = 120


class _Row(NamedTuple):
    """What a refund looks at of a settlement of the visit."""

    settlement_no: int
    kind: str
    charge_batch_no: int
    institution_code: str
    person_no: int
    visit_type: str
    visit_date: date
    line_count: int
    total_fen: int
    clearing_type: str
    scheme: str
    settled_day: date
    contra_of: int | None
    frontend: str
    circumstances: bytes
    steps: bytes
    answer: bytes


class _KeptRefused(Exception):
    """The kept lines cannot be settled, so nothing is taken back."""

    def __init__(self, answer: ClaimAnswer) -> None:
        self.answer = answer
        super().__init__("the kept lines are refused")


def refund(
    engine: Engine,
    shelf: ReferenceShelf,
    asked: RefundAsked,
    *,
    frontend: str,
    at: datetime,
    catalogues: CatalogueShelf | None = None,
) -> RefundAnswered:
    """Take a settlement back and commit it, or say why not. Asked again it answers as it did the first time."""

    def refund_now(connection: Connection) -> RefundAnswered:
        cursor = records.cursor_of(connection)
        reference = shelf.current(connection, records.versions_in_force(cursor))
        answered = refund_within(connection, reference, asked, frontend=frontend, at=at, catalogues=catalogues)
        refund_refusals.keep(cursor, answered, frontend, at)
        return replace(answered, epoch=epochs.current(cursor).number)

    answered = in_transaction(engine, refund_now)
    log.info("refunded", extra={"frontend": frontend, "refusal": answered.refusal, "kept": len(asked.kept)})
    return answered


def refund_within(
    connection: Connection,
    reference: Reference,
    asked: RefundAsked,
    *,
    frontend: str,
    at: datetime,
    catalogues: CatalogueShelf | None = None,
) -> RefundAnswered:
    """The same in the caller's transaction. A refusal has written nothing; it locks persons, visits, heads of chains,
    in this order."""
    try:
        with connection.begin_nested():
            return _Refund(
                connection, reference, asked, frontend, at, catalogues=catalogues or CatalogueShelf()
            ).answer()
    except _KeptRefused as kept:
        return _told(asked, refusal=kept.answer.refusal, detail=kept.answer.detail)


class _Refund:
    """One request under the locks: what there is of the visit, and what is written."""

    def __init__(
        self,
        connection: Connection,
        reference: Reference,
        asked: RefundAsked,
        frontend: str,
        at: datetime,
        *,
        catalogues: CatalogueShelf,
    ) -> None:
        self._connection, self._reference, self._catalogues = connection, reference, catalogues
        self._asked, self._frontend, self._at = asked, frontend, at
        self._cursor = records.cursor_of(connection)

    def answer(self) -> RefundAnswered:
        """Decide, record, answer. Raises _KeptRefused, and then nothing of it may be committed."""
        wrong = _malformed(self._asked)
        if wrong:
            return self._refused(refuse(Refusal.MALFORMED, wrong))
        rows = self._locked()
        refused = self._against_frontend()
        before = _find(rows, self._asked.contra_batch_no, CONTRA)
        if refused is None and before is not None:
            return self._stored(before, rows)
        told = refund_refusals.told_before(self._cursor, self._asked, self._frontend)
        if told is not None:
            return _told(self._asked, refusal=told[0], detail=told[1])
        decided = refused or self._closed() or self._recovering() or self._to_take_back(rows)
        if isinstance(decided, Refused):
            return self._refused(decided)
        answers = [self._take_back(decided)]
        answers += self._settle_kept(decided.settled_day)
        self._seal(answers[0].settlement_no)
        return _told(self._asked, answers=tuple(answers))

    def _closed(self) -> Refused | None:
        """Nothing new of an institution that was closed; what it was told stays told."""
        return None if self._institution.active else refuse(Refusal.INSTITUTION_UNKNOWN)

    def _recovering(self) -> Refused | None:
        return None if epochs.current(self._cursor).is_open else Refused(Refusal.BUSY, epochs.RECOVERING)

    def _to_take_back(self, rows: Iterable[_Row]) -> _Row | Refused:
        """The settlement to take back, or the first reason not to."""
        original = _find(rows, self._asked.charge_batch_no, NORMAL)
        if original is None:
            return refuse(self._why_no_original(rows))
        return self._against(original, rows) or self._held_up(original) or original

    def _locked(self) -> list[_Row]:
        """The settlements of the visit, read after everybody concerned is locked, in the order of settling. Raises
        LookAgain when the one that is asked about came between the look and the locks: its person is not locked."""
        visit_no, batch_no = self._asked.visit_no, self._asked.charge_batch_no
        self._cursor.execute(
            "SELECT settlement_no FROM settlement WHERE visit_no = %s AND charge_batch_no = %s", [visit_no, batch_no]
        )
        numbers = [number for (number,) in self._cursor.fetchall()]
        self._insured = contra.lock_concerned(self._cursor, numbers, [visit_no])
        self._cursor.execute(
            "SELECT settlement_no, kind, charge_batch_no, institution_code, person_no, visit_type, visit_date,"
            " line_count, total_fen, clearing_type, scheme, settled_day, contra_of, frontend, circumstances, steps,"
            " answer FROM settlement WHERE visit_no = %s",
            [visit_no],
        )
        rows = [_Row._make(row) for row in self._cursor.fetchall()]
        if any(row.charge_batch_no == batch_no and row.settlement_no not in numbers for row in rows):
            raise LookAgain
        return rows

    def _against_frontend(self) -> Refused | None:
        found = spoken_for(self._cursor, self._asked.institution_code, self._frontend)
        if isinstance(found, Refused):
            return found
        self._institution = found
        return None

    def _why_no_original(self, rows: Iterable[_Row]) -> Refusal:
        asked = self._asked
        contra_there = _find(rows, asked.charge_batch_no, CONTRA)
        if contra_there is not None:
            own = contra_there.institution_code == asked.institution_code
            return Refusal.REFUND_OF_REFUND if own else Refusal.REFUND_OF_ANOTHER
        state = state_of(self._cursor, asked.institution_code, asked.visit_no, asked.charge_batch_no)
        return Refusal.NOT_CONFIRMED if state is OutcomeState.PREPARED else Refusal.NOT_SETTLED

    def _held_up(self, original: _Row) -> Refused | None:
        """What only holds it up: the front-end asks again."""
        persons = self._insured.values()
        if is_frozen(self._institution.frozen, original.scheme, original.clearing_type, self._insured):
            return refuse(Refusal.FROZEN)
        if holds.is_held(persons, self._at):
            return refuse(Refusal.BUSY)
        expired = holds.met_expired(persons, self._at)
        if expired:
            holds.release_expired(self._cursor, expired, at=self._at)
        return None

    def _against(self, original: _Row, rows: Iterable[_Row]) -> Refused | None:
        """The first reason not to take it back."""
        if original.institution_code != self._asked.institution_code:
            return refuse(Refusal.REFUND_OF_ANOTHER)
        taken = next((row for row in rows if row.contra_of == original.settlement_no), None)
        if taken is not None:
            return refuse(Refusal.REFUNDED_ALREADY, held=str(taken.settlement_no))
        if _find(rows, self._asked.contra_batch_no, NORMAL) is not None:
            return refuse(Refusal.MALFORMED, "费用批次")
        return self._against_kept(original) or self._against_rules(original)

    def _against_kept(self, original: _Row) -> Refused | None:
        """What is kept is of the same visit, and no more than there was."""
        for kept in self._asked.kept:
            if (kept.visit_type, kept.visit_date) != (original.visit_type, original.visit_date):
                return refuse(Refusal.MALFORMED, "保留的费用")
            if kept.total_fen > original.total_fen or kept.line_count > original.line_count:
                return refuse(Refusal.KEPT_MORE, yuan(kept.total_fen), yuan(original.total_fen))
        return None

    def _against_rules(self, original: _Row) -> Refused | None:
        """What the policy of the day of the settlement says against it."""
        scheme = original.scheme or self._insured[original.person_no].scheme
        settled, today = original.settled_day, self._at.date()
        rules = refund_rules(self._reference.policy, scheme, VisitType(original.visit_type), settled)
        year = rules.year_of(settled)
        if not rules.across_years and year != rules.year_of(today):
            return refuse(Refusal.OTHER_BENEFIT_YEAR, held=str(year))
        if not rules.is_in_time(settled, today) and not self._is_permitted(today):
            return refuse(Refusal.REFUND_TOO_LATE, held=settled.isoformat())
        later = self._later(original, date(year, *rules.year_starts), date(year + 1, *rules.year_starts))
        if rules.last_first and later is not None:
            return refuse(Refusal.LATER_SETTLEMENT, held=str(later))
        # While nothing moved them since, the accumulators of today are those the original left, and the mirror is what
        # they give; else it is not, and the office decides.
        if rules.of_today and later is not None and not self._is_permitted(today):
            return refuse(Refusal.REFUND_BY_TODAY, held=str(later))
        return None

    def _is_permitted(self, today: date) -> bool:
        return is_permitted(self._connection, self._asked.visit_no, self._asked.charge_batch_no, today=today)

    def _later(self, original: _Row, year_begins: date, year_ends: date) -> int | None:
        """The newest settlement of the person after this one, in its benefit year, that moved accumulators and
        stands. A corrected one is where the one it corrects was (`correction.place_no`)."""
        self._cursor.execute(
            "WITH original AS (SELECT coalesce((SELECT place_no FROM correction WHERE resettled_no = %(number)s),"
            "  %(number)s) AS place_no)"
            " SELECT max(later.settlement_no) FROM original, settlement later"
            " WHERE later.settlement_no IN (SELECT settlement_no FROM accumulator_entry"
            "  WHERE person_no = %(person)s AND settlement_no > original.place_no)"
            " AND later.settlement_no <> %(number)s"
            " AND later.kind = 'normal' AND later.settled_day >= %(begins)s AND later.settled_day < %(ends)s"
            " AND NOT EXISTS (SELECT FROM settlement contra WHERE contra.contra_of = later.settlement_no)"
            " AND NOT EXISTS (SELECT FROM correction WHERE resettled_no = later.settlement_no"
            "  AND correction.place_no < original.place_no)",
            {
                "number": original.settlement_no,
                "person": original.person_no,
                "begins": year_begins,
                "ends": year_ends,
            },
        )
        found = self._cursor.fetchone()
        return None if found is None else found[0]

    def _take_back(self, original: _Row) -> ClaimAnswer:
        return contra.take_back(
            self._cursor,
            Original(original.settlement_no, original.person_no, original.steps, original.answer),
            charge_batch_no=self._asked.contra_batch_no,
            frontend=self._frontend,
            reason=self._asked.reason,
            at=self._at,
            request=contra.request_of(self._asked.kept),
        )

    def _settle_kept(self, settled_on: date) -> tuple[ClaimAnswer, ...]:
        """Settle the kept lines as any claim, after the contra, by the rules of the day of the original.

        Raises _KeptRefused."""
        if not self._asked.kept:
            return ()
        answers = self._settle_lines(settled_on) if self._asked.kept_lines else self._settle_totals(settled_on)
        for answer in answers:
            if answer.refusal:
                raise _KeptRefused(answer)
        return answers

    def _settle_totals(self, settled_on: date) -> tuple[ClaimAnswer, ...]:
        submitted = TotalsSubmitted(
            policy_version=self._asked.policy_version,
            catalogue_version=self._asked.catalogue_version,
            claims=self._asked.kept,
        )
        return settle_batch(
            submitted,
            frontend=self._frontend,
            connection=self._connection,
            reference=self._reference,
            at=self._at,
            settled_on=settled_on,
        ).answers

    def _settle_lines(self, settled_on: date) -> tuple[ClaimAnswer, ...]:
        """The lines came along: split by what is in force here, and kept with what is settled of them."""
        pairs = zip(self._asked.kept, self._asked.kept_lines, strict=True)
        counter = counter_of(
            self._connection,
            self._reference,
            self._catalogues,
            [with_lines(kept, packed) for kept, packed in pairs],
            frontend=self._frontend,
            at=self._at,
            settled_on=settled_on,
        )
        return settle_all(self._cursor, counter, self._at).answers

    def _seal(self, number: int) -> None:
        """Link the contra into the chain and count it; last, because it locks the head of the chain."""
        chain.seal(self._cursor, {self._asked.institution_code: [number]}, at=self._at)
        sums.add_documents(self._cursor, [number])

    def _stored(self, before: _Row, rows: Iterable[_Row]) -> RefundAnswered:
        """The answer that was given. Whoever keeps something else under the same number, or asks at another front-end
        of the institution, comes too late; under the number of another settlement's contra it is a conflict."""
        asked = self._asked
        original = _find(rows, asked.charge_batch_no, NORMAL)
        is_of_it = original is not None and before.contra_of == original.settlement_no
        if not is_of_it or before.institution_code != asked.institution_code:
            return self._refused(refuse(Refusal.MALFORMED, "费用批次"))
        kept = [_find(rows, claim.charge_batch_no, NORMAL) for claim in asked.kept]
        if before.frontend != self._frontend or None in kept or not self._is_same(before, original):
            return self._refused(refuse(Refusal.REFUNDED_ALREADY, held=str(before.settlement_no)))
        answers = [unpack(row.answer, ClaimAnswer) for row in (before, *kept) if row is not None]
        return _told(asked, answers=tuple(answers))

    def _is_same(self, before: _Row, original: _Row | None) -> bool:
        """Whether the same was asked to be kept; one from before this was written has its original's circumstances."""
        is_unknown = original is not None and before.circumstances == original.circumstances
        return is_unknown or before.circumstances == contra.request_of(self._asked.kept)

    def _refused(self, refused: Refused) -> RefundAnswered:
        return _told(self._asked, refusal=str(refused.refusal), detail=refused.detail)


def _find(rows: Iterable[_Row], charge_batch_no: int, kind: str) -> _Row | None:
    return next((row for row in rows if (row.charge_batch_no, row.kind) == (charge_batch_no, kind)), None)


def _told(
    asked: RefundAsked, *, refusal: str = "", detail: str = "", answers: tuple[ClaimAnswer, ...] = ()
) -> RefundAnswered:
    return RefundAnswered(
        institution_code=asked.institution_code,
        visit_no=asked.visit_no,
        charge_batch_no=asked.charge_batch_no,
        contra_batch_no=asked.contra_batch_no,
        refusal=refusal,
        detail=detail,
        answers=answers,
    )


def _malformed(asked: RefundAsked) -> str:
    """What of the request cannot be stored or looked up, in Chinese; empty when nothing is wrong."""
    numbers = (asked.charge_batch_no, asked.contra_batch_no)
    kept = asked.kept
    fits = {
        "医院编号": is_code(asked.institution_code, 18),
        "就医登记号": is_code(asked.visit_no, 16),
        "费用批次": all(0 <= number <= MAX_INTEGER for number in numbers) and numbers[0] != numbers[1],
        "退费原因": len(asked.reason) <= LONGEST_REASON and asked.reason.isprintable(),
        "保留的费用": len(kept) <= 1
        and all(
            (claim.institution_code, claim.visit_no) == (asked.institution_code, asked.visit_no)
            and claim.charge_batch_no not in numbers
            for claim in kept
        )
        and len(asked.kept_lines) in (0, len(kept)),
    }
    return "、".join(what for what, good in fits.items() if not good)
