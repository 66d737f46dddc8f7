"""The policy a quote is made by: the sets of a folder, or the one that was asked for."""

from __future__ import annotations

from pathlib import Path

from domain.policy import PolicyBook
from domain.policy.facts import PolicySet
from domain.policy.reading import PolicyUnreadable, parse
from producers.quote.settling import CannotQuote


def policy_book(folder: Path, choice: str = "") -> PolicyBook:
    """The policy sets of a folder, or the one chosen by its id, its version or a path. Raises CannotQuote."""
    if choice and Path(choice).is_file():
        return PolicyBook([_read(Path(choice))])
    sets = [_read(file) for file in sorted(folder.glob("*.toml"))]
    if choice:
        known = "、".join(each.set_id for each in sets) or "（没有）"
        sets = [each for each in sets if choice in (each.set_id, each.version)]
        if not sets:
            raise CannotQuote(f"没有编号为 {choice} 的政策；现有：{known}")
    return PolicyBook(sets)


def _read(file: Path) -> PolicySet:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise CannotQuote(f"政策文件 {file.name} 不是 UTF-8 编码") from None
    except PolicyUnreadable as error:
        raise CannotQuote(f"政策文件 {file.name} 不能读取：{'；'.join(map(str, error.errors))}") from None
