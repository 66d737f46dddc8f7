"""Who serves an institution, and how its moves stand, as an operator is shown it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from center.serving.beginning import listed
from center.serving.moves import bundles, facts_of
from center.serving.tables import served_by
from domain.moving import UNDER_WAY, WORDS, MoveState, waits_for
from domain.terms import CONNECTION_WORDS, STANDING_WORDS, Standing
from domain.terms import Connection as Connected


def shown(connection: Connection, institution_code: str) -> dict[str, Any]:
    """The institution's front-ends and its moves, the newest first, in words and for programs."""
    rows = connection.execute(
        select(served_by)
        .where(served_by.c.institution_code == institution_code)
        .order_by(served_by.c.until.is_not(None), served_by.c.part, served_by.c.frontend)
    )
    return {
        "institution_code": institution_code,
        "served_by": [_served(row) for row in rows],
        "moves": [_move(connection, row) for row in listed(connection, institution_code)],
    }


def _served(row: Row[Any]) -> dict[str, Any]:
    return {
        "frontend": row.frontend,
        "connection": row.connection,
        "connection_words": CONNECTION_WORDS[Connected(row.connection)],
        "standing": row.standing,
        "standing_words": STANDING_WORDS[Standing(row.standing)] if row.until is None else "已办结",
        "part": row.part,
        "parts": row.parts,
        "part_words": "" if row.parts == 1 else f"{row.part} / {row.parts}",
        "moved_to": row.moved_to,
        "until": "" if row.until is None else row.until.isoformat(timespec="seconds"),
    }


def _move(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    state = MoveState(row.state)
    visits, claims = bundles(connection, row.move_no)
    left = {
        "笔在途": row.open_claims,
        "条结果待交": row.results_waiting,
        "笔明细待传": row.details_due,
        "次就诊待转": row.visits_behind,
    }
    return {
        "move": row.move_no,
        "source": row.source,
        "target": row.target,
        "kind": row.kind,
        "state": str(state),
        "state_words": WORDS[state],
        "waits_for": waits_for(state, facts_of(connection, row)) if state in UNDER_WAY else "",
        "bundles_taken": row.taken,
        "bundles_kept": row.kept,
        "visits": visits,
        "claims": claims,
        "travelled_words": f"{visits} 次就诊，{claims} 笔费用",
        "left_at_source": {name: count for name, count in left.items() if count is not None},
        "open_words": "，".join(f"{count} {name}" for name, count in left.items() if count)
        if state in UNDER_WAY
        else "",
        "asked_by": row.asked_by,
        "reason": row.reason,
        "begun_at": row.begun_at.isoformat(timespec="seconds"),
        "changed_at": row.changed_at.isoformat(timespec="seconds"),
    }
