"""Stays: the deductible in all its ways, interim settlements, transfers, the end of the benefit year."""

from __future__ import annotations

from datetime import date

import pytest

from domain.benefit import settle
from domain.policy.facts import CaseNotCovered
from tests.support.office import (
    DAY,
    OUTPATIENT,
    STAY,
    after,
    cap,
    cells,
    deductible,
    in_turn,
    in_yuan,
    office,
    person,
    share,
    totals,
)

BANDS = (share("0.85", high="3000.00"), share("0.90", "3000.00", "4000.00"), share("0.95", "4000.00"))


def charged(*settled):
    return [in_yuan(each, "deductible")["deductible"] for each in settled]


def stay(number, **changes):
    return STAY._replace(visit_no=f"V{number}", **changes)


def test_a_stay_settled_in_parts_is_charged_once():
    book = office(deductible("800.00", "stay"), share("0.80"))
    parts = [(totals(scope=amount), STAY) for amount in ("500.00", "500.00", "500.00")]
    settled = in_turn(book, person(), *parts)
    assert charged(*settled) == ["500.00", "300.00", "0.00"]
    assert sum(each.fund_pay_fen for each in settled) == 56_000


def test_a_standard_that_rises_within_the_stay_is_topped_up():
    book = office(
        deductible("500.00", "stay", ", to = 2025-12-31"),
        deductible("800.00", "stay", ", from = 2026-01-01"),
        share("0.80"),
    )
    old = STAY._replace(day=date(2025, 12, 31))
    claims = [(totals(scope="2000.00"), old), (totals(scope="2000.00"), STAY), (totals(scope="9.00"), STAY)]
    assert charged(*in_turn(book, person(), *claims)) == ["500.00", "300.00", "0.00"]


def test_another_stay_is_charged_anew():
    book = office(deductible("800.00", "stay"), share("0.80"))
    settled = in_turn(book, person(), *[(totals(scope="1000.00"), stay(number)) for number in (1, 2)])
    assert charged(*settled) == ["800.00", "800.00"]


def test_an_outpatient_visit_settled_in_batches_pays_its_deductible_once():
    book = office(deductible("10.00", "visit"), share("0.50"))
    batches = [(totals(scope="8.00"), OUTPATIENT._replace(visit_no="M1")) for _ in range(2)]
    assert charged(*in_turn(book, person(), *batches)) == ["8.00", "2.00"]


@pytest.mark.parametrize("cuts", [(0.1, 0.9), (0.3, 0.3, 0.4), (0.5, 0.25, 0.25)])
@pytest.mark.parametrize("rest", ["fund", "person"])
@pytest.mark.parametrize("place", ["band", "shared_segment"])
@pytest.mark.parametrize("basis", ["in_scope", "after_deductible"])
def test_bands_go_on_through_the_stay(cuts, rest, place, basis):
    """The parts come to what one settlement of the whole stay comes to, to the fen."""
    facts = [fact + f', basis = "{basis}"' for fact in BANDS]
    book = office(deductible("650.33", "stay"), *facts, rest=rest, place=place)
    whole = 777_777
    amounts = [int(whole * cut) for cut in cuts[:-1]]
    amounts.append(whole - sum(amounts))
    claims = [(totals()._replace(total_fen=fen, in_scope_fen=fen), STAY) for fen in amounts]
    parts = in_turn(book, person(), *claims)
    at_once = settle(totals()._replace(total_fen=whole, in_scope_fen=whole), person(), {}, book, STAY)
    for name in ("fund_pay_fen", "deductible_fen", "self_pay_fen"):
        assert sum(getattr(each, name) for each in parts) == getattr(at_once, name)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param([], ["1300.00"] * 4, id="each the same"),
        pytest.param(['stays = [2, 99], factor = "0.50"'], ["1300.00", "650.00", "650.00", "650.00"], id="half"),
        pytest.param(
            ['stays = [2, 2], factor = "0.50"', 'stays = [3, 99], factor = "0.00"'],
            ["1300.00", "650.00", "0.00", "0.00"],
            id="half, then none",
        ),
        pytest.param(['stays = [4, 99], factor = "0.00"'], ["1300.00"] * 3 + ["0.00"], id="none from the fourth"),
        pytest.param(['stays = [2, 3], amount = "200.00"'], ["1300.00", "200.00", "200.00", "1300.00"], id="amounts"),
    ],
)
def test_the_nth_stay_of_the_year(facts, expected):
    nth = [f'kind = "deductible_nth_stay", {fact}' for fact in facts]
    book = office(deductible("1300.00", "stay"), share("0.80"), *nth)
    stays = [(totals(scope="2000.00"), stay(number)) for number in range(4)]
    settled = in_turn(book, person(), *stays)
    assert charged(*settled) == expected


