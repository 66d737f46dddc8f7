"""Heads of the chains in a file (链头导出), day by day, outside the database.

Whoever may do everything to the database can write a chain anew from some link on, and it is whole in itself. What he
cannot change is what has left: each file says where every chain stood at one moment. Keep the folder where the
database's administrator cannot write: copied away, printed, or on a medium that is written once.

A file is text, one chain a line: institution, number of the newest link, head in hex, separated by TAB. The first line
is a comment with the moment; the last one is the SHA-256 of all before it.
"""

from __future__ import annotations

import os
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from center.ledger.chain import Head
from center.settling.records import cursor_of

SEAL = "sha256"


class ExportedHead(NamedTuple):
    """Where an institution's chain stood at a moment."""

    institution_code: str
    head: Head
    at: datetime


class Exported(NamedTuple):
    """What has left the database: heads, and the moment of the newest file."""

    heads: tuple[ExportedHead, ...]
    newest_at: datetime | None


class NotAnExport(Exception):
    """A file of heads cannot be read, or is not as it was written; the message names the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.name} 不是导出的链头，或已被改动")
        self.file = path.name


def export(connection: Connection, folder: Path, *, at: datetime) -> Path:
    """Write where every chain stands now; the file, on the disk when this returns. Raises OSError."""
    cursor = cursor_of(connection)
    cursor.execute("SELECT institution_code, link_no, head FROM chain_head WHERE link_no > 0 ORDER BY institution_code")
    lines = [f"# {at.isoformat()}"]
    lines += [f"{code}\t{link_no}\t{head.hex()}" for code, link_no, head in cursor.fetchall()]
    text = "".join(f"{line}\n" for line in lines)

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"heads-{at:%Y%m%d-%H%M%S}.tsv"
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(f"{text}{SEAL}\t{_seal_of(text)}\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    return path


def is_exported(folder: Path, day: date) -> bool:
    """Whether a day's heads are in the folder."""
    return any(folder.glob(f"heads-{day:%Y%m%d}-*.tsv"))


def exported(place: Path) -> Exported:
    """The heads in a file, or in all files of a folder; nothing where there is none. Raises NotAnExport."""
    files = sorted(place.glob("heads-*.tsv")) if not place.is_file() else [place]
    read = [_read(path) for path in files]
    heads = tuple(head for _, of_file in read for head in of_file)
    return Exported(heads, max((at for at, _ in read), default=None))


def _read(path: Path) -> tuple[datetime, list[ExportedHead]]:
    try:
        text = path.read_text(encoding="utf-8")
        *lines, last = text.splitlines()
        seal = last.removeprefix(f"{SEAL}\t")
        if seal != _seal_of("".join(f"{line}\n" for line in lines)):
            raise NotAnExport(path)
        first, *rows = lines
        at = datetime.fromisoformat(first.removeprefix("# "))
        cells = [row.split("\t") for row in rows]
        heads = [ExportedHead(code, Head(int(link_no), bytes.fromhex(head)), at) for code, link_no, head in cells]
        return at, heads
    except (OSError, ValueError) as error:
        raise NotAnExport(path) from error


def _seal_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()
