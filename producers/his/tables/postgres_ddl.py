"""The shared tables on PostgreSQL: types and order from the field table, rights as grants, rows frozen by triggers.

Schema `his` holds what a HIS sees and nothing else; schema `exchange` holds what belongs to it and is ours. Roles are
of the whole server: `jiesuan_his` and `jiesuan_insurance` carry the rights, logins are members of one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from producers.his.fields import Field, layout
from producers.his.tables.objects import (
    FLAG_IS_OURS_ZH,
    FROZEN_ZH,
    GRADE_AFTER,
    GRADE_COLUMN,
    KEYS,
    LIMITED_USE,
    LINES,
    OTHER_INSTITUTION_ZH,
    REGISTRATIONS,
    RESULTS,
    TABLES,
    VIEWS,
    grade_field,
    limited_use_fields,
)
from producers.his.tables.rights import Action, Actor, rights

SCHEMA, OWN_SCHEMA = "his", "exchange"
HIS_ROLE, INSURANCE_ROLE = "jiesuan_his", "jiesuan_insurance"
ROLE_OF = {Actor.HIS: HIS_ROLE, Actor.INSURANCE: INSURANCE_ROLE}
CHANNEL = "jiesuan_lines"
"""What a listener listens to; the payload is the institution code the HIS wrote."""
RELEASE = 1
"""Of these tables. A higher one than the database says means that `create` has something to add."""

# Unread and failed rows, each by its own index: a poll that finds nothing touches nothing else.
IS_UNREAD = "drbz IS DISTINCT FROM 1 AND drbz IS DISTINCT FROM 2"
IS_FAILED = "drbz = 2"


def roles() -> Iterator[str]:
    """The two roles that carry rights, and the right of whoever creates the tables to act as the insurance system."""
    for role in (HIS_ROLE, INSURANCE_ROLE):
        yield (
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    yield f"GRANT {INSURANCE_ROLE} TO CURRENT_USER"


def everything() -> Iterator[str]:
    """The statements that make the tables in an empty database, without any institution."""
    yield f"CREATE SCHEMA {SCHEMA}"
    yield f"CREATE SCHEMA {OWN_SCHEMA}"
    for schema in (SCHEMA, OWN_SCHEMA):
        yield f"GRANT USAGE ON SCHEMA {schema} TO {HIS_ROLE}, {INSURANCE_ROLE}"
    yield from _own_tables()
    for table in TABLES:
        yield _table(SCHEMA, table, layout(table))
        yield from _comments(SCHEMA, table, layout(table))
        yield from _indexes(table)
        yield f"ALTER TABLE {SCHEMA}.{table} ENABLE ROW LEVEL SECURITY"
        yield _policy_for_insurance(SCHEMA, table)
    for view in VIEWS:
        yield from _view(view)
    yield from _functions()
    yield from _triggers()
    yield from _grants()
    yield from _words_of_other_databases()
    yield from _grade_dress()
    yield from _text_dress()


def _own_tables() -> Iterator[str]:
    yield f"CREATE TABLE {OWN_SCHEMA}.release (release integer NOT NULL)"
    yield f"INSERT INTO {OWN_SCHEMA}.release VALUES ({RELEASE})"
    yield f"""CREATE TABLE {OWN_SCHEMA}.login (
        login name PRIMARY KEY, institution_code varchar(18) NOT NULL UNIQUE, short_code varchar(6) NOT NULL,
        dress varchar(40) NOT NULL DEFAULT '', created_at timestamptz NOT NULL DEFAULT now())"""
    yield f"ALTER TABLE {OWN_SCHEMA}.login ENABLE ROW LEVEL SECURITY"
    yield f"CREATE POLICY own ON {OWN_SCHEMA}.login TO {HIS_ROLE} USING (login = current_user)"
    yield f"CREATE POLICY insurance ON {OWN_SCHEMA}.login TO {INSURANCE_ROLE} USING (true)"
    yield f"GRANT SELECT ON {OWN_SCHEMA}.login TO {HIS_ROLE}, {INSURANCE_ROLE}"
    # A line entered at the insurance client (flow one) is the HIS's to mark as read; see the trigger on lines.
    yield f"""CREATE TABLE {OWN_SCHEMA}.entered_line (
        jydjh varchar(16) NOT NULL, xmxh numeric(5,0) NOT NULL, PRIMARY KEY (jydjh, xmxh))"""
    yield f"GRANT SELECT ON {OWN_SCHEMA}.entered_line TO {INSURANCE_ROLE}"
    yield f"""CREATE TABLE {OWN_SCHEMA}.grade (
        jydjh varchar(16) PRIMARY KEY, yybh varchar(18) NOT NULL, gwyjb {_type(grade_field())})"""
    yield f"ALTER TABLE {OWN_SCHEMA}.grade ENABLE ROW LEVEL SECURITY"
    yield _policy_for_insurance(OWN_SCHEMA, "grade")
    yield f"GRANT SELECT ON {OWN_SCHEMA}.grade TO {HIS_ROLE}, {INSURANCE_ROLE}"
    yield f"GRANT INSERT ON {OWN_SCHEMA}.grade TO {INSURANCE_ROLE}"
    yield f"""CREATE TABLE {OWN_SCHEMA}.noticed (
        at timestamptz NOT NULL DEFAULT now(), login name NOT NULL, jydjh varchar(16) NOT NULL,
        old_bz1 varchar(20), new_bz1 varchar(20))"""
    yield f"GRANT SELECT ON {OWN_SCHEMA}.noticed TO {INSURANCE_ROLE}"
    yield f"CREATE TABLE {OWN_SCHEMA}.catalogue (version varchar(64) NOT NULL)"
    yield f"INSERT INTO {OWN_SCHEMA}.catalogue VALUES ('')"
    yield f"GRANT SELECT ON {OWN_SCHEMA}.catalogue TO {INSURANCE_ROLE}"


def _table(schema: str, table: str, fields: Iterable[Field]) -> str:
    parts = []
    for field in fields:
        collation = ' COLLATE "C"' if field.code == "JYDJH" else ""  # numbers list in order of issue
        default = " DEFAULT 0" if field.code == "DRBZ" else ""
        needed = " NOT NULL" if field.required else ""
        parts.append(f"{_name(field.code)} {_type(field)}{collation}{default}{needed}")
    parts += [_width_check(table, field) for field in fields if field.oracle_type == "VARCHAR2" and field.width > 1]
    return f"CREATE TABLE {schema}.{table} (\n  " + ",\n  ".join(parts) + ")"


def _width_check(table: str, field: Field) -> str:
    """VARCHAR2(n) holds n bytes of GBK (AMB-19); what is plain ASCII is within it already."""
    column = _name(field.code)
    return (
        f'CONSTRAINT "{table}.{field.code}不超过{field.width}字节" CHECK (octet_length({column}) = length({column}) '
        f"OR octet_length(convert_to({column}, 'GB18030')) <= {field.width})"
    )


def _type(field: Field) -> str:
    match field.oracle_type:
        case "DATE":
            return "date"
        case "NUMBER":
            return f"numeric({field.digits},{field.decimals})"
        case "CHAR":
            return f"char({field.width})"
        case _:
            return f"varchar({field.width})"


def _name(code: str) -> str:
    """A column as PostgreSQL keeps an unquoted name; OTC, UNIT and the like are no reserved words."""
    return code.lower()


def _comments(schema: str, table: str, fields: Iterable[Field]) -> Iterator[str]:
    for field in fields:
        yield f"COMMENT ON COLUMN {schema}.{table}.{_name(field.code)} IS '{field.label_zh}'"


def _indexes(table: str) -> Iterator[str]:
    columns = ", ".join(map(_name, KEYS[table]))
    unique = "" if table in LINES else "UNIQUE "
    yield f"CREATE {unique}INDEX {table}_key ON {SCHEMA}.{table} ({columns})"
    if table in LINES:
        yield f"CREATE INDEX {table}_unread ON {SCHEMA}.{table} (jydjh, yybh) WHERE {IS_UNREAD}"
        yield f"CREATE INDEX {table}_failed ON {SCHEMA}.{table} (jydjh, yybh) WHERE {IS_FAILED}"
    else:
        yield f"CREATE INDEX {table}_flag ON {SCHEMA}.{table} (yybh, drbz)"
    yield f"CREATE INDEX {table}_visit ON {SCHEMA}.{table} (yybh, jydjh)"


def _policy_for_insurance(schema: str, table: str) -> str:
    return f"CREATE POLICY insurance ON {schema}.{table} TO {INSURANCE_ROLE} USING (true) WITH CHECK (true)"


def _view(view: str) -> Iterator[str]:
    """The view over its base table. Rights describe the view (AMB-36); the base is replaced as a whole (WF-07)."""
    fields = layout(view)
    columns = ", ".join(_name(field.code) for field in fields)
    yield _table(OWN_SCHEMA, view, fields)
    yield f"CREATE VIEW {SCHEMA}.{view} WITH (security_invoker) AS SELECT {columns} FROM {OWN_SCHEMA}.{view}"
    yield from _comments(SCHEMA, view, fields)
    yield f"ALTER TABLE {OWN_SCHEMA}.{view} ENABLE ROW LEVEL SECURITY"
    yield _policy_for_insurance(OWN_SCHEMA, view)
    if view == "VIEW_MATCH":
        yield f"CREATE INDEX {view}_code ON {OWN_SCHEMA}.{view} (hospital_id, hosp_code)"
    else:
        code = "medi_code" if view == "VIEW_MEDI" else "item_code"
        yield f"CREATE INDEX {view}_code ON {OWN_SCHEMA}.{view} ({code})"
        yield f"CREATE POLICY everybody ON {OWN_SCHEMA}.{view} FOR SELECT TO {HIS_ROLE} USING (true)"


def _functions() -> Iterator[str]:
    yield f"""CREATE FUNCTION {OWN_SCHEMA}.is_insurance() RETURNS boolean LANGUAGE sql STABLE
        AS $$ SELECT pg_has_role(current_user, '{INSURANCE_ROLE}', 'USAGE') $$"""
    yield f"""CREATE FUNCTION {OWN_SCHEMA}.was_entered(a_jydjh varchar, an_xmxh numeric) RETURNS boolean
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
        AS $$ SELECT EXISTS (SELECT FROM {OWN_SCHEMA}.entered_line
                             WHERE jydjh = a_jydjh COLLATE "default" AND xmxh = an_xmxh) $$"""
    yield f"""CREATE FUNCTION {OWN_SCHEMA}.note_entered(a_jydjh varchar, an_xmxh numeric) RETURNS void
        LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
        AS $$ INSERT INTO {OWN_SCHEMA}.entered_line VALUES (a_jydjh, an_xmxh) ON CONFLICT DO NOTHING $$"""
    yield f"""CREATE FUNCTION {OWN_SCHEMA}.note_remark(a_login name, a_jydjh varchar, old_one varchar, new_one varchar)
        RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
        AS $$ INSERT INTO {OWN_SCHEMA}.noticed (login, jydjh, old_bz1, new_bz1)
              VALUES (a_login, a_jydjh, old_one, new_one) $$"""
    yield f"""CREATE FUNCTION {OWN_SCHEMA}.guard_line() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE by_insurance boolean := {OWN_SCHEMA}.is_insurance(); entered boolean := false;
        BEGIN
            IF TG_OP <> 'INSERT' THEN
                IF OLD.drbz = 1 AND OLD.bz1 IS NOT NULL AND TG_TABLE_NAME = 'his_mzxm' THEN
                    entered := {OWN_SCHEMA}.was_entered(OLD.jydjh, OLD.xmxh);
                END IF;
                IF OLD.drbz = 1 AND NOT entered THEN
                    RAISE EXCEPTION '就医登记号 % 项目序号 %：{FROZEN_ZH}', OLD.jydjh, OLD.xmxh
                        USING ERRCODE = 'integrity_constraint_violation';
                END IF;
            END IF;
            IF TG_OP = 'DELETE' THEN
                RETURN OLD;
            END IF;
            IF by_insurance THEN
                IF TG_OP = 'INSERT' THEN
                    PERFORM {OWN_SCHEMA}.note_entered(NEW.jydjh, NEW.xmxh);
                END IF;
                RETURN NEW;
            END IF;
            IF NOT EXISTS (SELECT FROM {OWN_SCHEMA}.login
                           WHERE login = current_user AND NEW.yybh IN (institution_code, short_code)) THEN
                RAISE EXCEPTION '就医登记号 % 项目序号 %：{OTHER_INSTITUTION_ZH}', NEW.jydjh, NEW.xmxh
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            IF NEW.drbz = 1 AND NOT entered AND NOT (
                TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'his_mzxm' AND NEW.bz1 IS NOT NULL
                AND {OWN_SCHEMA}.was_entered(NEW.jydjh, NEW.xmxh)
            ) THEN
                RAISE EXCEPTION '就医登记号 % 项目序号 %：{FLAG_IS_OURS_ZH}', NEW.jydjh, NEW.xmxh
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$"""
    yield f"""CREATE FUNCTION {OWN_SCHEMA}.tell_of_lines() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT {OWN_SCHEMA}.is_insurance() THEN
                PERFORM pg_notify('{CHANNEL}', yybh) FROM (SELECT DISTINCT yybh FROM touched) AS institutions;
            END IF;
            RETURN NULL;
        END $$"""
    yield f"""CREATE FUNCTION {OWN_SCHEMA}.notice_remark() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.bz1 IS DISTINCT FROM OLD.bz1 THEN
                PERFORM {OWN_SCHEMA}.note_remark(current_user, NEW.jydjh, OLD.bz1, NEW.bz1);
            END IF;
            RETURN NULL;
        END $$"""
    # Rights the permission tables do not give and the decisions add, each for one purpose only.
    for table in RESULTS:
        yield f"""CREATE FUNCTION {OWN_SCHEMA}.supersede_{table}(a_jydjh varchar, before numeric) RETURNS bigint
            LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
            AS $$ WITH superseded AS (
                      UPDATE {SCHEMA}.{table} SET drbz = 1
                      WHERE jydjh = a_jydjh AND fypc < before AND drbz IS DISTINCT FROM 1 RETURNING 1)
                  SELECT count(*) FROM superseded $$"""
    for table in REGISTRATIONS:
        lines = "HIS_CFXM" if table == "HIS_ZYDJ" else "HIS_MZXM"
        yield f"""CREATE FUNCTION {OWN_SCHEMA}.cancel_{table}(a_jydjh varchar) RETURNS void
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
            BEGIN
                IF EXISTS (SELECT FROM {SCHEMA}.{lines} WHERE jydjh = a_jydjh AND drbz = 1) THEN
                    RAISE EXCEPTION '就医登记号 % 已有读入的明细，不能取消登记', a_jydjh
                        USING ERRCODE = 'integrity_constraint_violation';
                END IF;
                UPDATE {SCHEMA}.{table} SET bz3 = 'CANCEL' WHERE jydjh = a_jydjh;
            END $$"""
    cleared = "; ".join(f"DELETE FROM {OWN_SCHEMA}.{view}" for view in VIEWS)
    yield f"""CREATE FUNCTION {OWN_SCHEMA}.begin_catalogue(a_version varchar) RETURNS void
        LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
        AS $$ SELECT; {cleared}; UPDATE {OWN_SCHEMA}.catalogue SET version = a_version $$"""


def _triggers() -> Iterator[str]:
    for table in LINES:
        yield (
            f"CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON {SCHEMA}.{table} "
            f"FOR EACH ROW EXECUTE FUNCTION {OWN_SCHEMA}.guard_line()"
        )
        for event, rows in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            yield (
                f"CREATE TRIGGER tell_of_{event} AFTER {event} ON {SCHEMA}.{table} REFERENCING {rows} TABLE AS touched "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {OWN_SCHEMA}.tell_of_lines()"
            )
    yield (
        f"CREATE TRIGGER notice AFTER UPDATE ON {SCHEMA}.HIS_CYDJ "
        f"FOR EACH ROW EXECUTE FUNCTION {OWN_SCHEMA}.notice_remark()"
    )


def _grants() -> Iterator[str]:
    for right in rights():
        role = ROLE_OF[right.actor]
        whole = [action.upper() for action in Action if action in right.actions and action is not Action.UPDATE]
        if right.columns:
            updated = ", ".join(map(_name, right.columns))
            whole.append(f"UPDATE ({updated})")
        yield f"GRANT {', '.join(whole)} ON {SCHEMA}.{right.table} TO {role}"
        if right.table in VIEWS:
            yield f"GRANT {', '.join(whole)} ON {OWN_SCHEMA}.{right.table} TO {role}"
    yield f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {OWN_SCHEMA} FROM PUBLIC"
    for_both = ("is_insurance()", "was_entered(varchar, numeric)")
    for_his = ("note_remark(name, varchar, varchar, varchar)",)
    for_insurance = (
        "note_entered(varchar, numeric)",
        *(f"supersede_{table}(varchar, numeric)" for table in RESULTS),
        *(f"cancel_{table}(varchar)" for table in REGISTRATIONS),
        "begin_catalogue(varchar)",
    )
    for function in for_both:
        yield f"GRANT EXECUTE ON FUNCTION {OWN_SCHEMA}.{function} TO {HIS_ROLE}, {INSURANCE_ROLE}"
    for function in for_his:
        yield f"GRANT EXECUTE ON FUNCTION {OWN_SCHEMA}.{function} TO {HIS_ROLE}"
    for function in for_insurance:
        yield f"GRANT EXECUTE ON FUNCTION {OWN_SCHEMA}.{function} TO {INSURANCE_ROLE}"


def _words_of_other_databases() -> Iterator[str]:
    """What a HIS written for another database says in its statements, where PostgreSQL takes it as a function."""
    for name in ("nvl", "isnull", "ifnull"):
        yield (
            f"CREATE FUNCTION {SCHEMA}.{name}(anycompatible, anycompatible) RETURNS anycompatible LANGUAGE sql "
            "IMMUTABLE AS $$ SELECT coalesce($1, $2) $$"
        )
    yield f"CREATE FUNCTION {SCHEMA}.getdate() RETURNS timestamp LANGUAGE sql STABLE AS $$ SELECT localtimestamp(0) $$"
    yield f"CREATE VIEW {SCHEMA}.dual AS SELECT 'X'::varchar(1) AS dummy"
    yield f"GRANT SELECT ON {SCHEMA}.dual TO {HIS_ROLE}"


def _grade_dress() -> Iterator[str]:
    """Schema `gwyjb`: the registration tables with the civil-servant grade as their 9th column, and the side table."""
    schema = "gwyjb"
    yield f"CREATE SCHEMA {schema}"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {HIS_ROLE}"
    for table in REGISTRATIONS:
        columns = []
        for code in layout(table).codes:
            columns.append(f"t.{_name(code)}")
            if code == GRADE_AFTER:
                grade = _name(GRADE_COLUMN)
                columns.append(f"(SELECT g.{grade} FROM {OWN_SCHEMA}.grade AS g WHERE g.jydjh = t.jydjh) AS {grade}")
        yield _dress_view(schema, table, columns)
    yield _table(schema, LIMITED_USE, limited_use_fields())
    yield from _comments(schema, LIMITED_USE, limited_use_fields())
    yield f"CREATE INDEX {LIMITED_USE}_key ON {schema}.{LIMITED_USE} (jydjh, xmxh)"
    yield f"ALTER TABLE {schema}.{LIMITED_USE} ENABLE ROW LEVEL SECURITY"
    yield _policy_for_insurance(schema, LIMITED_USE)
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.{LIMITED_USE} TO {HIS_ROLE}"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {INSURANCE_ROLE}"
    yield f"GRANT SELECT ON {schema}.{LIMITED_USE} TO {INSURANCE_ROLE}"


def _dress_view(schema: str, table: str, columns: Iterable[str]) -> str:
    """A view of one table whose plain columns can be written as the table's own can."""
    selected = ", ".join(columns)
    return (
        f"CREATE VIEW {schema}.{table} WITH (security_invoker) AS SELECT {selected} FROM {SCHEMA}.{table} AS t; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.{table} TO {HIS_ROLE}"
    )


