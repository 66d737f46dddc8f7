"""`jiesuan offline` and `jiesuan link`: the link of a front-end, what waits for it, and off-line settlement."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

app = typer.Typer(help="脱机结算 Off-line settlement: the worst case, the differences.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
OfInstitution = Annotated[str, typer.Option(help="医院编号 Of one institution only.")]

CASE_WORDS = {"offline-differs": "金额不符，已按中心结果入账", "offline-refused": "中心未入账"}


def link(as_json: AsJson = False) -> None:
    """前置机与中心的链路 The link of this front-end: its state, the clocks, and what waits of each institution."""
    from city.commands.catalogue_office import print_json, print_table
    from domain.money import yuan
    from infra.database import opened, reading
    from infra.settings import Settings
    from workers.link import standing
    from workers.offline.limits import terms_of
    from workers.offline.queue import waiting

    settings = Settings()
    settings.need("frontend_database_url")
    with opened(settings.frontend_database_url) as engine, reading(engine) as connection:
        found = standing(connection, at=settings.time.now())
        waits = waiting(connection)
        terms = terms_of(connection, [each.institution_code for each in waits])
    if as_json:
        print_json(
            {
                "state": str(found.state),
                "since": None if found.since is None else found.since.isoformat(),
                "heard_at": None if found.heard_at is None else found.heard_at.isoformat(),
                "clock_ahead_seconds": None if found.skew is None else found.skew.ahead.total_seconds(),
                "clock_agrees": found.clock_agrees,
                "words": found.words(),
                "waiting": [each._asdict() for each in waits],
            }
        )
        return
    print(found.words())
    if waits:
        rows = [
            [
                each.institution_code,
                each.claims,
                yuan(each.total_fen),
                each.offline_claims,
                yuan(each.offline_fen),
                yuan(terms[each.institution_code].total_fen) if terms[each.institution_code].total_fen else "不限",
            ]
            for each in waits
        ]
        print_table("已受理未结算", ["医药机构", "笔数", "金额", "其中脱机结算", "账户支付", "脱机受理限额"], rows)


@app.command()
def exposure(as_json: AsJson = False) -> None:
    """最坏情形 At the centre: what accounts could come to be overdrawn by, were every off-line lease spent."""
    from center.offline.exposure import exposure as worst
    from city.commands.catalogue_office import at_the_centre, print_json, print_table
    from domain.money import yuan

    with at_the_centre() as (connection, at):
        found = worst(connection, at=at)
    if as_json:
        print_json({**found._asdict(), "largest": [each._asdict() for each in found.largest]})
        return
    print(
        f"已租出脱机限额的参保人 {found.persons} 人，其中由多个前置机持有 {found.several} 人；"
        f"最坏情形透支合计 {yuan(found.worst_fen)} 元"
    )
    print_table("按前置机", ["前置机", "租出限额"], [[code, yuan(fen)] for code, fen in found.by_frontend.items()])
    rows = [
        [each.person_no, yuan(each.worst_fen), "、".join(f"{code} {yuan(fen)}" for code, fen in each.holders.items())]
        for each in found.largest
    ]
    print_table("最大的", ["个人编号", "最坏情形", "持有者"], rows)


@app.command()
def cases(
    institution: OfInstitution = "",
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """脱机结算差异 At the centre: off-line settlements that were not confirmed to the fen, with the proposed repair."""
    from center.offline.cases import listed
    from city.commands.catalogue_office import at_the_centre, print_json

    with at_the_centre() as (connection, _):
        found = listed(connection, institution_code=institution, everything=everything)
    if as_json:
        print_json([_document(case) for case in found])
        return
    for case in found:
        state = "未办结" if case.closed_at is None else f"{case.closed_at:%m-%d %H:%M} 办结"
        number = f"{case.visit_no}-{case.charge_batch_no}"
        print(f"{case.case_id}  {case.institution_code}  {number}  {CASE_WORDS[case.kind]}  {state}\n    {case.words}")
    if not found:
        print("没有脱机结算差异")


@app.command()
def close(
    number: Annotated[int, typer.Argument(help="编号 The number of the case.")],
    reason: Annotated[str, typer.Option("--reason", help="What was done.")],
    by: Annotated[str, typer.Option("--by", envvar="JIESUAN_OPERATOR", help="经办人 Who closes it.")] = "",
) -> None:
    """办结一项差异 Close a case: the institution and the person are even. The books are not touched."""
    from center.offline.cases import NoSuchCase
    from center.offline.cases import close as close_case
    from city.commands.catalogue_office import at_the_centre, operator

    if not reason.strip():
        raise Stop("须写明原因（--reason）", WRONG_USAGE)
    with at_the_centre() as (connection, at):
        try:
            case = close_case(connection, number, by=operator(by), reason=reason.strip(), at=at)
        except NoSuchCase:
            raise Stop(f"没有编号为 {number} 的未办结脱机差异", REFUSED) from None
    print(f"已办结：{case.visit_no}-{case.charge_batch_no}")


def _document(case: Any) -> dict[str, Any]:
    closed = None if case.closed_at is None else case.closed_at.isoformat()
    return {**case._asdict(), "opened_at": case.opened_at.isoformat(), "closed_at": closed}
