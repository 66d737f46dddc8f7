"""The audit: whether a run kept its promises, asked of the tables of both sides and of what the doors told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, select

import center.tables as centre
import workers.tables as site
from center.catalogue.shelf import CatalogueShelf
from center.conservation.checking import Shelves, examine
from center.ledger.verifying import verify
from center.policy.shelf import PolicyShelf
from city.hospitals import Told, is_as_expected
from city.sample.morning import City
from domain.lifecycle import FINAL, ClaimState
from domain.settlement import Settlement
from domain.totals import digest_of
from infra.database import reading
from workers.claims import claim_no

Key = tuple[str, int]
"""Visit and batch: a claim's number, the same on both sides."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise, whether it was kept, and the numbers that say so."""

    name: str
    kept: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the tables say of a run."""

    promises: tuple[Promise, ...]
    lost: int
    paid_twice: int
    difference_fen: int
    detail_lines_total: int
    detail_lines_uploaded: int

    @property
    def all_kept(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.kept for promise in self.promises)


@dataclass(slots=True)
class _Books:
    """Both sides' rows, read once."""

    settlements: list[Any]
    details: dict[int, Any]
    postings: dict[int, list[tuple[str, int]]]
    claims: dict[Key, Any]


def audit(center_engine: Engine, frontends: Mapping[str, Engine], told: Sequence[Told], city: City) -> Audit:
    """Ask the tables. Nothing is fixed here and nothing is believed that a process said of itself."""
    claims: dict[Key, Any] = {}
    quarantined = 0
    for engine in frontends.values():
        with reading(engine) as connection:
            claims |= {(row.visit_no, row.charge_batch_no): row for row in connection.execute(select(site.claim))}
            quarantined += _count(connection, site.quarantine)
    with center_engine.connect() as connection:
        books = _Books(
            settlements=list(connection.execute(select(centre.settlement))),
            details={row.settlement_no: row for row in connection.execute(select(centre.detail))},
            postings=_postings(connection),
            claims=claims,
        )
        quarantined += _count(connection, centre.quarantine)
        cases = connection.execute(
            select(func.count()).where(centre.difference_case.c.closed_at.is_(None))
        ).scalar_one()
        differences = _reconciled(connection, books)
        balances = _balances(connection, books, city)

    sums = examine(center_engine, Shelves(CatalogueShelf(), PolicyShelf()))

    chains = verify(center_engine)

    lost = _lost(books, told)
    twice = _paid_twice(books, told)
    difference_fen = _difference_fen(books)
    due, uploaded, bad_details = _details(books)
    wrong_ends = [one for one in told if not is_as_expected(one)]
    wrong_answers = _wrong_answers(books, told)
    unbalanced, broken = _unbalanced(books), _broken(books)

    promises = (
        Promise("接收的一笔不丢 nothing accepted is lost", not lost, f"{len(claims)} 笔在账，丢失 {len(lost)} 笔"),
        Promise(
            "一笔不重付 nothing is paid twice", not twice, f"{len(books.settlements)} 笔结算，重复 {len(twice)} 笔"
        ),
        Promise(
            "两边账一致 both books agree",
            difference_fen == 0 and differences == 0,
            f"差额 {difference_fen} 分，对账不符的机构 {differences} 家",
        ),
        Promise(
            "每分钱都有着落 every fen is accounted for",
            not unbalanced and not broken and not balances,
            f"借贷不平 {unbalanced} 笔，恒等式不成立 {broken} 笔，个人账户不符 {balances} 人",
        ),
        Promise(
            "五级账目相符 every sum holds at five levels",
            not sums.findings,
            f"核对 {sums.documents} 笔单据，不符 {len(sums.findings)} 处",
        ),
        Promise(
            "账本未被改动 the ledger is as it was written",
            not chains.tamperings,
            f"验 {chains.chains} 条链、{chains.documents} 份凭证，不符 {len(chains.tamperings)} 处",
        ),
        Promise(
            "明细就是汇总的明细 the detail is the detail",
            uploaded == due and not bad_details and not cases,
            f"应传 {due} 条，已传 {uploaded} 条，不符 {bad_details} 笔，未结差异 {cases} 件",
        ),
        Promise(
            "每笔都得到应有的结果 every claim ended as it should",
            not wrong_ends,
            f"{len(told)} 次提交，结果不符 {len(wrong_ends)} 次",
        ),
        Promise(
            "答复就是账上的数 what the doors said is what the books say",
            not wrong_answers,
            f"{sum(bool(one.amounts) for one in told)} 份结算答复，不符 {wrong_answers} 份",
        ),
        Promise("没有读不懂的消息 nothing in quarantine", not quarantined, f"隔离 {quarantined} 件"),
    )
    return Audit(
        promises=promises,
        lost=len(lost),
        paid_twice=len(twice),
        difference_fen=difference_fen,
        detail_lines_total=due,
        detail_lines_uploaded=uploaded,
    )


