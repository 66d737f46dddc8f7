"""The archive: what is read is what was written, or it is said why not; a file is whole or it is not there."""

from __future__ import annotations

import random

import pytest

from center.backup.snapshot import Checking
from infra import archive
from infra.archive import BadArchive, Writing, records

SECRET = b"\x07" * 32
ROWS = b"".join(b"%d\t\\N\tabc\n" % number for number in range(2_000))


@pytest.fixture
def small_frames(monkeypatch):
    monkeypatch.setattr(archive, "FRAME_BYTES", 512)


def manifest(count, digest):
    return {
        "revision": "r0010",
        "taken_at": "2026-03-02T09:30:00+08:00",
        "epoch": 1,
        "tables": {"claim": [count, digest]},
        "sequences": {"settlement_no_seq": 7},
        "heads": {"440100000001": [3, "ab"]},
    }


def written(file, *, rows=ROWS, count=2_000, digest=None):
    from hashlib import sha256

    with Writing(file, SECRET) as writing:
        writing.add("table", "claim", ["a", "b", "c"])
        writing.add("rows", rows)
        writing.add("end", "claim")
        return writing.finish(manifest(count, digest or sha256(rows).hexdigest()))


def read(file, secret=SECRET):
    checking = Checking()
    found = list(checking.passed(records(file, secret)))
    return found, checking.manifest


def test_what_was_written_is_read(tmp_path, small_frames):
    digest = written(tmp_path / "a")

    found, said = read(tmp_path / "a")

    assert found[0] == ("table", "claim", ("a", "b", "c"))
    assert b"".join(record[1] for record in found if record[0] == "rows") == ROWS
    assert (said.digest, said.rows, said.heads) == (digest, 2_000, {"440100000001": (3, "ab")})
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert b"abc" not in (tmp_path / "a").read_bytes()


def test_another_centre_does_not_read_it(tmp_path):
    written(tmp_path / "a")
    with pytest.raises(BadArchive, match="密钥不同"):
        read(tmp_path / "a", b"\x08" * 32)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"jiesuan backup 2\n" + bytes(64)], ids=["empty", "a zip", "a later format"]
)
def test_another_file_is_none(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BadArchive, match="不是本系统的备份文件"):
        read(tmp_path / "a")


def test_it_is_refused_wherever_it_is_cut_off(tmp_path, small_frames):
    written(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(BadArchive):
            read(tmp_path / "cut")


def test_it_is_refused_whichever_bit_is_flipped(tmp_path, small_frames):
    written(tmp_path / "a")
    whole = bytearray((tmp_path / "a").read_bytes())
    dice = random.Random(1)
    for _ in range(200):
        place, bit = dice.randrange(len(whole)), 1 << dice.randrange(8)
        whole[place] ^= bit
        (tmp_path / "bad").write_bytes(whole)
        with pytest.raises(BadArchive):
            read(tmp_path / "bad")
        whole[place] ^= bit


def test_frames_that_change_places_or_come_from_another_file_do_not_open(tmp_path, small_frames):
    written(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    begin = len(archive.MAGIC) + archive.SALT_BYTES
    size = 4 + 512 + 16
    first, second = whole[begin : begin + size], whole[begin + size : begin + 2 * size]
    (tmp_path / "b").write_bytes(whole[:begin] + second + first + whole[begin + 2 * size :])
    with pytest.raises(BadArchive):
        read(tmp_path / "b")
    (tmp_path / "b").write_bytes(whole[: begin + size] + whole[begin + 2 * size :])
    with pytest.raises(BadArchive):
        read(tmp_path / "b")
    (tmp_path / "b").write_bytes(whole + second)
    with pytest.raises(BadArchive, match="多余"):
        read(tmp_path / "b")


@pytest.mark.parametrize("wrong", [{"count": 1_999}, {"digest": "00"}], ids=["rows", "digest"])
def test_a_manifest_that_does_not_fit_its_tables_is_refused(tmp_path, wrong):
    written(tmp_path / "a", **wrong)
    with pytest.raises(BadArchive, match="清单不符"):
        read(tmp_path / "a")


def test_a_writing_that_fails_leaves_nothing_and_what_was_there(tmp_path):
    written(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()

    with pytest.raises(RuntimeError), Writing(tmp_path / "a", SECRET) as writing:
        writing.add("table", "claim", [])
        raise RuntimeError

    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before
