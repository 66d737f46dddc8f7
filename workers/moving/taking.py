"""Taking over: what the front-end an institution moves to makes of the bundles, each once and in their order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, tuple_, update

from domain.messages import BundleKept, HandedOver
from domain.terms import Standing
from infra.codec import UnreadableMessage
from infra.database import execute_many
from workers.moving.carrying import Cargo, of, planted, unpacked
from workers.moving.handing import SETTINGS
from workers.numbers import wait_for_turn
from workers.tables import (
    arriving,
    bundle_taken,
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
from workers.visits.handout import Kind

AT_THE_CENTRE = 1
"""`claim.detail_state`: the front-end in whose books a claim stands sends its detail, not we."""


def take(connection: Connection, handed: HandedOver, *, frontend: str, at: datetime) -> BundleKept | None:
    """Take a bundle over, and say which is the last one here. One that came before changes nothing.

    None for a bundle of a move this front-end has no part in, or that is not the next. Raises UnreadableMessage.
    """
    wait_for_turn(connection)
    row = connection.execute(
        select(institution).where(institution.c.institution_code == handed.institution_code)
    ).first()
    if row is None or row.move_no != handed.move_no or row.standing not in (Standing.MOVING_IN, Standing.OPEN):
        return None
    numbers = select(func.max(bundle_taken.c.bundle_no)).where(bundle_taken.c.move_no == handed.move_no)
    last = int(connection.execute(numbers).scalar() or 0)
    if handed.bundle_no > last + 1:
        return None
    if handed.bundle_no == last + 1:
        _Taking(connection, row, frontend).plant(unpacked(handed.content))
        connection.execute(insert(bundle_taken).values(move_no=handed.move_no, bundle_no=handed.bundle_no, taken_at=at))
        last = handed.bundle_no
    return BundleKept(move_no=handed.move_no, institution_code=handed.institution_code, bundle_no=last)


class _Taking:
    """One transaction's view of what came."""

    def __init__(self, connection: Connection, row: Any, frontend: str) -> None:
        self._connection, self._row, self._frontend = connection, row, frontend
        self._code = row.institution_code

    def plant(self, cargo: Cargo) -> None:
        """Write what came. Nothing of another institution is touched."""
        if self._row.standing == Standing.MOVING_IN:
            for values in of(cargo, "institution"):
                known = planted({name: values[name] for name in SETTINGS if name in values}, institution)
                self._connection.execute(
                    update(institution).where(institution.c.institution_code == self._code).values(known)
                )
        self._counters(cargo)
        self._tombstones(cargo)
        self._visits(cargo)
        self._claims(cargo)
        self._arriving(cargo)

    def _counters(self, cargo: Cargo) -> None:
        """Numbers go on behind those the source gave."""
        for values in of(cargo, "visit_counter"):
            row = planted(values, visit_counter, institution_code=self._code)
            key = visit_counter.c.institution_code == self._code, visit_counter.c.day == row["day"]
            held = self._connection.execute(select(visit_counter.c.last).where(*key)).scalar()
            if held is None:
                self._connection.execute(insert(visit_counter).values(row))
            elif held < row["last"]:
                self._connection.execute(update(visit_counter).where(*key).values(last=row["last"]))

    def _tombstones(self, cargo: Cargo) -> None:
        known = select(tombstone.c.idempotency_key).where(tombstone.c.institution_code == self._code)
        held = set(self._connection.execute(known).scalars())
        rows = [planted(values, tombstone, institution_code=self._code) for values in of(cargo, "tombstone")]
        execute_many(self._connection, insert(tombstone), [row for row in rows if row["idempotency_key"] not in held])

    def _visits(self, cargo: Cargo) -> None:
        """A visit that was here before comes back as it is now."""
        rows = [planted(values, visit, institution_code=self._code, moved_to="") for values in of(cargo, "visit")]
        if not rows:
            return
        numbers = [row["visit_no"] for row in rows]
        others = select(visit.c.visit_no).where(visit.c.visit_no.in_(numbers), visit.c.institution_code != self._code)
        if self._connection.execute(others.limit(1)).first() is not None:
            raise UnreadableMessage("a bundle with another institution's visit")
        for table in (hand_out, line_failure, visit_lines, visit):
            self._connection.execute(delete(table).where(table.c.visit_no.in_(numbers)))
        execute_many(self._connection, insert(visit), rows)
        imports = self._lines(cargo)
        failures = [planted(values, line_failure, institution_code=self._code) for values in of(cargo, "line_failure")]
        for row in failures:
            row.pop("failure_id", None)
        execute_many(self._connection, insert(line_failure), failures)
        for values in of(cargo, "hand_out"):
            row = planted(values, hand_out, institution_code=self._code)
            row.pop("hand_out_id", None)
            if row["kind"] == Kind.LINES:
                row["number"] = imports.get(row["number"], row["number"])
            self._connection.execute(insert(hand_out).values(row))

    def _lines(self, cargo: Cargo) -> dict[int, int]:
        """The numbers the imports have here, by those they had at the source."""
        imports: dict[int, int] = {}
        for values in of(cargo, "visit_lines"):
            row = planted(values, visit_lines)
            before = row.pop("import_id")
            written = self._connection.execute(insert(visit_lines).values(row).returning(visit_lines.c.import_id))
            imports[before] = written.scalar_one()
        return imports

    def _claims(self, cargo: Cargo) -> None:
        rows = list(of(cargo, "claim"))
        keys = [(values["visit_no"], values["charge_batch_no"]) for values in rows]
        if not keys:
            return
        key = tuple_(claim.c.visit_no, claim.c.charge_batch_no)
        found = self._connection.execute(select(claim).where(key.in_(keys)))
        held = {(row.visit_no, row.charge_batch_no): row for row in found}
        next_id = int(self._connection.execute(select(func.max(claim.c.claim_id))).scalar() or 0) + 1
        for values in rows:
            known = held.get((values["visit_no"], values["charge_batch_no"]))
            if known is None:
                self._add(values, next_id)
                next_id += 1
            elif known.institution_code == self._code:
                self._renew(values, known)
        gone = tuple_(arriving.c.visit_no, arriving.c.charge_batch_no).in_(keys)
        self._connection.execute(delete(arriving).where(gone))

    def _add(self, values: dict[str, Any], claim_id: int) -> None:
        """A claim of another's books: it is looked up here, and may be refunded; nothing else is owed to it."""
        row = planted(
            values, claim, claim_id=claim_id, institution_code=self._code, detail_state=AT_THE_CENTRE, handed_back=True
        )
        if self._is_used(row["idempotency_key"]):
            row["idempotency_key"] = None
        self._connection.execute(insert(claim).values(row))
        content = values.get("content") or {}
        if content.get("lines") is not None:
            kept = {"visit": content["visit"], "lines": content["lines"]}
            self._connection.execute(insert(claim_content).values(claim_id=claim_id, **kept))

    def _is_used(self, key: str | None) -> bool:
        """Two front-ends of one institution may each have taken a claim under the same key: both are claims."""
        used = select(claim.c.claim_id).where(claim.c.institution_code == self._code, claim.c.idempotency_key == key)
        return key is not None and self._connection.execute(used).first() is not None

    def _renew(self, values: dict[str, Any], known: Any) -> None:
        """One that was here before: what became of it meanwhile. Of our own books only a refund could."""
        row = planted(values, claim)
        names = ("refunded_by",) if known.origin == "" else ("refunded_by", "state", "answer", "refusal", "phase")
        changed = {name: row[name] for name in names if name in row}
        self._connection.execute(update(claim).where(claim.c.claim_id == known.claim_id).values(changed))

    def _arriving(self, cargo: Cargo) -> None:
        rows = [planted(values, arriving, institution_code=self._code) for values in of(cargo, "arriving")]
        came = [values["visit_no"] for values in of(cargo, "visit")]
        if came:
            gone = delete(arriving).where(arriving.c.visit_no.in_(came), arriving.c.charge_batch_no == 0)
            self._connection.execute(gone)
        if not rows:
            return
        told = {(row["visit_no"], row["charge_batch_no"]): row for row in rows}
        here, awaited = self._found(claim, list(told)), self._found(arriving, list(told))
        execute_many(
            self._connection, insert(arriving), [row for key, row in told.items() if key not in here | awaited]
        )
        for visit_no, batch_no in awaited:  # since a move that was taken back
            of_it = arriving.c.visit_no == visit_no, arriving.c.charge_batch_no == batch_no
            self._connection.execute(update(arriving).where(*of_it).values(told[visit_no, batch_no]))

    def _found(self, table: Table, keys: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Which of these claims the table has."""
        found: set[tuple[str, int]] = set()
        for start in range(0, len(keys), 400):
            key = tuple_(table.c.visit_no, table.c.charge_batch_no).in_(keys[start : start + 400])
            rows = self._connection.execute(select(table.c.visit_no, table.c.charge_batch_no).where(key))
            found |= {(row.visit_no, row.charge_batch_no) for row in rows}
        return found
