"""The check value (校验码) of a settlement statement: who holds the key sees whether the paper says what was booked.

What is checked is written on the paper as one line, in the characters a QR code packs tightest; no person is in it.
The key is that of the front-end server, which the centre derives too, so both can tell a true paper from an altered
one.
"""

from __future__ import annotations

import hmac
import re
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from domain.money import fen, yuan

CODE_VERSION = "JS1"
_PURPOSE = b"jiesuan statement\0"
_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: none looks like another."""
_LENGTH = 16
"""80 bits."""
_AMOUNT = r"-?\d{1,13}\.\d\d"
_CODE = re.compile(
    rf"{CODE_VERSION}/([0-9A-Z]{{1,18}})/([0-9A-Z]{{1,16}})/(\d{{1,4}})/(\d{{1,19}})/(\d{{14}})"
    rf"/({_AMOUNT})/({_AMOUNT})/({_AMOUNT})/({_AMOUNT})/([{_CHARACTERS}]{{{_LENGTH}}})"
)


class NotACode(Exception):
    """The text is not the line of a statement; says what a reader can do about it, in Chinese."""


class Stated(NamedTuple):
    """What a statement says and can be held to; amounts in fen, the moment as it stands on the paper."""

    institution_code: str
    visit_no: str
    charge_batch_no: int
    settlement_no: int
    settled_at: datetime
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    cash_fen: int


def check_value(stated: Stated, key: bytes) -> str:
    """The check value: 16 characters, of HMAC-SHA256 under the key of the front-end (32 bytes)."""
    digest = hmac.new(key, _PURPOSE + _line(stated).encode(), sha256).digest()
    number = int.from_bytes(digest[:10], "big")
    return "".join(_CHARACTERS[number >> shift & 31] for shift in range(75, -1, -5))


def written(stated: Stated, key: bytes) -> str:
    """The line of the QR code: what is stated, then the check value."""
    return f"{_line(stated)}/{check_value(stated, key)}"


def read(line: str) -> tuple[Stated, str]:
    """What a line states, and the check value on it: not yet compared. Raises NotACode."""
    found = _CODE.fullmatch("".join(line.split()).upper())
    if found is None:
        raise NotACode("不是结算单二维码的内容，请重新扫描，或核对抄录的每一位")
    institution_code, visit_no, batch_no, settlement_no, moment, *amounts, value = found.groups()
    try:
        settled_at = datetime.strptime(moment, "%Y%m%d%H%M%S")  # noqa: DTZ007  # as printed, Beijing time
    except ValueError:
        raise NotACode("结算时间不是有效的日期和时间，请核对") from None
    return (
        Stated(
            institution_code, visit_no, int(batch_no), int(settlement_no), settled_at,
            *[fen(amount) for amount in amounts],
        ),
        value,
    )  # fmt: skip


def is_true(stated: Stated, value: str, key: bytes) -> bool:
    """Whether the check value belongs to what is stated."""
    return hmac.compare_digest(check_value(stated, key), value)


def grouped(value: str) -> str:
    """The check value as it is printed, four by four."""
    return "-".join(value[place : place + 4] for place in range(0, len(value), 4))


def _line(stated: Stated) -> str:
    amounts = "/".join(map(yuan, stated[5:]))
    key = f"{stated.institution_code}/{stated.visit_no}/{stated.charge_batch_no}/{stated.settlement_no}"
    return f"{CODE_VERSION}/{key}/{stated.settled_at:%Y%m%d%H%M%S}/{amounts}".upper()
