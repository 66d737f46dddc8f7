"""The OpenAPI document: it says what the API does. Schemathesis looks for a request that shows otherwise."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from producers import quote
from producers.api.problems import KINDS
from tests.support.api import HOSPITAL, KEYS, Api, claim, open_sample_site
from tests.support.served import served

ROOT = Path(__file__).parents[2]


@schemathesis.serializer("application/zip")
def as_it_is(_context, value):
    """A file is sent as the bytes it is made of."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> Iterator[Api]:
    with open_sample_site(tmp_path_factory.mktemp("site"), cap=100_000) as site, Api(site) as running:
        running.submit(claim(visit={"visit_no": "V1"}, charge_batch_no=1), "settled")
        running.submit(claim(settle="later", visit={"visit_no": "V2"}, charge_batch_no=1), "held")
        running.submit(claim(settle="prepare", visit={"visit_no": "V3"}, charge_batch_no=1), "prepared")
        site.settle_all()
        yield running


@pytest.fixture(scope="module")
def document(api) -> dict:
    return api.call("GET", "/openapi.json", key=None).json()


@pytest.fixture(scope="module")
def schema(api):
    with served(api) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def has_a_float(value: object) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, float) or any(map(has_a_float, inner))


OPERATIONS = [
    ("POST", "/v1/claims"),
    ("GET", "/v1/claims/{claim_no}"),
    ("POST", "/v1/claims/{claim_no}/settlement"),
    ("POST", "/v1/claims/{claim_no}/confirmation"),
    ("POST", "/v1/claims/{claim_no}/cancellation"),
    ("POST", "/v1/cancellations"),
    ("GET", "/v1/outcomes"),
    ("GET", "/v1/claims/{claim_no}/events"),
    ("GET", "/v1/claims/{claim_no}/statement"),
    ("POST", "/v1/visits"),
    ("GET", "/v1/visits"),
    ("GET", "/v1/visits/{visit_no}"),
    ("POST", "/v1/visits/{visit_no}/lines"),
    ("POST", "/v1/visits/{visit_no}/settlements"),
    ("POST", "/v1/visits/{visit_no}/discharge"),
    ("POST", "/v1/visits/{visit_no}/cancellation"),
    ("POST", "/v1/visits/{visit_no}/refunds"),
    ("POST", "/v1/visits/{visit_no}/batches/{charge_batch_no}/resubmission"),
    ("POST", "/v1/visits/{visit_no}/batches/{charge_batch_no}/withdrawal"),
    ("GET", "/v1/errors"),
    ("POST", "/v1/quotes"),
    ("POST", "/v1/reconciliation/totals"),
    ("POST", "/v1/reconciliation/lines"),
    ("GET", "/v1/reconciliation/notices"),
    ("GET", "/v1/reconciliation/{day}"),
    ("POST", "/v1/reconciliation/{day}/file"),
    ("GET", "/v1/reconciliation/{day}/file"),
    ("GET", "/v1/clearings"),
    ("GET", "/v1/clearings/{period_no}"),
    ("POST", "/v1/clearings/{period_no}/confirmation"),
    ("POST", "/v1/clearings/{period_no}/objection"),
    ("GET", "/v1/catalogue"),
    ("GET", "/v1/matches"),
    ("GET", "/v1/link"),
    ("GET", "/v1/institution"),
    ("GET", "/v1/desk/visits"),
    ("GET", "/v1/desk/visits/{visit_no}"),
    ("POST", "/v1/desk/visits/{visit_no}/quotes"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/problems/{code}"),
]


WITHOUT_INPUT = {"/healthz", "/readyz", "/metrics", "/v1/institution"}
ASKED = [
    (method, path, mode)
    for method, path in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or path not in WITHOUT_INPUT
]
fresh = itertools.count(1)


@pytest.mark.parametrize(("method", "path", "mode"), ASKED)
def test_every_answer_is_as_described(schema, method, path, mode):
    """Requests the document allows, and requests it does not."""

    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case):
        # Two things a schema cannot say: 1.0 is no integer here, and a cursor is one that was given out before.
        query = case.query or {}
        assume(not has_a_float(case.body) and not query.get("cursor"))
        # A parameter without a value is not sent, so it cannot be what makes a request wrong.
        assume(all(value not in (None, [], {}) for value in query.values()))
        # A quote in good form may still be one no policy settles, and an identity number has a check character.
        # A book is of no future day, and not every ZIP holds one.
        by_content = path in ("/v1/quotes", "/v1/visits") or path.startswith("/v1/reconciliation")
        excluded = [positive_data_acceptance] if by_content else []
        headers = {"Authorization": f"Bearer {KEYS[HOSPITAL]}", "Prefer": "wait=0"}
        if mode is GenerationMode.POSITIVE:
            headers["Idempotency-Key"] = f"fresh-{next(fresh)}"
        case.call_and_validate(excluded_checks=excluded, headers=headers, timeout=20)

    ask()


def test_every_address_is_described(document):
    described = {(method.upper(), path) for path, known in document["paths"].items() for method in known}
    assert described == set(OPERATIONS)


def test_nothing_unknown_is_accepted_and_no_amount_is_a_number(document):
    schemas = document["components"]["schemas"]
    for name in (
        "ClaimIn",
        "VisitIn",
        "LineIn",
        "RegistrationIn",
        "LinesIn",
        "RefundIn",
        "CancellationIn",
        "QuoteIn",
        "PersonIn",
        "QuotedLineIn",
    ):
        assert schemas[name]["additionalProperties"] is False, name
    for name, described_ in schemas.items():
        for field, kind in described_.get("properties", {}).items():
            if field.endswith(("_amount", "_price")):
                assert "number" not in json.dumps(kind), f"{name}.{field}"


def test_a_good_claim_is_good_by_the_document_too(document):
    schema_ = {"$ref": "#/components/schemas/ClaimIn", "components": document["components"]}
    assert list(Draft202012Validator(schema_).iter_errors(claim())) == []


def test_every_problem_the_routes_name_exists(document):
    for path in document["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                if "application/problem+json" in answer.get("content", {}):
                    assert set(answer["description"].split("; ")) <= KINDS.keys()


def test_the_schema_of_a_quote_is_the_published_one():
    published = json.loads((ROOT / "docs" / "quote.schema.json").read_text(encoding="utf-8"))
    assert published == quote.schema()
    Draft202012Validator.check_schema(published)
