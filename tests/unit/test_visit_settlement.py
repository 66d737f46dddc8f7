"""Settling registered visits: what is imported and not settled, once, in order, and only when all rows are in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event, select, update

from domain.lifecycle import ClaimState, VisitState
from domain.messages import ClaimAnswer, ClaimsAnswered
from domain.refusals import Refusal, VisitRefusal
from domain.visit import Discharge, pack_lines, unpack_lines
from infra.database import reading
from tests.support.frontend import DAY, HOSPITAL, NOON, new_frontend, shelf
from tests.support.visits import charge, deliver, delivery, give_back, outpatient, registered
from workers import deliver as delivering
from workers import desk, refund
from workers.claims import outcomes
from workers.tables import claim, claim_content, institution
from workers.visits import (
    Done,
    Ended,
    Per,
    Settling,
    ToSettle,
    cancel,
    discharge,
    find,
    give_up,
    handed_out,
    import_lines,
    refused,
    refused_of_exchange,
    send_again,
    settle_visit,
    settle_visits,
    to_hand_out,
)


@pytest.fixture
def engine(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/frontend.db")
    yield engine
    engine.dispose()


@pytest.fixture
def visit(engine):
    return registered(engine)[0]


def settle(engine, visit_no, *, final=False, **options):
    return settle_visit(engine, HOSPITAL, visit_no, final=final, at=NOON, **options)


def lines_of(engine, settling):
    with engine.connect() as connection:
        packed = connection.execute(
            select(claim_content.c.lines).where(claim_content.c.claim_id == settling.claim_id)
        ).scalar_one()
    return [line.line_no for line in unpack_lines(packed)]


def answer(engine, settling, refusal=""):
    """Turn the desk, and let the centre answer the batch."""
    desk.preprocess(engine, shelf(), HOSPITAL, limit=100, at=NOON, now=1.0)
    said = ClaimAnswer(
        settling.visit_no, settling.charge_batch_no, refusal, settlement_no=0 if refusal else 7, settled_at=NOON
    )
    with engine.begin() as connection:
        delivering.record_answers(connection, ClaimsAnswered(answers=(said,)), at=NOON)


def view(engine, visit_no):
    with engine.connect() as connection:
        return find(connection, HOSPITAL, visit_no)


def offered(engine, **options):
    with reading(engine) as connection:
        return to_hand_out(connection, HOSPITAL, at=NOON + timedelta(minutes=1), limit=100, **options)


def test_a_batch_is_what_was_imported_and_not_settled_and_numbers_go_on(engine, visit):
    deliver(engine, delivery(visit, charge(1), charge(2)))
    first = settle(engine, visit)
    answer(engine, first)
    deliver(engine, delivery(visit, charge(3)))
    second = settle(engine, visit, final=True)

    assert (first.charge_batch_no, lines_of(engine, first)) == (1, [1, 2])
    assert (second.charge_batch_no, lines_of(engine, second)) == (2, [3])
    with engine.connect() as connection:
        rows = connection.execute(select(claim.c.final, claim.c.covers_to, claim.c.channel).order_by(claim.c.claim_id))
        assert [tuple(row) for row in rows] == [(False, DAY, "visit"), (True, DAY, "visit")]


def test_nothing_to_settle_is_refused(engine, visit):
    assert settle(engine, visit).codes == (VisitRefusal.NOTHING_TO_SETTLE,)


def test_failed_and_unread_rows_and_a_batch_under_way_are_told_together(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    settle(engine, visit)
    deliver(engine, delivery(visit, charge(2), charge(3, line_amount_fen=1)))

    outcome = settle(engine, visit, unread=lambda connection, code, visit_no: 4)

    assert outcome.codes == (VisitRefusal.ROWS_FAILED, VisitRefusal.ROWS_UNREAD, VisitRefusal.BATCH_UNDER_WAY)
    assert "还有 4 条费用明细未读入" in outcome.words


def test_the_same_key_asks_once(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    first = settle(engine, visit, key="k")

    assert settle(engine, visit, key="k") == Settling(first.claim_id, visit, 1, is_new=False)
    other = registered(engine)[0]
    assert settle(engine, other, key="k").codes == (VisitRefusal.KEY_REUSED,)


def test_the_same_key_is_answered_when_the_institution_is_not_served_any_more(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    first = settle(engine, visit, key="k")
    with engine.begin() as connection:
        connection.execute(update(institution).values(active=False))

    assert settle(engine, visit, key="k") == Settling(first.claim_id, visit, 1, is_new=False)
    assert settle(engine, visit, key="new").codes == (VisitRefusal.NOT_SERVED,)


def test_an_item_that_gives_back_more_than_it_was_charged_is_refused_at_settlement(engine, visit):
    """AMB-31: the visit's sum is fine, the item's is not."""
    deliver(engine, delivery(visit, charge(1, local_item_code="L003", local_item_name="手套")))
    deliver(engine, delivery(visit, give_back(2, -100)))

    outcome = settle(engine, visit)

    assert outcome.codes == (VisitRefusal.REVERSED_TOO_MUCH,)
    assert "L001" in outcome.words


def test_a_final_settlement_closes_the_stay_to_charges_and_with_the_discharge_it_is_closed(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    settle(engine, visit, final=True)
    assert view(engine, visit).state is VisitState.SETTLED

    discharge(engine, HOSPITAL, Discharge(visit_no=visit, discharge_date=DAY, discharge_diagnosis_1="肺炎"), at=NOON)
    assert view(engine, visit).state is VisitState.CLOSED
    assert settle(engine, visit, final=True).codes[0] is VisitRefusal.STATE


def test_a_final_settlement_with_nothing_left_makes_the_last_one_final(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    answer(engine, settle(engine, visit))

    assert settle(engine, visit, final=True) == Ended(visit, 1)
    assert (view(engine, visit).state, view(engine, visit).final_batch_no) == (VisitState.SETTLED, 1)


def test_outpatients_settle_again_and_again_and_have_no_final_settlement(engine):
    (visit_no,) = registered(engine, outpatient())
    for number in (1, 2):
        deliver(engine, delivery(visit_no, charge(number)))
        settling = settle(engine, visit_no)
        answer(engine, settling)
        assert settling.charge_batch_no == number

    assert settle(engine, visit_no, final=True).codes == (VisitRefusal.NO_STAY,)


def test_a_refused_batch_is_asked_again_as_it_was(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    first = settle(engine, visit, final=True)
    answer(engine, first, Refusal.ENTITLEMENT_SUSPENDED)
    assert view(engine, visit).lines_unsettled == 0, "what is at the centre's door is in no other batch"

    again = settle(engine, visit, final=True)

    assert (again.claim_id, again.charge_batch_no) == (first.claim_id, 1)
    with engine.connect() as connection:
        assert connection.execute(select(claim.c.state)).scalars().all() == [ClaimState.ACCEPTED]


def test_a_refused_batch_is_given_up_and_its_lines_are_settled_with_the_newer_ones(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    first = settle(engine, visit, final=True)
    answer(engine, first, Refusal.ENTITLEMENT_SUSPENDED)
    with engine.connect() as connection:
        (batch,) = refused(connection, HOSPITAL)
        assert refused_of_exchange(connection, HOSPITAL) == [batch]
    assert (batch.visit_no, batch.charge_batch_no, batch.words) == (visit, 1, "参保人待遇已暂停")

    for _ in range(2):
        assert give_up(engine, HOSPITAL, visit, 1, at=NOON) == Done(visit)

    assert view(engine, visit).state is VisitState.OPEN
    deliver(engine, delivery(visit, charge(2)))
    again = settle(engine, visit, final=True)
    assert (again.charge_batch_no, lines_of(engine, again)) == (2, [1, 2])
    assert send_again(engine, HOSPITAL, visit, 1, at=NOON).codes == (VisitRefusal.NOT_REFUSED,)
    with engine.connect() as connection:
        assert refused(connection, HOSPITAL) == []


def test_a_batch_is_sent_again_as_it_was_and_sending_it_twice_is_sending_it_once(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    first = settle(engine, visit, final=True)
    answer(engine, first, Refusal.PERSON_UNKNOWN)
    deliver_late = [send_again(engine, HOSPITAL, visit, 1, at=NOON) for _ in range(2)]

    assert deliver_late == [Settling(first.claim_id, visit, 1), Settling(first.claim_id, visit, 1, is_new=False)]
    assert give_up(engine, HOSPITAL, visit, 1, at=NOON).codes == (VisitRefusal.NOT_REFUSED,)
    assert give_up(engine, HOSPITAL, visit, 9, at=NOON).codes == (VisitRefusal.VISIT_UNKNOWN,)


def test_a_settlement_that_comes_after_a_batch_was_given_up_changes_nothing(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    first = settle(engine, visit)
    answer(engine, first, Refusal.INTERNAL)
    give_up(engine, HOSPITAL, visit, 1, at=NOON)

    answer(engine, first)

    again = settle(engine, visit)
    assert (again.charge_batch_no, lines_of(engine, again)) == (2, [1]), "its lines are free, and settled once"


def test_a_discharge_is_handed_out_after_every_result_of_its_stay(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    answer(engine, settle(engine, visit))
    deliver(engine, delivery(visit, charge(2)))
    last = settle(engine, visit, final=True)
    discharge(engine, HOSPITAL, Discharge(visit_no=visit, discharge_date=DAY, discharge_diagnosis_1="肺炎"), at=NOON)

    def kinds():
        found = offered(engine)
        handed_out(engine, [each.hand_out_id for each in found], at=NOON)
        return [(str(each.kind), each.number) for each in found]

    assert kinds() == [("registration", 0), ("result", 1)], "the last batch is on its way"
    assert kinds() == []
    answer(engine, last)
    assert kinds() == [("result", 2), ("discharge", 0)]


def test_a_discharge_waits_for_results_of_a_later_look_and_for_no_flag(engine, visit):
    for number in (1, 2):
        deliver(engine, delivery(visit, charge(number)))
        answer(engine, settle(engine, visit, final=number == 2))
    discharge(engine, HOSPITAL, Discharge(visit_no=visit, discharge_date=DAY, discharge_diagnosis_1="肺炎"), at=NOON)

    found = offered(engine)
    assert [(each.kind, each.number) for each in found] == [("registration", 0), ("result", 1)]
    handed_out(engine, [each.hand_out_id for each in found], at=NOON)
    assert [(each.kind, each.number) for each in offered(engine)] == [("result", 2), ("discharge", 0)]


def test_a_batch_that_went_back_frees_its_lines_and_its_stay_but_not_its_number(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    settling = settle(engine, visit, final=True)
    with engine.begin() as connection:
        bad = charge(1, line_amount_fen=1)
        connection.execute(
            update(claim_content).where(claim_content.c.claim_id == settling.claim_id).values(lines=pack_lines([bad]))
        )
    desk.preprocess(engine, shelf(), HOSPITAL, limit=100, at=NOON, now=1.0)
    assert view(engine, visit).state is VisitState.OPEN

    again = settle(engine, visit, final=True)

    assert (again.charge_batch_no, lines_of(engine, again)) == (2, [1])


def test_a_full_backlog_takes_nothing_and_uses_up_no_number(tmp_path):
    engine = new_frontend(f"sqlite:///{tmp_path}/small.db", backlog_cap=1)
    numbers = registered(engine, outpatient(), outpatient())
    deliver(engine, *[delivery(number, charge(1)) for number in numbers])
    asked = [ToSettle(institution_code=HOSPITAL, visit_no=number) for number in numbers]

    first, second = settle_visits(engine, asked, at=NOON)

    assert isinstance(first, Settling)
    assert second.codes == (VisitRefusal.BACKLOG_FULL,)
    assert view(engine, numbers[1]).last_batch_no == 0
    engine.dispose()


def test_what_the_desk_totals_carries_the_stay(engine, visit):
    deliver(engine, delivery(visit, charge(1, DAY - timedelta(days=1)), charge(2)))
    settling = settle(engine, visit)
    (totals,) = desk.preprocess(engine, shelf(), HOSPITAL, limit=10, at=NOON, now=1.0).totals

    assert (totals.visit_no, totals.charge_batch_no, totals.final) == (visit, settling.charge_batch_no, False)
    assert (totals.visit_started, totals.covers_to) == (DAY - timedelta(days=5), DAY)


# ── Handing out ──


def test_registration_result_and_discharge_are_handed_out_in_order_and_once(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    answer(engine, settle(engine, visit, final=True))
    discharge(
        engine,
        HOSPITAL,
        Discharge(visit_no=visit, discharge_date=DAY, discharge_diagnosis_1="肺炎", discharge_outcome="1"),
        at=NOON,
    )

    waiting = offered(engine)
    assert [each.table for each in waiting] == ["RYDJ", "FYJS", "CYDJ"]
    registration, result, left = [each.records[0] for each in waiting]
    assert registration["inpatient_no"] == visit[-10:]
    assert (registration["read_flag"], registration["remark1"]) == (0, "2026-03-02 12:01:00")
    assert (result["charge_batch_no"], str(result["total_amount"])) == (1, "25.00")
    assert (left["discharge_date"], left["discharge_outcome"]) == (DAY, "1")

    assert handed_out(engine, [each.hand_out_id for each in waiting], at=NOON) == 3
    assert handed_out(engine, [each.hand_out_id for each in waiting], at=NOON) == 0
    assert offered(engine) == []


def test_a_registration_waits_a_moment_for_the_entitlement(engine, visit):
    with reading(engine) as connection:
        assert to_hand_out(connection, HOSPITAL, at=NOON, limit=10) == []
    assert [each.table for each in offered(engine)] == ["RYDJ"]


def test_a_visit_gets_one_result_at_a_time_and_none_while_the_door_says_the_last_is_unread(engine, visit):
    handed_out(engine, [each.hand_out_id for each in offered(engine)], at=NOON)
    for number in (1, 2):
        deliver(engine, delivery(visit, charge(number)))
        answer(engine, settle(engine, visit))

    (first,) = offered(engine)
    assert first.number == 1
    handed_out(engine, [first.hand_out_id], at=NOON)
    assert offered(engine, withheld=[visit]) == []
    assert [each.number for each in offered(engine)] == [2]


def test_lines_of_flow_one_go_to_the_his_and_those_of_flow_two_do_not(engine):
    with engine.begin() as connection:
        connection.execute(update(institution).values(outpatient_flow=1))
    entered, sent = registered(engine, outpatient(), outpatient())
    deliver(engine, delivery(entered, charge(1), charge(2), channel="desk"), delivery(sent, charge(1)))

    lines = [each for each in offered(engine) if each.table == "MZXM"]

    assert [(each.visit_no, len(each.records)) for each in lines] == [(entered, 2)]
    assert str(lines[0].records[0]["unit_price"]) == "12.5000"


def test_an_institution_without_an_exchange_is_handed_nothing(engine):
    with engine.begin() as connection:
        connection.execute(update(institution).values(exchange="api"))
    registered(engine)

    assert offered(engine) == []


def test_a_cancellation_is_told_only_where_the_registration_was(engine):
    told, untold = registered(engine, outpatient(), outpatient())
    handed_out(engine, [each.hand_out_id for each in offered(engine) if each.visit_no == told], at=NOON)
    cancel(engine, HOSPITAL, told, at=NOON)
    cancel(engine, HOSPITAL, untold, at=NOON)

    (cancelled,) = offered(engine)
    assert (cancelled.visit_no, cancelled.table, cancelled.records[0]["remark3"]) == (told, "MZDJ", "CANCEL")


def test_the_dress_of_civil_servants_has_one_column_more(engine, visit):
    (plain,), (dressed,) = offered(engine), offered(engine, dress="gwyjb")

    assert dressed.records[0].keys() - plain.records[0].keys() == {"gwyjb"}


def test_results_are_found_by_visit_and_batch(engine, visit):
    deliver(engine, delivery(visit, charge(1)))
    settling = settle(engine, visit)
    with engine.connect() as connection:
        (found,) = outcomes(connection, [(visit, 1), (visit, 9)]).values()
    assert (found.claim_id, found.kind) == (settling.claim_id, "normal")


def test_import_and_settlement_ask_no_query_per_line(engine, visit):
    asked = []
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    import_lines(engine, shelf(), [delivery(visit, *map(charge, range(1, 501)))], at=NOON, per=Per.VISIT)
    settle(engine, visit)
    assert len(asked) < 40


def plans(engine, statement_of, ask):
    """The plans of the queries that name the table, as SQLite means to run them."""
    found = []

    @event.listens_for(engine, "before_cursor_execute", named=True)
    def explain(**asked):
        statement = asked["statement"]
        if statement.lstrip().upper().startswith("SELECT") and statement_of in statement:
            raw = asked["conn"].connection.driver_connection
            rows = raw.execute(f"EXPLAIN QUERY PLAN {statement}", asked["parameters"]).fetchall()
            found.append(" | ".join(row[3] for row in rows))

    ask()
    event.remove(engine, "before_cursor_execute", explain)
    return found


@pytest.mark.parametrize(
    ("table", "index", "ask"),
    [
        pytest.param("FROM hand_out", "ix_hand_out_waiting", lambda e, v: offered(e), id="hand out"),
        pytest.param("FROM line_failure", "ix_line_failure_open", settle, id="failed rows"),
        pytest.param("FROM visit_lines", "ix_visit_lines_visit", settle, id="free lines"),
        pytest.param("FROM claim", "ix_claim_refund_open", lambda e, v: send_due(e), id="refunds due"),
    ],
)
def test_what_is_asked_all_day_goes_by_an_index(engine, visit, table, index, ask):
    deliver(engine, delivery(visit, charge(1)))

    found = plans(engine, table, lambda: ask(engine, visit))

    assert any(index in plan for plan in found), found
    for plan in found:
        assert f"SCAN {table.removeprefix('FROM ')}" not in plan or "INDEX" in plan, plan


def send_due(engine):
    return refund.send_due(Sender(engine), now=1.0, after_seconds=1)


class Sender:
    """Sends nothing."""

    def __init__(self, engine):
        self.engine = engine

    def send(self, task, lane, message, shown):
        return False
