"""Where in a policy file a fact stands: the line of every table, key and array element of a TOML text.

`tomllib` gives values without their place, and an office repairs a file by its lines. The text has been read by
`tomllib` before, so nothing is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and positions from the top, such as ("policy", "facts", 0, "ratio")."""

_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r]+ | \#[^\n]*)
    | (?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
    | (?P<mark>\n | [\[\]{},=])
    | (?P<bare>[^\s\[\]{},=\#"']+)
    """,
    re.VERBOSE | re.DOTALL,
)
_END = "\0"


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def places(text: str) -> Mapping[Path, int]:
    """The line, counted from 1, on which each table, key and array element of a TOML document starts."""
    return _Walk(text).found


class _Walk:
    """One pass over the document from left to right."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._tokens = _tokens(text)
        self._next = next(self._tokens)
        self._counts: dict[Path, int] = {}
        table: Path = ()
        while self._next.kind != _END:
            if self._next.text == "\n":
                self._take()
            elif self._next.text == "[":
                table = self._header()
            else:
                self._pair(table)

    def _take(self) -> _Token:
        token, self._next = self._next, next(self._tokens)
        return token

    def _skip_lines(self) -> None:
        while self._next.text == "\n":
            self._take()

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the path of the table that begins; part of an array of tables where one was opened."""
        line = self._take().line
        in_array = self._next.text == "["
        if in_array:
            self._take()
        *above, last = self._keys("]")
        self._take()
        if in_array:
            self._take()
        path: Path = ()
        for key in above:
            self.found.setdefault((*path, key), line)
            path = self._within((*path, key))
        path = (*path, last)
        if in_array:
            self._counts[path] = self._counts.get(path, 0) + 1
            self.found.setdefault(path, line)
            path = self._within(path)
        self.found.setdefault(path, line)
        return path

    def _within(self, path: Path) -> Path:
        return (*path, self._counts[path] - 1) if path in self._counts else path

    def _keys(self, until: str) -> list[str]:
        keys: list[str] = []
        while self._next.text != until:
            token = self._take()
            if token.kind == "text":
                keys.append(token.text[1:-1])
            else:
                keys.extend(part for part in token.text.split(".") if part)
        return keys

    def _pair(self, table: Path) -> None:
        line = self._next.line
        path: Path = table
        for key in self._keys("="):
            path = (*path, key)
            self.found.setdefault(path, line)
        self._take()
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._next.text == "[":
            self._array(path)
        elif self._next.text == "{":
            self._table(path)
        else:
            while self._next.text not in (",", "]", "}", "\n") and self._next.kind != _END:
                self._take()

    def _array(self, path: Path) -> None:
        self._take()
        position = 0
        while True:
            self._skip_lines()
            if self._next.text == "]":
                break
            self.found[(*path, position)] = self._next.line
            self._value((*path, position))
            position += 1
            self._skip_lines()
            if self._next.text == ",":
                self._take()
        self._take()

    def _table(self, path: Path) -> None:
        self._take()
        self._skip_lines()
        while self._next.text != "}":
            self._pair(path)
            self._skip_lines()
            if self._next.text == ",":
                self._take()
                self._skip_lines()
        self._take()


def _tokens(text: str) -> Iterator[_Token]:
    line, position = 1, 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:  # what tomllib would not have read
            break
        if found.lastgroup != "blank":
            yield _Token(str(found.lastgroup), found.group(), line)
        line += found.group().count("\n")
        position = found.end()
    while True:
        yield _Token(_END, "", line)
