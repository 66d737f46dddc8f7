"""The terms of institutions at the centre: read, changed, and told to the front-ends that hold others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from center.ledger import audit
from center.serving.tables import served_by, terms_report
from center.tables import institution
from domain import terms as law
from domain.messages import TermsAsked, TermsSent
from domain.terms import InstitutionTerms, Standing, digest_of, digest_of_versions

LONGEST_REASON = 200
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 600.0
NOBODY = digest_of_versions(())
"""What a front-end holds that serves nobody."""


class TermsRefused(Exception):
    """Terms that cannot be: every problem in Chinese, all at once; nothing was changed."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("；".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the city decides about connections, as parameters (`infra.settings`)."""

    civil_servants_may_share: bool = False
    """AMB-43: 4.2(1) demands a server of its own where the civil-servant business is opened; true relaxes that."""


STRICT = Rules()


def read(connection: Connection, institution_code: str) -> Row[Any] | None:
    """The institution's row with its terms; None of an unknown one."""
    return connection.execute(select(institution).where(institution.c.institution_code == institution_code)).first()


def change(
    connection: Connection,
    institution_code: str,
    changes: Mapping[str, object],
    *,
    by: str,
    reason: str,
    at: datetime,
    rules: Rules = STRICT,
) -> int:
    """Change some terms of an institution, and say in the ledger who did it and why; their new version.

    Raises TermsRefused with everything that is wrong, and then nothing was changed; NobodyNamed.
    """
    renewing(connection)
    row = read(connection, institution_code)
    if row is None:
        raise TermsRefused([f"没有医药机构 {institution_code}"])
    problems = law.problems_of(changes) + _problems(connection, row, changes, reason, rules)
    if problems:
        raise TermsRefused(problems)
    known = institution.c.institution_code == institution_code
    connection.execute(update(institution).where(known).values(dict(changes)))
    version = renewed(connection, institution_code)
    before = {name: getattr(row, name) for name in changes}
    audit.note(
        connection,
        by=by,
        action="terms.change",
        subject=institution_code,
        reason=reason,
        institution_code=institution_code,
        at=at,
        details={"version": version, **{name: f"{before[name]} → {value}" for name, value in changes.items()}},
    )
    return version


def renewed(connection: Connection, institution_code: str) -> int:
    """Count a change of the institution's terms, or of who serves it; the new version, higher than any there is."""
    renewing(connection)
    counted = (
        update(institution)
        .where(institution.c.institution_code == institution_code)
        .values(terms_version=func.nextval("terms_version_seq"))
    )
    return int(connection.execute(counted.returning(institution.c.terms_version)).scalar_one())


def renew_all(connection: Connection) -> None:
    """Count every institution's terms anew: front-ends of a restored centre hold versions it does not know of."""
    known = select(institution.c.institution_code).order_by(institution.c.institution_code).subquery()
    version = func.nextval("terms_version_seq").label("version")
    counted = select(known.c.institution_code, version).subquery()  # by number, not as rows happen to lie
    connection.execute(
        update(institution)
        .where(institution.c.institution_code == counted.c.institution_code)
        .values(terms_version=counted.c.version)
    )


def of_frontend(connection: Connection, frontend: str) -> TermsSent:
    """Whom a front-end serves, makes ready for, or served, and on which terms.

    An institution whose visit numbers nobody has said how they begin cannot be served, and is left out.
    """
    rows = connection.execute(
        select(
            institution, served_by.c.part, served_by.c.parts, served_by.c.standing, served_by.c.moved_to,
            served_by.c.connection, served_by.c.move_no,
        )
        .join(served_by, served_by.c.institution_code == institution.c.institution_code)
        .where(served_by.c.frontend == frontend, institution.c.short_code != "")
        .order_by(institution.c.institution_code)
    )  # fmt: skip
    terms = tuple(_terms(row) for row in rows)
    return TermsSent(terms=terms, version=max((each.version for each in terms), default=0))


def heard(connection: Connection, asked: TermsAsked, *, frontend: str, at: datetime) -> TermsSent | None:
    """Note which terms a front-end holds; those of the centre, if they are others."""
    _learn(connection, asked, frontend)
    values = {
        "digest": asked.digest,
        "heard_at": at,
        "attempts": 0,
        "catalogue_version": asked.catalogue_version,
        "policy_versions": ",".join(asked.policy_versions),
        "covered": list(asked.covered),
    }
    adding = insert(terms_report).values(frontend=frontend, **values)
    connection.execute(adding.on_conflict_do_update(index_elements=["frontend"], set_=values))
    sent = of_frontend(connection, frontend)
    return None if digest_of(sent.terms) == asked.digest else sent


