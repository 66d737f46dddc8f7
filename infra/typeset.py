"""Typesetting (排版): a typst template and its data become a PDF, the same bytes for the same input.

The typeface comes with the project (`infra.fonts`) and is embedded, in part, in every paper; no font of the machine, no
package and no network is used. A template stands in a file of its own and reads its data by

    #let data = json(bytes(sys.inputs.data))

It sets `#set document(date: none)` so that no moment of printing gets into the file, and
`#set text(font: sys.inputs.font, fallback: false, lang: "zh", region: "cn")`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typst

FONT = "Jiesuan Sans SC"
"""The family all papers are set in; `infra.fonts.make_font` makes it."""

_FONTS = Path(__file__).parent / "fonts"


class NotTypeset(Exception):
    """The template does not compile with this data. Names the template and what typst says, never the data."""


def pdf(template: Path | str, data: Mapping[str, Any]) -> bytes:
    """Set the template (a file, or its text) with the data (as JSON knows it) and return the PDF. Raises NotTypeset."""
    source: Any = template if isinstance(template, Path) else template.encode()
    root = str(template.parent) if isinstance(template, Path) else str(_FONTS)
    name = template.name if isinstance(template, Path) else "template"
    try:
        made = typst.compile(
            source,
            root=root,
            font_paths=_fonts(),
            ignore_system_fonts=True,
            format="pdf",
            sys_inputs={"data": json.dumps(data, ensure_ascii=False), "font": FONT},
            package_path=root,
            package_cache_path=root,
        )
    except typst.TypstError as error:
        raise NotTypeset(f"{name}: {error.message}") from None
    assert isinstance(made, bytes)
    return made


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(_FONTS)])
