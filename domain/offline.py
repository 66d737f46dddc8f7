"""Off-line settlement (脱机消费, 1.2.2, AMB-47): the personal account pays at the counter while the link is down.

Off by default, and for institutions that settle locally only. Visit types 3 and 4, own account, no part of a fund, up
to what the centre leased, posted within a time limit. The front-end settles by the same function as the centre and the
leased standing; what is settled holds towards the patient. Posted later it is confirmed to the fen, or the difference
is explained with its repair.

A lease leases a limit. The centre keeps what it has leased to whom, so the most that can be overdrawn is known at any
time, whatever happens at the counters: `exposure`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain.entitlement import Entitlement
from domain.link import OFFLINE_TYPES
from domain.messages import ClaimAnswer, LocalResult
from domain.money import yuan
from domain.settlement import FAMILY_ACCOUNT, Settlement

LEASE = timedelta(hours=24)
"""So long after the centre was asked a standing serves for registering, estimating and settling off-line."""
MOST_LEASES = 50_000
"""Persons a front-end keeps the standing of; beyond that the oldest go."""

# ── At the counter ────────────────────────────────────────────────────────────────────────────────────────


class Terms(NamedTuple):
    """What the centre allows an institution while its link is down; fen, 0 of a limit: none is set."""

    offline: bool = False
    is_local: bool = False
    """Whether it settles locally: what the front-end does not compute it cannot settle alone (1.2.2)."""
    claim_fen: int = 0
    total_fen: int = 0
    hours: int = 0

    @property
    def may_settle(self) -> bool:
        """Whether anything may be settled off-line: switched on, with every limit."""
        return self.offline and self.is_local and self.claim_fen > 0 and self.total_fen > 0 and self.hours > 0


class Against(StrEnum):
    """Why a claim is not settled off-line; it waits for the centre, accepted."""

    OFF = "offline-off"
    WRONG_TYPE = "offline-wrong-type"
    NO_LEASE = "offline-no-lease"
    NOT_ENTITLED = "offline-not-entitled"
    FUND_PAYS = "offline-fund-pays"
    FAMILY_PAYS = "offline-family-pays"
    NOTHING_FROM_ACCOUNT = "offline-nothing-from-account"
    OVER_CLAIM_LIMIT = "offline-over-claim-limit"
    OVER_LEASE = "offline-over-lease"
    EARLIER_WAITS = "offline-earlier-waits"
    """An earlier claim of the person waits for the centre, and would be settled first."""
    SENT = "offline-sent"
    """It was sent to the centre, which may have settled it."""


def against_claim(terms: Terms, visit_type: str, held: Entitlement | None, *, at: datetime) -> Against | None:
    """What stands against settling a claim of this person off-line at all."""
    if not terms.may_settle:
        return Against.OFF
    if visit_type not in OFFLINE_TYPES:
        return Against.WRONG_TYPE
    if held is None or held.offline_until is None or at >= held.offline_until:
        return Against.NO_LEASE
    return None if held.entitled else Against.NOT_ENTITLED


def against_result(
    terms: Terms, answer: ClaimAnswer, *, total_fen: int, limit_fen: int, spent_fen: int
) -> Against | None:
    """What stands against a result: anything but the own account, or more of it than is left of the lease.

    `spent_fen` is what was settled off-line under this lease already, posted or not.
    """
    if answer.fund_pay_fen or answer.institution_share_fen:
        return Against.FUND_PAYS
    if any(payer == FAMILY_ACCOUNT for _, payer, _ in answer.cells):
        return Against.FAMILY_PAYS
    if answer.account_pay_fen <= 0:
        return Against.NOTHING_FROM_ACCOUNT
    if total_fen > terms.claim_fen:
        return Against.OVER_CLAIM_LIMIT
    return Against.OVER_LEASE if answer.account_pay_fen > limit_fen - spent_fen else None


def leased_at(held: Entitlement) -> datetime | None:
    """When the off-line limit was leased, by the centre's clock."""
    return None if held.offline_until is None else held.offline_until - LEASE


# ── Store and forward ─────────────────────────────────────────────────────────────────────────────────────


