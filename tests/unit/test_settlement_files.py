"""Reconciliation files: read strictly, everything wrong told at once, nothing unpacked beyond its bounds."""

from __future__ import annotations

import io
import struct
import zipfile
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.messages import FoundDifference, InstitutionLine
from producers.reconciling import files
from producers.reconciling.files import FileRefused, read, read_text, result_name, write

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"

ROW = "42\tV001\tnull\t120.00\t42.00\t48.00\t0"
LINE = InstitutionLine(1, "V001", 42, False, 12_000, 4_200, 4_800)
FULL = "42\tV001\tnull\t120.00\t42.00\t48.00\t0\t1\t310\t11\t30.00\tnull"


def zipped(text=ROW + "\n", name="stmt.txt", *more, method=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as file:
        for each in (name, *more):
            file.writestr(each, text)
    return packed.getvalue()


def wrong_of(content, reader=read_text):
    with pytest.raises(FileRefused) as refused:
        reader(content)
    return [(each.row, each.field, each.code) for each in refused.value.wrong]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(ROW, [LINE], id="the columns of 3202, without a last line end"),
        pytest.param(ROW + "\r\n", [LINE], id="line ends of another system"),
        pytest.param(
            FULL + "\n",
            [LINE._replace(charge_batch_no=1, scheme="employee", clearing_type="11", cash_fen=3_000)],
            id="all columns",
        ),
        pytest.param(
            "null\tV001\tp1\t-120.00\t-42.00\t-48.00\t1",
            [InstitutionLine(1, "V001", 0, True, -12_000, -4_200, -4_800)],
            id="a refund without a number",
        ),
        pytest.param("", [], id="a day on which nothing was settled"),
    ],
)
def test_a_file_is_read(text, lines):
    assert read_text(text.encode()) == lines
    assert read(zipped(text)) == lines


def test_everything_that_is_wrong_is_told_with_row_and_column():
    rows = [
        ROW,
        "x\t\tnull\t120\t42.00\t48.00\t2",
        "42\tV001",
        "43\tV002\tnull\t-1.00\t0.00\t0.00\t0",
        "44\tV002\tnull\t1.00\t0.00\t0.00\t1",
        ROW.replace("V001", "V" * 17),
        "",
    ]
    assert wrong_of("\n".join([*rows, ROW]).encode()) == [
        (2, "setl_id", "wrong-form"),
        (2, "mdtrt_id", "missing"),
        (2, "medfee_sumamt", "wrong-form"),
        (2, "refd_setl_flag", "not-allowed"),
        (3, "", "wrong-width"),
        (4, "medfee_sumamt", "wrong-sign"),
        (5, "medfee_sumamt", "wrong-sign"),
        (6, "mdtrt_id", "wrong-form"),
        (7, "", "wrong-width"),
    ]
    assert wrong_of(FULL.replace("310", "999").replace("\t11\t", "\t12\t").replace("30.00\tnull", "3\t5").encode()) == [
        (1, "insutype", "not-allowed"),
        (1, "clr_type", "not-allowed"),
        (1, "cash_payamt", "wrong-form"),
    ]
    assert wrong_of(FULL.replace("30.00\tnull", "30.00\t5").encode()) == [(1, "init_setl_id", "not-allowed")]


def test_more_errors_than_anybody_reads_are_not_all_listed():
    wrong = wrong_of(("x\n" + f"{ROW}\n").encode() + b"x\n" * 5_000)
    assert wrong == [(1, "", "wrong-width")]
    wrong = wrong_of(f"{ROW}\n".encode() + b"x\n" * 5_000)
    assert (len(wrong), wrong[-1]) == (files.MOST_WRONG + 1, (0, "", "more"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(b"\xef\xbb\xbf" + ROW.encode(), [(0, "", "bom")], id="a BOM"),
        pytest.param(ROW.encode("utf-16"), [(1, "", "not-utf8")], id="UTF-16"),
        pytest.param(f"{ROW}\n".encode() + "结算".encode("gb18030"), [(2, "", "not-utf8")], id="GB18030"),
        pytest.param(b"a\tb\tc", [(1, "", "wrong-width")], id="three columns"),
    ],
)
def test_another_encoding_or_layout_is_refused(content, found):
    assert wrong_of(content) == found


def encrypted():
    content = bytearray(zipped())
    content[6] |= 1
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1
    return bytes(content)