def test_an_interim_settlement_is_no_further_stay():
    book = office(
        deductible("1300.00", "stay"), share("0.80"), 'kind = "deductible_nth_stay", stays = [2, 9], factor = "0.50"'
    )
    claims = [(totals(scope="1000.00"), stay(number)) for number in (1, 2, 2, 1, 3)]
    assert charged(*in_turn(book, person(), *claims)) == ["1000.00", "650.00", "0.00", "300.00", "650.00"]


def test_a_new_year_counts_stays_anew():
    book = office(
        deductible("1300.00", "stay"), share("0.80"), 'kind = "deductible_nth_stay", stays = [2, 9], factor = "0.50"'
    )
    claims = [(totals(scope="2000.00"), stay(n, day=day)) for n, day in enumerate([DAY, date(2027, 1, 1)])]
    assert charged(*in_turn(book, person(), *claims)) == ["1300.00", "1300.00"]


def test_stays_of_one_kind_are_counted_apart():
    """The second stay for chemotherapy is free, whatever stays for other reasons lie between."""
    nth = 'kind = "deductible_nth_stay", stays = [2, 9], factor = "0.00", when = "chemo", counter = "chemo"'
    book = office(deductible("500.00", "stay"), share("0.80"), nth)
    chemo = frozenset({"chemo"})
    claims = [
        (totals(scope="2000.00"), stay(number, conditions=conditions))
        for number, conditions in enumerate([frozenset(), chemo, frozenset(), chemo])
    ]
    assert charged(*in_turn(book, person(), *claims)) == ["500.00", "500.00", "500.00", "0.00"]


@pytest.mark.parametrize(
    ("days", "as_next_stay", "expected"),
    [
        (90, "false", "1300.00"),
        (91, "false", "2600.00"),
        (181, "false", "3900.00"),
        (91, "true", "1950.00"),
        (181, "true", "2600.00"),
    ],
)
def test_a_long_stay_is_charged_again(days, as_next_stay, expected):
    book = office(
        deductible("1300.00", "stay"),
        share("0.80"),
        f'kind = "deductible_again", days = 90, as_next_stay = {as_next_stay}',
        'kind = "deductible_nth_stay", stays = [2, 9], factor = "0.50"',
    )
    long = STAY._replace(started=date(2026, 1, 1), ends=date.fromordinal(date(2026, 1, 1).toordinal() + days))
    assert charged(settle(totals(scope="9000.00"), person(), {}, book, long)) == [expected]


def test_a_settlement_period_begins_the_bands_anew():
    book = office(
        deductible("650.00", "stay"),
        *[fact + ', per = "settlement_period"' for fact in BANDS],
        'kind = "deductible_again", days = 90',
    )
    first = STAY._replace(started=date(2026, 1, 1), ends=date(2026, 4, 1))
    second = STAY._replace(started=date(2026, 1, 1), ends=date(2026, 4, 20), day=date(2026, 4, 20))
    one, two = in_turn(book, person(), (totals(scope="5000.00"), first), (totals(scope="5000.00"), second))
    assert charged(one, two) == ["650.00", "650.00"]
    assert one.fund_pay_fen == two.fund_pay_fen


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (['kind = "deductible_factor", factor = "0.70", person = [2]'], "700.00"),
        (['kind = "deductible_exempt", when = "mental"'], "0.00"),
        (['kind = "deductible_exempt", when = "delivery"'], "1000.00"),
        (['kind = "deductible", amount = "300.00", per = "stay", when = "mental"'], "300.00"),
        (['kind = "deductible_total", amount = "800.00", per = "year"'], "800.00"),
    ],
)
def test_what_changes_the_deductible(more, expected):
    book = office(deductible("1000.00", "stay"), share("0.80"), *more)
    who = person(category="2", groups=frozenset({"mental"}))
    assert charged(settle(totals(scope="9000.00"), who, {}, book, STAY)) == [expected]


