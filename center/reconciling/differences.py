"""The differences of an institution-day: opened once, kept while they last, closed when they are found no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from center.reconciling.entries import Book
from center.reconciling.tables import EXPLAINED, GONE, OPEN, ORDERED, REPAIRED, STILL_OPEN, difference
from domain.reconciliation import Class, Difference
from domain.repairs import effect_in_words, in_words, proposed

ROWS_AT_ONCE = 1000


class Found(NamedTuple):
    """A difference as it is kept; the columns of `difference` in their order."""

    difference_no: int
    institution_code: str
    day: date
    kind: str
    visit_no: str
    charge_batch_no: int
    settlement_no: int
    contra: bool
    side: str
    place: int
    institution_figures: list[int]
    center_figures: list[int]
    difference_fen: int
    words: str
    repair: str
    effect: str
    state: str
    found_at: datetime
    closed_at: datetime | None
    proposal_no: int | None
    document_no: int | None
    outcome: str

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done about it."""
        return self.state in STILL_OPEN


_KEY = ("kind", "visit_no", "charge_batch_no", "settlement_no", "contra", "side", "place")
_CONTENT = ("institution_figures", "center_figures", "difference_fen", "words", "repair", "effect")
_NO_MONEY = (Class.DAY_BOUNDARY, Class.WRONG_CLEARING_TYPE)


def record(connection: Connection, book: Book, found: Iterable[Difference], *, at: datetime) -> int:
    """Bring the differences of the day to what a comparison found; how many that are.

    One that is found again keeps its number and its state; one that was repaired and is back is open again; an open
    one that is not found is gone, or repaired if that had been ordered.
    """
    before = {_key(row): row for row in of_day(connection, book.institution_code, book.day)}
    documents = {row.document_no for row in before.values()} - {None}
    seen: set[tuple[Any, ...]] = set()
    adding: list[dict[str, Any]] = []
    places: dict[tuple[Any, ...], int] = defaultdict(int)
    count = 0
    for each in found:
        count += 1
        row = _row(book, each, at)
        row["place"] = places[tuple(row[name] for name in _KEY if name != "place")]
        places[tuple(row[name] for name in _KEY if name != "place")] += 1
        key = tuple(row[name] for name in _KEY)
        seen.add(key)
        explained = not each.is_open or (each.kind is Class.DAY_BOUNDARY and each.subject().settlement_no in documents)
        known = before.get(key)
        if known is None:
            state = EXPLAINED if explained else OPEN
            adding.append(row | {"state": state, "closed_at": at if explained else None})
        else:
            _keep(connection, known, row, explained=explained, at=at)
        if len(adding) == ROWS_AT_ONCE:
            connection.execute(insert(difference), adding)
            adding = []
    if adding:
        connection.execute(insert(difference), adding)
    _close(connection, [row for key, row in before.items() if key not in seen and row.is_open], at)
    return count


def of_day(connection: Connection, institution_code: str, day: date) -> list[Found]:
    """Every difference ever found of the day, in the order they were found."""
    query = select(difference).where(difference.c.institution_code == institution_code, difference.c.day == day)
    return [Found(*row) for row in connection.execute(query.order_by(difference.c.difference_no))]


def listed(
    connection: Connection, *, institution_code: str = "", day: date | None = None, everything: bool = False
) -> list[Found]:
    """The open differences, or all of them, in the order they were found."""
    columns = difference.c
    query = select(difference).order_by(columns.difference_no)
    if institution_code:
        query = query.where(columns.institution_code == institution_code)
    if day is not None:
        query = query.where(columns.day == day)
    if not everything:
        query = query.where(columns.closed_at.is_(None))
    return [Found(*row) for row in connection.execute(query)]


def find(connection: Connection, difference_no: int, *, lock: bool = False) -> Found | None:
    """The difference under this number."""
    query = select(difference).where(difference.c.difference_no == difference_no)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else Found(*row)


def are_open(connection: Connection, institution_code: str, day: date) -> bool:
    """Whether any difference of the day is open."""
    columns = difference.c
    query = select(columns.difference_no).where(
        columns.institution_code == institution_code, columns.day == day, columns.closed_at.is_(None)
    )
    return connection.execute(query.limit(1)).first() is not None


def settle(connection: Connection, difference_no: int, state: str, *, at: datetime, **values: Any) -> None:
    """Write what was done about a difference: its state, and the proposal, document or outcome it came to."""
    closed = None if state in STILL_OPEN else at
    connection.execute(
        update(difference)
        .where(difference.c.difference_no == difference_no)
        .values(state=state, closed_at=closed, **values)
    )


def _keep(connection: Connection, known: Found, row: dict[str, Any], *, explained: bool, at: datetime) -> None:
    values = {name: row[name] for name in _CONTENT if _as_list(getattr(known, name)) != _as_list(row[name])}
    state = known.state
    if explained and known.is_open:
        state = REPAIRED if known.document_no is not None else EXPLAINED
    elif not explained and not known.is_open and not (state == EXPLAINED and _is_as_noted(known, values)):
        state = OPEN
        values |= {"proposal_no": None, "found_at": at}
    if state != known.state:
        values |= {"state": state, "closed_at": None if state in STILL_OPEN else at}
    if values:
        connection.execute(update(difference).where(difference.c.difference_no == known.difference_no).values(**values))


def _is_as_noted(known: Found, changed: Mapping[str, Any]) -> bool:
    """Whether what was explained is what it was: no money is concerned, or a note was written of these figures."""
    if known.kind in _NO_MONEY:
        return True
    return known.document_no is not None and not changed.keys() & {"institution_figures", "center_figures"}


def _as_list(value: Any) -> Any:
    """An array as the driver gives it."""
    return list(value) if isinstance(value, tuple) else value


def _close(connection: Connection, rows: Sequence[Found], at: datetime) -> None:
    for state, numbers in (
        (REPAIRED, [row.difference_no for row in rows if row.state == ORDERED]),
        (GONE, [row.difference_no for row in rows if row.state != ORDERED]),
    ):
        if numbers:
            connection.execute(
                update(difference).where(difference.c.difference_no.in_(numbers)).values(state=state, closed_at=at)
            )


def _key(row: Found) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in _KEY)


def _row(book: Book, each: Difference, at: datetime) -> dict[str, Any]:
    subject = each.subject()
    theirs, ours = each.sides()
    repair, effect = proposed(each)
    return {
        "institution_code": book.institution_code,
        "day": book.day,
        "kind": str(each.kind),
        "visit_no": subject.visit_no,
        "charge_batch_no": subject.charge_batch_no,
        "settlement_no": subject.settlement_no,
        "contra": subject.contra,
        "side": "both" if each.institution and each.center else "center" if each.center else "institution",
        "institution_figures": list(theirs),
        "center_figures": list(ours),
        "difference_fen": theirs.total_fen - ours.total_fen,
        "words": in_words(each),
        "repair": str(repair),
        "effect": effect_in_words(effect),
        "found_at": at,
    }
