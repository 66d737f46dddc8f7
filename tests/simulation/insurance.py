"""The insurance side of the week: one front-end with two hospitals, its operator, and the centre.

Everything is the code that runs in earnest, on a front-end's file and a centre on PostgreSQL; what travels between the
two is handed over here, so that only the readers are other processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, update

from center.persons import entitlements
from center.reconciling import books as center_books
from center.serving.entering import enter
from center.settling.refund import refund as take_back
from center.settling.settle import settle_submitted
from center.tables import person
from center.tables import reference as center_reference
from domain.identity import synthetic_citizen_id
from domain.messages import BooksAsked, PersonAsked, TotalsSubmitted
from domain.visit import ChargeLine, Discharge, Registration
from infra.database import open_database
from infra.envelope import frontend_key
from infra.reference import ReferenceShelf, catalogue_row, policy_row
from infra.settings import Settings
from producers.his.tables.postgres_site import Tenant
from producers.his.tables.unread import UnreadRows
from producers.his.unread import UnreadInFiles
from tests.simulation.week import Stay, Week
from tests.support.center import institution_row, person_row, rows_of
from tests.support.exchange import INSURANCE_LOGIN, PASSWORD, make_exchange
from tests.support.frontend import CLINIC, HOSPITAL, POLICY, add_institution, published, shelf, short_code
from workers import books, deliver, desk, entitlement, refund, schema, visits
from workers.tables import institution, reference

FRONTEND = "hospital-1"
SECRET = b"\x07" * 32
BALANCE_FEN = 20_000
PERSONS = 5_000
"""The patients of the second hospital are numbered from here."""

FILES, TABLES = HOSPITAL, CLINIC
"""The two hospitals, of one kind and level: the first exchanges files, the second shared tables."""

_OF, _SINCE = 'scheme = "employee", visit =', 'from = 2020-01-01, src = "TEST" },'
_HALF_UP = 'mode = "half_up", digits = 2, rest_goes_to = "person"'
STAYS_POLICY = f"""{POLICY[: POLICY.index("facts = [")]}facts = [
  {{ kind = "deductible", {_OF} "inpatient", amount = "500.00", per = "stay", {_SINCE}
  {{ kind = "deductible", {_OF} "specific_outpatient", amount = "100.00", per = "year", {_SINCE}
  {{ kind = "share", {_OF} "inpatient", person = 1, ratio = "0.90", basis = "in_scope", {_SINCE}
  {{ kind = "share", {_OF} "inpatient", person = 2, ratio = "0.93", basis = "in_scope", {_SINCE}
  {{ kind = "share", {_OF} "specific_outpatient", ratio = "0.80", basis = "in_scope", {_SINCE}
  {{ kind = "cap", scheme = "employee", amount = "9000.00", per = "year", basis = "fund_paid", {_SINCE}
  {{ kind = "account_pays", scheme = "employee", may_pay = ["in_scope"], {_SINCE}
  {{ kind = "rounding", scheme = "any", place = "fund_share", {_HALF_UP}, {_SINCE}
]
"""
"""Other shares for those in work and the retired, a cap that long stays reach, an account that pays."""


class Insurance:
    """What both hospitals deal with."""

    def __init__(self, folder: Path, *, broker_url: str, center_url: str, exchange_url: str, week: Week) -> None:
        self.folder = folder
        make_exchange(exchange_url, Tenant(TABLES, short_code(TABLES)))
        url = f"sqlite:///{folder / 'frontend.db'}"
        (folder / "key").write_text(frontend_key(SECRET, FRONTEND).hex())
        (folder / "exchange" / FILES).mkdir(parents=True)
        self._settings = {
            "data_dir": str(folder),
            "center_broker_url": broker_url,
            "frontend": FRONTEND,
            "frontend_database_url": url,
            "frontend_key_file": str(folder / "key"),
            "exchange_dir": str(folder / "exchange"),
            "exchange_database_url": _as_insurance(exchange_url),
        }
        self.engine = _new_frontend(url)
        self.center = open_database(center_url, pool_size=4)
        self.policies = _fill_center(self.center, week)
        self._unread_rows = UnreadRows(Settings.model_validate(self._settings))
        self._unread_in_files = UnreadInFiles(folder / "exchange")
        self._shelf = shelf()
        self._asked: list[Any] = []

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a process of the front-end."""
        return {f"JIESUAN_{name.upper()}": value for name, value in self._settings.items()}

    def close(self) -> None:
        """Give the databases back."""
        self._unread_rows.close()
        self.engine.dispose()
        self.center.dispose()

    # ── The operator ──────────────────────────────────────────────────────────────────────────────────────

    def registers(self, code: str, stays: Sequence[Stay], *, at: datetime) -> dict[int, str]:
        """Register these stays; their visit numbers by serial."""
        asked = [
            Registration(
                visit_no="", institution_code=code, citizen_id_no=citizen(code, stay), visit_type=stay.visit_type,
                visit_date=at.date(), person_name="试验人", admission_diagnosis="肺炎", bed_no=str(stay.serial),
            )
            for stay in stays
        ]  # fmt: skip
        done = visits.register(self.engine, asked, at=at, ask=lambda citizens: self._who_they_are(citizens, at))
        numbers = [each.visit_no for each in done if isinstance(each, visits.Registered)]
        return {stay.serial: number for stay, number in zip(stays, numbers, strict=True)}

    def settles(self, code: str, visit_no: str, *, final: bool, at: datetime) -> object:
        """Ask for one settlement."""
        return visits.settle_visit(self.engine, code, visit_no, final=final, at=at, unread=self._unread)

    def _unread(self, connection: Connection, code: str, visit_no: str) -> int:
        """Both doors together, as the API and the desk ask them."""
        in_files = self._unread_in_files.count(code, visit_no)
        return in_files + self._unread_rows(connection, code, visit_no)

    def discharges(self, code: str, visit_no: str, *, at: datetime) -> object:
        """Enter one discharge."""
        leaving = Discharge(visit_no=visit_no, discharge_date=at.date(), discharge_diagnosis_1="肺炎")
        return visits.discharge(self.engine, code, leaving, at=at)

    def refunds(self, code: str, visit_no: str, charge_batch_no: int, *, at: datetime) -> str:
        """Take one settlement back; why the centre refused, or nothing."""
        asked = refund.refund(self.engine, self._shelf, code, visit_no, charge_batch_no, reason="收费有误", at=at)
        assert isinstance(asked, visits.Refunding), asked
        self._asked = []
        assert refund.send_due(self, now=at.timestamp(), after_seconds=5.0) == 1
        answered = take_back(self.center, self.policies, self._asked[0], frontend=FRONTEND, at=at)
        with self.engine.begin() as connection:
            refund.record(connection, answered, at=at)
        return answered.refusal

    def send(self, task: str, lane: str, message: Any, shown: dict[str, object]) -> bool:
        """Stands for the link: a request for a refund reaches the centre."""
        self._asked.append(message)
        return True

    def center_settles(self, *, at: datetime) -> None:
        """The desk totals what was accepted, the centre settles it, the answers are recorded."""
        for code in (FILES, TABLES):
            while (turn := desk.preprocess(self.engine, self._shelf, code, limit=200, at=at, now=0.0)).totals:
                submitted = TotalsSubmitted(
                    policy_version=turn.policy_version,
                    catalogue_version=turn.catalogue_version,
                    claims=tuple(turn.totals),
                )
                answered = settle_submitted(self.center, self.policies, submitted, frontend=FRONTEND, at=at)
                assert not any(answer.refusal for answer in answered.answers), answered.answers
                with self.engine.begin() as connection:
                    deliver.record_answers(connection, answered, at=at)

    def _who_they_are(self, citizens: Sequence[str], at: datetime) -> None:
        for start in range(0, len(citizens), 300):
            with self.center.connect() as connection:
                asked = PersonAsked(citizens=tuple(citizens[start : start + 300]))
                answered = entitlements(asked, frontend=FRONTEND, connection=connection, at=at)
            entitlement.keep(self.engine, answered, at=at)

    # ── The books ─────────────────────────────────────────────────────────────────────────────────────────

    def imported(self, visit_no: str) -> list[ChargeLine]:
        """The lines of a visit as they are in the books, by number."""
        with self.engine.connect() as connection:
            return sorted(visits.imported(connection, visit_no), key=lambda line: line.line_no or 0)

    def lines_unsettled(self, code: str, visit_no: str) -> int:
        """How many lines of a visit no settlement took, or one that was taken back."""
        with self.engine.connect() as connection:
            view = visits.find(connection, code, visit_no)
        assert view is not None
        return view.lines_unsettled

    def is_to_hand_out(self, *, at: datetime) -> bool:
        """Whether something waits to be handed out, or was and is not noted."""
        with self.engine.connect() as connection:
            return any(visits.to_hand_out(connection, code, at=at, limit=1) for code in (FILES, TABLES))

    def failures(self, code: str) -> list[visits.FailedLine]:
        """What is still on the error list."""
        with self.engine.connect() as connection:
            return visits.failures(connection, code)

    def settlements(self) -> dict[tuple[str, int], tuple[int, int, int]]:
        """At the centre: total, fund and account, by visit and batch."""
        rows = rows_of(
            self.center, "SELECT visit_no, charge_batch_no, total_fen, fund_pay_fen, account_pay_fen FROM settlement"
        )
        found = {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}
        assert len(found) == len(rows), "a batch is settled twice"
        return found

    def standing(self, number: str) -> tuple[dict[str, int], int]:
        """At the centre: a person's accumulators that are not zero, and the account."""
        sums = rows_of(
            self.center,
            "SELECT key, amount_fen FROM accumulator JOIN person USING (person_no)"
            " WHERE citizen_id_no = :number AND amount_fen <> 0",
            number=number,
        )
        [[balance]] = rows_of(
            self.center, "SELECT account_balance_fen FROM person WHERE citizen_id_no = :number", number=number
        )
        return dict(sums), balance

    def differences(self, days: Iterable[date], *, at: datetime) -> dict[str, int]:
        """What the reconciliation of these days finds, in fen."""
        days = list(days)
        for day in days:
            with self.engine.connect() as connection:
                reported = books.report(connection, BooksAsked(day=day))
            with self.center.begin() as connection:
                again = center_books.reconcile(reported, frontend=FRONTEND, connection=connection, at=at)
            assert again is None, f"the totals of {day} differ"
        with self.center.connect() as connection:
            found: Mapping[str, int] = center_books.differences(connection, since=min(days))
            return {code: fen for code, fen in found.items() if fen}


def citizen(code: str, stay: Stay) -> str:
    """The identity number of a stay's patient: nobody's, and another one in each hospital."""
    return synthetic_citizen_id(stay.serial + (PERSONS if code == TABLES else 0))


def _new_frontend(url: str) -> Engine:
    engine = open_database(url)
    schema.upgrade(engine)
    with engine.begin() as connection:
        for code, exchange in ((FILES, "dbf"), (TABLES, "tables")):
            add_institution(connection, code, backlog_cap=100_000)
            of = update(institution).where(institution.c.institution_code == code)
            connection.execute(of.values(exchange=exchange))
        connection.execute(insert(reference), [catalogue_row(published([FILES, TABLES])), policy_row(STAYS_POLICY)])
    return engine


def _fill_center(engine: Engine, week: Week) -> ReferenceShelf:
    everybody = [
        person_row(0, citizen_id_no=citizen(code, stay), category=stay.category, account_balance_fen=BALANCE_FEN)
        for code in (FILES, TABLES)
        for stay in week.stays
    ]
    with engine.begin() as connection:
        enter(connection, [institution_row(code, FRONTEND) for code in (FILES, TABLES)])
        connection.execute(insert(person), everybody)
        connection.execute(
            insert(center_reference), [catalogue_row(published([FILES, TABLES])), policy_row(STAYS_POLICY)]
        )
    return ReferenceShelf(center_reference)


def _as_insurance(exchange_url: str) -> str:
    rest = exchange_url.partition("@")[2]
    return f"postgresql+psycopg://{INSURANCE_LOGIN}:{PASSWORD}@{rest}"
