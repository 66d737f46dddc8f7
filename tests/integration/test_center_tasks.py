"""The centre's tasks on a real broker: sealed in, sealed out, after the commit; what nobody can read is set aside."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time

import msgpack
import psycopg
import pytest
import redis
from sqlalchemy import insert

from center.ledger.export import exported
from center.ledger.nightly import newest
from center.tables import upload_window
from center.tasks import SITE, Beat, Center, app_of
from domain import messages
from domain.messages import BooksReported, DetailUploaded
from domain.pace import SMALL
from infra import lanes
from infra.codec import decode, encode
from infra.envelope import seal, unseal
from infra.settings import Settings
from infra.transport import readable
from tests.support.center import (
    AT,
    CATALOGUE_VERSION,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    fill_center,
    rows_of,
    submitted,
    synthetic_citizen_id,
    totals,
)
from tests.support.uploading import WIDE


@pytest.fixture(scope="module")
def filled(center_engine):
    fill_center(center_engine, persons=50)
    with center_engine.begin() as connection:
        connection.execute(insert(upload_window).values(name="always", opens="00:00", closes="00:00", **WIDE))


@pytest.fixture
def settings(filled, center_database_url, clean_valkey, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("ab" * 32)
    return Settings(
        _env_file=None,
        center_database_url=center_database_url,
        center_broker_url=clean_valkey,
        center_secret_file=secret,
        data_dir=tmp_path,
    )


@pytest.fixture
def center(settings):
    center = Center(settings)
    app_of(center)
    yield center
    center.app.close()
    center.engine.dispose()


@pytest.fixture
def ring(center):
    """Run a task as a worker does, but here."""
    return lambda task, **kwargs: center.app.tasks[task].apply(kwargs=kwargs)


@pytest.fixture
def queued(clean_valkey):
    """What is on a queue: the headers and the arguments of each message."""

    def queued(queue):
        with redis.Redis.from_url(clean_valkey) as client:
            found = [readable(item) for item in reversed(client.lrange(queue, 0, -1))]
        return [(each["headers"], msgpack.unpackb(base64.b64decode(each["body"]))[1]) for each in found]

    return queued


def sealed(center, message, lane, frontend=FRONTEND):
    return seal(encode(message), frontend=frontend, lane=lane, key=center.key_of(frontend))


def opened(center, kwargs, lane, expected, frontend=FRONTEND):
    return decode(unseal(kwargs["envelope"], lane=lane, key=center.key_of(frontend)), expected)


def claim(serial, **change):
    return totals(visit_no=f"K{serial:06d}", citizen_id_no=synthetic_citizen_id(serial), **change)


def set_aside(engine):
    return rows_of(engine, "SELECT queue, reason FROM quarantine ORDER BY quarantine_id")


def test_a_batch_is_answered_to_its_front_end_and_shows_no_person(center, ring, queued):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(1), claim(2)), lanes.SETTLE))

    ((headers, kwargs),) = queued(f"results.{FRONTEND}")
    answered = opened(center, kwargs, f"results.{FRONTEND}", messages.ClaimsAnswered)
    assert [(answer.visit_no, answer.refusal) for answer in answered.answers] == [("K000001", ""), ("K000002", "")]
    assert headers["task"] == lanes.CLAIMS_DELIVER
    assert headers["argsrepr"] == "()"
    assert headers["kwargsrepr"] == repr({"frontend": FRONTEND, "claims": 2, "institution": HOSPITAL})
    assert synthetic_citizen_id(1) not in json.dumps(headers)


def test_persons_are_answered_to_who_asked_and_shown_to_nobody(center, ring, queued):
    asked = messages.PersonAsked(citizens=(synthetic_citizen_id(1), synthetic_citizen_id(999_999)))

    ring(lanes.PERSONS_ASK, envelope=sealed(center, asked, lanes.ADMIN))
    ring(lanes.PERSONS_ASK, envelope=sealed(center, asked, lanes.ADMIN))

    (headers, kwargs), (_, again) = queued(f"results.{FRONTEND}")
    answered = opened(center, kwargs, f"results.{FRONTEND}", messages.PersonAnswered)
    assert [each.known for each in answered.entitlements] == [True, False]
    repeated = opened(center, again, f"results.{FRONTEND}", messages.PersonAnswered)
    assert repeated.entitlements[0].version == answered.entitlements[0].version
    assert headers["task"] == lanes.PERSONS_ANSWER
    assert headers["kwargsrepr"] == repr({"frontend": FRONTEND, "persons": 2})
    assert synthetic_citizen_id(1) not in json.dumps(headers)


def test_a_refund_is_answered_to_who_asked_as_often_as_it_is_asked(center, ring, queued):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(8)), lanes.SETTLE))
    asked = messages.RefundAsked(
        institution_code=HOSPITAL,
        visit_no="K000008",
        charge_batch_no=1,
        contra_batch_no=2,
        reason="误",
        policy_version="",
        catalogue_version="",
    )
    for _ in range(2):
        ring(lanes.CLAIMS_REFUND, envelope=sealed(center, asked, lanes.SETTLE))

    _, (headers, kwargs), (_, again) = queued(f"results.{FRONTEND}")
    answered = opened(center, kwargs, f"results.{FRONTEND}", messages.RefundAnswered)
    assert (answered.refusal, answered.answers[0].charge_batch_no) == ("", 2)
    assert opened(center, again, f"results.{FRONTEND}", messages.RefundAnswered) == answered
    assert headers["task"] == lanes.CLAIMS_REFUNDED
    assert headers["kwargsrepr"] == repr({"frontend": FRONTEND, "institution": HOSPITAL, "visit": "K000008"})


def test_one_claim_alone_is_found_by_its_visit(center, ring, queued):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(3)), lanes.SETTLE))

    ((headers, _),) = queued(f"results.{FRONTEND}")
    assert "'visit': 'K000003'" in headers["kwargsrepr"]


@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param(lambda center: b"\xc1 not an envelope", id="garbage"),
        pytest.param(lambda center: None, id="nothing"),
        pytest.param(lambda center: sealed(center, submitted(claim(4)), lanes.DETAILS), id="of another lane"),
        pytest.param(
            lambda center: seal(encode(submitted(claim(4))), frontend=FRONTEND, lane=lanes.SETTLE, key=bytes(32)),
            id="sealed with another key",
        ),
        pytest.param(
            lambda center: sealed(center, BooksReported(day=claim(4).visit_date, totals=()), lanes.SETTLE),
            id="another kind of message",
        ),
    ],
)
def test_what_nobody_can_read_is_set_aside_and_never_retried(center, ring, queued, caplog, envelope):
    before = len(set_aside(center.engine))

    result = ring(lanes.CLAIMS_SETTLE, envelope=envelope(center))

    assert result.state == "FAILURE"
    assert len(set_aside(center.engine)) == before + 1
    told = {headers["task"] for headers, _ in queued(f"results.{FRONTEND}")}
    assert told <= {lanes.OUTCOMES_TELL}, "that it was not heard, if anything"
    assert synthetic_citizen_id(4) not in caplog.text
    assert rows_of(center.engine, "SELECT 1 FROM settlement WHERE visit_no = 'K000004'") == []


def test_a_front_end_cannot_speak_for_another(center, ring, queued):
    """It can seal with its own key only, and its own key names it."""
    forged = msgpack.unpackb(sealed(center, submitted(claim(5)), lanes.SETTLE, frontend=OTHER_FRONTEND))
    forged[1] = FRONTEND

    result = ring(lanes.CLAIMS_SETTLE, envelope=msgpack.packb(forged))

    assert result.state == "FAILURE"
    assert queued(f"results.{FRONTEND}") == []


def test_a_connection_that_died_in_the_pool_is_replaced(center, ring, queued, caplog):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(8)), lanes.SETTLE))
    _kill_pooled_connections(center.engine)

    result = ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(9)), lanes.SETTLE))

    assert result.state == "SUCCESS"
    assert len(queued(f"results.{FRONTEND}")) == 2
    assert "database_awaited" in [record.message for record in caplog.records]


def _kill_pooled_connections(engine):
    with psycopg.connect(engine.url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_while_the_database_is_away_the_message_goes_back(settings):
    nowhere = settings.model_copy(update={"center_database_url": "postgresql://nobody@127.0.0.1:1/nothing"})
    center = Center(nowhere, patience_seconds=0.1)
    app_of(center)

    result = center.app.tasks[lanes.CLAIMS_SETTLE].apply(
        kwargs={"envelope": sealed(center, submitted(claim(10)), lanes.SETTLE)}
    )

    assert result.state == "REJECTED"
    assert result.result.requeue
    center.app.close()


def test_an_answer_that_does_not_get_out_is_given_when_asked_again(settings, ring, center, queued, caplog):
    deaf = Center(settings.model_copy(update={"center_broker_url": "redis://127.0.0.1:1/0"}))
    app_of(deaf)
    envelope = sealed(center, submitted(claim(11)), lanes.SETTLE)

    result = deaf.app.tasks[lanes.CLAIMS_SETTLE].apply(kwargs={"envelope": envelope})
    assert result.state == "SUCCESS"
    assert "not_sent" in [record.message for record in caplog.records]
    assert queued(f"results.{FRONTEND}") == []
    number = rows_of(center.engine, "SELECT settlement_no FROM settlement WHERE visit_no = 'K000011'")

    ring(lanes.CLAIMS_SETTLE, envelope=envelope)
    ((_, kwargs),) = queued(f"results.{FRONTEND}")
    answered = opened(center, kwargs, f"results.{FRONTEND}", messages.ClaimsAnswered)
    assert [(answer.settlement_no,) for answer in answered.answers] == number
    deaf.app.close()
    deaf.engine.dispose()


def test_a_tick_grants_and_probes_and_detail_under_the_grant_is_received(center, ring, queued):
    ring(lanes.WINDOWS_TICK)

    ((headers, kwargs),) = queued(f"uploads.{FRONTEND}")
    granted = opened(center, kwargs, f"uploads.{FRONTEND}", messages.UploadGranted)
    assert (headers["task"], granted.window, granted.lines) == (lanes.DETAILS_UPLOAD, "always", SMALL.lines)
    ((headers, probe),) = queued(lanes.SETTLE)
    assert headers["task"] == lanes.LANES_PROBE
    ring(lanes.LANES_PROBE, **probe)
    assert rows_of(center.engine, "SELECT waiting_since FROM lane_health") == [(None,)]

    def upload(fence):
        uploaded = DetailUploaded(fence=fence, catalogue_version=CATALOGUE_VERSION, claims=())
        return ring(lanes.DETAILS_RECEIVE, envelope=sealed(center, uploaded, lanes.DETAILS))

    upload(granted.fence + 1)
    assert queued(f"results.{FRONTEND}") == []
    upload(granted.fence)
    ((headers, _),) = queued(f"results.{FRONTEND}")
    assert headers["task"] == lanes.DETAILS_CONFIRM


def test_a_probe_from_elsewhere_is_set_aside(center, ring):
    before = len(set_aside(center.engine))

    ring(lanes.LANES_PROBE, envelope=sealed(center, submitted(), lanes.SETTLE))
    ring(lanes.LANES_PROBE, envelope=seal(b"\xcb" + bytes(8), frontend=SITE, lane=lanes.SETTLE, key=bytes(32)))

    assert len(set_aside(center.engine)) == before + 2


def test_the_heads_of_the_chains_leave_the_database_once_a_day(center, ring, settings):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(40)), lanes.SETTLE))

    ring(lanes.AUDIT_TICK)
    ring(lanes.AUDIT_TICK)

    (path,) = settings.audit_folder.glob("heads-*.tsv")
    assert HOSPITAL in {one.institution_code for one in exported(path).heads}


def test_the_chains_are_verified_by_night(center, ring, monkeypatch):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(41)), lanes.SETTLE))
    ring(lanes.AUDIT_TICK)
    night = AT.replace(year=2036, hour=3)
    monkeypatch.setattr(type(center), "now", lambda _: night)

    ring(lanes.AUDIT_TICK)

    with center.engine.connect() as connection:
        found = newest(connection)
    assert (found.wrong, found.verified_at) == (0, night)
    assert found.heads > 0


def test_books_are_asked_for_and_lines_where_they_differ(center, ring, queued):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(12)), lanes.SETTLE))
    ring(lanes.BOOKS_TICK)
    asked = [
        opened(center, kwargs, f"uploads.{FRONTEND}", messages.BooksAsked)
        for _, kwargs in queued(f"uploads.{FRONTEND}")
    ]
    assert all(question.lines_of == () for question in asked)

    reported = BooksReported(day=asked[-1].day, totals=())
    ring(lanes.BOOKS_RECONCILE, envelope=sealed(center, reported, lanes.BOOKS))

    _, kwargs = queued(f"uploads.{FRONTEND}")[-1]
    assert opened(center, kwargs, f"uploads.{FRONTEND}", messages.BooksAsked).lines_of == (HOSPITAL,)


def test_the_books_are_checked_on_schedule_and_once_at_a_time(center, ring):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(13)), lanes.SETTLE))
    ring(lanes.BOOKS_CHECK)

    unchecked = "SELECT count(*) FROM chain_head LEFT JOIN books_watermark w USING (institution_code)"
    assert rows_of(center.engine, f"{unchecked} WHERE chain_head.link_no <> coalesce(w.link_no, 0)") == [(0,)]
    assert rows_of(center.engine, "SELECT broken FROM books_run WHERE way = 'new'") == [(0,)]
    assert lanes.BOOKS_CHECK in {entry["task"] for entry in center.app.conf.beat_schedule.values()}


def test_an_institutions_book_is_compared_and_what_only_the_centre_has_is_asked_about(center, ring, queued):
    ring(lanes.CLAIMS_SETTLE, envelope=sealed(center, submitted(claim(14)), lanes.SETTLE))
    day = center.now().date()
    book = messages.BooksSubmitted(institution_code=HOSPITAL, day=day, submission_no=1, line_count=0, part=0, parts=1)
    ring(lanes.BOOKS_SUBMIT, envelope=sealed(center, book, lanes.BOOKS))

    results = f"results.{FRONTEND}"
    headers, kwargs = queued(results)[-1]
    assert headers["task"] == lanes.BOOKS_COMPARED
    told = opened(center, kwargs, results, messages.BooksCompared)
    assert (told.result, told.submission_no) == ("1", 1)
    assert {each.kind for each in told.differences} <= {"lost-answer", "center-only", "submitted-twice"}
    assert told.differences

    ring(lanes.BOOKS_COMPARE)
    assert lanes.BOOKS_COMPARE in {entry["task"] for entry in center.app.conf.beat_schedule.values()}
    orders = [
        opened(center, kwargs, results, messages.RepairOrdered)
        for headers, kwargs in queued(results)
        if headers["task"] == lanes.BOOKS_REPAIR
    ]
    for order in orders:
        done = messages.RepairDone(order_no=order.order_no, done=True, words="前置机没有此笔")
        ring(lanes.BOOKS_REPAIRED, envelope=sealed(center, done, lanes.BOOKS))
    assert rows_of(center.engine, "SELECT count(*) FROM repair_order WHERE done_at IS NULL") == [(0,)]


def test_the_schedule_rings_and_finds_itself_again_after_the_broker_lost_everything(settings, clean_valkey, queued):
    center = Center(settings.model_copy(update={"window_tick_seconds": 0.2, "books_tick_seconds": 0.2}))
    app_of(center)
    beat = Beat(app=center.app)

    def rung():
        deadline = time.monotonic() + 10
        while not {lanes.BOOKS_TICK, lanes.WINDOWS_TICK} <= {headers["task"] for headers, _ in queued(lanes.ADMIN)}:
            assert time.monotonic() < deadline
            time.sleep(beat.tick())

    rung()
    with redis.Redis.from_url(clean_valkey) as client:
        client.flushall()
    rung()
    center.app.close()


def test_a_schedule_without_a_broker_waits(settings):
    center = Center(settings)
    beat = Beat(app=center.app, lazy=True)
    center.app.redbeat_redis = redis.Redis(port=1)

    assert beat.tick() == beat.max_interval


WORKER = """
from infra.logs import setup
from infra.settings import Settings
from center.tasks import serve_counter
setup("counter")
raise SystemExit(serve_counter(Settings(_env_file=None)))
"""


def test_a_real_worker_settles_past_garbage(settings, center, queued, clean_valkey, tmp_path):
    garbage = [b"not json", b"{}", json.dumps({"body": "eHg=", "headers": {}, "properties": {}}).encode()]
    before = len(set_aside(center.engine))
    with redis.Redis.from_url(clean_valkey) as client:
        for item in garbage:
            client.lpush(lanes.SETTLE, item)
    center.post.send("unheard.of", queue=lanes.SETTLE, shown={}, envelope=b"secret")
    center.post.send(lanes.CLAIMS_SETTLE, queue=lanes.SETTLE, shown={}, other="secret")
    center.post.send(
        lanes.CLAIMS_SETTLE, queue=lanes.SETTLE, shown={}, envelope=sealed(center, submitted(claim(13)), lanes.SETTLE)
    )
    environment = os.environ | {
        "JIESUAN_CENTER_DATABASE_URL": settings.center_database_url,
        "JIESUAN_CENTER_BROKER_URL": settings.center_broker_url,
        "JIESUAN_CENTER_SECRET_FILE": str(settings.center_secret_file),
        "JIESUAN_HEARTBEAT_FILE": str(tmp_path / "beat"),
    }
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 30
        while not queued(f"results.{FRONTEND}"):
            assert time.monotonic() < deadline, log.read_text()
            assert worker.poll() is None, log.read_text()
            time.sleep(0.05)
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0

    assert len(set_aside(center.engine)) == before + 5
    assert (tmp_path / "beat").exists()
    written = log.read_text()
    assert "secret" not in written
    assert synthetic_citizen_id(13) not in written
