"""Sharing (分段共付): bands, who takes the rest of the rounding, and where a cap cuts through.

The one place where a share is computed; the basic fund and the layers at its cap share in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from domain.benefit.calculation import Calculation, Exact, text_of
from domain.money import ROUNDINGS, half_up
from domain.policy.rules import SHARE_SCALE, Band, Cap, Shares
from domain.settlement import FUND_PREFIX, OVER_CAP, PERSON, Step


class Portion(NamedTuple):
    """What of a claim lies in one band, and what the rounding has counted of the side that is rounded before it."""

    band: Band
    amount: Exact
    carry: Exact
    """In 1/SHARE_SCALE of a fen."""
    start: Exact


def portions(shares: Shares, start: Exact, end: Exact, origin: Exact) -> Iterator[Portion]:
    """Cut what lies between two places into bands. What is covered began at `origin`.

    Rounding goes by what was shared since then, so that a stay settled in parts is shared as one settled at once.
    """
    rounds_fund = shares.rest == "person"
    carried: Exact = 0
    for band in shares.bands:
        low = max(band.low_fen, origin)
        first, last = max(low, start), end if band.high_fen is None else min(band.high_fen, end)
        side = band.share if rounds_fund else SHARE_SCALE - band.share
        earlier = (first if band.high_fen is None else min(first, band.high_fen)) - low
        carry = side * earlier if earlier > 0 else 0
        if shares.once:
            carry += carried
        if last > first:
            yield Portion(band, last - first, carry, first)
            carried = carry + side * (last - first)
        elif shares.once:
            carried = carry


def fund_share(amount: Exact, carry: Exact, band: Band, shares: Shares) -> int:
    """What the fund pays of a portion, in whole fen; the side that is not rounded takes the rest."""
    rounded = ROUNDINGS[shares.mode]
    side = band.share if shares.rest == "person" else SHARE_SCALE - band.share
    part = rounded(carry + amount * side, SHARE_SCALE)
    if carry:
        part -= rounded(carry, SHARE_SCALE)
    return part if shares.rest == "person" else whole(amount) - part


def charges_at(bands: Sequence[Band], money_fen: int) -> Exact:
    """The charges at which a fund has paid so much, in bands whose borders are charges."""
    reached: Exact = 0
    left: Exact = money_fen * SHARE_SCALE
    for band in bands:
        reached = band.low_fen
        width = None if band.high_fen is None else band.high_fen - band.low_fen
        if width is None or left < width * band.share:
            break
        left -= width * band.share
        reached += width
    return reached + Fraction(left, max(1, band.share)) if bands else 0


def whole(amount: Exact) -> int:
    """An amount in whole fen, half up."""
    return amount if isinstance(amount, int) else half_up(amount.numerator, amount.denominator)


class Sharer(NamedTuple):
    """Who shares what: a fund under its caps, the charges that stand in a segment."""

    fund: str
    segment: str
    caps: tuple[Cap, ...]

    @property
    def payer(self) -> str:
        return f"{FUND_PREFIX}{self.fund}"


def share_out(calculation: Calculation, shares: Shares, sharer: Sharer, places: tuple[Exact, Exact, Exact]) -> Exact:
    """Let a fund pay its share of what lies between start and end, up to its cap; what is over moves to `over_cap`.

    Returns exactly how much is over the cap. `places` are start, end, and where the covering began.
    """
    start, end, origin = places
    cap, room = calculation.room(sharer.caps)
    for portion in portions(shares, start, end, origin):
        band, amount, carry, first = portion
        paid = fund_share(amount, carry, band, shares)
        if cap is not None:
            if amount * band.share > _covered(room, carry, shares):
                left = portion._replace(amount=end - first)
                return _to_the_cap(calculation, shares, sharer, left, (cap, room))
            paid = min(paid, room)
        if band.share:
            step = Step(
                "fund-share", *band.cited, whole(amount), band.ratio, paid, sharer.segment, PERSON, sharer.segment,
                sharer.payer, None, 0, _exactly(amount), _carried(carry), shares.told_rest,
            )  # fmt: skip
            calculation.pays(sharer.fund, step)
        room -= paid
    return 0


def _covered(room: int, carry: Exact, shares: Shares) -> Exact:
    """The money left under a cap as exact shares, in 1/SHARE_SCALE: with what the rounding has given before."""
    if not carry:
        return room * SHARE_SCALE
    given = ROUNDINGS[shares.mode](carry, SHARE_SCALE) * SHARE_SCALE - carry
    return max(0, room * SHARE_SCALE + (given if shares.rest == "person" else -given))


def _to_the_cap(
    calculation: Calculation, shares: Shares, sharer: Sharer, portion: Portion, limit: tuple[Cap, int]
) -> Exact:
    """Share the charges that the cap's rest still covers; all beyond them is over the cap.

    What the money covers is a fraction of a fen, and it is not rounded before the next layer.
    """
    band, left, carry, _ = portion
    cap, room = limit
    covered = Fraction(_covered(room, carry, shares), band.share)
    within: Exact = min(max(covered, Fraction(0)), Fraction(left))
    over_exact = left - within
    segment = sharer.segment
    over = min(whole(over_exact), calculation.at(segment) - room)
    moved = Step(
        "over-cap", f"{cap.cited.fact}, {band.cited.fact}", cap.cited.source, whole(left), band.ratio, over, segment,
        PERSON, OVER_CAP, PERSON, room, 0, _exactly(left), _carried(carry), shares.told_rest,
    )  # fmt: skip
    calculation.add(moved)
    if room:
        paid = Step(
            "fund-share", *band.cited, whole(left) - over, band.ratio, room, segment, PERSON, segment, sharer.payer,
            room, 0, str(within), _carried(carry), "person",
        )  # fmt: skip
        calculation.pays(sharer.fund, paid)
    return over_exact


def _carried(carry: Exact) -> str:
    return text_of(Fraction(carry, SHARE_SCALE)) if carry else ""


def _exactly(amount: Exact) -> str:
    """The amount as a step carries it beside its whole fen: empty where it is whole."""
    return "" if isinstance(amount, int) else str(amount)
