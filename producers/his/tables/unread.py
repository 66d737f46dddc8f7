"""Rows that a HIS has written and nobody has read yet: what keeps a visit from being settled (2.2.2.1.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection

from infra.database import reading
from infra.settings import Settings
from producers.his.tables.objects import LINES
from producers.his.tables.place import address_of, open_tables, patrons
from producers.his.tables.shared import SharedTables


class UnreadRows:
    """Counts a visit's unread rows in its institution's shared tables, for `workers.visits.settle_visits`.

    Institutions that do not exchange by tables have none. Raises what the exchange database raises when it is away:
    what cannot be asked is not settled.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, SharedTables] = {}

    def __call__(self, connection: Connection, institution_code: str, visit_no: str) -> int:
        """How many rows of the visit are neither imported nor refused."""
        if not any(patron.institution_code == institution_code for patron in patrons(connection)):
            return 0
        url = address_of(self._settings, institution_code)
        tables = self._open.get(url)
        if tables is None:
            tables = self._open[url] = open_tables(url)
        return unread_rows(tables, [visit_no]).get(visit_no, 0)

    def close(self) -> None:
        """Give the connections back."""
        while self._open:
            self._open.popitem()[1].close()


def unread_rows(tables: SharedTables, visit_nos: Sequence[str]) -> Counter[str]:
    """How many rows of each of the visits are neither imported nor refused, in both tables of lines."""
    found: Counter[str] = Counter()
    with reading(tables.engine) as connection:
        for table in LINES:
            found.update(tables.unread_of(connection, table, visit_nos))
    return found
