"""What has to hold at every moment, when it may be said that all is done, and what has to hold then."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from center.conservation.checking import examine
from center.ledger.verifying import verify
from domain.messages import ClaimAnswer
from domain.terms import PARTS
from infra.codec import pack, unpack
from tests.simulation.city import connecting, town
from tests.simulation.city.city import EPOCH
from workers.entitlement import key_of

if TYPE_CHECKING:
    from tests.simulation.city.run import Run

ALWAYS = {
    "more than one settlement under a key": (
        "SELECT visit_no, charge_batch_no, kind FROM settlement GROUP BY 1, 2, 3 HAVING count(*) > 1"
    ),
    "more than one contra of a settlement": (
        "SELECT contra_of FROM settlement WHERE contra_of IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
    ),
    "a contra that is not the negative of its original": (
        "SELECT c.settlement_no FROM settlement c JOIN settlement o ON o.settlement_no = c.contra_of"
        " WHERE (c.total_fen, c.fund_pay_fen, c.account_pay_fen) <> (-o.total_fen, -o.fund_pay_fen, -o.account_pay_fen)"
        " OR o.kind <> 'normal'"
    ),
    "a contra that does not give back what its original moved": (
        "SELECT original, person_no, key, sum(applied_fen) FROM (SELECT e.person_no, key, applied_fen,"
        " coalesce(s.contra_of, s.settlement_no) AS original FROM accumulator_entry e JOIN settlement s"
        " USING (settlement_no)) moved WHERE original IN (SELECT contra_of FROM settlement)"
        " GROUP BY 1, 2, 3 HAVING sum(applied_fen) <> 0"
    ),
    "a document whose postings do not add up to zero": (
        "SELECT {document} FROM posting GROUP BY 1 HAVING sum(amount_fen) <> 0"
    ),
    "a settlement without postings": (
        "SELECT settlement_no FROM settlement WHERE total_fen <> 0"
        " AND NOT EXISTS (SELECT FROM posting WHERE posting.{document} = settlement.settlement_no)"
    ),
    "an accumulator that is not the sum of its entries": (
        "SELECT person_no, key, coalesce(a.amount_fen, 0), coalesce(e.amount_fen, 0) FROM accumulator a FULL JOIN"
        " (SELECT person_no, key, sum(applied_fen) AS amount_fen FROM accumulator_entry GROUP BY 1, 2) e"
        " USING (person_no, key) WHERE coalesce(a.amount_fen, 0) <> coalesce(e.amount_fen, 0)"
    ),
    "an entry that does not start where the one before it ended": (
        "SELECT person_no, key, settlement_no FROM (SELECT person_no, key, settlement_no, before_fen, applied_fen,"
        " coalesce(sum(applied_fen) OVER (PARTITION BY person_no, key ORDER BY settlement_no"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS was FROM accumulator_entry) e"
        " WHERE was <> before_fen"
    ),
    "an account balance that is not what was paid from it": (
        "SELECT person_no, account_balance_fen, paid FROM person LEFT JOIN"
        " (SELECT substr(account, 9)::bigint AS person_no, sum(amount_fen) AS paid"
        "  FROM posting WHERE account LIKE 'account:%' GROUP BY 1) p USING (person_no)"
        f" WHERE account_balance_fen <> {town.BALANCE_FEN} - coalesce(paid, 0)"
    ),
}
"""Each finds nothing, whenever it is asked."""


LONGEST_LEASE = 120.0


def always(run: Run, *, is_recovering: bool = False) -> list[str]:
    """What is wrong with the centre's books now. While it recovers from a restore that lost a move two front-ends are
    open, until both have heard what the centre knows now."""
    document = _document_column(run)
    doors_and_leases = [] if is_recovering else both_open(run) + overspent(run)
    return doors_and_leases + [
        f"{what}: {rows[:3]}"
        for what, query in ALWAYS.items()
        if (rows := run.stage.center.rows(query.format(document=document)))
    ]


def both_open(run: Run) -> list[str]:
    """Institutions for which two front-ends would take what is new, and not each with its own part of the numbers."""
    opened: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for database in run.stage.frontends.values():
        for code, parts, part in database.rows(
            "SELECT institution_code, frontends, frontend_part FROM institution WHERE standing = 'open' AND active"
        ):
            opened[code].append((parts, part))
    return [
        f"two front-ends are open for {code}, with parts {doors}"
        for code, doors in opened.items()
        if len(doors) > 1 and ({parts for parts, _ in doors} != {PARTS} or len(set(doors)) < len(doors))
    ]


def overspent(run: Run) -> list[str]:
    """Accounts that front-ends may overdraw, or have: leases add up to no more than there was on the account, and what
    waits unposted at a front-end is within what the centre knows to have leased to it."""
    leased = {
        (frontend, bytes(key_of(citizen_id_no))): limit_fen
        for frontend, citizen_id_no, limit_fen in run.stage.center.rows(
            "SELECT frontend, citizen_id_no, limit_fen FROM offline_lease JOIN person USING (person_no)"
        )
    }
    by_person: Counter[bytes] = Counter()
    for (_, person), limit_fen in leased.items():
        by_person[person] += limit_fen
    wrong = [f"{fen} fen of one account are leased" for fen in by_person.values() if fen > town.BALANCE_FEN]
    for name, database in run.stage.frontends.items():
        for person, fen in database.rows(
            "SELECT person_key, sum(offline_fen) FROM claim WHERE offline_at IS NOT NULL"
            " AND state IN ('accepted', 'totalled', 'prepared') GROUP BY 1"
        ):
            limit_fen = leased.get((name, bytes(person)), 0)
            if fen > limit_fen:
                wrong.append(f"{name} has spent {fen} fen off-line of one account, and {limit_fen} are leased")
    return wrong


def _document_column(run: Run) -> str:
    found = run.stage.center.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'posting'::regclass"
        " AND attname IN ('document_no', 'settlement_no')"
    )
    return str(found[0][0])


def unfinished(run: Run) -> list[str]:
    """Who still owes whom something: open claims, detail without receipt, books that differ."""
    found = []
    for name, database in run.stage.frontends.items():
        for state, kind, count in database.rows(
            "SELECT state, kind, count(*) FROM claim WHERE state IN ('accepted', 'totalled', 'prepared') GROUP BY 1, 2"
        ):
            found.append(f"{name}: {count} {kind} claims {state}")
        ((due,),) = database.rows("SELECT count(*) FROM claim WHERE state = 'settled' AND detail_state = 0")
        if due:
            found.append(f"{name}: detail of {due} claims is due")
    ((held,),) = run.stage.center.rows("SELECT count(*) FROM outcome WHERE state = 'prepared'")
    if held:
        found.append(f"the centre holds {held} prepared claims")
    ((frozen,),) = run.stage.center.rows("SELECT count(*) FROM frozen_flow WHERE released_at IS NULL")
    if frozen:
        found.append(f"{frozen} flows are frozen")
    behind = run.stage.center.rows("SELECT frontend FROM catching_up WHERE done_at IS NULL AND waived_by IS NULL")
    found += [f"the restored centre has not all of {name} yet" for (name,) in behind]
    ((moving,),) = run.stage.center.rows(connecting.UNDER_WAY)
    if moving:
        found.append(f"{moving} institutions are moving")
    left = _left_to_a_person(run)
    cases = run.stage.center.rows(
        "SELECT kind, words, visit_no, charge_batch_no FROM difference_case"
        " WHERE closed_at IS NULL AND kind NOT LIKE 'restored-%' AND kind NOT LIKE 'offline-%'"
    )
    found += [f"open case {kind}: {words}" for kind, words, *key in cases if tuple(key) not in left]
    return found


def waits_for_a_slice(run: Run) -> bool:
    """Whether nothing is left but detail the centre has already, and moves that wait for it."""
    found = unfinished(run)
    details = [line for line in found if "detail of" in line]
    return bool(details) and all(line in details or "are moving" in line for line in found)


def _left_to_a_person(run: Run) -> set[tuple[str, int]]:
    """Claims that were told before a restore and could not be taken up again: each has its case, and waits for a
    person. Without a restore there are none."""
    rows = run.stage.center.rows(
        "SELECT visit_no, charge_batch_no FROM difference_case WHERE kind = 'restored-open' AND closed_at IS NULL"
    )
    if rows and not run.city.faults["centre restored"]:
        run.city.surprise("cases of a restore, and none took place")
    return {tuple(row) for row in rows}


def unclosed(run: Run) -> list[str]:
    """Periods whose day has come, and which no clearing has taken up."""
    rows = run.stage.center.rows("SELECT institution_code, name, state FROM clearing_period WHERE state = 'open'")
    missing = _uncleared(run)
    return missing and [*missing, *(f"period {name} of {code} is {state}" for code, name, state in rows)]


def unpaid(run: Run) -> list[str]:
    """What the accountants have left undone: a clearing that is not paid, a settlement in none, money still owed."""
    waiting = run.stage.center.rows(
        "SELECT institution_code, name, state FROM clearing_period WHERE state IN ('closed', 'confirmed')"
    )
    owed = run.stage.center.rows(
        "SELECT account, sum(amount_fen) FROM posting WHERE account LIKE 'cleared:%' GROUP BY 1"
        " HAVING sum(amount_fen) < 0"
    )
    return [*_uncleared(run), *(f"period {name} of {code} is {state}" for code, name, state in waiting),
            *(f"{account} is owed {-fen} fen" for account, fen in owed)]  # fmt: skip


def _uncleared(run: Run) -> list[str]:
    """Whether a settlement is in no clearing that stands."""
    ((settled, cleared),) = run.stage.center.rows(
        "SELECT (SELECT count(*) FROM settlement WHERE total_fen <> 0),"
        " (SELECT coalesce(sum(documents), 0) FROM clearing JOIN clearing_period USING (clearing_no))"
    )
    return [] if cleared == settled else [f"{settled} settlements, {cleared} of them in clearings that stand"]


def finally_(run: Run) -> list[str]:
    """What is wrong when everything is said to be done."""
    run.city.is_healing = True
    wrong = always(run)
    run.history.counts["sold off-line"] += sum(
        database.rows("SELECT count(*) FROM claim WHERE offline_at IS NOT NULL AND origin = ''")[0][0]
        for database in run.stage.frontends.values()
    )
    settled = center_settlements(run)
    for name, database in run.stage.frontends.items():
        wrong += agree(name, database, settled, _left_to_a_person(run))
        wrong += carried(name, database, run)
        wrong += _leases(run, name, database.rows("SELECT name, until FROM lease"))
    wrong += [f"the centre settled {key} and no front-end knows" for key in settled]
    wrong += _clients(run)
    wrong += [f"a refund gives back more than was paid: {row}" for row in run.stage.center.rows(_REST_BELOW_ZERO)]
    wrong += [f"parked as internal: {row}" for row in run.stage.center.rows(_INTERNAL)]
    wrong += details(run)
    wrong += books(run)
    return wrong[:12]


_REST_BELOW_ZERO = "SELECT visit_no, sum(total_fen) FROM settlement GROUP BY 1 HAVING sum(total_fen) < 0"
_INTERNAL = "SELECT visit_no, charge_batch_no, detail FROM parked WHERE refusal = 'internal'"


def books(run: Run) -> list[str]:
    """What the centre's own check of all five levels finds, and what is not as it was written into the chains."""
    engine = run.stage.center.engine("checks")
    tampered = [f"chain of {one.institution_code}, link {one.link_no}: {one.what}" for one in verify(engine).tamperings]
    return tampered + [f"books: {finding.why}" for finding in examine(engine, run.stage.shelves).findings]


