"""Proposals for matches: for an institution's own items, the centre items whose names are most alike. People decide."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from domain.catalogue_records import ItemRecord

MOST_CANDIDATES = 3
LEAST_LIKENESS = 0.35
_NOISE = re.compile(r"[\s（）()【】\[\]*＊·\-—、,，.。]")


class Candidate(NamedTuple):
    """A centre item, and how alike the names are: 1.0 is the same name."""

    item: ItemRecord
    likeness: float


class Proposals:
    """Finds centre items by pairs of neighbouring characters that two names share (Dice's measure)."""

    def __init__(self, items: Iterable[ItemRecord]) -> None:
        self._items: list[tuple[ItemRecord, frozenset[str]]] = []
        self._with_pair: dict[str, list[int]] = defaultdict(list)
        for item in items:
            pairs = _pairs(item.item_name)
            for pair in pairs:
                self._with_pair[pair].append(len(self._items))
            self._items.append((item, pairs))

    def for_name(self, name: str, *, dosage_form: str = "", match_type: str = "") -> Sequence[Candidate]:
        """The most alike items, best first; an equal dosage form counts a little, another type of item not at all."""
        pairs = _pairs(name)
        shared: dict[int, int] = defaultdict(int)
        for pair in pairs:
            for place in self._with_pair.get(pair, ()):
                shared[place] += 1
        found = []
        for place, count in shared.items():
            item, own = self._items[place]
            if match_type and item.match_type != match_type:
                continue
            likeness = 2 * count / (len(pairs) + len(own))
            if dosage_form and dosage_form == item.dosage_form:
                likeness = min(1.0, likeness + 0.1)
            if likeness >= LEAST_LIKENESS:
                found.append(Candidate(item, round(likeness, 2)))
        return sorted(found, key=lambda one: (-one.likeness, one.item.item_code))[:MOST_CANDIDATES]


def _pairs(name: str) -> frozenset[str]:
    plain = f"^{_NOISE.sub('', name)}$"
    return frozenset(plain[place : place + 2] for place in range(len(plain) - 1))
