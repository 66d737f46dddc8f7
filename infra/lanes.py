"""The lanes: which queue a message travels on, and the names of the tasks. Both are stable and written out."""

from __future__ import annotations

from zlib import crc32

SETTLE = "settle"
DETAILS = "details"
BOOKS = "books"
ADMIN = "admin"


def preprocess(frontend: str, institution_code: str) -> str:
    """The queue of one institution at one front-end: of a broker's user by its name, and never another front-end's."""
    return f"preprocess.{frontend}.{institution_code}"


def settle(number: int) -> str:
    """The settle lane of that number, from 0; the first is the one there always is."""
    return f"{SETTLE}.{number}" if number else SETTLE


def settle_lanes(count: int) -> list[str]:
    """All of so many settle lanes."""
    return [settle(number) for number in range(count)]


def settle_of(citizen_id_no: str, count: int) -> str:
    """The lane, of so many, on which a person is settled: always the same, so no two lanes wait for one person."""
    return settle(crc32(citizen_id_no.encode()) % count) if count > 1 else SETTLE


def results(frontend: str) -> str:
    """The centre's answers to one front-end."""
    return f"results.{frontend}"


def uploads(frontend: str) -> str:
    """The centre's grants and questions to one front-end."""
    return f"uploads.{frontend}"


CLAIMS_PREPROCESS = "claims.preprocess"
CLAIMS_SETTLE = "claims.settle"
CLAIMS_SETTLE_LINES = "claims.settle_lines"
PERSONS_ASK = "persons.ask"
PERSONS_ANSWER = "persons.answer"
LANES_PROBE = "lanes.probe"
CLAIMS_REFUND = "claims.refund"
CLAIMS_REFUNDED = "claims.refunded"
CLAIMS_CORRECTED = "claims.corrected"
CORRECTIONS_HEARD = "corrections.heard"
CORRECTIONS_TICK = "corrections.tick"
CLAIMS_PREPARE = "claims.prepare"
CLAIMS_DECIDE = "claims.decide"
OUTCOMES_ASK = "outcomes.ask"
OUTCOMES_TELL = "outcomes.tell"
OUTCOMES_TICK = "outcomes.tick"
EPOCH_TICK = "epoch.tick"
DOCUMENTS_ASK = "documents.ask"
DOCUMENTS_RESEND = "documents.resend"
DETAILS_ASK = "details.ask"
DETAILS_MARK = "details.mark"
CLAIMS_DELIVER = "claims.deliver"
DETAILS_UPLOAD = "details.upload"
DETAILS_RECEIVE = "details.receive"
DETAILS_CONFIRM = "details.confirm"
WINDOWS_TICK = "windows.tick"
BOOKS_TICK = "books.tick"
BOOKS_CHECK = "books.check"
CLEARING_TICK = "clearing.tick"
BOOKS_REPORT = "books.report"
BOOKS_RECONCILE = "books.reconcile"
BOOKS_SUBMIT = "books.submit"
BOOKS_COMPARED = "books.compared"
BOOKS_REPAIR = "books.repair"
BOOKS_REPAIRED = "books.repaired"
BOOKS_COMPARE = "books.compare"
AUDIT_TICK = "audit.tick"
REFERENCE_ASK = "reference.ask"
REFERENCE_KEEP = "reference.keep"
CORRECTIONS_PROPOSE = "corrections.propose"
CLEARINGS_ASK = "clearings.ask"
CLEARINGS_TELL = "clearings.tell"
CLEARINGS_DECIDE = "clearings.decide"
CLEARINGS_HEARD = "clearings.heard"
TERMS_ASK = "terms.ask"
TERMS_KEEP = "terms.keep"
SERVING_TICK = "serving.tick"
HANDOVER_ASK = "handover.ask"
HANDOVER_TAKE = "handover.take"
HANDOVER_REPORT = "handover.report"
BUNDLE_KEEP = "bundle.keep"
BUNDLE_KEPT = "bundle.kept"
