"""A draft replayed over history comes to what it would have come to, had it been in force then."""

from __future__ import annotations

import json
import random
import sys
from collections import defaultdict
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, text, update

from center.policy import history
from center.policy.replay import CannotReplay, replay
from center.settling.refund import refund
from center.settling.settle import settle_submitted
from center.tables import reference
from city import cli
from domain.identity import synthetic_citizen_id
from domain.messages import ClaimTotals, RefundAsked
from domain.policy.reading import parse
from infra.clock import SHANGHAI
from infra.database import open_database
from infra.reference import policy_row
from tests.support.center import (
    CATALOGUE_VERSION,
    CLINIC,
    FRONTEND,
    HOSPITAL,
    OTHER_FRONTEND,
    fill_center,
    rows_of,
    submitted,
    totals,
)
from tests.support.databases import FreshDatabase

START = datetime(2026, 1, 5, 9, 0, tzinfo=SHANGHAI)
DAYS = 60
PERSONS = 12
CLAIMS = 240

HEAD = """
[set]
id = "replayed"
region = "440000"
title = "试验市"
benefit_year_starts = "01-01"
[source.TEST]
title = "made for the tests"
verified = "memory"
[policy]
facts = [
  { kind = "deductible", scheme = "employee", visit = ["outpatient", "pharmacy"], amount = "DEDUCTIBLE", \
per = "year", from = 2020-01-01, src = "TEST" },
  { kind = "deductible", scheme = "employee", visit = "inpatient", amount = "DEDUCTIBLE", per = "stay", \
from = 2020-01-01, src = "TEST" },
  { kind = "deductible_nth_stay", scheme = "employee", visit = "inpatient", stays = [2, 99], factor = "0.50", \
from = 2020-01-01, src = "TEST" },
  { kind = "share", scheme = "employee", ratio = "RATIO", basis = "in_scope", from = 2020-01-01, src = "TEST" },
  { kind = "cap", scheme = "employee", amount = "CAP", per = "year", basis = "fund_paid", from = 2020-01-01, \
src = "TEST" },
  { kind = "account_pays", scheme = "employee", may_pay = ["in_scope"], from = 2020-01-01, src = "TEST" },
  { kind = "rounding", scheme = "any", place = "fund_share", mode = "half_up", digits = 2, rest_goes_to = "person", \
from = 2020-01-01, src = "TEST" },
EXTRA
]
"""


def policy(deductible: str, ratio: str, cap: str, extra: str = "") -> str:
    """A small city's policy."""
    body = HEAD.replace("DEDUCTIBLE", deductible).replace("RATIO", ratio).replace("CAP", cap)
    return body.replace("EXTRA", extra)


FIRST = policy("300.00", "0.70", "2000.00")
SECOND = policy("200.00", "0.75", "2500.00")
DRAFT = policy(
    "50.00",
    "0.655",
    "900.00",
    # Counted by the month: an accumulator that neither policy of the time keeps.
    '  { kind = "cap", scheme = "employee", visit = "outpatient", amount = "120.00", per = "month",'
    ' basis = "fund_paid", from = 2020-01-01, src = "TEST" },',
)


@pytest.fixture(scope="module")
def centers(postgres_url):
    """Two centres with the same claims: one under the first policy and then the second, one under the draft."""
    with (
        FreshDatabase(postgres_url, "center_template") as lived,
        FreshDatabase(postgres_url, "center_template") as tried,
    ):
        engines = open_database(lived), open_database(tried)
        live(engines[0], FIRST, SECOND)
        live(engines[1], DRAFT, DRAFT)
        yield engines
        for engine in engines:
            engine.dispose()


