"""Line split (费用分割) and local totals (本地汇总): the few numbers a settlement needs of a claim's lines."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from domain.catalogue import CoverageClass, Matched
from domain.money import amount_of, portion
from domain.visit import ChargeLine

DIGEST_BYTES = 16


class LineSplit(NamedTuple):
    """Where a line's amount goes, in fen; the four parts add up to it.

    own_expense 全自费, over_limit 超限价, pre_self_pay 部分项目自付, in_scope 政策范围内.
    """

    own_expense_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int


class LocalTotals(NamedTuple):
    """What travels to the centre instead of the lines: sums in fen, the line count, the digest of the lines."""

    total_fen: int
    own_expense_fen: int
    over_limit_fen: int
    pre_self_pay_fen: int
    in_scope_fen: int
    line_count: int
    digest: bytes

    @property
    def adds_up(self) -> bool:
        """The parts are the whole, to the fen."""
        return self.total_fen == (
            self.own_expense_fen + self.over_limit_fen + self.pre_self_pay_fen + self.in_scope_fen
        )


def split_line(amount_fen: int, unit_price_1e4: int, quantity_1e2: int, matched: Matched) -> LineSplit:
    """Split one line: price limit first, then own expense (class 9) or the first share of class B (INV-21).

    A line with a negative quantity takes the same path with its sign, so a reversal mirrors its original.
    """
    over = 0
    limit = matched.price_limit_1e4
    if limit is not None and unit_price_1e4 > limit:
        over = amount_fen - amount_of(limit, quantity_1e2)
    base = amount_fen - over
    if matched.coverage_class == CoverageClass.OWN_EXPENSE:
        return LineSplit(base, over, 0, 0)
    pre = portion(base, matched.pre_self_pay_ratio_1e4)
    return LineSplit(0, over, pre, base - pre)


def digest_of(packed_lines: bytes) -> bytes:
    """The digest of a claim's canonical lines (`domain.visit.pack_lines`): BLAKE2b of 128 bits."""
    return blake2b(packed_lines, digest_size=DIGEST_BYTES).digest()


def total_up(lines: Iterable[tuple[ChargeLine, Matched]], packed_lines: bytes) -> LocalTotals:
    """Add up checked lines with the items they matched. Every line has passed its checks."""
    total = own = over = pre = scope = count = 0
    for line, matched in lines:
        amount = line.line_amount_fen
        assert amount is not None and line.unit_price_1e4 is not None and line.quantity_1e2 is not None
        total += amount
        count += 1
        if matched.coverage_class == CoverageClass.A and matched.price_limit_1e4 is None:
            scope += amount  # by far the commonest line: nothing to split
            continue
        parts = split_line(amount, line.unit_price_1e4, line.quantity_1e2, matched)
        own += parts.own_expense_fen
        over += parts.over_limit_fen
        pre += parts.pre_self_pay_fen
        scope += parts.in_scope_fen
    return LocalTotals(total, own, over, pre, scope, count, digest_of(packed_lines))
