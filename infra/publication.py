"""A published catalogue in parts that are named by their content.

A version is a list of parts: the items in a fixed number of buckets, and the matches of each institution. A part is
named by the digest of its bytes, so two versions share every part that did not change, a front-end asks only for the
parts it does not have, and a part that arrived damaged is not the part it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from zlib import crc32

from domain.catalogue import Match
from domain.catalogue_records import ItemRecord, settled_with
from infra.codec import pack, unpack
from infra.reference import CataloguePart, CataloguePublished

DIGEST_BYTES = 16
BUCKETS = 64
"""One changed item of a hundred thousand makes one sixty-fourth of them travel."""
ITEMS, MATCHES = "items", "matches"


class PartMissing(Exception):
    """A published version names a part that this database does not have."""

    def __init__(self, version: str, name: str) -> None:
        super().__init__(f"catalogue {version!r} is not complete here: part {name!r} is missing")


@dataclass(frozen=True, slots=True)
class Publication:
    """A version ready to be stored: its manifest, and its parts by digest."""

    manifest: CataloguePublished
    parts: dict[bytes, bytes]


Read = Callable[[Sequence[bytes]], Mapping[bytes, bytes]]
"""Reads parts by their digests; what is not there is left out."""


def digest_of(content: bytes) -> bytes:
    """The name of a part."""
    return blake2b(content, digest_size=DIGEST_BYTES).digest()


def in_parts(
    version: str, items: Iterable[ItemRecord], matches: Iterable[Match], levels: Mapping[str, int]
) -> Publication:
    """Cut a catalogue into parts. The same content gives the same parts, in whatever order it comes."""
    buckets: dict[int, list[ItemRecord]] = {}
    for item in items:
        buckets.setdefault(crc32(item.item_code.encode()) % BUCKETS, []).append(item)
    of_institution: dict[str, list[Match]] = {}
    for match in matches:
        of_institution.setdefault(match.institution_code, []).append(match)

    named = [(f"{ITEMS}/{bucket}", pack(sorted(rows, key=_item_order))) for bucket, rows in sorted(buckets.items())]
    named += [(f"{MATCHES}/{code}", pack(sorted(rows, key=_match_order))) for code, rows in of_institution.items()]
    listed = tuple(CataloguePart(name, digest_of(content), len(content)) for name, content in sorted(named))
    manifest = CataloguePublished(version=version, parts=listed, levels=tuple(sorted(levels.items())))
    return Publication(manifest, {digest_of(content): content for _, content in named})


def _item_order(item: ItemRecord) -> tuple[object, ...]:
    return item.match_type, item.item_code, item.effective_date, item.expiry_date, item.item_name


def _match_order(match: Match) -> tuple[object, ...]:
    return match.local_item_code, match.effective_date, match.expiry_date, match.centre_item_code, match.coverage_class


def for_institutions(manifest: CataloguePublished, institutions: Iterable[str]) -> CataloguePublished:
    """What concerns these institutions: all items, and their own matches and levels only."""
    codes = set(institutions)
    own = {f"{MATCHES}/{code}" for code in codes}
    return CataloguePublished(
        version=manifest.version,
        parts=tuple(part for part in manifest.parts if part.name in own or part.name.startswith(f"{ITEMS}/")),
        levels=tuple(level for level in manifest.levels if level[0] in codes),
    )


def items_of(manifest: CataloguePublished, read: Read) -> list[ItemRecord]:
    """The item records of a version, by type, code and day. Raises PartMissing."""
    records = [record for part in _parts(manifest, f"{ITEMS}/", read) for record in unpack(part, list[ItemRecord])]
    return sorted(records, key=_item_order)


def matches_of(manifest: CataloguePublished, read: Read, institution_code: str = "") -> list[Match]:
    """The matches of a version, those of one institution if it is named. Raises PartMissing."""
    name = f"{MATCHES}/{institution_code}"
    exactly = bool(institution_code)
    return [match for part in _parts(manifest, name, read, exactly=exactly) for match in unpack(part, list[Match])]


def assembled(manifest: CataloguePublished, read: Read) -> CataloguePublished:
    """The version with what settling needs of its items and matches. Raises PartMissing."""
    return CataloguePublished(
        version=manifest.version,
        items=settled_with(items_of(manifest, read)),
        matches=tuple(matches_of(manifest, read)),
        parts=manifest.parts,
        levels=manifest.levels,
    )


def _parts(manifest: CataloguePublished, name: str, read: Read, *, exactly: bool = False) -> list[bytes]:
    wanted = [part for part in manifest.parts if (part.name == name if exactly else part.name.startswith(name))]
    found = read([part.digest for part in wanted])
    for part in wanted:
        if part.digest not in found:
            raise PartMissing(manifest.version, part.name)
    return [found[part.digest] for part in wanted]
