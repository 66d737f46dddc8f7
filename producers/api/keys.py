"""Who is calling: an institution, known by its API key. The database keeps the key's SHA-256, memory a few seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Engine, select

from infra.database import reading
from producers.api.problems import Problem
from workers.tables import institution

FRESH_SECONDS = 3.0
UNKNOWN_SECONDS = 0.5
"""An unknown key makes us look again, but no more often than this: guessing keys must not load the database."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The institution behind a request."""

    institution_code: str
    name: str
    level: int
    is_served: bool = True
    """Else this front-end served it once: what was taken of it then stays told, and nothing new is taken."""


class KeyRing:
    """The keys of the institutions this front-end serves or once did; one added, changed or withdrawn counts within
    seconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[str, Caller] = {}
        self._read_at = float("-inf")

    def caller(self, headers: Mapping[bytes, bytes]) -> Caller | None:
        """The institution whose key the request carries, if memory knows it and is fresh. Raises Problem."""
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            return None
        return self._held.get(_presented(headers))

    def look_again(self, headers: Mapping[bytes, bytes]) -> Caller:
        """The same, after reading the keys anew if it is time to. Raises Problem."""
        presented = _presented(headers)
        found = self._held.get(presented)
        age = time.monotonic() - self._read_at
        if age > (UNKNOWN_SECONDS if found is None else FRESH_SECONDS):
            self._held = self._read()
            self._read_at = time.monotonic()
            found = self._held.get(presented)
        if found is None:
            raise unauthorized()
        return found

    def _read(self) -> dict[str, Caller]:
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(
                    institution.c.api_key_hash,
                    institution.c.institution_code,
                    institution.c.name,
                    institution.c.level,
                    institution.c.active,
                ).where(institution.c.api_key_hash.is_not(None))
            ).all()
        return {row.api_key_hash: Caller(row.institution_code, row.name, row.level, row.active) for row in rows}


def hash_of(api_key: str) -> str:
    """What the database keeps of a key."""
    return sha256(api_key.encode()).hexdigest()


def unauthorized() -> Problem:
    """No key, or one that opens nothing; which of the two is not said."""
    return Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="jiesuan"'})


def _presented(headers: Mapping[bytes, bytes]) -> str:
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not key:
        raise unauthorized()
    return sha256(key.strip()).hexdigest()
