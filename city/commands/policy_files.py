"""The policy files a command was given: by path, by the id of a set, or all of the policy folder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from city.commands import WRONG_USAGE, Stop
from domain.policy.facts import PolicySet
from domain.policy.reading import PolicyUnreadable, parse
from infra.settings import Settings


def found(names: Sequence[str]) -> list[Path]:
    """The files that are meant. Raises Stop for a name that is neither a file nor the id of a set."""
    folder = Settings().policies_dir
    if not names:
        files = sorted(folder.glob("*.toml"))
        if not files:
            raise Stop(f"政策目录 {folder} 中没有文件", WRONG_USAGE)
        return files
    return [_found(name, folder) for name in names]


def read(name: str) -> tuple[Path, PolicySet]:
    """One set that reads. Raises Stop with every error of a file that does not."""
    (file,) = found([name])
    try:
        return file, parse(file.read_text(encoding="utf-8"))
    except (PolicyUnreadable, UnicodeDecodeError) as unreadable:
        errors = unreadable.errors if isinstance(unreadable, PolicyUnreadable) else ["不是 UTF-8 文本"]
        raise Stop(f"政策文件 {file.name} 不能读取：" + "".join(f"\n  {error}" for error in errors)) from None


def day_of(text: str, option: str) -> date:
    """A day from the command line. Raises Stop."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Stop(f"{option} 应为日期，例如 2026-03-02", WRONG_USAGE) from None


def _found(name: str, folder: Path) -> Path:
    if Path(name).is_file():
        return Path(name)
    known = {}
    for file in sorted(folder.glob("*.toml")):
        try:
            policy = parse(file.read_text(encoding="utf-8"))
        except (PolicyUnreadable, UnicodeDecodeError):
            continue
        known[policy.set_id] = known[policy.version] = file
    if name in known:
        return known[name]
    ids = "、".join(each for each in known if "@" not in each) or "（没有）"
    raise Stop(f"没有文件、也没有编号为 {name} 的政策；现有：{ids}", WRONG_USAGE)
