"""An insurance office for tests: a policy book of a few facts written in TOML, and claims to settle with it."""

from __future__ import annotations

from datetime import date

from domain.benefit import settle
from domain.catalogue import Matched
from domain.money import amount_of, fen, scaled, yuan
from domain.policy import PolicyBook
from domain.policy.reading import parse
from domain.settlement import Occasion, Person
from domain.totals import GroupTotal, LocalTotals, total_up
from domain.visit import ChargeLine, VisitType

DAY = date(2026, 3, 2)
OUTPATIENT = Occasion(VisitType.OUTPATIENT, 3, DAY)
PHARMACY = Occasion(VisitType.PHARMACY, 0, DAY)
SPECIFIC = Occasion(VisitType.SPECIFIC_OUTPATIENT, 3, DAY)
STAY = Occasion(VisitType.INPATIENT, 3, DAY, visit_no="V1")

HEADING = """
[set]
id = "testville"
region = "990000"
title = "测试市"
benefit_year_starts = "{starts}"
[source.DOC]
title = "测试文件"
verified = "official"
[policy]
facts = [
"""


def office(*facts, rest="person", place="band", starts="01-01"):
    """The policy book of an office with these facts; what they do not say is said in the plainest way."""
    rows = list(facts)
    if not any("rest_goes_to" in fact for fact in facts):
        rows.append(f'kind = "rounding", place = "{place}", mode = "half_up", digits = 2, rest_goes_to = "{rest}"')
    if not any('kind = "deductible"' in fact and "scheme" not in fact for fact in facts):
        rows.append('kind = "deductible", amount = "0.00", per = "visit"')
    return PolicyBook([parse(HEADING.format(starts=starts) + "".join(map(_row, rows)) + "]\n")])


def _row(fact):
    for key, value in (("scheme", '"any"'), ("from", "2020-01-01"), ("src", '"DOC"')):
        if f" {key} =" not in fact:
            fact += f", {key} = {value}"
    return f"{{ {fact} }},\n"


def share(ratio, low="0.00", high=None, more=""):
    border = "" if high is None else f', high = "{high}"'
    return f'kind = "share", ratio = "{ratio}", low = "{low}"{border}{more}'


def deductible(amount, per="visit", more=""):
    return f'kind = "deductible", amount = "{amount}", per = "{per}"{more}'


def cap(amount, per="year", basis="fund_paid", more=""):
    return f'kind = "cap", amount = "{amount}", per = "{per}", basis = "{basis}"{more}'


def account(*segments, more=""):
    return f'kind = "account_pays", may_pay = {list(segments)}{more}'.replace("'", '"')


def totals(own="0.00", over="0.00", pre="0.00", scope="0.00", **groups):
    """Totals in yuan; a group is named with what it has in scope."""
    parts = [fen(amount) for amount in (own, over, pre, scope)]
    of_groups = tuple(GroupTotal(name, fen(each), 0, 0, 0, fen(each)) for name, each in sorted(groups.items()))
    return LocalTotals(sum(parts), *parts, 1, b"", of_groups)


def person(balance="0.00", scheme="employee", category="1", **more):
    return Person(scheme=scheme, category=category, account_balance_fen=fen(balance), **more)


def graded(*lines):
    """Totals of lines given as (grade, price, quantity, ratio of the first share)."""
    classes = {"A": "1", "B": "2", "C": "9"}
    rows = []
    for grade, price, quantity, ratio in lines:
        price_1e4, quantity_1e2 = scaled(price, 10_000), scaled(quantity, 100)
        item = Matched("00", "C", classes[grade], scaled(ratio, 10_000) if grade == "B" else 0, None, "01")
        amount = amount_of(price_1e4, quantity_1e2)
        rows.append((ChargeLine(len(rows) + 1, DAY, "L", "项目", 1, "", "", price_1e4, quantity_1e2, amount), item))
    return total_up(rows, b"")


def in_yuan(settlement, *names):
    return {name: yuan(getattr(settlement, f"{name}_fen")) for name in names}


def cells(settlement):
    """The matrix in yuan, as {"segment@payer": amount}."""
    return {f"{segment}@{payer}": yuan(amount) for (segment, payer), amount in settlement.matrix().items()}


def after(accumulators, settlement):
    """The accumulators after a settlement."""
    moved = {entry.key: entry.before_fen + entry.applied_fen for entry in settlement.entries}
    return {**accumulators, **moved}


def in_turn(book, who, *claims, used=None):
    """Settle claims one after the other, the accumulators running on; claims are (totals, occasion)."""
    used, settled = dict(used or {}), []
    for claim, occasion in claims:
        settled.append(settle(claim, who, used, book, occasion))
        used = after(used, settled[-1])
    return settled
