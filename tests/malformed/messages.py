"""Messages for the centre's tasks, broken as envelope, as content, or as values; the tasks are those that run there."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgpack
from sqlalchemy import insert, text

from center.tables import upload_window
from center.tasks import Center, app_of
from domain import messages as m
from domain.refusals import Refusal
from domain.visit import pack_lines
from infra import lanes
from infra.codec import UnreadableMessage, decode, encode
from infra.envelope import seal, unseal
from infra.settings import Settings
from tests.contract.test_golden_messages import VALUES
from tests.malformed import mutations
from tests.malformed.tally import Tally
from tests.support.center import FRONTEND, HOSPITAL, fill_center, submitted, synthetic_citizen_id, totals
from tests.support.frontend import LINES, totals_of
from tests.support.post import RememberingPost
from tests.support.uploading import WIDE

SECRET = b"\xab" * 32
LANE_OF = {
    lanes.CLAIMS_SETTLE: (lanes.SETTLE, m.TotalsSubmitted),
    lanes.CLAIMS_SETTLE_LINES: (lanes.SETTLE, m.LinesSubmitted),
    lanes.CLAIMS_REFUND: (lanes.SETTLE, m.RefundAsked),
    lanes.CLAIMS_PREPARE: (lanes.SETTLE, m.PrepareAsked),
    lanes.CLAIMS_DECIDE: (lanes.SETTLE, m.OutcomeDecided),
    lanes.OUTCOMES_ASK: (lanes.SETTLE, m.OutcomeAsked),
    lanes.CORRECTIONS_HEARD: (lanes.ADMIN, m.CorrectionHeard),
    lanes.DOCUMENTS_RESEND: (lanes.BOOKS, m.DocumentsResent),
    lanes.DETAILS_MARK: (lanes.BOOKS, m.DetailsMarked),
    lanes.PERSONS_ASK: (lanes.ADMIN, m.PersonAsked),
    lanes.DETAILS_RECEIVE: (lanes.DETAILS, m.DetailUploaded),
    lanes.BOOKS_RECONCILE: (lanes.BOOKS, m.BooksReported),
    lanes.BOOKS_SUBMIT: (lanes.BOOKS, m.BooksSubmitted),
    lanes.BOOKS_REPAIRED: (lanes.BOOKS, m.RepairDone),
    lanes.REFERENCE_ASK: (lanes.ADMIN, m.ReferenceAsked),
    lanes.CLEARINGS_ASK: (lanes.ADMIN, m.ClearingsAsked),
    lanes.CLEARINGS_DECIDE: (lanes.ADMIN, m.ClearingDecided),
    lanes.TERMS_ASK: (lanes.ADMIN, m.TermsAsked),
    lanes.HANDOVER_TAKE: (lanes.ADMIN, m.HandedOver),
    lanes.HANDOVER_REPORT: (lanes.ADMIN, m.HandOverReported),
    lanes.BUNDLE_KEPT: (lanes.ADMIN, m.BundleKept),
}
"""What the centre takes in envelopes: task, lane, message. Complete: a test compares it with the application."""
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**18, -(10**18), 2**63, 2**64 - 1, 1.5, float("nan"), "", "\0", "字" * 100, "x" * 70_000,
    "2026-02-31", "0000-00-00", "9999-12-31", b"", b"\xff" * 40, [], {}, [[]], [None], {"a": 1},
    msgpack.ExtType(5, b"x"),
)  # fmt: skip
NEIGHBOUR_EVERY = 200


def run(engine: Any, folder: Path, *, seed: int, count: int) -> Tally:
    """Hand messages to the tasks until so many were refused; a good claim stands among them now and then."""
    chance, tally = Random(seed), Tally("messages")
    counter = _Center(engine, folder, tally)
    try:
        while tally.refused.total() < count:
            counter.one(chance)
            if tally.asked % NEIGHBOUR_EVERY == 0:
                counter.a_good_one()
        counter.count_rows()
    finally:
        counter.close()
    return tally


@dataclass(frozen=True, slots=True)
class Good:
    """A good message on its way to a task."""

    task: str
    lane: str
    content: bytes


class _Center:
    """A centre whose tasks are called as its worker calls them; what it posts is remembered."""

    def __init__(self, engine: Any, folder: Path, tally: Tally) -> None:
        self._engine, self._tally = engine, tally
        secret = folder / "secret"
        secret.write_text(SECRET.hex())
        url = engine.url.render_as_string(hide_password=False)
        settings = Settings(
            _env_file=None, center_database_url=url, center_broker_url="redis://127.0.0.1:1/0",
            center_secret_file=secret, data_dir=folder, clock=f"2026-03-02T10:00:00+08:00@{time.time()}x1.0",
        )  # fmt: skip
        fill_center(engine, persons=50, balance_fen=10_000_000)
        with engine.begin() as connection:
            connection.execute(insert(upload_window).values(name="always", opens="00:00", closes="00:00", **WIDE))
        self._center = Center(settings)
        self._center.post = RememberingPost()  # type: ignore[assignment]
        self._tasks = app_of(self._center).tasks
        self._good = list(_good_messages())
        self._key = settings.key_of(FRONTEND)
        self._serial = 0
        self._settled: set[int] = set()

    def one(self, chance: Random) -> None:
        """Break one message and hand it to its task."""
        good = chance.choice(self._good)
        match chance.randrange(10):
            case 0 | 1:
                self._ask(good, mutations.by_bytes(chance, self._sealed(good.lane, good.content)))
            case 2 | 3:
                self._ask(good, self._sealed(good.lane, mutations.by_bytes(chance, good.content)))
            case 4:
                other = chance.choice(self._good)
                self._ask(good, self._sealed(other.lane, other.content))
            case _:
                self._ask(good, self._sealed(good.lane, with_a_strange_value(chance, good.content)))

    def a_good_one(self) -> None:
        """A good claim beside all the others: it is settled."""
        self._serial += 1
        claim = totals(self._serial, visit_no=f"G{self._serial:011d}", citizen_id_no=synthetic_citizen_id(1))
        good = Good(lanes.CLAIMS_SETTLE, lanes.SETTLE, encode(submitted(claim)))
        answered = self._ask(good, self._sealed(good.lane, good.content))
        if [answer.refusal for each in answered for answer in each.answers] != [""]:
            self._tally.wrong.append(f"a good claim was answered {answered}")

    def close(self) -> None:
        """Let go of the database."""
        self._center.engine.dispose()

    def count_rows(self) -> None:
        """As many settlements are there as were answered, all postings add up to zero."""
        with self._engine.connect() as connection:
            held = set(connection.execute(text("SELECT settlement_no FROM settlement")).scalars())
            off = connection.execute(text("SELECT coalesce(sum(amount_fen), 0) FROM posting")).scalar_one()
        if held != self._settled or off:
            self._tally.wrong.append(f"{len(held)} settlements, {len(self._settled)} answered, postings off by {off}")

    def _ask(self, good: Good, envelope: bytes) -> list[Any]:
        self._tally.asked += 1
        self._center.post.sent.clear()  # type: ignore[attr-defined]
        try:
            self._tasks[good.task](envelope=envelope)
        except UnreadableMessage as error:
            self._tally.refused[f"{good.task} {type(error).__name__}"] += 1
            return []
        except Exception as error:
            self._tally.wrong.append(f"{good.task} raised {type(error).__name__}: {error} for {envelope[:80]!r}")
            return []
        return self._told(good.task, envelope)

    def _told(self, task: str, envelope: bytes) -> list[Any]:
        told = [self._opened(queue, kwargs["envelope"]) for _, queue, _, kwargs in self._center.post.sent]  # type: ignore[attr-defined]
        refusals = [code for each in told for code in _refusals(each)]
        for code in refusals:
            self._tally.refused[f"{task} {code}"] += 1
            if code == Refusal.INTERNAL:
                self._tally.wrong.append(f"{task} had no better word than {code} for {self._content(task, envelope)!r}")
        self._tally.still_good += not refusals
        for each in told:
            if isinstance(each, m.ClaimsAnswered | m.RefundAnswered):
                self._settled |= {answer.settlement_no for answer in each.answers if answer.settlement_no}
            if isinstance(each, m.OutcomeTold):
                answers = [one.answer for one in each.outcomes if one.answer is not None]
                self._settled |= {answer.settlement_no for answer in answers if answer.settlement_no}
        return told

    def _opened(self, queue: str, envelope: bytes) -> Any:
        content = unseal(envelope, lane=queue, key=self._key)
        kind = msgpack.unpackb(content)[0]
        return decode(content, next(each for each in _KINDS if kind == each.KIND))

    def _content(self, task: str, envelope: bytes) -> bytes:
        return unseal(envelope, lane=LANE_OF[task][0], key=self._key)[:400]

    def _sealed(self, lane: str, content: bytes) -> bytes:
        return seal(content, frontend=FRONTEND, lane=lane, key=self._key)


_KINDS = m.Message.__args__  # type: ignore[attr-defined]


def _good_messages() -> Iterator[Good]:
    """Every kind of message the centre takes: the released bytes' values, and claims this centre settles."""
    for task, (lane, kind) in LANE_OF.items():
        for value in VALUES.values():
            if isinstance(value, kind):
                yield Good(task, lane, encode(value))
    claims = [totals(serial, citizen_id_no=synthetic_citizen_id(serial % 50)) for serial in range(3)]
    for task in (lanes.CLAIMS_SETTLE, lanes.CLAIMS_SETTLE, lanes.CLAIMS_SETTLE):
        yield Good(task, lanes.SETTLE, encode(submitted(*claims)))
    prepared = submitted(*[totals(serial + 9, citizen_id_no=synthetic_citizen_id(serial + 9)) for serial in range(3)])
    asked = m.PrepareAsked(
        policy_version=prepared.policy_version, catalogue_version=prepared.catalogue_version, claims=prepared.claims
    )
    yield Good(lanes.CLAIMS_PREPARE, lanes.SETTLE, encode(asked))
    refund = m.RefundAsked(
        institution_code=HOSPITAL, visit_no=claims[0].visit_no, charge_batch_no=1, contra_batch_no=2, reason="退药",
        policy_version=prepared.policy_version, catalogue_version=prepared.catalogue_version,
    )  # fmt: skip
    yield Good(lanes.CLAIMS_REFUND, lanes.SETTLE, encode(refund))
    packed = pack_lines(list(LINES))
    sent = [
        m.with_lines(totals_of(HOSPITAL, f"M{serial:011d}"), packed)._replace(
            citizen_id_no=synthetic_citizen_id(20 + serial)
        )
        for serial in range(4)
    ]
    for prepare in (False, False, True):
        yield Good(
            lanes.CLAIMS_SETTLE_LINES, lanes.SETTLE,
            encode(m.LinesSubmitted(prepare=prepare, claims=tuple(sent[2:] if prepare else sent[:2]))),
        )  # fmt: skip


