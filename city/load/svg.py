"""Small pictures as inline SVG: lines over the day, dots over the day, bars, spreads. Nothing is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 270
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 26, 46
COLOURS = ("#2563a8", "#d9730d", "#2e8b57", "#c0392b", "#7a52a3", "#138d90", "#8d6e4b", "#5b6470", "#b5478a")
MOST_POINTS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series over the day."""

    name: str
    values: Sequence[float | None]
    """None where there is nothing to show."""
    colour: str = ""
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A part of the day that is marked, in hours."""

    name: str
    begins: float
    ends: float
    colour: str


@dataclass(frozen=True, slots=True)
class Second:
    """The other clock, written below the hours: real minutes since the doors opened."""

    opens: float
    compress: float

    def words(self, hour: float) -> str:
        """Real minutes and seconds at this hour."""
        seconds = round((hour - self.opens) * 3600 / self.compress)
        return f"{seconds // 60}′{seconds % 60:02d}″"


class _Frame:
    """Where a value stands in the picture, and the axes around it."""

    def __init__(self, hours: tuple[float, float], top: float, *, is_log: bool, least: float) -> None:
        self.first, self.last = hours
        if self.last <= self.first:
            self.last = self.first + 1
        self._is_log, self._least = is_log, least
        self.ticks = _log_ticks(least, top) if is_log else _ticks(top)
        self.top = self.ticks[-1]

    def x(self, hour: float) -> float:
        """Across."""
        within = min(max(hour, self.first), self.last)
        return LEFT + (within - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Down."""
        if self._is_log:
            share = math.log(max(value, self._least) / self._least) / math.log(self.top / self._least)
        else:
            share = value / self.top
        return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)

    def drawn(self, unit: str, second: Second | None, bands: Sequence[Band]) -> list[str]:
        """Bands, grid and axes."""
        parts = []
        for at, band in enumerate(bands):
            left, right = self.x(band.begins), self.x(band.ends)
            if right - left < 0.5:
                continue
            parts.append(
                f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}" '
                f'fill="{band.colour}" opacity="0.16"><title>{escape(band.name)}</title></rect>'
                f'<text x="{left + 2:.1f}" y="{TOP + 10 + 11 * at}" class="band">{escape(band.name)}</text>'
            )
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="tick end">{written(tick)}</text>'
            )
        for hour in self._hours():
            x = self.x(hour)
            clock = f"{int(hour):02d}:{round(hour % 1 * 60):02d}"
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" class="tick mid">{clock}</text>')
            if second is not None:
                words = second.words(hour)
                parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 30}" class="real mid">{words}</text>')
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}" class="axis"/>'
            f'<text x="4" y="{TOP - 12}" class="tick">{escape(unit)}</text>'
        )
        return parts

    def _hours(self) -> list[float]:
        span = self.last - self.first
        step = next((nice for nice in (1 / 60, 1 / 12, 0.25, 0.5, 1.0, 2.0) if span / nice <= 14), 4.0)
        first = math.ceil(self.first / step - 1e-9) * step
        return [first + number * step for number in range(int((self.last - first) / step + 1e-9) + 1)]


def over_the_day(
    hours: Sequence[float],
    lines: Sequence[Line],
    *,
    unit: str,
    label: str,
    bands: Sequence[Band] = (),
    second: Second | None = None,
    is_stacked: bool = False,
    is_log: bool = False,
    least: float = 0.001,
) -> str:
    """Lines, or areas one on top of the other, over the hours of the day."""
    if is_stacked:
        lines = _stacked(lines)
    top = max((value for line in lines for value in line.values if value is not None), default=0.0)
    half = (hours[1] - hours[0]) / 2 if len(hours) > 1 else 0.5
    frame = _Frame((hours[0] - half, hours[-1] + half), top, is_log=is_log, least=least)
    parts = frame.drawn(unit, second, bands)
    for at, line in reversed(list(enumerate(lines))):
        colour = line.colour or COLOURS[at % len(COLOURS)]
        name = f"<title>{escape(line.name)}</title>"
        for piece in _pieces(hours, line.values):
            points = " ".join(f"{frame.x(hour):.1f},{frame.y(value):.1f}" for hour, value in piece)
            if is_stacked:
                floor, first, last = HEIGHT - BOTTOM, frame.x(piece[0][0]), frame.x(piece[-1][0])
                around = f"{first:.1f},{floor} {points} {last:.1f},{floor}"
                parts.append(f'<polygon points="{around}" fill="{colour}">{name}</polygon>')
            else:
                dash = ' stroke-dasharray="5 4"' if line.is_dashed else ""
                parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"{dash}>{name}</polyline>')
    return _picture(parts, label) + _legend([(line.name, line.colour) for line in lines])


