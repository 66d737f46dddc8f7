"""The ledger's chains on a real PostgreSQL: what is hashed is what is stored, and nothing is changed unseen."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError

from center import privileges
from center.ledger import audit, chain, documents
from center.ledger.export import ExportedHead, NotAnExport, export, exported, is_exported
from center.ledger.layouts import NEWEST, stored
from center.ledger.nightly import readings, verify_nightly
from center.ledger.verifying import What, verify
from center.partitions import Place, first_number, prepare
from center.settling.records import cursor_of
from center.settling.settle import settle_submitted
from city import cli
from city.commands.doctor import _chains, _privileges
from infra.settings import Settings
from tests.support.center import AT, CLINIC, HOSPITAL, first, rows_of, submitted, synthetic_citizen_id, totals
from tests.support.center import FRONTEND as OURS
from tests.tampering import fill_ledger, missed


@pytest.fixture(scope="module")
def books(center_engine):
    """A ledger with settlements, other documents and audit."""
    fill_ledger(center_engine)
    return center_engine


@pytest.fixture
def tampered(books, owner_engine):
    """Run SQL with all rights and no triggers; what it changes is changed back."""
    undo = []

    def run(statement, back):
        undo.append(back)
        _unguarded(owner_engine, statement)

    yield run
    for back in reversed(undo):
        _unguarded(owner_engine, back)
    assert verify(books).tamperings == ()


def _unguarded(engine, statement):
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement))


def test_everything_settled_posted_and_noted_is_linked_as_it_is_stored(books):
    told = verify(books)

    assert told.tamperings == ()
    assert told.chains == 3
    numbers = "SELECT (SELECT count(*) FROM settlement) + (SELECT count(*) FROM ledger_document)"
    noted = "SELECT count(*) FROM audit"
    assert told.documents == first(rows_of(books, numbers)) + first(rows_of(books, noted))


def test_the_bytes_that_were_hashed_before_they_were_copied_are_those_that_are_stored(books):
    ((number, digests, documents_),) = rows_of(
        books,
        "SELECT documents[1], digests, documents FROM chain_link WHERE kind = 'ledger'"
        " AND documents[1] IN (SELECT settlement_no FROM settlement) ORDER BY cardinality(documents) DESC LIMIT 1",
    )
    assert len(documents_) > 1
    with books.connect() as connection:
        there = stored(cursor_of(connection), NEWEST, "ledger", documents_)

    assert number in there
    assert b"".join(there[each].digest for each in documents_) == bytes(digests)


@pytest.mark.parametrize(
    ("change", "back", "what"),
    [
        pytest.param("total_fen = total_fen + 1, own_pay_fen = own_pay_fen + 1, own_expense_fen = own_expense_fen + 1",
                     "total_fen = total_fen - 1, own_pay_fen = own_pay_fen - 1, own_expense_fen = own_expense_fen - 1",
                     What.EDITED, id="a fen that keeps every identity"),
        pytest.param("settled_at = settled_at + interval '1 microsecond'",
                     "settled_at = settled_at - interval '1 microsecond'", What.EDITED, id="a microsecond"),
    ],
)  # fmt: skip
def test_an_edited_settlement_is_named_with_its_institution_and_link(books, tampered, change, back, what):
    ((code, link_no, number),) = rows_of(
        books,
        "SELECT institution_code, link_no, documents[1] FROM chain_link WHERE institution_code = :code"
        " AND documents[1] IN (SELECT settlement_no FROM settlement) AND kind = 'ledger' ORDER BY link_no DESC LIMIT 1",
        code=HOSPITAL,
    )
    where = f"WHERE settlement_no = {number}"
    tampered(f"UPDATE settlement SET {change} {where}", f"UPDATE settlement SET {back} {where}")

    assert verify(books).tamperings == ((what, code, link_no, number, "ledger"),)
    assert verify(books, institution_codes=[CLINIC]).tamperings == ()
    assert verify(books, institution_codes=[HOSPITAL]).tamperings != ()


def test_a_chain_written_anew_is_found_by_the_head_that_left_before(books, owner_engine, tmp_path):
    with books.begin() as connection:
        path = export(connection, tmp_path, at=AT)
    assert is_exported(tmp_path, AT.date())
    assert not is_exported(tmp_path, AT.date() + timedelta(days=1))
    heads = exported(tmp_path).heads
    assert heads == exported(path).heads
    assert verify(books, exported=heads).tamperings == ()

    code, head, _ = heads[0]
    forged = [
        ExportedHead(code, chain.Head(head.link_no, bytes(32)), AT),
        ExportedHead(CLINIC, chain.Head(10_000, bytes(32)), AT),
    ]
    found = verify(books, exported=forged).tamperings
    assert found == (
        (What.REWRITTEN, code, head.link_no, 0, "audit"),
        (What.REWRITTEN, CLINIC, 10_000, 0, "ledger"),
    )


def test_heads_of_what_a_restore_had_lost_are_told_and_are_no_forgery(books, owner_engine):
    """Exported between the backup and the loss. The life that was lost excuses those heads only."""
    ((code, link_no, made_at),) = rows_of(
        books, "SELECT institution_code, link_no, made_at FROM chain_link WHERE kind = 'ledger' LIMIT 1"
    )
    since, began = made_at + timedelta(hours=1), made_at + timedelta(hours=9)
    _unguarded(
        owner_engine,
        "INSERT INTO epoch (epoch, began_at, since, high_water_no, first_no, archive, begun_by, reason)"
        f" VALUES (2, '{began.isoformat()}', '{since.isoformat()}', 1, 2, '', 'office', 'test')",
    )

    def verified(link, at):
        told = verify(books, exported=[ExportedHead(code, chain.Head(link, bytes(32)), at)])
        return [one.what for one in told.tamperings], told.heads, told.lost

    lost = since + timedelta(hours=1)
    try:
        assert verified(10_000, lost) == ([], 0, 1), "it is of the life that was lost"
        assert verified(10_000, since - timedelta(hours=1)) == ([What.REWRITTEN], 1, 0), "before the backup"
        assert verified(10_000, began) == ([What.REWRITTEN], 1, 0), "after the restore"
        assert verified(link_no, lost) == ([What.REWRITTEN], 1, 0), "a link that was never lost"
    finally:
        _unguarded(owner_engine, "DELETE FROM epoch WHERE epoch = 2")


def test_an_export_that_was_changed_is_no_export(books, tmp_path):
    with books.begin() as connection:
        path = export(connection, tmp_path, at=AT)
    good = path.read_text(encoding="utf-8")
    for bad in (good.replace("\t", "\t1", 1), good[:-10], "", good.replace("#", "##", 1)):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(NotAnExport, match=path.name):
            exported(tmp_path)


def test_whatever_somebody_with_all_rights_does_is_found(books, owner_engine):
    """The short one; the long one is `python -m tests.tampering`."""
    not_found, ways = missed(owner_engine, 60, seed=60)

    assert not_found == []
    assert len(ways) > 5


def test_two_workers_at_one_institution_follow_each_other_and_neither_waits_for_ever(books, center_engine):
    """Each batch holds persons and visits of both institutions' claims; the heads are locked last, by code."""
    shelf = fill_shelf(books)
    before = first(rows_of(books, "SELECT sum(link_no)::int FROM chain_head"))

    def settle(worker):
        for round_ in range(15):
            serial = 5_000 + worker * 1_000 + round_ * 10
            claims = [
                totals(serial + place, citizen_id_no=synthetic_citizen_id(place if worker else 4 - place))
                for place in range(5)
            ]
            at = AT + timedelta(hours=1, seconds=round_)
            answered = settle_submitted(center_engine, shelf, submitted(*claims), frontend=OURS, at=at)
            assert not any(answer.refusal for answer in answered.answers)

    def note(_worker):
        for round_ in range(15):
            with center_engine.begin() as connection:
                for code in (CLINIC, HOSPITAL):
                    audit.note(connection, by="office", action="test", subject=str(round_), reason="",
                               institution_code=code, at=AT)  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(settle, 0), pool.submit(settle, 1), pool.submit(note, 0), pool.submit(note, 1)]
        for each in running:
            each.result(timeout=60)

    assert first(rows_of(books, "SELECT sum(link_no)::int FROM chain_head")) == before + 30 + 60
    dense = "SELECT count(*) FROM chain_head h WHERE link_no <> (SELECT count(*) FROM chain_link l"
    assert first(rows_of(books, f"{dense} WHERE l.institution_code = h.institution_code)")) == 0
    assert verify(books).tamperings == ()


