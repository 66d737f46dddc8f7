"""`jiesuan desk`: where the front desk is, and opening it in this machine's browser."""

from __future__ import annotations

import json
import sys
import webbrowser

import httpx

from city.commands import TRY_LATER, Stop
from infra.settings import Settings


def desk(*, url: str, open_it: bool, as_json: bool) -> None:
    """Print the address of the front desk, and open it when asked to. Raises Stop when nothing answers there."""
    if not url:
        settings = Settings()
        host = "127.0.0.1" if settings.api_host in ("0.0.0.0", "::", "") else settings.api_host
        url = f"http://{host}:{settings.api_port}"
    address = f"{url.rstrip('/')}/desk"
    _look(address)
    if as_json:
        print(json.dumps({"address": address}))
    else:
        print(address)
        print("用浏览器打开，输入本机构密钥登录。", file=sys.stderr)
    if open_it:
        webbrowser.open(address)


def _look(address: str) -> None:
    try:
        answer = httpx.get(address, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        raise Stop(f"{address} 没有应答（{type(error).__name__}）：前置机的 API 启动了吗？", TRY_LATER) from None
    if answer.status_code != 200:
        raise Stop(f"{address} 应答 {answer.status_code}，不是前台页面", TRY_LATER)
