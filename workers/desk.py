"""The desk: takes an institution's accepted claims, checks every line, adds up local totals, notes the outcome."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Integer, bindparam, insert, select, update

from domain.checks import CheckedLines, check_lines
from domain.entitlement import Entitlement
from domain.fairness import takes, work_of
from domain.lifecycle import ClaimState
from domain.messages import ClaimLines, ClaimTotals, LocalResult, with_lines
from domain.occasion import policy_day
from domain.outcomes import Phase
from domain.policy import PolicyBook, scheme_of
from domain.policy.facts import NoPolicyInForce
from domain.refusals import Refusal
from domain.totals import PLAIN, LineRules, total_up
from domain.visit import ChargeLine, Visit, unpack_lines
from domain.ways import Way
from infra.codec import pack, unpack
from infra.database import execute_many, reading
from infra.reference import Reference, ReferenceShelf
from workers import line_warnings, local
from workers import lines as lines_of_claims
from workers.entitlement import LOCAL, key_of, leases
from workers.link import Standing, standing
from workers.local import LocalCounter
from workers.offline.queue import persons_waiting
from workers.tables import IS_OPEN, claim, claim_content, verdict
from workers.visits import reopen
from workers.visits.rows import CHANNEL as REGISTERED

log = logging.getLogger("desk")

MOST_WORK = 1_000_000_000
"""A grant that has no end, where nobody shares the desk."""

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
    whole: Sequence[ClaimLines] = ()
    """Claims to be settled at the centre from all their lines."""
    whole_prepares: Sequence[ClaimLines] = ()
    """Claims to be prepared at the centre from all their lines."""
    link_is_down: bool = False
    """Nothing of it is to be sent: it waits for the drain."""
    work: int = 0
    """What it took, in lines (`domain.fairness.work_of`)."""
    settle_lanes: int = 1
    """Over how many lanes of the centre it is to be spread."""


_NOT_TODAY = Turn((), (), 0, more=False, policy_version="", catalogue_version="")
"""Our clock is wrong, and not even the day is certain: everything stays accepted."""

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
        claim.c.line_count,
        claim.c.total_fen,
        claim.c.queued_at,
        claim.c.person_key,
        claim.c.offline,
        claim.c.local,
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
        queued_at=bindparam("queued"),
        person_key=bindparam("person"),
        totals=bindparam("totals_"),
        local=bindparam("local"),
        policy_version=bindparam("policy"),
        catalogue_version=bindparam("catalogue"),
        sent_lines=bindparam("whole"),
        rung_at=bindparam("now"),
        attempts=bindparam("sent"),
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
    engine: Engine,
    shelf: ReferenceShelf,
    institution_code: str,
    *,
    limit: int,
    at: datetime,
    now: float,
    grant: int = MOST_WORK,
) -> Turn:
    """Take the institution's oldest accepted claims, at most `limit` and while `grant` lasts, and move each one step.

    Running it twice, or in two places at once, changes nothing: a claim leaves `accepted` once. The lines are read
    and checked outside the write transaction, so that the doors are not kept waiting.
    """
    with reading(engine) as connection:
        link = standing(connection, at=at)
        if not link.same_day(at):
            return _NOT_TODAY
        reference = shelf.current(connection)
        waiting = connection.execute(_ACCEPTED, {"code": institution_code, "most": limit}).all()
        rows, work = within(grant, waiting)
        place = local.place_of(connection, institution_code)
        opened = [(row, _opened(row)) for row in rows]
        leased = leases(connection, [visit.citizen_id_no for _, visit in opened if visit is not None], at=at)
        behind = _behind_the_queue(connection, link, opened)

    totalled, returned, set_aside = Moved(), Moved(), Moved()
    warned: dict[int, list[dict[str, Any]]] = {}
    for row, visit in opened:
        if visit is None:
            set_aside.append({"id": row.claim_id})
            continue
        try:
            checked: ClaimTotals | bytes
            whole = place.way == Way.CENTRALIZED and row.offline is None
            if whole:
                checked = lines_of_claims.bare_totals(row, visit)
            else:
                held = leased.get(visit.citizen_id_no)
                checked, warnings = _looked_at(row, visit, reference, held, level=place.level, at=at)
                if warnings:
                    warned[row.claim_id] = warnings
        except Exception as error:
            # Our fault, and loud; but the claim's neighbours go on and a person looks at this one.
            log.exception("claim_set_aside", extra={"claim_id": row.claim_id, "error": type(error).__name__})
            set_aside.append({"id": row.claim_id})
            continue
        if isinstance(checked, ClaimTotals):
            if row.offline is not None:
                checked = checked._replace(local=unpack(row.offline, LocalResult))
            totalled.append(
                {
                    "id": row.claim_id,
                    **_when_it_goes(row, visit, link, behind, at=at),
                    "checked": checked,
                    "totals_": pack(checked),
                    "local": row.local,
                    "policy": None if whole else reference.policy_version,
                    "catalogue": None if whole else reference.catalogue.version,
                    "whole": whole,
                    "now": now,
                }
            )
        else:
            returned.append({"id": row.claim_id, "codes": checked})

    counter = None
    if place.way == LOCAL and link.clock_agrees and not link.is_down:
        counter = LocalCounter(reference.policy, place.level, at, leased)
        totalled = local.settled(counter, totalled)
    if rows:
        ids = [row.claim_id for row in rows]
        totalled, returned = _note(engine, ids, (totalled, returned, set_aside), counter, warned)
    go_now = [row for row in totalled if not (link.is_down if row["is_prepare"] else row["waits"])]
    totals, prepares = (
        [row["checked"] for row in go_now if row["is_prepare"] is to_prepare and not row["whole"]]
        for to_prepare in (False, True)
    )
    visits = [row.visit_no for row in rows]
    unleased = [] if counter is None else [each.citizen_id_no for each in totals if each.local is None]
    versions = reference.policy_version, reference.catalogue.version
    whole_lists = _with_lines(rows, go_now)
    counts = visits, totals, len(returned), len(rows) < len(waiting) or len(rows) == limit
    return Turn(*counts, *versions, prepares, unleased, *whole_lists, link.is_down, work, place.settle_lanes)


def within(grant: int, waiting: Sequence[Any]) -> tuple[Sequence[Any], int]:
    """Those of the claims that wait, oldest first, that the grant reaches for, and what they cost."""
    works = [work_of(row.line_count) for row in waiting]
    taken = takes(grant, works)
    return waiting[:taken], sum(works[:taken])


def _with_lines(rows: Sequence[Any], noted: Moved) -> tuple[list[ClaimLines], list[ClaimLines]]:
    """Those of the claims that go with all their lines: to be settled, and to be prepared."""
    packed = {row.claim_id: row.lines for row in rows}
    settled: list[ClaimLines] = []
    prepared: list[ClaimLines] = []
    for row in noted:
        if row["whole"]:
            to = prepared if row["is_prepare"] else settled
            to.append(with_lines(row["checked"], packed[row["id"]]))
    return settled, prepared


def _when_it_goes(row: Any, visit: Visit, link: Standing, behind: Collection[str], *, at: datetime) -> dict[str, Any]:
    """Whether a totalled claim is sent now, or waits for the link or behind an earlier one of its person."""
    is_prepare = row.phase == Phase.PREPARE
    waits = not is_prepare and (link.is_down or visit.citizen_id_no in behind)
    return {
        "is_prepare": is_prepare,
        "waits": waits,
        "queued": at if waits and row.queued_at is None else row.queued_at,
        "person": key_of(visit.citizen_id_no) if waits and not link.is_down else row.person_key,
        "sent": 0 if waits and not row.submission else 1,
    }


def _behind_the_queue(
    connection: Connection, link: Standing, opened: Sequence[tuple[Any, Visit | None]]
) -> Collection[str]:
    """The identity numbers of whom an earlier claim waits for the drain; what is handed in for them waits behind it."""
    if not link.has_queue:
        return ()
    keys = {key_of(visit.citizen_id_no): visit.citizen_id_no for _, visit in opened if visit is not None}
    return {keys[key] for key in persons_waiting(connection, keys)}


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


def _looked_at(
    row: Any, visit: Visit, reference: Reference, held: Entitlement | None, *, level: int, at: datetime
) -> tuple[ClaimTotals | bytes, list[dict[str, Any]]]:
    """The claim's totals, or the packed verdicts of its lines when one of them failed; and the warnings to keep."""
    rules = line_rules_of(reference.policy, row, visit, held, level=level, settled_on=at.date())
    lines = unpack_lines(row.lines)
    found = check_lines(visit, lines, reference.catalogue, at.date())
    warnings: list[dict[str, Any]] = []
    if found.warned and found.passed and row.channel != REGISTERED:
        of = visit.institution_code, row.visit_no, row.source or row.channel
        warnings = line_warnings.rows_of(*of, lines, found.warned, at=at)
    return _checked(row, visit, lines, found, rules, day=at.date()), warnings


def _checked(
    row: Any, visit: Visit, lines: Sequence[ChargeLine], checked: CheckedLines, rules: LineRules, *, day: date
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
        totalled_on=day if visit.is_stay else None,
    )
