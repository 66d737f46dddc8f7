"""What a claim weighs on the link between front-end and centre, against sending all of its lines.

A message is weighed as the broker holds it: the whole entry of its queue, with Celery's headers and kombu's base64.
The totals and answers are those of real workers, piled up on their lanes by stopping whoever consumes them. The lines
are weighed in three ways: as records of the exchange specification (the pilot's way, no message around them), as our
packed lines in one uncompressed message per claim, and as the sealed chunks of our own detail upload.
"""

from __future__ import annotations

import ast
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis
from sqlalchemy import Engine, func, select

from center.tables import settlement
from domain.messages import ClaimAnswer, ClaimDetail, ClaimsAnswered, ClaimTotals, DetailUploaded, TotalsSubmitted
from domain.visit import pack_lines
from infra import lanes
from infra.broker import Post, build_app, client_name
from infra.codec import encode, unpack
from infra.database import reading
from infra.envelope import seal
from infra.transport import readable
from producers.his.fields import layout
from tests.bench.claims import DAY, LINES, claims, write_lines, write_registrations
from tests.bench.site import FRONTEND, Site, Stuck
from workers.chunks import CLAIMS_PER_CHUNK
from workers.tables import claim

SCRATCH = "bench.scales"
KEY = bytes(32)
OUTPATIENT_LINES = 5
IDLE_SECONDS = 20.0


def run(site: Site, broker_url: str, count: int, *, first: int) -> dict[str, Any]:
    """Weigh so many claims of 20 lines on both lanes, and their lines in every way; bytes per claim and ratios."""
    with redis.Redis.from_url(broker_url) as client:
        scales = _Scales(client, broker_url)
        idle = _idle(client)
        up, down = _weigh_lanes(site, client, count, first)
        alone = _weigh_alone(site.frontend, scales)
        lines = {str(number): _weigh_lines(scales, number) for number in (LINES, OUTPATIENT_LINES)}
    both = up["bytes_per_claim"] + down["bytes_per_claim"]
    return {
        "idle_bytes_per_second": idle,
        "totals": up,
        "answers": down,
        "bytes_per_claim": round(both),
        "alone": alone,
        "lines": lines,
        "percent_of": {
            number: {way: round(100 * both / weight, 1) for way, weight in weights.items()}
            for number, weights in lines.items()
        },
        "percent_of_alone": {
            number: {way: round(100 * sum(alone.values()) / weight, 1) for way, weight in weights.items()}
            for number, weights in lines.items()
        },
    }


def _idle(client: redis.Redis) -> int:
    """What a front-end's connections to the centre's broker carry while nothing happens, both ways together."""
    names = {client_name(name, FRONTEND) for name in ("link", "to-center")}

    def carried() -> Counter[str]:
        return Counter(
            {row["id"]: int(row["tot-net-in"]) + int(row["tot-net-out"])
             for row in client.client_list() if row["name"] in names}
        )  # fmt: skip

    before = carried()
    time.sleep(IDLE_SECONDS)
    return round((carried() - before).total() / IDLE_SECONDS)


