"""The bytes of every released message: today's code reads them all, and writes version 1 as it always has.

A changed file in `golden/` is a broken promise to whoever still sends it. A new version gets a file of its own, made
with `encode` from the fixed value here; so do fields that were added to a version, under a name that says which.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import get_args

import msgpack
import pytest

from domain import clearings as c
from domain import messages as m
from domain.entitlement import Entitlement
from domain.settlement import AccumulatorEntry, Cell
from domain.terms import InstitutionTerms
from domain.totals import GroupTotal
from infra.codec import UnreadableMessage, decode, encode

GOLDEN = Path(__file__).parent / "golden"

SHANGHAI = timezone(timedelta(hours=8))
DIGEST = bytes(range(16))
DAY = date(2026, 3, 2)

CLAIM = m.ClaimTotals(
    institution_code="H0001",
    visit_no="F001260302000001",
    charge_batch_no=1,
    citizen_id_no="99000019491231002X",
    visit_type="3",
    visit_date=DAY,
    total_fen=12_345,
    own_expense_fen=1_000,
    over_limit_fen=45,
    pre_self_pay_fen=300,
    in_scope_fen=11_000,
    line_count=7,
    digest=DIGEST,
)
SETTLED = m.ClaimAnswer(
    visit_no="F001260302000001",
    charge_batch_no=1,
    settlement_no=42,
    fund_pay_fen=7_150,
    account_pay_fen=2_000,
    deductible_fen=0,
    self_pay_fen=3_850,
    over_cap_fen=0,
    institution_share_fen=0,
    account_before_fen=50_000,
    fund_before_fen=100_000,
    deductible_before_fen=0,
    settled_at=datetime(2026, 3, 2, 8, 30, 15, 250_000, SHANGHAI),
)
REFUSED = m.ClaimAnswer("F001260302000002", 1, "person-unknown", "中心无此参保人")

STAY = CLAIM._replace(
    visit_type="1",
    visit_started=date(2026, 2, 26),
    covers_to=DAY,
    final=False,
    conditions=("unfiled", "disease:M00500"),
    groups=(GroupTotal("negotiated", 2_000, 0, 0, 300, 1_700),),
    local=m.LocalResult(
        snapshot_version=17,
        settled_at=datetime(2026, 3, 2, 8, 30, 14, tzinfo=SHANGHAI),
        fund_pay_fen=7_150,
        account_pay_fen=2_000,
        deductible_fen=0,
        self_pay_fen=3_850,
        over_cap_fen=0,
        institution_share_fen=0,
        account_before_fen=50_000,
        family_before_fen=100,
        accumulators=(("basic:1:fund:-:2026", 100_000),),
    ),
)
EXPLAINED = SETTLED._replace(
    cells=(Cell("shared", "fund:basic", 7_150), Cell("shared", "person", 3_850)),
    entries=(AccumulatorEntry("basic:1:fund:-:2026", 100_000, 7_150),),
    scheme="employee",
    category="1",
    recomputed="个人账户余额由 520.00 元变为 500.00 元",
)
SPLIT = m.ClaimSplit(
    own_expense_fen=1_000,
    over_limit_fen=45,
    pre_self_pay_fen=300,
    in_scope_fen=11_000,
    groups=(GroupTotal("negotiated", 2_000, 0, 0, 300, 1_700),),
    policy_version="guangzhou-2024@00000000",
    catalogue_version="2026-03",
    warned=((2, "84"),),
)
LINES = m.ClaimLines(
    institution_code="H0001",
    visit_no="F001260302000001",
    charge_batch_no=1,
    citizen_id_no="99000019491231002X",
    visit_type="3",
    visit_date=DAY,
    line_count=7,
    total_fen=12_345,
    digest=DIGEST,
    packed_lines=bytes.fromhex("90"),
)
KNOWN = Entitlement(
    citizen_id_no="99000019491231002X",
    known=True,
    entitled=True,
    scheme="employee",
    category="2",
    civil_servant=True,
    rank="county",
    groups=("full_cover",),
    birth=date(1949, 12, 31),
    account_balance_fen=50_000,
    family_balance_fen=100,
    accumulators=(("basic:1:fund:-:2026", 100_000),),
    version=17,
    leased_until=datetime(2026, 3, 2, 9, 30, tzinfo=SHANGHAI),
)

VALUES = {
    "totals.submitted.v1": m.TotalsSubmitted(
        policy_version="guangzhou-2024@00000000", catalogue_version="2026-03", claims=(CLAIM,)
    ),
    "claims.answered.v1": m.ClaimsAnswered(answers=(SETTLED, REFUSED)),
    "totals.submitted.v1+stays": m.TotalsSubmitted(
        policy_version="guangzhou-2024@00000000", catalogue_version="2026-03", claims=(STAY, CLAIM)
    ),
    "claims.answered.v1+cells": m.ClaimsAnswered(answers=(EXPLAINED, REFUSED)),
    "claims.answered.v1+lines": m.ClaimsAnswered(
        answers=(
            EXPLAINED._replace(split=SPLIT),
            m.ClaimAnswer(
                "F001260302000003",
                1,
                "lines-failed",
                "费用明细有 1 笔未通过效验，退回更正",
                failed=(m.FailedLine(4, ("06", "14")),),
            ),
            EXPLAINED,
            SETTLED,
        ),
        wanted=("guangzhou-2024@00000000", "2026-03"),
    ),
    "lines.submitted.v1": m.LinesSubmitted(
        prepare=True,
        claims=(
            LINES._replace(
                visit_type="1",
                visit_started=date(2026, 2, 26),
                covers_to=DAY,
                final=False,
                conditions=("unfiled",),
                submission=2,
            ),
            LINES,
        ),
    ),
    "totals.submitted.v1+day": m.TotalsSubmitted(
        policy_version="guangzhou-2024@00000000",
        catalogue_version="2026-03",
        claims=(STAY._replace(totalled_on=DAY), CLAIM),
    ),
    "prepare.asked.v1+day": m.PrepareAsked(
        policy_version="guangzhou-2024@00000000",
        catalogue_version="2026-03",
        claims=(STAY._replace(local=None, totalled_on=DAY),),
    ),
    "refund.asked.v1+lines": m.RefundAsked(
        institution_code="H0001",
        visit_no="F001260302000001",
        charge_batch_no=1,
        contra_batch_no=2,
        reason="退一盒",
        policy_version="guangzhou-2024@00000000",
        catalogue_version="2026-03",
        kept=(CLAIM._replace(charge_batch_no=3),),
        kept_lines=(bytes.fromhex("90"),),
    ),
    "outcome.told.v1+wanted": m.OutcomeTold(
        outcomes=(m.ToldOutcome("H0001", "F001260302000001", 1, "refused", "catalogue-stale", "过期"),),
        wanted=("guangzhou-2024@00000000", "2026-03"),
    ),
    "person.asked.v1": m.PersonAsked(citizens=("99000019491231002X", "990000199001010019")),
    "person.answered.v1": m.PersonAnswered(
        entitlements=(KNOWN, Entitlement(citizen_id_no="990000199001010019", known=False)),
        settling_locally=("H0001",),
    ),
    "refund.asked.v1": m.RefundAsked(
        institution_code="H0001",
        visit_no="F001260302000001",
        charge_batch_no=1,
        contra_batch_no=2,
        reason="退一盒",
        policy_version="guangzhou-2024@00000000",
        catalogue_version="2026-03",
        kept=(STAY._replace(charge_batch_no=3, local=None),),
    ),
    "totals.submitted.v1+again": m.TotalsSubmitted(
        policy_version="guangzhou-2024@00000000",
        catalogue_version="2026-03",
        claims=(STAY._replace(submission=2), STAY, CLAIM),
    ),
    "claims.answered.v1+again": m.ClaimsAnswered(
        answers=(REFUSED, SETTLED), resubmitted=(m.Resubmitted(REFUSED.visit_no, REFUSED.charge_batch_no, 2),)
    ),
    "prepare.asked.v1+again": m.PrepareAsked(
        policy_version="guangzhou-2024@00000000", catalogue_version="2026-03", claims=(CLAIM._replace(submission=2),)
    ),
    "refund.asked.v1+again": m.RefundAsked(
        institution_code="H0001",
        visit_no="F001260302000001",
        charge_batch_no=1,
        contra_batch_no=2,
        reason="退一盒",
        policy_version="guangzhou-2024@00000000",
        catalogue_version="2026-03",
        kept=(STAY._replace(charge_batch_no=3, local=None, submission=2),),
    ),
    "outcome.told.v1+again": m.OutcomeTold(
        outcomes=(
            m.ToldOutcome("H0001", "F001260302000001", 1, "refused", "person-unknown", "中心无此参保人", submission=2),
        ),
    ),
    "totals.submitted.v1+offline": m.TotalsSubmitted(
        policy_version="2025a",
        catalogue_version="c7",
        claims=(STAY._replace(local=STAY.local._replace(offline=True), submission=1, totalled_on=DAY), STAY),
    ),
    "person.answered.v1+offline": m.PersonAnswered(
        entitlements=(
            Entitlement(
                "99000019491231002X",
                known=True,
                entitled=True,
                scheme="employee",
                category="2",
                account_balance_fen=12_000,
                version=18,
                leased_until=datetime(2026, 3, 2, 9, 0, tzinfo=SHANGHAI),
                offline_limit_fen=5_000,
                offline_until=datetime(2026, 3, 3, 8, 30, tzinfo=SHANGHAI),
            ),
            Entitlement("990000194912310046", known=False),
        ),
    ),
    "outcome.asked.v1+asked": m.OutcomeAsked(
        keys=(), asked_at=datetime(2026, 3, 2, 8, 30, tzinfo=SHANGHAI), skew_seconds=-400
    ),
    "outcome.told.v1+answered": m.OutcomeTold(
        outcomes=(),
        asked_at=datetime(2026, 3, 2, 8, 30, tzinfo=SHANGHAI),
        answered_at=datetime(2026, 3, 2, 8, 31, tzinfo=SHANGHAI),
        unopened=True,
    ),
    "claims.answered.v1+epoch": m.ClaimsAnswered(answers=(REFUSED,), epoch=31_536_000),
    "person.answered.v1+epoch": m.PersonAnswered(entitlements=(), epoch=31_536_000),
    "detail.received.v1+epoch": m.DetailReceived(receipts=(), epoch=31_536_000),
    "documents.asked.v1": m.DocumentsAsked(
        epoch=31_536_000, since=datetime(2026, 3, 2, 17, 0, tzinfo=SHANGHAI), after=7, most=500
    ),
    "documents.resent.v1": m.DocumentsResent(
        epoch=31_536_000,
        after=7,
        last=9,
        complete=True,
        documents=(
            m.Resent("normal", STAY, EXPLAINED, "guangzhou-2024@00000000", "2026-03"),
            m.Resent(
                "contra",
                CLAIM._replace(charge_batch_no=2, total_fen=-12_345),
                EXPLAINED._replace(charge_batch_no=2, settlement_no=43, fund_pay_fen=-7_150),
                "guangzhou-2024@00000000",
                "2026-03",
                1,
                "退一盒",
            ),
        ),
    ),
    "details.asked.v1": m.DetailsAsked(epoch=31_536_000, upto=42, claims=(m.ClaimKey("H0001", "F001260302000001", 1),)),
    "details.marked.v1": m.DetailsMarked(epoch=31_536_000, upto=42),
    "prepare.asked.v1": m.PrepareAsked(
        policy_version="guangzhou-2024@00000000", catalogue_version="2026-03", claims=(STAY, CLAIM)
    ),
    "outcome.decided.v1": m.OutcomeDecided(
        decisions=(
            m.OutcomeDecision("H0001", "F001260302000001", 1, True),
            m.OutcomeDecision("H0001", "F001260302000002", 1, False),
        )
    ),
    "outcome.asked.v1": m.OutcomeAsked(keys=(m.ClaimKey("H0001", "F001260302000001", 1),)),
    "outcome.told.v1": m.OutcomeTold(
        outcomes=(
            m.ToldOutcome(
                "H0001",
                "F001260302000001",
                1,
                "prepared",
                answer=EXPLAINED._replace(settlement_no=0, settled_at=None),
                seconds_left=600,
            ),
            m.ToldOutcome("H0001", "F001260302000002", 1, "cancelled", "cancelled", "该笔结算已取消"),
            m.ToldOutcome("H0001", "F001260302000003", 1, "unknown"),
        ),
        epoch=31_536_000,
    ),
    "refund.answered.v1": m.RefundAnswered(
        institution_code="H0001",
        visit_no="F001260302000001",
        charge_batch_no=1,
        contra_batch_no=2,
        answers=(
            EXPLAINED._replace(charge_batch_no=2, settlement_no=43, fund_pay_fen=-7_150),
            EXPLAINED._replace(charge_batch_no=3, settlement_no=44),
        ),
    ),
    "settlement.corrected.v1": m.SettlementCorrected(
        correction_no=7,
        institution_code="H0001",
        visit_no="F001260302000001",
        charge_batch_no=1,
        reason="更正：结算 41 已退费",
        answers=(
            EXPLAINED._replace(charge_batch_no=9001, settlement_no=43, fund_pay_fen=-7_150),
            EXPLAINED._replace(charge_batch_no=9002, settlement_no=44),
        ),
    ),
    "correction.heard.v1": m.CorrectionHeard(correction_no=7),
    "upload.granted.v1": m.UploadGranted(
        window="noon", fence=9, lines=5_000, cut_off=datetime(2026, 3, 2, 14, 0, tzinfo=SHANGHAI)
    ),
    "detail.uploaded.v1": m.DetailUploaded(
        fence=9,
        catalogue_version="2026-03",
        claims=(m.ClaimDetail("H0001", "F001260302000001", 1, 7, 12_345, b"\x90\x00\xff"),),
    ),
    "detail.received.v1": m.DetailReceived(receipts=(m.DetailReceipt("F001260302000001", 1, True, 7, 12_345, DIGEST),)),
    "upload.granted.v1+bytes": m.UploadGranted(
        window="noon",
        fence=9,
        lines=5_000,
        cut_off=datetime(2026, 3, 2, 14, 0, tzinfo=SHANGHAI),
        bytes=160_000,
        shares=(m.UploadShare("H0001", 4_000), m.UploadShare("H0002", 1_000)),
    ),
    "detail.uploaded.v1+chunk": m.DetailUploaded(
        fence=9,
        catalogue_version="2026-03",
        claims=(m.ClaimDetail("H0001", "F001260302000001", 1, 7, 12_345, b"\x90\x00\xff"),),
        chunk=(m.ChunkSums(3, 7, 12_345, DIGEST),),
    ),
    "detail.received.v1+chunk": m.DetailReceived(
        receipts=(m.DetailReceipt("F001260302000001", 1, True, 7, 12_345, DIGEST),),
        chunk=(m.ChunkSums(3, 7, 12_345, DIGEST),),
    ),
    "reference.asked.v1": m.ReferenceAsked(
        holds=("catalogue:2026-03", "policy:guangzhou-2024@00000000"), wants=(DIGEST,)
    ),
    "reference.sent.v1": m.ReferenceSent(
        rows=(
            m.ReferenceRow("catalogue", "20260401-01", False, date(2026, 4, 1), False, b"\x81\x00"),
            m.ReferenceRow("policy", "guangzhou-2024@00000000", True, None, False, b""),
        ),
        parts=(m.ReferencePart(DIGEST, b"\x90\x00\xff"),),
    ),
    "terms.asked.v1": m.TermsAsked(
        digest=DIGEST,
        catalogue_version="2026-03",
        policy_versions=("guangzhou-2024@00000000",),
        covered=("H0001",),
        short_codes=(("H0001", "F00126"),),
    ),
    "terms.sent.v1": m.TermsSent(
        terms=(
            InstitutionTerms(
                "H0001",
                "F00126",
                "试验机构",
                "hospital",
                3,
                "large",
                "central",
                10,
                20,
                200,
                400,
                True,
                "",
                1,
                8,
                "open",
                "",
                True,
                30_000,
                900_000,
                24,
                17,
                "own",
                3,
            ),
        ),
        version=17,
    ),
    "handover.asked.v1": m.HandOverAsked(
        move_no=3, institution_code="H0001", target="shared-1", bundle_no=1, joins=True
    ),
    "handed.over.v1": m.HandedOver(
        move_no=3,
        institution_code="H0001",
        bundle_no=1,
        content=b"\x80",
        visits=("F001260302000001",),
        accepted=(m.ClaimKey("H0001", "F001260302000002", 1),),
        whole=True,
        claims=7,
    ),
    "handover.reported.v1": m.HandOverReported(
        move_no=3,
        institution_code="H0001",
        bundle_no=2,
        open_claims=1,
        results_waiting=2,
        details_due=3,
        visits_behind=4,
    ),
    "bundle.kept.v1": m.BundleKept(move_no=3, institution_code="H0001", bundle_no=1),
    "books.asked.v1": m.BooksAsked(day=DAY, lines_of=("H0001",), before=datetime(2026, 3, 2, 10, 0, tzinfo=SHANGHAI)),
    "books.submitted.v1": m.BooksSubmitted(
        institution_code="H0001",
        day=DAY,
        submission_no=1772413200000,
        line_count=3,
        part=0,
        parts=2,
        totals=(
            m.ScopeTotals("employee", "11", True, 3, 12_345, 7_150, 2_000, 3_195),
            m.ScopeTotals("", "", False, 1, 100, 0, 0),
        ),
        lines=(
            m.InstitutionLine(1, "F001260302000001", 42, False, 12_345, 7_150, 2_000),
            m.InstitutionLine(
                2, "F001260302000001", 0, True, -12_345, -7_150, -2_000, 2, "employee", "11", -3_195, DAY, 42
            ),
        ),
    ),
    "books.compared.v1": m.BooksCompared(
        institution_code="H0001",
        day=DAY,
        submission_no=1772413200000,
        result="3",
        part=0,
        parts=1,
        compared_at=datetime(2026, 3, 3, 4, 0, tzinfo=SHANGHAI),
        lines_wanted=True,
        totals=(
            m.ComparedTotals(
                "employee", "11", True, "2", (3, 12_345, 7_150, 2_000, 3_195), (2, 12_245, 7_150, 2_000, 3_095)
            ),
        ),
        differences=(
            m.FoundDifference(
                7,
                "institution-only",
                "F001260302000009",
                1,
                0,
                False,
                "open",
                "机构账上已结算 1.00 元，中心没有",
                "resubmit",
                "机构账 不变；中心账 增加 1 笔，总金额 +1.00 元",
                (1, 100, 0, 0, 100),
                (0, 0, 0, 0, 0),
            ),
        ),
    ),
    "repair.ordered.v1": m.RepairOrdered(
        order_no=5,
        institution_code="H0001",
        repair="send-contra",
        visit_no="F001260302000001",
        charge_batch_no=9_999,
        words="2026-03-02 对账：中心对同一笔费用记了两次",
        answer=SETTLED._replace(charge_batch_no=9_999, settlement_no=43, fund_pay_fen=-7_150),
        contra_of=1,
    ),
    "clearings.asked.v1": m.ClearingsAsked(since="2024-01", held=(c.MonthHeld("H0001", "2026-03", bytes(range(8))),)),
    "clearings.told.v1": m.ClearingsTold(
        institution_code="H0001",
        months=("2026-03", "2026-04"),
        clearings=(
            c.ToldClearing(
                c.ClearingHead(
                    period_no=17,
                    scheme="employee",
                    clearing_type="11",
                    name="2026-03",
                    first_day=date(2026, 3, 1),
                    last_day=date(2026, 3, 31),
                    closes_on=date(2026, 4, 8),
                    state="closed",
                    clearing_no=1_047_230,
                    closed_at=datetime(2026, 4, 8, 2, 0, tzinfo=SHANGHAI),
                    objection="",
                    objected_at=None,
                    confirmed_at=None,
                    confirmed_by="",
                    payment_no=0,
                    paid_at=None,
                ),
                c.ClearingSums(3, 1, 2, 12_345, 7_150, 2_000, 357, 100, 0, 0, 8_693),
                (c.ClearedFund("basic", 7_150, 357, 100, 0),),
                (c.ClearedDay(DAY, 3, 1, 12_345, 7_150, 2_000),),
            ),
        ),
        epoch=7_654_321,
    ),
    "clearing.decided.v1": m.ClearingDecided(
        institution_code="H0001",
        period_no=17,
        clearing_no=1_047_230,
        decision="object",
        by="医保办 王敏",
        reason="少一笔住院",
        decided_at=datetime(2026, 4, 9, 9, 30, tzinfo=SHANGHAI),
    ),
    "clearing.heard.v1": m.ClearingHeard(
        institution_code="H0001",
        period_no=17,
        clearing_no=1_047_230,
        decision="object",
        decided_at=datetime(2026, 4, 9, 9, 30, tzinfo=SHANGHAI),
        code="clearing-confirmed",
        words="该清算期已确认",
        epoch=7_654_321,
    ),
    "repair.done.v1": m.RepairDone(order_no=5, done=True, words="反向结算已记账，并交给机构"),
    "books.reported.v1": m.BooksReported(
        day=DAY,
        totals=(m.DayTotals("H0001", DAY, 1, 12_345, 7_150, 2_000),),
        lines_of=("H0001",),
        lines=(m.BookLine("H0001", "F001260302000001", 1, 42, 12_345, 7_150, 2_000),),
        before=datetime(2026, 3, 2, 10, 0, tzinfo=SHANGHAI),
    ),
}


def golden(name):
    return (GOLDEN / f"{name}.msgpack").read_bytes()


def changed(packed, change):
    kind, version, body = msgpack.unpackb(packed)
    return msgpack.packb(change(kind, version, body))


def test_every_message_has_its_golden_bytes():
    released = {f"{kind.KIND}.v{kind.VERSION}" for kind in get_args(m.Message)}
    assert released <= {path.stem for path in GOLDEN.glob("*.msgpack")} == set(VALUES)


@pytest.mark.parametrize("name", VALUES)
def test_released_bytes_are_read(name):
    value = VALUES[name]
    assert decode(golden(name), type(value)) == value


@pytest.mark.parametrize("name", VALUES)
def test_todays_code_writes_the_released_bytes(name):
    assert encode(VALUES[name]) == golden(name)


@pytest.mark.parametrize("name", VALUES)
def test_an_unknown_version_is_refused(name):
    packed = changed(golden(name), lambda kind, version, body: [kind, version + 1, body])
    with pytest.raises(UnreadableMessage, match="another kind or version"):
        decode(packed, type(VALUES[name]))


@pytest.mark.parametrize("name", VALUES)
def test_another_kind_is_refused(name):
    other = next(kind for kind in get_args(m.Message) if kind is not type(VALUES[name]))
    with pytest.raises(UnreadableMessage, match="another kind or version"):
        decode(golden(name), other)


@pytest.mark.parametrize("name", VALUES)
def test_a_newer_sender_may_add_a_field(name):
    packed = changed(golden(name), lambda kind, version, body: [kind, version, body | {"since_next_year": 1}])
    assert decode(packed, type(VALUES[name])) == VALUES[name]


ROWS = {
    "totals.submitted.v1+day": "claims",
    "prepare.asked.v1+day": "claims",
    "detail.uploaded.v1": "claims",
    "detail.received.v1": "receipts",
    "upload.granted.v1+bytes": "shares",
    "detail.uploaded.v1+chunk": "chunk",
    "detail.received.v1+chunk": "chunk",
    "books.reported.v1": "totals",
    "books.submitted.v1": "lines",
    "books.compared.v1": "differences",
    "claims.answered.v1+lines": "answers",
    "lines.submitted.v1": "claims",
    "person.answered.v1+offline": "entitlements",
    "outcome.decided.v1": "decisions",
    "outcome.asked.v1": "keys",
    "outcome.told.v1+again": "outcomes",
    "claims.answered.v1+again": "resubmitted",
    "terms.sent.v1": "terms",
    "handed.over.v1": "accepted",
}
"""Messages with rows as long as this release writes them."""


@pytest.mark.parametrize(("name", "rows"), ROWS.items())
def test_a_newer_sender_may_add_a_field_at_the_end_of_a_row(name, rows):
    def longer(kind, version, body):
        longest = max(len(row) for row in body[rows])
        return [
            kind,
            version,
            body | {rows: [[*row, "since next year"] if len(row) == longest else row for row in body[rows]]},
        ]

    assert decode(changed(golden(name), longer), type(VALUES[name])) == VALUES[name]


def test_a_newer_sender_may_add_a_field_at_the_end_of_a_row_in_a_row():
    name = "totals.submitted.v1+offline"

    def longer(kind, version, body):
        stay, *others = body["claims"]
        stay[18].append("since next year")
        return [kind, version, body | {"claims": [[*stay, "since next year"], *others]}]

    assert decode(changed(golden(name), longer), m.TotalsSubmitted) == VALUES[name]


def test_a_row_that_uses_nothing_new_is_as_short_as_it_was_released():
    claims = msgpack.unpackb(golden("totals.submitted.v1+again"))[2]["claims"]
    assert [len(row) for row in claims] == [20, 19, 13]


def test_a_result_of_our_own_that_is_not_off_line_is_as_short_as_it_was_released():
    claims = msgpack.unpackb(golden("totals.submitted.v1+offline"))[2]["claims"]
    assert [len(row[18]) for row in claims] == [len(m.LocalResult._fields), 11]


def test_an_answer_to_totals_is_as_short_as_before_claims_came_with_lines():
    answers = msgpack.unpackb(golden("claims.answered.v1+lines"))[2]["answers"]
    assert [len(row) for row in answers] == [len(m.ClaimAnswer._fields)] * 2 + [20, 15]


def test_an_older_sender_may_leave_out_what_has_a_default():
    shorter = msgpack.packb(["claims.answered", 1, {"answers": [["F001260302000001", 1, "no-policy", "无"]]}])
    (answer,) = decode(shorter, m.ClaimsAnswered).answers
    assert answer == m.ClaimAnswer("F001260302000001", 1, "no-policy", "无")
    assert decode(msgpack.packb(["books.asked", 1, {"day": "2026-03-02"}]), m.BooksAsked) == m.BooksAsked(day=DAY)


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="no msgpack"),
        pytest.param(msgpack.packb(5), id="not a message"),
        pytest.param(msgpack.packb([["claims.answered"], 1, {}]), id="an odd kind"),
        pytest.param(msgpack.packb(["claims.answered", 1, {}]), id="without its fields"),
        pytest.param(msgpack.packb(["claims.answered", 1, {"answers": [["v"]]}]), id="a row too short"),
        pytest.param(msgpack.packb(["claims.answered", 1, {"answers": [["v", 1.5]]}]), id="a float"),
        pytest.param(msgpack.packb(["claims.answered", 1, {"answers": [["v", "1"]]}]), id="a text for a number"),
        pytest.param(encode(VALUES["claims.answered.v1"])[:-1], id="cut short"),
        pytest.param(b"\x91" * 5_000, id="a depth bomb"),
    ],
)
def test_what_does_not_fit_is_unreadable_and_never_quoted(packed):
    with pytest.raises(UnreadableMessage) as unreadable:
        decode(packed, m.ClaimsAnswered)
    assert "v" not in str(unreadable.value).split()


def test_moments_keep_their_zone():
    assert decode(golden("claims.answered.v1"), m.ClaimsAnswered).answers[0].settled_at.utcoffset() == timedelta(
        hours=8
    )
    assert VALUES["upload.granted.v1"].cut_off.astimezone(UTC).hour == 6