def test_the_deductibles_of_a_year_stop_at_their_total():
    book = office(
        deductible("800.00", "stay"), share("0.80"), 'kind = "deductible_total", amount = "1000.00", per = "year"'
    )
    claims = [(totals(scope="2000.00"), stay(number)) for number in range(3)]
    assert charged(*in_turn(book, person(), *claims)) == ["800.00", "200.00", "0.00"]


@pytest.mark.parametrize(
    ("mode", "levels", "expected"),
    [
        ("new", (1, 3), ["300.00", "1000.00"]),
        ("top_up", (1, 3), ["300.00", "700.00"]),
        ("top_up", (3, 1), ["1000.00", "0.00"]),
        ("continue", (1, 3), ["300.00", "0.00"]),
        ("continue", (3, 1), ["1000.00", "0.00"]),
    ],
)
def test_transfers_between_institutions(mode, levels, expected):
    book = office(
        deductible("300.00", "stay", ", level = 1"),
        deductible("1000.00", "stay", ", level = 3"),
        share("0.80"),
        f'kind = "deductible_on_transfer", mode = "{mode}"',
    )
    here, there = stay(1, institution_level=levels[0]), stay(2, institution_level=levels[1], transferred_from="V1")
    settled = in_turn(book, person(), (totals(scope="2000.00"), here), (totals(scope="2000.00"), there))
    assert charged(*settled) == expected


def test_what_the_first_institution_did_not_charge_is_charged_at_the_second():
    book = office(
        deductible("1000.00", "stay", ", level = 3"),
        deductible("300.00", "stay", ", level = 1"),
        share("0.80"),
        'kind = "deductible_on_transfer", mode = "continue"',
    )
    there = stay(2, institution_level=1, transferred_from="V1")
    settled = in_turn(book, person(), (totals(scope="400.00"), stay(1)), (totals(scope="2000.00"), there))
    assert charged(*settled) == ["400.00", "600.00"]


@pytest.mark.parametrize(
    ("per", "second"), [("month", "0.00"), ("quarter", "0.00"), ("year", "0.00"), ("day", "50.00")]
)
def test_a_deductible_counted_over_a_calendar_period(per, second):
    book = office(deductible("50.00", per), share("0.50"))
    later = OUTPATIENT._replace(day=date(2026, 3, 30))
    settled = in_turn(book, person(), (totals(scope="60.00"), OUTPATIENT), (totals(scope="60.00"), later))
    assert charged(*settled) == ["50.00", second]


def test_a_benefit_year_that_begins_in_july():
    book = office(deductible("300.00", "year"), share("0.50"), starts="07-01")
    days = [date(2025, 7, 1), date(2026, 6, 30), date(2026, 7, 1)]
    settled = in_turn(book, person(), *[(totals(scope="400.00"), OUTPATIENT._replace(day=day)) for day in days])
    assert charged(*settled) == ["300.00", "0.00", "300.00"]
    assert [entry.key for entry in settled[1].entries] == ["basic:3:fund:-:2025"]


def test_a_dated_fact_changes_the_benefit_year():
    moved = 'kind = "benefit_year", starts = "07-01", to = 2026-01-01'
    book = office(deductible("300.00", "year"), share("0.50"), moved)
    settled = settle(totals(scope="400.00"), person(), {}, book, OUTPATIENT._replace(day=date(2025, 3, 1)))
    assert "basic:3:deductible:-:2024" in [entry.key for entry in settled.entries]


YEAR_END = STAY._replace(started=date(2025, 12, 20))


