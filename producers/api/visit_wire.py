"""The documents of registered visits: registration, lines, discharge, refund, and the visit as it stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal, NotRequired

from pydantic import Field, StringConstraints, TypeAdapter, with_config
from typing_extensions import TypedDict

from domain import identity, money
from domain.codes import CODES, WARNINGS
from domain.entitlement import Entitlement
from domain.refusals import STATE_WORDS, refusal_words
from domain.visit import ChargeLine, Discharge, Registration, VisitType
from producers.api.wire import MAX_LINES, ClaimOut, LineIn, RefusalOut, VerdictOut, VisitIn, moment
from producers.his.failures import Failure
from producers.values import STRICT, Amount, BatchNo, Text3, Text8, Text20, Text40, Text70
from workers.claims import ClaimOutcome
from workers.line_warnings import WarnedLine
from workers.visits import FailedLine, LineVerdict, VisitView

Condition = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_:.-]{1,64}$")]


@with_config(STRICT)
class RegistrationIn(VisitIn):
    """A visit to be registered (RYDJ, MZDJ)."""

    employer_name: NotRequired[Annotated[Text70, Field(description="单位名称 DWMC")]]
    sex: NotRequired[
        Annotated[
            Annotated[str, StringConstraints(pattern=r"^[0129]?$")] | None,
            Field(description="性别 XB: 1 男, 2 女, 9 未说明, 0 未知; left out: as the identity number says"),
        ]
    ]
    birth_date: NotRequired[Annotated[date | None, Field(description="出生日期 CSRQ")]]
    bed_no: NotRequired[Annotated[Text8, Field(description="床位代号 CWDH")]]
    special_treatment_approval_no: NotRequired[
        Annotated[Annotated[int, Field(ge=0, le=9_999_999_999)] | None, Field(description="特诊对象审批号 TZDXSPH")]
    ]
    conditions: NotRequired[
        Annotated[
            list[Condition],
            Field(max_length=16, description="what policy facts ask of the visit", examples=[["disease:M00500"]]),
        ]
    ]


@with_config(STRICT)
class LinesIn(TypedDict):
    """Charge lines of the visit, imported all together or not at all."""

    lines: Annotated[
        list[LineIn],
        Field(max_length=MAX_LINES, description="none: what failed in an earlier request is withdrawn"),
    ]


@with_config(STRICT)
class SettlementIn(TypedDict):
    """The visit's lines that are not settled are to be settled."""

    final: NotRequired[Annotated[bool, Field(description="the last one of a stay; false when left out")]]


@with_config(STRICT)
class DischargeIn(TypedDict):
    """The end of a stay (CYDJ)."""

    discharge_date: Annotated[date, Field(description="出院日期 CYRQ")]
    discharge_diagnosis_1: Annotated[
        str,
        StringConstraints(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$"),
        Field(description="出院诊断 CYZD1"),
    ]
    discharge_diagnosis_code_1: NotRequired[Annotated[Text20, Field(description="ICD-10 CYZDGJDM1")]]
    discharge_diagnosis_2: NotRequired[Annotated[Text40, Field(description="CYZD2")]]
    discharge_diagnosis_code_2: NotRequired[Annotated[Text20, Field(description="CYZDGJDM2")]]
    discharge_outcome: NotRequired[
        Annotated[Text3, Field(description="出院情况 CYQK: 1 治愈, 2 好转, 3 未愈, 4 死亡, 5 其它, 6 未治")]
    ]


@with_config(STRICT)
class KeptIn(TypedDict):
    """A line that is kept, and how much of it."""

    line_no: Annotated[int, Field(ge=1, le=99999)]
    quantity: Annotated[
        str,
        StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,2})?$"),
        Field(description="of the sign of the line and not above it", examples=["1"]),
    ]


@with_config(STRICT)
class RefundIn(TypedDict):
    """A settlement is to be taken back, and what is kept of it settled anew with it: both or neither."""

    charge_batch_no: Annotated[BatchNo, Field(description="费用批次 FYPC of the settlement; 1 when left out")]
    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$"),
        Field(description="why", examples=["收费有误"]),
    ]
    kept: NotRequired[Annotated[list[KeptIn], Field(max_length=MAX_LINES, description="none: all is given back")]]


