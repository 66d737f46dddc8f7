"""What came of a morning, and how it is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.table import Table

from city.hospitals import Told, is_as_expected
from city.promises import Audit
from city.sample.institutions import BUSINESS_SHARE, WORDS_ZH
from city.sample.morning import City
from domain.lifecycle import ClaimState
from domain.money import yuan


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of a morning."""

    city: City
    told: tuple[Told, ...]
    audit: Audit
    accidents: tuple[str, ...]
    outcome_of_accidents: str
    statements: tuple[str, ...]
    unfinished: str

    def numbers(self, seconds: float) -> dict[str, float]:
        """The last line of a run."""
        ends = Counter(one.state for one in self.first_told())
        return {
            "claims_submitted": len(self.city.claims),
            "claims_settled": ends[ClaimState.SETTLED],
            "claims_refused": ends[ClaimState.RETURNED] + ends[ClaimState.REFUSED],
            "claims_lost": self.audit.lost,
            "claims_paid_twice": self.audit.paid_twice,
            "detail_lines_total": self.audit.detail_lines_total,
            "detail_lines_uploaded": self.audit.detail_lines_uploaded,
            "difference_fen": self.audit.difference_fen,
            "seconds": round(seconds, 1),
        }

    def first_told(self) -> list[Told]:
        """One answer per claim: repetitions are left out."""
        firsts = {one.claim.number: one for one in reversed(self.told) if one.manner in ("first", "twice at once")}
        return list(firsts.values())


def what_happened(found: Found) -> Table:
    """Claims by class of institution: how they ended and what they cost."""
    table = Table(title="按机构类别", title_justify="left")
    table.add_column("类别")
    for name in ("提交", "结算", "退回", "中心拒绝", "重复提交", "总金额", "基金支付"):
        table.add_column(name, justify="right")
    firsts = found.first_told()
    for size in (*BUSINESS_SHARE, None):
        mine = [one for one in firsts if size in (None, one.claim.institution.size)]
        again = [one for one in found.told if one.manner != "first" and size in (None, one.claim.institution.size)]
        ends = Counter(one.state for one in mine)
        table.add_row(
            WORDS_ZH[size] if size else "合计",
            str(len(mine)),
            *(str(ends[state]) for state in (ClaimState.SETTLED, ClaimState.RETURNED, ClaimState.REFUSED)),
            str(len(again)),
            *(yuan(sum(one.amounts.get(name, 0) for one in mine)) for name in ("total_amount", "fund_pay_amount")),
        )
    return table


def returned_and_refused(found: Found) -> str:
    """How many claims went back with which code, or were refused for which reason."""
    firsts = found.first_told()
    codes = Counter(code for one in firsts for code in [c for c in one.codes if c != "00"][:1])
    refused = Counter(one.words for one in firsts if one.state == ClaimState.REFUSED)
    back = "  ".join(f"{code}×{count}" for code, count in sorted(codes.items()))
    return f"退回代码：{back}\n中心拒绝：" + "  ".join(f"{words}×{count}" for words, count in sorted(refused.items()))


def wrong_ends(found: Found) -> list[str]:
    """The handings-in that did not end as they should, by number: no person is named."""
    return [
        f"{one.claim.number} {one.claim.institution.institution_code} {one.manner} {one.claim_no}: "
        f"应为 {one.claim.outcome} {one.claim.defect}，"
        f"实为 {one.state or one.problem} {'/'.join(one.codes)} {one.words}"
        for one in found.told
        if not is_as_expected(one)
    ]
