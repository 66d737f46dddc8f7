"""What the specification's columns can hold comes back from a file as it was."""

import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.his import dbf
from producers.his.fields import FILES, layout
from producers.his.records import row_of

CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    st.sampled_from("张欧阳㛃𠮷·（）０１ａ　 Aa0-."),
)


def values_of(field):
    """Return everything that may stand in a column, nothing at all included."""
    match field.kind:
        case "C":
            values = st.text(CHARACTERS, max_size=field.width).map(lambda text: dbf.shorten(text, field.width))
        case "N":
            largest = 10**field.digits - 1
            smallest = -largest if field.is_signed else 0
            values = st.integers(smallest, largest).map(lambda units: Decimal(units).scaleb(-field.decimals))
        case "D":
            values = st.dates()
    return st.none() | values


def words_of(field):
    """Any text at all for a free text, whatever its length; what the column can hold for everything else."""
    return st.none() | st.text(CHARACTERS, max_size=90) if field.is_free_text else values_of(field)


@pytest.mark.parametrize("table", FILES)
@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_any_record_under_our_names_comes_back_with_its_words_shortened_at_a_character(table, data):
    columns = layout(table)
    record = data.draw(st.fixed_dictionaries({field.identifier: words_of(field) for field in columns}))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{table}0301.DBF")
        dbf.append(path, columns, [row_of(columns, record)], day=date(2025, 3, 1))
        found = dbf.read(path)

    [row] = found.rows()
    for field in columns:
        value = record[field.identifier]
        if field.is_free_text and value is not None:
            value = dbf.shorten(value, field.width)
        assert row[field.code] == as_read(field, value)
    assert (found.bad_values(), found.cut_texts()) == ([], [])


def as_read(field, value):
    """A DBF file knows no difference between blank, none and blanks at the end of a text."""
    return (value or "").rstrip(" ") if field.kind == "C" else value


@pytest.mark.parametrize("table", FILES)
@given(data=st.data(), day=st.dates(date(1900, 1, 1), date(2155, 12, 31)))
@settings(deadline=None, max_examples=25)
def test_any_record_of_the_specification_comes_back(table, data, day):
    columns = layout(table)
    row = st.fixed_dictionaries({field.code: values_of(field) for field in columns})
    rows = data.draw(st.lists(row, max_size=4))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{table}0301.DBF")
        dbf.write(path, columns, rows, day=day)
        found = dbf.read(path)

    found.expect(columns)
    assert list(found.rows()) == [{field.code: as_read(field, row[field.code]) for field in columns} for row in rows]
    assert found.header.updated == day
    assert (found.bad_values(), found.cut_texts(), found.deleted, found.surplus_bytes) == ([], [], 0, 0)


@given(
    rows=st.lists(st.fixed_dictionaries({field.code: values_of(field) for field in layout("MZJS")}), max_size=6),
    at=st.integers(0, 6),
)
@settings(deadline=None, max_examples=25)
def test_a_file_written_in_two_goes_is_the_file_written_at_once(rows, at):
    columns, day = layout("MZJS"), date(2025, 3, 1)
    with tempfile.TemporaryDirectory() as folder:
        in_two, at_once = Path(folder, "TWO.DBF"), Path(folder, "ONCE.DBF")
        dbf.append(in_two, columns, rows[:at], day=day)
        dbf.append(in_two, columns, rows[at:], day=day)
        dbf.write(at_once, columns, rows, day=day)
        assert in_two.read_bytes() == at_once.read_bytes()
