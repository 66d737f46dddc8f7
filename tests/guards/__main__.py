"""`python -m tests.guards`: the table of all guards and the tests that notice; exit 1 when one is not noticed.

`--quick` leaves out those whose tests need servers; words choose guards by their names.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.guards.guards import GUARDS
from tests.guards.take_away import copy_tree, run_tests, run_without


def main(arguments: list[str]) -> int:
    """Prove the guards chosen; 0 when a test noticed the absence of each."""
    words = [argument for argument in arguments if not argument.startswith("--")]
    chosen = [
        guard
        for guard in GUARDS
        if (guard.is_quick or "--quick" not in arguments) and all(word in guard.name for word in words)
    ]
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder))
        whole = run_tests(tuple(dict.fromkeys(test for guard in chosen for test in guard.tests)), tree)
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
