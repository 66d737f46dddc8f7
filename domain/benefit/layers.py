"""Upper layers (大额, 大病, 公务员补助, 医疗救助): what relieves the person of what the layers before left."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from domain.benefit.calculation import Calculation, Exact
from domain.benefit.sharing import Sharer, fund_share, portions, share_out, whole
from domain.money import half_up
from domain.policy.rules import SHARE_SCALE, Layer
from domain.settlement import ACCOUNT, FAMILY_ACCOUNT, FUND_PREFIX, LARGE_AMOUNT, OVER_CAP, PERSON, Step


def relieve(calculation: Calculation, layer: Layer, left_by_basic: Mapping[str, int]) -> None:
    """Let one layer pay. `left_by_basic`: what the basic fund left with the person, by segment."""
    if layer.at_cap:
        if (OVER_CAP, PERSON) not in calculation.cells:
            return
        if calculation.at(OVER_CAP) > 0 and (LARGE_AMOUNT, PERSON) not in calculation.cells:
            _share_above_cap(calculation, layer)
            return
        base: Exact = calculation.large_exact
        segments: tuple[str, ...] = (LARGE_AMOUNT, OVER_CAP)
    else:
        base = _base(calculation, layer, left_by_basic)
        segments = layer.relieves
    if base > 0:
        _relieve(calculation, layer, base, segments)


def _share_above_cap(calculation: Calculation, layer: Layer) -> None:
    """A layer that starts at the cap shares what is over it as the basic fund shared what is under it."""
    amount, exact = calculation.at(OVER_CAP), calculation.over_exact
    before = calculation.before(layer.counted)
    moved = Step("shared", *layer.cited, amount, "", amount, OVER_CAP, PERSON, LARGE_AMOUNT, PERSON)
    calculation.add(moved if exact == amount else moved._replace(exact=str(exact)))
    calculation.large_exact = exact
    calculation.bases[layer.base_name] = amount
    sharer = Sharer(layer.fund, LARGE_AMOUNT, layer.caps)
    start = max(before, layer.threshold_fen)
    share_out(calculation, layer.shares, sharer, (start, before + exact, layer.threshold_fen))


def _base(calculation: Calculation, layer: Layer, left_by_basic: Mapping[str, int]) -> int:
    """What the layer is measured on in this claim."""
    if layer.base == "in_scope_with_person" and left_by_basic:
        return sum([max(0, left_by_basic.get(segment, 0)) for segment in layer.segments])
    if layer.base == "in_scope":
        accounts = (ACCOUNT, FAMILY_ACCOUNT)
        return sum(
            amount
            for (segment, payer), amount in calculation.cells.items()
            if segment in layer.segments and payer not in accounts
        )
    return sum([max(0, calculation.at(segment)) for segment in layer.segments])


def _relieve(calculation: Calculation, layer: Layer, base: Exact, segments: tuple[str, ...]) -> None:
    before = calculation.before(layer.counted)
    exact = "" if isinstance(base, int) else str(base)
    calculation.bases[layer.base_name] = calculation.bases.get(layer.base_name, 0) + whole(base)
    calculation.add(
        Step(
            "layer-base", *layer.cited, whole(base), "", whole(base), limit_fen=layer.threshold_fen,
            before_fen=before, exact=exact,
        )
    )  # fmt: skip
    left = sum([max(0, calculation.at(segment)) for segment in segments])
    wanted = _wanted(calculation, layer, base, before, left)
    cap, room = calculation.room(layer.caps)
    if cap is not None and wanted > room:
        calculation.add(Step("layer-cap", *cap.cited, wanted, "", room, limit_fen=room))
        wanted = room
    payer = f"{FUND_PREFIX}{layer.fund}"
    for segment in segments:
        paid = min(wanted, calculation.at(segment))
        if paid > 0:
            step = Step("relief", *layer.cited, wanted, "", paid, segment, PERSON, segment, payer)
            calculation.pays(layer.fund, step)
            wanted -= paid


def _wanted(calculation: Calculation, layer: Layer, base: Exact, before: int, left: int) -> int:
    """What the layer would pay without its cap: its shares of the base by band, or all but what the person keeps."""
    if layer.keeps is not None:
        kept = half_up(base * layer.keeps, SHARE_SCALE)
        wanted = max(0, left - kept)
        step = Step("layer-keeps", *layer.cited, left, layer.keeps_ratio, wanted, limit_fen=whole(base))
        calculation.add(step)
        return wanted
    wanted = 0
    start = max(before, layer.threshold_fen)
    for band, amount, carry, _ in portions(layer.shares, start, before + base, layer.threshold_fen):
        paid = fund_share(amount, carry, band, layer.shares)
        wanted += paid
        step = Step(
            "layer-share", *band.cited, whole(amount), band.ratio, paid, rest=layer.shares.told_rest,
            exact="" if isinstance(amount, int) else str(amount),
            carry=str(Fraction(carry, SHARE_SCALE)) if carry else "",
        )  # fmt: skip
        calculation.add(step)
    return wanted
