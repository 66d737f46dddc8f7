"""Quotes (预结算): what a claim would settle to. The functions are those of the real thing; nothing is booked.

A quote is asked for in one JSON document: the person, the visit, what the year has used up so far, and either the
charge lines (with the facts of their items, or with item codes the catalogue knows) or the totals of the claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import msgspec
from pydantic import Field, StringConstraints, TypeAdapter, with_config
from typing_extensions import TypedDict

from domain import benefit, money
from domain.catalogue import Catalogue, Matched
from domain.checks import check_lines
from domain.codes import CODES, PASSED
from domain.policy import PolicyBook, TwoPoliciesInForce
from domain.policy_facts import CaseNotCovered, NoPolicyInForce
from domain.policy_reading import PolicyUnreadable, parse
from domain.settlement import Occasion, Person, Settlement, Step
from domain.totals import LocalTotals, total_up
from domain.visit import ChargeLine, Visit, VisitType, pack_lines
from producers.api.problems import FieldError
from producers.api.reading import document
from producers.values import (
    STRICT,
    Amount,
    Category,
    LineNo,
    NotNegative,
    Price,
    Quantity,
    Ratio,
    Text3,
    Text15,
    Text30,
    Text40,
)

NO_CATALOGUE = Catalogue("", (), ())


@with_config(STRICT)
class PersonIn(TypedDict):
    """The insured person, as far as the rules ask; no name and no identity number."""

    scheme: Annotated[Literal["employee", "resident"], Field(description="职工 or 城乡居民")]
    category: Annotated[
        str, StringConstraints(pattern=r"^[0-9]{1,3}$"), Field(description="人员类别 RYLB", examples=["1"])
    ]
    civil_servant: NotRequired[Annotated[bool, Field(description="公务员补助")]]
    account_balance: NotRequired[Annotated[NotNegative, Field(description="balance of the personal account")]]


@with_config(STRICT)
class OccasionIn(TypedDict):
    """The visit, as far as the rules ask."""

    visit_type: Annotated[
        Literal["1", "2", "3", "4"],
        Field(description="就诊类别 JZLB: 1 住院, 2 门诊特定项目, 3 门诊, 4 购药", examples=["3"]),
    ]
    visit_date: Annotated[date, Field(description="就诊日期 RYRQ")]
    institution_level: NotRequired[
        Annotated[int, Field(ge=0, le=3, description="0 to 3; through the API that of the institution that asks")]
    ]


@with_config(STRICT)
class ItemIn(TypedDict):
    """The catalogue's facts of one item."""

    coverage_class: Annotated[Literal["1", "2", "9"], Field(description="1 甲类, 2 乙类, 9 全自费")]
    pre_self_pay_ratio: NotRequired[Annotated[Ratio, Field(description="自负比例 of class B, 0 when left out")]]
    price_limit: NotRequired[Annotated[Price, Field(description="the most of a unit price that is in scope")]]


@with_config(STRICT)
class QuotedLineIn(TypedDict):
    """One charge line: its item described here, or known to the catalogue by the institution's own code."""

    unit_price: Price
    quantity: Quantity
    item: NotRequired[ItemIn]
    local_item_code: NotRequired[Text15]
    line_no: NotRequired[Annotated[LineNo, Field(description="numbered in order when left out")]]
    charge_date: NotRequired[Annotated[date, Field(description="the visit's day when left out")]]
    local_item_name: NotRequired[Text40]
    charge_category: NotRequired[Category]
    specification: NotRequired[Text30]
    dosage_form: NotRequired[Text30]
    line_amount: NotRequired[Annotated[Amount, Field(description="price times quantity when left out")]]
    drug_origin: NotRequired[Text3]


@with_config(STRICT)
class TotalsIn(TypedDict):
    """The totals of a claim whose lines are split already; the parts add up to the total."""

    total_amount: NotNegative
    own_expense_amount: NotRequired[Annotated[NotNegative, Field(description="全自费, 0 when left out")]]
    over_limit_amount: NotRequired[Annotated[NotNegative, Field(description="超限价, 0 when left out")]]
    pre_self_pay_amount: NotRequired[Annotated[NotNegative, Field(description="部分项目自付, 0 when left out")]]
    in_scope_amount: NotRequired[Annotated[NotNegative, Field(description="the rest of the total when left out")]]


