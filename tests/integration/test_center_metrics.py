"""The centre's /metrics: read from database and broker when asked, without a person in them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from center import metrics
from center.settling.settle import settle_submitted
from domain.identity import synthetic_citizen_id
from infra.broker import Post, build_app
from infra.settings import Settings
from tests.support.center import AT, FRONTEND, HOSPITAL, fill_center, submitted, totals


@pytest.fixture(scope="module")
def filled(center_engine):
    shelf = fill_center(center_engine)
    claims = [totals(1), totals(2), totals(3, in_scope_fen=9999), totals(4, citizen_id_no=synthetic_citizen_id(5555))]
    settle_submitted(center_engine, shelf, submitted(*claims), frontend=FRONTEND, at=AT)


def readings(**settings):
    registry = CollectorRegistry()
    registry.register(metrics.collector(Settings(_env_file=None, **settings)))
    page = generate_latest(registry).decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    return page, found


def test_the_numbers_are_those_of_the_database_and_the_broker(filled, center_database_url, clean_valkey):
    Post(build_app("test", clean_valkey)).send("claims.settle", queue="settle", shown={})

    page, found = readings(
        center_database_url=center_database_url,
        center_broker_url=clean_valkey,
        clock=f"{AT.isoformat()}@0.0x0.0",
    )

    assert found["jiesuan_claims_total", "settled"] == 2
    assert found["jiesuan_claims_total", "refused"] == 2
    assert found["jiesuan_refused_total", "totals-unequal"] == 1
    assert found["jiesuan_refused_total", "person-unknown"] == 1
    assert found["jiesuan_upload_backlog", HOSPITAL] == 2
    assert found["jiesuan_queue_depth", "settle"] == 1
    assert found["jiesuan_queue_depth", f"results.{FRONTEND}"] == 0
    assert found["jiesuan_queue_oldest_age_seconds", "settle"] == 0
    assert not any(synthetic_citizen_id(serial) in page for serial in (0, 5555))


def test_a_broker_that_is_away_costs_only_its_readings(filled, center_database_url):
    _, found = readings(center_database_url=center_database_url, center_broker_url="redis://127.0.0.1:1/0")

    assert found["jiesuan_claims_total", "settled"] == 2
    assert "jiesuan_queue_depth" not in {name for name, *_ in found}
