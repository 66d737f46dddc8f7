"""Rows a HIS has delivered and nobody has read yet: they keep a visit from being settled (2.1.2.1.3, AMB-22)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from infra.settings import Settings
from producers.his import dbf
from producers.his.exchange import OUTPATIENTS, STAYS
from producers.his.folder import files_of, signature_of
from producers.his.line_files import IMPORTED
from producers.his.tables.unread import UnreadRows

Unread = Callable[[Connection, str, str], int]


def unread_by(settings: Settings) -> Unread:
    """Counts the unread rows of a visit, in its institution's exchange folder and in its shared tables."""
    in_tables = UnreadRows(settings)
    in_files = UnreadInFiles(settings.exchange_dir) if settings.exchange_dir is not None else None

    def count(connection: Connection, institution_code: str, visit_no: str) -> int:
        files = in_files.count(institution_code, visit_no) if in_files is not None else 0
        return files + in_tables(connection, institution_code, visit_no)

    return count


class UnreadInFiles:
    """Counts rows without a verdict in the files of charge lines. A file is read once, until it changes."""

    def __init__(self, exchange_dir: Path) -> None:
        self._exchange_dir = exchange_dir
        self._known: dict[Path, tuple[tuple[int, int], dict[str, int]]] = {}

    def count(self, institution_code: str, visit_no: str) -> int:
        """How many rows of the visit are neither imported nor refused; a file that cannot be read holds none."""
        folder = self._exchange_dir / institution_code
        paths = [path for kind in (STAYS, OUTPATIENTS) for path in files_of(folder, kind)]
        for gone in [path for path in self._known if path.parent == folder and path not in set(paths)]:
            del self._known[gone]
        return sum(self._in(path).get(visit_no, 0) for path in paths)

    def _in(self, path: Path) -> dict[str, int]:
        signature = signature_of(path)
        known = self._known.get(path)
        if signature is None:
            return {}
        if known is None or known[0] != signature:
            known = self._known[path] = (signature, _unread(path))
        return known[1]


def _unread(path: Path) -> dict[str, int]:
    try:
        table = dbf.read(path)
        rows = zip(table.texts("JYDJH"), table.numbers("DRBZ"), table.texts("BZ3"), strict=True)
    except (dbf.DbfProblem, FileNotFoundError):
        return {}
    counted: dict[str, int] = {}
    for visit_no, flag, code in rows:
        if flag != IMPORTED and not code and isinstance(visit_no, str):
            counted[visit_no] = counted.get(visit_no, 0) + 1
    return counted
