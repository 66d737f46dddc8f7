"""What the ways to settle cost: bytes of the messages on the link, and CPU of the centre, central against centralized.

The claims are accepted at the front-end and go through its desk, the broker and the centre's workers, which are real
processes. A message is weighed as the broker holds it. `centralized` sends all lines in our own best packing: many
claims a message, deflated with the same dictionary, sealed; beside it stands what the lines weigh as records of the
exchange specification, which is what the pilot sent. Answers are counted in both.
"""

from __future__ import annotations

import ast
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b
from statistics import median
from typing import Any

import redis
from sqlalchemy import text, update

from domain.visit import Visit, VisitType, pack_lines
from domain.ways import Way
from infra import lanes
from infra.broker import Post, build_app
from infra.transport import readable
from producers.his.fields import layout
from tests.bench.claims import DAY, HOSPITAL, SHORT_CODE, STARTS_AT, Claim, claims
from tests.bench.site import FRONTEND, Site, Stuck
from workers import intake
from workers.doorbell import Doorbell
from workers.intake import Submission
from workers.tables import institution

OUTPATIENT_LINES, INPATIENT_LINES = 5, 300
FILLS = (1, 10, 100)
"""Claims in a message: a quiet hour, a busy one, the peak."""
MESSAGES = 4
"""Of each fill: as many batches as the desk lets an institution have under way."""
MEASURED = (Way.CENTRAL, Way.CENTRALIZED)
TURNS = 3
_WORKERS = ("center-settle",)


