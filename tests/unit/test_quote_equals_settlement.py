"""A quote comes to what settling comes to, for every policy set that is shipped, and tells all of it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.accumulators import read_key
from domain.benefit import accumulator_keys, settle
from domain.money import fen, yuan
from domain.policy import PolicyBook
from domain.policy.cases import CATEGORIES, days_of_change
from domain.policy.facts import NoPolicyInForce
from domain.policy.reading import parse
from domain.settlement import Occasion, Person
from domain.totals import LocalTotals
from domain.visit import STAYS, VisitType
from infra.settings import Settings
from producers import quote as quotes
from producers.quote.accumulated import is_count

FILES = sorted(Settings().policies_dir.glob("*.toml"))
SETS = {file.stem: parse(file.read_text(encoding="utf-8")) for file in FILES}
BOOKS = {name: PolicyBook([each]) for name, each in SETS.items()}


@st.composite
def asked(draw, policy):
    """The arguments of settling, anywhere in the time and the conditions a set speaks of."""
    scheme = draw(st.sampled_from(["employee", "resident"]))
    names = sorted(policy.asks_for)
    holding = draw(st.sets(st.sampled_from(names), max_size=3)) if names else set()
    valued = {name.partition(":")[0]: name.partition(":")[2] for name in holding if ":" in name and "*" not in name}
    plain = frozenset(name for name in holding if ":" not in name)
    person = Person(
        scheme=scheme,
        category=draw(st.sampled_from(CATEGORIES[scheme])),
        account_balance_fen=draw(st.sampled_from([0, 5_000, 1_000_000])),
        civil_servant=draw(st.booleans()),
        rank=valued.get("rank", draw(st.sampled_from(["", "county"]))),
        groups=plain,
        age=draw(st.integers(0, 100)),
        family_balance_fen=draw(st.sampled_from([0, 20_000])),
    )
    kind = draw(st.sampled_from(VisitType))
    day = draw(st.sampled_from(days_of_change(policy.facts))) + timedelta(days=draw(st.integers(0, 400)))
    occasion = Occasion(
        visit_type=kind,
        institution_level=draw(st.integers(0, 3)),
        day=day,
        institution_code=valued.get("institution", "440100000001"),
        visit_no="T00001260302A001",
        started=day - timedelta(days=draw(st.integers(0, 20))) if kind in STAYS else None,
        ends=day,
        final=kind not in STAYS or draw(st.booleans()),
        conditions=plain,
        disease=valued.get("disease", ""),
        registration_kind=valued.get("registration_kind", ""),
        medical_type=valued.get("medical_type", ""),
    )
    parts = [draw(st.integers(0, 30_000_000)) for _ in range(4)]
    return LocalTotals(sum(parts), *parts, 0, b""), person, occasion


def document(totals: LocalTotals, person: Person, used: dict[str, int], occasion: Occasion) -> dict:
    """The same, as a hospital would ask it."""
    return {
        "person": {
            "scheme": person.scheme,
            "category": person.category,
            "civil_servant": person.civil_servant,
            **({"rank": person.rank} if person.rank else {}),
            "groups": sorted(person.groups),
            "age": person.age,
            "account_balance": yuan(person.account_balance_fen),
            "family_account_balance": yuan(person.family_balance_fen),
        },
        "visit": {
            "visit_type": occasion.visit_type.value,
            "visit_date": str(occasion.started or occasion.day),
            "covers_to": str(occasion.ends),
            "institution_level": occasion.institution_level,
            "institution_code": occasion.institution_code,
            "visit_no": occasion.visit_no,
            "final": occasion.final,
            "conditions": sorted(occasion.conditions),
            "disease": occasion.disease,
            "registration_kind": occasion.registration_kind,
            "medical_type": occasion.medical_type,
        },
        "accumulators": {key: str(amount) if is_count(key) else yuan(amount) for key, amount in used.items()},
        "totals": {
            "total_amount": yuan(totals.total_fen),
            "own_expense_amount": yuan(totals.own_expense_fen),
            "over_limit_amount": yuan(totals.over_limit_fen),
            "pre_self_pay_amount": yuan(totals.pre_self_pay_fen),
            "in_scope_amount": yuan(totals.in_scope_fen),
        },
    }


@pytest.mark.parametrize("name", SETS)
def test_a_quote_is_a_settlement(name):
    book = BOOKS[name]

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def hold(data):
        totals, person, occasion = data.draw(asked(SETS[name]))
        keys = accumulator_keys(person, occasion, book)
        used = {key: data.draw(st.integers(0, 3 if is_count(key) else 12_000_000)) for key in keys}
        wanted = document(totals, person, used, occasion)
        try:
            settlement = settle(totals, person, used, book, occasion)
        except NoPolicyInForce:
            with pytest.raises(quotes.CannotQuote) as refused:
                quotes.quote(wanted, book)
            assert refused.value.errors
            return
        quoted = quotes.quote(wanted, book)
        assert quoted.occasion == occasion
        assert quoted.settlement == settlement
        assert quoted.settlement.steps == settlement.steps
        told_in_full(quotes.seen(quoted), person)

    hold()


def told_in_full(seen: quotes.QuoteOut, person: Person) -> None:
    """What is shown keeps every identity, names every fact, and leaves nothing untranslated."""
    paid = {name: fen(amount) for name, amount in seen["settlement"].items()}
    cells = [(cell["segment"], cell["payer"], fen(cell["amount"])) for cell in seen["matrix"]]
    info = {name: fen(text) for name, text in seen["national"]["setlinfo"].items() if name != "pool_prop_selfpay"}
    assert sum(amount for *_, amount in cells) == paid["total_amount"] == info["medfee_sumamt"]
    assert paid["total_amount"] == sum(
        paid[f"{who}_amount"] for who in ("fund_pay", "person_share", "institution_share")
    )
    assert info["medfee_sumamt"] == info["fund_pay_sumamt"] + info["psn_part_amt"] + info["hosp_part_amt"]
    assert info["balc"] == person.account_balance_fen - info["acct_pay"] + info["acct_mulaid_pay"] >= 0
    details = sum(fen(row["fund_payamt"]) for row in seen["national"]["setldetail"])
    assert details == info["fund_pay_sumamt"] + info["acct_pay"] + info["hosp_part_amt"]
    assert 0 <= Decimal(seen["national"]["setlinfo"]["pool_prop_selfpay"]) <= 9
    numbers = {f"#{fact['number']} {fact['kind']}" for fact in seen["facts"]}
    for step in seen["steps"]:
        assert step["rule_name"] != step["rule"]
        assert "None" not in step["words"]
        assert {fact for fact in step["fact"].split(", ") if fact} <= numbers
    for entry in seen["accumulators"]:
        assert read_key(entry["key"])
        if not is_count(entry["key"]):
            assert fen(entry["after_amount"]) == fen(entry["before_amount"]) + fen(entry["applied_amount"])


def test_all_seven_sets_are_tried():
    assert len(SETS) >= 7
    assert all(Path(file).is_file() for file in FILES)
    assert all(days_of_change(each.facts)[0] < date(2026, 1, 1) for each in SETS.values())
