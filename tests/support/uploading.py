"""What tests of the upload share: a budget that is never in the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from domain.messages import DetailUploaded
from infra.codec import encode
from workers.upload import Link

WIDE = {"lines_per_hour": 10**9, "bytes_per_hour": 10**12, "slice_seconds": 1}
"""The columns of a window that carries whatever there is, slice after slice."""


def link_to(keep: Callable[[DetailUploaded], Any], *, at: datetime, seconds: float = 1e9) -> Link:
    """A way to a centre that keeps chunks and says nothing, at a moment that does not pass."""

    def post(chunk: DetailUploaded, _: bytes) -> bool:
        keep(chunk)
        return True

    return Link(seal=encode, post=post, now=lambda: at, seconds=lambda: seconds)
