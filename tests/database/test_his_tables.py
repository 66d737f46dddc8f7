"""The shared tables themselves: columns as printed, rows that are read in frozen, the dresses, the views."""

from __future__ import annotations

import sqlite3
from datetime import date
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from producers.his.fields import Field, layout
from producers.his.tables.objects import LINES, TABLES, VIEWS, dressed_codes
from producers.his.tables.postgres_site import Tenant, UnknownDress, make_tables
from producers.his.tables.values import bytes_of, line_of, stored_as, value_of
from tests.support.exchange import (
    CLINIC,
    DAY,
    HOSPITAL,
    VISIT,
    a_row,
    exchange_file,
    file_as_insurance,
    file_of_his,
    his,
    insert_sql,
    insurance,
    literal_insert,
    make_exchange,
)

DRESSED = Tenant("440100000003", "T00003", ("gwyjb", "texts"))
LINE = a_row("HIS_CFXM", BZ1=None, BZ2=None, BZ3=None)


@pytest.fixture(scope="module")
def url(empty_database):
    make_exchange(empty_database, HOSPITAL, CLINIC, DRESSED)
    return empty_database


@pytest.fixture
def hospital(url):
    with psycopg.connect(url, autocommit=True) as owner:
        for table in (*TABLES, "HIS_CFXM"):
            owner.execute(f"TRUNCATE his.{table}")
        owner.execute("TRUNCATE exchange.entered_line, exchange.grade")
    with his(url) as connection:
        yield connection


# ── Columns ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", [*TABLES, *VIEWS])
def test_columns_have_the_printed_names_order_and_types(url, table):
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale, is_nullable "
            "FROM information_schema.columns WHERE table_schema = 'his' AND table_name = %s ORDER BY ordinal_position",
            [table.lower()],
        ).fetchall()

    assert [row[0].upper() for row in found] == list(layout(table).codes)
    for field, (_, kind, length, precision, scale, nullable) in zip(layout(table), found, strict=True):
        match field.oracle_type:
            case "DATE":
                assert kind == "date"
            case "NUMBER":
                assert (kind, precision, scale) == ("numeric", field.digits, field.decimals)
            case _:
                assert kind == ("character" if field.oracle_type == "CHAR" else "character varying")
                assert length == field.width
        if table in TABLES:
            assert (nullable == "NO") == field.required


@pytest.mark.parametrize("table", [*TABLES, *VIEWS])
def test_a_file_has_the_printed_types_word_by_word(tmp_path, table):
    connection = file_of_his(exchange_file(tmp_path))
    found = connection.execute(f"PRAGMA table_info({table})").fetchall()
    connection.close()

    assert [row[1] for row in found] == list(layout(table).codes)
    for field, row in zip(layout(table), found, strict=True):
        assert row[2].startswith(field.oracle_type)
        if table in TABLES:
            assert bool(row[3]) == field.required


def test_a_column_tells_its_chinese_name(url):
    with psycopg.connect(url) as connection:
        told = connection.execute("SELECT col_description('his.his_cfxm'::regclass, 13)").fetchone()
    assert told == ("单价",)


def test_making_the_tables_again_changes_nothing(url):
    with psycopg.connect(url, autocommit=True) as connection:
        assert make_tables(connection) is False


# ── Values ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02",
        "2026/03/02",
        "2026/3/2",
        "20260302",
        "2026-03-02 08:30:00",
        "2026/3/2 8:30:00",
        "20260302 08:30:00",
    ],
)
def test_days_come_in_the_usual_ways_to_write_them(hospital, tmp_path, text):
    hospital.execute(literal_insert("HIS_CFXM", LINE | {"FYRQ": text}))
    assert hospital.execute("SELECT FYRQ FROM HIS_CFXM").fetchone() == (DAY,)

    file = file_of_his(exchange_file(tmp_path))
    file.execute(literal_insert("HIS_CFXM", LINE | {"FYRQ": text}))
    assert file.execute("SELECT FYRQ FROM HIS_CFXM").fetchone() == ("2026-03-02",)
    file.close()


