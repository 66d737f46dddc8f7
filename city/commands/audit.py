"""`jiesuan audit`: is the ledger as it was written, who did what, and the heads of the chains in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

app = typer.Typer(
    help="留痕与防篡改 Who did what, and whether the books are as they were written.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@app.command()
def verify(
    institution: Annotated[
        list[str] | None, typer.Option(help="Only this institution's chain (医院编号); * is the city's. Repeatable.")
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(help="A file of exported heads, or a folder of them; the settings' folder if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """验链 Follow every chain and compare every document with its digest; 1 when something is not as it was written,
    and when there was no exported head to compare with that should have been."""
    from center.ledger.export import NotAnExport, exported
    from center.ledger.nightly import is_unanchored
    from center.ledger.verifying import WORDS
    from center.ledger.verifying import verify as verified
    from city.commands.catalogue_office import print_json
    from infra.database import open_database
    from infra.settings import Settings

    settings = Settings()
    settings.need("center_database_url")
    place = heads or settings.audit_folder
    if heads is not None and not heads.exists():
        raise Stop(f"没有 {heads}", WRONG_USAGE)
    engine = open_database(settings.center_database_url, pool_size=1)
    try:
        left = exported(place)
        told = verified(
            engine,
            institution_codes=institution or (),
            exported=[head for head in left.heads if not institution or head.institution_code in institution],
        )
    except NotAnExport as error:
        raise Stop(str(error), REFUSED) from None
    finally:
        engine.dispose()
    unanchored = not told.heads if heads else is_unanchored(told, left.newest_at, settings.time.now())
    if as_json:
        found = [{**one._asdict(), "words": WORDS[one.what]} for one in told.tamperings]
        moments = {"began_at": told.began_at, "newest_head_at": left.newest_at}
        print_json(
            {
                **told._asdict(),
                **{name: at.isoformat() if at else None for name, at in moments.items()},
                "tamperings": found,
            }
        )
    else:
        for one in told.tamperings:
            document = f"，{'留痕' if one.kind == 'audit' else '凭证'} {one.document_no}" if one.document_no else ""
            print(f"{one.institution_code or '（无机构）'} 第 {one.link_no} 环{document}：{WORDS[one.what]}")
        print(f"核对 {told.chains} 条链、{told.links} 环、{told.documents} 份凭证：{len(told.tamperings)} 处不符")
        newest = f"，最新的导出于 {left.newest_at:%Y-%m-%d %H:%M:%S}" if left.newest_at else ""
        lost = f"；另有 {told.lost} 个属于恢复时丢失的时段，无从比对" if told.lost else ""
        print(f"与已导出的 {told.heads} 个链头比对{newest}{lost}")
        if unanchored:
            print("没有近两日导出的链头可比对，被整条重写的链看不出来：用 --heads 指明存放处，并查明为何没有导出")
    if told.tamperings or unanchored:
        raise typer.Exit(REFUSED)


@app.command()
def show(  # noqa: PLR0917  # options of a command line, handed over by name
    by: Annotated[str, typer.Option(help="经办人 Only of this person.")] = "",
    action: Annotated[str, typer.Option(help="Only actions that begin so: policy, catalogue.audit, ...")] = "",
    subject: Annotated[str, typer.Option(help="Only of this subject.")] = "",
    institution: Annotated[str, typer.Option(help="Only of this institution (医院编号).")] = "",
    from_day: Annotated[str, typer.Option("--from", help="First day (YYYY-MM-DD).")] = "",
    to_day: Annotated[str, typer.Option("--to", help="Last day (YYYY-MM-DD).")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """查留痕 Who did what, to what, when and why; the newest first."""
    from center.ledger.audit import Wanted, find
    from city.commands.catalogue_office import at_the_centre, day_of, print_json

    with at_the_centre() as (connection, at):
        wanted = Wanted(
            by=by,
            action=action,
            subject=subject,
            institution_code=institution,
            first_day=day_of(from_day, at.date()) if from_day else None,
            last_day=day_of(to_day, at.date()) if to_day else None,
        )
        rows = find(connection, wanted, limit=limit)
    if as_json:
        print_json([{**row._asdict(), "at": row.at.isoformat()} for row in rows])
        return
    for row in rows:
        details = "，".join(f"{name} {value}" for name, value in row.details.items())
        where = "" if row.institution_code == "*" else f" [{row.institution_code}]"
        why = f"：{row.reason}" if row.reason else ""
        print(
            f"{row.at:%Y-%m-%d %H:%M:%S} {row.by} {row.action} {row.subject}{where}{why}"
            + f"（{details}）" * bool(details)
        )


@app.command()
def export(
    to: Annotated[Path | None, typer.Option(help="The folder; the settings' one if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """导出链头 Write the heads of all chains into a file, to be kept outside the database."""
    from center.ledger.export import export as write
    from city.commands.catalogue_office import at_the_centre, print_json
    from infra.settings import Settings

    with at_the_centre() as (connection, at):
        path = write(connection, to or Settings().audit_folder, at=at)
    if as_json:
        print_json({"file": str(path)})
    else:
        print(f"已导出 {path}")
