"""A small morning with real processes, its accidents included: every promise kept, and no person seen outside."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from io import StringIO
from urllib.parse import urlsplit

import pytest
import redis
from rich.console import Console
from sqlalchemy import func, select

from city.found import Found
from city.morning import Morning
from city.promises import audit
from city.sample.institutions import HOSPITAL_A, HOSPITAL_B
from city.sample.morning import City, sample_city
from city.seed import FOLDER
from domain.lifecycle import ClaimState
from infra.broker import Post, build_app
from infra.settings import Settings
from infra.supervisor import Supervisor
from workers.tables import claim, line_failure

pytestmark = pytest.mark.timeout(240)  # the first test waits for the whole morning

CLAIMS, PEOPLE, PLAY_SECONDS = 300, 200, 14.0


@dataclass
class Played:
    """A morning that was played; its services still run."""

    morning: Morning
    found: Found
    printed: str
    wire: Monitor


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("morning") / FOLDER
    printed = StringIO()
    with Supervisor(folder, say=lambda words: None) as supervisor:
        morning = Morning(
            settings=Settings(_env_file=None),
            folder=folder,
            city=sample_city(claims=CLAIMS, people=PEOPLE),
            supervisor=supervisor,
            console=Console(file=printed, width=120),
            play_seconds=PLAY_SECONDS,
            any_ports=True,
        )
        with closing(morning):
            morning.start()
            with Monitor(morning.plan.broker_url) as wire:
                found = morning.play()
                morning.tell(found)
                yield Played(morning, found, printed.getvalue(), wire)


# ── Promises ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_promise_is_kept_whatever_happened(played):
    assert not played.found.unfinished
    assert [promise for promise in played.found.audit.promises if not promise.kept] == []


def test_the_accidents_happened(played):
    killed, lost = played.found.accidents
    assert killed.startswith(f"kill -9 desk-{HOSPITAL_A}")
    assert re.fullmatch(r"kill -9 center-settle（进程 \d+），随后 FLUSHALL：丢弃排队消息 \d+ 条", lost)
    assert played.morning.supervisor.starts("center-settle") == 2
    assert played.morning.supervisor.starts(f"desk-{HOSPITAL_A}") == 2


def test_the_numbers_of_the_last_line_add_up(played):
    numbers = played.found.numbers(seconds=1.23)
    assert list(numbers) == [
        "claims_submitted", "claims_settled", "claims_refused", "claims_lost", "claims_paid_twice",
        "detail_lines_total", "detail_lines_uploaded", "difference_fen", "seconds",
    ]  # fmt: skip
    assert numbers["claims_submitted"] == CLAIMS == numbers["claims_settled"] + numbers["claims_refused"]
    assert (numbers["claims_lost"], numbers["claims_paid_twice"], numbers["difference_fen"]) == (0, 0, 0)
    assert numbers["detail_lines_total"] == numbers["detail_lines_uploaded"] > CLAIMS


def test_every_code_of_the_table_came_back(played):
    codes = {code for one in played.found.told for code in one.codes}
    assert codes == {f"{code:02d}" for code in (*range(15), 21, 90, 92, 93, 94, 95, 96)}
    assert {one.words for one in played.found.told if one.state == ClaimState.REFUSED} == {
        "中心无此参保人",
        "参保人待遇已暂停",
    }


def test_a_part_went_through_the_shared_tables_and_the_his_mended_what_it_mistyped(played):
    through = [one for one in played.found.told if one.claim.door == "tables"]
    ends = Counter(one.state for one in through)
    assert set(ends) == {ClaimState.SETTLED, ClaimState.RETURNED}

    with played.morning.frontends[HOSPITAL_B].connect() as connection:
        settled = select(func.count()).where(claim.c.channel == "visit", claim.c.state == ClaimState.SETTLED)
        assert connection.execute(settled).scalar_one() == ends[ClaimState.SETTLED]
        failures = connection.execute(select(line_failure.c.code, line_failure.c.gone_at)).all()
    assert [code for code, gone_at in failures if gone_at] == ["14"] * sum(one.claim.is_mistyped for one in through)
    left = [one.claim.defect for one in through if one.state == ClaimState.RETURNED]
    assert sorted(code for code, gone_at in failures if not gone_at) == sorted(left)


def test_two_statements_and_a_table_are_printed(played):
    assert played.printed.count("医疗费用结算单") == 2
    assert "特大型医院" in played.printed
    assert str(played.morning.city.seed) in played.printed


FIRST_CLAIM = "claim_id = (SELECT min(claim_id) FROM claim WHERE settled_at IS NOT NULL)"
FIRST = "settlement_no = (SELECT min(settlement_no) FROM settlement)"


@pytest.mark.parametrize(
    ("place", "change", "undo", "promise"),
    [
        pytest.param(
            "front-end",
            f"UPDATE claim SET state = 'held' WHERE {FIRST_CLAIM}",
            "UPDATE claim SET state = 'settled' WHERE state = 'held'",
            "接收的一笔不丢",
            id="a claim without its end",
        ),
        pytest.param(
            "front-end",
            f"UPDATE claim SET total_fen = total_fen + 1 WHERE {FIRST_CLAIM}",
            f"UPDATE claim SET total_fen = total_fen - 1 WHERE {FIRST_CLAIM}",
            "两边账一致",
            id="one fen in the front-end's books",
        ),
        pytest.param(
            "centre",
            "INSERT INTO posting SELECT min(settlement_no), 'planted', 1 FROM settlement",
            "DELETE FROM posting WHERE account = 'planted'",
            "每分钱都有着落",
            id="one fen posted once too often",
        ),
        pytest.param(
            "centre",
            f"UPDATE settlement SET charge_batch_no = charge_batch_no + 1000 WHERE {FIRST}",
            f"UPDATE settlement SET charge_batch_no = charge_batch_no - 1000 WHERE {FIRST}",
            "一笔不重付",
            id="a settlement nobody asked for",
        ),
        pytest.param(
            "centre",
            f"UPDATE detail SET lines = lines || '\\x78'::bytea WHERE {FIRST}",
            f"UPDATE detail SET lines = substring(lines FROM 1 FOR length(lines) - 1) WHERE {FIRST}",
            "明细就是汇总的明细",
            id="one byte more in a detail",
        ),
    ],
)
def test_the_audit_sees_what_is_wrong(played, place, change, undo, promise):
    morning = played.morning

    def alter(statement):
        engine = morning.center_engine if place == "centre" else morning.frontends[HOSPITAL_B]
        with engine.begin() as connection:
            if place == "centre":  # past the triggers that refuse such a thing
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            assert connection.exec_driver_sql(statement).rowcount == 1

    alter(change)
    try:
        audited = audit(morning.center_engine, morning.frontends, played.found.told, morning.city)
    finally:
        alter(undo)
    assert any(kept.name.startswith(promise) for kept in audited.promises if not kept.kept)


# ── Nobody's name or number outside ───────────────────────────────────────────────────────────────────────


def test_no_person_is_seen_on_the_broker_in_events_logs_metrics_or_flower(played):
    seen = {name: sorted(found) for name, content in _everything(played) if (found := leaks(content, played))}
    assert seen == {}


@pytest.mark.parametrize("what", ["citizen_id_no", "name"])
def test_the_search_would_have_found_a_message_with_a_person_in_it(played, what):
    person = played.morning.city.people[7]
    post = Post(build_app("planted", played.morning.plan.broker_url))
    before = len(played.wire.content)
    post.send("planted", queue="planted", shown={}, planted=getattr(person, what))
    played.wire.show_all()

    assert leaks(played.wire.content[before:], played) == {what}


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(lambda text: text.encode(), id="as it is"),
        pytest.param(lambda text: text.encode("gb18030"), id="as an exchange file has it"),
        pytest.param(lambda text: json.dumps({"who": text}).encode(), id="as JSON escapes it"),
        pytest.param(lambda text: base64.b64encode(b"\x81\xa3who" + text.encode()), id="as kombu wraps it"),
        pytest.param(lambda text: urllib.parse.quote(text).encode(), id="as an address has it"),
        pytest.param(
            lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()).encode(), id="as the monitor shows it"
        ),
    ],
)
def test_the_search_finds_a_name_however_it_is_written(played, wrapped):
    person = played.morning.city.people[7]
    assert leaks(b"before " + wrapped(person.name) + b" after", played) == {"name"}


def test_flower_finds_tasks_by_institution_and_by_visit(played):
    hospital = next(i for i in played.morning.city.institutions if i.frontend == HOSPITAL_B)
    visits = [
        one.claim_no.rpartition("-")[0]
        for one in played.found.told
        if one.claim.institution == hospital and one.state == ClaimState.SETTLED
    ]

    by_institution = _task_names(played, f"kwargs:institution={hospital.institution_code}")
    assert {"claims.preprocess", "claims.settle"} <= by_institution
    assert "claims.deliver" not in by_institution, "the link's events would be half of what the link carries"
    assert all("claims.preprocess" in _task_names(played, f"kwargs:{visit_no}") for visit_no in visits[:5])
    assert _task_names(played, "kwargs:institution=999999999") == set()


def leaks(content: bytes, played: Played) -> set[str]:
    """Which kinds of private things of the test persons are in the content, however they are written."""
    text = b"\n".join(_readings(content))
    private = {
        "citizen_id_no": [person.citizen_id_no for person in played.morning.city.people],
        "name": [person.name for person in played.morning.city.people],
    }
    return {kind for kind, values in private.items() if any(form in text for value in values for form in _forms(value))}


def _forms(text: str) -> set[bytes]:
    return {text.encode(), text.encode("gb18030"), json.dumps(text)[1:-1].encode(), urllib.parse.quote(text).encode()}


def _readings(content: bytes) -> Iterator[bytes]:
    """The content as it is, without escapes, and everything in it that is base64."""
    plain = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), content)
    yield content
    yield plain
    for encoded in re.findall(rb"[A-Za-z0-9+/]{12,}={0,2}", plain):
        for skipped in range(min(4, len(encoded))):  # letters of the text before it may seem to belong to it
            part = encoded[skipped:].rstrip(b"=")
            yield base64.b64decode(part[: len(part) // 4 * 4])
            yield base64.b64decode(part[: len(part) - (len(part) % 4 == 1)] + b"==")


def _everything(played: Played) -> Iterable[tuple[str, bytes]]:
    morning = played.morning
    yield "broker traffic", played.wire.content
    with redis.Redis.from_url(morning.plan.broker_url) as client:
        yield "broker keys", b"\n".join(key + b" " + _value(client, key) for key in client.keys("*"))
    for file in sorted((morning.folder / "broker").rglob("*.aof")):
        yield file.name, file.read_bytes()
    for log in sorted((morning.folder / "logs").iterdir()):
        yield log.name, log.read_bytes()
    for name, url in morning.plan.metrics_urls.items():
        yield f"metrics of {name}", _page(url)
    tasks = _tasks(played, "")
    assert len(tasks) > 100
    yield "tasks in Flower", json.dumps(tasks, ensure_ascii=False).encode()
    for task in tasks[:30]:
        yield f"task {task['uuid']}", _page(f"{morning.plan.flower_url}/task/{task['uuid']}")
    yield "workers in Flower", _page(f"{morning.plan.flower_url}/workers")
    yield "metrics of Flower", _page(f"{morning.plan.flower_url}/metrics")


def _value(client: redis.Redis, key: bytes) -> bytes:
    return client.dump(key) or b""


def _page(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as answer:
        return answer.read()


def _tasks(played: Played, search: str) -> list[dict[str, str]]:
    """The tasks Flower's own page lists for a search."""
    asked = {
        "draw": 1, "start": 0, "length": 10_000, "search[value]": search,
        "order[0][column]": 0, "order[0][dir]": "asc", "columns[0][data]": "name",
    }  # fmt: skip
    page = _page(f"{played.morning.plan.flower_url}/tasks/datatable?{urllib.parse.urlencode(asked)}")
    return json.loads(page)["data"]


def _task_names(played: Played, search: str) -> set[str]:
    return {task["name"] for task in _tasks(played, search)}


@dataclass
class Monitor:
    """Every command any client sends to the broker, events included, as the broker shows them (MONITOR)."""

    url: str
    _parts: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Monitor:
        broker = urlsplit(self.url)
        self._socket = socket.create_connection((broker.hostname, broker.port))
        self._socket.sendall(f"AUTH {broker.password}\r\nMONITOR\r\n".encode())
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    @property
    def content(self) -> bytes:
        return b"".join(self._parts)

    def show_all(self) -> None:
        """Return once every command sent before has been shown: the broker shows them in the order they came."""
        last = f"shown-up-to-{len(self._parts)}"
        with redis.Redis.from_url(self.url) as client:
            client.echo(last)
        pause = threading.Event()
        for _ in range(500):
            if last.encode() in self.content:
                return
            pause.wait(0.02)
        raise AssertionError("the broker did not show it")

    def _read(self) -> None:
        while part := self._socket.recv(1 << 16):
            self._parts.append(part)


def test_the_city_of_this_morning_is_no_real_one(played):
    city: City = played.morning.city
    assert all(person.citizen_id_no.startswith("99") for person in city.people)