@with_config(STRICT | {"json_schema_extra": {"oneOf": [{"required": ["lines"]}, {"required": ["totals"]}]}})
class QuoteIn(TypedDict):
    """What a quote is asked for: a person, an occasion, and either lines or totals."""

    person: PersonIn
    visit: OccasionIn
    lines: NotRequired[Annotated[list[QuotedLineIn], Field(min_length=1, max_length=1000)]]
    totals: NotRequired[TotalsIn]
    accumulators: NotRequired[
        Annotated[
            dict[Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z_]+(:[a-z0-9_-]+)+$")], NotNegative],
            Field(
                max_length=100,
                description="what the year has used up, by fund:visit type:segment:disease:period",
                examples=[{"basic:3:fund:-:2026": "120.00", "basic:3:deductible:-:2026": "200.00"}],
            ),
        ]
    ]


class AmountsOut(TypedDict):
    """Who would pay what (MZJS), in yuan."""

    total_amount: Amount
    fund_pay_amount: Amount
    account_pay_amount: Amount
    pre_self_pay_amount: Amount
    deductible_amount: Amount
    own_pay_amount: Amount
    self_pay_amount: Amount
    over_cap_amount: Amount
    person_share_amount: Amount
    institution_share_amount: Amount
    cash_amount: Amount


class StepOut(TypedDict):
    """One step of the calculation; the steps are the calculation."""

    rule: str
    fact: Annotated[str, Field(description="the policy fact that decided, empty where the catalogue did")]
    source: str
    input_amount: Amount
    ratio: str
    output_amount: Amount
    words: str


class EntryOut(TypedDict):
    """How an accumulator would move."""

    key: str
    before_amount: Amount
    applied_amount: Amount


class QuoteOut(TypedDict):
    """A quote."""

    policy_version: str
    day: str
    totals: TotalsIn
    settlement: AmountsOut
    accumulators: list[EntryOut]
    steps: list[StepOut]


QUOTE_IN: TypeAdapter[QuoteIn] = TypeAdapter(QuoteIn)
QUOTE_OUT: TypeAdapter[QuoteOut] = TypeAdapter(QuoteOut)


