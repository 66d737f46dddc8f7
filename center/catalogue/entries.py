"""Entering and auditing the catalogue: what is entered waits, what another person accepts stands (four eyes)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, Table, and_, func, select, text, update

from center.catalogue.files import Problem
from center.catalogue.tables import REJECTED, STANDING, WAITING, catalogue_item, catalogue_match, delivery
from center.ledger import audit as noted
from center.tables import institution
from domain import money
from domain.catalogue import Match
from domain.catalogue_records import ItemRecord
from infra.database import copy_rows

R = TypeVar("R", ItemRecord, Match)

ITEMS, MATCHES = "items", "matches"
TABLES: Mapping[str, Table] = {ITEMS: catalogue_item, MATCHES: catalogue_match}
_KEYS: Mapping[str, tuple[str, ...]] = {
    ITEMS: ("match_type", "item_code"),
    MATCHES: ("institution_code", "local_item_code"),
}
_NUMBERS: Mapping[str, str] = {ITEMS: "item_id", MATCHES: "match_id"}
_STORED_MATCH = tuple(name for name in Match._fields if name != "audited")


class AlreadyEntered(Exception):
    """The same file was entered before."""

    def __init__(self, import_id: int, by: str, at: datetime) -> None:
        super().__init__(f"这个文件已由 {by} 于 {at:%Y-%m-%d %H:%M} 录入，批号 {import_id}")


class NothingToAudit(Exception):
    """No record of what was named is waiting."""


class OwnEntry(Exception):
    """Whoever entered a record does not audit it."""

    def __init__(self, by: str) -> None:
        super().__init__(f"批次由 {by} 本人录入，须由另一人审核")


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of a file: its number (0: nothing was new), how many records wait now, how many stood already."""

    import_id: int
    waiting: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit came to: records decided, and standing records that were closed because a new one takes over."""

    decided: int
    closed: int


class Waiting(NamedTuple):
    """An import that has records waiting."""

    import_id: int
    kind: str
    source: str
    entered_by: str
    entered_at: datetime
    waiting: int


# ── Enter ─────────────────────────────────────────────────────────────────────────────────────────────────


def enter_items(
    connection: Connection, rows: Sequence[tuple[int, ItemRecord]], *, source: str, digest: bytes, by: str, at: datetime
) -> Entered:
    """Let the items wait for their audit; what stands already as it is in the file is left out. Raises AlreadyEntered.

    Of a whole list only what changed is entered, so that the auditor sees the changes and nothing else.
    """
    held = set(standing_items(connection))
    new = [(row, record) for row, record in rows if record not in held]
    values = [(row, _item_values(record)) for row, record in new]
    return _enter(connection, ITEMS, values, len(rows) - len(new), source=source, digest=digest, by=by, at=at)


def enter_matches(
    connection: Connection, rows: Sequence[tuple[int, Match]], *, source: str, digest: bytes, by: str, at: datetime
) -> Entered:
    """The same for matches. Raises AlreadyEntered."""
    codes = {match.institution_code for _, match in rows}
    held = set(standing_matches(connection, codes))
    new = [(row, match) for row, match in rows if match._replace(audited=True) not in held]
    values = [(row, [getattr(match, name) for name in _STORED_MATCH]) for row, match in new]
    return _enter(connection, MATCHES, values, len(rows) - len(new), source=source, digest=digest, by=by, at=at)


def _enter(
    connection: Connection,
    kind: str,
    rows: Sequence[tuple[int, Sequence[Any]]],
    unchanged: int,
    *,
    source: str,
    digest: bytes,
    by: str,
    at: datetime,
) -> Entered:
    same = connection.execute(select(delivery).where(delivery.c.kind == kind, delivery.c.digest == digest)).first()
    if same is not None:
        raise AlreadyEntered(same.import_id, same.entered_by, same.entered_at)
    if not rows:
        return Entered(0, 0, unchanged)
    import_id = connection.execute(
        delivery.insert()
        .values(kind=kind, source=source[:120], digest=digest, row_count=len(rows), entered_by=by, entered_at=at)
        .returning(delivery.c.import_id)
    ).scalar_one()
    fields = ItemRecord._fields if kind == ITEMS else _STORED_MATCH
    copy_rows(
        connection,
        TABLES[kind],
        (*fields, "import_id", "row_no", "entered_by", "entered_at"),
        ((*values, import_id, row, by, at) for row, values in rows),
    )
    noted.note(
        connection,
        by=by,
        action="catalogue.enter",
        subject=f"{kind} {import_id}",
        reason=source,
        at=at,
        details={"rows": len(rows), "digest": digest.hex()},
    )
    return Entered(import_id, len(rows), unchanged)


def enter_standing(
    connection: Connection,
    items: Sequence[ItemRecord],
    matches: Sequence[Match],
    *,
    by: str,
    auditor: str,
    at: datetime,
) -> None:
    """Take over records from elsewhere as they are, audited there; only into an empty catalogue."""
    for kind, rows in (
        (ITEMS, [_item_values(record) for record in items]),
        (MATCHES, [[getattr(match, name) for name in _STORED_MATCH] for match in matches]),
    ):
        numbered = list(enumerate(rows, 1))
        entered = _enter(connection, kind, numbered, 0, source="takeover", digest=kind.encode(), by=by, at=at)
        table = TABLES[kind]
        connection.execute(
            update(table)
            .where(table.c.import_id == entered.import_id)
            .values(state=STANDING, audited_by=auditor, audited_at=at)
        )
    waits = [row for row, match in enumerate(matches, 1) if not match.audited]
    connection.execute(
        update(catalogue_match)
        .where(catalogue_match.c.row_no.in_(waits), catalogue_match.c.state == STANDING)
        .values(state=WAITING, audited_by=None, audited_at=None)
    )


def wrong_matches(
    connection: Connection, rows: Iterable[tuple[int, Match]]
) -> tuple[list[tuple[int, Match]], list[Problem]]:
    """What only the centre can see of matches: unknown institutions, items that are not there, another class.

    Returns the matches as they are to be entered, with the item's name and without a class of their own: the class
    is always that of the centre item on the day.
    """
    rows = list(rows)
    institutions = set(connection.execute(select(institution.c.institution_code)).scalars())
    items: dict[tuple[str, str], list[ItemRecord]] = defaultdict(list)
    for record in standing_items(connection, {match.centre_item_code for _, match in rows}):
        items[record.key].append(record)
    good: list[tuple[int, Match]] = []
    problems: list[Problem] = []
    for row, match in rows:
        records = items.get((match.match_type, match.centre_item_code), [])
        on = [record for record in records if record.expiry_date >= match.effective_date] or records
        reasons = []
        if match.institution_code not in institutions:
            reasons.append(("医药机构编码", "中心没有登记这个医药机构"))
        if not records:
            reasons.append(("中心目录编码", "中心目录没有这个编码，或匹配类型不符，或尚未审核"))
        elif match.coverage_class and match.coverage_class not in {record.coverage_class for record in on}:
            reasons.append(("甲乙标志", f"与中心目录不一致，中心为 {on[0].coverage_class}"))
        elif match.effective_date > max(record.expiry_date for record in records):
            reasons.append(("生效日期", "在中心项目失效之后"))
        problems += [Problem("", row, column, reason) for column, reason in reasons]
        if not reasons:
            first = min(record.effective_date for record in records)
            name = match.centre_item_name or on[0].item_name
            days = max(match.effective_date, first) if match.effective_date == date.min else match.effective_date
            good.append((row, match._replace(coverage_class="", centre_item_name=name, effective_date=days)))
    return good, problems


# ── Audit ─────────────────────────────────────────────────────────────────────────────────────────────────


def waiting(connection: Connection) -> list[Waiting]:
    """The imports with records that wait, oldest first."""
    found: list[Waiting] = []
    for kind, table in TABLES.items():
        rows = connection.execute(
            select(delivery, func.count().label("waits"))
            .join(table, table.c.import_id == delivery.c.import_id)
            .where(table.c.state == WAITING, delivery.c.kind == kind)
            .group_by(delivery.c.import_id)
        )
        found += [Waiting(row.import_id, kind, row.source, row.entered_by, row.entered_at, row.waits) for row in rows]
    return sorted(found, key=lambda each: each.import_id)


def waiting_rows(connection: Connection, import_id: int) -> tuple[str, list[Row[Any]]]:
    """The kind of an import, and its records that wait, by row. Raises NothingToAudit."""
    kind = connection.execute(select(delivery.c.kind).where(delivery.c.import_id == import_id)).scalar()
    if kind is None:
        raise NothingToAudit(f"没有批号 {import_id}")
    table = TABLES[kind]
    where = and_(table.c.import_id == import_id, table.c.state == WAITING)
    return kind, list(connection.execute(select(table).where(where).order_by(table.c.row_no)))


def audit(
    connection: Connection,
    import_id: int,
    *,
    accept: bool,
    by: str,
    at: datetime,
    reason: str = "",
    rows: Sequence[int] = (),
) -> Audited:
    """Accept or reject what waits of an import, or only these rows of its file. Raises NothingToAudit or OwnEntry.

    An accepted record that begins while another one of the same key still holds closes that one the day before; one
    that begins before another ends the day before the other begins. So on every day at most one holds.
    """
    found = connection.execute(select(delivery).where(delivery.c.import_id == import_id).with_for_update()).first()
    if found is None:
        raise NothingToAudit(f"没有批号 {import_id}")
    if found.entered_by == by:
        raise OwnEntry(by)
    table = TABLES[found.kind]
    where = and_(table.c.import_id == import_id, table.c.state == WAITING)
    if rows:
        where = and_(where, table.c.row_no.in_(rows))
    decided = connection.execute(
        update(table)
        .where(where)
        .values(state=STANDING if accept else REJECTED, audited_by=by, audited_at=at, reason=reason)
    ).rowcount
    if not decided:
        raise NothingToAudit(f"批号 {import_id} 没有待审核的记录")
    closed = _close(connection, found.kind, import_id, at) if accept else 0
    noted.note(
        connection,
        by=by,
        action="catalogue.accept" if accept else "catalogue.reject",
        subject=f"{found.kind} {import_id}",
        reason=reason,
        at=at,
        details={"decided": decided, "closed": closed, "entered_by": found.entered_by},
    )
    return Audited(decided, closed)


def _close(connection: Connection, kind: str, import_id: int, at: datetime) -> int:
    """Give way: standing records to the new ones, and new ones to standing records that begin later."""
    names = {
        "table": TABLES[kind].name,
        "number": _NUMBERS[kind],
        "same": " AND ".join(f"old.{column} = new.{column}" for column in _KEYS[kind]),
        "is_new": "new.import_id = :import_id AND new.audited_at = :at AND new.state = 'standing'",
        "is_old": "old.state = 'standing' AND NOT (old.import_id = :import_id AND old.audited_at = :at)"
        " AND old.effective_date <= coalesce(old.last_day, old.expiry_date)",
    }
    values = {"import_id": import_id, "at": at}
    clipped = """
        UPDATE {table} SET last_day = later.begins - 1 FROM (
            SELECT new.{number} AS number, min(old.effective_date) AS begins
            FROM {table} new JOIN {table} old ON {same}
            WHERE {is_new} AND {is_old} AND old.effective_date > new.effective_date
            GROUP BY new.{number}) later
        WHERE {table}.{number} = later.number AND later.begins <= {table}.expiry_date"""
    closed = """
        UPDATE {table} SET last_day = successor.begins - 1, replaced_by = successor.number FROM (
            SELECT DISTINCT ON (old.{number}) old.{number} AS old, new.{number} AS number, new.effective_date AS begins
            FROM {table} new JOIN {table} old ON {same}
            WHERE {is_new} AND {is_old} AND old.effective_date <= new.effective_date
              AND new.effective_date <= coalesce(old.last_day, old.expiry_date)
            ORDER BY old.{number}, new.effective_date) successor
        WHERE {table}.{number} = successor.old"""
    # Rows entered a moment ago are not in the planner's statistics: where it thought of a handful, loops within loops
    # over a whole catalogue took longer than a statement may.
    connection.execute(text("SET LOCAL enable_nestloop = off"))
    connection.execute(text(clipped.format(**names)), values)
    count = connection.execute(text(closed.format(**names)), values).rowcount
    connection.execute(text("SET LOCAL enable_nestloop TO DEFAULT"))
    return count


# ── Read ──────────────────────────────────────────────────────────────────────────────────────────────────


def standing_items(connection: Connection, codes: Iterable[str] | None = None) -> list[ItemRecord]:
    """The item records that stand, each with the last day it really holds, by type, code and day."""
    columns = [catalogue_item.c[name] for name in ItemRecord._fields]
    query = _standing(catalogue_item, columns).order_by(
        catalogue_item.c.match_type, catalogue_item.c.item_code, catalogue_item.c.effective_date
    )
    if codes is not None:
        query = query.where(catalogue_item.c.item_code.in_(list(codes)))
    return [_item_record(row) for row in connection.execute(query)]


def standing_matches(connection: Connection, institutions: Iterable[str] | None = None) -> list[Match]:
    """The matches that stand, as they were entered: a class of their own only where one was given."""
    columns = [catalogue_match.c[name] for name in _STORED_MATCH]
    query = _standing(catalogue_match, columns).order_by(
        catalogue_match.c.institution_code, catalogue_match.c.local_item_code, catalogue_match.c.effective_date
    )
    if institutions is not None:
        query = query.where(catalogue_match.c.institution_code.in_(list(institutions)))
    place = _STORED_MATCH.index("expiry_date")
    audited_at = Match._fields.index("audited")
    found = []
    for row in connection.execute(query):
        values = list(row[:-1])
        values[place] = row.last_day or values[place]
        values.insert(audited_at, True)
        found.append(Match._make(values))
    return found


def waiting_matches(connection: Connection) -> list[Match]:
    """The matches nobody has audited yet: the views show them with AUDIT_FLAG 0."""
    query = select(*[catalogue_match.c[name] for name in _STORED_MATCH]).where(catalogue_match.c.state == WAITING)
    return [Match(**row._mapping, audited=False) for row in connection.execute(query)]


def history(connection: Connection, kind: str, **key: str) -> list[Row[Any]]:
    """Every record of an item or a match there ever was, oldest first."""
    table = TABLES[kind]
    where = and_(*(table.c[name] == value for name, value in key.items()))
    return list(connection.execute(select(table).where(where).order_by(table.c[_NUMBERS[kind]])))


def _standing(table: Table, columns: Sequence[Any]) -> Any:
    holds = table.c.effective_date <= func.coalesce(table.c.last_day, table.c.expiry_date)
    return select(*columns, table.c.last_day).where(table.c.state == STANDING, holds)


def _item_values(record: ItemRecord) -> list[Any]:
    values = list(record)
    values[_LIMITS] = limits_text(record.level_limits)
    values[_RATIOS] = ratios_text(record.group_ratios)
    return values


_LIMITS = ItemRecord._fields.index("level_limits")
_RATIOS = ItemRecord._fields.index("group_ratios")
_EXPIRY = ItemRecord._fields.index("expiry_date")


def _item_record(row: Row[Any]) -> ItemRecord:
    values: list[Any] = list(row[:-1])
    values[_EXPIRY] = row[-1] or values[_EXPIRY]
    if values[_LIMITS]:
        pairs = (pair.split("=") for pair in values[_LIMITS].split(";"))
        values[_LIMITS] = tuple((int(level), money.scaled(limit, money.PRICE_SCALE)) for level, limit in pairs)
    else:
        values[_LIMITS] = ()
    if values[_RATIOS]:
        pairs = (pair.split("=") for pair in values[_RATIOS].split(";"))
        values[_RATIOS] = tuple((group, money.scaled(ratio, money.RATIO_SCALE)) for group, ratio in pairs)
    else:
        values[_RATIOS] = ()
    return ItemRecord._make(values)


def limits_text(limits: Iterable[tuple[int, int]]) -> str:
    """Price limits by institution level as they are stored and shown, in yuan."""
    return ";".join(f"{level}={money.unscaled(limit, money.PRICE_SCALE)}" for level, limit in limits)


def ratios_text(ratios: Iterable[tuple[str, int]]) -> str:
    """Ratios by person group as they are stored and shown."""
    return ";".join(f"{group}={money.unscaled(ratio, money.RATIO_SCALE)}" for group, ratio in ratios)
