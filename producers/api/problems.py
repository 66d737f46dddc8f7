"""What the API says when it cannot do what was asked: problem details (RFC 9457) with stable codes, in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NotRequired

import msgspec
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from domain.refusals import VisitRefusal, reason

MEDIA_TYPE = "application/problem+json"


class FieldError(TypedDict):
    """One wrong field: where it stands (JSON pointer), a stable code, and what is wrong with it."""

    pointer: str
    code: str
    detail: str


class ProblemOut(TypedDict):
    """RFC 9457. `errors` lists every wrong field; no value that was handed in is ever repeated."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: NotRequired[list[FieldError]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: its code is its name, here and for ever."""

    code: str
    status: int
    title: str
    detail: str


KINDS: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind("unauthorized", 401, "未通过身份验证", "请在 Authorization 头中提供本机构的 API 密钥：Bearer <密钥>"),
        Kind(
            "not-served",
            403,
            "本前置机不再为该机构服务",
            "新的业务请向现在负责的前置机提交；此前提交而未得到回答的，先用原幂等键在这里查询或重发：在这里收到本提示，即表示从未收到",
        ),
        Kind("not-found", 404, "没有找到", "没有这个地址，或本机构没有这条记录"),
        Kind("method-not-allowed", 405, "方法不允许", "该地址不支持此 HTTP 方法"),
        Kind("idempotency-key-missing", 400, "缺少幂等键", "必须带 Idempotency-Key 头，重发同一笔时用同一个键"),
        Kind("idempotency-key-invalid", 400, "幂等键无效", "Idempotency-Key 须为 1 至 255 个可见 ASCII 字符"),
        Kind("idempotency-key-reused", 422, "幂等键已用于其他内容", "这个键之前提交过不同的内容；新内容请换新键"),
        Kind("media-type-unsupported", 415, "内容类型不支持", "只接受 Content-Type: application/json，且不压缩"),
        Kind("body-too-slow", 408, "接收超时", "请求体没有在 30 秒内传完"),
        Kind("body-too-large", 413, "内容过大", "请求体不得超过 1 MiB"),
        Kind("not-utf8", 400, "编码错误", "请求体不是有效的 UTF-8"),
        Kind("json-malformed", 400, "不是有效的 JSON", "请求体不是有效的 JSON（不允许 NaN、Infinity、注释和多余逗号）"),
        Kind("json-too-deep", 400, "JSON 嵌套过深", "JSON 嵌套不得超过 16 层"),
        Kind("json-duplicate-key", 400, "JSON 键重复", "同一个对象中出现了重复的键"),
        Kind("content-invalid", 422, "内容有误", "有字段不符合接口要求，全部列在 errors 中"),
        Kind("parameters-invalid", 400, "参数有误", "有请求参数不符合要求，全部列在 errors 中"),
        Kind("visit-conflict", 409, "就诊或批次冲突", "该就医登记号与费用批次已有不同内容，或该就诊属于其他医药机构"),
        Kind("visit-not-ready", 409, "就诊现在不能这样办理", "原因全部列在 errors 中；没有任何改动"),
        Kind("claim-not-settled", 409, "尚未结算", "该笔费用还没有结算结果，不能打印结算单"),
        Kind("request-in-flight", 409, "相同的请求正在处理", "同一个幂等键的请求正在处理，请稍候用同一个键重发"),
        Kind("claim-not-prepared", 409, "没有可确认的预结算", "该笔费用没有等待确认的预结算结果，不能确认"),
        Kind("claim-expired", 409, "预结算已失效", "预结算已过确认时限而失效，未发生结算，请用新键重新提交"),
        Kind("claim-cancelled", 409, "已取消", "该笔费用已取消，没有结算；需要结算请用新键重新提交"),
        Kind("claim-refused", 409, "已退回或拒绝", "该笔费用已退回或被中心拒绝，没有可确认的预结算"),
        Kind("claim-settled", 409, "已经结算", "该笔费用已经结算，不能取消；需要撤销请办理退费"),
        Kind("claim-confirming", 409, "正在确认", "该笔费用已确认，正在等待中心的结果，不能再取消"),
        Kind("claim-of-visit", 409, "属于登记的就诊", "登记就诊的费用批次不能在此取消，请用就诊的撤回或退费"),
        Kind("clearing-open", 409, "尚未关账", "该清算期现未关账，不能确认或提出异议，请待关账后按清算单办理"),
        Kind("clearing-another", 409, "清算已重做", "该清算期的清算编号与所给的不同，请重新取清算单核对后再办理"),
        Kind("clearing-confirmed", 409, "已经确认", "该清算期已确认或已拨付；有错请与中心联系，在以后的清算期更正"),
        Kind("not-compared", 409, "尚未对账", "中心的对账结果还没有到，请稍后再取"),
        Kind("quote-refused", 422, "无法试算", "按现行政策无法对该笔费用试算"),
        Kind("link-down-limit", 503, "超过脱机限额", "与中心的链路中断，费用超过脱机受理限额，未受理；恢复后再提交"),
        Kind("moved", 421, "本机构已改由其他前置机受理", "请改用新前置机的地址，用同一个 Idempotency-Key 和原密钥重发"),
        Kind("arriving", 503, "正在转来", "本机构正由原前置机转来，该笔业务尚未转到，请稍候用同一个键重发"),
        Kind("backlog-full", 429, "待处理费用过多", "本机构待处理的费用已达上限，请稍后用同一个 Idempotency-Key 重发"),
        Kind("too-many-requests", 429, "提交过快", "本机构提交过快，请稍后用同一个 Idempotency-Key 重发"),
        Kind("doors-closed", 403, "暂停受理", "本机构的新业务暂停受理；已受理的费用照常结算，可以查询"),
        Kind("try-again", 503, "暂时不能受理", "系统暂时不能受理，请稍后用同一个 Idempotency-Key 重发"),
        Kind("internal", 500, "系统内部错误", "系统内部错误，请凭 request_id 联系中心；重发时用同一个 Idempotency-Key"),
    )
}  # fmt: skip


