"""The terms of an institution (接入条款): how it is connected and served, as the centre decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from domain.institution_class import Size
from domain.money import MAX_FEN
from domain.ways import WORDS as WAYS
from domain.ways import Way

DEFAULT_WEIGHT, LARGEST_WEIGHT = 10, 100
DEFAULT_BACKLOG_CAP = 400
PARTS = 8
"""Into so many parts the visit numbers of an institution are cut as soon as it has several front-ends.

The count of parts never changes after that: a part is given, kept, and given again, so no two front-ends ever count in
the same part, however their clocks and their terms overlap.
"""


class Standing(StrEnum):
    """How a front-end stands to an institution of its terms."""

    OPEN = "open"
    """It takes what the institution hands in."""
    MOVING_OUT = "moving_out"
    """It takes nothing new: visits are being handed over."""
    MOVED = "moved"
    """Another front-end takes what is new; this one sees through what it had accepted."""
    MOVING_IN = "moving_in"
    """It makes ready, and takes nothing yet."""


class Connection(StrEnum):
    """How an institution is connected (1.2.2): by a server of its own, or by whose."""

    OWN = "own"
    SHARED = "shared"
    HOSTED = "hosted"
    HEAD_OFFICE = "head_office"


CONNECTION_WORDS: dict[Connection, str] = {
    Connection.OWN: "本地前置机",
    Connection.SHARED: "中心共用前置机",
    Connection.HOSTED: "托管前置机",
    Connection.HEAD_OFFICE: "总院（总店）前置机",
}

STANDING_WORDS: dict[Standing, str] = {
    Standing.OPEN: "受理中",
    Standing.MOVING_OUT: "正在迁出，不受理新业务",
    Standing.MOVED: "已迁出，只办结原已受理的业务",
    Standing.MOVING_IN: "正在迁入，尚未受理",
}


class InstitutionTerms(NamedTuple):
    """The terms of one institution, as one of its front-ends is told them. Amounts are fen."""

    institution_code: str
    short_code: str
    """The first six characters of its visit numbers."""
    name: str
    kind: str
    level: int
    size: str
    """domain.institution_class.Size."""
    way: str
    """domain.ways.Way."""
    weight: int
    """Its share of a shared front-end, 1 to 100."""
    rate_per_second: int
    """Claims taken in a second; 0: no limit."""
    burst: int
    """Claims taken at once above the rate; 0: ten seconds of the rate."""
    backlog_cap: int
    """Most open claims; 0: as its front-end has it."""
    active: bool
    suspended: str
    """Why it takes nothing at present, in Chinese; empty where it does."""
    part: int
    parts: int
    """Which part of its visit numbers this front-end gives, of how many."""
    standing: str
    moved_to: str
    """The front-end that takes what is new, where this one does not."""
    offline: bool
    offline_claim_fen: int
    offline_total_fen: int
    offline_hours: int
    version: int
    """Rises with every change of any institution's terms: a list with a higher one is the newer list."""
    connection: str = Connection.OWN
    move_no: int = 0
    """The last move this front-end had a part in: what travels under another number is not taken."""
    settle_lanes: int = 1
    """Over how many settle lanes its claims are spread, by person (`infra.lanes.settle_of`)."""


MOST_SETTLE_LANES = 64

DIGEST_BYTES = 16


def digest_of(terms: Iterable[InstitutionTerms]) -> bytes:
    """What two lists have in common that name the same institutions on the same terms, in whatever order."""
    return digest_of_versions((each.institution_code, each.version, str(each.standing)) for each in terms)


def digest_of_versions(versions: Iterable[tuple[str, int, str]]) -> bytes:
    """The same by (institution, version, standing): what the digest looks at."""
    listed = sorted(versions)
    return blake2b(repr(listed).encode(), digest_size=DIGEST_BYTES).digest()


Check = Callable[[object], str]
"""What is wrong with a value, in Chinese; empty where nothing is."""


def _whole(least: int, most: int) -> Check:
    def check(value: object) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return "" if good else f"须为 {least} 至 {most} 的整数"

    return check