def _lost(books: _Books, told: Sequence[Told]) -> list[str]:
    """Claims a door took that no front-end holds to the end, and settled ones that the centre does not have."""
    held = {claim_no(*key): row for key, row in books.claims.items()}
    settled = {(row.visit_no, row.charge_batch_no) for row in books.settlements}
    lost = []
    for one in told:
        row = held.get(one.claim_no)
        if not one.claim_no:
            if not (one.problem or one.state):
                lost.append(f"{one.claim.number}")
        elif row is None or row.state not in FINAL:
            lost.append(one.claim_no)
    at_front_ends_only = [
        claim_no(*key) for key, row in books.claims.items() if row.state == ClaimState.SETTLED and key not in settled
    ]
    return sorted({*lost, *at_front_ends_only})


def _paid_twice(books: _Books, told: Sequence[Told]) -> list[str]:
    """Settlements beyond the one that each claim of a hospital is worth, by the visits that have them."""
    settled = Counter((row.visit_no, row.charge_batch_no) for row in books.settlements)
    numbers: dict[int, set[str]] = defaultdict(set)
    for one in told:
        if one.state == ClaimState.SETTLED:
            numbers[one.claim.number].add(one.claim_no)
    twice = [claim_no(*key) for key, count in settled.items() if count > 1]
    twice += [number for several in numbers.values() if len(several) > 1 for number in sorted(several)[1:]]
    asked_for = {number for several in numbers.values() for number in several}
    return sorted({*twice, *(claim_no(*key) for key in settled if claim_no(*key) not in asked_for)})