Document = tuple[str, int, bool]
"""A visit, a number of it, and whether it takes another one back: two front-ends that know nothing of each other may
give one number to a claim and to a refund."""


def center_settlements(run: Run) -> dict[Document, Any]:
    """What the centre settled, row for row."""
    rows = run.stage.center.rows(
        "SELECT visit_no, charge_batch_no, kind, answer, settlement_no, institution_code, frontend FROM settlement"
    )
    return {(row[0], row[1], row[2] == "contra"): row for row in rows}


def agree(name: str, database: Any, settled: dict[Document, Any], left: set[tuple[str, int]]) -> list[str]:
    """Every claim is final, and settled at the front-end if and only if at the centre, with the same bytes."""
    wrong = []
    for visit_no, batch_no, state, kind, answer, code in database.rows(
        "SELECT visit_no, charge_batch_no, state, kind, answer, institution_code FROM claim WHERE origin = ''"
    ):
        document = visit_no, batch_no, kind == "contra"
        held = settled.get(document)
        if held is not None and held[6] == name:
            del settled[document]
        else:  # of two front-ends of one institution the other one was first with this number
            held = None
        if (visit_no, batch_no) in left:
            continue
        key = f"{name} {visit_no}-{batch_no} ({kind})"
        if state not in ("settled", "refused", "returned", "cancelled"):
            wrong.append(f"{key} is {state}")
        elif (state == "settled") != (held is not None):
            wrong.append(f"{key} is {state} here and {'not ' if held is None else ''}settled at the centre")
        elif held is not None:
            if pack(unpack(answer, ClaimAnswer)) != bytes(answer) or bytes(held[3]) != bytes(answer):
                wrong.append(f"{key}: the answer here is not the answer stored at the centre")
            if held[5] != code:
                wrong.append(f"{key} is of {held[5]} at the centre")
    return wrong