def _text(least: int, most: int) -> Check:
    def check(value: object) -> str:
        good = isinstance(value, str) and least <= len(value) <= most and (not value or value.isprintable())
        return "" if good else f"须为 {least} 至 {most} 个字" if least else f"至多 {most} 个字"

    return check


def _one_of(words: Mapping[str, str]) -> Check:
    known = "、".join(words)

    def check(value: object) -> str:
        return "" if value in words else f"须为 {known} 之一"

    return check


def _short_code(value: object) -> str:
    good = isinstance(value, str) and len(value) == 6 and value.isascii() and value.isalnum() and value == value.upper()
    return "" if good else "须为 6 位大写字母或数字"


def _yes_or_no(value: object) -> str:
    return "" if isinstance(value, bool) else "须为是或否"


_SIZES = {str(size): "" for size in Size}
_WAYS = {str(way): WAYS[way] for way in Way}
_KINDS = dict.fromkeys(("hospital", "clinic", "pharmacy"), "")
LONGEST_WAIT_HOURS = 24 * 30

CHECKS: dict[str, tuple[str, Check]] = {
    "short_code": ("就医登记号前六位", _short_code),
    "name": ("名称", _text(1, 60)),
    "kind": ("类别", _one_of(_KINDS)),
    "level": ("级别", _whole(0, 3)),
    "size": ("业务量分类", _one_of(_SIZES)),
    "way": ("结算方式", _one_of(_WAYS)),
    "weight": ("权重", _whole(1, LARGEST_WEIGHT)),
    "rate_per_second": ("每秒受理上限", _whole(0, 100_000)),
    "burst": ("突发上限", _whole(0, 1_000_000)),
    "backlog_cap": ("待处理上限", _whole(0, 10_000_000)),
    "settle_lanes": ("结算通道数", _whole(1, MOST_SETTLE_LANES)),
    "active": ("启用", _yes_or_no),
    "suspended": ("暂停原因", _text(0, 60)),
    "civil_servants": ("公务员医疗补助业务", _yes_or_no),
    "offline": ("允许脱机", _yes_or_no),
    "offline_claim_fen": ("脱机每笔限额（分）", _whole(0, MAX_FEN)),
    "offline_total_fen": ("脱机累计限额（分）", _whole(0, MAX_FEN)),
    "offline_hours": ("脱机时限（小时）", _whole(0, LONGEST_WAIT_HOURS)),
}
"""The fields an operator may change, each with its Chinese word and what is a good value."""


MOST_OFFLINE_HOURS = 168


def problems_together(terms: Mapping[str, object]) -> list[str]:
    """What does not go together in terms that are each good by themselves, in Chinese."""
    limits = [terms["offline_claim_fen"], terms["offline_total_fen"], terms["offline_hours"]]
    if terms["offline"] is not True or not all(isinstance(limit, int) for limit in limits):
        return []
    claim_fen, total_fen, hours = (int(str(limit)) for limit in limits)
    found = []
    if claim_fen <= 0:
        found.append("允许脱机须有每笔限额（offline_claim_fen），且大于 0")
    if total_fen < claim_fen:
        found.append("脱机累计限额（offline_total_fen）不得小于每笔限额")
    if not 1 <= hours <= MOST_OFFLINE_HOURS:
        found.append(f"脱机时限（offline_hours）须为 1 至 {MOST_OFFLINE_HOURS} 小时")
    return found


def problems_of(changes: Mapping[str, object]) -> list[str]:
    """Everything wrong with these changes, in Chinese, each naming its field; none: they may be made."""
    if not changes:
        return ["没有要修改的内容"]
    found = []
    for field, value in changes.items():
        if field not in CHECKS:
            found.append(f"没有条款“{field}”；可改：{'、'.join(CHECKS)}")
            continue
        word, check = CHECKS[field]
        if wrong := check(value):
            found.append(f"{word}（{field}）{wrong}，现为 {value!r}")
    return found
