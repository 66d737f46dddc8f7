"""The codes a charge line can come back with (费用效验结果 BZ3), what each says, and what the cashier does about it.

00 to 14 and 21 are printed in the specification, word for word; 90 to 96 are its proposed extensions (AMB-32).
"""

from __future__ import annotations

from typing import NamedTuple

PASSED = "00"


class ValidationCode(NamedTuple):
    """One code: the message as the specification prints it, the same in English, and the way out in Chinese."""

    code: str
    message_zh: str
    message_en: str
    advice_zh: str


_TABLE = (
    ValidationCode(
        PASSED,
        "成功，表示费用数据效验成功",
        "Success: the charge line passed validation",
        "无需处理；同一就诊的其他明细若有错误，改正后整单重传",
    ),
    ValidationCode("01", "项目序号字段xmxh为空", "Line number XMXH is empty", "给这条明细编上本次就诊内不重复的序号"),
    ValidationCode("02", "项目编号字段xmbh为空", "Item code XMBH is empty", "填写本院的项目编号"),
    ValidationCode("03", "项目名称字段xmmc为空", "Item name XMMC is empty", "填写本院的项目名称"),
    ValidationCode(
        "04",
        "费用发生时间字段fyrq为空",
        "Charge date FYRQ is empty",
        "填写费用发生的日期，须为日历上有的一天",
    ),
    ValidationCode(
        "05",
        "费用发生日期错误，费用发生日期小于登记日期",
        "Charge date wrong: earlier than the registration date",
        "核对费用日期；确属登记之前的费用不能记在这次就诊上",
    ),
    ValidationCode(
        "06",
        "项目无有效匹配信息，项目在费用发生的有效期内没有审核通过的匹配数据",
        "No valid match: no audited match record valid at the charge date",
        "在医保客户端做目录对应并提交审核，通过后重传",
    ),
    ValidationCode(
        "07",
        "项目存在多条匹配记录，项目在费用发生的有效期内存在多条审核通过的匹配数据",
        "Several match records: more than one audited match record valid at the charge date",
        "请中心停用多余的对应关系，一个项目在同一天只留一条",
    ),
    ValidationCode(
        "08",
        "获取项目匹配错误，项目的匹配数据不完整",
        "Match could not be used: match data incomplete",
        "补全对应关系的中心编码和甲乙标志，并确认该中心项目当天有效、乙类有自付比例",
    ),
    ValidationCode(
        "09",
        "项目类别错误，项目匹配数据的匹配类型为空值",
        "Item category wrong: match type of the match record is null",
        "补填对应关系的匹配类型",
    ),
    ValidationCode(
        "10",
        "统计类别错误，项目匹配数据的统计类别为空值",
        "Statistical category wrong: statistical category of the match data is null",
        "请中心补填该目录项目的统计类别",
    ),
    ValidationCode(
        "11",
        "费用单价错误，费用单价为空或小于等于0",
        "Unit price wrong: empty or not greater than 0",
        "单价填大于零的数；退费用负数量，不用负单价",
    ),
    ValidationCode("12", "费用数量错误，数量为空或等于0", "Quantity wrong: empty or 0", "填写数量；退费填负数"),
    ValidationCode(
        "13",
        "费用金额错误，金额为空或等于0",
        "Amount wrong: empty or 0",
        "填写金额；不足一分钱的明细请合并后上传",
    ),
    ValidationCode(
        "14",
        "费用金额错误，费用金额不等于费用单价×数量",
        "Amount wrong: not unit price x quantity",
        "金额按单价乘数量四舍五入到分重新计算",
    ),
    ValidationCode(
        "21",
        "金额冲减错误，上传的负费用合计大于正费用合计",
        "Reversal amount wrong: total of uploaded negative charges exceeds total of positive charges",
        "核对退费明细：整单和每个项目退的都不能多于收的；已结算的费用请先冲销结算",
    ),
    ValidationCode(
        "90",
        "就医登记号为空或不存在",
        "Visit number JYDJH is empty or unknown",
        "按登记返回的就医登记号填写，不要自编",
    ),
    ValidationCode(
        "91",
        "就诊已办结或已取消",
        "The visit is not open: discharged or cancelled",
        "重新登记后上传，或撤销原来的办结",
    ),
    ValidationCode(
        "92",
        "医院编号与就诊登记的机构不一致",
        "YYBH is not the institution of the visit: an illegal record",
        "改为登记本次就诊的机构编号",
    ),
    ValidationCode(
        "93",
        "公民身份号码与就诊登记的参保人不一致",
        "GMSFHM is not the person of the visit",
        "核对就诊人，按登记时的号码填写",
    ),
    ValidationCode(
        "94",
        "项目序号在本次就诊中重复",
        "Line number XMXH is repeated in the visit with other content",
        "给后一条明细换一个没有用过的序号",
    ),
    ValidationCode(
        "95",
        "费用发生日期晚于读入日期或出院日期",
        "Charge date is after the read-in day or the discharge date",
        "核对费用日期；明天的费用明天再传",
    ),
    ValidationCode(
        "96",
        "字段超长、超出取值范围或无法识别",
        "A value is too long, out of range or cannot be decoded",
        "按字段表检查长度、小数位和汉字编码",
    ),
)

CODES: dict[str, ValidationCode] = {row.code: row for row in _TABLE}

OTHER_VISIT_DATE, OTHER_CATEGORY = "W1", "W2"
_WARNINGS = (
    ValidationCode(
        OTHER_VISIT_DATE,
        "明细上的入院（就诊）日期与登记的不一致，以登记的为准",
        "RYRQ of the line is not the registration's, which counts (AMB-06)",
        "核对这条明细是否属于本次就诊；费用已读入，无须重传",
    ),
    ValidationCode(
        OTHER_CATEGORY,
        "明细的分类代码与中心目录的统计类别不一致，结算以中心目录为准",
        "FLDM is not the centre's STAT_TYPE, which counts for the settlement (AMB-39, AMB-40)",
        "核对本院项目的费用分类或目录对应；费用已读入，无须重传",
    ),
)
WARNINGS: dict[str, ValidationCode] = {row.code: row for row in _WARNINGS}
"""What is told of lines that are good: in the log, the error list and the API, and never in BZ3."""
