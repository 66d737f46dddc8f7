"""What tests of the upload share: a budget that is never in the way."""

from __future__ import annotations

WIDE = {"lines_per_hour": 10**9, "bytes_per_hour": 10**12, "slice_seconds": 1}
"""The columns of a window that carries whatever there is, slice after slice."""
