"""`jiesuan backup`, `jiesuan restore`, `jiesuan epoch`: the centre's database in an archive, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop, backup_frontend

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from center.backup.snapshot import Manifest
    from infra.settings import Settings

app = typer.Typer(help="备份 The centre's database in one archive file.", no_args_is_help=True)
app.add_typer(backup_frontend.app, name="frontend")
epoch_app = typer.Typer(help="纪元 What a restored centre has got back.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="操作人 Who does it.")]
Reason = Annotated[str, typer.Option(help="原因 Why.")]


@contextmanager
def _center() -> Iterator[tuple[Settings, Engine]]:
    from infra.database import opened
    from infra.settings import Settings

    settings = Settings()
    settings.need("center_database_url", "center_secret_file")
    with opened(settings.center_migration_url) as engine:
        yield settings, engine


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="The archive to write; it must not be there yet.")],
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """备份 Write the whole database, as of one moment, into an archive only this centre can read."""
    from center.backup.snapshot import backup
    from center.ledger import audit
    from city.commands.catalogue_office import operator

    if file.exists():
        raise Stop(f"{file} 已存在，不覆盖", WRONG_USAGE)
    if not file.parent.is_dir():
        raise Stop(f"没有文件夹 {file.parent}", WRONG_USAGE)
    with _center() as (settings, engine):
        at = settings.time.now()
        manifest = backup(engine, file, center_secret=settings.center_secret(), at=at)
        with engine.begin() as connection:
            audit.note(
                connection,
                by=operator(by),
                action="backup.create",
                subject=file.name,
                reason="",
                at=at,
                details={"archive": manifest.digest, "rows": manifest.rows},
            )
    _print(manifest, file, as_json=as_json)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The archive.")],
    as_json: AsJson = False,
) -> None:
    """核验备份 Read an archive from end to end; needs the centre's secret, no database."""
    from center.backup.snapshot import verify as read
    from infra.archive import BadArchive
    from infra.settings import Settings

    try:
        manifest = read(file, center_secret=Settings().center_secret())
    except (BadArchive, OSError) as error:
        raise Stop(str(error), REFUSED) from None
    _print(manifest, file, as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="The archive.")],
    reason: Reason,
    by: By = "",
    replace: Annotated[bool, typer.Option("--replace", help="The database is not empty, and may go.")] = False,
    as_json: AsJson = False,
) -> None:
    """恢复 Make the centre's database what an archive holds, in a new epoch; then front-ends bring it up to date."""
    from center.backup import restoring
    from city.commands.catalogue_office import operator, print_json
    from infra.archive import BadArchive

    with _center() as (settings, engine):
        try:
            restored = restoring.restore(
                engine,
                file,
                center_secret=settings.center_secret(),
                by=operator(by),
                reason=reason,
                at=settings.time.now(),
                replace=replace,
            )
        except (BadArchive, restoring.NotEmpty, OSError) as error:
            raise Stop(str(error), REFUSED) from None
        wrong = restoring.wrong_with(engine, at=settings.time.now())
    document = {
        "epoch": restored.epoch,
        "taken_at": restored.manifest.taken_at.isoformat(),
        "rows": restored.manifest.rows,
        "archive": restored.manifest.digest,
        "wrong": wrong,
    }
    if as_json:
        print_json(document)
    else:
        print(f"已恢复到 {document['taken_at']}（{document['rows']} 行），纪元 {restored.epoch}；")
        print("各前置机将自动补报其后的结算，期间暂不受理新结算：jiesuan epoch show")
    if wrong:
        raise Stop("恢复后核对不符：" + "；".join(wrong), REFUSED)


@epoch_app.command()
def show(as_json: AsJson = False) -> None:
    """追补进度 How far each front-end is in sending what a restored centre lost."""
    from center.backup.progress import progress
    from city.commands.catalogue_office import print_json, print_table

    with _center() as (_, engine), engine.connect() as connection:
        found = progress(connection)
    if as_json:
        print_json(found.as_document())
        return
    print(found.words)
    if found.frontends:
        print_table(
            "前置机",
            ["前置机", "进度", "已报送", "待补录", "存疑"],
            [[row.frontend, row.words, row.documents, row.waiting, row.doubtful] for row in found.frontends],
        )


@epoch_app.command()
def begin(
    since: Annotated[str, typer.Option(help="The moment the database was restored to (2026-03-02T18:00+08:00).")],
    reason: Reason,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """开始新纪元 Say that the database was restored by other means (pg_basebackup, point in time)."""
    from center.backup import epochs
    from center.ledger import audit
    from city.commands.catalogue_office import operator, print_json

    try:
        snapshot_at: datetime | None = datetime.fromisoformat(since)
    except ValueError:
        snapshot_at = None
    if snapshot_at is None or snapshot_at.tzinfo is None:
        raise Stop(f"{since} 不是带时区的时刻，应写作 2026-03-02T18:00+08:00", WRONG_USAGE)
    with _center() as (settings, engine), engine.begin() as connection:
        at = settings.time.now()
        if snapshot_at > at:
            raise Stop(f"{since} 还没有到", WRONG_USAGE)
        who = operator(by)
        number = epochs.begin(connection, snapshot_at=snapshot_at, archive="", by=who, reason=reason, at=at)
        audit.note(connection, by=who, action="epoch.begin", subject=f"epoch {number}", reason=reason, at=at)
    if as_json:
        print_json({"epoch": number})
    else:
        print(f"新纪元 {number}；各前置机将补报 {since} 前一小时以后的结算")


@epoch_app.command("go-on")
def go_on(
    frontend: Annotated[str, typer.Option("--without", help="The front-end that is not waited for.")],
    reason: Reason,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """不等某前置机 Open the centre without waiting for a front-end; what it sends later is taken up then."""
    from center.backup import progress
    from center.ledger import audit
    from city.commands.catalogue_office import operator, print_json

    with _center() as (settings, engine), engine.begin() as connection:
        at, who = settings.time.now(), operator(by)
        try:
            epoch = progress.waive(connection, frontend, by=who, reason=reason)
        except progress.NotAwaited as error:
            raise Stop(str(error), REFUSED) from None
        audit.note(
            connection,
            by=who,
            action="epoch.go-on",
            subject=f"epoch {epoch}",
            reason=reason,
            at=at,
            details={"without": frontend},
        )
    if as_json:
        print_json({"epoch": epoch, "without": frontend})
    else:
        print(f"不再等候前置机 {frontend}；其后到的记录仍会补录，差异会列出")


def _print(manifest: Manifest, file: Path, *, as_json: bool) -> None:
    from city.commands.catalogue_office import print_json

    document: dict[str, Any] = {
        "file": str(file),
        "archive": manifest.digest,
        "revision": manifest.revision,
        "taken_at": manifest.taken_at.isoformat(),
        "epoch": manifest.epoch,
        "rows": manifest.rows,
        "bytes": file.stat().st_size,
        "tables": {name: count for name, (count, _) in manifest.tables.items()},
        "heads": {code: link_no for code, (link_no, _) in manifest.heads.items()},
    }
    if as_json:
        print_json(document)
    else:
        print(f"{file}：{document['taken_at']} 时的账，{manifest.rows} 行，{document['bytes']} 字节")
        print(f"校验值 {manifest.digest}")
