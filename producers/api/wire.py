"""The documents of the HTTP API, each written down once: here they are read, checked, described and answered.

Amounts, prices and quantities are strings on the wire and whole numbers inside. The same types make the OpenAPI
document and list every wrong field, so there is no second description to keep in step.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, NotRequired, cast

import msgspec
from pydantic import Field, StringConstraints, TypeAdapter, with_config
from typing_extensions import TypedDict

from domain import identity, money
from domain.codes import CODES
from domain.lifecycle import ClaimState
from domain.messages import ClaimAnswer
from domain.outcomes import Phase
from domain.refusals import refusal_words as words_of_refusal
from domain.visit import ChargeLine, Visit, VisitType
from infra.clock import SHANGHAI
from producers.settled import AmountsOut, CellOut, NationalOut, amounts_out, matrix_out, national_out
from producers.values import (
    STRICT,
    Amount,
    Category,
    LineNo,
    NewBatchNo,
    Price,
    Quantity,
    Text3,
    Text8,
    Text12,
    Text15,
    Text20,
    Text30,
    Text40,
    VisitNo,
)
from workers.claims import ClaimView, claim_no

MAX_LINES = 1000


@with_config(STRICT)
class VisitIn(TypedDict):
    """The registration (MZDJ), under the identifiers of the specification."""

    citizen_id_no: Annotated[
        str,
        StringConstraints(pattern=r"^([0-9]{15}|[0-9]{17}[0-9Xx]|T[0-9]{16}[0-9X])$"),
        Field(description="公民身份号码 GMSFHM, or the substitute the centre gave"),
    ]
    visit_type: Annotated[
        Literal["1", "2", "3", "4"],
        Field(description="就诊类别 JZLB: 1 住院, 2 门诊特定项目, 3 门诊, 4 购药", examples=["3"]),
    ]
    visit_date: Annotated[date, Field(description="就诊日期 RYRQ")]
    visit_no: NotRequired[Annotated[VisitNo, Field(description="就医登记号 JYDJH; left out or empty: one is issued")]]
    person_name: NotRequired[Annotated[Text20, Field(description="姓名 XM")]]
    person_category: NotRequired[Annotated[Text3, Field(description="人员类别 RYLB")]]
    outpatient_no: NotRequired[Annotated[Text12, Field(description="挂号 ZYH")]]
    admission_diagnosis: NotRequired[Annotated[Text40, Field(description="门诊诊断 RYZD")]]
    admission_diagnosis_code: NotRequired[Annotated[Text20, Field(description="诊断国际疾病代码 RYZDGJDM, ICD-10")]]
    department_code: NotRequired[Annotated[Text8, Field(description="门诊科室 BQDM")]]


@with_config(STRICT)
class LineIn(TypedDict, total=False):
    """One charge line (MZXM). What is left out is left to the checks of the front-end, which answer with a code."""

    line_no: Annotated[LineNo, Field(description="项目序号 XMXH, not repeated within the visit", examples=[1])]
    charge_date: Annotated[date | None, Field(description="费用发生日期 FYRQ")]
    local_item_code: Annotated[Text15, Field(description="项目编号 XMBH, the institution's own", examples=["A0001"])]
    local_item_name: Annotated[
        Text40, Field(description="项目名称 XMMC, the institution's own", examples=["阿莫西林胶囊"])
    ]
    charge_category: Annotated[Category, Field(description="分类代码 FLDM", examples=[2])]
    specification: Annotated[Text30, Field(description="规格 YPGG")]
    dosage_form: Annotated[Text30, Field(description="剂型 YPJX")]
    unit_price: Price | None
    quantity: Quantity | None
    line_amount: Amount | None
    drug_origin: Annotated[Text3, Field(description="药品来源 YPLY: 1 国产, 2 进口, 3 合资")]


@with_config(STRICT)
class ClaimIn(TypedDict):
    """A claim: a registration and its charge lines, to be settled now or on the institution's later word."""

    visit: VisitIn
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=MAX_LINES)]
    settle: NotRequired[
        Annotated[
            Literal["now", "later", "prepare"],
            Field(description="now when left out; prepare: computed and held, settled when it is confirmed"),
        ]
    ]
    charge_batch_no: NotRequired[
        Annotated[NewBatchNo, Field(description="费用批次 FYPC; left out: the next of the visit")]
    ]


