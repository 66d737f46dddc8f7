"""What the OpenAPI document says beyond what the framework can read from the routes: bodies, answers, problems."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from producers.api.clearing_wire import ClearingDetailOut, ClearingsOut, ConfirmationIn, ObjectionIn
from producers.api.error_list import XLSX
from producers.api.link import LinkOut
from producers.api.problems import KINDS, MEDIA_TYPE, ProblemOut
from producers.api.reconciliation_wire import BookOut, DayLinesIn, DayTotalsIn, NoticesOut
from producers.api.visit_wire import (
    DischargeIn,
    ErrorListOut,
    ImportOut,
    LinesIn,
    RefundIn,
    RefundOut,
    RegistrationIn,
    SettlementIn,
    VisitDetailOut,
    VisitListOut,
    VisitOut,
)
from producers.api.wire import (
    CancellationIn,
    CataloguePageOut,
    ClaimIn,
    ClaimOut,
    OutcomeListOut,
    OutcomeOut,
    ReadyOut,
)
from producers.desk.documents import InstitutionOut, MatchesOut, SheetOut, VisitsOut
from producers.quote import QuoteIn, QuoteOut

_TEMPLATE = "#/components/schemas/{model}"
_READ = {
    "RegistrationIn": RegistrationIn,
    "LinesIn": LinesIn,
    "SettlementIn": SettlementIn,
    "DischargeIn": DischargeIn,
    "RefundIn": RefundIn,
    "DayTotalsIn": DayTotalsIn,
    "DayLinesIn": DayLinesIn,
    "ClaimIn": ClaimIn,
    "CancellationIn": CancellationIn,
    "ConfirmationIn": ConfirmationIn,
    "ObjectionIn": ObjectionIn,
    "QuoteIn": QuoteIn,
}
_WRITTEN = {
    "VisitOut": VisitOut,
    "VisitListOut": VisitListOut,
    "VisitDetailOut": VisitDetailOut,
    "ImportOut": ImportOut,
    "ErrorListOut": ErrorListOut,
    "RefundOut": RefundOut,
    "BookOut": BookOut,
    "NoticesOut": NoticesOut,
    "ClearingsOut": ClearingsOut,
    "ClearingDetailOut": ClearingDetailOut,
    "ClaimOut": ClaimOut,
    "OutcomeOut": OutcomeOut,
    "OutcomeListOut": OutcomeListOut,
    "QuoteOut": QuoteOut,
    "CataloguePageOut": CataloguePageOut,
    "InstitutionOut": InstitutionOut,
    "MatchesOut": MatchesOut,
    "SheetOut": SheetOut,
    "VisitsOut": VisitsOut,
    "LinkOut": LinkOut,
    "ReadyOut": ReadyOut,
    "ProblemOut": ProblemOut,
}

Route = dict[str, Any]


def complete(app: FastAPI) -> dict[str, Any]:
    """The whole document: the routes, and the types the routes read and write."""
    whole = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    components = whole.setdefault("components", {})
    components["schemas"] = _schemas()
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "the API key of the institution"}
    }
    for path in whole["paths"].values():
        for operation in path.values():
            # The framework promises its own answer to wrong parameters; ours is a problem like all others.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    return whole


def _schemas() -> dict[str, Any]:
    adapters: list[Any] = [(name, "validation", TypeAdapter(kind)) for name, kind in _READ.items()]
    adapters += [(name, "serialization", TypeAdapter(kind)) for name, kind in _WRITTEN.items()]
    _, definitions = TypeAdapter.json_schemas(adapters, ref_template=_TEMPLATE)
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _json(model: str, words: str) -> Route:
    return {"description": words, "content": {"application/json": {"schema": {"$ref": _TEMPLATE.format(model=model)}}}}


def _problems(*codes: str) -> dict[int | str, Route]:
    """The problems a route may answer with, by status; every route may also answer with those of all routes."""
    found: dict[int | str, Route] = {}
    for status in sorted({KINDS[code].status for code in codes}):
        named = [code for code in codes if KINDS[code].status == status]
        found[status] = {
            "description": "; ".join(named),
            "content": {MEDIA_TYPE: {"schema": {"$ref": _TEMPLATE.format(model="ProblemOut")}}},
        }
        if status in (429, 503):
            found[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return found


def _header(name: str, words: str, schema: Route, *, required: bool = False) -> Route:
    return {"name": name, "in": "header", "required": required, "description": words, "schema": schema}


_KEY = _header(
    "Idempotency-Key",
    "the same for every repetition of the same request; kept as long as the claim",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    required=True,
)
_WAIT = _header(
    "Prefer",
    "wait=N waits for the answer, at most N seconds (30); other preferences are passed over",
    {"type": "string", "examples": ["wait=10"]},
)
_SECURE: Route = {"security": [{"key": []}]}
_ALWAYS = ("unauthorized", "not-served", "try-again", "internal")
_NOT_LET_IN = ("doors-closed", "moved", "arriving", "backlog-full", "too-many-requests", "link-down-limit")
_JSON_BODY = (
    "not-utf8",
    "json-malformed",
    "json-too-deep",
    "json-duplicate-key",
    "body-too-slow",
    "body-too-large",
    "media-type-unsupported",
    "content-invalid",
)


def _body(model: str) -> Route:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": _TEMPLATE.format(model=model)}}}}


_LOCATION = {"headers": {"Location": {"schema": {"type": "string"}}}}
_DONE = _json("ClaimOut", "the claim with what it came to") | _LOCATION
_UNDER_WAY = _json("ClaimOut", "durably stored, not settled yet") | _LOCATION

SUBMIT: Route = {
    "status_code": 202,
    "responses": {
        200: _DONE,
        202: _UNDER_WAY,
        **_problems(
            *_ALWAYS,
            *_JSON_BODY,
            "idempotency-key-missing",
            "idempotency-key-invalid",
            "idempotency-key-reused",
            "visit-conflict",
            "request-in-flight",
            "claim-cancelled",
            *_NOT_LET_IN,
        ),
    },
    "openapi_extra": _SECURE | {"parameters": [_KEY, _WAIT], "requestBody": _body("ClaimIn")},
    "tags": ["claims"],
}
SETTLE: Route = {
    "status_code": 202,
    "responses": {
        200: _DONE,
        202: _UNDER_WAY,
        **_problems(
            *_ALWAYS,
            "idempotency-key-missing",
            "idempotency-key-invalid",
            "parameters-invalid",
            "not-found",
            "content-invalid",
            "body-too-slow",
            "body-too-large",
        ),
    },
    "openapi_extra": _SECURE | {"parameters": [_KEY, _WAIT]},
    "tags": ["claims"],
}
_NO_BODY = ("parameters-invalid", "not-found", "content-invalid", "body-too-slow", "body-too-large")
CONFIRM: Route = {
    "status_code": 202,
    "responses": {
        200: _DONE,
        202: _json("ClaimOut", "confirmed, the centre's answer is awaited") | _LOCATION,
        **_problems(
            *_ALWAYS,
            *_NO_BODY,
            "claim-not-prepared",
            "claim-expired",
            "claim-cancelled",
            "claim-refused",
        ),
    },
    "openapi_extra": _SECURE | {"parameters": [_WAIT]},
}
_NOT_CANCELLED = ("claim-settled", "claim-confirming", "claim-of-visit")
CANCEL_CLAIM: Route = {
    "status_code": 202,
    "responses": {
        200: _json("ClaimOut", "cancelled, or returned or refused before: it is not settled") | _LOCATION,
        202: _json("ClaimOut", "to be cancelled, the centre's answer is awaited") | _LOCATION,
        **_problems(*_ALWAYS, *_NO_BODY, *_NOT_CANCELLED),
    },
    "openapi_extra": _SECURE | {"parameters": [_WAIT]},
}
CANCEL_BY_KEY: Route = {
    "status_code": 202,
    "responses": {
        200: _json("OutcomeOut", "cancelled; without a claim where none came under the key"),
        202: _json("OutcomeOut", "to be cancelled, the centre's answer is awaited"),
        **_problems(*_ALWAYS, *_JSON_BODY, *_NOT_CANCELLED, "moved", "arriving"),
    },
    "openapi_extra": _SECURE | {"parameters": [_WAIT], "requestBody": _body("CancellationIn")},
}
OUTCOMES: Route = {
    "responses": {
        200: _json("OutcomeListOut", "one for a key, or all that are not finished"),
        **_problems(*_ALWAYS, "parameters-invalid", "moved", "arriving"),
    },
    "openapi_extra": _SECURE,
}
SHOW: Route = {
    "responses": {
        200: _json("ClaimOut", "the claim"),
        **_problems(*_ALWAYS, "parameters-invalid", "not-found"),
    },
    "openapi_extra": _SECURE,
    "tags": ["claims"],
}
EVENTS: Route = {
    "responses": {
        200: {
            "description": "events held, accepted, totalled, prepared, settled, returned, refused, cancelled;"
            " the data is the claim",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **_problems(*_ALWAYS, "parameters-invalid", "not-found"),
    },
    "openapi_extra": _SECURE,
    "tags": ["claims"],
}
STATEMENT: Route = {
    "responses": {
        200: {
            "description": "结算单",
            "content": {
                "text/html": {"schema": {"type": "string"}},
                "application/pdf": {"schema": {"type": "string", "format": "binary"}},
                "text/plain": {"schema": {"type": "string"}},
            },
        },
        **_problems(*_ALWAYS, "parameters-invalid", "not-found", "claim-not-settled"),
    },
    "openapi_extra": _SECURE,
    "tags": ["claims"],
}
QUOTE: Route = {
    "responses": {
        200: _json("QuoteOut", "what it would settle to"),
        **_problems(*_ALWAYS, *_JSON_BODY, "quote-refused"),
    },
    "openapi_extra": _SECURE | {"requestBody": _body("QuoteIn")},
    "tags": ["quotes"],
}
CATALOGUE: Route = {
    "responses": {
        200: _json("CataloguePageOut", "a page of items"),
        **_problems(*_ALWAYS, "parameters-invalid"),
    },
    "openapi_extra": _SECURE,
    "tags": ["catalogue"],
}
INSTITUTION: Route = {
    "responses": {
        200: _json("InstitutionOut", "the institution"),
        **_problems(*_ALWAYS, "parameters-invalid"),
    },
    "openapi_extra": _SECURE,
    "tags": ["catalogue"],
}
MATCHES: Route = {
    "responses": {
        200: _json("MatchesOut", "the items that were found"),
        **_problems(*_ALWAYS, "parameters-invalid"),
    },
    "openapi_extra": _SECURE,
    "tags": ["catalogue"],
}
DESK_VISITS: Route = {
    "responses": {
        200: _json("VisitsOut", "the visits"),
        **_problems(*_ALWAYS, "parameters-invalid"),
    },
    "openapi_extra": _SECURE,
    "tags": ["desk"],
}
DESK_VISIT: Route = {
    "responses": {
        200: _json("SheetOut", "the sheet"),
        **_problems(*_ALWAYS, "parameters-invalid", "not-found"),
    },
    "openapi_extra": _SECURE,
    "tags": ["desk"],
}
DESK_QUOTE: Route = {
    "responses": {
        200: _json("QuoteOut", "what it would settle to"),
        **_problems(*_ALWAYS, *_JSON_BODY, "parameters-invalid", "not-found", "quote-refused"),
    },
    "openapi_extra": _SECURE | {"requestBody": _body("LinesIn")},
    "tags": ["desk"],
}
ERRORS: Route = {
    "responses": {
        200: _json("ErrorListOut", "the error list"),
        **_problems(*_ALWAYS, "parameters-invalid"),
    },
    "openapi_extra": _SECURE,
    "tags": ["visits"],
}
ERRORS["responses"][200]["content"][XLSX] = {"schema": {"type": "string", "format": "binary"}}
LINK: Route = {
    "responses": {200: _json("LinkOut", "the link"), **_problems(*_ALWAYS, "parameters-invalid")},
    "openapi_extra": _SECURE,
    "tags": ["operations"],
}
HEALTH: Route = {
    "responses": {200: {"description": "alive", "content": {"application/json": {"schema": {"type": "object"}}}}},
    "tags": ["operations"],
}
READY: Route = {
    "responses": {
        200: _json("ReadyOut", "both answer"),
        503: _json("ReadyOut", "one of them does not"),
    },
    "tags": ["operations"],
}
METRICS: Route = {
    "responses": {200: {"description": "metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    "tags": ["operations"],
}
PROBLEM: Route = {
    "responses": {
        200: {"description": "in words", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **_problems("not-found", "parameters-invalid"),
    },
    "tags": ["operations"],
}

_OF_A_VISIT = ("parameters-invalid", "not-found", "visit-not-ready")
_KEYED = ("idempotency-key-missing", "idempotency-key-invalid", "idempotency-key-reused")
_EXAMPLES: dict[str, Route] = {
    "RegistrationIn": {
        "citizen_id_no": "990000196109060004",
        "visit_type": "1",
        "visit_date": "2026-03-02",
        "person_name": "张三",
        "admission_diagnosis": "肺炎",
        "admission_diagnosis_code": "J18.900",
        "department_code": "0301",
        "bed_no": "12",
    },
    "LinesIn": {
        "lines": [
            {
                "line_no": 1,
                "charge_date": "2026-03-02",
                "local_item_code": "A0001",
                "local_item_name": "阿莫西林胶囊",
                "unit_price": "12.5",
                "quantity": "2",
                "line_amount": "25.00",
            }
        ]
    },
    "SettlementIn": {"final": True},
    "DischargeIn": {"discharge_date": "2026-03-09", "discharge_diagnosis_1": "肺炎", "discharge_outcome": "1"},
    "RefundIn": {"charge_batch_no": 1, "reason": "收费有误", "kept": [{"line_no": 1, "quantity": "1"}]},
}


def _example(model: str) -> Route:
    body = _body(model)
    body["content"]["application/json"]["example"] = _EXAMPLES[model]
    return {"requestBody": body}


REGISTER: Route = {
    "status_code": 201,
    "responses": {
        200: _json("VisitOut", "registered before under the same key") | _LOCATION,
        201: _json("VisitOut", "registered") | _LOCATION,
        **_problems(*_ALWAYS, *_JSON_BODY, *_KEYED, "visit-conflict", "doors-closed"),
    },
    "openapi_extra": _SECURE | {"parameters": [_KEY]} | _example("RegistrationIn"),
}
LIST_VISITS: Route = {
    "responses": {
        200: _json("VisitListOut", "the visits"),
        **_problems(*_ALWAYS, "parameters-invalid"),
    },
    "openapi_extra": _SECURE,
}
SHOW_VISIT: Route = {
    "responses": {
        200: _json("VisitDetailOut", "the visit"),
        **_problems(*_ALWAYS, "parameters-invalid", "not-found"),
    },
    "openapi_extra": _SECURE,
}
ADD_LINES: Route = {
    "responses": {
        200: _json("ImportOut", "what became of each line"),
        **_problems(*_ALWAYS, *_JSON_BODY, "parameters-invalid", "not-found", "doors-closed"),
    },
    "openapi_extra": _SECURE | _example("LinesIn"),
}
SETTLE_VISIT: Route = {
    "status_code": 202,
    "responses": {
        200: _DONE,
        202: _UNDER_WAY,
        **_problems(*_ALWAYS, *_JSON_BODY, *_KEYED, *_OF_A_VISIT, *_NOT_LET_IN),
    },
    "openapi_extra": _SECURE | {"parameters": [_KEY, _WAIT]} | _example("SettlementIn"),
}
DISCHARGE: Route = {
    "responses": {
        200: _json("VisitOut", "the visit, discharged"),
        **_problems(*_ALWAYS, *_JSON_BODY, *_OF_A_VISIT),
    },
    "openapi_extra": _SECURE | _example("DischargeIn"),
}
CANCEL: Route = {
    "responses": {
        200: _json("VisitOut", "the visit, cancelled"),
        **_problems(*_ALWAYS, *_OF_A_VISIT, "content-invalid", "body-too-slow", "body-too-large"),
    },
    "openapi_extra": _SECURE,
}
GIVE_UP: Route = {
    "responses": {
        200: _json("VisitOut", "the visit; the batch is returned"),
        **_problems(*_ALWAYS, *_OF_A_VISIT, "content-invalid", "body-too-slow", "body-too-large"),
    },
    "openapi_extra": _SECURE,
}
SEND_AGAIN: Route = {
    "status_code": 202,
    "responses": {
        200: _DONE,
        202: _UNDER_WAY,
        **_problems(*_ALWAYS, *_OF_A_VISIT, "content-invalid", "body-too-slow", "body-too-large"),
    },
    "openapi_extra": _SECURE | {"parameters": [_WAIT]},
}
REFUND: Route = {
    "status_code": 202,
    "responses": {
        200: _json("RefundOut", "taken back, or refused by the centre") | _LOCATION,
        202: _json("RefundOut", "asked of the centre") | _LOCATION,
        **_problems(*_ALWAYS, *_JSON_BODY, *_KEYED, *_OF_A_VISIT),
    },
    "openapi_extra": _SECURE | {"parameters": [_KEY, _WAIT]} | _example("RefundIn"),
}

_BOOK = _json("BookOut", "durably kept, the centre's comparison is awaited") | _LOCATION
_DAY = ("parameters-invalid", "not-found")
_ZIP: Route = {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
HAND_IN_TOTALS: Route = {
    "status_code": 202,
    "responses": {202: _BOOK, **_problems(*_ALWAYS, *_JSON_BODY)},
    "openapi_extra": _SECURE | {"requestBody": _body("DayTotalsIn")},
}
HAND_IN_LINES: Route = {
    "status_code": 202,
    "responses": {202: _BOOK, **_problems(*_ALWAYS, *_JSON_BODY)},
    "openapi_extra": _SECURE | {"requestBody": _body("DayLinesIn")},
}
HAND_IN_FILE: Route = {
    "status_code": 202,
    "responses": {
        202: _BOOK,
        **_problems(
            *_ALWAYS,
            *_DAY,
            "media-type-unsupported",
            "body-too-slow",
            "body-too-large",
            "content-invalid",
        ),
    },
    "openapi_extra": _SECURE | {"requestBody": {"required": True} | _ZIP},
}
SHOW_BOOK: Route = {
    "responses": {200: _json("BookOut", "how the day stands"), **_problems(*_ALWAYS, *_DAY)},
    "openapi_extra": _SECURE,
}
RESULT_FILE: Route = {
    "responses": {
        200: {"description": "the differences, TAB-separated in a ZIP"} | _ZIP,
        **_problems(*_ALWAYS, *_DAY, "not-compared"),
    },
    "openapi_extra": _SECURE,
}
NOTICES: Route = {
    "responses": {200: _json("NoticesOut", "what was done"), **_problems(*_ALWAYS, "parameters-invalid")},
    "openapi_extra": _SECURE,
}
_PERIOD = _json("ClearingDetailOut", "the period as the centre told it last")
LIST_CLEARINGS: Route = {
    "responses": {200: _json("ClearingsOut", "the periods"), **_problems(*_ALWAYS, "parameters-invalid")},
    "openapi_extra": _SECURE,
}
SHOW_CLEARING: Route = {"responses": {200: _PERIOD, **_problems(*_ALWAYS, *_DAY)}, "openapi_extra": _SECURE}
_SAID = (*_ALWAYS, *_DAY, *_JSON_BODY, "clearing-open", "clearing-another", "clearing-confirmed")
CONFIRM_CLEARING: Route = {
    "status_code": 202,
    "responses": {202: _PERIOD | _LOCATION, **_problems(*_SAID)},
    "openapi_extra": _SECURE | {"requestBody": _body("ConfirmationIn")},
}
OBJECT_CLEARING: Route = {
    "status_code": 202,
    "responses": {202: _PERIOD | _LOCATION, **_problems(*_SAID)},
    "openapi_extra": _SECURE | {"requestBody": _body("ObjectionIn")},
}
