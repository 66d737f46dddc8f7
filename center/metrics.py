"""The centre's numbers, read from its database and broker at the moment somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, func, select

from center import lateness, served
from center.backup import metrics as epoch
from center.clearing import periods as clearing_periods
from center.conservation import metrics as conservation
from center.ledger import nightly
from center.offline import trouble
from center.offline.exposure import exposure
from center.reconciling import books, daily
from center.serving import strangers
from center.tables import (
    difference_case,
    parked,
    quarantine,
    settlement,
    tick,
)
from center.uploading import marks, standing, windows
from domain.pace import FULL
from infra import lanes
from infra.broker import BrokerAway, Post, build_app
from infra.database import open_database, reading
from infra.metrics import ReadAtScrape, gauge, gauge_by
from infra.settings import Settings

DAYS_LOOKED_AT = 7
"""Detail and books are looked at so many days back: what is older has its case."""


def collector(settings: Settings) -> Collector:
    """A collector of everything the centre knows; a database or broker that is away costs its readings only."""
    engine = open_database(settings.center_database_url, pool_size=1)
    post = Post(build_app("metrics", settings.center_broker_url))

    def read() -> list[Metric]:
        try:
            return list(readings(settings, engine, post))
        finally:
            engine.dispose()  # nobody asks often enough to keep a connection for it

    return ReadAtScrape(read)


def serve(settings: Settings) -> None:
    """Serve the centre's /metrics from a thread beside a worker; port 0 serves nothing."""
    if settings.metrics_port:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(collector(settings))
        start_http_server(settings.metrics_port, addr=settings.api_host, registry=registry)


def readings(settings: Settings, engine: Engine, post: Post) -> Iterator[Metric]:
    """Every reading of this moment."""
    with reading(engine) as connection:
        yield from _claims(connection)
        yield from _uploads(connection, settings)
        yield from _books(connection, settings)
        yield from _offline(connection, settings)
        yield from _institution_books(connection, settings)
        yield from conservation.readings(connection)
        yield from nightly.readings(connection)
        yield from _clearing(connection, settings)
        yield from epoch.readings(connection)
        yield from _ticks(connection)
        yield from strangers.readings(connection, at=settings.time.now())
        yield gauge("jiesuan_quarantined", "Messages set aside because nobody could read them.", _count(connection))
        now = settings.time.seconds()
        settle_lanes = lanes.settle_lanes(settings.settle_lanes)
        ages = {lane: lateness.waiting_age(connection, lane, now) for lane in settle_lanes}
        yield gauge_by(
            "jiesuan_queue_oldest_age_seconds", "How long a message waits on a queue at present.", "queue",
            ages,
        )  # fmt: skip
        frontends = served.frontends(connection)
    yield from _queues(post, settle_lanes, frontends)


def _claims(connection: Connection) -> Iterator[Metric]:
    settled = connection.execute(select(func.count()).select_from(settlement)).scalar_one()
    refused = connection.execute(
        select(parked.c.refusal, func.count()).group_by(parked.c.refusal).order_by(parked.c.refusal)
    ).all()
    claims = CounterMetricFamily("jiesuan_claims", "Claims by what became of them at the centre.", labels=["outcome"])
    claims.add_metric(["settled"], settled)
    claims.add_metric(["refused"], sum(count for _, count in refused))
    yield claims
    by_code = CounterMetricFamily("jiesuan_refused", "Claims refused and parked, by code.", labels=["code"])
    for code, count in refused:
        by_code.add_metric([code], count)
    yield by_code


def _uploads(connection: Connection, settings: Settings) -> Iterator[Metric]:
    now = settings.time.now()
    due = marks.due(connection, at=now, deadline=timedelta(hours=settings.detail_deadline_hours))
    claims: Counter[str] = Counter()
    overdue: Counter[str] = Counter()
    lag: dict[str, float] = {}
    for mark in due:
        claims[mark.institution_code] += mark.due_claims
        overdue[mark.institution_code] += mark.overdue_claims
        seconds = mark.lag(now).total_seconds()
        lag[mark.institution_code] = max(seconds, lag.get(mark.institution_code, 0.0))
    for name, words, values in (
        ("jiesuan_upload_backlog", "Settled claims whose detail has not come.", claims),
        ("jiesuan_upload_lag_seconds", "For how long the oldest detail has been due, by the business clock.", lag),
        ("jiesuan_upload_overdue", "Settled claims whose detail has not come within the deadline.", overdue),
    ):
        yield gauge_by(name, words, "tenant", {code: float(value) for code, value in values.items()})
    found = standing.read(connection, at=now)
    yield gauge_by(
        "jiesuan_upload_window_open", "Whether the window is open now.", "window",
        {stored.window.name: float(stored.window.name in found.open_windows)
         for stored in windows.every(connection) if stored.active},
    )  # fmt: skip
    yield gauge("jiesuan_upload_pace", "Which part of the upload budget settling leaves, 0 to 1.", found.pace / FULL)


