"""How values are written on every outside interface in JSON: checked by their form, described by the same types."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints

from domain.visit import FIRST_OF_CENTRE, LAST_BATCH

STRICT = ConfigDict(extra="forbid", strict=True)
"""Nothing is converted in silence, and a field nobody knows is refused."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _as_written(value: object) -> object:
    """A day as it may stand in an address: pydantic would take a number for seconds since 1970."""
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("a day is written YYYY-MM-DD")
    return value


Day = Annotated[date, BeforeValidator(_as_written)]
Amount = Annotated[
    str,
    StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,9})\.[0-9]{2}$"),
    Field(description="yuan, a string with exactly two decimals: NUMBER(12,2)", examples=["25.00"]),
]
NotNegative = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]{0,9})\.[0-9]{2}$"),
    Field(description="yuan, a string with exactly two decimals, not negative", examples=["800.00"]),
]
Price = Annotated[
    str,
    StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,7})(\.[0-9]{1,4})?$"),
    Field(description="yuan, a string with at most four decimals: JG, NUMBER(12,4)", examples=["12.5"]),
]
Quantity = Annotated[
    str,
    StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,2})?$"),
    Field(description="a string with at most two decimals: MCYL, NUMBER(8,2)", examples=["2"]),
]
Ratio = Annotated[
    str,
    StringConstraints(pattern=r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$"),
    Field(description="a string between 0 and 1 with at most four decimals", examples=["0.1"]),
]
# Text of at most so many characters, without control characters; left out, null and empty are the same.
_TEXT = r"^[^\x00-\x1f\x7f]*$"
Text3 = Annotated[str, StringConstraints(max_length=3, pattern=_TEXT)] | None
Text8 = Annotated[str, StringConstraints(max_length=8, pattern=_TEXT)] | None
Text12 = Annotated[str, StringConstraints(max_length=12, pattern=_TEXT)] | None
Text15 = Annotated[str, StringConstraints(max_length=15, pattern=_TEXT)] | None
Text20 = Annotated[str, StringConstraints(max_length=20, pattern=_TEXT)] | None
Text30 = Annotated[str, StringConstraints(max_length=30, pattern=_TEXT)] | None
Text40 = Annotated[str, StringConstraints(max_length=40, pattern=_TEXT)] | None
Text70 = Annotated[str, StringConstraints(max_length=70, pattern=_TEXT)] | None
VisitNo = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{0,16}$")] | None
LineNo = Annotated[int, Field(ge=0, le=99999)] | None
Category = Annotated[int, Field(ge=0, le=999)] | None
BatchNo = Annotated[int, Field(ge=1, le=LAST_BATCH)] | None
NewBatchNo = Annotated[int, Field(ge=1, le=FIRST_OF_CENTRE - 1)] | None
"""Of a claim that is handed in: the last numbers are the centre's."""
