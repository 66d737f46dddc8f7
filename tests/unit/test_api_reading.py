"""What a caller may send: one table of everything that is wrong, with the code and the place it is answered with."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.visit import ChargeLine
from producers.api import reading
from producers.api.problems import Problem
from producers.api.reading import MAX_BODY, document, idempotency_key, preferred_wait, read_body
from producers.api.wire import CLAIM_IN, lines_of, visit_of
from tests.support.api import HOSPITAL, NAME, PERSON, claim, line, sent


def refused(raw: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        document(raw, CLAIM_IN)
    return caught.value


def places(problem: Problem) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in problem.errors]


GOOD = sent(claim())


@pytest.mark.parametrize(("raw", "code"), [
    pytest.param(b"", "json-malformed", id="nothing"),
    pytest.param(b"   ", "json-malformed", id="blanks"),
    pytest.param(GOOD[:-1], "json-malformed", id="cut short"),
    pytest.param(GOOD + b"x", "json-malformed", id="something after it"),
    pytest.param(GOOD + GOOD, "json-malformed", id="two documents"),
    pytest.param(b"\xef\xbb\xbf" + GOOD, "json-malformed", id="byte order mark"),
    pytest.param(GOOD.replace(b'"25.00"', b"NaN"), "json-malformed", id="NaN"),
    pytest.param(GOOD.replace(b'"25.00"', b"-Infinity"), "json-malformed", id="infinity"),
    pytest.param(GOOD.replace(b'"25.00"', b"'25.00'"), "json-malformed", id="single quotes"),
    pytest.param(GOOD.replace(b"}]", b"},]"), "json-malformed", id="a comma too many"),
    pytest.param(NAME.encode("gb18030").join((b'{"visit": "', b'"}')), "not-utf8", id="GB18030"),
    pytest.param(GOOD.replace(NAME.encode(), b"\\ud800"), "not-utf8", id="half a surrogate pair"),
    pytest.param(b"[" * 200_000, "json-too-deep", id="a depth bomb of lists"),
    pytest.param(b'{"visit":' * 50_000 + b"1" + b"}" * 50_000, "json-too-deep", id="a depth bomb of objects"),
    pytest.param(GOOD.replace(b'{"visit"', b'{"visit": {}, "visit"'), "json-duplicate-key", id="an object twice"),
    pytest.param(GOOD.replace(b'"line_no": 2', b'"line_no": 2, "line_no": 3'), "json-duplicate-key", id="number twice"),
    pytest.param(GOOD.replace(b'"line_no": 2', b'"line_no": 2, "line_no": 2'), "json-duplicate-key", id="repeated"),
    pytest.param(
        GOOD.replace(b'"quantity": "2"', b'"quantity": "2", "qu\\u0061ntity": "3"'), "json-duplicate-key",
        id="twice, once with an escape",
    ),
    pytest.param(
        GOOD.replace(b'"drug_origin": "1"', b'"drug_origin": "1", "drug_origin": "\\u0022\\u0022\\u0022\\u0022"'),
        "json-duplicate-key", id="twice, hidden behind escaped quotes",
    ),
])  # fmt: skip
def test_what_is_not_one_plain_json_document_is_refused_as_such(raw, code):
    assert refused(raw).kind.code == code
    assert refused(raw).kind.status == 400


@pytest.mark.parametrize(("document_", "pointer", "code"), [
    pytest.param([], "#", "not-an-object", id="a list"),
    pytest.param(claim(visit_no="X"), "#/visit_no", "unknown-field", id="a field nobody knows"),
    pytest.param(claim(settle="tomorrow"), "#/settle", "not-allowed", id="another word for when"),
    pytest.param(claim(lines=0), "#/lines", "too-few", id="no lines"),
    pytest.param(claim(lines=1001), "#/lines", "too-many", id="more lines than a claim has"),
    pytest.param(claim() | {"lines": {}}, "#/lines", "not-a-list", id="lines as an object"),
    pytest.param(claim() | {"lines": [[]]}, "#/lines/0", "not-an-object", id="a line as a list"),
    pytest.param({"lines": [line(1)]}, "#/visit", "missing", id="no visit"),
    pytest.param(claim(charge_batch_no=0), "#/charge_batch_no", "too-small", id="batch 0"),
    pytest.param(claim(charge_batch_no=10_000), "#/charge_batch_no", "too-large", id="batch of five digits"),
    pytest.param(claim(charge_batch_no="1"), "#/charge_batch_no", "not-an-integer", id="batch as a string"),
    pytest.param(claim(charge_batch_no=True), "#/charge_batch_no", "not-an-integer", id="batch as true"),
])  # fmt: skip
def test_a_document_of_the_wrong_shape_is_told_where(document_, pointer, code):
    assert (pointer, code) in places(refused(sent(document_)))


@pytest.mark.parametrize(("change", "code"), [
    pytest.param({"line_amount": "25.000"}, "wrong-form", id="three decimals"),
    pytest.param({"line_amount": "25.0"}, "wrong-form", id="one decimal"),
    pytest.param({"line_amount": "25"}, "wrong-form", id="no decimals"),
    pytest.param({"line_amount": "+25.00"}, "wrong-form", id="a plus sign"),
    pytest.param({"line_amount": "025.00"}, "wrong-form", id="a leading zero"),
    pytest.param({"line_amount": "2,500.00"}, "wrong-form", id="thousands"),
    pytest.param({"line_amount": "25.00\n"}, "wrong-form", id="a line end"),
    pytest.param({"line_amount": "２５.00"}, "wrong-form", id="full-width digits"),
    pytest.param({"line_amount": "1e3"}, "wrong-form", id="an exponent"),
    pytest.param({"line_amount": "10000000000.00"}, "wrong-form", id="more than NUMBER(12,2) holds"),
    pytest.param({"line_amount": ""}, "wrong-form", id="an empty amount"),
    pytest.param({"line_amount": 25}, "not-a-string", id="an integer"),
    pytest.param({"line_amount": 25.0}, "not-a-string", id="a float"),
    pytest.param({"line_amount": True}, "not-a-string", id="a boolean"),
    pytest.param({"unit_price": "12.50001"}, "wrong-form", id="a price with five decimals"),
    pytest.param({"unit_price": 12.5}, "not-a-string", id="a float price"),
    pytest.param({"quantity": "1.005"}, "wrong-form", id="a quantity with three decimals"),
    pytest.param({"quantity": "1000000"}, "wrong-form", id="more than NUMBER(8,2) holds"),
    pytest.param({"line_no": 1.0}, "not-an-integer", id="a float number"),
    pytest.param({"line_no": -1}, "too-small", id="a negative number"),
    pytest.param({"line_no": 100_000}, "too-large", id="a number of six digits"),
    pytest.param({"line_no": 10**30}, "too-large", id="a very large number"),
    pytest.param({"charge_date": "2026-02-30"}, "not-a-date", id="no day of the calendar"),
    pytest.param({"charge_date": "20260302"}, "not-a-date", id="a day without dashes"),
    pytest.param({"charge_date": "2026-03-02T08:00:00"}, "not-a-date", id="a moment"),
    pytest.param({"charge_date": 1_772_380_800}, "not-a-date", id="a timestamp"),
    pytest.param({"local_item_code": "X" * 16}, "too-long", id="a code longer than XMBH"),
    pytest.param({"local_item_name": "药" * 41}, "too-long", id="a name longer than XMMC"),
    pytest.param({"specification": "a\u0000b"}, "wrong-form", id="a NUL in a text"),
    pytest.param({"dosage_form": "a\nb"}, "wrong-form", id="a line end in a text"),
    pytest.param({"amount": "25.00"}, "unknown-field", id="a field nobody knows"),
])  # fmt: skip
def test_a_wrong_field_of_a_line_is_told_with_its_place(change, code):
    (name,) = change
    problem = refused(sent(claim() | {"lines": [line(1), line(2, **change)]}))
    assert problem.kind.code == "content-invalid"
    assert (f"#/lines/1/{name}", code) in places(problem)


@pytest.mark.parametrize(("change", "code"), [
    pytest.param({"citizen_id_no": "12345"}, "wrong-form", id="a short identity number"),
    pytest.param({"citizen_id_no": ""}, "wrong-form", id="an empty one"),
    pytest.param({"visit_type": "5"}, "not-allowed", id="an unknown visit type"),
    pytest.param({"visit_type": 3}, "not-allowed", id="a visit type as a number"),
    pytest.param({"visit_no": "X" * 17}, "wrong-form", id="a visit number longer than JYDJH"),
    pytest.param({"visit_no": "A-1"}, "wrong-form", id="a visit number with a dash"),
    pytest.param({"person_name": "名" * 21}, "too-long", id="a name longer than XM"),
])  # fmt: skip
def test_a_wrong_field_of_the_visit_is_told_with_its_place(change, code):
    (name,) = change
    assert (f"#/visit/{name}", code) in places(refused(sent(claim(visit=change))))


def test_every_wrong_field_is_told_at_once():
    wrong = claim(settle="?", visit={"visit_type": "9", "visit_date": "x"}) | {
        "lines": [line(1, quantity=1), line(2), line(3, unit_price="1.23456", line_amount="1.2")]
    }
    assert places(refused(sent(wrong))) == [
        ("#/visit/visit_type", "not-allowed"),
        ("#/visit/visit_date", "not-a-date"),
        ("#/lines/0/quantity", "not-a-string"),
        ("#/lines/2/unit_price", "wrong-form"),
        ("#/lines/2/line_amount", "wrong-form"),
        ("#/settle", "not-allowed"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {PERSON: 1},
        {"visit": {"citizen_id_no": PERSON + "9", PERSON: NAME, "person_name": NAME * 30}, "lines": [{NAME: PERSON}]},
    ],
)
def test_no_answer_repeats_what_was_sent(wrong):
    for raw in (sent(wrong), sent(wrong)[:-1], sent(wrong).replace(b'{"', b'{"a":1,"a":2,"', 1)):
        body = refused(raw).body("id").decode()
        assert PERSON not in body
        assert NAME not in body


def test_what_the_checks_judge_is_not_refused_at_the_door():
    odd = [
        line(0, quantity="-1", line_amount="-12.50"),
        line(1, quantity="0", line_amount="0.00", unit_price="-1"),
        {},
        dict.fromkeys(line(1)),
        line(1, charge_category=...),
    ]
    given_, _ = document(sent(claim() | {"lines": odd}), CLAIM_IN)
    lines = lines_of(given_["lines"])
    assert lines[0].quantity_1e2 == -100
    assert lines[2] == lines[3] == ChargeLine(None, None, "", "", None, "", "", None, None, None)


def test_values_arrive_exactly():
    given_, _ = document(sent(claim(1, visit={"citizen_id_no": "11010519491231002x"})), CLAIM_IN)
    assert lines_of(given_["lines"])[0][7:10] == (125_000, 200, 2500)
    assert visit_of(given_["visit"], HOSPITAL).citizen_id_no == "11010519491231002X"


@given(st.integers(-(10**12) + 1, 10**12 - 1), st.integers(0, 10**12 - 1), st.integers(-(10**8) + 1, 10**8 - 1))
def test_every_amount_price_and_quantity_in_bounds_is_read_to_the_last_digit(amount, price, quantity):
    wanted = line(
        1,
        line_amount=f"{'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02d}",
        unit_price=f"{price // 10_000}.{price % 10_000:04d}",
        quantity=f"{'-' if quantity < 0 else ''}{abs(quantity) // 100}.{abs(quantity) % 100:02d}",
    )
    given_, _ = document(sent(claim() | {"lines": [wanted]}), CLAIM_IN)
    assert lines_of(given_["lines"])[0][7:10] == (price, quantity, amount)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(st.dictionaries(st.sampled_from(["local_item_name", "specification", "dosage_form"]), texts), st.booleans())
def test_no_good_document_is_taken_for_one_with_a_key_twice(words, ascii_only):
    asked = claim() | {"lines": [line(1, **words)]}
    raw = json.dumps(asked, ensure_ascii=ascii_only).encode()
    assert document(raw, CLAIM_IN)[0] == document(sent(asked), CLAIM_IN)[0]


def test_the_same_content_is_the_same_however_it_is_spaced_and_ordered():
    turned = dict(reversed(claim().items()))
    spaced = json.dumps(turned, indent=4, ensure_ascii=True).encode()
    assert document(spaced, CLAIM_IN)[1] == document(GOOD, CLAIM_IN)[1]


@pytest.mark.parametrize(
    ("sent_", "code"),
    [
        (b"", "idempotency-key-missing"),
        (b"  ", "idempotency-key-missing"),
        (b"x" * 256, "idempotency-key-invalid"),
        (b"a b", "idempotency-key-invalid"),
        ("键".encode(), "idempotency-key-invalid"),
    ],
)
def test_a_key_that_is_no_key(sent_, code):
    with pytest.raises(Problem) as caught:
        idempotency_key({b"idempotency-key": sent_})
    assert caught.value.kind.code == code


def test_a_key_is_the_same_with_and_without_quotes():
    assert idempotency_key({b"idempotency-key": b'"a-1"'}) == idempotency_key({b"idempotency-key": b"a-1"}) == "a-1"


@pytest.mark.parametrize(
    ("sent_", "seconds"),
    [
        (b"wait=10", 10),
        (b"respond-async, wait=5", 5),
        (b"Wait = 7; x", 7),
        (b"wait=999", 30),
        (b"wait=-1", 0),
        (b"await=3", 0),
        (b"return=minimal", 0),
    ],
)
def test_the_preference_to_wait_is_taken_as_far_as_it_goes(sent_, seconds):
    assert preferred_wait({b"prefer": sent_}) == seconds


def test_a_body_without_a_length_is_read_no_further_than_the_limit():
    read = 0

    async def receive():
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    with pytest.raises(Problem) as caught:
        asyncio.run(read_body({b"content-type": b"application/json"}, receive))
    assert caught.value.kind.code == "body-too-large"
    assert read == MAX_BODY // 65_536 + 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/x-www-form-urlencoded"},
        {b"content-type": b"application/json", b"content-encoding": b"gzip"},
    ],
)
def test_only_plain_json_is_read(headers):
    with pytest.raises(Problem) as caught:
        asyncio.run(read_body(headers, None))
    assert caught.value.kind.code == "media-type-unsupported"


def test_a_body_that_never_comes_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.05)
    with pytest.raises(Problem) as caught:
        asyncio.run(read_body({b"content-type": b"application/json"}, asyncio.Event().wait))
    assert caught.value.kind.code == "body-too-slow"
