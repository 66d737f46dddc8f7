"""Takes a guard away in a copy of the tree and runs its tests there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.guards.guards import Guard

ROOT = Path(__file__).parents[2]
COPIED = ("center", "city", "domain", "infra", "policies", "producers", "tests", "workers", "pyproject.toml")
UNUSED = [word for name in ("cacheprovider", "xdist", "schemathesis") for word in ("-p", f"no:{name}")]
"""Parts of pytest that cost a second to load and do nothing here."""

TESTS_FAILED = 1


class PatchDoesNotApply(Exception):
    """The guard's text does not stand exactly once in its file: the code has moved on, and the list must follow."""

    def __init__(self, guard: Guard, times: int) -> None:
        super().__init__(f"{guard.name}: its text stands {times} times in {guard.file}")


@dataclass(frozen=True, slots=True)
class Noticed:
    """What the tests said when the guard was gone: how many failed, and the first of them."""

    guard: Guard
    status: int
    failed: int
    first: str

    @property
    def is_proof(self) -> bool:
        """Whether tests failed; an error while collecting them proves nothing."""
        return self.status == TESTS_FAILED and self.failed > 0


def copy_tree(target: Path) -> Path:
    """A copy of everything the tests need; what is compiled comes along, and is not believed of a file that changed."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy(source, target / name)
    return target


def patched(guard: Guard, content: str) -> str:
    """The file without its guard. Raises PatchDoesNotApply."""
    times = content.count(guard.text)
    if times != 1:
        raise PatchDoesNotApply(guard, times)
    return content.replace(guard.text, guard.without)


def run_without(guard: Guard, tree: Path) -> Noticed:
    """Take the guard away in the copy, run its tests, put it back."""
    file = tree / guard.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(patched(guard, whole), encoding="utf-8")
    try:
        return _noticed(guard, run_tests(guard.tests, tree))
    finally:
        file.write_text(whole, encoding="utf-8")


def run_tests(tests: tuple[str, ...], tree: Path, *, within: float = 300) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy, on the copy. Raises TimeoutExpired."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *UNUSED, *tests],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
    )


def _noticed(guard: Guard, run: subprocess.CompletedProcess[str]) -> Noticed:
    failed = re.findall(r"^FAILED \S+?::(\w+)", run.stdout, re.MULTILINE)
    return Noticed(guard, run.returncode, len(failed), failed[0] if failed else "")
