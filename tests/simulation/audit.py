"""At the end of the week: what each HIS holds, what the front-end's books hold, what the centre's hold, and the plan.

Everything is compared with the plan first, stay by stay, so that a failure names the first stay that differs.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal

from tests.simulation.his import Result
from tests.simulation.insurance import BALANCE_FEN, FILES, TABLES, citizen
from tests.simulation.life import Life
from tests.simulation.week import DAYS, Stay

OF_ITS_OWN = {"JYDJH", "YYBH", "GMSFHM", "ZYH", "BZ1", "DRBZ"}
"""Columns of FYJS that two stays with the same charges do not share: whose it is, when it was written, whether read."""


def audit(life: Life) -> dict[str, int]:
    """Compare everything with everything; what was compared, in numbers. Raises AssertionError with seed and stay."""
    insurance, visit_nos = life.insurance, life.visit_nos
    results = {code: _by_visit(his.results()) for code, his in life.his.items()}
    settled = insurance.settlements()
    lines = batches = 0
    for stay in life.week.stays:
        of_ways = []
        for code in (FILES, TABLES):
            visit_no, where = visit_nos[code][stay.serial], f"seed {life.seed}, institution {code}, stay {stay.serial}"
            told = results[code].get(visit_no, [])
            planned, imported = list(stay.right_lines()), insurance.imported(visit_no)
            assert imported == planned, f"{where}: lines imported {imported}, planned {planned}"
            free = insurance.lines_unsettled(code, visit_no)
            assert free == (len(planned) if stay.is_refunded else 0), f"{where}: {free} lines are to be settled"
            _as_planned(stay, told, where)
            at_centre = [settled.pop((visit_no, int(row["FYPC"]))) for row in told]
            read = [tuple(_fen(row[code]) for code in ("ZYZJE", "SBZFJE", "ZHZFJE")) for row in told]
            assert at_centre == read, f"{where}: the centre settled {at_centre}, the HIS read {read}"
            if stay.is_refunded:
                standing = insurance.standing(citizen(code, stay))
                assert standing == ({}, BALANCE_FEN), f"{where}: taken back, and yet {standing}"
            of_ways.append([{code: row[code] for code in row.keys() - OF_ITS_OWN} for row in told])
            lines, batches = lines + len(planned), batches + len(told)
        files, tables = of_ways
        assert files == tables, f"seed {life.seed}, stay {stay.serial}: files {files}, tables {tables}"
    assert settled == {}, f"seed {life.seed}: settlements no HIS was told of, {sorted(settled)}"
    _nothing_beside(life)
    return {"stays": 2 * len(life.week.stays), "lines": lines, "batches": batches}


def _as_planned(stay: Stay, told: list[Result], where: str) -> None:
    """The batches of a stay, and where it was refunded their contra settlements, last first: numbers, days, totals."""
    totals = [sum(line.line_amount_fen or 0 for line in batch) for batch in stay.batches]
    if stay.is_refunded:
        totals += [-total for total in reversed(totals)]
    found = [(int(row["FYPC"]), _fen(row["ZYZJE"])) for row in told]
    assert found == list(enumerate(totals, 1)), f"{where}: batches {found}, planned {totals}"
    for row in told:
        parts = sum(_fen(row[code]) for code in ("SBZFJE", "GRZFJE3", "YYFDJE"))
        assert parts == _fen(row["ZYZJE"]), f"{where}: the parts of batch {row['FYPC']} come to {parts}"
    if stay.is_refunded:
        assert not any(sum(_fen(row[code]) for row in told) for code in ("SBZFJE", "ZHZFJE", "GRZFJE3")), where


def _nothing_beside(life: Life) -> None:
    """No line, row, registration or discharge that the plan does not know; the books of both sides agree."""
    insurance = life.insurance
    for code, his in life.his.items():
        visit_nos = sorted(life.visit_nos[code].values())
        planned = {
            (life.visit_nos[code][stay.serial], line.line_no) for stay in life.week.stays for line in stay.right_lines()
        }
        assert his.verdicts().keys() == planned, f"seed {life.seed}, institution {code}: rows"
        assert sorted(his.registered().values()) == visit_nos, f"seed {life.seed}, institution {code}: registrations"
        assert sorted(his.discharged()) == visit_nos, f"seed {life.seed}, institution {code}: discharges"
        assert insurance.failures(code) == [], f"seed {life.seed}, institution {code}: error list"
    days = [life.week.day(day) for day in range(DAYS)]
    assert insurance.differences(days, at=life.at + timedelta(days=1)) == {}, f"seed {life.seed}: reconciliation"


def audit_log(life: Life, log: str) -> None:
    """What the readers wrote holds events, no error and no person."""
    events = [json.loads(line) for line in log.splitlines()]
    wrong = [event["event"] for event in events if event["level"] not in ("info", "warning")]
    assert events and not wrong, f"seed {life.seed}: {Counter(wrong)}"
    assert not any(citizen(code, stay) in log for code in life.his for stay in life.week.stays), f"seed {life.seed}"


def _by_visit(results: list[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = defaultdict(list)
    for row in sorted(results, key=lambda row: (row["JYDJH"], row["FYPC"])):
        found[row["JYDJH"]].append(row)
    return found


def _fen(amount: Decimal | int | None) -> int:
    return int(Decimal(amount or 0).scaleb(2))
