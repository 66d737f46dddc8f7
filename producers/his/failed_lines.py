"""Which charge lines of an institution wait to be mended: from the books of the front-end and from its exchange files.

The books know every code of a line; what never became a claim or a line, such as rows of an unknown visit, stands
only in the file, with the first code.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select

from domain.codes import PASSED
from domain.lifecycle import ClaimState
from domain.visit import unpack_lines
from infra.clock import SHANGHAI
from infra.codec import unpack
from infra.database import reading
from producers.his import dbf
from producers.his.charge_lines import read_lines
from producers.his.failures import NO_LINE, Failure
from producers.his.folder import files_of
from producers.his.line_files import FAILED
from workers import visits
from workers.line_warnings import warnings
from workers.tables import claim, claim_content, verdict

LINE_FILES = ("CFXM", "MZXM")


def failed_lines(
    engine: Engine, institution_code: str, *, day: date | None = None, visit_no: str = "", folder: Path | None = None
) -> list[Failure]:
    """Every line that failed and was not mended since, of one day or of all, of one visit or of all.

    Of one day or one visit, also the lines that were imported with a warning: nobody has to mend those, so without
    either they would only be more and more.
    """
    with reading(engine) as connection:
        found = failed_here(connection, institution_code, day=day, visit_no=visit_no)
    known = {(failure.visit_no, failure.source, failure.line.line_no) for failure in found if not failure.is_warning}
    if folder is not None:
        for failure in _in_files(folder, institution_code, day, visit_no):
            if (failure.visit_no, failure.source, failure.line.line_no) not in known:
                found.append(failure)
    return sorted(found, key=_place)


def failed_here(
    connection: Connection, institution_code: str, *, day: date | None = None, visit_no: str = ""
) -> list[Failure]:
    """The same as the books alone have it."""
    found = [
        *_of_returned_claims(connection, institution_code, day, visit_no),
        *_of_visits(connection, institution_code, day, visit_no),
        *_warned(connection, institution_code, day, visit_no),
        *_refused(connection, institution_code, day, visit_no),
    ]
    return sorted(found, key=_place)


def _place(failure: Failure) -> tuple[str, str, int, bool]:
    return failure.source, failure.visit_no, failure.line.line_no or 0, failure.is_warning


def _warned(connection: Connection, institution_code: str, day: date | None, visit_no: str) -> Iterator[Failure]:
    if day is None and not visit_no:
        return
    since, until = (None, None) if day is None else (_start(day), _start(day, 1))
    for found in warnings(connection, institution_code, visit_no=visit_no, since=since, until=until):
        yield Failure(
            institution_code=institution_code,
            visit_no=found.visit_no,
            codes=(found.code,),
            line=found.line,
            source=found.source,
            found_at=found.found_at,
        )


def _refused(connection: Connection, institution_code: str, day: date | None, visit_no: str) -> Iterator[Failure]:
    """Batches of registered visits that the centre refused and nobody sent again or gave up."""
    for batch in visits.refused(connection, institution_code, visit_no=visit_no):
        if day is None or batch.accepted_at.date() == day:
            yield Failure(
                institution_code=institution_code,
                visit_no=batch.visit_no,
                codes=(batch.refusal,),
                line=NO_LINE._replace(
                    local_item_name=f"费用批次 {batch.charge_batch_no}", line_amount_fen=batch.total_fen
                ),
                found_at=batch.accepted_at,
                refused_words=batch.words,
            )


def _of_returned_claims(
    connection: Connection, institution_code: str, day: date | None, visit_no: str
) -> Iterator[Failure]:
    """Lines of claims that went back, unless a later batch of the visit took their place."""
    newest = (
        select(claim.c.visit_no, func.max(claim.c.charge_batch_no).label("batch"))
        .where(claim.c.institution_code == institution_code)
        .group_by(claim.c.visit_no)
        .subquery()
    )
    returned = (
        select(claim.c.visit_no, claim.c.source, claim.c.accepted_at, claim_content.c.lines, verdict.c.codes)
        .join(newest, (newest.c.visit_no == claim.c.visit_no) & (newest.c.batch == claim.c.charge_batch_no))
        .join(claim_content, claim_content.c.claim_id == claim.c.claim_id)
        .join(verdict, verdict.c.claim_id == claim.c.claim_id)
        .where(claim.c.institution_code == institution_code, claim.c.state == ClaimState.RETURNED)
        .order_by(claim.c.claim_id)
    )
    if visit_no:
        returned = returned.where(claim.c.visit_no == visit_no)
    if day is not None:
        returned = returned.where(claim.c.accepted_at >= _start(day), claim.c.accepted_at < _start(day, 1))
    for row in connection.execute(returned):
        codes = unpack(row.codes, list[tuple[str, tuple[str, ...]]])
        for line, (code, all_codes) in zip(unpack_lines(row.lines), codes, strict=True):
            if code != PASSED:
                yield Failure(
                    institution_code=institution_code,
                    visit_no=row.visit_no,
                    codes=all_codes or (code,),
                    line=line,
                    source=row.source,
                    found_at=row.accepted_at,
                )


def _of_visits(connection: Connection, institution_code: str, day: date | None, visit_no: str) -> Iterator[Failure]:
    """Lines of registered visits that still fail."""
    since = None if day is None else _start(day)
    for found in visits.failures(connection, institution_code, visit_no=visit_no, since=since):
        if day is None or found.found_at.date() == day:
            yield Failure(
                institution_code=institution_code,
                visit_no=found.visit_no,
                codes=found.all_codes or (found.code,),
                line=found.line,
                source=found.source,
                found_at=found.found_at,
            )


def _in_files(folder: Path, institution_code: str, day: date | None, visit_no: str) -> Iterator[Failure]:
    """Rows with DRBZ=2 as they stand in the folder; of one day: those in the files of its name."""
    for kind in LINE_FILES:
        for path in files_of(folder, kind):
            if day is None or path.name[4:8] == f"{day:%m%d}":
                yield from _in_file(path, institution_code, visit_no)


def _in_file(path: Path, institution_code: str, visit_no: str) -> Iterator[Failure]:
    try:
        table = dbf.read(path)
        flags, numbers = table.numbers("DRBZ"), table.texts("JYDJH")
        records = [
            record
            for record, flag, of in zip(table.records, flags, numbers, strict=True)
            if flag == FAILED and (not visit_no or of == visit_no)
        ]
        failed = table.only(records)
        lines = read_lines(failed).lines
    except (dbf.DbfProblem, FileNotFoundError):  # the watcher lays a note beside it
        return
    codes = failed.texts("BZ3")
    for record, of, code, line in zip(records, failed.texts("JYDJH"), codes, lines, strict=True):
        yield Failure(
            institution_code=institution_code,
            visit_no=of if isinstance(of, str) else "",
            codes=(code,) if isinstance(code, str) and code else (),
            line=line,
            source=path.name,
            record=record,
        )


def _start(day: date, later: int = 0) -> datetime:
    begins = datetime.combine(day, time.min, SHANGHAI)
    return begins + timedelta(days=later) if day < date.max else begins
