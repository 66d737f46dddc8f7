"""How long each claim took: from its intended moment to the front-end, to the centre, and back to its counter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from city.load import proof
from city.load.arrivals import Kind
from city.load.model import LARGEST_FIRST
from city.load.playing import Played
from city.load.series import spread_of

STAYS = "stays"
PARTS = ("accept", "wait", "work", "total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One claim's times in real seconds; None for a part that never came about."""

    group: str
    """The class of its institution, or stays."""
    server: str
    institution: str
    is_noisy: bool
    """Of the clinic that floods: its own patients stand behind its flood."""
    due: float
    """Its intended moment, in seconds of the business day."""
    answered: float
    """When it was answered, Unix seconds; 0: never."""
    accept: float | None = None
    """From the intended moment until it is durably stored at its front-end."""
    wait: float | None = None
    """From there until the centre takes it up: its turn at the desk, the checks, the link, the settle lane."""
    work: float | None = None
    """From there until its counter has the answer: settling and committing, the way back, the hand-back."""
    total: float | None = None
    """From the intended moment until its counter has the answer."""


def waits_of(played: Played) -> list[Wait]:
    """Every claim that was handed in."""
    moments = proof.moments_of(played.center_engine, played.frontends)
    waits = []
    for at, claim in enumerate(played.claims):
        answer = played.answers.get(claim.number)
        if answer is not None:
            waits.append(_wait(played, at, answer.answered_at, moments.get(answer.claim_no)))
    return waits


def _wait(played: Played, at: int, answered: float, moments: proof.Moments | None) -> Wait:
    claim, arrival = played.claims[at], played.arrivals[at]
    intended = played.clocks.real(arrival.second)
    accept = wait = work = None
    if moments is not None:
        accepted = _real(played, moments.accepted_at)
        accept = accepted - intended
        if moments.taken_up_at is not None:
            taken_up = _real(played, moments.taken_up_at)
            wait = taken_up - accepted
            # Told before the centre took it up: settled at the front-end, and confirmed later.
            work = answered - taken_up if answered > taken_up else None
    return Wait(
        group=STAYS if arrival.kind is Kind.STAY else str(claim.institution.size),
        server=claim.institution.frontend,
        institution=claim.institution.institution_code,
        is_noisy=arrival.institution == played.day.flood.institution,
        due=arrival.second,
        answered=answered,
        accept=accept,
        wait=wait,
        work=work,
        total=answered - intended if answered else None,
    )


def _real(played: Played, moment: datetime) -> float:
    assert played.clock.starts_at is not None
    return played.clock.epoch + (moment - played.clock.starts_at).total_seconds() / played.clock.speed


def latency_figures(waits: Sequence[Wait]) -> dict[str, Any]:
    """By class: accept, wait, work and total. The noisy clinic stands apart: its own bucket keeps it out."""
    groups: dict[str, list[Wait]] = defaultdict(list)
    for one in waits:
        groups["flood" if one.is_noisy else one.group].append(one)
        if not one.is_noisy:
            groups["all"].append(one)
    return {
        group: {
            part: spread_of(value for one in groups[group] if (value := getattr(one, part)) is not None)
            for part in PARTS
        }
        for group in ("all", *map(str, LARGEST_FIRST), STAYS, "flood")
        if group in groups
    }


DOTS = 1_500
"""Most dots of a picture."""


def fairness_figures(played: Played, waits: Sequence[Wait]) -> dict[str, Any]:
    """The shared front-end with the noisy clinic: its tenants while the clinic floods, and those of their class at
    other front-ends in the same minutes. At other times they had another load."""
    server, flood = played.day.noisy_server, played.day.flood
    here = [(one, one.total) for one in waits if one.server == server and one.total is not None]
    noisy = [(one, total) for one, total in here if one.is_noisy]
    others = [(one, total) for one, total in here if not one.is_noisy]
    handed_in = [one for one, _ in noisy if one.due <= flood.begins + flood.seconds]
    ends = max((played.clocks.second(one.answered) for one in handed_in), default=flood.begins)
    during = [
        (one, one.total)
        for one in waits
        if flood.begins <= one.due <= ends and one.total is not None and not one.is_noisy
    ]
    alike = {one.group for one, _ in others}
    tenants: dict[str, list[float]] = defaultdict(list)
    for one, total in others:
        tenants[one.institution].append(total)
    return {
        "server": server,
        "tenants": len(tenants),
        "flood_hours": [flood.begins / 3600, ends / 3600],
        "noisy": spread_of(total for _, total in noisy),
        "others_beside": spread_of(total for one, total in during if one.server == server),
        "others_elsewhere": spread_of(total for one, total in during if one.server != server and one.group in alike),
        "by_tenant": [{"tenant": code, **spread_of(values)} for code, values in sorted(tenants.items())],
        "dots": [
            [round(one.due / 3600, 4), round(total, 3), int(one.is_noisy)]
            for one, total in here[:: max(1, len(here) // DOTS)]
        ],
    }
