"""The shares as the office sets them (上传份额): of classes, institutions and front-ends, against the default table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from center import served
from center.ledger import audit
from center.tables import institution
from center.uploading.tables import upload_share
from domain.institution_class import Size
from domain.upload_shares import DEFAULT_CLASS_SHARES, MOST_WEIGHT, Shares

SIZE, INSTITUTION, FRONTEND = "size", "institution", "frontend"


class ShareRefused(Exception):
    """The shares cannot be set; `problems` says all that is wrong, in Chinese."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("；".join(problems))


def load(connection: Connection) -> Shares:
    """The shares that count now."""
    found: dict[str, dict[str, int]] = {SIZE: dict(DEFAULT_CLASS_SHARES), INSTITUTION: {}, FRONTEND: {}}
    for row in connection.execute(select(upload_share)):
        found[row.kind][row.name] = row.share
    return Shares(classes=found[SIZE], institutions=found[INSTITUTION], frontends=found[FRONTEND])


def change(
    connection: Connection, asked: Sequence[tuple[str, str, str]], *, by: str, reason: str, at: datetime
) -> Shares:
    """Set shares of (kind, name, share as typed), "default" for the table's; all or none. Raises ShareRefused."""
    read: list[tuple[str, str, int | None]] = []
    problems = [] if asked else ["没有给出份额：--size、--institution 或 --frontend，如 --size small=8"]
    codes = set(connection.execute(select(institution.c.institution_code)).scalars())
    known = {SIZE: {str(size) for size in Size}, INSTITUTION: codes, FRONTEND: set(served.frontends(connection))}
    words = {SIZE: "机构类别", INSTITUTION: "医药机构", FRONTEND: "前置机"}
    for kind, name, text in asked:
        if name not in known[kind]:
            these = "：" + "、".join(sorted(known[kind])) if kind != INSTITUTION else ""
            problems.append(f"没有{words[kind]} {name}{these}")
        if text != "default" and not (text.isascii() and text.isdecimal() and 0 < int(text) <= MOST_WEIGHT):
            problems.append(f"{words[kind]} {name} 的份额 {text} 应是 1 至 {MOST_WEIGHT} 的整数，或 default")
        else:
            read.append((kind, name, None if text == "default" else int(text)))
    twice = {(kind, name) for kind, name, _ in asked if sum(one[:2] == (kind, name) for one in asked) > 1}
    problems += [f"{words[kind]} {name} 给了两次" for kind, name in sorted(twice)]
    if problems:
        raise ShareRefused(problems)

    for kind, name, share in read:
        key = (upload_share.c.kind == kind) & (upload_share.c.name == name)
        if share is None:
            connection.execute(delete(upload_share).where(key))
        else:
            adding = insert(upload_share).values(kind=kind, name=name, share=share)
            connection.execute(adding.on_conflict_do_update(index_elements=["kind", "name"], set_={"share": share}))
    details: dict[str, str | int] = {f"{kind} {name}": share or "default" for kind, name, share in read}
    audit.note(connection, by=by, action="window.share", subject="shares", reason=reason, at=at, details=details)
    return load(connection)
