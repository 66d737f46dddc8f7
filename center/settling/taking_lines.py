"""Claims that come with their lines (明细集中): each is read, checked and split by the functions of a front-end.

What comes of it is a claim with totals, as any other front-end sends it, or what is wrong with its lines. The persons
are only looked at, not locked: whoever settles the claims looks whether they are still who they were.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import msgspec
import psycopg

from center.settling import records
from center.settling.well_formed import malformed
from domain.catalogue import Catalogue
from domain.checks import MAX_LINE_NO, CheckedLines, check_lines
from domain.messages import ClaimLines, ClaimSplit, ClaimTotals, FailedLine, bare_of, with_split
from domain.money import yuan
from domain.occasion import occasion_of
from domain.policy import PolicyBook
from domain.policy.facts import NoPolicyInForce
from domain.totals import PLAIN, LineRules, LocalTotals, digest_of, total_up
from domain.visit import ChargeLine, Visit, VisitType, unpack_lines

log = logging.getLogger("center")

_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError)
"""What reading raises when the bytes are not lines in the canonical form."""


class Payer(NamedTuple):
    """Of whom the split of a line depends: the person's scheme and category, the level of the institution."""

    scheme: str
    category: str
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A claim as it may be settled, and the lines it came with; or why it may not."""

    claim: ClaimTotals
    """With the sums of its lines; with none where they could not be added up."""
    lines: bytes = b""
    payer: Payer | None = None
    """Whom the lines were split for; None where nobody knows the person, and the claim is refused for that."""
    split: ClaimSplit | None = None
    failed: tuple[FailedLine, ...] = ()
    malformed: str = ""
    """What of it cannot be read, in Chinese."""
    is_broken: bool = False
    """Reading it went wrong, and the fault is ours."""


class Reading(NamedTuple):
    """What lines are checked against and split by."""

    catalogue: Catalogue
    policy: PolicyBook
    policy_version: str
    read_in_day: date
    settled_on: date
    """The day of the settlement the rules go by."""


def take(cursor: psycopg.Cursor[Any], sent: Sequence[ClaimLines], reading: Reading) -> list[Taken]:
    """Read, check and add up each claim, in the order given; nothing is locked and nothing written."""
    bare = [bare_of(each) for each in sent]
    good = [claim for claim in bare if not malformed(claim)]
    payers = _payers(cursor, good)
    return [_taken(claim, each, payers, reading) for claim, each in zip(bare, sent, strict=True)]


def _payers(cursor: psycopg.Cursor[Any], claims: Sequence[ClaimTotals]) -> dict[tuple[str, str], Payer]:
    """By person and institution, for those that are known."""
    cursor.execute(
        "SELECT citizen_id_no, scheme, category FROM person WHERE citizen_id_no = ANY(%s::text[])",
        [records.of_texts({claim.citizen_id_no for claim in claims})],
    )
    persons = {number: (scheme, category) for number, scheme, category in cursor.fetchall()}
    cursor.execute(
        "SELECT institution_code, level FROM institution WHERE institution_code = ANY(%s::text[])",
        [records.of_texts({claim.institution_code for claim in claims})],
    )
    levels = dict(cursor.fetchall())
    return {
        (claim.citizen_id_no, claim.institution_code): Payer(
            *persons[claim.citizen_id_no], levels[claim.institution_code]
        )
        for claim in claims
        if claim.citizen_id_no in persons and claim.institution_code in levels
    }


def _taken(bare: ClaimTotals, sent: ClaimLines, payers: Mapping[tuple[str, str], Payer], reading: Reading) -> Taken:
    if malformed(bare):
        return Taken(claim=bare)  # the counter says what is wrong with it
    try:
        lines = _read(sent)
        if isinstance(lines, str):
            return Taken(claim=bare, malformed=lines)
        checked = check_lines(_visit_of(bare), lines, reading.catalogue, reading.read_in_day)
        if not checked.passed:
            return Taken(claim=bare, failed=failed_lines(checked))
        payer = payers.get((bare.citizen_id_no, bare.institution_code))
        rules = PLAIN if payer is None else _rules(bare, payer, reading)
        totals = total_up(zip(lines, checked.matched, strict=True), sent.packed_lines, rules)
        claim, split = _split(bare, totals, checked, reading)
        return Taken(claim=claim, lines=sent.packed_lines, payer=payer, split=split)
    except Exception as error:
        # Whatever went wrong is ours. The claim waits for a person, its neighbours do not wait for it.
        log.exception("lines_failed_to_be_read", extra={"error": type(error).__name__})
        return Taken(claim=bare, is_broken=True)


def _read(sent: ClaimLines) -> list[ChargeLine] | str:
    """The claim's lines; in Chinese what is wrong, where they are not those its head names."""
    if digest_of(sent.packed_lines) != sent.digest:
        return "明细摘要与所附明细不符"
    try:
        lines = unpack_lines(sent.packed_lines)
    except _UNREADABLE:
        return "所附费用明细无法读取"
    if len(lines) > MAX_LINE_NO:
        return f"费用明细 {len(lines)} 笔，多于一笔费用可有的 {MAX_LINE_NO} 笔"
    if len(lines) != sent.line_count:
        return f"明细笔数 {sent.line_count}，所附明细 {len(lines)} 笔"
    total_fen = sum(line.line_amount_fen or 0 for line in lines)
    if total_fen != sent.total_fen:
        return f"总金额 {yuan(sent.total_fen)} 元，所附明细合计 {yuan(total_fen)} 元"
    return lines


def _visit_of(claim: ClaimTotals) -> Visit:
    return Visit(
        visit_no=claim.visit_no,
        institution_code=claim.institution_code,
        citizen_id_no=claim.citizen_id_no,
        visit_type=VisitType(claim.visit_type),
        visit_date=claim.visit_date,
    )


def failed_lines(checked: CheckedLines) -> tuple[FailedLine, ...]:
    """The lines that failed, with every code, the one they go back with first."""
    return tuple(FailedLine(place, found.all_codes) for place, found in enumerate(checked.verdicts) if found.all_codes)


def _split(
    bare: ClaimTotals, totals: LocalTotals, checked: CheckedLines, reading: Reading
) -> tuple[ClaimTotals, ClaimSplit]:
    """The claim with its sums, and what its front-end is told of them."""
    split = ClaimSplit(
        totals.own_expense_fen,
        totals.over_limit_fen,
        totals.pre_self_pay_fen,
        totals.in_scope_fen,
        totals.groups,
        reading.policy_version,
        reading.catalogue.version,
        tuple((found.at, found.code) for found in checked.warned),
    )
    return with_split(bare, split), split


def _rules(claim: ClaimTotals, payer: Payer, reading: Reading) -> LineRules:
    """How the policy splits the claim's lines; the plain way where none is in force, and then the claim is refused."""
    try:
        occasion = occasion_of(
            claim, reading.policy, payer.scheme, institution_level=payer.level, settled_on=reading.settled_on
        )
        return reading.policy.line_rules(
            payer.scheme, payer.category, occasion.visit_type, occasion.institution_level, occasion.day
        )
    except NoPolicyInForce:
        return PLAIN
