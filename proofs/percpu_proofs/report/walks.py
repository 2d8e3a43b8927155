"""Counterexamples to walk through: the steps of all CPUs, and the memory behind each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from percpu_contracts.registry import Scope, statements
from percpu_proofs.counterexample import ChunkRow, Counterexample, State, Step
from percpu_proofs.report.bars import Bars
from percpu_proofs.show.text import chunk_text
from percpu_spec.catalogue import findings


@dataclass(frozen=True, slots=True)
class Row:
    """One chunk behind a step."""

    name: str
    place: str
    bar: Markup
    words: str  # areas, bytes, hints
    changed: bool
    blocks: str  # its map with the hints of its blocks as text, where the clause speaks of them


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter behind a step, and what it was before."""

    name: str
    before: int
    now: int


@dataclass(frozen=True, slots=True)
class Panel:
    """What is shown of one step, or of the state before the first."""

    number: int
    step: Step | None
    counters: tuple[Counter, ...]
    mutex: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """A counterexample with its panels; id is its place in the document."""

    id: str
    of: Counterexample
    note: str  # how it was found, and how far was searched
    command: str
    panels: tuple[Panel, ...]

    @property
    def mechanism(self) -> str:
        """What is known to break the clause; findings with their titles."""
        known = findings()
        names = self.of.mechanism.split(", ")
        if not known.keys() >= set(names):
            return self.of.mechanism
        return "; ".join(f"{name}, {known[name].title}" for name in names)


def walk(of: Counterexample, bars: Bars, place: str, note: str = "", command: str = "") -> Walk:
    """Return a counterexample as it is walked through."""
    in_blocks = any(
        s.clause == of.clause and s.scope in (Scope.BLOCK, Scope.CHUNK) for s in statements()
    )
    states = (of.before, *(step.state for step in of.steps))
    most = max((len(row.pages) for state in states for row in state.chunks), default=1)
    return Walk(place, of, note, command, tuple(_panels(of, bars, most, in_blocks=in_blocks)))


def _panels(of: Counterexample, bars: Bars, most: int, *, in_blocks: bool) -> Iterator[Panel]:
    yield _panel(0, None, None, of.before, bars, most, in_blocks=in_blocks)
    for before, step in of.states():
        yield _panel(step.number, step, before, step.state, bars, most, in_blocks=in_blocks)


def _panel(
    number: int,
    step: Step | None,
    before: State | None,
    now: State,
    bars: Bars,
    most: int,
    *,
    in_blocks: bool,
) -> Panel:
    counters = dict(before.counters) if before is not None else {}
    were = {row.name: row for row in before.chunks} if before is not None else {}
    rows = []
    for row in now.chunks:
        changed = before is not None and row != were.get(row.name)
        shown = chunk_text(row.picture) if in_blocks and changed else ""
        bar = bars.bar(row.picture, row.pages, most)
        rows.append(Row(row.name, row.place, bar, _words(row), changed, shown))
    return Panel(
        number, step,
        tuple(Counter(name, counters.get(name, value), value) for name, value in now.counters),
        now.mutex, tuple(rows),
    )  # fmt: skip


def _words(row: ChunkRow) -> str:
    """Return what a row does not draw."""
    chunk = row.picture
    words = [f"{chunk.empty} empty pages", f"{chunk.areas} areas", f"{chunk.free_bytes} bytes free"]
    if chunk.place != chunk.computed and "reserved" not in chunk.marks:
        words.append(f"its hints ask for {chunk.computed}")
    return ", ".join((*chunk.marks, *words))
