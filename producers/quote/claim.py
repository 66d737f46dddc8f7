"""From a document to what the engine is asked with: person, occasion, totals. What is wrong is noted, not raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from domain import money
from domain.catalogue import Catalogue, Matched
from domain.checks import check_lines
from domain.codes import CODES, PASSED
from domain.settlement import Occasion, Person
from domain.totals import GroupTotal, LineRules, LocalTotals, total_up
from domain.visit import STAYS, ChargeLine, Visit, VisitType, pack_lines
from producers.api.problems import FieldError
from producers.quote.document import GroupTotalIn, ItemIn, OccasionIn, PersonIn, QuotedLineIn, SoundParts, TotalsIn

CATEGORIES_ZH = {
    "1": "在职", "2": "退休", "3": "离休", "4": "1－4级工残", "5": "无业", "7": "退职", "70": "学龄前儿童",
    "71": "中小学生", "72": "大中专学生", "73": "其他未成年人", "74": "非从业人员", "75": "老年人",
}  # fmt: skip
"""What the categories RYLB of `domain.policy.cases` are called (AMB-10)."""


def wrong(place: str, code: str, words: str) -> FieldError:
    """One thing wrong with a document: where, which, and why in Chinese."""
    return {"pointer": f"#/{place}", "code": code, "detail": words}


def person_of(given: PersonIn) -> Person:
    """The person a document describes."""
    return Person(
        scheme=given["scheme"],
        category=given["category"],
        account_balance_fen=money.fen(given.get("account_balance", "0.00")),
        civil_servant=given.get("civil_servant", False),
        rank=given.get("rank", ""),
        groups=frozenset(given.get("groups", ())),
        age=given.get("age"),
        family_balance_fen=money.fen(given.get("family_account_balance", "0.00")),
    )


def occasion_of(
    given: OccasionIn, errors: list[FieldError], institution_code: str = "", institution_level: int | None = None
) -> Occasion:
    """The occasion a document describes; code and level of the asking institution where it names none.

    The day is that of the visit; whose policy counts for a stay is for the policy to say (`domain.occasion`).
    """
    kind, visit_date, ends = VisitType(given["visit_type"]), given["visit_date"], given.get("covers_to")
    level = given.get("institution_level", institution_level)
    if level is None:
        errors.append(wrong("visit/institution_level", "missing", "缺少医药机构级别"))
    if (ends or visit_date) < visit_date:
        errors.append(wrong("visit/covers_to", "before-the-visit", "费用截至日期早于就诊（入院）日期"))
    if given.get("settled_on", visit_date) < visit_date:
        errors.append(wrong("visit/settled_on", "before-the-visit", "结算日期早于就诊（入院）日期"))
    final = given.get("final", True)
    if not final and kind not in STAYS:
        errors.append(wrong("visit/final", "not-a-stay", "只有住院和门诊特定项目可以中途结算"))
    return Occasion(
        visit_type=kind,
        institution_level=level or 0,
        day=visit_date,
        institution_code=given.get("institution_code") or institution_code,
        visit_no=given.get("visit_no", ""),
        started=visit_date if kind in STAYS else None,
        ends=ends,
        final=final,
        conditions=frozenset(given.get("conditions", ())),
        disease=given.get("disease") or "",
        registration_kind=given.get("registration_kind", ""),
        medical_type=given.get("medical_type", ""),
        transferred_from=given.get("transferred_from", ""),
    )


def totals_of(
    given: SoundParts, catalogue: Catalogue, institution_code: str, rules: LineRules, errors: list[FieldError]
) -> LocalTotals | None:
    """The totals a document gives, or those of its lines, split by `rules`; None where they cannot be known."""
    if "totals" in given:
        return _totals_given(given["totals"], errors)
    if "lines" in given and "visit" in given:
        return _totals_of_lines(given["lines"], given["visit"], catalogue, institution_code, rules=rules, errors=errors)
    return None


def _totals_given(given: TotalsIn, errors: list[FieldError]) -> LocalTotals:
    groups = [_sums(group, f"totals/groups/{index}", errors) for index, group in enumerate(given.get("groups", ()))]
    names = [group["group"] for group in given.get("groups", ())]
    if len(set(names)) < len(names):
        errors.append(wrong("totals/groups", "group-twice", "同一待遇分组给出了不止一次"))
    sums = _sums(given, "totals", errors)
    if groups and any(sum(group[place] for group in groups) > whole for place, whole in enumerate(sums)):
        errors.append(wrong("totals/groups", "groups-too-large", "各待遇分组之和大于总计"))
    return LocalTotals(
        *sums, 0, b"", tuple(GroupTotal(name, *group) for name, group in zip(names, groups, strict=True))
    )


def _sums(given: TotalsIn | GroupTotalIn, place: str, errors: list[FieldError]) -> tuple[int, int, int, int, int]:
    total, own, over, pre = (
        money.fen(amount)
        for amount in (
            given["total_amount"],
            given.get("own_expense_amount", "0.00"),
            given.get("over_limit_amount", "0.00"),
            given.get("pre_self_pay_amount", "0.00"),
        )
    )
    rest = total - own - over - pre
    scope = money.fen(given["in_scope_amount"]) if "in_scope_amount" in given else rest
    if scope != rest or scope < 0:
        words = f"总金额 {money.yuan(total)} 元，各分项合计 {money.yuan(total - rest + scope)} 元"
        errors.append(wrong(place, "totals-unequal", words))
    return total, own, over, pre, scope


class _WithItems(Catalogue):
    """A catalogue that also knows the items a document describes itself."""

    def __init__(self, beneath: Catalogue, described: Mapping[str, Matched]) -> None:
        super().__init__(beneath.version, (), ())
        self._beneath, self._described = beneath, described

    def on(self, institution_code: str, local_item_code: str, day: date) -> Matched:
        found = self._described.get(local_item_code)
        return found if found is not None else self._beneath.on(institution_code, local_item_code, day)


def _totals_of_lines(
    given: Sequence[QuotedLineIn | None],
    visit: OccasionIn,
    catalogue: Catalogue,
    institution_code: str,
    *,
    rules: LineRules,
    errors: list[FieldError],
) -> LocalTotals | None:
    described: dict[str, Matched] = {}
    lines: list[tuple[int, ChargeLine]] = []
    for index, line in enumerate(given):
        if line is None:
            continue
        code = line.get("local_item_code") or ""
        if "item" in line:
            code = f"\x00{index}"  # no institution's code, so it meets no other item's
            described[code] = _described(line["item"])
        elif not code:
            words = "请给出本院项目编号，或在 item 中给出目录信息"
            errors.append(wrong(f"lines/{index}/local_item_code", "missing", words))
            continue
        lines.append((index, _line(line, index, code, visit["visit_date"])))
    if not lines:
        return None
    charged = [line for _, line in lines]
    who = Visit(
        visit_no="",
        institution_code=institution_code,
        citizen_id_no="",
        visit_type=VisitType(visit["visit_type"]),
        visit_date=visit["visit_date"],
    )
    last_day = max(line.charge_date for line in charged if line.charge_date)
    checked = check_lines(who, charged, _WithItems(catalogue, described), last_day)
    errors.extend(
        wrong(f"lines/{index}", found.code, CODES[found.code].message_zh if found.code in CODES else found.code)
        for (index, _), found in zip(lines, checked.verdicts, strict=True)
        if found.code != PASSED
    )
    if not checked.passed or len(lines) < len(given):
        return None
    totals = total_up(zip(charged, checked.matched, strict=True), pack_lines(charged), rules)
    if totals.total_fen > money.MAX_FEN:
        errors.append(wrong("lines", "totals-too-large", f"费用合计超过 {money.yuan(money.MAX_FEN)} 元"))
    return totals


def _line(line: QuotedLineIn, index: int, code: str, visit_date: date) -> ChargeLine:
    price = money.scaled(line["unit_price"], money.PRICE_SCALE)
    quantity = money.scaled(line["quantity"], money.QUANTITY_SCALE)
    amount = line.get("line_amount")
    return ChargeLine(
        line.get("line_no") or index + 1,
        line.get("charge_date", visit_date),
        code,
        line.get("local_item_name") or "—",
        line.get("charge_category"),
        line.get("specification") or "",
        line.get("dosage_form") or "",
        price,
        quantity,
        money.amount_of(price, quantity) if amount is None else money.fen(amount),
        line.get("drug_origin") or "",
    )


def _described(item: ItemIn) -> Matched:
    limit = item.get("price_limit")
    return Matched(
        PASSED,
        coverage_class=item["coverage_class"],
        pre_self_pay_ratio_1e4=(
            money.scaled(item.get("pre_self_pay_ratio", "0"), money.RATIO_SCALE) if item["coverage_class"] == "2" else 0
        ),
        price_limit_1e4=None if limit is None else money.scaled(limit, money.PRICE_SCALE),
        benefit_group=item.get("benefit_group", ""),
    )
