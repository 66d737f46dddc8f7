"""The shared tables in an SQLite file: one institution's, with the same behaviour and without logins.

There is nobody to log in, so the file itself remembers who is writing: our connection says in its own transaction that
the insurance system acts, and takes it back before it commits. Whoever else opens the file is the HIS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from producers.his.fields import Field, layout
from producers.his.tables.objects import (
    FLAG_IS_OURS_ZH,
    FROZEN_ZH,
    GRADE_AFTER,
    KEYS,
    LIMITED_USE,
    LINES,
    OTHER_INSTITUTION_ZH,
    REGISTRATIONS,
    TABLES,
    VIEWS,
    grade_field,
    limited_use_fields,
)
from producers.his.tables.rights import Action, Actor, Right, rights

RELEASE = 1
"""Kept as the file's user_version."""
IS_UNREAD = "drbz IS NOT 1 AND drbz IS NOT 2"
IS_FAILED = "drbz = 2"
BASE_OF_VIEW = "exchange_{}"
_ACTS = "(SELECT who FROM exchange_actor) = '{}'"


def everything(*, graded: bool) -> Iterator[str]:
    """The statements that make the tables in an empty file; `graded` in the dress with the civil-servant grade.

    The file serves one institution, so its dress is the tables themselves.
    """
    yield "CREATE TABLE exchange_actor (who TEXT NOT NULL)"
    yield f"INSERT INTO exchange_actor VALUES ('{Actor.HIS}')"
    yield "CREATE TABLE exchange_owner (institution_code TEXT NOT NULL, short_code TEXT NOT NULL, dress TEXT NOT NULL)"
    yield "CREATE TABLE exchange_catalogue (version TEXT NOT NULL)"
    yield "INSERT INTO exchange_catalogue VALUES ('')"
    yield "CREATE TABLE exchange_entered_line (jydjh TEXT NOT NULL, xmxh INTEGER NOT NULL, PRIMARY KEY (jydjh, xmxh))"
    yield "CREATE TABLE exchange_noticed (at TEXT NOT NULL, jydjh TEXT NOT NULL, old_bz1 TEXT, new_bz1 TEXT)"
    for table in TABLES:
        yield _table(table, _fields(table, graded=graded))
        yield from _indexes(table)
    if graded:
        yield _table(LIMITED_USE, limited_use_fields())
        yield f"CREATE INDEX {LIMITED_USE}_key ON {LIMITED_USE} (JYDJH, XMXH)"
    for view in VIEWS:
        yield from _view(view)
    for right in rights():
        yield from _forbidden(right, _columns_of(right.table, graded=graded))
    for table in LINES:
        yield from _line_triggers(table)
    yield """CREATE TRIGGER HIS_CYDJ_notice AFTER UPDATE OF BZ1 ON HIS_CYDJ WHEN NEW.BZ1 IS NOT OLD.BZ1
        BEGIN INSERT INTO exchange_noticed VALUES (datetime('now', '+8 hours'), NEW.JYDJH, OLD.BZ1, NEW.BZ1); END"""


def _fields(table: str, *, graded: bool) -> list[Field]:
    fields = list(layout(table))
    if graded and table in REGISTRATIONS:
        fields.insert([field.code for field in fields].index(GRADE_AFTER) + 1, grade_field())
    return fields


def _columns_of(table: str, *, graded: bool) -> list[str]:
    return [field.code for field in _fields(table, graded=graded)]


def _table(table: str, fields: Iterable[Field]) -> str:
    parts = []
    for field in fields:
        default = " DEFAULT 0" if field.code == "DRBZ" else ""
        needed = " NOT NULL" if field.required else ""
        parts.append(f"{field.code} {_type(field)}{default}{needed}{_width_check(table, field)}")
    return f"CREATE TABLE {table} (\n  " + ",\n  ".join(parts) + ")"


def _type(field: Field) -> str:
    """The type as the specification prints it; SQLite keeps the words and takes a kind of value from them."""
    match field.oracle_type:
        case "DATE":
            return "DATE"
        case "NUMBER":
            return f"NUMBER({field.digits},{field.decimals})" if field.decimals else f"NUMBER({field.digits})"
        case kind:
            return f"{kind}({field.width})"


def _width_check(table: str, field: Field) -> str:
    """At most so many bytes of GBK, counted as two for every character that is not ASCII: what SQLite can count.

    A character that takes four bytes there may slip through; reading counts exactly.
    """
    if field.kind != "C":
        return ""
    size = f"length({field.code}) + (length(CAST({field.code} AS BLOB)) - length({field.code})) / 2"
    return f' CONSTRAINT "{table}.{field.code}不超过{field.width}字节" CHECK ({size} <= {field.width})'


def _indexes(table: str) -> Iterator[str]:
    unique = "" if table in LINES else "UNIQUE "
    yield f"CREATE {unique}INDEX {table}_key ON {table} ({', '.join(KEYS[table])})"
    if table in LINES:
        yield f"CREATE INDEX {table}_unread ON {table} (JYDJH) WHERE {IS_UNREAD}"
        yield f"CREATE INDEX {table}_failed ON {table} (JYDJH) WHERE {IS_FAILED}"
    else:
        yield f"CREATE INDEX {table}_flag ON {table} (DRBZ)"


def _view(view: str) -> Iterator[str]:
    base = BASE_OF_VIEW.format(view)
    columns = ", ".join(layout(view).codes)
    yield _table(base, layout(view))
    yield f"CREATE VIEW {view} AS SELECT {columns} FROM {base}"
    values = ", ".join(f"NEW.{code}" for code in layout(view).codes)
    yield (
        f"CREATE TRIGGER {view}_insert INSTEAD OF INSERT ON {view} WHEN {_ACTS.format(Actor.INSURANCE)} "
        f"BEGIN INSERT INTO {base} ({columns}) VALUES ({values}); END"
    )


