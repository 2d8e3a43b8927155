"""SVG documents as parts of a page, which gives them its colours and fonts; the book's charts."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from markupsafe import Markup

from percpu_proofs.data import folder
from percpu_proofs.show import canvas

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


_CHARTS = {
    "removal.svg": (
        "Memory given back",
        "Percpu memory while a recorded kernel created 1000 x (1 + 10) cgroups and removed 10 of "
        "every 11, on every variant: `percpu-spec workload removal`.",
    ),
    "cost.svg": (
        "What an atomic allocation costs",
        "Chunks that one atomic allocation examines as depopulated chunks pile up (COST-1): "
        "`percpu-spec workload cost`.",
    ),
}


class Plot(NamedTuple):
    """A chart with what it shows, in Markdown."""

    title: str
    words: str
    drawing: Markup


def plots() -> list[Plot]:
    """Return the charts that ship, as their commands draw them."""
    return [
        Plot(title, words, part((folder("pictures") / name).read_text("utf-8")))
        for name, (title, words) in _CHARTS.items()
    ]
