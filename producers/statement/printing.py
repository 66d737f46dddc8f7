"""The settlement statement on paper: a page for the browser, a PDF, or text for a terminal or a receipt printer."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path

import segno
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from infra.typeset import pdf
from producers.statement.content import Row, statement
from workers.claims import ClaimView

_PAPER = Path(__file__).parent / "templates" / "statement.typ"


def as_page(view: ClaimView, *, institution_name: str, key: bytes | None) -> str:
    """The statement as an HTML page that prints on one sheet and needs nothing else. Raises NotSettled."""
    page = statement(view, institution_name=institution_name, key=key)
    return _template().render(page=page, qr=Markup(_qr(page.code)))


def as_paper(view: ClaimView, *, institution_name: str, key: bytes | None) -> bytes:
    """The statement as a PDF on A4, the same bytes whenever it is printed. Raises NotSettled."""
    page = statement(view, institution_name=institution_name, key=key)
    return pdf(_PAPER, asdict(page) | {"sheet": page.sheet and page.sheet._asdict(), "qr": _qr(page.code)})


def as_text(view: ClaimView, *, institution_name: str, key: bytes | None) -> str:
    """The statement for a terminal or a receipt printer. Raises NotSettled."""
    page = statement(view, institution_name=institution_name, key=key)
    heads = Row("序号", "项目名称", "规格", "单价", "数量", "金额")
    charges = [(r.line_no, r.name, r.specification, r.unit_price, r.quantity, r.amount) for r in (heads, *page.rows)]
    label = max(_columns(name) for name, _ in page.facts + page.amounts)
    amount = max(_columns(value) for _, value in page.amounts)
    lines = [f"{page.institution_name}　医疗费用结算单", ""]
    lines += [f"{_left(name, label)}  {value}" for name, value in page.facts]
    lines += ["", *_table(charges, words=(1, 2)), ""]
    if page.sheet is not None:
        lines += _table([("", *page.sheet.columns), *((name, *cells) for name, cells in page.sheet.rows)], words=(0,))
        lines.append("")
    lines += [f"{_left(name, label)}  {_right(value, amount)} 元" for name, value in page.amounts]
    lines.append(f"{_left(page.cash_name, label)}  {_right(page.cash, amount)} 元")
    lines += ["", f"总金额（大写）：{page.total_in_capitals}", f"{page.cash_name}（大写）：{page.cash_in_capitals}"]
    lines += ["", *([f"校验码  {page.check}", page.code] if page.code else [page.unchecked])]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Sequence[str]], words: Sequence[int]) -> list[str]:
    """The rows under each other; the columns in `words` stand left, numbers right."""
    widths = [max(_columns(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join((_left if place in words else _right)(cell, widths[place]) for place, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def _qr(code: str) -> str:
    """The QR code as SVG; nothing while there is nothing to check."""
    return segno.make_qr(code, error="m").svg_inline(scale=2, border=2, omitsize=True) if code else ""


@cache
def _template() -> Template:
    text = files("producers.statement").joinpath("templates/statement.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        text
    )


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _left(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _right(text: str, width: int) -> str:
    return " " * (width - _columns(text)) + text
