"""Line split (费用分割) and local totals (本地汇总): the few numbers a settlement needs of a claim's lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from domain.catalogue import CoverageClass, Matched
from domain.money import RATIO_SCALE, amount_of, half_up
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


class GroupTotal(NamedTuple):
    """The sums in fen of the lines of one benefit group of the catalogue (待遇分组); part of the claim's totals."""

    group: str
    total_fen: int
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
    groups: tuple[GroupTotal, ...] = ()
    """Of the benefit groups the policy names and the claim has lines of, by name."""

    @property
    def adds_up(self) -> bool:
        """The parts are the whole, to the fen."""
        return self.total_fen == (
            self.own_expense_fen + self.over_limit_fen + self.pre_self_pay_fen + self.in_scope_fen
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRules:
    """How a policy splits lines: the same at the front-end, at the centre and in a quote (`PolicyBook.line_rules`)."""

    limit_first: bool = True
    """The price limit is taken off before the pre-self-pay; else the pre-self-pay is a ratio of the whole line."""
    over_limit_is_own: bool = False
    """What is over the price limit is reported inside the own expense."""
    digits: int = 2
    """Decimals the pre-self-pay of a line is kept to, 2 to 4; the sums are rounded to the fen."""
    ratios: Mapping[str, int] = field(default_factory=dict)
    """Ratios in 1/10000 that replace the catalogue's for class B: by benefit group, "" for all."""
    groups: frozenset[str] = frozenset()
    """The benefit groups the policy names."""
    kept_prices: Mapping[str, int] = field(default_factory=dict)
    """What of the price of each unit the person pays first, so that only the increase is shared: by benefit group, in
    1/10000 yuan."""

    person_groups: tuple[str, ...] = ()
    """What the catalogue may call the person's group, the narrower first: category (人员类别), then scheme (险种)."""

    @property
    def scale(self) -> int:
        """The parts of a fen the pre-self-pay of a line is counted in."""
        return (1, 10, 100)[self.digits - 2]

    def ratio_of(self, matched: Matched) -> int:
        """The part of the line the person pays first, in 1/10000."""
        if not self.ratios:
            return self._of_catalogue(matched)
        of_group = self.ratios.get(matched.benefit_group) if matched.benefit_group else None
        if of_group is not None:
            return of_group
        if matched.coverage_class == CoverageClass.B:
            of_all = self.ratios.get("")
            return self._of_catalogue(matched) if of_all is None else of_all
        return matched.pre_self_pay_ratio_1e4

    def _of_catalogue(self, matched: Matched) -> int:
        """The catalogue's ratio for a person of these groups."""
        if not matched.group_ratios:
            return matched.pre_self_pay_ratio_1e4
        ratios = dict(matched.group_ratios)
        return next((ratios[group] for group in self.person_groups if group in ratios), matched.pre_self_pay_ratio_1e4)


PLAIN = LineRules()
"""Price limit first, over-limit apart, whole fen, the catalogue's ratios."""


def split_line(
    amount_fen: int, unit_price_1e4: int, quantity_1e2: int, matched: Matched, rules: LineRules = PLAIN
) -> LineSplit:
    """Split one line: own expense (class 9), over the price limit, the first share of class B (INV-21), in scope.

    A line with a negative quantity takes the same path with its sign, so a reversal mirrors its original.
    """
    own, over, pre = _split(amount_fen, unit_price_1e4, quantity_1e2, matched, rules)
    return LineSplit(*_whole((amount_fen, own, over, pre), rules.scale)[1:])


def _split(
    amount_fen: int, unit_price_1e4: int, quantity_1e2: int, matched: Matched, rules: LineRules
) -> tuple[int, int, int]:
    """Own expense and over-limit in fen, the pre-self-pay in 1/scale of a fen."""
    over = 0
    limit = matched.price_limit_1e4
    if limit is not None and unit_price_1e4 > limit:
        over = amount_fen - amount_of(limit, quantity_1e2)
    base = amount_fen - over
    own = 0
    if rules.over_limit_is_own:
        own, over = over, 0
    if matched.coverage_class == CoverageClass.OWN_EXPENSE:
        return own + base, over, 0
    kept = rules.kept_prices.get(matched.benefit_group) if rules.kept_prices else None
    if kept is not None:
        pre = amount_of(min(unit_price_1e4, kept), quantity_1e2) * rules.scale
    else:
        of = base if rules.limit_first else amount_fen
        pre = half_up(of * rules.ratio_of(matched) * rules.scale, RATIO_SCALE)
    if kept is not None or not rules.limit_first:
        most = base * rules.scale
        pre = max(min(pre, max(0, most)), min(0, most))
    return own, over, pre


def digest_of(packed_lines: bytes) -> bytes:
    """The digest of a claim's canonical lines (`domain.visit.pack_lines`): BLAKE2b of 128 bits."""
    return blake2b(packed_lines, digest_size=DIGEST_BYTES).digest()


def total_up(lines: Iterable[tuple[ChargeLine, Matched]], packed_lines: bytes, rules: LineRules = PLAIN) -> LocalTotals:
    """Add up checked lines with the items they matched. Every line has passed its checks."""
    total = own = over = pre = count = 0
    groups: dict[str, list[int]] = {}
    named, scale = rules.groups, rules.scale
    plain = not rules.ratios
    simple = plain and rules.limit_first and not rules.kept_prices
    for line, matched in lines:
        _, _, _, _, _, _, _, unit_price, quantity, amount, _, _ = line
        assert amount is not None and unit_price is not None and quantity is not None
        total += amount
        count += 1
        in_group = matched.benefit_group in named
        if matched.price_limit_1e4 is None and plain and not in_group:
            if matched.coverage_class == CoverageClass.A:
                continue  # by far the commonest line: nothing to split
            if simple and matched.coverage_class == CoverageClass.B and not matched.group_ratios:
                pre += half_up(amount * matched.pre_self_pay_ratio_1e4 * scale, RATIO_SCALE)
                continue  # and the one that comes after it
        parts = _split(amount, unit_price, quantity, matched, rules)
        own += parts[0]
        over += parts[1]
        pre += parts[2]
        if in_group:
            sums = groups.setdefault(matched.benefit_group, [0, 0, 0, 0])
            for place, part in enumerate((amount, *parts)):
                sums[place] += part
    return LocalTotals(
        *_whole((total, own, over, pre), scale),
        count,
        digest_of(packed_lines),
        tuple([GroupTotal(name, *_whole(sums, scale)) for name, sums in sorted(groups.items())]),
    )


def _whole(sums: Sequence[int], scale: int) -> tuple[int, int, int, int, int]:
    """The sums in whole fen: total, own expense, over-limit, pre-self-pay, and in scope what is left."""
    total, own, over, pre = sums
    pre = half_up(pre, scale)
    return total, own, over, pre, total - own - over - pre