def dots_over_the_day(
    groups: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
    *,
    hours: tuple[float, float],
    unit: str,
    label: str,
    bands: Sequence[Band] = (),
    second: Second | None = None,
    least: float = 0.01,
) -> str:
    """One dot for each (hour, value) of each group (name, colour, dots), on a logarithmic scale."""
    top = max((value for _, _, dots in groups for _, value in dots), default=1.0)
    frame = _Frame(hours, max(top, least * 10), is_log=True, least=least)
    parts = frame.drawn(unit, second, bands)
    for name, colour, dots in groups:
        marks = "".join(f"M{frame.x(hour):.1f} {frame.y(value):.1f}h0" for hour, value in dots)
        if marks:
            parts.append(f'<path d="{marks}" stroke="{colour}" class="dots"><title>{escape(name)}</title></path>')
    return _picture(parts, label) + _legend([(name, colour) for name, colour, _ in groups])


def bars(
    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]],
    *,
    unit: str,
    label: str,
    form: Callable[[float], str] | None = None,
) -> str:
    """A group of horizontal bars for each row (name, (series, value)...), each bar with its figure."""
    form = form or written
    series = list(dict.fromkeys(name for _, values in rows for name, _ in values))
    top = max((value for _, values in rows for _, value in values), default=0.0) or 1.0
    height = sum(16 * len(values) + 12 for _, values in rows) + 8
    parts, y, left = [], 6, 230
    for name, values in rows:
        middle = y + 8 * len(values) + 4
        parts.append(f'<text x="{left - 8}" y="{middle}" class="tick end">{escape(name)}</text>')
        for which, value in values:
            length = value / top * (WIDTH - left - 130)
            colour = COLOURS[series.index(which) % len(COLOURS)]
            parts.append(
                f'<rect x="{left}" y="{y}" width="{length:.1f}" height="12" fill="{colour}">'
                f"<title>{escape(which)}</title></rect>"
                f'<text x="{left + length + 6:.1f}" y="{y + 10}" class="tick">{form(value)} {escape(unit)}</text>'
            )
            y += 16
        y += 12
    return _picture(parts, label, height) + _legend([(name, "") for name in series])


def spreads(
    rows: Sequence[tuple[str, Sequence[tuple[str, Sequence[float]]]]], *, unit: str, label: str, least: float = 0.001
) -> str:
    """For each row (name, (series, p50 p95 p99)...) a stroke a series from the median to the 99th; logarithmic.

    Each of the three has its mark; the last one's figure stands beside it.
    """
    series = list(dict.fromkeys(name for _, spread in rows for name, _ in spread))
    top = max((value for _, spread in rows for _, values in spread for value in values), default=0.0)
    ticks = _log_ticks(least, top)
    height = sum(16 * len(spread) + 12 for _, spread in rows) + 34
    left, decades = 230, math.log10(ticks[-1] / least)

    def x(value: float) -> float:
        return left + max(0.0, math.log10(max(value, least) / least)) / decades * (WIDTH - left - 130)

    parts, y = [], 6
    for tick in ticks:
        parts.append(
            f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="0" y2="{height - 24}" class="grid"/>'
            f'<text x="{x(tick):.1f}" y="{height - 8}" class="tick mid">{written(tick)} {escape(unit)}</text>'
        )
    for name, spread in rows:
        parts.append(f'<text x="{left - 8}" y="{y + 8 * len(spread) + 4}" class="tick end">{escape(name)}</text>')
        for which, values in spread:
            colour = COLOURS[series.index(which) % len(COLOURS)]
            first, last = x(values[0]), x(values[-1])
            marks = "".join(f"M{x(value):.1f} {y + 1}v10" for value in values)
            parts.append(
                f'<path d="M{first:.1f} {y + 6}H{last:.1f}{marks}" stroke="{colour}" class="spread">'
                f"<title>{escape(which)}</title></path>"
                f'<text x="{last + 6:.1f}" y="{y + 10}" class="tick">{written(values[-1])} {escape(unit)}</text>'
            )
            y += 16
        y += 12
    return _picture(parts, label, height) + _legend([(name, "") for name in series])


def written(value: float) -> str:
    """A number as short as it reads well."""
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{mark}"
    return f"{value:.3g}"


def _stacked(lines: Sequence[Line]) -> list[Line]:
    below = [0.0] * (len(lines[0].values) if lines else 0)
    stacked = []
    for line in lines:
        below = [low + (value or 0.0) for low, value in zip(below, line.values, strict=True)]
        stacked.append(Line(name=line.name, values=below, colour=line.colour))
    return stacked


def _pieces(hours: Sequence[float], values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """The stretches in which there is something to show."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for hour, value in zip(hours, values, strict=True):
        if value is not None:
            pieces[-1].append((hour, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _ticks(top: float) -> list[float]:
    if top <= 0:
        return [0.0, 1.0]
    rough = top / 5
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * nice for nice in (1, 2, 2.5, 5, 10) if size * nice >= rough * 0.999)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


def _log_ticks(least: float, top: float) -> list[float]:
    ticks = [least]
    while ticks[-1] < max(top, least * 10):
        ticks.append(ticks[-1] * 10)
    return ticks


def _picture(parts: Sequence[str], label: str, height: int = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _legend(names: Sequence[tuple[str, str]]) -> str:
    keys = "".join(
        f'<span class="key"><i style="background:{colour or COLOURS[at % len(COLOURS)]}"></i>{escape(name)}</span>'
        for at, (name, colour) in enumerate(names)
    )
    return f'<div class="legend">{keys}</div>'
