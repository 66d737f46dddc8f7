"""Refund (退费) at the centre: a settlement is taken back by a contra settlement (冲正), and what is kept of it is
settled anew, both or neither, in one transaction under the locks of settling.

The contra is the original's negative twin under its own number: every amount, step, posting and movement of an
accumulator with the other sign. It is linked to the original once, by a unique key. Nothing settled is changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date, datetime
from typing import NamedTuple

import msgpack
from sqlalchemy import Connection, Engine

from center.settling import records
from center.settling.permits import is_permitted
from center.settling.records import NORMAL, Institution, Standing
from center.settling.settle import settle_batch
from center.settling.well_formed import MAX_INTEGER, Refused, is_code, refuse
from center.transactions import in_transaction
from domain.messages import ClaimAnswer, RefundAnswered, RefundAsked, TotalsSubmitted
from domain.refund import refund_rules, taken_back
from domain.refusals import Refusal
from domain.settlement import AccumulatorEntry, Step
from domain.visit import VisitType
from infra.codec import pack, unpack
from infra.reference import Reference, ReferenceShelf

log = logging.getLogger("center")

CONTRA = "contra"
LONGEST_REASON = 120
ACCOUNT_PREFIX = "account:"

_NEGATED = (
    "total_fen",
    "own_expense_fen",
    "over_limit_fen",
    "pre_self_pay_fen",
    "in_scope_fen",
    "fund_pay_fen",
    "account_pay_fen",
    "deductible_fen",
    "self_pay_fen",
    "over_cap_fen",
    "institution_share_fen",
)
_KEPT = (
    "institution_code",
    "visit_no",
    "person_no",
    "visit_type",
    "visit_date",
    "line_count",
    "digest",
    "circumstances",
    "policy_version",
    "catalogue_version",
    "scheme",
    "category",
    "institution_level",
)


class _Row(NamedTuple):
    """What a refund looks at of a settlement of the visit."""

    settlement_no: int
    kind: str
    charge_batch_no: int
    institution_code: str
    person_no: int
    visit_type: str
    scheme: str
    settled_day: date
    contra_of: int | None
    steps: bytes
    answer: bytes


class _KeptRefused(Exception):
    """The kept lines cannot be settled, so nothing is taken back."""

    def __init__(self, answer: ClaimAnswer) -> None:
        self.answer = answer
        super().__init__("the kept lines are refused")


def refund(engine: Engine, shelf: ReferenceShelf, asked: RefundAsked, *, frontend: str, at: datetime) -> RefundAnswered:
    """Take a settlement back and commit it, or say why not. Asked again it answers as it did the first time."""

    def refund_now(connection: Connection) -> RefundAnswered:
        reference = shelf.current(connection, records.versions_in_force(records.cursor_of(connection)))
        return _Refund(connection, reference, asked, frontend, at).answer()

    try:
        answered = in_transaction(engine, refund_now)
    except _KeptRefused as kept:
        answered = _told(asked, refusal=kept.answer.refusal, detail=kept.answer.detail)
    log.info("refunded", extra={"frontend": frontend, "refusal": answered.refusal, "kept": len(asked.kept)})
    return answered


class _Refund:
    """One request under the locks: what there is of the visit, and what is written."""

    def __init__(
        self, connection: Connection, reference: Reference, asked: RefundAsked, frontend: str, at: datetime
    ) -> None:
        self._connection, self._reference = connection, reference
        self._asked, self._frontend, self._at = asked, frontend, at
        self._cursor = records.cursor_of(connection)

    def answer(self) -> RefundAnswered:
        """Decide, record, answer. Raises _KeptRefused, and then nothing of it may be committed."""
        wrong = _malformed(self._asked)
        if wrong:
            return self._refused(refuse(Refusal.MALFORMED, wrong))
        rows = self._locked()
        refused = self._against_frontend()
        if refused is not None:
            return self._refused(refused)
        before = _find(rows, self._asked.contra_batch_no, CONTRA)
        original = _find(rows, self._asked.charge_batch_no, NORMAL)
        if before is not None:
            return self._stored(before, original, rows)
        if original is None:
            taken = _find(rows, self._asked.charge_batch_no, CONTRA)
            return self._refused(refuse(Refusal.NOT_SETTLED if taken is None else Refusal.REFUND_OF_REFUND))
        refused = self._against(original, rows)
        if refused is not None:
            return self._refused(refused)
        answers = [self._take_back(original)]
        answers += self._settle_kept()
        return _told(self._asked, answers=tuple(answers))

    def _locked(self) -> list[_Row]:
        """The settlements of the visit, read after everybody concerned is locked, in the order of settling."""
        visit_no, batch_no = self._asked.visit_no, self._asked.charge_batch_no
        self._cursor.execute(
            "SELECT citizen_id_no FROM person WHERE person_no IN"
            " (SELECT person_no FROM settlement WHERE visit_no = %(visit)s AND charge_batch_no = %(batch)s"
            "  UNION SELECT substr(account, 9)::bigint FROM posting JOIN settlement USING (settlement_no)"
            "  WHERE visit_no = %(visit)s AND charge_batch_no = %(batch)s AND account LIKE 'account:%%')",
            {"visit": visit_no, "batch": batch_no},
        )
        persons = [citizen_id_no for (citizen_id_no,) in self._cursor.fetchall()]
        self._insured = {row.person_no: row for row in records.lock_persons(self._cursor, persons).values()}
        records.lock_visits(self._cursor, [visit_no])
        self._cursor.execute(
            "SELECT settlement_no, kind, charge_batch_no, institution_code, person_no, visit_type, scheme,"
            " settled_day, contra_of, steps, answer FROM settlement WHERE visit_no = %s",
            [visit_no],
        )
        return [_Row._make(row) for row in self._cursor.fetchall()]

    def _against_frontend(self) -> Refused | None:
        code = self._asked.institution_code
        institution: Institution | None = records.institutions(self._cursor, [code]).get(code)
        if institution is None or not institution.active:
            return refuse(Refusal.INSTITUTION_UNKNOWN)
        return None if institution.frontend == self._frontend else refuse(Refusal.FRONTEND_WRONG)

    def _against(self, original: _Row, rows: Iterable[_Row]) -> Refused | None:
        """The first reason not to take it back."""
        if original.institution_code != self._asked.institution_code:
            return refuse(Refusal.REFUND_OF_ANOTHER)
        contra = next((row for row in rows if row.contra_of == original.settlement_no), None)
        if contra is not None:
            return refuse(Refusal.REFUNDED_ALREADY, held=str(contra.settlement_no))
        if _find(rows, self._asked.contra_batch_no, NORMAL) is not None:
            return refuse(Refusal.MALFORMED, "费用批次")
        return self._against_rules(original)

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
        stands."""
        self._cursor.execute(
            "SELECT max(later.settlement_no) FROM settlement later"
            " WHERE later.settlement_no IN (SELECT settlement_no FROM accumulator_entry"
            "  WHERE person_no = %s AND settlement_no > %s)"
            " AND later.kind = 'normal' AND later.settled_day >= %s AND later.settled_day < %s"
            " AND NOT EXISTS (SELECT FROM settlement contra WHERE contra.contra_of = later.settlement_no)",
            [original.person_no, original.settlement_no, year_begins, year_ends],
        )
        found = self._cursor.fetchone()
        return None if found is None else found[0]

    def _take_back(self, original: _Row) -> ClaimAnswer:
        """Write the negative twin, and let accumulators and accounts go back by what the original moved."""
        (number,) = records.settlement_numbers(self._cursor, 1)
        entries = self._entries_back(number, original.settlement_no)
        balances = self._accounts_back(number, original)
        was = unpack(original.answer, ClaimAnswer)
        answer = taken_back(was)._replace(
            charge_batch_no=self._asked.contra_batch_no,
            settlement_no=number,
            settled_at=self._at,
            account_before_fen=balances.get(original.person_no, 0),
            fund_before_fen=was.fund_before_fen + was.fund_pay_fen,
            deductible_before_fen=was.deductible_before_fen + was.deductible_fen,
            entries=tuple(AccumulatorEntry(*entry[1:]) for entry in entries),
        )
        same, negated = ", ".join(_KEPT), ", ".join(_NEGATED)
        self._cursor.execute(
            f"INSERT INTO settlement (settlement_no, charge_batch_no, kind, frontend, settled_at, settled_day,"
            f" contra_of, reason, steps, answer, {same}, {negated})"
            f" SELECT %s, %s, 'contra', %s, %s, %s, settlement_no, %s, %s, %s, {same},"
            f" {', '.join(f'-{name}' for name in _NEGATED)} FROM settlement WHERE settlement_no = %s",
            [
                number,
                self._asked.contra_batch_no,
                self._frontend,
                self._at,
                self._at.date(),
                self._asked.reason,
                _steps_back(original.steps),
                pack(answer),
                original.settlement_no,
            ],
        )
        return answer

    def _entries_back(self, number: int, original_no: int) -> list[tuple[int, str, int, int]]:
        """(person, key, before, applied) of the contra's movements, written and counted into the accumulators."""
        self._cursor.execute(
            "WITH back AS (SELECT person_no, key, -sum(applied_fen)::bigint AS applied_fen"
            "  FROM accumulator_entry WHERE settlement_no = %s GROUP BY person_no, key),"
            " added AS (INSERT INTO accumulator_entry (settlement_no, person_no, key, before_fen, applied_fen)"
            "  SELECT %s, back.person_no, back.key, coalesce(amount_fen, 0), back.applied_fen"
            "  FROM back LEFT JOIN accumulator USING (person_no, key)"
            "  RETURNING person_no, key, before_fen, applied_fen),"
            " moved AS (UPDATE accumulator SET amount_fen = before_fen + applied_fen FROM added"
            "  WHERE accumulator.person_no = added.person_no AND accumulator.key = added.key)"
            " SELECT person_no, key, before_fen, applied_fen FROM added ORDER BY person_no, key",
            [original_no, number],
        )
        return self._cursor.fetchall()

    def _accounts_back(self, number: int, original: _Row) -> dict[int, int]:
        """Write the postings with the other sign and pay the accounts back; each person's balance before it."""
        self._cursor.execute(
            "INSERT INTO posting (settlement_no, account, amount_fen)"
            " SELECT %s, account, -amount_fen FROM posting WHERE settlement_no = %s RETURNING account, amount_fen",
            [number, original.settlement_no],
        )
        paid_back = {
            int(account.removeprefix(ACCOUNT_PREFIX)): -amount_fen
            for account, amount_fen in self._cursor.fetchall()
            if account.startswith(ACCOUNT_PREFIX)
        }
        before = {person_no: self._insured[person_no] for person_no in {original.person_no, *paid_back}}
        records.set_standings(
            self._cursor,
            {
                person_no: Standing(insured.account_balance_fen + paid_back.get(person_no, 0), insured.version + 1)
                for person_no, insured in before.items()
            },
        )
        return {person_no: insured.account_balance_fen for person_no, insured in before.items()}

    def _settle_kept(self) -> tuple[ClaimAnswer, ...]:
        """Settle the kept lines as any claim, after the contra. Raises _KeptRefused."""
        if not self._asked.kept:
            return ()
        submitted = TotalsSubmitted(
            policy_version=self._asked.policy_version,
            catalogue_version=self._asked.catalogue_version,
            claims=self._asked.kept,
        )
        answers = settle_batch(
            submitted, frontend=self._frontend, connection=self._connection, reference=self._reference, at=self._at
        ).answers
        for answer in answers:
            if answer.refusal:
                raise _KeptRefused(answer)
        return answers

    def _stored(self, contra: _Row, original: _Row | None, rows: Iterable[_Row]) -> RefundAnswered:
        """The answer that was given; another request under the same number is a conflict."""
        asked = self._asked
        kept = [_find(rows, claim.charge_batch_no, NORMAL) for claim in asked.kept]
        same = original is not None and contra.contra_of == original.settlement_no
        if not same or contra.institution_code != asked.institution_code or None in kept:
            return self._refused(refuse(Refusal.MALFORMED, "费用批次"))
        answers = [unpack(row.answer, ClaimAnswer) for row in (contra, *kept) if row is not None]
        return _told(asked, answers=tuple(answers))

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


_SIGNED = (Step._fields.index("input_fen"), Step._fields.index("output_fen"))


def _steps_back(packed: bytes) -> bytes:
    """The steps with the other sign: what went in and what came out."""
    steps = [list(step) for step in msgpack.unpackb(packed)]
    for step in steps:
        for place in _SIGNED:
            step[place] = -step[place]
    written: bytes = msgpack.packb(steps)
    return written


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
        ),
    }
    return "、".join(what for what, good in fits.items() if not good)
