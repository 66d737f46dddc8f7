"""Metrics: the names everybody uses, and the page a process answers /metrics with.

Counters are counted where the thing happens; what the database or the broker knows is read at scrape time by a
collector. No label ever names a person or a claim, and a tenant is a label only for the largest fifty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

log = logging.getLogger("metrics")

MOST_TENANTS = 50
CONTENT_TYPE = CONTENT_TYPE_LATEST

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

CLAIMS = Counter(
    "jiesuan_claims", "Claims by the door they came in and what became of them.", ["channel", "outcome"],
    registry=REGISTRY,
)  # fmt: skip
CLAIM_SECONDS = Histogram(
    "jiesuan_claim_seconds", "How long a claim took: accept, wait, work or total.", ["channel", "stage"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60), registry=REGISTRY,
)  # fmt: skip
COMMIT_CLAIMS = Histogram(
    "jiesuan_commit_claims", "How many claims one transaction of the API accepted.", buckets=(1, 2, 4, 8, 16, 32, 64),
    registry=REGISTRY,
)  # fmt: skip
REFUSED = Counter("jiesuan_refused", "Claims refused, by code.", ["code"], registry=REGISTRY)
PROBLEMS = Counter(
    "jiesuan_api_problems", "Requests the API answered with a problem, by code.", ["code"], registry=REGISTRY
)
BUILD_INFO = Gauge("jiesuan_build_info", "The release that runs.", ["version"], registry=REGISTRY)
BUILD_INFO.labels(version("jiesuan")).set(1)

Readings = Iterable[Metric]


class ReadAtScrape(Collector):
    """Asks for readings when somebody scrapes; a database or broker that is away costs the readings, not the page."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """The readings of this moment."""
        try:
            yield from list(self._read())
        except Exception as error:
            log.warning("readings_missing", extra={"error": type(error).__name__})


def gauge(name: str, words: str, value: float) -> Metric:
    """One reading without a label."""
    return GaugeMetricFamily(name, words, value=value)


def gauge_by(name: str, words: str, label: str, values: Mapping[str, float], *, most: int = MOST_TENANTS) -> Metric:
    """One reading per value of a label: the largest, and the sum of the rest as `other`."""
    family = GaugeMetricFamily(name, words, labels=[label])
    largest = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    for labelled, value in sorted(largest[:most]):
        family.add_metric([labelled], value)
    if largest[most:]:
        family.add_metric(["other"], sum(value for _, value in largest[most:]))
    return family


def page(read: Callable[[], Readings] | None = None) -> bytes:
    """Everything this process measures, and what is read at this moment, in the text format of Prometheus."""
    if read is None:
        return generate_latest(REGISTRY)
    now = CollectorRegistry()
    now.register(ReadAtScrape(read))
    return generate_latest(REGISTRY) + generate_latest(now)
