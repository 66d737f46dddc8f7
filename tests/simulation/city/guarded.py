"""Every guard taken away in turn, and the first seed that notices.

python -m tests.simulation.city.guarded [--seeds N] [--only WORDS]
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.guards.guards import GUARDS as PROVED
from tests.simulation.city.guards import GUARDS, Guard
from tests.simulation.city.many import play, stage_in_memory


def main(arguments: list[str]) -> int:
    """Print a row a guard; the exit code says whether seeds failed where they have to, and nowhere else."""
    asked = argparse.ArgumentParser(prog="python -m tests.simulation.city.guarded")
    asked.add_argument("--seeds", type=int, default=300, help="most seeds to play for a guard")
    asked.add_argument("--only", default="", help="guards whose name holds this")
    chosen = asked.parse_args(arguments)
    unnoticed = 0
    print("| promise | guard taken away | first seed that fails | what it says |\n|---|---|---:|---|")
    with stage_in_memory() as stage:
        for name, guard in GUARDS.items():
            if chosen.only not in name:
                continue
            began = time.monotonic()
            verdicts = (play(stage, seed, without=name) for seed in range(1, chosen.seeds + 1))
            failed = next((verdict for verdict in verdicts if not verdict.is_good), None)
            if failed is not None:
                said = f"{failed.seed} | {failed.wrong[0][:110]}"
            else:
                kept = _kept(guard)
                said = f"none of {chosen.seeds} | {kept or 'NOT NOTICED'}"
                unnoticed += not kept
            print(f"| {guard.promise} | {name} | {said} |", flush=True)
            print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return 1 if unnoticed else 0


def _kept(guard: Guard) -> str:
    """What keeps the promise, or proves the guard, where no seed notices; empty when nothing is named."""
    if guard.absorbed_by:
        return f"absorbed by {guard.absorbed_by}"
    if guard.covered_by in {each.name for each in PROVED}:
        return f"covered by `tests.guards`: {guard.covered_by}"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
