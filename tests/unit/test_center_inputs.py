"""What a settlement was computed from comes back as it was, so that the engine can repeat it."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from center.settling.inputs import packed, unpacked
from domain.settlement import Occasion, Person
from domain.totals import GroupTotal, LocalTotals
from domain.visit import VisitType

TOTALS = LocalTotals(1000, 100, 0, 50, 850, 3, bytes(16), (GroupTotal("fee", 100, 0, 0, 0, 100),))
PERSON = Person(
    scheme="employee", category="2", account_balance_fen=5, civil_servant=True, rank="county",
    groups=frozenset({"poverty_relief", "family_doctor_signed"}), age=71, family_balance_fen=9,
)  # fmt: skip
OCCASION = Occasion(
    VisitType.INPATIENT, 3, date(2026, 3, 9), institution_code="440100000001", visit_no="T00001260302A001",
    started=date(2026, 3, 2), ends=date(2026, 3, 9), final=False, conditions=frozenset({"unfiled", "delivery"}),
    disease="diabetes", registration_kind="1", medical_type="21", transferred_from="T00001260201A001",
)  # fmt: skip


def test_everything_the_engine_needs_comes_back():
    keys = ("basic:1:fund:-:2026", "basic:1:deductible:-:2026", "basic:1:stays:-:2026")
    accumulators = {keys[0]: 100, keys[1]: 0, "basic:3:fund:-:2026": 7}
    stored = packed(TOTALS, PERSON, accumulators, OCCASION, keys)
    inputs = unpacked(stored, TOTALS._replace(groups=()))
    assert inputs == (TOTALS, PERSON, {keys[0]: 100}, OCCASION)
    assert isinstance(inputs.occasion.visit_type, VisitType)


def test_a_plain_visit_takes_few_bytes():
    plain = Occasion(VisitType.OUTPATIENT, 2, date(2026, 3, 2))
    stored = packed(TOTALS._replace(groups=()), Person(scheme="employee", category="1"), {}, plain, ())
    assert len(stored) < 60
    assert stored == packed(TOTALS._replace(groups=()), Person(scheme="employee", category="1"), {}, plain, ())


def test_other_bytes_are_refused():
    with pytest.raises(msgspec.MsgspecError):
        unpacked(b"", TOTALS)
