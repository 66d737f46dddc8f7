"""The Chinese words in which the policy commands speak of kinds, cases and findings."""

from __future__ import annotations

from domain.policy.facts import Case

CODES_ZH = {
    "unreadable": "不能读取",
    "example": "算例不能读取",
    "not-marked": "未注明假定",
    "assumed": "假定的数值",
    "unused-source": "来源未引用",
    "unknown-name": "条件未登记",
    "unused-name": "条件未使用",
    "unknown-person": "人员类别代码不对",
    "two-sets": "两个政策同时适用",
    "two-facts": "一种情形有两条规定",
    "gap": "分段有空档",
    "overlap": "分段重叠",
    "above-all": "支付超过全部费用",
    "no-deductible": "没有起付标准",
    "no-rounding": "没有取整规定",
    "no-share": "没有支付比例",
    "unknown-amount": "数值未知",
    "gap-in-time": "日期有空档",
    "follows-itself": "比例互相引用",
    "for-nobody": "无人适用",
    "no-effect": "没有效果",
    "unreachable": "到不了的条款",
    "dearer-pays-less": "费用多反而负担少",
    "expires": "即将到期",
}

KINDS_ZH = {
    "account_pays": "个人账户支付范围",
    "benefit_year": "待遇年度",
    "cap": "最高支付限额",
    "cap_add": "提高限额",
    "condition": "条件的推定",
    "deductible": "起付标准",
    "deductible_again": "长期住院再次起付",
    "deductible_exempt": "免起付",
    "deductible_factor": "起付系数",
    "deductible_nth_stay": "多次住院起付",
    "deductible_on_transfer": "转院起付",
    "deductible_total": "起付累计上限",
    "entitlement": "待遇状态",
    "fixed_pooled_amount": "定额统筹",
    "full_cover": "全额保障",
    "institution_share": "医药机构分担",
    "layer_order": "补充层的顺序",
    "layer_share": "补充层支付比例",
    "limit_count": "次数限制",
    "line_split": "明细分割",
    "person_cap": "个人负担封顶",
    "pre_self_pay": "乙类先行自付",
    "pre_self_pay_visit": "整次先行自付",
    "refund": "退费规则",
    "rounding": "取整",
    "self_share_factor": "个人比例系数",
    "settled_at_counter": "窗口结算的层次",
    "share": "统筹支付比例",
    "share_add": "提高百分点",
    "share_factor": "支付比例系数",
    "share_minus_points": "降低百分点",
    "subsidy": "补助",
    "threshold": "补充层起付",
    "year_end": "跨年结算",
}

SCHEMES_ZH = {
    "any": "全部参保人",
    "employee": "职工",
    "resident": "居民",
    "large_amount": "大额医疗",
    "retiree_supplement": "退休补充",
    "serious_illness": "大病保险",
    "enterprise": "企业补充",
    "civil_servant": "公务员补助",
    "assistance": "医疗救助",
    "other": "其他基金",
}
CATEGORIES_ZH = {
    "1": "在职", "2": "退休", "3": "离休", "4": "1至4级工残", "5": "无业", "7": "退职", "70": "学龄前儿童",
    "71": "中小学生", "72": "大中专学生", "73": "其他未成年人", "74": "非从业人员", "75": "老年人",
}  # fmt: skip
VISITS_ZH = {"1": "住院", "2": "门诊特定项目", "3": "门诊", "4": "购药"}
LEVELS_ZH = ("基层", "一级", "二级", "三级")
PERIODS_ZH = {
    "visit": "每次", "stay": "每次住院", "settlement_period": "每结算周期", "day": "每日", "month": "每月",
    "quarter": "每季度", "year": "每年度",
}  # fmt: skip
SEGMENTS_ZH = {
    "own_expense": "全自费",
    "over_price_limit": "超限价",
    "pre_self_pay": "乙类先行自付",
    "pre_self_pay_visit": "整次先行自付",
    "self_pay_visit": "整次先行自付",
    "fixed_item": "定额项目",
    "in_scope": "政策范围内",
    "deductible": "起付标准以下",
    "shared": "共付段",
    "large_amount": "大额段",
    "over_cap": "超限额",
}


def case_in_words(case: Case) -> str:
    """A case as an office would name it."""
    parts = [
        SCHEMES_ZH.get(case.scheme, case.scheme),
        CATEGORIES_ZH.get(case.category, case.category) + ("（公务员）" if case.civil_servant else ""),
        VISITS_ZH[case.visit_type.value],
        LEVELS_ZH[case.institution_level],
        case.day.isoformat(),
    ]
    if case.age is not None:
        parts.append(f"{case.age} 岁")
    return "，".join([*parts, *sorted(case.holds)])
