"""A city whose months are cleared: settlements on any day, contras, deductions, and what the ledger must say of it."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, time
from itertools import count
from typing import Any

from sqlalchemy import Engine, text

from center.approving import decisions, proposals
from center.approving.registry import ACTIONS
from center.catalogue.shelf import CatalogueShelf
from center.clearing import actions, calendar, closing, opening, periods, schedule
from center.clearing.members import members_of_closed
from center.conservation.checking import Shelves, check_all
from center.policy.shelf import PolicyShelf
from center.serving.entering import enter
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from domain.clearing import CalendarRule, Flow
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimAnswer, ClaimTotals, RefundAsked
from infra.clock import SHANGHAI
from infra.reference import ReferenceShelf
from tests.support.center import (
    CATALOGUE_VERSION,
    FRONTEND,
    POLICY_VERSION,
    fill_center,
    institution_row,
    rows_of,
    submitted,
    totals,
)

MONTHS_CLOSE_AFTER = CalendarRule(date(2026, 1, 1), 31, 5)
BY, SECOND = "张会计", "李科长"


def moment(day: date, hour: int = 10, minute: int = 0) -> datetime:
    """A moment of the day, in Asia/Shanghai."""
    return datetime.combine(day, time(hour, minute), tzinfo=SHANGHAI)


class City:
    """One centre; each test takes an institution of its own."""

    def __init__(self, engine: Engine, *, balance_fen: int = 0) -> None:
        self.engine = engine
        self.shelf: ReferenceShelf = fill_center(engine, persons=200, balance_fen=balance_fen)
        self._codes, self._visits = count(1), count(1)
        with engine.begin() as connection:
            calendar.set_rule(connection, MONTHS_CLOSE_AFTER, by=BY, reason="年初设定", at=moment(date(2026, 1, 1)))

    def institution(self) -> str:
        """A new institution's code."""
        code = f"4401009{next(self._codes):05d}"
        with self.engine.begin() as connection:
            enter(connection, [institution_row(code, FRONTEND)])
        return code

    def claim(
        self, code: str, person: int, day: date, in_scope_fen: int = 50_000, visit_type: str = "3"
    ) -> ClaimTotals:
        """A claim of a new visit."""
        stay = {"visit_started": day, "covers_to": day} if visit_type == "1" else {}
        return totals(
            0,
            institution_code=code,
            visit_no=f"{'Z' if stay else 'T'}{next(self._visits):015d}",
            citizen_id_no=synthetic_citizen_id(person),
            visit_type=visit_type,
            visit_date=day,
            total_fen=in_scope_fen + 1000,
            in_scope_fen=in_scope_fen,
            **stay,
        )

    def settle(self, claim: ClaimTotals, at: datetime) -> ClaimAnswer:
        """Settle one claim at the moment."""
        (answer,) = settle_submitted(self.engine, self.shelf, submitted(claim), frontend=FRONTEND, at=at).answers
        assert not answer.refusal, answer
        return answer

    def settled(self, code: str, person: int, day: date, in_scope_fen: int = 50_000, **change: Any) -> ClaimAnswer:
        """Settle a new claim on the day."""
        return self.settle(self.claim(code, person, day, in_scope_fen, **change), moment(day))

    def take_back(self, code: str, answer: ClaimAnswer, at: datetime) -> ClaimAnswer:
        """Take a settlement back."""
        asked = RefundAsked(
            institution_code=code,
            visit_no=answer.visit_no,
            charge_batch_no=answer.charge_batch_no,
            contra_batch_no=answer.charge_batch_no + 1,
            reason="收费有误",
            policy_version=POLICY_VERSION,
            catalogue_version=CATALOGUE_VERSION,
        )
        answered = refund(self.engine, self.shelf, asked, frontend=FRONTEND, at=at)
        assert not answered.refusal, answered
        return answered.answers[0]

    def tick(self, at: datetime, holder: str = "one") -> schedule.Ticked:
        """What the beat does, at the moment."""
        return schedule.tick(self.engine, at=at, now=at.timestamp(), holder=holder)

    def opened(self, today: date) -> None:
        """Open the periods there should be."""
        with self.engine.begin() as connection:
            opening.open_due(connection, calendar.load(connection), today)

    def periods_of(self, code: str) -> list[periods.PeriodRow]:
        """An institution's periods, in their order."""
        with self.engine.connect() as connection:
            rows = [row for row, _ in periods.listed(connection, institution_code=code)]
        return sorted(rows, key=lambda row: (row.last_day, row.scheme, row.clearing_type))

    def close(self, period_no: int, at: datetime) -> int:
        """Close a period; the clearing's number."""
        return closing.close(self.engine, period_no, by=BY, reason="关账", at=at)

    def confirm(self, period_no: int, at: datetime) -> None:
        """The institution agrees."""
        with self.engine.begin() as connection:
            periods.confirm(connection, period_no, by="医院财务", reason="无异议", at=at)

    def propose(self, action: str, payload: dict[str, Any], at: datetime) -> int:
        """Propose an action."""
        with self.engine.begin() as connection:
            effect = ACTIONS[action].predict(connection, payload, at=at)
            return proposals.propose(
                connection, action, payload, by=BY, reason="复核后", institution_code="*", effect=effect, at=at
            )

    def done(self, action: str, payload: dict[str, Any], at: datetime) -> str:
        """Have an action proposed by one and approved by another; what was done."""
        outcome = decisions.approve(self.engine, self.propose(action, payload, at), by=SECOND, at=at)
        assert outcome.state == "approved", outcome
        return outcome.words

    def deduct(self, settlement_no: int, fen: int, at: datetime, layer: str = "basic") -> str:
        """Deduct from a settlement."""
        return self.done(actions.DEDUCT, {"parts": [[settlement_no, layer, fen]]}, at)

    def pay(self, period_no: int, at: datetime) -> str:
        """Pay a confirmed period."""
        return self.done(actions.PAY, {"period_no": period_no}, at)

    # ── What must hold ────────────────────────────────────────────────────────────────────────────────────

    def balance(self, account: str) -> int:
        """What an account of the ledger stands at."""
        ((fen,),) = rows_of(
            self.engine, "SELECT coalesce(sum(amount_fen), 0)::bigint FROM posting WHERE account = :a", a=account
        )
        return int(fen)

    def check(self, code: str) -> None:
        """Payable = clearings - paid; every settlement in one clearing, or open; periods = days = documents."""
        flows = rows_of(
            self.engine,
            "SELECT DISTINCT institution_code, scheme, clearing_type FROM settlement WHERE institution_code = :c",
            c=code,
        )
        for flow in flows:
            self._check_money(Flow(*flow))
            self._check_membership(Flow(*flow))
        shelves = Shelves(CatalogueShelf(), PolicyShelf())
        at = moment(date(2028, 1, 1))
        assert check_all(self.engine, shelves, at=at, institution_code=code).findings == []

    def _check_money(self, flow: Flow) -> None:
        of = ":".join(flow)
        values = {"i": flow.institution_code, "s": flow.scheme, "t": flow.clearing_type}
        where = "institution_code = :i AND scheme = :s AND clearing_type = :t"

        def fen(what: str, table: str, more: str = "") -> int:
            ((found,),) = rows_of(
                self.engine, f"SELECT coalesce(sum({what}), 0)::bigint FROM {table} WHERE {where} {more}", **values
            )
            return int(found)

        standing = "clearing_no IN (SELECT clearing_no FROM clearing_period WHERE clearing_no IS NOT NULL)"
        owed = fen("fund_pay_fen + account_pay_fen", "settlement")
        cleared = fen("fund_fen + account_fen", "clearing", f"AND {standing}")
        own_due = fen("due_fen - carried_in_fen", "clearing", f"AND {standing}")
        paid = fen("amount_fen", "ledger_document", "AND kind = 'payment'")
        deducted = fen("amount_fen", "ledger_document", "AND kind = 'deduction'")
        given_back = fen("amount_fen", "ledger_document", "AND kind = 'deduction-back'")
        not_taken = (
            "AND NOT EXISTS (SELECT FROM clearing_member JOIN clearing_period USING (clearing_no)"
            " WHERE clearing_member.document_no = ledger_document.document_no) AND kind = "
        )
        pending = (
            fen("amount_fen", "ledger_document", f"{not_taken} 'deduction-back'")
            + fen("amount_fen", "ledger_document", f"{not_taken} 'withheld-release'")
            - fen("amount_fen", "ledger_document", f"{not_taken} 'deduction'")
        )
        forfeited = fen("held_fen - released_fen", "withheld_release")

        payable, due, withheld = (-self.balance(f"{name}:{of}") for name in ("payable", "cleared", "withheld"))
        assert payable == owed - cleared
        assert due == own_due - paid + pending
        assert payable + due + withheld == owed - deducted + given_back - paid - forfeited

    def _check_membership(self, flow: Flow) -> None:
        members: Counter[int] = Counter()
        by_day: Counter[Any] = Counter()
        with self.engine.connect() as connection:
            values = flow._asdict()
            where = "institution_code = :institution_code AND scheme = :scheme AND clearing_type = :clearing_type"
            standing = connection.execute(
                text(
                    f"SELECT * FROM clearing WHERE {where} AND clearing_no IN (SELECT clearing_no FROM clearing_period)"
                ),
                values,
            ).all()
            for one in standing:
                of = members_of_closed(connection, one, flow)
                numbers = set(
                    connection.execute(
                        text(
                            f"SELECT settlement_no FROM settlement WHERE {where} AND settled_day <= :last"
                            " AND (CAST(:since AS date) IS NULL OR settled_day > :since)"
                        ),
                        {**values, "since": one.since_day, "last": one.last_day},
                    ).scalars()
                )
                numbers = numbers - set(of.elsewhere) | set(of.late)
                members.update(numbers)
                assert len(numbers) == one.documents
            rows = connection.execute(
                text(
                    f"SELECT day, clearing_day.documents, clearing_day.fund_fen + clearing_day.account_fen AS fen"
                    f" FROM clearing_day JOIN clearing USING (clearing_no) WHERE {where}"
                    " AND clearing_no IN (SELECT clearing_no FROM clearing_period)"
                ),
                values,
            ).all()
            for day, documents, fen in rows:
                by_day[day, "documents"] += documents
                by_day[day, "fen"] += fen
            settlements = connection.execute(
                text(
                    f"SELECT settlement_no, settled_day, fund_pay_fen + account_pay_fen FROM settlement WHERE {where}"
                ),
                values,
            ).all()
        assert all(times == 1 for times in members.values())
        summed: Counter[Any] = Counter()
        for number, day, fen in settlements:
            if number in members:
                summed[day, "documents"] += 1
                summed[day, "fen"] += fen
        assert {key: fen for key, fen in by_day.items() if fen} == {key: fen for key, fen in summed.items() if fen}
