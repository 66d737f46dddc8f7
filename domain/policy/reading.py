"""Reading a policy set: TOML to facts, every error at once, nothing partly loaded."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from domain.money import NotAnAmount
from domain.policy.facts import LAYERS, SCHEMES, Fact, PolicySet
from domain.policy.places import places
from domain.policy.values import READERS, Wrong, day_of_year
from domain.policy.vocabulary import (
    ALSO_OF_LAYERS,
    BASES,
    KINDS,
    LAYER_KINDS,
    MODES,
    OF_EVERY_FACT,
    PERS,
    POOLED_CAP_REACHED,
)

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
_PARTS = {"set", "source", "policy", "condition", "example"}
_PLACE = re.compile(r"#([0-9]+)\b")


class PolicyUnreadable(Exception):
    """The text is not a policy set; `errors` lists everything that is wrong with it."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(self.errors))


def parse(text: str) -> PolicySet:
    """Read a policy set. Raises PolicyUnreadable with all errors at once, each with its fact and line.

    The table `example` is left to the reader of worked examples.
    """
    try:
        document = tomllib.loads(text, parse_float=_NotExact)
    except (ValueError, RecursionError) as error:
        raise PolicyUnreadable([f"not TOML: {error}"]) from None
    errors: list[str] = []
    heading = _table(document, "set", errors)
    sources = {key: _read_source(key, body, errors) for key, body in _table(document, "source", errors).items()}
    rows = _table(document, "policy", errors).get("facts")
    if not isinstance(rows, list) or not rows:
        errors.append("[policy] facts: at least one fact is needed")
        rows = []
    errors.extend(f"[{name}]: not a part of a policy set" for name in document.keys() - _PARTS)
    set_id = heading.get("id")
    if not isinstance(set_id, str) or not _ID.fullmatch(set_id):
        errors.append("[set] id: lower-case letters, digits and hyphens, at most 40")
    errors.extend(
        f"[set] {key}: a text is needed"
        for key in ("region", "title")
        if not isinstance(heading.get(key), str) or not heading[key]
    )
    year_starts = (1, 1)
    try:
        year_starts = day_of_year(heading.get("benefit_year_starts"))
    except Wrong as wrong:
        errors.append(f"[set] benefit_year_starts: {wrong}")
    conditions = _read_conditions(document.get("condition", {}), errors)
    facts = [_read_fact(number, row, sources, errors) for number, row in enumerate(rows, 1)]
    if errors:
        raise PolicyUnreadable(_with_lines(errors, text))
    digest = blake2b(text.encode(), digest_size=4).hexdigest()
    return PolicySet(
        set_id=str(set_id),
        version=f"{set_id}@{digest}",
        region=heading["region"],
        title=heading["title"],
        year_starts=year_starts,
        sources=sources,
        conditions=conditions,
        facts=tuple(fact for fact in facts if fact is not None),
    )


class _NotExact:
    """Stands where TOML holds a decimal number that nobody may calculate with."""

    def __init__(self, text: str) -> None:
        self.text = text


def _with_lines(errors: Iterable[str], text: str) -> list[str]:
    """The errors of facts with the line each fact stands on."""
    lines = places(text)
    placed = []
    for error in errors:
        found = _PLACE.match(error)
        line = lines.get(("policy", "facts", int(found[1]) - 1)) if found else None
        placed.append(error if line is None else f"{error} (line {line})")
    return placed


def _table(document: Mapping[str, Any], name: str, errors: list[str]) -> Mapping[str, Any]:
    table = document.get(name)
    if isinstance(table, dict):
        return table
    errors.append(f"[{name}] is missing")
    return {}


def _read_source(key: str, body: object, errors: list[str]) -> str:
    title = body.get("title") if isinstance(body, dict) else None
    verified = body.get("verified") if isinstance(body, dict) else None
    if not isinstance(title, str) or not title:
        errors.append(f"[source.{key}] title: a text is needed")
    if verified not in ("official", "quoted", "software", "secondary", "memory"):
        errors.append(f"[source.{key}] verified: official, quoted, software, secondary or memory")
    return str(title)


def _read_conditions(table: object, errors: list[str]) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(table, dict):
        errors.append("[condition]: a table is needed")
        return {}
    for name, body in table.items():
        if not isinstance(body, dict) or not isinstance(body.get("title"), str) or not body["title"]:
            errors.append(f"[condition.{name}] title: a text is needed")
        elif body.get("of", "visit") not in ("visit", "person"):
            errors.append(f"[condition.{name}] of: visit or person")
    return {name: body for name, body in table.items() if isinstance(body, dict)}


