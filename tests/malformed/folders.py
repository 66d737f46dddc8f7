"""Broken files in a hospital's exchange folder, good ones beside them: the door tells which, and reads the others."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.malformed import mutations
from tests.malformed.rows import Rows
from tests.malformed.tally import Tally
from tests.support.ward import Ward

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
BROKEN = {name: (SAMPLES / f"{name}.DBF").read_bytes() for name in ("MZXM0302", "RYDJ0302", "MZDJ0302", "CYDJ0305")}
NEIGHBOUR_EVERY = 20


def run(folder: Path, *, seed: int, count: int) -> Tally:
    """Lay broken files into the folder until so many were refused as a whole or row by row."""
    chance, tally = Random(seed), Tally("folders")
    ward = Ward(folder)
    rows = Rows(ward.engine)
    stay = ward.registers()
    good = 0
    while tally.refused.total() < count:
        tally.asked += 1
        name = chance.choice(list(BROKEN))
        if tally.asked % NEIGHBOUR_EVERY == 0:
            good += 1
            ward.delivers(stay, good)
        file = ward.folder / f"{name}.DBF"
        file.write_bytes(mutations.by_bytes(chance, BROKEN[name]))
        rows.changed()
        _look(ward, tally, rows, file, good)
        file.unlink(missing_ok=True)
    rows.close()
    ward.engine.dispose()
    return tally


def _look(ward: Ward, tally: Tally, rows: Rows, file: Path, good: int) -> None:
    ward.restart()
    try:
        ward.looks()
    except Exception as error:
        tally.wrong.append(f"{file.name} raised {type(error).__name__}: {error}")
        return
    problems = {problem.file: type(problem).__name__ for problem in ward.door.exchange.problems}
    changed = rows.changed()
    if good and (wrong := [mark for mark in ward.marks() if mark[2] != 1]):
        tally.wrong.append(f"beside {file.name}, good lines were not taken in: {wrong[:3]}")
    if file.name in problems:
        tally.refused[f"{file.name[:4]} {problems[file.name]}"] += 1
        if changed and tally.asked % NEIGHBOUR_EVERY:
            tally.wrong.append(f"{file.name} was refused and rows came: {changed}")
    elif changed:
        tally.still_good += 1
    else:
        tally.refused[f"{file.name[:4]} no row of it was taken"] += 1
