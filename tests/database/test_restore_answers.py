"""After a restore of the centre: what it had refused stays refused, what it had heard is told again, outcomes move."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from center.backup import metrics
from center.backup.progress import waive
from center.backup.restoring import restore, wrong_with
from center.backup.snapshot import backup
from center.catalogue.shelf import CatalogueShelf
from center.outcomes.ask import tell
from center.outcomes.decide import decide
from center.outcomes.expiry import expire
from center.outcomes.prepare import prepare
from center.settling.lines import Published, settle_lines
from center.settling.refund import refund as refund_at_center
from center.settling.settle import settle_submitted
from city.commands.doctor import _epoch
from domain.identity import synthetic_citizen_id
from domain.lifecycle import GIVEN_UP
from domain.messages import (
    ClaimKey,
    DocumentsAsked,
    InstitutionLine,
    LinesSubmitted,
    OutcomeAsked,
    OutcomeDecided,
    OutcomeDecision,
    PrepareAsked,
)
from domain.refusals import Refusal
from infra.database import open_database
from infra.settings import Settings
from tests.support.center import AT, FRONTEND, OTHER_FRONTEND, SUSPENDED, fill_center, rows_of
from tests.support.databases import FreshDatabase
from tests.support.frontend import HOSPITAL, line, shelf, submission
from tests.support.migrating import migrations_once
from tests.support.restored import City
from workers import desk, intake, refund
from workers import epochs as front_epochs
from workers.outcomes import told as recording
from workers.reconciling import books
from workers.reconciling.tables import institution_book
from workers.tables import claim, institution, verdict

SECRET = b"\x07" * 32
PERSON = synthetic_citizen_id(0)
BACKUP_AT = AT + timedelta(hours=1)
TODAY = AT + timedelta(days=1)
RESTORED_AT = TODAY + timedelta(hours=6)


@pytest.fixture(autouse=True)
def migrated_once():
    with migrations_once():
        yield


@pytest.fixture
def city(postgres_url, tmp_path):
    with FreshDatabase(postgres_url, "center_template") as url:
        engine = open_database(url)
        fill_center(engine, persons=4, balance_fen=30_000)
        made = City(tmp_path, engine)
        yield made
        made.close()
        engine.dispose()


@pytest.fixture
def restored(city, postgres_url, tmp_path):
    """Call it when the day is over: the centre is the one of the backup that was taken last."""
    file = tmp_path / "center.backup"
    with FreshDatabase(postgres_url, "template1") as url:
        empty = open_database(url)

        def come_back():
            city.center = empty
            return restore(empty, file, center_secret=SECRET, by="R", reason="drill", at=RESTORED_AT)

        backup(city.center, file, center_secret=SECRET, at=BACKUP_AT)
        city.backup = lambda: (file.unlink(), backup(city.center, file, center_secret=SECRET, at=BACKUP_AT))
        yield come_back
        empty.dispose()


def entitled(city, yes):
    """Let the suspended person's benefit be what the office says now."""
    with city.center.begin() as connection:
        connection.execute(
            text("UPDATE person SET entitled = :yes WHERE citizen_id_no = :id"),
            {"yes": yes, "id": synthetic_citizen_id(SUSPENDED)},
        )


def settled_at(city, submitted, at=RESTORED_AT):
    (answer,) = settle_submitted(city.center, city.shelf, submitted, frontend=FRONTEND, at=at).answers
    return answer


def test_what_was_refused_after_the_backup_stays_refused_though_its_reason_be_gone(city, restored):
    city.hand_in(FRONTEND, [synthetic_citizen_id(SUSPENDED)], fen=5_000, at=TODAY)
    late = city.open_totals(FRONTEND)
    (refused,) = city.settle(FRONTEND, at=TODAY).answers
    assert refused.refusal == Refusal.ENTITLEMENT_SUSPENDED
    restored()
    assert rows_of(city.center, "SELECT 1 FROM parked") == []

    city.bring_up_to_date(at=RESTORED_AT)

    entitled(city, True)
    again = settled_at(city, late)
    assert (again.refusal, again.detail) == (refused.refusal, refused.detail)
    assert rows_of(city.center, "SELECT 1 FROM settlement") == []
    anew = replace(late, claims=(late.claims[0]._replace(submission=1),))
    assert settled_at(city, anew).refusal == ""


