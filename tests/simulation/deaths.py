"""Where a reader is made to die: at every boundary between the files or tables and the books."""

from __future__ import annotations

from collections.abc import Callable

from tests.support import crashing_door
from tests.support.crashing_door import KILLED

DIED = KILLED
"""The exit status of a reader that died where it was made to."""

READING: dict[str, tuple[str, ...]] = {
    "his": ("lines imported", "before the marks", "in the middle of the marks", "after the marks"),
    "tables": ("rows taken", "lines imported", "before the marks", "one mark of several", "marks not committed"),
}
"""On the way of charge lines in, by role."""
WRITING: dict[str, tuple[str, ...]] = {
    "his": (
        "before the records are written",
        "a record half written",
        "records written and not counted",
        "records written and not noted",
        "records noted",
    ),
    "tables": ("before the rows are put", "rows not committed", "rows written and not noted", "rows noted"),
}
"""On the way of registrations, results and discharges out."""


def arm(role: str, point: str) -> None:
    """Have this process die there, the first time it comes by."""
    if role == "his":
        crashing_door._arm(point, 1)
    else:
        _tables()[point]()


def _tables() -> dict[str, Callable[[], None]]:
    from producers.his.tables.outgoing import Outgoing
    from producers.his.tables.postgres import PostgresTables
    from workers import visits

    def die(owner: object, name: str, *, after: bool) -> Callable[[], None]:
        return lambda: crashing_door._die_at(owner, name, 1, after=after)

    return {
        "rows taken": die(PostgresTables, "_rows_to_take", after=True),
        "lines imported": die(visits, "import_lines", after=True),
        "before the marks": die(PostgresTables, "mark", after=False),
        "one mark of several": die(PostgresTables, "_mark_rows", after=True),
        "marks not committed": die(PostgresTables, "mark", after=True),
        "before the rows are put": die(Outgoing, "_write_together", after=False),
        "rows not committed": die(PostgresTables, "put", after=True),
        "rows written and not noted": die(Outgoing, "_write_together", after=True),
        "rows noted": die(visits, "handed_out", after=True),
    }
