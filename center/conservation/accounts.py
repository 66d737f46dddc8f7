"""Fund = Σ clearings: the balances of the ledger's accounts against days, clearings, deductions and payments.

An account's balance is the sum of its postings, here by the flow whose documents they belong to:

    payable    -(what funds and accounts pay, all days) + what standing clearings took over
    cleared    -(what standing clearings took over, less withheld) + deductions - releases + payments
    withheld   -(what standing clearings withheld) + what was settled of it at the end of the year
    fund       what funds pay, all days, - deductions - what went back of the withheld
    bank       - payments
    account    what personal accounts pay, all days, - credits; premium: credits
    cash, share, charges: the sums of the days
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import psycopg

from center.conservation.days import Amounts, Days
from center.conservation.documents import Scope
from center.conservation.findings import EVERY, Finding, Flow, Level, flow_of
from center.conservation.tables import DAY_AMOUNTS
from domain import ledger


class Key(NamedTuple):
    """An account, as far as the documents of one flow moved it.

    A fund's layers are together as fund:<scheme>, the accounts of persons as account.
    """

    institution_code: str
    scheme: str
    clearing_type: str
    account: str


PERSONS = "account"
PREMIUM = "premium"
"""Where the money of personal accounts comes from (个人账户划入)."""

FOLDED = (
    "CASE WHEN starts_with(account, 'account:') THEN 'account'"
    " WHEN starts_with(account, 'fund:') THEN 'fund:' || split_part(account, ':', 2) ELSE account END"
)
ADDED_UP = f"""
SELECT o.institution_code, o.scheme, o.clearing_type, {FOLDED} AS name, sum(p.amount_fen)::bigint
FROM posting p JOIN (
    SELECT settlement_no AS document_no, institution_code, scheme, clearing_type FROM settlement s WHERE {{settlements}}
    UNION ALL
    SELECT document_no, institution_code, scheme, clearing_type FROM ledger_document d WHERE {{documents}})
    AS o USING (document_no)
GROUP BY o.institution_code, o.scheme, o.clearing_type, name
"""
TAKE_UP = (
    "INSERT INTO checked_account SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])"
    " ON CONFLICT (institution_code, scheme, clearing_type, account) DO UPDATE"
    " SET amount_fen = checked_account.amount_fen + EXCLUDED.amount_fen"
)

OF_FLOW = ("total_fen", "fund_pay_fen", "account_pay_fen", "institution_share_fen")
"""Which sums of a flow's days say what its accounts must be."""
_PLACES = tuple(DAY_AMOUNTS.index(name) for name in OF_FLOW)
SUMMED = f"""
SELECT institution_code, scheme, clearing_type, {", ".join(f"sum({name})::bigint" for name in OF_FLOW)}
FROM day_sum WHERE institution_code = ANY(%s) GROUP BY institution_code, scheme, clearing_type
"""
CHECKED = f"""
SELECT institution_code, scheme, clearing_type, {", ".join(OF_FLOW)} FROM checked_flow WHERE institution_code = ANY(%s)
"""
TAKE_UP_FLOWS = (
    "INSERT INTO checked_flow SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[],"
    " %s::bigint[], %s::bigint[]) ON CONFLICT (institution_code, scheme, clearing_type) DO UPDATE SET "
    + ", ".join(f"{name} = checked_flow.{name} + EXCLUDED.{name}" for name in OF_FLOW)
)
STANDING = """
SELECT c.institution_code, c.scheme, c.clearing_type, sum(c.fund_fen + c.account_fen)::bigint,
       sum(c.withheld_fen)::bigint
FROM clearing c JOIN clearing_period p ON p.clearing_no = c.clearing_no WHERE c.institution_code = ANY(%s)
GROUP BY c.institution_code, c.scheme, c.clearing_type
"""
DEDUCTED = """
SELECT d.institution_code, d.scheme, d.clearing_type, sum(x.amount_fen)::bigint
FROM deduction x JOIN ledger_document d USING (document_no) WHERE d.institution_code = ANY(%s)
GROUP BY d.institution_code, d.scheme, d.clearing_type
"""
RELEASED = """
SELECT institution_code, scheme, clearing_type, sum(held_fen)::bigint, sum(released_fen)::bigint
FROM withheld_release WHERE institution_code = ANY(%s) GROUP BY institution_code, scheme, clearing_type
"""
MADE = """
SELECT institution_code, scheme, clearing_type, kind, sum(amount_fen)::bigint FROM ledger_document
WHERE kind IN ('payment', 'credit') AND institution_code = ANY(%s)
GROUP BY institution_code, scheme, clearing_type, kind
"""


def added_up(cursor: psycopg.Cursor[Any], scope: Scope) -> dict[Key, int]:
    """What the postings of the scope's documents come to, by flow and account."""
    where = {
        "settlements": scope.where("s.settlement_no", "s.institution_code"),
        "documents": scope.where("d.document_no", "d.institution_code"),
    }
    cursor.execute(ADDED_UP.format(**where), scope.values)
    return _by_key(cursor)


def held(cursor: psycopg.Cursor[Any], codes: Collection[str] | None) -> dict[Key, int]:
    """What earlier runs have added up of these institutions, or of all."""
    cursor.execute(
        "SELECT institution_code, scheme, clearing_type, account, amount_fen FROM checked_account"
        " WHERE %(codes)s::text[] IS NULL OR institution_code = ANY(%(codes)s)",
        {"codes": None if codes is None else list(codes)},
    )
    return _by_key(cursor)


def together(before: Mapping[Key, int], new: Mapping[Key, int]) -> dict[Key, int]:
    """Both added up."""
    return {key: before.get(key, 0) + new.get(key, 0) for key in {*before, *new}}