def _text_dress() -> Iterator[str]:
    """Schema `texts`: line tables that take days and categories as any text, for a HIS whose literals PostgreSQL's
    own types refuse: an empty text, 2026年11月22日, 20261122083000, 上午 and 下午."""
    schema = "texts"
    yield f"CREATE SCHEMA {schema}"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {HIS_ROLE}"
    yield f"""CREATE FUNCTION {schema}.day_of(said text) RETURNS date LANGUAGE plpgsql STABLE AS $$
        DECLARE t text := btrim(translate(said, '年月／．－０１２３４５６７８９　', '--/.-0123456789 '));
        BEGIN
            t := regexp_replace(t, '\\s*日.*$', '');
            t := regexp_replace(t, '\\s*[上下中]午\\s*', ' ');
            t := regexp_replace(t, '^(\\d{{8}})\\d{{4,9}}$', '\\1');
            RETURN nullif(btrim(t), '')::date;
        EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
            RAISE EXCEPTION '日期“%”无法识别，请按 YYYY-MM-DD 填写', said USING ERRCODE = 'invalid_datetime_format';
        END $$"""
    yield f"""CREATE FUNCTION {schema}.number_of(said text) RETURNS numeric LANGUAGE sql IMMUTABLE
        AS $$ SELECT nullif(btrim(replace(translate(said, '０１２３４５６７８９．－', '0123456789.-'), ',', '')), '')
              ::numeric $$"""
    for table in LINES:
        yield from _text_view(schema, table)


