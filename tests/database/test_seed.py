"""The sample city by single commands, as the containers do it: both sides are seeded, each once."""

from __future__ import annotations

from typer.testing import CliRunner

from city.cli import app
from city.sample.institutions import SHARED
from city.seed import FOLDER, seed
from infra.database import open_database
from infra.settings import Settings
from workers.schema import upgrade


def test_each_side_is_seeded_once(tmp_path, empty_database):
    url = f"sqlite:///{tmp_path / 'frontend.db'}"
    engine = open_database(url)
    upgrade(engine)
    engine.dispose()
    frontend = Settings(data_dir=tmp_path, frontend=SHARED, frontend_database_url=url)

    assert [seed(frontend, "frontend"), seed(frontend, "frontend")] == [True, False]
    assert len(list((tmp_path / FOLDER / "secrets").iterdir())) == 1

    center = {"JIESUAN_CENTER_DATABASE_URL": empty_database, "JIESUAN_DATA_DIR": str(tmp_path)}
    said = [
        CliRunner().invoke(app, command, env=center)
        for command in (["migrate", "center"], ["seed", "center"], ["seed", "center"])
    ]
    assert [(one.exit_code, one.stderr.strip()) for one in said[1:]] == [(0, "written"), (0, "there already")]
