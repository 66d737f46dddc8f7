"""Postings, accumulator entries and detail in partitions, by the pool and year of their numbers; settle lanes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0021"
down_revision = "r0020"
branch_labels = None
depends_on = None

NUMBERED = {"posting": "document_no", "accumulator_entry": "settlement_no", "detail": "settlement_no"}
FIRST_OF_ANY_YEAR = 2000 * 10**10
"""Numbers below are from before they said anything, or of a centre that never let them say it."""

PREPARE = """
CREATE FUNCTION prepare_partitions(pool integer, year integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    first constant bigint := pool * 100000000000000 + year * 10000000000;
    parent text;
    part text;
    made integer := 0;
BEGIN
    IF pool NOT BETWEEN 0 AND 89 OR year NOT BETWEEN 2000 AND 9999 THEN
        RAISE EXCEPTION 'no partition for pool % and year %', pool, year USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('prepare_partitions'));
    FOREACH parent IN ARRAY ARRAY['posting', 'accumulator_entry', 'detail'] LOOP
        part := format('%s_p%s_%s', parent, pool, year);
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                parent, part, first, first + 10000000000);
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;
"""
"""A table is made first and attached then: attaching waits for nobody who reads or writes."""

BEGIN_YEAR = """
CREATE FUNCTION begin_number_year(pool integer, year integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    first constant bigint := pool * 100000000000000 + year * 10000000000;
BEGIN
    PERFORM prepare_partitions(pool, year);
    PERFORM prepare_partitions(pool, year + 1);
    IF (SELECT last_value FROM settlement_no_seq) < first THEN
        PERFORM setval('settlement_no_seq', first);
    END IF;
    RETURN first;
END $$;
"""


def upgrade() -> None:
    """The tables there are become the first partition of each; rows whose numbers say a year go into that of theirs."""
    triggers = {table: _triggers(table) for table in NUMBERED}
    for table, number in NUMBERED.items():
        _partition(table, number)
    op.execute(PREPARE)
    op.execute(BEGIN_YEAR)
    for table, number in NUMBERED.items():
        _take_in(table, number)
    op.add_column(
        "institution",
        sa.Column(
            "settle_lanes",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="its claims are spread over so many",
        ),
    )
    for statement in (each for table in NUMBERED for _, each in triggers[table]):
        op.execute(statement)


def _partition(table: str, number: str) -> None:
    before, later = f"{table}_before", f"{table}_later"
    indexes = _indexes(table)
    for name, _ in _triggers(table):
        op.execute(f"DROP TRIGGER {name} ON {table}")
    op.rename_table(table, before)
    for name in indexes:
        op.execute(f"ALTER INDEX {name} RENAME TO {name.replace(table, before)}")
    like = f"(LIKE {before} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)"
    op.execute(f"CREATE TABLE {table} {like} PARTITION BY RANGE ({number})")
    if f"{table}_pkey" in indexes:
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({number})")
    for name, statement in indexes.items():
        if not name.endswith("_pkey"):
            op.execute(statement)
    op.execute(f"CREATE TEMPORARY TABLE {later} AS SELECT * FROM {before} WHERE {number} >= {FIRST_OF_ANY_YEAR}")
    op.execute(f"DELETE FROM {before} WHERE {number} >= {FIRST_OF_ANY_YEAR}")
    op.execute(f"ALTER TABLE {table} ATTACH PARTITION {before} FOR VALUES FROM (MINVALUE) TO ({FIRST_OF_ANY_YEAR})")


def _take_in(table: str, number: str) -> None:
    later = f"{table}_later"
    op.execute(
        "SELECT prepare_partitions(pool::integer, year::integer) FROM (SELECT DISTINCT"
        f" {number} / 100000000000000 AS pool, {number} % 100000000000000 / 10000000000 AS year FROM {later}) AS places"
    )
    op.execute(f"INSERT INTO {table} SELECT * FROM {later}")
    op.drop_table(later)


def _triggers(table: str) -> list[tuple[str, str]]:
    found = op.get_bind().execute(
        sa.text(
            "SELECT tgname::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
            " AND tgrelid = CAST(:table AS regclass) ORDER BY tgname"
        ),
        {"table": table},
    )
    return [(name, statement) for name, statement in found]


def _indexes(table: str) -> dict[str, str]:
    found = op.get_bind().execute(
        sa.text(
            "SELECT indexname::text AS name, indexdef AS statement FROM pg_indexes"
            " WHERE schemaname = current_schema() AND tablename = :table"
        ),
        {"table": table},
    )
    return {row.name: row.statement for row in found}


def downgrade() -> None:
    """One table each again, with the rows of all partitions."""
    op.drop_column("institution", "settle_lanes")
    op.execute("DROP FUNCTION begin_number_year, prepare_partitions")
    for table, number in NUMBERED.items():
        whole = f"{table}_whole"
        triggers, indexes = _triggers(table), _indexes(table)
        op.execute(f"CREATE TABLE {whole} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)")
        op.execute(f"INSERT INTO {whole} SELECT * FROM {table}")
        op.drop_table(table)
        op.rename_table(whole, table)
        if f"{table}_pkey" in indexes:
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({number})")
        for name, statement in indexes.items():
            if not name.endswith("_pkey"):
                op.execute(statement.replace(" ON ONLY ", " ON "))
        for _, statement in triggers:
            op.execute(statement)
