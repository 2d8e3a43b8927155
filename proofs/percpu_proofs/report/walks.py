"""Counterexamples to walk through: the steps of all CPUs, and the memory behind each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from percpu_proofs.counterexample.of_model import of_token
from percpu_proofs.counterexample.record import Counterexample, CpuStep, Relevance, relevance
from percpu_proofs.counterexample.words import state_changes
from percpu_proofs.report.pictures import ChunkBars
from percpu_proofs.review.matrix import Cell
from percpu_proofs.show.text import ChunkRow, StateRows, chunk_text
from percpu_spec.catalogue import findings
from percpu_spec.counts import counted


@dataclass(frozen=True, slots=True)
class ChunkLine:
    """One chunk behind a step."""

    name: str
    place: str
    bar: Markup
    words: str  # what the bar does not draw
    changed: bool
    blocks: str  # its map with the hints of its blocks as text, where the clause speaks of them


@dataclass(frozen=True, slots=True)
class StepPanel:
    """What is shown of one step, or of the state before the first."""

    step: CpuStep | None
    changes: tuple[str, ...]
    counters: tuple[tuple[str, int, int], ...]  # name, and what it was before and is behind it
    mutex: str
    rows: tuple[ChunkLine, ...]
    others: int  # chunks that do not bear on the clause


@dataclass(frozen=True, slots=True)
class Walkthrough:
    """A counterexample with its panels; id is its place in the document."""

    id: str
    of: Counterexample
    note: str  # how it was found, and how far was searched
    command: str
    panels: tuple[StepPanel, ...]

    @property
    def mechanism(self) -> str:
        """What is known to break the clause; findings with their titles."""
        known = findings()
        names = self.of.mechanism.split(", ")
        if not known.keys() >= set(names):
            return self.of.mechanism
        return "; ".join(f"{name}, {known[name].title}" for name in names)

    @property
    def finding(self) -> str:
        """The finding that it shows; empty where none is known, or several are."""
        named = self.mechanism.partition(",")[0]
        return named if named in findings() and ";" not in self.mechanism else ""


def walk(
    of: Counterexample, bars: ChunkBars, place: str, note: str = "", command: str = ""
) -> Walkthrough:
    """Return a counterexample as it is walked through."""
    shown = relevance(of)
    states = (of.before, *(step.state for step in of.steps))
    most = max((len(row.pages) for state in states for row in state.chunks), default=1)
    panels = [_panel(None, None, of.before, shown, bars, most)]
    panels += [_panel(step, before, step.state, shown, bars, most) for before, step in of.states()]
    return Walkthrough(place, of, note, command, tuple(panels))


def _panel(
    step: CpuStep | None,
    before: StateRows | None,
    now: StateRows,
    shown: Relevance,
    bars: ChunkBars,
    most: int,
) -> StepPanel:
    counters = dict(before.counters) if before is not None else {}
    were = {row.name: row for row in before.chunks} if before is not None else {}
    rows = []
    for row in shown.rows(now):
        changed = before is not None and row != were.get(row.name)
        blocks = chunk_text(row.picture) if shown.hints and (changed or step is None) else ""
        bar = bars.bar(row.picture, row.pages, most)
        rows.append(ChunkLine(row.name, row.place, bar, _words(row), changed, blocks))
    below = ("pcpu_alloc_mutex", *dict(now.counters))  # where the counters are
    words = () if step is None or before is None else state_changes(before, step, shown)
    return StepPanel(
        step,
        tuple(change for change in words if not change.startswith(below)),
        tuple(
            (name, counters.get(name, value), value)
            for name, value in now.counters
            if name in shown.counters
        ),
        now.mutex, tuple(rows), shown.others(now),
    )  # fmt: skip


def _words(row: ChunkRow) -> str:
    chunk = row.picture
    words = [counted(chunk.empty, "empty page"), chunk.contents]
    if chunk.list_by_hints:
        words.append(f"its hints ask for {chunk.list_by_hints}")
    return ", ".join((*chunk.marks, *words))


def place_of(cell: Cell) -> str:
    """Return the id of the first counterexample of a verdict."""
    return f"walk-{cell.clause}-{Path(cell.variant).stem}"


def walks(cell: Cell, bars: ChunkBars) -> Iterator[Walkthrough]:
    """Yield the counterexamples of a verdict: the shortest, then those of further mechanisms."""
    found = [(cell.example, place_of(cell), cell.origin)]
    found += [
        (example, f"{place_of(cell)}-{name}", cell.bounds.get(name, ""))
        for name, example in cell.mechanisms.items()
    ]
    findings_of = {example.token: name for name, example in cell.mechanisms.items() if example}
    walked: set[str] = set()
    for example, place, how in found:
        if example is None or not example.token or example.token in walked:
            continue
        walked.add(example.token)
        of = of_token(example.token, how)
        of = replace(of, mechanism=findings_of.get(example.token, of.mechanism))
        shortest = "the fewest within its bound" if example.shortest else "maybe not the fewest"
        note = f"{counted(example.length, 'operation')}, {shortest}: {how}"
        yield walk(of, bars, place, note, f"percpu-spec replay {example.token}")
