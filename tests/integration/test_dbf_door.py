"""The DBF door on a real folder and a real front-end database: nothing twice, nothing lost, whenever it stops."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal

import pytest
import redis
from sqlalchemy import insert, select, update

from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals
from infra import lanes, metrics
from infra.clock import SHANGHAI, Clock
from infra.codec import unpack
from infra.reference import catalogue_row
from infra.settings import Settings
from producers.his import dbf, importer, watcher
from producers.his.door import PATIENCE_LOOKS, Door
from producers.his.exchange import DbfExchange
from producers.his.fields import layout
from tests.support.frontend import HOSPITAL, PERSON, new_frontend, published, shelf
from workers.deliver import record_answers
from workers.desk import preprocess
from workers.tables import claim, institution, reference
from workers.tasks import Frontend

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 2, 9, 30, 5, tzinfo=SHANGHAI)
TIME = "2026-03-02 09:30:05"
REGISTRATIONS, LINES, RESULTS = "MZDJ0302.DBF", "MZXM0302.DBF", "MZJS0302.DBF"


class Hospital:
    """One hospital's exchange folder with the front-end behind it, and the centre played by the test."""

    def __init__(self, folder) -> None:
        self.root = folder / "exchange"
        self.folder = self.root / HOSPITAL
        self.folder.mkdir(parents=True)
        self.url = f"sqlite:///{folder / 'frontend.db'}"
        self.engine = new_frontend(self.url, HOSPITAL)
        self.shelf = shelf()
        self.restart()

    def restart(self) -> None:
        """The watcher's process ends, and another one begins with nothing in its memory."""
        self.door = Door(self.folder, HOSPITAL)

    # The hospital

    def registers(self, *visits: str) -> None:
        row = {"YYBH": HOSPITAL, "GMSFHM": PERSON, "XM": "测试人", "JZLB": "3", "RYRQ": DAY, "DRBZ": 0}
        dbf.append(self.folder / REGISTRATIONS, layout("MZDJ"), [{**row, "JYDJH": visit} for visit in visits], day=DAY)

    def delivers(self, visit: str, *numbers: int, **change: object) -> None:
        row = {
            "JYDJH": visit, "YYBH": HOSPITAL, "GMSFHM": PERSON, "RYRQ": DAY, "FYRQ": DAY, "XMBH": "L001",
            "XMMC": "阿莫西林胶囊", "FLDM": 1, "JG": Decimal("12.50"), "MCYL": Decimal(2), "JE": Decimal("25.00"),
            "DRBZ": 0,
        }  # fmt: skip
        rows = [{**row, "XMXH": number, **change} for number in numbers or (1, 2)]
        dbf.append(self.folder / LINES, layout("MZXM"), rows, day=DAY)

    def corrects(self, record: int, **columns: bytes) -> None:
        path = self.folder / LINES
        header, content = dbf.read(path).header, bytearray(path.read_bytes())
        for code, value in columns.items():
            field = next(field for field in header.fields if field.code == code)
            at = header.record_at(record) + header.offset(code)
            content[at : at + field.width] = value.rjust(field.width)
        path.write_bytes(content)

    def marks(self) -> list[tuple[str, str, int]]:
        """BZ1, BZ3 and DRBZ of every line."""
        table = dbf.read(self.folder / LINES)
        return [(row["BZ1"], row["BZ3"], int(row["DRBZ"])) for row in table.rows("BZ1", "BZ3", "DRBZ")]

    def results(self) -> list[tuple[str, int, Decimal]]:
        """Visit, batch and total of every result."""
        path = self.folder / RESULTS
        if not path.exists():
            return []
        return [(row["JYDJH"], int(row["FYPC"]), row["ZYZJE"]) for row in dbf.read(path).rows()]

    # The front-end and the centre

    def imports(self) -> importer.ImportReport:
        return importer.take_in(self.engine, self.door.exchange, at=AT)

    def checks(self) -> None:
        preprocess(self.engine, self.shelf, HOSPITAL, limit=1000, at=AT, now=0.0)

    def settles(self, refusal: str = "") -> None:
        with self.engine.begin() as connection:
            waiting = connection.execute(select(claim.c.totals).where(claim.c.state == ClaimState.TOTALLED)).scalars()
            totals = [unpack(packed, ClaimTotals) for packed in waiting]
            record_answers(connection, ClaimsAnswered(answers=tuple(_answer(each, refusal) for each in totals)), at=AT)

    def hands_back(self) -> int:
        return watcher.hand_back(self.engine, {HOSPITAL: self.door}, at=AT)

    def whole_round(self, refusal: str = "") -> None:
        self.imports()
        self.checks()
        self.settles(refusal)
        self.hands_back()

    def claims(self) -> list[tuple[str, int, str, int]]:
        with self.engine.connect() as connection:
            rows = connection.execute(
                select(claim.c.visit_no, claim.c.charge_batch_no, claim.c.state, claim.c.line_count).order_by(
                    claim.c.claim_id
                )
            )
            return [tuple(row) for row in rows]


