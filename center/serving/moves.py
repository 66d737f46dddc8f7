"""Moves under way: each takes its next step as soon as what both front-ends said allows it.

A step is one transaction, and follows from rows alone, so it does not matter who takes it, how often, or who was killed
before. A bundle is kept here until the target says that it has it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from center.serving import terms
from center.serving.tables import drained_claim, move, move_bundle, moved_visit, served_by, terms_report
from center.tables import reference
from domain.messages import BundleKept, HandedOver, HandOverAsked, HandOverReported, TermsAsked, TermsSent
from domain.moving import UNDER_WAY, Facts, Kind, MoveState, Sides, after, merging_in, sides, wanted_bundle
from domain.terms import Standing
from infra.codec import decode, encode, unpack
from infra.reference import CATALOGUE, POLICY, CataloguePublished

log = logging.getLogger("center")

ASK_AGAIN_SECONDS, SELDOMEST_SECONDS = 5.0, 60.0
"""What is not answered is sent again, each time after twice as long, until something moves."""
Vault = Callable[[bytes], bytes]
"""Seals what is kept here, or opens it."""


_PATIENCE = func.least(ASK_AGAIN_SECONDS * func.power(2, func.least(move.c.attempts, 10)), SELDOMEST_SECONDS)


class Due(NamedTuple):
    """What is to be sent to a front-end now."""

    frontend: str
    message: HandOverAsked | HandedOver


def lock(connection: Connection) -> bool:
    """Whether a move is under way; then nobody else changes terms until the transaction ends.

    Before any row is locked, as by whoever changes terms: a step of a move changes them."""
    under_way = connection.execute(select(move.c.move_no).where(move.c.state.in_(UNDER_WAY)).limit(1)).first()
    if under_way is not None:
        terms.renewing(connection)
    return under_way is not None


def advance(connection: Connection, *, at: datetime) -> list[int]:
    """Let every move take the steps it can; the moves that took one. `lock` is taken if it is not yet."""
    if not lock(connection):
        return []
    moved = []
    rows = connection.execute(
        select(move).where(move.c.state.in_(UNDER_WAY)).order_by(move.c.move_no).with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        state = following = MoveState(row.state)
        while (following := after(state, facts_of(connection, row))) is not state:
            state = following
            connection.execute(
                update(move)
                .where(move.c.move_no == row.move_no)
                .values(state=state, changed_at=at, sent_at=0, attempts=0)
            )
            stand(connection, row, state, at=at)
            log.info("move_step", extra={"move": row.move_no, "state": str(state)})
        if state != row.state:
            moved.append(int(row.move_no))
    return moved


def stand(connection: Connection, row: Row[Any], state: MoveState, *, at: datetime) -> None:
    """Let both front-ends stand as the move's state says, and count it as a change of terms."""
    wished: Sides = sides(state, Kind(row.kind))
    ended = {"until": at if state is MoveState.FINISHED else None}
    left: dict[str, object] = {"standing": wished.source, "move_no": row.move_no, "moved_to": "", "until": None}
    if wished.source is not Standing.OPEN:
        left |= {"moved_to": row.target, **ended}
    came: dict[str, object] = {"standing": wished.target, "move_no": row.move_no, "moved_to": "", "until": None}
    if state is MoveState.ABORTED and wished.target is Standing.MOVED:
        came |= {"moved_to": row.source, "until": at}
    if merging_in(state, Kind(row.kind)):
        came |= {"moved_to": row.source}
    for frontend, values in ((row.source, left), (row.target, came)):
        connection.execute(
            update(served_by)
            .where(served_by.c.institution_code == row.institution_code, served_by.c.frontend == frontend)
            .values(values)
        )
    if state is MoveState.FINISHED:
        connection.execute(delete(drained_claim).where(drained_claim.c.move_no == row.move_no))
    terms.renewed(connection, row.institution_code)


