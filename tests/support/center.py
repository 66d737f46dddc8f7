"""A centre with two institutions, some persons, a small catalogue and a small policy, and claims for it to settle."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, insert, text

from center.serving.entering import enter
from center.tables import person, reference
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimTotals, TotalsSubmitted
from domain.policy.reading import parse
from infra.clock import SHANGHAI
from infra.reference import ReferenceShelf, catalogue_row, policy_row
from tests.support.frontend import CLINIC, HOSPITAL, POLICY, published

FRONTEND, OTHER_FRONTEND = "hospital-1", "shared-1"
AT = datetime(2026, 3, 2, 9, 30, tzinfo=SHANGHAI)
CATALOGUE_VERSION = "catalogue-1"
POLICY_VERSION = parse(POLICY).version

SUSPENDED, UNINSURED, PENSIONER, STRANGE = 900_001, 900_002, 900_003, 900_004
"""Serials of a person whose entitlement is suspended, of one whose scheme has no policy, of nobody we know, and of one
of a category no policy knows."""


def fill_center(engine: Engine, *, persons: int = 20, balance_fen: int = 0, policy: str = POLICY) -> ReferenceShelf:
    """Add the institutions, the persons 0, 1, 2, ... and the reference data to an empty centre."""
    rows = [person_row(serial, account_balance_fen=balance_fen) for serial in range(persons)]
    rows.append(person_row(SUSPENDED, entitled=False))
    rows.append(person_row(UNINSURED, scheme="resident", category="70"))
    rows.append(person_row(STRANGE, category="6"))
    with engine.begin() as connection:
        enter(
            connection,
            [
                institution_row(HOSPITAL, FRONTEND),
                institution_row(CLINIC, OTHER_FRONTEND),
                institution_row("440100000009", FRONTEND, active=False),
            ],
        )
        connection.execute(insert(person), rows)
        connection.execute(
            insert(reference), [catalogue_row(published([HOSPITAL, CLINIC], CATALOGUE_VERSION)), policy_row(policy)]
        )
    return ReferenceShelf(reference)


def institution_row(code: str, frontend: str, **change: Any) -> dict[str, Any]:
    """A row of the centre's `institution`, with who serves it, as `enter` takes it."""
    row = {"institution_code": code, "name": "试验机构", "kind": "hospital", "level": 2, "frontend": frontend}
    return row | {"active": True} | change


def person_row(serial: int, **change: Any) -> dict[str, Any]:
    """A row of `person`; nobody's identity number."""
    row = {"citizen_id_no": synthetic_citizen_id(serial), "scheme": "employee", "category": "1"}
    return row | {"civil_servant": False, "entitled": True, "account_balance_fen": 0} | change


def totals(serial: int = 1, **change: Any) -> ClaimTotals:
    """Good totals of the visit with this serial: 110.00 yuan, 100.00 of it in scope, by person 0."""
    return ClaimTotals(
        institution_code=HOSPITAL,
        visit_no=f"T00001260302{serial:04d}",
        charge_batch_no=1,
        citizen_id_no=synthetic_citizen_id(0),
        visit_type="3",
        visit_date=AT.date(),
        total_fen=11000,
        own_expense_fen=500,
        over_limit_fen=200,
        pre_self_pay_fen=300,
        in_scope_fen=10000,
        line_count=5,
        digest=bytes(16),
    )._replace(**change)


def submitted(*claims: ClaimTotals, **change: Any) -> TotalsSubmitted:
    """The claims as one batch with the versions in force."""
    versions = {"policy_version": POLICY_VERSION, "catalogue_version": CATALOGUE_VERSION} | change
    return TotalsSubmitted(**versions, claims=claims)


def rows_of(engine: Engine, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """What a query finds now."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def first(rows: Iterable[tuple[Any, ...]]) -> Any:
    """The only value of the only row."""
    ((value,),) = rows
    return value


def until_somebody_waits(engine: Engine) -> None:
    """Return when a transaction in the database waits for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    deadline = time.monotonic() + 15
    while not first(rows_of(engine, query)):
        assert time.monotonic() < deadline, "nobody waits"
