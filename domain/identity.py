"""Citizen identity numbers (公民身份号码 GMSFHM): their form, never whether a person of that number exists."""

from __future__ import annotations

import re
from datetime import date, timedelta

_WEIGHTS = tuple(2**place % 11 for place in range(17, 0, -1))
_CHECK_CHARACTERS = "10X98765432"

_EIGHTEEN = re.compile(r"[0-9]{17}[0-9X]", re.ASCII)
_FIFTEEN = re.compile(r"[0-9]{15}", re.ASCII)
_SUBSTITUTE = re.compile(r"T[0-9]{16}[0-9X]", re.ASCII)

SYNTHETIC_REGION = "99"
"""No province has this code, so a number that starts with it is seen to be made up."""

_FIRST_BIRTHDAY = date(1940, 1, 1)
_BIRTHDAYS = 25_000
_STRIDE = 7_919
_PER_BIRTHDAY = 1_000
_REGIONS = 10_000


def check_character(digits: str) -> str:
    """The last character of a number whose first 17 digits these are (GB 11643, ISO 7064 MOD 11-2)."""
    return _CHECK_CHARACTERS[sum(int(digit) * weight for digit, weight in zip(digits, _WEIGHTS, strict=True)) % 11]


def written(text: str) -> str:
    """The number as we keep it (AMB-54): trimmed, the X in upper case, 18 characters where there were 15.

    A text that is no such number comes back trimmed and in upper case, for `is_person_no` to refuse.
    """
    number = text.strip().upper()
    if _FIFTEEN.fullmatch(number):
        digits = f"{number[:6]}19{number[6:]}"
        return digits + check_character(digits)
    return number


def is_citizen_id(text: str) -> bool:
    """Whether the text is a citizen number in its kept form: 18 characters, a day of birth, a right check character."""
    if not _EIGHTEEN.fullmatch(text):
        return False
    try:
        birth_in(text)
    except ValueError:
        return False
    return check_character(text[:17]) == text[17]


def birth_in(number: str) -> date:
    """The day of birth a citizen number in its kept form says. Raises ValueError when it says none."""
    return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))


def is_substitute_no(text: str) -> bool:
    """Whether the text is a number the centre gave to a person who has no citizen number (AMB-07)."""
    return bool(_SUBSTITUTE.fullmatch(text)) and check_character("0" + text[1:17]) == text[17]


def is_person_no(text: str) -> bool:
    """Whether GMSFHM may hold the text: a citizen number, or the centre's substitute for one."""
    return is_citizen_id(text) or is_substitute_no(text)


def is_synthetic(text: str) -> bool:
    """Whether the number was made by `synthetic_citizen_id`."""
    return is_citizen_id(text) and text.startswith(SYNTHETIC_REGION)


def substitute_no(serial: int) -> str:
    """The substitute number (替代号) of a serial: T, 16 digits, a check character. Raises ValueError when too large."""
    if not 0 <= serial < 10**16:
        raise ValueError("a substitute number has a serial of at most 16 digits")
    digits = f"{serial:016d}"
    return f"T{digits}{check_character('0' + digits)}"


def synthetic_citizen_id(serial: int) -> str:
    """A number of valid form that belongs to nobody; every serial gives another. Raises ValueError past the last."""
    if not 0 <= serial < _BIRTHDAYS * _PER_BIRTHDAY * _REGIONS:
        raise ValueError("no synthetic number is left for this serial")
    rest, turn = divmod(serial, _BIRTHDAYS)
    birthday = _FIRST_BIRTHDAY + timedelta(days=turn * _STRIDE % _BIRTHDAYS)
    region, sequence = divmod(rest, _PER_BIRTHDAY)
    digits = f"{SYNTHETIC_REGION}{region:04d}{birthday:%Y%m%d}{sequence:03d}"
    return digits + check_character(digits)