def _answer(totals: ClaimTotals, refusal: str) -> ClaimAnswer:
    if refusal:
        return ClaimAnswer(totals.visit_no, totals.charge_batch_no, refusal)
    return ClaimAnswer(
        totals.visit_no,
        totals.charge_batch_no,
        settlement_no=1,
        fund_pay_fen=totals.in_scope_fen * 8 // 10,
        self_pay_fen=totals.in_scope_fen - totals.in_scope_fen * 8 // 10,
        settled_at=AT,
    )


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path)


def test_a_visit_goes_in_and_its_result_comes_back(hospital):
    hospital.registers("V1")
    hospital.delivers("V1")
    hospital.whole_round()

    assert hospital.claims() == [("V1", 1, "settled", 2)]
    assert hospital.marks() == [(TIME, "00", 1)] * 2
    assert hospital.results() == [("V1", 1, Decimal("50.00"))]


def test_reading_again_imports_nothing_whoever_reads(hospital):
    hospital.registers("V1", "V2")
    hospital.delivers("V1")
    hospital.delivers("V2")
    assert hospital.imports().accepted == 2
    assert hospital.imports().accepted == 0
    hospital.restart()
    report = hospital.imports()
    assert (report.accepted, report.known) == (0, 2)
    hospital.checks()
    hospital.settles()
    hospital.hands_back()
    for _ in range(2):
        hospital.restart()
        hospital.whole_round()

    assert [row[:2] for row in hospital.claims()] == [("V1", 1), ("V2", 1)]
    assert len(hospital.results()) == 2


def test_a_returned_visit_is_corrected_and_read_again_as_the_next_batch(hospital):
    hospital.registers("V1")
    hospital.delivers("V1", 1)
    hospital.delivers("V1", 2, JE=Decimal("25.01"))
    hospital.whole_round()
    assert hospital.marks() == [("", "00", 0), ("", "14", 2)]
    assert hospital.results() == []

    hospital.corrects(2, JE=b"25.00")
    hospital.whole_round()

    assert hospital.claims() == [("V1", 1, "returned", 2), ("V1", 2, "settled", 2)]
    assert hospital.marks() == [(TIME, "00", 1)] * 2
    assert hospital.results() == [("V1", 2, Decimal("50.00"))]


def test_rows_put_back_to_unread_are_checked_again_after_the_match_was_audited(hospital):
    hospital.registers("V1")
    hospital.delivers("V1", 1, XMBH="L999")
    hospital.whole_round()
    hospital.restart()
    hospital.whole_round()
    assert hospital.marks() == [("", "06", 2)]

    known = published([HOSPITAL], "catalogue-2")
    also = known.matches[0]._replace(local_item_code="L999")
    with hospital.engine.begin() as connection:
        connection.execute(update(reference).where(reference.c.kind == "catalogue").values(in_force=False))
        published_now = type(known)(version="catalogue-2", items=known.items, matches=(*known.matches, also))
        connection.execute(insert(reference).values(catalogue_row(published_now)))
    hospital.corrects(1, BZ3=b"", DRBZ=b"0")
    hospital.whole_round()

    assert [row[2] for row in hospital.claims()] == ["returned", "settled"]
    assert hospital.marks() == [(TIME, "00", 1)]


