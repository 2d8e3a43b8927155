"""A counterexample in text of a width: what is broken, what ran before, the steps, the states."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from percpu_proofs.counterexample.bearing import Bearing, alone, bearing
from percpu_proofs.counterexample.changes import short
from percpu_proofs.counterexample.record import Counterexample, Spoken, Step
from percpu_proofs.counterexample.table import folded, rows, table
from percpu_proofs.show.picture import Hints, Piece
from percpu_proofs.show.rows import PAGES, ChunkRow, State

Line = tuple[str, str]
"""What a line is, for those who colour it, and its text."""

LOCKS: Final = (
    "In a step its CPU holds pcpu_lock where the kernel does; between two steps the lock is free."
)


def text(c: Counterexample, width: int) -> Iterator[Line]:
    """Yield the lines of a counterexample."""
    since = alone(c)
    shown = bearing(c, since)
    yield from head(c, width)
    yield "", ""
    yield from setup(c, since, width)
    yield "", ""
    yield from table(folded(rows(c, since, shown)), c.cpus_since(since), width)
    if c.stopped:
        yield from wrapped("broken", f"the kernel stops: {c.stopped}", width)
    yield "", ""
    yield from states(c, since, shown, width)
    yield "", ""
    yield from wrapped("dim", f"{legend(c, shown)} {LOCKS}", width)
    if c.bound:
        yield from wrapped("", f"Searched: {c.bound}.", width)


def wrapped(kind: str, said: str, width: int, indent: str = "") -> Iterator[Line]:
    """Yield a text in lines of a width; those behind the first are indented."""
    for line in textwrap.wrap(said, width, subsequent_indent=indent):
        yield kind, line


def head(c: Counterexample, width: int) -> Iterator[Line]:
    """Yield what is broken, and where the kernel says that it is to hold."""
    yield from wrapped("head", f"{c.subject} breaks {c.clause}: {c.title}", width, "  ")
    yield from wrapped("", c.sentence, width)
    if c.source_of_clause:
        yield from wrapped("", f"Kernel: {c.source_of_clause}", width, "  ")
    if c.message:
        yield from wrapped("broken", f"Broken: {c.message}.", width, "  ")
    if c.mechanism:
        yield from wrapped("", f"Known: {c.mechanism}", width, "  ")


def setup(c: Counterexample, since: int, width: int) -> Iterator[Line]:
    """Yield the operations before, which ran one after the other, and those of the steps."""
    yield from wrapped("", f"Geometry: {c.geometry.replace(',', ', ')}", width, "  ")
    before = [*c.setup, *began(c.steps[:since])]
    if before:
        yield "", "Before, one after the other:"
        yield from _operations(before, width)
    yield "", "Then:" if not before else "Then, as below:"
    for step in c.steps[since:]:
        if step.begins:
            yield from _spoken(f"{step.cpu:6} ", Spoken(step.words, step.operation), width)


def began(steps: Sequence[Step]) -> list[Spoken]:
    """Return the operations that begin in some steps."""
    return [Spoken(step.words, step.operation) for step in steps if step.begins]


def _operations(operations: list[Spoken], width: int) -> Iterator[Line]:
    """Yield operations, each on a line; equal requests are counted."""
    for _, run in groupby(operations, lambda one: one.words.rpartition(" (")[0] or one.words):
        same = list(run)
        if len(same) < 3:
            for one in same:
                yield from _spoken("", one, width)
            continue
        what, _, first = same[0].words.rpartition(" (")
        last = same[-1].words.rpartition(" (")[2]
        words = f"{what}, {len(same)} times"
        if what:
            words += f" ({first.rstrip(')')} to {last}"
        else:
            words = f"{same[0].words}, {len(same)} times"
        both = f"{same[0].operation} ... {same[-1].operation}"
        yield from _spoken("", Spoken(words, both), width)


def _spoken(who: str, one: Spoken, width: int) -> Iterator[Line]:
    line = f"  {who}{one.words}"
    if len(line) + len(one.operation) + 2 <= width:
        yield "", f"{line}{one.operation:>{width - len(line)}}"
    else:
        yield from wrapped("", line, width, "    ")
        yield "", f"{one.operation:>{width}}" if len(one.operation) <= width else one.operation


def states(c: Counterexample, since: int, shown: Bearing, width: int) -> Iterator[Line]:
    """Yield the states before and after."""
    yield from state("Before:", c.steps[since - 1].state if since else c.before, shown, width)
    if c.steps:
        yield from state("After:", c.steps[-1].state, shown, width)


def state(title: str, shown_state: State, shown: Bearing, width: int) -> Iterator[Line]:
    """Yield a state's counters and chunks, as far as they bear on the clause."""
    counters = [f"{name} {value}" for name, value in shown_state.counters if name in shown.counters]
    if shown_state.mutex:
        counters.append(f"pcpu_alloc_mutex held by {shown_state.mutex}")
    yield from wrapped("", f"{title} {', '.join(counters)}".rstrip(), width, "  ")
    for row in shown.rows(shown_state):
        yield from wrapped("row", chunk_line(row), width, "    ")
        if shown.hints:
            for line in hint_lines(row):
                yield from wrapped("", f"    {line}", width, "      ")
    more = shown.others(shown_state)
    if more:
        yield "", f"  {more} more chunk{'s' if more > 1 else ''} unchanged"


def chunk_line(row: ChunkRow) -> str:
    """Return a chunk in a line: where it is, and its pages."""
    return f"  chunk {row.name:3} {row.place:24} {short(row.pages)}".rstrip()


def hint_lines(row: ChunkRow) -> Iterator[str]:
    """Yield the areas of a chunk, and its hints and those of its first blocks in part used."""
    areas = row.areas
    told = ", ".join(f"[{first}, {last}]" for first, last in areas[:6])
    more = f" and {len(areas) - 6} more" if len(areas) > 6 else ""
    yield f"areas in bytes: {told}{more}" if areas else "no areas"
    yield f"chunk_md: {_hints(row.picture.hints)}"
    bits = row.picture.page_bits
    telling = [page for page in row.picture.pages if 0 < _used(page.pieces) < bits]
    for page in telling[:3]:
        yield f"md_blocks[{page.index}]: {_hints(page.hints)}"
    if len(telling) > 3:
        yield f"{len(telling) - 3} more blocks in part used"


def _used(pieces: Sequence[Piece]) -> int:
    return sum(piece.end - piece.start for piece in pieces)


def _hints(hints: Hints) -> str:
    return (
        f"contig_hint {hints.contig} at {hints.contig_start}, scan_hint {hints.scan} at "
        f"{hints.scan_start}, left_free {hints.left}, right_free {hints.right}, first_free "
        f"{hints.first}"
    )


def legend(c: Counterexample, shown: Bearing) -> str:
    """Return what the characters of the rows say, of those that occur."""
    rows = [row for at in (c.before, *(s.state for s in c.steps)) for row in shown.rows(at)]
    seen = {page for row in rows for page in row.pages}
    said = ", ".join(f"{page} {what}" for page, what in PAGES.items() if page in seen)
    return f"Pages: {said}." if said else ""

