"""Writing a contra settlement (冲正): the negative twin of a settlement, under its own number.

Every amount, step, posting and movement of an accumulator stands in it with the other sign: the two add up to nothing
on every account and accumulator. It is linked to the original once, by a unique key. Nothing settled is changed.
The persons concerned are locked by the caller (`lock_concerned`), who seals what is written when all of it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgpack
import psycopg

from center.settling import records
from center.settling.records import InsuredPerson
from center.tables import settlement
from domain.messages import ClaimAnswer, ClaimTotals
from domain.refund import taken_back
from domain.settlement import AccumulatorEntry, Step
from infra.codec import pack, unpack

CONTRA = "contra"
ACCOUNT_PREFIX = "account:"


class Original(NamedTuple):
    """What is needed of the settlement that is taken back."""

    settlement_no: int
    person_no: int
    steps: bytes
    answer: bytes


class Entry(NamedTuple):
    """One movement of an accumulator, as it is written."""

    person_no: int
    key: str
    before_fen: int
    applied_fen: int


def lock_concerned(
    cursor: psycopg.Cursor[Any], settlement_nos: Collection[int], visit_nos: Collection[str]
) -> dict[int, InsuredPerson]:
    """Lock the persons of these settlements and those whose accounts paid, then the visits; the persons by number."""
    numbers = list(settlement_nos)
    cursor.execute(
        "SELECT citizen_id_no FROM person WHERE person_no IN"
        " (SELECT person_no FROM settlement WHERE settlement_no = ANY(%(numbers)s::bigint[])"
        "  UNION SELECT substr(account, 9)::bigint FROM posting"
        "  WHERE document_no = ANY(%(numbers)s::bigint[]) AND account LIKE 'account:%%')",
        {"numbers": numbers},
    )
    persons = [citizen_id_no for (citizen_id_no,) in cursor.fetchall()]
    insured = {row.person_no: row for row in records.lock_persons(cursor, persons).values()}
    records.lock_visits(cursor, visit_nos)
    return insured


def request_of(kept: Iterable[ClaimTotals]) -> bytes:
    """What makes a request the same one: which lines are kept, however the catalogue of the day splits them."""
    return pack([[claim.charge_batch_no, claim.total_fen, claim.line_count, claim.digest] for claim in kept])


def take_back(
    cursor: psycopg.Cursor[Any],
    original: Original,
    *,
    charge_batch_no: int,
    frontend: str,
    reason: str,
    at: datetime,
    request: bytes = b"",
    told: ClaimAnswer | None = None,
) -> ClaimAnswer:
    """Write the negative twin of a settlement of locked persons, and let accumulators and accounts go back by what it
    moved; its answer, from where they stand. Where a front-end asked, its `circumstances` are the `request_of` that.
    One that was `told` before a restore keeps its number and its answer."""
    number = records.settlement_numbers(cursor, 1)[0] if told is None else told.settlement_no
    entries = _entries_back(cursor, number, original.settlement_no)
    balances = _accounts_back(cursor, number, original)
    was = unpack(original.answer, ClaimAnswer)
    answer = taken_back(was)._replace(
        charge_batch_no=charge_batch_no,
        settlement_no=number,
        settled_at=at,
        account_before_fen=balances[original.person_no],
        fund_before_fen=was.fund_before_fen + was.fund_pay_fen,
        deductible_before_fen=was.deductible_before_fen + was.deductible_fen,
        entries=tuple(AccumulatorEntry(*entry[1:]) for entry in entries),
    )
    own = {
        "settlement_no": number,
        "charge_batch_no": charge_batch_no,
        "kind": CONTRA,
        "frontend": frontend,
        "settled_at": at,
        "settled_day": at.date(),
        "contra_of": original.settlement_no,
        "reason": reason,
        "inputs": b"",
        "steps": _steps_back(original.steps),
        "answer": pack(told or answer),
    }
    if request:
        own["circumstances"] = request
    copy_settlement(cursor, original.settlement_no, own, negated=True)
    return answer


def copy_settlement(
    cursor: psycopg.Cursor[Any], settlement_no: int, own: Mapping[str, object], *, negated: bool = False
) -> None:
    """Write a settlement that is like another one but for its own columns; its amounts with the other sign."""
    columns = [column.name for column in settlement.columns]
    same = ["%s" if name in own else f"-{name}" if negated and name.endswith("_fen") else name for name in columns]
    cursor.execute(
        f"INSERT INTO settlement ({', '.join(columns)}) SELECT {', '.join(same)} FROM settlement"
        " WHERE settlement_no = %s",
        [*(own[name] for name in columns if name in own), settlement_no],
    )


def pay_accounts(cursor: psycopg.Cursor[Any], amounts: Mapping[int, int]) -> dict[int, int]:
    """Let locked persons' accounts pay these amounts, negative ones are paid back; each balance before it."""
    cursor.execute(
        "UPDATE person SET account_balance_fen = account_balance_fen - paid.fen, version = version + 1"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS paid (person_no, fen) WHERE person.person_no = paid.person_no"
        " RETURNING person.person_no, account_balance_fen + paid.fen",
        [list(amounts), list(amounts.values())],
    )
    return dict(cursor.fetchall())


def move_accumulators(
    cursor: psycopg.Cursor[Any], settlement_no: int, person_no: int, applied: Mapping[str, int]
) -> None:
    """Write a settlement's movements of a locked person's accumulators from where they stand, and move them."""
    cursor.execute(
        "WITH added AS (INSERT INTO accumulator_entry (settlement_no, person_no, key, before_fen, applied_fen)"
        "  SELECT %(number)s, %(person)s, new.key, coalesce(amount_fen, 0), new.fen"
        "  FROM unnest(%(keys)s::text[], %(fen)s::bigint[]) AS new (key, fen)"
        "  LEFT JOIN accumulator ON accumulator.person_no = %(person)s AND accumulator.key = new.key"
        "  RETURNING key, before_fen + applied_fen AS amount_fen)"
        " INSERT INTO accumulator SELECT %(person)s, key, amount_fen FROM added"
        " ON CONFLICT (person_no, key) DO UPDATE SET amount_fen = EXCLUDED.amount_fen",
        {"number": settlement_no, "person": person_no, "keys": list(applied), "fen": list(applied.values())},
    )


def _entries_back(cursor: psycopg.Cursor[Any], number: int, original_no: int) -> list[Entry]:
    """The contra's movements, written and counted into the accumulators."""
    cursor.execute(
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
    return [Entry._make(row) for row in cursor.fetchall()]


def _accounts_back(cursor: psycopg.Cursor[Any], number: int, original: Original) -> dict[int, int]:
    """Write the postings with the other sign and pay the accounts back; each person's balance before it."""
    cursor.execute(
        "INSERT INTO posting (document_no, account, amount_fen)"
        " SELECT %s, account, -amount_fen FROM posting WHERE document_no = %s RETURNING account, amount_fen",
        [number, original.settlement_no],
    )
    paid = {
        int(account.removeprefix(ACCOUNT_PREFIX)): amount_fen
        for account, amount_fen in cursor.fetchall()
        if account.startswith(ACCOUNT_PREFIX)
    }
    return pay_accounts(cursor, {original.person_no: 0} | paid)


_SIGNED = (Step._fields.index("input_fen"), Step._fields.index("output_fen"))


def _steps_back(packed: bytes) -> bytes:
    """The steps with the other sign: what went in and what came out."""
    steps = [list(step) for step in msgpack.unpackb(packed)]
    for step in steps:
        for place in _SIGNED:
            step[place] = -step[place]
    written: bytes = msgpack.packb(steps)
    return written