def facts_of(connection: Connection, row: Row[Any]) -> Facts:
    """What is known of a move now."""
    return Facts(
        kind=Kind(row.kind),
        target_ready=row.state == MoveState.PREPARING and _is_ready(connection, row),
        source_told=terms.holds_terms(connection, row.source),
        taken=row.taken,
        kept=row.kept,
        whole_at=row.whole_at,
        drained=row.drained,
    )


def due(connection: Connection, *, now: float, opened: Vault) -> list[Due]:
    """What the moves under way have to send now; `now` is real seconds."""
    found: list[Due] = []
    rows = connection.execute(
        select(move)
        .where(move.c.state.in_(UNDER_WAY), move.c.sent_at + _PATIENCE <= now)
        .order_by(move.c.move_no)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        sent = [*_asked(connection, row), *_given(connection, row, opened)]
        if sent:
            sent_again = {"sent_at": now, "attempts": row.attempts + 1}
            connection.execute(update(move).where(move.c.move_no == row.move_no).values(sent_again))
        found += sent
    return found


def heard(connection: Connection, asked: TermsAsked, *, frontend: str, at: datetime) -> TermsSent | None:
    """Note which terms a front-end holds, and let moves that waited for it go on; the centre's, if they are others."""
    is_under_way = lock(connection)
    sent = terms.heard(connection, asked, frontend=frontend, at=at)
    if is_under_way and advance(connection, at=at):
        return terms.of_frontend(connection, frontend)
    return sent


def take(
    connection: Connection, handed: HandedOver, *, frontend: str, at: datetime, sealed: Vault, opened: Vault
) -> list[Due]:
    """Keep a bundle from the source of its move, once and in order, and say what is to be sent because of it.

    One of another move, of another front-end, or out of order changes nothing. Nothing is sent for a copy, either: it
    would breed copies faster than a slow link takes them, and what was lost is sent again when it is `due`.
    """
    row = _under_way(connection, handed.move_no)
    if row is None or (row.source, row.institution_code) != (frontend, handed.institution_code):
        log.warning("bundle_of_no_move", extra={"frontend": frontend, "move": handed.move_no})
        return []
    if handed.bundle_no <= row.taken:
        return []
    if handed.bundle_no != row.taken + 1 or not wanted_bundle(MoveState(row.state), facts_of(connection, row)):
        log.warning("bundle_too_early", extra={"move": row.move_no, "bundle": handed.bundle_no})
        return []
    _store(connection, row, handed, at=at, sealed=sealed)
    row = _under_way(connection, handed.move_no)
    return [] if row is None else [*_asked(connection, row), *_given(connection, row, opened)]


def reported(connection: Connection, told: HandOverReported, *, frontend: str, at: datetime) -> None:
    """Note what the source still holds open; when that is nothing, it has seen through all it had accepted."""
    lock(connection)
    row = _under_way(connection, told.move_no)
    if row is None or row.source != frontend or told.bundle_no != row.taken + 1:
        return
    open_ = told.open_claims, told.results_waiting, told.details_due, told.visits_behind
    values = dict(zip(("open_claims", "results_waiting", "details_due", "visits_behind"), open_, strict=True))
    before = row.open_claims, row.results_waiting, row.details_due, row.visits_behind
    values |= {"attempts": row.attempts if open_ == before else 0}
    connection.execute(update(move).where(move.c.move_no == row.move_no).values(drained=not any(open_), **values))
    advance(connection, at=at)


def kept(connection: Connection, told: BundleKept, *, frontend: str, at: datetime, opened: Vault) -> list[Due] | None:
    """The target has bundles: they are not needed here any more; what is to be sent next. None of a copy."""
    lock(connection)
    row = _under_way(connection, told.move_no)
    if row is None or row.target != frontend or not row.kept < told.bundle_no <= row.taken:
        return None
    connection.execute(update(move).where(move.c.move_no == row.move_no).values(kept=told.bundle_no, attempts=0))
    connection.execute(
        update(move_bundle)
        .where(move_bundle.c.move_no == row.move_no, move_bundle.c.bundle_no <= told.bundle_no)
        .where(move_bundle.c.kept_at.is_(None))
        .values(content=None, kept_at=at)
    )
    advance(connection, at=at)
    row = _under_way(connection, told.move_no)
    return [] if row is None else [*_asked(connection, row), *_given(connection, row, opened)]


def _under_way(connection: Connection, move_no: int) -> Row[Any] | None:
    rows = select(move).where(move.c.move_no == move_no, move.c.state.in_(UNDER_WAY)).with_for_update()
    return connection.execute(rows).first()


def _store(connection: Connection, row: Row[Any], handed: HandedOver, *, at: datetime, sealed: Vault) -> None:
    """From this moment the visits in it are live at the target, and the source may send what it says it accepted."""
    connection.execute(
        insert(move_bundle).values(
            move_no=row.move_no, bundle_no=handed.bundle_no, content=sealed(encode(handed)),
            visits=len(handed.visits), claims=handed.claims, taken_at=at,
        )
    )  # fmt: skip
    values: dict[str, object] = {"taken": handed.bundle_no, "drained": False, "attempts": 0}
    if handed.whole and not row.whole_at:
        values["whole_at"] = handed.bundle_no
    connection.execute(update(move).where(move.c.move_no == row.move_no).values(values))
    if handed.visits:
        adding = insert(moved_visit).values(
            [
                {"visit_no": visit_no, "institution_code": row.institution_code, "frontend": row.target,
                 "move_no": row.move_no}
                for visit_no in handed.visits
            ]
        )  # fmt: skip
        newest = {name: adding.excluded[name] for name in ("frontend", "move_no")}
        connection.execute(
            adding.on_conflict_do_update(
                index_elements=["visit_no"], set_=newest, where=moved_visit.c.institution_code == row.institution_code
            )
        )
    if handed.accepted:
        rows = [{**key._asdict(), "frontend": row.source, "move_no": row.move_no} for key in handed.accepted]
        connection.execute(
            insert(drained_claim).on_conflict_do_nothing(),
            [each for each in rows if each["institution_code"] == row.institution_code],
        )


def _asked(connection: Connection, row: Row[Any]) -> list[Due]:
    number = wanted_bundle(MoveState(row.state), facts_of(connection, row))
    if not number:
        return []
    asked = HandOverAsked(
        move_no=row.move_no, institution_code=row.institution_code, target=row.target, bundle_no=number,
        joins=row.kind == Kind.JOINS,
    )  # fmt: skip
    return [Due(row.source, asked)]


def _given(connection: Connection, row: Row[Any], opened: Vault) -> list[Due]:
    waiting = connection.execute(
        select(move_bundle.c.content)
        .where(move_bundle.c.move_no == row.move_no, move_bundle.c.content.is_not(None))
        .order_by(move_bundle.c.bundle_no)
        .limit(1)
    ).scalars()
    return [Due(row.target, decode(opened(bytes(content)), HandedOver)) for content in waiting]


def _is_ready(connection: Connection, row: Row[Any]) -> bool:
    """Whether the target said that it could settle for the institution now, as the centre does."""
    if not terms.holds_terms(connection, row.target):
        return False
    report = connection.execute(select(terms_report).where(terms_report.c.frontend == row.target)).one()
    in_force = connection.execute(
        select(reference.c.kind, reference.c.version, reference.c.content).where(reference.c.in_force)
    ).all()
    policies = {each.version for each in in_force if each.kind == POLICY}
    catalogue = next((each for each in in_force if each.kind == CATALOGUE), None)
    if catalogue is None or not policies <= set(report.policy_versions.split(",")):
        return False
    named = dict(unpack(catalogue.content, CataloguePublished).levels)
    has_matches = row.institution_code not in named or row.institution_code in report.covered
    return bool(report.catalogue_version == catalogue.version) and has_matches


def bundles(connection: Connection, move_no: int) -> tuple[int, int]:
    """How many visits and claims travelled in a move."""
    sums = select(func.coalesce(func.sum(move_bundle.c.visits), 0), func.coalesce(func.sum(move_bundle.c.claims), 0))
    row = connection.execute(sums.where(move_bundle.c.move_no == move_no)).one()
    return int(row[0]), int(row[1])
