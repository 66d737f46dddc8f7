"""`jiesuan catalogue`: catalogue and matches, from a file to the front-ends. Each command is a file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="三大目录与目录对应 The catalogue and the matches.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
By = Annotated[
    str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it; the user of this machine when left out.")
]
File = Annotated[Path | None, typer.Argument(help="xlsx, xls or CSV, with a heading row; or --set instead.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="列名=内容 One record by hand; repeat for each column.")]
Write = Annotated[bool, typer.Option("--write", help="录入 Enter it; without this the file is only checked.")]
Errors = Annotated[Path | None, typer.Option("--errors", help="错误清单 Write what is wrong to this CSV file.")]


@app.command("import")
def import_(  # noqa: PLR0917  # options of a command line, handed over by name
    file: File = None,
    by_hand: Set = None,
    write: Write = False,
    by: By = "",
    errors: Errors = None,
    as_json: AsJson = False,
) -> None:
    """导入药品、诊疗项目目录 Check items; with --write let them wait for their audit."""
    from city.commands import catalogue_import

    source = catalogue_import.source(file, by_hand or [])
    catalogue_import.items(source, write=write, by=by, errors=errors, as_json=as_json)


@app.command()
def match(  # noqa: PLR0917  # options of a command line, handed over by name
    file: File = None,
    by_hand: Set = None,
    institution: Annotated[str, typer.Option(help="The institution, where the file has no column for it.")] = "",
    propose: Annotated[
        Path | None, typer.Option("--propose", help="Write candidates for items without a centre code to this CSV.")
    ] = None,
    write: Write = False,
    by: By = "",
    errors: Errors = None,
    as_json: AsJson = False,
) -> None:
    """导入目录对应 Check matches; with --write let them wait for their audit."""
    from city.commands import catalogue_import

    source = catalogue_import.source(file, by_hand or [])
    if propose is not None:
        catalogue_import.propose(source, propose, as_json=as_json)
        return
    catalogue_import.matches(source, institution=institution, write=write, by=by, errors=errors, as_json=as_json)


@app.command()
def audit(  # noqa: PLR0917  # options of a command line, handed over by name
    batch: Annotated[int, typer.Argument(help="批号 The import; what waits is listed when left out.")] = 0,
    accept: Annotated[bool, typer.Option("--accept", help="审核通过 Accept it.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="退回 Reject it; needs a reason.")] = False,
    rows: Annotated[str, typer.Option(help="Only these rows of the file, such as 3,5,8-12.")] = "",
    reason: Annotated[str, typer.Option(help="理由 Why.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """审核 What waits, and accepting or rejecting it; never by whoever entered it."""
    from city.commands import catalogue_audit

    catalogue_audit.audit(batch, accept=accept, reject=reject, rows=rows, reason=reason, by=by, as_json=as_json)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="A version; the newest published one when left out.")] = "",
    new: Annotated[str, typer.Argument(help="A version, or draft: what stands but is not published.")] = "draft",
    as_json: AsJson = False,
) -> None:
    """比较两个版本 Records added, removed and changed, and the institutions whose matches are touched."""
    from city.commands import catalogue_diff

    catalogue_diff.diff(old, new, as_json=as_json)


@app.command()
def publish(  # noqa: PLR0917  # options of a command line, handed over by name
    effective: Annotated[
        str, typer.Option("--from", help="生效日 In force from this day (YYYY-MM-DD); tomorrow.")
    ] = "",
    version: Annotated[str, typer.Option(help="Its name; made from the day when left out.")] = "",
    note: Annotated[str, typer.Option(help="说明 A note for whoever reads the list of versions.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    withdraw: Annotated[str, typer.Option(help="撤回 Take back a version whose day has not come.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """发布 Publish what stands as a version with its day; front-ends fetch it by themselves."""
    from city.commands import catalogue_publish

    if withdraw:
        catalogue_publish.withdraw(withdraw, note=note, by=by, as_json=as_json)
        return
    catalogue_publish.publish(effective, version=version, note=note, dry_run=dry_run, by=by, as_json=as_json)


@app.command()
def show(
    code: Annotated[str, typer.Argument(help="A centre item, or with --institution its own item.")] = "",
    institution: Annotated[str, typer.Option(help="Whose item it is.")] = "",
    day: Annotated[str, typer.Option(help="What holds on this day (YYYY-MM-DD); today.")] = "",
    version: Annotated[str, typer.Option(help="Look in this version; in what stands now when left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """查询 An item or a match on a day with its history; without a code the versions and who has them."""
    from city.commands import catalogue_show

    catalogue_show.show(code, institution=institution, day=day, version=version, as_json=as_json)


@app.command()
def export(
    view: Annotated[str, typer.Argument(help="VIEW_MEDI, VIEW_ITEM or VIEW_MATCH.")],
    file: Annotated[Path, typer.Argument(help="A new file: .dbf, or .csv in UTF-8.")],
    institution: Annotated[str, typer.Option(help="Whose matches; needed for VIEW_MATCH.")] = "",
) -> None:
    """导出 What a view shows, as a file, for an institution that exchanges files; at its front-end (AMB-58)."""
    from city.commands import catalogue_export

    catalogue_export.export(view.upper(), file, institution=institution)
