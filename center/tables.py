"""The tables of the centre's database (PostgreSQL). Money is whole fen in BIGINT; nothing settled is changed."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    String,
    Table,
    Text,
    Time,
    UniqueConstraint,
    text,
)

metadata = MetaData()

WRITTEN_ONCE = {"append_only": True}
"""What `center.privileges` reads: the application's role may add rows to the table and read them, nothing else."""

terms_version = Sequence("terms_version_seq", metadata=metadata)

institution = Table(
    "institution",
    metadata,
    Column("institution_code", String(18), primary_key=True, comment="医院编号 YYBH"),
    Column("name", String(60), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("level", Integer, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column(
        "way",
        String(12),
        nullable=False,
        server_default="central",
        comment="who computes the benefit: central, or local and the centre confirms",
    ),
    Column(
        "short_code",
        String(6),
        nullable=False,
        server_default="",
        comment="first six characters of its visit numbers; empty: not known at the centre",
    ),
    Column("size", String(12), nullable=False, server_default="small", comment="domain.institution_class.Size"),
    Column("weight", Integer, nullable=False, server_default="10", comment="share of a shared front-end, 1 to 100"),
    Column("rate_per_second", Integer, nullable=False, server_default="0", comment="claims; 0: no limit"),
    Column("burst", Integer, nullable=False, server_default="0", comment="claims; 0: ten seconds of the rate"),
    Column(
        "backlog_cap", Integer, nullable=False, server_default="0", comment="most open claims; 0: its front-end's own"
    ),
    Column("suspended", String(60), nullable=False, server_default="", comment="why it takes nothing, in Chinese"),
    Column(
        "civil_servants",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="公务员医疗补助业务: opened, so it has a server of its own (AMB-43)",
    ),
    Column("offline", Boolean, nullable=False, server_default=text("false"), comment="may settle off-line (AMB-47)"),
    Column("offline_claim_fen", BigInteger, nullable=False, server_default="0"),
    Column("offline_total_fen", BigInteger, nullable=False, server_default="0"),
    Column("offline_hours", Integer, nullable=False, server_default="0"),
    Column("settle_lanes", Integer, nullable=False, server_default="1", comment="its claims are spread over so many"),
    Column(
        "terms_version",
        BigInteger,
        nullable=False,
        server_default=text("nextval('terms_version_seq')"),
        comment="rises with every change of anybody's terms",
    ),
    comment="The institutions with their terms; who serves them is in served_by.",
)

person = Table(
    "person",
    metadata,
    Column("person_no", BigInteger, primary_key=True, autoincrement=True),
    Column("citizen_id_no", String(18), nullable=False, unique=True, comment="公民身份号码 GMSFHM"),
    Column("scheme", String(16), nullable=False),
    Column("category", String(3), nullable=False, comment="人员类别 RYLB"),
    Column("civil_servant", Boolean, nullable=False, server_default=text("false")),
    Column("entitled", Boolean, nullable=False, server_default=text("true"), comment="false: benefit suspended"),
    Column("account_balance_fen", BigInteger, nullable=False, server_default="0"),
    Column("rank", String(16), nullable=False, server_default="", comment="of civil servants, as policy facts name it"),
    Column(
        "groups",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="groups of persons the policy names: assistance, full cover, ...",
    ),
    Column("birth", Date, comment="date of birth; the rules see completed years"),
    Column("family_citizen_id_no", String(18), comment="whose personal account this person may use besides the own"),
    Column(
        "version",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="rises with every settlement, and with whatever else an entitlement says",
    ),
    Column(
        "held_until",
        DateTime(timezone=True),
        comment="a prepared claim holds the person until then; null or past: nothing does",
    ),
    CheckConstraint("account_balance_fen >= 0", name="ck_person_balance"),
)
Index(
    "ix_person_family",
    person.c.family_citizen_id_no,
    postgresql_where=person.c.family_citizen_id_no.is_not(None),
)

accumulator = Table(
    "accumulator",
    metadata,
    Column("person_no", BigInteger, primary_key=True),
    Column("key", String(128), primary_key=True, comment="domain.accumulators: fund:visit type:segment:tag:period"),
    Column("amount_fen", BigInteger, nullable=False),
)

_SIGN = "(CASE kind WHEN 'contra' THEN -1 ELSE 1 END)"
_PERSON = "(coalesce(own_pay_fen, own_expense_fen + over_limit_fen + pre_self_pay_fen) + self_pay_fen + over_cap_fen)"
SETTLEMENT_IDENTITIES = {
    "kind": "kind IN ('normal', 'contra')",
    "total_sign": f"{_SIGN} * total_fen >= 0",
    "fund_sign": f"{_SIGN} * fund_pay_fen >= least(0, {_SIGN} * in_scope_fen)",
    "share_sign": f"{_SIGN} * institution_share_fen >= least(0, {_SIGN} * in_scope_fen)",
    "deductible": "deductible_fen BETWEEN least(0, self_pay_fen) AND greatest(0, self_pay_fen)",
    "account": f"account_pay_fen BETWEEN least(0, {_PERSON}) AND greatest(0, {_PERSON})",
    "lines": "line_count >= 0",
}
"""What holds of every settlement besides its two sums (invariants.md, INV-18 to INV-22): an amount of a contra has the
other sign. A part of the scope may be the odd fen below zero, so what is paid of it is compared with it."""

settlement_no = Sequence("settlement_no_seq", metadata=metadata)

settlement = Table(
    "settlement",
    metadata,
    Column("settlement_no", BigInteger, primary_key=True),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False),
    Column("charge_batch_no", Integer, nullable=False),
    Column("kind", String(8), nullable=False, comment="normal; contra: takes another one back"),
    Column("frontend", String(32), nullable=False),
    Column("person_no", BigInteger, nullable=False),
    Column("visit_type", String(1), nullable=False),
    Column("clearing_type", String(4), nullable=False, comment="清算类别: domain.clearing, of the visit type"),
    Column("visit_date", Date, nullable=False),
    Column("settled_at", DateTime(timezone=True), nullable=False),
    Column("settled_day", Date, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="of the canonical lines"),
    Column("line_count", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("own_expense_fen", BigInteger, nullable=False),
    Column("over_limit_fen", BigInteger, nullable=False),
    Column("pre_self_pay_fen", BigInteger, nullable=False),
    Column("in_scope_fen", BigInteger, nullable=False),
    Column("fund_pay_fen", BigInteger, nullable=False),
    Column("account_pay_fen", BigInteger, nullable=False),
    Column("deductible_fen", BigInteger, nullable=False),
    Column("self_pay_fen", BigInteger, nullable=False),
    Column("over_cap_fen", BigInteger, nullable=False),
    Column("institution_share_fen", BigInteger, nullable=False),
    Column("own_pay_fen", BigInteger, comment="GRZFJE1; null on rows from before funds paid of it: the three parts"),
    Column("policy_version", String(64), nullable=False),
    Column("catalogue_version", String(64), nullable=False),
    Column("scheme", String(16), nullable=False, server_default="", comment="of the person, as it was"),
    Column("category", String(3), nullable=False, server_default="", comment="of the person, as it was"),
    Column("institution_level", Integer, comment="as it was; null on rows from before it was kept"),
    Column(
        "circumstances",
        LargeBinary,
        nullable=False,
        server_default="",
        comment="msgpack of what else makes a claim the same claim: visit_started ... groups; empty if none",
    ),
    Column(
        "inputs",
        LargeBinary,
        nullable=False,
        server_default="",
        comment="center.settling.inputs: person, accumulators and occasion it was computed from",
    ),
    Column("steps", LargeBinary, nullable=False, comment="msgpack of domain.settlement.Step rows"),
    Column(
        "answer", LargeBinary, nullable=False, comment="msgpack of domain.messages.ClaimAnswer, sent again as it is"
    ),
    Column("contra_of", BigInteger, comment="settlement_no of the one it takes back"),
    Column("reason", String(120), nullable=False, server_default="", comment="why it was refunded"),
    # The institution is not in it: a visit number belongs to one institution (VISIT_OF_ANOTHER), so without it the
    # key is stricter. The visit leads, because that is what a batch is looked up by.
    UniqueConstraint("visit_no", "charge_batch_no", "kind", name="uq_settlement_key"),
    CheckConstraint(
        "total_fen = own_expense_fen + over_limit_fen + pre_self_pay_fen + in_scope_fen", name="ck_settlement_split"
    ),
    CheckConstraint(
        "total_fen = fund_pay_fen + coalesce(own_pay_fen, own_expense_fen + over_limit_fen + pre_self_pay_fen)"
        " + self_pay_fen + over_cap_fen + institution_share_fen",
        name="ck_settlement_payers",
    ),
    CheckConstraint("(kind = 'contra') = (contra_of IS NOT NULL)", name="ck_settlement_contra"),
    *[CheckConstraint(rule, name=f"ck_settlement_{name}") for name, rule in SETTLEMENT_IDENTITIES.items()],
    info=WRITTEN_ONCE,
)
Index(
    "uq_settlement_contra_of",
    settlement.c.contra_of,
    unique=True,
    postgresql_where=settlement.c.contra_of.is_not(None),
)
Index("ix_settlement_day", settlement.c.settled_day, settlement.c.institution_code)
Index("ix_settlement_person", settlement.c.person_no)
Index("ix_settlement_contra_day", settlement.c.settled_day, postgresql_where=settlement.c.contra_of.is_not(None))

posting = Table(
    "posting",
    metadata,
    Column("document_no", BigInteger, nullable=False, comment="a settlement, or a row of ledger_document"),
    Column("account", String(64), nullable=False, comment="domain.ledger"),
    Column("amount_fen", BigInteger, nullable=False, comment="a document's postings add up to zero"),
    info=WRITTEN_ONCE,
    postgresql_partition_by="RANGE (document_no)",
)
Index("ix_posting_document", posting.c.document_no)

accumulator_entry = Table(
    "accumulator_entry",
    metadata,
    Column("settlement_no", BigInteger, nullable=False),
    Column("person_no", BigInteger, nullable=False),
    Column("key", String(128), nullable=False),
    Column("before_fen", BigInteger, nullable=False),
    Column("applied_fen", BigInteger, nullable=False),
    info=WRITTEN_ONCE,
    postgresql_partition_by="RANGE (settlement_no)",
)
Index("ix_accumulator_entry_person", accumulator_entry.c.person_no, accumulator_entry.c.key)
# Rows come in order of their numbers: a range per few pages finds them, and costs nothing when they are written.
Index(
    "ix_accumulator_entry_settlement",
    accumulator_entry.c.settlement_no,
    postgresql_using="brin",
    postgresql_with={"pages_per_range": 8, "autosummarize": True},
)

parked = Table(
    "parked",
    metadata,
    Column("parked_id", BigInteger, primary_key=True, autoincrement=True),
    Column("frontend", String(32), nullable=False),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False),
    Column("charge_batch_no", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("refusal", String(32), nullable=False, comment="domain.refusals.Refusal"),
    Column("detail", Text, nullable=False),
    Column("totals", LargeBinary, nullable=False, comment="msgpack of domain.messages.ClaimTotals as it came"),
    Column("parked_at", DateTime(timezone=True), nullable=False),
    Column(
        "submission",
        Integer,
        nullable=False,
        server_default="0",
        comment="how often it had been sent again after a refusal",
    ),
    Column(
        "failed",
        LargeBinary,
        nullable=False,
        server_default="",
        comment="msgpack of domain.messages.FailedLine rows, of a claim that came with its lines",
    ),
    UniqueConstraint(
        "visit_no",
        "charge_batch_no",
        "digest",
        "refusal",
        "institution_code",
        "frontend",
        "submission",
        name="uq_parked",
    ),
    comment="Claims the centre refused: the answer of their copies, and a person looks.",
)

refused_refund = Table(
    "refused_refund",
    metadata,
    Column("visit_no", String(16), primary_key=True),
    Column("contra_batch_no", Integer, primary_key=True, comment="the number of the request"),
    Column("institution_code", String(18), primary_key=True),
    Column("frontend", String(32), primary_key=True),
    Column("charge_batch_no", Integer, primary_key=True, comment="what it would have taken back"),
    Column("refusal", String(32), nullable=False, comment="domain.refusals.Refusal"),
    Column("detail", Text, nullable=False),
    Column("refused_at", DateTime(timezone=True), nullable=False),
    info=WRITTEN_ONCE,
    comment="Refunds the centre refused: the answer of their copies.",
)

reference = Table(
    "reference",
    metadata,
    Column("kind", String(16), primary_key=True, comment="catalogue or policy"),
    Column("version", String(64), primary_key=True),
    Column("in_force", Boolean, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("effective_date", Date, comment="first day it is in force; null: since ever"),
    Column("retired_on", Date, comment="the day another one took its place"),
    Column("withdrawn", Boolean, nullable=False, server_default=text("false"), comment="before its day had come"),
)

policy_publication = Table(
    "policy_publication",
    metadata,
    Column("publication_no", BigInteger, primary_key=True),
    Column("version", String(64), nullable=False, comment="of the set, as in reference"),
    Column("effective_date", Date, nullable=False),
    Column("withdrawn", Boolean, nullable=False, server_default=text("false")),
    Column("published_by", String(40), nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    comment="Who published which policy set, and from when it is in force; the content is in reference.",
)

refund_permit = Table(
    "refund_permit",
    metadata,
    Column("permit_no", BigInteger, primary_key=True),
    Column("visit_no", String(16), nullable=False),
    Column("charge_batch_no", Integer, nullable=False),
    Column("permitted_by", String(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("permitted_at", DateTime(timezone=True), nullable=False),
    Column("until", Date, nullable=False, comment="the last day of it"),
    Index("ix_refund_permit_visit", "visit_no", "charge_batch_no"),
    comment="The office lets one settlement be taken back that the policy leaves to it.",
)

detail = Table(
    "detail",
    metadata,
    Column("settlement_no", BigInteger, primary_key=True, autoincrement=False),
    Column("line_count", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("lines", LargeBinary, nullable=False, comment="domain.visit.pack_lines, as digested"),
    Column("received_at", DateTime(timezone=True), nullable=False),
    info=WRITTEN_ONCE,
    postgresql_partition_by="RANGE (settlement_no)",
)

difference_case = Table(
    "difference_case",
    metadata,
    Column("case_id", BigInteger, primary_key=True, autoincrement=True),
    Column("kind", String(24), nullable=False, comment="center.reconciling.cases.Kind"),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False),
    Column("charge_batch_no", Integer, nullable=False),
    Column("center_fen", BigInteger, nullable=False),
    Column("frontend_fen", BigInteger, nullable=False),
    Column("words", Text, nullable=False),
    Column("day", Date, comment="of the books that differ; null for detail"),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True), comment="when the two books agreed again"),
    Column("frontend", String(32), nullable=False, server_default="", comment="whose books differ; empty: nobody's"),
    UniqueConstraint("kind", "visit_no", "charge_batch_no", name="uq_difference_case"),
)
Index("ix_difference_case_open", difference_case.c.day, postgresql_where=text("closed_at IS NULL"))

upload_window = Table(
    "upload_window",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("opens", Time, nullable=False),
    Column("closes", Time, nullable=False, comment="exclusive; not later than opens: on the next day"),
    Column(
        "days",
        String(9),
        nullable=False,
        server_default="1234567",
        comment="on which it opens: ISO weekdays, Monday is 1; W: working days, H: days off",
    ),
    Column("frontend", String(32), nullable=False, server_default="*", comment="* is every front-end"),
    Column("lines_per_hour", BigInteger, nullable=False, comment="of all its front-ends, by the business clock"),
    Column("bytes_per_hour", BigInteger, nullable=False, comment="on the link, of all its front-ends"),
    Column(
        "slice_seconds", Integer, nullable=False, server_default="60", comment="of one grant, by the business clock"
    ),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    CheckConstraint("lines_per_hour > 0 AND bytes_per_hour > 0", name="ck_window_budget"),
    CheckConstraint("days <> '' AND slice_seconds > 0", name="ck_window_days"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("until", Float, nullable=False, comment="real seconds"),
)

upload_grant = Table(
    "upload_grant",
    metadata,
    Column("frontend", String(32), primary_key=True),
    Column("window", String(32), nullable=False),
    Column("fence", BigInteger, nullable=False, comment="number of the newest slice; each slice has the next one"),
    Column("first_fence", BigInteger, nullable=False, comment="the first slice of this opening of the window"),
    Column("lines", Integer, nullable=False, comment="budget of the slice"),
    Column("bytes", BigInteger, nullable=False, server_default="0", comment="budget of the slice, on the link"),
    Column(
        "is_floor",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="the small slice of this hour, given however late settling is",
    ),
    Column("granted_at", DateTime(timezone=True), nullable=False),
    Column("cut_off", DateTime(timezone=True), nullable=False, comment="end of the slice, exclusive"),
    Column("closes_at", DateTime(timezone=True), nullable=False, comment="end of the window, exclusive"),
    Column("lines_granted", BigInteger, nullable=False, comment="in this opening of the window"),
    Column("lines_received", BigInteger, nullable=False, comment="in this opening of the window"),
    Column("bytes_granted", BigInteger, nullable=False, server_default="0", comment="in this opening of the window"),
    Column("bytes_received", BigInteger, nullable=False, server_default="0", comment="in this opening of the window"),
    comment="The newest slice of each front-end.",
)

lane_health = Table(
    "lane_health",
    metadata,
    Column("lane", String(64), primary_key=True),
    Column("probed_at", Float, nullable=False, comment="real seconds: the newest probe sent down the lane"),
    Column("waiting_since", Float, comment="real seconds: a probe not back yet was sent then; null: all are back"),
    Column("dwell_seconds", Float, nullable=False, comment="how long the newest probe that is back was on its way"),
    comment="How late a lane is, measured on the centre's own clock by probes that queue up like everybody else.",
)

tick = Table(
    "tick",
    metadata,
    Column("name", String(64), primary_key=True, comment="name of the task"),
    Column("at", Float, nullable=False, comment="real seconds"),
    comment="When the schedule last rang.",
)

reconciliation = Table(
    "reconciliation",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("frontend", String(32), primary_key=True, comment="whose books: an institution may have several"),
    Column("frontend_claims", Integer, nullable=False),
    Column("center_claims", Integer, nullable=False),
    Column("difference_fen", BigInteger, nullable=False, comment="front-end total minus centre total"),
    Column("fund_difference_fen", BigInteger, nullable=False),
    Column("compared_at", DateTime(timezone=True), nullable=False),
    comment="The newest comparison of each institution-day, by front-end.",
)
Index("ix_reconciliation_differs", reconciliation.c.day, postgresql_where=text("difference_fen <> 0"))

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", BigInteger, primary_key=True, autoincrement=True),
    Column("arrived_at", DateTime(timezone=True), nullable=False),
    Column("queue", String(64), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False, comment="sealed with the centre's secret"),
    comment="What could not be read from a queue: set aside, never logged, never lost.",
)
