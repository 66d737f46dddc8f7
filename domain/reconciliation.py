"""Reconciliation (对账, 3201 and 3202): two or three books of one institution in, every difference out, in one class.

A book is a list of entries, each a settlement or a contra settlement; the institution's own, the centre's, and where
it is known the front-end's. Totals are compared first, per scheme, clearing type and day; where they differ, entries
are paired from the surest to the least sure, and what is not the same in both books is a difference of exactly one
class. A difference is written as institution minus centre. However the books look, the differences add up to the
difference of the totals, group by group: each entry of the scope is in a pair that is equal, or in one difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.day_books import Entry, Figures, Group, Scope, differences_of, sum_of, totals


class Class(StrEnum):
    """What a difference is. Exactly one for each."""

    LOST_ANSWER = "lost-answer"
    SUBMITTED_TWICE = "submitted-twice"
    ONE_SIDED_REFUND = "one-sided-refund"
    AMOUNT = "amount"
    WRONG_CLEARING_TYPE = "wrong-clearing-type"
    DAY_BOUNDARY = "day-boundary"
    CENTER_ONLY = "center-only"
    INSTITUTION_ONLY = "institution-only"
    DETAIL_MISMATCH = "detail-mismatch"


@dataclass(frozen=True, slots=True)
class Difference:
    """Entries of the two books that are not the same, and what that is. Either side may be empty."""

    kind: Class
    institution: tuple[Entry, ...]
    center: tuple[Entry, ...]
    scope: Scope
    is_open: bool = True
    """False: what one book has too much it has taken back itself, so nothing is left to repair."""

    def sides(self) -> tuple[Figures, Figures]:
        """The institution's figures and the centre's, as far as they are counted in the scope."""
        return sum_of(self.institution, self.scope), sum_of(self.center, self.scope)

    def figures(self) -> Figures:
        """Institution minus centre."""
        theirs, ours = self.sides()
        return theirs.minus(ours)

    def by_group(self) -> dict[Group, Figures]:
        """Institution minus centre, where it is counted; a wrong clearing type is in two groups."""
        return differences_of(totals(self.institution, self.scope), totals(self.center, self.scope))

    def subject(self) -> Entry:
        """The entry it is named for: the centre's, or else the institution's."""
        return (self.center or self.institution)[0]


def classify(
    institution: Iterable[Entry], center: Iterable[Entry], *, scope: Scope, frontend: Iterable[Entry] | None = None
) -> list[Difference]:
    """Every difference of the scope, each in its one class, in the order of the visits; none where the books agree.

    Both books may hold entries of days around the scope, and the centre's should hold the contras of what it has in
    it: they tell a day boundary from a loss. `frontend` is the third book; without it nobody knows of an answer that
    was lost, and what the centre has alone is called that. The order of the entries does not matter.
    """
    theirs, ours = sorted(institution), sorted(center)
    pairing = _Pairing(theirs, ours)
    found = [
        Difference(kind, (i,), (c,), scope)
        for i, c in pairing.pairs()
        for kind in [class_of_pair(i, c)]
        if kind is not None and (scope.has(i) or scope.has(c))
    ]
    known = None if frontend is None else {_key(entry) for entry in frontend}
    lone = _Lone(pairing.left_theirs(), theirs, lambda _: Class.INSTITUTION_ONLY)
    found += [Difference(kind, of, (), scope, is_open) for kind, of, is_open in lone.differences(scope)]
    lone = _Lone(pairing.left_ours(), ours, lambda entry: _of_center_only(entry, known))
    found += [Difference(kind, (), of, scope, is_open) for kind, of, is_open in lone.differences(scope)]
    return sorted(found, key=lambda each: (each.subject(), each.kind, len(each.center)))


def class_of_pair(theirs: Entry, ours: Entry) -> Class | None:
    """What differs in two entries for one document, the gravest first; None when nothing does.

    A settlement is taken back once: two contras of it are the same, whatever number the institution gave its own.
    """
    same_contra = theirs.contra and theirs.contra_of != 0 and theirs.contra_of == ours.contra_of
    if theirs.settlement_no == 0 and theirs.total_fen == ours.total_fen and not same_contra:
        return Class.LOST_ANSWER
    if theirs[7:11] != ours[7:11]:
        return Class.AMOUNT
    if theirs[4:6] != ours[4:6]:
        return Class.WRONG_CLEARING_TYPE
    if theirs.day != ours.day:
        return Class.DAY_BOUNDARY
    if theirs[1:3] != ours[1:3] and not same_contra:
        return Class.LOST_ANSWER
    return Class.DETAIL_MISMATCH if ours.wrong_detail else None


def _key(entry: Entry) -> tuple[str, int, bool]:
    return entry.visit_no, entry.charge_batch_no, entry.contra


def _of_center_only(entry: Entry, known: set[tuple[str, int, bool]] | None) -> Class:
    return Class.LOST_ANSWER if known is not None and _key(entry) in known else Class.CENTER_ONLY


_PASSES: tuple[Callable[[Entry], Hashable | None], ...] = (
    lambda entry: entry[:12],
    lambda entry: (entry.settlement_no, entry.visit_no, entry.contra) if entry.settlement_no else None,
    lambda entry: _key(entry) if entry.charge_batch_no else None,
    lambda entry: (entry.visit_no, entry.contra_of) if entry.contra and entry.contra_of else None,
    lambda entry: (entry.visit_no, entry.contra, entry.total_fen),
)
"""By what entries of two books are the same document, the surest first. The last is for an institution's entry that
says neither number nor batch."""
_BY_AMOUNT = len(_PASSES) - 1


class _Pairing:
    """Which entry of one book is which of the other; each is in at most one pair."""

    def __init__(self, theirs: Sequence[Entry], ours: Sequence[Entry]) -> None:
        self._theirs, self._ours = theirs, ours
        self._ours_of: dict[int, int] = {}
        left_theirs, left_ours = list(range(len(theirs))), list(range(len(ours)))
        for number, key_of in enumerate(_PASSES):
            waiting: dict[Hashable, list[int]] = defaultdict(list)
            for place in reversed(left_ours):
                key = key_of(ours[place])
                if key is not None:
                    waiting[key].append(place)
            for place in left_theirs:
                entry = theirs[place]
                if number == _BY_AMOUNT and (entry.settlement_no or entry.charge_batch_no):
                    continue
                found = waiting.get(key_of(entry)) if (key_of(entry)) is not None else None
                if found:
                    self._ours_of[place] = found.pop()
            taken = set(self._ours_of.values())
            left_theirs = [place for place in left_theirs if place not in self._ours_of]
            left_ours = [place for place in left_ours if place not in taken]
            if not left_theirs or not left_ours:
                break
        self._left_theirs, self._left_ours = left_theirs, left_ours

    def pairs(self) -> Iterator[tuple[Entry, Entry]]:
        """The institution's and the centre's entry of each document both have."""
        for place, other in self._ours_of.items():
            yield self._theirs[place], self._ours[other]

    def left_theirs(self) -> list[int]:
        """The places of what only the institution has."""
        return self._left_theirs

    def left_ours(self) -> list[int]:
        """The places of what only the centre has."""
        return self._left_ours


class _Lone:
    """What one book has and the other lacks, seen among all of its own book."""

    def __init__(self, places: Sequence[int], book: Sequence[Entry], otherwise: Callable[[Entry], Class]) -> None:
        self._places, self._book, self._otherwise = places, book, otherwise
        places_of = reversed(list(enumerate(book)))
        self._contra_of = {entry.contra_of: place for place, entry in places_of if entry.contra}
        self._of_visit: dict[str, list[int]] = defaultdict(list)
        visits = {book[place].visit_no for place in places}
        for place, entry in enumerate(book):
            if entry.visit_no in visits:
                self._of_visit[entry.visit_no].append(place)

    def differences(self, scope: Scope) -> Iterator[tuple[Class, tuple[Entry, ...], bool]]:
        """The class, the entries (one, or one and the contra that takes it back), and whether it is open."""
        lone = set(self._places)
        joined: set[int] = set()
        for place in self._places:
            entry = self._book[place]
            if entry.contra:
                continue
            contra = self._contra_of.get(entry.settlement_no) if entry.settlement_no else None
            of = [entry]
            if contra is not None and contra in lone and contra not in joined:
                joined.add(contra)
                of.append(self._book[contra])
            if any(map(scope.has, of)):
                yield self._class(place, lone), tuple(of), any(sum(amounts) for amounts in _columns(of))
        for place in self._places:
            entry = self._book[place]
            if entry.contra and place not in joined and scope.has(entry):
                kind = Class.SUBMITTED_TWICE if self._has_twin(place, lone) else Class.ONE_SIDED_REFUND
                yield kind, (entry,), True

    def _class(self, place: int, lone: set[int]) -> Class:
        return Class.SUBMITTED_TWICE if self._has_twin(place, lone) else self._otherwise(self._book[place])

    def _has_twin(self, place: int, lone: set[int]) -> bool:
        """Whether its book has the same once more: one the other book has too, or an earlier one it lacks."""
        entry = self._book[place]
        return any(
            _are_twins(entry, self._book[other]) and self._stands(other) and (other not in lone or other < place)
            for other in self._of_visit[entry.visit_no]
            if other != place
        )

    def _stands(self, place: int) -> bool:
        number = self._book[place].settlement_no
        return not number or number not in self._contra_of


def _columns(entries: Sequence[Entry]) -> Iterator[tuple[int, ...]]:
    return zip(*[entry[7:11] for entry in entries], strict=True)


def _are_twins(one: Entry, other: Entry) -> bool:
    """Whether two entries of one visit in one book are the same document twice.

    By number or batch; settled twice under two batches they have the same lines, or, where no lines are known, the
    same total. The funds may differ: the second time the deductible was spent.
    """
    if one.contra != other.contra:
        return False
    if one.settlement_no and one.settlement_no == other.settlement_no:
        return True
    if one.charge_batch_no and one.charge_batch_no == other.charge_batch_no:
        return True
    if one.contra:
        return one.contra_of != 0 and one.contra_of == other.contra_of
    same_lines = one.digest == other.digest if one.digest and other.digest else True
    return one.total_fen == other.total_fen and same_lines
