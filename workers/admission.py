"""Who comes in, and how fast: the doors of an institution, and the bucket that stands before them (R37).

Everything here happens within the transaction that accepts, so a key is not used up by being refused, and any number
of processes keep one and the same count. A repeat of what was accepted is answered before anybody asks here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from domain.admission import Rate, full_after, retry_after
from domain.refusals import VisitRefusal, reason
from domain.terms import STANDING_WORDS, Standing
from workers.tables import admission, institution

BURST_SECONDS = 10
"""The burst of an institution whose terms name none, in seconds of its rate."""

DOORS = (institution.c.suspended, institution.c.standing, institution.c.moved_to)
"""What `closed_because` reads of an institution."""
GATE = (*DOORS, institution.c.rate_per_second, institution.c.burst, admission.c.full_at)
"""What `Gates` reads: select it from `SERVED`."""
SERVED = institution.outerjoin(admission, admission.c.institution_code == institution.c.institution_code)

_IS_OPEN = select(*DOORS).where(institution.c.institution_code == bindparam("code"), institution.c.active)
_KEEP = update(admission).where(admission.c.institution_code == bindparam("code")).values(full_at=bindparam("moment"))
_BEGIN = insert(admission).values(institution_code=bindparam("code"), full_at=bindparam("moment"))


@dataclass(frozen=True, slots=True)
class TooFast:
    """The institution hands in faster than its terms allow; nothing was stored and the key is not used up."""

    seconds: float
    """When the same request is taken, if nobody else comes before it."""


@dataclass(frozen=True, slots=True)
class DoorsClosed:
    """The institution may hand in nothing new at present; what it handed in before is seen through."""

    why: str
    """In Chinese, for who stands before it."""


def closed_because(served: Any) -> str:
    """Why this institution's doors are closed here (its row with `DOORS`); empty while they are open."""
    if served.suspended:
        return f"本机构的受理已暂停：{served.suspended}"
    if served.standing in (Standing.MOVING_OUT, Standing.MOVED) and served.moved_to:
        return reason(VisitRefusal.MOVED, served.moved_to).words
    return "" if served.standing == Standing.OPEN else STANDING_WORDS[Standing(served.standing)]


def why_closed(connection: Connection, institution_code: str) -> str:
    """The same by code, for a door that looks before it reads; empty also for an institution that is not served."""
    row = connection.execute(_IS_OPEN, {"code": institution_code}).first()
    return "" if row is None else closed_because(row)


class Gates:
    """The gates of one transaction: whoever is let in is counted, and `keep` writes the counts."""

    def __init__(self, served: Mapping[str, Any], *, now: float) -> None:
        """`served`: institutions by code, with `GATE`. Moments are seconds of the clock that counts the rates."""
        self._now = now
        self._known = {code: row.full_at for code, row in served.items() if row.full_at is not None}
        self._closed = {code: why for code, row in served.items() if (why := closed_because(row))}
        self._rates = {code: rate for code, row in served.items() if (rate := rate_of(row)) is not None}
        self._full_at: dict[str, float] = {}

    def refusal(self, institution_code: str) -> DoorsClosed | TooFast | None:
        """What keeps the institution's next claim out now."""
        why = self._closed.get(institution_code)
        if why:
            return DoorsClosed(why)
        rate = self._rates.get(institution_code)
        if rate is None:
            return None
        seconds = retry_after(rate, self._held(institution_code), now=self._now)
        return TooFast(seconds) if seconds > 0 else None

    def let_in(self, institution_code: str) -> None:
        """Count a claim that came in."""
        rate = self._rates.get(institution_code)
        if rate is not None:
            self._full_at[institution_code] = full_after(rate, self._held(institution_code), now=self._now)

    def keep(self, connection: Connection) -> None:
        """Write how full the buckets are."""
        for code, moment in self._full_at.items():
            connection.execute(_KEEP if code in self._known else _BEGIN, {"code": code, "moment": moment})

    def _held(self, code: str) -> float:
        return self._full_at.get(code) or self._known.get(code, 0.0)


def rate_of(served: Any) -> Rate | None:
    """The rate of an institution's terms; None where they set no limit."""
    if served.rate_per_second <= 0:
        return None
    return Rate(served.rate_per_second, served.burst or BURST_SECONDS * served.rate_per_second)
