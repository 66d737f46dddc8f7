"""`jiesuan config show` and `jiesuan key`: what is in effect, and a front-end's sealing key."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from dotenv import dotenv_values

from infra.settings import Settings

MASK = "***"


def show(*, as_json: bool) -> None:
    """Print every setting in effect with its origin; whoever reads it learns no password."""
    rows = effective(Settings())
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("配置", "值", "来源", box=None, pad_edge=False)
    for name, row in rows.items():
        table.add_row(name, str(row["value"]), row["origin"])
    Console().print(table)


def effective(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every setting under the name of its variable: its value, masked where it is secret, and its origin."""
    in_file = {name.upper() for name in dotenv_values(".env")}
    in_environment = {name.upper() for name in os.environ}
    rows = {}
    for name, value in settings.model_dump(mode="json").items():
        variable = f"JIESUAN_{name.upper()}"
        origin = "environment" if variable in in_environment else ".env" if variable in in_file else "default"
        rows[variable] = {"value": masked(value), "origin": origin}
    return rows


def masked(value: Any) -> Any:
    """The value without the password an address may carry."""
    return re.sub(r"(://[^:/@\s]*):[^@/\s]*@", rf"\1:{MASK}@", value) if isinstance(value, str) else value


def print_key(frontend: str) -> None:
    """Print the key; it belongs into the file JIESUAN_FRONTEND_KEY_FILE names. Raises MissingSetting."""
    print(Settings().key_of(frontend).hex())