class BatchOut(TypedDict):
    """One charge batch of a visit: a claim."""

    charge_batch_no: Annotated[int, Field(description="费用批次 FYPC")]
    claim_no: str
    state: str
    kind: Annotated[str, Field(description="normal; contra: takes another one back; resettled: what was kept of it")]
    total_amount: Amount
    cash_amount: Annotated[Amount | None, Field(description="what is paid at the counter, once it is settled")]
    refusal: Annotated[RefusalOut | None, Field(description="why the centre refused it; given up it keeps this")]


class VisitOut(TypedDict):
    """A registered visit as its institution sees it."""

    visit_no: Annotated[str, Field(description="就医登记号 JYDJH")]
    state: Annotated[str, Field(description="open, settled, discharged, closed, cancelled")]
    state_words: str
    visit_type: str
    visit_date: str
    outpatient_no: Annotated[str, Field(description="住院号、挂号 ZYH")]
    registered_at: str
    last_batch_no: Annotated[int, Field(description="the last charge batch number FYPC given; 0: none")]
    final_batch_no: int | None
    discharge_date: str | None
    lines_imported: int
    lines_unsettled: int
    unsettled_amount: Amount
    lines_failed: Annotated[int, Field(description="rows that failed their checks and hold up the settlement")]
    person_name: str
    batches: list[BatchOut]


class VisitListOut(TypedDict):
    """Visits, newest number first."""

    visits: list[VisitOut]


class LineOut(TypedDict):
    """One imported charge line."""

    line_no: int | None
    charge_date: str | None
    local_item_code: str
    local_item_name: str
    charge_category: int | None
    specification: str
    dosage_form: str
    unit_price: str | None
    quantity: str | None
    line_amount: Amount | None
    drug_origin: str


class FailedLineOut(LineOut):
    """A line that failed its checks and is not corrected yet."""

    source: Annotated[str, Field(description="where it came from: the API, a file, a shared table")]
    code: str
    all_codes: list[str]
    detail: str
    advice: str


class WarnedLineOut(LineOut):
    """A line that was imported with a warning: nothing has to be sent again."""

    source: str
    code: Annotated[str, Field(description="W1: RYRQ is not the registration's; W2: FLDM is not the centre's")]
    detail: str
    advice: str


class ListedLineOut(FailedLineOut):
    """A row of the error list."""

    visit_no: str
    level: Annotated[Literal["error", "warning"], Field(description="error: not imported; warning: imported")]
    found_at: str | None


class ErrorListOut(TypedDict):
    """The charge lines of an institution that wait to be mended, and those with a warning."""

    institution_code: str
    day: str | None
    visit_no: str | None
    lines: list[ListedLineOut]
    more: Annotated[bool, Field(description="there are more than were asked for")]


class EntitlementOut(TypedDict):
    """What the centre said of the person, while it holds; it decides again when it settles."""

    known: bool
    entitled: bool
    scheme: str
    category: Annotated[str, Field(description="人员类别 RYLB")]
    account_balance: Amount
    leased_until: str


class VisitDetailOut(VisitOut):
    """A registered visit with its lines."""

    lines: list[LineOut]
    failed_lines: list[FailedLineOut]
    warned_lines: list[WarnedLineOut]
    entitlement: EntitlementOut | None


class WarningOut(TypedDict):
    """A warning of a line that is imported now."""

    pointer: str
    line_no: int | None
    code: str
    detail: str
    advice: str


class ImportOut(TypedDict):
    """What became of each line."""

    visit_no: str
    imported: Annotated[int, Field(description="lines that are imported, by this request or before; 0 when one failed")]
    verdicts: list[VerdictOut]
    warnings: list[WarningOut]


class RefundOut(TypedDict):
    """What takes the settlement back, and what of it is settled anew."""

    contra: ClaimOut
    resettled: ClaimOut | None


