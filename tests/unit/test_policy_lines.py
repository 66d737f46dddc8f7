"""Every fact of a policy file is found on its line, however the file is written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.policy.places import places

ROOT = Path(__file__).parents[2]
FILES = [*sorted(ROOT.glob("policies/*.toml")), *sorted(ROOT.glob("tests/policies/*.toml")), ROOT / "pyproject.toml"]


def paths_of(value, path=()):
    """Every path tomllib would read, tables within tables."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield (*path, key)
            yield from paths_of(each, (*path, key))
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield (*path, position)
            yield from paths_of(each, (*path, position))


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in FILES])
def test_every_value_of_a_real_file_has_a_line(file):
    text = file.read_text(encoding="utf-8")
    read = tomllib.loads(text)
    assert set(paths_of(read)) == set(places(text))


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in FILES[:-1]])
def test_the_line_of_a_fact_holds_the_fact(file):
    text = file.read_text(encoding="utf-8")
    found, lines = places(text), text.split("\n")
    for number, fact in enumerate(tomllib.loads(text)["policy"]["facts"]):
        line = lines[found["policy", "facts", number] - 1].strip()
        assert tomllib.loads(f"fact = {line[: line.rindex('}') + 1]}")["fact"] == fact


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("[a]\nb = 1\n", ("a", "b"), 2),
        ("a.b = 1\n", ("a", "b"), 1),
        ("# f = [\n\n[policy]\nf = [ # {\n  { x = 1 },\n\n  # { x = 0 },\n  { x = 2 },\n]\n", ("policy", "f", 1), 8),
        ('x = ["]", "#", \'}\', """\n]\n""",\n  1]', ("x", 4), 4),
        ("[[policy.facts]]\nkind = 1\n[[policy.facts]]\nkind = 2\n", ("policy", "facts", 1), 3),
        ("[[e]]\n[e.p]\na = 1\n[[e]]\n[e.p]\na = 2\n", ("e", 1, "p", "a"), 6),
        ("policy = { facts = [{ x = [1, 2] }, { y = 'a\\' }] }", ("policy", "facts", 1, "y"), 1),
        ("d = 2026-01-01 10:00:00\ne = [1.5,\n-2e3]\n", ("e", 1), 3),
        ('"a.b".c = 1\n', ("a.b", "c"), 1),
        ("[a]\r\nb = 1\r\nc = 2\r\n", ("a", "c"), 3),
    ],
)  # fmt: skip
def test_the_line_is_found(text, path, line):
    tomllib.loads(text)
    assert places(text)[path] == line


SCALARS = st.sampled_from(["1", '"a]b"', "'c#d'", "2026-01-01", "true", '"\\""', "1.5", '"""x\ny"""'])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n" + ", # ]\n".join(items) + "\n]"),
        st.lists(inner, max_size=3).map(
            lambda items: "{ " + ", ".join(f"k{n} = {item}" for n, item in enumerate(items)) + " }"
        ),
    ),
    max_leaves=8,
)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_every_value_of_any_file_has_a_line(values):
    text = "[t]\n" + "".join(f"v{n} = {value}\n" for n, value in enumerate(values))
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # an inline table with a comment in it
        return
    found, lines = places(text), text.split("\n")
    assert set(paths_of(read)) == set(found)
    assert all(lines[found["t", f"v{n}"] - 1].startswith(f"v{n} =") for n in range(len(values)))
