"""What if (政策试算): the settlements of a time settled again, in order, under a draft of the policy.

Each settlement keeps what it was computed from (`center.settling.inputs`). First the policy it was made under must come
to the very cells and movements that are stored; only then does what the draft comes to mean anything. Under the draft a
person runs through their own year again: accumulators and accounts move as the draft moves them, on top of whatever
else moved them then. Persons are independent of each other, so one person's state is all that is kept in memory. What a
settlement took back, it takes back as the draft had settled it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import groupby

from sqlalchemy import Connection, Engine, select, text

from center.policy import history
from center.policy.history import Cells, Entries, Stored
from center.policy.replayed import Affected, Figures, Replayed
from center.tables import reference
from domain.benefit import accumulator_keys, settle
from domain.money import yuan
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce, PolicySet
from domain.policy.reading import parse
from domain.projection import exchange_amounts
from domain.settlement import ACCOUNT as OWN_ACCOUNT
from domain.settlement import FAMILY_ACCOUNT, FUND_PREFIX
from domain.visit import VisitType
from infra.reference import POLICY

MOST_NAMED = 10
"""So many settlements that differ, or that the draft does not settle, are named."""


class CannotReplay(Exception):
    """The policy in force does not come to what is stored, so nothing a draft comes to would mean anything.

    `settlements` names the first ones by number, with the reason.
    """

    def __init__(self, words: str, settlements: list[tuple[int, str]]) -> None:
        self.words, self.settlements = words, settlements
        super().__init__(words)


def replay(
    engine: Engine,
    draft: PolicySet,
    *,
    first_day: date,
    last_day: date,
    most: int = 20,
    progress: Callable[[int], None] | None = None,
) -> Replayed:
    """Settle what was settled on these days again. Raises CannotReplay.

    The draft stands in for the set with its id; where the policy of the time had none with that id, it stands alone.
    `progress` is told now and then how many settlements are done.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        return _Replay(_Books(connection, draft), Replayed(draft.version, first_day, last_day), most).run(
            connection, progress
        )


class _Books:
    """The policy of the time, by the version a settlement names, and the same with the draft in it."""

    def __init__(self, connection: Connection, draft: PolicySet) -> None:
        rows = connection.execute(select(reference.c.version, reference.c.content).where(reference.c.kind == POLICY))
        self._content: dict[str, bytes] = {row.version: row.content for row in rows}
        self._draft = draft
        self._alone = PolicyBook([draft])
        self._held: dict[str, tuple[PolicyBook, PolicyBook]] = {}

    def of(self, policy_version: str) -> tuple[PolicyBook, PolicyBook]:
        """The book of then, and the draft's. Raises KeyError for a version that is not kept."""
        books = self._held.get(policy_version)
        if books is None:
            sets = [parse(self._content[version].decode()) for version in policy_version.split("+")]
            ids = [each.set_id for each in sets]
            drafted = [self._draft if each.set_id == self._draft.set_id else each for each in sets]
            books = PolicyBook(sets), (PolicyBook(drafted) if self._draft.set_id in ids else self._alone)
            self._held[policy_version] = books
        return books


@dataclass(slots=True)
class _Running:
    """One person on the way through the days: what stood then, and how far the draft has moved away from it."""

    then: dict[str, int]
    moved: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    account_fen: int = 0
    family_fen: int = 0
    drafted: dict[int, tuple[Cells, Entries]] = field(default_factory=dict)
    """What the draft came to, by settlement number: a later one may take it back."""
    figures: Figures = field(default_factory=Figures)

    def accumulators(self, keys: tuple[str, ...]) -> dict[str, int]:
        """Where the draft's accumulators stand."""
        return {key: amount for key in keys if (amount := self.then.get(key, 0) + self.moved[key]) > 0}

    def note(self, stored: Stored, before: tuple[Cells, Entries], after: tuple[Cells, Entries]) -> None:
        """Move on past a settlement."""
        for key, amount, applied in before[1]:
            self.then[key] = amount + applied
            self.moved[key] -= applied
        for key, _, applied in after[1]:
            self.moved[key] += applied
        self.account_fen += _paid(before[0], OWN_ACCOUNT) - _paid(after[0], OWN_ACCOUNT)
        self.family_fen += _paid(before[0], FAMILY_ACCOUNT) - _paid(after[0], FAMILY_ACCOUNT)
        self.drafted[stored.settlement_no] = after


