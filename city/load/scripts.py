"""What the API's cashiers do for each claim: requests with their moments, written out before the day begins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from city.hospitals import claim_document
from city.sample.claims import SampleClaim

WAIT_SECONDS = 30
"""Every cashier waits so long for the answer (`Prefer: wait`, the most there is), then asks again."""
DISCHARGE_AFTER = 300.0
LINES_BEFORE = (3600.0, 2400.0, 1200.0)
"""A stay's lines come in with the charging of its last day, in so many imports: business seconds before it ends."""
REGISTERED_BEFORE = 4500.0


class Asks(StrEnum):
    """What a request wants, and so what its answer is."""

    CLAIM = "claim"
    """A claim: the answer, or where it stands."""
    VISIT = "visit"
    """A registration: the visit's number."""
    STEP = "step"
    """Anything else of a visit."""


@dataclass(frozen=True, slots=True)
class Request:
    """One POST: when (business seconds of the day), what for, where ({visit} is the number issued), and its body."""

    second: float
    asks: Asks
    path: str
    key: str
    body: bytes
    wait: int = 0


FLOOD = " flood"
"""After a server's name: the noisy clinic there, whose counters are kept out by its own bucket, and counted apart."""


@dataclass(frozen=True, slots=True)
class Script:
    """One claim at the API, from its first request to its last. `second` is when its answer is asked for."""

    number: int
    server: str
    crowd: str
    """With whom it waits: its server, or the noisy clinic there."""
    institution_code: str
    second: float
    requests: tuple[Request, ...]

    @property
    def begins(self) -> float:
        """The first request's moment."""
        return self.requests[0].second


def script_of(claim: SampleClaim, second: float, *, opens: float, floods: bool = False) -> Script:
    """The requests of a claim that is asked for at this moment; nothing is asked before the day opens."""
    requests = _stay(claim, second, opens) if claim.visit.is_stay else (_visit(claim, second),)
    institution, server = claim.institution, claim.institution.frontend
    crowd = f"{server}{FLOOD}" if floods else server
    return Script(claim.number, server, crowd, institution.institution_code, second, requests)


def _visit(claim: SampleClaim, second: float) -> Request:
    return Request(
        second, Asks.CLAIM, "/v1/claims", f"load-{claim.number}", _bytes(claim_document(claim)), WAIT_SECONDS
    )


def _stay(claim: SampleClaim, second: float, opens: float) -> tuple[Request, ...]:
    document = claim_document(claim)
    key = f"load-{claim.number}"
    visit = "/v1/visits/{visit}"
    registered = max(opens, second - REGISTERED_BEFORE)
    imports = [
        Request(max(opens, second - before), Asks.STEP, f"{visit}/lines", "", _bytes({"lines": part}))
        for before, part in zip(LINES_BEFORE, _in_parts(document["lines"], len(LINES_BEFORE)), strict=True)
    ]
    discharge = {
        "discharge_date": max(line.charge_date for line in claim.lines if line.charge_date).isoformat(),
        "discharge_diagnosis_1": claim.visit.admission_diagnosis,
    }
    return (
        Request(registered, Asks.VISIT, "/v1/visits", f"{key}-visit", _bytes(document["visit"])),
        *imports,
        Request(second, Asks.CLAIM, f"{visit}/settlements", f"{key}-settle", b'{"final": true}', WAIT_SECONDS),
        Request(second + DISCHARGE_AFTER, Asks.STEP, f"{visit}/discharge", "", _bytes(discharge)),
    )


def _in_parts(lines: Sequence[object], count: int) -> Iterator[Sequence[object]]:
    for at in range(count):
        yield lines[len(lines) * at // count : len(lines) * (at + 1) // count]


def _bytes(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
