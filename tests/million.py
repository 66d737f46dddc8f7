"""One million claims of every sort: engine against checker. Part of `make prove`; a short version is in `make test`."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from domain.checker import check
from tests.support.any_claims import published, settled_claims

CLAIMS = 1_000_000
PARTS = 50


def differences(part: int) -> tuple[int, Counter[str], list[str]]:
    """Settle and check one part of the claims: how many, by set, and what the checker did not agree with."""
    sets: Counter[str] = Counter()
    wrong = []
    for settled in settled_claims(published(), seed=part, count=CLAIMS // PARTS):
        sets[settled.policy.sets[0].set_id] += 1
        words = check(
            settled.settlement,
            settled.totals,
            settled.person,
            settled.accumulators,
            policy=settled.policy,
            at=settled.occasion,
        )
        if words:
            wrong.append(f"seed {part}: {words} of {settled}")
    return sets.total(), sets, wrong


def main() -> int:
    """Say how many claims were settled and checked, by policy set, and how many differ; 0 when none does."""
    sets: Counter[str] = Counter()
    wrong: list[str] = []
    with ProcessPoolExecutor() as pool:
        for _, of_sets, differing in pool.map(differences, range(PARTS)):
            sets += of_sets
            wrong += differing
    for name, count in sets.most_common():
        print(f"{count:>10,} {name}")
    print(f"{sets.total():>10,} claims settled and checked, {len(wrong)} differences")
    print(*wrong[:3], sep="\n", end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
