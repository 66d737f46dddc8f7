"""Two hospital information systems that know the specification and nothing of our code.

One writes its files with the `dbf` library, mends single fields in place, and reads ours with `dbfread`; the other
speaks plain SQL over the login its institution was given.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import dbf
import dbfread
import psycopg

from domain.visit import ChargeLine

Result = Mapping[str, Any]
"""A row of FYJS by column: text, whole number, Decimal, date, or None where it is blank."""


class Ordered(NamedTuple):
    """A line as this HIS has it in its books: whose it is, and what."""

    visit_no: str
    citizen_id_no: str
    admitted: date
    line: ChargeLine


class Verdict(NamedTuple):
    """What stands on a charge line: DRBZ and BZ3."""

    flag: int
    code: str


class His(Protocol):
    """What the week asks of either of them."""

    def registered(self) -> dict[str, str]:
        """Identity number to visit number, of the registrations handed out."""

    def orders(self, lines: Sequence[Ordered], day: date) -> None:
        """Deliver a day's lines."""

    def corrects(self, lines: Sequence[Ordered], *, anew: bool) -> None:
        """Deliver these lines once more as they should have been; `anew` by taking them back first."""

    def verdicts(self) -> dict[tuple[str, int], Verdict]:
        """What stands on every line, by visit and number."""

    def results(self) -> list[Result]:
        """Every row of FYJS."""

    def reads_results(self) -> None:
        """Write the flag on the results that are unread."""

    def discharged(self) -> list[str]:
        """The visits of the discharges handed out."""


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────

CFXM = (
    "JYDJH C(16); YYBH C(18); GMSFHM C(18); ZYH C(12); RYRQ D; FYRQ D; XMXH N(5,0); XMBH C(15); XMMC C(40); "
    "FLDM N(3,0); YPGG C(30); YPJX C(30); JG N(14,4); MCYL N(10,2); JE N(14,2); BZ1 C(20); BZ2 C(20); BZ3 C(20); "
    "DRBZ N(3,0); YPLY C(3)"
)


class FilesHis:
    """A HIS on exchange files."""

    def __init__(self, folder: Path, institution_code: str) -> None:
        self._folder, self._code = folder, institution_code

    def registered(self) -> dict[str, str]:
        """Of RYDJ."""
        return {row["GMSFHM"]: row["JYDJH"] for row in self._read("RYDJ", "GMSFHM", "JYDJH")}

    def orders(self, lines: Sequence[Ordered], day: date) -> None:
        """Append to the file of the day, as the library does it."""
        path = self._folder / f"CFXM{day:%m%d}.DBF"
        table = dbf.Table(str(path)) if path.exists() else dbf.Table(str(path), CFXM, codepage="cp936", dbf_type="db3")
        table.open(dbf.READ_WRITE)
        for ordered in lines:
            table.append({code.lower(): value for code, value in self._row(ordered).items()})
        table.close()

    def corrects(self, lines: Sequence[Ordered], *, anew: bool) -> None:
        """Write over the fields that were wrong; with `anew` also over the marks, as if the row were a new one."""
        wanted = {(ordered.visit_no, ordered.line.line_no): ordered for ordered in lines}
        for path in self._files("CFXM"):
            raw = RawFile(path)
            for record in raw.records():
                ordered = wanted.get((raw.text(record, "JYDJH"), int(raw.text(record, "XMXH"))))
                if ordered is None or int(raw.text(record, "DRBZ") or 0) == 1:
                    continue
                row = self._row(ordered)
                for code in ("XMBH", "XMMC", "JG", "MCYL", "JE"):
                    raw.put(record, code, row[code])
                if anew:
                    raw.put(record, "BZ3", "")
                    raw.put(record, "DRBZ", 0)

    def verdicts(self) -> dict[tuple[str, int], Verdict]:
        """Of every file of the week."""
        found = {}
        for path in self._files("CFXM"):
            raw = RawFile(path)
            for record in raw.records():
                key = raw.text(record, "JYDJH"), int(raw.text(record, "XMXH"))
                assert key not in found, f"two records of one line, {key}"
                found[key] = Verdict(int(raw.text(record, "DRBZ") or 0), raw.text(record, "BZ3"))
        return found

    def results(self) -> list[Result]:
        """Of FYJS, as `dbfread` reads them."""
        rows: list[Result] = []
        for path in self._files("FYJS"):
            for row in dbfread.DBF(path, encoding="gb18030", char_decode_errors="strict"):
                rows.append({code: _exact(value) for code, value in row.items()})
        return rows

    def reads_results(self) -> None:
        """One byte of each unread record."""
        for path in self._files("FYJS"):
            raw = RawFile(path)
            for record in raw.records():
                if int(raw.text(record, "DRBZ") or 0) == 0:
                    raw.put(record, "DRBZ", 1)

    def discharged(self) -> list[str]:
        """Of CYDJ."""
        return [row["JYDJH"] for row in self._read("CYDJ", "JYDJH")]

    def _row(self, ordered: Ordered) -> dict[str, Any]:
        return {
            "JYDJH": ordered.visit_no,
            "YYBH": self._code,
            "GMSFHM": ordered.citizen_id_no,
            "ZYH": ordered.visit_no[-10:],
            "RYRQ": ordered.admitted,
            **_columns(ordered.line),
            "DRBZ": 0,
        }

    def _read(self, kind: str, *codes: str) -> Iterable[dict[str, str]]:
        for path in self._files(kind):
            raw = RawFile(path)
            for record in raw.records():
                yield {code: raw.text(record, code) for code in codes}

    def _files(self, kind: str) -> list[Path]:
        return sorted(self._folder.glob(f"{kind}????.DBF"))


