"""What a check has looked at, level by level, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from center.conservation.findings import LEVEL_WORDS, Finding, Level
from domain.money import yuan


@dataclass(slots=True)
class Checked:
    """How many things of a level were looked at, and what they come to in fen."""

    count: int = 0
    sum_fen: int = 0


@dataclass(slots=True)
class Report:
    """A check: what was looked at, what is broken, what of it is frozen now and was not before."""

    way: str
    """new: what came since the last check; all: everything from nothing."""
    levels: dict[Level, Checked] = field(default_factory=lambda: {level: Checked() for level in Level})
    findings: list[Finding] = field(default_factory=list)
    newly_frozen: int = 0
    accepted: int = 0
    """Findings that two persons have released as they are: said, and no reason to fail."""
    links: int = 0
    snapshots: int = 0

    def looked_at(self, level: Level, count: int, sum_fen: int = 0) -> None:
        """Count what was looked at."""
        checked = self.levels[level]
        checked.count += count
        checked.sum_fen += sum_fen

    @property
    def documents(self) -> int:
        """How many documents were looked at."""
        return self.levels[Level.DOCUMENT].count

    @property
    def holds(self) -> bool:
        """Whether every sum holds, or is released as it is."""
        return len(self.findings) <= self.accepted

    def as_document(self) -> dict[str, Any]:
        """For programs: amounts in yuan with two decimals."""
        return {
            "way": self.way,
            "holds": self.holds,
            "levels": [
                {
                    "level": str(level),
                    "checked": checked.count,
                    "sum": yuan(checked.sum_fen),
                    "broken": self.broken(level),
                }
                for level, checked in self.levels.items()
            ],
            "findings": [as_document(finding) for finding in self.findings],
            "accepted": self.accepted,
            "newly_frozen": self.newly_frozen,
            "links": self.links,
        }

    def broken(self, level: Level) -> int:
        """How many findings there are at a level."""
        return sum(1 for finding in self.findings if finding.level is level)

    def rows(self) -> list[list[str]]:
        """For people: level, how many, sum in yuan, broken."""
        return [
            [LEVEL_WORDS[level], str(checked.count), yuan(checked.sum_fen), str(self.broken(level))]
            for level, checked in self.levels.items()
        ]


def as_document(finding: Finding) -> dict[str, Any]:
    """A finding for programs; figures in fen, or numbers of things where the code counts them."""
    return {
        "level": str(finding.level),
        "code": finding.code,
        "institution_code": finding.flow.institution_code,
        "scheme": finding.flow.scheme,
        "clearing_type": finding.flow.clearing_type,
        "document_no": finding.document_no,
        "day": None if finding.day is None else finding.day.isoformat(),
        "subject": finding.subject,
        "expected": finding.expected_fen,
        "found": finding.found_fen,
        "words": finding.why,
    }