def fill_shelf(engine):
    from center.tables import reference
    from infra.reference import ReferenceShelf

    return ReferenceShelf(reference)


def test_a_document_that_is_not_written_is_not_linked(books):
    with pytest.raises(chain.NotWritten, match="999999"), books.begin() as connection:
        chain.seal(cursor_of(connection), {HOSPITAL: [999_999]}, at=AT)


def test_a_document_that_does_not_balance_is_not_written(books):
    document = documents.Document("payment", HOSPITAL, "employee", "11", AT.date(), "office", "", 100)
    with pytest.raises(documents.Unbalanced), books.begin() as connection:
        documents.post(cursor_of(connection), document, [("bank:employee", -100), ("cleared:x", 99)], at=AT)


def test_nobody_acts_without_a_name(books):
    with pytest.raises(audit.NobodyNamed), books.begin() as connection:
        audit.note(connection, by="", action="x", subject="", reason="", at=AT)


# ── The commands ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def jiesuan(monkeypatch, capsys, tmp_path, books, center_database_url):
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", center_database_url)
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-03-02T10:00:00+08:00@0.0x0.0")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["jiesuan", "audit", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capsys.readouterr().out

    return run


def test_verify_says_which_document_of_which_link_and_leaves_with_one(jiesuan, tampered, books):
    assert jiesuan("verify")[0] == 0
    code, link_no, number = rows_of(
        books, "SELECT institution_code, link_no, documents[1] FROM chain_link WHERE kind = 'audit' LIMIT 1"
    )[0]
    tampered(
        f"UPDATE audit SET reason = 'another' WHERE audit_no = {number}",
        f"UPDATE audit SET reason = '' WHERE audit_no = {number}",
    )

    ended, out = jiesuan("verify")

    assert ended == 1
    assert f"{code} 第 {link_no} 环，留痕 {number}：凭证内容被改动" in out
    assert '"what": "edited"' in jiesuan("verify", "--json")[1]
    assert jiesuan("verify", "--institution", "nobody")[0] == 0


