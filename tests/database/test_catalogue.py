"""The catalogue: entered by one, audited by another, published ahead of its day, fetched by front-ends."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text, update

from center import publications as at_centre
from center.catalogue import entries, versions
from center.catalogue.entries import AlreadyEntered, NothingToAudit, OwnEntry
from center.catalogue.files import read_items, read_matches, sheets
from center.catalogue.shelf import CatalogueShelf
from center.catalogue.tables import reference_part
from center.catalogue.versions import CannotPublish, Content
from center.serving import entering
from center.tables import reference
from domain.catalogue import OPEN_END
from domain.catalogue_records import ItemRecord
from domain.messages import ReferenceAsked
from domain.policy.reading import parse
from infra.clock import SHANGHAI
from infra.database import open_database
from infra.publication import PartMissing, digest_of
from infra.reference import activate, load, policy_row
from tests.support.catalogue import ITEM_HEADINGS, ITEM_ROWS, MATCH_HEADINGS, match_rows, write_csv
from tests.support.center import FRONTEND, OTHER_FRONTEND, institution_row
from tests.support.frontend import CLINIC, HOSPITAL, POLICY
from workers import publications, schema
from workers import tables as frontend_tables
from workers.catalogue_views import published, view_rows

AT = datetime(2026, 3, 2, 10, 0, tzinfo=SHANGHAI)
TODAY = AT.date()
TOMORROW = TODAY + timedelta(days=1)
CLERK, AUDITOR = "张录入", "李审核"


@pytest.fixture
def centre(center_engine, owner_engine):
    """An empty centre with two institutions at two front-ends."""
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "TRUNCATE catalogue_import, catalogue_item, catalogue_match, catalogue_version, reference_part,"
                " reference_report, reference, institution, served_by RESTART IDENTITY CASCADE"
            )
        )
        entering.enter(
            connection, [institution_row(HOSPITAL, FRONTEND), institution_row(CLINIC, OTHER_FRONTEND, level=1)]
        )
        connection.execute(insert(reference), policy_row(POLICY))
    yield center_engine


@pytest.fixture
def frontend(tmp_path):
    """A front-end that knows nothing yet."""
    engine = open_database(f"sqlite:///{tmp_path}/frontend.db")
    schema.upgrade(engine)
    yield engine
    engine.dispose()


def enter(connection, tmp_path, rows=ITEM_ROWS, *, by=CLERK, headings=ITEM_HEADINGS):
    reading = read_items(sheets(write_csv(tmp_path / "items.csv", headings, rows)))
    assert reading.problems == []
    digest = digest_of(repr(rows).encode())
    return entries.enter_items(connection, reading.records, source="items.csv", digest=digest, by=by, at=AT)


def enter_matches(connection, tmp_path, *institutions, rows=None):
    file = write_csv(tmp_path / "matches.csv", MATCH_HEADINGS, rows or match_rows(*institutions))
    reading = read_matches(sheets(file))
    good, wrong = entries.wrong_matches(connection, reading.records)
    assert (reading.problems, wrong) == ([], [])
    digest = digest_of(file.read_bytes())
    return entries.enter_matches(connection, good, source="matches.csv", digest=digest, by=CLERK, at=AT)


def accept(connection, import_id, at=AT, **more):
    return entries.audit(connection, import_id, accept=True, by=AUDITOR, at=at, **more)


def stand(connection, tmp_path, *institutions):
    """The sample file and the matches of these institutions, entered and accepted."""
    accept(connection, enter(connection, tmp_path).import_id)
    if institutions:
        accept(connection, enter_matches(connection, tmp_path, *institutions).import_id)


def publish(connection, day=TODAY, **more):
    return versions.publish(connection, effective_date=day, by=AUDITOR, at=AT, **more)


def changed(code, **change):
    """The row of `ITEM_ROWS` with this code, with some cells changed."""
    row = next(row for row in ITEM_ROWS if row[1] == code)
    return [change.get(heading, cell) for heading, cell in zip(ITEM_HEADINGS, row, strict=True)]


# ── Entering and auditing ─────────────────────────────────────────────────────────────────────────────────


def test_what_is_entered_waits_for_somebody_else(centre, tmp_path):
    with centre.begin() as connection:
        entered = enter(connection, tmp_path)
        assert (entered.waiting, entered.unchanged) == (4, 0)
        assert entries.standing_items(connection) == []
        (waits,) = entries.waiting(connection)
        assert (waits.import_id, waits.kind, waits.entered_by, waits.waiting) == (1, "items", CLERK, 4)
        with pytest.raises(OwnEntry, match=CLERK):
            entries.audit(connection, 1, accept=True, by=CLERK, at=AT)
        assert accept(connection, 1).decided == 4
        assert [item.item_code for item in entries.standing_items(connection)] == ["T001", "W001", "W002", "Z001"]
        assert entries.waiting(connection) == []
        with pytest.raises(NothingToAudit):
            accept(connection, 1)


def test_the_database_itself_refuses_one_pair_of_eyes(centre, tmp_path):
    with centre.begin() as connection:
        enter(connection, tmp_path)
    with pytest.raises(Exception, match="four_eyes"), centre.begin() as connection:
        connection.execute(text("UPDATE catalogue_item SET state = 'standing', audited_by = entered_by"))


def test_the_same_file_twice_and_a_whole_list_with_one_change(centre, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path)
        with pytest.raises(AlreadyEntered, match="批号 1"):
            enter(connection, tmp_path)
        rows = [*ITEM_ROWS[:-1], changed("T001", 限价="12")]
        entered = enter(connection, tmp_path, rows)
        assert (entered.waiting, entered.unchanged) == (1, 3)


def test_rows_may_be_rejected_with_a_reason(centre, tmp_path):
    with centre.begin() as connection:
        enter(connection, tmp_path)
        assert entries.audit(connection, 1, accept=False, by=AUDITOR, at=AT, reason="价格不符", rows=[3]).decided == 1
        assert accept(connection, 1).decided == 3
        (row,) = entries.history(connection, entries.ITEMS, item_code="W002")
        assert (row.state, row.audited_by, row.reason) == ("rejected", AUDITOR, "价格不符")


@pytest.mark.parametrize(
    ("change", "periods"),
    [
        pytest.param({"生效日期": "2026-07-01"},
                     [(date(2025, 1, 1), date(2026, 6, 30)), (date(2026, 7, 1), OPEN_END)], id="a later one ends it"),
        pytest.param({"生效日期": "2025-01-01"}, [(date(2025, 1, 1), OPEN_END)], id="one of the same day replaces it"),
        pytest.param({"生效日期": "2024-01-01"},
                     [(date(2024, 1, 1), date(2024, 12, 31)), (date(2025, 1, 1), OPEN_END)],
                     id="earlier: it ends where the other begins"),
    ],
)  # fmt: skip
def test_on_every_day_one_record_of_an_item_holds(centre, tmp_path, change, periods):
    with centre.begin() as connection:
        stand(connection, tmp_path)
        entered = enter(connection, tmp_path, [changed("W002", 自负比例="0.3", **change)])
        accept(connection, entered.import_id, AT + timedelta(hours=1))
        held = entries.standing_items(connection, ["W002"])
        assert [(item.effective_date, item.expiry_date) for item in held] == periods


def test_what_only_the_centre_sees_of_a_match(centre, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path)
        rows = [
            ("999", "A1", "甲", "", "1", "W001", "", "", "", ""),
            (HOSPITAL, "A2", "乙", "", "1", "W999", "", "", "", ""),
            (HOSPITAL, "A3", "丙", "", "0", "W001", "", "", "", ""),
            (HOSPITAL, "A4", "丁", "", "1", "W002", "甲类", "", "", ""),
            (HOSPITAL, "A5", "戊", "", "2", "Z001", "", "2028-01-01", "", ""),
        ]
        reading = read_matches(sheets(write_csv(tmp_path / "m.csv", MATCH_HEADINGS, rows)))
        good, wrong = entries.wrong_matches(connection, reading.records)
        assert good == []
        assert [(problem.row, problem.column) for problem in wrong] == [
            (2, "医药机构编码"), (3, "中心目录编码"), (4, "中心目录编码"), (5, "甲乙标志"), (6, "生效日期"),
        ]  # fmt: skip


# ── Versions ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_version_waits_for_its_day(centre, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL, CLINIC)
        made = publish(connection, TODAY, note="首版")
        assert (made.version, made.in_force, made.items, made.matches) == ("20260302-01", True, 4, 6)
        with pytest.raises(CannotPublish, match="没有差别"):
            publish(connection, TOMORROW)
        accept(connection, enter(connection, tmp_path, [changed("T001", 限价="12")]).import_id)
        later = publish(connection, TOMORROW)
        assert (later.in_force, list(later.difference.touched.items())) == (False, [(HOSPITAL, 1), (CLINIC, 1)])
        assert load(connection, reference).catalogue.version == made.version

        assert activate(connection, reference, TODAY) == ""
        assert activate(connection, reference, TOMORROW) == later.version
        loaded = load(connection, reference)
        assert loaded.catalogue.version == later.version
        assert [loaded.accepts_catalogue(made.version, TOMORROW + timedelta(days=days)) for days in (0, 3, 4)] == [
            True, True, False,
        ]  # fmt: skip


def test_what_cannot_be_published(centre, tmp_path):
    with centre.begin() as connection:
        with pytest.raises(CannotPublish, match="没有审核通过"):
            publish(connection)
        stand(connection, tmp_path)
        with pytest.raises(CannotPublish, match="早于今天"):
            publish(connection, TODAY - timedelta(days=1))
        ahead = publish(connection, TOMORROW)
        accept(connection, enter(connection, tmp_path, [changed("T001", 限价="12")]).import_id)
        with pytest.raises(CannotPublish, match=ahead.version):
            publish(connection, TODAY)
        versions.withdraw(connection, ahead.version, by="office", at=AT)
        today = publish(connection, TODAY)
        assert activate(connection, reference, TOMORROW) == ""
        with pytest.raises(CannotPublish, match="已经生效"):
            versions.withdraw(connection, today.version, by="office", at=AT)


def test_nothing_is_published_when_publishing_breaks(centre, tmp_path, monkeypatch):
    with centre.begin() as connection:
        stand(connection, tmp_path)

    def broken(*_):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(versions, "activate", broken)
    with pytest.raises(RuntimeError), centre.begin() as connection:
        publish(connection)
    with centre.begin() as connection:
        assert versions.versions(connection) == []
        assert connection.execute(select(reference_part)).all() == []


def test_a_difference_names_fields_and_institutions(centre, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL)
        before = versions.draft(connection)
        rows = [changed("W002", 自负比例="0.2"), changed("Z001", 药品编码="Z002")]
        accept(connection, enter(connection, tmp_path, rows).import_id)
        found = versions.difference(before, versions.draft(connection))
        assert [item.item_code for item in found.items_added] == ["Z002"]
        (change,) = found.items_changed
        assert (change.key, change.fields) == (
            ("1", "W002", "2025-01-01"),
            (("pre_self_pay_ratio_1e4", 1000, 2000),),
        )
        assert found.touched == {HOSPITAL: 1}
        assert versions.difference(Content((), ()), Content((), ())).is_empty


def test_a_match_takes_the_class_its_item_has_on_the_day(centre, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL)
        accept(
            connection,
            enter(connection, tmp_path, [changed("W001", 甲乙标志="9", 生效日期="2026-07-01")]).import_id,
            AT + timedelta(hours=1),
        )
        made = publish(connection)
        catalogue = CatalogueShelf().version(connection, made.version)
        assert catalogue is not None
        assert catalogue.on(HOSPITAL, "A1", date(2026, 6, 30)).coverage_class == "1"
        assert catalogue.on(HOSPITAL, "A1", date(2026, 7, 1)).coverage_class == "9"
        assert catalogue.on(HOSPITAL, "A3", date(2027, 1, 1)).code == "06"
        assert catalogue.on(HOSPITAL, "A2", date(2025, 2, 1)).code == "06"


# ── Front-ends ────────────────────────────────────────────────────────────────────────────────────────────


def exchange(centre, frontend, *, code=FRONTEND, at=AT, wants=(), lose=()):
    """One question and its answer; what the front-end wants next. `lose` are places of parts that get lost."""
    with frontend.begin() as connection:
        asked = publications.asking(connection, tuple(wants))
    with centre.begin() as connection:
        sent = at_centre.answer(connection, asked, frontend=code, at=at)
    kept_parts = tuple(part for place, part in enumerate(sent.parts) if place not in lose)
    return publications.keep(frontend, type(sent)(rows=sent.rows, parts=kept_parts), at=at), sent


def fetch(centre, frontend, **how):
    """Ask until there is nothing more to ask for; how many parts came."""
    kept, sent = exchange(centre, frontend, **how)
    parts = len(sent.parts)
    while kept.wants:
        kept, sent = exchange(centre, frontend, wants=kept.wants, **how)
        parts += len(sent.parts)
    return parts


def test_a_front_end_fetches_what_is_published_and_only_its_own(centre, frontend, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL, CLINIC)
        made = publish(connection)
    assert fetch(centre, frontend) > 0
    with frontend.begin() as connection:
        held = load(connection, frontend_tables.reference)
        assert held.catalogue.version == made.version
        assert held.policy_version == parse(POLICY).version
        assert held.catalogue.on(HOSPITAL, "A1", TODAY).code == "00"
        assert held.catalogue.on(CLINIC, "A1", TODAY).code == "06", "another front-end's matches do not come here"
    assert fetch(centre, frontend) == 0, "what is here is not sent again"


def test_a_new_version_costs_the_parts_that_changed_and_comes_into_force_on_its_day(centre, frontend, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL)
        first = publish(connection)
    fetch(centre, frontend)
    with centre.begin() as connection:
        accept(connection, enter(connection, tmp_path, [changed("W002", 自负比例="0.2")]).import_id)
        second = publish(connection, TOMORROW)
    assert fetch(centre, frontend) == 1
    midnight = datetime.combine(TOMORROW, datetime.min.time(), SHANGHAI)
    with frontend.begin() as connection:
        assert load(connection, frontend_tables.reference).catalogue.version == first.version
        assert publications.bring_into_force(connection, at=midnight) == "", "a little after the centre"
        assert publications.bring_into_force(connection, at=midnight + timedelta(minutes=3)) == second.version
        catalogue = load(connection, frontend_tables.reference).catalogue
        assert (catalogue.version, catalogue.on(HOSPITAL, "A2", TODAY).pre_self_pay_ratio_1e4) == (second.version, 2000)
        assert published(connection).version == second.version


def test_a_download_that_broke_goes_on_where_it_broke(centre, frontend, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL)
        made = publish(connection)
    kept, _ = exchange(centre, frontend)
    wanted = len(kept.wants)
    kept, _ = exchange(centre, frontend, wants=kept.wants, lose=(0,))
    assert (kept.versions, len(kept.wants)) == ((), 1)
    with frontend.begin() as connection, pytest.raises(Exception, match="catalogue"):
        load(connection, frontend_tables.reference)
    kept, _ = exchange(centre, frontend)  # as after a restart: nothing is remembered but the parts
    assert (wanted > 1, len(kept.wants)) == (True, 1)
    kept, _ = exchange(centre, frontend, wants=kept.wants)
    assert kept.versions == (f"catalogue:{made.version}",)


def test_a_part_that_is_not_what_it_is_called_is_not_kept(centre, frontend, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL)
        publish(connection)
        connection.execute(update(reference_part).values(content=b"\xc1"))
    kept, _ = exchange(centre, frontend)
    again, _ = exchange(centre, frontend, wants=kept.wants)
    assert again.wants == kept.wants


def test_a_front_end_cannot_ask_for_anothers_matches(centre, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL, CLINIC)
        made = publish(connection)
        manifest = versions.manifest_of(connection, made.version)
        theirs = next(part.digest for part in manifest.parts if part.name == f"matches/{CLINIC}")
        asked = ReferenceAsked(holds=(), wants=(theirs,))
        assert at_centre.answer(connection, asked, frontend=FRONTEND, at=AT).parts == ()
        assert len(at_centre.answer(connection, asked, frontend=OTHER_FRONTEND, at=AT).parts) == 1


def test_a_withdrawn_version_never_comes_into_force(centre, frontend, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL)
        first = publish(connection)
        accept(connection, enter(connection, tmp_path, [changed("W002", 自负比例="0.2")]).import_id)
        second = publish(connection, TOMORROW)
    fetch(centre, frontend)
    with centre.begin() as connection:
        versions.withdraw(connection, second.version, by="office", at=AT)
    fetch(centre, frontend)
    with frontend.begin() as connection:
        assert publications.bring_into_force(connection, at=AT + timedelta(days=5)) == ""
        assert load(connection, frontend_tables.reference).catalogue.version == first.version


def test_policy_sets_follow_the_centre(centre, frontend, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL)
        publish(connection)
    fetch(centre, frontend)
    newer = POLICY.replace("0.80", "0.85")
    with centre.begin() as connection:
        connection.execute(update(reference).where(reference.c.kind == "policy").values(in_force=False))
        connection.execute(insert(reference), policy_row(newer))
    fetch(centre, frontend)
    with frontend.begin() as connection:
        assert load(connection, frontend_tables.reference).policy_version == parse(newer).version


def test_the_views_show_the_published_version(centre, frontend, tmp_path):
    with centre.begin() as connection:
        stand(connection, tmp_path, HOSPITAL)
        enter_matches(connection, tmp_path, rows=[(HOSPITAL, "A9", "新药", "", "1", "W001", "", "", "", "")])
        publish(connection)
    fetch(centre, frontend)
    with frontend.begin() as connection:
        drugs = list(view_rows(connection, "VIEW_MEDI", HOSPITAL, TODAY))
        services = list(view_rows(connection, "VIEW_ITEM", HOSPITAL, TODAY))
        matches = list(view_rows(connection, "VIEW_MATCH", HOSPITAL, TODAY))
        with pytest.raises(PartMissing):
            connection.execute(frontend_tables.reference_part.delete())
            published(connection)
    assert [(row["MEDI_CODE"], row["SELF_SCALE"], row["EXPIRE_DATE"]) for row in drugs] == [
        ("W001", "0.00", None), ("W002", "0.10", None), ("Z001", "0.05", date(2027, 12, 31)),
    ]  # fmt: skip
    assert [(row["ITEM_CODE"], row["STAT_TYPE"]) for row in services] == [("T001", "18")]
    assert [(row["HOSP_CODE"], row["ITEM_CODE"], row["STAPLE_FLAG"], row["AUDIT_FLAG"]) for row in matches] == [
        ("A1", "W001", "1", "1"), ("A2", "W002", "2", "1"), ("A3", "T001", "1", "1"), ("A9", "W001", "1", "0"),
    ]  # fmt: skip


def test_twenty_thousand_items(centre, tmp_path):
    rows = [("1", f"W{n:06d}", f"药品{n}", "片剂", "2", "2", "0.1", "", "2025-01-01", "") for n in range(20_000)]
    with centre.begin() as connection:
        entered = enter(connection, tmp_path, rows)
        assert accept(connection, entered.import_id).decided == 20_000
        made = publish(connection)
        assert (made.items, len(versions.manifest_of(connection, made.version).parts)) == (20_000, 64)
        again = enter(connection, tmp_path, [*rows[:-1], ("1", *rows[-1][1:5], "2", "0.2", *rows[-1][7:])])
        assert (again.waiting, again.unchanged) == (1, 19_999)
        assert isinstance(entries.standing_items(connection)[0], ItemRecord)
