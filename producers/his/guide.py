"""The parts of docs/his-guide that are data: field tables, codes, samples. `python -m producers.his.guide` renews them.

Each stands between two comments in the page, so that nobody types a field twice, in no language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from domain.codes import CODES
from producers.his import dbf
from producers.his.fields import FILES, Field, Layout, layout

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"en": DOCS / "his-guide.md", "zh": DOCS / "his-guide.zh-CN.md"}
SAMPLES = DOCS / "samples"
CODE_LISTS = ("XB", "RYLB", "JZLB", "FLDM", "YPLY", "CYQK", "DRBZ")

_COLUMNS = {
    "en": ("#", "column", "DBF", "shared table", "may be empty", "meaning", "name in the API", "national name"),
    "zh": ("序", "字段", "DBF", "共享表", "可空", "含义", "接口名", "国家平台字段"),
}
_EITHER = {
    "en": ("no", "yes", "file yes, table no", "file no, table yes"),
    "zh": ("否", "是", "文件可空，表不可空", "文件不可空，表可空"),
}
_WORDS = {
    "en": {"code": "code", "says": "what it says", "do": "what to do", "values": "values", "column": "column"},
    "zh": {"code": "代码", "says": "说明", "do": "怎么办", "values": "取值", "column": "字段"},
}


def renewed(page: str, language: str) -> str:
    """The page with every part that is data made anew."""
    for name, lines in _parts(language):
        begins, ends = f"<!-- {name} -->", f"<!-- /{name} -->"
        part = "\n".join((begins, "", *lines, "", ends))
        page = re.sub(f"{begins}.*?{ends}", part.replace("\\", r"\\"), page, flags=re.DOTALL)
    return page


def _parts(language: str) -> Iterator[tuple[str, list[str]]]:
    for kind in FILES:
        yield f"fields {kind}", list(_fields(layout(kind), layout(layout(kind).counterpart), language))
    yield "codes", list(_codes(language))
    yield "values", list(_values(language))
    for kind in FILES:
        yield f"sample {kind}", list(_sample(kind))


def _fields(file: Layout, table: Layout, language: str) -> Iterator[str]:
    purpose = file.purpose_zh if language == "zh" else file.purpose_en
    yield f"**`{file.table}{{MMDD}}.DBF` · `{table.table}`**: {purpose}"
    yield ""
    yield from _head(_COLUMNS[language])
    for number, (field, other) in enumerate(zip(file, table, strict=True), 1):
        meaning = field.label_zh if language == "zh" else f"{field.label_en} ({field.label_zh})"
        yield _row(
            str(number),
            f"`{field.code}`",
            _in_dbf(field),
            _in_table(other),
            _empty(field, other, language),
            meaning,
            f"`{field.identifier}`",
            " + ".join(f"`{name}`" for name in field.national) or "–",
        )


def _in_dbf(field: Field) -> str:
    width = f"{field.width},{field.decimals}" if field.decimals else f"{field.width}"
    return f"{field.kind}({width})"


def _in_table(field: Field) -> str:
    match field.oracle_type:
        case "DATE":
            return "DATE"
        case "NUMBER":
            return f"NUMBER({field.digits},{field.decimals})" if field.decimals else f"NUMBER({field.digits})"
        case other:
            return f"{other}({field.width})"


def _empty(file: Field, table: Field, language: str) -> str:
    both_not, both, file_only, table_only = _EITHER[language]
    return {(True, True): both_not, (False, False): both, (False, True): file_only, (True, False): table_only}[
        file.required, table.required
    ]


def _codes(language: str) -> Iterator[str]:
    words = _WORDS[language]
    if language == "zh":
        yield from _head((words["code"], words["says"], words["do"]))
        yield from (_row(f"`{code.code}`", code.message_zh, code.advice_zh) for code in CODES.values())
    else:
        yield from _head((words["code"], words["says"], "as printed", words["do"] + " (as the cashier is told)"))
        for code in CODES.values():
            yield _row(f"`{code.code}`", code.message_en, code.message_zh, code.advice_zh)


def _values(language: str) -> Iterator[str]:
    words = _WORDS[language]
    yield from _head((words["column"], words["values"]))
    for code in CODE_LISTS:
        field = next(
            layout(kind)[code] for kind in FILES if code in layout(kind).codes and layout(kind)[code].code_values
        )
        yield _row(
            f"`{code}` {field.label_zh}", "；".join(f"{value} {meaning}" for value, meaning in field.code_values)
        )


def _sample(kind: str) -> Iterator[str]:
    [path] = SAMPLES.glob(f"{kind}*.DBF")
    rows = list(dbf.read(path).rows())
    filled = [code for code in layout(kind).codes if any(row[code] not in ("", None) for row in rows)]
    yield f"[`{path.name}`](samples/{path.name})"
    yield ""
    yield from _head([f"`{code}`" for code in filled])
    for row in rows:
        yield _row(*("" if row[code] is None else str(row[code]) for code in filled))


def _head(names: Sequence[str]) -> Iterator[str]:
    yield _row(*names)
    yield _row(*["---"] * len(names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for spoken, path in PAGES.items():
        path.write_text(renewed(path.read_text(encoding="utf-8"), spoken), encoding="utf-8")
