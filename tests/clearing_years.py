"""The long proof of clearing: `python -m tests.clearing_years [SEEDS]`, random years of 40 institutions, or so many."""

from __future__ import annotations

import os
import subprocess
import sys

MODULE = "tests/database/test_clearing_months.py"


def main(seeds: str) -> int:
    """Run the module of the suite with more seeds; its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", MODULE, "-q", "--timeout", "600"],
        env={**os.environ, "CLEARING_SEEDS": seeds},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "40"))