class SettlementOut(AmountsOut):
    """Who pays what (MZJS), in yuan, and the matrix it is read off."""

    settlement_no: int
    settled_at: Annotated[str, Field(description="RFC 3339")]
    matrix: NotRequired[list[CellOut]]
    national: NotRequired[NationalOut]
    provisional: NotRequired[
        Annotated[bool, Field(description="true: settled by the front-end itself, the centre has not confirmed it yet")]
    ]
    offline: NotRequired[
        Annotated[bool, Field(description="true: settled off-line (脱机), true to the patient, not posted yet")]
    ]
    recomputed: NotRequired[
        Annotated[str, Field(description="how the centre's settlement differs from the provisional one, and why")]
    ]


class EstimateOut(AmountsOut):
    """What a claim would come to while the link is down (估算): no result, no statement, and nothing is due by it."""

    detail: str


class VerdictOut(TypedDict):
    """What the checks made of one line: its code (BZ3) and the specification's words for it."""

    pointer: Annotated[str, Field(description="the line in the claim as it was handed in", examples=["#/lines/0"])]
    line_no: int | None
    code: Annotated[str, Field(description="00 passed; otherwise the first check the line failed")]
    all_codes: list[str]
    detail: str
    advice: str


class RefusalOut(TypedDict):
    """Why the centre refused the claim; a person looks at it."""

    code: str
    detail: str


class PreparationOut(TypedDict):
    """A claim that is settled in two phases, until it is settled or cancelled."""

    expires_at: Annotated[str | None, Field(description="RFC 3339; about when the centre lets it expire")]
    decision: Annotated[Literal["confirm", "cancel"] | None, Field(description="what was decided, not answered yet")]


class ClaimOut(TypedDict):
    """A claim as its institution sees it."""

    claim_no: Annotated[str, Field(description="visit number, dash, batch number")]
    visit_no: str
    charge_batch_no: int
    state: Annotated[
        Literal["held", "accepted", "totalled", "prepared", "settled", "returned", "refused", "cancelled"],
        Field(description="settled, returned, refused and cancelled are final; prepared waits for its institution"),
    ]
    line_count: NotRequired[int]
    total_amount: NotRequired[Amount]
    accepted_at: NotRequired[str]
    settlement: NotRequired[SettlementOut]
    verdicts: NotRequired[list[VerdictOut]]
    refusal: NotRequired[RefusalOut]
    preparation: NotRequired[PreparationOut]
    waiting: NotRequired[
        Annotated[RefusalOut, Field(description="what holds it up, at the centre or on the way; it goes on by itself")]
    ]
    estimate: NotRequired[EstimateOut]
    contra_of: NotRequired[Annotated[str, Field(description="the claim this one takes back, or is what was kept of")]]
    refunded_by: NotRequired[Annotated[str, Field(description="the claim that takes, or took, this one back")]]


class OutcomeOut(TypedDict):
    """What became of a claim, found by the key it was sent under."""

    key: str
    state: Annotated[
        Literal["unknown", "held", "accepted", "totalled", "prepared", "settled", "returned", "refused", "cancelled"],
        Field(description="unknown: it never came; send it again under this key"),
    ]
    claim: Annotated[ClaimOut | None, Field(description="null where none came, or its key was cancelled before it did")]


class OutcomeListOut(TypedDict):
    """Outcomes, oldest claim first."""

    outcomes: list[OutcomeOut]


@with_config(STRICT)
class CancellationIn(TypedDict):
    """Cancel whatever was sent under this key, whether it came or not."""

    key: Annotated[
        str, StringConstraints(pattern=r"^[!-~]{1,255}$"), Field(description="the Idempotency-Key of the claim")
    ]


