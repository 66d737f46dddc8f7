"""The client: it repeats with the same key, waits as long as it is asked to, and gives up in the end."""

from __future__ import annotations

import json
from datetime import date

import httpx
import pytest

from producers.client import JiesuanClient, Refused, TryLater


def test_the_client_repeats_with_the_same_key_and_gives_up_in_the_end():
    keys, pauses = [], []
    answered = iter(
        [
            httpx.Response(503, json={"code": "try-again"}, headers={"Retry-After": "2"}),
            httpx.Response(429, json={"code": "backlog-full"}, headers={"Retry-After": "7"}),
            httpx.ConnectError("refused"),
            httpx.Response(202, json={"claim_no": "X-1", "state": "accepted"}),
        ]
    )

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        given = next(answered, httpx.ReadTimeout("silent"))
        if isinstance(given, Exception):
            raise given
        return given

    with JiesuanClient("http://x", "k", transport=httpx.MockTransport(answer), pause=pauses.append) as client:
        assert client.submit({})["claim_no"] == "X-1"
        assert len(set(keys)) == 1
        assert (pauses[0], pauses[1]) == (2.0, 7.0)
        with pytest.raises(TryLater) as later:
            client.submit({}, key="mine")
    assert later.value.key == "mine"
    assert len(pauses) == 3 + 4


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_a_refusal_is_not_asked_again(status):
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, json={"code": "c", "detail": "d", "request_id": "r", "errors": []})

    with JiesuanClient("http://x", "k", transport=httpx.MockTransport(answer)) as client, pytest.raises(Refused) as no:
        client.show("X-1")
    assert (no.value.status, no.value.code, no.value.request_id, len(asked)) == (status, "c", "r", 1)


def test_the_key_of_the_institution_and_the_wish_to_wait_are_sent():
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer k"
        assert request.headers["Prefer"] == "wait=9"
        assert request.headers["Idempotency-Key"] == "mine"
        return httpx.Response(200, json={"state": "settled"})

    with JiesuanClient("http://x", "k", transport=httpx.MockTransport(answer)) as client:
        assert client.submit({}, wait=9, key="mine") == {"state": "settled"}


def test_a_visit_goes_its_way_by_the_client():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path, json.loads(request.content or b"null")))
        assert request.method == "GET" or request.headers["Idempotency-Key"]
        return httpx.Response(200, json={})

    with JiesuanClient("http://x", "k", transport=httpx.MockTransport(answer)) as client:
        client.register({"visit_type": "1"}, key="r")
        client.visit("V1")
        client.add_lines("V1", [{"line_no": 1}])
        client.settle_visit("V1", final=True)
        client.discharge("V1", {"discharge_date": "2026-03-09"})
        client.refund("V1", 1, reason="误", kept={1: "2"})
        client.cancel("V2")
    assert asked == [
        ("POST", "/v1/visits", {"visit_type": "1"}),
        ("GET", "/v1/visits/V1", None),
        ("POST", "/v1/visits/V1/lines", {"lines": [{"line_no": 1}]}),
        ("POST", "/v1/visits/V1/settlements", {"final": True}),
        ("POST", "/v1/visits/V1/discharge", {"discharge_date": "2026-03-09"}),
        (
            "POST",
            "/v1/visits/V1/refunds",
            {"charge_batch_no": 1, "reason": "误", "kept": [{"line_no": 1, "quantity": "2"}]},
        ),
        ("POST", "/v1/visits/V2/cancellation", {}),
    ]


def test_the_error_list_and_refused_batches_by_the_client():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, str(request.url.raw_path, "ascii")))
        return httpx.Response(200, json={"lines": []})

    with JiesuanClient("http://frontend", "key", transport=httpx.MockTransport(answer)) as client:
        assert client.errors(day=date(2026, 3, 2)) == {"lines": []}
        assert client.error_workbook(visit_no="V1") == b'{"lines":[]}'
        client.send_again("V1", 1)
        client.give_up("V1", 1)

    assert asked == [
        ("GET", "/v1/errors?day=2026-03-02"),
        ("GET", "/v1/errors?format=xlsx&visit_no=V1"),
        ("POST", "/v1/visits/V1/batches/1/resubmission"),
        ("POST", "/v1/visits/V1/batches/1/withdrawal"),
    ]
