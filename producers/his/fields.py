"""The columns of every exchange file, shared table and catalogue view, as the specification prints them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import StringIO
from typing import Literal

Kind = Literal["C", "N", "D", "L"]

FILES = ("RYDJ", "CFXM", "FYJS", "CYDJ", "MZDJ", "MZXM", "MZJS")


@dataclass(frozen=True, slots=True)
class Field:
    """One column; `kind`, `width` and `decimals` are those of a DBF file, `digits` the p of NUMBER(p,s)."""

    code: str
    kind: Kind
    width: int
    decimals: int = 0
    digits: int | None = None  # None: the width is the only limit
    identifier: str = ""
    label_zh: str = ""
    required: bool = False
    code_values: tuple[tuple[str, str], ...] = ()  # (code, Chinese meaning) as printed

    @property
    def is_signed(self) -> bool:
        """Whole numbers of the specification are counters and codes, never negative (AMB-20)."""
        return self.digits is None or self.decimals > 0

    @property
    def shape(self) -> tuple[str, Kind, int, int]:
        """What two files must share to hold the same records."""
        return self.code, self.kind, self.width, self.decimals


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one file or table in their printed order."""

    table: str
    fields: tuple[Field, ...]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, code: str) -> Field:
        return {field.code: field for field in self.fields}[code]

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(field.code for field in self.fields)

    @property
    def identifiers(self) -> dict[str, str]:
        """Column code to the name our code uses: JYDJH to visit_no."""
        return {field.code: field.identifier for field in self.fields}


class UnknownTable(Exception):
    """The specification has no file, table or view of this name."""

    def __init__(self, table: str) -> None:
        super().__init__(f"the exchange specification has no table {table!r}")


def layout(table: str) -> Layout:
    """Return the columns of one of the exchange objects, for example `layout("MZXM")`."""
    try:
        return _layouts()[table]
    except KeyError:
        raise UnknownTable(table) from None


@cache
def _layouts() -> dict[str, Layout]:
    columns: dict[str, list[Field]] = {}
    printed = files("producers.his").joinpath("data/fields.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(StringIO(printed)):
        columns.setdefault(row["table"], []).append(_field(row))
    return {table: Layout(table, tuple(fields)) for table, fields in columns.items()}


def _field(row: dict[str, str]) -> Field:
    kind, width, decimals, digits = _in_dbf(row)
    return Field(
        code=row["code"],
        kind=kind,
        width=width,
        decimals=decimals,
        digits=digits,
        identifier=row["identifier"],
        label_zh=row["label_zh"],
        required=row["required"] == "yes",
        code_values=tuple(_pair(part) for part in row["code_values"].split(";") if part),
    )


def _in_dbf(row: dict[str, str]) -> tuple[Kind, int, int, int | None]:
    """Turn the Oracle type into kind, width, decimals, digits: lengths are bytes (AMB-19), and a number
    with decimals has room for its point and a sign (AMB-20)."""
    match row["oracle_type"]:
        case "DATE":
            return "D", 8, 0, None
        case "NUMBER":
            digits, decimals = int(row["precision"]), int(row["scale"])
            return "N", digits + 2 if decimals else digits, decimals, digits
        case _:
            return "C", int(row["length"]), 0, None


def _pair(text: str) -> tuple[str, str]:
    code, _, meaning = text.partition("=")
    return code, meaning
