"""Logs and metrics: one JSON line per event, one name per number, and nobody in either."""

from __future__ import annotations

import io
import json
import logging

import pytest

from domain.visit import Visit, VisitType
from infra import logs, metrics
from tests.support.api import DAY, HOSPITAL, NAME, PERSON


@pytest.fixture
def written():
    """Log through the real formatter; the lines as they were written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.formatter("test"))
    logger = logging.getLogger("tests.logs")
    logger.handlers, logger.propagate, logger.level = [handler], False, logging.DEBUG
    return logger, lambda: [json.loads(text) for text in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_fields(written):
    logger, lines = written
    logger.info("batch_settled", extra={"claims": 50, "institution": HOSPITAL})
    (line,) = lines()
    assert (line["event"], line["level"], line["service"], line["claims"]) == ("batch_settled", "info", "test", 50)
    assert {"ts", "version"} <= line.keys()


@pytest.mark.parametrize("extra", [
    {"citizen_id_no": PERSON},
    {"person_name": NAME},
    {"found": {"citizen_id_no": PERSON, "rows": [{"person_name": NAME}]}},
    {"anything": f"person {PERSON} seen"},
    {"number": int(PERSON)},
    {"body": NAME},
    {"of": Visit(
        visit_no="", institution_code="", citizen_id_no=PERSON, person_name=NAME, visit_date=DAY,
        visit_type=VisitType.OUTPATIENT,
    )},
])  # fmt: skip
def test_a_person_does_not_get_into_a_line(written, extra):
    logger, lines = written
    logger.warning("odd", extra=extra)
    text = json.dumps(lines(), ensure_ascii=False)
    assert PERSON not in text
    assert NAME not in text


def test_nor_through_a_traceback_or_another_librarys_words(written):
    logger, lines = written
    try:
        raise ValueError(PERSON)
    except ValueError:
        logger.exception("failed for %s", PERSON)
    assert PERSON not in json.dumps(lines())
    assert "ValueError" in lines()[0]["exception"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("H440100000112", True),
        ("T000002603020001", True),
        ("1764000000.123456", True),
        ("99010119900101001X", False),
        ("990101900101001", False),
        ("T9901011990010100X", False),
    ],
)
def test_only_what_has_the_form_of_an_identity_number_is_hidden(text, kept):
    assert (logs.hide_identity_numbers(text) == text) is kept


def test_the_largest_tenants_are_named_and_the_rest_are_other():
    family = metrics.gauge_by("x", "words", "tenant", {f"t{number:03}": number for number in range(60)}, most=50)
    assert len(family.samples) == 51
    assert family.samples[-1].labels == {"tenant": "other"}
    assert family.samples[-1].value == sum(range(10))


def test_readings_that_cannot_be_had_cost_the_readings_only():
    def broken():
        yield metrics.gauge("y", "words", 1)
        raise ConnectionError

    page = metrics.page(broken).decode()
    assert "jiesuan_build_info" in page
    assert "# TYPE y gauge" not in page


def test_the_names_are_those_agreed():
    page = metrics.page().decode()
    for name in ("jiesuan_claims_total", "jiesuan_claim_seconds", "jiesuan_refused_total", "jiesuan_build_info"):
        assert name in page
