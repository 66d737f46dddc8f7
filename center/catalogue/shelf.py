"""Every published version of the catalogue: detail is checked with the one its claim was settled with."""

from __future__ import annotations

from collections import OrderedDict

from sqlalchemy import Connection

from center.catalogue.versions import NoSuchVersion, manifest_of, reader
from domain.catalogue import Catalogue
from infra.publication import assembled

VERSIONS_KEPT = 3


class CatalogueShelf:
    """Keeps the catalogue versions used last; a published version never changes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Catalogue] = OrderedDict()

    def version(self, connection: Connection, version: str) -> Catalogue | None:
        """The catalogue of a version, whether or not it is still in force; None when it was never published here."""
        if version not in self._kept:
            try:
                published = manifest_of(connection, version)
            except NoSuchVersion:
                return None
            whole = assembled(published, reader(connection)) if published.parts else published
            self._kept[version] = whole.catalogue
        self._kept.move_to_end(version)
        while len(self._kept) > VERSIONS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[version]
