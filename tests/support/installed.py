"""Programs some tests need that pip does not bring: RabbitMQ, Chromium."""

from __future__ import annotations

import os


def is_skipped(is_installed: bool) -> bool:
    """Whether a test is left out for want of its program. Never where `.ci/run` runs: there it fails instead."""
    return not is_installed and "SKIP_NOTHING" not in os.environ
