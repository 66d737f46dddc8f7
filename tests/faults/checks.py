"""What is still to be done when the faults are over, and what has to hold when nothing is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, text

from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, examine
from center.ledger.verifying import verify
from center.policy.shelf import PolicyShelf
from center.reconciling.daily import open_differences
from domain.lifecycle import ClaimState
from tests.faults.clients import Claim, Client, Refund
from tests.faults.town import PERSONS, Town
from tests.simulation.city import checks
from workers.claims import claim_no


@dataclass(frozen=True, slots=True)
class Rows:
    """A database as the checks of the simulation ask it."""

    of: Engine

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self.of.connect().execution_options(reading=True) as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def engine(self, name: str) -> Engine:
        """For checks that ask in their own way."""
        return self.of


def stage(town: Town) -> Any:
    """The town as a run of the simulation: its databases."""
    frontends = {site.frontend: Rows(site.engine) for site in town.sites}
    return SimpleNamespace(stage=SimpleNamespace(center=Rows(town.center), frontends=frontends))


# ── Is all done? ──


def unfinished(town: Town) -> list[str]:
    """Who still owes whom something, and which books are not compared yet; empty when all is done."""
    ready = town.supervisor.pids()
    found = [f"{name} is down" for name in town.everybody if name not in ready]
    found += checks.unfinished(stage(town))
    center = Rows(town.center)
    settled = dict(center.rows("SELECT institution_code, count(*) FROM settlement GROUP BY 1"))
    compared = {
        code: (theirs, ours, abs(difference) + abs(of_fund))
        for code, theirs, ours, difference, of_fund in center.rows(
            "SELECT institution_code, frontend_claims, center_claims, difference_fen, fund_difference_fen"
            " FROM reconciliation"
        )
    }
    found += [
        f"the books of {code} are not compared to the end: {compared.get(code)} of {count}"
        for code, count in settled.items()
        if compared.get(code) != (count, count, 0)
    ]
    with town.center.connect() as connection:
        found += [f"open difference {row}" for row in open_differences(connection)]
    return found


# ── Is all right? ──


def wrong(town: Town, clients: list[Client]) -> list[str]:
    """What is not as it has to be, once all is done."""
    run = stage(town)
    found = checks.always(run) + _books(town) + checks.details(run)
    settled = checks.center_settlements(run)
    held = {claim_no(visit_no, batch_no): row for (visit_no, batch_no, _), row in settled.items()}
    for name, database in run.stage.frontends.items():
        found += checks.agree(name, database, settled, set())
    found += [f"the centre settled {key} and no front-end knows" for key in settled]
    for client in clients:
        found += _told(client, held)
    found += _given_away(town)
    return found


def _books(town: Town) -> list[str]:
    """What is not as it was written into the chains, and what the centre's own check finds on its five levels."""
    tampered = [f"chain of {one.institution_code}: {one.what}" for one in verify(town.center).tamperings]
    shelves = Shelves(CatalogueShelf(), PolicyShelf())
    return tampered + [f"books: {finding.why}" for finding in examine(town.center, shelves).findings]


def _told(client: Client, settled: dict[str, Any]) -> Iterator[str]:
    """What contradicts what a client was told."""
    amounts = "total_fen, fund_pay_fen, account_pay_fen"
    query = f"SELECT idempotency_key, visit_no, charge_batch_no, state, {amounts} FROM claim"
    stored = {row[0]: row for row in Rows(client.site.engine).rows(query)}
    for claim in client.claims:
        yield from _claim(claim, stored.get(claim.key), settled)
    for asked in client.refunds:
        yield from _refund(asked, stored.get(asked.key), settled)


def _claim(claim: Claim, row: Any, settled: dict[str, Any]) -> Iterator[str]:
    if claim.state == "unknown" or (claim.is_buried and not claim.claim_no):
        if row is not None:
            yield f"{claim.key} is {claim.state} to its client and {row[3]} to us"
        return
    if row is None:
        yield f"{claim.key} was accepted as {claim.claim_no} and is lost"
        return
    number = claim_no(row[1], row[2])
    if (number, row[3]) != (claim.claim_no, claim.state):
        yield f"{claim.key} is {claim.claim_no} {claim.state} to its client and {number} {row[3]} to us"
    if claim.is_buried and number in settled:
        yield f"{claim.key} was cancelled, its client was told, and it is settled"
    if claim.state == ClaimState.SETTLED:
        if claim.settlement is None:
            yield f"{claim.key} is settled and its client was not told what it came to"
        elif _amounts(claim.settlement) != (settled[number][4], *row[4:]) if number in settled else True:
            yield f"{claim.key}: its client was told {_amounts(claim.settlement)}, the books say {tuple(row[4:])}"


def _refund(asked: Refund, row: Any, settled: dict[str, Any]) -> Iterator[str]:
    if asked.is_refused and row is not None:
        yield f"{asked.key} was refused to its client and is stored"
    if asked.contra_no and row is None:
        yield f"{asked.key} was accepted as {asked.contra_no} and is lost"
    if asked.state == ClaimState.SETTLED and settled.get(asked.contra_no, (None,) * 3)[2] != "contra":
        yield f"{asked.key} is settled as {asked.contra_no} to its client and the centre has no such contra"


def _amounts(settlement: dict[str, Any]) -> tuple[int, ...]:
    """The number, and in fen the total, what the fund paid and what the account paid."""
    amounts = (settlement[name] for name in ("total_amount", "fund_pay_amount", "account_pay_amount"))
    return (settlement["settlement_no"], *(int(amount.replace(".", "")) for amount in amounts))


def _given_away(town: Town) -> list[str]:
    """Logs that name a person. The log itself is not quoted."""
    return [
        f"{file.name} holds the identity number of a person"
        for file, words in town.written()
        if any(number in words for number in PERSONS)
    ]
