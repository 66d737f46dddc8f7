"""The insured persons of the sample city. Numbers are synthetic, names drawn from two lists of characters."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from domain.identity import synthetic_citizen_id

SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏水窦章云苏潘葛奚范彭郎"
GIVEN = "安柏晨丹恩芳歌涵佳凯岚铭宁鹏琪若诗桐薇晓妍泽舟逸菲昊婧珂霖沐楠栩雅芷卓瑾睿朔彤玥"

# Category (RYLB), scheme, share of the insured, mean and spread of the account balance in yuan.
GROUPS = (
    ("1", "employee", 46, 900, 0.9),
    ("2", "employee", 20, 2600, 0.8),
    ("70", "resident", 4, 0, 0.0),
    ("71", "resident", 9, 0, 0.0),
    ("72", "resident", 5, 0, 0.0),
    ("74", "resident", 7, 0, 0.0),
    ("75", "resident", 9, 0, 0.0),
)
SUSPENDED_SHARE = 0.02
UNKNOWN = 24
"""So many more persons whom the hospitals meet and the centre does not know."""


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """One person. `is_known` is whether the centre has heard of them."""

    citizen_id_no: str
    name: str
    scheme: str
    category: str
    account_balance_fen: int
    entitled: bool
    is_known: bool


def sample_people(chance: Random, count: int) -> list[SamplePerson]:
    """So many insured persons, and a few unknown ones at the end."""
    people = [_person(chance, serial, is_known=True) for serial in range(count)]
    return people + [_person(chance, count + serial, is_known=False) for serial in range(UNKNOWN)]


def _person(chance: Random, serial: int, *, is_known: bool) -> SamplePerson:
    category, scheme, _, mean, spread = chance.choices(GROUPS, weights=[group[2] for group in GROUPS])[0]
    balance = round(chance.lognormvariate(0, spread) * mean * 100) if mean else 0
    return SamplePerson(
        citizen_id_no=synthetic_citizen_id(serial),
        name=chance.choice(SURNAMES) + chance.choice(GIVEN) + chance.choice(GIVEN),
        scheme=scheme,
        category=category,
        account_balance_fen=balance,
        entitled=not is_known or chance.random() >= SUSPENDED_SHARE,
        is_known=is_known,
    )
