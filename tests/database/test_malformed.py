"""A thousand malformed documents, messages and files; the hundred thousand are `python -m tests.malformed`."""

from __future__ import annotations

import inspect

from center.tasks import Center, app_of
from infra import lanes
from infra.settings import Settings
from tests.malformed import answers, documents, files, folders, messages
from tests.support.api import Api, open_sample_site
from workers.tasks import Frontend, link_app


def test_every_document_is_refused_with_a_code_and_writes_nothing(tmp_path):
    tally = documents.run(tmp_path, seed=7, count=1_500)
    assert tally.wrong == []
    assert len(tally.refused) > 4


def test_every_message_is_refused_with_a_code_and_settles_nothing(tmp_path, center_engine):
    tally = messages.run(center_engine, tmp_path, seed=7, count=1_500)
    assert tally.wrong == []
    assert len(tally.refused) > 10


def test_every_file_is_refused_by_its_reader(tmp_path):
    tally = files.run(tmp_path, seed=7, count=600)
    assert tally.wrong == []
    assert len(tally.refused) > 10


def test_every_answer_the_centre_would_never_give_is_set_aside(tmp_path):
    tally = answers.run(tmp_path, seed=7, count=1_200)
    assert tally.wrong == []
    assert len(tally.refused) > 20


def test_every_broken_file_in_a_folder_is_named_and_the_good_one_beside_it_taken_in(tmp_path):
    tally = folders.run(tmp_path, seed=7, count=150)
    assert tally.wrong == []
    assert len(tally.refused) > 4


def test_every_address_that_takes_a_body_is_asked(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as api:
        document = api.call("GET", "/openapi.json", key=None).json()
    taking = {path for path, known in document["paths"].items() if "requestBody" in known.get("post", {})}
    assert taking == set(documents.GOOD)
    assert {method for known in document["paths"].values() for method in known} == {"get", "post"}


def test_every_task_of_a_front_end_that_takes_an_envelope_is_asked(tmp_path):
    key = tmp_path / "key"
    key.write_text(answers.KEY.hex())
    settings = Settings(
        _env_file=None, frontend=answers.FRONTEND, frontend_database_url=f"sqlite:///{tmp_path / 'none.db'}",
        frontend_key_file=key, center_broker_url="redis://127.0.0.1:1/0", data_dir=tmp_path,
    )  # fmt: skip
    tasks = link_app(Frontend(settings)).tasks
    taking = {name for name, task in tasks.items() if "envelope" in inspect.signature(task.run).parameters}
    assert taking == set(answers.LANE_OF)


def test_every_task_that_takes_an_envelope_is_asked(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(messages.SECRET.hex())
    settings = Settings(
        _env_file=None, center_database_url="postgresql://nobody@127.0.0.1:1/none",
        center_broker_url="redis://127.0.0.1:1/0", center_secret_file=secret, data_dir=tmp_path,
    )  # fmt: skip
    tasks = app_of(Center(settings)).tasks
    taking = {name for name, task in tasks.items() if "envelope" in inspect.signature(task.run).parameters}
    assert taking - {lanes.LANES_PROBE} == set(messages.LANE_OF)