def lying_about_its_size():
    """A small text by its own account, of many MiB when it is unpacked."""
    content = bytearray(zipped("0" * (files.MAX_TEXT + 10)))
    central = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, central + 24, 10)
    struct.pack_into("<I", content, 22, 10)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", "not-a-zip", id="nothing"),
        pytest.param(ROW.encode(), "not-a-zip", id="the text itself"),
        pytest.param(zipped()[:-30], "not-a-zip", id="cut short"),
        pytest.param(zipped(ROW, "a.txt", "b.txt"), "one-file", id="two files"),
        pytest.param(zipped(ROW, "a.exe"), "wrong-name", id="another kind of file"),
        pytest.param(zipped(ROW, "../a.txt"), "wrong-name", id="a way out of the folder"),
        pytest.param(zipped(ROW, "in/a.txt"), "wrong-name", id="in a folder"),
        pytest.param(encrypted(), "encrypted", id="encrypted"),
        pytest.param(zipped(ROW * 50, method=zipfile.ZIP_BZIP2), "not-a-zip", id="another method"),
        pytest.param(zipped("0" * (files.MAX_TEXT + 1)), "text-too-large", id="a bomb"),
        pytest.param(bytes(files.MAX_ZIP + 1), "zip-too-large", id="too much to begin with"),
    ],
)
def test_what_is_no_file_of_ours_is_refused_clearly(content, code):
    assert wrong_of(content, read) == [(0, "", code)]


def test_a_file_that_lies_about_its_size_is_not_unpacked():
    assert wrong_of(lying_about_its_size(), read)[0][2] in ("not-a-zip", "text-too-large", "wrong-width")


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: zipped()[:60] + tail))
def test_any_bytes_are_read_or_refused(content):
    for reader in (read, read_text):
        try:
            reader(content)
        except FileRefused as refused:
            assert refused.wrong


DIFFERENCE = FoundDifference(
    7, "center-only", "V001", 1, 42, False, "open", "中心已结算 120.00 元，机构账上没有", "query-then-contra", "",
    (0, 0, 0, 0, 0), (1, 12_000, 4_200, 4_800, 3_000),
)  # fmt: skip


def test_the_result_is_a_file_of_the_same_kind():
    back = DIFFERENCE._replace(
        kind="one-sided-refund", contra=True, settlement_no=0, institution=(1, -12_000, -4_200, -4_800, -3_000),
        center=(0, 0, 0, 0, 0), words="机构已退费\t…",
    )  # fmt: skip
    amount = DIFFERENCE._replace(kind="amount", institution=(1, 1, 0, 0, 1), words="总金额不符")
    packed = write(result_name("440100000001", date(2026, 3, 2)), [DIFFERENCE, back, amount])

    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        assert file.namelist() == ["440100000001_20260302_result.txt"]
        rows = file.read(file.namelist()[0]).decode().splitlines()
    assert rows == [
        "null\tV001\t42\tnull\t1\t0\t中心多：中心已结算 120.00 元，机构账上没有\t120.00\t42.00\t48.00",
        "null\tV001\tnull\tnull\t2\t1\t单边退费：机构已退费 …\t-120.00\t-42.00\t-48.00",
        "null\tV001\t42\tnull\t3\t0\t金额不符：总金额不符\t0.01\t0.00\t0.00",
    ]
    assert packed == write("440100000001_20260302_result.txt", [DIFFERENCE, back, amount])


@pytest.mark.parametrize("name", ["reconcile_7.txt", "reconcile_12.txt"])
def test_the_published_samples_are_good_and_say_the_same(name):
    lines = read_text((SAMPLES / name).read_bytes())

    assert [(line.visit_no, line.settlement_no, line.contra, line.total_fen) for line in lines] == [
        ("H440012603020001", 1024, False, 12_000),
        ("H440012603020002", 1025, False, 3_500),
        ("H440012603020002", 1026, True, -3_500),
    ]
    if name == "reconcile_12.txt":
        assert {(line.scheme, line.clearing_type) for line in lines} == {("employee", "11")}
        assert (lines[2].charge_batch_no, lines[2].contra_of) == (2, 1025)


def test_the_published_result_is_what_we_write():
    back = DIFFERENCE._replace(
        kind="lost-answer",
        visit_no="H440012603020003",
        settlement_no=1027,
        words="中心已结算 120.00 元（单号 1027），机构未收到结果",
    )
    with zipfile.ZipFile(io.BytesIO(write("x.txt", [back]))) as file:
        assert file.read("x.txt") == (SAMPLES / "reconcile_result.txt").read_bytes()
