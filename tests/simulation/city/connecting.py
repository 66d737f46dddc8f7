"""What people at the centre do to connections while claims flow: ways, weights, lanes, suspensions, moves, windows, and
a policy that comes into force at midnight.

Each act is the product's own, in one transaction, as the operators' commands do it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta

from sqlalchemy import Connection, text

from center.backup.progress import progress
from center.policy import publications
from center.serving import beginning, terms
from domain.ways import Way
from tests.simulation.city import town
from tests.support.frontend import POLICY
from tests.support.uploading import WIDE

BY, REASON = "甲", "接入调整"
_DEDUCTIBLE = 'amount = "100.00", per = "year", from = 2020-01-01'

SUSPENDED = "SELECT institution_code FROM institution WHERE NOT active OR suspended <> '' ORDER BY 1"
NARROW = (
    f"SELECT count(*) FROM upload_window WHERE lines_per_hour <> {WIDE['lines_per_hour']} OR NOT active"
    " OR closes <> '23:59:59'"
)
STRANGE = "SELECT count(*) FROM catching_up WHERE strange <> '{}' AND epoch = (SELECT max(epoch) FROM epoch)"
IS_UNDER_WAY = "state NOT IN ('finished', 'aborted')"
UNDER_WAY = f"SELECT count(*) FROM move WHERE {IS_UNDER_WAY}"


def switch_way(connection: Connection, dice: random.Random, at: datetime) -> None:
    """Another way to settle, for what has not left the desk yet."""
    change(connection, dice.choice(town.CODES), {"way": str(dice.choice(list(Way)))}, at)


def change_terms(connection: Connection, dice: random.Random, at: datetime) -> None:
    """A weight, a backlog, a second settle lane, off-line settlement, a suspension or its end."""
    changes: Mapping[str, object] = dice.choice(
        (
            {"weight": dice.choice((1, 10, 100))},
            {"backlog_cap": dice.choice((2, 1000))},
            {"rate_per_second": 1, "burst": dice.choice((1, 5))},
            {"settle_lanes": dice.choice((1, 2))},
            {"way": "local", **town.OFFLINE},
            {"offline": False},
            {"suspended": "停业整顿"},
            {"suspended": ""},
        )
    )
    change(connection, dice.choice(town.CODES), changes, at)


def let_sell_offline(connection: Connection, most_fen: int, at: datetime) -> None:
    """Institutions at both front-ends may settle off-line, up to so much a claim, and an account."""
    for code in town.SELLS_OFFLINE:
        change(connection, code, {"way": "local", **town.OFFLINE, "offline_claim_fen": most_fen}, at)


def move_institution(connection: Connection, dice: random.Random, at: datetime) -> tuple[str, str]:
    """Begin to move an institution to the other front-end; now and then take a move back. Which, and where it is to
    be then."""
    code = dice.choice(town.CODES)
    serving = _open_at(connection, code)
    if len(serving) > 1:
        return code, merge(connection, code, dice.choice(serving), at)
    source = next(iter(serving), "fe1")
    if dice.random() < 0.2:
        beginning.abort(connection, code, by=BY, reason=REASON, at=at)
        return code, source
    beginning.begin(connection, beginning.Wish(code, town.other(source)), by=BY, reason=REASON, at=at)
    return code, town.other(source)


def move_away(connection: Connection, code: str, at: datetime) -> str:
    """Begin to move this institution to the other front-end; where it is to be then."""
    serving = _open_at(connection, code)
    if len(serving) > 1:
        return merge(connection, code, serving[0], at)
    target = town.other(next(iter(serving), "fe1"))
    beginning.begin(connection, beginning.Wish(code, target), by=BY, reason=REASON, at=at)
    return target


def join_or_merge(connection: Connection, dice: random.Random, at: datetime) -> None:
    """Give the very large hospital a second front-end, or take one of its two away."""
    serving = _open_at(connection, town.VERY_LARGE)
    if len(serving) > 1:
        merge(connection, town.VERY_LARGE, dice.choice(serving), at)
    for source in serving[:1] if len(serving) == 1 else ():
        wish = beginning.Wish(town.VERY_LARGE, town.other(source), joins=True)
        beginning.begin(connection, wish, by=BY, reason=REASON, at=at)


def merge(connection: Connection, code: str, source: str, at: datetime) -> str:
    """Take one of two front-ends away from an institution; who goes on serving it."""
    target = town.other(source)
    beginning.begin(connection, beginning.Wish(code, target, source=source), by=BY, reason=REASON, at=at)
    return target


def move_to(connection: Connection, code: str, target: str, at: datetime) -> bool:
    """Move an institution there, if it is not there; whether it is, or is on its way. While another move is under way
    it is for a later look."""
    going = "SELECT target FROM move WHERE institution_code = :code AND " + IS_UNDER_WAY
    under_way = connection.execute(text(going), {"code": code}).scalar()
    if under_way is not None:
        return bool(under_way == target)
    if target not in _open_at(connection, code):
        beginning.begin(connection, beginning.Wish(code, target), by=BY, reason=REASON, at=at)
    return True


def move_again(connection: Connection, at: datetime) -> None:
    """Move to where they settled already what the restored centre does not know to be there: `jiesuan epoch show`."""
    for each in progress(connection).frontends:
        for code in each.strange:
            move_to(connection, code, each.frontend, at)


def _open_at(connection: Connection, code: str) -> Sequence[str]:
    served = (
        "SELECT frontend FROM served_by WHERE institution_code = :code AND until IS NULL AND standing = 'open'"
        " ORDER BY frontend"
    )
    return connection.execute(text(served), {"code": code}).scalars().all()


def change_window(connection: Connection, dice: random.Random, at: datetime) -> None:
    """Another budget; or the window is closed, now or in the next minutes, while files are under way."""
    soon = (at + timedelta(seconds=dice.uniform(1.0, 90.0))).time().replace(microsecond=0)
    active, closes = dice.choice(((True, time(23, 59, 59)), (False, time(23, 59, 59)), (True, soon)))
    statement = "UPDATE upload_window SET lines_per_hour = :lines, active = :active, closes = :closes"
    lines = dice.choice((1, 5, WIDE["lines_per_hour"]))
    connection.execute(text(statement), {"lines": lines, "active": active, "closes": closes})


def publish_policy(connection: Connection, at: datetime) -> None:
    """Publish the city's policy of tomorrow: twice the deductible, and lines split otherwise. It comes into force at
    midnight."""
    tomorrow = at.date() + timedelta(days=1)
    publications.publish(connection, policy_from(tomorrow), effective_date=tomorrow, by=BY, at=at)


def policy_from(day: date) -> str:
    """The policy the city has, and another one from this day on."""
    ended = POLICY.replace(_DEDUCTIBLE, f"{_DEDUCTIBLE}, to = {day - timedelta(days=1)}").rstrip().removesuffix("]")
    added = f"""
  {{ kind = "deductible", scheme = "employee", amount = "200.00", per = "year", from = {day}, src = "TEST" }},
  {{ kind = "line_split", scheme = "any", over_limit = "own_expense", from = {day}, src = "TEST" }},
]
"""
    return (ended + added).replace('src = "TEST"', 'src = "TEST", assumed = true')


def change(connection: Connection, code: str, changes: Mapping[str, object], at: datetime) -> None:
    """Change the terms of an institution. Raises TermsRefused."""
    terms.change(connection, code, changes, by=BY, reason=REASON, at=at)


def reopen(connection: Connection, at: datetime) -> None:
    """Every institution in service and not suspended, the window wide open all day."""
    for code in connection.execute(text(SUSPENDED)).scalars().all():
        change(connection, code, {"active": True, "suspended": ""}, at)
    wide = "UPDATE upload_window SET lines_per_hour = :lines, active = true, opens = '00:00', closes = '23:59:59'"
    connection.execute(text(wide), {"lines": WIDE["lines_per_hour"]})
