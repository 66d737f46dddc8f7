"""`jiesuan books`: does every fen add up, what is frozen, and who lets it go on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, TRY_LATER, Stop

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="账目核对 Whether every fen adds up, and what is frozen.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@app.command()
def check(
    everything: Annotated[bool, typer.Option("--all", help="Everything from nothing, not only what is new.")] = False,
    institution: Annotated[
        str, typer.Option("--institution", help="Everything of this institution from nothing.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """核对账目 Check the books at five levels; what is broken freezes its flow. Exit code 1 when something is."""
    from center.catalogue.shelf import CatalogueShelf
    from center.conservation.checking import Shelves, check_all, check_new
    from center.policy.shelf import PolicyShelf
    from city.commands.catalogue_office import print_json
    from infra.database import opened
    from infra.settings import Settings

    settings = Settings()
    settings.need("center_database_url")
    shelves, at = Shelves(CatalogueShelf(), PolicyShelf()), settings.time.now()
    with opened(settings.center_database_url) as engine:
        if institution and not _is_known(engine, institution):
            raise Stop(f"没有医药机构 {institution}")
        if everything or institution:
            report = check_all(engine, shelves, at=at, institution_code=institution or None)
        else:
            now = settings.time.seconds()
            new = check_new(engine, shelves, holder=f"cli:{os.getpid()}", at=at, now=now)
            if new is None:
                raise Stop("另一进程正在核对，请稍后再试", TRY_LATER)
            report = new
    if as_json:
        print_json(report.as_document())
    else:
        _print(report)
    if not report.holds:
        raise typer.Exit(REFUSED)


@app.command()
def frozen(as_json: AsJson = False) -> None:
    """冻结的结算 What is frozen, since when and why."""
    from center.conservation.actions import flow_words
    from center.conservation.freezing import frozen_rows
    from city.commands.catalogue_office import at_the_centre, print_json, print_table

    with at_the_centre() as (connection, _):
        rows = frozen_rows(connection)
    if as_json:
        print_json([_as_document(row) for row in rows])
    elif rows:
        cells = [[row.freeze_no, flow_words(row), f"{row.frozen_at:%m-%d %H:%M}", row.why] for row in rows]
        print_table("已冻结", ["号", "结算", "时间", "原因"], cells)
    else:
        print("没有冻结的结算")


@app.command()
def release(
    freeze_no: Annotated[int, typer.Argument(help="A number `jiesuan books frozen` lists; its whole flow.")],
    reason: Annotated[str, typer.Option("--reason", help="What was found out.")],
    by: Annotated[str, typer.Option("--by", envvar="JIESUAN_OPERATOR", help="提请人 Who proposes it.")],
    as_json: AsJson = False,
) -> None:
    """提请解除冻结 Propose to release a flow; a second person approves (jiesuan approval approve)."""
    from center.approving.actions import CannotDo
    from center.approving.proposals import AlreadyProposed, CannotPropose
    from center.conservation.actions import propose_release
    from city.commands.catalogue_office import at_the_centre, operator, print_json

    try:
        with at_the_centre() as (connection, at):
            number = propose_release(connection, freeze_no, by=operator(by), reason=reason, at=at)
    except (CannotDo, CannotPropose, AlreadyProposed) as why:
        raise Stop(str(why)) from None
    if as_json:
        print_json({"proposal": number})
    else:
        print(f"申请 {number}：等待另一人复核，jiesuan approval approve {number}")


def _is_known(engine: Engine, institution_code: str) -> bool:
    from sqlalchemy import select

    from center.tables import institution

    known = select(institution.c.institution_code).where(institution.c.institution_code == institution_code)
    with engine.connect() as connection:
        return connection.execute(known).first() is not None


def _print(report: Any) -> None:
    from city.commands.catalogue_office import print_table

    title = "账目核对（全部）" if report.way == "all" else "账目核对（新入账）"
    print_table(title, ["层次", "核对", "合计（元）", "不符"], report.rows())
    if report.findings:
        rows = [[finding.document_no or "", finding.flow.institution_code, finding.why] for finding in report.findings]
        print_table("不符", ["单据", "医药机构", "说明"], rows)
    if report.accepted:
        print(f"其中 {report.accepted} 处已由两人放行")
    if report.newly_frozen:
        print(f"新冻结 {report.newly_frozen} 处，见 jiesuan books frozen")
    if not report.findings:
        print("账目相符")


def _as_document(row: Any) -> dict[str, Any]:
    shown = ("freeze_no", "institution_code", "scheme", "clearing_type", "person_no", "level", "code", "document_no",
             "subject", "why")  # fmt: skip
    return {
        **{name: getattr(row, name) for name in shown},
        "day": None if row.day is None else row.day.isoformat(),
        "expected": row.expected_fen,
        "found": row.found_fen,
        "frozen_at": row.frozen_at.isoformat(),
    }
