"""A front-end's site for the API's tests: a real SQLite database, two institutions, a small catalogue, a policy.

What the desk and the centre would do with an accepted claim is done by `Site.settle_all`, so that no broker is needed.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from sqlalchemy import Engine, insert, select, update

from domain.catalogue import CatalogueItem, Match
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, OutcomeTold, ToldOutcome
from infra.clock import Clock, clock_from
from infra.codec import unpack
from infra.database import open_database
from infra.reference import CataloguePublished, ReferenceShelf, catalogue_row, policy_row
from producers.api.app import build
from producers.api.keys import hash_of
from producers.api.site import Site
from workers import deliver, desk, tables
from workers.outcomes import told
from workers.schema import upgrade

DAY = date(2026, 3, 2)
HOSPITAL, CLINIC = "H4401000001", "C4401000002"
KEYS = {HOSPITAL: "hospital-key", CLINIC: "clinic-key"}
PERSON = "990000196109060004"
NAME = "试验甲"

POLICY = """
[set]
id = "test"
region = "440100"
title = "试验"
benefit_year_starts = "01-01"

[source.T]
title = "试验"
verified = "memory"

[policy]
facts = [
  { kind = "deductible", scheme = "any", amount = "10.00", per = "visit", from = 2020-01-01, src = "T" },
  { kind = "share", scheme = "any", ratio = "0.80", basis = "in_scope", from = 2020-01-01, src = "T" },
  { kind = "rounding", scheme = "any", place = "fund_share", mode = "half_up", digits = 2, rest_goes_to = "person", \
from = 2020-01-01, src = "T" },
  { kind = "account_pays", scheme = "any", may_pay = ["in_scope"], from = 2020-01-01, src = "T" },
]
"""

ITEMS = (
    CatalogueItem("W0001", "阿莫西林胶囊", "1", "1", "2", None),
    CatalogueItem("W0002", "头孢克洛胶囊", "1", "2", "2", 1000),
    CatalogueItem("X0003", "美容项目", "0", "9", "13", None, None, date(2020, 1, 1), date(2026, 12, 31)),
)


class SilentPost:
    """A broker that takes every message and keeps the names only."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, task: str, *, queue: str, shown: object, **kwargs: object) -> None:
        self.sent.append(queue)

    def waiting(self, queue: str) -> int:
        return 0


class SampleSite(Site):
    """A site whose claims are settled when the test says so."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.silent = SilentPost()
        super().__init__(engine, self.silent, clock, frontend="FE01")  # type: ignore[arg-type]
        self._desk_shelf = ReferenceShelf(tables.reference)

    def settle_all(self, refuse: str = "") -> int:
        """Check and total every accepted claim, then record an answer for each; how many moved."""
        now = self.clock.now()
        moved = 0
        for code in KEYS:
            turn = desk.preprocess(self.engine, self._desk_shelf, code, limit=100, at=now, now=0.0)
            answers = tuple(
                ClaimAnswer(claim.visit_no, claim.charge_batch_no, refusal=refuse, detail="中心拒绝")
                if refuse
                else ClaimAnswer(
                    claim.visit_no,
                    claim.charge_batch_no,
                    settlement_no=7001 + place,
                    fund_pay_fen=claim.in_scope_fen,
                    settled_at=now.astimezone(UTC),
                )
                for place, claim in enumerate(turn.totals)
            )
            with self.engine.begin() as connection:
                deliver.record_answers(connection, ClaimsAnswered(answers=answers), at=now)
            moved += len(answers) + turn.returned + len(turn.prepares)
            self._tell([self._prepared(claim, refuse) for claim in turn.prepares])
        self._tell(list(self._decided()))
        return moved

    def _tell(self, outcomes: list[ToldOutcome]) -> None:
        with self.engine.begin() as connection:
            told.record(connection, OutcomeTold(outcomes=tuple(outcomes)), at=self.clock.now())

    def _prepared(self, claim: ClaimTotals, refuse: str) -> ToldOutcome:
        key = claim.institution_code, claim.visit_no, claim.charge_batch_no
        if refuse:
            return ToldOutcome(*key, "refused", refuse, "中心拒绝")
        answer = ClaimAnswer(claim.visit_no, claim.charge_batch_no, fund_pay_fen=claim.in_scope_fen)
        return ToldOutcome(*key, "prepared", answer=answer, seconds_left=600)

    def _decided(self) -> Iterator[ToldOutcome]:
        """What the centre says to each decision that waits for it."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(tables.claim).where(tables.IS_UNDECIDED)).all()
        for row in rows:
            key = row.institution_code, row.visit_no, row.charge_batch_no
            if row.phase == "cancel":
                yield ToldOutcome(*key, "cancelled", "cancelled", "已取消")
            elif row.phase == "confirm":
                answer = unpack(row.answer, ClaimAnswer)
                settled = answer._replace(settlement_no=8001, settled_at=self.clock.now().astimezone(UTC))
                yield ToldOutcome(*key, "confirmed", answer=settled)


