"""One centre and three front-ends that settle in the three ways: the same claims of the same persons, side by side.

Each way has persons and visit numbers of its own, alike in everything but their numbers, so that no way's settlements
are in another's accumulators.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select, update

from center.tables import person
from domain.catalogue import CatalogueItem, Match
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimAnswer, ClaimTotals
from domain.money import amount_of
from domain.visit import ChargeLine, VisitType
from domain.ways import Way
from infra.codec import unpack
from infra.reference import CataloguePublished, catalogue_row, policy_row
from tests.support.center import AT, fill_center, person_row
from tests.support.frontend import HOSPITAL, new_frontend, submission
from tests.support.line import Line
from workers import entitlement, intake
from workers.intake import Submission
from workers.tables import claim, claim_content, institution, reference, verdict

POLICIES = Path(__file__).parents[2] / "policies"
PERSONS = 4
"""In each history; the last one is nobody the centre knows."""
BALANCE_FEN = 90_000
CATEGORIES = ("1", "2", "1")

ITEMS = (
    CatalogueItem("C001", "阿莫西林胶囊", "1", "1", "01", 0),
    CatalogueItem("C002", "头孢克肟片", "1", "2", "01", 1000),
    CatalogueItem("C003", "一次性手套", "0", "9", "09", None),
    CatalogueItem("C004", "血常规", "0", "1", "05", 0, 200000, level_limits=((2, 180000),)),
    CatalogueItem("C005", "谈判药", "1", "2", "01", 1555, benefit_group="negotiated_a"),
    CatalogueItem("C006", "分档药", "1", "2", "01", 700, 99999, group_ratios=(("2", 350), ("employee", 611))),
)


def published(version: str) -> CataloguePublished:
    """The catalogue of the histories."""
    matches = tuple(
        Match(HOSPITAL, item.item_code.replace("C", "L"), item.match_type, item.item_code, item.item_name,
              item.coverage_class, True)
        for item in ITEMS
    )  # fmt: skip
    return CataloguePublished(version=version, items=ITEMS, matches=matches)


class Ways:
    """The three front-ends, each over a line of its own, and their centre."""

    def __init__(self, folder: Path, center: Engine, center_url: str, *, policy: str) -> None:
        self.center = center
        text = (POLICIES / f"{policy}.toml").read_text()
        fill_center(center, persons=0, policy=text)
        self._publish(center, text)
        self.lines: dict[Way, Line] = {}
        for way in Way:
            (folder / way).mkdir()
            engine = new_frontend(f"sqlite:///{folder}/{way}/frontend.db", HOSPITAL)
            self._publish(engine, text)
            line = Line(folder / way, engine, center_url)
            self.set_way(line, way)
            self.lines[way] = line
        self._next = 0

    def close(self) -> None:
        """Give the connections back."""
        for line in self.lines.values():
            line.close()
            line.engine.dispose()

    @staticmethod
    def set_way(line: Line, way: Way) -> None:
        """As the terms of the institution have it from now on."""
        with line.engine.begin() as connection:
            connection.execute(update(institution).values(way=way))

    @staticmethod
    def _publish(engine: Engine, policy: str) -> None:
        table = reference
        with engine.begin() as connection:
            connection.execute(table.delete())
            connection.execute(insert(table), [catalogue_row(published("catalogue-7")), policy_row(policy)])

    def histories(self, chance: random.Random, *, claims: int) -> dict[Way, list[Submission]]:
        """The same claims for every way, under numbers of each; their persons are at the centre."""
        start, self._next = self._next, self._next + 3 * PERSONS
        rows, made = [], {}
        drawn = list(_drawn(chance, claims))
        for place, way in enumerate(Way):
            serials = range(start + place * PERSONS, start + (place + 1) * PERSONS)
            numbers = [synthetic_citizen_id(serial) for serial in serials]
            rows += [
                person_row(serial, account_balance_fen=BALANCE_FEN, category=category)
                for serial, category in zip(serials, CATEGORIES, strict=False)
            ]
            made[way] = [
                _numbered(each, numbers[who], f"T{HOSPITAL[-5:]}{place}{start:04d}{number:05d}")
                for number, (who, each) in enumerate(drawn)
            ]
        with self.center.begin() as connection:
            connection.execute(insert(person), rows)
        return made

    def settle(self, way: Way, handed_in: list[Submission], *, together: int) -> None:
        """Register, lease, accept and settle them, so many at once, until nothing is under way."""
        line = self.lines[way]
        for start in range(0, len(handed_in), together):
            some = handed_in[start : start + together]
            entitlement.ask(line.frontend, {each.visit.citizen_id_no for each in some})
            line.carry()
            intake.accept(line.engine, some, at=line.clock.now())
            line.ring()

    def became(self, way: Way, handed_in: list[Submission]) -> list[Any]:
        """What became of each, as its institution and its front-end's books have it: all but numbers and moments."""
        return [_seen(self.lines[way].engine, each.visit.visit_no) for each in handed_in]


