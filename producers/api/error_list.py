"""The error list (错误清单) of an institution, as a document or as a workbook."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from typing import Literal

import msgspec
from sqlalchemy import Connection

from producers.api.claims import Reply, try_again
from producers.api.commit import Away
from producers.api.keys import Caller
from producers.api.site import Site
from producers.api.visit_wire import error_list_seen
from producers.his.failed_lines import failed_here
from producers.his.failures import LIST_NAME, Failure, save_workbook

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MOST_LINES = 10_000

Form = Literal["json", "xlsx"]


async def shown(site: Site, caller: Caller, *, day: date | None, visit_no: str, form: Form, limit: int) -> Reply:
    """What waits to be mended, of one day or one visit or all; with warnings where a day or a visit is named."""

    def found(connection: Connection) -> list[Failure]:
        return failed_here(connection, caller.institution_code, day=day, visit_no=visit_no)

    try:
        lines = await site.read(found)
    except Away as error:
        raise try_again() from error
    if form == "xlsx":
        name = f"{LIST_NAME}{(day or site.now().date()):%m%d}.xlsx"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Reply(200, await site.aside(_workbook, lines[:limit]), headers, XLSX)
    document = error_list_seen(caller.institution_code, day, visit_no, lines[:limit], more=len(lines) > limit)
    return Reply(200, msgspec.json.encode(document), {})


def _workbook(lines: list[Failure]) -> bytes:
    held = BytesIO()
    save_workbook(held, lines)
    return held.getvalue()
