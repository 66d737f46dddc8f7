"""`jiesuan tenant way`: in which of the three ways an institution's claims are settled."""

from __future__ import annotations

from typing import Annotated

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

Code = Annotated[str, typer.Argument(help="医药机构编号 Institution code (YYBH).")]
NewWay = Annotated[str, typer.Argument(help="central, local or centralized; left out: show the present one.")]
Reason = Annotated[str, typer.Option(help="原因 Why it is changed; kept in the audit log.")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


def way(code: Code, new_way: NewWay = "", reason: Reason = "", by: By = "", as_json: AsJson = False) -> None:
    """结算方式 Change the way of settling while claims flow: central, local or centralized.

    Claims that have left the front-end's desk are finished as they went; what is accepted from then on goes the new
    way. The front-end learns of it with its terms, without a restart.
    """
    from center.serving import terms
    from city.commands.catalogue_office import at_the_centre, operator, print_json
    from domain.ways import WORDS, Way, way_of

    with at_the_centre() as (connection, at):
        row = terms.read(connection, code)
        if row is None:
            raise Stop(f"没有医药机构 {code}", REFUSED)
        before = Way(row.way)
        after, version = before, row.terms_version
        if new_way:
            try:
                after = way_of(new_way)
            except ValueError as unknown:
                raise Stop(str(unknown), WRONG_USAGE) from None
        if after is not before:
            try:
                changes = {"way": str(after)}
                version = terms.change(connection, code, changes, by=operator(by), reason=reason, at=at)
            except terms.TermsRefused as refused:
                raise Stop("；".join(refused.problems), REFUSED) from None
    if as_json:
        print_json({"institution_code": code, "way": str(after), "before": str(before), "terms_version": version})
    elif after is before:
        print(f"{code} 的结算方式是 {after}（{WORDS[after]}）")
    else:
        print(f"{code} 的结算方式由 {before}（{WORDS[before]}）改为 {after}（{WORDS[after]}），条款版本 {version}")
