"""`jiesuan tenant`: the institutions of a front-end, what each has of it, and on which terms.

The terms are the centre's (`center.serving`): a front-end obeys them within seconds. The shares are measured at the
front-end. Its terms, its way of settling, and moving it are files of their own beside this one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from city.commands import REFUSED, Stop
from city.commands.tenant_lanes import lanes
from city.commands.tenant_move import move
from city.commands.tenant_show import show
from city.commands.tenant_terms import change, changed, limit, offline, print_changed, resume, suspend, weight
from city.commands.tenant_way import way

if TYPE_CHECKING:
    from sqlalchemy import Connection

app = typer.Typer(
    help="接入机构 The institutions of a front-end: their shares, weights and limits.", no_args_is_help=True
)
for command in (show, suspend, resume, weight, limit, offline, change, way, move, lanes):
    app.command()(command)

Code = Annotated[str, typer.Argument(help="医药机构编号 Institution code (YYBH).")]
Reason = Annotated[str, typer.Option(help="原因 Why; kept in the audit log.")]
By = Annotated[str, typer.Option(envvar="JIESUAN_OPERATOR", help="经办人 Who does it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@app.command()
def add(
    code: Code,
    *,
    name: Annotated[str, typer.Option(help="名称 Its name.")],
    frontend: Annotated[str, typer.Option(help="前置机 The front-end server that serves it.")],
    short_code: Annotated[str, typer.Option(help="就医登记号前六位 How its visit numbers begin.")],
    kind: Annotated[str, typer.Option(help="hospital, clinic or pharmacy.")] = "clinic",
    level: Annotated[int, typer.Option(help="级别 0 to 3.")] = 1,
    size: Annotated[str, typer.Option(help="extra_large, large, medium or small.")] = "small",
    connection: Annotated[str, typer.Option(help="own, shared, hosted or head_office.")] = "shared",
    weight: Annotated[int, typer.Option(help="权重 Its share of the front-end, 1 to 100.")] = 10,
    rate: Annotated[int, typer.Option(help="每秒受理上限 Claims a second; 0: no limit.")] = 20,
    burst: Annotated[int, typer.Option(help="突发上限 Claims at once; 0: ten seconds of the rate.")] = 0,
    backlog: Annotated[int, typer.Option(help="待处理上限 Open claims before it is told to wait.")] = 400,
    reason: Reason = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """新增机构 Enter an institution at the centre; its front-end serves it within seconds, without a restart.

    It has no API key yet: `jiesuan tenant key CODE` at the front-end makes one.
    """
    from center.serving.beginning import is_heard_of
    from center.serving.entering import enter
    from city.commands.catalogue_office import at_the_centre

    connection = connection.replace("-", "_")
    basics = {"name": name, "kind": kind, "level": level}
    terms_ = {
        "short_code": short_code,
        "size": size,
        "weight": weight,
        "rate_per_second": rate,
        "burst": burst,
        "backlog_cap": backlog,
    }
    with at_the_centre() as (database, at):
        fields: dict[str, object] = {**basics, **terms_}
        problems = _against(database, code, frontend=frontend, connected=connection, fields=fields, reason=reason)
        if problems:
            raise Stop("；".join(problems), REFUSED)
        row = {"institution_code": code, "frontend": frontend, "connection": connection, **basics}
        is_new = not is_heard_of(database, frontend)
        enter(database, [row])
        version = changed(database, code, terms_, by=by, reason=reason, at=at)
    if is_new:
        print(f"注意：中心尚未收到过前置机 {frontend} 的消息，请核对名称；装好并启动后即照此办理", file=sys.stderr)
    print_changed({"institution_code": code, "frontend": frontend, **basics, **terms_}, version, as_json)


@app.command()
def key(code: Code, as_json: AsJson = False) -> None:
    """发放接口密钥 At the front-end: make an institution a new API key; the one it had opens nothing any more."""
    import secrets

    from sqlalchemy import update

    from city.commands.catalogue_office import print_json
    from infra.database import opened
    from infra.settings import Settings
    from producers.api.keys import hash_of
    from workers.tables import institution

    settings = Settings()
    settings.need("frontend_database_url")
    made = secrets.token_urlsafe(24)
    with opened(settings.frontend_database_url) as engine, engine.begin() as connection:
        found = connection.execute(
            update(institution).where(institution.c.institution_code == code).values(api_key_hash=hash_of(made))
        )
    if not found.rowcount:
        raise Stop(f"本前置机没有医药机构 {code}", REFUSED)
    if as_json:
        print_json({"institution_code": code, "api_key": made})
    else:
        print(f"{code} 的接口密钥（只显示这一次）：{made}")


def _against(
    connection: Connection, code: str, *, frontend: str, connected: str, fields: dict[str, object], reason: str
) -> list[str]:
    """Everything that stands against a new institution, in Chinese."""
    from sqlalchemy import select

    from center.serving.beginning import Wish, against_neighbours
    from center.serving.terms import LONGEST_REASON
    from center.tables import institution
    from domain.terms import CONNECTION_WORDS, problems_of
    from infra.broker_rights import PLAIN_NAME

    found = problems_of(fields)
    if not (code.isascii() and code.isalnum() and 1 <= len(code) <= 18):
        found.append(f"医药机构编号须为 1 至 18 位字母或数字，现为 {code!r}")
    if not PLAIN_NAME.fullmatch(frontend):
        found.append(f"前置机代码只能由字母、数字、- 和 _ 组成，至多 32 位，现为 {frontend!r}")
    if connected not in set(CONNECTION_WORDS):
        found.append(f"接入方式须为 {'、'.join(CONNECTION_WORDS)} 之一，现为 {connected!r}")
    found += against_neighbours(connection, Wish(code, frontend, connected))
    if not 0 < len(reason) <= LONGEST_REASON:
        found.append(f"请写明理由（--reason），至多 {LONGEST_REASON} 字")
    if connection.execute(select(institution.c.name).where(institution.c.institution_code == code)).first():
        found.append(f"医药机构 {code} 已经登记")
    taken = select(institution.c.institution_code).where(institution.c.short_code == str(fields["short_code"]))
    if other := connection.execute(taken).scalar():
        found.append(f"就医登记号前六位 {fields['short_code']} 已由机构 {other} 使用")
    return found
