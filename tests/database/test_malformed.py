"""A thousand malformed documents, messages and files; the hundred thousand are `python -m tests.malformed`."""

from __future__ import annotations

import inspect

from center.tasks import Center, app_of
from infra import lanes
from infra.settings import Settings
from tests.malformed import documents, files, messages


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
