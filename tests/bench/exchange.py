"""Charge lines of stays through each door: read, checked, kept durably, marked; one process, fsync on both sides."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from domain.identity import synthetic_citizen_id
from domain.visit import Registration, VisitType
from infra.embedded import postgres
from infra.memory import spare_the_collector
from infra.supervisor import Supervisor
from producers.his import dbf, watcher
from producers.his.door import Door
from producers.his.fields import layout
from producers.his.tables.incoming import Incoming
from producers.his.tables.place import Patron, open_tables
from producers.his.tables.postgres_site import Tenant
from producers.his.tables.sqlite import make_file
from tests.support.exchange import file_of_his, his, insert_sql, make_exchange
from tests.support.frontend import HOSPITAL, NOON, new_frontend, shelf, short_code
from workers import visits

LINES = 20_000
LINES_PER_STAY = 20
TENANT = Tenant(HOSPITAL, short_code(HOSPITAL))
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Front:
    """A front-end with registered stays, and the rows a HIS writes of them."""

    engine: Any
    rows: list[Row]


def run(lines: int = LINES) -> dict[str, dict[str, float]]:
    """By door: lines a second of this process's time, and CPU per line of ours and of the database."""
    spare_the_collector()
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "run", say=lambda line: None) as supervisor:
        server = postgres.prepare(Path(folder) / "server", port=0, databases=["exchange"])
        supervisor.start(server.service)
        url = server.urls["exchange"]
        return {
            "CFXM files": _through_files(_fresh(Path(folder), "files", lines), Path(folder) / "exchange" / HOSPITAL),
            "shared tables, PostgreSQL": _through_postgres(
                _fresh(Path(folder), "postgres", lines), url, lambda: supervisor.cpu_seconds(server.service.name)
            ),
            "shared tables, SQLite": _through_sqlite(_fresh(Path(folder), "sqlite", lines), Path(folder) / "his.db"),
        }


def _fresh(folder: Path, name: str, lines: int) -> _Front:
    engine = new_frontend(f"sqlite:///{folder / name}.db", HOSPITAL)
    day = NOON.date()
    asked = [
        Registration(
            visit_no="", institution_code=HOSPITAL, citizen_id_no=synthetic_citizen_id(number),
            visit_type=VisitType.INPATIENT, visit_date=day, person_name="测试人",
        )
        for number in range(lines // LINES_PER_STAY)
    ]  # fmt: skip
    done = visits.register(engine, asked, at=NOON - timedelta(minutes=1))
    stays = [each.visit_no for each in done if isinstance(each, visits.Registered)]
    assert len(stays) == len(asked)
    return _Front(engine, list(_rows(stays, asked)))


def _rows(stays: list[str], asked: list[Registration]) -> Iterator[Row]:
    day = NOON.date()
    for visit_no, of in zip(stays, asked, strict=True):
        for number in range(1, LINES_PER_STAY + 1):
            quantity = Decimal(1 + number % 3)
            yield {
                "JYDJH": visit_no, "YYBH": HOSPITAL, "GMSFHM": of.citizen_id_no, "ZYH": visit_no[-8:], "RYRQ": day,
                "FYRQ": day, "XMXH": number, "XMBH": "L001", "XMMC": "阿莫西林胶囊", "FLDM": 1,
                "JG": Decimal("12.50"), "MCYL": quantity, "JE": Decimal("12.50") * quantity, "DRBZ": 0,
            }  # fmt: skip


def _through_files(front: _Front, folder: Path) -> dict[str, float]:
    folder.mkdir(parents=True)
    file = folder / f"CFXM{NOON:%m%d}.DBF"
    dbf.write(file, layout("CFXM"), front.rows, day=NOON.date())
    door = Door(folder, HOSPITAL)
    references = shelf()
    found = _measured(front, lambda: watcher.look(front.engine, door, at=NOON, shelf=references))
    assert set(dbf.read(file).columns["DRBZ"]) == {1}
    return found


def _through_postgres(front: _Front, url: str, database_cpu: Callable[[], float]) -> dict[str, float]:
    make_exchange(url.replace("+psycopg", ""), TENANT)
    # The hospital stays connected: what its process spent on writing the rows is in neither reading's difference.
    with his(url, TENANT) as connection:
        with connection.transaction():
            connection.cursor().executemany(*_insert(front.rows, "%s"))
        return _through_tables(front, url, database_cpu)


def _through_sqlite(front: _Front, file: Path) -> dict[str, float]:
    url = f"sqlite:///{file}"
    make_file(url, TENANT.institution_code, TENANT.short_code, ())
    connection = file_of_his(file)
    statement, rows = _insert(front.rows, "?")
    connection.execute("BEGIN")
    connection.executemany(statement, [[_plain(value) for value in row] for row in rows])
    connection.execute("COMMIT")
    connection.close()
    return _through_tables(front, url, None)


def _through_tables(front: _Front, url: str, database_cpu: Callable[[], float] | None) -> dict[str, float]:
    tables = open_tables(url)
    patron = Patron(HOSPITAL, TENANT.short_code, "", reads_outpatient_lines=True, settles_at_once=False)
    incoming = Incoming(front.engine, shelf(), tables, patron)
    taken: list[Any] = []
    found = _measured(front, lambda: taken.append(incoming.look(at=NOON, failed=False)), database_cpu)
    assert sum(taken[0].imported.values()) == len(front.rows)
    tables.close()
    return found


def _measured(
    front: _Front, work: Callable[[], object], database_cpu: Callable[[], float] | None = None
) -> dict[str, float]:
    before = database_cpu() if database_cpu else 0.0
    began, cpu = time.perf_counter(), time.process_time()
    work()
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - began
    lines = len(front.rows)
    front.engine.dispose()
    found = {
        "lines": lines,
        "lines_per_second": round(lines / seconds),
        "cpu_us_per_line": round(cpu / lines * 1e6, 1),
    }
    if database_cpu:
        found["database_us_per_line"] = round((database_cpu() - before) / lines * 1e6, 1)
    return found


def _insert(rows: list[Row], mark: str) -> tuple[str, list[list[Any]]]:
    statement = insert_sql("HIS_CFXM", rows[0], mark=mark)[0]
    return statement, [list(row.values()) for row in rows]


def _plain(value: Any) -> Any:
    return str(value) if not isinstance(value, (int, str)) else value
