"""What later settlements come to without one that was taken back (后续结算重算): the person's, and their relatives'.

The settlements that stand are settled once more in the order they had, each from the ground it would have stood on:
where accumulators and accounts stood when it was made, less what everything before it has moved, plus what those before
it that still stand move now. Nothing but the refund is different: the sums, the person, the occasion, and the policy
are those of then. So a sequence with a refund and its corrections comes to what the sequence without it comes to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import Connection, select

from center.correcting import household
from center.correcting.household import Household
from center.correcting.tables import correction
from center.policy import history
from center.policy.history import Cells, Entries, Stored
from center.policy.shelf import PolicyShelf
from center.settling import inputs
from center.settling.counter import paid_before
from domain.benefit import accumulator_keys, settle
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce
from domain.projection import ExchangeAmounts, exchange_amounts
from domain.settlement import ACCOUNT, FAMILY_ACCOUNT, Settlement
from domain.visit import VisitType


class Change(NamedTuple):
    """A settlement that stands and would have come to something else."""

    stored: Stored
    place_no: int
    """Where it is in the order: the number of the first settlement it was."""
    settled: Settlement
    inputs: bytes
    """What it is computed from now, for `settlement.inputs`."""
    account_before_fen: int
    fund_before_fen: int
    deductible_before_fen: int

    @property
    def before(self) -> ExchangeAmounts:
        """Its amounts as it stands."""
        return exchange_amounts(self.stored.result()[0], VisitType(self.stored.visit_type))

    @property
    def after(self) -> ExchangeAmounts:
        """Its amounts as it would have been."""
        return exchange_amounts(self.settled.cells, VisitType(self.stored.visit_type))


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What came of it."""

    changes: list[Change]
    impossible: list[tuple[int, str]]
    """Settlements that cannot be recomputed, by number, with the reason: then nothing is corrected."""


def recompute(
    connection: Connection,
    person_no: int,
    *,
    refunded_no: int,
    policies: PolicyShelf,
) -> Recomputed:
    """The settlements after `refunded_no`, the person's and those of relatives who share an account with them, that
    would have been others without it, in their order.

    It counts as taken back, whether it is already or not. What other refunds of theirs changed, and nobody has
    corrected yet, is in it too.
    """
    related = household.of(connection, person_no)
    documents = history.of_persons(connection, related.persons)
    return _Run(documents, related, _places(connection, documents), connection, policies).run(refunded_no)


def _places(connection: Connection, documents: Iterable[Stored]) -> dict[int, int]:
    """Where each settlement stands in the order: a corrected one where the one it corrects stood, all others where
    they were made."""
    numbers = [each.settlement_no for each in documents]
    columns = correction.c
    found = connection.execute(
        select(columns.resettled_no, columns.place_no).where(columns.resettled_no.in_(numbers))
    ).all()
    return {number: number for number in numbers} | {row.resettled_no: row.place_no for row in found}


class _Ground:
    """What settlements have moved: accumulators by person, and accounts by whose they are."""

    def __init__(self, related: Household) -> None:
        self._related = related
        self.moved: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.paid: defaultdict[int | None, int] = defaultdict(int)

    def count(self, stored: Stored, cells: Cells, entries: Entries) -> None:
        """Count a settlement in, as it came to this."""
        person_no = stored.person_no
        family = self._related.family_of(stored.settlement_no, person_no)
        owners = {ACCOUNT: person_no, FAMILY_ACCOUNT: family}
        for _, payer, fen in cells:
            if payer in owners:
                self.paid[owners[payer]] += fen
        for key, _, applied in entries:
            self.moved[person_no][key] += applied

    def is_as(self, other: _Ground, person_no: int, family: int | None) -> bool:
        """Whether a settlement of the person stands on the same ground in both."""
        keys = self.moved[person_no].keys() | other.moved[person_no].keys()
        accounts = all(self.paid[each] == other.paid[each] for each in (person_no, family))
        return accounts and all(self.moved[person_no][key] == other.moved[person_no][key] for key in keys)


