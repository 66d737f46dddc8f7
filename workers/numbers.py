"""Visit numbers (就医登记号 JYDJH): the institution's short code, the day, four base-36 digits in order of issue.

They are unique without asking anybody: a front-end counts by itself, and where several front-ends serve one institution
each has its own part of the numbers. There the count follows the clock, so that numbers still sort in order of issue.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text, union_all, update

from workers.tables import claim, visit, visit_counter

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VISITS_PER_DAY = len(ALPHABET) ** 4
SECONDS_PER_DAY = 86_400

_LAST_NUMBER = (
    select(visit_counter.c.last)
    .where(visit_counter.c.institution_code == bindparam("code"), visit_counter.c.day == bindparam("on"))
    .with_for_update()
)
_KEEP_NUMBER = (
    update(visit_counter)
    .where(visit_counter.c.institution_code == bindparam("code"), visit_counter.c.day == bindparam("on"))
    .values(last=bindparam("number"))
)
_TAKEN_BETWEEN = union_all(
    *(
        select(table.c.visit_no).where(table.c.visit_no > bindparam("after"), table.c.visit_no <= bindparam("until"))
        for table in (claim, visit)
    )
)


class VisitNumbersUsedUp(Exception):
    """An institution registered more visits in a day than its numbers hold."""


def visit_number(short_code: str, day: date, sequence: int) -> str:
    """The visit number of this sequence. Raises VisitNumbersUsedUp."""
    if sequence >= VISITS_PER_DAY:
        raise VisitNumbersUsedUp(short_code)
    digits = ""
    for _ in range(4):
        sequence, digit = divmod(sequence, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return f"{short_code}{day:%y%m%d}{digits}"


def next_sequence(last: int, *, at: datetime, frontends: int, part: int) -> int:
    """The sequence after `last` that is this front-end's: one more, or the next of its part, not before its time.

    With one front-end the count is dense. With several, the day's numbers are spread over the day, and of each round of
    numbers a front-end takes the one that is its part.
    """
    if frontends == 1:
        return last + 1
    seconds = (at.hour * 60 + at.minute) * 60 + at.second
    of_the_clock = VISITS_PER_DAY * seconds // SECONDS_PER_DAY
    least = max(last + 1, of_the_clock)
    return least + (part - least) % frontends


def wait_for_turn(connection: Connection) -> None:
    """One door at a time looks keys up, takes numbers and writes; on SQLite the transaction itself is the turn."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7370)"))


class Numbers:
    """Issues visit numbers in one transaction; `keep` writes how far it came."""

    def __init__(self, connection: Connection, at: datetime) -> None:
        self._connection, self._at = connection, at
        self._last: dict[str, int] = {}
        self._taken_ahead: dict[str, set[str]] = {}

    def issue(self, served: Any, taken: Any = ()) -> str:
        """The next number of an institution (its row: code, short_code, frontends, frontend_part) not in use yet.

        `taken` holds the numbers this transaction uses that are not written yet. Raises VisitNumbersUsedUp.
        """
        code, day = served.institution_code, self._at.date()
        if code not in self._last:
            self._begin(code, served.short_code, day)
        number = ""
        while not number or number in taken or number in self._taken_ahead[code]:
            self._last[code] = next_sequence(
                self._last[code], at=self._at, frontends=served.frontends, part=served.frontend_part
            )
            number = visit_number(served.short_code, day, self._last[code])
        return number

    def keep(self) -> None:
        """Write the last number of each institution."""
        for code, last in self._last.items():
            self._connection.execute(_KEEP_NUMBER, {"code": code, "on": self._at.date(), "number": last})

    def _begin(self, code: str, short_code: str, day: date) -> None:
        last = self._connection.execute(_LAST_NUMBER, {"code": code, "on": day}).scalar()
        if last is None:
            self._connection.execute(insert(visit_counter).values(institution_code=code, day=day, last=0))
        self._last[code] = last or 0
        after = visit_number(short_code, day, last or 0)
        until = after[:-4] + ALPHABET[-1] * 4
        taken = self._connection.execute(_TAKEN_BETWEEN, {"after": after, "until": until})
        self._taken_ahead[code] = set(taken.scalars())
