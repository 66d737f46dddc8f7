"""The empty chain on dramatiq with a large prefetch: what a leaner task queue does on the same broker."""

from __future__ import annotations

import argparse
import os
import signal
import time
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from tests.bench.chain import BROKER_VARIABLE, HOPS, PAYLOAD, Chain, Run, broker_url, python
from tests.bench.chain import run as run_chain

MODULE = "tests.bench.chain_dramatiq"
PREFETCH = {"dramatiq_queue_prefetch": "200"}

dramatiq.set_broker(RedisBroker(url=os.environ.get(BROKER_VARIABLE, "redis://127.0.0.1:6379/0")))


@dramatiq.actor(queue_name="edge")
def edge(payload: str) -> None:
    """The first hop sends the second on."""
    centre.send(payload)


@dramatiq.actor(queue_name="centre")
def centre(payload: str) -> None:
    """The second hop does nothing."""


def left(client: redis.Redis) -> int:
    """Messages that wait or are not acknowledged yet: a message's body stays until then."""
    with client.pipeline(transaction=False) as pipe:
        for hop in HOPS:
            pipe.hlen(f"dramatiq:{hop}.msgs")
        return sum(pipe.execute())


def run(*, count: int, threads: int = 4, **where: Any) -> dict[str, Run]:
    """Pipelines a second and CPU time by process; `where` is what tests.bench.chain.run asks for."""
    chain = Chain(
        name="dramatiq",
        publisher=python(MODULE, "publish"),
        consumers={hop: python(MODULE, "work", hop, str(threads)) for hop in HOPS},
        left=left,
        env=PREFETCH,
    )
    return run_chain(chain, count=count, **where)


def publish(count: int, *, stay: bool) -> None:
    """Put the pipelines on the first queue, counting them at the broker now and then."""
    client = redis.Redis.from_url(broker_url())
    for number in range(1, count + 1):
        edge.send(PAYLOAD)
        if number % 20 == 0 or number == count:
            client.set("bench:published", number)
    while stay:
        time.sleep(1)


def work(hop: str, threads: int) -> None:
    """Consume one hop until told to stop."""
    worker = dramatiq.Worker(dramatiq.get_broker(), queues={hop}, worker_threads=threads, worker_timeout=1000)
    worker.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    worker.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="what", required=True)
    publishing = commands.add_parser("publish")
    publishing.add_argument("count", type=int)
    publishing.add_argument("--stay", action="store_true", help="do not end afterwards: the CPU time is read later")
    working = commands.add_parser("work")
    working.add_argument("hop", choices=HOPS)
    working.add_argument("threads", type=int)
    asked = parser.parse_args()
    if asked.what == "publish":
        publish(asked.count, stay=asked.stay)
    else:
        # Blocked before the worker's threads start, so that only this thread hears them.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        work(asked.hop, asked.threads)
