"""What every seed begins with: two front-ends, four institutions, a handful of insured persons, one policy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time

from sqlalchemy import Engine, insert, update

from center import schema as center_schema
from center.clearing.calendar import set_rule
from center.serving.entering import enter
from center.tables import person, reference, upload_window
from domain.clearing import CalendarRule
from domain.identity import synthetic_citizen_id
from infra.clock import SHANGHAI
from infra.codec import pack
from infra.reference import CATALOGUE as CATALOGUE_KIND
from infra.reference import catalogue_row, policy_row
from tests.support.center import institution_row, person_row
from tests.support.frontend import POLICY, new_frontend, published
from tests.support.uploading import WIDE
from workers.tables import institution as frontend_institution
from workers.tables import reference as frontend_reference

FRONTENDS: dict[str, tuple[str, ...]] = {
    "fe1": ("440100000001", "440100000002"),
    "fe2": ("440100000003", "440100000004"),
}
"""The institutions of each front-end."""

LOCAL, CENTRALIZED = "440100000003", "440100000004"
"""One computes the benefit itself, and the centre confirms; one sends its lines, and the centre computes."""
OFFLINE = {"offline": True, "offline_claim_fen": 50_000, "offline_total_fen": 100_000, "offline_hours": 24}
"""What an institution that may settle while its link is down is allowed; it computes the benefit itself."""
VERY_LARGE = "440100000002"
"""Who is served by both front-ends for a while, in a seed that has it."""
SELLS_OFFLINE = (LOCAL, "440100000001")
"""Who does so in a seed in which links go down: one at each front-end, and they have persons in common."""
TERMS = {LOCAL: {"way": "local", **OFFLINE}, CENTRALIZED: {"way": "centralized"}}
"""Other terms than those of every other institution."""

FLOOD_AT = 10.0
"""When an institution begins to flood, in a seed that has it."""

CODES = tuple(code for codes in FRONTENDS.values() for code in codes)
CATALOGUE = published(CODES, "catalogue-1")
"""Each front-end has the matches of all: fetching them on a move is proved by the tests of the moves."""
PERSONS = tuple(synthetic_citizen_id(serial) for serial in range(6))
"""Few, so that they meet at several institutions at once; the last two use the account of the first."""

BALANCE_FEN = 60_000

SECRET = b"\x05" * 32


def other(frontend: str) -> str:
    """The front-end an institution of this one moves to."""
    return next(name for name in FRONTENDS if name != frontend)


def fill_center(engine: Engine) -> None:
    """A migrated centre with its institutions, persons, windows and reference data."""
    center_schema.upgrade(engine)
    rows = [
        person_row(
            serial,
            account_balance_fen=BALANCE_FEN,
            category="2" if serial % 3 == 2 else "1",
            family_citizen_id_no=PERSONS[0] if serial >= 4 else None,
        )
        for serial in range(len(PERSONS))
    ]
    with engine.begin() as connection:
        enter(
            connection,
            [
                institution_row(code, frontend, **TERMS.get(code, {}))
                for frontend, codes in FRONTENDS.items()
                for code in codes
            ],
        )
        connection.execute(insert(person), rows)
        connection.execute(insert(reference), [catalogue_row(CATALOGUE), policy_row(POLICY)])
        connection.execute(insert(upload_window).values(name="all day", opens=time(0), closes=time(23, 59, 59), **WIDE))
        begin = datetime(2026, 1, 1, tzinfo=SHANGHAI)
        set_rule(connection, CalendarRule(begin.date(), 31, 3, 3), by="甲", reason="按月清算", at=begin)


def fill_frontend(name: str) -> Callable[[Engine], None]:
    """How to fill the database of a front-end."""

    def fill(engine: Engine) -> None:
        codes = FRONTENDS[name]
        new_frontend(str(engine.url), *codes, backlog_cap=1000).dispose()
        with engine.begin() as connection:
            connection.execute(
                update(frontend_reference)
                .where(frontend_reference.c.kind == CATALOGUE_KIND)
                .values(content=pack(CATALOGUE))
            )
            for code, terms in TERMS.items():
                connection.execute(
                    update(frontend_institution).where(frontend_institution.c.institution_code == code).values(terms)
                )

    return fill
