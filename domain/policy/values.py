"""How each value of a policy fact is read (条款取值): exact, typed, or refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from domain.money import fen, scaled
from domain.policy.facts import BASIC, LAYERS, SCHEMES, VISITS
from domain.policy.rules import RATIO_SCALE
from domain.settlement import IN_SCOPE, SEGMENTS
from domain.visit import VisitType


class Wrong(ValueError):
    """One value of one fact does not read."""


_DAY_OF_YEAR = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", re.ASCII)
_NAME = re.compile(r"[^\s:]{1,40}")


def text(value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise Wrong("a text is needed")
    return value


def _name(value: object) -> str:
    if not _NAME.fullmatch(text(value)):
        raise Wrong("a name has no blank and no colon")
    return str(value)


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Wrong("true or false is needed")
    return value


def number(value: object) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10_000:
        raise Wrong("a whole number is needed")
    return value


def _positive(value: object) -> int:
    if number(value) == 0:
        raise Wrong("at least 1")
    return number(value)


def day(value: object) -> date:
    """A day."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise Wrong("a day is needed, such as 2026-01-01")
    return value


def day_of_year(value: object) -> tuple[int, int]:
    """Month and day, such as 07-01; not 29 February."""
    if not isinstance(value, str) or not _DAY_OF_YEAR.fullmatch(value):
        raise Wrong('month and day are needed, such as "07-01"')
    month, number_of_day = int(value[:2]), int(value[3:])
    try:
        date(2001, month, number_of_day)
    except ValueError:
        raise Wrong("there is no such day in every year") from None
    return month, number_of_day


def _decimal_text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong('write the number as a text, such as "0.85", so that it stays exact')
    return value


def amount(value: object) -> int:
    """An amount in yuan, as fen."""
    read = fen(_decimal_text(value))
    if read < 0:
        raise Wrong("an amount is not negative")
    return read


def _amount_if_known(value: object) -> int | None:
    """An empty text: the document says that there is an amount, and we do not know it."""
    return None if value == "" else amount(value)


def ratio(value: object) -> int:
    """A ratio from 0 to 1, in ten-thousandths."""
    read = scaled(_decimal_text(value), RATIO_SCALE)
    if not 0 <= read <= RATIO_SCALE:
        raise Wrong("a ratio lies between 0 and 1")
    return read


def _ratio_if_known(value: object) -> int | None:
    return None if value == "" else ratio(value)


def _factor(value: object) -> int:
    read = scaled(_decimal_text(value), RATIO_SCALE)
    if not 0 <= read <= 10 * RATIO_SCALE:
        raise Wrong("a factor lies between 0 and 10")
    return read


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _names(value: object) -> tuple[str, ...]:
    names = tuple(text(each) for each in _list(value))
    if not names:
        raise Wrong("at least one name is needed")
    return names