def test_heads_are_exported_to_the_settings_folder_and_verified_against_it(jiesuan, tmp_path):
    ended, out = jiesuan("export")
    assert ended == 0
    assert ".data/audit/heads-20260302-100000.tsv" in out
    assert jiesuan("verify")[0] == 0
    path = next((tmp_path / ".data" / "audit").glob("*.tsv"))
    path.write_text("nothing", encoding="utf-8")
    assert jiesuan("verify")[0] == 1


def test_verify_says_how_many_heads_it_compared_with_and_refuses_where_none_of_two_days_is_there(
    jiesuan, tmp_path, monkeypatch, books
):
    """Whoever can write a chain anew may empty a folder, too."""
    assert jiesuan("verify")[0] == 0, "chains of today need no head yet"
    monkeypatch.setenv("JIESUAN_CLOCK", "2026-03-05T10:00:00+08:00@0.0x0.0")
    ended, out = jiesuan("verify")
    assert ended == 1
    assert "与已导出的 0 个链头比对" in out
    assert "没有近两日导出的链头可比对" in out

    with books.begin() as connection:
        old = export(connection, tmp_path / "kept", at=AT)
    assert jiesuan("verify", "--heads", str(old))[0] == 0, "whoever names a file wants that one"
    folder = tmp_path / ".data" / "audit"
    folder.mkdir(parents=True)
    old.rename(folder / old.name)
    assert jiesuan("verify")[0] == 1, "it is of three days ago"

    jiesuan("export")
    ended, out = jiesuan("verify")
    assert ended == 0
    assert "最新的导出于 2026-03-05 10:00:00" in out
    assert json.loads(jiesuan("verify", "--json")[1])["heads"] == 6, "of both files"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert jiesuan("verify", "--heads", str(empty))[0] == 1


