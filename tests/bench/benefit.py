"""What one settlement costs, steps included: from local totals, from 20 lines, and what the second opinion adds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from domain.benefit import settle
from domain.catalogue import Catalogue
from domain.checker import check
from domain.checks import check_lines
from domain.policy import PolicyBook
from domain.policy.reading import parse
from domain.settlement import Occasion, Person
from domain.totals import LocalTotals, total_up
from domain.visit import VisitType, pack_lines
from infra.memory import spare_the_collector
from tests.bench.claims import DAY, POLICY, claims, items, published

CLAIMS = 2_000
RUNS = 5
BEIJING = (Path(__file__).parents[2] / "policies" / "beijing_employee.toml").read_text(encoding="utf-8")


def run() -> dict[str, float]:
    """CPU microseconds per settlement, median of five runs over 2,000: by what it is settled from.

    The cycle collector is spared, as in every process that settles.
    """
    spare_the_collector()
    return {**_outpatients(), **_stays()}


def _outpatients() -> dict[str, float]:
    """Nanchang, ordinary outpatient care, 20 lines of the sample catalogue."""
    book = PolicyBook([parse(POLICY)])
    everything = published(items())
    catalogue = Catalogue(everything.version, everything.items, everything.matches)
    persons = [Person(scheme="employee", category=each, account_balance_fen=50_000) for each in "12"]
    occasion = Occasion(VisitType.OUTPATIENT, 3, DAY, visit_no="H00001260302000A")
    rules = book.line_rules("employee", "1", VisitType.OUTPATIENT, 3, DAY)
    handed_in = []
    for claim in claims(CLAIMS):
        matched = check_lines(claim.visit, claim.lines, catalogue, DAY).matched
        handed_in.append((list(zip(claim.lines, matched, strict=True)), pack_lines(claim.lines)))
    totals = [total_up(lines, packed, rules) for lines, packed in handed_in]
    used = {"basic:3:fund:-:2026": 12_345, "basic:3:deductible:-:2026": 10_000}
    settled = [settle(each, persons[n % 2], used, book, occasion) for n, each in enumerate(totals)]

    def from_totals() -> None:
        for n, each in enumerate(totals):
            settle(each, persons[n % 2], used, book, occasion)

    def from_lines() -> None:
        for n, (lines, packed) in enumerate(handed_in):
            settle(total_up(lines, packed, rules), persons[n % 2], used, book, occasion)

    def checked() -> None:
        for n, each in enumerate(totals):
            check(settled[n], each, persons[n % 2], used, policy=book, at=occasion)

    return {
        "outpatient, from totals": _spent(from_totals),
        "outpatient, from 20 lines": _spent(from_lines),
        "outpatient, second opinion": _spent(checked),
    }


def _stays() -> dict[str, float]:
    """Beijing, stays of a tertiary hospital: three bands, second stay, cap of the year, large amount above it."""
    book = PolicyBook([parse(BEIJING)])
    chance = random.Random(1)
    stays = []
    for serial in range(CLAIMS):
        scope, own = chance.randrange(100_000, 20_000_000), chance.randrange(500_000)
        totals = LocalTotals(scope + own, own, 0, 0, scope, 300, b"")
        person = Person(scheme="employee", category=chance.choice("12"), account_balance_fen=100_000, age=60)
        stays.append((totals, person, Occasion(VisitType.INPATIENT, 3, DAY, visit_no=f"S{serial:05d}")))
    used = {"basic:1:fund:-:2026": 5_000_000}
    settled = [settle(totals, person, used, book, occasion) for totals, person, occasion in stays]

    def from_totals() -> None:
        for totals, person, occasion in stays:
            settle(totals, person, used, book, occasion)

    def checked() -> None:
        for found, (totals, person, occasion) in zip(settled, stays, strict=True):
            check(found, totals, person, used, policy=book, at=occasion)

    return {"stay, from totals": _spent(from_totals), "stay, second opinion": _spent(checked)}


def _spent(work: Callable[[], Any]) -> float:
    work()
    return round(median(_once(work) for _ in range(RUNS)) / CLAIMS * 1e6, 1)


def _once(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