def test_lines_delivered_once_more_are_not_paid_once_more(hospital):
    hospital.registers("V1")
    hospital.delivers("V1")
    hospital.whole_round()
    hospital.delivers("V1")
    hospital.whole_round()

    assert len(hospital.claims()) == 1
    assert hospital.marks() == [(TIME, "00", 1)] * 4


def test_lines_that_stand_twice_in_one_delivery_are_paid_once(hospital):
    hospital.registers("V1")
    hospital.delivers("V1", 1, 2, 1, 2)
    for _ in range(2):
        hospital.whole_round()

    assert hospital.claims() == [("V1", 1, "settled", 2)]
    assert hospital.marks() == [(TIME, "00", 1)] * 4


def test_lines_that_stand_twice_in_a_returned_visit_stay_unread(hospital):
    hospital.registers("V1")
    hospital.delivers("V1", 1, 1, JE=Decimal("1.00"))
    for _ in range(3):
        hospital.whole_round()

    assert hospital.claims() == [("V1", 1, "returned", 1)]
    assert hospital.marks() == [("", "14", 2), ("", "", 0)]


def test_an_imported_line_number_with_other_content_is_94(hospital):
    hospital.registers("V1")
    hospital.delivers("V1")
    hospital.whole_round()
    hospital.delivers("V1", 2, 3, MCYL=Decimal(3), JE=Decimal("37.50"))
    hospital.whole_round()

    assert len(hospital.claims()) == 1
    assert hospital.marks()[2:] == [("", "94", 2), ("", "00", 0)]


def test_more_lines_of_a_settled_visit_are_its_next_batch(hospital):
    hospital.registers("V1")
    hospital.delivers("V1", 1)
    hospital.whole_round()
    hospital.delivers("V1", 1, 2)
    hospital.whole_round()
    hospital.whole_round()

    assert hospital.claims() == [("V1", 1, "settled", 1), ("V1", 2, "settled", 1)]
    assert hospital.results() == [("V1", 1, Decimal("25.00")), ("V1", 2, Decimal("25.00"))]


def test_lines_added_while_the_visit_is_under_way_wait_for_their_turn(hospital):
    hospital.registers("V1")
    hospital.delivers("V1", 1)
    hospital.imports()
    hospital.delivers("V1", 2)
    hospital.restart()
    assert hospital.imports().postponed == 1

    for _ in range(3):
        hospital.whole_round()
    assert [row[:3] for row in hospital.claims()] == [("V1", 1, "settled"), ("V1", 2, "settled")]
    assert {mark[1:] for mark in hospital.marks()} == {("00", 1)}


def test_an_unknown_visit_is_90_at_once_and_no_claim(hospital):
    hospital.registers("V1")
    hospital.delivers("V1")
    hospital.delivers("V9")
    report = hospital.imports()

    assert (report.accepted, dict(report.refused)) == (1, {"90": 1})
    assert [mark[1:] for mark in hospital.marks()] == [("", 0), ("", 0), ("90", 2), ("90", 2)]


def test_door_codes_come_back_like_any_other(hospital):
    hospital.registers("V1", "V2")
    hospital.delivers("V1", 1, YYBH="440100000009")
    hospital.delivers("V1", 2)
    hospital.delivers("V2", 0)
    hospital.whole_round()

    assert [mark[1:] for mark in hospital.marks()] == [("92", 2), ("00", 0), ("96", 2)]


