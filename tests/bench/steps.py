"""The single steps of a claim of 20 lines, without any process around them: CPU microseconds per claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from domain.catalogue import Catalogue
from domain.checks import check_lines
from domain.messages import ClaimAnswer, ClaimsAnswered, ClaimTotals, TotalsSubmitted
from domain.totals import total_up
from domain.visit import pack_lines, unpack_lines
from infra.codec import decode, encode
from infra.envelope import seal, unseal
from tests.bench.claims import DAY, STARTS_AT, claims, items, published

CLAIMS = 2_000
RUNS = 5
PER_MESSAGE = 100
KEY = bytes(32)


def run() -> dict[str, float]:
    """Median of five runs over 2,000 claims; messages of 100 claims, sealed and opened."""
    handed_in = list(claims(CLAIMS))
    everything = published(items())
    catalogue = Catalogue(everything.version, everything.items, everything.matches)
    packed = [pack_lines(claim.lines) for claim in handed_in]
    checked = [check_lines(claim.visit, claim.lines, catalogue, DAY) for claim in handed_in]
    assert all(found.passed for found in checked)
    split = [
        total_up(zip(claim.lines, found.matched, strict=True), lines)
        for claim, found, lines in zip(handed_in, checked, packed, strict=True)
    ]
    totals = [
        ClaimTotals(
            claim.visit.institution_code,
            claim.visit.visit_no,
            1,
            claim.visit.citizen_id_no,
            claim.visit.visit_type,
            claim.visit.visit_date,
            *sums[:7],
        )
        for claim, sums in zip(handed_in, split, strict=True)
    ]
    answers = [
        ClaimAnswer(
            claim.visit_no,
            claim.charge_batch_no,
            settlement_no=number,
            fund_pay_fen=claim.in_scope_fen * 6 // 10,
            self_pay_fen=claim.in_scope_fen * 4 // 10,
            settled_at=STARTS_AT,
        )
        for number, claim in enumerate(totals)
    ]
    submitted = [
        TotalsSubmitted(policy_version="p", catalogue_version="c", claims=tuple(totals[start : start + PER_MESSAGE]))
        for start in range(0, CLAIMS, PER_MESSAGE)
    ]
    answered = [
        ClaimsAnswered(answers=tuple(answers[start : start + PER_MESSAGE])) for start in range(0, CLAIMS, PER_MESSAGE)
    ]

    def pack() -> None:
        for claim in handed_in:
            pack_lines(claim.lines)

    def unpack() -> None:
        for lines in packed:
            unpack_lines(lines)

    def check() -> None:
        for claim in handed_in:
            check_lines(claim.visit, claim.lines, catalogue, DAY)

    def add_up() -> None:
        for claim, found, lines in zip(handed_in, checked, packed, strict=True):
            total_up(zip(claim.lines, found.matched, strict=True), lines)

    def there_and_back() -> None:
        for message in submitted:
            decode(unseal(_sealed(message), lane="l", key=KEY), TotalsSubmitted)
        for message in answered:
            decode(unseal(_sealed(message), lane="l", key=KEY), ClaimsAnswered)

    return {
        "lines packed": _cpu(pack),
        "lines unpacked": _cpu(unpack),
        "lines checked and matched": _cpu(check),
        "lines split, added up, digested": _cpu(add_up),
        "totals and answer: encoded, sealed, opened, decoded": _cpu(there_and_back),
    }


def _sealed(message: TotalsSubmitted | ClaimsAnswered) -> bytes:
    return seal(encode(message), frontend="f", lane="l", key=KEY)


def _cpu(work: Callable[[], object]) -> float:
    return round(median(_once(work) for _ in range(RUNS)) / CLAIMS * 1e6, 1)


def _once(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
