"""`jiesuan unknown`: claims whose outcome is not known at this front-end, asking about them, and deciding them."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from city.commands import REFUSED, TRY_LATER, WRONG_USAGE, Stop

app = typer.Typer(help="不确定交易 Unknown outcomes, and what is prepared.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@app.command("list")
def listed(
    institution: Annotated[str, typer.Option(help="Of one institution only.")] = "", as_json: AsJson = False
) -> None:
    """列出不确定交易 What was sent to the centre and is not answered: how old, where it stands, what was tried."""
    from infra.database import reading
    from workers.outcomes.unknown import listed as unknown_claims

    frontend = _frontend()
    with reading(frontend.engine) as connection:
        found = [_seen(one) for one in unknown_claims(connection, at=frontend.now(), institution_code=institution)]
    frontend.engine.dispose()
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print(found)


@app.command()
def resolve(  # noqa: PLR0917  # options of a command line, handed over by name
    institution: Annotated[str, typer.Argument(help="医院编号 The institution.")],
    claim_no: Annotated[str, typer.Argument(help="费用编号 The claim: visit number, dash, batch number.")],
    confirm: Annotated[bool, typer.Option("--confirm", help="It was booked: settle what was prepared.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="It was not booked: it is not to be settled.")] = False,
    reason: Annotated[str, typer.Option(help="Why; needed to confirm or cancel.")] = "",
    by: Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who decides.")] = "",
    wait: Annotated[float, typer.Option(min=0, max=60, help="Wait for the answer, at most so many seconds.")] = 15,
    as_json: AsJson = False,
) -> None:
    """查询并处理一笔 Ask the centre what it has under this key, now; or decide in the institution's place."""
    if confirm and cancel:
        raise Stop("--confirm 与 --cancel 只能选一个", WRONG_USAGE)
    if (confirm or cancel) and not (by.strip() and reason.strip()):
        raise Stop("确认或取消须写明经办人（--by）和原因（--reason）", WRONG_USAGE)
    from domain.lifecycle import FINAL
    from domain.refusals import refusal_words
    from infra.database import reading
    from workers.claims import show
    from workers.outcomes.resolving import Impossible, ask_now, decide_now

    frontend = _frontend()
    with reading(frontend.engine) as connection:
        before = show(connection, institution, claim_no)
    try:
        if confirm or cancel:
            decide_now(
                frontend,
                institution,
                claim_no,
                confirm=confirm,
                by=by.strip(),
                reason=reason.strip(),
                at=frontend.now(),
            )
        else:
            ask_now(frontend, institution, claim_no)
    except Impossible as error:
        raise Stop(str(error), REFUSED) from None
    until = time.monotonic() + wait
    while True:
        with reading(frontend.engine) as connection:
            view = show(connection, institution, claim_no)
        assert view is not None
        is_answered = bool(view.waits_for) or (not (confirm or cancel) and view.expires_at != _expiry(before))
        if view.state in FINAL or is_answered or time.monotonic() > until:
            break
        time.sleep(0.1)
    frontend.engine.dispose()
    told = {"claim_no": claim_no, "state": str(view.state), "phase": str(view.phase), "refusal": view.refusal}
    told["waits_for"] = view.waits_for
    words = _words(told["state"]) + (f"：{refusal_words(view.refusal, _detail(view))}" if view.refusal else "")
    print(json.dumps(told, ensure_ascii=False) if as_json else f"{claim_no}  {words}")
    if view.waits_for:
        raise Stop(f"中心已答复：{refusal_words(view.waits_for, '')}", TRY_LATER)
    if view.state not in FINAL and not is_answered:
        raise Stop("中心还没有答复；前置机会继续询问", TRY_LATER)


@app.command()
def decided(as_json: AsJson = False) -> None:
    """代决记录 What was decided at this front-end in an institution's place: who, what, why; newest first."""
    from infra.database import reading
    from workers.audit import noted

    frontend = _frontend()
    with reading(frontend.engine) as connection:
        found = noted(connection)
    frontend.engine.dispose()
    if as_json:
        rows = [{**row._mapping, "at": row.at.isoformat()} for row in found]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in found:
        print(f"{row.at:%Y-%m-%d %H:%M}  {row.by}  {row.action}  {row.institution_code}  {row.subject}  {row.reason}")


