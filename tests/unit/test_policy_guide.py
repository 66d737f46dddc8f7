"""The policy guide is true: the city of both pages is built and settled here, step by step, as the pages print it."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from city.commands import policy as commands
from domain.policy import PolicyBook
from domain.policy.check import check
from domain.policy.example_reading import read_examples
from domain.policy.examples import AMOUNTS, CLASS_TOTALS, run
from domain.policy.reading import parse
from domain.policy.values import READERS
from domain.policy.vocabulary import KINDS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("policy-guide.md", "policy-guide.zh-CN.md")
TODAY = date(2026, 3, 2)
BLOCK = re.compile(r"```toml (\w+)\n(.*?)\n```", re.DOTALL)
STEPS = 9


def page_of(name):
    return (DOCS / name).read_text(encoding="utf-8")


def city_after(step, blocks, wrong=False):
    """The file an office has after a step: facts go into the list, `replaces` takes the place of one of them."""
    (head,) = [text for kind, text in blocks if kind == "head"]
    facts, tables, steps = [], [], 0
    for kind, text in blocks:
        steps += kind in ("facts", "replaces")
        if steps > step and not (wrong and kind == "wrong"):
            continue
        if kind == "facts" or (wrong and kind == "wrong"):
            facts.append(text)
        elif kind == "replaces":
            first, _ = text.split("\n")
            open_ended = re.sub(r" to = [0-9-]+,", "", first)
            assert sum(open_ended in each for each in facts) == 1
            facts = [each.replace(open_ended, text) for each in facts]
        elif kind == "tables":
            tables.append(text)
    return f"{head}\n\n[policy]\nfacts = [\n" + "\n".join(facts) + "\n]\n\n" + "\n\n".join(tables) + "\n"


@pytest.mark.parametrize("name", PAGES)
def test_every_step_is_lawful_and_settles_what_the_page_says(name):
    blocks = BLOCK.findall(page_of(name))
    examples = 0
    for step in range(1, STEPS + 1):
        text = city_after(step, blocks)
        assert check(text, today=TODAY).findings == (), f"step {step}"
        outcomes = run(read_examples(text), PolicyBook([parse(text)]))
        assert [(step, each.example.example_id, each.differences) for each in outcomes if not each.holds] == []
        assert len(outcomes) > examples, f"step {step} proves something of its own"
        examples = len(outcomes)
    assert sum(kind in ("facts", "replaces") for kind, _ in blocks) == STEPS


@pytest.mark.parametrize("name", PAGES)
def test_what_is_wrong_is_told_as_the_page_says(name):
    page = page_of(name)
    report = check(city_after(STEPS, BLOCK.findall(page), wrong=True), today=TODAY)
    rows = [f"| {each.line or ''} | `{each.code}` | {each.words} |" for each in report.errors]
    assert rows
    assert [row for row in rows if row not in page] == []
    assert report.policy is None


def test_both_pages_build_the_same_city():
    english, chinese = (
        [(kind, re.sub(r"^# .*\n", "", text, flags=re.MULTILINE)) for kind, text in BLOCK.findall(page_of(name))]
        for name in PAGES
    )
    assert english == chinese


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_are_those_of_the_reader(name):
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page_of(name).split("\n") if line[:3] == "| `"]
    kinds = {row[0]: row[2:] for row in rows if len(row) == 5}
    keys = [row[0] for row in rows if len(row) == 2 and row[0].strip("`") in READERS]
    assert kinds == {f"`{kind}`": [named(of.needs), named(of.one_of), named(of.takes)] for kind, of in KINDS.items()}
    assert keys == [f"`{key}`" for key in READERS]


def test_the_english_table_says_what_the_vocabulary_says():
    page = page_of(PAGES[0])
    assert [kind for kind, of in KINDS.items() if f"| `{kind}` | {of.says} |" not in page] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_code_of_the_check_is_on_the_page(name):
    from city.commands.policy_words import CODES_ZH

    page = page_of(name)
    assert [code for code in CODES_ZH if f"`{code}`" not in page and code != "example"] == []


@pytest.mark.parametrize("name", PAGES)
def test_commands_and_amounts_are_named_as_they_are(name):
    page = page_of(name)
    registered = {command.name or command.callback.__name__ for command in commands.app.registered_commands}
    assert {"check", "test", "show", "diff", "at"} <= registered
    assert [each for each in registered if f"jiesuan policy {each}" not in page] == []
    assert [amount for amount in (*AMOUNTS, *CLASS_TOTALS) if f"`{amount}`" not in page] == []


def named(keys):
    return ", ".join(f"`{key}`" for key in keys) or "-"
