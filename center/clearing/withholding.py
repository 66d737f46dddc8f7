"""What is withheld (预留、质量保证金): its share by rule, and its release after the year, as far as it was earned."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Connection, insert, text

from center.clearing.members import OF_FLOW, RELEASE, STANDING
from center.clearing.tables import withheld_release, withheld_rule
from center.ledger import documents
from center.ledger.documents import Document
from center.settling.records import cursor_of
from domain import ledger
from domain.clearing import Flow
from domain.money import RATIO_SCALE, portion

EVERY = "*"


class CannotRelease(Exception):
    """What was withheld cannot be released, or the rule not be set; the message is for the clerk."""


def set_share(
    connection: Connection,
    *,
    institution_code: str,
    clearing_type: str,
    since: date,
    share_1e4: int,
    by: str,
    approved_by: str,
    reason: str,
    at: datetime,
) -> None:
    """Withhold this share of what funds pay, of periods that end on `since` or later; "*" is every one."""
    connection.execute(
        insert(withheld_rule).values(
            institution_code=institution_code,
            clearing_type=clearing_type,
            since=since,
            share_1e4=share_1e4,
            approved_by=approved_by,
            made_by=by,
            made_at=at,
            reason=reason,
        )
    )


def require_share(share_1e4: int) -> None:
    """Raise CannotRelease for what is no share."""
    if not 0 <= share_1e4 <= RATIO_SCALE:
        raise CannotRelease("比例应为 0 至 100%")


def held_in(connection: Connection, flow: Flow, year: int, *, today: date) -> dict[str, int]:
    """What is withheld of each layer in a year that is over and closed, in fen. Raises CannotRelease."""
    values = {**flow._asdict(), "year": year}
    if today.year <= year:
        raise CannotRelease(f"{year} 年还没有结束，预留金不能结清")
    still_open = connection.execute(
        text(
            f"SELECT min(period_no) FROM clearing_period WHERE {OF_FLOW} AND state = 'open'"
            " AND extract(year FROM last_day) <= :year"
        ),
        values,
    ).scalar()
    if still_open is not None:
        raise CannotRelease(f"清算期 {still_open} 还没有关账，{year} 年的预留金不能结清")
    before = connection.execute(
        text(f"SELECT min(document_no) FROM withheld_release WHERE {OF_FLOW} AND year = :year"), values
    ).scalar()
    if before is not None:
        raise CannotRelease(f"{year} 年的预留金已结清（{before}）")
    rows = connection.execute(
        text(
            f"SELECT layer, sum(clearing_layer.withheld_fen)::bigint FROM clearing_layer"
            f" JOIN ({STANDING}) AS standing USING (clearing_no) WHERE extract(year FROM last_day) = :year"
            " GROUP BY layer HAVING sum(clearing_layer.withheld_fen) <> 0 ORDER BY layer"
        ),
        values,
    )
    held = {layer: int(fen) for layer, fen in rows}
    if not held:
        raise CannotRelease(f"{year} 年没有预留金")
    return held


def earned(held: dict[str, int], share_1e4: int) -> dict[str, int]:
    """What of each layer goes to the institution: the share the review found it has earned."""
    return {layer: portion(held_fen, share_1e4) for layer, held_fen in held.items()}


def release(
    connection: Connection,
    flow: Flow,
    year: int,
    share_1e4: int,
    *,
    by: str,
    approved_by: str,
    reason: str,
    at: datetime,
) -> int:
    """Settle what was withheld in a year: the share earned is due with the next clearing, the rest is the funds' again.

    The number of the document. The caller holds the lock of the institution's chain. Raises CannotRelease.
    """
    require_share(share_1e4)
    held = held_in(connection, flow, year, today=at.date())
    paid = earned(held, share_1e4)
    held_fen, paid_fen = sum(held.values()), sum(paid.values())
    number = documents.post(
        cursor_of(connection),
        Document(
            kind=RELEASE,
            **flow._asdict(),
            day=at.date(),
            made_by=by,
            approved_by=approved_by,
            reason=reason,
            amount_fen=paid_fen,
            content={"year": year, "share_1e4": share_1e4, "held": held, "released": paid},
        ),
        [
            (ledger.withheld(*flow), held_fen),
            (ledger.cleared(*flow), -paid_fen),
            *[(ledger.fund(flow.scheme, layer), paid[layer] - held[layer]) for layer in held],
        ],
        at=at,
    )
    connection.execute(
        insert(withheld_release),
        [
            {
                "document_no": number,
                **flow._asdict(),
                "year": year,
                "layer": layer,
                "held_fen": held[layer],
                "released_fen": paid[layer],
            }
            for layer in held
        ],
    )
    return number
