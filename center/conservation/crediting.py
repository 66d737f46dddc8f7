"""Paying into personal accounts by proposal (个人账户划入): one operator hands in a list, another approves it.

The list names persons by identity number; what is kept of it names them by their number at the centre.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, text

from center.approving import proposals
from center.approving.actions import Action, CannotDo, Payload
from center.conservation.credits import NobodyToCredit, credit
from center.ledger import chain
from center.tables import person
from domain.money import MAX_FEN, NotAnAmount, fen, yuan

CREDIT = "account.credit"
HEADER = ["citizen_id_no", "amount"]
MOST = 5000
SCHEMES = {"employee": "职工医保", "resident": "居民医保"}
_MOST_NAMED = 20


class NotAList(Exception):
    """Lines that cannot be credited, all of them, each with why; never an identity number."""

    def __init__(self, wrong: list[str]) -> None:
        self.wrong = wrong
        more = f"……等 {len(wrong)} 处" if len(wrong) > _MOST_NAMED else ""
        super().__init__("；".join(wrong[:_MOST_NAMED]) + more)


class Line(NamedTuple):
    """One line of the list."""

    line_no: int
    citizen_id_no: str
    amount_fen: int


def read(content: bytes) -> list[Line]:
    """A list as CSV in UTF-8: `citizen_id_no,amount`, amounts in yuan with two decimals. Raises NotAList."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise NotAList(["不是 UTF-8 的 CSV 文件"]) from None
    if not rows or rows[0] != HEADER:
        raise NotAList([f"第 1 行应为表头 {','.join(HEADER)}"])
    if not 1 <= len(rows) - 1 <= MOST:
        raise NotAList([f"应有 1 至 {MOST} 行，实有 {len(rows) - 1} 行"])
    lines, wrong, seen = [], list[str](), dict[str, int]()
    for number, row in enumerate(rows[1:], 2):
        why, amount_fen = _wrong(row, seen)
        if why:
            wrong.append(f"第 {number} 行{why}")
            continue
        seen[row[0]] = number
        lines.append(Line(number, row[0], amount_fen))
    if wrong:
        raise NotAList(wrong)
    return lines


def _wrong(row: list[str], seen: Mapping[str, int]) -> tuple[str, int]:
    if len(row) != len(HEADER):
        return f"应有 {len(HEADER)} 列，实有 {len(row)} 列", 0
    if row[0] in seen:
        return f"与第 {seen[row[0]]} 行是同一人", 0
    try:
        amount_fen = fen(row[1])
    except NotAnAmount:
        return '的金额应为两位小数，例如 "12.50"', 0
    return ("" if 0 < amount_fen <= MAX_FEN else "的金额须大于零"), amount_fen


def propose(
    connection: Connection, scheme: str, lines: list[Line], *, by: str, reason: str, at: datetime
) -> tuple[int, str]:
    """Propose to pay these amounts in; the proposal's number and what it would do.

    Raises NotAList, CannotDo, and what `center.approving.proposals.propose` raises.
    """
    found = connection.execute(
        select(person.c.citizen_id_no, person.c.person_no).where(
            person.c.citizen_id_no.in_([line.citizen_id_no for line in lines]), person.c.scheme == scheme
        )
    )
    numbers = {row.citizen_id_no: row.person_no for row in found}
    wrong = [
        f"第 {line.line_no} 行：中心无此参保人，或不属于该险种" for line in lines if line.citizen_id_no not in numbers
    ]
    if wrong:
        raise NotAList(wrong)
    amounts = sorted((numbers[line.citizen_id_no], line.amount_fen) for line in lines)
    payload = {"scheme": scheme, "amounts": [list(pair) for pair in amounts]}
    effect = predict(connection, payload, at=at)
    number = proposals.propose(
        connection, CREDIT, payload, by=by, reason=reason, institution_code=chain.CITY, effect=effect, at=at
    )
    return number, effect


def predict(connection: Connection, payload: Payload, *, at: datetime) -> str:
    """How many are paid how much. Raises CannotDo."""
    amounts = _amounts(payload)
    held = connection.execute(
        text("SELECT count(*) FROM person WHERE person_no = ANY(:persons) AND held_until > :at"),
        {"persons": list(amounts), "at": at},
    ).scalar_one()
    if held:
        raise CannotDo(f"有 {held} 人的预结算尚未确认或取消，办结后再办理")
    scheme = str(payload["scheme"])
    return f"{SCHEMES.get(scheme, scheme)}个人账户划入 {len(amounts)} 人，共 {yuan(sum(amounts.values()))} 元"


def execute(
    connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
) -> str:
    """Pay it in. Raises CannotDo."""
    amounts, scheme = _amounts(payload), str(payload["scheme"])
    try:
        number = credit(
            connection,
            scheme,
            amounts,
            by=by,
            reason=f"申请 {proposal_no}",
            at=at,
            approved_by=approved_by,
        )
    except NobodyToCredit:
        raise CannotDo("名单中有人已不在该险种，请重新提请") from None
    words = predict(connection, payload, at=at)
    return f"{words}，凭证 {number}"


def _amounts(payload: Payload) -> dict[int, int]:
    return {int(person_no): int(amount_fen) for person_no, amount_fen in payload["amounts"]}


ACTIONS: Mapping[str, Action] = {CREDIT: Action("个人账户划入", predict, execute)}
