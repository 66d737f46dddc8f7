"""A broken sum: at which level, in whose books, both figures, and the words an operator reads."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from center.ledger import chain
from domain.money import yuan

EVERY = "*"
"""Where a finding names no institution, scheme or clearing type: it concerns every one."""


class Level(StrEnum):
    """The five levels, and what stands beside them: what a person has used up and has left."""

    LINE = "line"
    DOCUMENT = "document"
    DAY = "day"
    CLEARING = "clearing"
    FUND = "fund"
    PERSON = "person"


LEVEL_WORDS = {
    Level.LINE: "明细 = 各分项",
    Level.DOCUMENT: "单据 = 明细",
    Level.DAY: "机构日 = 单据",
    Level.CLEARING: "清算 = 机构日",
    Level.FUND: "基金 = 清算",
    Level.PERSON: "个人累计与账户",
}


class Flow(NamedTuple):
    """What is frozen together: an institution's settlements of a scheme under a clearing type; `*` is every one."""

    institution_code: str = EVERY
    scheme: str = EVERY
    clearing_type: str = EVERY


NOWHERE = Flow("", "", "")
"""Of what belongs to no document or is the city's own, so of no flow: it is told and alarms, and nothing is frozen for
it."""


def flow_of(institution_code: str, scheme: str = EVERY, clearing_type: str = EVERY) -> Flow:
    """The flow of a document or an account; of the city's own chain, as payments into personal accounts are, none.
    Whose account is wrong is held by itself (Level.PERSON)."""
    return NOWHERE if institution_code == chain.CITY else Flow(institution_code, scheme, clearing_type)


class Finding(NamedTuple):
    """One sum that does not hold. Amounts in fen; where lines or documents are counted, their number."""

    level: Level
    code: str
    flow: Flow
    expected_fen: int
    found_fen: int
    document_no: int | None = None
    day: date | None = None
    person_no: int | None = None
    subject: str = ""
    """The account or accumulator, the column or the link; empty where the document says it."""
    suspects: tuple[int, ...] = ()
    """Of a sum over documents: those whose amounts are exactly what it is off by."""

    @property
    def why(self) -> str:
        """In Chinese, with the document's number and both figures."""
        counted = self.code in COUNTED
        expected, found = (str(n) if counted else f"{yuan(n)} 元" for n in (self.expected_fen, self.found_fen))
        place = "" if self.document_no is None else f"单据 {self.document_no} "
        place += "" if self.day is None else f"{self.day} "
        subject = f"（{self.subject}）" if self.subject else ""
        suspects = f"；差额与单据 {'、'.join(map(str, self.suspects))} 相同" if self.suspects else ""
        return f"{place}{WORDS[self.code]}{subject}：应为 {expected}，实为 {found}{suspects}"

    @property
    def key(self) -> str:
        """What is broken and by how much: the same however often it is found, also while the sums go on."""
        parts = (
            self.level, self.code, *self.flow, self.document_no, self.day, self.person_no, self.subject,
            self.found_fen - self.expected_fen,
        )  # fmt: skip
        return blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


WORDS = {
    "line-amount": "一条明细的金额不等于单价乘数量",
    "line-parts": "明细的分项合计与单据不符",
    "line-count": "明细笔数与单据不符",
    "line-digest": "明细不是结算时的明细",
    "line-total": "明细合计与单据总金额不符",
    "document-splits": "总金额不等于费用分项之和",
    "document-payers": "总金额不等于各支付方之和",
    "document-postings": "记账与单据金额不符",
    "document-balance": "借贷不平",
    "document-contra": "冲正单与原单不符",
    "document-answer": "给前置机的答复与单据不符",
    "document-stray": "账上没有此单据，却有它的记录",
    "document-missing": "链上有此单据而账上没有",
    "document-unlinked": "账上有此单据而链上没有",
    "document-institution": "单据在别的机构的链上",
    "link-missing": "链上缺号",
    "day-sum": "日合计与单据合计不符",
    "day-sum-count": "日合计的笔数与单据不符",
    "clearing-days": "清算单与机构日合计不符",
    "clearing-count": "清算单的笔数与机构日合计不符",
    "clearing-parts": "清算单的应付、扣款与拨付不符",
    "fund-layer": "清算单的基金与单据记账不符",
    "fund-account": "科目余额与单据合计不符",
    "accumulator": "累计与累计流水不符",
    "account": "个人账户余额与期初、流水不符",
}
COUNTED = frozenset({"line-count", "line-digest", "document-stray", "document-missing", "document-unlinked",
                     "document-institution", "link-missing", "day-sum-count",
                     "clearing-count"})  # fmt: skip
"""Where the figures are numbers of lines, documents or links, not fen."""