class OverLimit(NamedTuple):
    """A claim that is not taken while the link is down: which limit, what it came to with it, and the limit, in fen."""

    of_sum: bool
    came_to_fen: int
    limit_fen: int

    def words(self) -> str:
        """For the cashier."""
        what = "本机构未结算费用合计将达" if self.of_sum else "本笔费用"
        return (
            f"与中心的链路中断，{what} {yuan(self.came_to_fen)} 元，超过脱机受理限额 {yuan(self.limit_fen)} 元；"
            "未受理，链路恢复后用同一个键重发"
        )


def over_limit(terms: Terms, *, claim_fen: int, unsettled_fen: int) -> OverLimit | None:
    """The limit a claim would break while the link is down, if any; `unsettled_fen` is without it."""
    if terms.claim_fen and claim_fen > terms.claim_fen:
        return OverLimit(False, claim_fen, terms.claim_fen)
    if terms.total_fen and unsettled_fen + claim_fen > terms.total_fen:
        return OverLimit(True, unsettled_fen + claim_fen, terms.total_fen)
    return None


# ── What the centre has leased ────────────────────────────────────────────────────────────────────────────


class Grant(NamedTuple):
    """What may be spent off-line of one account at one front-end, and until when it may still be posted."""

    frontend: str
    limit_fen: int
    until: datetime


def lease_limit(balance_fen: int, others: Iterable[Grant], *, most_fen: int, at: datetime) -> int:
    """What is leased to one more front-end: of what is not leased to others, at most `most_fen`.

    So the leases of an account never add up to more than it held when the last of them was given.
    """
    return max(0, min(most_fen, balance_fen - exposure(others, at=at)))


def exposure(grants: Iterable[Grant], *, at: datetime) -> int:
    """The most an account can come to be overdrawn by what is leased of it: everything on it may be spent on line
    before any of this is posted, and each front-end may spend the largest limit it holds, once."""
    largest: dict[str, int] = {}
    for grant in grants:
        if grant.until > at:
            largest[grant.frontend] = max(grant.limit_fen, largest.get(grant.frontend, 0))
    return sum(largest.values())


# ── When the link is back ─────────────────────────────────────────────────────────────────────────────────


class TrueUp(NamedTuple):
    """How what was settled off-line differs from what the centre has: account fen of both, the words, the repair."""

    center_fen: int
    frontend_fen: int
    words: str


def is_too_late(settled_at: datetime, *, hours: int, at: datetime) -> bool:
    """Whether the time in which an off-line settlement may be posted is over."""
    return at - settled_at > timedelta(hours=hours)


def true_up(local: LocalResult, settlement: Settlement) -> TrueUp | None:
    """None where the centre came to the same, to the fen; else what differs, and what is proposed.

    The centre's result is in the books. What the patient paid in cash too much or too little is between them and the
    institution.
    """
    ours = local.fund_pay_fen, local.account_pay_fen, local.institution_share_fen
    if ours == (settlement.fund_pay_fen, settlement.account_pay_fen, settlement.institution_share_fen):
        return None
    cash = settlement.total_fen - sum(ours)
    more = settlement.cash_fen - cash
    words = (
        f"脱机结算：个人账户 {yuan(local.account_pay_fen)} 元、现金 {yuan(cash)} 元；"
        f"中心入账：统筹 {yuan(settlement.fund_pay_fen)} 元、个人账户 {yuan(settlement.account_pay_fen)} 元、"
        f"现金 {yuan(settlement.cash_fen)} 元。{_repair(more)}"
    )
    return TrueUp(settlement.account_pay_fen, local.account_pay_fen, words)


def not_posted(local: LocalResult, total_fen: int, why: str) -> TrueUp:
    """The centre posts nothing of it: the account part the institution gave is not paid to it."""
    cash = total_fen - local.account_pay_fen
    words = (
        f"脱机结算：个人账户 {yuan(local.account_pay_fen)} 元、现金 {yuan(cash)} 元；中心未入账：{why}。"
        f"{_repair(local.account_pay_fen)}"
    )
    return TrueUp(0, local.account_pay_fen, words)


def _repair(more_fen: int) -> str:
    if more_fen > 0:
        return f"处理建议：医药机构向参保人补收现金 {yuan(more_fen)} 元"
    if more_fen < 0:
        return f"处理建议：医药机构向参保人退还现金 {yuan(-more_fen)} 元"
    return "处理建议：现金不变，统筹与个人账户按中心结果记账"
