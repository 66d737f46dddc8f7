"""Documents for the API, broken one way or another, handed in at every address that takes one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import func, select

from infra.database import reading
from tests.malformed import mutations
from tests.malformed.rows import Rows
from tests.malformed.tally import Tally
from tests.support.api import NAME, PERSON, Api, claim, line, open_sample_site, sent
from workers import tables

STAY = {
    "citizen_id_no": PERSON, "visit_type": "1", "visit_date": "2026-02-28", "person_name": NAME,
    "admission_diagnosis": "肺炎",
}  # fmt: skip
TOTALS = {
    "scheme": "employee", "clearing_type": "11", "documents": 1, "total_amount": "50.00", "fund_pay_amount": "40.00",
    "account_pay_amount": "0.00",
}  # fmt: skip
BOOK_LINE = {
    "visit_no": "T000002603020001", "settlement_no": "7001", "total_amount": "50.00", "fund_pay_amount": "40.00",
    "account_pay_amount": "0.00", "charge_batch_no": 1,
}  # fmt: skip
QUOTE = json.loads((Path(__file__).parents[2] / "docs" / "samples" / "outpatient.json").read_text(encoding="utf-8"))
GOOD: dict[str, Any] = {
    "/v1/claims": claim(lines=3),
    "/v1/quotes": QUOTE,
    "/v1/cancellations": {"key": "a-key-of-ours"},
    "/v1/visits": STAY,
    "/v1/visits/{visit_no}/lines": {"lines": [line(1), line(2)]},
    "/v1/visits/{visit_no}/settlements": {"final": False},
    "/v1/visits/{visit_no}/discharge": {
        "discharge_date": "2026-03-02", "discharge_diagnosis_1": "肺炎", "discharge_outcome": "1",
    },
    "/v1/visits/{visit_no}/refunds": {"charge_batch_no": 1, "reason": "退药"},
    "/v1/desk/visits/{visit_no}/quotes": {"lines": [line(1), line(2)]},
    "/v1/reconciliation/totals": {"day": "2026-03-02", "totals": [TOTALS]},
    "/v1/reconciliation/lines": {"day": "2026-03-02", "lines": [BOOK_LINE]},
    "/v1/reconciliation/{day}/file": b"PK\x03\x04 a book",
    "/v1/clearings/{period_no}/confirmation": {"clearing_no": "71", "by": "张会计"},
    "/v1/clearings/{period_no}/objection": {"clearing_no": "71", "by": "张会计", "reason": "少一笔"},
}  # fmt: skip
"""A good body for every address that takes one. Complete: a test compares it with the OpenAPI document."""
AS_ANSWERED = {200, 201, 202}
NEIGHBOUR_EVERY = 500
SURELY = 0.7
"""So many are broken by grammar: none of these may be accepted."""


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
        handing_in.close()
    return tally


class _Handing:
    """One run against one front-end."""

    def __init__(self, api: Api, chance: Random, tally: Tally) -> None:
        self._api, self._chance, self._tally = api, chance, tally
        self._serial = 0
        stay = api.call("POST", "/v1/visits", sent(STAY), headers={"Idempotency-Key": "the-stay"}).json()["visit_no"]
        self._named = {"visit_no": stay, "day": "2026-03-02", "period_no": "1"}
        self._rows = Rows(api.site.engine)
        self._before = self._claims_and_visits()
        self._accepted: Counter[str] = Counter()

    def one(self) -> None:
        """Hand in one broken document at one address."""
        template = self._chance.choice(list(GOOD))
        good, path = GOOD[template], template.format_map(self._named)
        if isinstance(good, bytes):
            self._ask(path, mutations.by_bytes(self._chance, good), surely=True, kind="application/zip")
        elif self._chance.random() < SURELY:
            self._ask(path, mutations.by_grammar(self._chance, good), surely=True)
        else:
            self._ask(path, mutations.by_bytes(self._chance, sent(good)), surely=False)

    def a_good_one(self) -> None:
        """A good claim beside all the others: it is accepted."""
        self._serial += 1
        answer = self._api.submit(claim(), f"good-{self._serial}")
        self._accepted["/v1/claims"] += 1
        if answer.status_code != 202:
            self._tally.wrong.append(f"a good claim was answered {answer.status_code} {answer.text[:200]}")

    def count_rows(self) -> None:
        """As many claims and visits are there as were accepted, and not one more."""
        claims, visits = self._claims_and_visits()
        settled = sum(count for path, count in self._accepted.items() if path.endswith("/settlements"))
        claims_expected = self._before[0] + self._accepted["/v1/claims"] + settled
        expected = (claims_expected, self._before[1] + self._accepted["/v1/visits"])
        if (claims, visits) != expected:
            self._tally.wrong.append(f"rows (claims, visits) {claims, visits}, expected {expected}")

    def close(self) -> None:
        """Let go of the database."""
        self._rows.close()

    def _ask(self, path: str, content: bytes, *, surely: bool, kind: str = "application/json") -> None:
        self._serial += 1
        self._tally.asked += 1
        headers = {"Idempotency-Key": f"broken-{self._serial}", "Content-Type": kind}
        self._rows.changed()
        answer = self._api.call("POST", path, content, headers=headers)
        if answer.status_code in AS_ANSWERED:
            self._accepted[path] += 1
            self._tally.still_good += 1
            if surely:
                self._tally.wrong.append(f"{path} accepted {content[:300]!r}")
            return
        if written := self._rows.changed():
            self._tally.wrong.append(f"{path} answered {answer.status_code} to {content[:300]!r} and wrote {written}")
        code = _code(answer.headers.get("content-type", ""), answer.content)
        if answer.status_code >= 500 or not code:
            self._tally.wrong.append(f"{path} answered {answer.status_code} {answer.text[:200]} to {content[:300]!r}")
            return
        self._tally.refused[f"{answer.status_code} {code}"] += 1

    def _claims_and_visits(self) -> tuple[int, int]:
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
