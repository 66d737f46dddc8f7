"""Files with some bytes changed: each is refused by its reader's own error, or read with what is wrong named."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from center.catalogue.files import UnreadableFile, read_items, sheets
from domain.policy.reading import PolicyUnreadable, parse
from producers.his import dbf
from producers.his.charge_lines import read_lines
from producers.his.dbf import DbfProblem
from producers.his.fields import layout
from producers.reconciling import files as books
from tests.malformed import mutations
from tests.malformed.tally import Tally
from tests.support.catalogue import ITEM_HEADINGS, ITEM_ROWS, write_csv, write_workbook

ROOT = Path(__file__).parents[2]


class _Kind(NamedTuple):
    """A kind of file: good bytes of it, and its reader, which returns how many things in it were wrong."""

    name: str
    good: bytes
    read: Callable[[bytes], int]
    refusal: type[Exception]


def run(folder: Path, *, seed: int, count: int) -> Tally:
    """Read changed files until so many were refused; the good one is read again now and then."""
    chance, tally = Random(seed), Tally("files")
    kinds = list(_kinds(folder))
    while tally.refused.total() < count:
        kind = chance.choice(kinds)
        tally.asked += 1
        _read(tally, kind, mutations.by_bytes(chance, kind.good))
        if tally.asked % 500 == 0 and kind.read(kind.good):
            tally.wrong.append(f"a good {kind.name} was found to be wrong")
    return tally


def _read(tally: Tally, kind: _Kind, content: bytes) -> None:
    try:
        wrong = kind.read(content)
    except kind.refusal as error:
        tally.refused[f"{kind.name} {type(error).__name__}"] += 1
    except Exception as error:
        tally.wrong.append(f"{kind.name} raised {type(error).__name__}: {error} for {content[:200]!r}")
    else:
        if wrong:
            tally.refused[f"{kind.name} by its values"] += 1
        else:
            tally.still_good += 1


def _kinds(folder: Path) -> Iterator[_Kind]:
    samples = ROOT / "docs" / "samples"
    for name in ("MZXM0302", "CFXM0304", "RYDJ0302", "MZDJ0302", "CYDJ0305"):
        content = (samples / f"{name}.DBF").read_bytes()
        yield _Kind(name[:4], content, _dbf_reader(name[:4]), DbfProblem)
    policy = (ROOT / "policies" / "nanchang_2025.toml").read_bytes()
    yield _Kind("policy", policy, _policy, PolicyUnreadable)
    items = write_csv(folder / "items.csv", ITEM_HEADINGS, ITEM_ROWS).read_bytes()
    yield _Kind("catalogue", items, lambda content: _catalogue(folder / "changed.csv", content), UnreadableFile)
    workbook = write_workbook(folder / "items.xlsx", ITEM_HEADINGS, ITEM_ROWS).read_bytes()
    yield _Kind("workbook", workbook, lambda content: _catalogue(folder / "changed.xlsx", content), UnreadableFile)
    rows = [f"{serial}\tT00001260302{serial:04d}\tnull\t110.00\t80.00\t0.00\t0" for serial in range(1, 30)]
    text = "".join(f"{row}\n" for row in rows).encode()
    yield _Kind("book", text, lambda content: _book(books.read_text, content), books.FileRefused)
    yield _Kind("packed book", _zipped(text), lambda content: _book(books.read, content), books.FileRefused)


def _dbf_reader(kind: str) -> Callable[[bytes], int]:
    columns = layout(kind)

    def read(content: bytes) -> int:
        table = dbf.parse(content, f"{kind}.DBF")
        table.expect(columns)
        wrong = len(table.bad_values()) + len(table.cut_texts())
        if kind in ("MZXM", "CFXM"):
            wrong += sum(1 for line in read_lines(table).lines if line.door_code)
        return wrong

    return read


def _policy(content: bytes) -> int:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise PolicyUnreadable(["not UTF-8"]) from None
    parse(text)
    return 0


def _catalogue(file: Path, content: bytes) -> int:
    file.write_bytes(content)
    return len(read_items(sheets(file)).problems)


def _book(read: Callable[[bytes], object], content: bytes) -> int:
    read(content)
    return 0


def _zipped(text: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("book.txt", text)
    return packed.getvalue()
