"""Local settlement (本地结算): the front-end computes the benefit itself, and the centre confirms.

The same function as at the centre, the published policy, and what the centre leased of the person. The result is
provisional until the centre's answer: it goes out with the totals, and where something had moved meanwhile the centre
settles anew and says what is different. A claim for which nothing is leased is settled by the centre, as everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from domain.benefit import accumulator_keys, settle
from domain.entitlement import Entitlement
from domain.messages import ClaimAnswer, ClaimTotals, LocalResult
from domain.occasion import occasion_of
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce
from domain.settlement import FAMILY_ACCOUNT, Person, Settlement
from infra.codec import pack
from workers.entitlement import CENTRAL, move
from workers.tables import institution

log = logging.getLogger("desk")

_WAY = select(institution.c.level, institution.c.way, institution.c.settle_lanes).where(
    institution.c.institution_code == bindparam("code")
)


class Place(NamedTuple):
    """What an institution's claims depend on besides themselves: its level, who computes their benefit, and over how
    many settle lanes they are spread."""

    level: int
    way: str
    settle_lanes: int = 1


def place_of(connection: Connection, institution_code: str) -> Place:
    """The institution's level and way; that of the lowest level, settled by the centre, for one that is not ours."""
    row = connection.execute(_WAY, {"code": institution_code}).first()
    return Place(0, CENTRAL) if row is None else Place(row.level, row.way, row.settle_lanes)


@dataclass(slots=True)
class LocalCounter:
    """The counter one turn of the desk stands at: the leased persons, and where each claim leaves them."""

    policy: PolicyBook
    level: int
    at: datetime
    leased: Mapping[str, Entitlement]
    """By identity number, as the centre said, our own settlements since counted in."""
    now: dict[str, Entitlement] = field(init=False, default_factory=dict)
    """Those that were settled for, as they stand after it."""

    def settle(self, claim: ClaimTotals) -> tuple[ClaimTotals, ClaimAnswer] | None:
        """The claim with our result, and the provisional answer; None where the centre has to settle it."""
        held = self.now.get(claim.citizen_id_no) or self.leased.get(claim.citizen_id_no)
        if held is None or not held.entitled:
            return None
        try:
            occasion = occasion_of(
                claim, self.policy, held.scheme, institution_level=self.level, settled_on=self.at.date()
            )
            person, amounts = held.person_on(occasion.day), dict(held.accumulators)
            settlement = settle(claim.local_totals(), person, amounts, self.policy, occasion)
            keys = accumulator_keys(person, occasion, self.policy)
        except NoPolicyInForce as why:
            log.info("left_to_the_centre", extra={"visit_no": claim.visit_no, "why": type(why).__name__})
            return None
        read = tuple((key, amounts[key]) for key in keys if amounts.get(key))
        self.now[claim.citizen_id_no] = moved(held, settlement)
        return (
            claim._replace(local=_result(settlement, held.version, person, read, self.at)),
            _provisional(claim, settlement, person, self.at),
        )

    def moves(self, citizens: Sequence[str]) -> dict[str, tuple[int, Entitlement]]:
        """What to count into the leased rows of these persons: the version it starts from, and what stands after."""
        return {number: (self.leased[number].version, self.now[number]) for number in citizens if number in self.now}


def moved(held: Entitlement, settlement: Settlement | ClaimAnswer) -> Entitlement:
    """The entitlement as the centre will have it after it settled the same."""
    amounts = dict(held.accumulators)
    for key, before, applied in settlement.entries:
        amounts[key] = before + applied
    family_pay = sum(amount for _, payer, amount in settlement.cells if payer == FAMILY_ACCOUNT)
    return held._replace(
        account_balance_fen=held.account_balance_fen - (settlement.account_pay_fen - family_pay),
        family_balance_fen=held.family_balance_fen - family_pay,
        accumulators=tuple(sorted((key, amount) for key, amount in amounts.items() if amount)),
        version=held.version + (2 if family_pay else 1),
    )


def _result(
    settlement: Settlement, version: int, person: Person, read: tuple[tuple[str, int], ...], at: datetime
) -> LocalResult:
    return LocalResult(
        snapshot_version=version,
        settled_at=at,
        fund_pay_fen=settlement.fund_pay_fen,
        account_pay_fen=settlement.account_pay_fen,
        deductible_fen=settlement.deductible_fen,
        self_pay_fen=settlement.self_pay_fen,
        over_cap_fen=settlement.over_cap_fen,
        institution_share_fen=settlement.institution_share_fen,
        account_before_fen=person.account_balance_fen,
        family_before_fen=person.family_balance_fen,
        accumulators=read,
    )


def _provisional(claim: ClaimTotals, settlement: Settlement, person: Person, at: datetime) -> ClaimAnswer:
    return ClaimAnswer(
        visit_no=claim.visit_no,
        charge_batch_no=claim.charge_batch_no,
        fund_pay_fen=settlement.fund_pay_fen,
        account_pay_fen=settlement.account_pay_fen,
        deductible_fen=settlement.deductible_fen,
        self_pay_fen=settlement.self_pay_fen,
        over_cap_fen=settlement.over_cap_fen,
        institution_share_fen=settlement.institution_share_fen,
        account_before_fen=person.account_balance_fen,
        settled_at=at,
        cells=settlement.cells,
        entries=settlement.entries,
        scheme=settlement.scheme,
        category=settlement.category,
    )


# ── At the desk ───────────────────────────────────────────────────────────────────────────────────────────

Row = dict[str, Any]
"""A totalled claim on its way into the outbox: `checked` its totals, `totals_` and `local` as they are stored,
`is_prepare` whether it is to be prepared at the centre, `waits` whether it is not sent now. One that was settled
off-line has its result already."""


def settled(counter: LocalCounter, rows: Sequence[Row]) -> list[Row]:
    """The claims with our own results; those to be prepared, or that the centre has to settle, as they were."""
    results = [
        None if row["is_prepare"] or row["waits"] or row["local"] is not None else counter.settle(row["checked"])
        for row in rows
    ]
    return [
        row if result is None else row | {"checked": result[0], "totals_": pack(result[0]), "local": pack(result[1])}
        for row, result in zip(rows, results, strict=True)
    ]


def counted_in(connection: Connection, counter: LocalCounter, rows: Sequence[Row], ours: Sequence[Row]) -> list[Row]:
    """Count our results into the leased rows, and return the claims that are still `ours` to move.

    Where a person's row has moved meanwhile, or another desk took one of their claims, nothing we computed for them
    holds: their claims go to the centre without a result.
    """
    ids = {row["id"] for row in ours}
    lost = {row["checked"].citizen_id_no for row in rows if row["id"] not in ids}
    held = move(connection, counter.moves([number for number in counter.now if number not in lost]))
    return [row if row["checked"].citizen_id_no in held else _central(row) for row in ours]


def _central(row: Row) -> Row:
    local = row["checked"].local
    if local is None or local.offline:
        return row
    bare = row["checked"]._replace(local=None)
    return row | {"checked": bare, "totals_": pack(bare), "local": None}
