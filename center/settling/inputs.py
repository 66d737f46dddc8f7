"""What a settlement was computed from, kept with it: with these the engine repeats it to the fen, years later.

A person's category, a level of an institution, an accumulator all change; a settlement keeps them as they were when it
was made. The sums of the claim are columns of its row and come back from there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from operator import attrgetter
from typing import NamedTuple

import msgspec

from domain.settlement import Occasion, Person
from domain.totals import GroupTotal, LocalTotals


class Inputs(NamedTuple):
    """The arguments of `domain.benefit.settle`, all but the policy."""

    totals: LocalTotals
    person: Person
    accumulators: dict[str, int]
    """Those the rules may look at and that stood at something, before the settlement moved them."""
    occasion: Occasion


class _PersonRow(NamedTuple):
    """The person as stored. A new field goes last and has a default."""

    scheme: str
    category: str
    account_balance_fen: int
    civil_servant: bool
    rank: str
    groups: frozenset[str]
    age: int | None
    family_balance_fen: int


_person_values = attrgetter(*_PersonRow._fields)
_writer = msgspec.msgpack.Encoder(order="deterministic")
_reader = msgspec.msgpack.Decoder(tuple[_PersonRow, Occasion, tuple[GroupTotal, ...], dict[str, int]])


def packed(
    totals: LocalTotals, person: Person, accumulators: Mapping[str, int], occasion: Occasion, keys: Collection[str]
) -> bytes:
    """The inputs as bytes for `settlement.inputs`; of the accumulators those under `keys` that are not zero."""
    read = {key: amount for key in keys if (amount := accumulators.get(key))}
    return _writer.encode((_person_values(person), occasion, totals.groups, read))


def unpacked(stored: bytes, sums: LocalTotals) -> Inputs:
    """The inputs that were stored; `sums` are the totals as the columns of the row have them.

    Raises msgspec.MsgspecError when `packed` did not write these bytes.
    """
    person, occasion, groups, read = _reader.decode(stored)
    return Inputs(sums._replace(groups=groups), Person(**person._asdict()), read, occasion)
