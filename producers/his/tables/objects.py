"""The shared tables and views by what they are for, with the keys and sentences every database of them needs."""

from __future__ import annotations

from producers.his.fields import Field, layout

REGISTRATIONS = ("HIS_ZYDJ", "HIS_MZDJ")
LINES = ("HIS_CFXM", "HIS_MZXM")
RESULTS = ("HIS_FYJS", "HIS_MZJS")
DISCHARGES = ("HIS_CYDJ",)
TABLES = ("HIS_ZYDJ", "HIS_CFXM", "HIS_FYJS", "HIS_CYDJ", "HIS_MZDJ", "HIS_MZXM", "HIS_MZJS")
VIEWS = ("VIEW_MEDI", "VIEW_ITEM", "VIEW_MATCH")

KEYS = {
    "HIS_ZYDJ": ("JYDJH",),
    "HIS_MZDJ": ("JYDJH",),
    "HIS_CYDJ": ("JYDJH",),
    "HIS_FYJS": ("JYDJH", "FYPC"),
    "HIS_MZJS": ("JYDJH", "FYPC"),
    "HIS_CFXM": ("JYDJH", "XMXH"),
    "HIS_MZXM": ("JYDJH", "XMXH"),
}
"""What names a row. Only where the insurance system writes the rows does the database hold it unique: a line number
that a HIS gives twice arrives, and is refused with code 94."""

RESERVED = ("BZ1", "BZ2", "BZ3", "DRBZ")
LEFT, IMPORTED, FAILED = 0, 1, 2
"""The read-in flag DRBZ: not read, read, failed."""
CANCELLED = "CANCEL"
"""BZ3 of a registration that was taken back (AMB-37)."""

GRADE_COLUMN, GRADE_AFTER = "GWYJB", "RYLB"
"""The civil-servant grade, where deployed products expect it."""
LIMITED_USE = "HIS_CFXM_JKSYBZ"
"""The side table of limited-use drugs that one deployed product writes beside HIS_CFXM."""
_AS_IN_LINES = ("JYDJH", "YYBH", "GMSFHM", "ZYH", "XMXH", "XMBH", "XMMC", "MCYL", "JE")


def grade_field() -> Field:
    """GWYJB: as wide as the person category beside it."""
    beside = layout("HIS_ZYDJ")[GRADE_AFTER]
    return Field(
        code=GRADE_COLUMN, kind=beside.kind, width=beside.width, identifier="civil_servant_grade",
        label_zh="公务员级别", oracle_type=beside.oracle_type,
    )  # fmt: skip


def dressed_codes(table: str) -> tuple[str, ...]:
    """The columns of a registration table as a product that knows the grade reads them by position."""
    codes = list(layout(table).codes)
    codes.insert(codes.index(GRADE_AFTER) + 1, GRADE_COLUMN)
    return tuple(codes)


def limited_use_fields() -> tuple[Field, ...]:
    """The columns of HIS_CFXM_JKSYBZ; all it shares with the lines is as wide as it is there."""
    lines = layout("HIS_CFXM")
    flag = Field(code="AKA185", kind="C", width=3, identifier="limited_use_flag", label_zh="限制使用标志",
                 oracle_type="VARCHAR2")  # fmt: skip
    scope = Field(code="RANGE", kind="C", width=200, identifier="limited_use_scope", label_zh="限制使用范围",
                  oracle_type="VARCHAR2")  # fmt: skip
    shared = tuple(lines[code] for code in _AS_IN_LINES)
    return (*shared, flag, *(lines[code] for code in ("BZ1", "BZ2", "BZ3")), scope)


FROZEN_ZH = "明细已读入医保系统（DRBZ=1），不能修改或删除；请新增负数量的冲减明细更正"
FLAG_IS_OURS_ZH = "读入标志 DRBZ=1 由医保系统读入明细后填写，医院请填 0"
OTHER_INSTITUTION_ZH = "医院编号 YYBH 不是本登录所属医疗机构的编号"
"""What the database says in its own errors, for the people of the HIS."""