@pytest.mark.parametrize(
    "text", ["2026年3月2日", "2026年03月02日 上午08:30", "20260302083000", "2026-03-02 下午 2:30:00"]
)
def test_days_that_postgresql_does_not_know_come_in_by_the_dress(url, hospital, tmp_path, text):
    row = LINE | {"YYBH": DRESSED.institution_code, "FYRQ": text, "FLDM": ""}
    with his(url, DRESSED) as connection:
        connection.execute(literal_insert("HIS_CFXM", row).replace("NULL", "''"))
        assert connection.execute("SELECT FYRQ, FLDM FROM HIS_CFXM").fetchall() == [("2026-03-02", None)]
        assert connection.execute("UPDATE HIS_CFXM SET FYRQ = '2026/3/3', JE = 26 WHERE FYRQ >= '2026-03-01'").rowcount
    with insurance(url) as connection:
        assert connection.execute("SELECT FYRQ, JE FROM HIS_CFXM").fetchall() == [(date(2026, 3, 3), Decimal(26))]
    with his(url, DRESSED) as connection:
        with pytest.raises(psycopg.errors.InvalidDatetimeFormat, match="日期“昨天”无法识别"):
            connection.execute(literal_insert("HIS_CFXM", row | {"FYRQ": "昨天"}))
        assert connection.execute("DELETE FROM HIS_CFXM WHERE JYDJH = %s", [VISIT]).rowcount == 1


def test_numbers_come_as_texts_and_amounts_unrounded(hospital):
    hospital.execute(literal_insert("HIS_CFXM", LINE | {"FLDM": "000", "JG": "16.665", "MCYL": "1.5", "JE": "24.9975"}))
    assert hospital.execute("SELECT FLDM, JG, MCYL, JE FROM HIS_CFXM").fetchone() == (
        Decimal(0), Decimal("16.6650"), Decimal("1.50"), Decimal("25.00"),
    )  # fmt: skip


def test_a_name_of_twenty_characters_fits_and_of_twenty_one_does_not(hospital, tmp_path):
    file = file_of_his(exchange_file(tmp_path))
    for run, refused in ((hospital.execute, psycopg.errors.CheckViolation), (file.execute, sqlite3.IntegrityError)):
        run(literal_insert("HIS_CFXM", LINE | {"XMMC": "注射用头孢曲松钠舒巴坦钠复方制剂二十个字"}))
        with pytest.raises(refused, match=r"HIS_CFXM.XMMC不超过40字节"):
            run(literal_insert("HIS_CFXM", LINE | {"XMMC": "注射用头孢曲松钠舒巴坦钠复方制剂二十一个字"}))
    file.close()


def _texts(field: Field) -> st.SearchStrategy[str]:
    """Any text of the column: every character, no more bytes of GBK than it has, no blanks at the end, no NUL."""
    characters = st.characters(codec="gb18030", exclude_characters="\x00", exclude_categories=["Cs"])
    return st.text(characters, max_size=field.width).map(lambda text: _cut(text, field.width).rstrip())


def _cut(text: str, width: int) -> str:
    """As much of the text as fits: throwing away what is too long would throw away most of what is drawn."""
    while bytes_of(text) > width:
        text = text[:-1]
    return text


def _values(field: Field) -> st.SearchStrategy[object]:
    match field.kind:
        case "C":
            texts = _texts(field)
            return texts.filter(bool) if field.required else texts
        case "D":
            days = st.dates(date(1000, 1, 1), date(9999, 12, 31))
            return days if field.required else days | st.none()
        case _:
            most = Decimal(10 ** (field.digits or 0) - 1).scaleb(-field.decimals)
            numbers = st.decimals(-most if field.is_signed else 0, most, places=field.decimals)
            return numbers if field.required else numbers | st.none()


def _records(table: str) -> st.SearchStrategy[dict[str, object]]:
    fixed = {"YYBH": st.just(HOSPITAL.institution_code), "DRBZ": st.sampled_from([Decimal(0), Decimal(2)])}
    return st.fixed_dictionaries({field.code: fixed.get(field.code, _values(field)) for field in layout(table)})


ROUND_TRIP = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,  # the database and the file serve all examples, each taken back
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@pytest.mark.parametrize("table", TABLES)
@ROUND_TRIP
@given(data=st.data())
def test_any_record_goes_into_postgresql_and_comes_back(url, table, data):
    record = data.draw(_records(table))
    fields = layout(table)
    with psycopg.connect(url, autocommit=False) as connection:
        row = {field.code: stored_as(field, record[field.code], native=True) for field in fields}
        statement, values = insert_sql(f"his.{table}", row, mark="%s")
        connection.execute(statement, values)
        found = connection.execute(
            f"SELECT * FROM his.{table} WHERE jydjh = %s AND yybh = %s", [record["JYDJH"], HOSPITAL.institution_code]
        ).fetchall()
        connection.rollback()

    assert [{f.code: value_of(f, value) for f, value in zip(fields, each, strict=True)} for each in found] == [record]


