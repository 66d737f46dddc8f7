"""`jiesuan dbf`: the DBF door, by hand."""

from __future__ import annotations

import json
from pathlib import Path

from city.commands import REFUSED, Stop
from infra.settings import Settings


def import_file(file: Path, *, institution: str, as_json: bool) -> None:
    """Read one MZXM file now, with the registrations beside it. Raises MissingSetting, or Stop when rows are wrong."""
    from producers.his.importer import import_file as imported
    from workers.tasks import Frontend

    frontend = Frontend(Settings())
    if not file.is_file():
        raise FileNotFoundError(2, "", str(file))
    code = institution or file.resolve().parent.name
    report = imported(frontend.engine, file, institution_code=code, at=frontend.now(), doorbell=frontend.doorbell)
    counted = {
        "accepted": report.accepted,
        "known": report.known,
        "postponed": report.postponed,
        "refused": dict(report.refused),
        "problems": len(report.problems),
    }
    if as_json:
        print(json.dumps({"institution_code": code, **counted}))
    else:
        for name, value in counted.items():
            print(f"{name}\t{value}")
    if report.problems:
        raise Stop(f"{file.name}：{len(report.problems)} 处不能读取", REFUSED)
