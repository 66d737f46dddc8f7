"""`jiesuan exchange`: an institution's shared tables, and the login its HIS department is given."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="共享数据表 Shared tables of an institution's HIS.", no_args_is_help=True)

Institution = Annotated[str, typer.Argument(help="The institution's code (YYBH).")]
AdminUrl = Annotated[
    str,
    typer.Option(
        "--admin-url",
        envvar="JIESUAN_EXCHANGE_ADMIN_URL",
        help="A PostgreSQL address that may make roles and tables, where the services' own may not.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@app.command()
def create(
    institution: Institution,
    dress: Annotated[
        list[str] | None,
        typer.Option(help="gwyjb: the civil-servant grade as a column; texts: days and categories as any text."),
    ] = None,
    admin_url: AdminUrl = "",
    as_json: AsJson = False,
) -> None:
    """建立共享数据表和 HIS 登录 Make the tables and a login; again: a new password for it. It is shown once."""
    from city.commands import exchange_tables

    exchange_tables.create(institution, dress=dress or [], admin_url=admin_url, as_json=as_json)


@app.command()
def show(as_json: AsJson = False) -> None:
    """显示各机构的共享数据表 Whose tables are where, and what waits in them."""
    from city.commands import exchange_tables

    exchange_tables.show(as_json=as_json)


@app.command()
def drop(institution: Institution, admin_url: AdminUrl = "") -> None:
    """取消 HIS 登录 Take the login away; the rows stay, and nothing more is handed out."""
    from city.commands import exchange_tables

    exchange_tables.drop(institution, admin_url=admin_url)
