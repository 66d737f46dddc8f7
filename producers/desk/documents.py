"""The documents of the desk's look-ups."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from producers.values import Amount


class MonthOut(TypedDict):
    """The visits of this month that count for the advice of section 4.3."""

    stays: Annotated[int, Field(description="住院、门诊特定项目 registered this month")]
    advisory: int


class InstitutionOut(TypedDict):
    """The institution behind the key."""

    institution_code: str
    name: str
    level: int
    today: Annotated[str, Field(description="the business day of the front-end")]
    this_month: MonthOut


class MatchOut(TypedDict):
    """An item of the institution with an audited match valid on the day."""

    local_item_code: str
    local_item_name: str
    specification: str
    dosage_form: str
    centre_item_code: str
    coverage_class: Annotated[str, Field(description="1 甲类, 2 乙类, 9 全自费")]
    unit_price: Annotated[str | None, Field(description="the usual price, where the institution gave one")]


class MatchesOut(TypedDict):
    """The items that were found, best first."""

    version: str
    day: str
    matches: list[MatchOut]


class EntitlementOut(TypedDict):
    """What the centre said of the person when it was last asked."""

    entitled: bool
    scheme: str
    category: str
    civil_servant: bool
    account_balance: Amount
    as_of_lease: Annotated[bool, Field(description="false: the lease is over, the centre may know better by now")]


class SheetLineOut(TypedDict):
    """A charge line of the visit: imported, or failed with its code."""

    line_no: int | None
    charge_date: str
    local_item_code: str
    local_item_name: str
    specification: str
    dosage_form: str
    unit_price: str
    quantity: str
    line_amount: str
    charge_batch_no: Annotated[int | None, Field(description="the batch it is settled in; null: not settled")]
    code: str
    detail: str
    advice: str


class BatchOut(TypedDict):
    """A settlement of the visit."""

    charge_batch_no: int
    claim_no: str
    state: str
    kind: Annotated[str, Field(description="normal, contra or resettled")]
    contra_of: int | None
    refunded_by: int | None
    total_amount: Amount
    fund_pay_amount: str
    cash_amount: str
    refusal: str


class ListedOut(TypedDict):
    """A visit in the counter's list."""

    visit_no: str
    visit_type: str
    visit_date: str
    state: str
    person_name: str
    settled_amount: Amount


class VisitsOut(TypedDict):
    """The visits of a day, or those that are not ended."""

    visits: list[ListedOut]


class SheetOut(TypedDict):
    """Everything the counter shows of one visit, name and identity number in it."""

    visit_no: str
    visit_type: str
    visit_date: str
    state: str
    person_name: str
    citizen_id_no: str
    admission_diagnosis: str
    discharge_date: str
    last_batch_no: int
    entitlement: EntitlementOut | None
    lines: list[SheetLineOut]
    failed_lines: list[SheetLineOut]
    batches: list[BatchOut]
