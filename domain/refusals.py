"""Why the centre refuses a claim: a stable code, and the sentence a cashier reads."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """The codes, as they stand in answers, in the API's problems and in the metrics."""

    PERSON_UNKNOWN = "person-unknown"
    ENTITLEMENT_SUSPENDED = "entitlement-suspended"
    INSTITUTION_UNKNOWN = "institution-unknown"
    FRONTEND_WRONG = "frontend-wrong"
    POLICY_STALE = "policy-stale"
    CATALOGUE_STALE = "catalogue-stale"
    TOTALS_UNEQUAL = "totals-unequal"
    CONTENT_CONFLICT = "content-conflict"
    NO_POLICY = "no-policy"
    VISIT_OF_ANOTHER = "visit-of-another"
    MALFORMED = "malformed"
    INTERNAL = "internal"


SENTENCE: dict[Refusal, str] = {
    Refusal.PERSON_UNKNOWN: "中心无此参保人",
    Refusal.ENTITLEMENT_SUSPENDED: "参保人待遇已暂停",
    Refusal.INSTITUTION_UNKNOWN: "医药机构未登记或已停用",
    Refusal.FRONTEND_WRONG: "该医药机构不属于发送此申请的前置机",
    Refusal.POLICY_STALE: "前置机政策版本 {sent} 已过期，中心现行版本 {held}",
    Refusal.CATALOGUE_STALE: "前置机目录版本 {sent} 已过期，中心现行版本 {held}",
    Refusal.TOTALS_UNEQUAL: "费用汇总不平：总金额 {sent} 元，各分项合计 {held} 元",
    Refusal.CONTENT_CONFLICT: "同一就医登记号、费用批次已按不同内容结算：本次总金额 {sent} 元，已结算 {held} 元",
    Refusal.NO_POLICY: "就诊日无适用的待遇政策",
    Refusal.VISIT_OF_ANOTHER: "就医登记号已属于其他医药机构或参保人",
    Refusal.MALFORMED: "申请内容不合接口规范：{sent}",
    Refusal.INTERNAL: "系统内部错误，已转人工处理，请勿重复提交",
}


def sentence(refusal: Refusal, sent: str = "", held: str = "") -> str:
    """The refusal in Chinese, with both numbers where it compares two."""
    return SENTENCE[refusal].format(sent=sent, held=held)
