"""`jiesuan catalogue diff`: how one version became another, or what publishing now would change."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from sqlalchemy import Connection

from center.catalogue import versions as catalogue_versions
from center.catalogue.versions import DRAFT, Content, Difference, NoSuchVersion
from city.commands import WRONG_USAGE, Stop
from city.commands.catalogue_office import LABELS, as_document, at_the_centre, print_json, print_table, shown
from domain.catalogue_records import ItemRecord


def diff(old: str, new: str, *, as_json: bool) -> None:
    """Print the difference. Raises Stop when a version is not known."""
    with at_the_centre() as (connection, _):
        old = old or catalogue_versions.newest(connection)
        try:
            found = catalogue_versions.difference(_content(connection, old), _content(connection, new))
        except NoSuchVersion as error:
            raise Stop(str(error), WRONG_USAGE) from None
    if as_json:
        print_json({"from": old, "to": new, **document(found)})
        return
    Console().print(f"{old or '（空）'} → {'尚未发布的目录' if new == DRAFT else new}")
    tell(found)


def _content(connection: Connection, version: str) -> Content:
    if not version:
        return Content((), ())
    if version == DRAFT:
        return catalogue_versions.draft(connection)
    return catalogue_versions.content_of(connection, version)


def document(found: Difference) -> dict[str, Any]:
    """The difference for programs."""
    return {
        "items": {
            "added": [as_document(record) for record in found.items_added],
            "removed": [as_document(record) for record in found.items_removed],
            "changed": [_changed(change) for change in found.items_changed],
        },
        "matches": {
            "added": [as_document(record) for record in found.matches_added],
            "removed": [as_document(record) for record in found.matches_removed],
            "changed": [_changed(change) for change in found.matches_changed],
        },
        "institutions_touched": found.touched,
    }


def tell(found: Difference) -> None:
    """The difference for people."""
    if found.is_empty:
        print("没有差别")
        return
    for title, records in (("目录：新增", found.items_added), ("目录：删除", found.items_removed)):
        if records:
            rows = [_item(record) for record in records]
            print_table(f"{title} {len(rows)}", ["类型", "编码", "名称", "甲乙", "自负比例", "生效", "失效"], rows)
    for title, matches in (("对应：新增", found.matches_added), ("对应：删除", found.matches_removed)):
        if matches:
            names = (
                "institution_code", "local_item_code", "local_item_name", "centre_item_code", "effective_date",
                "expiry_date",
            )  # fmt: skip
            rows = [[shown(name, getattr(match, name)) for name in names] for match in matches]
            print_table(f"{title} {len(rows)}", [LABELS[name] for name in names], rows)
    for title, changes in (("目录：变更", found.items_changed), ("对应：变更", found.matches_changed)):
        if changes:
            rows = [
                [" ".join(change.key), change.name, LABELS.get(name, name), shown(name, was), shown(name, now)]
                for change in changes
                for name, was, now in change.fields
            ]
            print_table(f"{title} {len(changes)}", ["编码", "名称", "栏目", "原来", "现在"], rows)
    if found.touched:
        rows = [[code, count] for code, count in found.touched.items()]
        print_table(f"涉及 {len(rows)} 家医药机构的对应", ["医药机构", "对应条数"], rows)


def _item(record: ItemRecord) -> list[Any]:
    names = ("match_type", "item_code", "item_name", "coverage_class", "pre_self_pay_ratio_1e4", "effective_date")
    return [*(shown(name, getattr(record, name)) for name in names), shown("expiry_date", record.expiry_date)]


def _changed(change: catalogue_versions.Change) -> dict[str, Any]:
    fields = {
        name.removesuffix("_1e4"): {"before": shown(name, was), "after": shown(name, now)}
        for name, was, now in change.fields
    }
    return {"key": list(change.key), "name": change.name, "fields": fields}
