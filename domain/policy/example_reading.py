"""Reading the worked examples of a policy file: every error at once, nothing partly read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from domain.catalogue import CoverageClass, Matched
from domain.money import MAX_FEN, PRICE_SCALE, QUANTITY_SCALE, RATIO_SCALE, NotAnAmount, amount_of, fen, scaled, yuan
from domain.policy.examples import AMOUNTS, CLASS_TOTALS, Example
from domain.policy.facts import SCHEMES, VISITS
from domain.settlement import Occasion, Person
from domain.totals import GroupTotal, LocalTotals
from domain.visit import ChargeLine, VisitType


class ExamplesUnreadable(Exception):
    """The examples of a file do not read; `errors` lists everything that is wrong with them."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(self.errors))


def read_examples(text: str) -> tuple[Example, ...]:
    """The examples of a policy file that is TOML. Raises ExamplesUnreadable with all errors at once."""
    rows = tomllib.loads(text, parse_float=_NotExact).get("example", [])
    if not isinstance(rows, list):
        raise ExamplesUnreadable(["example: write [[example]], once for each example"])
    errors: list[str] = []
    examples: list[Example] = []
    for number, row in enumerate(rows, 1):
        reading = _Reading(f"example {number}", errors)
        example = _read_example(number, row, reading)
        if example is None:
            continue
        known = {each.example_id for each in examples}
        if example.example_id in known:
            reading.wrong("id", f"there is another example {example.example_id!r}")
        if example.follows and example.follows not in known:
            reading.wrong("follows", f"no example {example.follows!r} stands before this one")
        examples.append(example)
    if errors:
        raise ExamplesUnreadable(errors)
    return tuple(examples)


