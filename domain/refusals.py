"""Why the centre refuses a claim, or the front-end a step of a visit: a stable code, the sentence a cashier reads."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from domain.lifecycle import VisitState, VisitStep


class Refusal(StrEnum):
    """The codes, as they stand in answers, in the API's problems and in the metrics."""

    PERSON_UNKNOWN = "person-unknown"
    ENTITLEMENT_SUSPENDED = "entitlement-suspended"
    INSTITUTION_UNKNOWN = "institution-unknown"
    NOT_SERVED = "not-served"
    POLICY_STALE = "policy-stale"
    CATALOGUE_STALE = "catalogue-stale"
    TOTALS_UNEQUAL = "totals-unequal"
    CONTENT_CONFLICT = "content-conflict"
    NO_POLICY = "no-policy"
    CASE_NOT_COVERED = "case-not-covered"
    CATEGORY_UNKNOWN = "category-unknown"
    VISIT_OF_ANOTHER = "visit-of-another"
    NOT_SETTLED = "not-settled"
    REFUNDED_ALREADY = "refunded-already"
    REFUND_OF_REFUND = "refund-of-refund"
    REFUND_OF_ANOTHER = "refund-of-another"
    LATER_SETTLEMENT = "later-settlement"
    OTHER_BENEFIT_YEAR = "other-benefit-year"
    REFUND_TOO_LATE = "refund-too-late"
    REFUND_BY_TODAY = "refund-by-today"
    KEPT_MORE = "kept-more"
    FROZEN = "frozen"
    BUSY = "busy"
    CANCELLED = "cancelled"
    PREPARE_EXPIRED = "prepare-expired"
    NOT_PREPARED = "not-prepared"
    NOT_CONFIRMED = "not-confirmed"
    SETTLED_ALREADY = "settled-already"
    LINES_FAILED = "lines-failed"
    CLAIM_IN_FUTURE = "claim-in-future"
    OFFLINE_NOT_ALLOWED = "offline-not-allowed"
    OFFLINE_TOO_LATE = "offline-too-late"
    MALFORMED = "malformed"
    INTERNAL = "internal"


STALE = frozenset({Refusal.POLICY_STALE, Refusal.CATALOGUE_STALE})
"""The front-end fetches what is in force and totals the claim again by itself, under a number of its own."""

HOLDS = frozenset({Refusal.FROZEN, Refusal.BUSY})
"""No final refusal: the claim is kept where it is, and sent again until it is settled or refused for good."""


SENTENCE: dict[Refusal, str] = {
    Refusal.PERSON_UNKNOWN: "中心无此参保人",
    Refusal.ENTITLEMENT_SUSPENDED: "参保人待遇已暂停",
    Refusal.INSTITUTION_UNKNOWN: "医药机构未登记或已停用",
    Refusal.NOT_SERVED: "中心未登记由该前置机为本医药机构服务（或已迁往其他前置机），不予受理",
    Refusal.POLICY_STALE: "前置机政策版本 {sent} 已过期，中心现行版本 {held}",
    Refusal.CATALOGUE_STALE: "前置机目录版本 {sent} 已过期，中心现行版本 {held}",
    Refusal.TOTALS_UNEQUAL: "费用汇总不平：总金额 {sent} 元，各分项合计 {held} 元",
    Refusal.CONTENT_CONFLICT: "同一就医登记号、费用批次已按不同内容结算：本次总金额 {sent} 元，已结算 {held} 元",
    Refusal.NO_POLICY: "险种 {sent} 在 {held} 没有适用的待遇政策",
    Refusal.CASE_NOT_COVERED: "现行政策 {held} 不能结算此情形：{sent}",
    Refusal.CATEGORY_UNKNOWN: "参保人的人员类别 {sent} 不在险种 {held} 的政策所列之内",
    Refusal.VISIT_OF_ANOTHER: "就医登记号已属于其他医药机构或参保人",
    Refusal.NOT_SETTLED: "中心没有这笔结算，不能退费",
    Refusal.REFUNDED_ALREADY: "该笔结算已退费（反向结算单号 {held}），不能再次退费",
    Refusal.REFUND_OF_REFUND: "该笔为反向结算，不能再冲销；需要收费请重新结算",
    Refusal.REFUND_OF_ANOTHER: "该笔结算不属于本医药机构，不能在此退费",
    Refusal.LATER_SETTLEMENT: "该参保人在此之后还有结算（单号 {held}），须先退后面的结算",
    Refusal.OTHER_BENEFIT_YEAR: "该笔结算属于 {held} 医保年度，现行政策不允许跨年度退费",
    Refusal.REFUND_TOO_LATE: "该笔结算日期 {held}，已超过现行政策允许退费的期限，请到中心办理",
    Refusal.REFUND_BY_TODAY: "现行政策按退费当日的累计计算，而该参保人在此之后还有结算（单号 {held}），请到中心办理",
    Refusal.KEPT_MORE: "退费后保留的费用 {sent} 元多于原结算的 {held} 元（或明细笔数更多），不能办理",
    Refusal.FROZEN: "中心正在核对账目，该类结算暂停受理；本笔已保留，核对清楚后自动结算，请勿重复提交",
    Refusal.BUSY: "该参保人另有一笔预结算尚未确认或取消，办结后自动继续",
    Refusal.CANCELLED: "该笔结算已取消，不能再结算；需要结算请重新提交",
    Refusal.PREPARE_EXPIRED: "预结算已过确认时限而失效，未发生结算，请重新提交",
    Refusal.NOT_PREPARED: "中心没有这笔预结算，不能确认",
    Refusal.NOT_CONFIRMED: "该笔预结算尚未确认，不能退费；请先确认，或者取消",
    Refusal.SETTLED_ALREADY: "该笔已经结算（单号 {held}），不能取消；需要撤销请办理退费",
    Refusal.LINES_FAILED: "费用明细有 {sent} 笔未通过效验，退回更正",
    Refusal.CLAIM_IN_FUTURE: "申请的时间 {sent} 晚于中心时间 {held}，请核对前置机时钟后重新提交",
    Refusal.OFFLINE_NOT_ALLOWED: "该机构或该就诊类别不允许脱机结算，中心不予入账",
    Refusal.OFFLINE_TOO_LATE: "脱机结算（{sent}）已超过 {held} 小时的入账时限，中心不予入账",
    Refusal.MALFORMED: "申请内容不合接口规范：{sent}",
    Refusal.INTERNAL: "系统内部错误，已转人工处理，请勿重复提交",
}