class _Replay:
    """One run."""

    def __init__(self, books: _Books, replayed: Replayed, most: int) -> None:
        self._books, self._replayed, self._most = books, replayed, most
        self._differing: list[tuple[int, str]] = []
        self._heap: list[tuple[int, int, Figures]] = []
        self._done = 0

    def run(self, connection: Connection, progress: Callable[[int], None] | None) -> Replayed:
        """All of it, person after person. Raises CannotReplay."""
        replayed = self._replayed
        with (
            closing(history.openings(connection, replayed.first_day)) as opening_rows,
            closing(history.settlements(connection, replayed.first_day, replayed.last_day)) as stored,
        ):
            openings = _Openings(opening_rows)
            for person_no, own in groupby(stored, key=lambda one: one.person_no):
                running = _Running(openings.of(person_no))
                for one in own:
                    self._settle_again(one, running)
                    self._done += 1
                    if progress is not None and self._done % history.ROWS_AT_ONCE == 0:
                        progress(self._done)
                self._close(person_no, running.figures)
        if self._differing:
            raise _cannot(self._differing)
        replayed.affected = [Affected(-number, figures) for _, number, figures in sorted(self._heap, reverse=True)]
        return replayed

    def _settle_again(self, stored: Stored, running: _Running) -> None:
        """Prove the settlement, settle it under the draft, and count it. Raises CannotReplay at the tenth that differs.

        Once one differs nothing will be said of the draft, so only the proving goes on.
        """
        before = stored.result()
        if stored.contra_of is None:
            after = self._again(stored, before, running)
        else:
            after = self._taken_back(stored, before, running)
        if self._differing:
            if len(self._differing) >= MOST_NAMED:
                raise _cannot(self._differing)
            return
        running.note(stored, before, after)
        self._count(stored, before[0], after[0], running)

    def _again(self, stored: Stored, before: tuple[Cells, Entries], running: _Running) -> tuple[Cells, Entries]:
        inputs = stored.computed_from()
        if inputs is None:
            self._differs(stored, "没有保存结算时的依据（早期版本结算）")
            return before
        try:
            then, drafted = self._books.of(stored.policy_version)
        except KeyError as version:
            self._differs(stored, f"政策版本 {version} 没有保存")
            return before
        totals, person, used, occasion = inputs
        try:
            proved = settle(totals, person, used, then, occasion)
            keys = accumulator_keys(person, occasion, then)
        except NoPolicyInForce as error:
            self._differs(stored, f"原政策不再给出结果：{error}")
            return before
        if (tuple(map(tuple, proved.cells)), tuple(map(tuple, proved.entries))) != before:
            self._differs(stored, _difference(before, (proved.cells, proved.entries), stored.visit_type))
            return before
        # Whatever else moved an accumulator meanwhile (a correction by hand) has moved the draft's too.
        for key in keys:
            running.then[key] = used.get(key, 0)
        person = replace(
            person,
            account_balance_fen=max(0, person.account_balance_fen + running.account_fen),
            family_balance_fen=max(0, person.family_balance_fen + running.family_fen),
        )
        try:
            amounts = running.accumulators(accumulator_keys(person, occasion, drafted))
            settled = settle(totals, person, amounts, drafted, occasion)
        except NoPolicyInForce as error:
            self._replayed.uncovered += 1
            if len(self._replayed.uncovered_first) < MOST_NAMED:
                self._replayed.uncovered_first.append((stored.settlement_no, str(error)))
            return before
        return settled.cells, settled.entries

    def _taken_back(self, stored: Stored, before: tuple[Cells, Entries], running: _Running) -> tuple[Cells, Entries]:
        """A contra settlement: the original with the other sign, then as now."""
        if not _mirrors(before, stored.original_result()):
            self._differs(stored, f"与被冲销的结算 {stored.contra_of} 不是正负相反")
            return before
        original = running.drafted.get(stored.contra_of or 0)
        return before if original is None else _negated(original)

    def _differs(self, stored: Stored, words: str) -> None:
        self._differing.append((stored.settlement_no, words))

    def _count(self, stored: Stored, before: Cells, after: Cells, running: _Running) -> None:
        kind = VisitType(stored.visit_type)
        then, now = exchange_amounts(before, kind), exchange_amounts(after, kind)
        one = Figures(
            1,
            then.total_fen,
            then.fund_pay_fen,
            now.fund_pay_fen,
            then.person_share_fen,
            now.person_share_fen,
            then.account_pay_fen,
            now.account_pay_fen,
        )
        replayed = self._replayed
        level = "" if stored.institution_level is None else str(stored.institution_level)
        for figures in (
            replayed.all,
            replayed.schemes[stored.scheme],
            replayed.levels[level],
            replayed.categories[stored.category],
            running.figures,
        ):
            figures.add(one)
        for column, cells in enumerate((before, after)):
            for _, payer, fen in cells:
                if payer.startswith(FUND_PREFIX):
                    replayed.funds[payer.removeprefix(FUND_PREFIX)][column] += fen

    def _close(self, person_no: int, figures: Figures) -> None:
        """Keep the person if they are among the most affected so far; of equals the one with the smaller number."""
        self._replayed.persons += 1
        difference = abs(figures.person_after_fen - figures.person_before_fen)
        if difference:
            self._replayed.changed_persons += 1
            heapq.heappush(self._heap, (difference, -person_no, figures))
            if len(self._heap) > self._most:
                heapq.heappop(self._heap)


