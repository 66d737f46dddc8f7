"""`jiesuan approval`: what waits for a second person, and what that person decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from center.approving.decisions import Outcome
    from center.approving.proposals import Proposal

app = typer.Typer(help="双人复核 Four eyes: what one operator proposed and another one approves.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(help="Number of the proposal (申请号).")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="复核人 Who decides; not who proposed it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]

_TIME = "%Y-%m-%d %H:%M"


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="The decided and the expired ones, too.")] = False,
    institution: Annotated[str, typer.Option(help="Only this institution's (医院编号 YYBH).")] = "",
    as_json: AsJson = False,
) -> None:
    """列出 What waits for a second person, oldest first."""
    from center.approving.proposals import listed
    from city.commands.catalogue_office import at_the_centre, print_json, print_table

    with at_the_centre() as (connection, at):
        found = listed(connection, at=at, all_states=everything, institution_code=institution)
    if as_json:
        print_json([_document(each, at) for each in found])
    elif not found:
        print("没有等待复核的申请")
    else:
        print_table(
            "双人复核",
            ["申请号", "事项", "医药机构", "状态", "提请人", "提请时间", "结果预测"],
            [
                [
                    each.proposal_no,
                    _title(each),
                    each.institution_code,
                    _state(each, at),
                    each.proposed_by,
                    f"{each.proposed_at:{_TIME}}",
                    each.effect.partition("\n")[0],
                ]
                for each in found
            ],
        )


@app.command()
def show(proposal_no: Number, as_json: AsJson = False) -> None:
    """查看 One proposal: why, what it would do to the books, what became of it."""
    from center.approving.proposals import find
    from city.commands.catalogue_office import at_the_centre, print_json

    with at_the_centre() as (connection, at):
        found = find(connection, proposal_no)
    if found is None:
        raise Stop(f"没有申请 {proposal_no}", REFUSED)
    if as_json:
        print_json(_document(found, at))
        return
    print(f"申请 {found.proposal_no}　{_title(found)}　医药机构 {found.institution_code}　{_state(found, at)}")
    print(
        f"提请：{found.proposed_by}{_station(found.proposed_from)}　{found.proposed_at:{_TIME}}　理由：{found.reason}"
    )
    print(f"有效至：{found.expires_at:{_TIME}}")
    print(f"结果预测：\n{found.effect}")
    if found.decided_by is not None and found.decided_at is not None:
        print(f"办理：{found.decided_by}{_station(found.decided_from)}　{found.decided_at:{_TIME}}")
    if found.outcome:
        print(f"{'上次执行未成' if found.state == 'open' else '结果'}：{found.outcome}")


@app.command()
def approve(proposal_no: Number, by: By = "", as_json: AsJson = False) -> None:
    """批准 Have it done, after its effect was predicted again; another person than who proposed it."""
    from center.approving.decisions import CannotDecide, approve
    from center.approving.tables import APPROVED
    from city.commands.catalogue_office import operator
    from infra.settings import Settings

    with _centre() as (engine, at):
        try:
            outcome = approve(engine, proposal_no, by=operator(by), at=at, by_login=Settings().four_eyes_by_login)
        except CannotDecide as error:
            raise Stop(str(error), REFUSED) from None
    _told(outcome, as_json=as_json)
    if outcome.state != APPROVED:
        raise Stop(f"申请 {proposal_no} 没有执行", REFUSED)


@app.command()
def reject(
    proposal_no: Number,
    reason: Annotated[str, typer.Option(help="Why it is not done.")],
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """退回 Send it back; nothing of it is done."""
    from center.approving.decisions import CannotDecide, reject
    from city.commands.catalogue_office import operator

    if not reason.strip():
        raise Stop("退回要写明理由：--reason", WRONG_USAGE)
    with _centre() as (engine, at):
        try:
            outcome = reject(engine, proposal_no, by=operator(by), reason=reason, at=at)
        except CannotDecide as error:
            raise Stop(str(error), REFUSED) from None
    _told(outcome, as_json=as_json)


@contextmanager
def _centre() -> Iterator[tuple[Engine, datetime]]:
    """The centre's database, and the moment. Raises MissingSetting."""
    from infra.database import opened
    from infra.settings import Settings

    settings = Settings()
    settings.need("center_database_url")
    with opened(settings.center_database_url) as engine:
        yield engine, settings.time.now()


def _told(outcome: Outcome, *, as_json: bool) -> None:
    from center.approving.decisions import STATE_WORDS
    from city.commands.catalogue_office import print_json

    if as_json:
        print_json(outcome._asdict())
    else:
        print(f"申请 {outcome.proposal_no} {STATE_WORDS[outcome.state]}：{outcome.words}")


def _title(found: Proposal) -> str:
    from center.approving.registry import ACTIONS

    return ACTIONS[found.action].title if found.action in ACTIONS else found.action


def _station(name: str) -> str:
    return f"（系统用户 {name}）" if name else ""


def _state(found: Proposal, at: datetime) -> str:
    from center.approving.decisions import STATE_WORDS

    return "已过期" if found.state == "open" and not found.is_open(at) else STATE_WORDS[found.state]


def _document(found: Proposal, at: datetime) -> dict[str, Any]:
    moments = {name: value.isoformat() for name, value in found._asdict().items() if isinstance(value, datetime)}
    return {**found._asdict(), **moments, "is_open": found.is_open(at)}
