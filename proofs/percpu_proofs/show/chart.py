"""Charts as SVG: panels one below the other, with axes, recorded points, and names at the ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from percpu_proofs.show.canvas import FAINT, INK, LINE, PAPER, Canvas

_WIDTH = 960.0
_LEFT = 72.0  # of the plotting area
_RIGHT = _WIDTH - 262  # names stand to the right of it
_HEIGHT = 300.0  # of the plotting area
_MARGIN = 20.0
_TICKS = 7  # behind 0 on an axis, at most
_APART = 17.0  # of names below one another
_NEAR = 100.0  # of the right edge of a panel
_BAR = 16.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Style:
    """How a line is drawn: its colour, and the lengths of dashes and holes if it has any."""

    colour: str
    dash: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the axes' units: a line, with a dot at each point or without.

    band: how far below the line at each point a band reaches that is a part of the whole, with
    band_label at its end if it has one.
    """

    name: str
    points: Sequence[Point]
    style: Style
    dotted: bool = False
    label: str = ""  # at its end; its name if empty
    band: Sequence[float] = ()
    band_label: str = ""


@dataclass(frozen=True, slots=True)
class Marks:
    """Observations, drawn as rings with what each is, and a label beside the last."""

    label: str
    points: Sequence[Point]
    tips: Sequence[str]


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes; both begin at 0."""

    title: str
    across: str  # label of the horizontal axis, with its unit
    up: str  # label of the vertical axis, with its unit
    series: Sequence[Series]
    marks: Sequence[Marks] = ()
    moments: Sequence[tuple[float, str]] = ()  # vertical lines, named


class Bar(NamedTuple):
    """A value with its name, and a note beside it."""

    name: str
    value: float
    note: str
    style: Style


@dataclass(frozen=True, slots=True)
class Bars:
    """Values beside one another, as horizontal bars from 0 on."""

    title: str
    bars: Sequence[Bar]


class _Label(NamedTuple):
    """A text that belongs to a point, with a sample of what it names."""

    at: Point
    text: str
    style: Style | None = None  # of a line; None for a mark
    is_band: bool = False


def chart_svg(title: str, panels: Sequence[Panel | Bars], notes: Sequence[str] = ()) -> str:
    """Return a document of panels from top to bottom, and notes."""
    canvas = Canvas(_WIDTH)
    canvas.text(_MARGIN, 30, title, "title")
    y = 44.0
    for panel in panels:
        y = _bars(canvas, panel, y) if isinstance(panel, Bars) else _panel(canvas, panel, y)
    y += 14
    for note in notes:
        canvas.text(_LEFT, y, note, "faint")
        y += 16
    return canvas.finish(y + 6, title)


def _panel(canvas: Canvas, panel: Panel, y: float) -> float:
    """Draw one panel below y; return the y below it."""
    canvas.text(_LEFT, y + 14, panel.title)
    top = y + (40 if panel.moments else 28)
    bottom = top + _HEIGHT
    points = [p for series in panel.series for p in series.points]
    points += [p for marks in panel.marks for p in marks.points]
    last = max((x for x, _ in points), default=1) or 1
    up = ticks(max((value for _, value in points), default=1))

    def place(point: Point) -> Point:
        x, value = point
        return _LEFT + x / last * (_RIGHT - _LEFT), bottom - value / up[-1] * _HEIGHT

    for value in up:
        _, at = place((0, value))
        canvas.path([(_LEFT, at), (_RIGHT, at)], LINE, width=0.7)
        canvas.text(_LEFT - 8, at + 4, f"{value:g}", "faint", "end")
    for value in (value for value in ticks(last) if value <= last):
        at, _ = place((value, 0))
        canvas.path([(at, bottom), (at, bottom + 4)], FAINT)
        canvas.text(at, bottom + 17, f"{value:g}", "faint", "middle")
    for x, name in panel.moments:
        at, _ = place((x, 0))
        canvas.path([(at, top), (at, bottom)], FAINT, width=0.7, dash="2 3")
        canvas.text(at, top - 6, name, "faint", "middle")
    labels = []
    for one in panel.series:
        placed = [place(point) for point in one.points]
        if any(one.band):
            lower = [
                place((x, value - part))
                for (x, value), part in zip(one.points, one.band, strict=True)
            ]
            canvas.area([*placed, *reversed(lower)], one.style.colour, tip=one.band_label)
            if one.band_label:
                x, value = placed[-1]
                middle = x, (value + lower[-1][1]) / 2
                labels.append(_Label(middle, one.band_label, one.style, is_band=True))
        canvas.path(placed, one.style.colour, width=2, dash=one.style.dash)
        if one.dotted:
            for (x, value), (at, height) in zip(one.points, placed, strict=True):
                tip = f"{one.name}: {value:g} at {x:g}"
                canvas.dot(at, height, 3, one.style.colour, tip=tip)
        if placed:
            labels.append(_Label(placed[-1], one.label or one.name, one.style))
    for marks in panel.marks:
        for point, tip in zip(marks.points, marks.tips, strict=True):
            canvas.dot(*place(point), 4.5, PAPER, stroke=INK, tip=tip)
        if marks.points:
            labels.append(_Label(place(marks.points[-1]), marks.label))
    _labels(canvas, labels, top, bottom)
    canvas.path([(_LEFT, top), (_LEFT, bottom), (_RIGHT, bottom)], FAINT)
    canvas.text((_LEFT + _RIGHT) / 2, bottom + 34, panel.across, "", "middle")
    canvas.text(_MARGIN + 6, (top + bottom) / 2, panel.up, "", "middle", upwards=True)
    return bottom + 48


def _labels(canvas: Canvas, labels: Sequence[_Label], top: float, bottom: float) -> None:
    """Name what ends at points, to the right of the panel, with lines that lead there."""
    ordered = sorted(labels, key=lambda label: label.at[1])
    places = spread([label.at[1] for label in ordered], _APART, top, bottom)
    for label, y in zip(ordered, places, strict=True):
        x, at = label.at
        if _RIGHT - x < _NEAR:  # else it would cross the panel
            canvas.path([(x + 3, at), (_RIGHT + 10, y), (_RIGHT + 14, y)], FAINT, width=0.6)
        begin, end = _RIGHT + 16, _RIGHT + 38
        if label.style is None:
            canvas.dot((begin + end) / 2, y, 4.5, PAPER, stroke=INK)
        elif label.is_band:
            corners = [(begin, y - 5), (end, y - 5), (end, y + 5), (begin, y + 5)]
            canvas.area(corners, label.style.colour)
        else:
            canvas.path([(begin, y), (end, y)], label.style.colour, width=2.5,
                        dash=label.style.dash)  # fmt: skip
        canvas.text(end + 6, y + 4, label.text)


def spread(wanted: Sequence[float], apart: float, top: float, bottom: float) -> list[float]:
    """Return places near those wanted, in their order and at least `apart` from one another.

    None is above top; they end above bottom where there is room for all.

    >>> spread([10, 12, 90], 10, 0, 100), spread([99, 100], 10, 0, 100), spread([5, 5], 9, 5, 9)
    ([10, 20, 90], [90, 100], [5, 14])
    """
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + apart if places else top))
    limit = max(bottom, top + apart * (len(places) - 1))
    for at in range(len(places) - 1, -1, -1):
        places[at] = min(places[at], limit)
        limit = places[at] - apart
    return places


def _bars(canvas: Canvas, panel: Bars, y: float) -> float:
    """Draw values as bars below y; return the y below them."""
    canvas.text(_LEFT, y + 14, panel.title)
    y += 26
    begin = _LEFT + max((7.2 * len(bar.name) for bar in panel.bars), default=0) + 12
    most = max((bar.value for bar in panel.bars), default=0) or 1
    longest = max((6.6 * len(bar.note) for bar in panel.bars), default=0)
    scale = max(_WIDTH - _MARGIN - 12 - longest - begin, 80) / most
    for bar in panel.bars:
        canvas.text(begin - 8, y + 13, bar.name, "", "end")
        canvas.rect(begin, y + 1, max(bar.value * scale, 1), _BAR, bar.style.colour)
        canvas.text(begin + bar.value * scale + 8, y + 13, bar.note, "faint")
        y += _BAR + 8
    return y + 8


def ticks(most: float) -> list[float]:
    """Return round numbers from 0 up to the first that is not below `most`, at least one behind 0.

    >>> ticks(129), ticks(80.3), ticks(2)
    ([0, 20, 40, 60, 80, 100, 120, 140], [0, 20, 40, 60, 80, 100], [0, 1, 2])
    """
    power = 1
    while most > 10 * power * _TICKS:
        power *= 10
    step = next(n * power for n in (1, 2, 5, 10) if most <= n * power * _TICKS or n == 10)
    return [step * i for i in range(max(ceil(most / step), 1) + 1)]