@pytest.mark.parametrize(
    ("rule", "deductible_of_january", "fund_of_january"),
    [
        pytest.param("", "0.00", "2600.00", id="bands and deductible go on"),
        pytest.param(', bands = "restart"', "0.00", "2650.00", id="bands begin anew"),
        pytest.param(', deductible = "again"', "200.00", "2410.00", id="deductible again"),
    ],
)
def test_a_stay_over_the_end_of_the_year(rule, deductible_of_january, fund_of_january):
    bands = (share("0.90", high="2000.00"), share("0.85", "2000.00", "5000.00"), share("0.95", "5000.00"))
    facts = [fact + ', basis = "after_deductible"' for fact in bands]
    book = office(deductible("200.00", "stay"), *facts, f'kind = "year_end"{rule}')
    december = YEAR_END._replace(day=date(2025, 12, 31), ends=date(2025, 12, 31), final=False)
    first, second = in_turn(book, person(), (totals(scope="2700.00"), december), (totals(scope="3000.00"), YEAR_END))
    assert in_yuan(first, "deductible", "fund_pay") == {"deductible": "200.00", "fund_pay": "2225.00"}
    assert in_yuan(second, "deductible", "fund_pay") == {
        "deductible": deductible_of_january,
        "fund_pay": fund_of_january,
    }


def test_a_stay_that_must_be_settled_at_the_end_of_the_year_is_refused_after_it():
    book = office(deductible("200.00", "stay"), share("0.80"), 'kind = "year_end", stay = "split"')
    with pytest.raises(CaseNotCovered, match="跨医疗年度"):
        settle(totals(scope="3000.00"), person(), {}, book, YEAR_END)
    old = YEAR_END._replace(day=date(2025, 12, 31), ends=date(2025, 12, 31))
    settled = in_turn(book, person(), (totals(scope="3000.00"), old), (totals(scope="3000.00"), YEAR_END))
    assert charged(*settled) == ["200.00", "0.00"]


def test_the_day_that_counts_is_data():
    plain, by_discharge = (office(share("0.80"), *more) for more in ((), ('kind = "year_end", day = "discharge"',)))
    days = {"settled_on": date(2026, 1, 5), "started": date(2025, 12, 1), "ends": date(2025, 12, 31)}
    assert plain.day_that_counts("employee", **days) == date(2026, 1, 5)
    assert by_discharge.day_that_counts("employee", **days) == date(2025, 12, 31)


def test_a_stay_without_a_number_leaves_nothing_of_the_stay():
    book = office(deductible("800.00", "stay"), share("0.80"))
    settled = settle(totals(scope="1000.00"), person(), {}, book, STAY._replace(visit_no=""))
    assert not [entry for entry in settled.entries if "stay" in entry.key]


def test_a_cap_reached_in_the_second_part_cuts_where_it_would_have_cut_the_whole():
    book = office(deductible("650.00", "stay"), *BANDS, cap("5000.00"), rest="fund")
    claims = [(totals(scope=amount), STAY) for amount in ("3333.33", "4444.44")]
    parts = in_turn(book, person(), *claims)
    at_once = settle(totals(scope="7777.77"), person(), {}, book, STAY)
    for name in ("fund_pay_fen", "over_cap_fen", "self_pay_fen"):
        assert sum(getattr(each, name) for each in parts) == getattr(at_once, name)


def test_the_steps_of_a_second_stay_tell_its_standard():
    nth = 'kind = "deductible_nth_stay", stays = [2, 9], factor = "0.50"'
    book = office(deductible("1300.00", "stay"), share("0.80"), nth)
    first = settle(totals(scope="2000.00"), person(), {}, book, stay(1))
    second = settle(totals(scope="2000.00"), person(), after({}, first), book, stay(2))
    told = [(step.rule, step.input_fen, step.ratio, step.output_fen) for step in second.steps]
    assert told[1:4] == [
        ("standard", 0, "", 130_000),
        ("standard", 130_000, "0.5", 65_000),
        ("deductible", 200_000, "", 65_000),
    ]
    assert cells(second)["deductible@person"] == "650.00"