def _offline(connection: Connection, settings: Settings) -> Iterator[Metric]:
    at = settings.time.now()
    found = exposure(connection, at=at)
    yield gauge("jiesuan_offline_exposure_fen", "What off-line leases could overdraw accounts by.", found.worst_fen)
    troubled = trouble.recent(connection, at=at)
    for kind, words in (
        (trouble.KEY, "Envelopes in a front-end's name that its key does not open, since it began."),
        (trouble.CLOCK, "Times a front-end said that its clock is wrong, since it began."),
    ):
        values = {each.frontend: float(each.times) for each in troubled if each.kind == kind}
        yield gauge_by(f"jiesuan_frontend_wrong_{kind}", words, "frontend", values)


def _books(connection: Connection, settings: Settings) -> Iterator[Metric]:
    since = settings.time.now().date() - timedelta(days=DAYS_LOOKED_AT)
    yield gauge_by(
        "jiesuan_reconcile_difference_fen", "By how much a front-end's books and the centre's differ.", "tenant",
        {code: float(fen) for code, fen in books.differences(connection, since=since).items()},
    )  # fmt: skip
    rows = connection.execute(
        select(difference_case.c.kind, func.count())
        .where(difference_case.c.closed_at.is_(None))
        .group_by(difference_case.c.kind)
    )
    yield gauge_by(
        "jiesuan_difference_cases", "Open difference cases.", "kind", {kind: float(count) for kind, count in rows}
    )


def _clearing(connection: Connection, settings: Settings) -> Iterator[Metric]:
    counted = clearing_periods.counted(connection, settings.time.now().date())
    yield gauge_by(
        "jiesuan_clearing_periods", "Clearing periods by state.", "state",
        {row.state: float(row.periods) for row in counted},
    )  # fmt: skip
    late = float(sum(row.late for row in counted))
    yield gauge("jiesuan_clearing_periods_late", "Open periods whose closing day has passed.", late)


def _institution_books(connection: Connection, settings: Settings) -> Iterator[Metric]:
    since = settings.time.now().date() - timedelta(days=DAYS_LOOKED_AT)
    of_kind: Counter[str] = Counter()
    of_tenant: Counter[str] = Counter()
    for code, kind, count, fen in daily.open_differences(connection):
        of_kind[kind] += count
        of_tenant[code] += fen
    yield gauge_by(
        "jiesuan_open_differences", "Open differences with institutions' own books.", "kind",
        {kind: float(count) for kind, count in of_kind.items()},
    )  # fmt: skip
    yield gauge_by(
        "jiesuan_open_difference_fen", "By how much institutions' own books and the centre's differ.", "tenant",
        {code: float(fen) for code, fen in of_tenant.items()},
    )  # fmt: skip
    missing = daily.days_missing(connection, since=since)
    yield gauge("jiesuan_books_missing", "Institution-days whose own book has not come in time.", float(missing))


def _ticks(connection: Connection) -> Iterator[Metric]:
    rows = connection.execute(select(tick.c.name, tick.c.at))
    yield gauge_by(
        "jiesuan_beat_last_tick_timestamp_seconds", "When the schedule last rang.", "task",
        {name: float(at) for name, at in rows},
    )  # fmt: skip


def _count(connection: Connection) -> float:
    return float(connection.execute(select(func.count()).select_from(quarantine)).scalar_one())


def _queues(post: Post, settle_lanes: list[str], frontends: Iterable[str]) -> Iterator[Metric]:
    depth = GaugeMetricFamily("jiesuan_queue_depth", "Messages waiting on a queue.", labels=["queue"])
    queues = [*settle_lanes, lanes.DETAILS, lanes.BOOKS, lanes.ADMIN]
    queues += [queue for frontend in sorted(frontends) for queue in (lanes.results(frontend), lanes.uploads(frontend))]
    try:
        for queue in queues:
            depth.add_metric([queue], post.waiting(queue))
    except BrokerAway:
        return
    yield depth