@pytest.fixture(scope="module")
def file_of_round_trips(tmp_path_factory):
    connection = file_of_his(exchange_file(tmp_path_factory.mktemp("round_trips")))
    yield connection
    connection.close()


@pytest.mark.parametrize("table", TABLES)
@ROUND_TRIP
@given(data=st.data())
def test_any_record_goes_into_a_file_and_comes_back(file_of_round_trips, table, data):
    record = data.draw(_records(table))
    fields = layout(table)
    row = {field.code: stored_as(field, record[field.code], native=False) for field in fields}
    connection = file_of_round_trips
    connection.execute("BEGIN")
    connection.execute("UPDATE exchange_actor SET who = 'the test'")
    try:
        connection.execute(*insert_sql(table, row, mark="?"))
        [found] = connection.execute(f"SELECT * FROM {table}").fetchall()
    finally:
        connection.execute("ROLLBACK")

    assert {field.code: value_of(field, value) for field, value in zip(fields, found, strict=True)} == record


def test_a_line_is_the_same_line_from_either_database(hospital, tmp_path):
    file = file_of_his(exchange_file(tmp_path))
    for row in (LINE, LINE | {"MCYL": "-1", "JE": "-12.5"}, LINE | {"XMMC": None, "JE": None, "YPGG": "  a "}):
        hospital.execute("DELETE FROM HIS_CFXM")
        file.execute("DELETE FROM HIS_CFXM")
        hospital.execute(literal_insert("HIS_CFXM", row))
        file.execute(literal_insert("HIS_CFXM", row))
        codes = layout("HIS_CFXM").codes
        there = [
            line_of(dict(zip(codes, run("SELECT * FROM HIS_CFXM").fetchone(), strict=True)))
            for run in (hospital.execute, file.execute)
        ]
        assert there[0] == there[1]
        assert there[0].line.door_code == ""
    file.close()


@pytest.mark.parametrize(
    ("code", "value"), [("JG", "很多"), ("JE", "99999999999"), ("XMXH", 100000), ("FLDM", -1), ("XMBH", "é" * 8 + "𠀀")]
)
def test_what_only_a_file_lets_in_is_code_96(tmp_path, code, value):
    file = file_of_his(exchange_file(tmp_path))
    file.execute(*insert_sql("HIS_CFXM", LINE | {code: value}, mark="?"))
    [row] = file.execute("SELECT * FROM HIS_CFXM").fetchall()
    file.close()

    assert line_of(dict(zip(layout("HIS_CFXM").codes, row, strict=True))).line.door_code == "96"


def test_words_of_other_databases_are_understood(hospital):
    hospital.execute(literal_insert("HIS_CFXM", LINE | {"XMXH": 7}))
    for statement in (
        "SELECT nvl(max(XMXH), 0) + 1 FROM HIS_CFXM",
        "SELECT isnull(max(XMXH), 0) + 1 FROM HIS_CFXM",
        "SELECT ifnull(max(XMXH), 0) + 1 FROM HIS_CFXM",
        "SELECT count(*) + 7 FROM dual",
        "SELECT XMXH + 1 FROM HIS_CFXM WHERE FYRQ = to_date('2026-03-02', 'yyyy-mm-dd') AND FYRQ < getdate() + '99y'",
    ):
        assert hospital.execute(statement).fetchone() == (8,), statement


# ── Frozen rows (AMB-35) ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["database", "file"])
def shared(request, url, tmp_path):
    """Two lines of a visit, the first read in: how a HIS runs a statement, and the error it gets."""
    if request.param == "database":
        connection = request.getfixturevalue("hospital")
        refused = psycopg.errors.IntegrityConstraintViolation

        def import_first(table):
            with insurance(url) as ours:
                ours.execute(f"UPDATE {table} SET DRBZ = 1, BZ1 = 'now', BZ3 = '00' WHERE XMXH = 1")
    else:
        file = exchange_file(tmp_path)
        connection, refused = file_of_his(file), sqlite3.IntegrityError
        request.addfinalizer(connection.close)

        def import_first(table):
            connection.execute("UPDATE exchange_actor SET who = 'insurance_system'")
            connection.execute(f"UPDATE {table} SET DRBZ = 1, BZ1 = 'now', BZ3 = '00' WHERE XMXH = 1")
            connection.execute("UPDATE exchange_actor SET who = 'his'")

    return connection.execute, refused, import_first


