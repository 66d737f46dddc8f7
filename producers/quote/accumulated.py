"""What is used up so far, as a document says it: by the key of an accumulator, or by a name a cashier knows.

A name says fund and what is counted; the visit type and the period come from what the policy looks at for this case.
`_month`, `_quarter`, `_day` and `_visit` behind a name choose the period where the policy counts over several.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from domain import accumulators, money
from domain.accumulators import COUNT, STAY_NO, STAYS, NotAKey, read_key
from domain.settlement import Occasion
from producers.api.problems import FieldError, pointer

NAMES: dict[str, tuple[str, str, str]] = {
    "fund_paid": ("basic", accumulators.FUND, "统筹基金已付"),
    "deductible_paid": ("basic", accumulators.DEDUCTIBLE, "已付起付"),
    "in_scope": ("basic", accumulators.IN_SCOPE, "已进入政策范围"),
    "over_cap": ("basic", accumulators.OVER_CAP, "已超限额"),
    "stays": ("basic", accumulators.STAYS, "已住院次数"),
    "count": ("basic", accumulators.COUNT, "已享受次数"),
    "large_amount_paid": ("large_amount", accumulators.FUND, "大额补助已付"),
    "serious_illness_base": ("serious_illness", accumulators.BASE, "大病保险累计基数"),
    "serious_illness_paid": ("serious_illness", accumulators.FUND, "大病保险已付"),
    "civil_servant_paid": ("civil_servant", accumulators.FUND, "公务员补助已付"),
    "assistance_paid": ("assistance", accumulators.FUND, "医疗救助已付"),
}
"""A name, the fund and the segment of its keys, and what it is called."""

_COUNTS = frozenset({STAYS, STAY_NO, COUNT})
_PERIODS = {
    "year": re.compile(r"[0-9]{4}"),
    "month": re.compile(r"[0-9]{4}-[0-9]{2}"),
    "quarter": re.compile(r"[0-9]{4}Q[1-4]"),
    "day": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "visit": re.compile(r"stay/.*"),
}
"""By the text of a period; a name without one means the first of these the policy looks at."""


class Accumulated(NamedTuple):
    """What a document says is used up: by key, in fen or as a count, and what of it nothing looks at."""

    amounts: dict[str, int]
    unused: list[str]


def accumulated(
    given: Mapping[str, str], looked_at: Collection[str], occasion: Occasion, errors: list[FieldError]
) -> Accumulated:
    """The accumulators a document gives; `looked_at` are the keys the policy may look at for the case."""
    amounts: dict[str, int] = {}
    unused: list[str] = []
    for name, text in given.items():
        place = pointer(("accumulators", name))
        key = name if ":" in name else _key_of(name, looked_at, occasion, place, errors)
        if not key:
            continue
        if ":" in name and not _reads(name, place, errors):
            continue
        if key in amounts:
            errors.append({"pointer": place, "code": "accumulator-twice", "detail": "同一累计以两个名称给出"})
        amount = _amount(key, text, place, errors)
        if amount is None:
            continue
        amounts[key] = amount
        if amount and key not in looked_at:
            unused.append(name)
    return Accumulated(amounts, unused)


def is_count(key: str) -> bool:
    """Whether the accumulator counts times, not fen."""
    return read_key(key).segment in _COUNTS


def _reads(name: str, place: str, errors: list[FieldError]) -> bool:
    try:
        read_key(name)
    except NotAKey:
        detail = "累计的键应为 基金:就诊类别:分段:标记:期间，例如 basic:3:fund:-:2026"
        errors.append({"pointer": place, "code": "accumulator-unknown", "detail": detail})
        return False
    return True


def _amount(key: str, text: str, place: str, errors: list[FieldError]) -> int | None:
    counts = is_count(key)
    if counts == ("." in text):
        detail = '次数应写成整数，例如 "1"' if counts else '金额应有两位小数，例如 "120.00"'
        errors.append({"pointer": place, "code": "wrong-form", "detail": detail})
        return None
    return int(text) if counts else money.fen(text)


def _key_of(name: str, looked_at: Collection[str], occasion: Occasion, place: str, errors: list[FieldError]) -> str:
    """The key a name stands for in this case: one the policy looks at, else that of the year."""
    bare, _, period = name.rpartition("_")
    if name in NAMES or bare not in NAMES or period not in _PERIODS:
        bare, period = name, ""
    if bare not in NAMES:
        detail = f"没有这个累计名称；可用 {'、'.join(NAMES)}，或累计的键"
        errors.append({"pointer": place, "code": "accumulator-unknown", "detail": detail})
        return ""
    fund, segment, _ = NAMES[bare]
    own = [key for key in map(read_key, sorted(looked_at)) if (key.fund, key.segment) == (fund, segment)]
    kind = occasion.visit_type.value
    own = [key for key in own if key.visit_type == kind] or own
    for wanted in [period] if period else _PERIODS:
        for key in own:
            if _PERIODS[wanted].fullmatch(key.period):
                return str(key)
    return accumulators.key(fund, kind, segment, accumulators.ALL, _period(period, occasion))


def _period(period: str, occasion: Occasion) -> str:
    if period == "visit":
        return accumulators.stay_of(occasion.visit_no)
    return accumulators.period_of(period or "year", occasion.day, (1, 1))
