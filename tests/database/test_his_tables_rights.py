"""Each line of the permission tables, tried: what is allowed works and what is forbidden is refused, on PostgreSQL by
grants and row rights, in a file by triggers, as the HIS login and as the insurance login."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager

import psycopg
import pytest

from producers.his.fields import layout
from producers.his.tables.objects import TABLES, VIEWS
from producers.his.tables.rights import Action, Actor, Right, right_of, rights
from tests.support.exchange import (
    CLINIC,
    EVERYTHING,
    HOSPITAL,
    VISIT,
    a_row,
    exchange_file,
    file_as_insurance,
    file_of_his,
    his,
    insert_sql,
    insurance,
    make_exchange,
)

OTHER_VISIT = "T000012603020002"


def _ids(right: Right) -> str:
    return f"{right.table}-{right.actor}"


@pytest.fixture(scope="module")
def url(empty_database):
    make_exchange(empty_database, HOSPITAL, CLINIC)
    return empty_database


@pytest.fixture(scope="module")
def rows_there(url):
    """One row in every table, as the database's owner wrote it."""
    with psycopg.connect(url, autocommit=True) as owner:
        for table in EVERYTHING:
            schema = "exchange" if table in VIEWS else "his"
            statement, values = insert_sql(f"{schema}.{table}", a_row(table), mark="%s")
            owner.execute(statement, values)


@pytest.fixture
def database(url, rows_there):
    """Runs a statement as one of the two logins and takes it back; how many rows it touched."""
    logins = {Actor.HIS: his(url, autocommit=False), Actor.INSURANCE: insurance(url)}
    logins[Actor.INSURANCE].autocommit = False

    def run(actor, statement, values=()):
        connection = logins[actor]
        try:
            return connection.execute(statement, values).rowcount
        finally:
            connection.rollback()

    run.mark, run.refused = "%s", psycopg.errors.InsufficientPrivilege
    yield run
    for connection in logins.values():
        connection.close()


@pytest.fixture
def file(tmp_path):
    """The same in a file, where the two systems are told apart by who opened the transaction."""
    connection = file_of_his(exchange_file(tmp_path))
    with _owner(connection):
        for table in EVERYTHING:
            base = f"exchange_{table}" if table in VIEWS else table
            connection.execute(*insert_sql(base, a_row(table), mark="?"))
        connection.execute("DELETE FROM exchange_entered_line")

    def run(actor, statement, values=()):
        if actor is Actor.INSURANCE:
            with file_as_insurance(connection):
                return _touched(connection, statement, values)
        connection.execute("BEGIN")
        try:
            return _touched(connection, statement, values)
        finally:
            connection.execute("ROLLBACK")

    run.mark, run.refused = "?", sqlite3.IntegrityError
    yield run
    connection.close()


@pytest.fixture(params=["database", "file"])
def run(request):
    return request.getfixturevalue(request.param)


@contextmanager
def _owner(connection):
    connection.execute("UPDATE exchange_actor SET who = 'the test'")
    yield
    connection.execute("UPDATE exchange_actor SET who = 'his'")


def _touched(connection, statement, values):
    cursor = connection.execute(statement, values)
    return len(cursor.fetchall()) if statement.startswith("SELECT") else cursor.rowcount


@pytest.mark.parametrize("right", rights(), ids=_ids)
def test_select_is_everybodys(run, right):
    assert run(right.actor, f"SELECT * FROM {right.table}") == 1


@pytest.mark.parametrize("right", rights(), ids=_ids)
def test_insert(run, right):
    row = a_row(right.table, **({"JYDJH": OTHER_VISIT} if right.table in TABLES else {}))
    statement, values = insert_sql(right.table, row, mark=run.mark)

    if Action.INSERT in right.actions:
        run(right.actor, statement, values)
    else:
        with pytest.raises(run.refused):
            run(right.actor, statement, values)


@pytest.mark.parametrize("right", rights(), ids=_ids)
def test_delete(run, right):
    statement = f"DELETE FROM {right.table}"

    if Action.DELETE in right.actions:
        assert run(right.actor, statement) == 1
    else:
        with pytest.raises(run.refused):
            run(right.actor, statement)


@pytest.mark.parametrize("right", rights(), ids=_ids)
def test_update_column_by_column(run, right):
    """Every column of the table: those of the right can be written, the others cannot, alone or with an allowed one."""
    for code in layout(right.table).codes:
        statement = f"UPDATE {right.table} SET {code} = {code}"
        if code in right.columns:
            assert run(right.actor, statement) == 1, code
        else:
            with pytest.raises(run.refused):
                run(right.actor, statement)
            for allowed in right.columns[:1]:
                with pytest.raises(run.refused):
                    run(right.actor, f"{statement}, {allowed} = {allowed}")


