"""That nothing was lost or settled twice: what every counter was told, held against the tables of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

import center.tables as centre
import workers.tables as site
from city.hospitals import Told
from city.load.told import Answer
from city.promises import Audit, audit
from city.sample.claims import SampleClaim
from city.sample.morning import City
from domain.ways import Way
from infra.database import reading
from workers.claims import claim_no


def told_of(claims: Sequence[SampleClaim], answers: Mapping[int, Answer]) -> list[Told]:
    """What was told of every claim that was handed in."""
    heard = []
    for claim in claims:
        answer = answers.get(claim.number)
        if answer is not None:
            heard.append(
                Told(
                    claim=claim,
                    manner="first",
                    claim_no=answer.claim_no,
                    state=answer.state,
                    codes=answer.codes,
                    words=answer.words,
                    amounts=answer.amounts,
                    problem=answer.problem,
                )
            )
    return heard


def proof_of(
    center_engine: Engine,
    frontends: Mapping[str, Engine],
    city: City,
    claims: Sequence[SampleClaim],
    answers: Mapping[int, Answer],
) -> Audit:
    """The audit of `jiesuan run`, on a load test's day."""
    return audit(center_engine, frontends, told_of(claims, answers), city)


@dataclass(frozen=True, slots=True)
class Moments:
    """When the tables of both sides had a claim, on the business clock."""

    accepted_at: datetime
    taken_up_at: datetime | None
    """When the centre took it up; None for one it never settled."""
    totals_bytes: int


def moments_of(center_engine: Engine, frontends: Mapping[str, Engine]) -> dict[str, Moments]:
    """Of every claim, by its number."""
    settlement, claim = centre.settlement.c, site.claim.c
    with center_engine.connect() as connection:
        rows = connection.execute(select(settlement.visit_no, settlement.charge_batch_no, settlement.settled_at))
        taken_up = {(row.visit_no, row.charge_batch_no): row.settled_at for row in rows}
    found: dict[str, Moments] = {}
    for engine in frontends.values():
        with reading(engine) as connection:
            held = connection.execute(select(claim.visit_no, claim.charge_batch_no, claim.accepted_at, claim.totals))
            for row in held:
                key = row.visit_no, row.charge_batch_no
                found[claim_no(*key)] = Moments(row.accepted_at, taken_up.get(key), len(row.totals or b""))
    return found


def as_json(proof: Audit, *, way: Way) -> dict[str, Any]:
    """The audit's numbers and words."""
    return {
        "way": str(way),
        "lost": proof.lost,
        "doubled": proof.paid_twice,
        "difference_fen": proof.difference_fen,
        "detail_lines_due": proof.detail_lines_total,
        "detail_lines_at_centre": proof.detail_lines_uploaded,
        "all_kept": proof.all_kept,
        "promises": [{"name": one.name, "kept": one.kept, "words": one.words} for one in proof.promises],
    }
