"""The clearing calendar (清算日历) as the office sets it: when periods end and close, and the city's own days."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, insert, select

from center.clearing.tables import clearing_rule, workday_exception
from center.ledger import audit
from domain.clearing import CalendarRule, Period, periods
from domain.workdays import workday_after


class CannotSet(Exception):
    """The rule or the day cannot be set; the message is for the clerk."""


class Due(NamedTuple):
    """A period of the calendar and the day it closes on."""

    period: Period
    closes_on: date


class Calendar:
    """The calendar as it is set now."""

    def __init__(self, rules: list[CalendarRule], exceptions: dict[date, bool]) -> None:
        self.rules, self.exceptions = rules, exceptions

    def until(self, day: date) -> list[Due]:
        """Every period from the first rule on to the one that holds the day, without a gap."""
        return [
            Due(period, workday_after(period.last_day, period.rule.closing_workdays, self.exceptions))
            for period in periods(self.rules, day)
        ]

    def confirmed_from(self, period_first_day: date, closed_on: date) -> date | None:
        """The first day a period closed on that day counts as confirmed without a word; None: it never does."""
        rule = next((rule for rule in reversed(self.rules) if rule.since <= period_first_day), None)
        if rule is None or rule.objection_workdays is None:
            return None
        return workday_after(closed_on, rule.objection_workdays + 1, self.exceptions)


def load(connection: Connection) -> Calendar:
    """The calendar: of two rules of one day, and of two words about one day, the newer."""
    rules = {
        row.since: CalendarRule(row.since, row.end_day, row.closing_workdays, row.objection_workdays)
        for row in connection.execute(select(clearing_rule).order_by(clearing_rule.c.rule_no))
    }
    exceptions = {
        row.day: row.is_workday
        for row in connection.execute(select(workday_exception).order_by(workday_exception.c.exception_no))
    }
    return Calendar([rules[since] for since in sorted(rules)], exceptions)


def set_rule(connection: Connection, rule: CalendarRule, *, by: str, reason: str, at: datetime) -> None:
    """Set when periods end and close, from a day on. Raises CannotSet.

    The first rule may begin in the past, to take in what is there; a later one begins after today, so that no period
    that is open already changes its days.
    """
    _require_reason(reason)
    if not 1 <= rule.end_day <= 31:
        raise CannotSet("期末日应为 1 至 31（31 为月末）")
    if not 1 <= rule.closing_workdays <= 250 or not 1 <= (rule.objection_workdays or 1) <= 250:
        raise CannotSet("工作日数应为 1 至 250")
    if load(connection).rules and rule.since <= at.date():
        raise CannotSet(f"新的清算日历只能从今后的日子起用，{rule.since} 已到")
    connection.execute(insert(clearing_rule).values(**rule._asdict(), made_by=by, made_at=at, reason=reason))
    audit.note(
        connection,
        by=by,
        action="clearing.calendar",
        subject=rule.since.isoformat(),
        reason=reason,
        at=at,
        details={"end_day": rule.end_day, "closing_workdays": rule.closing_workdays},
    )


def set_day(connection: Connection, day: date, *, is_workday: bool, by: str, reason: str, at: datetime) -> None:
    """Say that a day is worked, or is not, whatever the general calendar says. Raises CannotSet."""
    _require_reason(reason)
    connection.execute(
        insert(workday_exception).values(day=day, is_workday=is_workday, made_by=by, made_at=at, reason=reason)
    )
    audit.note(
        connection,
        by=by,
        action="clearing.workday" if is_workday else "clearing.day-off",
        subject=day.isoformat(),
        reason=reason,
        at=at,
    )


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise CannotSet("要写明理由：--reason")
