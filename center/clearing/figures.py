"""What a period comes to (清算数), as values."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from domain.clearing import Flow


class Day(NamedTuple):
    """What the settlements of one day add up to; contra settlements count as documents, their amounts are negative."""

    day: date
    documents: int
    contra_documents: int
    total_fen: int
    fund_fen: int
    account_fen: int


class Layer(NamedTuple):
    """What one fund pays of a clearing."""

    layer: str
    fund_fen: int
    withheld_fen: int
    deducted_fen: int
    released_fen: int


class Members(NamedTuple):
    """The settlements of a period, and the other documents it takes up."""

    since_day: date | None
    last_day: date
    late: tuple[int, ...] = ()
    """Settlements of earlier days that belong here."""
    elsewhere: tuple[int, ...] = ()
    """Settlements of these days that belong to a later clearing."""
    items: tuple[int, ...] = ()


class Figures(NamedTuple):
    """What a period comes to."""

    flow: Flow
    members: Members
    persons: int
    days: tuple[Day, ...]
    layers: tuple[Layer, ...]
    carried_in_fen: int
    """Zero, or what the period before left negative."""

    def total(self, name: str) -> int:
        """The sum of a field over the days."""
        return sum(getattr(day, name) for day in self.days)

    @property
    def owed_fen(self) -> int:
        """What the settlements owe the institution: funds and accounts."""
        return self.total("fund_fen") + self.total("account_fen")

    @property
    def withheld_fen(self) -> int:
        """What is kept back of it."""
        return sum(layer.withheld_fen for layer in self.layers)

    @property
    def deducted_fen(self) -> int:
        """What was deducted after review, less what was given back."""
        return sum(layer.deducted_fen for layer in self.layers)

    @property
    def released_fen(self) -> int:
        """What was withheld before and is due now."""
        return sum(layer.released_fen for layer in self.layers)

    @property
    def due_fen(self) -> int:
        """What is to be paid; negative: carried into the next period."""
        return self.owed_fen - self.withheld_fen - self.deducted_fen + self.released_fen + self.carried_in_fen
