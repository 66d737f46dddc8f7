"""Every published version of the policy: lines are split, and detail is proved, by the one their totals came from."""

from __future__ import annotations

from collections import OrderedDict

from sqlalchemy import Connection, select

from center.tables import reference
from domain.policy import PolicyBook
from domain.policy.reading import parse
from infra.reference import POLICY, joined

BOOKS_KEPT = 8


class PolicyShelf:
    """Keeps the policy books used last, by the versions of their sets; a published set never changes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, PolicyBook] = OrderedDict()

    def book(self, connection: Connection, version: str) -> PolicyBook | None:
        """The book of these versions ("a+b"), in force or not; None when one of its sets was never published here."""
        if not version.isprintable():
            return None
        if version not in self._kept:
            wanted = version.split("+")
            rows = connection.execute(
                select(reference.c.version, reference.c.content)
                .where(reference.c.kind == POLICY, reference.c.version.in_(wanted))
                .order_by(reference.c.version)
            ).all()
            if joined(row.version for row in rows) != version:
                return None
            self._kept[version] = PolicyBook([parse(row.content.decode()) for row in rows])
        self._kept.move_to_end(version)
        while len(self._kept) > BOOKS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[version]
