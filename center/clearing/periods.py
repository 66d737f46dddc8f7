"""Periods (清算期): their rows, and the steps of their state. Each step is compared and set: of two, one is done."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, case, select, text, update

from center.clearing.tables import clearing, clearing_period
from center.conservation.findings import EVERY
from center.conservation.tables import frozen_flow
from center.ledger import audit, chain
from center.reconciling.cases import Case, Kind, open_cases
from center.settling.records import cursor_of
from center.tables import difference_case
from domain.clearing import EDGES, STATE_WORDS, Flow, PeriodState


class PeriodRow(NamedTuple):
    """A row of `clearing_period`, its columns in their order."""

    period_no: int
    institution_code: str
    scheme: str
    clearing_type: str
    name: str
    first_day: date
    last_day: date
    closes_on: date
    state: str
    clearing_no: int | None
    closed_at: datetime | None
    objection: str
    objected_at: datetime | None
    confirmed_at: datetime | None
    confirmed_by: str | None
    payment_no: int | None
    paid_at: datetime | None

    @property
    def flow(self) -> Flow:
        """Whose it is."""
        return Flow(self.institution_code, self.scheme, self.clearing_type)


class CannotStep(Exception):
    """The period cannot take this step from where it stands; nothing was changed. The message is for the clerk."""


def find(connection: Connection, period_no: int) -> PeriodRow:
    """The period under this number. Raises CannotStep."""
    row = connection.execute(select(clearing_period).where(clearing_period.c.period_no == period_no)).first()
    if row is None:
        raise CannotStep(f"没有清算期 {period_no}")
    return PeriodRow._make(row)


def locked(connection: Connection, period_no: int) -> PeriodRow:
    """The period, with the institution's chain locked first: nothing of it is settled, closed or paid meanwhile."""
    lock(connection, find(connection, period_no).institution_code)
    return find(connection, period_no)


def lock(connection: Connection, institution_code: str) -> int:
    """Lock the head of the institution's chain, as everything that writes of it does; the newest link's number."""
    heads = chain.lock_heads(cursor_of(connection), [institution_code])
    return heads[institution_code].link_no


def listed(
    connection: Connection, *, institution_code: str = "", state: str = "", name: str = "", most: int = 500
) -> list[tuple[PeriodRow, int | None]]:
    """Periods with what is due of each where it is closed, newest first."""
    wanted: Select[Any] = (
        select(clearing_period, clearing.c.due_fen)
        .outerjoin(clearing, clearing.c.clearing_no == clearing_period.c.clearing_no)
        .order_by(
            clearing_period.c.last_day.desc(),
            clearing_period.c.institution_code,
            clearing_period.c.scheme,
            clearing_period.c.clearing_type,
        )
        .limit(most)
    )
    given = {"institution_code": institution_code, "state": state, "name": name}
    for column, value in given.items():
        if value:
            wanted = wanted.where(clearing_period.c[column] == value)
    return [(PeriodRow._make(row[:-1]), row[-1]) for row in connection.execute(wanted)]


def step(connection: Connection, period: PeriodRow, to: PeriodState, **values: Any) -> None:
    """Take the period from where the caller has read it to another state. Raises CannotStep, also for the loser."""
    if to not in EDGES[PeriodState(period.state)]:
        raise CannotStep(f"清算期 {period.period_no} {STATE_WORDS[PeriodState(period.state)]}，不能{_DOING[to]}")
    taken = connection.execute(
        update(clearing_period)
        .where(
            clearing_period.c.period_no == period.period_no,
            clearing_period.c.state == period.state,
            clearing_period.c.clearing_no.is_not_distinct_from(period.clearing_no),
        )
        .values(state=str(to), **values)
    )
    if taken.rowcount != 1:
        raise CannotStep(f"清算期 {period.period_no} 已由他人办理，现为{_state_now(connection, period.period_no)}")


_DOING = {
    PeriodState.OPEN: "冲回",
    PeriodState.CLOSED: "关账",
    PeriodState.CONFIRMED: "确认",
    PeriodState.PAID: "拨付",
}


