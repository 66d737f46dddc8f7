"""The files of an exchange folder: which day each is of, whatever the year, and where old ones go."""

import os
from datetime import date, datetime, timedelta

import pytest

from infra.clock import SHANGHAI
from producers.his import dbf, folder
from producers.his.dbf_lock import locked
from producers.his.fields import FILES, layout

TODAY = date(2026, 3, 2)


def begin(path, day, *, rows=()):
    """A file begun and last written on a day, as its header and the file system say."""
    dbf.write(path, layout("MZXM"), rows, day=day)
    touch(path, day)


def touch(path, day):
    moment = datetime(day.year, day.month, day.day, 12, tzinfo=SHANGHAI).timestamp()
    os.utime(path, (moment, moment))


@pytest.mark.parametrize("kind", FILES)
def test_each_of_the_seven_is_found_by_its_name_and_no_other(tmp_path, kind):
    for name in (f"{kind}0302.DBF", f"{kind.lower()}0301.dbf", f"{kind}302.DBF", f"{kind}0302.DBF.txt", "MZXX0302.DBF"):
        (tmp_path / name).touch()
    assert {path.name for path in folder.files_of(tmp_path, kind)} == {f"{kind}0302.DBF", f"{kind.lower()}0301.dbf"}
    assert [folder.files_of(tmp_path, other) for other in FILES if other != kind] == [[]] * 6


def test_a_folder_that_is_not_there_has_no_files(tmp_path):
    assert folder.files_of(tmp_path / "away", "MZXM") == []


@pytest.mark.parametrize(
    ("name", "written", "today", "day"),
    [
        pytest.param("MZXM0302.DBF", date(2026, 3, 2), TODAY, date(2026, 3, 2), id="today"),
        pytest.param("MZXM1230.DBF", date(2025, 12, 30), date(2026, 1, 2), date(2025, 12, 30), id="before New Year"),
        pytest.param(
            "MZXM1230.DBF", date(2026, 1, 2), date(2026, 1, 3), date(2025, 12, 30), id="marked after New Year"
        ),
        pytest.param("MZXM0302.DBF", date(2025, 3, 2), TODAY, date(2025, 3, 2), id="left since last year"),
        pytest.param("MZXM0302.DBF", date(2025, 3, 9), TODAY, date(2025, 3, 2), id="left, and marked a week after"),
        pytest.param("MZXM0303.DBF", TODAY, TODAY, date(2026, 3, 3), id="a hospital whose clock is ahead"),
        pytest.param("MZXM0229.DBF", date(2024, 2, 29), TODAY, date(2024, 2, 29), id="the last leap day"),
        pytest.param("MZXM0101.DBF", date(2025, 12, 31), date(2025, 12, 31), date(2026, 1, 1), id="ahead at New Year"),
        pytest.param("MZXM0230.DBF", TODAY, TODAY, None, id="no day of the calendar"),
    ],
)
def test_the_day_in_a_name_has_the_year_in_which_it_was_written(tmp_path, name, written, today, day):
    begin(tmp_path / name, written)
    assert folder.day_of(tmp_path / name, today=today) == day


def test_a_header_without_a_century_is_of_this_one(tmp_path):
    path = tmp_path / "MZXM0302.DBF"
    begin(path, TODAY)
    with path.open("r+b") as file:
        file.seek(1)
        file.write(bytes((26, 3, 2)))  # 1926 by the letter
    touch(path, date(2025, 3, 2))
    assert folder.day_of(path, today=TODAY) == TODAY


def test_what_stayed_four_weeks_is_old_and_what_stayed_less_is_not(tmp_path):
    for age in (0, 27, 28, 29, 400):
        day = TODAY - timedelta(days=age)
        begin(tmp_path / f"MZXM{day:%m%d}.DBF", day)
    assert {(TODAY - file.day).days for file in folder.old_files(tmp_path, today=TODAY)} == {28, 29, 400}


def test_a_file_is_put_away_by_its_year_and_never_over_another(tmp_path):
    for number in range(3):
        begin(tmp_path / "MZXM0302.DBF", TODAY, rows=[{"XMXH": number + 1}])
        folder.put_away(tmp_path / "MZXM0302.DBF", 2026)
    kept = sorted((tmp_path / "2026").iterdir())
    assert [path.name for path in kept] == ["MZXM0302-2.DBF", "MZXM0302-3.DBF", "MZXM0302.DBF"]
    assert [int(dbf.read(path).numbers("XMXH")[0]) for path in kept] == [2, 3, 1]
    assert folder.files_of(tmp_path, "MZXM") == []


def test_putting_away_goes_on_where_it_was_cut_short(tmp_path):
    begin(tmp_path / "MZXM0302.DBF", TODAY)
    (tmp_path / "2026").mkdir()
    os.link(tmp_path / "MZXM0302.DBF", tmp_path / "2026" / "MZXM0302.DBF")
    assert folder.put_away(tmp_path / "MZXM0302.DBF", 2026).name == "MZXM0302.DBF"
    assert [path.name for path in (tmp_path / "2026").iterdir()] == ["MZXM0302.DBF"]


def test_a_file_somebody_holds_stays(tmp_path):
    begin(tmp_path / "MZXM0302.DBF", TODAY)
    with locked(tmp_path / "MZXM0302.DBF"), pytest.raises(dbf.FileBusy):
        folder.put_away(tmp_path / "MZXM0302.DBF", 2026)
    assert (tmp_path / "MZXM0302.DBF").exists()


def test_records_of_this_year_never_go_into_the_file_of_the_last(tmp_path):
    begin(tmp_path / "MZXM0302.DBF", date(2025, 3, 2))
    path = folder.file_of_day(tmp_path, "MZXM", TODAY)
    assert path == tmp_path / "MZXM0302.DBF"
    assert not path.exists()
    assert (tmp_path / "2025" / "MZXM0302.DBF").exists()


def test_a_file_that_a_share_calls_in_lower_case_is_the_file_of_the_day(tmp_path):
    begin(tmp_path / "mzxm0302.dbf", TODAY)
    assert folder.file_of_day(tmp_path, "MZXM", TODAY).name == "mzxm0302.dbf"