def _weigh_lanes(site: Site, client: redis.Redis, count: int, first: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bytes per claim on the lane to the centre and on the lane back, in the batches that formed by themselves."""
    handed_in = list(claims(count, first=first, seed=first + 1))
    total = site.accepted() + count
    settled_before = _settlements(site.center)
    registrations, lines = site.folder / "MZDJ.new", site.folder / "MZXM.new"
    write_registrations(registrations, handed_in, DAY)
    write_lines(lines, handed_in, DAY)

    with site.stopped("link"):
        with site.stopped("center-settle"):
            registrations.rename(site.exchange / "MZDJ0331.DBF")
            lines.rename(site.exchange / "MZXM0331.DBF")
            _wait(lambda: site.accepted() == total and "accepted" not in site.states())
            up = _weigh(client, lanes.SETTLE, lanes.CLAIMS_SETTLE)
        _wait(lambda: _settlements(site.center) >= settled_before + count and client.llen(lanes.SETTLE) == 0)
        time.sleep(0.5)  # the last answer goes out after its commit
        down = _weigh(client, lanes.results(FRONTEND), lanes.CLAIMS_DELIVER)
    site.wait_until_answered(total)
    site.prove()
    return up, down


def _weigh(client: redis.Redis, queue: str, task: str) -> dict[str, Any]:
    messages = weight = weighed = 0
    for entry in client.lrange(queue, 0, -1):
        message = readable(entry)
        headers = message["headers"] if message else {}
        if headers.get("task") == task:
            messages += 1
            weight += len(entry)
            weighed += ast.literal_eval(headers["kwargsrepr"])["claims"]
    if not weighed:
        raise Stuck(f"nothing to weigh on {queue}")
    return {
        "claims": weighed,
        "claims_per_message": round(weighed / messages),
        "bytes_per_claim": round(weight / weighed, 1),
    }


def _weigh_alone(frontend: Engine, scales: _Scales) -> dict[str, float]:
    """One claim to a message, as at night."""
    with reading(frontend) as connection:
        rows = connection.execute(
            select(claim.c.totals, claim.c.answer, claim.c.policy_version, claim.c.catalogue_version)
            .where(claim.c.state == "settled")
            .limit(100)
        ).all()
    totals = (
        encode(
            TotalsSubmitted(
                policy_version=row.policy_version,
                catalogue_version=row.catalogue_version,
                claims=(unpack(row.totals, ClaimTotals),),
            )
        )
        for row in rows
    )
    answers = (encode(ClaimsAnswered(answers=(unpack(row.answer, ClaimAnswer),))) for row in rows)
    return {
        "totals": scales.mean(lanes.CLAIMS_SETTLE, map(_sealed, totals)),
        "answers": scales.mean(lanes.CLAIMS_DELIVER, map(_sealed, answers)),
    }


def _weigh_lines(scales: _Scales, number: int) -> dict[str, float]:
    """What all lines of a claim weigh, in bytes."""
    details = [
        ClaimDetail(
            handed_in.visit.institution_code,
            handed_in.visit.visit_no,
            1,
            len(handed_in.lines),
            sum(line.line_amount_fen or 0 for line in handed_in.lines),
            pack_lines(handed_in.lines),
        )
        for handed_in in claims(2 * CLAIMS_PER_CHUNK, lines=number, seed=7)
    ]
    chunks = [details[start : start + CLAIMS_PER_CHUNK] for start in range(0, len(details), CLAIMS_PER_CHUNK)]
    return {
        "records of the specification": number * sum(field.width for field in layout("MZXM")) + number,
        "packed, one message a claim": scales.mean(lanes.DETAILS_RECEIVE, (_uploaded([one]) for one in details)),
        "detail chunks, compressed": round(
            scales.mean(lanes.DETAILS_RECEIVE, (_sealed(_uploaded(chunk)) for chunk in chunks)) / CLAIMS_PER_CHUNK, 1
        ),
    }


def _uploaded(details: Sequence[ClaimDetail]) -> bytes:
    return encode(DetailUploaded(fence=1, catalogue_version="bench-1", claims=tuple(details)))


def _sealed(content: bytes) -> bytes:
    return seal(content, frontend=FRONTEND, lane=SCRATCH, key=KEY)


class _Scales:
    """Weighs messages on a queue nobody listens to."""

    def __init__(self, client: redis.Redis, broker_url: str) -> None:
        self._client = client
        self._post = Post(build_app("scales", broker_url))

    def mean(self, task: str, contents: Iterator[bytes]) -> float:
        """The mean weight of these contents as messages, in bytes."""
        self._client.delete(SCRATCH)
        for content in contents:
            self._post.send(task, queue=SCRATCH, shown={"frontend": FRONTEND, "claims": 1}, envelope=content)
        weights = [len(entry) for entry in self._client.lrange(SCRATCH, 0, -1)]
        self._client.delete(SCRATCH)
        return round(sum(weights) / len(weights), 1)


def _settlements(center: Engine) -> int:
    with center.connect() as connection:
        return connection.execute(select(func.count()).select_from(settlement)).scalar_one()


def _wait(until: Callable[[], bool], *, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not until():
        if time.monotonic() > deadline:
            raise Stuck("the lanes did not fill")
        time.sleep(0.05)
