"""How the volumes of a day come about, step by step, as the report shows them."""

from __future__ import annotations

from typing import Any

from city.load.arrivals import HOUR_SECONDS, expected_by_hour
from city.load.model import (
    ADMISSIONS_PER_PERSON,
    DAYS_A_YEAR,
    LARGEST_FIRST,
    SEASON,
    VISITS_PER_PERSON,
    WEEKDAYS,
    CityModel,
    allowed_discharges,
    allowed_visits,
)
from domain.institution_class import CLASSES, Size


def arithmetic_of(city: CityModel, *, weekday: int) -> dict[str, Any]:
    """Thresholds, shares, volumes of the average and of the peak day, by class; and the sentence for each step."""
    counts = {size: len(city.of(size)) for size in LARGEST_FIRST}
    hospitals = {size: sum(one.kind != "pharmacy" for one in city.of(size)) for size in LARGEST_FIRST}
    factor = city.day_factor(weekday, peak=True)
    by_hour = expected_by_hour(city, weekday=weekday, peak=True)
    busiest = max(by_hour, key=lambda hour: by_hour[hour])
    visits, stays = allowed_visits(counts), allowed_discharges(hospitals)
    sentences = [
        f"{city.insured:,} insured × {VISITS_PER_PERSON} visits a year ÷ {DAYS_A_YEAR} = "
        f"{city.insured * VISITS_PER_PERSON / DAYS_A_YEAR:,.0f} visits on an average day",
        f"thresholds and shares allow {visits.least:,.0f} to {visits.most:,.0f} visits a day for "
        + ", ".join(f"{counts[size]} {size.replace('_', ' ')}" for size in LARGEST_FIRST),
        f"and {stays.least:,.0f} to {stays.most:,.0f} discharges a year; the middle is taken, "
        f"{(stays.least + stays.most) / 2:,.0f} (at the nation's rate of 2022 it would be "
        f"{city.insured * ADMISSIONS_PER_PERSON:,.0f})",
        f"peak day = average × {WEEKDAYS[weekday - 1]:g} (Monday) × {SEASON:g} (season) = × {factor:.4g}: "
        f"{city.visits_a_day * factor:,.0f} visits and {city.discharges_a_year / DAYS_A_YEAR * factor:,.0f} stays"
        + ("" if city.scale == 1 else f", at a scale of {city.scale:g}"),
        f"busiest hour {busiest}:00–{busiest + 1}:00: {by_hour[busiest]:,.0f} claims, "
        f"{by_hour[busiest] / HOUR_SECONDS:.2f} a business second",
    ]
    return {
        "scale": city.scale,
        "insured": city.insured,
        "visits_average_day": round(city.visits_a_day, 1),
        "discharges_year": round(city.discharges_a_year, 1),
        "peak_factor": round(factor, 4),
        "busiest_hour": busiest,
        "busiest_hour_claims": round(by_hour[busiest], 1),
        "expected_by_hour": {str(hour): round(claims, 1) for hour, claims in by_hour.items()},
        "sentences": sentences,
        "classes": [_class(city, size, factor) for size in LARGEST_FIRST],
    }


def _class(city: CityModel, size: Size, factor: float) -> dict[str, Any]:
    institutions, class_ = city.of(size), CLASSES[size]
    visits = sum(one.visits_a_day for one in institutions)
    return {
        "class": str(size),
        "name_zh": class_.name_zh,
        "institutions": len(institutions),
        "pharmacies": sum(one.kind == "pharmacy" for one in institutions),
        "share_percent": class_.business_percent,
        "visits_threshold": class_.visits_a_day,
        "discharges_threshold": class_.discharges_a_year,
        "visits_each": [round(f(one.visits_a_day for one in institutions), 1) for f in (min, max)],
        "discharges_each": [round(f(one.discharges_a_year for one in institutions), 1) for f in (min, max)],
        "visits_average_day": round(visits, 1),
        "visits_peak_day": round(visits * factor, 1),
        "stays_peak_day": round(sum(one.discharges_a_day for one in institutions) * factor, 1),
    }
