"""What goes wrong on purpose in the middle of a morning, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time as hour

import redis
from sqlalchemy import Engine, func, select

from city.plan import CityPlan
from city.sample.institutions import HOSPITAL_A
from infra import lanes
from infra.database import reading
from infra.supervisor import Supervisor
from workers.tables import claim

OUTAGE_SECONDS = 1.5
"""The centre does not settle for so long at most before the broker forgets: until totals are waiting for it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to go wrong once business time has come to a moment; `strike` says what it did."""

    at: hour
    strike: Callable[[], str]


@dataclass(slots=True)
class Faults:
    """The faults of one morning, and the words about those that happened."""

    plan: CityPlan
    supervisor: Supervisor
    happened: list[str] = field(default_factory=list)

    def planned(self) -> list[Fault]:
        """A front-end worker is killed, then a centre worker, and while that is away the broker loses everything."""
        return [
            Fault(hour(9, 15), lambda: self._kill(f"desk-{HOSPITAL_A}")),
            Fault(hour(10, 0), self._centre_and_broker),
        ]

    def strike(self, fault: Fault) -> str:
        """Let it go wrong."""
        words = fault.strike()
        self.happened.append(words)
        return words

    def outcome(self, frontends: Mapping[str, Engine]) -> str:
        """How often what was killed was started, and how many claims went to the centre more than once."""
        killed = (f"desk-{HOSPITAL_A}", "center-settle")
        starts = "，".join(f"{name} 启动 {self.supervisor.starts(name)} 次" for name in killed)
        return f"{starts}；{_sent_again(frontends)} 笔汇总重发"

    def _kill(self, name: str) -> str:
        return f"kill -9 {name}（进程 {self.supervisor.kill(name)}）"

    def _centre_and_broker(self) -> str:
        killed = self._kill("center-settle")
        with redis.Redis.from_url(self.plan.broker_url) as client:
            until = time.monotonic() + OUTAGE_SECONDS
            while time.monotonic() < until and not client.llen(lanes.SETTLE):
                time.sleep(0.02)
            waiting = sum(int(client.llen(key)) for key in client.keys("*") if client.type(key) == b"list")
            client.flushall()
        return f"{killed}，随后 FLUSHALL：丢弃排队消息 {waiting} 条"


def _sent_again(frontends: Mapping[str, Engine]) -> int:
    count = 0
    for engine in frontends.values():
        with reading(engine) as connection:
            count += connection.execute(select(func.count()).where(claim.c.attempts > 1)).scalar_one()
    return count
