"""A record under the names our code uses, as the row of a file: columns by code, words shortened where they may be."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from producers.his.dbf_write import Unfit, Value, cell, shorten
from producers.his.fields import Field, Layout

log = logging.getLogger("exchange")


def row_of(columns: Layout, values: Mapping[str, Value]) -> dict[str, Value]:
    """The row that holds these values, given by identifier; what the layout has no column for raises KeyError.

    A free text too long is shortened at a whole character (AMB-19). Any other value that does not fit is left out where
    the column may be empty; where it may not, the codec refuses the row.
    """
    fields = columns.by_name
    row: dict[str, Value] = {}
    for identifier, value in values.items():
        field = fields[identifier]
        row[field.code] = value if type(value) in _FITS else _fitting(columns.table, field, value)
    return row


_FITS = {Decimal, date, type(None)}
"""Amounts are ours, and a day fits into a column of days: to look at each would cost more than writing it."""


def _fitting(table: str, field: Field, value: Value) -> Value:
    if isinstance(value, str):
        if len(value) * 4 <= field.width:
            return value
        if field.is_free_text:
            short = shorten(value, field.width)
            if short != value:
                log.info("text_shortened", extra={"table": table, "column": field.code})
            return short
    if field.required or _fits(field, value):
        return value
    log.warning("value_left_out", extra={"table": table, "column": field.code})
    return None


def _fits(field: Field, value: Value) -> bool:
    try:
        cell(field, value)
    except Unfit:
        return False
    return True
