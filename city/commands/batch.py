"""`jiesuan batch`: batches of registered visits that the centre refused, at the front-end server."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from city.commands import REFUSED, Stop

app = typer.Typer(
    help="被中心拒绝的费用批次 Batches the centre refused: list, send again, give up.", no_args_is_help=True
)

Institution = Annotated[str, typer.Option(help="The institution's code (医院编号 YYBH).")]
VisitNo = Annotated[str, typer.Argument(help="Visit number (就医登记号 JYDJH).")]
Number = Annotated[int, typer.Argument(help="Charge batch number (费用批次 FYPC).")]


@app.command()
def refused(
    institution: Institution,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> None:
    """列出 The batches that stand refused, and why."""
    from infra.database import reading
    from infra.settings import Settings
    from workers import visits
    from workers.tasks import Frontend

    with reading(Frontend(Settings()).engine) as connection:
        found = visits.refused(connection, institution)
    for each in found:
        if as_json:
            row = {"visit_no": each.visit_no, "charge_batch_no": each.charge_batch_no, "refusal": each.refusal}
            print(json.dumps(row | {"detail": each.words}, ensure_ascii=False))
        else:
            print(f"{each.visit_no}\t{each.charge_batch_no}\t{each.words}")


@app.command()
def again(institution: Institution, visit_no: VisitNo, charge_batch_no: Number) -> None:
    """重送 Send a refused batch to the centre once more, as it was, after its cause was mended."""
    from infra.settings import Settings
    from workers import visits
    from workers.tasks import Frontend

    frontend = Frontend(Settings())
    outcome = visits.send_again(frontend.engine, institution, visit_no, charge_batch_no, at=frontend.now())
    if isinstance(outcome, visits.NotReady):
        raise Stop(outcome.words, REFUSED)
    frontend.doorbell.ring(institution)


@app.command("give-up")
def give_up(institution: Institution, visit_no: VisitNo, charge_batch_no: Number) -> None:
    """撤回 Give a refused batch up: its lines are free to be settled with what came in since."""
    from infra.settings import Settings
    from workers import visits
    from workers.tasks import Frontend

    frontend = Frontend(Settings())
    outcome = visits.give_up(frontend.engine, institution, visit_no, charge_batch_no, at=frontend.now())
    if isinstance(outcome, visits.NotReady):
        raise Stop(outcome.words, REFUSED)
