"""A prepared settlement as it is kept until it is confirmed: all that was decided, so that nothing is decided again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg

from center.settling.counter import Settling
from center.settling.records import Content, InsuredPerson, Standing
from domain.ledger import family_pay_of
from domain.messages import ClaimSplit, ClaimTotals
from domain.settlement import Settlement
from infra.codec import pack, unpack


class Prepared(NamedTuple):
    """What the counter decided (`center.settling.counter.Settling`), and by which versions.

    A new field goes last and has a default.
    """

    policy_version: str
    catalogue_version: str
    claim: ClaimTotals
    content: Content
    insured: InsuredPerson
    institution_level: int
    clearing_type: str
    settlement: Settlement
    postings: tuple[tuple[str, int], ...]
    inputs: bytes
    account_before_fen: int
    fund_before_fen: int
    deductible_before_fen: int
    split: ClaimSplit | None = None
    lines: bytes = b""

    def settling(self) -> Settling:
        """The decision as it was, to be recorded."""
        decided = {name: getattr(self, name) for name in _DECIDED}
        return Settling(**decided, recomputed="")


_DECIDED = Prepared._fields[2:]


def packed(settling: Settling, *, policy_version: str, catalogue_version: str) -> bytes:
    """The decision as bytes for `outcome.prepared`."""
    decided = {name: getattr(settling, name) for name in _DECIDED}
    decided["postings"] = tuple((account, amount_fen) for account, amount_fen in settling.postings)
    return pack(Prepared(policy_version, catalogue_version, **decided))


def unpacked(stored: bytes) -> Prepared:
    """What `packed` wrote."""
    return unpack(stored, Prepared)


class Confirming:
    """One prepared settlement on its way into the books, as `center.settling.settle.record` takes a counter."""

    def __init__(self, prepared: Prepared, persons: Mapping[int, InsuredPerson], *, frontend: str) -> None:
        """`persons` are those it holds, locked, as they are now."""
        self.frontend = frontend
        self.policy_version, self.catalogue_version = prepared.policy_version, prepared.catalogue_version
        self._prepared, self._persons = prepared, persons
        self.settled = [prepared.settling()]

    def is_as_prepared(self, cursor: psycopg.Cursor[Any]) -> bool:
        """Whether the accumulators still stand where it starts from, and the accounts can bear it."""
        cursor.execute(
            "SELECT key, amount_fen FROM accumulator WHERE person_no = %s", [self._prepared.insured.person_no]
        )
        amounts = dict(cursor.fetchall())
        started = all(amounts.get(key, 0) == before for key, before, _ in self._prepared.settlement.entries)
        return started and all(standing.account_balance_fen >= 0 for standing in self.standings_now().values())

    def accumulators_now(self) -> dict[tuple[int, str], int]:
        """Where it leaves the accumulators it moves."""
        person_no = self._prepared.insured.person_no
        return {(person_no, key): before + applied for key, before, applied in self._prepared.settlement.entries}

    def standings_now(self) -> dict[int, Standing]:
        """Where it leaves the persons it moves."""
        insured, settlement = self._prepared.insured, self._prepared.settlement
        family_pay = family_pay_of(settlement)
        pays = {insured.person_no: settlement.account_pay_fen - family_pay}
        if family_pay:
            family = next(each for each in self._persons.values() if each.person_no != insured.person_no)
            pays[family.person_no] = family_pay
        return {
            number: Standing(self._persons[number].account_balance_fen - pay, self._persons[number].version + 1)
            for number, pay in pays.items()
        }
