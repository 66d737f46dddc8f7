"""The API as it runs: `jiesuan serve api` under granian, a real SQLite file, real sockets, the documented client."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from infra.clock import clock_from
from infra.database import open_database
from infra.embedded import free_port
from infra.supervisor import Service, Supervisor, answers
from producers.client import JiesuanClient, Refused
from tests.support.api import CLINIC, HOSPITAL, KEYS, NAME, PERSON, Api, SampleSite, claim, fill, open_sample_site, sent
from workers import tables

JIESUAN = str(Path(sys.executable).with_name("jiesuan"))


class Running:
    """A served site: where it answers, its database from outside, its log."""

    def __init__(self, site: SampleSite, supervisor: Supervisor, port: int) -> None:
        self.site, self.supervisor, self.port = site, supervisor, port
        self.url = f"http://127.0.0.1:{port}"

    def client(self, institution: str = HOSPITAL, **options) -> JiesuanClient:
        return JiesuanClient(self.url, KEYS[institution], **options)

    def stored(self) -> int:
        with self.site.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(tables.claim)).scalar_one()

    def log(self) -> str:
        return self.supervisor.log("api").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def running(tmp_path_factory, valkey_url) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("api")
    port = free_port(0, "API", lambda words: None)
    with (
        open_sample_site(folder, cap=100_000) as site,
        Supervisor(folder / "data", say=lambda line: None) as supervisor,
    ):
        service = Service(
            name="api",
            argv=[JIESUAN, "serve", "api"],
            env={
                "JIESUAN_FRONTEND": "test",
                "JIESUAN_FRONTEND_DATABASE_URL": f"sqlite:///{folder / 'frontend.db'}",
                "JIESUAN_FRONTEND_BROKER_URL": valkey_url,
                "JIESUAN_API_PORT": str(port),
                "JIESUAN_CLOCK": site.clock.written(),
            },
            ready=answers(f"http://127.0.0.1:{port}/readyz"),
        )
        supervisor.start(service)
        yield Running(site, supervisor, port)


def test_fifty_at_once_with_one_key_store_one_claim(running):
    before = running.stored()
    barrier = threading.Barrier(50)

    def hand_in(_: int) -> tuple[str, bool]:
        with httpx.Client(base_url=running.url, trust_env=False, timeout=30) as http:
            barrier.wait()
            headers = {
                "Authorization": f"Bearer {KEYS[HOSPITAL]}",
                "Content-Type": "application/json",
                "Idempotency-Key": "one-of-fifty",
            }
            answer = http.post("/v1/claims", content=sent(claim()), headers=headers)
            while answer.status_code == 409:  # another one of the fifty is under way
                assert answer.json()["code"] == "request-in-flight"
                time.sleep(0.01)
                answer = http.post("/v1/claims", content=sent(claim()), headers=headers)
        assert answer.status_code == 202
        return answer.json()["claim_no"], "idempotency-replayed" in answer.headers

    with ThreadPoolExecutor(50) as pool:
        answered = list(pool.map(hand_in, range(50)))
    assert running.stored() == before + 1
    assert len({number for number, _ in answered}) == 1
    assert Counter(replayed for _, replayed in answered) == {True: 49, False: 1}


def test_a_client_that_waits_gets_the_settlement(running):
    with running.client() as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.submit, claim(5), wait=20, key="waits")
        while not waiting.done():
            running.site.settle_all()
        settled = waiting.result()
        assert settled["state"] == "settled"
        assert settled["settlement"]["total_amount"] == "125.00"
        assert client.show(settled["claim_no"]) == settled
        assert client.statement(settled["claim_no"]).startswith(b"<!doctype html>")
        assert client.statement(settled["claim_no"], form="pdf").startswith(b"%PDF-")
        assert "应收现金" in client.statement(settled["claim_no"], form="txt").decode()


def test_a_client_lets_a_held_claim_be_settled(running):
    with running.client() as client:
        held = client.submit(claim(settle="later"))
        assert held["state"] == "held"
        assert client.settle(held["claim_no"])["state"] == "accepted"


def test_the_client_tells_a_refusal_with_every_wrong_field(running):
    with running.client() as client, pytest.raises(Refused) as refused:
        client.submit(claim() | {"lines": [{"line_amount": 1.5}, {"quantity": "x"}]})
    assert (refused.value.status, refused.value.code) == (422, "content-invalid")
    assert [error["pointer"] for error in refused.value.errors] == ["#/lines/0/line_amount", "#/lines/1/quantity"]


def test_tenants_do_not_see_each_other(running):
    with running.client() as hospital, running.client(CLINIC) as clinic:
        number = hospital.submit(claim(), key="of-the-hospital")["claim_no"]
        with pytest.raises(Refused) as refused:
            clinic.show(number)
        assert refused.value.status == 404


def test_events_arrive_while_they_happen(running):
    headers = {"Authorization": f"Bearer {KEYS[HOSPITAL]}"}
    with running.client() as client:
        number = client.submit(claim(3), key="listened-to")["claim_no"]
    heard = []
    with (
        httpx.Client(base_url=running.url, headers=headers, trust_env=False, timeout=30) as http,
        http.stream("GET", f"/v1/claims/{number}/events") as stream,
    ):
        for text in stream.iter_lines():
            if text.startswith("event: "):
                heard.append(text.removeprefix("event: "))
            if heard == ["accepted"]:
                running.site.settle_all()
    assert heard == ["accepted", "totalled", "settled"]


def test_fifty_megabytes_without_a_length_are_cut_off(running):
    """Nobody reads further than the limit: the answer comes, and the rest is not taken."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        head = (
            "POST /v1/claims HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nIdempotency-Key: big\r\n"
            f"Authorization: Bearer {KEYS[HOSPITAL]}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        sent_bytes = 0
        try:
            for _ in range(800):
                connection.sendall(chunk)
                sent_bytes += len(chunk)
        except OSError:
            pass
        answer = b""
        try:
            while part := connection.recv(65_536):
                answer += part
                if b"body-too-large" in answer:
                    break
        except OSError:
            pass
    assert sent_bytes < 50_000_000 or b"413" in answer.split(b"\r\n")[0]
    assert httpx.get(f"{running.url}/healthz", trust_env=False).status_code == 200