FROZEN = r"明细已读入医保系统（DRBZ=1），不能修改或删除；请新增负数量的冲减明细更正"


@pytest.mark.parametrize("table", LINES)
def test_a_row_that_is_read_in_is_frozen_and_the_whole_statement_fails(shared, table):
    run, refused, import_first = shared
    for number in (1, 2):
        run(literal_insert(table, LINE | {"XMXH": number}))
    import_first(table)

    for statement in (
        f"DELETE FROM {table} WHERE JYDJH = '{VISIT}'",
        f"DELETE FROM {table} WHERE XMXH = 1",
        f"UPDATE {table} SET JE = 1 WHERE XMXH = 1",
        f"UPDATE {table} SET JE = 1",
        f"UPDATE {table} SET BZ2 = 'x'",
        f"UPDATE {table} SET DRBZ = 0",
        f"UPDATE {table} SET JYDJH = 'X' WHERE XMXH = 1",
    ):
        with pytest.raises(refused, match=FROZEN):
            run(statement)
    assert run(f"SELECT count(*) FROM {table}").fetchone() == (2,)
    assert run(f"SELECT count(*) FROM {table} WHERE JE = 25").fetchone() == (2,)

    assert run(f"DELETE FROM {table} WHERE JYDJH = '{VISIT}' AND DRBZ = 0").rowcount == 1
    run(literal_insert(table, LINE | {"XMXH": 2}))


@pytest.mark.parametrize("table", LINES)
def test_a_his_does_not_say_that_a_row_was_read_in(shared, table):
    run, _, _ = shared
    with pytest.raises((psycopg.Error, sqlite3.Error), match="读入标志 DRBZ=1 由医保系统读入明细后填写"):
        run(literal_insert(table, LINE | {"DRBZ": 1}))
    run(literal_insert(table, LINE | {"DRBZ": 0}))
    with pytest.raises((psycopg.Error, sqlite3.Error), match="读入标志 DRBZ=1"):
        run(f"UPDATE {table} SET DRBZ = 1")
    assert run(f"UPDATE {table} SET DRBZ = 2, XMMC = 'x'").rowcount == 1
    assert run(f"UPDATE {table} SET DRBZ = 0").rowcount == 1


def test_a_line_we_wrote_is_the_hospitals_to_mark(url, hospital, tmp_path):
    """Flow one (WF-05): the insurance system writes HIS_MZXM and the HIS flags what it read."""
    written = a_row("HIS_MZXM")
    with insurance(url) as ours:
        ours.execute(*insert_sql("HIS_MZXM", written, mark="%s"))
    file = file_of_his(exchange_file(tmp_path))
    with file_as_insurance(file):
        file.execute(*insert_sql("HIS_MZXM", written, mark="?"))
        file.execute("UPDATE exchange_actor SET who = 'his'")
        for run in (hospital.execute, file.execute):
            assert run("UPDATE HIS_MZXM SET DRBZ = 1, BZ2 = 'read'").rowcount == 1
            assert run("UPDATE HIS_MZXM SET BZ2 = 'again'").rowcount == 1
            assert run("DELETE FROM HIS_MZXM").rowcount == 1
    file.close()


