"""Entitlement (待遇资格): who a person is to the insurance, as the centre leases it to a front-end for a while."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import NamedTuple

from domain.settlement import Person

ELDEST = 150
"""More years nobody has lived; a birth date that says so is wrong."""


class Entitlement(NamedTuple):
    """What the centre says of one person: category and standing, account and accumulators in fen, how long it holds.

    `known` is false for an identity number the centre has never heard of; everything else is then empty.
    """

    citizen_id_no: str
    known: bool
    entitled: bool = False
    scheme: str = ""
    category: str = ""
    civil_servant: bool = False
    rank: str = ""
    """Of a civil servant or retired cadre, as policy facts name it (`rank:<x>`)."""
    groups: tuple[str, ...] = ()
    """Groups of persons the policy names (assistance, full cover, ...), sorted."""
    birth: date | None = None
    account_balance_fen: int = 0
    family_balance_fen: int = 0
    """Of the family member's account this person may use."""
    accumulators: tuple[tuple[str, int], ...] = ()
    """(key, fen), those that stand at something, in the order of the key."""
    version: int = 0
    """Of the person's row: rises by one with every settlement, and with whatever else moves what is said here."""
    leased_until: datetime | None = None
    offline_limit_fen: int = 0
    """What may be spent of the own account while the link is down; 0 where nothing may (`domain.offline`)."""
    offline_until: datetime | None = None
    """Until when that holds."""

    def person_on(self, day: date) -> Person:
        """The person as the rules see them on the day."""
        return person_on(
            day,
            scheme=self.scheme,
            category=self.category,
            civil_servant=self.civil_servant,
            rank=self.rank,
            groups=self.groups,
            birth=self.birth,
            account_balance_fen=self.account_balance_fen,
            family_balance_fen=self.family_balance_fen,
        )

    def holds_at(self, at: datetime) -> bool:
        """Whether the lease is not over."""
        return self.known and self.leased_until is not None and at < self.leased_until


def person_on(
    day: date,
    *,
    scheme: str,
    category: str,
    civil_servant: bool,
    rank: str,
    groups: Iterable[str],
    birth: date | None,
    account_balance_fen: int,
    family_balance_fen: int,
) -> Person:
    """The person as the rules see them on the day; centre and front-end both come by it here."""
    return Person(
        scheme=scheme,
        category=category,
        account_balance_fen=account_balance_fen,
        civil_servant=civil_servant,
        rank=rank,
        groups=frozenset(groups),
        age=None if birth is None else age_on(birth, day),
        family_balance_fen=family_balance_fen,
    )


def age_on(birth: date, day: date) -> int | None:
    """Completed years (周岁) on the day; None before birth or beyond any life. Who is born on 29 February has a
    birthday on 1 March in other years."""
    years = day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))
    return years if 0 <= years <= ELDEST else None
