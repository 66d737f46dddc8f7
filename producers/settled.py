"""A settlement as every document shows it to the outside: its flat amounts, its matrix, its national fields.

Quotes, the API's claims and the printed statement take their amounts and their Chinese names from here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, NamedTuple, NotRequired, cast

from pydantic import Field
from typing_extensions import TypedDict

from domain import money, projection, settlement
from domain.projection import Cells, ExchangeAmounts
from producers.values import Amount

SEGMENTS_ZH = {
    settlement.OWN_EXPENSE: "全自费",
    settlement.OVER_PRICE_LIMIT: "超限价",
    settlement.PRE_SELF_PAY: "部分项目自付",
    settlement.PRE_SELF_PAY_VISIT: "转外先自付",
    settlement.SELF_PAY_VISIT: "转外自付",
    settlement.FIXED_ITEM: "定额项目",
    settlement.DEDUCTIBLE: "起付标准以下",
    settlement.SHARED: "统筹共付段",
    settlement.LARGE_AMOUNT: "大额共付段",
    settlement.OVER_CAP: "超限额以上",
    settlement.IN_SCOPE: "政策范围内",
}
"""In the order of a settlement sheet."""

PAYERS_ZH = {
    settlement.PERSON: "现金",
    settlement.ACCOUNT: "个人账户",
    settlement.FAMILY_ACCOUNT: "家庭共济账户",
    settlement.INSTITUTION: "医药机构",
    settlement.BASIC_FUND: "统筹基金",
    "fund:large_amount": "大额补助",
    "fund:serious_illness": "大病保险",
    "fund:retiree_supplement": "退休补充",
    "fund:enterprise": "企业补充",
    "fund:civil_servant": "公务员补助",
    "fund:assistance": "医疗救助",
    "fund:retired_cadres": "离休基金",
    "fund:disabled_soldiers": "残疾军人基金",
    "fund:maternity": "生育基金",
    "fund:full_cover": "全额保障",
    "fund:other": "其他基金",
}


def segment_zh(segment: str) -> str:
    """What the segment is called; a name nobody gave one is shown as it is."""
    return SEGMENTS_ZH.get(segment, segment)


def payer_zh(payer: str) -> str:
    """What the payer is called; a fund nobody named is shown by its layer."""
    return PAYERS_ZH.get(payer, payer.removeprefix(settlement.FUND_PREFIX))


class AmountsOut(TypedDict):
    """Who pays what (MZJS, FYJS), in yuan."""

    total_amount: Annotated[Amount, Field(description="总金额 ZYZJE")]
    fund_pay_amount: Annotated[Amount, Field(description="社保支付金额 SBZFJE")]
    account_pay_amount: Annotated[Amount, Field(description="帐户支付金额 ZHZFJE, part of person_share_amount")]
    pre_self_pay_amount: Annotated[Amount, Field(description="部分项目自付金额 BFXMZFJE, part of own_pay_amount")]
    deductible_amount: Annotated[Amount, Field(description="个人起付金额 QFJE, part of self_pay_amount")]
    own_pay_amount: Annotated[Amount, Field(description="个人自费项目金额 GRZFJE1")]
    self_pay_amount: Annotated[Amount, Field(description="个人自付金额 GRZFJE2")]
    over_cap_amount: Annotated[Amount, Field(description="超统筹支付限额个人自付金额 CXZFJE")]
    person_share_amount: Annotated[Amount, Field(description="个人自负金额 GRZFJE3")]
    institution_share_amount: Annotated[Amount, Field(description="医药机构分担金额 YYFDJE")]
    cash_amount: Annotated[Amount, Field(description="what the person pays at the counter")]


class CellOut(TypedDict):
    """One cell of the matrix every amount is read off: so much of this segment is borne by this payer."""

    segment: Annotated[str, Field(examples=["shared"])]
    segment_name: Annotated[str, Field(examples=["统筹共付段"])]
    payer: Annotated[str, Field(examples=["fund:basic"])]
    payer_name: Annotated[str, Field(examples=["统筹基金"])]
    amount: Amount


class SetlInfoOut(TypedDict):
    """The amounts of setlinfo (2206, 2207, 2303, 2304), under the names of the national interface."""

    medfee_sumamt: Annotated[Amount, Field(description="医疗费总额")]
    fulamt_ownpay_amt: Annotated[Amount, Field(description="全自费金额")]
    overlmt_selfpay: Annotated[Amount, Field(description="超限价自费费用")]
    preselfpay_amt: Annotated[Amount, Field(description="先行自付金额")]
    inscp_scp_amt: Annotated[Amount, Field(description="符合政策范围金额")]
    act_pay_dedc: Annotated[Amount, Field(description="实际支付起付线")]
    hifp_pay: Annotated[Amount, Field(description="基本医疗保险统筹基金支出")]
    pool_prop_selfpay: Annotated[str, Field(description="基本医疗保险统筹基金支付比例", examples=["0.8"])]
    cvlserv_pay: Annotated[Amount, Field(description="公务员医疗补助资金支出")]
    hifes_pay: Annotated[Amount, Field(description="企业补充医疗保险基金支出")]
    hifmi_pay: Annotated[Amount, Field(description="居民大病保险资金支出")]
    hifob_pay: Annotated[Amount, Field(description="职工大额医疗费用补助基金支出")]
    hifdm_pay: Annotated[Amount, Field(description="伤残人员医疗保障基金支出")]
    maf_pay: Annotated[Amount, Field(description="医疗救助基金支出")]
    oth_pay: Annotated[Amount, Field(description="其他支出")]
    fund_pay_sumamt: Annotated[Amount, Field(description="基金支付总额")]
    hosp_part_amt: Annotated[Amount, Field(description="医院负担金额")]
    psn_part_amt: Annotated[Amount, Field(description="个人负担总金额")]
    acct_pay: Annotated[Amount, Field(description="个人账户支出, acct_mulaid_pay included")]
    acct_mulaid_pay: Annotated[Amount, Field(description="个人账户共济支付金额")]
    psn_cash_pay: Annotated[Amount, Field(description="个人现金支出")]
    balc: Annotated[Amount, Field(description="余额: of the person's own account, afterwards")]


class SetlDetailOut(TypedDict):
    """One row of setldetail: what one fund, the accounts, or the institution pays."""

    fund_pay_type: Annotated[str, Field(examples=["310100"])]
    fund_pay_type_name: str
    inscp_scp_amt: Annotated[Amount, Field(description="what is in scope where this payer pays")]
    crt_payb_lmt_amt: NotRequired[Annotated[Amount, Field(description="what it could pay at most this time")]]
    fund_payamt: Amount
    setl_proc_info: str


class NationalOut(TypedDict):
    """The same settlement as the national interface reports it."""

    setlinfo: SetlInfoOut
    setldetail: list[SetlDetailOut]


def amounts_out(amounts: ExchangeAmounts) -> AmountsOut:
    """The flat amounts, in yuan."""
    return {
        "total_amount": money.yuan(amounts.total_fen),
        "fund_pay_amount": money.yuan(amounts.fund_pay_fen),
        "account_pay_amount": money.yuan(amounts.account_pay_fen),
        "pre_self_pay_amount": money.yuan(amounts.pre_self_pay_fen),
        "deductible_amount": money.yuan(amounts.deductible_fen),
        "own_pay_amount": money.yuan(amounts.own_pay_fen),
        "self_pay_amount": money.yuan(amounts.self_pay_fen),
        "over_cap_amount": money.yuan(amounts.over_cap_fen),
        "person_share_amount": money.yuan(amounts.person_share_fen),
        "institution_share_amount": money.yuan(amounts.institution_share_fen),
        "cash_amount": money.yuan(amounts.cash_fen),
    }


def matrix_out(cells: Cells) -> list[CellOut]:
    """The cells that are not zero, in the order of a settlement sheet."""
    return [
        {
            "segment": segment,
            "segment_name": segment_zh(segment),
            "payer": payer,
            "payer_name": payer_zh(payer),
            "amount": money.yuan(fen),
        }
        for segment, payer, fen in in_order(cells)
    ]


class Sheet(NamedTuple):
    """The matrix as it is printed: a row per segment, a column per payer, sums to the right and below; in yuan."""

    columns: list[str]
    rows: list[tuple[str, list[str]]]
    """The segment's name, and its amounts under the columns; empty where a payer has no part in it."""