# ── Dress ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", ["HIS_ZYDJ", "HIS_MZDJ"])
def test_the_dress_shows_the_grade_in_its_place_and_takes_the_flag(url, hospital, table):
    row = a_row(table, YYBH=DRESSED.institution_code, RYLB="1", ZYH="Z9")
    with insurance(url) as ours:
        ours.execute(*insert_sql(table, row, mark="%s"))
        ours.execute("INSERT INTO exchange.grade VALUES (%s, %s, '2')", [VISIT, DRESSED.institution_code])
    with his(url, DRESSED) as connection:
        cursor = connection.execute(f"SELECT * FROM {table}")
        assert [column.name.upper() for column in cursor.description] == list(dressed_codes(table))
        [found] = cursor.fetchall()
        assert found[7:10] == ("1", "2", "Z9")
        assert connection.execute(f"UPDATE {table} SET DRBZ = 1, BZ2 = 'read' WHERE JYDJH = %s", [VISIT]).rowcount == 1
        for statement in (f"UPDATE {table} SET XM = 'x'", f"DELETE FROM {table}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert hospital.execute(f"SELECT * FROM {table}").description[8].name == "zyh"


def test_the_side_table_is_there_for_who_asked_for_it(url, hospital):
    row = (VISIT, DRESSED.institution_code, "x", "Z1", 1, "L001", "药", 1, "12.5", "1", None, None, None, "限二线用药")
    insert = f"INSERT INTO HIS_CFXM_JKSYBZ VALUES ({', '.join(['%s'] * 14)})"
    with his(url, DRESSED) as connection:
        connection.execute(insert, row)
        assert connection.execute("SELECT RANGE, AKA185 FROM HIS_CFXM_JKSYBZ").fetchall() == [("限二线用药", "1")]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(insert, (VISIT, HOSPITAL.institution_code, *row[2:]))
        connection.execute("DELETE FROM HIS_CFXM_JKSYBZ")
    with pytest.raises(psycopg.errors.UndefinedTable):
        hospital.execute("SELECT * FROM HIS_CFXM_JKSYBZ")


def test_a_file_in_that_dress_has_the_column_and_the_side_table(tmp_path):
    file = file_of_his(exchange_file(tmp_path, Tenant("440100000001", "T00001", ("gwyjb",))))
    assert [row[1] for row in file.execute("PRAGMA table_info(HIS_MZDJ)")] == list(dressed_codes("HIS_MZDJ"))
    assert file.execute("SELECT count(*) FROM HIS_CFXM_JKSYBZ").fetchone() == (0,)
    file.close()


def test_an_unknown_dress_is_named():
    with pytest.raises(UnknownDress, match="'gwy'"):
        _ = Tenant("1", "1", ("gwy",)).schemas


# ── News and patience ─────────────────────────────────────────────────────────────────────────────────────


def test_what_a_his_commits_is_told_at_once_and_what_we_mark_is_not(url, hospital):
    from producers.his.tables.postgres import PostgresTables

    tables = PostgresTables(url)
    try:
        assert tables.wait_for_changes(0) == set()
        with his(url, autocommit=False) as slow:
            slow.execute(literal_insert("HIS_CFXM", LINE))
            assert tables.wait_for_changes(0.1) == set()
            slow.commit()
        assert tables.wait_for_changes(5) == {HOSPITAL.institution_code}
        for statement in ("UPDATE HIS_CFXM SET XMMC = 'x'", "DELETE FROM HIS_CFXM"):
            hospital.execute(statement)
            assert tables.wait_for_changes(5) == {HOSPITAL.institution_code}
        hospital.execute(literal_insert("HIS_MZXM", LINE))
        assert tables.wait_for_changes(5) == {HOSPITAL.institution_code}
        with insurance(url) as ours:
            ours.execute("UPDATE HIS_MZXM SET DRBZ = 2, BZ3 = '06'")
        assert tables.wait_for_changes(0.2) == set()
    finally:
        tables.close()


def test_a_login_may_keep_a_transaction_open_for_hours(hospital):
    for name in ("idle_in_transaction_session_timeout", "statement_timeout", "idle_session_timeout"):
        assert hospital.execute(f"SHOW {name}").fetchone() == ("0",)


def test_a_flag_that_was_left_empty_is_unread(url, hospital):
    from producers.his.tables.postgres import PostgresTables

    hospital.execute(literal_insert("HIS_CFXM", LINE | {"DRBZ": None}))
    tables = PostgresTables(url)
    try:
        with tables.engine.connect() as connection:
            owners = [HOSPITAL.institution_code]
            assert tables.waiting_visits(connection, "HIS_CFXM", owners, after="", at_most=9, failed=False) == [VISIT]
            assert tables.count_waiting(connection, "HIS_CFXM", owners) == (1, 0)
            assert tables.refused_by_his(connection, owners) == 0
    finally:
        tables.close()


# ── Indexes ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_look_reads_no_imported_row(url, hospital):
    """Two hundred thousand imported lines, three that are not: the plan says which are touched."""
    from producers.his.tables.postgres import PostgresTables

    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute(
            "INSERT INTO his.HIS_CFXM (jydjh, yybh, gmsfhm, ryrq, fyrq, xmxh, xmbh, jg, mcyl, je, drbz) "
            "SELECT 'T0000126030' || lpad((n / 100)::text, 5, '0'), '440100000001', 'x', '2026-03-02', '2026-03-02', "
            "n % 100 + 1, 'L001', 1, 1, 1, CASE WHEN n IN (7, 70007) THEN 0 WHEN n = 140007 THEN 2 ELSE 1 END "
            "FROM generate_series(1, 200000) AS n"
        )
        owner.execute("ANALYZE his.HIS_CFXM")
    tables = PostgresTables(url)
    try:
        owners = ["440100000001", "T00001"]
        with tables.acting() as connection:
            found = {
                failed: tables.waiting_visits(connection, "HIS_CFXM", owners, after="", at_most=50, failed=failed)
                for failed in (False, True)
            }
            taken = tables.take(connection, "HIS_CFXM", owners, [*found[False], *found[True]])
        assert found == {False: ["T000012603000000", "T000012603000700"], True: ["T000012603001400"]}
        assert sum(map(len, taken.values())) == 3

        plans = []
        with tables.engine.connect() as connection:
            for condition in (tables.unread, tables.failed):
                sql = (
                    f"EXPLAIN (FORMAT TEXT) SELECT DISTINCT jydjh FROM his.HIS_CFXM WHERE yybh = "
                    f"ANY(ARRAY['440100000001','T00001']) AND {condition} AND jydjh > '' ORDER BY jydjh LIMIT 50"
                )
                plans.append("\n".join(row[0] for row in connection.exec_driver_sql(sql)))
        assert "his_cfxm_unread" in plans[0]
        assert "his_cfxm_failed" in plans[1]
        assert not any("Seq Scan" in plan for plan in plans)
    finally:
        tables.close()
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("TRUNCATE his.HIS_CFXM")


def test_the_readers_of_a_his_use_indexes(url, hospital):
    """Every query of a HIS is narrowed to its rows by row rights, whatever it asks."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO his.HIS_FYJS (jydjh, fypc, yybh, gmsfhm, ryrq, jsrq, zyzje, drbz) "
            "SELECT 'T0000126030' || lpad((n / 2)::text, 5, '0'), n % 2, '44010000000' || n % 9, 'x', '2026-03-02', "
            "'2026-03-02', 1, 1 FROM generate_series(1, 50000) AS n"
        )
        owner.execute("ANALYZE his.HIS_FYJS")
    for query in (
        f"SELECT * FROM HIS_FYJS WHERE JYDJH = '{VISIT}'",
        f"SELECT max(FYPC) FROM HIS_FYJS WHERE JYDJH = '{VISIT}'",
        f"UPDATE HIS_FYJS SET DRBZ = 1 WHERE JYDJH = '{VISIT}'",
    ):
        plan = "\n".join(row[0] for row in hospital.execute(f"EXPLAIN {query}"))
        assert "Index" in plan, plan
        assert "Seq Scan" not in plan, plan
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("TRUNCATE his.HIS_FYJS")


def test_rows_alike_go_out_in_one_statement_however_many(url, hospital):
    rows = [a_row("HIS_MZJS", JYDJH=f"T000012603{n:06d}", FYPC=n % 2, DRBZ=0) for n in range(60)]
    from producers.his.tables.postgres import PostgresTables

    tables = PostgresTables(url)
    sent = []
    event.listen(tables.engine, "before_cursor_execute", lambda *of: sent.append(of[2]))
    try:
        with tables.acting() as connection:
            assert tables.put(connection, "HIS_MZJS", rows) == 60
            assert tables.put(connection, "HIS_MZJS", rows) == 0
    finally:
        tables.close()

    assert sum("HIS_MZJS" in statement for statement in sent) == 4, "twice the rows, twice what they supersede"
    assert hospital.execute("SELECT count(*) FROM HIS_MZJS").fetchone() == (60,)


def test_a_line_that_is_handed_out_twice_at_once_is_there_once(url, hospital):
    from producers.his.tables.postgres import PostgresTables

    rows = [a_row("HIS_MZXM", XMXH=number, BZ1=None, BZ2=None, BZ3=None, DRBZ=0) for number in (1, 2, 1)]
    tables = PostgresTables(url)
    try:
        with tables.acting() as connection:
            assert tables.put(connection, "HIS_MZXM", rows) == 2
            assert tables.put(connection, "HIS_MZJS", []) == 0
    finally:
        tables.close()

    assert hospital.execute("SELECT XMXH FROM HIS_MZXM ORDER BY XMXH").fetchall() == [(1,), (2,)]
