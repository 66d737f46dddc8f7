"""`jiesuan account`: money into personal accounts, at the centre, by two persons."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

app = typer.Typer(help="个人账户 Personal accounts, at the centre.", no_args_is_help=True)


class Scheme(StrEnum):
    """Whose accounts."""

    EMPLOYEE = "employee"
    RESIDENT = "resident"


@app.callback()
def _many() -> None:
    """个人账户 Personal accounts, at the centre."""


@app.command()
def credit(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8: citizen_id_no,amount (yuan, two decimals).")],
    scheme: Annotated[Scheme, typer.Option(help="险种 Whose accounts.")],
    reason: Annotated[str, typer.Option(help="理由 Why; it is kept with the document.")],
    by: Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who proposes it.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> None:
    """划入 Propose to pay these amounts into these persons' accounts; somebody else approves. All of it or nothing."""
    from center.approving.actions import CannotDo
    from center.approving.proposals import AlreadyProposed, CannotPropose
    from center.conservation import crediting
    from city.commands.catalogue_office import at_the_centre, operator, print_json

    try:
        content = file.read_bytes()
    except OSError:
        raise Stop(f"不能读取文件 {file}", WRONG_USAGE) from None
    try:
        lines = crediting.read(content)
        with at_the_centre() as (connection, at):
            number, effect = crediting.propose(connection, scheme.value, lines, by=operator(by), reason=reason, at=at)
    except (crediting.NotAList, CannotDo, CannotPropose, AlreadyProposed) as why:
        raise Stop(str(why), REFUSED) from None
    if as_json:
        print_json({"proposal_no": number, "effect": effect})
    else:
        print(f"申请 {number} 等待复核：{effect}")
