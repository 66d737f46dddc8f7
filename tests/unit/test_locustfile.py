"""What Locust's cashiers hand in is what the API takes: the file itself, with a stand-in where Locust would be."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from domain.identity import is_synthetic
from tests.support.api import CLINIC, DAY, KEYS, Api, open_sample_site

FILE = Path(__file__).parents[1] / "load" / "locustfile.py"


@pytest.fixture
def locustfile(monkeypatch):
    stand_in = ModuleType("locust")
    stand_in.HttpUser = object
    stand_in.between = lambda least, most: (least, most)
    stand_in.task = lambda weight: lambda function: function
    stand_in.events = SimpleNamespace(quitting=SimpleNamespace(add_listener=lambda function: function))
    monkeypatch.setitem(sys.modules, "locust", stand_in)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("locustfile", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_cashiers_claims_are_taken(locustfile, tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as api:
        matches = api.call("GET", "/v1/matches?limit=50", key=KEYS[CLINIC]).json()["matches"]
        items = [{**one, "unit_price": one["unit_price"] or "12.5"} for one in matches]
        for seed in range(20):
            document = locustfile.claim_of(items, random.Random(seed), DAY.isoformat())
            assert is_synthetic(document["visit"]["citizen_id_no"])
            answer = api.call(
                "POST",
                "/v1/claims",
                json.dumps(document),
                key=KEYS[CLINIC],
                headers={"Idempotency-Key": f"locust-{seed}"},
            )
            assert answer.status_code == 202, answer.text
            assert answer.json()["claim_no"]


def test_it_fails_when_nothing_was_handed_in(locustfile):
    def environment(requests, failures):
        stats = SimpleNamespace(get=lambda path, method: SimpleNamespace(num_requests=requests, num_failures=failures))
        return SimpleNamespace(stats=stats, process_exit_code=None)

    ended = [environment(0, 0), environment(5, 1), environment(5, 0)]
    for one in ended:
        locustfile.leave_with_failure(one)
    assert [one.process_exit_code for one in ended] == [1, 1, None]
