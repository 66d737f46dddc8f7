"""What a day's file of outpatient charge lines (MZXM, 20 columns) costs in CPU: our codec, dbfread and dbf.

The two libraries are slow enough to be measured on fewer records; their figures are scaled to the same count.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from time import process_time
from typing import Any

import dbf as dbf_library  # type: ignore[import-untyped]
import dbfread  # type: ignore[import-untyped]

from domain.catalogue import Catalogue, CatalogueItem, Match
from domain.checks import check_lines
from domain.codes import PASSED
from domain.visit import Visit, VisitType
from producers.his import dbf
from producers.his.charge_lines import read_lines
from producers.his.fields import Layout, layout

RECORDS = 100_000
MEASURED_ON = {"ours": RECORDS, "dbfread": 10_000, "dbf": 2_000}
DAY = date(2025, 3, 1)
INSTITUTION = "440604000123"
COLUMNS_OF_A_CHECK = ("JYDJH", "XMBH", "FYRQ", "JG", "MCYL", "JE")

MZXM = layout("MZXM")
Row = dict[str, dbf.Value]


def run() -> dict[str, Any]:
    """Return CPU seconds per 100,000 records, best of three, and on how many records each was measured."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "MZXM0301.DBF"), Path(folder, "DBF.DBF")
        different = Path(folder, "DIFFERENT.DBF")
        day = list(charge_lines(RECORDS))
        dbf.write(different, MZXM, lines_without_repetition(RECORDS), day=DAY)
        catalogue = _catalogue(day)
        seconds = {
            "write": {
                "ours": _cpu("ours", lambda: _write(ours, day)),
                "dbf": _cpu("dbf", lambda: _write_with_dbf(theirs, day[: MEASURED_ON["dbf"]])),
            },
            "read": {
                "ours": _cpu("ours", lambda: _columns(ours, MZXM.codes)),
                "ours, columns of a check": _cpu("ours", lambda: _columns(ours, COLUMNS_OF_A_CHECK)),
                "ours, read and validated": _cpu("ours", lambda: _validated(ours, catalogue)),
                "ours, as rows": _cpu("ours", lambda: list(dbf.read(ours).rows())),
                "ours, no value twice": _cpu("ours", lambda: _columns(different, MZXM.codes)),
            },
            "flags written back": {"ours": _cpu_of_update(ours)},
        }
        dbf.write(different.with_name("SHORT.DBF"), MZXM, day[: MEASURED_ON["dbfread"]], day=DAY)
        seconds["read"]["dbfread"] = _cpu(
            "dbfread", lambda: list(dbfread.DBF(different.with_name("SHORT.DBF"), encoding="gb18030"))
        )
        seconds["read"]["dbf"] = _cpu("dbf", lambda: _read_with_dbf(theirs))
    return {"cpu_seconds_per_100000_records": seconds, "measured_on_records": MEASURED_ON}


def charge_lines(count: int, *, seed: int = 1) -> Iterator[Row]:
    """Yield charge lines as a busy hospital has them: visits of a few lines from a few thousand items."""
    chance = random.Random(seed)
    items = [_item(number, chance) for number in range(3_000)]
    for index in range(count):
        visit, line = divmod(index, 6)
        item = chance.choice(items)
        quantity = Decimal(chance.choice((1, 1, 1, 2, 3, 6, 10)))
        yield {
            **item,
            "JYDJH": f"4406250301{visit:06}",
            "YYBH": INSTITUTION,
            "GMSFHM": f"440604{1940 + visit % 70}0{1 + visit % 9}1{visit % 10}{visit % 9973:04}",
            "ZYH": f"M{visit:09}",
            "RYRQ": DAY,
            "FYRQ": DAY,
            "XMXH": line + 1,
            "MCYL": quantity,
            "JE": _to_fen(_price(item) * quantity),
            "DRBZ": 0,
        }


def lines_without_repetition(count: int) -> Iterator[Row]:
    """Yield lines whose texts, prices and amounts all differ: the worst case of a codec that remembers."""
    for index, line in enumerate(charge_lines(count)):
        price = Decimal(index + 1) / 10_000
        yield {
            **line,
            "JYDJH": f"{index:016}",
            "GMSFHM": f"{index:018}",
            "ZYH": f"{index:012}",
            "RYRQ": DAY - timedelta(days=index % 20_000),
            "XMXH": index % 99_999 + 1,
            "XMBH": f"X{index:014}",
            "XMMC": f"氯化钠注射液{index:06}号",
            "YPGG": f"{index}毫升每袋",
            "YPJX": f"注射剂{index}",
            "JG": price,
            "JE": Decimal(index + 1) / 100,
            "BZ1": f"{index:019}",
        }


