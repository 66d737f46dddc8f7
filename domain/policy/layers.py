"""The upper layers (大额, 大病, 公务员补助, 救助) of one case, from their facts."""

from __future__ import annotations

from collections.abc import Sequence

from domain.accumulators import ALL, BASE, FUND
from domain.money import unscaled
from domain.policy.facts import LAYERS, Fact
from domain.policy.rules import RATIO_SCALE, SHARE_SCALE, Band, Cited, Counted, Layer, Shares
from domain.policy.selection import Selection, cited, most_special
from domain.policy.shares import Counting, bands_of, caps_of, followed_cap
from domain.settlement import DEDUCTIBLE, LARGE_AMOUNT, OVER_CAP, SHARED
from domain.visit import VisitType

BORNE_IN_SCOPE = (SHARED, LARGE_AMOUNT, DEDUCTIBLE, OVER_CAP)
"""What an upper layer counts and relieves unless its facts say otherwise, in this order."""


def layers_of(selection: Selection, counting: Counting) -> tuple[Layer, ...]:
    """The layers the counter settles, in the order they pay."""
    found: list[Layer] = []
    order = selection.one("layer_order", "基金支付顺序")
    first = () if order is None else order.values["layers"]
    for name in dict.fromkeys((*first, *LAYERS)):
        if selection.settles(name):
            shares = selection.best("layer_share", name)
            if shares:
                found.append(_layer(name, shares, selection, counting))
            found.extend(
                _layer(name, most_special(facts), selection, counting, f"={'+'.join(use)}" if use else ALL)
                for use, facts in _by_use(selection.all("subsidy", name)).items()
            )
            cap = selection.one("person_cap", "个人负担上限", name)
            if cap is not None:
                found.append(_person_cap(name, cap, selection, counting))
    return tuple(found)


def _by_use(facts: Sequence[Fact]) -> dict[tuple[str, ...], list[Fact]]:
    found: dict[tuple[str, ...], list[Fact]] = {}
    for fact in facts:
        found.setdefault(fact.values.get("use", ()), []).append(fact)
    return found


def _layer(name: str, facts: list[Fact], selection: Selection, counting: Counting, tag: str = ALL) -> Layer:
    first = facts[0]
    values = first.values
    start = selection.one("threshold", "起付线", name) or selection.one("deductible", "起付线", name)
    threshold = 0 if start is None else selection.known(start, "amount", "起付线")
    kept = [fact for fact in facts if "keeps" in fact.values]
    if kept and len(facts) > 1:
        selection.only(facts, "个人保留比例")
    bands = () if kept else bands_of(facts, selection, name)
    keeps = kept[0].values["keeps"] * (SHARE_SCALE // RATIO_SCALE) if kept else None
    tag = f"={values['counter']}" if "counter" in values else tag
    per, visits = _period(first, start, bands, counting.case.visit_type)
    caps = caps_of(selection, counting, name, name)
    if "cap_follows" in values:
        caps += followed_cap(values["cap_follows"], selection, counting, name)
    counting.also(name, FUND)
    by = cited(start, *facts)
    return Layer(
        fund=name,
        at_cap=any(fact.values["at_cap"] for fact in facts),
        after_account=values.get("after") == "account",
        base=values.get("basis", (start.values.get("basis") if start else None) or "left_by_layers_before"),
        segments=_segments(first),
        relieves=_relieved(first),
        threshold_fen=threshold,
        counted=counting.over(name, BASE, per, visits, tag=tag),
        base_name=f"{name}:{BASE}:{tag}",
        shares=_rounded(bands, selection, by),
        caps=caps,
        keeps=keeps,
        keeps_ratio="" if keeps is None else unscaled(keeps, SHARE_SCALE),
        cited=by,
    )


def _person_cap(name: str, fact: Fact, selection: Selection, counting: Counting) -> Layer:
    """A cap on what the person bears is a layer that starts there and leaves the person a ratio of what is beyond."""
    amount = selection.known(fact, "amount", "个人负担上限")
    share = (RATIO_SCALE - fact.values.get("beyond", 0)) * (SHARE_SCALE // RATIO_SCALE)
    by = cited(fact)
    band = Band(0, None, share, unscaled(share, SHARE_SCALE), by)
    counting.also(name, FUND)
    return Layer(
        fund=name,
        at_cap=False,
        after_account=False,
        base="left_by_layers_before",
        segments=_segments(fact),
        relieves=_relieved(fact),
        threshold_fen=amount,
        counted=counting.over(name, BASE, fact.values["per"], fact.visits, tag="=person_cap"),
        base_name=f"{name}:{BASE}:=person_cap",
        shares=_rounded((band,), selection, by),
        caps=caps_of(selection, counting, name, name),
        keeps=None,
        keeps_ratio="",
        cited=by,
    )


def _period(
    fact: Fact, start: Fact | None, bands: tuple[Band, ...], visit_type: VisitType
) -> tuple[str | None, frozenset[VisitType] | None]:
    """Over what the base is added up: what the facts say, else the year where there are borders, else the stay."""
    said = fact.values.get("per") or (start.values.get("per") if start is not None else None)
    if said is None and ((start is not None and start.values["amount"]) or len(bands) > 1):
        said = "year"
    if said is None and visit_type == VisitType.INPATIENT:
        said = "stay"
    return said, fact.visits if start is None else start.visits


def _segments(fact: Fact) -> tuple[str, ...]:
    """The segments a layer counts."""
    wanted = tuple(fact.values.get("use") or BORNE_IN_SCOPE)
    added = tuple(segment for segment in fact.values.get("includes", ()) if segment not in wanted)
    return tuple(segment for segment in (*wanted, *added) if segment not in fact.values.get("excludes", ()))


def _relieved(fact: Fact) -> tuple[str, ...]:
    return tuple(fact.values.get("relieves") or _segments(fact))


def _rounded(bands: tuple[Band, ...], selection: Selection, by: Cited) -> Shares:
    """An upper layer rounds what the fund pays of each band, unless a rounding fact of layers says otherwise."""
    facts = [fact for fact in selection.all("rounding") if fact.values["place"] == "layer"]
    fact = selection.only(most_special(facts), "大额层四舍五入")
    rest = "person" if fact is None else fact.values.get("rest_goes_to", "person")
    mode = "half_up" if fact is None else fact.values["mode"]
    return Shares(bands, "after_deductible", (Counted(), Counted(), Counted()), rest, False, by, mode)
