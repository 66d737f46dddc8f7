"""The messages between front-end and centre, version 1. A released message is never edited: see docs/messages.md.

Rows that travel in bulk are named tuples, so they are arrays on the wire; a new field goes last and has a default.
"""

from domain.messages.books import (
    BookLine,
    BooksAsked,
    BooksCompared,
    BooksReported,
    BooksSubmitted,
    ComparedTotals,
    DayTotals,
    FoundDifference,
    InstitutionLine,
    RepairDone,
    RepairOrdered,
    ScopeTotals,
)
from domain.messages.claims import (
    ClaimAnswer,
    ClaimKey,
    ClaimLines,
    ClaimsAnswered,
    ClaimSplit,
    ClaimTotals,
    FailedLine,
    LinesSubmitted,
    LocalResult,
    Resubmitted,
    TotalsSubmitted,
    bare_of,
    with_lines,
    with_split,
)
from domain.messages.clearings import ClearingDecided, ClearingHeard, ClearingsAsked, ClearingsTold
from domain.messages.details import (
    ChunkSums,
    ClaimDetail,
    DetailReceipt,
    DetailReceived,
    DetailUploaded,
    UploadGranted,
    UploadShare,
)
from domain.messages.outcomes import (
    OutcomeAsked,
    OutcomeDecided,
    OutcomeDecision,
    OutcomeTold,
    PrepareAsked,
    ToldOutcome,
)
from domain.messages.persons import PersonAnswered, PersonAsked
from domain.messages.reference import ReferenceAsked, ReferencePart, ReferenceRow, ReferenceSent
from domain.messages.refunds import CorrectionHeard, RefundAnswered, RefundAsked, SettlementCorrected
from domain.messages.restored import (
    DetailsAsked,
    DetailsMarked,
    DocumentsAsked,
    DocumentsResent,
    LastMove,
    Resent,
    ResentRefusal,
)
from domain.messages.serving import BundleKept, HandedOver, HandOverAsked, HandOverReported, TermsAsked, TermsSent

Message = (
    TotalsSubmitted
    | ClaimsAnswered
    | LinesSubmitted
    | PersonAsked
    | PersonAnswered
    | RefundAsked
    | RefundAnswered
    | SettlementCorrected
    | CorrectionHeard
    | PrepareAsked
    | OutcomeDecided
    | OutcomeAsked
    | OutcomeTold
    | UploadGranted
    | DetailUploaded
    | DetailReceived
    | BooksAsked
    | BooksReported
    | BooksSubmitted
    | BooksCompared
    | RepairOrdered
    | RepairDone
    | DocumentsAsked
    | DocumentsResent
    | DetailsAsked
    | DetailsMarked
    | ReferenceAsked
    | ReferenceSent
    | TermsAsked
    | TermsSent
    | HandOverAsked
    | HandedOver
    | HandOverReported
    | BundleKept
    | ClearingsAsked
    | ClearingsTold
    | ClearingDecided
    | ClearingHeard
)

__all__ = [
    "BookLine",
    "BooksAsked",
    "BooksCompared",
    "BooksReported",
    "BooksSubmitted",
    "BundleKept",
    "ChunkSums",
    "ClaimAnswer",
    "ClaimDetail",
    "ClaimKey",
    "ClaimLines",
    "ClaimSplit",
    "ClaimTotals",
    "ClaimsAnswered",
    "ClearingDecided",
    "ClearingHeard",
    "ClearingsAsked",
    "ClearingsTold",
    "ComparedTotals",
    "CorrectionHeard",
    "DayTotals",
    "DetailReceipt",
    "DetailReceived",
    "DetailUploaded",
    "DetailsAsked",
    "DetailsMarked",
    "DocumentsAsked",
    "DocumentsResent",
    "FailedLine",
    "FoundDifference",
    "HandOverAsked",
    "HandOverReported",
    "HandedOver",
    "InstitutionLine",
    "LastMove",
    "LinesSubmitted",
    "LocalResult",
    "Message",
    "OutcomeAsked",
    "OutcomeDecided",
    "OutcomeDecision",
    "OutcomeTold",
    "PersonAnswered",
    "PersonAsked",
    "PrepareAsked",
    "ReferenceAsked",
    "ReferencePart",
    "ReferenceRow",
    "ReferenceSent",
    "RefundAnswered",
    "RefundAsked",
    "RepairDone",
    "RepairOrdered",
    "Resent",
    "ResentRefusal",
    "Resubmitted",
    "ScopeTotals",
    "SettlementCorrected",
    "TermsAsked",
    "TermsSent",
    "ToldOutcome",
    "TotalsSubmitted",
    "UploadGranted",
    "UploadShare",
    "bare_of",
    "with_lines",
    "with_split",
]
