"""What the pages name is there: links, files, modules, and every command of `jiesuan` with its options."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import typer

from city.cli import Role, app

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh-CN.md", *ROOT.glob("docs/**/*.md")])
PACKAGES = "center|city|domain|infra|producers|workers"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@every_page
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


@every_page
def test_files_and_modules_are_where_they_are_said_to_be(page):
    text = page.read_text(encoding="utf-8")
    files = re.findall(rf"`((?:{PACKAGES}|docs|policies|tests)/[\w/.-]*)`", text)
    modules = re.findall(rf"`((?:{PACKAGES})(?:\.\w+)+)", text)

    assert [file for file in files if not (ROOT / file).exists()] == []
    assert [module for module in modules if not _is_defined(module.split("."))] == []


@every_page
def test_commands_are_those_of_the_program(page):
    typed = re.findall(r"`(?:\.venv/bin/)?jiesuan ([^`]+)`", page.read_text(encoding="utf-8"))
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    typed += [line for block in blocks for line in re.findall(r"^(?:\S*/)?jiesuan (.*?)(?:#.*)?$", block, re.MULTILINE)]

    assert [words for words in typed if not _is_command(words)] == []


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        ("quote FILE --explain", True),
        ("policy check|show|diff|at|test", True),
        ("serve tables", True),
        ("policy frobnicate", False),
        ("policy check|frobnicate", False),
        ("quote FILE --backwards", False),
        ("serve nobody", False),
    ],
)
def test_a_command_that_is_none_is_noticed(words, is_one):
    assert _is_command(words) is is_one


def _is_defined(parts: list[str]) -> bool:
    """Whether the longest part that is a file or a package names what follows it."""
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        file = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
        if file.exists():
            return (
                length == len(parts) or re.search(rf"\b{parts[length]}\b", file.read_text(encoding="utf-8")) is not None
            )
    return False


@cache
def _program() -> object:
    return typer.main.get_command(app)


def _is_command(words: str) -> bool:
    """Whether the words begin with a command, one of the choices where they are given as a|b, and its options."""
    command: object = _program()
    rest = words.split()
    while rest and hasattr(command, "commands"):
        names = re.split(r"[|/]", rest.pop(0))
        if not all(name in command.commands for name in names):
            return False
        command = command.commands[names[0]]
    if words.startswith("serve ") and rest and rest[0].islower():
        return rest[0].rstrip(",") in {role.value for role in Role}
    options = {
        option
        for parameter in getattr(command, "params", ())
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    return all(option.partition("=")[0] in options for option in re.findall(r"(?<!\S)--[a-z-]+", words))
