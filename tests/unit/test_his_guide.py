"""The guide for hospitals: what is data in it is made from the data, in both languages alike."""

import re

import pytest

from domain.codes import CODES
from producers.his.fields import FILES, layout
from producers.his.guide import PAGES, renewed

PAGES_READ = {language: path.read_text(encoding="utf-8") for language, path in PAGES.items()}


@pytest.mark.parametrize("language", PAGES)
def test_field_tables_codes_and_samples_are_made_from_the_data(language):
    assert renewed(PAGES_READ[language], language) == PAGES_READ[language], "run: python -m producers.his.guide"


@pytest.mark.parametrize("language", PAGES)
def test_every_file_every_column_and_every_code_is_explained(language):
    page = PAGES_READ[language]
    for kind in FILES:
        part = re.search(rf"<!-- fields {kind} -->(.*?)<!-- /fields {kind} -->", page, re.DOTALL)[1]
        assert [row.split(" | ")[1] for row in part.splitlines() if re.match(r"\| \d", row)] == [
            f"`{code}`" for code in layout(kind).codes
        ]
        assert layout(kind).counterpart in part
        assert f"<!-- sample {kind} -->" in page
    assert all(f"| `{code}` |" in page for code in CODES)


def test_both_languages_have_the_same_parts():
    headings = {
        language: [len(line) - len(line.lstrip("#")) for line in page.splitlines() if line.startswith("#")]
        for language, page in PAGES_READ.items()
    }
    assert headings["en"] == headings["zh"]


@pytest.mark.parametrize("language", PAGES)
def test_every_link_of_the_guide_leads_somewhere(language):
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES_READ[language]):
        assert (PAGES[language].parent / target).exists(), target
