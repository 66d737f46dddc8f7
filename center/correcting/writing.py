"""Writing corrections: what has changed is taken back, last first, and settled as it comes to now, first first.

All of a household's in the caller's transaction, under the locks of settling. A correction's two documents carry charge
batch numbers of the centre's own (`FIRST_OF_CENTRE` up), which no front-end gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg

from center.conservation import sums
from center.correcting.recomputing import Change
from center.ledger import chain
from center.policy.history import Stored
from center.settling import contra, records
from center.settling.contra import Original
from domain.clearing import clearing_type
from domain.ledger import family_pay_of, postings_for
from domain.messages import ClaimAnswer
from domain.visit import FIRST_OF_CENTRE, LAST_BATCH
from infra.codec import pack

_pack_steps = msgspec.msgpack.Encoder().encode


class Corrected(NamedTuple):
    """One settlement that was corrected, and by which documents."""

    change: Change
    frontend: str
    contra: ClaimAnswer
    resettled: ClaimAnswer

    @property
    def cash_fen(self) -> int:
        """What the patient pays in addition; negative: gets back."""
        return self.change.after.cash_fen - self.change.before.cash_fen


class NoNumberLeft(Exception):
    """The centre has used up its charge batch numbers of this visit."""


class AccountTooLow(Exception):
    """An account does not hold any more what it would have paid."""


def correct(cursor: psycopg.Cursor[Any], changes: Sequence[Change], *, reason: str, at: datetime) -> list[Corrected]:
    """Write the contra and the new settlement of each change of locked persons; the visits are locked, too.

    Raises NoNumberLeft, AccountTooLow; then nothing of it may be committed.
    """
    frontends = _frontends(cursor, [change.stored.settlement_no for change in changes])
    rows = _rows(cursor, [change.stored.settlement_no for change in changes])
    numbers = _numbers(cursor, [change.stored.visit_no for change in changes])
    backs = {
        change.stored.settlement_no: contra.take_back(
            cursor,
            rows[change.stored.settlement_no],
            charge_batch_no=numbers[index],
            frontend=frontends[change.stored.settlement_no],
            reason=reason,
            at=at,
        )
        for index, change in reversed(list(enumerate(changes)))
    }
    corrected = []
    for index, change in enumerate(changes):
        frontend = frontends[change.stored.settlement_no]
        answer = _settle(cursor, change, numbers[index] + 1, frontend=frontend, reason=reason, at=at)
        corrected.append(Corrected(change, frontend, backs[change.stored.settlement_no], answer))
    _seal(cursor, corrected, at=at)
    return corrected


def _settle(
    cursor: psycopg.Cursor[Any], change: Change, charge_batch_no: int, *, frontend: str, reason: str, at: datetime
) -> ClaimAnswer:
    """Write what a settlement comes to now."""
    stored, settled = change.stored, change.settled
    (number,) = records.settlement_numbers(cursor, 1)
    _pay(cursor, change, number)
    applied = {key: fen for key, _, fen in settled.entries}
    if applied:
        contra.move_accumulators(cursor, number, stored.person_no, applied)
    answer = ClaimAnswer(
        visit_no=stored.visit_no,
        charge_batch_no=charge_batch_no,
        settlement_no=number,
        fund_pay_fen=settled.fund_pay_fen,
        account_pay_fen=settled.account_pay_fen,
        deductible_fen=settled.deductible_fen,
        self_pay_fen=settled.self_pay_fen,
        over_cap_fen=settled.over_cap_fen,
        institution_share_fen=settled.institution_share_fen,
        account_before_fen=change.account_before_fen,
        fund_before_fen=change.fund_before_fen,
        deductible_before_fen=change.deductible_before_fen,
        settled_at=at,
        cells=settled.cells,
        entries=settled.entries,
        scheme=stored.scheme,
        category=stored.category,
    )
    own = {
        "settlement_no": number,
        "charge_batch_no": charge_batch_no,
        "frontend": frontend,
        "settled_at": at,
        "settled_day": at.date(),
        "fund_pay_fen": settled.fund_pay_fen,
        "account_pay_fen": settled.account_pay_fen,
        "deductible_fen": settled.deductible_fen,
        "self_pay_fen": settled.self_pay_fen,
        "over_cap_fen": settled.over_cap_fen,
        "institution_share_fen": settled.institution_share_fen,
        "own_pay_fen": settled.own_pay_fen,
        "reason": reason,
        "inputs": change.inputs,
        "steps": _pack_steps(settled.steps),
        "answer": pack(answer),
    }
    contra.copy_settlement(cursor, stored.settlement_no, own)
    return answer


def _pay(cursor: psycopg.Cursor[Any], change: Change, number: int) -> None:
    """Post it, and let the accounts pay. Raises AccountTooLow."""
    stored, settled = change.stored, change.settled
    family_fen = family_pay_of(settled)
    family_no = _family_of(cursor, stored) if family_fen else None
    own_fen = settled.account_pay_fen - family_fen
    paid = {stored.person_no: own_fen} | ({family_no: family_fen} if family_no is not None else {})
    try:
        contra.pay_accounts(cursor, paid)
    except psycopg.errors.CheckViolation:
        raise AccountTooLow from None
    postings = postings_for(
        settled,
        institution_code=stored.institution_code,
        clearing_type=clearing_type(stored.visit_type),
        person_no=stored.person_no,
        family_person_no=family_no,
    )
    cursor.execute(
        "INSERT INTO posting (document_no, account, amount_fen)"
        " SELECT %s, account, fen FROM unnest(%s::text[], %s::bigint[]) AS side (account, fen)",
        [number, [account for account, _ in postings], [fen for _, fen in postings]],
    )


def _seal(cursor: psycopg.Cursor[Any], corrected: Iterable[Corrected], *, at: datetime) -> None:
    """Link the documents into the chains and count them; last, because it locks the heads of the chains."""
    documents: dict[str, list[int]] = {}
    for each in corrected:
        of = documents.setdefault(each.change.stored.institution_code, [])
        of += [each.contra.settlement_no, each.resettled.settlement_no]
    chain.seal(cursor, documents, at=at)
    sums.add_documents(cursor, sorted(number for numbers in documents.values() for number in numbers))


def _frontends(cursor: psycopg.Cursor[Any], numbers: Sequence[int]) -> dict[int, str]:
    """In whose books each settlement stands; where that front-end has ended, who serves the institution now."""
    cursor.execute(
        "SELECT settlement_no, coalesce("
        "(SELECT frontend FROM served_by s WHERE s.institution_code = settlement.institution_code AND until IS NULL"
        " ORDER BY s.frontend <> settlement.frontend, standing <> 'open', part LIMIT 1), frontend)"
        " FROM settlement WHERE settlement_no = ANY(%s::bigint[])",
        [list(numbers)],
    )
    return dict(cursor.fetchall())


def _rows(cursor: psycopg.Cursor[Any], numbers: Sequence[int]) -> dict[int, Original]:
    cursor.execute(
        "SELECT settlement_no, person_no, steps, answer FROM settlement WHERE settlement_no = ANY(%s::bigint[])",
        [list(numbers)],
    )
    return {row[0]: Original._make(row) for row in cursor.fetchall()}


def _numbers(cursor: psycopg.Cursor[Any], visit_nos: Sequence[str]) -> list[int]:
    """For each of these visits the first of two charge batch numbers nobody has. Raises NoNumberLeft."""
    cursor.execute(
        "SELECT visit_no, charge_batch_no FROM settlement WHERE visit_no = ANY(%s) AND charge_batch_no >= %s",
        [list(visit_nos), FIRST_OF_CENTRE],
    )
    taken = set(cursor.fetchall())
    numbers = []
    for visit_no in visit_nos:
        number = FIRST_OF_CENTRE
        while taken & {(visit_no, number), (visit_no, number + 1)}:
            number += 1
        if number + 1 > LAST_BATCH:
            raise NoNumberLeft
        taken |= {(visit_no, number), (visit_no, number + 1)}
        numbers.append(number)
    return numbers


def _family_of(cursor: psycopg.Cursor[Any], stored: Stored) -> int:
    """The relative whose account paid then, or may be used now. Raises AccountTooLow when there is none."""
    cursor.execute(
        "SELECT substr(account, 9)::bigint FROM posting"
        " WHERE document_no = %(number)s AND account LIKE 'account:%%' AND account <> 'account:' || %(person)s"
        " UNION ALL"
        " SELECT relative.person_no FROM person JOIN person relative"
        " ON relative.citizen_id_no = person.family_citizen_id_no WHERE person.person_no = %(person)s::bigint",
        {"number": stored.settlement_no, "person": str(stored.person_no)},
    )
    found = cursor.fetchone()
    if found is None:
        raise AccountTooLow
    return int(found[0])
