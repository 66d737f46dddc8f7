"""Ringing the centre's office, so that a change of terms is told at once and not with the next tick."""

from __future__ import annotations

from infra import lanes
from infra.broker import BrokerAway, Post, build_app
from infra.settings import Settings


def ring(settings: Settings) -> bool:
    """Have the office look now; False where there is no broker to ring over: the next tick does the same."""
    if not settings.center_broker_url:
        return False
    try:
        Post(build_app("bell", settings.center_broker_url)).send(lanes.SERVING_TICK, queue=lanes.ADMIN, shown={})
    except BrokerAway:
        return False
    return True
