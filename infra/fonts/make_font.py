"""Cuts the typeface of printed papers from Noto Sans CJK SC: `python -m infra.fonts.make_font NotoSansCJK-Regular.ttc`.

The source is Debian's package fonts-noto-cjk (/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc), licensed under
the SIL Open Font License 1.1 (OFL.txt beside this file). Kept is every Chinese character it has, so that no name of a
person is printed as a box: GB2312, GBK, and of the extensions what the font draws, among them the whole table of
characters for names (通用规范汉字表). Left out are Korean, kana and the features of vertical setting. The font gets a
name of its own, as the licence asks of what is changed, and so that no font of the machine stands in for it.
The same source gives the same bytes. Needs fonttools (requirements.in).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont

FAMILY = "Jiesuan Sans SC"
FILE = Path(__file__).parent / "JiesuanSansSC-Regular.otf"
SOURCE_NAME = "NotoSansCJKsc-Regular"

KEPT = (
    range(0x20, 0x7F),
    range(0xA0, 0x180),
    range(0x391, 0x3CA),
    range(0x2000, 0x2070),
    range(0x2100, 0x2300),
    range(0x2460, 0x2600),
    range(0x2E80, 0x3020),
    range(0x3400, 0xA000),
    range(0xF900, 0xFB00),
    range(0xFF00, 0xFFF0),
    range(0x20000, 0x40000),
)
"""Latin and Greek, punctuation, signs and frames, radicals, Chinese with its extensions, full-width forms."""

DROPPED = ["BASE", "DSIG", "GDEF", "GPOS", "GSUB", "VORG", "vhea", "vmtx"]
_FULL_NAME, _POSTSCRIPT_NAME = 4, 6
_COPYRIGHT, _LICENCE, _LICENCE_URL = 0, 13, 14


def cut(source: Path) -> TTFont:
    """The font with what is kept of the collection. Raises LookupError when the face is not in it."""
    font = next((face for face in TTCollection(source).fonts if _name(face, _POSTSCRIPT_NAME) == SOURCE_NAME), None)
    if font is None:
        raise LookupError(f"{source.name} holds no {SOURCE_NAME}")
    options = Options()
    options.drop_tables += DROPPED
    options.hinting = False
    options.layout_features = []
    options.name_IDs = [_COPYRIGHT, _LICENCE, _LICENCE_URL]
    options.notdef_outline = True
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=[character for kept in KEPT for character in kept])
    subsetter.subset(font)
    _rename(font)
    font.recalcTimestamp = False
    return font


def _rename(font: TTFont) -> None:
    short = FAMILY.replace(" ", "")
    names = {1: FAMILY, 2: "Regular", 3: f"{short}-Regular", _FULL_NAME: FAMILY, _POSTSCRIPT_NAME: f"{short}-Regular"}
    for name_id, text in names.items():
        font["name"].setName(text, name_id, 3, 1, 0x409)
    top = font["CFF "].cff.topDictIndex[0]
    font["CFF "].cff.fontNames[0] = f"{short}-Regular"
    top.FullName, top.FamilyName = FAMILY, FAMILY


def _name(font: TTFont, name_id: int) -> str | None:
    name: str | None = font["name"].getDebugName(name_id)
    return name


if __name__ == "__main__":
    cut(Path(sys.argv[1])).save(FILE)
    print(f"{FILE.name}: {FILE.stat().st_size} bytes", file=sys.stderr)
