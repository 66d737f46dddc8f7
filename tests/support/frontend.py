"""A front-end with a small catalogue and a small policy, and the claims its institutions hand in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import cache
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from domain.catalogue import Catalogue, CatalogueItem, Match
from domain.messages import ClaimTotals
from domain.totals import total_up
from domain.visit import ChargeLine, Visit, VisitType, pack_lines
from infra.clock import SHANGHAI
from infra.database import open_database
from infra.reference import CataloguePublished, ReferenceShelf, catalogue_row, policy_row
from workers import intake, schema
from workers.intake import Submission
from workers.tables import claim, institution, reference

HOSPITAL = "440100000001"
CLINIC = "440100000002"
PHARMACY = "440100000003"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=SHANGHAI)
DAY = NOON.date()

PERSON = "11010519491231002X"
"""The identity number the national standard prints as its example; nobody's."""

POLICY = """
[set]
id = "test-city"
region = "440000"
title = "试验市基本医疗保险"
benefit_year_starts = "01-01"

[source.TEST]
title = "made for the tests"
verified = "memory"

[policy]
facts = [
  { kind = "deductible", scheme = "employee", amount = "100.00", per = "year", from = 2020-01-01, src = "TEST" },
  { kind = "share", scheme = "employee", ratio = "0.80", basis = "in_scope", from = 2020-01-01, src = "TEST" },
  { kind = "cap", scheme = "employee", amount = "300000.00", per = "year", basis = "fund_paid", from = 2020-01-01, src = "TEST" },
  { kind = "account_pays", scheme = "employee", may_pay = ["in_scope"], from = 2020-01-01, src = "TEST" },
  { kind = "rounding", scheme = "any", place = "fund_share", mode = "half_up", digits = 2, rest_goes_to = "person", from = 2020-01-01, src = "TEST" },
]
"""  # noqa: E501

ITEMS = (
    CatalogueItem("C001", "阿莫西林胶囊", "1", "1", "01", 0),
    CatalogueItem("C002", "头孢克肟片", "1", "2", "01", 1000),
    CatalogueItem("C003", "一次性手套", "0", "9", "09", None),
    CatalogueItem("C004", "血常规", "0", "1", "05", 0, 200000),
)


def published(institutions: Iterable[str], version: str = "catalogue-1") -> CataloguePublished:
    """The catalogue; every institution calls centre item C00n its own L00n."""
    matches = tuple(
        Match(code, item.item_code.replace("C", "L"), item.match_type, item.item_code, item.item_name,
              item.coverage_class, True)
        for code in institutions
        for item in ITEMS
    )  # fmt: skip
    return CataloguePublished(version=version, items=ITEMS, matches=matches)


def new_frontend(url: str, *codes: str, backlog_cap: int = 1000) -> Engine:
    """A migrated front-end database with these institutions, a catalogue and a policy in force."""
    codes = codes or (HOSPITAL, CLINIC)
    engine = open_database(url)
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).write_bytes(_filled_file(codes, backlog_cap))
    else:
        _fill(engine, codes, backlog_cap)
    return engine


@cache
def _filled_file(codes: tuple[str, ...], backlog_cap: int) -> bytes:
    """The file of such a database: most tests begin with the same, and migrating takes longer than most of them."""
    with TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{folder}/frontend.db")
        _fill(engine, codes, backlog_cap)
        engine.dispose()
        return Path(folder, "frontend.db").read_bytes()


def _fill(engine: Engine, codes: Iterable[str], backlog_cap: int) -> None:
    schema.upgrade(engine)
    with engine.begin() as connection:
        for code in codes:
            add_institution(connection, code, backlog_cap=backlog_cap)
        connection.execute(insert(reference), [catalogue_row(published(codes)), policy_row(POLICY)])


def add_institution(connection: Connection, code: str, *, backlog_cap: int = 1000) -> None:
    """An institution is a row."""
    connection.execute(
        insert(institution).values(
            institution_code=code,
            short_code=short_code(code),
            name=f"试验机构{code[-4:]}",
            kind="hospital",
            level=2,
            backlog_cap=backlog_cap,
        )
    )


