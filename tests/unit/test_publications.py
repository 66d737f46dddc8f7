"""How often a front-end asks for what is published, and how catalogues are cut into parts."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalogue import OPEN_END, CatalogueItem, Match
from domain.catalogue_records import ItemRecord, classed, in_gb18030, record_of, self_scale
from infra.publication import assembled, digest_of, for_institutions, in_parts
from workers.publications import Pace

DAY = date(2026, 3, 2)


def item(code="C1", **change) -> ItemRecord:
    record = record_of(CatalogueItem(code, f"项目{code}", "1", "1", "2", None, None, date(2025, 1, 1), OPEN_END))
    return record._replace(**change)


def match(code="L1", institution="H1", **change) -> Match:
    return Match(institution, code, "1", "C1", "项目C1", "", True, date(2025, 1, 1), OPEN_END)._replace(**change)


def test_a_centre_that_does_not_answer_is_asked_ever_more_seldom():
    pace = Pace(30)
    asked = [now for now in range(0, 2000, 30) if pace.is_due(float(now))]
    assert asked == [0, 30, 90, 210, 450, 930, 1890]
    pace.answered()
    assert [now for now in (2000, 2010, 2030) if pace.is_due(float(now))] == [2000, 2030]


@given(st.permutations([item(f"C{n}") for n in range(30)]), st.permutations([match(f"L{n}") for n in range(8)]))
def test_the_order_of_what_comes_in_does_not_matter(items, matches):
    made = in_parts("v1", items, matches, {"H1": 3})
    assert made == in_parts("v1", sorted(items), sorted(matches), {"H1": 3})
    whole = assembled(made.manifest, lambda digests: {digest: made.parts[digest] for digest in digests})
    assert sorted(whole.items) == sorted(one.item for one in items)
    assert sorted(whole.matches) == sorted(matches)
    assert all(digest_of(content) == digest for digest, content in made.parts.items())


def test_one_changed_item_changes_one_part():
    items = [item(f"C{n:04d}") for n in range(1000)]
    before = in_parts("v1", items, [match()], {})
    after = in_parts("v2", [items[0]._replace(coverage_class="9"), *items[1:]], [match()], {})
    assert len(after.parts.keys() - before.parts.keys()) == 1


def test_items_that_are_not_valid_are_shown_and_not_settled_with():
    made = in_parts("v1", [item(valid_flag="0"), item("C2")], [], {})
    whole = assembled(made.manifest, lambda digests: made.parts)
    assert [one.item_code for one in whole.items] == ["C2"]


def test_only_what_concerns_an_institution():
    made = in_parts("v1", [item()], [match(), match(institution="H2")], {"H1": 3, "H2": 1})
    own = for_institutions(made.manifest, ["H2"])
    assert [part.name for part in own.parts if part.name.startswith("matches")] == ["matches/H2"]
    assert own.levels == (("H2", 1),)


def test_a_price_limit_by_level_and_a_ratio_by_group():
    limited = item(
        coverage_class="2", pre_self_pay_ratio_1e4=1000, price_limit_1e4=100, level_limits=((3, 300),),
        group_ratios=(("2", 500),),
    )  # fmt: skip
    made = in_parts("v1", [limited], [match(coverage_class="2"), match(institution="H2", coverage_class="2")],
                    {"H1": 3, "H2": 1})  # fmt: skip
    catalogue = assembled(made.manifest, lambda digests: made.parts).catalogue
    assert catalogue.on("H1", "L1", DAY).price_limit_1e4 == 300
    assert catalogue.on("H2", "L1", DAY).price_limit_1e4 == 100
    assert catalogue.on("H1", "L1", DAY).pre_self_pay_ratio_1e4 == 1000
    assert catalogue.on("H1", "L1", DAY).group_ratios == (("2", 500),)


def test_a_match_is_split_where_the_class_of_its_item_changes():
    first = item(expiry_date=date(2026, 6, 30))
    same = item(effective_date=date(2026, 7, 1), expiry_date=date(2026, 9, 30))
    other = item(effective_date=date(2026, 10, 1), coverage_class="9")
    split = classed(match(), [first, same, other])
    assert [(one.coverage_class, one.effective_date, one.expiry_date) for one in split] == [
        ("1", date(2025, 1, 1), date(2026, 9, 30)),
        ("9", date(2026, 10, 1), OPEN_END),
    ]  # fmt: skip
    late = match(effective_date=date(2026, 12, 1))
    assert [one.coverage_class for one in classed(late, [first, same, other])] == ["9"]
    assert list(classed(match(), [])) == [match()]
    assert list(classed(match(coverage_class="2"), [first])) == [match(coverage_class="2")]


@pytest.mark.parametrize(
    ("coverage_class", "ratio", "shown"),
    [("1", None, "0.00"), ("2", 1000, "0.10"), ("2", 1250, "0.13"), ("2", None, "1.00"), ("9", None, "1.00")],
)
def test_the_share_of_the_person_is_never_empty(coverage_class, ratio, shown):
    assert self_scale(item(coverage_class=coverage_class, pre_self_pay_ratio_1e4=ratio)) == shown


@given(st.text(), st.integers(0, 60))
def test_names_are_cut_at_whole_characters(text, width):
    cut = in_gb18030(text, width)
    assert len(cut.encode("gb18030", errors="replace")) <= width or cut == text
    assert text.startswith(cut) or not text.isprintable()
