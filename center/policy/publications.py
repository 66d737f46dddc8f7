"""Publishing a policy set: refused when it is no law, in force from its day, in place of the set of the same name.

Facts inside a set are dated; the day of a publication says from when claims are settled by this text of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from center.ledger import audit
from center.tables import policy_publication, reference
from domain.policy import PolicyBook
from domain.policy.check import check, overlaps
from domain.policy.example_reading import ExamplesUnreadable, read_examples
from domain.policy.examples import run
from domain.policy.facts import PolicySet
from domain.policy.findings import ERROR, Finding, Report, error
from domain.policy.reading import parse
from infra.reference import POLICY


class PolicyRefused(Exception):
    """The file may not be settled by; `findings` are all of its errors and warnings, each with its place."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        self.errors = [each for each in self.findings if each.severity == ERROR]
        places = "；".join(f"第 {each.line} 行 {each.words}" if each.line else each.words for each in self.errors)
        super().__init__(f"政策有 {len(self.errors)} 处错误，未发布：{places}")


class CannotPublish(Exception):
    """The set cannot be published or taken back as asked; the message is for the clerk."""


class Listed(NamedTuple):
    """A policy set of this centre, as a list shows it. `state`: in force, ahead, withdrawn or over."""

    version: str
    state: str
    effective_date: date | None
    published_by: str
    note: str


@dataclass(frozen=True, slots=True)
class PolicyPublished:
    """A set that was published: whether it is in force already, and what the office should know of it."""

    version: str
    effective_date: date
    in_force: bool
    replaces: str
    """The version whose place it takes; empty when the set is new here."""
    warnings: tuple[Finding, ...]


def review(text: str, *, today: date) -> Report:
    """The static check, and the worked examples the file holds: each must settle to the fen."""
    report = check(text, today=today)
    if report.policy is None:
        return report
    try:
        examples = read_examples(text)
    except ExamplesUnreadable as unreadable:
        wrong = tuple(error("example", words) for words in unreadable.errors)
    else:
        wrong = tuple(
            error("example", f"算例 {outcome.example.example_id} 不符：{differing.what} 应为 {differing.expected}，"
                  f"算得 {differing.found}")
            for outcome in run(examples, PolicyBook([report.policy]))
            for differing in outcome.differences
        )  # fmt: skip
    return Report(findings=(*wrong, *report.findings), policy=None if wrong else report.policy)


def publish(
    connection: Connection, text: str, *, effective_date: date, by: str, at: datetime, note: str = ""
) -> PolicyPublished:
    """Publish a set, to be in force from a day on. Raises PolicyRefused with every error, or CannotPublish."""
    policy, warnings = reviewed(connection, text, effective_date=effective_date, at=at)
    version = policy.version
    replaces = _standing(connection).get(policy.set_id, "")
    if replaces == version:
        raise CannotPublish(f"版本 {version} 已经发布，没有差别，不必再发布")
    row = {"kind": POLICY, "version": version, "in_force": False, "content": text.encode()}
    renewed = {"effective_date": effective_date, "withdrawn": False, "retired_on": None}
    connection.execute(
        upsert(reference)
        .values(**row, **renewed)
        .on_conflict_do_update(index_elements=[reference.c.kind, reference.c.version], set_=renewed)
    )
    connection.execute(
        insert(policy_publication).values(
            version=version, effective_date=effective_date, published_by=by, published_at=at, note=note
        )
    )
    in_force = version in activate(connection, at.date())
    audit.note(
        connection,
        by=by,
        action="policy.publish",
        subject=version,
        reason=note,
        at=at,
        details={"effective_date": effective_date.isoformat(), "replaces": replaces},
    )
    return PolicyPublished(version, effective_date, in_force, replaces, warnings)


