"""The flat amounts of a settlement, read off its matrix segment x payer: FYJS and MZJS, setlinfo and setldetail.

A settlement is one matrix: so many fen of this segment are borne by this payer. Every flat amount is a sum of cells, so
the amounts of the exchange tables, of the national interface, of an answer and of a printed page cannot differ. All
sums are linear: the matrix of a contra settlement gives the negated amounts.

Exchange tables (2.1.2.2.3, 2.1.3.2.3; INV-16 to INV-23) and national interface (2206, 2207, 2303, 2304):

    SBZFJE   fund_pay_sumamt   every fund                      GRZFJE1  out of scope, person
    ZHZFJE   acct_pay          own and family account          GRZFJE2  in scope, person, deductible included
    YYFDJE   hosp_part_amt     institution                     GRZFJE3  psn_part_amt: person and accounts together
    QFJE     act_pay_dedc      deductible, person              CXZFJE   above all caps, person
    BFXMZFJE preselfpay_amt    pre-self-pay, person            ZYZJE    medfee_sumamt: every cell

What a visit pre-pays of its own (转外先自付) is in GRZFJE1 and BFXMZFJE where the policy puts it in the segment
`pre_self_pay_visit`, and in GRZFJE2 where it says `self_pay_visit`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from domain.money import half_up
from domain.settlement import (
    ACCOUNT,
    DEDUCTIBLE,
    FAMILY_ACCOUNT,
    FUND_PREFIX,
    INSTITUTION,
    OVER_CAP,
    OVER_PRICE_LIMIT,
    OWN_EXPENSE,
    PERSON,
    PRE_SELF_PAY,
    PRE_SELF_PAY_VISIT,
    WITHOUT_OVER_CAP,
)
from domain.visit import VisitType

Cells = Iterable[tuple[str, str, int]]
"""Segment, payer, fen (`domain.settlement.Cell`)."""

_PERSONS = frozenset({PERSON, ACCOUNT, FAMILY_ACCOUNT})
_PRE_SELF_PAY = frozenset({PRE_SELF_PAY, PRE_SELF_PAY_VISIT})
_OWN_PAY = frozenset({OWN_EXPENSE, OVER_PRICE_LIMIT}) | _PRE_SELF_PAY


class ExchangeAmounts(NamedTuple):
    """The amounts of a row of FYJS or MZJS, in fen."""

    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    pre_self_pay_fen: int
    deductible_fen: int
    own_pay_fen: int
    self_pay_fen: int
    over_cap_fen: int
    institution_share_fen: int

    @property
    def person_share_fen(self) -> int:
        """GRZFJE3 (INV-18)."""
        return self.own_pay_fen + self.self_pay_fen + self.over_cap_fen

    @property
    def cash_fen(self) -> int:
        """What is paid at the counter (INV-22)."""
        return self.person_share_fen - self.account_pay_fen

    @property
    def is_all_the_persons(self) -> bool:
        """Whether ZFYY is to be filled: there are charges, and no fund and no institution bears any (INV-25)."""
        return self.total_fen != 0 and self.person_share_fen == self.total_fen


def exchange_amounts(cells: Cells, visit_type: VisitType) -> ExchangeAmounts:
    """The row of FYJS or MZJS. An of-which never leaves its whole, even where reversals left odd fen (INV-20 to 22)."""
    total = funds = account = institution = own = pre = own_scope = deductible = over_cap = 0
    for segment, payer, fen in cells:
        total += fen
        if payer in _PERSONS:
            if payer != PERSON:
                account += fen
            if segment in _OWN_PAY:
                own += fen
                if segment in _PRE_SELF_PAY:
                    pre += fen
            elif segment == OVER_CAP:
                over_cap += fen
            else:
                own_scope += fen
                if segment == DEDUCTIBLE:
                    deductible += fen
        elif payer == INSTITUTION:
            institution += fen
        else:
            funds += fen
    if visit_type in WITHOUT_OVER_CAP:
        own_scope, over_cap = own_scope + over_cap, 0
    return ExchangeAmounts(
        total, funds, account, _within(pre, own), _within(deductible, own_scope), own, own_scope, over_cap, institution
    )


def _within(part: int, whole: int) -> int:
    return min(max(part, min(0, whole)), max(0, whole))


# ── The national interface ────────────────────────────────────────────────────────────────────────────────


class FundType(NamedTuple):
    """A row of the dictionary fund_pay_type, and the field of setlinfo its money is reported in."""

    code: str
    name: str
    field: str


_BASIC_OF = {
    "employee": FundType("310100", "城镇职工基本医疗保险统筹基金", "hifp_pay"),
    "resident": FundType("390100", "城乡居民基本医疗保险基金", "hifp_pay"),
}
_FUNDS = {
    "large_amount": FundType("330100", "大额医疗费用补助基金", "hifob_pay"),
    "serious_illness": FundType("390200", "城乡居民大病医疗保险基金", "hifmi_pay"),
    "civil_servant": FundType("320100", "公务员医疗补助基金", "cvlserv_pay"),
    "enterprise": FundType("370100", "企业补充医疗保险基金", "hifes_pay"),
    "assistance": FundType("610100", "医疗救助基金", "maf_pay"),
    "disabled_soldiers": FundType("350100", "一至六级残疾军人医疗补助基金", "hifdm_pay"),
    "retired_cadres": FundType("340100", "离休人员医疗保障基金", "oth_pay"),
    "maternity": FundType("510100", "生育基金", "oth_pay"),
}
_OTHER_FUND = FundType("999997", "其他基金", "oth_pay")
ACCOUNT_TYPE = FundType("310200", "城镇职工基本医疗保险个人账户基金", "acct_pay")
INSTITUTION_TYPE = FundType("999996", "医院负担", "hosp_part_amt")

POOL_RATIO_SCALE = 10_000
"""pool_prop_selfpay has four decimals."""


def fund_type(payer: str, scheme: str) -> FundType:
    """How the national interface names the money of this payer: a fund, an account or the institution."""
    if payer in (ACCOUNT, FAMILY_ACCOUNT):
        return ACCOUNT_TYPE
    if payer == INSTITUTION:
        return INSTITUTION_TYPE
    layer = payer.removeprefix(FUND_PREFIX)
    if layer == "basic":
        return _BASIC_OF.get(scheme, _OTHER_FUND)
    return _FUNDS.get(layer, _OTHER_FUND)


class SetlInfo(NamedTuple):
    """The amounts of setlinfo in fen, under the names of the interface; `pool_prop_selfpay` in ten-thousandths."""

    medfee_sumamt: int
    fulamt_ownpay_amt: int
    overlmt_selfpay: int
    preselfpay_amt: int
    inscp_scp_amt: int
    act_pay_dedc: int
    hifp_pay: int
    pool_prop_selfpay: int
    cvlserv_pay: int
    hifes_pay: int
    hifmi_pay: int
    hifob_pay: int
    hifdm_pay: int
    maf_pay: int
    oth_pay: int
    fund_pay_sumamt: int
    hosp_part_amt: int
    psn_part_amt: int
    acct_pay: int
    acct_mulaid_pay: int
    psn_cash_pay: int
    balc: int

    def broken_identities(self) -> list[str]:
        """Which identities of setlinfo these amounts break: none, or we are at fault."""
        funds = (
            self.hifp_pay + self.cvlserv_pay + self.hifes_pay + self.hifmi_pay + self.hifob_pay + self.hifdm_pay
            + self.maf_pay + self.oth_pay
        )  # fmt: skip
        held = {
            "setlinfo-1": self.medfee_sumamt == self.fund_pay_sumamt + self.psn_part_amt + self.hosp_part_amt,
            "setlinfo-2": self.fund_pay_sumamt == funds,
            "setlinfo-3": self.psn_part_amt == self.acct_pay + self.psn_cash_pay,
            "setlinfo-4": abs(self.acct_mulaid_pay) <= abs(self.acct_pay),
            "setlinfo-5": self.medfee_sumamt
            == self.fulamt_ownpay_amt + self.overlmt_selfpay + self.preselfpay_amt + self.inscp_scp_amt,
        }
        return [name for name, holds in held.items() if not holds]


class SetlDetail(NamedTuple):
    """One row of setldetail, in fen: what one fund, the accounts, or the institution pays."""

    fund_pay_type: str
    inscp_scp_amt: int
    crt_payb_lmt_amt: int | None
    fund_payamt: int
    fund_pay_type_name: str
    setl_proc_info: str = ""


def setl_info(cells: Cells, scheme: str, balance_before_fen: int = 0) -> SetlInfo:
    """The amounts of setlinfo. Whole segments make the first five, whoever pays of them; payers make the rest."""
    segments: defaultdict[str, int] = defaultdict(int)
    payers: defaultdict[str, int] = defaultdict(int)
    dedc = 0
    for segment, payer, fen in cells:
        segments[segment] += fen
        payers[payer] += fen
        if segment == DEDUCTIBLE and payer in _PERSONS:
            dedc += fen
    total = sum(segments.values())
    in_scope = total - sum(segments[segment] for segment in _OWN_PAY)
    fields: defaultdict[str, int] = defaultdict(int)
    for payer, fen in payers.items():
        if payer != PERSON:
            fields[fund_type(payer, scheme).field] += fen
    funds = sum(fen for payer, fen in payers.items() if payer.startswith(FUND_PREFIX))
    persons = sum(payers[payer] for payer in _PERSONS)
    base = in_scope - segments[DEDUCTIBLE]
    return SetlInfo(
        medfee_sumamt=total,
        fulamt_ownpay_amt=segments[OWN_EXPENSE],
        overlmt_selfpay=segments[OVER_PRICE_LIMIT],
        preselfpay_amt=sum(segments[segment] for segment in _PRE_SELF_PAY),
        inscp_scp_amt=in_scope,
        act_pay_dedc=dedc,
        hifp_pay=fields["hifp_pay"],
        pool_prop_selfpay=half_up(abs(fields["hifp_pay"]) * POOL_RATIO_SCALE, abs(base)) if base else 0,
        cvlserv_pay=fields["cvlserv_pay"],
        hifes_pay=fields["hifes_pay"],
        hifmi_pay=fields["hifmi_pay"],
        hifob_pay=fields["hifob_pay"],
        hifdm_pay=fields["hifdm_pay"],
        maf_pay=fields["maf_pay"],
        oth_pay=fields["oth_pay"],
        fund_pay_sumamt=funds,
        hosp_part_amt=payers[INSTITUTION],
        psn_part_amt=persons,
        acct_pay=fields["acct_pay"],
        acct_mulaid_pay=payers[FAMILY_ACCOUNT],
        psn_cash_pay=payers[PERSON],
        balc=balance_before_fen - payers[ACCOUNT],
    )


def setl_detail(
    cells: Cells,
    scheme: str,
    room: Mapping[str, int] | None = None,
    told: Mapping[str, str] | None = None,
) -> list[SetlDetail]:
    """The rows of setldetail, one per payer that pays something; their money adds up to all but the cash.

    `inscp_scp_amt` is what is in scope in the segments the payer pays of. `room` says per payer how much it may pay at
    most this time (crt_payb_lmt_amt), `told` how it was calculated (setl_proc_info), where that is known.
    """
    paid: defaultdict[str, int] = defaultdict(int)
    touched: defaultdict[str, set[str]] = defaultdict(set)
    segments: defaultdict[str, int] = defaultdict(int)
    for segment, payer, fen in cells:
        segments[segment] += fen
        if payer != PERSON and fen:
            paid[payer] += fen
            touched[payer].add(segment)
    rows = []
    for payer, fen in paid.items():
        kind = fund_type(payer, scheme)
        in_scope = sum(segments[segment] for segment in touched[payer] - _OWN_PAY)
        rows.append(
            SetlDetail(kind.code, in_scope, (room or {}).get(payer), fen, kind.name, (told or {}).get(payer, ""))
        )
    return rows
