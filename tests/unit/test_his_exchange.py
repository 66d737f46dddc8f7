"""The DBF exchange of one institution: what is given out, when, and what is written back."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from itertools import chain

import pytest

from domain.identity import synthetic_citizen_id
from domain.visit import Visit, VisitType
from infra.clock import SHANGHAI
from producers.his import dbf
from producers.his.exchange import DbfExchange
from producers.his.fields import layout
from producers.his.line_files import Answer, Mark, marks_for

HOSPITAL = "990100001"
DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 2, 9, 30, 5, tzinfo=SHANGHAI)
PERSON, OTHER = synthetic_citizen_id(1), synthetic_citizen_id(2)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def exchange(folder):
    return DbfExchange(folder, HOSPITAL)


def registration(visit_no="V1", **change):
    row = {
        "JYDJH": visit_no, "YYBH": HOSPITAL, "GMSFHM": PERSON, "XM": "测试人", "RYLB": "1", "JZLB": "3",
        "RYRQ": DAY, "RYZD": "高血压", "DRBZ": 0,
    }  # fmt: skip
    return row | change


def row(visit_no="V1", number=1, **change):
    row = {
        "JYDJH": visit_no, "YYBH": HOSPITAL, "GMSFHM": PERSON, "RYRQ": DAY, "FYRQ": DAY, "XMXH": number,
        "XMBH": "A1", "XMMC": "阿莫西林胶囊", "FLDM": 2, "YPGG": "0.25g×24粒", "YPJX": "胶囊剂",
        "JG": Decimal("12.5000"), "MCYL": Decimal("2.00"), "JE": Decimal("25.00"), "DRBZ": 0, "YPLY": "1",
    }  # fmt: skip
    return row | change


def register(folder, *rows):
    dbf.append(folder / "MZDJ0302.DBF", layout("MZDJ"), rows, day=DAY)


def deliver(folder, *rows, name="MZXM0302.DBF"):
    dbf.append(folder / name, layout("MZXM"), rows, day=DAY)


def take(exchange):
    return list(chain.from_iterable(exchange.deliveries(100)))


def written(folder, name="MZXM0302.DBF"):
    """BZ1, BZ2, BZ3 and DRBZ of every record."""
    return [
        (r["BZ1"], r["BZ2"], r["BZ3"], int(r["DRBZ"]))
        for r in dbf.read(folder / name).rows("BZ1", "BZ2", "BZ3", "DRBZ")
    ]


def answer(exchange, delivery, *codes, note=""):
    exchange.answer([Answer(delivery.rows, marks_for(codes, note))], at=AT)


def test_a_delivery_is_the_registration_and_the_rows_of_the_visit_exactly_as_written(folder, exchange):
    register(folder, registration())
    deliver(folder, row(), row(number=2, JG=Decimal("0.1234"), MCYL=Decimal("-3.50"), JE=Decimal("-0.43"), YPLY=""))

    [delivery] = take(exchange)

    assert delivery.visit == Visit(
        visit_no="V1", institution_code=HOSPITAL, citizen_id_no=PERSON, visit_type=VisitType.OUTPATIENT, visit_date=DAY,
        person_name="测试人", person_category="1", admission_diagnosis="高血压",
    )  # fmt: skip
    assert delivery.lines == [
        (1, DAY, "A1", "阿莫西林胶囊", 2, "0.25g×24粒", "胶囊剂", 125000, 200, 2500, "1", ""),
        (2, DAY, "A1", "阿莫西林胶囊", 2, "0.25g×24粒", "胶囊剂", 1234, -350, -43, "", ""),
    ]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"YYBH": "990100002"}, "92", id="another institution's code on the row"),
        pytest.param({"GMSFHM": OTHER}, "93", id="another person's number on the row"),
        pytest.param({"XMXH": 0}, "96", id="line number 0"),
        pytest.param({"GMSFHM": PERSON.lower()}, "", id="a check character in lower case is the same person"),
        pytest.param(
            {"XMXH": None, "XMBH": "", "XMMC": "", "FYRQ": None, "JE": None}, "", id="empty is for the checks"
        ),
    ],
)
def test_a_row_that_is_no_line_of_its_visit_gets_the_code_of_the_door(folder, exchange, change, code):
    register(folder, registration(GMSFHM=synthetic_citizen_id(1)))
    deliver(folder, row(), row(number=2) | change)

    [delivery] = take(exchange)

    assert [line.door_code for line in delivery.lines_of_visit(HOSPITAL)] == ["", code]


def spoil(folder, column, value, record=1):
    """Write bytes into a record that no codec would write."""
    path = folder / "MZXM0302.DBF"
    header = dbf.read(path).header
    field = next(field for field in header.fields if field.code == column)
    content = bytearray(path.read_bytes())
    at = header.record_at(record) + header.offset(column)
    content[at : at + field.width] = value.rjust(field.width)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        pytest.param("JE", b"1,234.50", "96", id="a thousands mark"),
        pytest.param("JE", b"************", "96", id="overflow"),
        pytest.param("JG", b"1.23456", "96", id="five decimals of a price"),
        pytest.param("MCYL", b"1.5e3", "96", id="an exponent"),
        pytest.param("JE", b"25.0049", "", id="an amount that was not rounded"),
        pytest.param("XMXH", b"1.5", "96", id="half a line number"),
        pytest.param("XMMC", b"\xff\xff\xff  ", "96", id="no Chinese encoding"),
        pytest.param("FYRQ", b"20269931", "", id="no day of the calendar is no day, code 04 says so"),
    ],
)
def test_what_cannot_be_read_is_96_and_leaves_its_neighbours_alone(folder, exchange, column, value, code):
    register(folder, registration())
    deliver(folder, row(), row(number=2))
    spoil(folder, column, value)

    [delivery] = take(exchange)

    assert [line.door_code for line in delivery.lines] == [code, ""]


def test_rows_without_a_registration_have_no_visit(folder, exchange):
    register(folder, registration("V2"))
    deliver(folder, row("V1"), row("V2"), row("", 1))

    assert {
        d.rows.visit_no: (d.visit is None, d.lines_of_visit(HOSPITAL)[0].door_code) for d in take(exchange)
    } == {
        "V1": (True, "90"), "V2": (False, ""), "": (True, "90"),
    }  # fmt: skip


def test_inpatient_registrations_do_not_belong_into_this_exchange(folder, exchange):
    register(folder, registration(JZLB="1"))
    deliver(folder, row())
    assert take(exchange)[0].visit is None


def test_rows_are_given_out_once_and_again_by_the_next_process(folder, exchange):
    register(folder, registration())
    deliver(folder, row())
    first = take(exchange)

    assert take(exchange) == []
    assert take(DbfExchange(folder, HOSPITAL)) == first


def test_rows_that_were_not_taken_are_given_out_again(folder, exchange):
    register(folder, registration())
    deliver(folder, row())
    [delivery] = take(exchange)
    exchange.later(delivery.rows)
    assert take(exchange) == [delivery]


def test_nothing_is_lost_when_giving_out_is_interrupted(folder, exchange):
    register(folder, registration("V1"), registration("V2"))
    deliver(folder, row("V1"), row("V2"))
    batches = exchange.deliveries(1)
    [first] = next(batches)
    batches.close()
    assert [d.rows.visit_no for d in take(exchange)] == ["V2"]
    assert first.rows.visit_no == "V1"


def test_imported_rows_say_when_and_are_never_given_out_again(folder, exchange):
    register(folder, registration())
    deliver(folder, row(), row(number=2))
    [delivery] = take(exchange)

    answer(exchange, delivery, "00", "00")

    assert written(folder) == [("2026-03-02 09:30:05", "", "00", 1)] * 2
    assert take(exchange) == [] == take(DbfExchange(folder, HOSPITAL))


def test_one_bad_row_keeps_its_whole_visit_out_and_no_other(folder, exchange):
    register(folder, registration("V1"), registration("V2"))
    deliver(folder, row("V1"), row("V1", 2), row("V2"))
    bad, good = take(exchange)

    answer(exchange, bad, "00", "14")
    answer(exchange, good, "00")

    assert written(folder) == [("", "", "00", 0), ("", "", "14", 2), ("2026-03-02 09:30:05", "", "00", 1)]
    assert take(exchange) == []


def test_a_corrected_visit_is_given_out_whole(folder, exchange):
    register(folder, registration())
    deliver(folder, row(), row(number=2, JE=Decimal("25.01")))
    [bad] = take(exchange)
    answer(exchange, bad, "00", "14")

    spoil(folder, "JE", b"25.00", record=2)
    [corrected] = take(exchange)

    assert [line.line_amount_fen for line in corrected.lines] == [2500, 2500]
    assert corrected.rows.digest != bad.rows.digest


def test_rows_put_back_to_unread_are_given_out_although_nothing_else_changed(folder, exchange):
    register(folder, registration())
    deliver(folder, row())
    [bad] = take(exchange)
    answer(exchange, bad, "06")
    assert take(exchange) == []

    table = dbf.read(folder / "MZXM0302.DBF")
    dbf.update_in_place(folder / "MZXM0302.DBF", {1: {"BZ3": None, "DRBZ": 0}}, as_read=table)
    [again] = take(exchange)

    assert again.rows.digest == bad.rows.digest
    assert again.rows.unread


def test_rows_added_while_others_wait_for_their_verdict_come_with_the_next_batch(folder, exchange):
    register(folder, registration())
    deliver(folder, row())
    [first] = take(exchange)
    deliver(folder, row(number=2))
    assert take(exchange) == []

    answer(exchange, first, "00")
    [second] = take(exchange)

    assert [line.line_no for line in second.lines] == [2]


def test_a_verdict_is_not_written_on_rows_that_were_changed_meanwhile(folder, exchange):
    register(folder, registration("V1"), registration("V2"))
    deliver(folder, row("V1"), row("V2"))
    changed, same = take(exchange)
    spoil(folder, "JE", b"26.00")

    exchange.answer([Answer(d.rows, marks_for(["00"])) for d in (changed, same)], at=AT)

    assert [flag for *_, flag in written(folder)] == [0, 1]
    assert [d.rows.visit_no for d in take(exchange)] == ["V1"]


def test_a_row_that_stands_twice_is_given_out_once_and_its_twin_after_the_verdict(folder, exchange):
    register(folder, registration())
    deliver(folder, row(), row(number=2), row(), row(number=3))
    [delivery] = take(exchange)
    assert delivery.rows.records == (1, 2, 4)
    assert take(exchange) == []

    answer(exchange, delivery, "00", "00", "00")
    [twin] = take(exchange)

    assert twin.rows.records == (3,)


def test_marks_can_leave_rows_for_the_next_look(folder, exchange):
    register(folder, registration())
    deliver(folder, row(), row(number=2))
    [delivery] = take(exchange)
    exchange.answer([Answer(delivery.rows, [Mark(1, "00"), None])], at=AT)
    [rest] = take(exchange)
    assert rest.rows.records == (2,)


def test_a_note_is_cut_at_a_whole_character(folder, exchange):
    register(folder, registration())
    deliver(folder, row())
    [delivery] = take(exchange)
    answer(exchange, delivery, "00", note="医药机构未登记或已停用")
    assert written(folder)[0][1] == "医药机构未登记或已停"


def test_a_file_still_being_written_is_left_for_later_and_its_neighbour_is_read(folder, exchange):
    register(folder, registration("V1"), registration("V2"))
    deliver(folder, row("V1"))
    deliver(folder, row("V2"), name="MZXM0303.DBF")
    whole = (folder / "MZXM0302.DBF").read_bytes()
    (folder / "MZXM0302.DBF").write_bytes(whole[:-60])

    assert [d.rows.visit_no for d in take(exchange)] == ["V2"]
    assert [type(problem) for problem in exchange.problems] == [dbf.IncompleteFile]

    (folder / "MZXM0302.DBF").write_bytes(whole)
    assert [d.rows.visit_no for d in take(exchange)] == ["V1"]
    assert exchange.problems == []


def test_foreign_files_are_named_in_chinese_and_harm_nobody(folder, exchange):
    register(folder, registration())
    deliver(folder, row())
    (folder / "MZXM0101.DBF").write_bytes(b"PK\x03\x04 a spreadsheet")
    dbf.write(folder / "MZXM0102.DBF", layout("MZDJ"), [], day=DAY)

    assert len(take(exchange)) == 1
    assert [problem.message_zh.partition("：")[0] for problem in exchange.problems] == ["MZXM0101.DBF", "MZXM0102.DBF"]
    assert "不是DBF文件" in exchange.problems[0].message_zh


def test_while_registrations_cannot_be_read_nobody_is_called_unknown(folder, exchange):
    register(folder, registration("V1"))
    whole = (folder / "MZDJ0302.DBF").read_bytes()
    deliver(folder, row("V1"))
    (folder / "MZDJ0302.DBF").write_bytes(whole[:-60])
    assert take(exchange) == []

    (folder / "MZDJ0302.DBF").write_bytes(whole)
    assert take(exchange)[0].visit is not None


def test_deleted_records_and_surplus_bytes_are_passed_over_and_reported_once(folder, exchange, caplog):
    register(folder, registration())
    deliver(folder, row(), row(number=2))
    path = folder / "MZXM0302.DBF"
    content = bytearray(path.read_bytes())
    content[dbf.read(path).header.record_at(1)] = ord("*")
    path.write_bytes(bytes(content) + b"left over")

    [delivery] = take(exchange)
    assert [line.line_no for line in delivery.lines] == [2]
    answer(exchange, delivery, "00")
    take(exchange)
    [told] = [record for record in caplog.records if record.message == "exchange_file_odd"]
    assert (told.file, told.deleted_records, told.surplus_bytes) == ("MZXM0302.DBF", 1, 9)


def test_who_was_registered_for_the_day_is_told_once(folder, exchange):
    yesterday = date(2026, 3, 1)
    register(folder, registration("V1"), registration("V2", GMSFHM=OTHER, RYRQ=yesterday))
    take(exchange)
    assert exchange.registered_on(DAY) == {PERSON}
    assert exchange.registered_on(DAY) == set()

    register(folder, registration("V3", GMSFHM=OTHER))
    take(exchange)
    assert exchange.registered_on(DAY) == {OTHER}, "read on as the file grows"
