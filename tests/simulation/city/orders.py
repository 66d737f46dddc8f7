"""The books of a day do not depend on how it went: the same claims under other ways, moves, suspensions and faults.

Each institution treats one person, whose claims come in their order, the next when the one before is settled. A seed
decides everything else: which way each claim goes, which front-end it is handed in at, what breaks. At the end the
centre's books have to be those of the day on which nothing happened.

python -m tests.simulation.city.orders --seeds 300
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import replace
from typing import Any

from tests.simulation.city import town
from tests.simulation.city.clients import Claim, Client
from tests.simulation.city.many import stage_in_memory
from tests.simulation.city.profile import MORNINGS, Profile, drawn
from tests.simulation.city.run import Run, Stage, Verdict

CLAIMS = 4
"""Of each institution; the last is taken back in part."""
LOOK_EVERY = 4.0

BOOKS = {
    "institution, scheme and clearing type": (
        "SELECT institution_code, scheme, clearing_type, settled_day, kind, count(*), sum(total_fen),"
        " sum(fund_pay_fen), sum(account_pay_fen), sum(own_expense_fen), sum(over_limit_fen), sum(deductible_fen),"
        " sum(self_pay_fen) FROM settlement GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
    ),
    "account": "SELECT account, sum(amount_fen) FROM posting GROUP BY 1 ORDER BY 1",
    "accumulator": "SELECT person_no, key, amount_fen FROM accumulator WHERE amount_fen <> 0 ORDER BY 1, 2",
    "balance": "SELECT person_no, account_balance_fen FROM person ORDER BY 1",
    "detail": "SELECT institution_code, sum(d.line_count), sum(d.total_fen) FROM detail d JOIN settlement s"
    " USING (settlement_no) GROUP BY 1 ORDER BY 1",
}
"""The books of the day, by what they are summed for."""

Books = dict[str, list[Any]]


class Steady(Client):
    """An institution whose day is the same in every seed; only its moments are not."""

    def __init__(self, run: Run, name: str, institution_code: str, door: Any, persons: list[str]) -> None:
        place = town.CODES.index(institution_code)
        super().__init__(run, name, institution_code, door, [town.PERSONS[place]])
        self._own = random.Random(f"the day of {institution_code}")
        self._is_over = False

    @property
    def is_done(self) -> bool:
        """Whether it has handed in everything, and knows what became of it."""
        return self._is_over and super().is_done

    def live(self) -> None:
        """One claim after the other, each settled before the next."""
        loop, dice = self.run.city.loop, self.run.city.dice
        for number in range(1, CLAIMS + 1):
            loop.sleep(dice.uniform(0.0, self.run.city.profile.safety_seconds / CLAIMS))
            claim = self._next(number)
            while not claim.is_final:
                if claim.is_known:
                    self._look([claim])
                else:
                    self._submit([claim])
                loop.sleep(LOOK_EVERY)
        asked = self._new_refund(self.claims[-1])
        asked.kept = {1: 100}
        self._is_over = True
        self.end()

    def _next(self, number: int) -> Claim:
        lines = [self._line(line_no) for line_no in range(1, self._own.randrange(2, 5))]
        key = f"{self.name}-{number}"
        claim = Claim(key, self._submission(key, self.persons[0], "", lines))
        self.claims.append(claim)
        return claim

    @property
    def _dice(self) -> random.Random:
        return self._own


def quiet() -> Profile:
    """A day on which nothing happens."""
    profile = drawn(random.Random("a quiet day"))
    profile.heal()
    return _of_the_day(replace(profile, nemesis_every=1e9, second_desk=False, second_beat=False), connects=False)


def eventful(seed: int) -> Profile:
    """A day with faults, on which every connection changes."""
    return _of_the_day(drawn(random.Random(f"orders {seed}")), connects=True)


def _of_the_day(profile: Profile, *, connects: bool) -> Profile:
    """What books depend on is the same on all of them: the day, who is entitled, and which policy is in force."""
    return replace(
        profile, starts_at=MORNINGS[0], operators=False, connects=connects, publishes=False, closes_month=False,
        rushes=False, restores=False, offline_fen=0,
    )  # fmt: skip


def books_of(stage: Stage, seed: int, profile: Profile) -> tuple[Verdict, Books]:
    """Play a day; what the checks of every seed say, and the books it ends with."""
    verdict = Run(stage, seed, profile=profile, client=Steady).play()
    return verdict, {what: stage.center.rows(query) for what, query in BOOKS.items()}


def differences(books: Books, wanted: Books) -> list[str]:
    """Where the books of a day are not those of the quiet one."""
    return [
        f"by {what}: {sorted(set(books[what]) ^ set(wanted[what]))[:4]}"
        for what in BOOKS
        if books[what] != wanted[what]
    ]


def main(arguments: list[str]) -> int:
    """Play many days; the exit code says whether all of them ended with the same books."""
    asked = argparse.ArgumentParser(prog="python -m tests.simulation.city.orders")
    asked.add_argument("--seeds", type=int, default=300, help="how many")
    asked.add_argument("--from", type=int, default=1, dest="first", help="the first of them")
    chosen = asked.parse_args(arguments)
    failed = 0
    with stage_in_memory() as stage:
        _, wanted = books_of(stage, 0, quiet())
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            verdict, books = books_of(stage, seed, eventful(seed))
            if wrong := [*verdict.wrong, *differences(books, wanted)]:
                failed += 1
                print(f"seed {seed}: {wrong[:4]}", flush=True)
    print(f"{chosen.seeds} days in other orders, {failed} with other books")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