class _Openings:
    """Accumulators as they stood before the first day, handed out person by person as the persons come."""

    def __init__(self, rows: Iterator[tuple[int, str, int]]) -> None:
        self._persons = groupby(rows, key=lambda row: row[0])
        self._next = next(self._persons, None)

    def of(self, person_no: int) -> dict[str, int]:
        """The person's; nobody is asked for twice, and numbers only rise."""
        while self._next is not None and self._next[0] < person_no:
            self._next = next(self._persons, None)
        if self._next is None or self._next[0] > person_no:
            return {}
        return {key: amount for _, key, amount in self._next[1]}


def _cannot(differing: list[tuple[int, str]]) -> CannotReplay:
    return CannotReplay("现行政策重算不出已存的结算，先查清这些结算，再谈草案", differing)


def _paid(cells: Cells, by: str) -> int:
    return sum([fen for _, payer, fen in cells if payer == by])


def _negated(result: tuple[Cells, Entries]) -> tuple[Cells, Entries]:
    cells, entries = result
    return (
        tuple((segment, payer, -fen) for segment, payer, fen in cells),
        tuple((key, before + applied, -applied) for key, before, applied in entries),
    )


def _mirrors(contra: tuple[Cells, Entries], original: tuple[Cells, Entries]) -> bool:
    """Whether every cell and every movement has the other sign; where accumulators start may differ."""
    return _amounts(contra) == _amounts(_negated(original))


def _amounts(result: tuple[Cells, Entries]) -> tuple[Mapping[tuple[str, str], int], Mapping[str, int]]:
    cells, entries = result
    return {(segment, payer): fen for segment, payer, fen in cells}, {key: applied for key, _, applied in entries}


def _difference(stored: tuple[Cells, Entries], proved: tuple[Cells, Entries], visit_type: str) -> str:
    kind = VisitType(visit_type)
    then, now = exchange_amounts(stored[0], kind), exchange_amounts(proved[0], kind)
    for name, was, became in zip(then._fields, then, now, strict=True):
        if was != became:
            return f"{name}：已存 {yuan(was)}，重算 {yuan(became)}"
    return "金额相同，分段或累计不同"