def sheet(cells: Cells) -> Sheet:
    """The table of a settlement sheet (结算单): only segments and payers that have a part in it."""
    held: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for segment, payer, fen in in_order(cells):
        held[segment][payer] = held[segment].get(payer, 0) + fen
    payers = sorted({payer for row in held.values() for payer in row}, key=lambda payer: _place(payer, _COLUMNS))
    sums = {payer: sum(row.get(payer, 0) for row in held.values()) for payer in payers}
    table = [(segment_zh(segment), row) for segment, row in held.items()] + [("合计", sums)]
    return Sheet(
        [*map(payer_zh, payers), "合计"],
        [
            (
                name,
                [*(money.yuan(row[payer]) if payer in row else "" for payer in payers), money.yuan(sum(row.values()))],
            )
            for name, row in table
        ],
    )


def national_out(
    cells: Cells,
    scheme: str,
    balance_before_fen: int = 0,
    room: Mapping[str, int] | None = None,
    told: Mapping[str, str] | None = None,
) -> NationalOut:
    """The national fields, in yuan; `room` and `told` as `domain.projection.setl_detail` takes them."""
    cells = in_order(cells)
    info = projection.setl_info(cells, scheme, balance_before_fen)
    fields = {name: money.yuan(fen) for name, fen in info._asdict().items()}
    fields["pool_prop_selfpay"] = money.unscaled(info.pool_prop_selfpay, projection.POOL_RATIO_SCALE)
    rows: list[SetlDetailOut] = []
    for row in projection.setl_detail(cells, scheme, room, told):
        shown: SetlDetailOut = {
            "fund_pay_type": row.fund_pay_type,
            "fund_pay_type_name": row.fund_pay_type_name,
            "inscp_scp_amt": money.yuan(row.inscp_scp_amt),
            "fund_payamt": money.yuan(row.fund_payamt),
            "setl_proc_info": row.setl_proc_info,
        }
        if row.crt_payb_lmt_amt is not None:
            shown["crt_payb_lmt_amt"] = money.yuan(row.crt_payb_lmt_amt)
        rows.append(shown)
    return {"setlinfo": cast(SetlInfoOut, fields), "setldetail": rows}


def in_order(cells: Cells) -> list[tuple[str, str, int]]:
    """The cells that are not zero: segments and payers as a settlement sheet has them, others by name after those."""
    return sorted(
        (cell for cell in cells if cell[2]), key=lambda cell: (_place(cell[0], _ROWS), _place(cell[1], _COLUMNS))
    )


_ROWS = {segment: number for number, segment in enumerate(SEGMENTS_ZH)}
_COLUMNS = {payer: number for number, payer in enumerate(PAYERS_ZH)}


def _place(name: str, order: Mapping[str, int]) -> tuple[int, str]:
    return order.get(name, len(order)), name
