"""Orders: what front-ends are told to do about differences, sent again until they say that it is done.

An order moves no money. What moves money is a document of the centre's, which an order tells the front-end of.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from center import served
from center.reconciling import differences
from center.reconciling.tables import OPEN, ORDERED, difference, repair_order
from domain.messages import ClaimAnswer, RepairDone, RepairOrdered
from domain.reconciliation import Class
from domain.repairs import REPAIR_WORDS, Repair
from infra.codec import pack, unpack

log = logging.getLogger("center")

ORDERS_AT_ONCE = 200
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 30.0, 3600.0
LONGEST_WORDS = 500


class NoFrontend(Exception):
    """The institution has no front-end any more."""


def give(
    connection: Connection,
    found: differences.Found,
    repair: Repair,
    *,
    at: datetime,
    answer: ClaimAnswer | None = None,
    contra_of: int = 0,
) -> int:
    """Write an order to the institution's front-end; its number. It is sent with the next tick. Raises NoFrontend."""
    frontend = keeper_of(connection, found)
    ordered = RepairOrdered(
        order_no=0,
        institution_code=found.institution_code,
        repair=str(repair),
        visit_no=found.visit_no,
        charge_batch_no=found.charge_batch_no if answer is None else answer.charge_batch_no,
        words=f"{found.day} 对账：{found.words}。{REPAIR_WORDS[repair]}",
        answer=answer,
        contra_of=contra_of,
    )
    number: int = connection.execute(
        insert(repair_order)
        .values(difference_no=found.difference_no, frontend=frontend, content=pack(ordered), ordered_at=at)
        .returning(repair_order.c.order_no)
    ).scalar_one()
    return number


def frontend_of(connection: Connection, institution_code: str) -> str:
    """Whom the institution is reached through. Raises NoFrontend."""
    frontend = served.frontend_of(connection, institution_code)
    if frontend is None:
        raise NoFrontend(institution_code)
    return frontend


def keeper_of(connection: Connection, found: differences.Found) -> str:
    """In which front-end's books the difference is to be mended. Raises NoFrontend."""
    keeper = served.keeper_of(connection, found.institution_code, found.visit_no, found.charge_batch_no)
    if keeper is None:
        raise NoFrontend(found.institution_code)
    return keeper


def query_new(connection: Connection, institution_code: str, *, at: datetime) -> int:
    """Ask about each open difference that only the centre has, once, whether its front-end knows of it; how many."""
    columns = difference.c
    asked = select(repair_order.c.difference_no)
    rows = connection.execute(
        select(difference).where(
            columns.institution_code == institution_code,
            columns.kind == Class.CENTER_ONLY,
            columns.state == OPEN,
            columns.difference_no.not_in(asked),
        )
    ).all()
    for row in rows:
        give(connection, differences.Found(*row), Repair.QUERY_THEN_CONTRA, at=at)
    return len(rows)


def answered_query(connection: Connection, difference_no: int) -> tuple[bool | None, str]:
    """What the front-end said of an entry that only the centre has: True, it does not know it either; None, nothing
    yet."""
    columns = repair_order.c
    row = connection.execute(
        select(columns.done, columns.outcome)
        .where(columns.difference_no == difference_no)
        .order_by(columns.order_no)
        .limit(1)
    ).first()
    return (None, "") if row is None else (row.done, row.outcome)


def due(connection: Connection, *, now: float) -> list[tuple[str, RepairOrdered]]:
    """The orders to send now, by front-end; each waits longer after every sending."""
    columns = repair_order.c
    rows = connection.execute(
        select(columns.order_no, columns.frontend, columns.content, columns.attempts)
        .where(columns.done_at.is_(None), columns.sent_at < now)
        .order_by(columns.order_no)
        .limit(ORDERS_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        patience = min(FIRST_WAIT_SECONDS * 2 ** min(row.attempts, 10), LONGEST_WAIT_SECONDS)
        connection.execute(
            update(repair_order)
            .where(columns.order_no == row.order_no)
            .values(sent_at=now + patience, attempts=row.attempts + 1)
        )
    return [(row.frontend, replace(unpack(row.content, RepairOrdered), order_no=row.order_no)) for row in rows]


def done(connection: Connection, told: RepairDone, *, frontend: str, at: datetime) -> bool:
    """Note what a front-end made of an order, once; False for one that is not its own or noted already.

    What could not be done leaves the difference open, for a person.
    """
    columns = repair_order.c
    row = connection.execute(
        select(columns.difference_no).where(
            columns.order_no == told.order_no, columns.frontend == frontend, columns.done_at.is_(None)
        )
    ).first()
    if row is None:
        return False
    words = told.words[:LONGEST_WORDS]
    connection.execute(
        update(repair_order).where(columns.order_no == told.order_no).values(done_at=at, done=told.done, outcome=words)
    )
    found = differences.find(connection, row.difference_no, lock=True)
    if found is not None and found.is_open:
        state = found.state if told.done or found.state != ORDERED else OPEN
        differences.settle(connection, found.difference_no, state, at=at, outcome=words)
    log.info("repair_done", extra={"order": told.order_no, "done": told.done})
    return True
