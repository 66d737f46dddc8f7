"""`python -m tests.guards`: the table of all guards and the tests that notice; exit 1 when one is not noticed."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.guards.guards import GUARDS
from tests.guards.take_away import copy_tree, run_tests, run_without

ALL_TESTS_SECONDS = 1_800
"""The tests of all guards, once, with every guard in its place."""


def main(arguments: list[str]) -> int:
    """Prove the guards chosen; 0 when a test noticed the absence of each."""
    asked = _read(arguments)
    chosen = [
        guard
        for guard in GUARDS
        if (guard.is_quick or not asked.quick) and all(word in guard.name for word in asked.words)
    ]
    if not chosen:
        print("guards: no guard has these words in its name", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder))
        everything = tuple(dict.fromkeys(test for guard in chosen for test in guard.tests))
        whole = run_tests(everything, tree, within=ALL_TESTS_SECONDS)
        if whole.returncode != 0:
            print(whole.stdout[-3000:], file=sys.stderr)
            print("guards: the tests fail with every guard in its place; nothing can be proved", file=sys.stderr)
            return 1
        print("| promise | guard taken away | noticed by | seconds |\n|---|---|---|---:|", flush=True)
        unnoticed = 0
        for guard in chosen:
            started = time.monotonic()
            noticed = run_without(guard, tree)
            unnoticed += not noticed.is_proof
            by = f"`{noticed.first}`" if noticed.is_proof else f"**NOBODY** (pytest ended with {noticed.status})"
            print(f"| {guard.promise} | {guard.name} | {by} | {time.monotonic() - started:.0f} |", flush=True)
    print(f"\n{len(chosen) - unnoticed} of {len(chosen)} guards are missed when they are gone.")
    return 1 if unnoticed else 0


def _read(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description="Take away guards; tests must notice.")
    parser.add_argument("--quick", action="store_true", help="leave out those whose tests need servers")
    parser.add_argument("words", nargs="*", help="only guards with all of these words in their names")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
