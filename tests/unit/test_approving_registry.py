"""Every action that needs a second person has a name, a title, and says what it would do before it does it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest

import center
from center.approving.registry import ACTIONS
from center.approving.tables import proposal


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_an_action_is_named_titled_and_foreseen(name):
    action = ACTIONS[name]
    assert re.fullmatch(r"[a-z]+([.-][a-z]+)+", name)
    assert len(name) <= proposal.c.action.type.length
    assert re.search(r"[\u4e00-\u9fff]", action.title)
    assert list(inspect.signature(action.predict).parameters)[:2] == ["connection", "payload"]
    wanted = {"proposal_no", "by", "approved_by", "at"}
    assert wanted <= set(inspect.signature(action.execute).parameters)


def test_titles_tell_actions_apart():
    titles = [action.title for action in ACTIONS.values()]
    assert len(set(titles)) == len(titles)


def test_the_actions_of_every_package_are_registered_and_none_hides_another():
    found = []
    for package in pkgutil.iter_modules(center.__path__, "center."):
        if package.ispkg and package.name != "center.approving":
            names = {each.name for each in pkgutil.iter_modules(importlib.import_module(package.name).__path__)}
            if "actions" in names:
                found += importlib.import_module(f"{package.name}.actions").ACTIONS
    assert sorted(found) == sorted(ACTIONS)