REGISTRATION_IN: TypeAdapter[RegistrationIn] = TypeAdapter(RegistrationIn)
LINES_IN: TypeAdapter[LinesIn] = TypeAdapter(LinesIn)
SETTLEMENT_IN: TypeAdapter[SettlementIn] = TypeAdapter(SettlementIn)
DISCHARGE_IN: TypeAdapter[DischargeIn] = TypeAdapter(DischargeIn)
REFUND_IN: TypeAdapter[RefundIn] = TypeAdapter(RefundIn)


def registration_of(given: RegistrationIn, institution_code: str) -> Registration:
    """The registration a checked document describes."""
    return Registration(
        visit_no=given.get("visit_no") or "",
        institution_code=institution_code,
        citizen_id_no=identity.written(given["citizen_id_no"]),
        visit_type=VisitType(given["visit_type"]),
        visit_date=given["visit_date"],
        person_name=given.get("person_name") or "",
        person_category=given.get("person_category") or "",
        outpatient_no=given.get("outpatient_no") or "",
        admission_diagnosis=given.get("admission_diagnosis") or "",
        admission_diagnosis_code=given.get("admission_diagnosis_code") or "",
        department_code=given.get("department_code") or "",
        conditions=tuple(sorted(set(given.get("conditions") or ()))),
        employer_name=given.get("employer_name") or "",
        sex=given.get("sex") or "",
        birth_date=given.get("birth_date"),
        bed_no=given.get("bed_no") or "",
        special_treatment_approval_no=given.get("special_treatment_approval_no"),
    )


def discharge_of(given: DischargeIn, visit_no: str) -> Discharge:
    """The discharge a checked document describes."""
    return Discharge(
        visit_no=visit_no,
        discharge_date=given["discharge_date"],
        discharge_diagnosis_1=given["discharge_diagnosis_1"],
        discharge_diagnosis_code_1=given.get("discharge_diagnosis_code_1") or "",
        discharge_diagnosis_2=given.get("discharge_diagnosis_2") or "",
        discharge_diagnosis_code_2=given.get("discharge_diagnosis_code_2") or "",
        discharge_outcome=given.get("discharge_outcome") or "",
    )


def kept_of(given: RefundIn) -> dict[int, int]:
    """The kept quantities by line number, in hundredths."""
    return {each["line_no"]: money.scaled(each["quantity"], money.QUANTITY_SCALE) for each in given.get("kept", [])}


def visit_seen(view: VisitView, batches: Iterable[ClaimOutcome]) -> VisitOut:
    """The visit as it stands; the identity number stays where it is."""
    of = view.registration
    return {
        "visit_no": of.visit_no,
        "state": view.state.value,
        "state_words": STATE_WORDS[view.state],
        "visit_type": of.visit_type.value,
        "visit_date": of.visit_date.isoformat(),
        "outpatient_no": of.outpatient_no,
        "registered_at": moment(view.registered_at),
        "last_batch_no": view.last_batch_no,
        "final_batch_no": view.final_batch_no,
        "discharge_date": None if view.discharge is None else view.discharge.discharge_date.isoformat(),
        "lines_imported": view.lines_imported,
        "lines_unsettled": view.lines_unsettled,
        "unsettled_amount": money.yuan(view.unsettled_fen),
        "lines_failed": view.lines_failed,
        "person_name": of.person_name,
        "batches": [_batch(each) for each in batches],
    }


def detail_seen(
    seen: VisitOut,
    lines: Iterable[ChargeLine],
    failed: Iterable[FailedLine],
    warned: Iterable[WarnedLine],
    entitlement: Entitlement | None,
) -> VisitDetailOut:
    """The visit with its lines, what failed, and what is known of the person."""
    return {
        **seen,
        "lines": [_line(line) for line in lines],
        "failed_lines": [
            {
                **_line(each.line),
                "source": each.source,
                "code": each.code,
                "all_codes": list(each.all_codes),
                "detail": CODES[each.code].message_zh,
                "advice": CODES[each.code].advice_zh,
            }
            for each in failed
        ],
        "warned_lines": [
            {
                **_line(each.line),
                "source": each.source,
                "code": each.code,
                "detail": WARNINGS[each.code].message_zh,
                "advice": WARNINGS[each.code].advice_zh,
            }
            for each in warned
        ],
        "entitlement": None if entitlement is None else _entitlement(entitlement),
    }


