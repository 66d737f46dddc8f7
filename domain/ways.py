"""The three ways to settle (结算方式), chosen per institution by its terms and changed while claims flow.

All three come to the same result to the fen: the lines are checked, matched and split by the same functions, wherever
that is done, and the centre settles every claim under its locks.
"""

from __future__ import annotations

from enum import StrEnum


class Way(StrEnum):
    """Where an institution's claims are computed."""

    CENTRAL = "central"
    """前置机汇总，中心结算: the front-end checks and totals the lines, the centre settles the totals."""
    LOCAL = "local"
    """前置机结算，中心确认: the front-end computes the benefit, too, and the centre confirms it."""
    CENTRALIZED = "centralized"
    """明细集中，中心结算: every line travels to the centre, which checks, totals and settles."""


WORDS: dict[Way, str] = {
    Way.CENTRAL: "前置机汇总，中心结算",
    Way.LOCAL: "前置机结算，中心确认",
    Way.CENTRALIZED: "明细集中，中心结算",
}


def way_of(text: str) -> Way:
    """The way with this name. Raises ValueError with the names there are, in words for an operator."""
    try:
        return Way(text)
    except ValueError:
        known = "、".join(f"{way}（{words}）" for way, words in WORDS.items())
        raise ValueError(f"没有结算方式“{text}”；可用：{known}") from None