def carried(name: str, database: Any, run: Run) -> list[str]:
    """What came along with an institution is what stands where it came from, and nothing is still on its way to where
    it is served."""
    wrong = [
        f"{name}: {visit_no}-{batch_no} is still on its way here"
        for visit_no, batch_no in database.rows(
            "SELECT visit_no, charge_batch_no FROM arriving JOIN institution USING (institution_code)"
            " WHERE standing = 'open'"
        )
    ]
    found = "SELECT state, answer FROM claim WHERE visit_no = ? AND charge_batch_no = ? AND origin = ''"
    for visit_no, batch_no, state, answer, origin in database.rows(
        "SELECT visit_no, charge_batch_no, state, answer, origin FROM claim WHERE origin <> ''"
    ):
        if run.stage.frontends[origin].rows(found, visit_no, batch_no) != [(state, answer)]:
            wrong.append(f"{name}: {visit_no}-{batch_no} of {origin} came as {state}, and is not that there")
    return wrong


def _clients(run: Run) -> list[str]:
    """Each key was accepted once or never, and the client saw what is stored."""
    wrong = []
    for client in run.clients:
        rows = {}
        for database in run.stage.frontends.values():
            for key, visit_no, batch_no, state, answer in database.rows(
                "SELECT idempotency_key, visit_no, charge_batch_no, state, answer FROM claim"
                " WHERE institution_code = ? AND origin = ''",
                client.code,
            ):
                if key in rows and key is not None:
                    wrong.append(f"{key} was taken by both front-ends")
                rows[key] = (f"{visit_no}-{batch_no}", state, answer)
        for claim in client.claims:
            row = rows.get(claim.key)
            if claim.is_accepted and (row is None or row[:2] != (claim.number, claim.state)):
                wrong.append(f"{claim.key} is {claim.number} {claim.state} to its client and {row and row[:2]} to us")
            elif claim.is_accepted and row is not None and bytes(row[2] or b"") != claim.answer:
                wrong.append(f"{claim.key}: its client saw another answer than is stored")
            elif claim.is_rejected and row is not None:
                wrong.append(f"{claim.key} was rejected and is stored")
        for asked in client.refunds:
            if asked.contra_batch_no and asked.key not in rows:
                wrong.append(f"{asked.key} was taken and is not stored")
    return wrong


