"""`jiesuan`: the command line. Data on stdout, words on stderr; 0 done, 1 refused by a rule, 2 wrong usage, 75 later.

Each command imports what it needs when it runs, so that `jiesuan --help` is there at once.
"""

from __future__ import annotations

import gc
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from city.commands import (
    Stop,
    account,
    approval,
    batch,
    books,
    broker,
    clearing,
    dbf,
    offline,
    reconcile,
    refund,
    tenant,
    unknown,
    window,
)
from city.commands import audit as audits
from city.commands import backup as backups
from city.commands import catalogue as catalogues
from city.commands import exchange as exchanges
from city.commands import load as loads
from city.commands import policy as policies
from infra.memory import SELDOM

app = typer.Typer(
    name="jiesuan", help="医疗保险结算 Medical-insurance settlement.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
claims = typer.Typer(help="提交、查询一笔费用 Hand in a claim, or look at one.", no_args_is_help=True)
config = typer.Typer(help="配置 Settings.", no_args_is_help=True)
app.add_typer(claims, name="claim")
app.add_typer(unknown.app, name="unknown")
app.add_typer(dbf.app, name="dbf")
app.add_typer(batch.app, name="batch")
app.add_typer(refund.app, name="refund")
app.add_typer(approval.app, name="approval")
app.add_typer(books.app, name="books")
app.add_typer(broker.app, name="broker")
app.add_typer(reconcile.app, name="reconcile")
app.add_typer(clearing.app, name="clearing")
app.add_typer(account.app, name="account")
app.add_typer(tenant.app, name="tenant")
app.add_typer(window.app, name="window")
app.add_typer(loads.app, name="load")
app.add_typer(offline.app, name="offline")
app.command("link")(offline.link)
app.add_typer(config, name="config")
app.add_typer(policies.app, name="policy")
app.add_typer(catalogues.app, name="catalogue")
app.add_typer(exchanges.app, name="exchange")
app.add_typer(audits.app, name="audit")
app.add_typer(backups.app, name="backup")
app.add_typer(backups.epoch_app, name="epoch")
app.command()(backups.restore)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Url = Annotated[str, typer.Option("--url", envvar="JIESUAN_API_URL", help="The front-end's API.")]
KeyFile = Annotated[
    Path | None, typer.Option("--api-key-file", envvar="JIESUAN_API_KEY_FILE", help="A file with the API key.")
]


class Role(StrEnum):
    """What one process can be."""

    CENTER_SETTLE = "center-settle"
    CENTER_DETAIL = "center-detail"
    BEAT = "beat"
    FLOWER = "flower"
    API = "api"
    DESK = "desk"
    LINK = "link"
    HIS = "his"
    TABLES = "tables"


class Place(StrEnum):
    """Whose database."""

    CENTER = "center"
    FRONTEND = "frontend"


@app.command()
def run() -> None:
    """一个门诊上午的完整演练 One outpatient morning on real services, then the proof that nothing was lost."""
    from city.morning import run as run_city
    from infra.settings import Settings

    raise typer.Exit(run_city(Settings()))


@app.command()
def up() -> None:
    """启动全部服务直到 Ctrl-C The same services, kept running."""
    from city.up import up as up_city
    from infra.settings import Settings

    raise typer.Exit(up_city(Settings()))


@app.command()
def play() -> None:
    """向正在运行的服务送一批费用 Hand in sample claims to services that run already."""
    from city.play import play as play_city
    from infra.settings import Settings

    raise typer.Exit(play_city(Settings()))


@app.command()
def seed(place: Place) -> None:
    """写入示例城市 Write the sample city into the centre's database, or into this front-end's."""
    from city.seed import seed as write
    from infra.settings import Settings

    print("written" if write(Settings(), place.value) else "there already", file=sys.stderr)


@app.command()
def serve(role: Role) -> None:
    """运行一个进程 Run one process until it is told to stop."""
    from city.commands import serve as serving

    raise typer.Exit(serving.serve(role.value))


@app.command()
def migrate(place: Place) -> None:
    """升级数据库 Bring a database to this release's schema."""
    from city.commands import databases

    databases.migrate(place.value)


@claims.command("submit")
def claim_submit(  # noqa: PLR0917  # options of a command line, handed over by name
    file: Annotated[Path, typer.Argument(help="The claim as JSON; - reads stdin.")],
    wait: Annotated[int, typer.Option(min=0, max=30, help="Wait for the answer, at most so many seconds.")] = 10,
    key: Annotated[str, typer.Option(help="Idempotency key; one made from the content when left out.")] = "",
    url: Url = "",
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """提交一笔费用 Hand in a claim."""
    from city.commands import claim

    claim.submit(file, wait=wait, key=key, url=url, api_key_file=api_key_file, as_json=as_json)


@claims.command("confirm")
def claim_confirm(  # options of a command line, handed over by name
    claim_no: str,
    wait: Annotated[int, typer.Option(min=0, max=30, help="Wait for the answer, at most so many seconds.")] = 10,
    url: Url = "",
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """确认预结算 Confirm a prepared claim: it is settled as it was prepared."""
    from city.commands import claim

    claim.confirm(claim_no, wait=wait, url=url, api_key_file=api_key_file, as_json=as_json)


@claims.command("cancel")
def claim_cancel(  # noqa: PLR0917  # options of a command line, handed over by name
    claim_no: Annotated[str, typer.Argument(help="The claim; or give --key.")] = "",
    key: Annotated[str, typer.Option(help="The idempotency key it was sent under, whether it came or not.")] = "",
    wait: Annotated[int, typer.Option(min=0, max=30, help="Wait for the answer, at most so many seconds.")] = 10,
    url: Url = "",
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """取消（冲正） Cancel a claim that is not settled; what is settled is refunded."""
    from city.commands import claim

    claim.cancel(claim_no, key=key, wait=wait, url=url, api_key_file=api_key_file, as_json=as_json)


@claims.command("show")
def claim_show(
    claim_no: str,
    url: Url = "",
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """查询一笔费用 Look at a claim."""
    from city.commands import claim

    claim.show(claim_no, url=url, api_key_file=api_key_file, as_json=as_json)


@app.command()
def statement(  # noqa: PLR0917  # options of a command line, handed over by name
    claim_no: Annotated[str, typer.Argument(help="Claim number: visit number and batch, as printed.")] = "",
    to: Annotated[Path | None, typer.Option("--to", "-o", help="A .pdf, .html or .txt file; else text here.")] = None,
    verify: Annotated[str, typer.Option(help="核验 The line of a printed QR code: is it true?")] = "",
    url: Url = "",
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """结算单 Print the settlement statement of a claim, or verify a printed one."""
    from city.commands import WRONG_USAGE
    from city.commands import statement as statements

    if bool(claim_no) == bool(verify):
        raise Stop("给出费用编号以打印结算单，或用 --verify 给出二维码的内容以核验", WRONG_USAGE)
    if verify:
        statements.verify(verify, as_json=as_json)
    else:
        statements.print_out(claim_no, to=to, url=url, api_key_file=api_key_file)


@app.command()
def quote(  # noqa: PLR0917  # options of a command line, handed over by name
    file: Annotated[
        Path | None, typer.Argument(help="What to quote, as JSON (docs/quote.schema.json); - reads stdin.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Tell every step.")] = False,
    policy: Annotated[str, typer.Option(help="The id of a policy set, or a TOML file.")] = "",
    as_of: Annotated[
        str, typer.Option("--as-of", help="Settle as if the visit had ended on this day (YYYY-MM-DD).")
    ] = "",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of FILE.")] = False,
    as_json: AsJson = False,
) -> None:
    """试算 What a claim would settle to; needs no service."""
    from city.commands import WRONG_USAGE, quoting

    if schema:
        quoting.print_schema()
    elif file is None:
        raise Stop("请给出要试算的 JSON 文件（格式见 jiesuan quote --schema）", WRONG_USAGE)
    else:
        quoting.quote(file, explain=explain, policy=policy, as_of=as_of, as_json=as_json)


@app.command()
def desk(
    url: Url = "",
    open_it: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """应急前台 Where the front desk is: a page for institutions without an interface."""
    from city.commands import desk as page

    page.desk(url=url, open_it=open_it, as_json=as_json)


@app.command()
def doctor(
    size: Annotated[
        str,
        typer.Option(
            "--as",
            help="够不够做这一类机构的前置机 Is this machine large enough for the front-end server of such a class: "
            "extra_large, large, medium, small, or shared.",
        ),
    ] = "",
    civil_servants: Annotated[
        bool, typer.Option(help="With --as: whether the business of civil servants is open there.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """检查运行环境 Look whether everything this process needs is there."""
    from city.commands import doctor as examined
    from city.commands import doctor_as

    if size:
        raise typer.Exit(doctor_as.examine(size, civil_servants=civil_servants, as_json=as_json))
    raise typer.Exit(examined.examine(as_json=as_json))


@config.command("show")
def config_show(as_json: AsJson = False) -> None:
    """显示生效的配置 The settings in effect, and where each comes from; secrets are masked."""
    from city.commands import configuration

    configuration.show(as_json=as_json)


@app.command()
def key(frontend: Annotated[str, typer.Argument(help="The code of a front-end server.")]) -> None:
    """打印前置机密钥 The sealing key of one front-end, derived from the centre's secret."""
    from city.commands import configuration

    configuration.print_key(frontend)


def main() -> None:
    """Run the command line and leave with its exit code; an error is one sentence."""
    gc.set_threshold(*SELDOM)  # importing makes much and leaves no cycles: a sixth of every start
    try:
        app()
    except Stop as stop:
        print(f"jiesuan: {stop}", file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from city.commands import failures

        words, code = failures.in_words(error)
        print(f"jiesuan: {words}", file=sys.stderr)
        sys.exit(code)