def live(engine, first: str, second: str) -> None:
    """Let the same seeded time pass at a centre: claims day by day, refunds in between, a new policy half way."""
    random_ = random.Random(6)
    going_on: dict[int, ClaimTotals] = {}
    """The stays that were settled in between, by person."""
    shelf = fill_center(engine, persons=PERSONS, balance_fen=40_000, policy=first)
    version = parse(first).version
    settled: list[str] = []
    for number in range(CLAIMS):
        at = START + timedelta(days=number * DAYS // CLAIMS, minutes=number % 7)
        if number == CLAIMS // 2 and second != first:
            version = parse(second).version
            with engine.begin() as connection:
                connection.execute(update(reference).where(reference.c.kind == "policy").values(in_force=False))
                connection.execute(insert(reference), [policy_row(second)])
        own, scope = random_.randrange(0, 3_000), random_.randrange(1, 40_000)
        person, is_clinic, is_refund = random_.randrange(PERSONS), random_.random() < 0.3, random_.random() < 0.08
        claim = totals(
            number,
            visit_no=f"T00001260105{number:04d}",
            citizen_id_no=synthetic_citizen_id(person),
            institution_code=CLINIC if is_clinic else HOSPITAL,
            visit_type=random_.choice("34"),
            visit_date=at.date(),
            own_expense_fen=own,
            over_limit_fen=0,
            pre_self_pay_fen=0,
            in_scope_fen=scope,
            total_fen=own + scope,
        )
        if random_.random() < 0.2:
            claim = stay(claim, going_on, person, is_final=random_.random() < 0.6)
            is_clinic = is_refund = False
        frontend = OTHER_FRONTEND if is_clinic else FRONTEND
        (answer,) = settle_submitted(
            engine, shelf, submitted(claim, policy_version=version), frontend=frontend, at=at
        ).answers
        assert not answer.refusal, answer.detail
        if is_refund and not is_clinic:
            settled.append(claim.visit_no)
            asked = RefundAsked(
                institution_code=HOSPITAL, visit_no=settled[0 if random_.random() < 0.5 else -1], charge_batch_no=1,
                contra_batch_no=2, reason="试验", policy_version=version, catalogue_version=CATALOGUE_VERSION,
            )  # fmt: skip
            refund(engine, shelf, asked, frontend=FRONTEND, at=at + timedelta(hours=2))


def stay(claim: ClaimTotals, going_on: dict[int, ClaimTotals], person: int, *, is_final: bool) -> ClaimTotals:
    """The claim as one of a stay: the next settlement of the one the person is in, else of a new one."""
    before = going_on.pop(person, None)
    started = claim.visit_date - timedelta(days=3) if before is None else before.visit_date
    claim = claim._replace(
        institution_code=HOSPITAL,
        visit_type="1",
        visit_no=claim.visit_no if before is None else before.visit_no,
        charge_batch_no=1 if before is None else before.charge_batch_no + 1,
        visit_date=started,
        visit_started=started,
        covers_to=claim.visit_date,
        final=is_final,
    )
    if not is_final:
        going_on[person] = claim
    return claim


def sums(engine, column: str) -> dict[str, tuple[int, int, int]]:
    """By a column: settlements, fund, and account, as a centre has settled them."""
    rows = rows_of(
        engine,
        f"SELECT {column}, count(*), sum(fund_pay_fen), sum(account_pay_fen) FROM settlement GROUP BY 1",
    )
    return {str(value): tuple(map(int, rest)) for value, *rest in rows}


def whole(engine, draft: str, **change):
    days = {"first_day": START.date(), "last_day": START.date() + timedelta(days=DAYS)} | change
    return replay(engine, parse(draft), **days)


def test_the_history_holds_what_makes_a_replay_hard(centers):
    lived, _ = centers
    kinds = dict(rows_of(lived, "SELECT kind, count(*) FROM settlement GROUP BY kind"))
    assert kinds["contra"] >= 3
    assert rows_of(lived, "SELECT count(DISTINCT policy_version) FROM settlement") == [(2,)]
    assert rows_of(lived, "SELECT count(*) FROM person WHERE account_balance_fen = 0")[0][0] > 0
    stays = "SELECT count(*) FROM settlement WHERE visit_type = '1' AND charge_batch_no"
    assert rows_of(lived, f"{stays} = 1")[0][0] > 10
    assert rows_of(lived, f"{stays} > 1")[0][0] > 3
    assert rows_of(lived, "SELECT count(*) FROM accumulator WHERE key LIKE :stay", stay="%:stay/%")[0][0] > 3


def test_a_draft_comes_to_what_it_would_have_come_to(centers):
    lived, tried = centers
    replayed = whole(lived, DRAFT)
    assert (
        replayed.all.settlements == CLAIMS + rows_of(lived, "SELECT count(*) FROM settlement WHERE contra_of > 0")[0][0]
    )
    assert replayed.uncovered == 0
    for column, figures in (("scheme", replayed.schemes), ("institution_level", replayed.levels)):
        assert {name: (f.settlements, f.fund_after_fen, f.account_after_fen) for name, f in figures.items()} == sums(
            tried, column
        )
        assert {name: (f.settlements, f.fund_before_fen, f.account_before_fen) for name, f in figures.items()} == sums(
            lived, column
        )
    assert replayed.funds["basic"] == [replayed.all.fund_before_fen, replayed.all.fund_after_fen]
    assert replayed.all.fund_after_fen != replayed.all.fund_before_fen


def test_every_person_comes_to_what_they_would_have_borne(centers):
    lived, tried = centers
    replayed = whole(lived, DRAFT, most=PERSONS)
    borne = {}
    for engine, column in ((lived, "person_before_fen"), (tried, "person_after_fen")):
        rows = rows_of(
            engine,
            "SELECT person_no, sum(own_expense_fen + over_limit_fen + pre_self_pay_fen + self_pay_fen + over_cap_fen)"
            " FROM settlement GROUP BY person_no",
        )
        borne[column] = {number: int(fen) for number, fen in rows}
    assert len(replayed.affected) == replayed.changed_persons
    assert replayed.persons == len(borne["person_before_fen"])
    for column, held in borne.items():
        assert {one.person_no: getattr(one.figures, column) for one in replayed.affected}.items() <= held.items()
    differences = [abs(one.figures.person_after_fen - one.figures.person_before_fen) for one in replayed.affected]
    assert differences == sorted(differences, reverse=True)
    assert whole(lived, DRAFT, most=3).affected == replayed.affected[:3]


def test_the_policy_of_the_time_as_a_draft_changes_nothing(centers):
    _, tried = centers
    replayed = whole(tried, DRAFT)
    assert replayed.changed_persons == 0
    assert replayed.affected == []
    assert replayed.all.fund_before_fen == replayed.all.fund_after_fen > 0


def test_a_part_of_the_time_begins_where_the_accumulators_stood(centers):
    """The second half alone, under the policy it was settled by: nothing changes, so every opening is right."""
    lived, _ = centers
    middle = rows_of(
        lived, "SELECT min(settled_day) FROM settlement WHERE policy_version = :v", v=parse(SECOND).version
    )
    first_day = middle[0][0] + timedelta(days=1)
    replayed = whole(lived, SECOND, first_day=first_day)
    assert 0 < replayed.all.settlements < CLAIMS
    assert replayed.changed_persons == 0


def test_the_openings_are_what_the_entries_before_the_day_add_up_to(centers):
    lived, _ = centers
    day = START.date() + timedelta(days=DAYS // 2)
    added: defaultdict[tuple[int, str], int] = defaultdict(int)
    for person_no, key, applied in rows_of(
        lived,
        "SELECT e.person_no, key, applied_fen FROM accumulator_entry e JOIN settlement USING (settlement_no)"
        " WHERE settled_day < :day",
        day=day,
    ):
        added[person_no, key] += applied
    with lived.connect() as connection:
        opened = {(person_no, key): fen for person_no, key, fen in history.openings(connection, day)}
    assert opened == {place: fen for place, fen in added.items() if fen}


def test_what_the_draft_cannot_settle_stands_and_is_counted(centers):
    lived, _ = centers
    residents_only = DRAFT.replace('scheme = "employee"', 'scheme = "resident"')
    replayed = whole(lived, residents_only)
    contras = rows_of(lived, "SELECT count(*) FROM settlement WHERE contra_of > 0")[0][0]
    assert replayed.uncovered == replayed.all.settlements - contras == CLAIMS
    assert len(replayed.uncovered_first) == 10
    assert replayed.changed_persons == 0


UNGUARDED = "SET LOCAL session_replication_role = replica"
"""Settlements are written once; without the triggers that say so, history can be spoilt."""


@pytest.fixture
def altered(centers):
    """Alter the lived centre behind everybody's back, and put it right again."""
    lived, _ = centers
    undo = []

    def alter(statement: str, back: str) -> None:
        undo.append(back)
        with lived.begin() as connection:
            connection.execute(text(UNGUARDED))
            connection.execute(text(statement))

    yield alter
    with lived.begin() as connection:
        connection.execute(text(UNGUARDED))
        for back in reversed(undo):
            connection.execute(text(back))


def test_nothing_is_said_of_a_draft_while_history_cannot_be_repeated(centers, altered):
    lived, _ = centers
    (number,) = rows_of(lived, "SELECT min(settlement_no) FROM settlement WHERE fund_pay_fen > 0")[0]
    more = ", ".join(f"{name} = {name} {{0}} 5" for name in ("in_scope_fen", "total_fen", "self_pay_fen"))
    change = f"UPDATE settlement SET {more} WHERE settlement_no = {number}"
    altered(change.format("+"), change.format("-"))
    with pytest.raises(CannotReplay) as refused:
        whole(lived, DRAFT)
    ((named, words),) = refused.value.settlements
    assert named == number
    assert "total_fen：已存" in words


def test_the_first_ten_that_differ_are_named(centers, altered):
    lived, _ = centers
    altered(
        "UPDATE settlement SET policy_version = 'lost+' || policy_version",
        "UPDATE settlement SET policy_version = substr(policy_version, 6)",
    )
    with pytest.raises(CannotReplay) as refused:
        whole(lived, DRAFT)
    assert len(refused.value.settlements) == 10
    assert all("lost" in words for _, words in refused.value.settlements)


def test_a_settlement_from_before_inputs_were_kept_cannot_be_repeated(centers, altered):
    lived, _ = centers
    altered("CREATE TABLE kept AS SELECT settlement_no, inputs FROM settlement", "DROP TABLE kept")
    altered(
        "UPDATE settlement SET inputs = '' WHERE settlement_no = (SELECT min(settlement_no) FROM settlement)",
        "UPDATE settlement SET inputs = kept.inputs FROM kept WHERE kept.settlement_no = settlement.settlement_no",
    )
    with pytest.raises(CannotReplay, match="重算不出"):
        whole(lived, DRAFT)


def test_a_replay_writes_nothing(centers):
    lived, _ = centers
    before = rows_of(lived, "SELECT pg_current_wal_lsn()::text, (SELECT sum(amount_fen) FROM accumulator)")
    whole(lived, DRAFT)
    after = rows_of(lived, "SELECT pg_current_wal_lsn()::text, (SELECT sum(amount_fen) FROM accumulator)")
    assert after[0][1] == before[0][1]


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def jiesuan(centers, monkeypatch, capsys, tmp_path):
    """Run a command against the lived centre; its exit code, stdout and stderr."""
    lived, _ = centers
    monkeypatch.setenv("JIESUAN_CENTER_DATABASE_URL", lived.url.render_as_string(hide_password=False))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "draft.toml").write_text(DRAFT, encoding="utf-8")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", "policy", "replay", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


WINDOW = ("--from", "2026-01-01", "--to", "2026-12-31")


def test_the_command_prints_before_after_and_difference(jiesuan, centers):
    lived, _ = centers
    code, out, err = jiesuan("--draft", "draft.toml", *WINDOW, "--most", "3")
    assert (code, err) == (0, "")
    for part in ("按基金", "统筹基金", "按机构级别", "按人员类别", "负担变化最大的人", "1 在职"):
        assert part in out
    for (number,) in rows_of(lived, "SELECT citizen_id_no FROM person"):
        assert number not in out


def test_the_command_for_programs(jiesuan, centers):
    lived, _ = centers
    code, out, _ = jiesuan("--draft", "draft.toml", *WINDOW, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["all"]["fund_before_amount"] == f"{sums(lived, 'scheme')['employee'][1] / 100:.2f}"
    assert found["most_affected"][0]["person_no"] > 0
    assert found["draft_version"] == parse(DRAFT).version


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--draft", "draft.toml", "--from", "soon", "--to", "2026-01-01"), 2, "--from 应为日期"),
        (("--draft", "draft.toml", "--from", "2026-02-01", "--to", "2026-01-01"), 2, "--to 早于 --from"),
        (("--draft", "nothing.toml", *WINDOW), 2, "没有这个文件"),
    ],
)
def test_the_command_says_what_it_needs(jiesuan, words, code, said):
    ended, out, err = jiesuan(*words)
    assert (ended, out) == (code, "")
    assert said in err
