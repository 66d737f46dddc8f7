"""`jiesuan refund`: what the office decides about refunds, at the centre."""

from __future__ import annotations

from typing import Annotated

import typer

from city.commands import REFUSED, Stop

app = typer.Typer(help="退费 Refunds, at the centre.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `unlock` a command of its own."""


@app.command()
def unlock(  # noqa: PLR0917  # arguments and options of a command line, handed over by name
    visit_no: Annotated[str, typer.Argument(help="Visit number (就医登记号 JYDJH).")],
    charge_batch_no: Annotated[int, typer.Argument(help="Charge batch number (费用批次 FYPC).")],
    reason: Annotated[str, typer.Option(help="Why the office allows it.")],
    until: Annotated[str, typer.Option(help="The last day it may be asked for (YYYY-MM-DD).")],
    by: Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who allows it.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> None:
    """特许退费 Let one settlement be taken back that the policy leaves to the office. The institution asks again."""
    from center.settling.permits import CannotPermit, permit
    from city.commands.catalogue_office import at_the_centre, day_of, operator, print_json

    with at_the_centre() as (connection, at):
        day = day_of(until, at.date())
        try:
            number = permit(
                connection, visit_no, charge_batch_no, by=operator(by), reason=reason.strip(), until=day, at=at
            )
        except CannotPermit as error:
            raise Stop(str(error), REFUSED) from None
    if as_json:
        print_json({"permit_no": number, "until": day.isoformat()})
    else:
        print(f"已特许退费 {number}，至 {day} 止；请医药机构重新申请")
