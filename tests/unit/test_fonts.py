"""The typeface of printed papers: every character our papers, our people's names and amounts in capitals need."""

from __future__ import annotations

from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from infra import fonts, typeset

FOLDER = Path(fonts.__file__).parent


@pytest.fixture(scope="module")
def font():
    return TTFont(FOLDER / "JiesuanSansSC-Regular.otf")


def test_it_has_a_name_of_its_own_and_its_licence(font):
    assert font["name"].getDebugName(1) == typeset.FONT
    assert "SIL Open Font License" in font["name"].getDebugName(13)
    assert "SIL OPEN FONT LICENSE Version 1.1" in (FOLDER / "OFL.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["gb2312", "gbk"])
def test_it_has_every_character_of_the_common_sets(font, encoding):
    drawn = set(font.getBestCmap())
    chinese = [chr(code) for code in range(0x3400, 0xA000) if _is_in(chr(code), encoding)]

    assert len(chinese) > 6000
    assert [character for character in chinese if ord(character) not in drawn] == []


@pytest.mark.parametrize("text", ["零壹贰叁肆伍陆柒捌玖拾佰仟万亿元角分整负", "㙍䶮𬎆𬭎𫍯〇", "¥％（）【】《》、。—…·"])
def test_it_has_capitals_rare_names_and_punctuation(font, text):
    assert [character for character in text if ord(character) not in font.getBestCmap()] == []


def _is_in(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
