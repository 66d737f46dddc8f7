"""Every published version of the catalogue: detail is checked with the one its claim was settled with."""

from __future__ import annotations

from collections import OrderedDict

from sqlalchemy import Connection, select

from center.tables import reference
from domain.catalogue import Catalogue
from infra.codec import unpack
from infra.reference import CATALOGUE, CataloguePublished

VERSIONS_KEPT = 3


class CatalogueShelf:
    """Keeps the catalogue versions used last; a published version never changes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Catalogue] = OrderedDict()

    def version(self, connection: Connection, version: str) -> Catalogue | None:
        """The catalogue of a version, whether or not it is still in force; None when it was never published here."""
        if version not in self._kept:
            content = connection.execute(
                select(reference.c.content).where(reference.c.kind == CATALOGUE, reference.c.version == version)
            ).scalar()
            if content is None:
                return None
            published = unpack(content, CataloguePublished)
            self._kept[version] = Catalogue(published.version, published.items, published.matches)
        self._kept.move_to_end(version)
        while len(self._kept) > VERSIONS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[version]