def _item(number: int, chance: random.Random) -> Row:
    name, form, strength = chance.choice(
        (
            ("阿莫西林胶囊", "胶囊剂", "0.25g*24粒"),
            ("氯化钠注射液", "注射剂", "250ml:2.25g"),
            ("普通门诊诊查费", "", "次"),
            ("静脉输液（门诊）", "", "次"),
            ("血细胞分析（五分类）", "", "项"),
        )
    )
    return {
        "XMBH": f"{number:07}",
        "XMMC": f"{name}{number % 97}",
        "FLDM": number % 19 + 1,
        "YPGG": strength,
        "YPJX": form,
        "JG": Decimal(chance.randrange(1, 5_000_000)) / 10_000,
        "YPLY": str(number % 3 + 1),
    }


def _price(item: Row) -> Decimal:
    price = item["JG"]
    assert isinstance(price, Decimal)
    return price


def _to_fen(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _write(path: Path, rows: list[Row]) -> None:
    path.unlink(missing_ok=True)
    dbf.write(path, MZXM, rows, day=DAY)


def _columns(path: Path, codes: tuple[str, ...]) -> list[list[dbf.Cell]]:
    table = dbf.read(path)
    return [table.columns[code] for code in codes]


def _catalogue(lines: list[Row]) -> Catalogue:
    """A catalogue in which every item of these lines is matched."""
    codes = sorted({str(line["XMBH"]) for line in lines})
    items = [CatalogueItem(f"C{code}", code, "1", "1", "01", 0) for code in codes]
    matches = [Match(INSTITUTION, code, "1", f"C{code}", code, "1", True) for code in codes]
    return Catalogue("bench", items, matches)


def _validated(path: Path, catalogue: Catalogue) -> int:
    """Read every record as a charge line and check it as the front-end does; how many passed."""
    table = dbf.read(path)
    numbers, (lines, _, persons, _) = table.texts("JYDJH"), read_lines(table)
    passed = start = 0
    for end in range(1, len(lines) + 1):
        if end == len(lines) or numbers[end] != numbers[start]:
            visit = Visit(
                visit_no=str(numbers[start]),
                institution_code=INSTITUTION,
                citizen_id_no=persons[start],
                visit_type=VisitType.OUTPATIENT,
                visit_date=DAY,
            )
            checked = check_lines(visit, lines[start:end], catalogue, DAY)
            passed += sum(verdict.code == PASSED for verdict in checked.verdicts)
            start = end
    return passed


def _cpu_of_update(path: Path) -> float:
    table = dbf.read(path)
    changes: dict[str, str | int | None] = {"BZ1": "2025-03-01 12:00:00", "BZ3": "00", "DRBZ": 1}
    updates = dict.fromkeys(table.records, changes)
    return _cpu("ours", lambda: dbf.update_in_place(path, updates, as_read=table))


def _write_with_dbf(path: Path, rows: list[Row]) -> None:
    path.unlink(missing_ok=True)
    with dbf_library.Table(str(path), _specification(MZXM), codepage="cp936", dbf_type="db3") as table:
        for row in rows:
            table.append({code.lower(): value for code, value in row.items() if value is not None})


def _read_with_dbf(path: Path) -> list[tuple[object, ...]]:
    with dbf_library.Table(str(path)) as table:
        return [tuple(record) for record in table]


def _specification(columns: Layout) -> str:
    sizes = {"C": "({0.width})", "N": "({0.width},{0.decimals})", "D": "", "L": ""}
    return "; ".join(f"{field.code} {field.kind}{sizes[field.kind].format(field)}" for field in columns)


def _cpu(who: str, work: Callable[[], object]) -> float:
    """Return the CPU seconds of the fastest of three runs, scaled to 100,000 records."""
    best = min(_once(work) for _ in range(3))
    return round(best * RECORDS / MEASURED_ON[who], 3)


def _once(work: Callable[[], object]) -> float:
    started = process_time()
    work()
    return process_time() - started
