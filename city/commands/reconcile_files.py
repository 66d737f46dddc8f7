"""The files of `jiesuan reconcile`: an institution's book in, the result out, in the front-end's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import Engine, select

from city.commands import REFUSED, TRY_LATER, WRONG_USAGE, Stop
from city.commands.catalogue_office import day_of, print_json, print_table
from infra.database import opened, reading
from infra.settings import Settings
from producers.reconciling import files
from workers.reconciling import books
from workers.tables import institution


def hand_in(file: Path, institution_code: str, day: str, *, as_json: bool) -> None:
    """Read the file and keep the book. Raises Stop, after printing everything that is wrong with it."""
    content = file.read_bytes()
    with _at_the_frontend(institution_code) as (engine, at):
        on = _day(day, at.date())
        try:
            lines = files.read(content) if content.startswith(b"PK") else files.read_text(content)
        except files.FileRefused as refused:
            _print_wrong(refused, as_json=as_json)
            raise Stop(f"{file.name} 有 {len(refused.wrong)} 处错误，没有提交", REFUSED) from None
        kept = books.hand_in(engine, institution_code, on, lines=lines, channel="file", at=at)
    if as_json:
        print_json({"submission_no": kept.submission_no, "lines": len(lines), "new": kept.is_new})
    else:
        print(
            f"已提交 {institution_code} {on} 的账 {len(lines)} 行" + ("" if kept.is_new else "（与上次相同，重新对账）")
        )


def write_result(file: Path, institution_code: str, day: str) -> None:
    """Write the result, if the centre has answered. Raises Stop."""
    with _at_the_frontend(institution_code) as (engine, at):
        on = _day(day, at.date())
        with reading(engine) as connection:
            book = books.find(connection, institution_code, on)
    if book is None:
        raise Stop(f"{institution_code} 没有提交过 {on} 的账", REFUSED)
    if not book.compared:
        raise Stop("中心的对账结果还没有到，请稍后再取", TRY_LATER)
    found = [row for part in book.compared for row in part.differences]
    file.write_bytes(files.write(files.result_name(institution_code, on), found))
    print(f"差异 {len(found)} 笔，已写入 {file}")


def _day(text: str, today: date) -> date:
    day = day_of(text, today)
    if day > today:
        raise Stop(f"{day} 在今天之后", WRONG_USAGE)
    return day


def _print_wrong(refused: files.FileRefused, *, as_json: bool) -> None:
    if as_json:
        print_json([each._asdict() for each in refused.wrong])
    else:
        rows = [[each.row or "", each.field, each.code, each.words] for each in refused.wrong]
        print_table("文件错误", ["行", "列", "代码", "说明"], rows)


@contextmanager
def _at_the_frontend(institution_code: str) -> Iterator[tuple[Engine, datetime]]:
    """The front-end's database, and the moment. Raises MissingSetting; Stop for an institution it does not serve."""
    settings = Settings()
    settings.need("frontend_database_url")
    with opened(settings.frontend_database_url) as engine:
        with reading(engine) as connection:
            served = select(institution.c.active).where(institution.c.institution_code == institution_code)
            if not connection.execute(served).scalar():
                raise Stop(f"本前置机不服务医药机构 {institution_code}", REFUSED)
        yield engine, settings.time.now()
