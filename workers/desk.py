"""The desk: takes an institution's accepted claims, checks every line, adds up local totals, notes the outcome."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Integer, bindparam, insert, select, update

from domain.checks import CheckedLines, check_lines
from domain.entitlement import Entitlement
from domain.lifecycle import ClaimState
from domain.messages import ClaimTotals
from domain.occasion import policy_day
from domain.outcomes import Phase
from domain.policy import PolicyBook, scheme_of
from domain.policy.facts import NoPolicyInForce
from domain.refusals import Refusal
from domain.totals import PLAIN, LineRules, total_up
from domain.visit import ChargeLine, Visit, unpack_lines
from infra.codec import pack, unpack
from infra.database import execute_many, reading
from infra.reference import ReferenceShelf
from workers import line_warnings, local
from workers.entitlement import LOCAL, leases
from workers.local import LocalCounter
from workers.tables import IS_OPEN, claim, claim_content, verdict
from workers.visits import reopen
from workers.visits.rows import CHANNEL as REGISTERED

log = logging.getLogger("desk")

Moved = list[dict[str, Any]]
"""Claims on their way to another state: their ids, and what the step writes."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn at the desk came to: the visits it took, totals to send, claims gone back, whether more wait."""

    visits: Sequence[str]
    totals: Sequence[ClaimTotals]
    returned: int
    more: bool
    policy_version: str
    catalogue_version: str
    prepares: Sequence[ClaimTotals] = ()
    """Totals to be prepared at the centre, not settled yet."""
    unleased: Sequence[str] = ()
    """Persons whom we would have settled for ourselves, had the centre leased us their standing."""


_ACCEPTED = (
    select(
        claim.c.claim_id,
        claim.c.visit_no,
        claim.c.charge_batch_no,
        claim.c.final,
        claim.c.covers_to,
        claim.c.channel,
        claim.c.source,
        claim.c.phase,
        claim.c.submission,
        claim_content.c.visit,
        claim_content.c.lines,
    )
    .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
    .where(IS_OPEN, claim.c.state == ClaimState.ACCEPTED, claim.c.institution_code == bindparam("code"))
    .order_by(claim.c.claim_id)
    .limit(bindparam("most", type_=Integer))
)
_STILL_ACCEPTED = (
    select(claim.c.claim_id)
    .where(claim.c.claim_id.in_(bindparam("ids", expanding=True)), claim.c.state == ClaimState.ACCEPTED)
    .order_by(claim.c.claim_id)
    .with_for_update()
)
_TOTALLED = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.state == ClaimState.ACCEPTED)
    .values(
        state=ClaimState.TOTALLED,
        totals=bindparam("totals_"),
        local=bindparam("local"),
        policy_version=bindparam("policy"),
        catalogue_version=bindparam("catalogue"),
        rung_at=bindparam("now"),
        attempts=1,
    )
)
_RETURNED = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.state == ClaimState.ACCEPTED)
    .values(state=ClaimState.RETURNED)
)
_SET_ASIDE = (
    update(claim)
    .where(claim.c.claim_id == bindparam("id"), claim.c.state == ClaimState.ACCEPTED)
    .values(state=ClaimState.REFUSED, refusal=Refusal.INTERNAL)
)


def preprocess(
    engine: Engine, shelf: ReferenceShelf, institution_code: str, *, limit: int, at: datetime, now: float
) -> Turn:
    """Take the institution's oldest accepted claims, at most `limit`, and move each one step.

    Running it twice, or in two places at once, changes nothing: a claim leaves `accepted` once. The lines are read
    and checked outside the write transaction, so that the doors are not kept waiting.
    """
    with reading(engine) as connection:
        reference = shelf.current(connection)
        rows = connection.execute(_ACCEPTED, {"code": institution_code, "most": limit}).all()
        place = local.place_of(connection, institution_code)
        opened = [(row, _opened(row)) for row in rows]
        leased = leases(connection, [visit.citizen_id_no for _, visit in opened if visit is not None], at=at)

    totalled: Moved = []
    warned: dict[int, list[dict[str, Any]]] = {}
    returned: Moved = []
    set_aside: Moved = []
    for row, visit in opened:
        if visit is None:
            set_aside.append({"id": row.claim_id})
            continue
        try:
            held = leased.get(visit.citizen_id_no)
            rules = line_rules_of(reference.policy, row, visit, held, level=place.level, settled_on=at.date())
            lines = unpack_lines(row.lines)
            found = check_lines(visit, lines, reference.catalogue, at.date())
            checked = _checked(row, visit, lines, found, rules)
            if found.warned and found.passed and row.channel != REGISTERED:
                of = visit.institution_code, row.visit_no, row.source or row.channel
                warned[row.claim_id] = line_warnings.rows_of(*of, lines, found.warned, at=at)
        except Exception as error:
            # Our fault, and loud; but the claim's neighbours go on and a person looks at this one.
            log.exception("claim_set_aside", extra={"claim_id": row.claim_id, "error": type(error).__name__})
            set_aside.append({"id": row.claim_id})
            continue
        if isinstance(checked, ClaimTotals):
            totalled.append(
                {
                    "id": row.claim_id,
                    "is_prepare": row.phase == Phase.PREPARE,
                    "checked": checked,
                    "totals_": pack(checked),
                    "local": None,
                    "policy": reference.policy_version,
                    "catalogue": reference.catalogue.version,
                    "now": now,
                }
            )
        else:
            returned.append({"id": row.claim_id, "codes": checked})

    counter = None
    if place.way == LOCAL:
        counter = LocalCounter(reference.policy, place.level, at, leased)
        totalled = local.settled(counter, totalled)
    if rows:
        ids = [row.claim_id for row in rows]
        totalled, returned = _note(engine, ids, (totalled, returned, set_aside), counter, warned)
    totals = [row["checked"] for row in totalled if not row["is_prepare"]]
    prepares = [row["checked"] for row in totalled if row["is_prepare"]]
    visits = [row.visit_no for row in rows]
    unleased = [] if counter is None else [each.citizen_id_no for each in totals if each.local is None]
    versions = reference.policy_version, reference.catalogue.version
    return Turn(visits, totals, len(returned), len(rows) == limit, *versions, prepares, unleased)