def take_up(cursor: psycopg.Cursor[Any], new: Mapping[Key, int]) -> None:
    """Add what a run has added up to what was checked before."""
    keys = sorted(new)
    columns = [[key[place] for key in keys] for place in range(len(Key._fields))]
    cursor.execute(TAKE_UP, [*columns, [new[key] for key in keys]])


def flows_of(days: Days) -> dict[Flow, Amounts]:
    """What days come to by flow, in the order of OF_FLOW."""
    sums: dict[Flow, Amounts] = {}
    for key, amounts in days.items():
        before = sums.get(key.flow, (0,) * len(OF_FLOW))
        sums[key.flow] = tuple(fen + amounts[place] for fen, place in zip(before, _PLACES, strict=True))
    return sums


def flows_summed(cursor: psycopg.Cursor[Any], codes: Collection[str]) -> dict[Flow, Amounts]:
    """The same of every row of day_sum of these institutions: their whole history."""
    return _flows(cursor, SUMMED, codes)


def flows_checked(
    cursor: psycopg.Cursor[Any], codes: Collection[str], new: Days, off: Days | None = None
) -> dict[Flow, Amounts]:
    """What earlier runs have added up of these institutions' documents, with what this one has, and with that by which
    the days it has compared are off in day_sum: as `flows_summed`, without reading the days nobody has touched."""
    sums = _flows(cursor, CHECKED, codes)
    for more in (new, off or {}):
        for flow, amounts in flows_of(more).items():
            if flow.institution_code in codes:
                before = sums.get(flow, (0,) * len(OF_FLOW))
                sums[flow] = tuple(map(sum, zip(before, amounts, strict=True)))
    return sums


def take_up_flows(cursor: psycopg.Cursor[Any], new: Days) -> None:
    """Add what a run has added up to what was checked before."""
    rows = [(*flow, *amounts) for flow, amounts in sorted(flows_of(new).items())]
    if rows:
        cursor.execute(TAKE_UP_FLOWS, [list(column) for column in zip(*rows, strict=True)])


def _flows(cursor: psycopg.Cursor[Any], statement: str, codes: Collection[str]) -> dict[Flow, Amounts]:
    cursor.execute(statement, [list(codes)])
    return {Flow(*row[:3]): tuple(row[3:]) for row in cursor.fetchall()}


def broken_accounts(
    cursor: psycopg.Cursor[Any], codes: Collection[str], found: Mapping[Key, int], flows: Mapping[Flow, Amounts]
) -> Iterator[Finding]:
    """Accounts of these institutions whose balance is not what days (`flows`, their sums) and clearings say."""
    expected, found = _foldable(_expected(cursor, list(codes), flows)), _foldable(found)
    for key in sorted({*expected, *found}):
        should, is_ = expected.get(key, 0), found.get(key, 0)
        if should != is_:
            flow = flow_of(key.institution_code, key.scheme or EVERY, key.clearing_type or EVERY)
            yield Finding(Level.FUND, "fund-account", flow, should, is_, subject=key.account)


def _foldable(balances: Mapping[Key, int]) -> dict[Key, int]:
    """Of settlements from before their scheme was kept, accounts of every scheme together: the postings know it."""
    if all(key.scheme for key in balances):
        return dict(balances)
    folded: defaultdict[Key, int] = defaultdict(int)
    for key, amount in balances.items():
        folded[key if key.scheme else key._replace(account=key.account.partition(":")[0])] += amount
    return dict(folded)


def _expected(cursor: psycopg.Cursor[Any], codes: list[str], flows: Mapping[Flow, Amounts]) -> dict[Key, int]:
    sums: defaultdict[Key, int] = defaultdict(int)

    def rows(statement: str) -> Iterator[tuple[Flow, tuple[Any, ...]]]:
        cursor.execute(statement, [codes])
        for row in cursor.fetchall():
            yield Flow(*row[:3]), row[3:]

    for flow, (total, fund, account, share) in flows.items():
        sums[Key(*flow, ledger.payable(*flow))] -= fund + account
        sums[Key(*flow, f"fund:{flow.scheme}")] += fund
        sums[Key(*flow, PERSONS)] += account
        sums[Key(*flow, ledger.cash(flow.institution_code))] += total - fund - account - share
        sums[Key(*flow, ledger.share(flow.institution_code))] += share
        sums[Key(*flow, ledger.charges(flow.institution_code))] -= total - fund - account
    for flow, (taken_over, withheld) in rows(STANDING):
        sums[Key(*flow, ledger.payable(*flow))] += taken_over
        sums[Key(*flow, ledger.cleared(*flow))] -= taken_over - withheld
        sums[Key(*flow, ledger.withheld(*flow))] -= withheld
    for flow, (deducted,) in rows(DEDUCTED):
        sums[Key(*flow, ledger.cleared(*flow))] += deducted
        sums[Key(*flow, f"fund:{flow.scheme}")] -= deducted
    for flow, (settled, released) in rows(RELEASED):
        sums[Key(*flow, ledger.withheld(*flow))] += settled
        sums[Key(*flow, ledger.cleared(*flow))] -= released
        sums[Key(*flow, f"fund:{flow.scheme}")] -= settled - released
    for flow, (kind, amount) in rows(MADE):
        if kind == "payment":
            sums[Key(*flow, ledger.cleared(*flow))] += amount
            sums[Key(*flow, ledger.bank(flow.scheme))] -= amount
        else:
            sums[Key(*flow, PERSONS)] -= amount
            sums[Key(*flow, f"{PREMIUM}:{flow.scheme}")] += amount
    return dict(sums)


def _by_key(cursor: psycopg.Cursor[Any]) -> dict[Key, int]:
    return {Key(*row[:4]): row[4] for row in cursor.fetchall()}
