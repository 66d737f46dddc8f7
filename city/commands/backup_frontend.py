"""`jiesuan backup frontend`: a front-end's SQLite database in an archive, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

if TYPE_CHECKING:
    from infra.settings import Settings
    from workers.backup import Copied

app = typer.Typer(help="前置机备份 A front-end's database (SQLite) in one archive file.", no_args_is_help=True)

Archive = Annotated[Path, typer.Argument(help="The archive.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@contextmanager
def _refusing() -> Iterator[Settings]:
    from infra.archive import BadArchive
    from infra.settings import Settings
    from workers.backup import CannotBackUp

    settings = Settings()
    settings.need("frontend", "frontend_key_file")
    try:
        yield settings
    except (BadArchive, CannotBackUp, OSError) as why:
        raise Stop(str(why), REFUSED) from None


@app.command()
def create(file: Archive, as_json: AsJson = False) -> None:
    """备份 Write the database, as of one moment, into an archive only this front-end's key opens."""
    from workers import backup

    if file.exists():
        raise Stop(f"{file} 已存在，不覆盖", WRONG_USAGE)
    with _refusing() as settings:
        settings.need("frontend_database_url")
        database = backup.file_of(settings.frontend_database_url)
        key, at = settings.sealing_key(), settings.time.now()
        copied = backup.backup(database, file, key=key, frontend=settings.frontend, at=at)
    _say(copied, as_json=as_json)


@app.command()
def verify(file: Archive, as_json: AsJson = False) -> None:
    """核验 Read an archive to its end and see that the database in it is sound."""
    from workers import backup

    with _refusing() as settings:
        copied = backup.verify(file, key=settings.sealing_key())
    _say(copied, as_json=as_json)


@app.command()
def restore(
    file: Archive,
    replace: Annotated[bool, typer.Option("--replace", help="The front-end is stopped: keep its file beside.")] = False,
    as_json: AsJson = False,
) -> None:
    """恢复 Put the database of an archive in its place, with the front-end stopped; then `jiesuan migrate frontend`."""
    from workers import backup

    with _refusing() as settings:
        settings.need("frontend_database_url")
        database = backup.file_of(settings.frontend_database_url)
        key, at = settings.sealing_key(), settings.time.now()
        copied = backup.restore(file, database, key=key, frontend=settings.frontend, replace=replace, at=at)
    _say(copied, as_json=as_json)


def _say(copied: Copied, *, as_json: bool) -> None:
    if as_json:
        from city.commands.catalogue_office import print_json

        print_json({**copied._asdict(), "taken_at": copied.taken_at.isoformat()})
    else:
        print(
            f"前置机 {copied.frontend}，{copied.taken_at.isoformat()}，{copied.claims} 笔费用，结构 {copied.revision}"
        )
