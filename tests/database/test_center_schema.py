"""The centre's schema: up from nothing, one down, the same as the model, and the guards in the database."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

import center
from center import privileges, schema
from center.ledger.verifying import verify
from center.partitions import is_partition
from center.tables import metadata
from infra.database import open_database


@pytest.fixture
def database(empty_database):
    engine = open_database(empty_database)
    yield engine
    engine.dispose()


def test_it_comes_up_from_nothing_goes_down_again_and_equals_the_model(database):
    schema.upgrade(database)
    schema.upgrade(database)
    with database.connect() as connection:
        whole = {"include_name": lambda name, kind, _: kind != "table" or not is_partition(name)}
        assert compare_metadata(MigrationContext.configure(connection, opts=whole), metadata) == []
        assert schema.is_current(connection)

    schema.downgrade(database, "base")
    with database.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert not schema.is_current(connection)

    schema.upgrade(database)
    with database.connect() as connection:
        assert schema.is_current(connection)


OLD_SETTLEMENT = (
    "INSERT INTO settlement (settlement_no, institution_code, visit_no, charge_batch_no, kind, contra_of, frontend,"
    " person_no, visit_type, visit_date, settled_at, settled_day, digest, line_count, total_fen, own_expense_fen,"
    " over_limit_fen, pre_self_pay_fen, in_scope_fen, fund_pay_fen, account_pay_fen, deductible_fen, self_pay_fen,"
    " over_cap_fen, institution_share_fen, policy_version, catalogue_version, scheme, steps, answer)"
    " SELECT {number}, 'H1', 'V{visit}', {number}, '{kind}', {of}, 'f', 1, '{type}', '2026-03-02', now(), '2026-03-02',"
    " '', 5, {sign}*100, 0, 0, 0, {sign}*100, {sign}*60, {sign}*15, 0, {sign}*40, 0, 0, 'p', 'c', '{scheme}', '', ''"
)
OLD_POSTINGS = (
    "INSERT INTO posting (settlement_no, account, amount_fen) VALUES ({number}, 'charges:H1', {sign}*-100),"
    " ({number}, 'fund:employee:basic', {sign}*60), ({number}, 'account:1', {sign}*15),"
    " ({number}, 'cash:H1', {sign}*25)"
)


def test_what_was_posted_before_is_owed_to_the_institution_by_clearing_type_and_linked(database):
    schema.upgrade(database)
    schema.downgrade(database, "base")
    schema.upgrade(database, "r0006")
    with database.begin() as connection:
        connection.execute(text("INSERT INTO person (citizen_id_no, scheme, category) VALUES ('X', 'employee', '1')"))
        for number, kind, of, visit_type, scheme in (
            (1, "normal", "NULL", "1", "employee"),
            (2, "normal", "NULL", "4", ""),  # from before the scheme was kept
            (3, "contra", "2", "4", ""),
        ):
            values = {"number": number, "kind": kind, "of": of, "type": visit_type, "scheme": scheme, "visit": number}
            values["sign"] = -1 if kind == "contra" else 1
            connection.execute(text(OLD_SETTLEMENT.format(**values)))
            connection.execute(text(OLD_POSTINGS.format(**values)))
            connection.execute(text(f"INSERT INTO accumulator_entry VALUES ({number}, 1, 'k', 0, {values['sign']})"))

    schema.upgrade(database)

    def balances():
        with database.connect() as connection:
            found = connection.execute(
                text("SELECT document_no, account, sum(amount_fen)::int FROM posting GROUP BY 1, 2 ORDER BY 1, 2")
            )
            return {
                number: {account: fen for no, account, fen in rows if no == number and fen}
                for rows in [found.all()]
                for number, _, _ in rows
            }

    told = balances()
    paid = {"account:1": 15, "cash:H1": 25, "fund:employee:basic": 60, "charges:H1": -25}
    assert told[1] == {**paid, "payable:H1:employee:21": -75}
    assert told[2] == {**paid, "payable:H1:employee:41": -75}
    assert told[3] == {account: -fen for account, fen in told[2].items()}
    assert verify(database).documents == 3
    assert verify(database).tamperings == ()

    schema.downgrade(database, "r0006")
    schema.upgrade(database)
    assert balances() == told
    assert verify(database).tamperings == ()
    schema.downgrade(database, "base")


def test_postings_that_do_not_add_up_to_zero_are_refused(center_engine):
    with center_engine.begin() as connection:
        connection.execute(text("INSERT INTO posting VALUES (1, 'fund', -100), (1, 'payable', 100)"))

    with pytest.raises(DBAPIError, match="document 3 do not add up"), center_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO posting VALUES (2, 'fund', -1), (2, 'payable', 1), (3, 'fund', -1), (3, 'payable', 2)")
        )

    with center_engine.begin() as connection:
        cursor = connection.connection.cursor()
        with pytest.raises(psycopg.errors.CheckViolation), cursor.copy("COPY posting FROM STDIN") as copy:
            copy.write_row((4, "fund", -100))
            copy.write_row((4, "payable", 99))
        connection.rollback()

    with center_engine.connect() as connection:
        assert connection.execute(text("SELECT DISTINCT document_no FROM posting")).scalars().all() == [1]


for folder in Path(center.__path__[0]).glob("*/tables.py"):  # every package's tables are in the model
    import_module(f"center.{folder.parent.name}.tables")
WRITTEN_ONCE = sorted(name for name in metadata.tables if privileges.is_append_only(name))


def test_money_and_who_touched_it_is_written_once():
    assert {"settlement", "posting", "accumulator_entry", "detail", "ledger_document", "chain_link", "audit"} <= set(
        WRITTEN_ONCE
    )


def changes_of(table):
    last = list(metadata.tables[table].c)[-1].name
    return f"UPDATE {table} SET {last} = {last}", f"DELETE FROM {table}", f"TRUNCATE {table}"


@pytest.mark.parametrize("table", WRITTEN_ONCE)
def test_what_is_settled_is_neither_changed_nor_deleted(owner_engine, table):
    for change in changes_of(table):
        with pytest.raises(DBAPIError, match=f"rows of {table} are written once"), owner_engine.begin() as connection:
            connection.execute(text(change))


@pytest.mark.parametrize("table", WRITTEN_ONCE)
def test_the_application_could_not_change_it_with_the_triggers_off_either(owner_engine, center_engine, table):
    with owner_engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    try:
        for change in changes_of(table):
            with pytest.raises(DBAPIError, match="permission denied"), center_engine.begin() as connection:
                connection.execute(text(change))
    finally:
        with owner_engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


@pytest.mark.parametrize(
    "way",
    [
        "ALTER TABLE settlement DISABLE TRIGGER USER",
        "SET session_replication_role = replica",
        "GRANT UPDATE ON settlement TO jiesuan_application",
        "DROP TABLE posting",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "SET ROLE jiesuan",
    ],
)
def test_the_application_cannot_let_itself_do_more(center_engine, way):
    with pytest.raises(DBAPIError), center_engine.begin() as connection:
        connection.execute(text(way))
        connection.execute(text("DELETE FROM settlement"))


def test_the_application_may_read_add_to_and_otherwise_change_every_other_table(center_engine, owner_engine):
    with center_engine.connect() as connection:
        for name in metadata.tables:
            may = [
                connection.execute(text(f"SELECT has_table_privilege('{name}', '{right}')")).scalar()
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
            ]
            changes = not privileges.is_append_only(name)
            deletes = changes and name not in {"parked", "frozen_flow", "refund_permit", "correction"}
            assert (name, may) == (name, [True, True, changes, deletes, False])
        assert not privileges.may_change_the_ledger(connection)
    with owner_engine.connect() as connection:
        assert privileges.may_change_the_ledger(connection)


GOOD = {
    "settlement_no": 9_100, "institution_code": "H", "visit_no": "V9", "charge_batch_no": 1, "kind": "normal",
    "frontend": "f", "person_no": 1, "visit_type": "3", "clearing_type": "11", "visit_date": "2026-03-02",
    "settled_at": "2026-03-02T12:00:00+08:00", "settled_day": "2026-03-02", "digest": b"", "line_count": 1,
    "total_fen": 100, "own_expense_fen": 20, "over_limit_fen": 0, "pre_self_pay_fen": 10, "in_scope_fen": 70,
    "fund_pay_fen": 50, "account_pay_fen": 10, "deductible_fen": 5, "self_pay_fen": 20, "over_cap_fen": 0,
    "institution_share_fen": 0, "own_pay_fen": None, "policy_version": "p", "catalogue_version": "c", "steps": b"",
    "answer": b"", "contra_of": None,
}  # fmt: skip
"""A settlement of which everything holds; each identity is broken by itself below."""
OTHER_SIGN = {name: -fen for name, fen in GOOD.items() if name.endswith("_fen") and isinstance(fen, int)}


def written(engine, row):
    with engine.begin() as connection:
        postings = "INSERT INTO posting VALUES (:number, 'cash:H', 1), (:number, 'charges:H', -1)"
        connection.execute(text(postings), {"number": row["settlement_no"]})
        names = ", ".join(row)
        connection.execute(text(f"INSERT INTO settlement ({names}) VALUES (:{', :'.join(row)})"), row)


@pytest.mark.parametrize(
    ("identity", "broken"),
    [
        ("kind", {"kind": "other"}),
        ("contra", {"contra_of": 5}),
        ("contra", {"kind": "contra"} | OTHER_SIGN),
        ("lines", {"line_count": -1}),
        ("split", {"own_expense_fen": 21, "own_pay_fen": 30}),
        ("payers", {"fund_pay_fen": 49}),
        ("total_sign", OTHER_SIGN),
        ("fund_sign", {"fund_pay_fen": -1, "self_pay_fen": 71}),
        ("share_sign", {"institution_share_fen": -1, "fund_pay_fen": 51}),
        ("deductible", {"deductible_fen": 21}),
        ("account", {"account_pay_fen": 51}),
    ],
)
def test_a_result_that_does_not_add_up_is_refused_by_the_database(center_engine, identity, broken):
    with pytest.raises(DBAPIError, match=f"ck_settlement_{identity}"):
        written(center_engine, GOOD | broken)


def test_a_result_that_adds_up_and_its_negative_twin_are_taken(center_engine):
    written(center_engine, GOOD)
    twin = OTHER_SIGN | {"kind": "contra", "contra_of": GOOD["settlement_no"], "settlement_no": 9_101}
    written(center_engine, GOOD | twin | {"charge_batch_no": 2})


def test_one_settlement_per_visit_batch_and_kind(center_engine):
    """The last guard: whoever settles without the lock on the visit number meets the key."""
    row = (
        "INSERT INTO settlement (settlement_no, institution_code, visit_no, charge_batch_no, kind, frontend, person_no,"
        " visit_type, clearing_type, visit_date, settled_at, settled_day, digest, line_count, total_fen,"
        " own_expense_fen, over_limit_fen, pre_self_pay_fen, in_scope_fen, fund_pay_fen, account_pay_fen,"
        " deductible_fen, self_pay_fen, over_cap_fen, institution_share_fen, policy_version, catalogue_version, steps,"
        " answer) VALUES (:number,"
        " 'H', 'V1', 1, 'normal', 'f', 1, '3', '11', '2026-03-02', now(), '2026-03-02', '', 1, 0, 0, 0, 0, 0, 0, 0,"
        " 0, 0, 0, 0, 'p', 'c', '', '')"
    )
    with center_engine.begin() as connection:
        connection.execute(text(row), {"number": 9_001})

    with pytest.raises(DBAPIError, match="uq_settlement_key"), center_engine.begin() as connection:
        connection.execute(text(row), {"number": 9_002})


def test_whoever_changes_a_person_raises_the_version_and_looking_does_not(center_engine):
    def version():
        with center_engine.connect() as connection:
            return connection.execute(text("SELECT version FROM person WHERE citizen_id_no = 'X'")).scalar()

    with center_engine.begin() as connection:
        connection.execute(text("INSERT INTO person (citizen_id_no, scheme, category) VALUES ('X', 'employee', '1')"))
    assert version() == 0

    for change, after in (
        ("entitled = false", 1),
        ("entitled = false", 1),
        ("category = '2'", 2),
        ("account_balance_fen = 5, version = 7", 7),
        ("groups = '{assistance}'", 8),
    ):
        with center_engine.begin() as connection:
            connection.execute(text(f"UPDATE person SET {change} WHERE citizen_id_no = 'X'"))
        assert version() == after


def test_windows_keep_their_budget_by_the_hour_and_by_the_tick(database):
    schema.upgrade(database)
    row = "'{0}', '18:00', '08:00', '{1}', 3600, 230400"
    with database.begin() as connection:
        for name, days in (("night", "1234567"), ("workdays", "W"), ("off", "H")):
            connection.execute(
                text(
                    "INSERT INTO upload_window (name, opens, closes, days, lines_per_hour, bytes_per_hour)"
                    f" VALUES ({row.format(name, days)})"
                )
            )

    schema.downgrade(database, "r0014")
    with database.begin() as connection:
        held = connection.execute(text("SELECT name, weekdays, lines_per_tick FROM upload_window ORDER BY 1")).all()
        assert [tuple(row) for row in held] == [("night", "1234567", 2), ("off", "67", 2), ("workdays", "12345", 2)]

    schema.upgrade(database)
    with database.begin() as connection:
        held = connection.execute(text("SELECT DISTINCT lines_per_hour, bytes_per_hour FROM upload_window")).all()
        assert [tuple(row) for row in held] == [(3600, 115200)]
        connection.execute(text("DELETE FROM upload_window"))
