"""The charts of the book: the pictures of README, which ship as their commands draw them."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from percpu_proofs.data import folder
from percpu_proofs.report.pictures import part

_SHIPPED = {
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
    """Return the charts."""
    return [
        Plot(title, words, part((folder("pictures") / name).read_text("utf-8")))
        for name, (title, words) in _SHIPPED.items()
    ]
