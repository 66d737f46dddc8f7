"""The hospitals' side: programs that submit, repeat, prepare, decide, cancel, refund and ask, over the real API.

Each writes down what it asks and what it is told (`history`): yes, no, or nothing, which counts as either. What an
operation came to is asked for again under the same key when all has healed, and then it must be known.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from domain.lifecycle import FINAL
from producers.client import Document, JiesuanClient, Refused, TryLater
from tests.faults.history import Book, Kind
from tests.faults.town import PERSONS, Town
from tests.faults.town import Site as Frontend

DAY = "2026-03-02"
LINES = (
    ("L001", "阿莫西林胶囊", "12.5", 1, 1250),
    ("L002", "头孢克肟片", "33.33", 1, 3333),
    ("L003", "一次性手套", "0.5", 9, 50),
    ("L004", "血常规", "25", 5, 2500),
)
"""Local code, name, price, charge category, price in fen."""

EXPECTED: dict[Kind, frozenset[str]] = {
    Kind.SUBMIT: frozenset({"claim-cancelled"}),
    Kind.REFUND: frozenset({"visit-not-ready"}),
    Kind.CONFIRM: frozenset({"claim-not-prepared", "claim-expired", "claim-cancelled", "claim-refused"}),
    Kind.CANCEL: frozenset({"claim-settled", "claim-refused", "claim-confirming", "claim-expired"}),
}
"""The ways to be told no that this load may earn."""


@dataclass(slots=True)
class Claim:
    """What a client knows of a claim of its own."""

    key: str
    document: Document
    is_prepared_first: bool
    claim_no: str = ""
    state: str = ""
    settlement: Document | None = None
    is_buried: bool = False
    """Its key was cancelled, and the door said that this is certain."""
    was_sent: bool = False

    @property
    def is_final(self) -> bool:
        """Whether there is nothing more to be told."""
        return self.state in FINAL or self.state == "unknown"


@dataclass(slots=True)
class Refund:
    """What it knows of a refund it asked for."""

    key: str
    claim: Claim
    kept: dict[int, str] = field(default_factory=dict)
    contra_no: str = ""
    is_refused: bool = False
    state: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it was told yes or no, and what the centre said."""
        return self.is_refused or (bool(self.contra_no) and self.state in FINAL)