NIGHT = AT.replace(hour=3)


def _address(engine):
    return engine.url.render_as_string(hide_password=False)


@pytest.fixture
def by_night(books, owner_engine):
    """Verify as the schedule does at a moment; what /metrics say then, and what doctor does."""
    _unguarded(owner_engine, "DELETE FROM chain_check")

    def run(folder, at):
        told = verify_nightly(books, folder, at=at)
        with books.connect() as connection:
            said = {one.name: one.samples[0].value for one in readings(connection)}
        return told, said

    yield run
    _unguarded(owner_engine, "DELETE FROM chain_check")


def test_all_chains_are_verified_once_a_night_against_the_heads_that_left(by_night, books, tmp_path, caplog):
    with books.begin() as connection:
        export(connection, tmp_path, at=AT)
    assert by_night(tmp_path, AT) == (None, {}), "not by day"

    told, said = by_night(tmp_path, NIGHT)

    assert told.tamperings == ()
    assert told.heads == said["jiesuan_chain_heads_compared"] == 3
    assert said["jiesuan_chain_wrong"] == 0
    assert said["jiesuan_chain_verified_timestamp_seconds"] == NIGHT.timestamp()
    assert said["jiesuan_chain_head_exported_timestamp_seconds"] == AT.timestamp()
    assert by_night(tmp_path, NIGHT + timedelta(hours=1))[0] is None, "once"
    assert by_night(tmp_path, NIGHT + timedelta(days=1))[0] is not None, "and again the next night"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_what_is_not_as_it_was_written_rings_by_night_and_doctor_says_so(by_night, books, tampered, tmp_path, caplog):
    ((number,),) = rows_of(books, "SELECT min(audit_no) FROM audit")
    tampered(
        f"UPDATE audit SET reason = 'another' WHERE audit_no = {number}",
        f"UPDATE audit SET reason = '' WHERE audit_no = {number}",
    )

    _, said = by_night(tmp_path, NIGHT)

    assert said["jiesuan_chain_wrong"] == 1
    assert "chains_verified" in [record.msg for record in caplog.records if record.levelname == "ERROR"]
    (found,) = _chains(Settings(_env_file=None, center_database_url=_address(books), clock=f"{AT.isoformat()}@0.0x0.0"))
    assert (found.ok, "jiesuan audit verify" in found.words) == (False, True)


def test_a_file_of_heads_that_was_changed_rings_by_night(by_night, tmp_path):
    (tmp_path / "heads-20260302-100000.tsv").write_text("nothing", encoding="utf-8")

    assert by_night(tmp_path, NIGHT)[1]["jiesuan_chain_wrong"] == 1


def test_what_was_done_is_found_by_who_what_where_and_when(jiesuan):
    ended, out = jiesuan("show", "--by", "office", "--action", "test.n", "--institution", "*", "--limit", "3")
    assert ended == 0
    assert len(out.splitlines()) == 3
    assert "office test.noted" in out
    assert jiesuan("show", "--to", "2026-03-01")[1] == ""
    assert jiesuan("show", "--by", "somebody")[1] == ""
    assert '"action": "test.noted"' in jiesuan("show", "--from", "2026-03-02", "--subject", "3", "--json")[1]


def test_doctor_says_whether_the_login_of_the_services_could_change_what_is_settled(
    center_database_url, center_owner_url
):
    assert _privileges(center_database_url).ok is True
    owners = _privileges(center_owner_url)
    assert owners.ok is None
    assert "JIESUAN_CENTER_OWNER_DATABASE_URL" in owners.words


def test_migrate_makes_the_login_of_the_services_where_there_is_none(books, owner_engine, center_owner_url):
    url = make_url(center_owner_url).set(username="another", password="word").render_as_string(hide_password=False)
    with owner_engine.begin() as connection:
        assert privileges.admit(connection, center_owner_url)
        assert privileges.admit(connection, url.replace(":word@", "@")) is False
        assert privileges.admit(connection, url)
        assert privileges.admit(connection, url)
    assert _privileges(url).ok is True
    with owner_engine.begin() as connection:
        connection.execute(text("DROP ROLE another"))