def test_a_body_that_announces_too_much_is_not_waited_for(running):
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/claims HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nIdempotency-Key: big\r\n"
            b"Authorization: Bearer " + KEYS[HOSPITAL].encode() + b"\r\nContent-Length: 52428800\r\n\r\n"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


def test_the_log_is_json_and_names_no_person(running):
    with running.client() as client:
        client.submit(claim(), key="logged")
        for bad in ({"visit": {"person_name": NAME, "citizen_id_no": PERSON}}, {PERSON: NAME}):
            with pytest.raises(Refused):
                client.submit(bad)
    written = running.log()
    assert PERSON not in written
    assert NAME not in written
    for text in written.splitlines():
        assert {"ts", "level", "event", "service", "version"} <= json.loads(text).keys()


def test_it_stops_when_it_is_told_to_and_comes_back(running):
    running.supervisor.kill("api")
    running.supervisor.wait_until_ready("api")
    with running.client() as client:
        again = client.submit(claim(), key="one-of-fifty")
    assert again["claim_no"]
    assert running.supervisor.starts("api") == 2


def test_on_postgresql_it_is_the_same(empty_database):
    engine = open_database(empty_database)
    fill(engine)
    site = SampleSite(engine, clock_from("2026-03-02T17:00:00+08:00@0.0x0.0"))
    with Api(site) as api:
        waiting = api.start_submit(claim(5), "a", wait=20)
        while not site.settle_all():
            pass
        assert waiting().json()["settlement"]["total_amount"] == "125.00"
        again = api.submit(claim(5), "a")
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json()["settlement"]["settled_at"] == "2026-03-02T17:00:00+08:00"
        assert api.submit(claim(6), "a").status_code == 422
        together = [answer() for answer in [api.start_submit(claim(), "b") for _ in range(30)]]
        assert {answer.status_code for answer in together} <= {202, 409}
        told = {answer.json()["claim_no"] for answer in [*together, api.submit(claim(), "b")] if answer.is_success}
        assert len(told) == 1
        assert api.call("GET", "/readyz", key=None).status_code == 200
        assert "jiesuan_claims_in_state" in api.call("GET", "/metrics", key=None).text
