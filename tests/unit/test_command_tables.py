"""What a command prints as a table: words may go on below, a number or a code is never broken or cut."""

from __future__ import annotations

import pytest

from city.commands.catalogue_office import print_table

HEADINGS = ["账", "日期", "批次", "结算单号", "退费", "险种", "清算类别", "总金额", "统筹", "账户", "现金", "说明"]
ROW = ["机构", "2026-03-12", 1, "JS20260312000001", "", "employee", "11", "171239.20", "0.00", "5.00", "171234.20"]
WORDS = "机构对同一笔费用记了两次，多记的一笔由机构冲销，中心不动"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_every_number_and_code_stands_whole_at_any_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table("差异", HEADINGS, [[*ROW, WORDS]])
    _title, heading, first, *below = capsys.readouterr().out.splitlines()
    assert heading.split() == HEADINGS
    assert first.split()[:-1] == [str(cell) for cell in ROW if cell != ""]
    assert "".join([first.split()[-1], *"".join(below).split()]) == WORDS


def test_rows_beyond_the_most_are_counted_not_hidden(capsys):
    print_table("差异", ["序号"], [[number] for number in range(7)], most=5)
    assert "……另有 2 行" in capsys.readouterr().out
