"""What can be proposed: an action says what it would do to the books, and does it.

Each package of the centre keeps its own in `actions.py`, under names that read `<subject>.<verb>`;
`center.approving.registry` has them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection

Payload = Mapping[str, Any]
"""What the action is about, as JSON has it."""


class CannotDo(Exception):
    """The action cannot be done to these books; the message is for the clerk."""


class Predict(Protocol):
    """Says in Chinese what would be done to the books as they stand."""

    def __call__(self, connection: Connection, payload: Payload, *, at: datetime) -> str:
        """The words depend on the payload and the books only, so that other words mean other books. Raises CannotDo."""


class Execute(Protocol):
    """Does it, in the transaction of the approval, and says in Chinese what was done."""

    def __call__(
        self, connection: Connection, payload: Payload, *, proposal_no: int, by: str, approved_by: str, at: datetime
    ) -> str:
        """`by` proposed it. Raises CannotDo, and then nothing of it stays."""


class Action(NamedTuple):
    """One kind of proposal."""

    title: str
    """In Chinese, a few characters."""
    predict: Predict
    execute: Execute
