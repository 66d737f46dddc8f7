"""A book of an institution: its entries, and what they come to by scheme, clearing type and day (3201)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum
from typing import NamedTuple


class Result(StrEnum):
    """How totals compare, in the words of 3201 that tell the two sides apart (stmt_rslt)."""

    EVEN = "0"
    CENTER_MORE = "1"
    INSTITUTION_MORE = "2"
    DIFFERENT = "3"


class Group(NamedTuple):
    """What 3201 asks for one number of."""

    scheme: str
    clearing_type: str
    day: date


class Figures(NamedTuple):
    """Documents and fen of a group, or of an entry."""

    documents: int = 0
    total_fen: int = 0
    fund_pay_fen: int = 0
    account_pay_fen: int = 0
    cash_fen: int = 0

    def plus(self, other: Figures) -> Figures:
        """The sum, number by number."""
        return Figures(*[a + b for a, b in zip(self, other, strict=True)])

    def minus(self, other: Figures) -> Figures:
        """The difference, number by number."""
        return Figures(*[a - b for a, b in zip(self, other, strict=True)])

    def money(self) -> tuple[int, ...]:
        """The amounts, without the number of documents."""
        return self[1:]


class Entry(NamedTuple):
    """One document in a book, in fen. What a book does not say is empty or 0, and differs from nothing."""

    visit_no: str
    charge_batch_no: int
    settlement_no: int
    """0: the book has no answer of the centre for it."""
    contra: bool
    scheme: str
    clearing_type: str
    day: date
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    cash_fen: int
    contra_of: int = 0
    """The settlement number of what a contra takes back."""
    digest: bytes = b""
    """Of the charge lines, where the book knows it."""
    wrong_detail: str = ""
    """What is wrong with the charge lines that came after it, in Chinese; empty if nothing is known to be."""

    def figures(self) -> Figures:
        """One document and its amounts."""
        return Figures(1, *self[7:11])

    def group(self) -> Group:
        """Where it is counted."""
        return Group(*self[4:7])


class Scope(NamedTuple):
    """The days compared. Entries of other days only explain those of these."""

    first: date
    last: date

    def has(self, entry: Entry) -> bool:
        """Whether the entry is counted."""
        return self.first <= entry.day <= self.last


def totals(book: Iterable[Entry], scope: Scope, *, with_refunds: bool = True) -> dict[Group, Figures]:
    """The totals of 3201. Without refunds neither contras count nor what they take back (退费标志 of both is 1)."""
    counted = list(book)
    if not with_refunds:
        taken_back = {entry.contra_of for entry in counted if entry.contra} - {0}
        counted = [entry for entry in counted if not entry.contra and entry.settlement_no not in taken_back]
    sums: dict[Group, list[int]] = {}
    for entry in counted:
        if scope.has(entry):
            of = sums.setdefault(entry.group(), [0, 0, 0, 0, 0])
            of[0] += 1
            for place, amount in enumerate(entry[7:11], 1):
                of[place] += amount
    return {group: Figures(*of) for group, of in sums.items()}


def differences_of(theirs: Mapping[Group, Figures], ours: Mapping[Group, Figures]) -> dict[Group, Figures]:
    """Theirs minus ours by group, those that are not zero."""
    nothing = Figures()
    found = {
        group: theirs.get(group, nothing).minus(ours.get(group, nothing)) for group in sorted(theirs.keys() | ours)
    }
    return {group: figures for group, figures in found.items() if any(figures)}


def result_of(theirs: Figures, ours: Figures) -> Result:
    """How one group's totals compare: who has more in every number that differs, or neither."""
    more = theirs.minus(ours)
    if not any(more):
        return Result.EVEN
    if min(more) >= 0:
        return Result.INSTITUTION_MORE
    return Result.CENTER_MORE if max(more) <= 0 else Result.DIFFERENT


def sum_of(entries: Iterable[Entry], scope: Scope) -> Figures:
    """What these entries come to in the scope."""
    counted = [entry.figures() for entry in entries if scope.has(entry)]
    return Figures(*map(sum, zip(*counted, strict=True))) if counted else Figures()