class CatalogueItemOut(TypedDict):
    """A centre item as it is valid on the day."""

    item_code: str
    item_name: str
    match_type: Annotated[str, Field(description="1 西药, 2 中成药, 3 中草药, 0 诊疗项目/医疗服务设施")]
    coverage_class: Annotated[str, Field(description="1 甲类, 2 乙类, 9 全自费")]
    stat_category: str
    pre_self_pay_ratio: str | None
    price_limit: str | None
    effective_date: str
    expiry_date: Annotated[str | None, Field(description="null: open")]


class CataloguePageOut(TypedDict):
    """One page of the catalogue."""

    version: str
    day: str
    items: list[CatalogueItemOut]
    next_cursor: Annotated[str | None, Field(description="null on the last page")]


class ReadyOut(TypedDict):
    """Whether claims can be accepted (database) and are moved on at once (broker)."""

    database: bool
    broker: bool


CLAIM_IN: TypeAdapter[ClaimIn] = TypeAdapter(ClaimIn)
CANCELLATION_IN: TypeAdapter[CancellationIn] = TypeAdapter(CancellationIn)
_canonical = msgspec.json.Encoder(order="deterministic")


def canonical(document: Any) -> bytes:
    """A checked document written in one way only, however it was spaced and ordered."""
    return _canonical.encode(document)


def visit_of(given: VisitIn, institution_code: str) -> Visit:
    """The visit a checked document describes."""
    return Visit(
        visit_no=given.get("visit_no") or "",
        institution_code=institution_code,
        citizen_id_no=identity.written(given["citizen_id_no"]),
        visit_type=_VISIT_TYPES[given["visit_type"]],
        visit_date=given["visit_date"],
        person_name=given.get("person_name") or "",
        person_category=given.get("person_category") or "",
        outpatient_no=given.get("outpatient_no") or "",
        admission_diagnosis=given.get("admission_diagnosis") or "",
        admission_diagnosis_code=given.get("admission_diagnosis_code") or "",
        department_code=given.get("department_code") or "",
    )


_VISIT_TYPES = {str(kind): kind for kind in VisitType}


def lines_of(given: list[LineIn]) -> list[ChargeLine]:
    """The charge lines a checked document describes."""
    lines = []
    for line in given:
        price, quantity, amount = line.get("unit_price"), line.get("quantity"), line.get("line_amount")
        lines.append(
            ChargeLine._make(
                (
                    line.get("line_no"),
                    line.get("charge_date"),
                    line.get("local_item_code") or "",
                    line.get("local_item_name") or "",
                    line.get("charge_category"),
                    line.get("specification") or "",
                    line.get("dosage_form") or "",
                    None if price is None else _price(price),
                    None if quantity is None else _quantity(quantity),
                    None if amount is None else int(amount.replace(".", "")),  # its form is checked: two decimals
                    line.get("drug_origin") or "",
                    "",
                )
            )
        )
    return lines


@lru_cache(maxsize=32768)
def _price(text: str) -> int:
    return money.scaled(text, money.PRICE_SCALE)


@lru_cache(maxsize=4096)
def _quantity(text: str) -> int:
    return money.scaled(text, money.QUANTITY_SCALE)


def claim_accepted(visit_no: str, charge_batch_no: int, state: ClaimState) -> ClaimOut:
    """The claim as far as it is known the moment it is stored."""
    return {
        "claim_no": claim_no(visit_no, charge_batch_no),
        "visit_no": visit_no,
        "charge_batch_no": charge_batch_no,
        "state": state.value,
    }


