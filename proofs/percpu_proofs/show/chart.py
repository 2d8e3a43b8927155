"""Line charts as SVG: panels one below the other, with axes, recorded points and one legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from percpu_proofs.show.canvas import FAINT, INK, LINE, PAPER, Canvas

_WIDTH = 960.0
_LEFT = 72.0  # of the plotting area
_RIGHT = _WIDTH - 24
_HEIGHT = 300.0  # of the plotting area
_MARGIN = 20.0
_TICKS = 7  # behind 0 on an axis, at most

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Style:
    """How a line is drawn: its colour, and the lengths of dashes and holes if it has any."""

    colour: str
    dash: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the axes' units: a line, with a dot at each point or without."""

    name: str
    points: Sequence[Point]
    style: Style
    dotted: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """Observations, drawn as rings with what each is."""

    name: str
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


def chart_svg(title: str, panels: Sequence[Panel], notes: Sequence[str] = ()) -> str:
    """Return a document of panels from top to bottom, a legend and notes."""
    canvas = Canvas(_WIDTH)
    canvas.text(_MARGIN, 30, title, "title")
    y = 44.0
    for panel in panels:
        y = _panel(canvas, panel, y)
    y = _legend(canvas, panels, y + 14)
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
        canvas.text(min(at, _RIGHT - 24), top - 6, name, "faint", "middle")
    for one in panel.series:
        placed = [place(point) for point in one.points]
        canvas.path(placed, one.style.colour, width=2, dash=one.style.dash)
        if one.dotted:
            for (x, value), (at, height) in zip(one.points, placed, strict=True):
                tip = f"{one.name}: {value:g} at {x:g}"
                canvas.dot(at, height, 3, one.style.colour, tip=tip)
    for marks in panel.marks:
        for point, tip in zip(marks.points, marks.tips, strict=True):
            canvas.dot(*place(point), 4.5, PAPER, stroke=INK, tip=tip)
    canvas.path([(_LEFT, top), (_LEFT, bottom), (_RIGHT, bottom)], FAINT)
    canvas.text((_LEFT + _RIGHT) / 2, bottom + 34, panel.across, "", "middle")
    canvas.text(_MARGIN + 6, (top + bottom) / 2, panel.up, "", "middle", upwards=True)
    return bottom + 48


def _legend(canvas: Canvas, panels: Sequence[Panel], y: float) -> float:
    """Name each line and mark once; return the y below."""
    styles = {one.name: one.style for panel in panels for one in panel.series}
    marks = dict.fromkeys(one.name for panel in panels for one in panel.marks)
    x = _LEFT
    for name in (*styles, *marks):
        width = 56 + 6.8 * len(name)
        if x + width > _RIGHT and x > _LEFT:
            x, y = _LEFT, y + 20
        style = styles.get(name)
        if style is not None:
            canvas.path([(x, y), (x + 28, y)], style.colour, width=2.5, dash=style.dash)
        else:
            canvas.dot(x + 14, y, 4.5, PAPER, stroke=INK)
        canvas.text(x + 35, y + 4, name)
        x += width
    return y + 30


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
