"""The tables of a front-end's database: SQLite by default, PostgreSQL by URL. Money is whole fen."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TextClause,
    UniqueConstraint,
    text,
)

from infra.database import Moment

metadata = MetaData()
BigId = BigInteger().with_variant(Integer, "sqlite")

institution = Table(
    "institution",
    metadata,
    Column("institution_code", String(18), primary_key=True, comment="医院编号 YYBH"),
    Column(
        "short_code",
        String(6),
        nullable=False,
        unique=True,
        comment="first six characters of its visit numbers",
    ),
    Column("name", String(60), nullable=False),
    Column("kind", String(16), nullable=False, comment="hospital, clinic or pharmacy"),
    Column("level", Integer, nullable=False, comment="institution level 0 to 3"),
    Column("api_key_hash", String(64), comment="SHA-256 of its API key, hex; no key, no API"),
    Column("backlog_cap", Integer, nullable=False, comment="most open claims before it is told to wait"),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column(
        "exchange", String(8), nullable=False, server_default="dbf", comment="how its HIS is reached: dbf, tables, api"
    ),
    Column("dress", String(8), nullable=False, server_default="", comment="of the shared tables: plain or gwyjb"),
    Column(
        "outpatient_flow",
        Integer,
        nullable=False,
        server_default="2",
        comment="1: outpatient lines are entered at the insurance client, 2: they come from the HIS (WF-05, WF-06)",
    ),
    Column(
        "settles_at_once",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="outpatient lines from the HIS are settled as they come in, nobody asks for it",
    ),
    Column(
        "frontends",
        Integer,
        nullable=False,
        server_default="1",
        comment="how many front-ends issue its visit numbers",
    ),
    Column(
        "frontend_part",
        Integer,
        nullable=False,
        server_default="0",
        comment="which part of the numbers is this front-end's: 0 to frontends - 1",
    ),
    Column(
        "way",
        String(12),
        nullable=False,
        server_default="central",
        comment="who computes the benefit, as the centre says: domain.ways.Way",
    ),
    Column("size", String(12), nullable=False, server_default="small", comment="domain.institution_class.Size"),
    Column("weight", Integer, nullable=False, server_default="10", comment="share of this front-end, 1 to 100"),
    Column("rate_per_second", Integer, nullable=False, server_default="0", comment="claims; 0: no limit"),
    Column("burst", Integer, nullable=False, server_default="0", comment="claims; 0: ten seconds of the rate"),
    Column("suspended", String(60), nullable=False, server_default="", comment="why it takes nothing, in Chinese"),
    Column("connection", String(12), nullable=False, server_default="own", comment="domain.terms.Connection"),
    Column("standing", String(12), nullable=False, server_default="open", comment="domain.terms.Standing"),
    Column("moved_to", String(32), nullable=False, server_default="", comment="who takes what is new instead"),
    Column("move_no", BigInteger, nullable=False, server_default="0", comment="the last move it had a part in"),
    Column("offline", Boolean, nullable=False, server_default=text("false"), comment="may settle off-line (AMB-47)"),
    Column("offline_claim_fen", BigInteger, nullable=False, server_default="0"),
    Column("offline_total_fen", BigInteger, nullable=False, server_default="0"),
    Column("offline_hours", Integer, nullable=False, server_default="0"),
    Column("settle_lanes", Integer, nullable=False, server_default="1", comment="its claims are spread over so many"),
    Column(
        "terms_version", BigInteger, nullable=False, server_default="0", comment="0: the centre has not named it yet"
    ),
    comment="The institutions this front-end serves or served, on the terms the centre gave (workers.terms).",
)

reference = Table(
    "reference",
    metadata,
    Column("kind", String(16), primary_key=True, comment="catalogue or policy"),
    Column("version", String(64), primary_key=True),
    Column("in_force", Boolean, nullable=False, comment="the version used for new claims of this kind"),
    Column("content", LargeBinary, nullable=False, comment="msgpack of the catalogue, or the policy's TOML"),
    Column("effective_date", Date, comment="first day it is in force; null: since ever"),
    Column("retired_on", Date, comment="the day another one took its place"),
    Column("withdrawn", Boolean, nullable=False, server_default=text("false"), comment="before its day had come"),
    Column(
        "edition",
        Integer,
        nullable=False,
        server_default="0",
        comment="rises as matches of further institutions come to it",
    ),
)

reference_part = Table(
    "reference_part",
    metadata,
    Column("digest", LargeBinary(16), primary_key=True, comment="infra.publication.digest_of its content"),
    Column("content", LargeBinary, nullable=False),
    comment="Parts of published catalogues, named by their content: what is here need not be fetched again.",
)

claim = Table(
    "claim",
    metadata,
    Column("claim_id", BigId, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False, comment="就医登记号 JYDJH"),
    Column("charge_batch_no", Integer, nullable=False, comment="费用批次 FYPC"),
    Column("channel", String(8), nullable=False, comment="api or dbf"),
    Column("source", String(80), nullable=False, server_default="", comment="the exchange file it came in"),
    Column("idempotency_key", String(255), comment="the caller's key; kept as long as the claim"),
    Column("content_digest", LargeBinary(16), nullable=False, comment="digest of what was handed in"),
    Column("state", String(10), nullable=False, comment="domain.lifecycle.ClaimState"),
    Column("line_count", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False, comment="sum of the line amounts handed in"),
    Column("accepted_at", Moment, nullable=False),
    Column("totals", LargeBinary, comment="domain.messages.ClaimTotals"),
    Column("catalogue_version", String(64), comment="the versions it was totalled with"),
    Column("policy_version", String(64)),
    Column("rung_at", Float, nullable=False, server_default="0", comment="real seconds: last doorbell or sending"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="how often it was sent to the centre"),
    Column("answer", LargeBinary, comment="domain.messages.ClaimAnswer"),
    Column("refusal", String(32), comment="domain.refusals.Refusal"),
    Column("settled_at", Moment),
    Column("settled_day", Date),
    Column("fund_pay_fen", BigInteger, nullable=False, server_default="0"),
    Column("account_pay_fen", BigInteger, nullable=False, server_default="0"),
    Column(
        "detail_state",
        Integer,
        nullable=False,
        server_default="0",
        comment="0 due, 1 at the centre, 2 mismatch",
    ),
    Column("handed_back", Boolean, nullable=False, server_default=text("false"), comment="given back by its door"),
    Column(
        "kind",
        String(10),
        nullable=False,
        server_default="normal",
        comment="normal; contra: takes a settlement back; resettled: what is kept of it, settled with the contra",
    ),
    Column("final", Boolean, nullable=False, server_default=text("true"), comment="false: the stay goes on"),
    Column("covers_to", Date, comment="of a stay: the last day these charges cover"),
    Column("contra_of", Integer, comment="contra, resettled: the batch that is taken back"),
    Column("refunded_by", Integer, comment="the contra batch that takes, or took, this one back"),
    Column("reason", String(120), comment="why it was refunded"),
    Column(
        "local",
        LargeBinary,
        comment="domain.messages.ClaimAnswer as this front-end settled it itself, until the centre's answer",
    ),
    Column(
        "phase",
        String(8),
        nullable=False,
        server_default="settle",
        comment="domain.outcomes.Phase: what is asked of the centre about it",
    ),
    Column("expires_at", Moment, comment="prepared: about when the centre lets it expire, by our clock; it decides"),
    Column("waits_for", String(32), comment="totalled, prepared: the refusal that holds it up at the centre"),
    Column("decided_at", Moment, comment="when it was said that it be confirmed or cancelled"),
    Column("decided_by", String(40), comment="who said so; null: its institution"),
    Column(
        "submission",
        Integer,
        nullable=False,
        server_default="0",
        comment="how often it was deliberately sent again after a refusal",
    ),
    Column("queued_at", Moment, comment="the link was down: since when it waits to be sent"),
    Column("released_at", Moment, comment="queued: when the drain let it go, in the order of its person"),
    Column("person_key", LargeBinary(16), comment="queued: digest of the identity number, workers.entitlement.key_of"),
    Column("estimate", LargeBinary, comment="queued: ClaimAnswer it would come to by the leased standing; no result"),
    Column("offline_at", Moment, comment="when it was settled off-line; `local` holds the result, true to the patient"),
    Column("offline", LargeBinary, comment="domain.messages.LocalResult of the off-line settlement, to be posted"),
    Column("offline_fen", BigInteger, nullable=False, server_default="0", comment="what the account paid off-line"),
    Column("refused_at", Moment, comment="by the centre, or cancelled"),
    Column(
        "sent_lines",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="it went to the centre with all its lines, and goes so again until it is answered",
    ),
    Column(
        "retotalled",
        Integer,
        nullable=False,
        server_default="0",
        comment="how often it was totalled anew because other reference data was in force at the centre",
    ),
    Column(
        "origin",
        String(32),
        nullable=False,
        server_default="",
        comment="the front-end in whose books it stands, where it came with a move; empty: in ours",
    ),
    Column(
        "carried",
        BigId,
        nullable=False,
        server_default="0",
        comment="the last move its key was told in, and below zero: the one it travelled in itself",
    ),
    UniqueConstraint("visit_no", "charge_batch_no", name="uq_claim_key"),
    UniqueConstraint("institution_code", "idempotency_key", name="uq_claim_idempotency"),
)
# SQLite uses a partial index only for a query that says the index's own condition, in so many words: bound values
# prove nothing. So each condition stands here once, for the index and for its queries.
IS_OPEN = text("claim.state IN ('accepted', 'totalled')")
DETAIL_IS_DUE = text("claim.state = 'settled' AND claim.detail_state = 0")
REFUND_IS_OPEN = text("claim.kind = 'contra' AND claim.state = 'totalled'")
CENTER_REFUSED = text(
    "(claim.state IN ('refused', 'cancelled') OR (claim.state = 'returned' AND claim.refused_at IS NOT NULL))"
)
"""Returned with a moment: its lines failed at the centre, or it was refused and its institution gave it up."""
IS_UNDECIDED = text("claim.phase <> 'settle' AND claim.state IN ('totalled', 'prepared')")
TO_HAND_BACK = text("claim.channel = 'dbf' AND NOT claim.handed_back")
IS_QUEUED = text("claim.state IN ('accepted', 'totalled') AND claim.queued_at IS NOT NULL")
IS_HELD_BACK = text("claim.queued_at IS NOT NULL AND claim.released_at IS NULL")
IS_TO_BE_SENT = text("(claim.queued_at IS NULL OR claim.released_at IS NOT NULL)")
"""Of totalled claims: not to be sent yet, `workers.offline.drain` lets them go; and the others."""
IS_OFFLINE = text("claim.offline_at IS NOT NULL")


def _partly(name: str, condition: TextClause, *columns: Column[Any]) -> None:
    where = text(condition.text.replace("claim.", ""))
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partly("ix_claim_open", IS_OPEN, claim.c.state, claim.c.institution_code, claim.c.claim_id)
_partly("ix_claim_refund_open", REFUND_IS_OPEN, claim.c.state, claim.c.institution_code, claim.c.claim_id)
_partly("ix_claim_refused", CENTER_REFUSED, claim.c.claim_id)
_partly("ix_claim_undecided", IS_UNDECIDED, claim.c.institution_code, claim.c.claim_id)
_partly("ix_claim_detail_due", DETAIL_IS_DUE, claim.c.institution_code, claim.c.settled_at, claim.c.claim_id)
_partly("ix_claim_to_hand_back", TO_HAND_BACK, claim.c.institution_code, claim.c.claim_id)
_partly("ix_claim_queued", IS_QUEUED, claim.c.person_key, claim.c.claim_id)
_partly("ix_claim_offline", IS_OFFLINE, claim.c.person_key, claim.c.offline_at)
Index("ix_claim_settled_day", claim.c.settled_day, claim.c.institution_code)

audit = Table(
    "audit",
    metadata,
    Column("audit_id", BigId, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("by", String(40), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(40), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("institution_code", String(18), nullable=False),
    comment="Who decided what in an institution's place, and why.",
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("cancelled_at", Moment, nullable=False),
    comment="Keys that were cancelled before a claim came under them: one that still comes is not accepted.",
)

claim_content = Table(
    "claim_content",
    metadata,
    Column("claim_id", BigId, primary_key=True, autoincrement=False),
    Column(
        "visit",
        LargeBinary,
        nullable=False,
        comment="domain.visit.Visit: the only place of a name and an identity",
    ),
    Column("lines", LargeBinary, nullable=False, comment="domain.visit.pack_lines"),
    comment="What was handed in, written once and never changed.",
)

verdict = Table(
    "verdict",
    metadata,
    Column("claim_id", BigId, primary_key=True, autoincrement=False),
    Column("codes", LargeBinary, nullable=False, comment="per line: the first failed code and all failed codes"),
    comment="Why a claim was returned.",
)

visit = Table(
    "visit",
    metadata,
    Column("visit_no", String(16), primary_key=True, comment="就医登记号 JYDJH"),
    Column("institution_code", String(18), nullable=False),
    Column("visit_type", String(1), nullable=False, comment="就诊类别 JZLB"),
    Column("visit_date", Date, nullable=False, comment="入院（就诊）日期 RYRQ"),
    Column("state", String(10), nullable=False, comment="domain.lifecycle.VisitState"),
    Column("channel", String(8), nullable=False, comment="which door registered it"),
    Column("idempotency_key", String(255), comment="the caller's key; kept as long as the visit"),
    Column("content_digest", LargeBinary(16), nullable=False, comment="digest of what was registered"),
    Column("content", LargeBinary, nullable=False, comment="domain.visit.Registration, name and identity in it"),
    Column("registered_at", Moment, nullable=False),
    Column("last_batch_no", Integer, nullable=False, server_default="0", comment="the last FYPC given, never again"),
    Column("final_batch_no", Integer, comment="the batch of its final settlement"),
    Column("discharge_date", Date, comment="出院日期 CYRQ"),
    Column("discharge", LargeBinary, comment="domain.visit.Discharge"),
    Column(
        "moved_to",
        String(32),
        nullable=False,
        server_default="",
        comment="the front-end where it is live now; empty: here",
    ),
    UniqueConstraint("institution_code", "idempotency_key", name="uq_visit_idempotency"),
    comment="Registered visits. A claim that carries its own visit has none.",
)
Index("ix_visit_institution", visit.c.institution_code, visit.c.state, visit.c.visit_no)

visit_lines = Table(
    "visit_lines",
    metadata,
    Column("import_id", BigId, primary_key=True, autoincrement=True),
    Column("visit_no", String(16), nullable=False),
    Column("charge_batch_no", Integer, comment="FYPC of the newest settlement these lines were handed to"),
    Column("line_count", Integer, nullable=False),
    Column("first_no", Integer, nullable=False, comment="smallest line number XMXH"),
    Column("last_no", Integer, nullable=False, comment="largest line number XMXH"),
    Column("positive_fen", BigInteger, nullable=False, comment="sum of the amounts above zero"),
    Column("negative_fen", BigInteger, nullable=False, comment="sum of the amounts below zero"),
    Column("lines", LargeBinary, nullable=False, comment="domain.visit.pack_lines"),
    Column("imported_at", Moment, nullable=False),
    Column("channel", String(8), nullable=False),
    Column("source", String(80), nullable=False),
    comment="Imported charge lines of registered visits, one row for what one delivery brought; never changed.",
)
Index("ix_visit_lines_visit", visit_lines.c.visit_no, visit_lines.c.import_id)

line_failure = Table(
    "line_failure",
    metadata,
    Column("failure_id", BigId, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False, comment="as the row says, cut to 16; may belong to no visit"),
    Column("source", String(80), nullable=False),
    Column("line_no", Integer),
    Column("code", String(2), nullable=False, comment="the first check it failed: BZ3"),
    Column("all_codes", String(64), nullable=False, comment="every check it failed, with commas"),
    Column("line", LargeBinary, nullable=False, comment="the line as it came: pack_lines of one"),
    Column("found_at", Moment, nullable=False),
    Column("gone_at", Moment, comment="when its source did not hold it any more as it was"),
    comment="The log of lines that failed their checks; those not gone hold up the settlement of their visit.",
)
STILL_FAILS = text("line_failure.gone_at IS NULL")
Index(
    "ix_line_failure_open",
    line_failure.c.visit_no,
    sqlite_where=text("gone_at IS NULL"),
    postgresql_where=text("gone_at IS NULL"),
)
Index("ix_line_failure_found", line_failure.c.institution_code, line_failure.c.found_at)

line_warning = Table(
    "line_warning",
    metadata,
    Column("warning_id", BigId, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False),
    Column("source", String(80), nullable=False),
    Column("code", String(2), nullable=False, comment="domain.codes.WARNINGS; never in BZ3"),
    Column("line", LargeBinary, nullable=False, comment="the line as it was imported: pack_lines of one"),
    Column("found_at", Moment, nullable=False),
    comment="The log of lines that were imported with a warning. It holds up nothing.",
)
Index("ix_line_warning_found", line_warning.c.institution_code, line_warning.c.found_at)
Index("ix_line_warning_visit", line_warning.c.visit_no)

hand_out = Table(
    "hand_out",
    metadata,
    Column("hand_out_id", BigId, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False),
    Column("visit_no", String(16), nullable=False),
    Column("kind", String(12), nullable=False, comment="workers.visits.handout.Kind"),
    Column("number", BigInteger, nullable=False, comment="lines: import_id; result: charge_batch_no; else 0"),
    Column("handed_at", Moment, comment="when it was written to the institution's exchange"),
    UniqueConstraint("visit_no", "kind", "number", name="uq_hand_out"),
    comment="What an institution's exchange is to be given of its registered visits, in order.",
)
TO_HAND_OUT = text("hand_out.handed_at IS NULL")
Index(
    "ix_hand_out_waiting",
    hand_out.c.institution_code,
    hand_out.c.hand_out_id,
    sqlite_where=text("handed_at IS NULL"),
    postgresql_where=text("handed_at IS NULL"),
)

entitlement = Table(
    "entitlement",
    metadata,
    Column("person_key", LargeBinary(16), primary_key=True, comment="digest of the identity number"),
    Column("version", BigInteger, nullable=False, comment="the person's at the centre, our own settlements counted in"),
    Column("leased_until", Moment, nullable=False),
    Column("content", LargeBinary, nullable=False, comment="domain.entitlement.Entitlement without identity number"),
    comment="What the centre said of persons who registered here, for a while. No name and no identity number.",
)
Index("ix_entitlement_leased", entitlement.c.leased_until)

upload_slice = Table(
    "upload_slice",
    metadata,
    Column("fence", BigInteger, primary_key=True, autoincrement=False, comment="its fencing number at the centre"),
    Column("window", String(32), nullable=False),
    Column("lines", BigInteger, nullable=False, comment="budget"),
    Column("bytes", BigInteger, nullable=False, comment="budget on the link; 0: without end"),
    Column("shares", LargeBinary, nullable=False, comment="domain.messages.UploadShare rows"),
    Column("cut_off", Moment, nullable=False, comment="exclusive"),
    Column("claims_sent", BigInteger, nullable=False),
    Column("lines_sent", BigInteger, nullable=False),
    Column("bytes_sent", BigInteger, nullable=False),
    Column("sent_of", LargeBinary, nullable=False, comment="lines sent, by institution"),
    Column("chunk_no", BigInteger, nullable=False, comment="the last chunk that was sent, in this slice or before"),
    comment="The slice the centre granted last, and how far it has been used: one row.",
)

upload_chunk = Table(
    "upload_chunk",
    metadata,
    Column("chunk_no", BigId, primary_key=True, autoincrement=False),
    Column("claims", Integer, nullable=False),
    Column("line_count", BigInteger, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("digest", LargeBinary(16), nullable=False, comment="domain.chunks"),
    Column("sent_at", Float, nullable=False, comment="real seconds"),
    comment="Chunks of detail on their way, until the centre answers with the same count, sum and digest.",
)

link = Table(
    "link",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False, comment="1: there is one row"),
    Column("state", String(8), nullable=False, comment="domain.link.LinkState"),
    Column("since", Moment, nullable=False, comment="when it came to this state"),
    Column("fresh_until", Moment, nullable=False, comment="noted anew before then, or nobody looks any more"),
    Column("heard_at", Moment, comment="the last answer of the centre"),
    Column("skew_seconds", Float, comment="how far the centre's clock is ahead of ours"),
    Column("uncertain_seconds", Float, comment="half the round trip it was measured by"),
    Column("unheard_at", Moment, comment="when something sealed with another key came on our lane; null: nothing did"),
    comment="What is known of the link to the centre: one row, written by the process that hears the centre.",
)

exchange_status = Table(
    "exchange_status",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("looked_at", Moment, nullable=False),
    Column("error", String(64), nullable=False, server_default="", comment="why they could not be reached"),
    Column("unread", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    comment="How the poller found an institution's shared tables at its last look.",
)

visit_counter = Table(
    "visit_counter",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("last", Integer, nullable=False),
    comment="The last visit number issued per institution and day.",
)

center_epoch = Table(
    "center_epoch",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False, comment="1: there is one row"),
    Column("epoch", BigInteger, nullable=False),
    Column("met_at", Moment, comment="null: the first one"),
    comment="The latest epoch of the centre this front-end has met: one row, which whoever records locks.",
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("until", Float, nullable=False, comment="real seconds"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", BigId, primary_key=True, autoincrement=True),
    Column("arrived_at", Moment, nullable=False),
    Column("queue", String(64), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False, comment="sealed with the site's key"),
    comment="What could not be read from a queue: set aside, never logged, never lost.",
)

bundle_made = Table(
    "bundle_made",
    metadata,
    Column("move_no", BigInteger, primary_key=True, autoincrement=False),
    Column("bundle_no", Integer, primary_key=True, autoincrement=False),
    Column("institution_code", String(18), nullable=False, server_default=""),
    Column("content", LargeBinary, comment="the message as it was made; null: the institution moved again"),
    Column("whole", Boolean, nullable=False, comment="with it and those before it the target can open"),
    comment="What this front-end hands over in a move: made once, sent whenever the centre asks.",
)

bundle_taken = Table(
    "bundle_taken",
    metadata,
    Column("move_no", BigInteger, primary_key=True, autoincrement=False),
    Column("bundle_no", Integer, primary_key=True, autoincrement=False),
    Column("taken_at", Moment, nullable=False),
    comment="What this front-end took over in a move, once each.",
)

arriving = Table(
    "arriving",
    metadata,
    Column("visit_no", String(16), primary_key=True),
    Column("charge_batch_no", Integer, primary_key=True, autoincrement=False, comment="0: the visit itself"),
    Column("institution_code", String(18), nullable=False),
    Column("idempotency_key", String(255)),
    Column("content_digest", LargeBinary(16), nullable=False),
    Column("frontend", String(32), nullable=False, comment="where it still is"),
    Column("move_no", BigInteger, nullable=False),
    comment="What the front-end an institution came from had accepted, and has not handed over yet.",
)
Index("ix_arriving_key", arriving.c.institution_code, arriving.c.idempotency_key)

admission = Table(
    "admission",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("full_at", Float, nullable=False, comment="business seconds: when its bucket is full again"),
    comment="The token bucket before each institution's doors (domain.admission).",
)

tenant_use = Table(
    "tenant_use",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("slot", BigInteger, primary_key=True, autoincrement=False, comment="real seconds, in tens"),
    Column("busy_us", BigInteger, nullable=False, comment="processing time of the desks, in millionths of a second"),
    Column("claims", BigInteger, nullable=False),
    Column("work", BigInteger, nullable=False, comment="domain.fairness.work_of their lines"),
    comment="What each institution has had of its front-end lately; kept for an hour.",
)

tenant_conduct = Table(
    "tenant_conduct",
    metadata,
    Column("institution_code", String(18), primary_key=True),
    Column("lowered", Integer, nullable=False, comment="how often its weight is halved at the moment"),
    Column("calm", Integer, nullable=False, comment="how many looks in a row found nothing"),
    comment="How each institution behaves, by domain.fairness.judged.",
)

tenant_event = Table(
    "tenant_event",
    metadata,
    Column("event_id", BigId, primary_key=True, autoincrement=True),
    Column("institution_code", String(18), nullable=False),
    Column("at", Moment, nullable=False),
    Column("lowered_from", Integer, nullable=False),
    Column("lowered_to", Integer, nullable=False),
    Column("share", Integer, nullable=False, comment="of the processing time, in thousandths"),
    Column("in_flight", Integer, nullable=False),
    comment="Each time an institution's weight was lowered or restored.",
)
Index("ix_tenant_event_institution", tenant_event.c.institution_code, tenant_event.c.event_id)