def test_lines_that_failed_after_the_backup_stay_failed_though_they_would_pass_today(city, restored):
    site = city.sites[FRONTEND]
    with site.begin() as connection:
        connection.execute(update(institution).values(way="centralized"))
    ahead = line(1, charge_date=TODAY.date() + timedelta(days=1))
    intake.accept(site, [submission(HOSPITAL, "early", lines=[ahead], person=PERSON)], at=TODAY)
    turn = desk.preprocess(site, shelf(), HOSPITAL, limit=5, at=TODAY, now=0.0)
    sent = LinesSubmitted(prepare=False, claims=tuple(turn.whole))
    published = Published(city.shelf, CatalogueShelf())
    answered = settle_lines(city.center, published, sent, frontend=FRONTEND, at=TODAY)
    assert answered.answers[0].refusal == Refusal.LINES_FAILED
    city.deliver(FRONTEND, answered, at=TODAY)
    assert city.states(FRONTEND) == ["returned"]
    restored()
    city.bring_up_to_date(at=RESTORED_AT)

    tomorrow = TODAY + timedelta(days=1)
    (late,) = settle_lines(
        city.center, Published(city.shelf, CatalogueShelf()), sent, frontend=FRONTEND, at=tomorrow
    ).answers

    assert (late.refusal, late.detail) == (Refusal.LINES_FAILED, answered.answers[0].detail)
    assert rows_of(city.center, "SELECT 1 FROM settlement") == []


def test_what_travelled_here_with_its_institution_is_sent_by_whose_books_it_stands_in(city):
    site = city.sites[FRONTEND]
    city.hand_in(FRONTEND, [PERSON], fen=5_000, at=TODAY)
    with site.begin() as connection:
        connection.execute(update(claim).values(state="returned", refused_at=TODAY, origin="hospital-9"))
        connection.execute(delete(verdict))
        asked = DocumentsAsked(epoch=2, since=TODAY - timedelta(days=1), after=0, most=100)
        page = front_epochs.page(connection, asked, at=RESTORED_AT)
    assert (page.documents, page.refusals, page.complete) == ((), (), True)


def test_what_was_refused_and_given_up_after_the_backup_stays_refused(city, restored):
    city.hand_in(FRONTEND, [synthetic_citizen_id(SUSPENDED)], fen=5_000, at=TODAY)
    late = city.open_totals(FRONTEND)
    (refused,) = city.settle(FRONTEND, at=TODAY).answers
    with city.sites[FRONTEND].begin() as connection:
        connection.execute(update(claim).values(state=GIVEN_UP[1]))
    restored()
    city.bring_up_to_date(at=RESTORED_AT)

    entitled(city, True)

    assert settled_at(city, late).refusal == refused.refusal
    assert rows_of(city.center, "SELECT 1 FROM settlement") == []


def test_what_was_cancelled_after_the_backup_stays_cancelled(city, restored):
    city.hand_in(FRONTEND, [PERSON], fen=5_000, at=TODAY)
    late = city.open_totals(FRONTEND)
    asked = PrepareAsked(
        policy_version=late.policy_version, catalogue_version=late.catalogue_version, claims=late.claims
    )
    prepare(city.center, city.shelf, asked, frontend=FRONTEND, at=TODAY, interval=timedelta(minutes=10))
    key = ClaimKey(HOSPITAL, late.claims[0].visit_no, 1)
    with city.center.begin() as connection:
        expire(connection, at=TODAY + timedelta(minutes=11))
        ended = tell(connection, OutcomeAsked(keys=(key,)), frontend=FRONTEND, at=TODAY)
    with city.sites[FRONTEND].begin() as connection:
        recording.record(connection, ended, at=TODAY)
    assert city.states(FRONTEND) == ["cancelled"]
    restored()
    city.bring_up_to_date(at=RESTORED_AT)

    assert settled_at(city, late).refusal == Refusal.PREPARE_EXPIRED
    assert rows_of(city.center, "SELECT 1 FROM settlement") == []


