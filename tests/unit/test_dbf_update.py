"""Writing back into a hospital's file: only remarks and flag, only into the records that were read."""

import fcntl
import threading
from datetime import date
from decimal import Decimal

import pytest

from producers.his import dbf
from producers.his.dbf_lock import locked
from producers.his.fields import Field, Layout, layout

LINES = layout("MZXM")
PASSED = {"BZ1": "2025-03-01 12:00:00", "BZ3": "00", "DRBZ": 1}
RECORD = 308


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "MZXM0301.DBF"
    rows = [{"JYDJH": f"V{number}", "XMMC": "诊查费", "JE": Decimal(number), "BZ2": "原备注"} for number in range(1, 6)]
    dbf.write(path, LINES, rows, day=date(2025, 3, 1))
    return path


def overwrite(path, record, code, content):
    """Change a cell as another program would."""
    header = dbf.read(path).header
    with path.open("r+b") as file:
        file.seek(header.record_at(record) + (header.offset(code) if code else 0))
        file.write(content)


def test_only_the_given_columns_of_the_given_records_change(path):
    table, before = dbf.read(path), path.read_bytes()
    dbf.update_in_place(path, {2: PASSED, 5: {"BZ3": "14", "DRBZ": 2}}, as_read=table)

    rows = list(dbf.read(path).rows("BZ1", "BZ2", "BZ3", "DRBZ"))
    untouched = {"BZ1": "", "BZ2": "原备注", "BZ3": "", "DRBZ": None}
    assert rows == [
        untouched,
        {"BZ1": "2025-03-01 12:00:00", "BZ2": "原备注", "BZ3": "00", "DRBZ": 1},
        untouched,
        untouched,
        {"BZ1": "", "BZ2": "原备注", "BZ3": "14", "DRBZ": 2},
    ]
    after = path.read_bytes()
    changed = {at for at in range(len(before)) if before[at] != after[at]}
    second, fifth = table.header.record_at(2), table.header.record_at(5)
    begin, end = table.header.offset("BZ1"), table.header.offset("YPLY")
    assert len(after) == len(before)
    assert changed <= {*range(second + begin, second + end), *range(fifth + begin, fifth + end)}


def test_a_remark_is_taken_away_with_none(path):
    dbf.update_in_place(path, {1: {"BZ2": None}}, as_read=dbf.read(path))
    assert dbf.read(path).texts("BZ2")[:2] == ["", "原备注"]


def test_writing_the_same_twice_changes_nothing(path):
    table = dbf.read(path)
    dbf.update_in_place(path, {1: PASSED}, as_read=table)
    once = path.read_bytes()
    dbf.update_in_place(path, {1: PASSED}, as_read=table)
    assert path.read_bytes() == once


def test_records_keep_their_number_when_others_are_deleted(path):
    overwrite(path, 1, "", b"*")
    table = dbf.read(path)
    dbf.update_in_place(path, dict.fromkeys(table.records, PASSED), as_read=table)
    overwrite(path, 1, "", b" ")
    assert dbf.read(path).numbers("DRBZ") == [None, 1, 1, 1, 1]


@pytest.mark.parametrize("column", ["JE", "YPLY", "JYDJH", "XX"])
def test_other_columns_are_theirs(path, column):
    before = path.read_bytes()
    with pytest.raises(dbf.ColumnIsTheirs, match=column) as refused:
        dbf.update_in_place(path, {1: PASSED, 2: {column: "1"}}, as_read=dbf.read(path))
    assert refused.value.message_zh.endswith(f"不能回写：{column}")
    assert path.read_bytes() == before


def test_a_file_without_remark_columns_takes_no_remarks(tmp_path):
    path = tmp_path / "T.DBF"
    dbf.write(path, Layout("T", (Field("DRBZ", "N", 1),)), [{}], day=date(2025, 3, 1))
    table = dbf.read(path)
    dbf.update_in_place(path, {1: {"DRBZ": 2}}, as_read=table)
    assert dbf.read(path).numbers("DRBZ") == [2]
    with pytest.raises(dbf.ColumnIsTheirs, match="BZ3"):
        dbf.update_in_place(path, {1: {"BZ3": "00"}}, as_read=table)


@pytest.mark.parametrize(
    ("changes", "misfit"),
    [
        pytest.param({"BZ3": "过长的备注过长的备注过"}, dbf.Misfit.LENGTH, id="22 bytes in 20"),
        pytest.param({"DRBZ": 1000}, dbf.Misfit.OVERFLOW, id="four digits in three"),
        pytest.param({"DRBZ": "1"}, dbf.Misfit.KIND, id="a text as flag"),
    ],
)
def test_one_misfit_and_nothing_is_written(path, changes, misfit):
    before = path.read_bytes()
    with pytest.raises(dbf.DoesNotFit) as refused:
        dbf.update_in_place(path, {1: PASSED, 3: changes}, as_read=dbf.read(path))
    assert (refused.value.record, refused.value.misfit) == (3, misfit)
    assert path.read_bytes() == before


# The file may have changed since it was read: no flag may land on a line that nobody checked.


@pytest.mark.parametrize(
    ("code", "content"),
    [
        pytest.param("JE", b"          9.99", id="another amount"),
        pytest.param("YPLY", b"3", id="a column behind the flag"),
        pytest.param("", b"*", id="deleted meanwhile"),
    ],
)
def test_a_record_changed_since_it_was_read_is_refused(path, code, content):
    table = dbf.read(path)
    overwrite(path, 3, code, content)
    before = path.read_bytes()
    with pytest.raises(dbf.RecordsChanged) as refused:
        dbf.update_in_place(path, dict.fromkeys(table.records, PASSED), as_read=table)
    assert refused.value.records == (3,)
    assert refused.value.message_zh == ("MZXM0301.DBF：第3条记录（共1条）读入后已被修改，未回写，请重新读入")
    assert path.read_bytes() == before


