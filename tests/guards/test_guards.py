"""Every guard on the list stands where the list says; and without the most important ones a test fails at once."""

from __future__ import annotations

import pytest

from tests.guards.guards import GUARDS
from tests.guards.take_away import ROOT, PatchDoesNotApply, copy_tree, patched, run_without

AT_ONCE = (
    "one claim per idempotency key (database)",
    "an answer is recorded once (CAS)",
    "who slept past its lease writes nothing (fencing)",
    "a seal is checked",
)
"""`make prove` takes all of them away; these, here, need no server and a few seconds each."""


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_stands_where_the_list_says(guard):
    content = (ROOT / guard.file).read_text(encoding="utf-8")

    assert patched(guard, content) != content
    for test in guard.tests:
        assert (ROOT / test.partition("::")[0]).exists()


def test_a_patch_that_no_longer_applies_is_said():
    with pytest.raises(PatchDoesNotApply, match="stands 0 times"):
        patched(GUARDS[0], "the code has moved on")


def test_names_are_unique():
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)


@pytest.mark.parametrize("guard", [guard for guard in GUARDS if guard.name in AT_ONCE], ids=lambda guard: guard.name)
def test_without_it_a_test_fails(guard, tmp_path):
    assert run_without(guard, copy_tree(tmp_path)).is_proof
