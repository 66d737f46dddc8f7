"""What tests of a move between real processes look at, on both sides and at the centre."""

from __future__ import annotations

from sqlalchemy import select, text

from center.serving.tables import move
from domain.messages import BooksAsked
from tests.support.frontend import NOON
from workers import books
from workers.tables import claim

QUICK = {
    "JIESUAN_REFERENCE_EVERY_SECONDS": "0.5",
    "JIESUAN_SERVING_TICK_SECONDS": "1",
    "JIESUAN_WINDOW_TICK_SECONDS": "1",
    "JIESUAN_BOOKS_CHECK_SECONDS": "60",
    "JIESUAN_BOOKS_TICK_SECONDS": "60",
    "JIESUAN_SWEEP_AFTER_SECONDS": "4",
}
"""Terms, moves and the sweep come round within a second or two; the books are not what is looked at."""


def state(center):
    """The state of the move there is; None where there is none."""
    with center.connect() as connection:
        return connection.execute(select(move.c.state)).scalar()


def heard(center):
    """Which front-ends told the centre their terms."""
    with center.connect() as connection:
        return set(connection.execute(text("SELECT frontend FROM terms_report")).scalars())


def settled(engine):
    """The visits settled at a front-end itself, not those another handed over."""
    with engine.connect() as connection:
        rows = connection.execute(select(claim.c.visit_no).where(claim.c.state == "settled", claim.c.origin == ""))
        return set(rows.scalars())


def book_of(place):
    """The totals of the day in a front-end's own books."""
    with place.engine.connect() as connection:
        return books.report(connection, BooksAsked(day=NOON.date())).totals