def sentence(refusal: Refusal, sent: str = "", held: str = "") -> str:
    """The refusal in Chinese, with both numbers where it compares two."""
    return SENTENCE[refusal].format(sent=sent, held=held)


def refusal_words(refusal: str, detail: str) -> str:
    """What a cashier reads of a refusal as it is stored: the centre's own words where it gave any."""
    if detail:
        return detail
    return sentence(Refusal(refusal), "-", "-") if refusal in set(Refusal) else refusal


class VisitRefusal(StrEnum):
    """Why a front-end does not take a step of a visit now; nothing was changed by asking."""

    NOT_SERVED = "not-served"
    VISIT_UNKNOWN = "visit-unknown"
    VISIT_CONFLICT = "visit-conflict"
    KEY_REUSED = "key-reused"
    PERSON_NO_MISSING = "person-no-missing"
    PERSON_NO_WRONG = "person-no-wrong"
    VISIT_NO_WRONG = "visit-no-wrong"
    VISIT_IN_FUTURE = "visit-in-future"
    STATE = "visit-state"
    LINES_IMPORTED = "lines-imported"
    NO_STAY = "no-stay"
    DISCHARGE_TOO_EARLY = "discharge-too-early"
    DISCHARGE_IN_FUTURE = "discharge-in-future"
    ROWS_UNREAD = "rows-unread"
    ROWS_FAILED = "rows-failed"
    NOTHING_TO_SETTLE = "nothing-to-settle"
    REVERSED_TOO_MUCH = "reversed-too-much"
    BATCH_UNDER_WAY = "batch-under-way"
    BATCHES_USED_UP = "batches-used-up"
    BACKLOG_FULL = "backlog-full"
    LINK_DOWN_LIMIT = "link-down-limit"
    TOO_FAST = "too-fast"
    DOORS_CLOSED = "doors-closed"
    NOT_SETTLED = "not-settled"
    REFUNDED_ALREADY = "refunded-already"
    REFUND_OF_REFUND = "refund-of-refund"
    NOT_CONFIRMED = "not-confirmed"
    REFUND_UNDER_WAY = "refund-under-way"
    LATER_BATCH = "later-batch"
    KEPT_NOT_CHARGED = "kept-not-charged"
    LINES_WRONG = "lines-wrong"
    NOT_REFUSED = "not-refused"
    MOVED = "moved"
    ARRIVING = "arriving"


