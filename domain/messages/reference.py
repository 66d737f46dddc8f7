"""Policies and catalogues on their way to a front-end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar, NamedTuple


class ReferenceRow(NamedTuple):
    """One published row of reference data, as the centre has it for this front-end.

    `content` is the text of a policy set or the manifest of a catalogue, empty where the front-end holds it already.
    """

    kind: str
    version: str
    in_force: bool
    effective_date: date | None
    withdrawn: bool
    content: bytes


class ReferencePart(NamedTuple):
    """A part of a catalogue, named by the digest of its content."""

    digest: bytes
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceAsked:
    """A front-end says which versions it holds (kind:version), and asks for what is new and for the parts it wants."""

    KIND: ClassVar[str] = "reference.asked"
    VERSION: ClassVar[int] = 1

    holds: tuple[str, ...]
    wants: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSent:
    """The centre lists what is published for this front-end, and sends parts it asked for."""

    KIND: ClassVar[str] = "reference.sent"
    VERSION: ClassVar[int] = 1

    rows: tuple[ReferenceRow, ...]
    parts: tuple[ReferencePart, ...] = ()
