"""`jiesuan catalogue show`: an item or a match on a day and its history; the versions, and who has them."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Connection, select

from center import served
from center.catalogue import entries as catalogue_entries
from center.catalogue import versions as catalogue_versions
from center.catalogue.tables import reference_report
from center.catalogue.versions import Content, NoSuchVersion
from city.commands import REFUSED, WRONG_USAGE, Stop
from city.commands.catalogue_office import LABELS, as_document, at_the_centre, day_of, print_json, print_table, shown
from domain.catalogue import Match
from domain.catalogue_records import ItemRecord
from infra.reference import CATALOGUE

_STATES = {"waiting": "待审核", "standing": "已审核", "rejected": "已退回"}


def show(code: str, *, institution: str, day: str, version: str, as_json: bool) -> None:
    """Print it. Raises Stop when there is nothing of this code."""
    with at_the_centre() as (connection, at):
        if not code:
            _versions(connection, as_json=as_json)
            return
        on = day_of(day, at.date())
        try:
            held = (
                catalogue_versions.content_of(connection, version) if version else catalogue_versions.draft(connection)
            )
        except NoSuchVersion as error:
            raise Stop(str(error), WRONG_USAGE) from None
        if institution:
            records: list[ItemRecord | Match] = [*_matches(held, institution, code)]
            key = {"institution_code": institution, "local_item_code": code}
            history = catalogue_entries.history(connection, catalogue_entries.MATCHES, **key)
        else:
            records = [item for item in held.items if item.item_code == code]
            history = catalogue_entries.history(connection, catalogue_entries.ITEMS, item_code=code)
    if not records and not history:
        raise Stop(f"没有编码 {code}", REFUSED)
    valid = [record for record in records if record.effective_date <= on <= record.expiry_date]
    if as_json:
        print_json(
            {
                "day": on.isoformat(),
                "valid": [as_document(record) for record in valid],
                "history": [as_document(row) for row in history],
            }
        )
        return
    _tell(code, on, valid)
    rows = [
        [row.effective_date, _last_day(row), _STATES[row.state], row.entered_by, row.audited_by or "", row.reason]
        for row in history
    ]
    print_table("\n历次记录", ["生效", "止于", "状态", "录入人", "审核人", "备注"], rows)


def _matches(held: Content, institution_code: str, code: str) -> list[Match]:
    return [
        match for match in held.matches if (match.institution_code, match.local_item_code) == (institution_code, code)
    ]


def _last_day(row: Any) -> Any:
    return shown("expiry_date", row.last_day or row.expiry_date)


def _tell(code: str, on: date, valid: list[ItemRecord | Match]) -> None:
    if not valid:
        print(f"{code} 在 {on} 没有有效记录")
    for record in valid:
        rows = [
            [LABELS[name], shown(name, value)]
            for name, value in record._asdict().items()
            if name in LABELS and shown(name, value) != ""
        ]
        print_table(f"{code} 在 {on}", ["栏目", "内容"], rows)


def _versions(connection: Connection, *, as_json: bool) -> None:
    versions = catalogue_versions.versions(connection)
    reports = {row.frontend: row for row in connection.execute(select(reference_report))}
    frontends = sorted({*served.frontends(connection), *reports})
    if as_json:
        print_json(
            {
                "versions": [_version(row) for row in versions],
                "frontends": [_report(frontend, reports.get(frontend)) for frontend in frontends],
            }
        )
        return
    rows = [
        [row.version, _state(row), shown("", row.effective_date), row.item_count, row.match_count, row.published_by,
         row.note]
        for row in versions
    ]  # fmt: skip
    print_table("目录版本", ["版本", "状态", "生效日", "目录", "对应", "发布人", "说明"], rows)
    lines = []
    for frontend in frontends:
        report = _report(frontend, reports.get(frontend))
        lines.append([frontend, "、".join(report["versions"]) or "没有消息", report["heard_at"]])
    print_table("\n前置机已有的版本", ["前置机", "版本", "最近询问"], lines)


def _state(row: Any) -> str:
    if row.withdrawn:
        return "已撤回"
    if row.in_force:
        return "现行"
    return "已停用" if row.retired_on is not None else "待生效"


def _version(row: Any) -> dict[str, Any]:
    return {
        "version": row.version,
        "state": _state(row),
        "in_force": row.in_force,
        "effective_date": shown("", row.effective_date) or None,
        "retired_on": shown("", row.retired_on) or None,
        "digest": None if row.digest is None else bytes(row.digest).hex(),
        "items": row.item_count,
        "matches": row.match_count,
        "published_by": row.published_by,
        "published_at": None if row.published_at is None else row.published_at.isoformat(),
        "note": row.note or "",
    }


def _report(frontend: str, row: Any) -> dict[str, Any]:
    held = [] if row is None else [name.partition(":") for name in row.versions.split(",")]
    return {
        "frontend": frontend,
        "versions": [version for kind, _, version in held if kind == CATALOGUE],
        "heard_at": "" if row is None else row.heard_at.isoformat(timespec="seconds"),
    }
