"""DBF files as they are exchanged with hospitals: exact amounts, GB18030, torn files refused.

Only dBase III is read and written, because that is what the specification names and every HIS can make.
No library is used: those there are take half a record for a whole one, or an amount for a binary fraction.
"""

from producers.his.dbf_format import (
    DamagedFile,
    DbfProblem,
    IncompleteFile,
    LayoutMismatch,
    MemoRefused,
    NotDbf,
    NotYet,
    UnsupportedCodePage,
    UnsupportedKind,
    UnsupportedVersion,
)
from producers.his.dbf_lock import FileBusy
from producers.his.dbf_read import BadValue, Cell, CutText, Flaw, Table, parse, read
from producers.his.dbf_update import RESERVED, Changes, ColumnIsTheirs, RecordsChanged, update_in_place
from producers.his.dbf_write import (
    DoesNotFit,
    FileExists,
    Misfit,
    UnknownColumn,
    Value,
    append,
    shorten,
    write,
)

__all__ = [
    "RESERVED",
    "BadValue",
    "Cell",
    "Changes",
    "ColumnIsTheirs",
    "CutText",
    "DamagedFile",
    "DbfProblem",
    "DoesNotFit",
    "FileBusy",
    "FileExists",
    "Flaw",
    "IncompleteFile",
    "LayoutMismatch",
    "MemoRefused",
    "Misfit",
    "NotDbf",
    "NotYet",
    "RecordsChanged",
    "Table",
    "UnknownColumn",
    "UnsupportedCodePage",
    "UnsupportedKind",
    "UnsupportedVersion",
    "Value",
    "append",
    "parse",
    "read",
    "shorten",
    "update_in_place",
    "write",
]
