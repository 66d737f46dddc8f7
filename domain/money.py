"""Money is a whole number of fen; this is the only place that rounds.

Prices and quantities are scaled integers too, because the specification bounds their decimals: a unit price is
counted in ten-thousandths of a yuan (JG has 4 decimals), a quantity in hundredths (MCYL has 2), a ratio in
ten-thousandths. Integers are exact, canonical on the wire and four times as fast as decimals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

PRICE_SCALE = 10_000
QUANTITY_SCALE = 100
RATIO_SCALE = 10_000

MAX_FEN = 999_999_999_999
"""The largest amount NUMBER(12,2) holds: 9,999,999,999.99 yuan."""

_YUAN = re.compile(r"(-?)(0|[1-9][0-9]{0,9})\.([0-9]{2})", re.ASCII)
_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,6}))?", re.ASCII)


class NotAnAmount(ValueError):
    """The text is not an amount in yuan with two decimals."""


def fen(yuan_text: str) -> int:
    """Read a yuan string with exactly two decimals, such as "12.50", as fen. Raises NotAnAmount."""
    found = _YUAN.fullmatch(yuan_text)
    if found is None:
        raise NotAnAmount("not an amount in yuan with two decimals")
    sign, whole, cents = found.groups()
    amount = int(whole) * 100 + int(cents)
    return -amount if sign else amount


def yuan(amount_fen: int) -> str:
    """Write fen as a yuan string with two decimals: 1250 is "12.50"."""
    sign = "-" if amount_fen < 0 else ""
    whole, cents = divmod(abs(amount_fen), 100)
    return f"{sign}{whole}.{cents:02d}"


_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_UNITS = ((10**8, "亿"), (10**4, "万"), (1000, "仟"), (100, "佰"), (10, "拾"))
_MOST_YUAN = 10**16


def capitals(amount_fen: int) -> str:
    """The amount in capitals (大写金额): 12345 is "壹佰贰拾叁元肆角伍分"; 负 leads a negative one.

    As 支付结算办法 (1997, annex 1) has it: 零 once for zeros between figures, and before 分 where there is no 角; 整
    closes what ends with 元 or 角; what is optional there (零 before a whole 仟 or 角) is left out. Raises ValueError
    from 10**16 yuan.
    """
    if amount_fen < 0:
        return "负" + capitals(-amount_fen)
    whole, cents = divmod(amount_fen, 100)
    tenths, hundredths = divmod(cents, 10)
    if whole >= _MOST_YUAN:
        raise ValueError("an amount nobody writes in capitals")
    words = _figures(whole) + "元" if whole or not cents else ""
    if tenths:
        words += _DIGITS[tenths] + "角"
    elif words and hundredths:
        words += "零"
    return words + (_DIGITS[hundredths] + "分" if hundredths else "整")


def _figures(number: int) -> str:
    for unit, word in _UNITS:
        if number >= unit:
            high, low = divmod(number, unit)
            gap = "零" if 0 < low < unit // 10 else ""
            return _figures(high) + word + gap + (_figures(low) if low else "")
    return _DIGITS[number]


def scaled(text: str, scale: int) -> int:
    """Read a plain decimal string exactly as an integer of 1/scale. Raises NotAnAmount for more decimals."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise NotAnAmount("not a plain decimal number")
    sign, whole, decimals = found.groups()
    places = len(str(scale)) - 1
    decimals = (decimals or "").rstrip("0")
    if len(decimals) > places:
        raise NotAnAmount(f"more than {places} decimals")
    value = int(whole) * scale + int(decimals.ljust(places, "0") or "0")
    return -value if sign else value


def unscaled(value: int, scale: int) -> str:
    """Write an integer of 1/scale as the shortest plain decimal: 125000 of 1/10000 is "12.5"."""
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), scale)
    decimals = str(rest).zfill(len(str(scale)) - 1).rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def half_up(numerator: int | Fraction, denominator: int) -> int:
    """Divide and round to the nearest integer, halves away from zero, so that a reversal mirrors its original."""
    if numerator < 0:
        return -((denominator - 2 * numerator) // (2 * denominator))
    return (2 * numerator + denominator) // (2 * denominator)


def down(numerator: int | Fraction, denominator: int) -> int:
    """Divide and drop what is no whole."""
    return -(-numerator // denominator) if numerator < 0 else numerator // denominator


def up(numerator: int | Fraction, denominator: int) -> int:
    """Divide and count any part of a whole as one."""
    return numerator // denominator if numerator < 0 else -(-numerator // denominator)


ROUNDINGS: dict[str, Callable[[int | Fraction, int], int]] = {"half_up": half_up, "down": down, "up": up}
"""The ways of rounding a policy may name."""


def amount_of(unit_price_1e4: int, quantity_1e2: int) -> int:
    """Price times quantity in fen, rounded half up (INV-13).

    As `half_up` does it, in one call: it is asked for every line.
    """
    product = unit_price_1e4 * quantity_1e2
    if product < 0:
        return -((PRICE_SCALE - 2 * product) // (2 * PRICE_SCALE))
    return (2 * product + PRICE_SCALE) // (2 * PRICE_SCALE)


def portion(amount_fen: int, ratio_1e4: int) -> int:
    """A ratio of an amount in fen, rounded half up."""
    return half_up(amount_fen * ratio_1e4, RATIO_SCALE)


def split(amount_fen: int, weights: Sequence[int]) -> list[int]:
    """Share an amount by whole weights; the parts add up to it, the largest remainders take the odd fen.

    Raises ValueError when the weights are negative or all zero.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights must be non-negative and not all zero")
    sign = -1 if amount_fen < 0 else 1
    parts = [divmod(abs(amount_fen) * weight, whole) for weight in weights]
    odd = abs(amount_fen) - sum(part for part, _ in parts)
    favoured = sorted(range(len(parts)), key=lambda i: (-parts[i][1], i))[:odd]
    return [sign * (part + (i in favoured)) for i, (part, _) in enumerate(parts)]