def run(site: Site, broker_url: str, count: int) -> dict[str, Any]:
    """Weigh and time both ways, outpatient and inpatient; bytes a claim by fill, CPU µs a settlement, ratios.

    `count` outpatient claims are settled for each CPU figure; inpatients are fewer, as they have more lines. A worker
    first loads the catalogue, and sees its prices, in claims that are not counted.
    """
    found: dict[str, Any] = {"records": {lines: _records(lines) for lines in (OUTPATIENT_LINES, INPATIENT_LINES)}}
    hand = _Hand(site, broker_url)
    for lines, timed in ((OUTPATIENT_LINES, count), (INPATIENT_LINES, max(150, count // 10))):
        found[f"bytes_{lines}"] = {way: hand.weigh(way, lines) for way in MEASURED}
        turns = [{way: hand.time(way, lines, timed) for way in MEASURED} for _ in range(TURNS)]
        found[f"cpu_{lines}"] = {way: _median([turn[way] for turn in turns]) for way in MEASURED}
        found[f"percent_{lines}"] = _percent(found, lines)
    hand.use(Way.CENTRAL)
    site.prove()
    return found


def _percent(found: dict[str, Any], lines: int) -> dict[str, Any]:
    """What central costs of centralized, and of the records of the specification."""
    bytes_, cpu = found[f"bytes_{lines}"], found[f"cpu_{lines}"]
    central, whole = bytes_[Way.CENTRAL], bytes_[Way.CENTRALIZED]
    both = {way: {fill: sum(bytes_[way][fill].values()) for fill in FILLS} for way in MEASURED}
    return {
        "to_the_centre": {fill: _part(central[fill]["up"], whole[fill]["up"]) for fill in FILLS},
        "both_ways": {fill: _part(both[Way.CENTRAL][fill], both[Way.CENTRALIZED][fill]) for fill in FILLS},
        "of_records": {fill: _part(both[Way.CENTRAL][fill], found["records"][lines]) for fill in FILLS},
        "cpu": _part(cpu[Way.CENTRAL]["worker"], cpu[Way.CENTRALIZED]["worker"]),
        "cpu_with_database": _part(sum(cpu[Way.CENTRAL].values()), sum(cpu[Way.CENTRALIZED].values())),
    }


def _median(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


def _part(one: float, other: float) -> float:
    return round(100 * one / other, 1)


def _records(lines: int) -> int:
    """What the lines weigh as records of MZXM."""
    return lines * (sum(field.width for field in layout("MZXM")) + 1)


class _Hand:
    """Hands claims in at the front-end's own database and rings the desk."""

    def __init__(self, site: Site, broker_url: str) -> None:
        self._site, self._url, self._next = site, broker_url, 0
        self._chance = random.Random(1)
        self._bell = Doorbell(Post(build_app("ways", broker_url)), FRONTEND)

    def use(self, way: Way) -> None:
        """Settle this way from now on: at both sites, as the terms would have it."""
        with self._site.center.begin() as connection:
            connection.execute(text("UPDATE institution SET way = :way"), {"way": str(way)})
        with self._site.frontend.begin() as connection:
            connection.execute(update(institution).values(way=str(way)))

    def weigh(self, way: Way, lines: int) -> dict[int, dict[str, float]]:
        """Bytes a claim to the centre and back, by how many claims fill a message."""
        self.use(way)
        return {fill: self._weigh(way, lines, fill) for fill in FILLS}

    def _weigh(self, way: Way, lines: int, fill: int) -> dict[str, float]:
        task = lanes.CLAIMS_SETTLE if way is Way.CENTRAL else lanes.CLAIMS_SETTLE_LINES
        with redis.Redis.from_url(self._url) as client, self._site.stopped("link"):
            with self._site.stopped("center-settle"):
                for _ in range(MESSAGES):
                    total = self.hand_in(lines, fill)
                    _wait(lambda: "accepted" not in self._site.states())
                time.sleep(0.2)  # what was noted goes out after its commit
                up = _weighed(client, lanes.SETTLE, task)
            _wait(lambda: client.llen(lanes.SETTLE) == 0)
            time.sleep(0.5)  # the last answer goes out after its commit
            down = _weighed(client, lanes.results(FRONTEND), lanes.CLAIMS_DELIVER)
        self._site.wait_until_answered(total)
        return {"up": up, "down": down}

    def time(self, way: Way, lines: int, count: int) -> dict[str, float]:
        """CPU µs a settlement of the centre's worker, and of its database."""
        self.use(way)
        before = self._site.cpu()
        for start in range(0, count, max(FILLS)):
            total = self.hand_in(lines, min(max(FILLS), count - start))
        self._site.wait_until_answered(total)
        after = self._site.cpu()

        def spent(*roles: str) -> float:
            return round(sum(after[role] - before[role] for role in roles) / count * 1e6, 1)

        return {"worker": spent(*_WORKERS), "database": spent("database")}

    def hand_in(self, lines: int, count: int) -> int:
        """Accept so many claims in one transaction, and ring; how many are accepted in all."""
        made = claims(count, lines=lines, seed=self._chance.randrange(10**9))
        handed_in = [
            _submission(_stay(each, self._chance) if lines == INPATIENT_LINES else each, number)
            for number, each in enumerate(made, self._next)
        ]
        self._next += count
        outcomes = intake.accept(self._site.frontend, handed_in, at=STARTS_AT)
        if not all(isinstance(outcome, intake.Accepted) for outcome in outcomes):
            raise Stuck(f"not accepted: {outcomes[0]}")
        self._bell.ring(HOSPITAL)
        return self._site.accepted()


def _stay(outpatient: Claim, chance: random.Random) -> Claim:
    """The same claim as a stay of ten days."""
    admitted = DAY - timedelta(days=9)
    visit: Visit = replace(outpatient.visit, visit_type=VisitType.INPATIENT, visit_date=admitted)
    lines = [line._replace(charge_date=admitted + timedelta(days=chance.randrange(10))) for line in outpatient.lines]
    return Claim(visit, lines)


def _submission(claim: Claim, number: int) -> Submission:
    visit = replace(claim.visit, visit_no=f"{SHORT_CODE[:-1]}W{number:010d}")
    return Submission(
        institution_code=HOSPITAL,
        visit=visit,
        charge_batch_no=1,
        lines=claim.lines,
        idempotency_key=visit.visit_no,
        content_digest=blake2b(pack_lines(claim.lines), digest_size=16).digest(),
        channel="api",
        covers_to=DAY if claim.visit.is_stay else None,
    )


def _weighed(client: redis.Redis, queue: str, task: str) -> float:
    """Bytes a claim of the messages of this task that lie on a queue."""
    weight = weighed = 0
    for entry in client.lrange(queue, 0, -1):
        message = readable(entry)
        if message is not None and message["headers"]["task"] == task:
            weight += len(entry)
            weighed += ast.literal_eval(message["headers"]["kwargsrepr"])["claims"]
    if not weighed:
        raise Stuck(f"nothing to weigh on {queue}")
    return round(weight / weighed, 1)


def _wait(is_over: Callable[[], bool], *, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not is_over():
        if time.monotonic() > deadline:
            raise Stuck("a queue does not move")
        time.sleep(0.02)


def goals(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What was asked of the gain: name, what was found, and the most it may be."""
    peak = FILLS[-1]
    judged = []
    for lines, most in ((INPATIENT_LINES, 5), (OUTPATIENT_LINES, 12)):
        percent = found[f"percent_{lines}"]
        judged += [
            (f"link bytes of {lines} lines at the peak, % of centralized", percent["both_ways"][peak], most),
            (
                f"link bytes of {lines} lines at the peak, % of the specification's records",
                percent["of_records"][peak],
                most,
            ),
            (f"centre's CPU of {lines} lines, % of centralized", percent["cpu"], 30),
        ]
    return judged


def rows(found: dict[str, Any]) -> Sequence[Sequence[str]]:
    """The figures as lines of a table: what, by fill, and what is left of it."""
    table: list[list[str]] = []
    for lines in (OUTPATIENT_LINES, INPATIENT_LINES):
        percent = found[f"percent_{lines}"]
        for way in MEASURED:
            by_fill = found[f"bytes_{lines}"][way]
            table.append(
                [f"{lines} lines, {way}: bytes up + down"]
                + [f"{by_fill[fill]['up']:.0f} + {by_fill[fill]['down']:.0f}" for fill in FILLS]
            )
        for name, words in (
            ("to_the_centre", "to the centre"),
            ("both_ways", "with the answer"),
            ("of_records", "of the specification's records"),
        ):
            table.append([f"{lines} lines: % {words}", *(f"{percent[name][fill]:g}" for fill in FILLS)])
        cpu = found[f"cpu_{lines}"]
        table.append(
            [f"{lines} lines: centre's CPU µs, worker + database"]
            + [f"{way} {cpu[way]['worker']:.0f} + {cpu[way]['database']:.0f}" for way in MEASURED]
            + [f"{percent['cpu']:g} % ({percent['cpu_with_database']:g} %)"]
        )
    return table
