"""The desk: takes an institution's accepted claims, checks every line, adds up local totals, notes the outcome."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

    visits: Sequence[str] = ()
    totals: Sequence[ClaimTotals] = ()
    returned: int = 0
    more: bool = False
    policy_version: str = ""
    catalogue_version: str = ""
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


_NOT_TODAY = Turn()
"""Our clock is wrong, and not even the day is certain: everything stays accepted."""


@dataclass(frozen=True, slots=True)
class _View:
    """What a turn looks at its claims with, all of one moment."""

    reference: Reference
    place: local.Place
    leased: Mapping[str, Entitlement]
    link: Standing
    behind: Collection[str]
    """The identity numbers of whom an earlier claim waits for the drain."""
    at: datetime
    now: float


@dataclass(slots=True)
class _Moving:
    """The claims of a turn by where they go, and the warnings to keep of them."""

    totalled: Moved = field(default_factory=list)
    returned: Moved = field(default_factory=list)
    set_aside: Moved = field(default_factory=list)
    warned: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def keep(self, claim_ids: Collection[int]) -> None:
        """Let go of all others: another desk has moved them."""
        self.totalled, self.returned, self.set_aside = (
            [row for row in moved if row["id"] in claim_ids] for moved in (self.totalled, self.returned, self.set_aside)
        )


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

    moving = _Moving()
    view = _View(reference, place, leased, link, behind, at, now)
    for row, visit in opened:
        _step(view, moving, row, visit)
    counter = None
    if place.way == LOCAL and link.clock_agrees and not link.is_down:
        counter = LocalCounter(reference.policy, place.level, at, leased)
        moving.totalled = local.settled(counter, moving.totalled)
    if rows:
        _note(engine, [row.claim_id for row in rows], moving, counter)
    return replace(
        _sent_from(moving.totalled, rows, link, counter),
        visits=[row.visit_no for row in rows],
        returned=len(moving.returned),
        more=len(rows) < len(waiting) or len(rows) == limit,
        policy_version=reference.policy_version,
        catalogue_version=reference.catalogue.version,
        work=work,
        settle_lanes=place.settle_lanes,
    )


def _step(view: _View, moving: _Moving, row: Any, visit: Visit | None) -> None:
    """Look at one claim, and say where it goes: totalled, returned for its lines, or set aside for a person to see."""
    if visit is None:
        moving.set_aside.append({"id": row.claim_id})
        return
    whole = view.place.way == Way.CENTRALIZED and row.offline is None
    try:
        checked, warnings = (lines_of_claims.bare_totals(row, visit), []) if whole else _looked_at(view, row, visit)
    except Exception as error:
        # Our fault, and loud; but the claim's neighbours go on and a person looks at this one.
        log.exception("claim_set_aside", extra={"claim_id": row.claim_id, "error": type(error).__name__})
        moving.set_aside.append({"id": row.claim_id})
        return
    if warnings:
        moving.warned[row.claim_id] = warnings
    if not isinstance(checked, ClaimTotals):
        moving.returned.append({"id": row.claim_id, "codes": checked})
        return
    if row.offline is not None:
        checked = checked._replace(local=unpack(row.offline, LocalResult))
    moving.totalled.append(
        {
            "id": row.claim_id,
            **_when_it_goes(view, row, visit),
            "checked": checked,
            "totals_": pack(checked),
            "local": row.local,
            "policy": None if whole else view.reference.policy_version,
            "catalogue": None if whole else view.reference.catalogue.version,
            "whole": whole,
            "now": view.now,
        }
    )


def _sent_from(totalled: Moved, rows: Sequence[Any], link: Standing, counter: LocalCounter | None) -> Turn:
    """The turn with what is to be sent of it now."""
    go_now = [row for row in totalled if not (link.is_down if row["is_prepare"] else row["waits"])]
    totals, prepares = (
        [row["checked"] for row in go_now if row["is_prepare"] is to_prepare and not row["whole"]]
        for to_prepare in (False, True)
    )
    whole, whole_prepares = _with_lines(rows, go_now)
    return Turn(
        totals=totals,
        prepares=prepares,
        unleased=[] if counter is None else [each.citizen_id_no for each in totals if each.local is None],
        whole=whole,
        whole_prepares=whole_prepares,
        link_is_down=link.is_down,
    )


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


def _when_it_goes(view: _View, row: Any, visit: Visit) -> dict[str, Any]:
    """Whether a totalled claim is sent now, or waits for the link or behind an earlier one of its person."""
    is_prepare, link = row.phase == Phase.PREPARE, view.link
    waits = not is_prepare and (link.is_down or visit.citizen_id_no in view.behind)
    return {
        "is_prepare": is_prepare,
        "waits": waits,
        "queued": view.at if waits and row.queued_at is None else row.queued_at,
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


def _note(engine: Engine, claim_ids: Sequence[int], moving: _Moving, counter: LocalCounter | None) -> None:
    """Move the claims that are still ours to move, in one transaction; the others are no longer in `moving`."""
    with engine.begin() as connection:
        mine = _still_accepted(connection, claim_ids)
        read = moving.totalled
        moving.keep(mine)
        if counter is not None:
            moving.totalled = local.counted_in(connection, counter, read, moving.totalled)
        execute_many(connection, _TOTALLED, moving.totalled)
        if moving.warned:
            kept = [row for each in moving.totalled for row in moving.warned.get(each["id"], ())]
            line_warnings.keep(connection, kept)
        execute_many(connection, _RETURNED, moving.returned)
        if moving.returned:
            connection.execute(insert(verdict).values(claim_id=bindparam("id")), moving.returned)
            reopen(connection, [row["id"] for row in moving.returned])
        execute_many(connection, _SET_ASIDE, moving.set_aside)


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


def _looked_at(view: _View, row: Any, visit: Visit) -> tuple[ClaimTotals | bytes, list[dict[str, Any]]]:
    """The claim's totals, or the packed verdicts of its lines when one of them failed; and the warnings to keep."""
    at, reference, held = view.at, view.reference, view.leased.get(visit.citizen_id_no)
    rules = line_rules_of(reference.policy, row, visit, held, level=view.place.level, settled_on=at.date())
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