def test_a_refund_refused_after_the_backup_stays_refused(city, restored):
    visits = city.hand_in(FRONTEND, [PERSON], fen=40_000, at=AT)
    city.settle(FRONTEND, at=AT)
    city.backup()
    refund.refund(city.sites[FRONTEND], shelf(), HOSPITAL, visits[0], 1, reason="误", at=TODAY)
    (asked,) = city.open_refunds(FRONTEND)
    wrong = replace(asked, charge_batch_no=7)
    refused = refund_at_center(city.center, city.shelf, wrong, frontend=FRONTEND, at=TODAY)
    assert refused.refusal == Refusal.NOT_SETTLED
    with city.sites[FRONTEND].begin() as connection:
        refund.record(connection, replace(refused, charge_batch_no=1), at=TODAY)
    restored()

    city.bring_up_to_date(at=RESTORED_AT)

    late = refund_at_center(city.center, city.shelf, asked, frontend=FRONTEND, at=RESTORED_AT)
    assert late.refusal == Refusal.NOT_SETTLED
    assert rows_of(city.center, "SELECT kind FROM settlement") == [("normal",)]


def test_refusals_are_paged_with_what_was_settled_and_a_page_twice_is_once(city, restored, monkeypatch):
    monkeypatch.setattr(front_epochs, "MOST_DOCUMENTS", 2)
    for number in range(7):
        person = synthetic_citizen_id(SUSPENDED) if number % 3 else PERSON
        city.hand_in(FRONTEND, [person], fen=5_000, at=TODAY)
    city.settle(FRONTEND, at=TODAY)
    restored()

    city.bring_up_to_date(at=RESTORED_AT)

    (settled,) = rows_of(city.center, "SELECT count(*) FROM settlement")[0]
    (parked,) = rows_of(city.center, "SELECT count(*) FROM parked")[0]
    assert (settled, parked) == (3, 4)
    assert city.states(FRONTEND).count("refused") == 4


def test_a_claim_of_another_or_a_refusal_there_is_not_is_not_parked(city, restored, monkeypatch):
    city.hand_in(FRONTEND, [synthetic_citizen_id(SUSPENDED)] * 2, fen=5_000, at=TODAY)
    city.settle(FRONTEND, at=TODAY)
    restored()
    page = front_epochs.page

    def forged(connection, asked, *, at):
        sent = page(connection, asked, at=at)
        if not sent.refusals:
            return sent
        first, second = sent.refusals
        other = first._replace(claim=first.claim._replace(institution_code="C4401000002"))
        return replace(sent, refusals=(other, second._replace(refusal="busy"), second._replace(refusal="nonsense")))

    monkeypatch.setattr(front_epochs, "page", forged)
    city.bring_up_to_date(at=RESTORED_AT)
    assert rows_of(city.center, "SELECT 1 FROM parked") == []


def test_books_the_restored_centre_lacks_are_sent_again(city, restored):
    site = city.sites[FRONTEND]
    line = InstitutionLine(0, "V1", 1, False, 100, 70, 10)
    for day, answered_at in ((AT.date(), AT - timedelta(days=1)), (TODAY.date(), TODAY)):
        books.hand_in(site, HOSPITAL, day, lines=[line], channel="api", at=answered_at)
        with site.begin() as connection:
            connection.execute(
                update(institution_book).where(institution_book.c.day == day).values(answered_at=answered_at)
            )
    restored()
    city.bring_up_to_date(at=RESTORED_AT)

    with site.connect() as connection:
        days = connection.execute(select(institution_book.c.day).where(institution_book.c.answered_at.is_(None)))
        assert days.scalars().all() == [TODAY.date()]