@app.command("prepared")
def prepared_claims(as_json: AsJson = False) -> None:
    """中心待确认的预结算 At the centre: what is prepared and neither confirmed nor cancelled, oldest first."""
    from sqlalchemy import select

    from center.outcomes.tables import outcome
    from city.commands.catalogue_office import at_the_centre, print_json, print_table

    columns = outcome.c.institution_code, outcome.c.visit_no, outcome.c.charge_batch_no, outcome.c.frontend
    asked = select(*columns, outcome.c.prepared_at, outcome.c.expires_at).where(outcome.c.state == "prepared")
    with at_the_centre() as (connection, at):
        rows = connection.execute(asked.order_by(outcome.c.prepared_at)).all()
    if as_json:
        print_json(
            [{**row._mapping, "prepared_at": row[4].isoformat(), "expires_at": row[5].isoformat()} for row in rows]
        )
    elif rows:
        cells = [
            [row[0], f"{row[1]}-{row[2]}", row[3], f"{row[4]:%H:%M:%S}", f"{(row[5] - at).total_seconds():.0f}"]
            for row in rows
        ]
        print_table("待确认", ["医药机构", "费用编号", "前置机", "预结算于", "余（秒）"], cells)
    else:
        print("没有待确认的预结算")


@app.command()
def force(  # noqa: PLR0917  # options of a command line, handed over by name
    institution: Annotated[str, typer.Argument(help="医院编号 The institution.")],
    claim_no: Annotated[str, typer.Argument(help="费用编号 The claim: visit number, dash, batch number.")],
    reason: Annotated[str, typer.Option("--reason", help="What was found out.")],
    by: Annotated[str, typer.Option("--by", envvar="JIESUAN_OPERATOR", help="提请人 Who proposes it.")],
    confirm: Annotated[bool, typer.Option("--confirm/--cancel", help="Settle it as prepared, or not at all.")],
    as_json: AsJson = False,
) -> None:
    """提请代为确认或取消 At the centre: propose to decide it; a second person approves (jiesuan approval approve)."""
    from center.approving.actions import CannotDo
    from center.approving.proposals import AlreadyProposed, CannotPropose
    from center.outcomes.actions import propose_force
    from city.commands.catalogue_office import at_the_centre, operator, print_json

    visit_no, _, batch = claim_no.rpartition("-")
    if not visit_no or not batch.isdigit():
        raise Stop(f"不是费用编号：{claim_no}", WRONG_USAGE)
    try:
        with at_the_centre() as (connection, at):
            key = institution, visit_no, int(batch)
            number = propose_force(connection, key, confirm=confirm, by=operator(by), reason=reason, at=at)
    except (CannotDo, CannotPropose, AlreadyProposed) as why:
        raise Stop(str(why)) from None
    if as_json:
        print_json({"proposal": number})
    else:
        print(f"申请 {number}：等待另一人复核，jiesuan approval approve {number}")


def _frontend() -> Any:
    from infra.settings import Settings
    from workers.tasks import Frontend

    return Frontend(Settings())


def _seen(one: Any) -> dict[str, Any]:
    return {
        "claim_no": one.claim_no,
        "institution_code": one.institution_code,
        "kind": one.kind,
        "state": str(one.state),
        "phase": str(one.phase),
        "since": one.since.isoformat(timespec="seconds"),
        "age_seconds": round(one.age_seconds, 1),
        "attempts": one.attempts,
        "tried": one.tried,
        "waits_for": one.waits_for,
    }


def _expiry(view: Any) -> Any:
    """When what is prepared ends, as it was told last: told again, it is told anew."""
    return None if view is None else view.expires_at


def _detail(view: Any) -> str:
    return view.answer.detail if view.answer is not None else ""


_HOLDS = {"frozen": "中心核对账目，暂停受理", "busy": "参保人另有预结算未办结"}


def _words(state: str) -> str:
    from city.commands.claim import STATES

    return STATES.get(state, state)


def _print(found: list[dict[str, Any]]) -> None:
    if not found:
        print("没有不确定的交易")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("费用编号", "医药机构", "状态", "时长（秒）", "次数", "已做的处理", "等待"):
        table.add_column(name, overflow="fold", min_width={"费用编号": 18, "等待": 10}.get(name))
    for one in found:
        table.add_row(
            one["claim_no"],
            one["institution_code"],
            _words(one["state"]),
            f"{one['age_seconds']:.0f}",
            str(one["attempts"]),
            one["tried"],
            _HOLDS.get(one["waits_for"], one["waits_for"]),
        )
    Console().print(table)
