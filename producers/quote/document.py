"""The document a quote is asked for with: its shape, its JSON Schema, and everything wrong with its form at once."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

import msgspec
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from producers.api.problems import FieldError, Problem
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

Name = Annotated[str, StringConstraints(max_length=40, pattern=r"^[^\x00-\x20\x7f]+$")]
"""A name that policy facts use: of a condition, a group, a rank, an institution."""
PolicyName = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z0-9@-]+$")]
Code18 = Annotated[str, StringConstraints(max_length=18, pattern=r"^[0-9A-Za-z]*$")]
Code6 = Annotated[str, StringConstraints(max_length=6, pattern=r"^[0-9A-Za-z_]*$")]


@with_config(STRICT)
class PersonIn(TypedDict):
    """The insured person, as far as the rules ask; no name and no identity number."""

    scheme: Annotated[Literal["employee", "resident"], Field(description="职工 or 城乡居民")]
    category: Annotated[
        str, StringConstraints(pattern=r"^[0-9]{1,3}$"), Field(description="人员类别 RYLB", examples=["1"])
    ]
    civil_servant: NotRequired[Annotated[bool, Field(description="公务员补助")]]
    rank: NotRequired[Annotated[Name, Field(description="职级, as the policy's facts name it", examples=["county"])]]
    groups: NotRequired[
        Annotated[
            list[Name],
            Field(max_length=50, description="what holds of the person", examples=[["poverty_relief"]]),
        ]
    ]
    age: NotRequired[Annotated[int, Field(ge=0, le=150, description="周岁 on the day of the visit")]]
    account_balance: NotRequired[Annotated[NotNegative, Field(description="balance of the personal account")]]
    family_account_balance: NotRequired[
        Annotated[NotNegative, Field(description="家庭共济: what the accounts of relatives may pay")]
    ]


@with_config(STRICT)
class OccasionIn(TypedDict):
    """The visit, as far as the rules ask."""

    visit_type: Annotated[
        Literal["1", "2", "3", "4"],
        Field(description="就诊类别 JZLB: 1 住院, 2 门诊特定项目, 3 门诊, 4 购药", examples=["3"]),
    ]
    visit_date: Annotated[date, Field(description="就诊日期, of a stay 入院日期 RYRQ")]
    institution_level: NotRequired[
        Annotated[int, Field(ge=0, le=3, description="0 to 3; through the API that of the institution that asks")]
    ]
    institution_code: NotRequired[Annotated[Name, Field(description="医院编号 YYBH, where the policy asks for it")]]
    visit_no: NotRequired[
        Annotated[Code18, Field(description="就医登记号 JYDJH, where earlier settlements of the visit count")]
    ]
    covers_to: NotRequired[
        Annotated[
            date, Field(description="last day the charges cover, of a stay 出院日期; the visit's day if left out")
        ]
    ]
    settled_on: NotRequired[
        Annotated[date, Field(description="结算日期 JSRQ, where it decides whose policy counts; covers_to if left out")]
    ]
    final: NotRequired[Annotated[bool, Field(description="false: 中途结算, the stay goes on; true when left out")]]
    conditions: NotRequired[
        Annotated[
            list[Name],
            Field(max_length=50, description="what holds of the visit, as facts name it", examples=[["unfiled"]]),
        ]
    ]
    disease: NotRequired[Annotated[Text40, Field(description="病种, as the policy's facts name it")]]
    registration_kind: NotRequired[Annotated[Code6, Field(description="挂号类别")]]
    medical_type: NotRequired[Annotated[Code6, Field(description="医疗类别 med_type")]]
    transferred_from: NotRequired[
        Annotated[Code18, Field(description="就医登记号 of the first stay of the transfers this stay continues")]
    ]


@with_config(STRICT)
class ItemIn(TypedDict):
    """The catalogue's facts of one item."""

    coverage_class: Annotated[Literal["1", "2", "9"], Field(description="1 甲类, 2 乙类, 9 全自费")]
    pre_self_pay_ratio: NotRequired[Annotated[Ratio, Field(description="自负比例 of class B, 0 when left out")]]
    price_limit: NotRequired[Annotated[Price, Field(description="the most of a unit price that is in scope")]]
    benefit_group: NotRequired[Annotated[Name, Field(description="待遇分组, where facts of the policy name one")]]


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
class GroupTotalIn(TypedDict):
    """The totals of the lines of one benefit group; part of the totals of the claim."""

    group: Name
    total_amount: NotNegative
    own_expense_amount: NotRequired[NotNegative]
    over_limit_amount: NotRequired[NotNegative]
    pre_self_pay_amount: NotRequired[NotNegative]
    in_scope_amount: NotRequired[Annotated[NotNegative, Field(description="the rest of the total when left out")]]


