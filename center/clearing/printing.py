"""A clearing's statement as a page to print, as PDF, and as CSV for the institution's bookkeeping."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from io import StringIO
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from center.clearing.statement import Statement
from infra import typeset

TEMPLATES = Path(__file__).parent / "templates"

CSV_COLUMNS = ("部分", "名称", "日期", "单据", "笔数", "冲销笔数", "医疗费总额", "基金", "个人账户", "预留金", "扣款",
               "返还预留金", "金额", "说明")  # fmt: skip

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_page(paper: Statement) -> str:
    """An HTML page that prints on A4 and needs nothing else."""
    return _template().render(paper=paper)


def as_pdf(paper: Statement) -> bytes:
    """The PDF; the same bytes for the same statement."""
    return typeset.pdf(TEMPLATES / "statement.typ", paper.as_data())


def as_csv(paper: Statement) -> str:
    """One table with a row for each fact, fund, day, contra settlement and deduction; amounts in yuan.

    It begins with a byte order mark, so that spreadsheets read it as UTF-8. What people wrote is never a formula.
    """
    file = StringIO()
    file.write("\ufeff")
    table = csv.DictWriter(file, CSV_COLUMNS, restval="", lineterminator="\r\n")
    table.writeheader()
    table.writerow({"部分": "机构", "名称": _plain(paper.institution_name)})
    for name, value in paper.facts:
        table.writerow({"部分": "清算", "名称": name, "说明": _plain(value)})
    for fund in paper.funds:
        table.writerow(
            {"部分": "基金", "名称": fund.name, "说明": fund.code, "基金": fund.claimed, "预留金": fund.withheld,
             "扣款": fund.deducted, "返还预留金": fund.released, "金额": fund.paid}
        )  # fmt: skip
    for name, value in paper.sums:
        table.writerow({"部分": "合计", "名称": name.strip("　"), "金额": value})
    table.writerow({"部分": "合计", "名称": paper.due_name, "金额": paper.due, "说明": paper.capitals})
    for day in (*paper.days, paper.days_sum):
        table.writerow(
            {"部分": "日", "日期": day.day, "笔数": day.documents, "冲销笔数": day.contras, "医疗费总额": day.total,
             "基金": day.fund, "个人账户": day.account, "金额": day.payable}
        )  # fmt: skip
    for contra in paper.contras:
        table.writerow(
            {"部分": "冲销", "名称": f"冲销结算单 {contra.taken_back}", "日期": contra.day,
             "单据": contra.settlement_no, "医疗费总额": contra.total, "金额": contra.payable,
             "说明": _plain(contra.reason)}
        )  # fmt: skip
    for part in paper.deductions:
        table.writerow(
            {"部分": "扣款", "名称": f"结算单 {part.settlement_no} {part.fund}", "单据": part.document_no,
             "扣款": part.amount, "说明": _plain(part.reason)}
        )  # fmt: skip
    for number, day_ in paper.late:
        table.writerow({"部分": "往期", "名称": "往期结算单，计入本期", "日期": day_, "单据": number})
    return file.getvalue()


def _plain(words: str) -> str:
    """Words a spreadsheet shows and does not compute."""
    return f"'{words}" if words.startswith(_FORMULA) else words


@cache
def _template() -> Template:
    source = files("center.clearing").joinpath("templates/statement.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        source
    )
