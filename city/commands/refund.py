"""`jiesuan refund`: what the office looks up and decides about refunds, at the centre."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, Stop

if TYPE_CHECKING:
    from center.correcting.due import Due
    from center.correcting.recomputing import Change, Recomputed
    from center.correcting.story import Permit, Told

app = typer.Typer(help="退费 Refunds, at the centre.", no_args_is_help=True)

VisitNo = Annotated[str, typer.Argument(help="Visit number (就医登记号 JYDJH).")]
BatchNo = Annotated[int, typer.Argument(help="Charge batch number (费用批次 FYPC).")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]

_PARTS = {
    "settled": "结算",
    "taken-back": "退费（冲正）",
    "settled-anew": "保留部分结算",
    "correction-back": "更正（冲正）",
    "correction": "更正后结算",
}


@app.command()
def show(visit_no: VisitNo, as_json: AsJson = False) -> None:
    """查询 What became of a visit's settlements: taken back, settled anew, corrected, permitted."""
    from center.correcting.story import story_of
    from city.commands.catalogue_office import at_the_centre, print_json, print_table
    from domain.money import yuan

    with at_the_centre() as (connection, _):
        documents, permits = story_of(connection, visit_no)
    if not documents:
        raise Stop("中心没有这次就诊的结算", REFUSED)
    if as_json:
        print_json({"documents": [_document(each) for each in documents], "permits": [_document(p) for p in permits]})
        return
    print_table(
        f"就诊 {visit_no}",
        ["单号", "种类", "批次", "时间", "总金额", "基金", "账户", "现金", "关联", "原因"],
        [
            [
                each.settlement_no,
                _PARTS[each.part],
                each.charge_batch_no,
                f"{each.settled_at:%Y-%m-%d %H:%M}",
                yuan(each.total_fen),
                yuan(each.fund_pay_fen),
                yuan(each.account_pay_fen),
                yuan(each.cash_fen),
                _linked(each),
                each.reason,
            ]
            for each in documents
        ],
    )
    for permit in permits:
        print(
            f"特许退费 {permit.permit_no}：批次 {permit.charge_batch_no}，{permit.permitted_by}，"
            f"至 {permit.until} 止，{permit.reason}"
        )


@app.command()
def later(  # noqa: PLR0917  # arguments and options of a command line, handed over by name
    visit_no: VisitNo,
    charge_batch_no: BatchNo,
    propose: Annotated[
        bool, typer.Option("--propose", help="Propose to correct them; somebody else approves.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why they are to be corrected.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """后续结算 The person's later settlements that change by a refund of this one, and the proposal to correct them."""
    from center.approving.proposals import AlreadyProposed, CannotPropose
    from center.correcting import actions
    from city.commands.catalogue_office import at_the_centre, operator, print_json

    with at_the_centre() as (connection, at):
        try:
            refunded = actions.find(connection, visit_no, charge_batch_no)
            found = actions.foreseen(connection, refunded)
            number = None
            if propose:
                number = actions.propose(connection, refunded, by=operator(by), reason=reason, at=at)
        except (actions.NothingToCorrect, CannotPropose, AlreadyProposed) as error:
            raise Stop(str(error), REFUSED) from None
    if as_json:
        print_json(_foreseen(refunded, found, number))
        return
    print(actions.in_words(found.changes) if found.changes else "没有因此改变的后续结算")
    for settlement_no, why in found.impossible:
        print(f"结算 {settlement_no} 不能重算：{why}")
    if number is not None:
        print(f"已提请更正，申请号 {number}；请另一人复核：jiesuan approval show {number}")


@app.command()
def due(
    since: Annotated[str, typer.Option(help="Refunds from this day on (YYYY-MM-DD); 31 days back if left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """待更正 Refunds that left later settlements as they were, and whether their correction is proposed."""
    from datetime import timedelta

    from center.correcting import due as listing
    from city.commands.catalogue_office import at_the_centre, day_of, print_json, print_table

    with at_the_centre() as (connection, at):
        first = day_of(since, at.date() - timedelta(days=31))
        found = listing.due(connection, first, at.date())
    if as_json:
        print_json([_due(each) for each in found])
    elif not found:
        print("没有待更正的退费")
    else:
        print_table(
            "待更正的退费",
            ["就诊", "批次", "医药机构", "退费日期", "后续变化", "不能重算", "申请号"],
            [
                [
                    each.visit_no,
                    each.charge_batch_no,
                    each.institution_code,
                    each.refunded_on,
                    len(each.found.changes),
                    len(each.found.impossible),
                    each.proposal_no,
                ]
                for each in found
            ],
        )


@app.command()
def unlock(  # noqa: PLR0917  # arguments and options of a command line, handed over by name
    visit_no: VisitNo,
    charge_batch_no: BatchNo,
    reason: Annotated[str, typer.Option(help="Why the office allows it.")],
    until: Annotated[str, typer.Option(help="The last day it may be asked for (YYYY-MM-DD).")],
    by: By = "",
    as_json: AsJson = False,
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


def _linked(each: Told) -> str:
    links = []
    if each.takes_back is not None:
        links.append(f"冲 {each.takes_back}")
    if each.taken_back_by is not None:
        links.append(f"被 {each.taken_back_by} 冲")
    if each.proposal_no is not None:
        links.append(f"申请 {each.proposal_no}，机构{'已' if each.heard_at else '未'}收到")
    return "；".join(links)


def _document(row: Told | Permit) -> dict[str, Any]:
    """A row as JSON knows it: amounts as strings, moments and days as ISO writes them."""
    from domain.money import yuan

    document: dict[str, Any] = {}
    for name, value in row._asdict().items():
        if name.endswith("_fen"):
            document[name.removesuffix("_fen")] = yuan(value)
        else:
            document[name] = value.isoformat() if isinstance(value, (date, datetime)) else value
    return document


def _due(each: Due) -> dict[str, Any]:
    return {
        "settlement_no": each.settlement_no,
        "institution_code": each.institution_code,
        "visit_no": each.visit_no,
        "charge_batch_no": each.charge_batch_no,
        "refunded_on": each.refunded_on.isoformat(),
        "changes": [_change(change) for change in each.found.changes],
        "impossible": len(each.found.impossible),
        "proposal_no": each.proposal_no,
    }


def _foreseen(refunded: Any, found: Recomputed, number: int | None) -> dict[str, Any]:
    return {
        "settlement_no": refunded.settlement_no,
        "is_taken_back": refunded.is_taken_back,
        "changes": [_change(each) for each in found.changes],
        "impossible": [{"settlement_no": one, "why": why} for one, why in found.impossible],
        "proposal_no": number,
    }


def _change(change: Change) -> dict[str, Any]:
    from domain.money import yuan

    stored = change.stored
    names = ("fund_pay_fen", "account_pay_fen", "cash_fen")
    return {
        "settlement_no": stored.settlement_no,
        "institution_code": stored.institution_code,
        "visit_no": stored.visit_no,
        "charge_batch_no": stored.charge_batch_no,
        **{
            name.removesuffix("_fen"): {
                "before": yuan(getattr(change.before, name)),
                "after": yuan(getattr(change.after, name)),
            }
            for name in names
        },
        "from_patient": yuan(change.after.cash_fen - change.before.cash_fen),
    }