def short_code(code: str) -> str:
    """The first six characters of an institution's visit numbers."""
    return f"T{code[-5:]}"


def line(line_no: int = 1, **change: Any) -> ChargeLine:
    """A good line: two boxes of a class A medicine at 12.50 yuan."""
    good = ChargeLine(line_no, DAY, "L001", "阿莫西林胶囊", 1, "0.25g*24", "胶囊", 125000, 200, 2500)
    return good._replace(**change)


LINES = (
    line(1),
    line(2, local_item_code="L002", unit_price_1e4=333300, quantity_1e2=100, line_amount_fen=3333),
    line(3, local_item_code="L003", unit_price_1e4=5000, quantity_1e2=300, line_amount_fen=150),
    line(4, local_item_code="L004", unit_price_1e4=250000, quantity_1e2=100, line_amount_fen=2500),
)
"""One good line of every kind: class A, class B, own expense, over the price limit."""

BAD_LINE = line(1, line_amount_fen=2501)
"""Code 14: not price times quantity."""


def visit(institution_code: str = HOSPITAL, **change: Any) -> Visit:
    """A registered outpatient visit whose number is still to be issued."""
    registered = Visit(
        visit_no="",
        institution_code=institution_code,
        citizen_id_no=PERSON,
        visit_type=VisitType.OUTPATIENT,
        visit_date=DAY,
        person_name="试验人",
    )
    return replace(registered, **change)


def submission(
    institution_code: str = HOSPITAL,
    key: str = "key-1",
    *,
    lines: Iterable[ChargeLine] = LINES,
    visit_no: str = "",
    batch_no: int | None = None,
    person: str = PERSON,
    content: str | None = None,
    **change: Any,
) -> Submission:
    """One claim as a door hands it in; `content` stands for other content under the same key."""
    lines = list(lines)
    handed_in = content.encode() if content is not None else pack_lines(lines) + person.encode()
    return Submission(
        institution_code=institution_code,
        visit=visit(institution_code, visit_no=visit_no, citizen_id_no=person),
        charge_batch_no=batch_no,
        lines=lines,
        idempotency_key=key,
        content_digest=blake2b(handed_in, digest_size=16).digest(),
        channel=change.pop("channel", "api"),
        **change,
    )


def hand_in(engine: Engine, institution_code: str, count: int, *, prefix: str = "key", **change: Any) -> list[int]:
    """Accept this many claims of an institution; their ids."""
    outcomes = intake.accept(
        engine,
        [submission(institution_code, f"{prefix}-{number}", **change) for number in range(count)],
        at=NOON,
    )
    return [outcome.claim_id for outcome in outcomes if isinstance(outcome, intake.Accepted)]


def rows(engine: Engine, *columns: Any) -> list[Any]:
    """These columns of every claim, in the order of acceptance."""
    with engine.connect() as connection:
        return list(connection.execute(select(*columns).order_by(claim.c.claim_id)))


def states(engine: Engine) -> list[str]:
    """The state of every claim, in the order of acceptance."""
    return [row.state for row in rows(engine, claim.c.state)]


def shelf() -> ReferenceShelf:
    """The published reference data of the front-end."""
    return ReferenceShelf(reference)


def totals_of(
    institution_code: str, visit_no: str, lines: Iterable[ChargeLine] = LINES, *, batch_no: int = 1
) -> ClaimTotals:
    """What the domain says the totals of these lines are."""
    lines = list(lines)
    catalogue = published([institution_code])
    on = Catalogue(catalogue.version, catalogue.items, catalogue.matches).on
    matched = [on(institution_code, each.local_item_code, each.charge_date or DAY) for each in lines]
    totals = total_up(zip(lines, matched, strict=True), pack_lines(lines))
    return ClaimTotals(institution_code, visit_no, batch_no, PERSON, "3", DAY, *totals[:7], groups=totals.groups)