def _state_now(connection: Connection, period_no: int) -> str:
    return STATE_WORDS[PeriodState(find(connection, period_no).state)]


def require_not_frozen(connection: Connection, flow: Flow) -> None:
    """Raise CannotStep while the flow is frozen because its books are broken: it is neither closed nor paid."""
    columns = frozen_flow.c
    found = connection.execute(
        select(columns.freeze_no, columns.why)
        .where(
            columns.released_at.is_(None),
            columns.person_no.is_(None),
            *[columns[name].in_([EVERY, value]) for name, value in flow._asdict().items()],
        )
        .order_by(columns.freeze_no)
        .limit(1)
    ).first()
    if found is not None:
        raise CannotStep(f"账目有误已冻结（{found.freeze_no}：{found.why}），解冻后再办理")


def confirm(connection: Connection, period_no: int, *, by: str, reason: str, at: datetime) -> PeriodRow:
    """The institution agrees with the clearing (确认无异议). Raises CannotStep."""
    period = locked(connection, period_no)
    step(connection, period, PeriodState.CONFIRMED, confirmed_at=at, confirmed_by=by)
    close_objection(connection, period_no, at=at)
    _note(connection, period, "clearing.confirm", by=by, reason=reason, at=at)
    return find(connection, period_no)


def objected(connection: Connection, period_no: int, *, by: str, reason: str, at: datetime) -> PeriodRow:
    """The institution does not agree: it stays closed, is not confirmed by time alone, and a difference case is open
    until somebody confirms it or takes the clearing back. Raises CannotStep."""
    period = locked(connection, period_no)
    if period.state != PeriodState.CLOSED:
        raise CannotStep(f"清算期 {period_no} {STATE_WORDS[PeriodState(period.state)]}，不能提出异议")
    if not reason.strip():
        raise CannotStep("异议要写明理由：--reason")
    connection.execute(
        update(clearing_period)
        .where(clearing_period.c.period_no == period_no, clearing_period.c.state == str(PeriodState.CLOSED))
        .values(objection=reason.strip(), objected_at=at)
    )
    due_fen = connection.execute(
        select(clearing.c.due_fen).where(clearing.c.clearing_no == period.clearing_no)
    ).scalar_one()
    words = f"机构对 {period.name} 清算 {period.clearing_no} 有异议：{reason.strip()}"
    case_of = Case(Kind.CLEARING_OBJECTION, period.institution_code, str(period_no), 0, due_fen, 0, words)
    open_cases(connection, [case_of], at)
    _note(connection, period, "clearing.object", by=by, reason=reason, at=at)
    return find(connection, period_no)


def close_objection(connection: Connection, period_no: int, *, at: datetime) -> None:
    """Close the case of an objection, if there is one."""
    columns = difference_case.c
    connection.execute(
        update(difference_case)
        .where(
            columns.kind == str(Kind.CLEARING_OBJECTION),
            columns.visit_no == str(period_no),
            columns.closed_at.is_(None),
        )
        .values(closed_at=at)
    )


def _note(connection: Connection, period: PeriodRow, action: str, *, by: str, reason: str, at: datetime) -> None:
    audit.note(
        connection,
        by=by,
        action=action,
        subject=str(period.period_no),
        reason=reason,
        institution_code=period.institution_code,
        at=at,
        details={"period": period.name, "clearing_no": period.clearing_no or 0},
    )


class Counted(NamedTuple):
    """How many periods are in a state, and how many of those are late."""

    state: str
    periods: int
    late: int


def counted(connection: Connection, today: date) -> list[Counted]:
    """Periods by state; an open one is late when its closing day has passed and it could not be closed."""
    columns = clearing_period.c
    late = case((columns.state == str(PeriodState.OPEN), columns.closes_on < today), else_=False)
    rows = connection.execute(
        select(columns.state, late.label("late"), text("count(*)")).group_by(columns.state, text("late"))
    ).all()
    found = {state: [0, 0] for state in PeriodState}
    for state, is_late, count in rows:
        found[PeriodState(state)][0] += count
        found[PeriodState(state)][1] += count if is_late else 0
    return [Counted(str(state), *counts) for state, counts in found.items()]