def test_a_visit_of_another_institution_is_92(hospital):
    hospital.registers("V1")
    dbf.append(
        hospital.folder / REGISTRATIONS,
        layout("MZDJ"),
        [{"JYDJH": "V2", "YYBH": "440100000009", "GMSFHM": PERSON, "JZLB": "3", "RYRQ": DAY}],
        day=DAY,
    )
    hospital.delivers("V2", 1)
    assert dict(hospital.imports().refused) == {"92": 1}


def test_what_the_centre_refused_says_so_in_words(hospital):
    hospital.registers("V1")
    hospital.delivers("V1", 1)
    hospital.whole_round("person-unknown")

    [row] = dbf.read(hospital.folder / LINES).rows("BZ2", "BZ3", "DRBZ")
    assert (row["BZ2"], row["BZ3"], int(row["DRBZ"])) == ("中心无此参保人", "00", 1)
    assert hospital.results() == []


def test_a_full_backlog_leaves_the_rest_for_later(hospital):
    with hospital.engine.begin() as connection:
        connection.execute(update(institution).values(backlog_cap=1))
    hospital.registers("V1", "V2")
    hospital.delivers("V1", 1)
    hospital.delivers("V2", 1)
    report = hospital.imports()
    assert (report.accepted, report.postponed) == (1, 1)

    hospital.checks()
    hospital.settles()
    hospital.whole_round()
    assert [row[:3] for row in hospital.claims()] == [("V1", 1, "settled"), ("V2", 1, "settled")]


class Stopped(Exception):
    """The process was killed here."""


def _stopping(method):
    def stopped(*arguments, **named):
        method(*arguments, **named)
        raise Stopped

    return stopped


@pytest.mark.parametrize("after", ["nothing", "the results", "the marks"])
def test_handing_back_may_be_cut_short_anywhere(hospital, after, monkeypatch):
    hospital.registers("V1", "V2")
    hospital.delivers("V1")
    hospital.delivers("V2", 1, JE=Decimal("1.00"))
    hospital.imports()
    hospital.checks()
    hospital.settles()

    exchange, outgoing = hospital.door.exchange, hospital.door.outgoing
    if after == "the results":
        monkeypatch.setattr(outgoing, "write", _stopping(outgoing.write))
    if after == "the marks":
        monkeypatch.setattr(exchange, "answer", _stopping(exchange.answer))
    if after != "nothing":
        with pytest.raises(Stopped):
            hospital.hands_back()
    hospital.restart()
    hospital.whole_round()

    assert hospital.results() == [("V1", 1, Decimal("50.00"))]
    assert hospital.marks() == [(TIME, "00", 1), (TIME, "00", 1), ("", "14", 2)]
    assert hospital.hands_back() == 0


def test_accepting_may_be_cut_short_too(hospital, monkeypatch):
    hospital.registers("V1")
    hospital.delivers("V1")
    monkeypatch.setattr(importer, "accept", _stopping(importer.accept))
    with pytest.raises(Stopped):
        hospital.imports()
    monkeypatch.undo()
    hospital.restart()
    hospital.whole_round()
    assert hospital.claims() == [("V1", 1, "settled", 2)]


def test_import_file_takes_one_file_and_no_other(hospital):
    hospital.registers("V1", "V2")
    hospital.delivers("V1")
    (hospital.folder / LINES).rename(hospital.folder / "MZXM0301.DBF")
    hospital.delivers("V2")
    report = importer.import_file(hospital.engine, hospital.folder / LINES, institution_code=HOSPITAL, at=AT)
    assert report.accepted == 1
    assert [row[0] for row in hospital.claims()] == ["V2"]
    report = importer.take_in(hospital.engine, DbfExchange(hospital.folder, HOSPITAL), at=AT)
    assert (report.accepted, report.known) == (1, 1)


def test_a_note_in_chinese_lies_beside_a_file_that_cannot_be_read_until_it_can(hospital):
    hospital.registers("V1")
    hospital.delivers("V1")
    good = (hospital.folder / LINES).read_bytes()
    (hospital.folder / LINES).write_bytes(b"PK\x03\x04")
    watcher.look(hospital.engine, hospital.door, at=AT)
    note = hospital.folder / f"{LINES}.txt"
    assert note.read_text(encoding="gb18030") == f"{TIME} MZXM0302.DBF：不是DBF文件\n"

    (hospital.folder / LINES).write_bytes(good)
    watcher.look(hospital.engine, hospital.door, at=AT)
    assert not note.exists()
    assert len(hospital.claims()) == 1


