"""`jiesuan catalogue audit`: what waits, and the second pair of eyes."""

from __future__ import annotations

from typing import Any

from center.catalogue import entries as catalogue_entries
from center.catalogue.entries import NothingToAudit, OwnEntry
from city.commands import WRONG_USAGE, Stop
from city.commands.catalogue_office import as_document, at_the_centre, operator, print_json, print_table, shown

_COLUMNS = {
    "items": ("row_no", "match_type", "item_code", "item_name", "coverage_class", "pre_self_pay_ratio_1e4",
              "price_limit_1e4", "effective_date", "expiry_date"),
    "matches": ("row_no", "institution_code", "local_item_code", "local_item_name", "centre_item_code",
                "centre_item_name", "effective_date", "expiry_date"),
}  # fmt: skip
_HEADINGS = {
    "items": ["行", "类型", "编码", "名称", "甲乙", "自负比例", "限价", "生效", "失效"],
    "matches": ["行", "医药机构", "本院编码", "本院名称", "中心编码", "中心名称", "生效", "失效"],
}
_KINDS = {"items": "目录", "matches": "对应"}


def audit(batch: int, *, accept: bool, reject: bool, rows: str, reason: str, by: str, as_json: bool) -> None:
    """List what waits, show one import, or decide it. Raises Stop."""
    if accept and reject:
        raise Stop("--accept 与 --reject 只能用一个", WRONG_USAGE)
    if reject and not reason.strip():
        raise Stop("退回要写明理由：--reason", WRONG_USAGE)
    if (accept or reject) and not batch:
        raise Stop("要写明批号；不带参数可列出等待审核的批次", WRONG_USAGE)
    with at_the_centre() as (connection, at):
        if not batch:
            _list(catalogue_entries.waiting(connection), as_json=as_json)
            return
        try:
            if not (accept or reject):
                _show(batch, *catalogue_entries.waiting_rows(connection, batch), as_json=as_json)
                return
            audited = catalogue_entries.audit(
                connection, batch, accept=accept, by=operator(by), at=at, reason=reason.strip(), rows=_rows(rows)
            )
        except (NothingToAudit, OwnEntry) as error:
            raise Stop(str(error)) from None
    if as_json:
        decided = "accepted" if accept else "rejected"
        print_json({"batch": batch, decided: audited.decided, "closed": audited.closed, "by": operator(by)})
    elif accept:
        print(f"批号 {batch}：审核通过 {audited.decided} 条，其中 {audited.closed} 条旧记录随之截止。发布后生效。")
    else:
        print(f"批号 {batch}：退回 {audited.decided} 条，理由：{reason.strip()}")


def _rows(text: str) -> list[int]:
    """Row numbers such as 3,5,8-12. Raises Stop."""
    numbers: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise Stop(f"行号 {part} 写法不对，应如 3,5,8-12", WRONG_USAGE)
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _list(waiting: list[catalogue_entries.Waiting], *, as_json: bool) -> None:
    if as_json:
        print_json([{**one._asdict(), "entered_at": one.entered_at.isoformat()} for one in waiting])
        return
    if not waiting:
        print("没有等待审核的记录")
        return
    rows = [
        [one.import_id, _KINDS[one.kind], one.waiting, one.entered_by, f"{one.entered_at:%Y-%m-%d %H:%M}", one.source]
        for one in waiting
    ]
    print_table("等待审核", ["批号", "内容", "条数", "录入人", "录入时间", "文件"], rows)


def _show(batch: int, kind: str, waiting: list[Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"batch": batch, "kind": kind, "rows": [as_document(row) for row in waiting]})
        return
    rows = [[shown(name, row._mapping[name]) for name in _COLUMNS[kind]] for row in waiting]
    print_table(f"批号 {batch}，等待审核 {len(rows)} 条", _HEADINGS[kind], rows)
