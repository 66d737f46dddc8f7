"""The empty chain on stock Celery and its stock Redis transport: two solo workers, acknowledged late, one hop each.

Nothing of ours is in it: the options are those that were measured to be the fastest for stock Celery.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import redis
from celery import Celery

from tests.bench.chain import BROKER_VARIABLE, HOPS, PAYLOAD, Chain, Run, broker_url, python
from tests.bench.chain import run as run_chain

MODULE = "tests.bench.chain_celery"

app = Celery("chain", broker=os.environ.get(BROKER_VARIABLE, "memory://"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_routes={"edge": {"queue": "edge"}, "centre": {"queue": "centre"}},
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
)


@app.task(name="edge")
def edge(payload: str) -> None:
    """The first hop sends the second on."""
    centre.delay(payload)


@app.task(name="centre")
def centre(payload: str) -> None:
    """The second hop does nothing."""


def left(client: redis.Redis) -> int:
    """Messages that wait or are not acknowledged yet."""
    with client.pipeline(transaction=False) as pipe:
        for hop in HOPS:
            pipe.llen(hop)
        pipe.hlen("unacked")
        return sum(pipe.execute())


def run(*, count: int, **where: Any) -> dict[str, Run]:
    """Pipelines a second and CPU time by process; `where` is what tests.bench.chain.run asks for."""
    worker = ["worker", "--pool=solo", "--loglevel=WARNING", "--without-gossip", "--without-mingle"]
    celery = python("celery", f"--app={MODULE}:app", *worker)
    chain = Chain(
        name="Celery",
        publisher=python(MODULE, "publish"),
        consumers={hop: [*celery, f"--queues={hop}", f"--hostname={hop}@%h"] for hop in HOPS},
        left=left,
        env={},
    )
    return run_chain(chain, count=count, **where)


def publish(count: int, *, stay: bool) -> None:
    """Put the pipelines on the first queue, counting them at the broker now and then."""
    client = redis.Redis.from_url(broker_url())
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(1, count + 1):
            edge.apply_async((PAYLOAD,), producer=producer)
            if number % 20 == 0 or number == count:
                client.set("bench:published", number)
    while stay:
        time.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["publish"])
    parser.add_argument("count", type=int)
    parser.add_argument("--stay", action="store_true", help="do not end afterwards: the CPU time is read later")
    asked = parser.parse_args()
    publish(asked.count, stay=asked.stay)
