"""The sample documents of a quote: good by the published schema, and settled by a policy that is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from infra.settings import Settings
from producers import quote

DOCS = Path(__file__).parents[2] / "docs"
SAMPLES = {"outpatient": "guangzhou-2024", "inpatient": "beijing-employee", "civil_servant": "nanchang-2025"}
GOOD = json.loads((DOCS / "samples" / "outpatient.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def schema():
    return Draft202012Validator(json.loads((DOCS / "quote.schema.json").read_text(encoding="utf-8")))


def test_every_sample_document_is_tried():
    assert {
        file.stem for file in (DOCS / "samples").glob("*.json") if "person" in json.loads(file.read_bytes())
    } == set(SAMPLES)


@pytest.mark.parametrize(("name", "policy"), SAMPLES.items())
def test_a_sample_is_good_by_the_schema_and_can_be_settled(schema, name, policy):
    raw = (DOCS / "samples" / f"{name}.json").read_bytes()
    assert list(schema.iter_errors(json.loads(raw))) == []
    seen = quote.seen(quote.quoted(raw, quote.policy_book(Settings().policies_dir)))
    assert seen["policy_version"].startswith(f"{policy}@")
    assert seen["unused"] == []


@pytest.mark.parametrize("change", [
    {"person": {**GOOD["person"], "scheme": "none"}},
    {"person": {**GOOD["person"], "name": "甲"}},
    {"person": {**GOOD["person"], "account_balance": 1.5}},
    {"visit": {**GOOD["visit"], "visit_type": "5"}},
    {"accumulators": {"basic:3:fund:-:2026": 9900}},
    {"totals": {"total_amount": "1.00"}},
    {"lines": []},
    {"lines": [{"unit_price": "1.00001", "quantity": "1"}]},
])  # fmt: skip
def test_what_the_reader_refuses_the_schema_refuses_too(schema, change):
    assert list(schema.iter_errors({**GOOD, **change})) != []
