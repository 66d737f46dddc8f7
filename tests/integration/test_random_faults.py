"""A few random faults of different kinds on real processes under load; `python -m tests.faults` strikes sixty."""

from __future__ import annotations

import pytest

from tests.faults.kinds import BY_NAME, KINDS, plan
from tests.faults.run import Failed, run

STRUCK = ("kill", "broker-wipe", "truncate", "postgres-kill", "blackhole")
SEED = 20260302


@pytest.mark.timeout(300)
def test_what_clients_were_told_is_in_both_books_after_faults_of_every_layer(tmp_path):
    (tmp_path / "run").mkdir()
    said = []

    told = run(
        tmp_path / "run", SEED, faults=len(STRUCK), minutes=0.15, say=said.append,
        kinds=[BY_NAME[name] for name in STRUCK],
    )  # fmt: skip

    assert sum(words.startswith("fault ") for words in said) == told["faults"] == len(STRUCK)
    assert told["claims"]["settled"] > 10
    assert told["settlements"]["normal"] >= told["claims"]["settled"]
    assert told["operations"]["submit ok"] > 20


def test_a_run_whose_books_are_forged_fails_and_says_which_seed(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("tests.faults.checks.unfinished", lambda town: [])
    monkeypatch.setattr("tests.faults.checks.wrong", lambda town, clients: ["a settlement too many"])

    with pytest.raises(Failed, match=rf"seed 7 fails:\n  a settlement too many(.|\n)*--faults 1 --seed 7"):
        run(tmp_path / "run", 7, faults=1, minutes=0.01, say=lambda words: None, kinds=[BY_NAME["reset"]])

    assert (tmp_path / "jiesuan-faults-seed-7" / "history.jsonl").read_text()


def test_sixty_faults_are_of_every_kind():
    import random

    assert {kind.name for kind in plan(60, random.Random(1))} == {kind.name for kind in KINDS}
    assert len(plan(5, random.Random(1))) == 5
