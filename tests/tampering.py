"""A thousand tamperings of a small ledger, each found: `python -m tests.tampering [HOW_MANY]`, part of `make prove`."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from random import Random

from sqlalchemy import Connection, Engine

from center import schema
from center.ledger import audit, documents
from center.ledger.chain import Head
from center.ledger.export import ExportedHead
from center.ledger.verifying import verify_in
from center.settling.records import cursor_of
from center.settling.settle import settle_submitted
from domain import ledger
from infra.database import open_database
from infra.embedded import postgres
from infra.supervisor import Supervisor
from tests.support.center import (
    AT,
    CLINIC,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    fill_center,
    submitted,
    synthetic_citizen_id,
    totals,
)
from tests.support.tampering import Intruder

TAMPERINGS = 1_000


def fill_ledger(engine: Engine) -> None:
    """Settlements of two institutions in links of one to five, other documents, actions of operators."""
    shelf = fill_center(engine, persons=60, balance_fen=5_000)
    serial = 0
    for round_ in range(12):
        for code, frontend in ((HOSPITAL, FRONTEND), (CLINIC, OTHER_FRONTEND)):
            claims = []
            for _ in range(1 + round_ % 5):
                serial += 1
                who = synthetic_citizen_id(serial % 60)
                claims.append(totals(serial, institution_code=code, citizen_id_no=who))
            at = AT + timedelta(minutes=round_)
            settle_submitted(engine, shelf, submitted(*claims), frontend=frontend, at=at)
            if round_ % 3 == 0:
                with engine.begin() as connection:
                    _others(connection, code, round_)


def _others(connection: Connection, code: str, round_: int) -> None:
    at = AT + timedelta(minutes=round_, seconds=30)
    document = documents.Document(
        "clearing", code, "employee", "11", AT.date(), "office", "month", 100, content={"round": round_}
    )
    sides = [(ledger.payable(code, "employee", "11"), 100), (ledger.cleared(code, "employee", "11"), -100)]
    documents.post(cursor_of(connection), document, sides, at=at)
    for where in (code, "*"):
        audit.note(
            connection, by="office", action="test.noted", subject=f"{round_}", reason="", institution_code=where, at=at
        )


def heads_of(connection: Connection) -> list[ExportedHead]:
    """The heads as an export would have them."""
    found = connection.exec_driver_sql("SELECT institution_code, link_no, head FROM chain_head")
    return [ExportedHead(code, Head(link_no, bytes(head)), AT) for code, link_no, head in found]


def missed(engine: Engine, tamperings: int, *, seed: int) -> tuple[list[str], Counter[str]]:
    """What was done and not found, or found at the wrong place, of so many; and how often each way was gone."""
    chosen, not_found, ways = Random(seed), list[str](), Counter[str]()
    for number in range(tamperings):
        with engine.connect() as connection:
            heads = heads_of(connection)
            cursor = cursor_of(connection)
            cursor.execute("SELECT setseed(%s)", [chosen.random()])
            done = Intruder(cursor, chosen).tamper()
            ways[done.words.split()[0]] += 1
            found = verify_in(cursor, exported=heads).tamperings
            named = {tampering.document_no for tampering in found}
            if not found or (done.document_no is not None and done.document_no not in named):
                not_found.append(f"seed {seed}, number {number}: {done.words}: {found[:3]}")
            connection.rollback()
    return not_found, ways


def main() -> int:
    """Tamper, verify, say what was missed."""
    tamperings = int(sys.argv[1]) if len(sys.argv) > 1 else TAMPERINGS
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "run", say=lambda line: None) as supervisor:
        database = postgres.prepare(Path(folder) / "database", port=0, databases=["center"])
        supervisor.start(database.service)
        engine = open_database(database.url)
        schema.upgrade(engine)
        fill_ledger(engine)
        with engine.connect() as connection:
            assert verify_in(cursor_of(connection), exported=heads_of(connection)).tamperings == ()
        not_found, ways = missed(engine, tamperings, seed=1)
        engine.dispose()
    for words in not_found:
        print(words)
    told = ", ".join(f"{count} {way}" for way, count in sorted(ways.items()))
    print(f"{tamperings} tamperings ({told}): {tamperings - len(not_found)} found")
    return 1 if not_found else 0


if __name__ == "__main__":
    sys.exit(main())
