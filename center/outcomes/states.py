"""Where a two-phase claim stands, for those who are about to do something else with it."""

from __future__ import annotations

from typing import Any

import psycopg

from center.outcomes import rows
from domain.outcomes import OutcomeState


def state_of(
    cursor: psycopg.Cursor[Any], institution_code: str, visit_no: str, charge_batch_no: int
) -> OutcomeState | None:
    """Where it stands, as noted; a tombstone is `cancelled`; None where there is neither. Ask under the visit's lock.

    It is `prepared` until somebody notes that its time is up.
    """
    key = institution_code, visit_no, charge_batch_no
    row = rows.read(cursor, [key]).get(key)
    return None if row is None else OutcomeState(row.state)