VISIT_SENTENCE: dict[VisitRefusal, str] = {
    VisitRefusal.NOT_SERVED: "本前置机不为该医药机构服务，或其已停用",
    VisitRefusal.VISIT_UNKNOWN: "本机构没有此就医登记号",
    VisitRefusal.VISIT_CONFLICT: "该就医登记号已按其他内容登记，或属于其他医药机构",
    VisitRefusal.KEY_REUSED: "这个键之前用于其他内容",
    VisitRefusal.PERSON_NO_MISSING: "须填公民身份号码；没有号码的，向中心领取替代号码",
    VisitRefusal.PERSON_NO_WRONG: "公民身份号码不正确",
    VisitRefusal.VISIT_NO_WRONG: "就医登记号须为至多 16 位字母或数字；不填则由系统发号",
    VisitRefusal.VISIT_IN_FUTURE: "入院（就诊）日期不得晚于今天",
    VisitRefusal.STATE: "就诊现为“{held}”，不能{sent}",
    VisitRefusal.LINES_IMPORTED: "该就诊已读入费用明细，不能取消登记",
    VisitRefusal.NO_STAY: "门诊和购药没有出院登记，也没有最终结算",
    VisitRefusal.DISCHARGE_TOO_EARLY: "出院日期早于{held}",
    VisitRefusal.DISCHARGE_IN_FUTURE: "出院日期不得晚于今天",
    VisitRefusal.ROWS_UNREAD: "该就诊还有 {held} 条费用明细未读入",
    VisitRefusal.ROWS_FAILED: "该就诊还有 {held} 条费用明细未通过效验，改正后才能结算",
    VisitRefusal.NOTHING_TO_SETTLE: "该就诊没有未结算的费用明细",
    VisitRefusal.REVERSED_TOO_MUCH: "项目 {held} 退的多于收的，更正后才能结算",
    VisitRefusal.BATCH_UNDER_WAY: "费用批次 {held} 还在结算中",
    VisitRefusal.BATCHES_USED_UP: "该就诊的费用批次已用完（9000）",
    VisitRefusal.LINK_DOWN_LIMIT: "{held}",
    VisitRefusal.BACKLOG_FULL: "本机构待处理的费用已达上限（{held} 笔），请稍后再试",
    VisitRefusal.TOO_FAST: "本机构提交过快，请 {held} 秒后再试",
    VisitRefusal.DOORS_CLOSED: "{held}",
    VisitRefusal.NOT_SETTLED: "该费用批次没有结算，不能退费",
    VisitRefusal.REFUNDED_ALREADY: "该费用批次已退费（反向结算批次 {held}）",
    VisitRefusal.REFUND_OF_REFUND: SENTENCE[Refusal.REFUND_OF_REFUND],
    VisitRefusal.NOT_CONFIRMED: SENTENCE[Refusal.NOT_CONFIRMED],
    VisitRefusal.REFUND_UNDER_WAY: "该费用批次的退费正在办理（反向结算批次 {held}）",
    VisitRefusal.LATER_BATCH: "该就诊的费用批次 {held} 在此之后结算，须先退后面的批次",
    VisitRefusal.KEPT_NOT_CHARGED: "保留的明细不在原结算之内，或数量多于原数量：项目序号 {held}",
    VisitRefusal.LINES_WRONG: "保留的明细未通过效验：项目序号 {held}",
    VisitRefusal.NOT_REFUSED: "费用批次 {held} 没有被中心拒绝，不能撤回或重送",
    VisitRefusal.MOVED: "本机构已改由前置机 {held} 受理，请改用其地址重发（密钥不变）；此处只查询和办结原已受理的业务",
    VisitRefusal.ARRIVING: "本机构正由原前置机转来，该笔业务尚未转到，请稍候用同一个键重发",
}

STATE_WORDS: dict[VisitState, str] = {
    VisitState.OPEN: "在院（就诊中）",
    VisitState.SETTLED: "已最终结算，未办出院",
    VisitState.DISCHARGED: "已出院，未结算",
    VisitState.CLOSED: "已办结",
    VisitState.CANCELLED: "已取消",
}

STEP_WORDS: dict[VisitStep, str] = {
    VisitStep.CHARGE: "再记费用",
    VisitStep.REVERSE: "再冲减费用",
    VisitStep.SETTLE: "再做中途结算",
    VisitStep.SETTLE_FINALLY: "再做最终结算",
    VisitStep.DISCHARGE: "办理出院",
    VisitStep.CANCEL: "取消登记",
    VisitStep.REFUND: "退费",
}


class Reason(NamedTuple):
    """One reason against a step: its code, and the sentence with its numbers."""

    code: VisitRefusal
    words: str


def reason(refusal: VisitRefusal, held: object = "", sent: str = "") -> Reason:
    """The reason in Chinese, with what is held against it."""
    return Reason(refusal, VISIT_SENTENCE[refusal].format(held=held, sent=sent))


def not_in_this_state(state: VisitState, step: VisitStep) -> Reason:
    """The reason that the visit stands where this step is not taken."""
    return reason(VisitRefusal.STATE, STATE_WORDS[state], STEP_WORDS[step])
