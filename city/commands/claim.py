"""`jiesuan claim`: hand in a claim through the API, or look at one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from city.commands import REFUSED, TRY_LATER, WRONG_USAGE, Stop
from infra.settings import Settings
from producers.client import JiesuanClient, Refused, TryLater

STATES = {
    "held": "已登记，待结算",
    "accepted": "已受理",
    "totalled": "已汇总，等待中心",
    "prepared": "已预结算，等待确认或取消",
    "settled": "已结算",
    "returned": "已退回，有明细未通过效验",
    "refused": "中心拒绝，待人工处理",
    "cancelled": "已取消，没有结算",
}
_AMOUNTS = {
    "total_amount": "总金额",
    "fund_pay_amount": "社保支付金额",
    "account_pay_amount": "帐户支付金额",
    "own_pay_amount": "个人自费项目金额",
    "self_pay_amount": "个人自付金额",
    "person_share_amount": "个人自负金额",
    "cash_amount": "应收现金",
}


def submit(file: Path, *, wait: int, key: str, url: str, api_key_file: Path | None, as_json: bool) -> None:
    """Hand in the claim in a file and print what became of it. Raises Stop unless it is settled or under way."""
    raw = read(file)
    try:
        document = json.loads(raw)
    except ValueError:
        raise Stop(f"{file} 不是有效的 JSON", WRONG_USAGE) from None
    key = key or "cli-" + blake2b(raw, digest_size=16).hexdigest()
    with client_of(url, api_key_file) as client:
        claim = asked(lambda: client.submit(document, wait=wait, key=key))
    _print(claim, as_json=as_json)


def show(claim_no: str, *, url: str, api_key_file: Path | None, as_json: bool) -> None:
    """Print a claim. Raises Stop when it was returned or refused."""
    with client_of(url, api_key_file) as client:
        claim = asked(lambda: client.show(claim_no))
    _print(claim, as_json=as_json)


def confirm(claim_no: str, *, wait: int, url: str, api_key_file: Path | None, as_json: bool) -> None:
    """Confirm a prepared claim and print what became of it. Raises Stop unless it is settled or under way."""
    with client_of(url, api_key_file) as api:
        claim = asked(lambda: api.confirm(claim_no, wait=wait))
    _print(claim, as_json=as_json)


def cancel(claim_no: str, *, key: str, wait: int, url: str, api_key_file: Path | None, as_json: bool) -> None:
    """Cancel a claim, by its number or by the key it was sent under, and print where it stands. Raises Stop."""
    if bool(claim_no) == bool(key):
        raise Stop("给出费用编号，或用 --key 给出提交时的幂等键", WRONG_USAGE)
    with client_of(url, api_key_file) as api:
        if claim_no:
            claim = asked(lambda: api.cancel_claim(claim_no, wait=wait))
        else:
            outcome = asked(lambda: api.cancel_key(key, wait=wait))
            claim = outcome["claim"]
    if claim is None:
        print(
            json.dumps(outcome, ensure_ascii=False, indent=2)
            if as_json
            else "已取消：该键下没有收到过费用，今后也不再受理"
        )
    else:
        _print(claim, as_json=as_json)


def read(file: Path) -> bytes:
    """The content of a file, or of stdin for `-`."""
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


def client_of(url: str, api_key_file: Path | None) -> JiesuanClient:
    key = api_key_file.read_text(encoding="utf-8").strip() if api_key_file else os.environ.get("JIESUAN_API_KEY", "")
    if not key:
        raise Stop("缺少 API 密钥：给出 --api-key-file，或设 JIESUAN_API_KEY_FILE", WRONG_USAGE)
    if not url:
        settings = Settings()
        url = f"http://{settings.api_host}:{settings.api_port}"
    return JiesuanClient(url, key)


def asked(question: Any) -> Any:
    try:
        return question()
    except Refused as refused:
        fields = "".join(f"\n  {one['pointer']}  {one['code']}  {one['detail']}" for one in refused.errors)
        raise Stop(
            f"{refused.detail}（{refused.code}，请求号 {refused.request_id}）{fields}",
            WRONG_USAGE if refused.status == 401 else REFUSED,
        ) from None
    except TryLater as later:
        raise Stop(f"前置机暂时不能受理：{later}", TRY_LATER) from None


def _print(claim: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(claim, ensure_ascii=False, indent=2))
    else:
        _tell(claim)
    if claim["state"] in ("returned", "refused"):
        raise Stop(f"{claim['claim_no']} {STATES[claim['state']]}")


def _tell(claim: Mapping[str, Any]) -> None:
    console = Console()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("费用编号", claim["claim_no"])
    table.add_row("状态", STATES.get(claim["state"], claim["state"]))
    for name, label in _AMOUNTS.items():
        if name in claim.get("settlement", {}):
            table.add_row(label, f"{claim['settlement'][name]} 元")
    if "preparation" in claim:
        table.add_row("确认时限", claim["preparation"]["expires_at"] or "")
    if "waiting" in claim:
        table.add_row("等待", f"{claim['waiting']['detail']}（{claim['waiting']['code']}）")
    if "refusal" in claim:
        table.add_row("原因", f"{claim['refusal']['detail']}（{claim['refusal']['code']}）")
    console.print(table)
    wrong = [line for line in claim.get("verdicts", []) if line["code"] != "00"]
    if wrong:
        lines = Table("项目序号", "代码", "原因", "处理办法", box=None, pad_edge=False)
        for line in wrong:
            lines.add_row(str(line["line_no"] or ""), line["code"], line["detail"], line["advice"])
        console.print(lines)
