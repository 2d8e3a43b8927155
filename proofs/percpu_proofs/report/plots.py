"""The charts of the book: what variants hold, what a search costs them, what bursts are served.

Running the workloads takes most of a minute, so drawings are kept until a source changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs
from markupsafe import Markup

from percpu_proofs.headline import served
from percpu_proofs.headline.examined import piles
from percpu_proofs.headline.interleaving import USUAL
from percpu_proofs.headline.plots import cost_svg, removal_svg, served_svg
from percpu_proofs.headline.removal import run_workload
from percpu_proofs.headline.workload import load, shipped
from percpu_proofs.report.pictures import part
from percpu_proofs.review.sources import Sources
from percpu_proofs.spread import spread
from percpu_reference.variants import VARIANTS

_SIZE, _ALIGN = 40, 8  # bytes of a request of a burst


class Plot(NamedTuple):
    """A chart with what it shows, in Markdown."""

    title: str
    words: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Task:
    """What one variant has to run for one line of a chart."""

    chart: str  # a workload's name, "cost" or "served"
    variant: str


def tasks() -> list[Task]:
    """Return all that is to be run, the long ones first."""
    return [Task(chart, name) for chart in (*shipped(), "served", "cost") for name in VARIANTS]


def run(task: Task) -> list[Any]:
    """Return the lines of a task: a Curve, Bursts or Served."""
    if task.chart == "cost":
        return list(piles(task.variant))
    if task.chart == "served":
        name, geometry = task.variant, served.GEOMETRY
        states = {
            "just booted": served.booted(name, geometry),
            "after a wave": served.after_wave(name, geometry, _SIZE, _ALIGN),
        }
        return [
            served.measure(name, state, allocator, _SIZE, _ALIGN)
            for state, allocator in states.items()
        ]
    return [run_workload(load(task.chart), task.variant, USUAL)]


def _draw(lines: Sequence[tuple[Task, list[Any]]]) -> dict[str, str]:
    """Return the drawings by name."""
    found: dict[str, list[Any]] = {}
    for task, values in lines:
        found.setdefault(task.chart, []).extend(values)
    return {
        "removal": removal_svg([(load(name), found[name]) for name in reversed(shipped())]),
        "cost": cost_svg(found["cost"]),
        "served": served_svg(found["served"]),
    }


_WORDS = {
    "removal": (
        "Memory given back",
        "Percpu memory while recorded kernels created 1000 x (1 + 10) cgroups and removed 10 of "
        "every 11. `percpu-spec workload removal` prints the figures.",
    ),
    "cost": (
        "What an atomic allocation costs",
        "Chunks that one atomic allocation examines as depopulated chunks pile up (COST-1). "
        "`percpu-spec workload cost` prints the figures.",
    ),
    "served": (
        "What a burst is served",
        "Atomic requests between two runs of the balance work. `percpu-spec workload burst` prints "
        "the figures.",
    ),
}


def plots(
    *,
    jobs: int,
    on_done: Callable[[int, int], None] = lambda done, total: None,
    folder: Path | None = None,
) -> list[Plot]:
    """Return the charts, drawn anew where none are kept. Raises KeyboardInterrupt for Ctrl-C.

    folder: where drawings are kept, the user's cache directory unless told.
    """
    folder = folder or platformdirs.user_cache_path("percpu-spec") / "report"
    key = Sources().hash_of("charts")[:32]
    drawings = {name: _find(folder / f"{key}-{name}.svg") for name in _WORDS}
    if not all(drawings.values()):
        every = tasks()
        lines, interrupted = spread(every, run, jobs=jobs, on_done=on_done)
        if interrupted:
            raise KeyboardInterrupt
        drawings = dict(_draw(list(zip(every, lines, strict=True))))
        for name, svg in drawings.items():
            _keep(folder / f"{key}-{name}.svg", svg or "")
    return [Plot(*_WORDS[name], part(svg or "")) for name, svg in drawings.items()]


def _find(path: Path) -> str | None:
    """Return a drawing that is kept whole."""
    with suppress(OSError, UnicodeDecodeError):
        digest, _, svg = path.read_text("utf-8").partition("\n")
        if digest == _digest(svg):
            return svg
    return None


def _keep(path: Path, svg: str) -> None:
    """Keep a drawing; a folder that cannot be written keeps nothing."""
    part = path.with_suffix(".part")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(f"{_digest(svg)}\n{svg}", "utf-8")
        part.replace(path)


def _digest(svg: str) -> str:
    return hashlib.sha256(svg.encode()).hexdigest()
