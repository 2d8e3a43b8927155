"""What of a counterexample's states bears on its clause: the rest is only counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from percpu_proofs.counterexample.record import Counterexample
from percpu_proofs.show.rows import ChunkRow, StateRows

_OF_HINTS: Final = ("HINT", "SLOT", "FIT", "MAP")
"""Chapters of which a row of pages does not show the point: areas and hints do."""
_SPOKEN: Final = {
    "pcpu_nr_empty_pop_pages": r"\bfloat|empty (populated )?page|empty_pop",
    "pcpu_nr_populated": r"nr_populated|counter of populated",
    "pcpu_atomic_alloc_failed": r"atomic (allocation|request).* fail|failed atomic|\bmark\b",
    "pcpu_balance_work pending": r"\bquiescent\b|asks? for (balance )?work|is pending",
}
"""Which words speak of a counter."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """The names of counters and chunks to be shown."""

    counters: frozenset[str]
    chunks: frozenset[str]
    hints: bool  # areas and hints are shown too

    def rows(self, state: StateRows) -> list[ChunkRow]:
        """Return the chunks of a state to be shown."""
        return [row for row in state.chunks if row.name in self.chunks]

    def others(self, state: StateRows) -> int:
        """Return how many chunks of a state are not shown."""
        return len({row.name for row in state.chunks} - self.chunks)


def relevance(c: Counterexample, since: int = 0, *, spoken_only: bool = False) -> Relevance:
    """Return what bears on the clause: what it speaks of, and what changes from a step on.

    spoken_only: of counters those that it speaks of only.
    """
    states = [c.state_at(number) for number in range(since, len(c.steps) + 1)]
    said = f"{c.sentence} {c.title} {c.message}"
    counters = {
        name
        for name, value in states[0].counters
        if (not spoken_only and any(dict(s.counters).get(name) != value for s in states))
        or re.search(_SPOKEN.get(name.partition("[")[0], "$^"), said, re.IGNORECASE)
    }
    changed = {name for state in states for name, *_ in _rows(states[0]) ^ _rows(state)}
    chunks = changed | set(re.findall(r"\bchunk (-?\d+)", c.message))
    for list_name in ("sidelined", "to_depopulate"):
        if list_name in said:
            chunks |= {r.name for s in states for r in s.chunks if list_name in r.place}
    if re.search(r"first (and the reserved )?chunk", said):
        chunks.add("0")
    if not chunks and states[-1].chunks:
        chunks = {row.name for row in states[-1].chunks}
    return Relevance(frozenset(counters), frozenset(chunks), c.clause.startswith(_OF_HINTS))


def _rows(state: StateRows) -> set[tuple[str, str, str, object]]:
    """Return what of each chunk is compared with other states."""
    return {(row.name, row.place, row.pages, row.areas) for row in state.chunks}


def sequential_steps(c: Counterexample) -> int:
    """Return how many steps at the start are of operations that ran one after the other.

    The last operation is not among them, nor one that breaks the clause.
    """
    done = 0
    for number, step in enumerate(c.steps[:-1], 1):
        if any(clause == c.clause for clause, _ in step.broken):
            break
        following = c.steps[number]
        if step.ends and following.begins:
            done = number
        elif following.begins or following.actor != step.actor:
            break
    return done