def _batch(outcome: ClaimOutcome) -> BatchOut:
    amounts = outcome.amounts
    return {
        "charge_batch_no": outcome.charge_batch_no,
        "claim_no": outcome.claim_no,
        "state": outcome.state.value,
        "kind": outcome.kind,
        "total_amount": money.yuan(outcome.total_fen),
        "cash_amount": None if amounts is None else money.yuan(amounts.cash_fen),
        "refusal": _refusal(outcome),
    }


def _refusal(outcome: ClaimOutcome) -> RefusalOut | None:
    if not outcome.refusal:
        return None
    detail = outcome.answer.detail if outcome.answer is not None else ""
    return {"code": outcome.refusal, "detail": refusal_words(outcome.refusal, detail)}


def _line(line: ChargeLine) -> LineOut:
    price, quantity, amount = line.unit_price_1e4, line.quantity_1e2, line.line_amount_fen
    return {
        "line_no": line.line_no,
        "charge_date": None if line.charge_date is None else line.charge_date.isoformat(),
        "local_item_code": line.local_item_code,
        "local_item_name": line.local_item_name,
        "charge_category": line.charge_category,
        "specification": line.specification,
        "dosage_form": line.dosage_form,
        "unit_price": None if price is None else money.unscaled(price, money.PRICE_SCALE),
        "quantity": None if quantity is None else money.unscaled(quantity, money.QUANTITY_SCALE),
        "line_amount": None if amount is None else money.yuan(amount),
        "drug_origin": line.drug_origin,
    }


def _entitlement(held: Entitlement) -> EntitlementOut:
    return {
        "known": held.known,
        "entitled": held.entitled,
        "scheme": held.scheme,
        "category": held.category,
        "account_balance": money.yuan(held.account_balance_fen),
        "leased_until": "" if held.leased_until is None else moment(held.leased_until),
    }


def import_seen(visit_no: str, lines: list[ChargeLine], verdicts: list[LineVerdict]) -> ImportOut:
    """What became of each line, with the specification's words for it."""
    return {
        "visit_no": visit_no,
        "imported": sum(1 for verdict in verdicts if verdict.imported_at is not None),
        "verdicts": [
            {
                "pointer": f"#/lines/{index}",
                "line_no": line.line_no,
                "code": verdict.code,
                "all_codes": list(verdict.all_codes),
                "detail": CODES[verdict.code].message_zh,
                "advice": CODES[verdict.code].advice_zh,
            }
            for index, (line, verdict) in enumerate(zip(lines, verdicts, strict=True))
        ],
        "warnings": [
            {
                "pointer": f"#/lines/{index}",
                "line_no": line.line_no,
                "code": code,
                "detail": WARNINGS[code].message_zh,
                "advice": WARNINGS[code].advice_zh,
            }
            for index, (line, verdict) in enumerate(zip(lines, verdicts, strict=True))
            for code in verdict.warnings
        ],
    }


def error_list_seen(
    institution_code: str, day: date | None, visit_no: str, found: Iterable[Failure], *, more: bool
) -> ErrorListOut:
    """The error list as a document."""
    return {
        "institution_code": institution_code,
        "day": None if day is None else day.isoformat(),
        "visit_no": visit_no or None,
        "lines": [
            {
                **_line(each.line),
                "visit_no": each.visit_no,
                "source": each.source,
                "level": "warning" if each.is_warning else "error",
                "code": each.codes[0],
                "all_codes": list(each.codes),
                "detail": each.reasons,
                "advice": each.advice,
                "found_at": None if each.found_at is None else moment(each.found_at),
            }
            for each in found
        ],
        "more": more,
    }