def _difference_fen(books: _Books) -> int:
    """By how many fen the books differ, institution by institution, every amount and both signs counted."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for row in books.settlements:
        for name in ("total_fen", "fund_pay_fen", "account_pay_fen"):
            sums[(row.institution_code, name)] += getattr(row, name)
    for row in books.claims.values():
        if row.state == ClaimState.SETTLED:
            for name in ("total_fen", "fund_pay_fen", "account_pay_fen"):
                sums[(row.institution_code, name)] -= getattr(row, name)
    return sum(map(abs, sums.values()))


def _reconciled(connection: Connection, books: _Books) -> int:
    """How many institutions the centre has not found in agreement on all that is settled."""
    settled = Counter((row.institution_code, row.settled_day) for row in books.settlements)
    compared = {(row.institution_code, row.day): row for row in connection.execute(select(centre.reconciliation))}
    return sum(
        1
        for key, count in settled.items()
        if key not in compared
        or (compared[key].frontend_claims, compared[key].center_claims) != (count, count)
        or compared[key].difference_fen
        or compared[key].fund_difference_fen
    )


def _unbalanced(books: _Books) -> int:
    """Settlements whose postings do not add up to zero, or not to what the settlement says who pays."""
    return sum(_is_unbalanced(row, books.postings[row.settlement_no]) for row in books.settlements)


def _is_unbalanced(row: Any, postings: Sequence[tuple[str, int]]) -> bool:
    by_kind: dict[str, int] = defaultdict(int)
    for account, amount_fen in postings:
        by_kind[account.partition(":")[0]] += amount_fen
    told = {
        "charges": -(row.total_fen - row.fund_pay_fen - row.account_pay_fen),
        "payable": -(row.fund_pay_fen + row.account_pay_fen),
        "fund": row.fund_pay_fen,
        "account": row.account_pay_fen,
        "share": row.institution_share_fen,
    }
    return sum(by_kind.values()) != 0 or any(by_kind[kind] != amount for kind, amount in told.items())


def _broken(books: _Books) -> int:
    """Settlements that break an identity of the specification."""
    return sum(bool(_settlement(row).broken_identities()) for row in books.settlements)


def _settlement(row: Any) -> Settlement:
    return Settlement(
        total_fen=row.total_fen,
        fund_pay_fen=row.fund_pay_fen,
        account_pay_fen=row.account_pay_fen,
        pre_self_pay_fen=row.pre_self_pay_fen,
        deductible_fen=row.deductible_fen,
        own_pay_fen=row.own_pay_fen,
        self_pay_fen=row.self_pay_fen,
        over_cap_fen=row.over_cap_fen,
        institution_share_fen=row.institution_share_fen,
    )


def _balances(connection: Connection, books: _Books, city: City) -> int:
    """Persons whose account is not what it was less what it paid, or whose accumulators are not what was applied."""
    first = {person.citizen_id_no: person.account_balance_fen for person in city.people}
    paid: dict[int, int] = defaultdict(int)
    for row in books.settlements:
        paid[row.person_no] += row.account_pay_fen
    people = connection.execute(
        select(centre.person.c.person_no, centre.person.c.citizen_id_no, centre.person.c.account_balance_fen)
    )
    wrong = {
        row.person_no for row in people if row.account_balance_fen != first[row.citizen_id_no] - paid[row.person_no]
    }
    entry, held = centre.accumulator_entry.c, centre.accumulator.c
    applied = {
        (row.person_no, row.key): int(row.applied)
        for row in connection.execute(
            select(entry.person_no, entry.key, func.sum(entry.applied_fen).label("applied")).group_by(
                entry.person_no, entry.key
            )
        )
    }
    stands = {
        (row.person_no, row.key): row.amount_fen
        for row in connection.execute(select(held.person_no, held.key, held.amount_fen))
    }
    wrong |= {key[0] for key in applied.keys() | stands.keys() if applied.get(key, 0) != stands.get(key, 0)}
    return len(wrong)


def _details(books: _Books) -> tuple[int, int, int]:
    """Lines that had to be uploaded, lines that are at the centre, and settlements whose detail is not their own."""
    due = uploaded = bad = 0
    for row in books.settlements:
        due += row.line_count
        found = books.details.get(row.settlement_no)
        if found is not None:
            uploaded += found.line_count
            kept = (found.line_count, found.total_fen, digest_of(found.lines))
            bad += kept != (row.line_count, row.total_fen, row.digest)
    return due, uploaded, bad


def _wrong_answers(books: _Books, told: Sequence[Told]) -> int:
    """Answers whose amounts are not those of the centre's settlement."""
    settled = {claim_no(row.visit_no, row.charge_batch_no): row for row in books.settlements}
    wrong = 0
    for one in told:
        if not one.amounts:
            continue
        row = settled.get(one.claim_no)
        wrong += row is None or dict(one.amounts) != _amounts(_settlement(row))
    return wrong


def _amounts(settlement: Settlement) -> dict[str, int]:
    return {
        "total_amount": settlement.total_fen,
        "fund_pay_amount": settlement.fund_pay_fen,
        "account_pay_amount": settlement.account_pay_fen,
        "own_pay_amount": settlement.own_pay_fen,
        "self_pay_amount": settlement.self_pay_fen,
        "person_share_amount": settlement.person_share_fen,
        "pre_self_pay_amount": settlement.pre_self_pay_fen,
        "deductible_amount": settlement.deductible_fen,
    }


def _postings(connection: Connection) -> dict[int, list[tuple[str, int]]]:
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for row in connection.execute(select(centre.posting)):
        found[row.document_no].append((row.account, row.amount_fen))
    return found


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
