"""`jiesuan catalogue export`: a view as a file, for institutions that exchange files and have no views (AMB-58)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

from city.commands import WRONG_USAGE, Stop
from domain.catalogue_records import ViewRow
from infra.database import open_database, reading
from infra.settings import Settings
from producers.his import dbf_write
from producers.his.fields import Layout, layout
from workers.catalogue_views import VIEWS, view_rows

DBF_NAME_CHARACTERS = 10


def export(view: str, file: Path, *, institution: str) -> None:
    """Write the rows of a view as this front-end shows them today. Raises MissingSetting, NothingPublished or Stop."""
    if view not in VIEWS:
        raise Stop(f"没有视图 {view}，只有 {'、'.join(VIEWS)}", WRONG_USAGE)
    if view == "VIEW_MATCH" and not institution:
        raise Stop("导出对应表要写明医药机构：--institution", WRONG_USAGE)
    if file.exists():
        raise Stop(f"{file} 已经存在", WRONG_USAGE)
    settings = Settings()
    settings.need("frontend_database_url")
    today = settings.time.now().date()
    engine = open_database(settings.frontend_database_url)
    try:
        with reading(engine) as connection:
            rows = list(view_rows(connection, view, institution, today))
    finally:
        engine.dispose()
    if file.suffix.lower() == ".dbf":
        dbf_write.write(file, _dbf_layout(view), [_in_dbf(row) for row in rows], day=today)
    else:
        _write_csv(view, file, rows)
    print(f"{file.name}：{len(rows)} 行")


def _dbf_layout(view: str) -> Layout:
    """The view's columns under names a DBF file can hold: the first ten characters, which are still all different."""
    columns = layout(view)
    fields = tuple(replace(field, code=field.code[:DBF_NAME_CHARACTERS]) for field in columns)
    return replace(columns, fields=fields)


def _in_dbf(row: ViewRow) -> dict[str, str | int | Decimal | date | None]:
    ratio = row.get("SELF_SCALE")
    values = row if ratio is None else {**row, "SELF_SCALE": Decimal(str(ratio))}
    return {
        code[:DBF_NAME_CHARACTERS]: value
        for code, value in values.items()
        if isinstance(value, str | int | Decimal | date)
    }


def _write_csv(view: str, file: Path, rows: Sequence[ViewRow]) -> None:
    with file.open("x", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(layout(view).codes)
        writer.writerows(["" if value is None else value for value in row.values()] for row in rows)
