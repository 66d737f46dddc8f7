"""`jiesuan dbf`: the exchange files of an institution, for its operators and its HIS people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="DBF 交换文件 Exchange files: read one, error lists, samples.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Institution = Annotated[str, typer.Option(help="The institution's code (医院编号 YYBH).")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file of charge lines, CFXM or MZXM.")],
    institution: Annotated[str, typer.Option(help="The institution's code; the folder's name when left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """读入 DBF 文件 Read one exchange file now."""
    from city.commands import files

    files.import_file(file, institution=institution, as_json=as_json)


@app.command()
def errors(
    institution: Institution,
    day: Annotated[str, typer.Option(help="Only lines of this day (YYYY-MM-DD).")] = "",
    visit: Annotated[str, typer.Option(help="Only lines of this visit.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write; beside the exchange files when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """错误清单 The charge lines that wait to be mended, as xlsx and DBF."""
    from city.commands import files

    files.errors(institution, day=day, visit=visit, out=out, as_json=as_json)


@app.command()
def refused(institution: Institution, as_json: AsJson = False) -> None:
    """HIS 读入失败的记录 The rows of ours that the HIS could not read."""
    from city.commands import files

    files.refused(institution, as_json=as_json)


@app.command()
def again(
    institution: Institution, visits: Annotated[list[str], typer.Argument(help="Visit numbers (就医登记号).")]
) -> None:
    """重新导出 Export the rows that the HIS could not read again, now."""
    from city.commands import files

    files.again(institution, visits)


@app.command()
def samples(folder: Annotated[Path, typer.Argument(help="Where to write them.")]) -> None:
    """样例文件 Write a small sample of each of the seven files."""
    from city.commands import files

    files.samples(folder)
