"""`jiesuan statement`: the settlement statement of a claim, printed; and whether a printed one is true."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

from sqlalchemy import Connection

from city.commands import REFUSED, WRONG_USAGE, Stop
from city.commands.claim import asked, client_of
from domain import check_value
from domain.check_value import NotACode, Stated
from domain.lifecycle import ClaimState
from domain.money import yuan
from infra.settings import MissingSetting, Settings
from producers.client import StatementForm

FORMS: dict[str, StatementForm] = {f".{form}": form for form in get_args(StatementForm)}
_NAMES = {
    "institution_code": "医药机构",
    "visit_no": "就医登记号",
    "charge_batch_no": "费用批次",
    "settlement_no": "结算编号",
    "settled_at": "结算时间",
    "total_fen": "总金额",
    "fund_pay_fen": "社保支付金额",
    "account_pay_fen": "个人账户支付",
    "cash_fen": "现金",
}


class Books(NamedTuple):
    """Whose books a statement is compared with, what they hold, and the key of the front-end that printed it."""

    name: str
    held: Stated | None
    key: bytes
    taken_back_by: int | None = None
    """The contra settlement that took it back."""


def print_out(claim_no: str, *, to: Path | None, url: str, api_key_file: Path | None) -> None:
    """Print the statement as text, or write it into a .pdf, .html or .txt file. Raises Stop."""
    form = "txt" if to is None else FORMS.get(to.suffix.lower())
    if form is None:
        raise Stop(f"不知道写成哪种文件：{'、'.join(FORMS)} 之一", WRONG_USAGE)
    with client_of(url, api_key_file) as client:
        content = asked(lambda: client.statement(claim_no, form=form))
    if to is None:
        sys.stdout.write(content.decode())
        return
    try:
        to.write_bytes(content)
    except OSError as error:
        raise Stop(f"{to} 写不进去：{error.strerror}", WRONG_USAGE) from None
    print(f"{to}，{len(content)} 字节", file=sys.stderr)


def verify(line: str, *, as_json: bool) -> None:
    """Say whether the line of a printed QR code is true and what the books hold. Raises Stop when it is not."""
    try:
        stated, value = check_value.read(line)
    except NotACode as error:
        raise Stop(str(error), WRONG_USAGE) from None
    books = _books(stated)
    if books.held is None:
        raise Stop(f"{books.name}没有这笔结算（结算编号 {stated.settlement_no}）", REFUSED)
    is_true, differs = check_value.is_true(stated, value, books.key), _differences(stated, books.held)
    if as_json:
        told = {"check_value": is_true, "differs": differs, "taken_back_by": books.taken_back_by}
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        print("校验码正确" if is_true else "校验码不符：内容被改动，或不是由该前置机打印")
        for name, (here, there) in differs.items():
            print(f"{name}：结算单 {here}，{books.name} {there}")
        if not differs:
            print(f"与{books.name}一致")
    if differs or not is_true:
        raise Stop("结算单不实", REFUSED)
    if books.taken_back_by is not None:
        raise Stop(f"该笔结算已由反向结算 {books.taken_back_by} 冲销（退费），本单不能再作凭据", REFUSED)


def _differences(stated: Stated, held: Stated) -> dict[str, list[str]]:
    """What the books hold otherwise: field, as on the paper, as in the books."""
    pairs = zip(Stated._fields, _words(stated), _words(held), strict=True)
    return {_NAMES[name]: [here, there] for name, here, there in pairs if here != there}


def _words(stated: Stated) -> list[str]:
    return [yuan(value) if name.endswith("_fen") else str(value).upper() for name, value in stated._asdict().items()]


def _books(stated: Stated) -> Books:
    """The centre's books where this machine reaches them, else the front-end's. Raises Stop."""
    settings = Settings()
    try:
        return _of_center(settings, stated) if settings.center_database_url else _of_frontend(settings, stated)
    except MissingSetting as error:
        raise Stop(f"核验需要中心的数据库和密钥，或前置机的数据库和密钥：{error}", WRONG_USAGE) from None


def _of_center(settings: Settings, stated: Stated) -> Books:
    from center.stated import booked

    with _read(settings.center_database_url) as connection:
        found = booked(connection, stated.settlement_no)
    if found is None:
        return Books("中心账", None, settings.key_of(""))
    return Books("中心账", found.stated, settings.key_of(found.frontend), found.taken_back_by)


def _of_frontend(settings: Settings, stated: Stated) -> Books:
    from producers.statement import NotSettled, stated_of
    from workers.claims import claim_no, show

    settings.need("frontend_database_url")
    with _read(settings.frontend_database_url) as connection:
        view = show(connection, stated.institution_code, claim_no(stated.visit_no, stated.charge_batch_no))
        contra = None
        if view is not None and view.refunded_by is not None:
            contra = show(connection, stated.institution_code, claim_no(stated.visit_no, view.refunded_by))
    taken_back_by = None
    if contra is not None and contra.state == ClaimState.SETTLED and contra.answer is not None:
        taken_back_by = contra.answer.settlement_no
    try:
        held = None if view is None else stated_of(view)
    except NotSettled:
        held = None
    return Books("前置机账", held, settings.sealing_key(), taken_back_by)


@contextmanager
def _read(url: str) -> Iterator[Connection]:
    from infra.database import opened, reading

    with opened(url) as engine, reading(engine) as connection:
        yield connection