class CannotQuote(Exception):
    """The document is well formed, but cannot be settled: the sentence says why, the errors say where."""

    def __init__(self, words: str, errors: Sequence[FieldError] = ()) -> None:
        self.words, self.errors = words, errors
        super().__init__(words)


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote with what it was computed from."""

    settlement: Settlement
    totals: LocalTotals
    policy_version: str
    day: date


def quote(asked: Mapping[str, Any], policy: PolicyBook, catalogue: Catalogue = NO_CATALOGUE) -> Quoted:
    """Settle a document as it would be settled for real. Raises producers.api.problems.Problem or CannotQuote."""
    return settled(read(msgspec.json.encode(asked)), policy, catalogue)


def read(raw: bytes) -> QuoteIn:
    """The checked document. Raises producers.api.problems.Problem with every wrong field."""
    given, _ = document(raw, QUOTE_IN)
    return given


def settled(
    given: QuoteIn,
    policy: PolicyBook,
    catalogue: Catalogue = NO_CATALOGUE,
    institution_code: str = "",
    institution_level: int | None = None,
) -> Quoted:
    """Settle a checked document. Raises CannotQuote."""
    visit, person = given["visit"], given["person"]
    day = visit["visit_date"]
    level = visit.get("institution_level", institution_level)
    if level is None:
        raise _wrong("visit/institution_level", "missing", "缺少医药机构级别")
    totals = _totals(given, catalogue, institution_code)
    occasion = Occasion(VisitType(visit["visit_type"]), level, day)
    who = Person(
        scheme=person["scheme"],
        category=person["category"],
        civil_servant=person.get("civil_servant", False),
        account_balance_fen=money.fen(person.get("account_balance", "0.00")),
    )
    used = {key: money.fen(amount) for key, amount in given.get("accumulators", {}).items()}
    try:
        settlement = benefit.settle(totals, who, used, policy, occasion)
        version = policy.in_force_on(who.scheme, day).version
    except CaseNotCovered as error:
        raise CannotQuote("现行政策不能结算这种情形：" + "；".join(error.reasons)) from None
    except TwoPoliciesInForce:
        versions = "、".join(each.version for each in policy.sets)
        raise CannotQuote(f"{day} 有多个待遇政策适用（{versions}），请用 --policy 指定其一") from None
    except NoPolicyInForce:
        raise CannotQuote(f"{day} 没有适用于 {who.scheme} 的待遇政策") from None
    except benefit.NegativeTotals:
        raise CannotQuote("合计为负，退费须用冲销结算，不能试算") from None
    return Quoted(settlement, totals, version, day)


def seen(quoted: Quoted) -> QuoteOut:
    """The quote as it is answered."""
    result, totals = quoted.settlement, quoted.totals
    return {
        "policy_version": quoted.policy_version,
        "day": quoted.day.isoformat(),
        "totals": {
            "total_amount": money.yuan(totals.total_fen),
            "own_expense_amount": money.yuan(totals.own_expense_fen),
            "over_limit_amount": money.yuan(totals.over_limit_fen),
            "pre_self_pay_amount": money.yuan(totals.pre_self_pay_fen),
            "in_scope_amount": money.yuan(totals.in_scope_fen),
        },
        "settlement": {
            "total_amount": money.yuan(result.total_fen),
            "fund_pay_amount": money.yuan(result.fund_pay_fen),
            "account_pay_amount": money.yuan(result.account_pay_fen),
            "pre_self_pay_amount": money.yuan(result.pre_self_pay_fen),
            "deductible_amount": money.yuan(result.deductible_fen),
            "own_pay_amount": money.yuan(result.own_pay_fen),
            "self_pay_amount": money.yuan(result.self_pay_fen),
            "over_cap_amount": money.yuan(result.over_cap_fen),
            "person_share_amount": money.yuan(result.person_share_fen),
            "institution_share_amount": money.yuan(result.institution_share_fen),
            "cash_amount": money.yuan(result.cash_fen),
        },
        "accumulators": [
            {
                "key": entry.key,
                "before_amount": money.yuan(entry.before_fen),
                "applied_amount": money.yuan(entry.applied_fen),
            }
            for entry in result.entries
        ],
        "steps": [
            {
                "rule": step.rule,
                "fact": step.fact,
                "source": step.source,
                "input_amount": money.yuan(step.input_fen),
                "ratio": step.ratio,
                "output_amount": money.yuan(step.output_fen),
                "words": in_words(step),
            }
            for step in result.steps
        ],
    }


RULES_ZH = {
    benefit.OWN_EXPENSE: "全自费",
    benefit.OVER_LIMIT: "超限价",
    benefit.PRE_SELF_PAY: "部分项目自付",
    benefit.DEDUCTIBLE: "起付标准",
    benefit.FUND_SHARE: "统筹支付",
    benefit.SELF_SHARE: "个人按比例自付",
    benefit.OVER_CAP: "超年度限额",
    benefit.ACCOUNT: "个人账户支付",
}

_SENTENCES = {
    benefit.OWN_EXPENSE: "总金额 {input} 元中，目录外（全自费）项目 {output} 元由个人负担",
    benefit.OVER_LIMIT: "总金额 {input} 元中，超出限价的 {output} 元由个人负担",
    benefit.PRE_SELF_PAY: "总金额 {input} 元中，乙类项目先由个人自付 {output} 元",
    benefit.DEDUCTIBLE: "政策范围内 {input} 元，起付标准以内的 {output} 元由个人先付",
    benefit.FUND_SHARE: "本段 {input} 元，统筹基金按 {ratio} 支付 {output} 元",
    benefit.SELF_SHARE: "本段 {input} 元，个人自付 {output} 元",
    benefit.OVER_CAP: "本段 {input} 元中，超出年度最高支付限额的 {output} 元由个人负担",
    benefit.ACCOUNT: "个人负担中可用账户支付的 {input} 元，账户支付 {output} 元",
}


def in_words(step: Step) -> str:
    """One step as a sentence for the counter."""
    sentence = _SENTENCES.get(step.rule, step.rule + "：{input} 元，得 {output} 元")
    return sentence.format(
        input=money.yuan(step.input_fen), output=money.yuan(step.output_fen), ratio=step.ratio or "规定比例"
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of what a quote is asked for with (docs/quote.schema.json)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Jiesuan quote",
        **{name: part for name, part in QUOTE_IN.json_schema().items() if name != "title"},
    }


def policy_book(folder: Path, choice: str = "") -> PolicyBook:
    """The policy sets of a folder, or the one chosen by its id or by a path. Raises CannotQuote."""
    is_path = bool(choice) and Path(choice).is_file()
    files = [Path(choice)] if is_path else sorted(folder.glob("*.toml"))
    sets = []
    for file in files:
        try:
            sets.append(parse(file.read_text(encoding="utf-8")))
        except PolicyUnreadable as error:
            raise CannotQuote(f"政策文件 {file.name} 不能读取：{'；'.join(error.errors)}") from None
    if choice and not is_path:
        known = "、".join(each.set_id for each in sets) or "（没有）"
        sets = [each for each in sets if choice in (each.set_id, each.version)]
        if not sets:
            raise CannotQuote(f"没有编号为 {choice} 的政策；现有：{known}")
    return PolicyBook(sets)


class _WithItems(Catalogue):
    """A catalogue that also knows the items a document describes itself."""

    def __init__(self, beneath: Catalogue, described: Mapping[str, Matched]) -> None:
        super().__init__(beneath.version, (), ())
        self._beneath, self._described = beneath, described

    def on(self, institution_code: str, local_item_code: str, day: date) -> Matched:
        found = self._described.get(local_item_code)
        return found if found is not None else self._beneath.on(institution_code, local_item_code, day)


def _totals(given: QuoteIn, catalogue: Catalogue, institution_code: str) -> LocalTotals:
    if ("lines" in given) == ("totals" in given):
        raise CannotQuote("费用明细 lines 与费用汇总 totals 须给出且只给出一种")
    if "totals" in given:
        return _totals_given(given["totals"])
    return _totals_of_lines(given["lines"], given["visit"], catalogue, institution_code)


def _totals_given(given: TotalsIn) -> LocalTotals:
    total, own, over, pre = (
        money.fen(amount)
        for amount in (
            given["total_amount"],
            given.get("own_expense_amount", "0.00"),
            given.get("over_limit_amount", "0.00"),
            given.get("pre_self_pay_amount", "0.00"),
        )
    )
    rest = total - own - over - pre
    scope = money.fen(given["in_scope_amount"]) if "in_scope_amount" in given else rest
    totals = LocalTotals(total, own, over, pre, scope, 0, b"")
    if not totals.adds_up or scope < 0:
        raise _wrong(
            "totals",
            "totals-unequal",
            f"总金额 {money.yuan(total)} 元，各分项合计 {money.yuan(total - rest + scope)} 元",
        )
    return totals


def _totals_of_lines(
    given: Sequence[QuotedLineIn], visit: OccasionIn, catalogue: Catalogue, institution_code: str
) -> LocalTotals:
    described: dict[str, Matched] = {}
    lines = []
    for index, line in enumerate(given):
        code = line.get("local_item_code") or ""
        if "item" in line:
            code = f"\x00{index}"  # no institution's code, so it meets no other item's
            described[code] = _described(line["item"])
        elif not code:
            raise _wrong(f"lines/{index}/local_item_code", "missing", "请给出本院项目编号，或在 item 中给出目录信息")
        lines.append(_line(line, index, code, visit["visit_date"]))
    last_day = max(line.charge_date for line in lines if line.charge_date)
    who = Visit(
        visit_no="",
        institution_code=institution_code,
        citizen_id_no="",
        visit_type=VisitType(visit["visit_type"]),
        visit_date=visit["visit_date"],
    )
    checked = check_lines(who, lines, _WithItems(catalogue, described), last_day)
    if not checked.passed:
        raise CannotQuote(
            "有费用明细未通过效验",
            [
                {
                    "pointer": f"#/lines/{index}",
                    "code": found.code,
                    "detail": CODES[found.code].message_zh if found.code in CODES else found.code,
                }
                for index, found in enumerate(checked.verdicts)
                if found.code != PASSED
            ],
        )
    return total_up(zip(lines, checked.matched, strict=True), pack_lines(lines))


def _line(line: QuotedLineIn, index: int, code: str, visit_date: date) -> ChargeLine:
    price = money.scaled(line["unit_price"], money.PRICE_SCALE)
    quantity = money.scaled(line["quantity"], money.QUANTITY_SCALE)
    amount = line.get("line_amount")
    return ChargeLine(
        line.get("line_no") or index + 1,
        line.get("charge_date", visit_date),
        code,
        line.get("local_item_name") or "—",
        line.get("charge_category"),
        line.get("specification") or "",
        line.get("dosage_form") or "",
        price,
        quantity,
        money.amount_of(price, quantity) if amount is None else money.fen(amount),
        line.get("drug_origin") or "",
    )


def _described(item: ItemIn) -> Matched:
    limit = item.get("price_limit")
    return Matched(
        PASSED,
        coverage_class=item["coverage_class"],
        pre_self_pay_ratio_1e4=(
            money.scaled(item.get("pre_self_pay_ratio", "0"), money.RATIO_SCALE) if item["coverage_class"] == "2" else 0
        ),
        price_limit_1e4=None if limit is None else money.scaled(limit, money.PRICE_SCALE),
    )


def _wrong(path: str, code: str, words: str) -> CannotQuote:
    return CannotQuote(words, [{"pointer": f"#/{path}", "code": code, "detail": words}])
