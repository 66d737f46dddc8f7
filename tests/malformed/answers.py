"""Messages for a front-end's tasks, broken as envelope, as content, or as values: what the centre would never send."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Engine, select, update

from domain import messages as m
from infra import lanes
from infra.codec import UnreadableMessage, encode
from infra.database import reading
from infra.envelope import frontend_key, seal
from infra.settings import Settings
from tests.contract.test_golden_messages import VALUES
from tests.malformed import mutations
from tests.malformed.messages import Good, with_a_strange_value
from tests.malformed.rows import Rows
from tests.malformed.tally import Tally
from tests.support.api import Api, claim, open_sample_site
from tests.support.post import RememberingPost
from workers.tables import institution
from workers.tasks import Frontend, link_app

FRONTEND = "FE01"
KEY = frontend_key(b"\xab" * 32, FRONTEND)
RESULTS, UPLOADS = lanes.results(FRONTEND), lanes.uploads(FRONTEND)
LANE_OF = {
    lanes.CLAIMS_DELIVER: (RESULTS, m.ClaimsAnswered),
    lanes.CLAIMS_REFUNDED: (RESULTS, m.RefundAnswered),
    lanes.CLAIMS_CORRECTED: (RESULTS, m.SettlementCorrected),
    lanes.OUTCOMES_TELL: (RESULTS, m.OutcomeTold),
    lanes.PERSONS_ANSWER: (RESULTS, m.PersonAnswered),
    lanes.DETAILS_CONFIRM: (RESULTS, m.DetailReceived),
    lanes.DETAILS_UPLOAD: (UPLOADS, m.UploadGranted),
    lanes.REFERENCE_KEEP: (UPLOADS, m.ReferenceSent),
    lanes.TERMS_KEEP: (RESULTS, m.TermsSent),
    lanes.HANDOVER_ASK: (RESULTS, m.HandOverAsked),
    lanes.BUNDLE_KEEP: (RESULTS, m.HandedOver),
    lanes.BOOKS_COMPARED: (RESULTS, m.BooksCompared),
    lanes.BOOKS_REPAIR: (RESULTS, m.RepairOrdered),
    lanes.BOOKS_REPORT: (UPLOADS, m.BooksAsked),
    lanes.CLEARINGS_TELL: (RESULTS, m.ClearingsTold),
    lanes.CLEARINGS_HEARD: (RESULTS, m.ClearingHeard),
    lanes.DOCUMENTS_ASK: (UPLOADS, m.DocumentsAsked),
    lanes.DETAILS_ASK: (UPLOADS, m.DetailsAsked),
}
"""What a front-end takes in envelopes: task, lane, message. Complete: a test compares it with the application."""
NEIGHBOUR_EVERY = 500


def run(folder: Path, *, seed: int, count: int) -> Tally:
    """Hand messages to the tasks until so many were refused; a good claim goes its way among them now and then."""
    chance, tally = Random(seed), Tally("answers")
    with open_sample_site(folder, cap=10**9) as site, Api(site) as api:
        link = _Link(site.engine, folder, tally)
        served = _served(site.engine)
        while tally.refused.total() < count:
            link.one(chance)
            if tally.asked % NEIGHBOUR_EVERY == 0:
                _served_again(site.engine, served)
                _a_good_claim(api, tally)
        link.close()
    return tally


def _a_good_claim(api: Api, tally: Tally) -> None:
    """It is accepted, checked, answered and settled beside all the others."""
    number = api.submit(claim(), f"good-{tally.asked}").json()["claim_no"]
    api.site.settle_all()
    state = api.call("GET", f"/v1/claims/{number}").json()["state"]
    if state != "settled":
        tally.wrong.append(f"a good claim is {state}")


def _served(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(select(institution)).mappings()]


def _served_again(engine: Engine, rows: list[dict[str, Any]]) -> None:
    """Terms that could be read are the centre's word, whatever they say of whom this front-end serves: take it back."""
    with engine.begin() as connection:
        for row in rows:
            of = institution.c.institution_code == row["institution_code"]
            connection.execute(update(institution).where(of).values(row))


class _Link:
    """The link of a front-end whose tasks are called as its worker calls them; what it posts is remembered."""

    def __init__(self, engine: Engine, folder: Path, tally: Tally) -> None:
        self._rows, self._tally = Rows(engine), tally
        key = folder / "key"
        key.write_text(KEY.hex())
        settings = Settings(
            _env_file=None, frontend=FRONTEND, frontend_database_url=str(engine.url), frontend_key_file=key,
            center_broker_url="redis://127.0.0.1:1/0", data_dir=folder,
            clock=f"2026-03-02T17:00:00+08:00@{time.time()}x1.0",
        )  # fmt: skip
        self._frontend = Frontend(settings)
        post: Any = RememberingPost()
        self._frontend.to_center = self._frontend.on_site = post
        self._tasks = link_app(self._frontend).tasks
        self._good = [
            Good(task, lane, encode(value))
            for task, (lane, kind) in LANE_OF.items()
            for value in VALUES.values()
            if isinstance(value, kind)
        ]

    def one(self, chance: Random) -> None:
        """Break one message and hand it to its task. One that cannot be read leaves every row of every table alone."""
        good = chance.choice(self._good)
        match chance.randrange(8):
            case 0 | 1:
                envelope = mutations.by_bytes(chance, self._sealed(good.lane, good.content))
            case 2 | 3:
                envelope = self._sealed(good.lane, mutations.by_bytes(chance, good.content))
            case 4:
                other = chance.choice(self._good)
                envelope = self._sealed(other.lane, other.content)
            case _:
                envelope = self._sealed(good.lane, with_a_strange_value(chance, good.content))
        self._ask(good, envelope)

    def close(self) -> None:
        """Let go of the database."""
        self._rows.close()
        self._frontend.engine.dispose()

    def _ask(self, good: Good, envelope: bytes) -> None:
        self._tally.asked += 1
        self._rows.changed()
        try:
            self._tasks[good.task](envelope=envelope)
        except UnreadableMessage as error:
            self._tally.refused[f"{good.task} {type(error).__name__}"] += 1
            if written := self._rows.changed():
                self._tally.wrong.append(f"{good.task} could not read {envelope[:80]!r} and wrote {written}")
        except Exception as error:
            self._tally.wrong.append(f"{good.task} raised {type(error).__name__}: {error} for {envelope[:80]!r}")
        else:
            self._tally.still_good += 1

    def _sealed(self, lane: str, content: bytes) -> bytes:
        return seal(content, frontend=FRONTEND, lane=lane, key=KEY)
