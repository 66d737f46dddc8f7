"""`jiesuan broker rights`: what a login may do at the broker, as the broker wants to be told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from city.commands import WRONG_USAGE, Stop

if TYPE_CHECKING:
    from infra.broker_rights import RabbitRights

app = typer.Typer(help="消息服务 The broker's logins and what they may do.", no_args_is_help=True)

Frontend = Annotated[str, typer.Argument(help="前置机代码 A front-end's code; `center` for the centre's own login.")]


@app.command()
def rights(
    frontend: Frontend,
    tenant: Annotated[str, typer.Option(help="医药机构编号 Only to ring this institution's bell.")] = "",
    rabbitmq: Annotated[bool, typer.Option("--rabbitmq", help="As three patterns for RabbitMQ.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> None:
    """登录权限 The rights of a login: a line for Valkey's access list, or RabbitMQ's three patterns."""
    from city.commands.catalogue_office import print_json
    from infra import broker_rights

    login = f"{frontend}.{tenant}" if tenant else frontend
    try:
        valkey, rabbit = _rights_of(frontend, tenant)
    except broker_rights.NoPlainName as error:
        raise Stop(str(error), WRONG_USAGE) from None
    if as_json:
        print_json({"login": login, "valkey": valkey, "rabbitmq": rabbit._asdict()})
    elif rabbitmq:
        patterns = " ".join(f"'{pattern}'" for pattern in rabbit)
        print(f"rabbitmqctl set_permissions -p / {login} {patterns}")
    else:
        print(broker_rights.user_line(login, "PASSWORD", valkey))


def _rights_of(frontend: str, tenant: str) -> tuple[str, RabbitRights]:
    from infra import broker_rights

    if tenant:
        return broker_rights.tenant(frontend, tenant), broker_rights.rabbit_tenant(frontend, tenant)
    if frontend == "center":
        return broker_rights.CENTER, broker_rights.rabbit_center()
    return broker_rights.frontend(frontend), broker_rights.rabbit_frontend(frontend)
