"""For those who know Locust: cashiers at the API of one front-end, each with one claim at a time.

    .tools/bin/uv tool run --from locust==2.47.0 locust -f tests/load/locustfile.py --host http://127.0.0.1:8081

Against `make up`, in a second terminal; http://127.0.0.1:8089 then has Locust's page. Needs nothing of this project but
the standard library, so it runs in an environment of its own. What a cashier charges is asked from the API (the
institution's own items); persons are the sample city's. Locust waits for an answer before it asks again: a slow system
gets less load and looks better than it is. `jiesuan load run` is an open loop and measures; this one is for looking.
"""

from __future__ import annotations

import json
import os
import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from locust import HttpUser, between, events, task  # noqa: E402

from domain.identity import synthetic_citizen_id  # noqa: E402  # the project is not installed where Locust is

KEYS = Path(os.environ.get("JIESUAN_API_KEYS", ROOT / ".data" / "city" / "secrets" / "api_keys.json"))
"""The API key of each institution; the sample city's lie where `make up` put them."""
PERSONS = 3_000
WAIT_SECONDS = 10
SHANGHAI = timezone(timedelta(hours=8))


def claim_of(items: list[dict[str, Any]], chance: random.Random, today: str) -> dict[str, Any]:
    """An outpatient claim of 2 to 8 lines of these items (as `/v1/matches` tells them) for a person of the city."""
    lines = []
    for number, item in enumerate(chance.sample(items, min(len(items), chance.randint(2, 8))), 1):
        cents = round(float(item["unit_price"]) * 100)
        packs = chance.choice((1, 1, 2, 3))
        lines.append(
            {
                "line_no": number,
                "charge_date": today,
                "local_item_code": item["local_item_code"],
                "local_item_name": item["local_item_name"],
                "unit_price": f"{cents // 100}.{cents % 100:02d}",
                "quantity": str(packs),
                "line_amount": f"{cents * packs // 100}.{cents * packs % 100:02d}",
            }
        )
    person = synthetic_citizen_id(chance.randrange(PERSONS))
    return {"visit": {"citizen_id_no": person, "visit_type": "3", "visit_date": today}, "lines": lines}


class Cashier(HttpUser):  # type: ignore[misc]  # Locust is not installed where the types are checked
    """Hands in a claim, waits for its answer, serves the next patient."""

    wait_time = between(0.5, 2)
    institutions: tuple[tuple[str, str], ...] = ()

    def on_start(self) -> None:
        """Find an institution whose key this front-end knows, and what it sells."""
        self.chance = random.Random()
        keys = list(json.loads(KEYS.read_text(encoding="ascii")).values())
        self.chance.shuffle(keys)
        for key in keys:
            self.headers = {"Authorization": f"Bearer {key}"}
            with self.client.get("/v1/matches?limit=50", headers=self.headers, catch_response=True) as answer:
                answer.success()
                if answer.status_code == 200:
                    self.items = [one for one in answer.json()["matches"] if one["unit_price"]]
                    return
        raise RuntimeError(f"no key in {KEYS} is one of this front-end's")

    @task(10)
    def submit(self) -> None:
        """One claim, until its answer or its receipt."""
        document = claim_of(self.items, self.chance, datetime.now(SHANGHAI).date().isoformat())
        headers = {**self.headers, "Idempotency-Key": f"locust-{uuid4()}", "Prefer": f"wait={WAIT_SECONDS}"}
        with self.client.post("/v1/claims", json=document, headers=headers, catch_response=True) as answer:
            if answer.status_code == 429:
                answer.failure("asked to wait")
            elif answer.status_code < 300:
                self.last = answer.json()["claim_no"]

    @task(2)
    def show(self) -> None:
        """Look at the last one again."""
        if getattr(self, "last", ""):
            self.client.get(f"/v1/claims/{self.last}", headers=self.headers, name="/v1/claims/{claim_no}")


@events.quitting.add_listener
def leave_with_failure(environment: Any, **_: Any) -> None:
    """Exit code 1 when nothing was handed in, or anything failed that was not asked to wait."""
    stats = environment.stats.get("/v1/claims", "POST")
    if not stats.num_requests or stats.num_failures:
        environment.process_exit_code = 1
