"""Whether a folder changed: told by the kernel where it can, taken for granted where it cannot."""

import pytest

from producers.his import changes
from producers.his.changes import Changes


@pytest.fixture(autouse=True)
def at_any_time(monkeypatch):
    """A folder that nobody tells of is looked at whenever somebody asks."""
    monkeypatch.setattr(changes, "LOOK_EVERY_SECONDS", 0.0)


def asked(watch, folder):
    return watch.changed(folder), watch.changed(folder)


def test_a_folder_is_looked_at_once_and_then_only_when_something_happened(tmp_path):
    watch = Changes()
    assert asked(watch, tmp_path) == (True, False)
    (tmp_path / "MZXM0302.DBF").write_bytes(b"1")
    assert asked(watch, tmp_path) == (True, False)
    with (tmp_path / "MZXM0302.DBF").open("ab") as file:
        file.write(b"2")
    assert asked(watch, tmp_path) == (True, False)
    (tmp_path / "MZXM0302.DBF").rename(tmp_path / "MZXM0303.DBF")
    assert asked(watch, tmp_path) == (True, False)
    watch.close()


def test_folders_are_told_apart(tmp_path):
    watch, one, two = Changes(), tmp_path / "1", tmp_path / "2"
    for folder in (one, two):
        folder.mkdir()
        watch.changed(folder)
    (two / "a").touch()
    assert (watch.changed(one), watch.changed(two)) == (False, True)
    watch.close()


def test_a_folder_that_went_away_counts_as_changed_until_it_is_back(tmp_path):
    watch, folder = Changes(), tmp_path / "1"
    folder.mkdir()
    assert asked(watch, folder) == (True, False)
    folder.rmdir()
    assert [watch.changed(folder) for _ in range(3)] == [True] * 3
    folder.mkdir()
    assert asked(watch, folder) == (True, False)
    watch.close()


def test_what_another_machine_writes_is_not_told_so_a_share_is_always_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(changes, "_is_on_a_network", lambda folder: True)
    watch = Changes()
    assert asked(watch, tmp_path) == (True, True)
    watch.close()


def test_without_a_kernel_that_tells_every_look_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(Changes, "_open", lambda self: -1)
    watch = Changes()
    assert asked(watch, tmp_path) == (True, True)
    watch.forget(tmp_path)
    watch.close()


def test_a_share_is_looked_at_now_and_then_and_not_at_every_question(tmp_path, monkeypatch):
    monkeypatch.setattr(changes, "_is_on_a_network", lambda folder: True)
    monkeypatch.setattr(changes, "LOOK_EVERY_SECONDS", 60.0)
    watch = Changes()
    assert asked(watch, tmp_path) == (True, False)
    watch.close()


def test_a_forgotten_folder_is_watched_anew(tmp_path):
    watch = Changes()
    watch.changed(tmp_path)
    watch.forget(tmp_path)
    assert asked(watch, tmp_path) == (True, False)
    watch.close()


def test_the_file_system_of_a_folder_is_that_of_its_longest_mount(tmp_path):
    assert changes._is_on_a_network(tmp_path) is False
