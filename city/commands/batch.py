"""`jiesuan batch`: what an operator does with charge batches at the front-end server: refused ones, and refunds."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

app = typer.Typer(
    help="费用批次 Charge batches at a front-end: those the centre refused, and refunds.", no_args_is_help=True
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


@app.command()
def refund(  # noqa: PLR0917  # arguments and options of a command line, handed over by name
    institution: Institution,
    visit_no: VisitNo,
    charge_batch_no: Number,
    reason: Annotated[str, typer.Option(help="Why it is taken back (退费原因).")],
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="What is kept of it, LINE=QUANTITY, as often as needed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> None:
    """退费 Ask the centre to take a settled batch back; what is kept is settled anew, both or neither."""
    from infra.settings import Settings
    from workers import visits
    from workers.refund import refund as ask
    from workers.tasks import Frontend

    kept = dict(_kept(each) for each in keep or ())
    frontend = Frontend(Settings())
    outcome = ask(
        frontend.engine,
        frontend.shelf,
        institution,
        visit_no,
        charge_batch_no,
        reason=reason.strip(),
        at=frontend.now(),
        kept=kept,
    )
    if isinstance(outcome, visits.NotReady):
        if as_json:
            reasons = [{"code": each.code.value, "detail": each.words} for each in outcome.reasons]
            print(json.dumps({"refused": reasons}, ensure_ascii=False))
        raise Stop(outcome.words, REFUSED)
    frontend.doorbell.ring(institution)
    if as_json:
        numbers = {"contra_batch_no": outcome.contra_batch_no, "resettled_batch_no": outcome.resettled_batch_no}
        print(json.dumps({"visit_no": visit_no, "charge_batch_no": charge_batch_no} | numbers))
    else:
        print(f"已申请退费，反向结算批次 {outcome.contra_batch_no}；结果由中心答复")


def _kept(text: str) -> tuple[int, int]:
    """Line number and quantity in hundredths of LINE=QUANTITY. Raises Stop."""
    from decimal import Decimal, InvalidOperation

    line_no, equals, quantity = text.partition("=")
    try:
        hundredths = Decimal(quantity) * 100
    except InvalidOperation:
        hundredths = Decimal("NaN")
    if not (equals and line_no.isdigit() and hundredths.is_finite() and hundredths == int(hundredths)):
        raise Stop(f"{text} 写法不对，应为 项目序号=数量，例如 3=1.5", WRONG_USAGE)
    return int(line_no), int(hundredths)
