"""How the link to the centre stands, as the API says it to one institution, with what waits of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Connection
from typing_extensions import TypedDict

from domain.money import yuan
from domain.offline import Terms
from producers.api.wire import moment
from producers.values import Amount
from workers.link import Standing, standing
from workers.offline.limits import terms_of
from workers.offline.queue import Waiting, waiting


class ClockOut(TypedDict):
    """Our clock against the centre's, by the last round trip."""

    ahead_seconds: Annotated[int, Field(description="how far the centre's clock is ahead of ours")]
    uncertain_seconds: int
    agrees: Annotated[bool, Field(description="false: apart by more than five minutes for certain")]


class OfflineOut(TypedDict):
    """What the institution may do while the link is down, and what waits of its own."""

    settles: Annotated[bool, Field(description="whether it may settle off-line (脱机结算)")]
    claim_limit: Annotated[Amount | None, Field(description="most of one claim; null: no limit is set")]
    total_limit: Annotated[Amount | None, Field(description="most that may be unsettled in all; null: no limit")]
    unsettled_claims: Annotated[int, Field(description="accepted, not settled or not posted")]
    unsettled_amount: Amount
    offline_claims: Annotated[int, Field(description="of them: settled off-line, not posted yet")]
    offline_account_amount: Annotated[Amount, Field(description="what accounts paid of these")]


class LinkOut(TypedDict):
    """The link to the centre, known from what the centre answers."""

    state: Annotated[Literal["up", "unsure", "down"], Field(description="down: claims are accepted, not settled")]
    since: str | None
    heard_at: Annotated[str | None, Field(description="the last answer of the centre")]
    detail: Annotated[str, Field(description="the same in words, with what is to be done")]
    clock: ClockOut | None
    offline: OfflineOut


def link_seen(connection: Connection, institution_code: str, *, at: datetime) -> LinkOut:
    """The link as it stands now, with what waits of this institution."""
    link = standing(connection, at=at)
    terms = terms_of(connection, [institution_code]).get(institution_code, Terms())
    nothing = Waiting(institution_code, 0, 0, 0, 0)
    own = next((each for each in waiting(connection) if each.institution_code == institution_code), nothing)
    return {
        "state": link.state.value,
        "since": None if link.since is None else moment(link.since),
        "heard_at": None if link.heard_at is None else moment(link.heard_at),
        "detail": link.words(),
        "clock": _clock(link),
        "offline": {
            "settles": terms.may_settle,
            "claim_limit": yuan(terms.claim_fen) if terms.claim_fen else None,
            "total_limit": yuan(terms.total_fen) if terms.total_fen else None,
            "unsettled_claims": own.claims,
            "unsettled_amount": yuan(own.total_fen),
            "offline_claims": own.offline_claims,
            "offline_account_amount": yuan(own.offline_fen),
        },
    }


def _clock(link: Standing) -> ClockOut | None:
    if link.skew is None:
        return None
    return {
        "ahead_seconds": round(link.skew.ahead.total_seconds()),
        "uncertain_seconds": round(link.skew.uncertain.total_seconds()),
        "agrees": link.clock_agrees,
    }