def _forbidden(right: Right, columns: Sequence[str]) -> Iterator[str]:
    """A trigger for every action the right forbids. A view takes no update or delete at all, whoever asks."""
    system = "HIS" if right.actor is Actor.HIS else "医保系统"
    is_view = right.table in VIEWS
    when = "INSTEAD OF" if is_view else "BEFORE"
    for action, word in ((Action.INSERT, "新增"), (Action.UPDATE, "修改"), (Action.DELETE, "删除")):
        if right.forbids(action):
            what = action.upper()
            words = f"{system}不能{word} {right.table} 的记录"
        elif action is Action.UPDATE and set(columns) - set(right.columns):
            what = "UPDATE OF " + ", ".join(code for code in columns if code not in right.columns)
            words = f"{system}只能修改 {right.table} 的字段 {'、'.join(right.columns)}"
        else:
            continue
        yield (
            f"CREATE TRIGGER {right.table}_no_{action}_by_{right.actor} {when} {what} ON {right.table} "
            f"WHEN {_ACTS.format(right.actor)} BEGIN SELECT RAISE(ABORT, '{words}'); END"
        )


def _line_triggers(table: str) -> Iterator[str]:
    by_his = _ACTS.format(Actor.HIS)
    entered = "EXISTS (SELECT 1 FROM exchange_entered_line WHERE jydjh = {0}.JYDJH AND xmxh = {0}.XMXH)"
    # Flow one: lines we wrote are the HIS's to mark and keep (AMB-33); everything else that is read in is frozen.
    frozen = f"OLD.DRBZ = 1 AND NOT (OLD.BZ1 IS NOT NULL AND {entered.format('OLD')})"
    for event in ("UPDATE", "DELETE"):
        yield (
            f"CREATE TRIGGER {table}_frozen_{event} BEFORE {event} ON {table} WHEN {frozen} "
            f"BEGIN SELECT RAISE(ABORT, '{FROZEN_ZH}'); END"
        )
    own = "NEW.YYBH IN (SELECT institution_code FROM exchange_owner UNION SELECT short_code FROM exchange_owner)"
    for event in ("INSERT", "UPDATE"):
        yield (
            f"CREATE TRIGGER {table}_own_{event} BEFORE {event} ON {table} WHEN {by_his} AND NOT ({own}) "
            f"BEGIN SELECT RAISE(ABORT, '{OTHER_INSTITUTION_ZH}'); END"
        )
        marked = f"NEW.BZ1 IS NOT NULL AND {entered.format('NEW')}"
        excused = f" AND OLD.DRBZ IS NOT 1 AND NOT ({marked})" if event == "UPDATE" else ""
        yield (
            f"CREATE TRIGGER {table}_flag_{event} BEFORE {event} ON {table} WHEN {by_his} AND NEW.DRBZ = 1{excused} "
            f"BEGIN SELECT RAISE(ABORT, '{FLAG_IS_OURS_ZH}'); END"
        )
        days = [field.code for field in layout(table) if field.oracle_type == "DATE"]
        unlike = " OR ".join(
            f"(NEW.{code} IS NOT NULL AND NEW.{code} NOT GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]')"
            for code in days
        )
        of = f"{event} OF {', '.join(days)}" if event == "UPDATE" else event
        settled = ", ".join(f"{code} = {_iso(f'NEW.{code}')}" for code in days)
        yield (
            f"CREATE TRIGGER {table}_days_{event} AFTER {of} ON {table} WHEN {by_his} AND ({unlike}) "
            f"BEGIN UPDATE {table} SET {settled} WHERE rowid = NEW.rowid; END"
        )
    yield (
        f"CREATE TRIGGER {table}_entered AFTER INSERT ON {table} WHEN {_ACTS.format(Actor.INSURANCE)} "
        f"BEGIN INSERT OR IGNORE INTO exchange_entered_line VALUES (NEW.JYDJH, NEW.XMXH); END"
    )


def _iso(value: str) -> str:
    """A day as YYYY-MM-DD out of the usual ways to write it; what is none of them stays, and gets code 04."""
    plain = f"replace(replace(replace(replace(trim({value}), '年', '-'), '月', '-'), '/', '-'), '.', '-')"
    rest = f"substr({plain}, 6)"
    month = f"substr({rest}, 1, instr({rest}, '-') - 1)"
    day = f"CAST(substr({rest}, instr({rest}, '-') + 1) AS INTEGER)"
    digits = f"trim({value})"
    eight = "[0-9]" * 8
    return (
        f"CASE WHEN {digits} GLOB '{eight}' OR {digits} GLOB '{eight}[ T]*' OR {digits} GLOB '{eight}{'[0-9]' * 6}' "
        f"THEN substr({digits}, 1, 4) || '-' || substr({digits}, 5, 2) || '-' || substr({digits}, 7, 2) "
        f"WHEN {plain} GLOB '[0-9][0-9][0-9][0-9]-*-[0-9]*' AND CAST({month} AS INTEGER) BETWEEN 1 AND 12 "
        f"AND {day} BETWEEN 1 AND 31 "
        f"THEN printf('%s-%02d-%02d', substr({plain}, 1, 4), CAST({month} AS INTEGER), {day}) "
        f"WHEN trim({value}) = '' THEN NULL ELSE {value} END"
    )
