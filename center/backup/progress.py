"""How far a restored centre is in getting back what it lost, for operators; and going on without a front-end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from center.backup.epochs import FIRST
from center.backup.tables import OWES


class NotAwaited(Exception):
    """Nobody waits for this front-end."""

    def __init__(self, frontend: str) -> None:
        super().__init__(f"没有在等候前置机 {frontend}")


@dataclass(frozen=True, slots=True)
class FrontendProgress:
    """How far one front-end is."""

    frontend: str
    documents: int
    """Sent so far."""
    waiting: int
    """Not taken up yet."""
    doubtful: int
    """Taken up as told, or not: a case is open about each."""
    is_complete: bool
    waived_by: str
    is_done: bool
    """The missing detail is asked for, too."""
    strange: Sequence[str] = ()
    """Institutions it was answered for, and does not serve here: to be entered, or moved to it, again."""

    @property
    def is_owing(self) -> bool:
        """As `center.backup.tables.OWES`."""
        return not self.waived_by and (bool(self.strange) or not self.is_complete)

    @property
    def words(self) -> str:
        """For the operators' table."""
        if self.strange and not self.waived_by:
            return f"请补做：{'、'.join(self.strange)} 由它服务的登记或迁移（备份之后所做，已随中心丢失）"
        if self.is_done:
            return "已补齐"
        if self.is_complete:
            return "结算已报完，待补明细"
        return f"不再等候（{self.waived_by}）" if self.waived_by else "等候报送"


@dataclass(frozen=True, slots=True)
class Progress:
    """The epoch of the database and how far each front-end is."""

    epoch: int
    since: datetime | None
    """What was settled from here on may have been lost; None in the first epoch."""
    opened_at: datetime | None
    frontends: Sequence[FrontendProgress] = ()

    @property
    def is_open(self) -> bool:
        """Whether it settles."""
        return self.since is None or self.opened_at is not None

    @property
    def words(self) -> str:
        """In one sentence."""
        if self.since is None:
            return f"纪元 {self.epoch}：数据库从未恢复过"
        if not self.is_open:
            return f"纪元 {self.epoch}：正在收回 {self.since.isoformat()} 以后的结算，暂不受理新结算"
        return f"纪元 {self.epoch}：已于 {self.opened_at} 恢复受理"

    def as_document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "epoch": self.epoch,
            "open": self.is_open,
            "since": None if self.since is None else self.since.isoformat(),
            "opened_at": None if self.opened_at is None else self.opened_at.isoformat(),
            "frontends": [asdict(row) for row in self.frontends],
        }


def progress(connection: Connection) -> Progress:
    """How far the newest epoch is."""
    row = connection.execute(text("SELECT epoch, since, opened_at FROM epoch ORDER BY epoch DESC LIMIT 1")).first()
    if row is None:
        return Progress(FIRST, None, None)
    found = connection.execute(
        text(
            "SELECT c.frontend, c.documents, count(r.epoch) FILTER (WHERE r.outcome = ''),"
            " count(r.epoch) FILTER (WHERE r.outcome IN ('told', 'open')), c.complete_at IS NOT NULL,"
            " coalesce(c.waived_by, ''), c.done_at IS NOT NULL, c.strange"
            " FROM catching_up c LEFT JOIN resent r USING (epoch, frontend) WHERE c.epoch = :epoch"
            " GROUP BY c.epoch, c.frontend ORDER BY c.frontend"
        ),
        {"epoch": row.epoch},
    )
    return Progress(row.epoch, row.since, row.opened_at, [FrontendProgress(*each) for each in found])


def waive(connection: Connection, frontend: str, *, by: str, reason: str) -> int:
    """Do not wait for a front-end any more; the epoch. Raises NotAwaited."""
    epoch = connection.execute(
        text(
            "UPDATE catching_up SET waived_by = :by, waived_reason = :reason"
            " WHERE epoch = (SELECT max(epoch) FROM epoch WHERE opened_at IS NULL) AND frontend = :frontend"
            f" AND {OWES} RETURNING epoch"
        ),
        {"by": by, "reason": reason, "frontend": frontend},
    ).scalar()
    if epoch is None:
        raise NotAwaited(frontend)
    return int(epoch)