def _learn(connection: Connection, asked: TermsAsked, frontend: str) -> None:
    """How the visit numbers of an institution begin, from the front-end that gives them, where it is not known here."""
    own = select(served_by.c.institution_code).where(served_by.c.frontend == frontend)
    unknown = select(institution.c.institution_code).where(
        institution.c.short_code == "", institution.c.institution_code.in_(own)
    )
    missing = set(connection.execute(unknown).scalars())
    if missing:
        renewing(connection)  # before any row, as whoever changes terms does
    for code, short_code in asked.short_codes:
        if code not in missing or law.problems_of({"short_code": short_code}):
            continue
        taken = select(institution.c.institution_code).where(institution.c.short_code == short_code)
        if connection.execute(taken).first() is None:
            known = institution.c.institution_code == code
            connection.execute(update(institution).where(known).values(short_code=short_code))
            renewed(connection, code)


def due(connection: Connection, *, now: float) -> list[tuple[str, TermsSent]]:
    """Who is to be sent terms now, unasked: whoever holds others than the centre's, ever more seldom without an answer.

    `now` is real seconds.
    """
    digests = _digests(connection)
    reports = connection.execute(select(terms_report).order_by(terms_report.c.frontend).with_for_update()).all()
    found = []
    for report in reports:
        differs = bytes(report.digest) != digests.get(report.frontend, NOBODY)
        if differs and now >= report.sent_at + _patience(report.attempts):
            found.append((report.frontend, of_frontend(connection, report.frontend)))
            counted = {"sent_at": now, "attempts": report.attempts + 1}
            known = terms_report.c.frontend == report.frontend
            connection.execute(update(terms_report).where(known).values(counted))
    return found


def holds_terms(connection: Connection, frontend: str) -> bool:
    """Whether a front-end said last that it holds the terms of now."""
    report = select(terms_report.c.digest).where(terms_report.c.frontend == frontend)
    held = connection.execute(report).scalar()
    return held is not None and bytes(held) == _digests(connection, frontend).get(frontend, NOBODY)


def _digests(connection: Connection, frontend: str = "") -> dict[str, bytes]:
    """The digest of each front-end's terms, or of one, without the terms themselves: it is asked every other second."""
    rows = (
        select(served_by.c.frontend, institution.c.institution_code, institution.c.terms_version, served_by.c.standing)
        .join(institution, institution.c.institution_code == served_by.c.institution_code)
        .where(institution.c.short_code != "")
    )
    named: dict[str, list[tuple[str, int, str]]] = {}
    for row in connection.execute(rows.where(served_by.c.frontend == frontend) if frontend else rows):
        named.setdefault(row[0], []).append(tuple(row[1:]))
    return {each: digest_of_versions(versions) for each, versions in named.items()}


def _patience(attempts: int) -> float:
    return 0.0 if attempts == 0 else min(FIRST_WAIT_SECONDS * 2 ** min(attempts - 1, 10), LONGEST_WAIT_SECONDS)


def _terms(row: Row[Any]) -> InstitutionTerms:
    return InstitutionTerms(
        institution_code=row.institution_code, short_code=row.short_code, name=row.name, kind=row.kind, level=row.level,
        size=row.size, way=row.way, weight=row.weight, rate_per_second=row.rate_per_second, burst=row.burst,
        backlog_cap=row.backlog_cap, active=row.active, suspended=row.suspended, part=row.part, parts=row.parts,
        standing=row.standing, moved_to=row.moved_to, offline=row.offline, offline_claim_fen=row.offline_claim_fen,
        offline_total_fen=row.offline_total_fen, offline_hours=row.offline_hours, version=row.terms_version,
        connection=row.connection, move_no=row.move_no, settle_lanes=row.settle_lanes,
    )  # fmt: skip


def renewing(connection: Connection) -> None:
    """Versions become visible in their order: who has seen one has seen all before it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('jiesuan terms'))"))


def _problems(
    connection: Connection, row: Row[Any], changes: Mapping[str, object], reason: str, rules: Rules
) -> list[str]:
    found = []
    if not 0 < len(reason) <= LONGEST_REASON:
        found.append(f"请写明理由，至多 {LONGEST_REASON} 字")
    wished = changes.get("short_code", row.short_code)
    if wished != row.short_code:
        taken = and_(institution.c.short_code == wished, institution.c.institution_code != row.institution_code)
        if row.short_code:
            found.append(f"就医登记号前六位已定为 {row.short_code}，不能更改")
        elif other := connection.execute(select(institution.c.institution_code).where(taken)).scalar():
            found.append(f"就医登记号前六位 {wished} 已由机构 {other} 使用")
    if changes.get("civil_servants") is True and not rules.civil_servants_may_share:
        found += civil_servants_need_their_own(connection, row.institution_code)
    return found + law.problems_together({**row._mapping, **changes})


def civil_servants_need_their_own(connection: Connection, institution_code: str) -> list[str]:
    """What stands against the civil-servant business where it is connected now (AMB-43)."""
    shares = select(served_by.c.frontend, served_by.c.connection).where(
        served_by.c.institution_code == institution_code,
        served_by.c.standing == Standing.OPEN,
        served_by.c.connection.in_([law.Connection.SHARED, law.Connection.HOSTED]),
    )
    words = law.CONNECTION_WORDS
    return [
        f"开通公务员医疗补助业务须有本地前置机（总院前置机亦可），现由{words[law.Connection(kind)]} {frontend} 接入"
        for frontend, kind in connection.execute(shares)
    ]
