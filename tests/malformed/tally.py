"""What came of a run: how often it was refused by which code, and what went wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """The count of one part."""

    part: str
    asked: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By code."""
    still_good: int = 0
    """What was changed and is a good document all the same."""
    wrong: list[str] = field(default_factory=list)
    """What should not have happened: not handled, accepted against the rules, a row too many, a neighbour harmed."""

    def told(self) -> str:
        """One line for people, then the codes."""
        codes = ", ".join(f"{code} {count:,}" for code, count in self.refused.most_common())
        head = f"{self.part}: {self.refused.total():,} refused, {self.still_good:,} still good, {len(self.wrong)} wrong"
        return f"{head}\n    {codes}"
