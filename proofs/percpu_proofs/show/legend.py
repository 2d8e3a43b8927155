"""What the colours of memory maps mean, once for all drawings of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from percpu_proofs.show.canvas import (
    AREAS,
    CONTIG,
    EDGE,
    EMPTY,
    FIRST,
    HIDDEN,
    LINE,
    SCAN,
    STRANDED,
    UNPOPULATED,
    USED,
    Canvas,
)
from percpu_proofs.show.picture import ChunkPicture, PageState

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
