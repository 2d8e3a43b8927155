"""The few SVG elements that memory maps and charts are drawn with, their colours and legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

from percpu_proofs.show.picture import ChunkPicture, PageState

FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"

INK = "#1f2933"
FAINT = "#6b7683"
LINE = "#c4ccd4"
PAPER = "#ffffff"
AREAS = ("#4a7fb5", "#85aed4")  # neighbouring areas differ
HIDDEN = "#9aa3ad"
EMPTY = "#dff0e1"
STRANDED = "#f2a65a"
USED = "#f4f6f8"
CONTIG = "#2c8a4b"
SCAN = "#e08a1e"
EDGE = "#7d5ba6"
FIRST = "#c0392b"

_STYLE = f"""\
text{{font-family:{FONT};fill:{INK};font-size:12px}}
.title{{font-size:17px;font-weight:bold}}
.faint{{fill:{FAINT};font-size:11px}}
.mono{{font-family:{MONO};font-size:11px;white-space:pre}}"""

_HATCH = f"""\
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" \
patternTransform="rotate(45)">\
<rect width="6" height="6" fill="{PAPER}"/>\
<line x1="0" y1="0" x2="0" y2="6" stroke="{LINE}" stroke-width="1.6"/></pattern>"""

UNPOPULATED = "url(#hatch)"

_WIDTHS = {"title": 11.4, "faint": 6.8, "mono": 6.7}
"""Pixels of a character, on average, by style; 7.4 without one."""


class Canvas:
    """Collects elements from top to bottom; sizes in pixels."""

    def __init__(self, width: float) -> None:
        self.width = width
        self._elements: list[str] = []

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        *,
        stroke: str = "",
        radius: float = 0,
        tip: str = "",
    ) -> None:
        """Draw a rectangle; `tip` is shown where the pointer rests on it."""
        extra = f' stroke="{stroke}"' if stroke else ""
        extra += f' rx="{_n(radius)}"' if radius else ""
        size = f'width="{_n(width)}" height="{_n(height)}"'
        self._add("rect", f'x="{_n(x)}" y="{_n(y)}" {size} fill="{fill}"{extra}', tip)

    def path(
        self,
        points: Sequence[tuple[float, float]],
        stroke: str,
        *,
        width: float = 1,
        dash: str = "",
    ) -> None:
        """Draw straight lines from point to point; `dash` is the length of dashes and holes."""
        places = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        extra = f' stroke-dasharray="{dash}"' if dash else ""
        line = f'stroke="{stroke}" stroke-width="{_n(width)}" stroke-linejoin="round"{extra}'
        self._add("polyline", f'points="{places}" fill="none" {line}')

    def area(self, corners: Sequence[tuple[float, float]], fill: str, *, tip: str = "") -> None:
        """Fill what is between corners, so that what is behind it shows through."""
        places = " ".join(f"{_n(x)},{_n(y)}" for x, y in corners)
        self._add("polygon", f'points="{places}" fill="{fill}" fill-opacity="0.3"', tip)

    def dot(
        self, x: float, y: float, radius: float, fill: str, *, stroke: str = "", tip: str = ""
    ) -> None:
        """Draw a disc; `tip` is shown where the pointer rests on it."""
        extra = f' stroke="{stroke}" stroke-width="2"' if stroke else ""
        place = f'cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"'
        self._add("circle", f'{place} fill="{fill}"{extra}', tip)

    def _add(self, tag: str, attributes: str, tip: str = "") -> None:
        body = f"><title>{escape(tip)}</title></{tag}>" if tip else "/>"
        self._elements.append(f"<{tag} {attributes}{body}")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        style: str = "",
        anchor: str = "start",
        *,
        upwards: bool = False,
    ) -> None:
        """Write text with its baseline at y; upwards, turned to the left about (x, y).

        What would not fit is set narrower.
        """
        extra = f' class="{style}"' if style else ""
        room = {"start": self.width - x, "end": x}.get(anchor, 2 * min(x, self.width - x)) - 4
        if not upwards and len(text) * _WIDTHS.get(style, 7.4) > room:
            extra += f' textLength="{_n(room)}" lengthAdjust="spacingAndGlyphs"'
        extra += f' text-anchor="{anchor}"' if anchor != "start" else ""
        extra += f' transform="rotate(-90 {_n(x)} {_n(y)})"' if upwards else ""
        self._elements.append(f'<text x="{_n(x)}" y="{_n(y)}"{extra}>{escape(text)}</text>')

    def marker(self, x: float, y: float, size: float, fill: str) -> None:
        """Draw a triangle that points down at (x, y)."""
        half = size * 0.7
        down = f"M{_n(x)} {_n(y)}l{_n(-half)} {_n(-size)}h{_n(2 * half)}z"
        self._add("path", f'd="{down}" fill="{fill}"')

    def finish(self, height: float, title: str) -> str:
        """Return the whole document."""
        size = f'width="{_n(self.width)}" height="{_n(height)}"'
        view = f'viewBox="0 0 {_n(self.width)} {_n(height)}"'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} role="img">'
            f"<title>{escape(title)}</title>"
            f"<style>{_STYLE}</style><defs>{_HATCH}</defs>"
            f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        )
        return "\n".join([head, *self._elements, "</svg>"]) + "\n"


def _n(value: float) -> str:
    """Return a number with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


_FILL: Final = {PageState.UNPOPULATED: UNPOPULATED, PageState.EMPTY: EMPTY, PageState.USED: USED}


def page_fill(chunk: ChunkPicture, state: PageState) -> str:
    """Return the colour of a chunk's pages; empty ones of an isolated chunk are stranded."""
    if state is PageState.EMPTY and "isolated" in chunk.marks:
        return STRANDED
    return _FILL[state]


class LegendEntry(NamedTuple):
    """A colour, how it is shown, and what it means."""

    shape: str  # box, lane or marker
    fill: str
    words: str


PAGES: Final = (
    LegendEntry("box", UNPOPULATED, "unpopulated"),
    LegendEntry("box", EMPTY, "populated, empty"),
    LegendEntry("box", STRANDED, "the same in an isolated chunk: stranded (RCL-3)"),
    LegendEntry("box", USED, "free part of a page in use"),
)
AREA: Final = LegendEntry("box", AREAS[0], "areas")
RUN: Final = LegendEntry("lane", CONTIG, "the run that the chunk advertises")
MAP: Final = (
    LegendEntry("box", AREAS[0], "area (shades alternate)"),
    LegendEntry("box", HIDDEN, "outside the chunk"),
    LegendEntry("lane", CONTIG, "contig hint"),
    LegendEntry("lane", SCAN, "scan hint"),
    LegendEntry("lane", EDGE, "left free, right free (of a page)"),
    LegendEntry("marker", FIRST, "first free"),
)


def draw_legend(
    canvas: Canvas, entries: Iterable[LegendEntry], left: float, right: float, y: float
) -> float:
    """Draw entries in lines between left and right; return the y below them."""
    x = left
    for entry in entries:
        width = 34 + 6.6 * len(entry.words)
        if x + width > right and x > left:
            x, y = left, y + 20
        if entry.shape == "box":
            canvas.rect(x, y, 16, 12, entry.fill, stroke=LINE)
        elif entry.shape == "lane":
            canvas.rect(x, y + 5, 16, 3, entry.fill)
        else:
            canvas.marker(x + 8, y + 10, 6, entry.fill)
        canvas.text(x + 22, y + 10, entry.words, "faint")
        x += width + 10
    return y + 20