def test_a_changed_record_does_not_bar_the_others(path):
    table = dbf.read(path)
    overwrite(path, 3, "JE", b"          9.99")
    dbf.update_in_place(path, {2: PASSED, 4: PASSED}, as_read=table)
    assert dbf.read(path).numbers("DRBZ") == [None, 1, None, 1, None]


def test_a_remark_the_hospital_wrote_meanwhile_stays(path):
    table = dbf.read(path)
    overwrite(path, 2, "BZ2", "新备注".encode("gb18030"))
    dbf.update_in_place(path, {2: PASSED}, as_read=table)
    assert dbf.read(path).texts("BZ2")[1] == "新备注"


def test_records_added_meanwhile_do_not_disturb(path):
    table = dbf.read(path)
    dbf.append(path, LINES, [{"JYDJH": "V6"}], day=date(2025, 3, 1))
    dbf.update_in_place(path, {5: PASSED}, as_read=table)
    assert dbf.read(path).numbers("DRBZ") == [None, None, None, None, 1, None]
    with pytest.raises(dbf.RecordsChanged):
        dbf.update_in_place(path, {6: PASSED}, as_read=table)


@pytest.mark.parametrize("record", [0, -1, 6])
def test_a_record_number_the_file_does_not_have_is_refused(path, record):
    with pytest.raises(dbf.RecordsChanged):
        dbf.update_in_place(path, {record: PASSED}, as_read=dbf.read(path))


def test_a_file_put_in_its_place_meanwhile_is_not_touched(path):
    table = dbf.read(path)
    path.unlink()
    dbf.write(path, layout("CYDJ"), [{"JYDJH": "V1"}] * 5, day=date(2025, 3, 1))
    before = path.read_bytes()
    with pytest.raises(dbf.RecordsChanged):
        dbf.update_in_place(path, {1: PASSED}, as_read=table)
    assert path.read_bytes() == before


def test_the_same_bytes_under_other_column_names_are_not_the_record_that_was_read(tmp_path):
    path = tmp_path / "T.DBF"
    price, amount, flag = Field("JG", "N", 8, 2), Field("JE", "N", 8, 2), Field("DRBZ", "N", 1)
    dbf.write(path, Layout("T", (price, amount, flag)), [{"JG": 1, "JE": 2}], day=date(2025, 3, 1))
    table = dbf.read(path)
    path.unlink()
    dbf.write(path, Layout("T", (amount, price, flag)), [{"JE": 1, "JG": 2}], day=date(2025, 3, 1))
    with pytest.raises(dbf.RecordsChanged):
        dbf.update_in_place(path, {1: {"DRBZ": 1}}, as_read=table)


def test_a_record_that_was_not_counted_yet_has_not_been_read(path):
    counted = path.read_bytes()
    path.write_bytes(counted[:4] + bytes([4]) + counted[5:])
    table = dbf.read(path)
    assert table.surplus_bytes == RECORD + 1
    path.write_bytes(counted)
    with pytest.raises(dbf.RecordsChanged):
        dbf.update_in_place(path, {5: PASSED}, as_read=table)


def test_a_file_torn_meanwhile_is_not_touched(path):
    table = dbf.read(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-RECORD])
    with pytest.raises(dbf.IncompleteFile):
        dbf.update_in_place(path, {1: PASSED}, as_read=table)
    assert path.read_bytes() == whole[:-RECORD]


# The lock.


def test_a_file_others_hold_is_busy(path):
    with locked(path), pytest.raises(dbf.FileBusy) as refused, locked(path, tries=2):
        pass
    assert isinstance(refused.value, dbf.NotYet)
    assert refused.value.message_zh == "MZXM0301.DBF：文件正被其他程序占用，稍后重试"


def test_the_record_lock_of_a_file_server_is_respected(path):
    with path.open("r+b") as theirs:
        fcntl.lockf(theirs, fcntl.LOCK_EX)
        with pytest.raises(dbf.FileBusy), locked(path, tries=1):
            pass


def test_reading_the_file_elsewhere_in_the_process_does_not_give_the_lock_away(path):
    with locked(path):
        dbf.read(path)
        with pytest.raises(dbf.FileBusy), locked(path, tries=1):
            pass


def test_an_update_waits_for_the_lock(path):
    table, release = dbf.read(path), threading.Event()
    held = threading.Event()

    def hold():
        with locked(path):
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    threading.Timer(0.1, release.set).start()
    dbf.update_in_place(path, {1: PASSED}, as_read=table)
    assert release.is_set()
    holder.join()
    assert dbf.read(path).numbers("DRBZ")[0] == 1


def test_whoever_waited_gets_the_file_that_has_the_name_now(path):
    table, replaced = dbf.read(path), threading.Event()
    held = threading.Event()
    copy = path.with_suffix(".NEW")
    copy.write_bytes(path.read_bytes())

    def replace():
        with locked(path):
            held.set()
            replaced.wait()
            copy.rename(path)

    holder = threading.Thread(target=replace)
    holder.start()
    held.wait()
    threading.Timer(0.1, replaced.set).start()
    dbf.update_in_place(path, {1: PASSED}, as_read=table)
    holder.join()
    assert dbf.read(path).numbers("DRBZ")[0] == 1
