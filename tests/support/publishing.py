"""A centre that publishes: catalogues in parts, policy sets, and front-ends that fetch them over a line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import Engine, delete, insert, update
from sqlalchemy.dialects.postgresql import insert as upsert

from center.catalogue.tables import reference_part
from center.tables import reference
from domain.catalogue import CatalogueItem, Match
from domain.catalogue_records import record_of
from infra.codec import pack
from infra.publication import in_parts
from infra.reference import CATALOGUE, POLICY, policy_row
from tests.support.frontend import CLINIC, HOSPITAL, new_frontend
from tests.support.line import Line
from workers.tables import reference as held


def publish_catalogue(engine: Engine, version: str, items: Sequence[CatalogueItem], *, day: date) -> None:
    """Let this be the catalogue in force at the centre since that day, in place of the one before."""
    matches = [
        Match(code, item.item_code.replace("C", "L"), item.match_type, item.item_code, item.item_name,
              item.coverage_class, True)
        for code in (HOSPITAL, CLINIC)
        for item in items
    ]  # fmt: skip
    made = in_parts(version, [record_of(item) for item in items], matches, {HOSPITAL: 2, CLINIC: 2})
    row = {"kind": CATALOGUE, "version": version, "content": pack(made.manifest), "effective_date": day}
    with engine.begin() as connection:
        parts = [{"digest": digest, "content": content} for digest, content in made.parts.items()]
        connection.execute(upsert(reference_part).on_conflict_do_nothing(), parts)
        in_force = (reference.c.kind == CATALOGUE, reference.c.in_force)
        connection.execute(update(reference).where(*in_force).values(in_force=False, retired_on=day))
        connection.execute(insert(reference), row | {"in_force": True})


def publish_policy(engine: Engine, text: str) -> str:
    """Let this be the only policy set in force at the centre; its version."""
    row = policy_row(text)
    with engine.begin() as connection:
        of_kind = reference.c.kind == POLICY
        connection.execute(update(reference).where(of_kind).values(in_force=False))
        connection.execute(
            upsert(reference)
            .values(row)
            .on_conflict_do_update(index_elements=[reference.c.kind, reference.c.version], set_={"in_force": True})
        )
    return str(row["version"])


def fetching_line(folder: Path, center_url: str) -> Line:
    """A front-end that holds what the centre publishes now, and the line between them."""
    engine = new_frontend(f"sqlite:///{folder}/frontend.db", HOSPITAL)
    with engine.begin() as connection:
        connection.execute(delete(held))
    line = Line(folder, engine, center_url)
    fetch(line)
    return line


def fetch(line: Line) -> None:
    """Fetch what is published, and let the little time pass after which it comes into force."""
    line.frontend.ask_for_reference()
    line.carry()
    line.clock.moment += timedelta(minutes=3)
    line.frontend.look_for_reference()
    line.carry()
