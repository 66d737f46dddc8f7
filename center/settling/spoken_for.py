"""Whom a front-end may speak for (结算点): the institution, or why it is not heard.

It is heard where it serves the institution, once did, or is to (`Institution.has_heard`): so it learns what became of
what it once had settled here. What may be settled anew is decided elsewhere, and is less.
"""

from __future__ import annotations

from typing import Any

import psycopg

from center.backup import epochs
from center.settling import records
from center.settling.records import Institution
from center.settling.well_formed import Refused
from domain.refusals import Refusal


def spoken_for(cursor: psycopg.Cursor[Any], institution_code: str, frontend: str) -> Institution | Refused:
    """The institution the front-end speaks for, closed ones too; else the refusal it is told, which is "later" while
    the centre recovers: what it lacks may be among what was lost."""
    institution: Institution | None = records.institutions(cursor, [institution_code]).get(institution_code)
    if institution is not None and institution.has_heard(frontend):
        return institution
    why = Refusal.INSTITUTION_UNKNOWN if institution is None else Refusal.NOT_SERVED
    return epochs.lacking(epochs.current(cursor), why)
