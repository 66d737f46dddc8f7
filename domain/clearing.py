"""Clearing types (清算类别): what the centre pays apart, per institution and scheme."""

from __future__ import annotations

from enum import StrEnum

from domain.visit import VisitType


class ClearingType(StrEnum):
    """The national dictionary clr_type, as far as visits of the exchange lead to it."""

    OUTPATIENT = "11"
    INPATIENT = "21"
    PHARMACY = "41"


WORDS = {ClearingType.OUTPATIENT: "门诊", ClearingType.INPATIENT: "住院", ClearingType.PHARMACY: "药店购药"}

_OF = {
    VisitType.INPATIENT: ClearingType.INPATIENT,
    VisitType.SPECIFIC_OUTPATIENT: ClearingType.OUTPATIENT,
    VisitType.OUTPATIENT: ClearingType.OUTPATIENT,
    VisitType.PHARMACY: ClearingType.PHARMACY,
}


def clearing_type(visit_type: VisitType | str) -> ClearingType:
    """Under which clearing type a visit is paid. Raises ValueError for a visit type there is not (JZLB)."""
    return _OF[VisitType(visit_type)]