def _note(
    engine: Engine,
    claim_ids: Sequence[int],
    moving: tuple[Moved, Moved, Moved],
    counter: LocalCounter | None,
    warned: Mapping[int, Sequence[dict[str, Any]]],
) -> tuple[Moved, Moved]:
    """Move the claims that are still ours to move, in one transaction: those totalled, returned and set aside.

    Returns the first two.
    """
    with engine.begin() as connection:
        mine = _still_accepted(connection, claim_ids)
        totalled, returned, set_aside = ([row for row in moved if row["id"] in mine] for moved in moving)
        if counter is not None:
            totalled = local.counted_in(connection, counter, moving[0], totalled)
        execute_many(connection, _TOTALLED, totalled)
        if warned:
            line_warnings.keep(connection, [row for each in totalled for row in warned.get(each["id"], ())])
        execute_many(connection, _RETURNED, returned)
        if returned:
            connection.execute(insert(verdict).values(claim_id=bindparam("id")), returned)
            reopen(connection, [row["id"] for row in returned])
        execute_many(connection, _SET_ASIDE, set_aside)
    return totalled, returned


def _still_accepted(connection: Connection, claim_ids: Sequence[int]) -> set[int]:
    """Those of the claims that no other desk has moved since they were read; they are ours until the commit."""
    found = connection.execute(_STILL_ACCEPTED, {"ids": list(claim_ids)})
    return set(found.scalars())


def _opened(row: Any) -> Visit | None:
    """The visit of a claim; None, and loud, when the bytes we stored are none."""
    try:
        return unpack(row.visit, Visit)
    except Exception as error:
        log.exception("claim_set_aside", extra={"claim_id": row.claim_id, "error": type(error).__name__})
        return None


def line_rules_of(
    policy: PolicyBook, row: Any, visit: Visit, held: Entitlement | None, *, level: int, settled_on: date
) -> LineRules:
    """How the policy splits this claim's lines: by what the centre said of the person, else by what the visit says.

    Where no policy is in force the lines are split the plain way, and the centre says so.
    """
    scheme, category = scheme_of(visit.person_category), visit.person_category
    if held is not None:
        scheme, category = held.scheme, held.category
    try:
        day = policy_day(
            policy,
            scheme,
            visit_date=visit.visit_date,
            visit_started=visit.visit_date if visit.is_stay else None,
            covers_to=row.covers_to,
            settled_on=settled_on,
        )
        return policy.line_rules(scheme, category, visit.visit_type, level, day)
    except NoPolicyInForce:
        return PLAIN


def _checked(
    row: Any, visit: Visit, lines: Sequence[ChargeLine], checked: CheckedLines, rules: LineRules
) -> ClaimTotals | bytes:
    """The claim's totals, or the packed verdicts of its lines when one of them failed."""
    if not checked.passed:
        return pack([(found.code, found.all_codes) for found in checked.verdicts])
    totals = total_up(zip(lines, checked.matched, strict=True), row.lines, rules)
    return ClaimTotals(
        visit.institution_code,
        visit.visit_no,
        row.charge_batch_no,
        visit.citizen_id_no,
        visit.visit_type,
        visit.visit_date,
        *totals[:7],
        visit_started=visit.visit_date if visit.is_stay else None,
        covers_to=row.covers_to,
        final=row.final,
        conditions=visit.conditions,
        groups=totals.groups,
        submission=row.submission,
    )