def _leases(run: Run, name: str, rows: list[Any]) -> list[str]:
    """Nobody holds a lease for longer than it could have been taken for."""
    ahead = max(host.offset for host in run.city.hosts.values()) + 2 * run.city.profile.skew_seconds
    longest = EPOCH + run.city.loop.now + ahead + LONGEST_LEASE
    return [f"{name}: lease {lease} is held until {until - EPOCH:.0f}" for lease, until in rows if until > longest]


def details(run: Run) -> list[str]:
    """Every settled claim's lines are at the centre, byte for byte those that were handed in."""
    held = {
        (visit_no, batch_no): bytes(lines)
        for visit_no, batch_no, lines in run.stage.center.rows(
            "SELECT visit_no, charge_batch_no, lines FROM detail JOIN settlement USING (settlement_no)"
        )
    }
    wrong = []
    left = _left_to_a_person(run)
    for name, database in run.stage.frontends.items():
        for visit_no, batch_no, lines in database.rows(
            "SELECT visit_no, charge_batch_no, lines FROM claim JOIN claim_content USING (claim_id)"
            " WHERE state = 'settled' AND kind <> 'contra' AND origin = ''"
        ):
            found = held.get((visit_no, batch_no))
            if found != bytes(lines) and (visit_no, batch_no) not in left:
                what = "missing" if found is None else "other lines"
                wrong.append(f"{name}: the detail of {visit_no}-{batch_no} at the centre: {what}")
    return wrong
