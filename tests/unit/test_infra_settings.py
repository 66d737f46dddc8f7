"""Settings: every missing one is named at once, and a secret is a file of 64 hex digits or nothing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from infra.envelope import frontend_key
from infra.settings import MissingSetting, Settings


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch, tmp_path):
    """Neither this shell's environment nor a developer's `.env` takes part."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"JIESUAN_{name.upper()}", raising=False)


def test_every_missing_setting_is_named():
    with pytest.raises(MissingSetting) as caught:
        Settings(frontend="FE01").need("frontend", "frontend_database_url", "center_broker_url")

    assert str(caught.value) == "missing: JIESUAN_FRONTEND_DATABASE_URL, JIESUAN_CENTER_BROKER_URL"


def test_nothing_is_missing_when_all_are_there(monkeypatch):
    monkeypatch.setenv("JIESUAN_FRONTEND", "FE01")

    Settings().need("frontend")


def test_settings_come_from_the_environment_first_and_the_file_second(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("JIESUAN_FRONTEND=from-file\nJIESUAN_LOG_LEVEL=DEBUG\n")
    monkeypatch.setenv("JIESUAN_FRONTEND", "from-environment")

    settings = Settings()

    assert (settings.frontend, settings.log_level) == ("from-environment", "DEBUG")


def test_without_a_broker_of_its_own_a_front_end_uses_the_centres():
    assert Settings(center_broker_url="redis://center").local_broker_url == "redis://center"
    assert Settings(center_broker_url="redis://c", frontend_broker_url="redis://f").local_broker_url == "redis://f"


def test_a_secret_is_read_from_its_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("ab" * 32 + "\n")

    settings = Settings(center_secret_file=file, frontend_key_file=file)

    assert settings.center_secret() == settings.sealing_key() == b"\xab" * 32
    assert settings.key_of("FE01") == frontend_key(b"\xab" * 32, "FE01")


@pytest.mark.parametrize("content", [None, "", "ab" * 31, "ab" * 33, "zz" * 32, "ab" * 31 + "é"])
def test_a_secret_that_is_no_secret_is_named_and_not_quoted(tmp_path, content):
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)

    with pytest.raises(MissingSetting, match="JIESUAN_CENTER_SECRET_FILE") as caught:
        Settings(center_secret_file=file).center_secret()

    assert "abab" not in str(caught.value)


def test_a_secret_nobody_gave_is_named():
    with pytest.raises(MissingSetting, match="JIESUAN_FRONTEND_KEY_FILE"):
        Settings().sealing_key()


@pytest.mark.parametrize("batch", ["0", "1001", "many"])
def test_a_batch_is_bounded(monkeypatch, batch):
    monkeypatch.setenv("JIESUAN_PREPROCESS_BATCH", batch)

    with pytest.raises(ValidationError, match="preprocess_batch"):
        Settings()


def test_an_unanswered_claim_waits_longer_than_a_sweep_takes_to_come_round():
    assert Settings().sweep_after_seconds > Settings().sweep_every_seconds
