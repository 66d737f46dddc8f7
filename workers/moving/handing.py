"""Handing over: what the front-end an institution moves away from puts into bundles, one after the other.

A bundle is made in one transaction with what it changes here: a visit that is in one is live at the target from then
on. It is kept until the institution moves again, so that it may be asked for any number of times: also by a centre that
was restored from a backup and had not got it yet then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, and_, exists, func, insert, not_, or_, select, update

from domain.lifecycle import FINAL, ClaimState, VisitState
from domain.messages import ClaimKey, HandedOver, HandOverAsked, HandOverReported
from domain.terms import Standing
from domain.visit import STAYS
from infra.codec import decode, encode
from workers.moving.carrying import carried, packed
from workers.numbers import wait_for_turn
from workers.tables import (
    DETAIL_IS_DUE,
    TO_HAND_OUT,
    arriving,
    bundle_made,
    claim,
    claim_content,
    hand_out,
    institution,
    line_failure,
    tombstone,
    visit,
    visit_counter,
    visit_lines,
)
from workers.visits.rows import lines_imported

TRAVELS = timedelta(days=7)
"""What is older and done with stays where it was: its results and refunds are asked for there (docs/moving.md)."""
VISITS, KEYS, CLAIMS = 200, 2000, 300
"""Most in a bundle."""
LINES = 20_000
"""Visits with so many lines together fill a bundle; one that has more goes alone."""

UNDER_WAY = (ClaimState.ACCEPTED, ClaimState.TOTALLED, ClaimState.PREPARED)
NOT_DONE = (ClaimState.HELD, *UNDER_WAY)
SETTINGS = ("backlog_cap", "api_key_hash", "exchange", "dress", "outpatient_flow", "settles_at_once")
"""Of an institution: what its HIS is known by, and how it is reached. It goes along, so the HIS keeps its key."""


def handed(
    connection: Connection, asked: HandOverAsked, *, frontend: str, at: datetime
) -> HandedOver | HandOverReported | None:
    """The bundle asked for, made now or before; or, with nothing to hand over at present, what is still open here.

    None for a question of a move this front-end has no part in any more, or of a bundle that is not the next.
    """
    wait_for_turn(connection)
    row = connection.execute(
        select(institution).where(institution.c.institution_code == asked.institution_code)
    ).first()
    stands = (Standing.OPEN,) if asked.joins else (Standing.MOVING_OUT, Standing.MOVED)
    if row is None or row.move_no != asked.move_no or row.standing not in stands:
        return None
    made = connection.execute(
        select(bundle_made)
        .where(bundle_made.c.move_no == asked.move_no)
        .order_by(bundle_made.c.bundle_no.desc())
        .limit(1)
    ).first()
    last = 0 if made is None else made.bundle_no
    if asked.bundle_no <= last:
        return _made_before(connection, asked)
    if asked.bundle_no != last + 1:
        return None
    if made is None:
        before = bundle_made.c.institution_code == asked.institution_code, bundle_made.c.content.is_not(None)
        connection.execute(update(bundle_made).where(*before).values(content=None))
    is_whole = False if made is None else bool(made.whole)
    bundle = _Bundle(connection, row, asked, frontend, at, is_whole=is_whole).make()
    if bundle is None:
        return _report(connection, asked, at)
    connection.execute(
        insert(bundle_made).values(
            move_no=asked.move_no,
            bundle_no=asked.bundle_no,
            institution_code=asked.institution_code,
            content=encode(bundle),
            whole=bundle.whole,
        )
    )
    return bundle


def _made_before(connection: Connection, asked: HandOverAsked) -> HandedOver | None:
    named = bundle_made.c.move_no == asked.move_no, bundle_made.c.bundle_no == asked.bundle_no
    made = connection.execute(select(bundle_made.c.content, bundle_made.c.whole).where(*named)).first()
    if made is None or made.content is None:
        return None
    return replace(decode(made.content, HandedOver), whole=made.whole)


def took_back(connection: Connection, institution_code: str) -> None:
    """The institution is open here again. When a restored centre goes on with that move, what was handed over is not
    all any more: the target may open when what was accepted since is told, too."""
    of = bundle_made.c.institution_code == institution_code
    connection.execute(update(bundle_made).where(of).values(whole=False))


def _report(connection: Connection, asked: HandOverAsked, at: datetime) -> HandOverReported:
    code = asked.institution_code
    own = claim.c.institution_code == code, claim.c.origin == ""

    def count(*where: Any) -> int:
        return int(connection.execute(select(func.count()).where(*where)).scalar_one())

    done = claim.c.state.in_([str(state) for state in sorted(FINAL)])
    waiting = count(TO_HAND_OUT, hand_out.c.institution_code == code)
    return HandOverReported(
        move_no=asked.move_no,
        institution_code=code,
        bundle_no=asked.bundle_no,
        open_claims=count(*own, claim.c.state.in_(UNDER_WAY)),
        results_waiting=waiting + count(*own, claim.c.channel == "dbf", not_(claim.c.handed_back), done),
        details_due=count(*own, DETAIL_IS_DUE),
        visits_behind=count(*_goes_along(code, at), visit.c.moved_to == ""),
    )


def _goes_along(institution_code: str, at: datetime) -> tuple[Any, ...]:
    """Which visits travel: those that go on, and those that are not long ago."""
    goes_on = and_(
        visit.c.visit_type.in_([str(each) for each in STAYS]),
        visit.c.state.not_in((VisitState.CLOSED, VisitState.CANCELLED)),
    )
    return visit.c.institution_code == institution_code, or_(goes_on, visit.c.registered_at >= at - TRAVELS)


class _Bundle:
    """One transaction's view of what is next to travel."""

    def __init__(
        self, connection: Connection, row: Any, asked: HandOverAsked, frontend: str, at: datetime, *, is_whole: bool
    ) -> None:
        """`is_whole`: what was handed over before lets the target open."""
        self._is_whole = is_whole
        self._connection, self._row, self._asked = connection, row, asked
        self._frontend, self._at = frontend, at
        self._cargo: dict[str, list[dict[str, Any]]] = {}
        self._visits: list[str] = []
        self._accepted: list[ClaimKey] = []

    def make(self) -> HandedOver | None:
        """The next bundle; None where nothing can travel now."""
        if self._asked.bundle_no == 1:
            self._settings()
        whole = self._asked.joins or self._hand_visits() & self._hand_keys()
        if whole and not self._asked.joins:
            self._hand_claims()
        if not any(self._cargo.values()) and (self._is_whole or not whole):
            return None
        return HandedOver(
            move_no=self._asked.move_no,
            institution_code=self._row.institution_code,
            bundle_no=self._asked.bundle_no,
            content=packed(self._cargo),
            visits=tuple(self._visits),
            accepted=tuple(self._accepted),
            whole=whole,
            claims=len(self._cargo.get("claim", [])),
        )

    def _settings(self) -> None:
        code = self._row.institution_code
        self._cargo["institution"] = [{name: self._row._mapping[name] for name in SETTINGS}]
        since = (self._at - TRAVELS).date()
        for table, where in ((visit_counter, visit_counter.c.day >= since), (tombstone, None)):
            rows = select(table).where(table.c.institution_code == code)
            found = self._connection.execute(rows if where is None else rows.where(where))
            self._cargo[table.name] = [carried(row, table) for row in found]

    def _hand_visits(self) -> bool:
        """Put visits in that nothing is under way of; whether these are all that can go now."""
        busy = exists().where(claim.c.visit_no == visit.c.visit_no, claim.c.state.in_(NOT_DONE), claim.c.origin == "")
        rows = self._connection.execute(
            select(visit)
            .where(*_goes_along(self._row.institution_code, self._at), visit.c.moved_to == "", not_(busy))
            .order_by(visit.c.visit_no)
            .limit(VISITS + 1)
        ).all()
        going = self._as_many_as_fit(rows[:VISITS])
        if going:
            self._visits = [row.visit_no for row in going]
            self._cargo["visit"] = [carried(row, visit, but=("moved_to",)) for row in going]
            for table in (visit_lines, line_failure, hand_out):
                found = self._connection.execute(
                    select(table).where(table.c.visit_no.in_(self._visits)).order_by(*table.primary_key)
                )
                self._cargo[table.name] = [carried(row, table) for row in found]
            self._put_claims(self._read(claim.c.visit_no.in_(self._visits)))
            moved = update(visit).where(visit.c.visit_no.in_(self._visits))
            self._connection.execute(moved.values(moved_to=self._asked.target))
            self._connection.execute(
                update(hand_out).where(hand_out.c.visit_no.in_(self._visits), TO_HAND_OUT).values(handed_at=self._at)
            )
        return len(going) == len(rows)

    def _as_many_as_fit(self, rows: Sequence[Any]) -> Sequence[Any]:
        counted = lines_imported(self._connection, [row.visit_no for row in rows])
        so_far = accumulate(counted.get(row.visit_no, 0) for row in rows)
        return [row for place, (row, lines) in enumerate(zip(rows, so_far, strict=True)) if not place or lines <= LINES]

    def _hand_keys(self) -> bool:
        """Tell what was accepted and has not travelled, so that nobody accepts it again; whether that is all."""
        number = self._asked.move_no
        recent = or_(claim.c.accepted_at >= self._at - TRAVELS, claim.c.state.in_(NOT_DONE))
        rows = self._connection.execute(
            select(claim)
            .where(claim.c.institution_code == self._row.institution_code, recent)
            .where(claim.c.carried.not_in((number, -number)))
            .order_by(claim.c.claim_id)
            .limit(KEYS + 1)
        ).all()
        told = rows[:KEYS]
        keys = [self._arriving(row, row.charge_batch_no) for row in told]
        self._accepted = [
            ClaimKey(row.institution_code, row.visit_no, row.charge_batch_no) for row in told if row.state in NOT_DONE
        ]
        self._mark([row.claim_id for row in told], number)
        if len(rows) <= KEYS and not self._is_whole:
            keys += self._visits_behind()
        self._cargo["arriving"] = keys
        return len(rows) <= KEYS

    def _visits_behind(self) -> list[dict[str, Any]]:
        """The visits that stay until their claims are answered."""
        rows = self._connection.execute(
            select(visit).where(*_goes_along(self._row.institution_code, self._at), visit.c.moved_to == "")
        )
        return [self._arriving(row, 0) for row in rows]

    def _hand_claims(self) -> None:
        """Put claims in whose keys were told, and that came to their end since, with their results."""
        number = self._asked.move_no
        has_ended = and_(claim.c.carried == number, claim.c.state.not_in(NOT_DONE))
        self._put_claims(self._read(claim.c.institution_code == self._row.institution_code, has_ended, most=CLAIMS))

    def _read(self, *where: Any, most: int | None = None) -> Sequence[Any]:
        rows = select(claim, claim_content.c.visit.label("carried_visit"), claim_content.c.lines.label("carried_lines"))
        rows = rows.outerjoin(claim_content, claim_content.c.claim_id == claim.c.claim_id)
        return self._connection.execute(rows.where(*where).order_by(claim.c.claim_id).limit(most)).all()

    def _put_claims(self, rows: Sequence[Any]) -> None:
        put = self._cargo.setdefault("claim", [])
        for row in rows:
            values = carried(row, claim, but=("claim_id", "carried"))
            content = {"visit": row.carried_visit, "lines": row.carried_lines}
            put.append(values | {"origin": row.origin or self._frontend, "content": content})
        self._mark([row.claim_id for row in rows], -self._asked.move_no)

    def _mark(self, claim_ids: Sequence[int], number: int) -> None:
        for start in range(0, len(claim_ids), 500):
            some = claim_ids[start : start + 500]
            self._connection.execute(update(claim).where(claim.c.claim_id.in_(some)).values(carried=number))

    def _arriving(self, row: Any, charge_batch_no: int) -> dict[str, Any]:
        values = {
            "visit_no": row.visit_no,
            "charge_batch_no": charge_batch_no,
            "institution_code": row.institution_code,
            "idempotency_key": row.idempotency_key,
            "content_digest": row.content_digest,
            "frontend": self._frontend,
            "move_no": self._asked.move_no,
        }
        return {column.name: values[column.name] for column in arriving.c}