class Problem(Exception):
    """The request cannot be served; raised anywhere below a route and answered in one place."""

    def __init__(
        self,
        code: str,
        *,
        detail: str = "",
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = KINDS[code]
        self.detail = detail or self.kind.detail
        self.errors = errors
        self.headers = dict(headers or {})
        super().__init__(code)

    def body(self, request_id: str) -> bytes:
        """The problem as JSON."""
        document: ProblemOut = {
            "type": f"/problems/{self.kind.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "code": self.kind.code,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return msgspec.json.encode(document)


RETRY_ARRIVING = "3"
"""What is on its way is here within seconds, unless its claim is held up at the centre."""


def moved(to: str) -> Problem:
    """Another front-end takes what is new of the institution; the request was not looked at."""
    return Problem("moved", detail=reason(VisitRefusal.MOVED, to).words)


def arriving() -> Problem:
    """The institution, or what the request is about, is on its way here."""
    return Problem("arriving", headers={"Retry-After": RETRY_ARRIVING})


def content_invalid(found: Iterable[ErrorDetails]) -> Problem:
    """Every field that does not fit its type."""
    return Problem("content-invalid", errors=field_errors(found))


def field_errors(found: Iterable[ErrorDetails]) -> list[FieldError]:
    """The validator's findings under our codes; a field is named once, with the first thing wrong with it."""
    errors: dict[str, FieldError] = {}
    for one in found:
        place = pointer(one["loc"])
        code, detail = _words(one)
        errors.setdefault(f"{place} {code}", {"pointer": place, "code": code, "detail": detail})
    return list(errors.values())


# A member of our documents, or the key of an accumulator; no part of one is long enough for an identity number.
_MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}|[a-z_]{1,24}(:[A-Za-z0-9_=.-]{1,14}){1,4}", re.ASCII)


def pointer(path: Iterable[str | int]) -> str:
    """Where a field stands, as a URI fragment. A name no document of ours has is told only if it looks like one."""
    parts = []
    for part in path:
        if isinstance(part, str) and not _MEMBER.fullmatch(part):
            break
        parts.append(f"/{part}")
    return "#" + "".join(parts)


def _words(found: ErrorDetails) -> tuple[str, str]:
    code, words = _WORDS.get(found["type"], ("invalid", "不符合要求"))
    if code == "wrong-form":
        words = _form(found["loc"]) or words
    return code, words.format(**found.get("ctx", {})).replace("' or '", "'、'").replace("', '", "'、'")


_NO_DATE = ("not-a-date", '应为日历上的日期，例如 "2026-03-02"')
_NO_INTEGER = ("not-an-integer", "应为整数")
_NO_OBJECT = ("not-an-object", "应为对象")
_WORDS = {
    "missing": ("missing", "缺少必填字段"),
    "extra_forbidden": ("unknown-field", "接口没有这个字段"),
    "string_type": ("not-a-string", "应为字符串；金额、单价、数量也写成字符串，例如 \"12.50\""),
    "string_too_long": ("too-long", "最多 {max_length} 个字符"),
    "string_too_short": ("too-short", "至少 {min_length} 个字符"),
    "string_pattern_mismatch": ("wrong-form", "格式不符，或含有控制字符"),
    "int_type": _NO_INTEGER,
    "int_from_float": _NO_INTEGER,
    "int_parsing": _NO_INTEGER,
    "int_parsing_size": _NO_INTEGER,
    "bool_type": ("not-a-boolean", "应为 true 或 false"),
    "greater_than_equal": ("too-small", "不得小于 {ge}"),
    "less_than_equal": ("too-large", "不得大于 {le}"),
    "date_type": _NO_DATE,
    "date_parsing": _NO_DATE,
    "date_from_datetime_parsing": _NO_DATE,
    "date_from_datetime_inexact": _NO_DATE,
    "literal_error": ("not-allowed", "只能是 {expected}"),
    "too_short": ("too-few", "至少 {min_length} 项"),
    "too_long": ("too-many", "最多 {max_length} 项"),
    "list_type": ("not-a-list", "应为数组"),
    "dict_type": _NO_OBJECT,
    "model_type": _NO_OBJECT,
}  # fmt: skip


def _form(place: Sequence[str | int]) -> str:
    """What a value in this place looks like; empty where nothing more can be said than that it does not."""
    name = str(place[-1])
    if "accumulators" in place:
        return '应为两位小数的金额字符串，例如 "120.00"；次数为整数字符串，例如 "1"'
    return _AMOUNT if name.endswith(("_amount", "_balance")) else _FORMS.get(name, "")


_AMOUNT = '应为两位小数的金额字符串，例如 "12.50"'
_FORMS = {
    "unit_price": "应为至多四位小数的单价字符串，例如 \"12.5\"，整数部分至多 8 位",
    "quantity": "应为至多两位小数的数量字符串，例如 \"2\"，整数部分至多 6 位",
    "citizen_id_no": "应为 18 位或 15 位公民身份号码，或中心发放的替代号码",
    "discharge_diagnosis_1": "应为 1 至 40 个字符，不含控制字符",
    "reason": "应为 1 至 120 个字符，不含控制字符",
    "visit_no": "应为至多 16 位字母或数字；不填则由系统发号",
}  # fmt: skip
