"""The samples in the guide are what our codec writes, and what the specification allows."""

from decimal import Decimal
from pathlib import Path

import dbfread
import pytest

from domain.identity import is_synthetic
from producers.his import dbf
from producers.his.fields import FILES, layout
from producers.his.samples import write_samples

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"


def sample(kind):
    [path] = SAMPLES.glob(f"{kind}*.DBF")
    return path


def test_the_samples_in_the_docs_are_those_the_command_writes(tmp_path):
    written = {path.name: path.read_bytes() for path in write_samples(tmp_path)}
    assert written == {path.name: path.read_bytes() for path in SAMPLES.glob("*.DBF")}
    assert write_samples(tmp_path)


@pytest.mark.parametrize("kind", FILES)
def test_a_sample_has_the_printed_columns_and_nothing_that_must_be_there_is_missing(kind):
    table = dbf.read(sample(kind))
    table.expect(layout(kind))
    assert len(table) >= 1
    for row in table.rows():
        assert [field.code for field in layout(kind) if field.required and row[field.code] in ("", None)] == []
        assert is_synthetic(row["GMSFHM"])


@pytest.mark.parametrize("kind", FILES)
def test_others_read_the_samples_as_we_do(kind):
    ours = [(row["JYDJH"], row["DRBZ"]) for row in dbf.read(sample(kind)).rows()]
    theirs = [(row["JYDJH"], row["DRBZ"]) for row in dbfread.DBF(sample(kind), encoding="gb18030")]
    assert ours == theirs


@pytest.mark.parametrize(("results", "lines"), [("FYJS", "CFXM"), ("MZJS", "MZXM")])
def test_the_sums_of_a_sample_are_those_of_the_specification(results, lines):
    [row] = dbf.read(sample(results)).rows()
    nothing = Decimal(0)
    assert row["GRZFJE3"] == row["GRZFJE1"] + row["GRZFJE2"] + (row["CXZFJE"] or nothing)
    assert row["ZYZJE"] == row["SBZFJE"] + row["GRZFJE3"] + row["YYFDJE"]
    assert 0 <= row["QFJE"] <= row["GRZFJE2"]
    assert 0 <= row["BFXMZFJE"] <= row["GRZFJE1"]
    table = dbf.read(sample(lines))
    assert row["ZYZJE"] == sum(table.numbers("JE"))
    assert [row["JE"] for row in table.rows()] == [row["JG"] * row["MCYL"] for row in table.rows()]
