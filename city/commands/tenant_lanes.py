"""`jiesuan tenant lanes`: over how many settle lanes an institution's claims are spread, by person."""

from __future__ import annotations

from typing import Annotated

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

Codes = Annotated[list[str] | None, typer.Argument(help="医药机构编号 Institution codes; with --all: every one.")]
Count = Annotated[int, typer.Option("--lanes", min=1, help="通道数 How many lanes; not more than the centre serves.")]
All = Annotated[bool, typer.Option("--all", help="所有机构 Every institution of the centre.")]
Reason = Annotated[str, typer.Option(help="原因 Why it is changed; kept in the audit log.")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


def lanes(  # noqa: PLR0917  # options of a command line, handed over by name
    count: Count,
    codes: Codes = None,
    all_: All = False,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """结算通道 Spread claims over several settle lanes while they flow; front-ends learn of it with their terms.

    A person always has the same lane, so that no two lanes wait for one person. What is under way on another lane is
    settled there; what nobody serves any more is sent again.
    """
    from sqlalchemy import select

    from center.serving import terms
    from center.tables import institution
    from city.commands.catalogue_office import at_the_centre, operator, print_json
    from infra.settings import Settings

    served = Settings().settle_lanes
    if count > served:
        raise Stop(f"本中心只开了 {served} 条结算通道（JIESUAN_SETTLE_LANES），不能分到 {count} 条", REFUSED)
    if bool(codes) == all_:
        raise Stop("请给出机构编号，或加 --all（二者取一）", WRONG_USAGE)
    with at_the_centre() as (connection, at):
        found = (
            codes
            or connection.execute(select(institution.c.institution_code).order_by(institution.c.institution_code))
            .scalars()
            .all()
        )
        problems: list[str] = []
        versions: dict[str, int] = {}
        for code in found:
            try:
                changes = {"settle_lanes": count}
                versions[code] = terms.change(connection, code, changes, by=operator(by), reason=reason, at=at)
            except terms.TermsRefused as refused:
                problems += [f"{code}：{problem}" for problem in refused.problems]
        if problems:
            raise Stop("；".join(dict.fromkeys(problems)), REFUSED)
    if as_json:
        print_json({"settle_lanes": count, "terms_versions": versions})
    else:
        print(f"{len(versions)} 家机构的结算分到 {count} 条通道")