@with_config(STRICT)
class TotalsIn(TypedDict):
    """The totals of a claim whose lines are split already; the parts add up to the total."""

    total_amount: NotNegative
    own_expense_amount: NotRequired[Annotated[NotNegative, Field(description="全自费, 0 when left out")]]
    over_limit_amount: NotRequired[Annotated[NotNegative, Field(description="超限价, 0 when left out")]]
    pre_self_pay_amount: NotRequired[Annotated[NotNegative, Field(description="部分项目自付, 0 when left out")]]
    in_scope_amount: NotRequired[Annotated[NotNegative, Field(description="the rest of the total when left out")]]
    groups: NotRequired[
        Annotated[list[GroupTotalIn], Field(max_length=50, description="of benefit groups the policy names")]
    ]


Lines = Annotated[list[QuotedLineIn], Field(min_length=1, max_length=1000)]
AccumulatorName = Annotated[
    str, StringConstraints(max_length=64, pattern=r"^[a-z_]+(:[^:\x00-\x20\x7f]+)*$", min_length=1)
]
Used = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]{0,9})(\.[0-9]{2})?$"),
    Field(description="yuan with exactly two decimals, or a count without decimals", examples=["120.00"]),
]
Accumulators = Annotated[
    dict[AccumulatorName, Used],
    Field(
        max_length=200,
        description="what is used up so far, by key (fund:visit type:segment:tag:period) or by a name of docs/quote.md"
        " (fund_paid, deductible_paid, stays, ...)",
        examples=[{"fund_paid": "120.00", "basic:3:deductible:-:2026": "200.00", "stays": "1"}],
    ),
]


@with_config(STRICT | {"json_schema_extra": {"oneOf": [{"required": ["lines"]}, {"required": ["totals"]}]}})
class QuoteIn(TypedDict):
    """What a quote is asked for: a person, an occasion, and either lines or totals."""

    person: PersonIn
    visit: OccasionIn
    lines: NotRequired[Lines]
    totals: NotRequired[TotalsIn]
    accumulators: NotRequired[Accumulators]
    policy: NotRequired[Annotated[PolicyName, Field(description="id or version of the policy set to settle by")]]


@with_config(STRICT)
class SoundParts(TypedDict, total=False):
    """What of a document is in good form; of the lines those that are, with None in the place of the others."""

    person: PersonIn
    visit: OccasionIn
    lines: list[QuotedLineIn | None]
    totals: TotalsIn
    accumulators: Accumulators
    policy: PolicyName


class Read(NamedTuple):
    """A document: its sound parts, and everything wrong with the form of the others."""

    parts: SoundParts
    errors: list[FieldError]


QUOTE_IN: TypeAdapter[QuoteIn] = TypeAdapter(QuoteIn)
_SOUND: TypeAdapter[SoundParts] = TypeAdapter(SoundParts)


def read(raw: bytes) -> Read:
    """The document in its sound parts. Raises producers.api.problems.Problem when it is no JSON document at all."""
    try:
        whole, _ = document(raw, QUOTE_IN)
    except Problem as problem:
        if problem.kind.code != "content-invalid":
            raise
        errors = list(problem.errors)
        return Read(_sound_parts(json.loads(raw), errors), errors)
    return Read(whole, [])  # type: ignore[arg-type]  # a whole document is one whose parts are all there


def schema() -> dict[str, Any]:
    """The JSON Schema of what a quote is asked for with (docs/quote.schema.json)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Jiesuan quote",
        **{name: part for name, part in QUOTE_IN.json_schema().items() if name != "title"},
    }


def _sound_parts(whole: Any, errors: list[FieldError]) -> SoundParts:
    """The parts no error points into, so that what they mean can be looked at too."""
    if not isinstance(whole, dict):
        return {}
    wrong = {tuple(error["pointer"].split("/")[1:3]) for error in errors}
    sound: dict[str, Any] = {}
    for name in SoundParts.__annotations__.keys() & whole.keys():
        flaws = {path[1:] for path in wrong if path[:1] == (name,)}
        if not flaws:
            sound[name] = whole[name]
        elif name == "lines" and isinstance(whole[name], list) and () not in flaws:
            sound[name] = [None if (str(index),) in flaws else line for index, line in enumerate(whole[name])]
    try:
        return _SOUND.validate_json(msgspec.json.encode(sound))
    except ValidationError:
        return {}
