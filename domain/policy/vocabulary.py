"""The vocabulary of policy facts: every kind with the keys it needs and takes.

The one table an office's guide, the reader and the checker go by; how each value is read stands in
`domain.policy.values`. Sections are those of the notes on policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

POOLED_CAP_REACHED = "pooled_cap_reached"
"""The one `when` that is no condition of a case: the layer starts where the cap of the basic fund ends."""


class Kind(NamedTuple):
    """What a kind of fact says, the keys it cannot do without, those of which it needs one, those it may have."""

    says: str
    needs: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        return frozenset((*self.needs, *self.one_of, *self.takes))


OF_EVERY_FACT = frozenset({
    "kind", "scheme", "insured", "visit", "person", "level", "when", "disease", "class", "rank", "institution",
    "registration_kind", "medical_type", "age_from", "age_to", "from", "to", "src", "assumed", "from_assumed", "note",
})  # fmt: skip
"""Keys any fact may have: whom it is about, since when, until when, and where it stands."""

_LAYER = ("low", "high", "basis", "per", "includes", "excludes", "relieves", "after", "counter")

KINDS: Mapping[str, Kind] = {
    # §2 lines
    "pre_self_pay": Kind(
        "part of a class B line the person pays first; the catalogue's ratio stands unless `ratio_from` is policy;"
        " with `amount` so much of the price of each unit of an item",
        one_of=("ratio", "from_catalogue", "amount"), takes=("grade", "item", "ratio_from", "from_catalogue"),
    ),
    "line_split": Kind(
        "price limit taken before or after the pre-self-pay; what is over it reported apart or as own expense",
        takes=("price_limit", "over_limit"),
    ),
    # §3 the visit
    "pre_self_pay_visit": Kind("part of the in-scope sum the person pays before the deductible", ("ratio",),
                               takes=("counts_as",)),
    # §4 deductible
    "deductible": Kind("what the person pays first of the period it is counted over", ("amount", "per"),
                       takes=("counter", "per_disease", "per_institution")),
    "deductible_factor": Kind("factor on the deductible", ("factor",)),
    "deductible_nth_stay": Kind("the deductible of the nth stay of the year: a factor, an amount, or less for each",
                                ("stays",), ("factor", "amount", "less"), ("counter", "per", "at_least")),
    "deductible_again": Kind("charged once more after so many days of one stay", ("days",), takes=("as_next_stay",)),
    "deductible_total": Kind("the most of deductibles over all stays of a period", ("amount", "per")),
    "deductible_on_transfer": Kind("transfer between institutions: top_up, continue or new", ("mode",)),
    "deductible_exempt": Kind("no deductible"),
    # §5 shared part
    "share": Kind("fund share of what is in scope above the deductible, perhaps by band",
                  one_of=("ratio", "self_ratio", "follows"), takes=("low", "high", "basis", "per", "item")),
    "share_add": Kind("points added to the fund share, or for each year over an age, up to a ceiling", ("add",),
                      takes=("over_age", "ceiling")),
    "share_minus_points": Kind("points off the fund share", ("add",)),
    "self_share_factor": Kind("factor on the person's share", ("factor",), takes=("basis",)),
    "share_factor": Kind("factor on the fund share", ("factor",)),
    # §6 caps
    "cap": Kind("most a fund pays in a period, in fund money or in charges", ("per", "basis"),
                ("amount", "unlimited"), ("per_disease", "per_institution", "counter", "layers")),
    "cap_add": Kind("so much more on the caps of the same visits and period", ("amount", "per"), takes=("counter",)),
    # §7, §8 upper layers
    "threshold": Kind("where an upper layer starts", ("amount",), takes=("per", "basis")),
    "layer_share": Kind("fund share of an upper layer, perhaps by band",
                        one_of=("ratio", "self_ratio", "keeps"), takes=_LAYER),
    "subsidy": Kind("share of what the layers before left with the person, by use",
                    one_of=("ratio", "self_ratio", "keeps"), takes=(*_LAYER, "use", "cap_follows")),
    "person_cap": Kind("most the person bears in a period; of what is beyond, the ratio `beyond`; the layer pays",
                       ("amount", "per"), takes=("beyond", "includes", "excludes", "relieves")),
    "layer_order": Kind("the order upper layers pay in, where it is another", ("layers",)),
    "settled_at_counter": Kind("the layers settled at the counter; the others are claimed later", ("layers",)),
    # §5 full cover, §9 institution and account
    "full_cover": Kind("segments a fund bears wholly", ("covers",), takes=("pays",)),
    "institution_share": Kind("what the institution bears: over a fixed price, or a ratio", one_of=("amount", "ratio"),
                              takes=("per", "basis", "item", "counter", "per_disease", "per_institution")),
    "account_pays": Kind("what the personal account may pay, in this order; `first`: before the deductible",
                         ("may_pay",), takes=("family", "first", "item")),
    # §10 registration, items
    "fixed_pooled_amount": Kind("a fund pays a fixed amount, or a ratio, of one item group or of the visit",
                                one_of=("amount", "ratio"),
                                takes=("item", "not_below", "above", "up_to", "per", "covers", "rest")),
    "limit_count": Kind("so many times per period; another is refused, or not pooled", ("item", "times", "per"),
                        takes=("on_limit",)),
    # §11, §12 calendar, rounding, reversal, entitlement
    "rounding": Kind("place and digits of rounding, and who takes the rest", ("place", "mode"),
                     takes=("digits", "rest_goes_to")),
    "benefit_year": Kind("first day of the benefit year", ("starts",)),
    "year_end": Kind("what a stay over the end of the benefit year does", takes=("bands", "deductible", "stay", "day")),
    "entitlement": Kind("a state in which no fund pays, or the claim is refused", ("benefit",)),
    "condition": Kind("a condition that follows from others", ("name", "holds")),
    "refund": Kind("rules of reversal", takes=("uses", "accumulators", "cuts", "across_years", "across_months",
                                               "free_days", "later")),
}  # fmt: skip


MODES = {"deductible_on_transfer": ("top_up", "continue", "new"), "rounding": ("half_up", "down", "up")}
"""The values of `mode`, by kind."""

BASES = {
    "share": ("in_scope", "after_deductible", "fund_paid"),
    "self_share_factor": ("own_share",),
    "cap": ("fund_paid", "charges", "in_scope"),
    "threshold": ("in_scope_with_person", "left_by_layers_before", "in_scope"),
    "layer_share": ("in_scope_with_person", "left_by_layers_before", "in_scope"),
    "subsidy": ("in_scope_with_person", "left_by_layers_before", "in_scope"),
    "institution_share": ("in_scope", "total"),
}
"""The values of `basis`, by kind."""

_CALENDAR = ("day", "month", "quarter", "year")
_BILL = ("visit", "stay")
PERS = {
    "deductible": (*_BILL, *_CALENDAR),
    "deductible_nth_stay": ("year",),
    "deductible_total": _CALENDAR,
    "share": (*_BILL, "settlement_period", *_CALENDAR),
    "cap": (*_BILL, *_CALENDAR),
    "cap_add": (*_BILL, *_CALENDAR),
    "threshold": (*_BILL, *_CALENDAR),
    "layer_share": (*_BILL, *_CALENDAR),
    "subsidy": (*_BILL, *_CALENDAR),
    "person_cap": (*_BILL, *_CALENDAR),
    "institution_share": (*_BILL, *_CALENDAR),
    "fixed_pooled_amount": (*_BILL, "day"),
    "limit_count": _CALENDAR,
}
"""The values of `per`, by kind."""

LAYER_KINDS = frozenset({"threshold", "layer_share", "subsidy", "person_cap"})
"""Facts only an upper layer has; their scheme is a layer."""
ALSO_OF_LAYERS = frozenset({"cap", "cap_add", "deductible", "share_add", "share_minus_points", "share_factor"})
"""Facts that are about an upper layer when their scheme is one."""