def _drawn(chance: random.Random, claims: int) -> Iterator[tuple[int, Submission]]:
    """Whose claim, and the claim: outpatient visits and stays, some lines wrong, some amounts over every cap."""
    for number in range(claims):
        who = chance.choices(range(PERSONS), weights=(8, 8, 8, 1))[0]
        is_stay = chance.random() < 0.4
        days = chance.randrange(1, 9) if is_stay else 0
        day = AT.date() - timedelta(days=days)
        lines = [_line(chance, at + 1, AT.date(), days) for at in range(chance.randrange(1, 9))]
        if chance.random() < 0.2:
            at = chance.randrange(len(lines))
            lines[at] = chance.choice(_SPOILT)(lines[at])
        each = submission(HOSPITAL, f"history-{number}", lines=lines, channel="dbf", batch_no=1)
        kind = chance.choice((VisitType.INPATIENT, VisitType.SPECIFIC_OUTPATIENT)) if is_stay else VisitType.OUTPATIENT
        visit = replace(each.visit, visit_type=kind, visit_date=day)
        final = chance.random() < 0.7
        yield who, replace(each, visit=visit, final=final, covers_to=AT.date() if is_stay else None)


def _line(chance: random.Random, number: int, today: date, days: int) -> ChargeLine:
    item = chance.choice(ITEMS)
    price = chance.choice((chance.randrange(1, 10**6), chance.randrange(10**6, 10**9)))
    quantity = chance.choice((100, 100, 200, chance.randrange(1, 5000)))
    day = today - timedelta(days=chance.randrange(days + 1))
    amount = amount_of(price, quantity)
    if not amount:
        price, quantity, amount = 125000, 100, 1250
    code = item.item_code.replace("C", "L")
    return ChargeLine(number, day, code, item.item_name, chance.choice((None, 1, 7)), "", "", price, quantity, amount)


_SPOILT = (
    lambda line: line._replace(line_amount_fen=(line.line_amount_fen or 0) + 1),
    lambda line: line._replace(local_item_code="L999"),
    lambda line: line._replace(charge_date=line.charge_date + timedelta(days=40)),
    lambda line: line._replace(local_item_name=" ", quantity_1e2=0),
)


def _numbered(each: Submission, citizen_id_no: str, visit_no: str) -> Submission:
    visit = replace(each.visit, citizen_id_no=citizen_id_no, visit_no=visit_no)
    return replace(each, visit=visit, idempotency_key=f"{each.idempotency_key}:{visit_no}")


def _seen(engine: Engine, visit_no: str) -> Any:
    with engine.connect() as connection:
        row = connection.execute(
            select(claim, verdict.c.codes, claim_content.c.lines)
            .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
            .outerjoin(verdict, verdict.c.claim_id == claim.c.claim_id)
            .where(claim.c.visit_no == visit_no)
        ).one()
    answer = None if row.answer is None else unpack(row.answer, ClaimAnswer)
    totals = None if row.totals is None else unpack(row.totals, ClaimTotals)
    return {
        "state": row.state,
        "refusal": row.refusal,
        "codes": row.codes,
        "amounts": None if answer is None else (*answer[5:14], answer.cells, answer.scheme),
        "entries": None if answer is None else [(key.replace(visit_no, "V"), *rest) for key, *rest in answer.entries],
        "detail": None if answer is None else answer.detail,
        "sums": None if totals is None or row.state != "settled" else (*totals[6:12], totals.groups),
        "versions": (row.policy_version, row.catalogue_version) if row.state == "settled" else None,
        "fund": row.fund_pay_fen,
    }
