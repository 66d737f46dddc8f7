"""What a draft would have come to: sums before and after, and the persons it concerns most."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple


@dataclass(slots=True)
class Figures:
    """Sums over settlements in fen, as they were made (before) and under the draft (after)."""

    settlements: int = 0
    total_fen: int = 0
    fund_before_fen: int = 0
    fund_after_fen: int = 0
    person_before_fen: int = 0
    """Accounts included: GRZFJE3."""
    person_after_fen: int = 0
    account_before_fen: int = 0
    account_after_fen: int = 0

    def add(self, one: Figures) -> None:
        """Count another settlement, or many."""
        self.settlements += one.settlements
        self.total_fen += one.total_fen
        self.fund_before_fen += one.fund_before_fen
        self.fund_after_fen += one.fund_after_fen
        self.person_before_fen += one.person_before_fen
        self.person_after_fen += one.person_after_fen
        self.account_before_fen += one.account_before_fen
        self.account_after_fen += one.account_after_fen


class Affected(NamedTuple):
    """A person the draft gives or takes much, by their number at the centre, which is no identity number."""

    person_no: int
    figures: Figures


@dataclass(slots=True)
class Replayed:
    """What a draft would have come to."""

    draft_version: str
    first_day: date
    last_day: date
    all: Figures = field(default_factory=Figures)
    funds: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    """Fund: fen before, fen after."""
    schemes: defaultdict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))
    levels: defaultdict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))
    categories: defaultdict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))
    persons: int = 0
    changed_persons: int = 0
    affected: list[Affected] = field(default_factory=list)
    uncovered: int = 0
    """Settlements the draft has no answer for; they stand as they were made."""
    uncovered_first: list[tuple[int, str]] = field(default_factory=list)
