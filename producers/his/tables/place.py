"""Where the shared tables of each institution are, and who of this front-end's institutions uses them."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from infra.settings import Settings
from producers.his.tables.postgres import PostgresTables
from producers.his.tables.shared import SharedTables
from producers.his.tables.sqlite import SqliteTables
from workers.admission import DOORS, closed_because
from workers.tables import institution

TABLES = "tables"
"""`institution.exchange` of those whose HIS is reached by shared tables."""
OWN = "{institution}"
"""Where an address differs by institution."""


class OneFileForMany(Exception):
    """An SQLite file belongs to one institution."""

    def __init__(self) -> None:
        super().__init__(f"JIESUAN_EXCHANGE_DATABASE_URL names one SQLite file: put {OWN} where the names differ")


@dataclass(frozen=True, slots=True)
class Patron:
    """An institution whose HIS works with shared tables."""

    institution_code: str
    short_code: str
    dress: str
    reads_outpatient_lines: bool
    """Flow two: the HIS writes HIS_MZXM. In flow one we write it and the HIS reads."""
    settles_at_once: bool
    closed: str = field(default="", compare=False)
    """Why nothing new is read from it at present, in Chinese."""

    @property
    def owners(self) -> list[str]:
        """What YYBH may say on its rows: products take it from the first six characters of JYDJH."""
        return sorted({self.institution_code, self.short_code})


def address_of(settings: Settings, institution_code: str) -> str:
    """The database of an institution's shared tables. Raises OneFileForMany.

    Without a setting: the front-end's own PostgreSQL, or a file of the institution's beside the front-end's file.
    """
    url = settings.exchange_database_url or _default(settings.frontend_database_url)
    if url.startswith("sqlite") and OWN not in url:
        raise OneFileForMany
    return url.replace(OWN, institution_code)


def open_tables(url: str) -> SharedTables:
    """The shared tables at an address."""
    return SqliteTables(url) if url.startswith("sqlite") else PostgresTables(url)


def patrons(connection: Connection) -> list[Patron]:
    """The institutions of this front-end that exchange by shared tables."""
    rows = connection.execute(
        select(
            institution.c.institution_code,
            institution.c.short_code,
            institution.c.dress,
            institution.c.outpatient_flow,
            institution.c.settles_at_once,
            *DOORS,
        )
        .where(institution.c.active, institution.c.exchange == TABLES)
        .order_by(institution.c.institution_code)
    )
    return [
        Patron(
            row.institution_code,
            row.short_code,
            row.dress,
            row.outpatient_flow == 2,
            row.settles_at_once,
            closed_because(row),
        )
        for row in rows
    ]


def _default(frontend_url: str) -> str:
    if not frontend_url.startswith("sqlite"):
        return frontend_url
    address, mark, options = frontend_url.partition("?")
    return f"{address.removesuffix('.db')}-exchange-{OWN}.db{mark}{options}"
