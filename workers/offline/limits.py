"""How much an institution may hand in while the link is down (R43): per claim, and in sum of what is not settled."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from domain.link import LinkState
from domain.offline import OverLimit, Terms, over_limit
from domain.ways import Way
from workers.tables import IS_OPEN, claim, institution, link

LINK = (
    select(link.c.state).where(link.c.only == 1).scalar_subquery().label("link_state"),
    select(link.c.fresh_until).where(link.c.only == 1).scalar_subquery().label("link_fresh_until"),
)
"""What `limits_now` reads beside an institution: no query of its own for claims that come while the link is up."""


def terms_of(connection: Connection, codes: Collection[str]) -> dict[str, Terms]:
    """What the centre allows these institutions while the link is down."""
    columns = institution.c
    rows = connection.execute(
        select(
            columns.institution_code,
            columns.offline,
            columns.way,
            columns.offline_claim_fen,
            columns.offline_total_fen,
            columns.offline_hours,
        ).where(columns.institution_code.in_(sorted(codes)))
    )
    return {
        row.institution_code: Terms(
            row.offline, row.way == Way.LOCAL, row.offline_claim_fen, row.offline_total_fen, row.offline_hours
        )
        for row in rows
    }


def unsettled_fen(connection: Connection, institution_code: str) -> int:
    """What the institution has handed in and nobody has settled yet, or posted."""
    found = connection.execute(
        select(func.coalesce(func.sum(claim.c.total_fen), 0)).where(
            IS_OPEN, claim.c.institution_code == institution_code
        )
    )
    return int(found.scalar_one())


@dataclass(slots=True)
class Limits:
    """The limits of one transaction that accepts claims; None of them while the link is not down."""

    terms: dict[str, Terms]
    unsettled: dict[str, int] = field(default_factory=dict)

    def against(self, institution_code: str, claim_fen: int) -> OverLimit | None:
        """The limit this claim would break."""
        terms = self.terms.get(institution_code)
        if terms is None:
            return None
        return over_limit(terms, claim_fen=claim_fen, unsettled_fen=self.unsettled.get(institution_code, 0))

    def took(self, institution_code: str, claim_fen: int) -> None:
        """The claim was taken."""
        if institution_code in self.unsettled:
            self.unsettled[institution_code] += claim_fen


def limits_now(connection: Connection, served: Mapping[str, Any], *, at: datetime) -> Limits:
    """What limits the claims of these institutions at this moment; their rows hold `LINK`."""
    if not any(_is_down(row, at) for row in served.values()):
        return Limits({})
    return Limits(terms_of(connection, served), {code: unsettled_fen(connection, code) for code in served})


def _is_down(row: Any, at: datetime) -> bool:
    """As `workers.link.standing` has it."""
    return row.link_state == LinkState.DOWN or (row.link_fresh_until is not None and at > row.link_fresh_until)
