"""Pictures of a report: chunks as bars, each distinct one drawn once, and drawings as its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from markupsafe import Markup

from percpu_proofs.data import folder
from percpu_proofs.show import canvas
from percpu_proofs.show.picture import ChunkPicture

_PAGE = 100  # units across, so that a bar stretches with its page of the document
_HEIGHT = 24
_LANE = 3  # of a run that hints name, below the bar
_LEAST = 1.0  # so narrow areas are seen
_STATES = {"-": "n", "e": "e", "#": "u", "!": "w", "x": "r", "X": "r"}
"""Classes of the style sheet by the characters of a page row."""
LEGEND = (
    ("n", "unpopulated"), ("e", "populated and empty"), ("t", "empty in an isolated chunk"),
    ("u", "in use: its free part"),
    ("a", "area"), ("b", "the next area"), ("h", "outside the chunk"), ("r", "being released"),
    ("w", "in use, not populated"), ("g", "contig_hint"), ("s", "scan_hint"),
)  # fmt: skip
"""What the classes show."""


class ChunkBars:
    """The bars of one document, pages, areas and advertised runs at scale: drawn once and used."""

    def __init__(self) -> None:
        self._drawn: dict[str, str] = {}  # ids by drawing

    def bar(self, chunk: ChunkPicture, pages: str, most: int) -> Markup:
        """Return a chunk as a bar, as wide as its pages are of the most that a chunk has.

        pages: a character for each page, as counterexamples have them.
        """
        drawing = _drawing(chunk, pages)
        name = self._drawn.setdefault(drawing, f"bar{len(self._drawn)}")
        width = len(pages) * _PAGE
        share = f"{len(pages) / most:.1%}"
        return Markup(
            '<svg class="bar" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
            'aria-label="{}" width="{}"><use href="#{}"/></svg>'
        ).format(width, _HEIGHT + 2 * _LANE, pages, share, name)

    def symbols(self) -> Markup:
        """Return the drawings, to stand once in the document."""
        return Markup("\n").join(
            Markup('<g id="{}">{}</g>').format(name, Markup(drawing))
            for drawing, name in self._drawn.items()
        )


def _drawing(chunk: ChunkPicture, pages: str) -> str:
    """Return the paths of a bar, one for each class."""
    paths: dict[str, list[str]] = {}
    for style, x, width, y, height in _boxes(chunk, pages):
        box = f"M{_n(x)} {_n(y)}h{_n(width)}v{_n(height)}h-{_n(width)}z"
        paths.setdefault(style, []).append(box)
    lines = "".join(f"M{page * _PAGE} 0v{_HEIGHT}" for page in range(len(pages) + 1))
    paths["l"] = [f"{lines}M0 0h{len(pages) * _PAGE}M0 {_HEIGHT}h{len(pages) * _PAGE}"]
    return "".join(f'<path class="{style}" d="{"".join(d)}"/>' for style, d in paths.items())


def _boxes(chunk: ChunkPicture, pages: str) -> Iterator[tuple[str, float, float, float, float]]:
    """Yield class, x, width, y and height of each box."""
    scale = _PAGE / chunk.page_bits
    states = _STATES | ({"e": "t"} if "isolated" in chunk.marks else {})
    for number, state in enumerate(pages):
        yield states[state], number * _PAGE, _PAGE, 0, _HEIGHT
    for page in chunk.pages:
        for piece in page.pieces:
            style = "h" if piece.hidden else "ab"[piece.number % 2]
            width = max((piece.end - piece.start) * scale, _LEAST)
            yield style, page.index * _PAGE + piece.start * scale, width, 0, _HEIGHT
    for lane, (start, length) in enumerate(chunk.hints.runs.values()):
        if length:
            y = _HEIGHT + lane * _LANE
            yield "gs"[lane], start * scale, max(length * scale, _LEAST), y, _LANE


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


_COLOURS: Final = {
    canvas.INK: "ink", canvas.FAINT: "faint", canvas.LINE: "line", canvas.PAPER: "paper",
    canvas.AREAS[0]: "area", canvas.AREAS[1]: "area2", canvas.HIDDEN: "hidden",
    canvas.EMPTY: "empty", canvas.STRANDED: "stranded", canvas.USED: "used",
    canvas.CONTIG: "contig", canvas.SCAN: "scan", canvas.EDGE: "edge", canvas.FIRST: "bad",
}  # fmt: skip
_PAINT = re.compile(r'(fill|stroke)="(#[0-9a-f]{6})"')
_HEAD = re.compile(r"<style>.*?</style><defs>.*?</defs>\s*<rect [^>]*/>", re.DOTALL)
_SIZE = re.compile(r'<svg [^>]*?width="[^"]*" height="[^"]*" ')


def part(svg: str) -> Markup:
    """Return a document of percpu_proofs.show.canvas as a part of a page.

    Its own style, backdrop and size are left out; what is hatched takes the page's pattern.
    """
    svg = _HEAD.sub("", svg, count=1)
    svg = _SIZE.sub("<svg ", svg, count=1)
    return Markup(_PAINT.sub(_painted, svg))


def _painted(match: re.Match[str]) -> str:
    name = _COLOURS.get(match[2])
    return match[0] if name is None else f'{match[1]}="var(--{name})"'


class Plot(NamedTuple):
    """A chart that ships, as its command draws it, with what it shows in Markdown."""

    file: str
    title: str
    words: str

    @property
    def drawing(self) -> Markup:
        """The chart as a part of a page."""
        return part((folder("pictures") / self.file).read_text("utf-8"))


PLOTS: Final = (
    Plot("removal.svg", "Memory given back",
         "Percpu memory while a recorded kernel created 1000 x (1 + 10) cgroups and removed 10 of "
         "every 11, on every variant: `percpu-spec workload removal`."),
    Plot("cost.svg", "What an atomic allocation costs",
         "Chunks that one atomic allocation examines as depopulated chunks pile up (COST-1): "
         "`percpu-spec workload cost`."),
)  # fmt: skip