def with_a_strange_value(chance: Random, content: bytes) -> bytes:
    """The message with one value, somewhere in its fields, that is strange there; the rest as it was."""
    kind, version, body = msgpack.unpackb(content)
    broken = copy.deepcopy(body)
    places = list(_places(broken))
    holder, name = chance.choice(places) if places else (broken, "unknown")
    holder[name] = chance.choice(_VALUES)
    packed: bytes = msgpack.packb([kind, version, broken])
    return packed


def _places(held: Any) -> Iterator[tuple[Any, Any]]:
    names = list(held) if isinstance(held, dict) else range(len(held)) if isinstance(held, list) else ()
    for name in names:
        yield held, name
        yield from _places(held[name])


def _refusals(told: Any) -> list[str]:
    """The codes in an answer."""
    match told:
        case m.ClaimsAnswered():
            return [answer.refusal for answer in told.answers if answer.refusal]
        case m.OutcomeTold():
            return [one.refusal or one.state for one in told.outcomes if one.refusal or one.state == "unknown"]
        case m.RefundAnswered():
            return [told.refusal] if told.refusal else []
        case m.DetailReceived():
            return ["not-accepted" for receipt in told.receipts if not receipt.accepted]
        case m.PersonAnswered():
            return ["person-unknown" for one in told.entitlements if not one.known]
        case _:
            return []
