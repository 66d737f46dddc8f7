"""The columns of every exchange file, shared table and catalogue view, as the specification prints them."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from io import StringIO
from typing import Literal

Kind = Literal["C", "N", "D", "L"]

FILES = ("RYDJ", "CFXM", "FYJS", "CYDJ", "MZDJ", "MZXM", "MZJS")
FREE_TEXTS = {
    "person_name",
    "employer_name",
    "admission_diagnosis",
    "local_item_name",
    "specification",
    "dosage_form",
    "own_pay_reason",
    "discharge_diagnosis_1",
    "discharge_diagnosis_2",
    "remark2",
}
"""Words for people: too long ones are shortened. Every other text is a code, and is refused (AMB-19)."""


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
    oracle_type: str = ""  # VARCHAR2, CHAR, NUMBER or DATE, the logical type of the shared tables (AMB-21)
    label_en: str = ""
    national: tuple[str, ...] = ()  # names on the national platform; several: their sum; none: no counterpart
    remark: str = ""

    @property
    def is_signed(self) -> bool:
        """Whole numbers of the specification are counters and codes, never negative (AMB-20)."""
        return self.digits is None or self.decimals > 0

    @property
    def is_free_text(self) -> bool:
        """Whether a text too long is shortened at a whole character instead of being refused (AMB-19)."""
        return self.identifier in FREE_TEXTS

    @property
    def shape(self) -> tuple[str, Kind, int, int]:
        """What two files must share to hold the same records."""
        return self.code, self.kind, self.width, self.decimals


@dataclass(frozen=True)
class Layout:
    """The columns of one file or table in their printed order."""

    table: str
    fields: tuple[Field, ...]
    counterpart: str = ""  # the shared table of a file, the file of a shared table
    business: str = ""
    writer: str = ""
    reader: str = ""
    purpose_zh: str = ""
    purpose_en: str = ""
    section: str = ""
    key: tuple[str, ...] = ()  # the columns by which a row is known; the views say theirs in words

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, code: str) -> Field:
        return {field.code: field for field in self.fields}[code]

    def named(self, identifier: str) -> Field:
        """The column that our code calls by this name. Raises KeyError."""
        return self.by_name[identifier]

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The columns under the names our code uses."""
        return {field.identifier: field for field in self.fields}

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
    for row in _rows("fields.csv"):
        columns.setdefault(row["table"], []).append(_field(row))
    about = ("counterpart", "business", "writer", "reader", "purpose_zh", "purpose_en", "section")
    return {
        row["name"]: Layout(
            row["name"], tuple(columns[row["name"]]), **{name: row[name] for name in about}, key=_key(row["key"])
        )
        for row in _rows("tables.csv")
    }


def _rows(name: str) -> list[dict[str, str]]:
    printed = files("producers.his").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(StringIO(printed)))


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
        oracle_type=row["oracle_type"],
        label_en=row["label_en"],
        national=tuple(name for name in row["national_field"].split("+") if name),
        remark=row["note"],
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


def _key(said: str) -> tuple[str, ...]:
    """ "one row per settlement: JYDJH+FYPC" names the columns behind its colon."""
    _, _, columns = said.partition(": ")
    return tuple(columns.partition(" ")[0].split("+")) if columns else ()


def _pair(text: str) -> tuple[str, str]:
    code, _, meaning = text.partition("=")
    return code, meaning
