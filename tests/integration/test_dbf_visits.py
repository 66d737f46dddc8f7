"""Stays and outpatients registered here, through exchange files: WF-03, WF-05 and WF-06 with a HIS beyond them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import insert, select, update

from domain.refusals import VisitRefusal
from domain.visit import VisitType
from infra.reference import catalogue_row
from producers.his import importer
from producers.his.failed_lines import failed_lines
from producers.his.unread import UnreadInFiles
from tests.support.frontend import HOSPITAL, line, published
from tests.support.ward import AT, DAY, LATER, LATER_TIME, TIME, Ward
from workers import visits
from workers.tables import claim, line_failure, reference


@pytest.fixture
def ward(tmp_path):
    return Ward(tmp_path)


def test_a_stay_from_registration_to_discharge(ward):
    visit = ward.registers()
    ward.hands_out()
    [registered] = ward.reads("RYDJ0302.DBF", 1)
    assert (registered["JYDJH"], registered["XM"], registered["JZLB"], registered["CWDH"]) == (
        visit,
        "测试人",
        "1",
        "12",
    )
    assert registered["BZ1"] == TIME

    ward.delivers(visit, 1, 2)
    ward.looks()
    assert ward.marks() == [(TIME, "00", 1)] * 2
    assert ward.batches() == []

    assert isinstance(ward.settles(visit, final=False), visits.Settling)
    ward.center_answers()
    ward.hands_out()
    [first] = ward.reads("FYJS0302.DBF", 1)
    assert (first["JYDJH"], first["FYPC"], first["ZYZJE"], first["CXZFJE"]) == (visit, 1, Decimal("50.00"), Decimal(0))
    assert first["ZYZJE"] == first["SBZFJE"] + first["GRZFJE3"] + first["YYFDJE"]

    ward.delivers(visit, 3)
    ward.looks()
    assert isinstance(ward.discharges(visit), visits.Done)
    assert isinstance(ward.settles(visit), visits.Settling)
    ward.center_answers()
    ward.hands_out()
    assert [(row["FYPC"], row["ZYZJE"]) for row in ward.reads("FYJS0302.DBF")] == [(1, 50), (2, 25)]
    [left] = ward.reads("CYDJ0302.DBF")
    assert (left["JYDJH"], left["CYRQ"], left["CYZD1"], left["CYQK"]) == (visit, DAY, "肺炎", "1")


def test_one_bad_row_keeps_its_visit_out_until_it_is_corrected_and_no_other_visit(ward):
    bad, good = ward.registers(), ward.registers()
    ward.delivers(bad, 1)
    ward.delivers(bad, 2, JE=Decimal("25.01"), FYRQ=None)
    ward.delivers(good, 1)
    ward.looks()
    assert ward.marks() == [("", "00", 0), ("", "04", 2), (TIME, "00", 1)]
    refused = ward.settles(bad)
    assert VisitRefusal.ROWS_FAILED in refused.codes

    [failed] = failed_lines(ward.engine, HOSPITAL, folder=ward.folder)
    assert (failed.visit_no, failed.line.line_no, failed.codes) == (bad, 2, ("04", "14"))

    ward.at = LATER
    ward.corrects(2, JE=b"25.00", FYRQ=b"20260302")
    ward.looks()
    assert ward.marks() == [(LATER_TIME, "00", 1), (LATER_TIME, "00", 1), (TIME, "00", 1)]
    assert failed_lines(ward.engine, HOSPITAL, folder=ward.folder) == []
    assert isinstance(ward.settles(bad), visits.Settling)


def test_failed_rows_the_his_took_back_hold_up_nothing(ward):
    visit = ward.registers()
    ward.delivers(visit, 1)
    ward.looks()
    ward.delivers(visit, 2, name="CFXM0303.DBF", JE=Decimal(1))
    ward.looks()
    assert isinstance(ward.settles(visit), visits.NotReady)

    (ward.folder / "CFXM0303.DBF").unlink()
    ward.restart()
    ward.looks()
    assert isinstance(ward.settles(visit), visits.Settling)


def test_a_folder_that_is_away_takes_nothing_back(ward):
    visit = ward.registers()
    ward.delivers(visit, 1, JE=Decimal(1))
    ward.looks()
    away = ward.folder.with_name("away")
    ward.folder.rename(away)
    importer.take_in(ward.engine, ward.door.exchange, at=AT, shelf=ward.shelf)
    away.rename(ward.folder)
    with ward.engine.connect() as connection:
        assert connection.execute(select(line_failure.c.gone_at)).scalars().all() == [None]


def test_reading_again_imports_nothing_whoever_reads_and_under_whatever_name(ward):
    visit = ward.registers()
    ward.delivers(visit, 1, 2)
    ward.looks()
    ward.delivers(visit, 1, 2, name="CFXM0301.DBF")
    ward.at = LATER
    for _ in range(2):
        ward.restart()
        ward.looks()
    assert ward.marks("CFXM0301.DBF") == [(TIME, "00", 1)] * 2
    assert isinstance(ward.settles(visit), visits.Settling)
    assert ward.batches() == [(visit, 1, "accepted", 2)]


def test_the_same_number_with_other_content_is_94(ward):
    visit = ward.registers()
    ward.delivers(visit, 1)
    ward.looks()
    ward.delivers(visit, 1, MCYL=Decimal(3), JE=Decimal("37.50"))
    ward.looks()
    assert [mark[1:] for mark in ward.marks()] == [("00", 1), ("94", 2)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"JYDJH": "T000012603029999"}, "90", id="a visit nobody registered"),
        pytest.param({"YYBH": "440100000009"}, "92", id="another institution's code on the row"),
        pytest.param({"GMSFHM": "11010519491231003X"}, "93", id="another person's number on the row"),
        pytest.param({"XMXH": 0}, "96", id="line number 0"),
        pytest.param({"XMBH": "L999"}, "06", id="an item without a match"),
        pytest.param({"MCYL": Decimal(-3), "JE": Decimal("-37.50")}, "21", id="more given back than was charged"),
    ],
)
def test_every_kind_of_failure_comes_back_on_its_row(ward, change, code):
    visit = ward.registers()
    ward.delivers(visit, 7, **change)
    ward.looks()
    assert [mark[1:] for mark in ward.marks()] == [(code, 2)]
    assert [failure.codes[0] for failure in failed_lines(ward.engine, HOSPITAL, folder=ward.folder)] == [code]


def test_lines_that_lacked_a_match_are_read_again_once_the_catalogue_has_it(ward):
    visit = ward.registers()
    ward.delivers(visit, 1, XMBH="L999")
    ward.looks()
    assert [mark[1:] for mark in ward.marks()] == [("06", 2)]

    known = published([HOSPITAL], "catalogue-2")
    also = known.matches[0]._replace(local_item_code="L999")
    with ward.engine.begin() as connection:
        connection.execute(update(reference).where(reference.c.kind == "catalogue").values(in_force=False))
        now = type(known)(version="catalogue-2", items=known.items, matches=(*known.matches, also))
        connection.execute(insert(reference).values(catalogue_row(now)))
    ward.looks()
    assert [mark[1:] for mark in ward.marks()] == [("00", 1)]


def test_a_reversal_takes_part_of_an_earlier_day_back(ward):
    visit = ward.registers()
    ward.delivers(visit, 1, 2)
    ward.looks()
    ward.delivers(visit, 3, name="CFXM0303.DBF", MCYL=Decimal(-1), JE=Decimal("-12.50"))
    ward.looks()
    assert [mark[1:] for mark in ward.marks("CFXM0303.DBF")] == [("00", 1)]
    ward.settles(visit)
    ward.center_answers()
    ward.hands_out()
    assert [row["ZYZJE"] for row in ward.reads("FYJS0302.DBF")] == [Decimal("37.50")]


def test_a_product_that_takes_yybh_from_the_visit_number_is_at_home(ward):
    ward.set(settles_at_once=True)
    visit = ward.registers()
    ward.delivers(visit, 1, YYBH=visit[:6], FLDM=0, XMMC="二十个字的名称被截断也不要紧"[:20])
    ward.looks()
    assert [mark[1:] for mark in ward.marks()] == [("00", 1)]


def test_rows_that_nobody_has_read_yet_keep_the_visit_from_being_settled(ward):
    visit = ward.registers()
    unread = UnreadInFiles(ward.folder.parent)
    ward.delivers(visit, 1)
    ward.looks()
    assert unread.count(HOSPITAL, visit) == 0
    ward.delivers(visit, 2, 3)
    assert unread.count(HOSPITAL, visit) == 2
    refused = visits.settle_visit(
        ward.engine, HOSPITAL, visit, final=True, at=AT, unread=lambda _, code, visit_no: unread.count(code, visit_no)
    )
    assert refused.codes == (VisitRefusal.ROWS_UNREAD,)
    ward.looks()
    assert unread.count(HOSPITAL, visit) == unread.count(HOSPITAL, "V9") == unread.count("990000000", visit) == 0


# Outpatients registered here.


def test_an_outpatient_is_settled_as_its_lines_come_in(ward):
    visit = ward.registers(VisitType.OUTPATIENT)
    ward.hands_out()
    assert [row["JYDJH"] for row in ward.reads("MZDJ0302.DBF", 1)] == [visit]
    for batch in (1, 2):
        ward.delivers(visit, batch, name="MZXM0302.DBF")
        ward.looks()
        ward.center_answers()
        ward.hands_out()
        assert ward.marks("MZXM0302.DBF")[-1] == (TIME, "00", 1)
    results = ward.reads("MZJS0302.DBF")
    assert [(row["JYDJH"], row["FYPC"], row["ZYZJE"], row["CXZFJE"]) for row in results] == [
        (visit, 1, Decimal("25.00"), None),
        (visit, 2, Decimal("25.00"), None),
    ]


def test_lines_that_come_while_a_batch_is_settled_wait_for_its_answer(ward):
    visit = ward.registers(VisitType.OUTPATIENT)
    ward.delivers(visit, 1, name="MZXM0302.DBF")
    ward.looks()
    ward.delivers(visit, 2, name="MZXM0302.DBF")
    for _ in range(2):
        ward.restart()
        ward.looks()
        assert ward.marks("MZXM0302.DBF") == [(TIME, "00", 1), ("", "", 0)]
    ward.center_answers()
    ward.looks()
    assert [row[1:] for row in ward.batches()] == [(1, "settled", 1), (2, "accepted", 1)]
    assert {mark[1:] for mark in ward.marks("MZXM0302.DBF")} == {("00", 1)}


def test_where_somebody_gives_the_word_outpatients_wait_for_it(ward):
    ward.set(settles_at_once=False)
    visit = ward.registers(VisitType.OUTPATIENT)
    ward.delivers(visit, 1, name="MZXM0302.DBF")
    ward.looks()
    assert ward.batches() == []
    assert isinstance(visits.settle_visit(ward.engine, HOSPITAL, visit, final=False, at=AT), visits.Settling)


def test_lines_entered_at_the_client_are_exported_and_never_read_as_the_hospitals(ward):
    ward.set(outpatient_flow=1)
    visit = ward.registers(VisitType.OUTPATIENT)
    lines = [line(number, charge_date=DAY) for number in (1, 2)]
    given = visits.Delivery(institution_code=HOSPITAL, visit_no=visit, lines=lines, channel="desk")
    visits.import_lines(ward.engine, ward.shelf, [given], at=AT, per=visits.Per.VISIT)
    for _ in range(2):
        ward.hands_out()
        ward.looks()
    rows = ward.reads("MZXM0302.DBF")
    assert [(row["XMXH"], row["XMMC"], row["JE"], int(row["DRBZ"])) for row in rows] == [
        (1, "阿莫西林胶囊", Decimal("25.00"), 0),
        (2, "阿莫西林胶囊", Decimal("25.00"), 0),
    ]


# Stopped anywhere.


class Stopped(Exception):
    """The process was killed here."""


def _stopping(function):
    def stopped(*arguments, **named):
        function(*arguments, **named)
        raise Stopped

    return stopped


@pytest.mark.parametrize("after", ["import_lines", "settle_visits"])
def test_taking_lines_in_may_be_cut_short_anywhere(ward, after, monkeypatch):
    visit = ward.registers(VisitType.OUTPATIENT)
    ward.delivers(visit, 1, 2, name="MZXM0302.DBF")
    with monkeypatch.context() as patch:
        patch.setattr(visits, after, _stopping(getattr(visits, after)))
        with pytest.raises(Stopped):
            ward.looks()
    assert ward.marks("MZXM0302.DBF") == [("", "", 0)] * 2
    ward.at = LATER
    ward.restart()
    ward.looks()
    ward.center_answers()
    ward.looks()
    ward.hands_out()
    assert ward.batches() == [(visit, 1, "settled", 2)]
    assert ward.marks("MZXM0302.DBF") == [(TIME, "00", 1)] * 2
    assert len(ward.reads("MZJS0302.DBF")) == 1


def test_handing_out_may_be_cut_short_between_the_file_and_the_books(ward, monkeypatch):
    visit = ward.registers()
    outgoing = ward.door.outgoing
    with monkeypatch.context() as patch:
        patch.setattr(outgoing, "write", _stopping(outgoing.write))
        with pytest.raises(Stopped):
            ward.hands_out()
    ward.at = AT + timedelta(days=1)
    ward.restart()
    assert ward.hands_out() == 0
    assert [row["JYDJH"] for row in ward.reads("RYDJ0302.DBF")] == [visit]
    assert ward.reads("RYDJ0303.DBF") == []


def test_what_was_not_written_when_it_was_cut_short_is_written_later(ward, monkeypatch):
    visit = ward.registers()
    with monkeypatch.context() as patch:
        patch.setattr(ward.door.outgoing, "write", _stopping(lambda *_, **__: 0))
        with pytest.raises(Stopped):
            ward.hands_out()
    ward.restart()
    assert ward.hands_out() == 1
    assert [row["JYDJH"] for row in ward.reads("RYDJ0302.DBF")] == [visit]


def test_a_registration_the_his_could_not_read_is_exported_again(ward):
    visit = ward.registers()
    ward.hands_out()
    ward.reads("RYDJ0302.DBF", 2)
    ward.looks()
    assert [row.visit_no for row in ward.door.outgoing.refused()] == [visit]
    ward.at = AT + timedelta(days=1)
    ward.looks()
    assert [row["JYDJH"] for row in ward.reads("RYDJ0303.DBF")] == [visit]


def test_a_visit_has_one_unread_result_at_a_time_and_nothing_waits_for_a_flag(ward):
    visit = ward.registers()
    for number in (1, 2, 3):
        ward.delivers(visit, number)
        ward.looks()
        ward.settles(visit, final=number == 3)
        ward.center_answers()
        if number != 2:
            ward.hands_out()
    results = ward.reads("FYJS0302.DBF")
    assert [(row["FYPC"], int(row["DRBZ"])) for row in results] == [(1, 1), (2, 1), (3, 0)]


def test_files_of_a_month_ago_are_put_away_when_everything_in_them_was_read(ward):
    visit = ward.registers(visit_date=DAY - timedelta(days=60))
    old = {"RYRQ": DAY, "FYRQ": DAY - timedelta(days=40)}
    ward.delivers(visit, 1, name="CFXM0115.DBF", **old)
    ward.delivers(visit, 2, name="CFXM0116.DBF", JE=Decimal(1), **old)
    ward.looks()
    ward.at = AT + timedelta(days=1)
    ward.looks()
    assert (ward.folder / "2026" / "CFXM0115.DBF").exists()
    assert (ward.folder / "CFXM0116.DBF").exists()
    assert ward.marks("2026/CFXM0115.DBF") == [(TIME, "00", 1)]


def test_another_day_of_admission_or_another_category_is_a_warning_in_the_list_and_never_in_the_file(ward):
    stay, clinic = ward.registers(), ward.registers(VisitType.OUTPATIENT)
    ward.delivers(stay, 1, RYRQ=DAY - timedelta(days=1))
    ward.delivers(stay, 2, RYRQ=None)
    ward.delivers(stay, 3, FLDM=17)
    ward.delivers(clinic, 1, name="MZXM0302.DBF", RYRQ=DAY - timedelta(days=1), FLDM=0)
    ward.looks()

    assert ward.marks() == [(TIME, "00", 1)] * 3
    found = failed_lines(ward.engine, HOSPITAL, day=DAY, folder=ward.folder)
    assert [(each.visit_no, each.line.line_no, each.codes) for each in found] == [
        (stay, 1, ("W1",)),
        (stay, 3, ("W2",)),
        (clinic, 1, ("W1",)),
    ]
    assert all(each.is_warning for each in found)
    assert failed_lines(ward.engine, HOSPITAL, folder=ward.folder) == []
    assert isinstance(ward.settles(stay), visits.Settling)


def test_a_batch_the_centre_refused_is_told_in_the_folder_until_it_is_sent_again_or_given_up(ward):
    visit = ward.registers()
    ward.delivers(visit, 1)
    ward.looks()
    ward.settles(visit)
    with ward.engine.begin() as connection:
        connection.execute(update(claim).values(state="refused", refusal="entitlement-suspended"))
    ward.looks()

    note = ward.folder / "REFUSED.TXT"
    assert note.read_text(encoding="gb18030") == f"{visit}  费用批次 1  参保人待遇已暂停\n"
    [listed] = failed_lines(ward.engine, HOSPITAL, folder=ward.folder)
    assert (listed.visit_no, listed.reasons, listed.is_warning) == (visit, "参保人待遇已暂停", False)

    visits.give_up(ward.engine, HOSPITAL, visit, 1, at=AT)
    ward.restart()
    ward.looks()
    assert not note.exists()
    ward.delivers(visit, 2)
    ward.looks()
    assert ward.settles(visit).charge_batch_no == 2
    ward.center_answers()
    ward.hands_out()
    assert [(row["FYPC"], row["ZYZJE"]) for row in ward.reads("FYJS0302.DBF")] == [(2, 50)]
