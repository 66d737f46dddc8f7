"""What the check of a policy file finds: errors, with which nobody may settle, and warnings for the office."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from domain.policy.facts import Case, PolicySet
from domain.policy.places import Path

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found, in Chinese for the person who keeps the file, with the case that shows it."""

    severity: str
    code: str
    words: str
    facts: tuple[int, ...] = ()
    """Numbers of the facts it is about, from 1."""
    line: int | None = None
    """Of the first of these facts, or of the table it is about."""
    case: Case | None = None
    bills_fen: tuple[int, ...] = ()
    """Amounts in scope that show it."""

    def placed(self, lines: Mapping[Path, int]) -> Finding:
        """The finding with the line of the first fact it names."""
        if self.line is not None or not self.facts:
            return self
        return replace(self, line=lines.get(("policy", "facts", self.facts[0] - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings on one file. `policy` is there only when nothing is an error: nothing is partly loaded."""

    findings: tuple[Finding, ...]
    policy: PolicySet | None

    @property
    def errors(self) -> list[Finding]:
        return [each for each in self.findings if each.severity == ERROR]

    @property
    def warnings(self) -> list[Finding]:
        return [each for each in self.findings if each.severity == WARNING]


def error(code: str, words: str, *facts: int, case: Case | None = None, line: int | None = None) -> Finding:
    """An error."""
    return Finding(severity=ERROR, code=code, words=words, facts=facts, case=case, line=line)


def warning(code: str, words: str, *facts: int, case: Case | None = None, line: int | None = None) -> Finding:
    """A warning."""
    return Finding(severity=WARNING, code=code, words=words, facts=facts, case=case, line=line)
