"""What of a morning is still under way: asked of both sides' tables until nothing is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine, func, select

import center.tables as centre
from city.sample.claims import SampleClaim
from domain.lifecycle import OPEN, ClaimState
from infra.database import reading
from workers.tables import TO_HAND_OUT, claim, hand_out

_CLAIMS = (claim.c.institution_code, claim.c.state, claim.c.channel, claim.c.handed_back, claim.c.detail_state)


def still_open(center_engine: Engine, frontends: Mapping[str, Engine], claims: Sequence[SampleClaim]) -> str:
    """What is not at its end, in words; empty when all is settled, told, uploaded and compared."""
    unsettled = not_back = no_detail = 0
    expected = dict.fromkeys(frontends, 0)
    for one in claims:
        expected[one.institution.frontend] += one.becomes_a_claim
    settled: Counter[str] = Counter()
    for frontend, engine in frontends.items():
        with reading(engine) as connection:
            rows = connection.execute(select(*_CLAIMS, func.count().label("claims")).group_by(*_CLAIMS)).all()
            not_back += connection.execute(select(func.count()).select_from(hand_out).where(TO_HAND_OUT)).scalar_one()
        unsettled += max(0, expected[frontend] - sum(row.claims for row in rows))
        unsettled += sum(row.claims for row in rows if row.state in OPEN)
        not_back += sum(row.claims for row in rows if row.channel == "dbf" and not row.handed_back)
        for row in rows:
            if row.state == ClaimState.SETTLED:
                settled[row.institution_code] += row.claims
                no_detail += row.claims if row.detail_state != 1 else 0
    if unsettled or not_back or no_detail:
        return f"未了结 {unsettled} 笔，未回写 {not_back} 笔，明细未上传 {no_detail} 笔"
    apart = _apart(center_engine, settled)
    return f"未对平机构 {apart} 家" if apart else ""


def _apart(center_engine: Engine, settled: Mapping[str, int]) -> int:
    """How many institutions the centre has not found in agreement on all that is settled."""
    compared = centre.reconciliation.c
    with center_engine.connect() as connection:
        agreed = connection.execute(
            select(compared.institution_code, func.sum(compared.center_claims))
            .where(
                compared.difference_fen == 0,
                compared.fund_difference_fen == 0,
                compared.frontend_claims == compared.center_claims,
            )
            .group_by(compared.institution_code)
        )
        in_agreement = {code: int(claims) for code, claims in agreed}
    return sum(in_agreement.get(code, 0) != count for code, count in settled.items())
