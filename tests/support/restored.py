"""A city of one centre and two front-ends, without a broker between them: what one says, the other is called with.

The centre may be exchanged for another database, as a restore does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from center import details
from center.backup import catching_up
from center.backup.taking import take_up
from center.catalogue.shelf import CatalogueShelf
from center.policy.shelf import PolicyShelf
from center.settling.refund import refund as refund_at_center
from center.settling.settle import settle_submitted
from center.tables import reference as center_reference
from center.tables import upload_grant
from domain.messages import DocumentsAsked, RefundAsked, TotalsSubmitted, UploadGranted
from infra.codec import encode
from infra.reference import ReferenceShelf
from tests.support.center import FRONTEND, OTHER_FRONTEND
from tests.support.frontend import CLINIC, HOSPITAL, line, new_frontend, rows, shelf, short_code, submission
from workers import deliver, desk, epochs, intake, refund, upload
from workers.tables import claim, upload_chunk

SEATS = {FRONTEND: HOSPITAL, OTHER_FRONTEND: CLINIC}


class City:
    """Two front-ends, and the centre they speak to now."""

    def __init__(self, folder: Path, center: Engine) -> None:
        self.center = center
        self.sites = {name: new_frontend(f"sqlite:///{folder}/{name}.db", code) for name, code in SEATS.items()}
        self._serial = 0
        self._seconds = 1000.0

    @property
    def shelf(self) -> ReferenceShelf:
        """The reference data of the centre as it is now."""
        return ReferenceShelf(center_reference)

    def close(self) -> None:
        """Let go of the front-ends."""
        for engine in self.sites.values():
            engine.dispose()

    # ── The day's work ──

    def hand_in(
        self, frontend: str, persons: Sequence[str], *, fen: int, at: datetime, institution: str = ""
    ) -> list[str]:
        """One claim for each person, totalled at the desk, in the order given; the visit numbers."""
        code = institution or SEATS[frontend]
        good = line(1, unit_price_1e4=fen * 100, quantity_1e2=100, line_amount_fen=fen)
        batch = []
        for person in persons:
            self._serial += 1
            visit_no = f"{short_code(code)}{self._serial:010d}"
            lines = [good, good._replace(line_no=2)]
            batch.append(submission(code, f"key-{self._serial}", lines=lines, person=person, visit_no=visit_no))
        intake.accept(self.sites[frontend], batch, at=at)
        desk.preprocess(self.sites[frontend], shelf(), code, limit=300, at=at, now=0.0)
        return [each.visit.visit_no for each in batch]

    def open_totals(self, frontend: str) -> TotalsSubmitted | None:
        """What the outbox would send now."""
        with self.sites[frontend].connect() as connection:
            found = connection.execute(
                select(claim.c.totals, claim.c.policy_version, claim.c.catalogue_version)
                .where(claim.c.state == "totalled", claim.c.kind == "normal")
                .order_by(claim.c.claim_id)
            ).all()
        if not found:
            return None
        from domain.messages import ClaimTotals
        from infra.codec import unpack

        return TotalsSubmitted(
            policy_version=found[0].policy_version,
            catalogue_version=found[0].catalogue_version,
            claims=tuple(unpack(row.totals, ClaimTotals) for row in found),
        )

    def settle(self, frontend: str, *, at: datetime, answer_arrives: bool = True) -> Any:
        """Send what is open to the centre, and record its answer unless that gets lost."""
        submitted = self.open_totals(frontend)
        if submitted is None:
            return None
        answered = settle_submitted(self.center, self.shelf, submitted, frontend=frontend, at=at)
        if answer_arrives:
            self.deliver(frontend, answered, at=at)
        return answered

    def deliver(self, frontend: str, answered: Any, *, at: datetime) -> bool:
        """What the link does with an answer."""
        with self.sites[frontend].begin() as connection:
            if not epochs.met(connection, answered.epoch, at=at):
                return False
            deliver.record_answers(connection, answered, at=at)
        return True

    def refund(
        self, frontend: str, visit_no: str, *, at: datetime, kept: Mapping[int, int] | None = None, batch_no: int = 1
    ) -> Any:
        """Take a settlement back, keeping so much of it, and record the answer."""
        engine = self.sites[frontend]
        refund.refund(engine, shelf(), SEATS[frontend], visit_no, batch_no, reason="误", at=at, kept=kept)
        return self.send_refunds(frontend, at=at)

    def send_refunds(self, frontend: str, *, at: datetime) -> Any:
        """Ask the centre for every refund that waits."""
        answered = None
        for asked in self.open_refunds(frontend):
            answered = refund_at_center(self.center, self.shelf, asked, frontend=frontend, at=at)
            with self.sites[frontend].begin() as connection:
                if epochs.met(connection, answered.epoch, at=at):
                    refund.record(connection, answered, at=at)
        return answered

    def open_refunds(self, frontend: str) -> list[RefundAsked]:
        """The refunds the front-end waits for."""
        with self.sites[frontend].connect() as connection:
            return [refund._message(row) for row in connection.execute(refund._DUE, {"rung_before": math.inf}).all()]

    def upload(self, frontend: str, *, at: datetime) -> int:
        """One slice: detail that is due goes to the centre; how many claims."""
        self._seconds += 100
        with self.center.begin() as connection:
            connection.execute(delete(upload_grant).where(upload_grant.c.frontend == frontend))
            connection.execute(
                insert(upload_grant).values(
                    frontend=frontend, window="noon", fence=7, first_fence=1, lines=10_000, granted_at=at,
                    cut_off=at + timedelta(hours=1), closes_at=at + timedelta(hours=1), lines_granted=0,
                    lines_received=0,
                )
            )  # fmt: skip
        granted = UploadGranted(window="noon", fence=7, lines=10_000, cut_off=at + timedelta(hours=1))

        def post(chunk: Any, envelope: bytes) -> bool:
            with self.center.begin() as connection:
                received = details.receive_details(
                    chunk, frontend=frontend, connection=connection, catalogues=CatalogueShelf(),
                    policies=PolicyShelf(), at=at,
                )  # fmt: skip
            with self.sites[frontend].begin() as connection:
                if epochs.met(connection, received.epoch, at=at):
                    deliver.record_receipts(connection, received)
                connection.execute(delete(upload_chunk))
            return True

        seconds = self._seconds
        link = upload.Link(seal=encode, post=post, now=lambda: at, seconds=lambda: seconds)
        return upload.upload(self.sites[frontend], granted, link).claims

    def states(self, frontend: str) -> list[str]:
        """Of every claim, in order."""
        return [row.state for row in rows(self.sites[frontend], claim.c.state)]

    # ── After a restore ──

    def ask_all(self, *, at: datetime, only: str = "") -> int:
        """The centre asks and the front-ends answer until nothing is left to ask; how many questions."""
        self._seconds += 100
        asked = 0
        with self.center.begin() as connection:
            questions = catching_up.tick(connection, now=self._seconds)
        for frontend, first in questions:
            question = first if not only or frontend == only else None
            while question is not None:
                asked += 1
                question = self.exchange(frontend, question, at=at)
        return asked

    def exchange(self, frontend: str, question: Any, *, at: datetime) -> Any:
        """One question answered; the next one."""
        with self.sites[frontend].begin() as connection:
            if isinstance(question, DocumentsAsked):
                page = epochs.page(connection, question, at=at)
                marked = None
            else:
                page, marked = None, epochs.mark_details(connection, question, at=at)
        with self.center.begin() as connection:
            if page is not None:
                return catching_up.keep(connection, page, frontend=frontend, at=at, now=self._seconds)
            assert marked is not None
            return catching_up.marked(connection, marked, frontend=frontend, now=self._seconds)

    def take_up(self, *, at: datetime) -> int:
        """Take up all that can be; how many documents."""
        taken = 0
        while count := take_up(self.center, self.shelf, PolicyShelf(), at=at):
            taken += count
        return taken

    def bring_up_to_date(self, *, at: datetime) -> int:
        """Everything a restored centre asks for, until it asks no more; how many documents were taken up."""
        taken = 0
        while True:
            asked, count = self.ask_all(at=at), self.take_up(at=at)
            if not asked and not count:
                return taken
            taken += count