def claim_seen(view: ClaimView) -> ClaimOut:
    """The whole claim, with what became of it."""
    document = claim_accepted(view.visit_no, view.charge_batch_no, view.state)
    document["line_count"] = view.line_count
    document["total_amount"] = money.yuan(view.total_fen)
    document["accepted_at"] = moment(view.accepted_at)
    shown = view.state in (ClaimState.SETTLED, ClaimState.PREPARED) or view.provisional
    if shown and view.answer is not None:
        document["settlement"] = _settlement(view, view.answer)
    if view.verdicts:
        document["verdicts"] = [
            {
                "pointer": f"#/lines/{index}",
                "line_no": line.line_no,
                "code": found.code,
                "all_codes": list(found.all_codes),
                "detail": CODES[found.code].message_zh if found.code in CODES else found.code,
                "advice": CODES[found.code].advice_zh if found.code in CODES else "",
            }
            for index, (line, found) in enumerate(zip(view.lines, view.verdicts, strict=True))
        ]
    if view.refusal:
        document["refusal"] = {"code": view.refusal, "detail": refusal_words(view)}
    if view.phase is not Phase.SETTLE and view.state in _UNDECIDED:
        document["preparation"] = {
            "expires_at": None if view.expires_at is None else moment(view.expires_at),
            "decision": _DECISION.get(view.phase),
        }
    if view.waits_for and view.state in _UNDECIDED:
        document["waiting"] = {"code": view.waits_for, "detail": words_of_refusal(view.waits_for, "")}
    if view.queued:
        words = POSTED_LATER if view.offline_at is not None else ACCEPTED_NOT_SETTLED
        document["waiting"] = {"code": LINK_DOWN, "detail": words}
    if view.estimated is not None:
        document["estimate"] = cast(EstimateOut, {"detail": ESTIMATE_WORDS} | amounts_out(view.estimated))
    if view.contra_of is not None:
        document["contra_of"] = claim_no(view.visit_no, view.contra_of)
    if view.refunded_by is not None:
        document["refunded_by"] = claim_no(view.visit_no, view.refunded_by)
    return document


LINK_DOWN = "link-down"
ACCEPTED_NOT_SETTLED = "与中心的链路中断或刚恢复：已受理，未结算；轮到后自动结算，请勿重复提交"
POSTED_LATER = "与中心的链路中断或刚恢复：已脱机结算，轮到后由中心入账"
ESTIMATE_WORDS = "估算，不是结算，不得据此收费或打印结算单；以链路恢复后中心的结算为准"

_UNDECIDED = (ClaimState.TOTALLED, ClaimState.PREPARED)
_DECISION: dict[Phase, Literal["confirm", "cancel"]] = {Phase.CONFIRM: "confirm", Phase.CANCEL: "cancel"}


def claim_answered(view: ClaimView) -> ClaimOut:
    """What a request that handed the claim in is answered, the first time and every time: nothing that came after."""
    document = claim_seen(view)
    document.pop("refunded_by", None)
    return document


def moment(at: datetime) -> str:
    """A moment in RFC 3339, in Shanghai; SQLite gives moments back without the offset they were stored in."""
    return (at.replace(tzinfo=SHANGHAI) if at.tzinfo is None else at.astimezone(SHANGHAI)).isoformat("T", "seconds")


def refusal_words(view: ClaimView) -> str:
    """Why the claim was refused, in the centre's own words where it answered."""
    return words_of_refusal(view.refusal, "" if view.answer is None else view.answer.detail)


def _settlement(view: ClaimView, answer: ClaimAnswer) -> SettlementOut:
    amounts = view.amounts
    assert amounts is not None
    settled_at = answer.settled_at or view.settled_at
    said = {"settlement_no": answer.settlement_no, "settled_at": moment(settled_at) if settled_at else ""}
    shown = cast(SettlementOut, said | amounts_out(amounts))
    if answer.cells:
        shown["matrix"] = matrix_out(answer.cells)
        shown["national"] = national_out(answer.cells, answer.scheme, answer.account_before_fen)
    if view.offline_at is not None and view.provisional:
        shown["offline"] = True
    elif view.provisional:
        shown["provisional"] = True
    if answer.recomputed:
        shown["recomputed"] = answer.recomputed
    return shown