def _text_view(schema: str, table: str) -> Iterator[str]:
    fields = layout(table)
    as_text = {field.code for field in fields if field.oracle_type == "DATE"} | {"FLDM"}
    columns = [f"t.{_name(f.code)}" + ("::text" if f.code in as_text else "") for f in fields]
    yield _dress_view(schema, table, columns)

    def taken(field: Field) -> str:
        if field.code not in as_text:
            return f"NEW.{_name(field.code)}"
        reader = "day_of" if field.oracle_type == "DATE" else "number_of"
        return f"{schema}.{reader}(NEW.{_name(field.code)})"

    values = ", ".join(taken(field) for field in fields)
    names = ", ".join(_name(field.code) for field in fields)
    old = " AND ".join(f"{_name(f.code)} = OLD.{_name(f.code)}" for f in fields if f.code in ("JYDJH", "XMXH"))
    same = " AND ".join(
        f"{_name(f.code)}{'::text' if f.code in as_text else ''} IS NOT DISTINCT FROM OLD.{_name(f.code)}"
        for f in fields
        if f.code not in ("JYDJH", "XMXH")
    )
    yield f"""CREATE FUNCTION {schema}.write_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO {SCHEMA}.{table} ({names}) VALUES ({values});
                RETURN NEW;
            ELSIF TG_OP = 'UPDATE' THEN
                UPDATE {SCHEMA}.{table} SET ({names}) = ROW ({values}) WHERE {old} AND {same};
                RETURN NEW;
            ELSE
                DELETE FROM {SCHEMA}.{table} WHERE {old} AND {same};
                RETURN OLD;
            END IF;
        END $$"""
    yield (
        f"CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON {schema}.{table} "
        f"FOR EACH ROW EXECUTE FUNCTION {schema}.write_{table}()"
    )
