"""Whose settlements a refund may change: the person's, and those of relatives who share an account with them.

What a refund pays back into an account, a relative's later settlement would have paid out of it. Relatives are those
whose account one may use now, those who may use one's own, and whose accounts one's settlements were paid from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

_RELATED = """
SELECT p.person_no, f.person_no FROM person p JOIN person f ON f.citizen_id_no = p.family_citizen_id_no
WHERE p.person_no = ANY(%(persons)s)
UNION SELECT p.person_no, f.person_no FROM person f JOIN person p ON p.family_citizen_id_no = f.citizen_id_no
WHERE f.person_no = ANY(%(persons)s)
"""
_PAID_FROM = """
SELECT s.settlement_no, s.person_no, substr(p.account, 9)::bigint FROM settlement s
JOIN posting p ON p.document_no = s.settlement_no AND p.account LIKE 'account:%%'
    AND p.account <> 'account:' || s.person_no
WHERE s.settlement_no IN (SELECT settlement_no FROM accumulator_entry WHERE person_no = ANY(%(persons)s))
    AND s.person_no = ANY(%(persons)s)
"""


@dataclass(frozen=True, slots=True)
class Household:
    """Persons whose settlements may depend on each other."""

    persons: frozenset[int]
    may_use: Mapping[int, int]
    """Person to the relative whose account they may use now."""
    paid_from: Mapping[int, int]
    """Settlement to the relative whose account paid of it."""

    def family_of(self, settlement_no: int, person_no: int) -> int | None:
        """Whose account, besides the person's own, a settlement of theirs is paid from."""
        return self.paid_from.get(settlement_no, self.may_use.get(person_no))


def of(connection: Connection, person_no: int) -> Household:
    """The household of a person, with the relatives of relatives."""
    persons, looked_at = {person_no}, set[int]()
    may_use: dict[int, int] = {}
    paid_from: dict[int, int] = {}
    while persons - looked_at:
        asked = {"persons": sorted(persons - looked_at)}
        looked_at |= persons
        for user, owner in connection.exec_driver_sql(_RELATED, asked):
            may_use[user] = owner
            persons |= {user, owner}
        for settlement_no, user, owner in connection.exec_driver_sql(_PAID_FROM, asked):
            paid_from[settlement_no] = owner
            persons |= {user, owner}
    return Household(frozenset(persons), may_use, paid_from)
