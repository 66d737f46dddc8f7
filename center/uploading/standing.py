"""How the upload stands at this moment: pace, open windows, the newest slices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from center.tables import upload_grant
from center.uploading import windows
from center.uploading.tables import upload_pace
from domain.pace import FULL
from domain.timetable import opening


class Standing(NamedTuple):
    """What an operator looks at first."""

    pace: int
    """In thousandths; FULL where nobody has ticked yet."""
    waiting_seconds: float
    open_windows: tuple[str, ...]
    windows: int
    slices: Sequence[Row[*tuple[Any, ...]]]

    def in_words(self) -> str:
        """In one Chinese sentence."""
        if not self.windows:
            return "没有启用的上传时段，明细不会上传：jiesuan window set"
        where = f"时段 {'、'.join(self.open_windows)} 开放" if self.open_windows else "现在没有时段开放"
        if not self.pace:
            return f"{where}，结算排队 {self.waiting_seconds:.1f} 秒，明细让路：每台前置机每小时只传一小片"
        return f"{where}，结算排队 {self.waiting_seconds:.1f} 秒，上传速度 {self.pace / FULL:.0%}"


def read(connection: Connection, *, at: datetime) -> Standing:
    """How it stands."""
    pace = connection.execute(select(upload_pace.c.pace, upload_pace.c.waiting_seconds)).first()
    active, is_workday = windows.active(connection), windows.calendar(connection)
    return Standing(
        FULL if pace is None else pace.pace,
        0.0 if pace is None else pace.waiting_seconds,
        tuple(window.name for window in active if opening(window, at, is_workday) is not None),
        len(active),
        connection.execute(select(upload_grant).order_by(upload_grant.c.frontend)).all(),
    )