@contextmanager
def open_sample_site(folder: Path, *, cap: int = 1000) -> Iterator[SampleSite]:
    """A migrated site with its institutions and reference data."""
    file = folder / "frontend.db"
    file.write_bytes(_filled())
    engine = open_database(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(update(tables.institution).values(backlog_cap=cap))
    clock = clock_from(f"{datetime(2026, 3, 2, 9, tzinfo=UTC).isoformat()}@0.0x0.0")
    try:
        yield SampleSite(engine, clock)
    finally:
        engine.dispose()


@cache
def _filled() -> bytes:
    """A database file with everything in it, made once and copied."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "frontend.db"
        engine = open_database(f"sqlite:///{file}")
        fill(engine)
        engine.dispose()
        return file.read_bytes()


def fill(engine: Engine) -> None:
    """Migrate a new database and put the institutions and the reference data into it."""
    upgrade(engine)
    matches = [
        Match(code, f"L{item.item_code}", item.match_type, item.item_code, item.item_name, item.coverage_class, True)
        for code in KEYS
        for item in ITEMS
    ]
    published = CataloguePublished(version="2026-01", items=ITEMS, matches=tuple(matches))
    institutions = [
        {
            "institution_code": code,
            "short_code": f"T0000{place}",
            "name": "试验医院" if code == HOSPITAL else "试验诊所",
            "kind": "hospital" if code == HOSPITAL else "clinic",
            "level": 3 if code == HOSPITAL else 0,
            "api_key_hash": hash_of(key),
            "backlog_cap": 1000,
            "active": True,
        }
        for place, (code, key) in enumerate(KEYS.items())
    ]
    with engine.begin() as connection:
        connection.execute(insert(tables.institution), institutions)
        connection.execute(insert(tables.reference), [catalogue_row(published), policy_row(POLICY)])


class Api:
    """The application of a site, called as its clients call it; without a key, as nobody."""

    def __init__(self, site: SampleSite) -> None:
        self.site = site
        self.front = build(site)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Api:
        self._thread.start()
        self._wait_for(self.site.__aenter__())
        transport = httpx.ASGITransport(self.front, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://api", timeout=60)
        return self

    def __exit__(self, *reason: object) -> None:
        self._wait_for(self._client.aclose())
        self._wait_for(self.site.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def call(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        key: str | None = KEYS[HOSPITAL],
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request and its answer."""
        return self.start(method, path, content, key=key, headers=headers)()

    def start(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        key: str | None = KEYS[HOSPITAL],
        headers: Mapping[str, str] | None = None,
    ) -> Callable[[], httpx.Response]:
        """The same, without waiting: call what is returned for the answer."""
        sending = {"Authorization": f"Bearer {key}"} if key is not None else {}
        if content is not None:
            sending["Content-Type"] = "application/json"
        request = self._client.request(method, path, content=content, headers=sending | dict(headers or {}))  # type: ignore[arg-type]
        answer = asyncio.run_coroutine_threadsafe(request, self.loop)
        return lambda: answer.result(60)

    def submit(self, document: object, idempotency_key: str, **given: Any) -> httpx.Response:
        """Hand in a claim."""
        return self.start_submit(document, idempotency_key, **given)()

    def start_submit(
        self, document: object, idempotency_key: str, *, wait: int = 0, key: str = KEYS[HOSPITAL]
    ) -> Callable[[], httpx.Response]:
        """The same, without waiting."""
        headers = {"Idempotency-Key": idempotency_key} | ({"Prefer": f"wait={wait}"} if wait else {})
        return self.start("POST", "/v1/claims", sent(document), key=key, headers=headers)

    def _wait_for(self, what: Awaitable[Any]) -> Any:
        async def waited() -> Any:
            return await what

        return asyncio.run_coroutine_threadsafe(waited(), self.loop).result(60)


def line(number: int, **change: Any) -> dict[str, Any]:
    """A good charge line; a change to ... leaves the field out."""
    good: dict[str, Any] = {
        "line_no": number,
        "charge_date": "2026-03-02",
        "local_item_code": "LW0001",
        "local_item_name": "阿莫西林胶囊",
        "charge_category": 2,
        "specification": "0.25g×24粒",
        "dosage_form": "胶囊剂",
        "unit_price": "12.5",
        "quantity": "2",
        "line_amount": "25.00",
        "drug_origin": "1",
    }
    return {name: value for name, value in (good | change).items() if value is not ...}


def claim(lines: int = 2, visit: dict[str, Any] | None = None, **change: Any) -> dict[str, Any]:
    """A good claim of the test person."""
    good: dict[str, Any] = {
        "visit": {
            "citizen_id_no": PERSON,
            "visit_type": "3",
            "visit_date": "2026-03-02",
            "person_name": NAME,
            **(visit or {}),
        },
        "lines": [line(number) for number in range(1, lines + 1)],
    }
    return {name: value for name, value in (good | change).items() if value is not ...}


def sent(document: Any) -> bytes:
    """The document as a client writes it."""
    return json.dumps(document, ensure_ascii=False).encode()
