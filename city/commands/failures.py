"""What goes wrong outside our hands, in one sentence and with an exit code; anything else is a fault of ours."""

from __future__ import annotations

import os
import traceback

from pydantic import ValidationError

from city.commands import REFUSED, TRY_LATER, WRONG_USAGE
from infra.logs import hide_identity_numbers
from infra.settings import MissingSetting

FAULT = 70


def in_words(error: Exception) -> tuple[str, int]:
    """The sentence and the exit code. With JIESUAN_TRACEBACK=1 the whole story of a fault is shown as well."""
    from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

    from infra.broker import BrokerAway
    from infra.reference import NothingPublished
    from infra.supervisor import FolderInUse, FolderNotOurs, ServiceFailed

    if isinstance(error, ValidationError) and error.title == "Settings":
        names = "、".join(sorted({f"JIESUAN_{str(one['loc'][0]).upper()}" for one in error.errors()}))
        return f"配置的值无效：{names}", WRONG_USAGE
    known: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, int], ...] = (
        (MissingSetting, "缺少配置 {error}（在环境变量或 .env 中给出；见 jiesuan config show）", WRONG_USAGE),
        (NothingPublished, "数据库里还没有发布目录或政策：{error}", TRY_LATER),
        ((OperationalError, InterfaceError), "数据库连接不上，或正忙，请稍后再试", TRY_LATER),
        (ProgrammingError, "数据库结构与本版本不符，请先运行 jiesuan migrate", WRONG_USAGE),
        ((FolderInUse, FolderNotOurs, ServiceFailed), "{error}", REFUSED),
        (FileNotFoundError, "没有这个文件：{error.filename}", WRONG_USAGE),
        (BrokerAway, "消息服务连接不上，请稍后再试", TRY_LATER),
        (OSError, "系统拒绝了操作：{error.strerror}", TRY_LATER),
    )
    for kinds, words, code in known:
        if isinstance(error, kinds):
            return words.format(error=error), code
    if os.environ.get("JIESUAN_TRACEBACK"):
        return hide_identity_numbers("".join(traceback.format_exception(error))), FAULT
    return f"程序内部错误 {type(error).__name__}（设 JIESUAN_TRACEBACK=1 再运行可看详情）", FAULT
