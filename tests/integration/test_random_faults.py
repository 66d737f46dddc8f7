"""A few random faults of different kinds on real processes under load; `python -m tests.faults` strikes sixty."""

from __future__ import annotations

import pytest

from tests.faults.kinds import BY_NAME, Kind, double_beat
from tests.faults.run import run

STRUCK = (
    *(BY_NAME[name] for name in ("kill", "broker-wipe", "truncate", "postgres-kill", "blackhole", "flap", "window")),
    Kind("two beats", 1, double_beat),
)
SEED = 20260302


@pytest.mark.timeout(300)
def test_what_clients_were_told_is_in_both_books_after_faults_of_every_layer(tmp_path):
    (tmp_path / "run").mkdir()
    said = []

    told = run(tmp_path / "run", SEED, faults=len(STRUCK), minutes=0.2, say=said.append, kinds=STRUCK)

    assert sum(words.startswith("fault ") for words in said) == told["faults"] == len(STRUCK)
    assert told["claims"]["settled"] > 10
    assert told["settlements"]["normal"] >= told["claims"]["settled"]
    assert told["operations"]["submit ok"] > 20
    assert told["doubled"]["ran"] == 1
    assert told["flaps"] > 1