class RawFile:
    """A DBF file by its bytes, as a program of 1995 has it: whole records by number, a field written in place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = path.read_bytes()
        count, self._begin, self._length = struct.unpack("<IHH", self._content[4:12])
        self._count = min(count, (len(self._content) - self._begin) // self._length)
        self._fields: dict[str, tuple[int, int, str, int]] = {}
        at = 1
        for start in range(32, self._begin - 1, 32):
            name, kind = self._content[start : start + 11].split(b"\0")[0].decode(), chr(self._content[start + 11])
            width, decimals = self._content[start + 16], self._content[start + 17]
            self._fields[name] = (at, width, kind, decimals)
            at += width

    def records(self) -> range:
        """The numbers of the records that are there."""
        return range(self._count)

    def text(self, record: int, code: str) -> str:
        """A field as it stands, without its blanks."""
        at, width, _, _ = self._fields[code]
        start = self._begin + record * self._length + at
        return self._content[start : start + width].decode("gb18030").strip(" \0")

    def put(self, record: int, code: str, value: object) -> None:
        """Write one field."""
        at, width, kind, decimals = self._fields[code]
        if kind == "N":
            cell = f"{value:>{width}.{decimals}f}".encode()
        else:
            cell = str(value or "").encode("gb18030").ljust(width)
        with self._path.open("r+b", buffering=0) as file:
            file.seek(self._begin + record * self._length + at)
            file.write(cell)


# ── Tables ────────────────────────────────────────────────────────────────────────────────────────────────


class TablesHis:
    """A HIS on shared tables: every statement a transaction of its own, values as literals, no column list."""

    def __init__(self, connection: psycopg.Connection[Any], institution_code: str) -> None:
        self._connection, self._code = connection, institution_code

    def registered(self) -> dict[str, str]:
        """Of HIS_ZYDJ."""
        rows = self._connection.execute("SELECT GMSFHM, JYDJH FROM HIS_ZYDJ").fetchall()
        assert len({row[1] for row in rows}) == len(rows), "a visit is registered twice"
        return dict(rows)

    def orders(self, lines: Sequence[Ordered], day: date) -> None:
        """Insert row by row."""
        for ordered in lines:
            self._connection.execute(self._insert(ordered))

    def corrects(self, lines: Sequence[Ordered], *, anew: bool) -> None:
        """Update what was wrong, or delete the row and insert it again."""
        for ordered in lines:
            key = f"JYDJH = '{ordered.visit_no}' AND XMXH = {ordered.line.line_no}"
            if anew:
                with self._connection.transaction():
                    self._connection.execute(f"DELETE FROM HIS_CFXM WHERE {key}")
                    self._connection.execute(self._insert(ordered))
                continue
            columns = _columns(ordered.line)
            wrong = ("XMBH", "XMMC", "JG", "MCYL", "JE")
            changes = ", ".join(f"{code} = {_literal(columns[code])}" for code in wrong)
            self._connection.execute(f"UPDATE HIS_CFXM SET {changes} WHERE {key}")

    def verdicts(self) -> dict[tuple[str, int], Verdict]:
        """Of every row."""
        rows = self._connection.execute("SELECT JYDJH, XMXH, DRBZ, BZ3 FROM HIS_CFXM").fetchall()
        found = {(visit_no, int(number)): Verdict(int(flag or 0), code or "") for visit_no, number, flag, code in rows}
        assert len(found) == len(rows), "two rows of one line"
        return found

    def results(self) -> list[Result]:
        """SELECT * of HIS_FYJS."""
        cursor = self._connection.execute("SELECT * FROM HIS_FYJS ORDER BY JYDJH, FYPC")
        codes = [column.name.upper() for column in cursor.description or ()]
        return [{code: _exact(value) for code, value in zip(codes, row, strict=True)} for row in cursor]

    def reads_results(self) -> None:
        """In one statement."""
        self._connection.execute("UPDATE HIS_FYJS SET DRBZ = 1 WHERE DRBZ = 0")

    def discharged(self) -> list[str]:
        """Of HIS_CYDJ."""
        return [row[0] for row in self._connection.execute("SELECT JYDJH FROM HIS_CYDJ")]

    def _insert(self, ordered: Ordered) -> str:
        columns = _columns(ordered.line)
        values = [
            ordered.visit_no, ordered.visit_no[:6], ordered.citizen_id_no, "", ordered.admitted, columns["FYRQ"],
            columns["XMXH"], columns["XMBH"], columns["XMMC"], columns["FLDM"], columns["YPGG"], columns["YPJX"],
            columns["JG"], columns["MCYL"], columns["JE"], "", "", "", 0, "",
        ]  # fmt: skip
        return f"INSERT INTO HIS_CFXM VALUES ({', '.join(map(_literal, values))})"


def _columns(line: ChargeLine) -> dict[str, Any]:
    """The line as a HIS has it: yuan and boxes, not fen."""
    return {
        "FYRQ": line.charge_date,
        "XMXH": line.line_no,
        "XMBH": line.local_item_code,
        "XMMC": line.local_item_name,
        "FLDM": line.charge_category,
        "YPGG": line.specification,
        "YPJX": line.dosage_form,
        "JG": Decimal(line.unit_price_1e4 or 0).scaleb(-4),
        "MCYL": Decimal(line.quantity_1e2 or 0).scaleb(-2),
        "JE": Decimal(line.line_amount_fen or 0).scaleb(-2),
    }


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int | Decimal) else f"'{value}'"


def _exact(value: object) -> object:
    """What a number or a text says, whatever type it came as."""
    match value:
        case float():
            return Decimal(str(value)).quantize(Decimal("0.01"))
        case Decimal():
            return int(value) if value == value.to_integral() and value.as_tuple().exponent == 0 else value
        case str():
            return value.strip() or None
        case _:
            return value