def test_an_incomplete_file_is_waited_for_before_anybody_is_told(hospital):
    hospital.registers("V1")
    hospital.delivers("V1")
    (hospital.folder / LINES).write_bytes((hospital.folder / LINES).read_bytes()[:-9])
    note = hospital.folder / f"{LINES}.txt"
    for _ in range(PATIENCE_LOOKS):
        watcher.look(hospital.engine, hospital.door, at=AT)
    assert not note.exists()
    watcher.look(hospital.engine, hospital.door, at=AT)
    assert "可能仍在写入" in note.read_text(encoding="gb18030")


@contextmanager
def watching(hospital, tmp_path, broker_url):
    """A watcher that runs beside the test."""
    (tmp_path / "key").write_text("01" * 32)
    settings = Settings(
        frontend="hospital-a",
        frontend_database_url=hospital.url,
        center_broker_url=broker_url,
        frontend_key_file=tmp_path / "key",
        exchange_dir=hospital.root,
        clock=Clock(AT, time.time(), 1.0).written(),
    )
    frontend = Frontend(settings)
    stop = threading.Event()
    thread = threading.Thread(target=watcher.watch, args=(frontend, hospital.root), kwargs={"stop": stop})
    thread.start()
    try:
        yield frontend
    finally:
        stop.set()
        thread.join()
        frontend.engine.dispose()


def test_the_watcher_serves_rings_the_bell_and_works_alone(hospital, tmp_path, valkey_url):
    with watching(hospital, tmp_path, valkey_url) as frontend:
        hospital.registers("V1")
        hospital.delivers("V1")
        _until(hospital.claims)
        with redis.Redis.from_url(valkey_url) as client:
            _until(lambda: client.llen(lanes.preprocess("hospital-a", HOSPITAL)) == 1)
            client.delete(lanes.preprocess("hospital-a", HOSPITAL))
        with pytest.raises(watcher.AnotherWatcher):
            watcher.watch(frontend, hospital.root, stop=threading.Event())
        hospital.checks()
        hospital.settles()
        _until(hospital.results)
        _until(lambda: {flag for *_, flag in hospital.marks()} == {1})
        assert watcher.is_watched(hospital.root)
        _until(lambda: 'jiesuan_claims_total{channel="dbf",outcome="settled"}' in metrics.page().decode())
        page = metrics.page().decode()
        assert 'jiesuan_claims_total{channel="dbf",outcome="accepted"}' in page
        assert f'jiesuan_exchange_folder_up{{tenant="{HOSPITAL}"}} 1.0' in page
        assert f'jiesuan_exchange_rows_refused{{tenant="{HOSPITAL}"}} 0.0' in page
    assert not watcher.is_watched(hospital.root)


def test_a_share_that_vanishes_under_the_watcher_gets_its_results_when_it_is_back(hospital, tmp_path, valkey_url):
    hospital.registers("V1")
    hospital.delivers("V1")
    away = hospital.folder.with_name("away")
    with watching(hospital, tmp_path, valkey_url):
        _until(hospital.claims)
        hospital.folder.rename(away)
        hospital.folder.mkdir()  # the mount point without its share
        _until(lambda: f'jiesuan_exchange_folder_up{{tenant="{HOSPITAL}"}} 0.0' in metrics.page().decode())
        hospital.checks()
        hospital.settles()
        time.sleep(0.5)
        assert list(hospital.folder.iterdir()) == []
        hospital.folder.rmdir()
        away.rename(hospital.folder)
        _until(hospital.results)
        _until(lambda: {flag for *_, flag in hospital.marks()} == {1})


def _until(what, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
