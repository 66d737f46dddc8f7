"""The canonical bytes of a claim's lines: what is packed is what is read, and the digest hangs on it."""

from __future__ import annotations

from datetime import date

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from domain.visit import ChargeLine, pack_lines, unpack_lines

LINE = ChargeLine(1, date(2026, 3, 2), "L001", "阿莫西林胶囊", 2, "0.25g*24", "胶囊", 125_000, 200, 2500, "1")

MAYBE = st.none() | st.integers(-(10**12), 10**12)
LINES = st.builds(
    ChargeLine,
    MAYBE,
    st.none() | st.dates(),
    st.text(max_size=8),
    st.text(max_size=8),
    MAYBE,
    st.text(max_size=8),
    st.text(max_size=8),
    MAYBE,
    MAYBE,
    MAYBE,
    st.text(max_size=2),
    st.sampled_from(["", "90", "96"]),
)


@given(st.lists(LINES, max_size=8))
def test_lines_read_as_they_were_packed(lines):
    packed = pack_lines(lines)
    assert unpack_lines(packed) == lines
    assert pack_lines(unpack_lines(packed)) == packed


def test_a_line_without_a_door_code_packs_without_it():
    good, bad = msgpack.unpackb(pack_lines([LINE, LINE._replace(door_code="96")]))
    assert len(good) == len(ChargeLine._fields) - 1
    assert good[1] == "2026-03-02"
    assert bad[-1] == "96"


def test_the_canonical_bytes_never_change():
    assert pack_lines([LINE]).hex() == (
        "919b01aa323032362d30332d3032a44c303031b2e998bfe88eabe8a5bfe69e97e883b6e59b8a02a8302e3235672a3234"
        "a6e883b6e59b8ace0001e848ccc8cd09c4a131"
    )
