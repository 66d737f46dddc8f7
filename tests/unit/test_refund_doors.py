"""Why a refund is not taken: every situation has its code and its sentence, the same at every door that can ask."""

from __future__ import annotations

import json
import os
import sys

import pytest
from sqlalchemy import update

from city import cli
from domain.refusals import VISIT_SENTENCE, VisitRefusal
from tests.support.api import CLINIC, HOSPITAL, KEYS, Api, claim, open_sample_site, sent
from tests.support.refunds import answer_refunds
from workers.tables import claim as claims


@pytest.fixture
def api(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as running:
        yield running


def by_api(api, visit_no, *, institution=HOSPITAL, batch_no=1, kept=()):
    """The code, and the sentence; of a visit nobody may know about, the problem's own."""
    kept = [{"line_no": line_no, "quantity": quantity} for line_no, quantity in kept]
    document = {"charge_batch_no": batch_no, "reason": "收费有误"} | ({"kept": kept} if kept else {})
    headers = {"Idempotency-Key": "the-question"}
    answer = api.call(
        "POST", f"/v1/visits/{visit_no}/refunds", sent(document), key=KEYS[institution], headers=headers
    )  # fmt: skip
    if answer.status_code == 404:
        assert answer.json()["detail"] == "本机构没有登记过这次就诊"
        return VisitRefusal.VISIT_UNKNOWN, VISIT_SENTENCE[VisitRefusal.VISIT_UNKNOWN]
    assert answer.status_code in (409, 422), answer.text
    (error,) = answer.json()["errors"]
    return error["code"], error["detail"]


@pytest.fixture
def by_command(api, monkeypatch, capsys, tmp_path):
    for name in list(os.environ):
        if name.startswith("JIESUAN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("07" * 32)
    for name, value in {
        "FRONTEND": "hospital-1",
        "FRONTEND_KEY_FILE": "key",
        "FRONTEND_DATABASE_URL": api.site.engine.url.render_as_string(hide_password=False),
        "CENTER_BROKER_URL": "redis://127.0.0.1:1/0",
    }.items():
        monkeypatch.setenv(f"JIESUAN_{name}", value)

    def ask(api, visit_no, *, institution=HOSPITAL, batch_no=1, kept=()):
        keep = [word for line_no, quantity in kept for word in ("--keep", f"{line_no}={quantity}")]
        words = ["batch", "refund", visit_no, str(batch_no), "--institution", institution, "--reason", "收费有误"]
        monkeypatch.setattr(sys, "argv", ["jiesuan", *words, *keep, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == 1, err
        (reason,) = json.loads(out)["refused"]
        assert reason["detail"] in err
        return reason["code"], reason["detail"]

    return ask


def settled(api):
    visit_no = api.submit(claim(1), "c").json()["visit_no"]
    api.site.settle_all()
    return visit_no


def waiting(api):
    return api.submit(claim(1), "c").json()["visit_no"]


def in_state(state):
    def situation(api):
        visit_no = waiting(api)
        with api.site.engine.begin() as connection:
            connection.execute(update(claims).where(claims.c.visit_no == visit_no).values(state=state))
        return visit_no

    return situation


def asked(api):
    visit_no = settled(api)
    document = sent({"charge_batch_no": 1, "reason": "误"})
    api.call("POST", f"/v1/visits/{visit_no}/refunds", document, headers={"Idempotency-Key": "before"})
    return visit_no


def refunded(api):
    visit_no = asked(api)
    answer_refunds(api.site.engine, at=api.site.now())
    return visit_no


def another_under_way(api):
    visit_no = settled(api)
    api.submit(claim(1) | {"charge_batch_no": 2, "visit": claim(1)["visit"] | {"visit_no": visit_no}}, "d")
    return visit_no


SITUATIONS = [
    pytest.param(lambda api: "NOTHERE", {}, VisitRefusal.VISIT_UNKNOWN, id="a visit nobody knows"),
    pytest.param(settled, {"institution": CLINIC}, VisitRefusal.VISIT_UNKNOWN, id="another institution's"),
    pytest.param(settled, {"batch_no": 9}, VisitRefusal.NOT_SETTLED, id="a batch nobody knows"),
    pytest.param(waiting, {}, VisitRefusal.NOT_SETTLED, id="not settled yet"),
    pytest.param(in_state("refused"), {}, VisitRefusal.NOT_SETTLED, id="refused by the centre"),
    pytest.param(in_state("cancelled"), {}, VisitRefusal.NOT_SETTLED, id="cancelled"),
    pytest.param(in_state("prepared"), {}, VisitRefusal.NOT_CONFIRMED, id="prepared and not confirmed"),
    pytest.param(asked, {}, VisitRefusal.REFUND_UNDER_WAY, id="asked already"),
    pytest.param(refunded, {}, VisitRefusal.REFUNDED_ALREADY, id="taken back already"),
    pytest.param(refunded, {"batch_no": 2}, VisitRefusal.REFUND_OF_REFUND, id="a contra settlement"),
    pytest.param(another_under_way, {}, VisitRefusal.BATCH_UNDER_WAY, id="another batch of the visit under way"),
    pytest.param(settled, {"kept": [(1, "3")]}, VisitRefusal.KEPT_NOT_CHARGED, id="more kept than there was"),
    pytest.param(settled, {"kept": [(7, "1")]}, VisitRefusal.KEPT_NOT_CHARGED, id="kept and never charged"),
    pytest.param(settled, {"kept": [(1, "-1")]}, VisitRefusal.KEPT_NOT_CHARGED, id="kept with the other sign"),
]


@pytest.mark.parametrize(("situation", "asking", "code"), SITUATIONS)
def test_the_code_is_the_same_at_every_door(api, by_command, situation, asking, code):
    visit_no = situation(api)

    told = [door(api, visit_no, **asking) for door in (by_api, by_command)]

    assert told[0] == told[1]
    assert told[0][0] == code
    assert told[0][1].startswith(VISIT_SENTENCE[code].partition("{")[0])


def test_every_code_has_a_sentence_of_its_own():
    # What the terms or the limits say is told as it stands.
    sentences = [sentence for sentence in VISIT_SENTENCE.values() if sentence != "{held}"]
    assert set(VISIT_SENTENCE) == set(VisitRefusal)
    assert len(set(sentences)) == len(sentences)