class _NotExact:
    """Stands where TOML holds a decimal number that nobody may calculate with."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Wrong(Exception):
    """One value does not read."""


class _Reading:
    """The place being read, and the errors found so far."""

    def __init__(self, place: str, errors: list[str]) -> None:
        self.place, self.errors = place, errors

    def wrong(self, key: str, words: str) -> None:
        self.errors.append(f"{self.place}: {key}: {words}")

    def table(self, key: str, row: object, readers: Mapping[str, Callable[[Any], Any]], needs: str = "") -> Any:
        """Read a table by its readers; everything wrong goes to the errors."""
        if not isinstance(row, dict):
            self.wrong(key, "a table is needed")
            return {}
        prefix = f"{key}." if key else ""
        for name in needs.split():
            if name not in row:
                self.wrong(prefix + name, "is missing")
        read: dict[str, Any] = {}
        for name, value in row.items():
            if name not in readers:
                self.wrong(prefix + name, f"an unknown key; known are {', '.join(readers)}")
                continue
            try:
                read[name] = readers[name](value)
            except (_Wrong, NotAnAmount) as wrong:
                self.wrong(prefix + name, str(wrong))
        return read


def _read_example(number: int, row: object, reading: _Reading) -> Example | None:
    before = len(reading.errors)
    given = reading.table("", row, _EXAMPLE, "id title day person visit expect")
    if given.get("id"):
        reading.place += f" ({given['id']})"
    person = reading.table("person", given.get("person", {}), _PERSON, "scheme category")
    visit = reading.table("visit", given.get("visit", {}), _VISIT, "type level")
    expected = reading.table("expect", given.get("expect", {}), _EXPECT)
    if ("lines" in given) == ("totals" in given):
        reading.wrong("lines, totals", "one of the two is needed, and not both")
    if not expected:
        reading.wrong("expect", "nothing is expected")
    bill: LocalTotals | tuple[tuple[ChargeLine, Matched], ...] | None = None
    if "totals" in given:
        bill = _totals(reading.table("totals", given["totals"], _TOTALS), reading)
    elif "lines" in given:
        rows = [
            reading.table(f"lines {n}", each, _LINE, "price quantity grade") for n, each in enumerate(given["lines"], 1)
        ]
        if len(reading.errors) == before:
            bill = _lines(rows, given["day"])
    if len(reading.errors) > before or bill is None:
        return None
    return Example(
        number=number,
        example_id=given["id"],
        title=given["title"],
        person=Person(**{_FIELDS.get(name, name): value for name, value in person.items()}),
        occasion=Occasion(visit.pop("type"), visit.pop("level"), given["day"], **visit),
        bill=bill,
        accumulators=given.get("accumulators", {}),
        follows=given.get("follows", ""),
        amounts={name: expected[name] for name in (*AMOUNTS, *CLASS_TOTALS) if name in expected},
        funds=expected.get("funds", {}),
        cells=expected.get("cells", {}),
        accumulators_after=expected.get("accumulators_after", {}),
        refused=expected.get("refused"),
    )


def _totals(given: Mapping[str, Any], reading: _Reading) -> LocalTotals:
    own, over, pre = (given.get(name, 0) for name in ("own_expense", "over_limit", "pre_self_pay"))
    total = given.get("total", own + over + pre + given.get("in_scope", 0))
    scope = given.get("in_scope", total - own - over - pre)
    groups = tuple(
        GroupTotal(group, amount, 0, 0, 0, amount) for group, amount in sorted(given.get("groups", {}).items())
    )
    totals = LocalTotals(total, own, over, pre, scope, 0, b"", groups)
    if not totals.adds_up or scope < 0:
        reading.wrong("totals", f"{yuan(own + over + pre + scope)} in parts is not the total of {yuan(total)}")
    return totals


def _lines(rows: Sequence[Mapping[str, Any]], day: date) -> tuple[tuple[ChargeLine, Matched], ...]:
    pairs = []
    for number, row in enumerate(rows, 1):
        grade = row["grade"]
        line = ChargeLine(
            number, day, str(number), "", None, "", "", row["price"], row["quantity"],
            amount_of(row["price"], row["quantity"]),
        )  # fmt: skip
        matched = Matched(
            "00",
            coverage_class=grade,
            pre_self_pay_ratio_1e4=row.get("ratio", 0) if grade == CoverageClass.B else 0,
            price_limit_1e4=row.get("limit"),
            benefit_group=row.get("group", ""),
        )
        pairs.append((line, matched))
    return tuple(pairs)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("a text is needed")
    return value


def _texts(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise _Wrong("a list of texts is needed")
    return frozenset(_text(each) for each in value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false is needed")
    return value


def _day(value: object) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise _Wrong("a day is needed, such as 2026-01-01")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 999:
        raise _Wrong("a whole number is needed")
    return value


def _word_or_number(value: object) -> str:
    return str(_number(value)) if isinstance(value, int) else _text(value)


def _level(value: object) -> int:
    level = _number(value)
    if level > 3:
        raise _Wrong("levels are 0 to 3")
    return level


def _quoted(value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong('write the number as a text, such as "12.50", so that it stays exact')
    return value


def _amount(value: object) -> int:
    amount = fen(_quoted(value))
    if not 0 <= amount <= MAX_FEN:
        raise _Wrong("an amount is not negative")
    return amount


def _counted(value: object) -> int:
    """An amount, or how often: a count of stays is written as a plain number."""
    return _number(value) if isinstance(value, int) else _amount(value)


def _of(scale: int) -> Callable[[object], int]:
    return lambda value: scaled(_quoted(value), scale)


def _ratio(value: object) -> int:
    ratio = scaled(_quoted(value), RATIO_SCALE)
    if not 0 <= ratio <= RATIO_SCALE:
        raise _Wrong("a ratio lies between 0 and 1")
    return ratio


def _by_name(read: Callable[[object], int]) -> Callable[[object], dict[str, int]]:
    def table(value: object) -> dict[str, int]:
        if not isinstance(value, dict):
            raise _Wrong("a table is needed")
        return {name: read(each) for name, each in value.items()}

    return table


def _cells(value: object) -> dict[tuple[str, str], int]:
    if not isinstance(value, dict) or any(not isinstance(row, dict) for row in value.values()):
        raise _Wrong('a table by segment and payer is needed, such as shared = { person = "12.50" }')
    return {(segment, payer): _amount(each) for segment, row in value.items() for payer, each in row.items()}


def _one_of(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise _Wrong(f"one of {', '.join(allowed)} is needed")
        return str(value)

    return read


def _visit_type(value: object) -> VisitType:
    return VISITS[_one_of(*VISITS)(value)]


def _grade(value: object) -> str:
    return _one_of(*CoverageClass)(str(value))


_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)


def _example_id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _Wrong("lower-case letters, digits and hyphens, at most 64")
    return value


def _as_given(value: object) -> object:
    return value


def _rows(value: object) -> object:
    if not isinstance(value, list) or not value:
        raise _Wrong("a list of lines is needed")
    return value


_EXAMPLE: dict[str, Callable[[Any], Any]] = {
    "id": _example_id, "title": _text, "src": _text, "day": _day, "person": _as_given, "visit": _as_given,
    "follows": _example_id, "accumulators": _by_name(_counted), "totals": _as_given, "lines": _rows,
    "expect": _as_given,
}  # fmt: skip
_PERSON: dict[str, Callable[[Any], Any]] = {
    "scheme": _one_of(*SCHEMES), "category": _word_or_number, "civil_servant": _flag, "rank": _text, "groups": _texts,
    "age": _number, "account_balance": _amount, "family_balance": _amount,
}  # fmt: skip
_FIELDS = {"account_balance": "account_balance_fen", "family_balance": "family_balance_fen"}
_VISIT: dict[str, Callable[[Any], Any]] = {
    "type": _visit_type, "level": _level, "institution_code": _text, "visit_no": _text, "started": _day, "ends": _day,
    "final": _flag, "conditions": _texts, "disease": _text, "registration_kind": _word_or_number,
    "medical_type": _word_or_number, "transferred_from": _text,
}  # fmt: skip
_TOTALS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("total", "own_expense", "over_limit", "pre_self_pay", "in_scope"), _amount),
    "groups": _by_name(_amount),
}
_LINE: dict[str, Callable[[Any], Any]] = {
    "price": _of(PRICE_SCALE), "quantity": _of(QUANTITY_SCALE), "grade": _grade, "ratio": _ratio,
    "limit": _of(PRICE_SCALE), "group": _text, "item": _text,
}  # fmt: skip
_EXPECT: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*AMOUNTS, *CLASS_TOTALS), _amount),
    "funds": _by_name(_amount), "cells": _cells, "accumulators_after": _by_name(_counted), "refused": _text,
}  # fmt: skip
