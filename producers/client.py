"""A thin client of the API, for programs in hospitals and for our own command line.

    with JiesuanClient("http://frontend:8080", api_key) as jiesuan:
        claim = jiesuan.submit({"visit": {...}, "lines": [...]}, wait=10, key="reg-20260302-0001")
        if claim["state"] == "settled":
            print(claim["settlement"]["cash_amount"])

A claim may be handed in again and again under the same key: it is stored once. The client does that by itself when
the connection breaks, when the front-end asks to wait (429) or cannot answer (5xx), and gives up after a few tries.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from datetime import date
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlencode
from uuid import uuid4

import httpx

TRIES = 5
LONGEST_PAUSE = 15.0
FIRST_PAUSE = 0.2
ANSWER_SECONDS = 10.0

Document = dict[str, Any]
StatementForm = Literal["html", "pdf", "txt"]
_KINDS: dict[StatementForm, str] = {"html": "text/html", "pdf": "application/pdf", "txt": "text/plain"}


class Refused(Exception):
    """The API said no, and would say so again: the problem's status, code, words and wrong fields."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code: str = problem.get("code", "")
        self.detail: str = problem.get("detail", "")
        self.errors: list[dict[str, str]] = problem.get("errors", [])
        self.request_id: str = problem.get("request_id", "")
        super().__init__(f"{status} {self.code}: {self.detail}")


class TryLater(Exception):
    """The API could not be reached, or asked to come back, once too often. The same key may be used again."""

    def __init__(self, reason: str, key: str) -> None:
        self.key = key
        super().__init__(reason)


