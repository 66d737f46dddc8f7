"""What VIEW_MEDI, VIEW_ITEM and VIEW_MATCH show: the published version, row by row, in the columns of the field table.

The shared tables fill the views from here whenever another version comes into force; institutions that exchange files
get the same rows as a file (AMB-58).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, select

from domain.catalogue import Match
from domain.catalogue_records import SERVICE, ItemRecord, ViewRow, item_row, match_row, medi_row, record_of
from infra.codec import unpack
from infra.publication import items_of, matches_of
from infra.reference import CATALOGUE, CataloguePublished, NothingPublished
from workers.publications import reader
from workers.tables import reference

VIEWS = ("VIEW_MEDI", "VIEW_ITEM", "VIEW_MATCH")


@dataclass(frozen=True, slots=True)
class PublishedCatalogue:
    """One published version with everything the views show of it."""

    version: str
    items: tuple[ItemRecord, ...]
    matches: tuple[Match, ...]

    def rows(self, view: str, institution_code: str, day: date) -> Iterator[ViewRow]:
        """The rows of a view as the institution sees it; keys are column codes in their printed order.

        VIEW_MATCH has no dates, so it shows the matches of the day, one to an item of the institution; the other two
        have dates and show every record.
        """
        return _ROWS[view](self, institution_code, day)


def version_in_force(connection: Connection) -> str:
    """The version the views show. Raises NothingPublished."""
    version = connection.execute(
        select(reference.c.version).where(reference.c.kind == CATALOGUE, reference.c.in_force)
    ).scalar()
    if version is None:
        raise NothingPublished(CATALOGUE)
    return str(version)


def published(connection: Connection, version: str = "") -> PublishedCatalogue:
    """A version with all its records; the one in force when none is named. Raises NothingPublished or PartMissing."""
    version = version or version_in_force(connection)
    content = connection.execute(
        select(reference.c.content).where(reference.c.kind == CATALOGUE, reference.c.version == version)
    ).scalar()
    if content is None:
        raise NothingPublished(CATALOGUE)
    whole = unpack(content, CataloguePublished)
    if not whole.parts:
        return PublishedCatalogue(version, tuple(record_of(item) for item in whole.items), whole.matches)
    read = reader(connection)
    return PublishedCatalogue(version, tuple(items_of(whole, read)), tuple(matches_of(whole, read)))


def view_rows(
    connection: Connection, view: str, institution_code: str, day: date, version: str = ""
) -> Iterator[ViewRow]:
    """The rows of one view of one institution in a version. Raises NothingPublished or PartMissing."""
    return published(connection, version).rows(view, institution_code, day)


def _medi(catalogue: PublishedCatalogue, _institution_code: str, _day: date) -> Iterator[ViewRow]:
    return (medi_row(item) for item in catalogue.items if item.match_type != SERVICE)


def _items(catalogue: PublishedCatalogue, _institution_code: str, _day: date) -> Iterator[ViewRow]:
    return (item_row(item) for item in catalogue.items if item.match_type == SERVICE)


def _matches(catalogue: PublishedCatalogue, institution_code: str, day: date) -> Iterator[ViewRow]:
    valid = {item.key: item for item in catalogue.items if item.effective_date <= day <= item.expiry_date}
    return (
        match_row(match, valid.get((match.match_type, match.centre_item_code)))
        for match in catalogue.matches
        if match.institution_code == institution_code and match.effective_date <= day <= match.expiry_date
    )


_ROWS: dict[str, Callable[[PublishedCatalogue, str, date], Iterator[ViewRow]]] = {
    "VIEW_MEDI": _medi,
    "VIEW_ITEM": _items,
    "VIEW_MATCH": _matches,
}