class Client(threading.Thread):
    """One program of one hospital: one thing at a time."""

    def __init__(self, town: Town, site: Frontend, name: str, book: Book, dice: random.Random) -> None:
        super().__init__(name=name, daemon=True)
        self.site = site
        self.claims: list[Claim] = []
        self.refunds: list[Refund] = []
        self.error: BaseException | None = None
        self._book, self._dice, self._door = book, dice, town.door(site)
        self._over = threading.Event()
        self._serial = 0

    def run(self) -> None:
        """Until `leave`."""
        try:
            with self._calling() as self._api:
                while not self._over.wait(self._dice.uniform(0.1, 0.5)):
                    self._do(self._dice.random())
        except BaseException as error:
            self.error = error

    def leave(self, *, within: float) -> None:
        """Finish what is being done. Raises what ended the client, if something did."""
        self._over.set()
        self.join(within)
        assert not self.is_alive(), f"{self.name} hangs"
        if self.error is not None:
            raise self.error

    def learn(self, *, until: float) -> list[str]:
        """Ask until every outcome is known; what is not when the time is up."""
        with self._calling() as self._api:
            while left := self._unknown():
                if time.monotonic() > until:
                    return [f"{self.name} was never told what became of {key}" for key in left]
                for claim in self.claims:
                    if not claim.is_final:
                        self._ask(claim)
                for asked in self.refunds:
                    if not asked.is_known:
                        self._refund(asked)
                time.sleep(0.2)
            for claim in self.claims:
                self._ask(claim)
        return []

    def _unknown(self) -> list[str]:
        claims = [claim.key for claim in self.claims if not claim.is_final]
        return claims + [asked.key for asked in self.refunds if not asked.is_known]

    def _calling(self) -> JiesuanClient:
        return JiesuanClient(self._door, self.site.api_key, tries=1)

    # ── What it does ──

    def _do(self, drawn: float) -> None:
        recent = self.claims[-30:]
        opened = [claim for claim in recent if not claim.is_final]
        prepared = [claim for claim in recent if claim.state == "prepared"]
        settled = [claim for claim in recent if claim.state == "settled"]
        if prepared and self._dice.random() < 0.6:
            self._decide(self._dice.choice(prepared))
        elif drawn < 0.4 or not recent:
            self._submit(self._new())
        elif drawn < 0.55:
            self._submit(self._dice.choice(recent))
        elif drawn < 0.75:
            self._ask(self._dice.choice(opened or recent))
        elif drawn < 0.82:
            self._cancel_key(self._dice.choice(opened) if opened and self._dice.random() < 0.5 else self._new())
        elif settled:
            self._refund(self._new_refund(self._dice.choice(settled)))

    def _new(self) -> Claim:
        self._serial += 1
        lines = [
            {
                "line_no": number,
                "charge_date": DAY,
                "local_item_code": code,
                "local_item_name": name,
                "charge_category": category,
                "unit_price": price,
                "quantity": str(quantity),
                "line_amount": f"{fen * quantity / 100:.2f}",
            }
            for number, (code, name, price, category, fen) in enumerate(
                self._dice.sample(LINES, self._dice.randint(1, len(LINES))), start=1
            )
            for quantity in [self._dice.randint(1, 9)]
        ]
        visit = {"citizen_id_no": self._dice.choice(PERSONS), "visit_type": "3", "visit_date": DAY}
        claim = Claim(f"{self.name}-{self._serial}", {"visit": visit, "lines": lines}, self._dice.random() < 0.25)
        self.claims.append(claim)
        return claim

    def _new_refund(self, claim: Claim) -> Refund:
        kept = {1: "1"} if self._dice.random() < 0.3 and claim.document["lines"][0]["quantity"] != "1" else {}
        same = [asked for asked in self.refunds if asked.claim is claim]
        asked = Refund(f"refund-{len(same) + 1}-{claim.key}", claim, kept)
        self.refunds.append(asked)
        return asked

    def _submit(self, claim: Claim) -> None:
        wait = self._dice.choice((0, 0, 1, 3))
        send = self._api.prepare if claim.is_prepared_first else self._api.submit
        claim.was_sent = True
        told = self._call(Kind.SUBMIT, claim.key, lambda: send(claim.document, wait=wait, key=claim.key))
        if isinstance(told, dict):
            self._book.ok(Kind.SUBMIT, self.name, claim.key, told["claim_no"])
            self._saw(claim, told)

    def _decide(self, claim: Claim) -> None:
        wait = self._dice.choice((0, 1))
        confirms = self._dice.random() < 0.7
        kind = Kind.CONFIRM if confirms else Kind.CANCEL
        decide = self._api.confirm if confirms else self._api.cancel_claim
        told = self._call(kind, claim.key, lambda: decide(claim.claim_no, wait=wait))
        if isinstance(told, dict):
            self._book.decided(kind, self.name, claim.key, told["state"])
            self._saw(claim, told)

    def _cancel_key(self, claim: Claim) -> None:
        told = self._call(Kind.CANCEL, claim.key, lambda: self._api.cancel_key(claim.key, wait=1))
        if isinstance(told, dict):
            self._book.decided(Kind.CANCEL, self.name, claim.key, told["state"])
            claim.is_buried |= told["state"] == "cancelled"
            if told["claim"]:
                self._saw(claim, told["claim"])
            if self._dice.random() < 0.5 and claim.is_buried:
                self._submit(claim)

    def _refund(self, asked: Refund) -> None:
        visit_no, _, batch = asked.claim.claim_no.rpartition("-")
        told = self._call(
            Kind.REFUND,
            asked.key,
            lambda: self._api.refund(visit_no, int(batch), reason="误收", kept=asked.kept, wait=1, key=asked.key),
        )
        if isinstance(told, dict):
            contra = told["contra"]
            self._book.ok(Kind.REFUND, self.name, asked.key, contra["claim_no"])
            asked.contra_no, asked.state = contra["claim_no"], contra["state"]
        elif isinstance(told, Refused):
            if asked.contra_no:
                self._book.surprise(f"{asked.key} was taken as {asked.contra_no} and is now refused: {told.code}")
            asked.is_refused = True

    def _ask(self, claim: Claim) -> None:
        try:
            told = self._api.outcome(claim.key)
        except TryLater:
            return
        if told["claim"]:
            self._saw(claim, told["claim"])
        elif told["state"] == "cancelled":
            self._becomes(claim, "cancelled")
            claim.is_buried = True
        elif claim.claim_no:
            self._book.surprise(f"{claim.key} was accepted as {claim.claim_no} and is now {told['state']}")
        elif self._over.is_set():
            self._becomes(claim, "unknown")

    # ── What it is told ──

    def _call(self, kind: Kind, key: str, ask: Callable[[], Document]) -> Document | Refused | None:
        """What was answered; None when nothing was, or to come again."""
        self._book.invoke(kind, self.name, key)
        try:
            return ask()
        except TryLater:
            self._book.unknown(kind, self.name, key)
            return None
        except Refused as no:
            self._book.fail(kind, self.name, key, no.code)
            if no.code not in EXPECTED[kind]:
                self._book.surprise(f"{kind} {key} was answered {no.status} {no.code}: {no.detail}")
            return no

    def _saw(self, claim: Claim, told: Document) -> None:
        self._book.ok(Kind.SUBMIT, self.name, claim.key, told["claim_no"])
        claim.claim_no = told["claim_no"]
        settlement: Any = told.get("settlement")
        if told["state"] != "settled":
            settlement = None
        elif claim.settlement not in (None, settlement):
            self._book.surprise(f"{claim.key} was settled with other amounts before")
        if self._becomes(claim, told["state"]):
            claim.settlement = settlement

    def _becomes(self, claim: Claim, state: str) -> bool:
        """False where an answer was overtaken by a later one."""
        if claim.state in FINAL and state != claim.state:
            if state in FINAL:
                self._book.surprise(f"{claim.key} was {claim.state} and is now {state}")
            return False
        if state != claim.state:
            self._book.saw(self.name, claim.key, state, "")
        claim.state = state
        return True
