"""`jiesuan tenant suspend|resume|weight|limit|offline|change`: the terms of an institution, at the centre.

Every field is checked by `domain.terms`; everything that is wrong is said at once, and then nothing was changed. Who
did it and why is kept in the audit log, with the values before and after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, WRONG_USAGE, Stop

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

Code = Annotated[str, typer.Argument(help="医药机构编号 Institution code (YYBH).")]
Reason = Annotated[str, typer.Option(help="原因 Why; kept in the audit log.")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


def suspend(
    code: Code,
    why: Annotated[str, typer.Option(help="对外说明 What whoever stands before the closed doors is told, in Chinese.")],
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """暂停受理 Close an institution's doors: nothing new comes in; what was accepted is settled."""
    if not why.strip():
        raise Stop("请写明对外说明（--why），医药机构将看到这句话", REFUSED)
    _make(code, {"suspended": why.strip()}, by=by, reason=reason, as_json=as_json)


def resume(code: Code, reason: Reason = "", by: By = "", as_json: AsJson = False) -> None:
    """恢复受理 Open them again."""
    _make(code, {"suspended": ""}, by=by, reason=reason, as_json=as_json)


def weight(
    code: Code,
    new_weight: Annotated[int, typer.Argument(help="1 to 100; 10 is ordinary.")],
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """设定权重 Give an institution a greater or smaller share of its front-end."""
    _make(code, {"weight": new_weight}, by=by, reason=reason, as_json=as_json)


def limit(
    code: Code,
    *,
    rate: Annotated[int | None, typer.Option(help="每秒受理上限 Claims a second; 0: no limit.")] = None,
    burst: Annotated[int | None, typer.Option(help="突发上限 Claims at once; 0: ten seconds of the rate.")] = None,
    backlog: Annotated[int | None, typer.Option(help="待处理上限 Open claims before it is told to wait.")] = None,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """设定限额 How fast it may hand in, and how much may be open."""
    given = {"rate_per_second": rate, "burst": burst, "backlog_cap": backlog}
    changes = {field: value for field, value in given.items() if value is not None}
    _make(code, changes, by=by, reason=reason, as_json=as_json)


def offline(
    code: Code,
    *,
    on: Annotated[
        bool | None, typer.Option("--on/--off", help="允许脱机 Settle by account while the link is down.")
    ] = None,
    claim: Annotated[str, typer.Option(help="每笔限额 One claim at the most, yuan.")] = "",
    total: Annotated[str, typer.Option(help="累计限额 All that is not settled or posted yet, yuan.")] = "",
    hours: Annotated[int | None, typer.Option(help="时限 Within how many hours it has to be posted.")] = None,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """脱机条款 What an institution may do while the link is down: off-line settlement, and how much is kept.

    Off-line settlement is off by default and needs all three limits. The limits hold for what is merely accepted, too;
    0 sets none. `jiesuan offline exposure` computes what accounts may be overdrawn by at the worst.
    """
    amounts = {"offline_claim_fen": _fen("--claim", claim), "offline_total_fen": _fen("--total", total)}
    _make(code, _given({"offline": on, **amounts, "offline_hours": hours}), by=by, reason=reason, as_json=as_json)


def change(
    code: Code,
    *,
    name: Annotated[str | None, typer.Option(help="名称 Its name.")] = None,
    kind: Annotated[str | None, typer.Option(help="hospital, clinic or pharmacy.")] = None,
    level: Annotated[int | None, typer.Option(help="级别 0 to 3.")] = None,
    size: Annotated[str | None, typer.Option(help="extra_large, large, medium or small.")] = None,
    short_code: Annotated[str | None, typer.Option(help="就医登记号前六位 How its visit numbers begin; once.")] = None,
    civil_servants: Annotated[
        bool | None,
        typer.Option("--civil-servants/--no-civil-servants", help="公务员医疗补助 It needs a server of its own."),
    ] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="启用 Whether it takes part at all.")
    ] = None,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """变更登记 What an institution is: name, kind, level, size, civil-servant business, in service or not."""
    fields = {
        "name": name,
        "kind": kind,
        "level": level,
        "size": size,
        "short_code": short_code,
        "civil_servants": civil_servants,
        "active": active,
    }
    _make(code, _given(fields), by=by, reason=reason, as_json=as_json)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _fen(option: str, yuan_text: str) -> int | None:
    from domain.money import fen

    if not yuan_text:
        return None
    try:
        return fen(yuan_text)
    except ValueError:
        raise Stop(f"{option} 须为金额（元），如 200.00，现为 {yuan_text!r}", WRONG_USAGE) from None


def _make(code: str, changes: dict[str, Any], *, by: str, reason: str, as_json: bool) -> None:
    from city.commands.catalogue_office import at_the_centre

    with at_the_centre() as (connection, at):
        version = changed(connection, code, changes, by=by, reason=reason, at=at)
    print_changed({"institution_code": code, **changes}, version, as_json)


def changed(connection: Connection, code: str, changes: dict[str, Any], *, by: str, reason: str, at: datetime) -> int:
    """Change them; their new version. Raises Stop with everything that is wrong."""
    from center.serving import terms
    from city.commands.catalogue_office import operator

    try:
        return terms.change(connection, code, changes, by=operator(by), reason=reason, at=at)
    except terms.TermsRefused as refused:
        raise Stop("；".join(refused.problems), REFUSED) from None


def print_changed(document: dict[str, Any], version: int, as_json: bool) -> None:
    """Say what was changed, and that front-ends hear of it."""
    from city.commands.catalogue_office import print_json
    from domain.terms import CHECKS

    if as_json:
        print_json({**document, "terms_version": version})
        return
    said = [
        f"{CHECKS[name][0]} {in_words(value)}" for name, value in document.items() if name in CHECKS and value != ""
    ]
    if document.get("suspended") == "":
        said.append("恢复受理")
    print(f"{document['institution_code']}：{'，'.join(said)}。条款版本 {version}，前置机数秒内照此办理")


def in_words(value: object) -> str:
    """A term's value for a person."""
    return {True: "是", False: "否"}[value] if isinstance(value, bool) else str(value)