def test_what_was_confirmed_after_the_backup_is_confirmed_though_its_hold_ran_out(city, restored):
    """Prepared before the backup; the front-end is waived, its hold runs out, and then it tells that it was settled."""
    city.hand_in(FRONTEND, [PERSON], fen=40_000, at=AT)
    sent = city.open_totals(FRONTEND)
    asked = PrepareAsked(
        policy_version=sent.policy_version, catalogue_version=sent.catalogue_version, claims=sent.claims
    )
    key = ClaimKey(HOSPITAL, sent.claims[0].visit_no, 1)
    prepare(city.center, city.shelf, asked, frontend=FRONTEND, at=BACKUP_AT, interval=timedelta(minutes=10))
    city.backup()
    confirmation = OutcomeDecided(decisions=(OutcomeDecision(*key, True),))
    told = decide(city.center, confirmation, frontend=FRONTEND, at=BACKUP_AT + timedelta(minutes=5))
    with city.sites[FRONTEND].begin() as connection:
        recording.record(connection, told, at=TODAY)
    assert city.states(FRONTEND) == ["settled"]
    restored()
    with city.center.begin() as connection:
        waive(connection, FRONTEND, by="R", reason="its line is cut")
    city.ask_all(at=RESTORED_AT, only=OTHER_FRONTEND)
    city.take_up(at=RESTORED_AT)
    with city.center.begin() as connection:
        expire(connection, at=RESTORED_AT)
    assert outcome_of(city) == [("expired", "center", False)]

    city.bring_up_to_date(at=RESTORED_AT)

    assert outcome_of(city) == [("confirmed", "restore", True)]
    with city.center.begin() as connection:
        (outcome,) = tell(connection, OutcomeAsked(keys=(key,)), frontend=FRONTEND, at=RESTORED_AT).outcomes
    assert (outcome.state, outcome.answer) == ("confirmed", told.outcomes[0].answer)
    assert rows_of(city.center, "SELECT held_until FROM person WHERE held_until IS NOT NULL") == []
    assert wrong_with(city.center, at=RESTORED_AT) == []
    with pytest.raises(DBAPIError, match="decided"), city.center.begin() as connection:
        connection.execute(text("UPDATE outcome SET decided_by = 'somebody'"))


def outcome_of(city):
    return rows_of(city.center, "SELECT state, decided_by, settlement_no IS NOT NULL FROM outcome")


def test_metrics_and_doctor_say_that_it_recovers_and_whom_it_waits_for(city, restored, monkeypatch):
    def read():
        with city.center.connect() as connection:
            return {metric.name: metric.samples[0].value for metric in metrics.readings(connection)}

    def doctor():
        url = city.center.url.render_as_string(hide_password=False)
        return next(iter(_epoch(Settings(_env_file=None, center_database_url=url))))

    assert (read()["jiesuan_epoch"], read()["jiesuan_epoch_open"], doctor().ok) == (1.0, 1.0, True)
    city.hand_in(FRONTEND, [PERSON], fen=40_000, at=TODAY)
    city.settle(FRONTEND, at=TODAY)
    epoch = restored().epoch
    found = read()
    assert (found["jiesuan_epoch"], found["jiesuan_epoch_open"]) == (float(epoch), 0.0)
    assert (found["jiesuan_epoch_frontends_owing"], found["jiesuan_epoch_details_owing"]) == (2.0, 2.0)
    assert (doctor().ok, FRONTEND in doctor().words) == (False, True)

    city.ask_all(at=RESTORED_AT)
    assert (read()["jiesuan_epoch_frontends_owing"], read()["jiesuan_epoch_documents_waiting"]) == (0.0, 1.0)
    city.bring_up_to_date(at=RESTORED_AT)
    found = read()
    assert (found["jiesuan_epoch_open"], found["jiesuan_epoch_details_owing"]) == (1.0, 0.0)
    assert doctor().ok
