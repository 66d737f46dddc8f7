"""Documents for the API, broken one way or another, handed in at every address that takes one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import func, select

from infra.database import reading
from tests.malformed import mutations
from tests.malformed.tally import Tally
from tests.support.api import NAME, PERSON, Api, claim, line, open_sample_site, sent
from workers import tables

STAY = {
    "citizen_id_no": PERSON, "visit_type": "1", "visit_date": "2026-02-28", "person_name": NAME,
    "admission_diagnosis": "肺炎",
}  # fmt: skip
QUOTE = json.loads((Path(__file__).parents[2] / "docs" / "samples" / "outpatient.json").read_text(encoding="utf-8"))
AS_ANSWERED = {200, 201, 202}
NEIGHBOUR_EVERY = 500


def run(folder: Path, *, seed: int, count: int) -> Tally:
    """Hand in documents until so many were refused; a good claim stands among them now and then."""
    chance, tally = Random(seed), Tally("documents")
    with open_sample_site(folder, cap=10**9) as site, Api(site) as api:
        handing_in = _Handing(api, chance, tally)
        while tally.refused.total() < count:
            handing_in.one()
            if tally.asked % NEIGHBOUR_EVERY == 0:
                handing_in.a_good_one()
        handing_in.count_rows()
    return tally


class _Handing:
    """One run against one front-end."""

    def __init__(self, api: Api, chance: Random, tally: Tally) -> None:
        self._api, self._chance, self._tally = api, chance, tally
        self._serial = 0
        stay = api.call("POST", "/v1/visits", sent(STAY), headers={"Idempotency-Key": "the-stay"}).json()["visit_no"]
        self._addresses: tuple[tuple[str, dict[str, Any]], ...] = (
            ("/v1/claims", claim()),
            ("/v1/claims", claim(lines=8)),
            ("/v1/quotes", QUOTE),
            ("/v1/visits", STAY),
            (f"/v1/visits/{stay}/lines", {"lines": [line(1), line(2)]}),
            (f"/v1/visits/{stay}/settlements", {"final": False}),
            (f"/v1/visits/{stay}/refunds", {"charge_batch_no": 1, "reason": "退药"}),
            ("/v1/cancellations", {"key": "a-key-of-ours"}),
        )
        self._before = self._rows()
        self._accepted: Counter[str] = Counter()

    def one(self) -> None:
        """Hand in one broken document at one address."""
        path, good = self._chance.choice(self._addresses)
        surely = self._chance.random() < 0.7
        break_: Callable[[], bytes] = (
            (lambda: mutations.by_grammar(self._chance, good))
            if surely
            else (lambda: mutations.by_bytes(self._chance, sent(good)))
        )
        self._ask(path, break_(), surely=surely)

    def a_good_one(self) -> None:
        """A good claim beside all the others: it is accepted."""
        self._serial += 1
        answer = self._api.submit(claim(), f"good-{self._serial}")
        self._accepted["/v1/claims"] += 1
        if answer.status_code != 202:
            self._tally.wrong.append(f"a good claim was answered {answer.status_code} {answer.text[:200]}")

    def count_rows(self) -> None:
        """As many claims and visits are there as were accepted, and not one more."""
        claims, visits = self._rows()
        settled = sum(count for path, count in self._accepted.items() if path.endswith("/settlements"))
        claims_expected = self._before[0] + self._accepted["/v1/claims"] + settled
        expected = (claims_expected, self._before[1] + self._accepted["/v1/visits"])
        if (claims, visits) != expected:
            self._tally.wrong.append(f"rows (claims, visits) {claims, visits}, expected {expected}")

    def _ask(self, path: str, content: bytes, *, surely: bool) -> None:
        self._serial += 1
        self._tally.asked += 1
        headers = {"Idempotency-Key": f"broken-{self._serial}"}
        answer = self._api.call("POST", path, content, headers=headers)
        if answer.status_code in AS_ANSWERED:
            self._accepted[path] += 1
            self._tally.still_good += 1
            if surely:
                self._tally.wrong.append(f"{path} accepted {content[:300]!r}")
            return
        code = _code(answer.headers.get("content-type", ""), answer.content)
        if answer.status_code >= 500 or not code:
            self._tally.wrong.append(f"{path} answered {answer.status_code} {answer.text[:200]} to {content[:300]!r}")
            return
        self._tally.refused[f"{answer.status_code} {code}"] += 1

    def _rows(self) -> tuple[int, int]:
        with reading(self._api.site.engine) as connection:
            claims = connection.execute(select(func.count()).select_from(tables.claim)).scalar_one()
            visits = connection.execute(select(func.count()).select_from(tables.visit)).scalar_one()
        return claims, visits


def _code(kind: str, body: bytes) -> str:
    """The code of a problem (RFC 9457); empty when the answer is none."""
    if not kind.startswith("application/problem+json"):
        return ""
    problem = json.loads(body)
    return str(problem.get("code", ""))