class JiesuanClient:
    """Hands in claims to one front-end server, in the name of one institution."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        tries: int = TRIES,
        transport: httpx.BaseTransport | None = None,
        pause: Any = time.sleep,
    ) -> None:
        """`transport` and `pause` are for tests."""
        self._tries, self._pause = tries, pause
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}", "Accept": "application/json"},
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, claim: Mapping[str, Any], *, wait: int = 0, key: str = "") -> Document:
        """Hand in a claim; durably stored when this returns, and with its answer if that came within `wait` seconds.

        `key` names this claim for ever; the same key with other content is refused. Left out, one is made up, and
        then only this call's own repetitions are recognised. Raises Refused or TryLater.
        """
        return self._post("/v1/claims", claim, wait, key)

    def settle(self, claim_no: str, *, wait: int = 0, key: str = "") -> Document:
        """Let a claim that was handed in to be settled later be settled. Raises Refused or TryLater."""
        return self._post(f"/v1/claims/{claim_no}/settlement", {}, wait, key)

    def prepare(self, claim: Mapping[str, Any], *, wait: int = 0, key: str = "") -> Document:
        """Have a claim computed at the centre and held there, to be confirmed or cancelled. Raises Refused or TryLater.

        Keep the key before this is called: whatever happens to the answer, it finds the claim (`outcome`).
        """
        return self._post("/v1/claims", {**claim, "settle": "prepare"}, wait, key)

    def confirm(self, claim_no: str, *, wait: int = 0) -> Document:
        """Let a prepared claim be settled as it was prepared. Raises Refused or TryLater."""
        return self._post(f"/v1/claims/{claim_no}/confirmation", {}, wait, "")

    def cancel_claim(self, claim_no: str, *, wait: int = 0) -> Document:
        """Let a claim not be settled that is not settled yet. Raises Refused or TryLater."""
        return self._post(f"/v1/claims/{claim_no}/cancellation", {}, wait, "")

    def cancel_key(self, key: str, *, wait: int = 0) -> Document:
        """The same of whatever was sent under this key, whether it came or not. Raises Refused or TryLater."""
        return self._post("/v1/cancellations", {"key": key}, wait, "")

    def outcome(self, key: str) -> Document:
        """What became of the claim sent under this key; `unknown`: send it again, under it. Raises TryLater."""
        found: Document = self._ask("GET", f"/v1/outcomes?{urlencode({'key': key})}").json()
        outcome: Document = found["outcomes"][0]
        return outcome

    def unfinished(self) -> list[Document]:
        """Every claim of this institution that is not finished, oldest first. Raises Refused or TryLater."""
        found: list[Document] = self._ask("GET", "/v1/outcomes?limit=500").json()["outcomes"]
        return found

    def show(self, claim_no: str) -> Document:
        """The claim as it stands. Raises Refused (404 for a claim that is not this institution's) or TryLater."""
        found: Document = self._ask("GET", f"/v1/claims/{claim_no}").json()
        return found

    def register(self, visit: Mapping[str, Any], *, key: str = "") -> Document:
        """Register a visit; it gets its number. The same key is the same visit. Raises Refused or TryLater."""
        return self._post("/v1/visits", visit, 0, key)

    def visit(self, visit_no: str) -> Document:
        """The registered visit as it stands. Raises Refused or TryLater."""
        found: Document = self._ask("GET", f"/v1/visits/{visit_no}").json()
        return found

    def add_lines(self, visit_no: str, lines: Sequence[Mapping[str, Any]]) -> Document:
        """Import lines of a visit, all or none; the verdict of each either way. Lines that are imported already are
        not imported again, so this may be repeated. Raises Refused or TryLater."""
        return self._post(f"/v1/visits/{visit_no}/lines", {"lines": list(lines)}, 0, "")

    def settle_visit(self, visit_no: str, *, final: bool = False, wait: int = 0, key: str = "") -> Document:
        """Settle what is imported of a visit and not settled; `final` ends a stay. Raises Refused or TryLater."""
        return self._post(f"/v1/visits/{visit_no}/settlements", {"final": final}, wait, key)

    def discharge(self, visit_no: str, discharge: Mapping[str, Any]) -> Document:
        """Discharge a stay; saying the same twice is saying it once. Raises Refused or TryLater."""
        return self._post(f"/v1/visits/{visit_no}/discharge", discharge, 0, "")

    def cancel(self, visit_no: str) -> Document:
        """Take a registration back, before a line was imported. Raises Refused or TryLater."""
        return self._post(f"/v1/visits/{visit_no}/cancellation", {}, 0, "")

    def give_up(self, visit_no: str, charge_batch_no: int) -> Document:
        """Give a batch up that the centre refused; its lines are free again. Raises Refused or TryLater."""
        return self._post(f"/v1/visits/{visit_no}/batches/{charge_batch_no}/withdrawal", {}, 0, "")

    def send_again(self, visit_no: str, charge_batch_no: int, *, wait: int = 0) -> Document:
        """Send a batch to the centre again that it refused. Raises Refused or TryLater."""
        return self._post(f"/v1/visits/{visit_no}/batches/{charge_batch_no}/resubmission", {}, wait, "")

    def refund(
        self,
        visit_no: str,
        charge_batch_no: int,
        *,
        reason: str,
        kept: Mapping[int, str] | None = None,
        wait: int = 0,
        key: str = "",
    ) -> Document:
        """Take a settlement back; `kept` is what is settled anew with it, line number to quantity, both or neither.

        Raises Refused or TryLater.
        """
        asked: Document = {"charge_batch_no": charge_batch_no, "reason": reason}
        if kept:
            asked["kept"] = [{"line_no": number, "quantity": quantity} for number, quantity in kept.items()]
        return self._post(f"/v1/visits/{visit_no}/refunds", asked, wait, key)

    def quote(self, asked: Mapping[str, Any]) -> Document:
        """What a claim would settle to. Raises Refused or TryLater."""
        quoted: Document = self._ask("POST", "/v1/quotes", json=asked).json()
        return quoted

    def errors(self, *, day: date | None = None, visit_no: str = "") -> Document:
        """The error list: charge lines that wait to be mended, of one day or one visit or all, and with a day or a
        visit named those with a warning as well. Raises Refused or TryLater."""
        found: Document = self._ask("GET", f"/v1/errors?{_asked_of(day, visit_no)}").json()
        return found

    def error_workbook(self, *, day: date | None = None, visit_no: str = "") -> bytes:
        """The same as a workbook (xlsx). Raises Refused or TryLater."""
        return self._ask("GET", f"/v1/errors?format=xlsx&{_asked_of(day, visit_no)}").content

    def clearings(self, *, month: str = "") -> list[Document]:
        """This institution's clearing periods, newest first; of one month, as 2026-03. Raises Refused or TryLater."""
        asked = urlencode({"limit": 500} | ({"month": month} if month else {}))
        found: list[Document] = self._json("GET", f"/v1/clearings?{asked}")["clearings"]
        return found

    def clearing(self, period_no: int) -> Document:
        """One period, by fund and by day, and what this institution said of it. Raises Refused or TryLater."""
        return self._json("GET", f"/v1/clearings/{period_no}")

    def confirm_clearing(self, period_no: int, *, clearing_no: int, by: str) -> Document:
        """Agree with a closed period, whose figures stand under `clearing_no`; twice is once. `said` tells how far it
        is. Raises Refused or TryLater."""
        said = {"clearing_no": clearing_no, "by": by}
        return self._post(f"/v1/clearings/{period_no}/confirmation", said, 0, "")

    def object_to_clearing(self, period_no: int, *, clearing_no: int, by: str, reason: str) -> Document:
        """Object to a closed period: it is not confirmed by time any more. Raises Refused or TryLater."""
        said = {"clearing_no": clearing_no, "by": by, "reason": reason}
        return self._post(f"/v1/clearings/{period_no}/objection", said, 0, "")

    def hand_in_totals(self, day: date, totals: Sequence[Mapping[str, Any]]) -> Document:
        """Hand in one's own totals of a day to be compared (3201); newer ones count. Raises Refused or TryLater."""
        given = {"day": day.isoformat(), "totals": list(totals)}
        return self._post("/v1/reconciliation/totals", given, 0, "")

    def hand_in_lines(self, day: date, lines: Sequence[Mapping[str, Any]]) -> Document:
        """Hand in one's own documents of a day, all of them (3202). Raises Refused or TryLater."""
        return self._post("/v1/reconciliation/lines", {"day": day.isoformat(), "lines": list(lines)}, 0, "")

    def hand_in_file(self, day: date, packed: bytes) -> Document:
        """The same as a file: TAB-separated UTF-8 in a ZIP. Raises Refused or TryLater."""
        headers = {"Content-Type": "application/zip"}
        return self._json("POST", f"/v1/reconciliation/{day}/file", content=packed, headers=headers)

    def compared(self, day: date) -> Document:
        """How a day compares, and every difference; `state` is `submitted` while the centre has not answered. Raises
        Refused (404: nothing was handed in) or TryLater."""
        return self._json("GET", f"/v1/reconciliation/{day}")

    def differences_file(self, day: date) -> bytes:
        """The differences of a day as a file. Raises Refused (`not-compared` while there is no answer) or TryLater."""
        return self._ask("GET", f"/v1/reconciliation/{day}/file").content

    def notices(self) -> list[Document]:
        """What the centre had done about differences, newest first. Raises Refused or TryLater."""
        found: list[Document] = self._json("GET", "/v1/reconciliation/notices?limit=500")["notices"]
        return found

    def statement(self, claim_no: str, *, form: StatementForm = "html") -> bytes:
        """The settlement statement of a settled claim as a page, a PDF or plain text. Raises Refused or TryLater."""
        return self._ask("GET", f"/v1/claims/{claim_no}/statement", headers={"Accept": _KINDS[form]}).content

    def _post(self, path: str, document: Mapping[str, Any], wait: int, key: str) -> Document:
        headers = {"Idempotency-Key": key or str(uuid4())}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        answered: Document = self._ask("POST", path, json=document, headers=headers, wait=wait).json()
        return answered

    def _json(self, method: str, path: str, **options: Any) -> Document:
        found: Document = self._ask(method, path, **options).json()
        return found

    def _ask(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait: int = 0,
    ) -> httpx.Response:
        key = (headers or {}).get("Idempotency-Key", "")
        reason, pause = "", 0.0
        for attempt in range(self._tries):
            if attempt:
                self._pause(pause)
            pause = FIRST_PAUSE * 2**attempt * random.uniform(1, 1.5)
            try:
                answer = self._http.request(
                    method,
                    path,
                    json=json,
                    content=content,
                    headers=headers,
                    timeout=httpx.Timeout(ANSWER_SECONDS + wait, connect=5),
                )
            except httpx.TransportError as error:
                reason = f"no answer ({type(error).__name__})"
                continue
            if not _comes_later(answer):
                if answer.is_error:
                    raise Refused(answer.status_code, _problem(answer))
                return answer
            reason = f"{answer.status_code} {_problem(answer).get('code', '')}"
            asked = answer.headers.get("Retry-After", "")
            pause = min(max(pause, float(asked) if asked.isdigit() else 0.0), LONGEST_PAUSE)
        raise TryLater(reason, key)


def _asked_of(day: date | None, visit_no: str) -> str:
    asked = ({"day": day.isoformat()} if day else {}) | ({"visit_no": visit_no} if visit_no else {})
    return urlencode(asked)


def _comes_later(answer: httpx.Response) -> bool:
    """Whether the same request, sent again in a moment, may be answered."""
    if answer.status_code == 409:
        return _problem(answer).get("code") == "request-in-flight"
    return answer.status_code == 429 or answer.status_code >= 500


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        problem = answer.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