def _one_of(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise Wrong(f"one of {', '.join(allowed)} is needed")
        return str(value)

    return read


def _some_of(*allowed: str) -> Callable[[object], tuple[str, ...]]:
    read_one = _one_of(*allowed)

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise Wrong("a list is needed")
        return tuple(dict.fromkeys(read_one(each) for each in value))

    return read


def _one_or_more_of(*allowed: str) -> Callable[[object], tuple[str, ...]]:
    some = _some_of(*allowed)
    return lambda value: some(_list(value))


def _visits(value: object) -> frozenset[VisitType]:
    names = _list(value)
    if not names or any(name not in VISITS for name in names if isinstance(name, str)):
        raise Wrong(f"of {', '.join(VISITS)}")
    return frozenset(VISITS[text(name)] for name in names)


def _levels(value: object) -> frozenset[int]:
    levels = [number(each) for each in _list(value)]
    if not levels or max(levels) > 3:
        raise Wrong("levels are 0 to 3")
    return frozenset(levels)


def _persons(value: object) -> frozenset[str]:
    persons = [str(number(each)) for each in _list(value)]
    if not persons:
        raise Wrong("at least one person category is needed")
    return frozenset(persons)


def _words_or_numbers(value: object) -> tuple[str, ...]:
    return tuple(str(number(each)) if isinstance(each, int) else text(each) for each in _list(value))


def _stays(value: object) -> tuple[int, int]:
    read = [_positive(each) for each in _list(value)]
    if len(read) != 2 or read[0] > read[1]:
        raise Wrong("the first and the last stay are needed, such as [2, 99]")
    return read[0], read[1]


PERIODS = ("visit", "stay", "settlement_period", "day", "month", "quarter", "year")

READERS: Mapping[str, Callable[[object], Any]] = {
    # of every fact
    "kind": text,
    "scheme": _one_of(*SCHEMES, *LAYERS, "any"),
    "insured": _one_or_more_of(*SCHEMES),
    "visit": _visits,
    "person": _persons,
    "level": _levels,
    "when": _names,
    "disease": _names,
    "class": _words_or_numbers,
    "rank": _names,
    "institution": _names,
    "registration_kind": _words_or_numbers,
    "medical_type": _words_or_numbers,
    "age_from": number,
    "age_to": number,
    "from": day,
    "to": day,
    "src": text,
    "assumed": flag,
    "from_assumed": flag,
    "note": text,
    # amounts and shares
    "low": amount,
    "high": amount,
    "amount": _amount_if_known,
    "unlimited": flag,
    "not_below": amount,
    "above": amount,
    "up_to": amount,
    "less": amount,
    "at_least": amount,
    "ratio": _ratio_if_known,
    "self_ratio": ratio,
    "keeps": ratio,
    "beyond": ratio,
    "add": ratio,
    "over_age": number,
    "ceiling": ratio,
    "factor": _factor,
    # how they are counted
    "per": _one_of(*PERIODS),
    "per_disease": flag,
    "per_institution": flag,
    "counter": _name,
    "basis": _one_of(
        "in_scope", "after_deductible", "in_scope_with_person", "left_by_layers_before", "fund_paid", "charges",
        "total", "own_share",
    ),
    "layers": _some_of(BASIC, *LAYERS),
    "includes": _some_of(*SEGMENTS),
    "excludes": _some_of(*SEGMENTS),
    "relieves": _some_of(*SEGMENTS),
    "use": _one_or_more_of(*SEGMENTS),
    "after": _one_of("account"),
    "cap_follows": text,
    "follows": _one_of(*VISITS),
    # deductible
    "stays": _stays,
    "days": _positive,
    "as_next_stay": flag,
    "mode": text,
    # items, institution, account
    "item": _name,
    "covers": _some_of(*SEGMENTS, IN_SCOPE),
    "pays": _name,
    "rest": _one_of("person", IN_SCOPE),
    "times": number,
    "on_limit": _one_of("refuse", "unpooled"),
    "may_pay": _some_of(*SEGMENTS, IN_SCOPE),
    "family": lambda value: value if value in ("before", "after") else "after" if flag(value) else "",
    "first": flag,
    "counts_as": _one_of("pre_self_pay", "self_pay"),
    # lines
    "grade": number,
    "from_catalogue": flag,
    "ratio_from": _one_of("catalogue", "policy"),
    "price_limit": _one_of("before_pre_self_pay", "after_pre_self_pay"),
    "over_limit": _one_of("apart", "own_expense"),
    # calendar, rounding, states
    "place": _one_of("line", "band", "fund_share", "shared_segment", "layer", "totals"),
    "digits": number,
    "rest_goes_to": _one_of("fund", "person"),
    "starts": day_of_year,
    "bands": _one_of("continue", "restart"),
    "deductible": _one_of("continue", "again"),
    "stay": _one_of("whole", "split"),
    "day": _one_of("settlement", "discharge", "admission"),
    "benefit": _one_of("none", "refused"),
    "name": _name,
    "holds": flag,
    # reversal: read here, obeyed by the use case that gives back
    "uses": text,
    "accumulators": text,
    "cuts": text,
    "across_months": flag,
    "across_years": flag,
    "free_days": number,
    "later": text,
}  # fmt: skip

AMOUNTS = frozenset(key for key, read in READERS.items() if read in (amount, _amount_if_known))
"""The keys whose values are fen once read."""
RATIOS = frozenset(key for key, read in READERS.items() if read in (ratio, _ratio_if_known, _factor))
"""The keys whose values are counted in 1/RATIO_SCALE once read."""
