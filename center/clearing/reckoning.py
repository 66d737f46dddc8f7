"""Reckoning (结算清算数): what a period comes to as the books are now, or came to when it was closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy import Connection, text

from center.clearing.figures import Figures, Layer
from center.clearing.members import OF_FLOW, STANDING, before, members_of_open, open_days
from center.clearing.sums import compare, ledger_days
from domain.clearing import Flow, withheld


def reckon(connection: Connection, flow: Flow, last_day: date) -> Figures:
    """What a period that ends on the day comes to now. Raises BooksDiffer, NotPayable."""
    held = before(connection, flow, last_day)
    members = members_of_open(connection, flow, last_day, held)
    days, funds, persons = ledger_days(connection, flow, members)
    compare(flow, days, open_days(connection, flow, last_day))
    kept = withheld(funds, share_of(connection, flow, last_day), held_by_layer(connection, flow))
    layers = layers_of(connection, members.items, funds, kept)
    return Figures(flow, members, persons, days, layers, min(held.due_fen, 0))


def share_of(connection: Connection, flow: Flow, last_day: date) -> int:
    """The share that is withheld of a period that ends on the day, in ten-thousandths; 0 where there is no rule."""
    found = connection.execute(
        text(
            "SELECT share_1e4 FROM withheld_rule WHERE institution_code IN ('*', :institution_code)"
            " AND clearing_type IN ('*', :clearing_type) AND since <= :last_day"
            " ORDER BY institution_code <> '*' DESC, clearing_type <> '*' DESC, since DESC, rule_no DESC LIMIT 1"
        ),
        {**flow._asdict(), "last_day": last_day},
    ).scalar()
    return found or 0


def held_by_layer(connection: Connection, flow: Flow) -> dict[str, int]:
    """What is withheld of each layer and not settled by a release."""
    moved = (
        f"SELECT layer, clearing_layer.withheld_fen AS fen FROM clearing_layer"
        f" JOIN ({STANDING}) AS standing USING (clearing_no)"
        f" UNION ALL SELECT layer, -held_fen FROM withheld_release WHERE {OF_FLOW}"
    )
    return _sums_by_layer(connection, moved, flow._asdict())


def layers_of(
    connection: Connection, items: Sequence[int], funds: Mapping[str, int], kept: Mapping[str, int]
) -> tuple[Layer, ...]:
    """The layers in the order of their names; what the items move is added."""
    of_items = {"items": list(items)}
    deducted = _sums_by_layer(
        connection, "SELECT layer, amount_fen AS fen FROM deduction WHERE document_no = ANY(:items)", of_items
    )
    released = _sums_by_layer(
        connection, "SELECT layer, released_fen AS fen FROM withheld_release WHERE document_no = ANY(:items)", of_items
    )
    names = sorted({*funds, *deducted, *released})
    return tuple(
        Layer(name, funds.get(name, 0), kept.get(name, 0), deducted.get(name, 0), released.get(name, 0))
        for name in names
    )


def _sums_by_layer(connection: Connection, rows: str, values: Mapping[str, object]) -> dict[str, int]:
    """Fen by layer over the rows of a query that gives `layer` and `fen`."""
    summed = connection.execute(text(f"SELECT layer, sum(fen) FROM ({rows}) AS row GROUP BY layer"), values)
    return {layer: int(fen) for layer, fen in summed}