def reviewed(
    connection: Connection, text: str, *, effective_date: date, at: datetime
) -> tuple[PolicySet, tuple[Finding, ...]]:
    """A set that may be published from that day, and its warnings. Raises PolicyRefused or CannotPublish."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("jiesuan policy publish"))))
    if effective_date < at.date():
        raise CannotPublish("生效日不能早于今天")
    report = review(text, today=at.date())
    if report.policy is None:
        raise PolicyRefused(report.findings)
    others = [each for each in _others(connection) if each.set_id != report.policy.set_id]
    beside = overlaps([(each.set_id, each) for each in (*others, report.policy)])
    if beside:
        raise PolicyRefused([*beside, *report.findings])
    later = [
        row.version
        for row in _ahead(connection, effective_date)
        if set_of(row.version) == report.policy.set_id
    ]  # fmt: skip
    if later:
        raise CannotPublish(f"已有更晚生效的版本 {'、'.join(later)}：先撤回，或把生效日定在其后")
    return report.policy, tuple(report.warnings)


def withdraw(connection: Connection, version: str, *, by: str, at: datetime, note: str = "") -> None:
    """Take back a set whose day has not come; it is never in force. Raises CannotPublish."""
    made = policy_publication
    waiting = (made.c.version == version, ~made.c.withdrawn, made.c.effective_date > at.date())
    if not connection.execute(update(made).where(*waiting).values(withdrawn=True)).rowcount:
        raise CannotPublish(f"没有尚未生效的版本 {version}，不能撤回")
    connection.execute(
        update(reference)
        .where(reference.c.kind == POLICY, reference.c.version == version, ~reference.c.in_force)
        .values(withdrawn=True)
    )
    audit.note(connection, by=by, action="policy.withdraw", subject=version, reason=note, at=at)


def activate(connection: Connection, day: date) -> tuple[str, ...]:
    """Bring every published set whose day has come into force, each in place of its predecessor; what changed."""
    due = {set_of(row.version): row.version for row in publications(connection) if row.effective_date <= day}
    in_force = _in_force(connection)
    changed = tuple(version for set_id, version in due.items() if in_force.get(set_id) != version)
    for version in changed:
        held = (reference.c.kind == POLICY, reference.c.in_force, _is_of(set_of(version)))
        connection.execute(update(reference).where(*held).values(in_force=False, retired_on=day))
        this = (reference.c.kind == POLICY, reference.c.version == version)
        connection.execute(update(reference).where(*this).values(in_force=True, retired_on=None))
    return changed


def publications(connection: Connection) -> list[Row[Any]]:
    """Every publication that was not taken back, in the order in which they come into force."""
    made = policy_publication
    query = select(made).where(~made.c.withdrawn).order_by(made.c.effective_date, made.c.publication_no)
    return list(connection.execute(query))


def history(connection: Connection, day: date) -> list[Listed]:
    """Every set that was ever published or seeded here, the newest day first; a set published twice twice."""
    made, row = policy_publication.c, reference.c
    query = (
        select(row.version, row.in_force, made.effective_date, made.withdrawn, made.published_by, made.note)
        .outerjoin(policy_publication, made.version == row.version)
        .where(row.kind == POLICY)
        .order_by(made.effective_date.desc().nulls_last(), made.publication_no.desc())
    )
    ahead = {each.publication_no for each in _ahead(connection, day)}
    return [
        Listed(each.version, _state(each, ahead), each.effective_date, each.published_by or "", each.note or "")
        for each in connection.execute(query.add_columns(made.publication_no))
    ]


def _state(row: Row[Any], ahead: set[int]) -> str:
    if row.withdrawn:
        return "withdrawn"
    if row.in_force:
        return "in force"
    return "ahead" if row.publication_no in ahead else "over"


def set_of(version: str) -> str:
    """The set's id in a version, `set@digest`."""
    return version.partition("@")[0]


def _is_of(set_id: str) -> ColumnElement[bool]:
    return reference.c.version.startswith(f"{set_id}@", autoescape=True)


def _standing(connection: Connection) -> dict[str, str]:
    """By set, the version that holds last: published ahead, or in force."""
    return _in_force(connection) | {set_of(row.version): row.version for row in publications(connection)}


def _in_force(connection: Connection) -> dict[str, str]:
    query = select(reference.c.version).where(reference.c.kind == POLICY, reference.c.in_force)
    return {set_of(version): version for version in connection.execute(query).scalars()}


def _ahead(connection: Connection, day: date) -> list[Row[Any]]:
    return [row for row in publications(connection) if row.effective_date > day]


def _others(connection: Connection) -> list[PolicySet]:
    standing = _standing(connection).values()
    query = select(reference.c.content).where(reference.c.kind == POLICY, reference.c.version.in_(standing))
    return [parse(content.decode()) for content in connection.execute(query).scalars()]