def _read_fact(number: int, row: object, sources: Mapping[str, str], errors: list[str]) -> Fact | None:
    if not isinstance(row, dict):
        errors.append(f"#{number}: a fact is a table")
        return None
    kind = row.get("kind")
    place = f"#{number} {kind}" if isinstance(kind, str) else f"#{number}"
    before = len(errors)
    if not isinstance(kind, str) or kind not in KINDS:
        errors.append(f"{place}: an unknown kind" if kind is not None else f"{place}: kind is missing")
        kind = ""
    read: dict[str, Any] = {}
    for key, value in row.items():
        reader = READERS.get(key)
        if reader is None:
            errors.append(f"{place}: an unknown key {key!r}")
            continue
        try:
            read[key] = reader(value)
        except (Wrong, NotAnAmount) as wrong:
            errors.append(f"{place}: {key}: {wrong}")
    errors.extend(f"{place}: {words}" for words in _misfits(kind, row, read))
    if "src" in read and read["src"] not in sources:
        errors.append(f"{place}: src: there is no [source.{read['src']}]")
    if len(errors) > before:
        return None
    values = {key: value for key, value in read.items() if key not in OF_EVERY_FACT}
    values["at_cap"] = POOLED_CAP_REACHED in read.get("when", ())
    return Fact(
        number=number,
        kind=kind,
        scheme=read["scheme"],
        visits=read.get("visit"),
        persons=read.get("person"),
        levels=read.get("level"),
        insured=read.get("insured", _insured(read["scheme"])),
        conditions=_conditions(read),
        age_from=read.get("age_from"),
        age_to=read.get("age_to"),
        first_day=read["from"],
        last_day=read.get("to"),
        source=read["src"],
        assumed=read.get("assumed", False) or read.get("from_assumed", False),
        values=values,
    )


def _misfits(kind: str, row: Mapping[str, Any], read: Mapping[str, Any]) -> Iterable[str]:
    """What is missing, what means nothing here, and what contradicts itself."""
    rule = KINDS.get(kind)
    needed = ("scheme", "from", "src", *(rule.needs if rule else ()))
    yield from (f"{key} is missing" for key in needed if key not in row)
    if rule is not None:
        if rule.one_of and not any(key in row for key in rule.one_of):
            yield f"one of {', '.join(rule.one_of)} is needed"
        given = [key for key in rule.one_of if key in row and key not in rule.takes]
        if len(given) > 1:
            yield f"{' and '.join(given)} say it twice: only one of them"
        for key in row:
            if key in READERS and key not in OF_EVERY_FACT and key not in rule.keys:
                yield f"{key} means nothing here"
        for key, allowed in (("mode", MODES), ("basis", BASES), ("per", PERS)):
            if key in read and kind in allowed and read[key] not in allowed[kind]:
                yield f"{key}: one of {', '.join(allowed[kind])} is needed"
        yield from _misplaced(kind, read)
    for first, last, words in (
        ("from", "to", "the last day is before the first"),
        ("age_from", "age_to", "the last age is below the first"),
    ):
        if read.get(first) is not None and read.get(last) is not None and read[last] < read[first]:
            yield f"{last}: {words}"
    if read.get("low") is not None and read.get("high") is not None and read["high"] <= read["low"]:
        yield "high: the band ends before it starts"


def _misplaced(kind: str, read: Mapping[str, Any]) -> Iterable[str]:
    """What the scheme or the place of a fact does not go with."""
    is_layer = read.get("scheme") in LAYERS
    if kind in LAYER_KINDS and not is_layer and "scheme" in read:
        yield f"scheme: one of {', '.join(LAYERS)} is needed"
    if is_layer and kind not in LAYER_KINDS | ALSO_OF_LAYERS:
        yield "scheme: an upper layer has no such fact"
    if is_layer and kind == "cap" and read.get("basis") not in ("fund_paid", None):
        yield "basis: the cap of an upper layer counts fund money; borders in charges are low and high"
    if kind == "pre_self_pay" and "amount" in read and "item" not in read:
        yield "item: a part of the price is of an item"
    if "at_least" in read and "less" not in read:
        yield "at_least: only where the deductible is less by so much"
    if "up_to" in read and "ratio" not in read:
        yield "up_to: only of a ratio"
    if kind == "rounding":
        is_line = read.get("place") == "line"
        if not 2 <= read.get("digits", 2) <= (4 if is_line else 2):
            yield "digits: 2, and up to 4 for lines"
        if is_line and read.get("mode") not in ("half_up", None):
            yield "mode: lines are rounded half up"


def _insured(scheme: str) -> tuple[str, ...]:
    if scheme == "any":
        return SCHEMES
    return LAYERS.get(scheme, (scheme,))


def _conditions(read: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """What must hold of the visit or the person, as names a case carries."""
    asked: list[tuple[str, ...]] = [(name,) for name in read.get("when", ()) if name != POOLED_CAP_REACHED]
    for key in ("disease", "class", "rank", "institution", "registration_kind", "medical_type"):
        if key in read:
            asked.append(tuple(f"{key}:{value}" for value in read[key]))
    return tuple(asked)