BARE_SETTLEMENTS = (
    "INSERT INTO settlement (settlement_no, institution_code, visit_no, charge_batch_no, kind, frontend, person_no,"
    " visit_type, clearing_type, visit_date, settled_at, settled_day, digest, line_count, total_fen,"
    " own_expense_fen, over_limit_fen, pre_self_pay_fen, in_scope_fen, fund_pay_fen, account_pay_fen,"
    " deductible_fen, self_pay_fen, over_cap_fen, institution_share_fen, policy_version, catalogue_version, steps,"
    " answer) SELECT number, 'H', 'P' || number, 1, 'normal', 'f', 1, '3', '11', '2026-03-02', now(), '2026-03-02',"
    " '', 1, fen, fen, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'p', 'c', '', ''"
    " FROM unnest(CAST(:numbers AS bigint[]), CAST(:fen AS bigint[])) AS new (number, fen)"
)
POSTINGS = "INSERT INTO posting VALUES (:number, 'cash:H', 100), (:number, 'charges:H', -100)"


def test_a_settlement_comes_after_its_postings_or_not_at_all(center_engine):
    """However it is written: by INSERT, by COPY, one of many. One of nothing at all has none."""
    bare = "settlement 700002 comes without its postings"
    with pytest.raises(IntegrityError, match=bare), center_engine.begin() as connection:
        connection.execute(text(POSTINGS), {"number": 700_001})
        connection.execute(text(BARE_SETTLEMENTS), {"numbers": [700_001, 700_002], "fen": [100, 100]})
    with pytest.raises(IntegrityError, match=bare), center_engine.begin() as connection:
        connection.execute(text(BARE_SETTLEMENTS), {"numbers": [700_002], "fen": [100]})
        connection.execute(text(POSTINGS), {"number": 700_002})
    with center_engine.begin() as connection:
        connection.execute(text(POSTINGS), {"number": 700_001})
        connection.execute(text(BARE_SETTLEMENTS), {"numbers": [700_001, 700_003], "fen": [100, 0]})


def test_a_document_that_moves_money_is_not_committed_without_its_postings(center_engine):
    """A note moves none."""
    bare = text(
        "INSERT INTO ledger_document (document_no, kind, institution_code, day, made_at, made_by, amount_fen)"
        " VALUES (:number, :kind, 'H', '2026-03-02', now(), 'somebody', :fen)"
    )
    with pytest.raises(IntegrityError, match="document 700011 comes without its postings"), center_engine.begin() as db:
        db.execute(bare, {"number": 700_011, "kind": "gift", "fen": 100})
    with center_engine.connect() as db:
        db.execute(bare, {"number": 700_012, "kind": "payment", "fen": 100})
        db.execute(text(POSTINGS), {"number": 700_012})
        db.execute(bare, {"number": 700_013, "kind": "note", "fen": 100})
        db.execute(bare, {"number": 700_014, "kind": "clearing", "fen": 0})
        db.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        db.rollback()


def test_the_postings_of_a_settlement_are_found_by_index_in_a_table_that_was_empty_a_moment_ago(owner_engine):
    """A plan made then is kept by every session until autovacuum has seen how large the table became."""
    read = text("SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables WHERE relname LIKE 'posting%'")
    new_year = Place(9, AT.year)
    number = first_number(new_year)
    many = range(number + 1, number + 1_000)
    with owner_engine.connect() as connection:
        prepare(connection, [new_year])
        connection.execute(text(f"ANALYZE posting_p{new_year.pool}_{new_year.year}"))
        connection.execute(text(POSTINGS), {"number": number})
        connection.execute(text(BARE_SETTLEMENTS), {"numbers": [number], "fen": [100]})
        connection.execute(text(POSTINGS), [{"number": one} for one in many])
        before = connection.execute(read).scalar_one()
        connection.execute(text(BARE_SETTLEMENTS), {"numbers": list(many), "fen": [100] * len(many)})
        assert connection.execute(read).scalar_one() == before
        connection.rollback()
