"""Many seeds, or one of them line by line.

python -m tests.simulation.city --seeds 10000            seeds 1 to 10,000 on every core
python -m tests.simulation.city --seed 77 --trace        one seed, with everything that happened in it
python -m tests.simulation.city --without GUARD          a guard taken away: how many seeds notice
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.city.guards import GUARDS
from tests.simulation.city.many import Tally, play, played, stage_in_memory, told


def main(arguments: list[str]) -> int:
    """Play what is asked; the exit code says whether every seed held."""
    asked = argparse.ArgumentParser(prog="python -m tests.simulation.city")
    asked.add_argument("--seed", type=int, help="this one only")
    asked.add_argument("--seeds", type=int, default=300, help="how many")
    asked.add_argument("--from", type=int, default=1, dest="first", help="the first of them")
    asked.add_argument("--trace", action="store_true", help="say everything that happens (with --seed)")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked.add_argument("--without", default="", choices=["", *GUARDS], help="take a guard away", metavar="GUARD")
    asked.add_argument("--first-failure", action="store_true", help="stop at the first seed that fails")
    chosen = asked.parse_args(arguments)
    began = time.monotonic()
    tally = Tally()
    if chosen.seed is not None:
        with stage_in_memory() as stage_:
            verdict = play(stage_, chosen.seed, without=chosen.without, say=print if chosen.trace else None)
        tally.add(verdict)
        if not verdict.is_good:
            print(told(verdict, chosen.without))
        print(f"trace {verdict.trace}")
    else:
        seeds = range(chosen.first, chosen.first + chosen.seeds)
        for verdict in played(seeds, jobs=min(chosen.jobs, len(seeds)), without=chosen.without):
            tally.add(verdict)
            if not verdict.is_good:
                print(told(verdict, chosen.without), flush=True)
            if tally.failed and chosen.first_failure:
                break
            if tally.seeds % 100 == 0:
                print(f"{tally.seeds:,} seeds, {time.monotonic() - began:,.0f} s", flush=True)
    print(tally.said(time.monotonic() - began))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