def test_flow_two_lets_the_insurance_write_what_it_has_to(run):
    """AMB-33: the file says BZ2 and DRBZ only, the save time and the result code have to be written as well."""
    assert right_of("HIS_MZXM", Actor.INSURANCE).columns == ("BZ1", "BZ2", "BZ3", "DRBZ")
    assert run(Actor.INSURANCE, "UPDATE HIS_MZXM SET BZ1 = 'now', BZ3 = '00', DRBZ = 1") == 1


def test_his_may_change_the_creation_time_of_a_discharge_and_it_is_noticed(url, rows_there):
    """AMB-33: the right is kept as it is printed; what was changed is logged."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DELETE FROM exchange.noticed")
    with his(url) as connection:
        connection.execute("UPDATE HIS_CYDJ SET BZ1 = 'later', BZ2 = 'seen', DRBZ = 1")
    with insurance(url) as connection:
        noticed = connection.execute("SELECT login, jydjh, old_bz1, new_bz1 FROM exchange.noticed").fetchall()
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("UPDATE his.HIS_CYDJ SET BZ1 = '2026-03-02 12:00:00'")

    assert noticed == [(HOSPITAL.login, VISIT, "2026-03-02 12:00:00", "later")]


def test_neither_system_truncates_or_alters_or_makes_a_table(url, rows_there):
    for connect in (his, insurance):
        for statement in (
            "TRUNCATE HIS_CFXM",
            "ALTER TABLE his.HIS_CFXM ADD COLUMN more text",
            "ALTER TABLE his.HIS_CFXM DISABLE TRIGGER guard",
            "CREATE TABLE his.mine (a int)",
            "DELETE FROM exchange.entered_line",
            "SELECT exchange.begin_catalogue('x')" if connect is his else "DELETE FROM exchange.login",
            "SELECT exchange.supersede_HIS_FYJS('x', 9)" if connect is his else "DELETE FROM exchange.release",
        ):
            with connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


# ── Rows of others (AMB-42) ───────────────────────────────────────────────────────────────────────────────


def test_no_institution_sees_a_row_of_another(url, rows_there):
    with his(url, CLINIC) as connection:
        for table in (*TABLES, "VIEW_MATCH"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        for table in ("VIEW_MEDI", "VIEW_ITEM"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table


def test_no_institution_touches_a_row_of_another(url, rows_there):
    with his(url, CLINIC) as connection:
        assert connection.execute("UPDATE HIS_FYJS SET DRBZ = 1").rowcount == 0
        assert connection.execute("DELETE FROM HIS_CFXM").rowcount == 0


def test_no_institution_writes_a_row_in_the_name_of_another(url, rows_there):
    with his(url, CLINIC) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="医院编号 YYBH 不是本登录所属医疗机构的编号"):
            connection.execute(*insert_sql("HIS_CFXM", a_row("HIS_CFXM"), mark="%s"))
        own = a_row("HIS_CFXM", YYBH=CLINIC.institution_code, JYDJH="T000022603020001")
        connection.execute(*insert_sql("HIS_CFXM", own, mark="%s"))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="医院编号"):
            connection.execute("UPDATE HIS_CFXM SET YYBH = %s", [HOSPITAL.institution_code])
        connection.execute("DELETE FROM HIS_CFXM")


def test_the_code_that_begins_the_visit_number_is_the_institutions_too(run):
    """Products take YYBH from the first six characters of JYDJH."""
    row = a_row("HIS_CFXM", YYBH=VISIT[:6], XMXH=2)
    run(Actor.HIS, *insert_sql("HIS_CFXM", row, mark=run.mark))


def test_a_login_gone_leaves_its_rows_and_takes_its_rights(url, rows_there):
    from producers.his.tables.postgres_site import Tenant, admit, dismiss, tenants

    guest = Tenant("440100000009", "T00009", ("gwyjb",))
    with psycopg.connect(url, autocommit=True) as owner:
        admit(owner, guest, "first")
        admit(owner, guest, "second")
        assert guest in tenants(owner)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.replace(url.split("//")[1].split("@")[0], f"{guest.login}:first"))
        with psycopg.connect(url.replace(url.split("//")[1].split("@")[0], f"{guest.login}:second")) as connection:
            row = a_row("HIS_CFXM", YYBH=guest.institution_code, JYDJH="T000092603020001")
            connection.execute(*insert_sql("HIS_CFXM", row, mark="%s"))
        assert dismiss(owner, guest) is True
        assert dismiss(owner, guest) is False
        assert guest not in tenants(owner)
        gone = owner.execute("DELETE FROM his.HIS_CFXM WHERE YYBH = %s", [guest.institution_code]).rowcount
        assert gone == 1


def test_no_password_is_kept_or_sent_in_clear(url):
    with psycopg.connect(url, autocommit=True) as owner:
        stored = owner.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [HOSPITAL.login]).fetchone()
    assert stored[0].startswith("SCRAM-SHA-256$")
