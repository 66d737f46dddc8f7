"""Conservation on a real PostgreSQL: what is broken by SQL is found and named, and nothing that is not broken."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from center import schema
from center.approving.decisions import CannotDecide, approve
from center.conservation import accounts, checking
from center.conservation.actions import propose_release
from center.conservation.checking import check_new, check_nightly, examine
from center.conservation.credits import credit
from center.conservation.findings import Level
from center.conservation.tables import DAY_AMOUNTS, DAY_KEY
from center.settling.records import cursor_of
from center.tables import detail, lease
from domain.catalogue import Catalogue
from domain.refusals import Refusal, sentence
from domain.totals import PLAIN, total_up
from domain.visit import pack_lines
from infra.database import open_database
from infra.lease import LeaseLost, take
from tests.support.books import Books
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    CLINIC,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    fill_center,
    first,
    rows_of,
    synthetic_citizen_id,
    totals,
)
from tests.support.frontend import LINES, published

BALANCE = 3000
_published = published([HOSPITAL, CLINIC], CATALOGUE_VERSION)
CATALOGUE = Catalogue(_published.version, _published.items, _published.matches)
_serials = count(1)
_persons = count()


@pytest.fixture(scope="module")
def shelf(center_engine):
    return fill_center(center_engine, persons=600, balance_fen=BALANCE)


@pytest.fixture
def books(center_engine, owner_engine, shelf):
    books = Books(center_engine, owner_engine, shelf)
    yield books
    books.leave()


def claim(person=None, **change):
    number = next(_persons) if person is None else person
    return totals(next(_serials), **{"citizen_id_no": synthetic_citizen_id(number), **change})


def names(report):
    return [(finding.level, finding.code, finding.document_no) for finding in report.findings]


def test_what_is_settled_and_taken_back_holds_at_every_level(books):
    good, back = claim(), claim()
    books.settle(good, back)
    books.settle(claim(institution_code=CLINIC), frontend=OTHER_FRONTEND)
    assert not books.take_back(back).refusal

    assert examine(books.engine, books.shelves).findings == []
    new, everything = books.check(), books.check_all()

    assert new.findings == everything.findings == []
    assert new.documents == 4
    assert new.levels[Level.DAY].sum_fen == 22000
    assert everything.holds
    assert books.check().documents == 0


# ── Broken ────────────────────────────────────────────────────────────────────────────────────────────────

DOCUMENT = "settlement_no = :number"
POSTING = "document_no = :number"
BREAKS = [
    pytest.param(
        "INSERT INTO posting VALUES (:number, 'fund:employee:basic', -3), (:number, 'fund:employee:large_amount', 3)",
        "DELETE FROM posting WHERE document_no = :number AND abs(amount_fen) = 3",
        (Level.DOCUMENT, "document-answer", "number"),
        id="money moved between two layers of a fund",
    ),
    pytest.param(
        "UPDATE settlement SET own_expense_fen = own_expense_fen + 1, in_scope_fen = in_scope_fen - 1"
        " WHERE settlement_no = :number",
        "UPDATE settlement SET own_expense_fen = own_expense_fen - 1, in_scope_fen = in_scope_fen + 1"
        " WHERE settlement_no = :number",
        (Level.DAY, "day-sum", None),
        id="a fen moved from scope to own expense",
    ),
    pytest.param(
        "UPDATE posting SET amount_fen = amount_fen + 7 WHERE document_no = :number AND account LIKE 'cash:%'",
        "UPDATE posting SET amount_fen = amount_fen - 7 WHERE document_no = :number AND account LIKE 'cash:%'",
        (Level.DOCUMENT, "document-balance", "number"),
        id="one posting changed",
    ),
    pytest.param(
        "UPDATE posting SET amount_fen = amount_fen + CASE WHEN account LIKE 'cash:%' THEN 5 ELSE -5 END"
        " WHERE document_no = :number AND (account LIKE 'cash:%' OR account LIKE 'account:%')",
        "UPDATE posting SET amount_fen = amount_fen - CASE WHEN account LIKE 'cash:%' THEN 5 ELSE -5 END"
        " WHERE document_no = :number AND (account LIKE 'cash:%' OR account LIKE 'account:%')",
        (Level.DOCUMENT, "document-postings", "number"),
        id="cash booked to the account",
    ),
    pytest.param(
        "UPDATE posting SET account = 'cash:stranger' WHERE document_no = :number AND account LIKE 'cash:%'",
        "UPDATE posting SET account = 'cash:' || :code WHERE document_no = :number AND account = 'cash:stranger'",
        (Level.DOCUMENT, "document-postings", "number"),
        id="posted to an account that is not there",
    ),
    pytest.param(
        "UPDATE settlement SET self_pay_fen = self_pay_fen - 1, fund_pay_fen = fund_pay_fen + 1,"
        " deductible_fen = deductible_fen - 1 WHERE settlement_no = :number",
        "UPDATE settlement SET self_pay_fen = self_pay_fen + 1, fund_pay_fen = fund_pay_fen - 1,"
        " deductible_fen = deductible_fen + 1 WHERE settlement_no = :number",
        (Level.DOCUMENT, "document-answer", "number"),
        id="the fund pays a fen more than was told",
    ),
    pytest.param(
        "UPDATE accumulator_entry SET applied_fen = applied_fen + 1 WHERE settlement_no = :number",
        "UPDATE accumulator_entry SET applied_fen = applied_fen - 1 WHERE settlement_no = :number",
        (Level.PERSON, "accumulator", "number"),
        id="an entry of an accumulator changed",
    ),
    pytest.param(
        "UPDATE accumulator SET amount_fen = amount_fen - 1 WHERE person_no = :person",
        "UPDATE accumulator SET amount_fen = amount_fen + 1 WHERE person_no = :person",
        (Level.PERSON, "accumulator", "number"),
        id="an accumulator changed",
    ),
    pytest.param(
        "UPDATE person SET account_balance_fen = account_balance_fen + 100 WHERE person_no = :person",
        "UPDATE person SET account_balance_fen = account_balance_fen - 100 WHERE person_no = :person",
        (Level.PERSON, "account", "number"),
        id="money put into an account by hand",
    ),
    pytest.param(
        "UPDATE day_sum SET fund_pay_fen = fund_pay_fen + 1 WHERE day = :day",
        "UPDATE day_sum SET fund_pay_fen = fund_pay_fen - 1 WHERE day = :day",
        (Level.DAY, "day-sum", None),
        id="the sum of a day changed",
    ),
    pytest.param(
        "UPDATE day_sum SET documents = documents + 1 WHERE day = :day",
        "UPDATE day_sum SET documents = documents - 1 WHERE day = :day",
        (Level.DAY, "day-sum-count", None),
        id="a document too many in a day",
    ),
    pytest.param(
        "UPDATE settlement SET settlement_no = -settlement_no WHERE settlement_no = :number",
        "UPDATE settlement SET settlement_no = -settlement_no WHERE settlement_no = -:number",
        (Level.DOCUMENT, "document-missing", "number"),
        id="a settlement taken away",
    ),
    pytest.param(
        "UPDATE settlement SET institution_code = 'X' WHERE settlement_no = :number",
        "UPDATE settlement SET institution_code = :code WHERE settlement_no = :number",
        (Level.DOCUMENT, "document-institution", "number"),
        id="a settlement moved to another institution",
    ),
]


@pytest.mark.parametrize("found_by", ["check", "check_all"])
@pytest.mark.parametrize(("breaks", "mends", "expected"), BREAKS)
def test_what_is_broken_is_found_named_and_freezes_its_flow_only(books, breaks, mends, expected, found_by):
    day = AT + timedelta(days=next(_serials))
    good = claim()
    (answer,) = books.settle(good, at=day)
    person = first(books.rows("SELECT person_no FROM person WHERE citizen_id_no = :id", id=good.citizen_id_no))
    values = {"number": answer.settlement_no, "person": person, "day": day.date(), "code": HOSPITAL}
    if found_by == "check_all":
        assert books.check().findings == []
    books.break_it(breaks, mends, values)

    report = getattr(books, found_by)(at=day)

    level, code, document = expected
    if (code, found_by) == ("document-institution", "check_all"):
        code = "document-missing"  # from nothing, it is a link without its document and a document without its link
    assert (level, code, values["number"] if document else None) in names(report)
    assert {finding.document_no for finding in report.findings} <= {values["number"], -values["number"], None}
    assert not report.holds
    assert report.newly_frozen == len({finding.key for finding in report.findings})
    frozen = books.rows("SELECT DISTINCT institution_code, scheme, clearing_type, person_no FROM frozen_flow")
    assert {row[:3] for row in frozen if row[3] is None} <= {(HOSPITAL, "employee", "11"), ("X", "employee", "11"),
                                                            (HOSPITAL, "*", "*")}  # fmt: skip
    assert all(row == ("*", "*", "*", person) for row in frozen if row[3] is not None)
    books.check_all(at=day)
    assert books.check_all(at=day).newly_frozen == 0  # found again it is the same
    books.mend()
    assert books.check_all(at=day).findings == []
    assert books.check(at=day).findings == []


def test_a_document_that_is_gone_freezes_its_flow_only_as_its_postings_say_it(books):
    (answer,) = books.settle(claim())
    number = {"number": answer.settlement_no}
    books.break_it(
        "UPDATE settlement SET settlement_no = -settlement_no WHERE settlement_no = :number",
        "UPDATE settlement SET settlement_no = -settlement_no WHERE settlement_no = -:number",
        number,
    )
    books.check(at=AT)
    missing = "SELECT institution_code, scheme, clearing_type FROM frozen_flow WHERE code = 'document-missing'"
    assert books.rows(missing) == [(HOSPITAL, "employee", "11")]
    books.mend()


def test_a_document_left_out_of_the_sum_of_its_day_is_named(books):
    """Or one of those that are alike to the fen: nobody could say which of them it was."""
    day = AT + timedelta(days=next(_serials))
    answers = books.settle(claim(), claim(), at=day)
    amounts = ", ".join(f"{name} = d.{name} {{sign}} s.{name}" for name in DAY_AMOUNTS[1:])
    moved = (
        f"UPDATE day_sum d SET documents = d.documents {{sign}} 1, {amounts} FROM settlement s"
        " WHERE s.settlement_no = :number AND d.day = :day"
    )
    values = {"number": answers[0].settlement_no, "day": day.date()}
    books.break_it(moved.format(sign="-"), moved.format(sign="+"), values)

    (found,) = [finding for finding in books.check_all(at=day).findings if finding.level is Level.DAY]

    assert found.suspects == tuple(answer.settlement_no for answer in answers)
    assert all(str(number) in found.why for number in found.suspects)
    with books.engine.connect() as connection:
        assert found.why in connection.execute(text("SELECT why FROM frozen_flow")).scalars().all()
    books.mend()


@pytest.mark.parametrize(
    ("stray", "gone", "table"),
    [
        ("INSERT INTO posting VALUES (77, 'fund:employee:basic', 5), (77, 'bank:employee', -5)",
         "DELETE FROM posting WHERE document_no = 77", "posting"),
        ("INSERT INTO accumulator_entry VALUES (77, 1, 'inpatient', 0, 5)",
         "DELETE FROM accumulator_entry WHERE settlement_no = 77", "accumulator_entry"),
        ("INSERT INTO detail (settlement_no, line_count, total_fen, lines, received_at) VALUES (77, 1, 5, '', now())",
         "DELETE FROM detail WHERE settlement_no = 77", "detail"),
    ],
    ids=["posting", "accumulator entry", "detail"],
)  # fmt: skip
def test_what_is_kept_of_no_document_is_told_and_freezes_nobody(books, stray, gone, table):
    books.break_it(stray, gone, {})

    found = [finding for finding in books.check_all().findings if finding.code == "document-stray"]

    assert [(finding.document_no, finding.subject) for finding in found] == [(77, table)]
    assert not books.settle(claim())[0].refusal, "it is of no flow, so none is frozen"


@pytest.mark.parametrize(
    ("breaks", "mends", "code"),
    [
        ("UPDATE posting SET amount_fen = amount_fen + 7 WHERE document_no = :number AND account = 'premium:employee'",
         "UPDATE posting SET amount_fen = amount_fen - 7 WHERE document_no = :number AND account = 'premium:employee'",
         "fund-account"),
        ("UPDATE chain_link SET institution_code = 'gone' WHERE institution_code = '*' AND link_no = 1",
         "UPDATE chain_link SET institution_code = '*' WHERE institution_code = 'gone'",
         "link-missing"),
    ],
    ids=["a premium", "a link"],
)  # fmt: skip
def test_what_is_wrong_with_the_citys_own_documents_is_told_and_freezes_no_institution(books, breaks, mends, code):
    with books.engine.begin() as connection:
        number = credit(connection, "employee", {1: 500}, by="甲", reason="三月划入", at=AT)
    books.break_it(breaks, mends, {"number": number})

    assert code in {finding.code for finding in books.check_all().findings}
    assert not books.settle(claim())[0].refusal


def test_the_database_takes_nothing_for_a_document_that_stands_or_is_not_there(books):
    (answer,) = books.settle(claim())
    pair = "INSERT INTO posting VALUES (:number, 'fund:employee:basic', 5), (:number, 'fund:employee:large_amount', -5)"
    stray = "INSERT INTO detail (settlement_no, line_count, total_fen, lines, received_at) VALUES (78, 1, 5, '', now())"
    for statement, said in ((pair, "has its postings"), (stray, "which there is not")):
        with pytest.raises(IntegrityError, match=said), books.engine.begin() as connection:
            connection.execute(text(statement), {"number": answer.settlement_no})


def test_a_settlement_from_before_its_scheme_was_kept_is_not_reported(books):
    """Its row says no scheme, its postings do; as the conversion of old postings left it."""
    day = AT + timedelta(days=next(_serials))
    (answer,) = books.settle(claim(), at=day)
    values = {"number": answer.settlement_no, "day": day.date()}
    for table, where in (("settlement", "settlement_no = :number"), ("day_sum", "day = :day")):
        books.break_it(
            f"UPDATE {table} SET scheme = '' WHERE {where}",
            f"UPDATE {table} SET scheme = 'employee' WHERE {where}",
            values,
        )

    assert books.check_all(at=day).findings == []
    assert books.check(at=day).findings == []
    books.break_it(
        "UPDATE posting SET amount_fen = amount_fen + CASE WHEN account LIKE 'cash:%' THEN 5 ELSE -5 END"
        " WHERE document_no = :number AND (account LIKE 'cash:%' OR account LIKE 'payable:%')",
        "UPDATE posting SET amount_fen = amount_fen - CASE WHEN account LIKE 'cash:%' THEN 5 ELSE -5 END"
        " WHERE document_no = :number AND (account LIKE 'cash:%' OR account LIKE 'payable:%')",
        values,
    )
    found = names(books.check_all(at=day))
    assert (Level.DOCUMENT, "document-postings", answer.settlement_no) in found
    assert (Level.FUND, "fund-account", None) in found


def test_how_long_the_history_is_makes_no_difference_to_a_run(books):
    """What flows have come to is kept, not added up again: a year of days more is not read."""
    books.settle(claim())
    books.check()
    books.settle(claim())
    kept = "SELECT sum(total_fen), sum(fund_pay_fen), sum(account_pay_fen), sum(institution_share_fen) FROM"
    assert books.check().findings == []
    assert books.rows(f"{kept} checked_flow") == books.rows(f"{kept} checked_day")
    with books.engine.connect() as connection:
        cursor = cursor_of(connection)
        codes = {HOSPITAL, CLINIC}
        kept_of, summed = accounts.flows_checked(cursor, codes, {}), accounts.flows_summed(cursor, codes)
        assert {flow: fen for flow, fen in kept_of.items() if any(fen)} == summed


# ── Lines ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def uploaded(books):
    """A settlement of real lines whose detail has come; its number."""
    visit_no = f"L{next(_serials):08d}"
    packed = pack_lines(list(LINES))
    rows = [(line, CATALOGUE.on(HOSPITAL, line.local_item_code, line.charge_date)) for line in LINES]
    sums = total_up(rows, packed, PLAIN)._asdict()
    (answer,) = books.settle(claim(visit_no=visit_no, **sums))
    assert not answer.refusal
    with books.engine.begin() as connection:
        connection.execute(
            insert(detail).values(
                settlement_no=answer.settlement_no,
                line_count=sums["line_count"],
                total_fen=sums["total_fen"],
                lines=packed,
                received_at=AT,
            )
        )
    return answer.settlement_no


@pytest.mark.parametrize("found_by", ["check", "check_all"])
@pytest.mark.parametrize(
    ("breaks", "mends", "expected"),
    [
        pytest.param(
            "UPDATE detail SET total_fen = total_fen + 1 WHERE settlement_no = :number",
            "UPDATE detail SET total_fen = total_fen - 1 WHERE settlement_no = :number",
            (Level.DOCUMENT, "line-total"), id="another sum over the lines",
        ),
        pytest.param(
            "UPDATE detail SET lines = lines || '\\x00' WHERE settlement_no = :number",
            "UPDATE detail SET lines = substr(lines, 1, length(lines) - 1) WHERE settlement_no = :number",
            (Level.DOCUMENT, "line-digest"), id="other lines",
        ),
        pytest.param(
            "UPDATE settlement SET pre_self_pay_fen = pre_self_pay_fen + 1, own_expense_fen = own_expense_fen - 1"
            " WHERE settlement_no = :number",
            "UPDATE settlement SET pre_self_pay_fen = pre_self_pay_fen - 1, own_expense_fen = own_expense_fen + 1"
            " WHERE settlement_no = :number",
            (Level.LINE, "line-parts"), id="another split than that of the lines",
        ),
    ],
)  # fmt: skip
def test_lines_are_checked_against_their_settlement(books, uploaded, breaks, mends, expected, found_by):  # noqa: PLR0917
    books.break_it(breaks, mends, {"number": uploaded})

    report = getattr(books, found_by)()

    assert (*expected, uploaded) in names(report)
    assert {finding.document_no for finding in report.findings} <= {uploaded, None}
    assert report.levels[Level.LINE].count >= len(LINES)


def test_uploaded_lines_are_checked_once(books, uploaded):
    assert books.check().levels[Level.LINE].count >= len(LINES)
    assert books.check().levels[Level.LINE].count == 0


# ── Frozen ────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_broken_flow_is_frozen_until_two_persons_release_it(books):
    settled, held = claim(), claim()
    books.settle(settled)
    day = AT + timedelta(days=next(_serials))
    books.settle(claim(), at=day)
    books.break_it(
        "UPDATE day_sum SET total_fen = total_fen + 3 WHERE day = :day",
        "UPDATE day_sum SET total_fen = total_fen - 3 WHERE day = :day",
        {"day": day.date()},
    )
    assert not books.check(at=day).holds

    (refused,) = books.settle(held)
    assert (refused.refusal, refused.detail) == (Refusal.FROZEN, sentence(Refusal.FROZEN))
    assert books.rows("SELECT count(*) FROM parked WHERE visit_no = :v", v=held.visit_no) == [(0,)]
    assert books.take_back(settled).refusal == Refusal.FROZEN
    assert books.settle(settled)[0].refusal == ""  # what is settled is answered as it was
    stay = {"visit_type": "1", "visit_started": AT.date(), "covers_to": AT.date()}
    assert books.settle(claim(**stay))[0].refusal == ""
    assert books.settle(claim(institution_code=CLINIC), frontend=OTHER_FRONTEND)[0].refusal == ""

    ((number,),) = books.rows("SELECT min(freeze_no) FROM frozen_flow")
    with books.engine.begin() as connection:
        proposal = propose_release(connection, number, by="王核算", reason="日合计多 3 分，已查明", at=AT)
    with pytest.raises(CannotDecide):
        approve(books.engine, proposal, by="王核算", at=AT)
    assert books.settle(held)[0].refusal == Refusal.FROZEN
    assert approve(books.engine, proposal, by="李科长", at=AT).state == "approved"

    assert books.settle(held)[0].refusal == ""
    assert not books.take_back(settled).refusal
    report = books.check_all(at=day)
    assert report.findings
    assert report.holds  # as it was released, it does not freeze again
    assert books.settle(claim())[0].refusal == ""
    books.sql("UPDATE day_sum SET total_fen = total_fen + 1 WHERE day = :day", day=day.date())
    assert not books.check_all(at=day).holds  # worse than what was released
    books.sql("UPDATE day_sum SET total_fen = total_fen - 1 WHERE day = :day", day=day.date())


def test_of_a_broken_account_only_that_person_is_frozen(books):
    one, relative = claim(), claim()
    books.settle(one)
    person = first(books.rows("SELECT person_no FROM person WHERE citizen_id_no = :id", id=one.citizen_id_no))
    books.break_it(
        "UPDATE accumulator SET amount_fen = amount_fen + 1 WHERE person_no = :person",
        "UPDATE accumulator SET amount_fen = amount_fen - 1 WHERE person_no = :person",
        {"person": person},
    )
    books.check()

    (shut,) = books.settle(claim(citizen_id_no=one.citizen_id_no))
    (open_,) = books.settle(relative)

    assert (shut.refusal, open_.refusal) == (Refusal.FROZEN, "")


def test_a_mended_finding_that_comes_back_freezes_again(books):
    day = AT + timedelta(days=next(_serials))
    books.settle(claim(), at=day)
    wrong = "UPDATE day_sum SET total_fen = total_fen + 3 WHERE day = :day"
    right = "UPDATE day_sum SET total_fen = total_fen - 3 WHERE day = :day"
    books.break_it(wrong, right, {"day": day.date()})
    before = books.check_all(at=day).newly_frozen
    books.sql("UPDATE frozen_flow SET released_at = now(), released_by = 'a', approved_by = 'b'")
    assert books.check_all(at=day).holds
    books.sql(right, day=day.date())
    assert books.check_all(at=day).findings == []

    books.sql(wrong, day=day.date())

    assert books.check_all(at=day).newly_frozen == before > 0


# ── Nothing false ─────────────────────────────────────────────────────────────────────────────────────────


def test_once_a_night_everything_is_checked_from_nothing(books):
    books.settle(claim())
    night = AT.replace(hour=2, minute=30) + timedelta(days=1)
    assert check_nightly(books.engine, books.shelves, at=night.replace(hour=1)) is None
    found = check_nightly(books.engine, books.shelves, at=night)
    assert found is not None
    assert found.holds
    assert check_nightly(books.engine, books.shelves, at=night + timedelta(hours=1)) is None
    assert check_nightly(books.engine, books.shelves, at=night + timedelta(days=1)) is not None


def test_while_batches_commit_nothing_is_broken_and_the_running_sums_are_those_of_the_documents(books):
    """Four settle and take back across midnight, two check without a pause: each snapshot is whole."""
    midnight = AT.replace(hour=23, minute=59, second=59)
    seed = random.randrange(10**6)
    done = threading.Event()

    def settle(worker):
        chance = random.Random(f"{seed}:{worker}")
        code, frontend = ((HOSPITAL, FRONTEND), (CLINIC, OTHER_FRONTEND))[worker % 2]
        kept = []
        for number in range(8):
            at = midnight + timedelta(seconds=chance.choice([0, 0.5, 1, 2]), days=chance.randrange(2))
            batch = [
                totals(
                    0,
                    visit_no=f"R{worker}{number:03d}{each:02d}{seed:06d}",
                    institution_code=code,
                    citizen_id_no=synthetic_citizen_id(300 + chance.randrange(40)),
                    visit_type=chance.choice(["3", "3", "4"]),
                    in_scope_fen=(scope := chance.randrange(1, 60_000)),
                    total_fen=scope + 1000,
                )
                for each in range(chance.randrange(1, 8))
            ]
            answers = books.settle(*batch, at=at, frontend=frontend)
            kept += [each for each, answer in zip(batch, answers, strict=True) if not answer.refusal]
            if kept and chance.random() < 0.5 and frontend == FRONTEND:
                books.take_back(kept.pop(chance.randrange(len(kept))), at=at + timedelta(seconds=1))

    def check(way):
        found = []
        while not done.is_set():
            found += getattr(books, way)(**({"links_at_a_time": 3} if way == "check" else {})).findings
        return found

    with ThreadPoolExecutor(6) as pool:
        checking = [pool.submit(check, "check"), pool.submit(check, "check_all")]
        settling = [pool.submit(settle, worker) for worker in range(4)]
        for each in settling:
            each.result()
        done.set()
        assert [finding for each in checking for finding in each.result()] == [], seed

    books.check()
    columns = ", ".join((*DAY_KEY, *DAY_AMOUNTS))
    summed, checked = (books.rows(f"SELECT {columns} FROM {table} WHERE documents > 0 ORDER BY 1, 2, 3, 4, 5")
                       for table in ("day_sum", "checked_day"))  # fmt: skip
    assert summed == checked
    assert books.check_all().findings == []
    assert books.check().documents == 0


def test_what_is_new_is_found_broken_by_both_alike(books):
    """Random days with some documents broken before anybody looked: the same documents, whichever way is looked."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    assert books.check().findings == []
    for round_ in range(6):
        numbers = []
        for _ in range(chance.randrange(1, 5)):
            at = AT + timedelta(days=chance.randrange(3))
            claims = [
                claim(in_scope_fen=(scope := chance.randrange(1, 40_000)), total_fen=scope + 1000)
                for _ in range(chance.randrange(1, 6))
            ]
            numbers += [answer.settlement_no for answer in books.settle(*claims, at=at)]
            if chance.random() < 0.4:
                books.take_back(claims[0], at=at + timedelta(hours=1))
        for number in chance.sample(numbers, chance.randrange(0, 1 + len(numbers) // 2)):
            shift = chance.choice([-1, 1, 1000])
            change = "UPDATE posting SET amount_fen = amount_fen {} :shift WHERE document_no = :number"
            change += " AND account LIKE 'charges:%'"
            books.break_it(change.format("+"), change.format("-"), {"number": number, "shift": shift})

        new = books.check(links_at_a_time=chance.randrange(1, 5))
        everything = books.check_all()

        assert set(names(new)) == set(names(everything)), (seed, round_)
        books.leave()
        assert books.check_all().findings == []


def test_who_slept_past_its_lease_writes_nothing_and_nothing_is_missed(books, monkeypatch):
    books.settle(claim())
    seen = []

    def look(*arguments):
        found = whole_look(*arguments)
        if not seen:
            seen.append(found)
            with books.engine.begin() as connection:
                connection.execute(text("UPDATE lease SET fence = fence + 1, holder = 'other' WHERE name = :n"),
                                   {"n": checking.LEASE})  # fmt: skip
        return found

    whole_look = checking._look
    monkeypatch.setattr(checking, "_look", look)
    with pytest.raises(LeaseLost):
        books.check()

    assert books.check().documents == 1


def test_two_do_not_check_at_once(books):
    at, now = AT, 1e9
    with books.engine.begin() as connection:
        assert take(connection, lease, name=checking.LEASE, holder="other", now=now, seconds=60) is not None

    assert check_new(books.engine, books.shelves, holder="me", at=at, now=now + 59) is None
    assert check_new(books.engine, books.shelves, holder="me", at=at, now=now + 61) is not None
    books.sql("DELETE FROM lease")


def test_a_gap_in_the_chain_is_found(books):
    books.check()
    books.settle(claim())
    books.settle(claim())
    ((number, link),) = books.rows(
        "SELECT documents[1], link_no FROM chain_link WHERE institution_code = :c"
        " ORDER BY link_no DESC OFFSET 1 LIMIT 1",
        c=HOSPITAL,
    )
    books.break_it(
        "UPDATE chain_link SET institution_code = 'gone' WHERE institution_code = :code AND link_no = :link",
        "UPDATE chain_link SET institution_code = :code WHERE institution_code = 'gone' AND link_no = :link",
        {"code": HOSPITAL, "link": link},
    )

    assert (Level.DOCUMENT, "link-missing", None) in names(books.check())
    assert {(Level.DOCUMENT, "document-unlinked", number), (Level.DOCUMENT, "link-missing", None)} <= set(
        names(books.check_all())
    )


def test_what_was_there_before_the_sums_is_summed_and_holds(empty_database):
    """Down to the release before and up again: settlements, contras and balances that no sum was ever kept of."""
    engine = open_database(empty_database)
    schema.upgrade(engine)
    books = Books(engine, engine, fill_center(engine, persons=5, balance_fen=BALANCE))
    old = [totals(9_000 + number, citizen_id_no=synthetic_citizen_id(number % 3)) for number in range(6)]
    books.settle(*old)
    books.take_back(old[5])
    schema.downgrade(engine, "r0007")
    assert rows_of(engine, "SELECT to_regclass('day_sum')") == [(None,)]

    schema.upgrade(engine)

    assert books.check_all().findings == books.check().findings == []
    assert books.check_all().documents == 7
    opened = "SELECT DISTINCT amount_fen FROM account_opening"
    assert rows_of(engine, opened) == [(BALANCE,)]
    books.settle(totals(9_100, citizen_id_no=synthetic_citizen_id(0)))
    assert books.check().documents == 1
    assert books.check_all().findings == []
    engine.dispose()
