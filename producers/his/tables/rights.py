"""Who may do what to which shared table: the permission tables of 2.2.2.2 to 2.2.4, and what was decided about them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from io import StringIO

from producers.his.fields import layout


class Actor(StrEnum):
    """The two systems the permission tables speak of, as the file names them."""

    HIS = "his"
    INSURANCE = "insurance_system"


class Action(StrEnum):
    """What can be done to a table; in capitals it is the SQL of it."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    SELECT = "select"


@dataclass(frozen=True, slots=True)
class Right:
    """What one system may do to one table; an update touches at most `columns`."""

    table: str
    actor: Actor
    actions: frozenset[Action]
    columns: tuple[str, ...]

    def forbids(self, action: Action) -> bool:
        """Whether the whole action is forbidden."""
        return action not in self.actions


FLOW_TWO_NEEDS = {("HIS_MZXM", Actor.INSURANCE): ("BZ1", "BZ2", "BZ3", "DRBZ")}
"""AMB-33: in flow two the insurance system writes the save time and the result code, as in HIS_CFXM."""


def right_of(table: str, actor: Actor) -> Right:
    """The right of one system to one table or view."""
    return _rights()[table, actor]


def rights() -> list[Right]:
    """Every right, in the order of the file."""
    return list(_rights().values())


@cache
def _rights() -> dict[tuple[str, Actor], Right]:
    printed = files("producers.his").joinpath("data/permissions.csv").read_text(encoding="utf-8")
    found = [_right(row) for row in csv.DictReader(StringIO(printed))]
    return {(right.table, right.actor): right for right in found}


def _right(row: dict[str, str]) -> Right:
    table, actor = row["table"], Actor(row["system_en"])
    actions = frozenset(action for action in Action if row[action] == "yes")
    if Action.UPDATE not in actions:
        columns: tuple[str, ...] = ()
    elif row["updatable_columns"] == "*":
        columns = layout(table).codes
    else:
        columns = tuple(row["updatable_columns"].split(";"))
    return Right(table, actor, actions, FLOW_TWO_NEEDS.get((table, actor), columns))
