"""Somebody with all rights changes what is settled, by SQL, behind the application's back: in every way at random."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from center.ledger import chain
from center.ledger.layouts import AUDIT, AUDIT_ROW, DIGEST_BYTES, DOCUMENT, ENTRY, LEDGER, POSTING, SETTLEMENT, stored

PARTS = {part.table: part for part in (SETTLEMENT, POSTING, ENTRY, DOCUMENT, AUDIT_ROW)}
LINK_COLUMNS = ("institution_code", "link_no", "kind", "made_at", "documents", "digests", "head")
OF_INSTITUTION = ("settlement", "ledger_document", "audit")

_CHANGED = {
    "bigint": "{c} + 1",
    "integer": "{c} + 1",
    "smallint": "{c} + 1",
    "date": "{c} + 1",
    "timestamp with time zone": "{c} + interval '1 microsecond'",
    "bytea": "CASE length({c}) WHEN 0 THEN '\\x00' ELSE set_byte({c}, 0, get_byte({c}, 0) # 1) END",
    "jsonb": "{c} || '{{\"planted\": 1}}'",
    "ARRAY": "{c} || 1::bigint",
}
_OTHER_TEXT = (
    "CASE {c} WHEN '' THEN 'x' ELSE overlay({c} PLACING CASE right({c}, 1) WHEN 'x' THEN 'y' ELSE 'x' END"
    " FROM length({c})) END"
)


class Done(NamedTuple):
    """What somebody did; the document it was done to, where it was one."""

    words: str
    document_no: int | None = None


class Intruder:
    """One with all rights, inside a transaction that is rolled back afterwards. Triggers are off."""

    def __init__(self, cursor: psycopg.Cursor[Any], chosen: Random) -> None:
        self._cursor, self._chosen = cursor, chosen
        self._run("SET LOCAL session_replication_role = replica")

    def tamper(self) -> Done:
        """Do one thing at random; what constraints refuse is tried otherwise until something is done."""
        while True:
            way = self._chosen.choice(WAYS)
            self._run("SAVEPOINT before")
            try:
                return way(self)
            except (psycopg.IntegrityError, psycopg.DataError):
                self._run("ROLLBACK TO SAVEPOINT before")

    # ── The ways ──

    def edit(self) -> Done:
        """Change one value of one row that belongs to a document."""
        part = PARTS[self._chosen.choice(sorted(PARTS))]
        number, place = self._row(part.table, part.columns[0])
        column = self._chosen.choice(part.columns)
        self._change(part.table, column, place)
        return Done(f"edited {part.table}.{column} of {number}", number)

    def edit_link(self) -> Done:
        """Change one value of a link, or of a head."""
        table = self._chosen.choice(("chain_link", "chain_link", "chain_head"))
        column = self._chosen.choice(LINK_COLUMNS if table == "chain_link" else ("link_no", "head"))
        _, place = self._row(table, "link_no")
        self._change(table, column, place)
        return Done(f"edited {table}.{column}")

    def delete(self) -> Done:
        """Delete one row."""
        table = self._chosen.choice((*sorted(PARTS), "chain_link", "chain_head"))
        number_column = PARTS[table].columns[0] if table in PARTS else "link_no"
        number, place = self._row(table, number_column)
        self._run(f"DELETE FROM {table} WHERE ctid = %s::tid", place)
        return Done(f"deleted {table} {number}", number if table in PARTS else None)

    def insert(self) -> Done:
        """Write a row once more: under a number of its own, or into the same document where it may have many."""
        table = self._chosen.choice((*sorted(PARTS), "chain_link"))
        if table == "chain_link":
            return self._one_more_link()
        part = PARTS[table]
        number, place = self._row(table, part.columns[0])
        given = {part.columns[0]: f"{part.columns[0]} + 1000000"}
        if table in ("posting", "accumulator_entry") and self._chosen.random() < 0.7:
            given = {}
        if table == "settlement":
            given["charge_batch_no"] = "charge_batch_no + 5000"
            given["contra_of"] = "contra_of + 1000000"
        columns = ", ".join(f'"{column}"' for column in part.columns)
        values = ", ".join(given.get(column, f'"{column}"') for column in part.columns)
        override = " OVERRIDING SYSTEM VALUE" if table == "audit" else ""
        self._run(f"INSERT INTO {table} ({columns}){override} SELECT {values} FROM {table} WHERE ctid = %s::tid", place)
        return Done(f"inserted into {table} after {number}", number if not given else number + 1_000_000)

    def _one_more_link(self) -> Done:
        self._run(
            "INSERT INTO chain_link SELECT institution_code, link_no + 1, kind, layout, made_at, documents, digests,"
            " head FROM (SELECT DISTINCT ON (institution_code) * FROM chain_link"
            " ORDER BY institution_code, link_no DESC) AS newest ORDER BY random() LIMIT 1"
        )
        return Done("inserted a link")

    def reorder(self) -> Done:
        """Let two links of a chain, or two documents, or the documents of a link change places."""
        way = self._chosen.randrange(3)
        if way == 0:
            (code, first), (_, second) = self._two_links()
            for link_no, new in ((first, -1), (second, first), (-1, second)):
                self._run(
                    "UPDATE chain_link SET link_no = %s WHERE institution_code = %s AND link_no = %s",
                    new, code, link_no,
                )  # fmt: skip
            return Done(f"swapped links {first} and {second} of {code}")
        if way == 1:
            first, second = self._two_numbers("settlement", "settlement_no")
            for number, new in ((first, -1), (second, first), (-1, second)):
                self._run("UPDATE settlement SET settlement_no = %s WHERE settlement_no = %s", new, number)
            return Done(f"swapped settlements {first} and {second}", first)
        code, link_no, documents = self._one(
            "SELECT institution_code, link_no, documents FROM chain_link WHERE cardinality(documents) > 1"
            " ORDER BY random() LIMIT 1"
        )
        documents[0], documents[-1] = documents[-1], documents[0]
        self._run(
            "UPDATE chain_link SET documents = %s WHERE institution_code = %s AND link_no = %s",
            documents,
            code,
            link_no,
        )
        return Done(f"swapped documents of link {link_no} of {code}")

    def truncate(self) -> Done:
        """Empty a table, or take away the end of a chain with all that hangs on it and set its head back."""
        if self._chosen.random() < 0.4:
            table = self._chosen.choice((*sorted(PARTS), "chain_link", "chain_head"))
            self._run(f"DELETE FROM {table}")
            return Done(f"emptied {table}")
        code, newest = self._one("SELECT institution_code, link_no FROM chain_head ORDER BY random() LIMIT 1")
        last = self._chosen.randrange(newest)
        self._cursor.execute(
            "SELECT kind, documents FROM chain_link WHERE institution_code = %s AND link_no > %s", [code, last]
        )
        for kind, documents in self._cursor.fetchall():
            for table in (
                ("audit",) if kind == AUDIT else ("settlement", "posting", "accumulator_entry", "ledger_document")
            ):
                self._run(f"DELETE FROM {table} WHERE {PARTS[table].columns[0]} = ANY(%s)", documents)
        self._run("DELETE FROM chain_link WHERE institution_code = %s AND link_no > %s", code, last)
        self._run(
            "UPDATE chain_head SET link_no = %s, head = coalesce((SELECT head FROM chain_link"
            " WHERE institution_code = %s AND link_no = %s), %s) WHERE institution_code = %s",
            last, code, last, chain.GENESIS, code,
        )  # fmt: skip
        return Done(f"cut {code} off after link {last}")

    def rewrite(self) -> Done:
        """Change a settlement and write the whole chain anew from its link on, every digest and head right."""
        number, code = self._one("SELECT settlement_no, institution_code FROM settlement ORDER BY random() LIMIT 1")
        self._run("UPDATE settlement SET steps = steps || '\\x00'::bytea WHERE settlement_no = %s", number)
        self._cursor.execute(
            "SELECT link_no, kind, layout, made_at, documents, digests, head FROM chain_link"
            " WHERE institution_code = %s ORDER BY link_no",
            [code],
        )
        before = chain.GENESIS
        for link_no, kind, layout, made_at, documents, told, head in self._cursor.fetchall():
            digests = told
            if number in documents and kind == LEDGER:
                there = stored(self._cursor, layout, kind, documents)
                digests = b"".join(there[each].digest for each in documents)
            each_digest = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
            link = chain.Link(kind, documents, each_digest)
            after = chain.head_after(before, code, link_no, made_at, link, layout=layout)
            if after != head:
                self._run(
                    "UPDATE chain_link SET digests = %s, head = %s WHERE institution_code = %s AND link_no = %s",
                    digests, after, code, link_no,
                )  # fmt: skip
            before = after
        self._run("UPDATE chain_head SET head = %s WHERE institution_code = %s", before, code)
        return Done(f"rewrote {code} from settlement {number} on")

    # ── What they are made of ──

    def _change(self, table: str, column: str, place: str) -> None:
        kind = self._one(
            "SELECT data_type FROM information_schema.columns WHERE table_name = %s AND column_name = %s", table, column
        )[0]
        new = _CHANGED.get(kind, _OTHER_TEXT).format(c=f'"{column}"')
        if column in ("contra_of", "refers_to"):
            new = f"coalesce({column} + 1, 1)"
        always = self._one(
            "SELECT identity_generation FROM information_schema.columns WHERE table_name = %s AND column_name = %s",
            table, column,
        )[0]  # fmt: skip
        if always == "ALWAYS":
            self._run(f"ALTER TABLE {table} ALTER {column} SET GENERATED BY DEFAULT")
        self._run(f'UPDATE {table} SET "{column}" = {new} WHERE ctid = %s::tid', place)

    def _row(self, table: str, number_column: str) -> tuple[int, str]:
        number, place = self._one(f"SELECT {number_column}, ctid::text FROM {table} ORDER BY random() LIMIT 1")
        return number, place

    def _two_links(self) -> list[tuple[str, int]]:
        code = self._one("SELECT institution_code FROM chain_head WHERE link_no > 1 ORDER BY random() LIMIT 1")[0]
        self._cursor.execute(
            "SELECT institution_code, link_no FROM chain_link WHERE institution_code = %s ORDER BY random() LIMIT 2",
            [code],
        )
        return self._cursor.fetchall()

    def _two_numbers(self, table: str, column: str) -> list[int]:
        self._cursor.execute(
            sql.SQL("SELECT {} FROM {} ORDER BY random() LIMIT 2").format(sql.Identifier(column), sql.Identifier(table))
        )
        return [number for (number,) in self._cursor.fetchall()]

    def _one(self, statement: str, *values: object) -> Any:
        self._cursor.execute(statement, values)
        found = self._cursor.fetchone()
        assert found is not None, statement
        return found

    def _run(self, statement: str, *values: object) -> None:
        self._cursor.execute(statement, values or None)


WAYS: tuple[Callable[[Intruder], Done], ...] = (
    Intruder.edit,
    Intruder.edit,
    Intruder.edit_link,
    Intruder.delete,
    Intruder.insert,
    Intruder.reorder,
    Intruder.truncate,
    Intruder.rewrite,
)