class _Run:
    """A household's settlements on the way."""

    def __init__(
        self,
        documents: list[Stored],
        related: Household,
        places: Mapping[int, int],
        connection: Connection,
        policies: PolicyShelf,
    ) -> None:
        self._documents, self._related, self._places = documents, related, places
        self._connection, self._policies = connection, policies
        self._by_no = {each.settlement_no: each for each in documents}
        self._results = {each.settlement_no: each.result() for each in documents}
        self._now = _Ground(related)

    def run(self, refunded_no: int) -> Recomputed:
        taken = {each.contra_of for each in self._documents} | {refunded_no}
        standing = [each for each in self._documents if each.contra_of is None and each.settlement_no not in taken]
        standing.sort(key=lambda each: self._places[each.settlement_no])
        recomputed = Recomputed([], [])
        after = self._places[refunded_no]
        for each in standing:
            cells, entries = self._results[each.settlement_no]
            if self._places[each.settlement_no] > after:
                change = self._again(each)
                if isinstance(change, str):
                    recomputed.impossible.append((each.settlement_no, change))
                elif change is not None:
                    recomputed.changes.append(change)
                    cells, entries = change.settled.cells, change.settled.entries
            self._now.count(each, cells, entries)
        return recomputed

    def _again(self, stored: Stored) -> Change | str | None:
        """The change; none, or why it cannot be said. What stands on the ground it stood on has not changed."""
        place, now = self._places[stored.settlement_no], self._now
        then = self._before(place)
        person_no, family = stored.person_no, self._related.family_of(stored.settlement_no, stored.person_no)
        if now.is_as(then, person_no, family):
            return None
        own, root = stored.computed_from(), self._by_no[self._places[stored.settlement_no]].computed_from()
        if own is None or root is None:
            return "没有保存结算时的依据（早期版本结算）"
        policy = self._policies.book(self._connection, stored.policy_version)
        if policy is None:
            return f"政策版本 {stored.policy_version} 没有保存"
        if not _is_proved(stored, own, policy):
            return "按当时的政策重算不出已存的结果"
        keys = accumulator_keys(own.person, own.occasion, policy)
        more = {key: now.moved[person_no][key] - then.moved[person_no][key] for key in keys}
        amounts = {key: amount for key in keys if (amount := root.accumulators.get(key, 0) + more[key]) > 0}
        person = replace(
            own.person,
            account_balance_fen=_rest(root.person.account_balance_fen, then.paid[person_no] - now.paid[person_no]),
            family_balance_fen=_rest(root.person.family_balance_fen, then.paid[family] - now.paid[family]),
        )
        settled = settle(own.totals, person, amounts, policy, own.occasion)
        if _is_the_same(stored.result(), (settled.cells, settled.entries)):
            return None
        return Change(
            stored,
            place,
            settled,
            inputs.packed(own.totals, person, amounts, own.occasion, keys),
            person.account_balance_fen,
            *paid_before(stored.visit_type, keys, amounts),
        )

    def _before(self, number: int) -> _Ground:
        """What everything made before this settlement had moved."""
        ground = _Ground(self._related)
        for each in self._documents:
            if each.settlement_no < number:
                ground.count(each, *self._results[each.settlement_no])
        return ground


def _is_proved(stored: Stored, own: inputs.Inputs, policy: PolicyBook) -> bool:
    """Whether what is stored is what the engine comes to from what is stored with it."""
    try:
        proved = settle(own.totals, own.person, own.accumulators, policy, own.occasion)
    except NoPolicyInForce:
        return False
    return (tuple(map(tuple, proved.cells)), tuple(map(tuple, proved.entries))) == stored.result()


def _is_the_same(before: tuple[Cells, Entries], after: tuple[Cells, Entries]) -> bool:
    """Whether every fen and every movement is the same; where accumulators start may differ."""
    return _amounts(before) == _amounts(after)


def _amounts(result: tuple[Cells, Entries]) -> tuple[Collection[tuple[str, str, int]], Mapping[str, int]]:
    cells, entries = result
    return sorted((segment, payer, fen) for segment, payer, fen in cells), {
        key: applied for key, _, applied in entries if applied
    }


def _rest(balance_fen: int, more_fen: int) -> int:
    return max(0, balance_fen + more_fen)
