"""The text of a reconciliation file (3202): what stands in a row, and everything that is wrong with one.

Seven columns as 3202 has them: setl_id, mdtrt_id, psn_no, medfee_sumamt, fund_pay_sumamt, acct_pay, refd_setl_flag.
Twelve where the institution says more: besides, chrg_bchno, insutype, clr_type, cash_payamt, init_setl_id.
A row is a document; a refund has one of its own beside that of the settlement, with flag 1 and negative amounts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from domain.clearing import ClearingType
from domain.day_books import Result
from domain.messages import FoundDifference, InstitutionLine
from domain.money import NotAnAmount, fen, yuan
from domain.reconciliation import Class
from domain.repairs import CLASS_WORDS

NATIONAL = ("setl_id", "mdtrt_id", "psn_no", "medfee_sumamt", "fund_pay_sumamt", "acct_pay", "refd_setl_flag")
MORE = ("chrg_bchno", "insutype", "clr_type", "cash_payamt", "init_setl_id")
RESULT = (
    "psn_no", "mdtrt_id", "setl_id", "msgid", "stmt_rslt", "refd_setl_flag", "memo",
    "medfee_sumamt", "fund_pay_sumamt", "acct_pay",
)  # fmt: skip
NULL = "null"
"""An empty value, as the national files write it."""

SCHEMES = {"310": "employee", "390": "resident"}
"""insutype of the national dictionary, as far as the centre's schemes have one; the schemes' own names do as well."""
_SCHEME = re.compile(r"[a-z_]{1,16}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_VISIT = re.compile(r"[0-9A-Za-z]{1,16}", re.ASCII)
_BATCH = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,30}")


class Wrong(NamedTuple):
    """One thing that is wrong: the row, counted from 1 (0: the file), the column, a stable code, the words."""

    row: int
    field: str
    code: str
    words: str


class _Unreadable(Exception):
    """A value that cannot be read."""

    def __init__(self, code: str, words: str) -> None:
        self.code, self.words = code, words
        super().__init__(code)


def read_row(number: int, values: Sequence[str], wrong: list[Wrong]) -> InstitutionLine | None:
    """The document in a row of seven or twelve values; None, and everything that is wrong with it, where it has
    errors. The person's number is looked at and not kept."""
    names = (*NATIONAL, *MORE)[: len(values)]
    before = len(wrong)
    read = {name: _value(number, name, text, wrong) for name, text in zip(names, values, strict=True)}
    if len(wrong) > before:
        return None
    contra = read["refd_setl_flag"] == "1"
    line = InstitutionLine(
        number,
        read["mdtrt_id"],
        read["setl_id"],
        contra,
        read["medfee_sumamt"],
        read["fund_pay_sumamt"],
        read["acct_pay"],
        read.get("chrg_bchno", 0),
        read.get("insutype", ""),
        read.get("clr_type", ""),
        read.get("cash_payamt"),
        None,
        read.get("init_setl_id", 0),
    )
    wrong += contradictions(line)
    return line if len(wrong) == before else None


def write_result(differences: Iterable[FoundDifference]) -> Iterable[str]:
    """The rows of the result of 3202, without their line ends: the differences that are open."""
    for each in differences:
        figures = each.center if not any(each.institution) else each.institution
        yield "\t".join(
            (
                NULL,
                each.visit_no,
                str(each.settlement_no) if each.settlement_no else NULL,
                NULL,
                _result_of(each),
                "1" if each.contra else "0",
                f"{CLASS_WORDS[Class(each.kind)]}：{each.words}".replace("\t", " "),
                *map(yuan, figures[1:4]),
            )
        )


def _result_of(each: FoundDifference) -> Result:
    if not any(each.institution):
        return Result.CENTER_MORE
    return Result.INSTITUTION_MORE if not any(each.center) else Result.DIFFERENT


def _value(row: int, name: str, text: str, wrong: list[Wrong]) -> Any:
    try:
        return _READ[name](text)
    except _Unreadable as error:
        wrong.append(Wrong(row, name, error.code, error.words))
        return None


def _matching(pattern: re.Pattern[str], words: str, *, empty: bool) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text == NULL and empty:
            return ""
        if text in ("", NULL):
            raise _Unreadable("missing", "必填" if not empty else f"空值应写作 {NULL}")
        if not pattern.fullmatch(text):
            raise _Unreadable("wrong-form", words)
        return text

    return read


def _number(pattern: re.Pattern[str], words: str) -> Callable[[str], int]:
    read = _matching(pattern, words, empty=True)
    return lambda text: int(read(text) or 0)


def _amount(text: str) -> int:
    try:
        return fen(text)
    except NotAnAmount:
        raise _Unreadable("wrong-form", "应为两位小数的金额，例如 120.00") from None


def _flag(text: str) -> str:
    if text not in ("0", "1"):
        raise _Unreadable("not-allowed", "退费结算标志应为 0 或 1")
    return text


def _scheme(text: str) -> str:
    if text == NULL:
        return ""
    scheme = SCHEMES.get(text, text)
    if not _SCHEME.fullmatch(scheme):
        raise _Unreadable("not-allowed", f"险种应为 {'、'.join(SCHEMES)}")
    return scheme


def _clearing_type(text: str) -> str:
    if text == NULL:
        return ""
    if text not in set(ClearingType):
        raise _Unreadable("not-allowed", f"清算类别应为 {'、'.join(ClearingType)}")
    return text


_READ: dict[str, Callable[[str], object]] = {
    "setl_id": _number(_NUMBER, "结算单号应为中心给出的数字"),
    "mdtrt_id": _matching(_VISIT, "就医登记号应为至多 16 位字母或数字", empty=False),
    "psn_no": _matching(_TEXT, "至多 30 个字符", empty=True),
    "medfee_sumamt": _amount,
    "fund_pay_sumamt": _amount,
    "acct_pay": _amount,
    "refd_setl_flag": _flag,
    "chrg_bchno": _number(_BATCH, "费用批次应为至多 4 位数字"),
    "insutype": _scheme,
    "clr_type": _clearing_type,
    "cash_payamt": lambda text: None if text == NULL else _amount(text),
    "init_setl_id": _number(_NUMBER, "原结算单号应为中心给出的数字"),
}


def contradictions(line: InstitutionLine) -> Iterable[Wrong]:
    """What does not go together in a line that can be read."""
    if line.contra and line.total_fen > 0:
        yield Wrong(line.line_no, "medfee_sumamt", "wrong-sign", "退费行的金额应为负")
    if not line.contra and line.total_fen < 0:
        yield Wrong(line.line_no, "medfee_sumamt", "wrong-sign", "非退费行的金额不得为负")
    if line.contra_of and not line.contra:
        yield Wrong(line.line_no, "init_setl_id", "not-allowed", "只有退费行有原结算单号")
