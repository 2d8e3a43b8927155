"""Counterexamples as records: steps and states, what the clause says, and what bears on it.

Names are the kernel's, ranges of pages are closed: [1, 4] are four pages.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.show.text import ChunkRow, StateRows
from percpu_reference.variants import VARIANTS
from percpu_spec import catalogue
from percpu_spec.catalogue import clauses, findings, title
from percpu_spec.releases import of_variant


def title_of(clause_id: str) -> str:
    """Return a clause's title."""
    return "The kernel stops, or warns of itself" if clause_id == CRASH else title(clause_id)


def sentence_of(clause_id: str) -> str:
    """Return a clause's statement."""
    if clause_id in clauses():
        return catalogue.clause(clause_id).statement
    found = findings().get(clause_id)
    return found.what if found is not None else ""


def kernel_of(clause_id: str) -> str:
    """Return the kernel functions and comments that a clause is about, and their files."""
    if clause_id not in clauses():
        return ""
    stated = catalogue.clause(clause_id)
    files = re.search(r"\((mm/percpu[^()]*)\)$", stated.since)
    return stated.kernel.rstrip(".") + (f" ({files[1]})" if files else "")


def first_sentence(text: str) -> str:
    """Return the first sentence of a text that says something, with what it gives names to.

    >>> first_sentence("Let R be the longest run. It is free. Nothing else is.")
    'Let R be the longest run. It is free.'
    """
    sentences = re.split(r"(?<=[A-Za-z0-9)\]]\.)\s+(?=[A-Z])", " ".join(text.split()))
    named = next((n for n, said in enumerate(sentences) if not said.startswith("Let ")), 0)
    return " ".join(sentences[: named + 1])


def subject_of(variant: str) -> str:
    """Return what a variant of the model stands for, in words; of a file, its name."""
    base, _, fixes = variant.partition("+")
    mended = f" with {fixes.replace('+', ', ')} mended" if fixes else ""
    if (release := of_variant(base)) is not None:
        words = f"Linux {release.releases}{mended} ({variant})"
        return words.replace("Linux linux-", "linux-")
    if base in VARIANTS:
        doc = inspect.getdoc(sys.modules[VARIANTS[base].__module__]) or ""
        said = doc.partition("\n\n")[0].replace("\n", " ").partition(": ")[2].rstrip(".")
        return f"{variant} ({said})" if said else variant
    return Path(variant).name if variant.endswith(".py") else variant


WORK = "work"
"""Names the column of the balance work, which runs on a CPU of its own."""


class OperationWords(NamedTuple):
    """An operation in words for people, and as the operation language writes it."""

    words: str  # "allocate 28672 bytes (a)"
    operation: str  # "a 1 28672 4 -"


@dataclass(frozen=True, slots=True)
class CpuStep:
    """What one CPU does from where it stood to where pcpu_lock is released next."""

    number: int
    actor: int
    cpu: str  # "CPU 0", or WORK
    words: str  # of its operation
    operation: str
    begins: bool
    refused: str  # what it asked for in vain
    came_from: str  # kernel function in which it stood, empty if it begins
    came_from_line: str
    function: str  # kernel function in which it stands then, or that it returns from
    where: str  # "mm/percpu.c:2278" of a tree, "balance.py:231" of the model; empty at its end
    stands: str  # "pcpu_lock released", "ends", ...
    next: str  # what it is about to do there, "unmap pages [1, 3] of chunk 1", where that is known
    result: str  # what came of its operation, "a is at byte 0 of chunk 0"
    ends: bool
    locked: bool | None  # pcpu_lock was taken in it; None where that is not known
    left_gap: str  # what the model calls the two points; "begins", "done"
    gap: str
    state: StateRows  # behind it
    broken: tuple[tuple[str, str], ...]  # clauses, and what is wrong

    @property
    def line(self) -> str:
        """The function in which it stands, with the line."""
        return f"{self.function} ({self.where})" if self.where else self.function

    @property
    def beginning(self) -> str:
        """What begins with it, as an opening of what is said; of the work its column says it."""
        if not self.begins:
            return ""
        return "begins: " if self.cpu == WORK and self.operation == "b" else f"{self.words}: "

    def sentence(self, *, lines: bool = True, ahead: bool = True) -> str:
        """Return what it does; lines: with those of the source, ahead: with what comes next."""
        if self.ends:
            words = f"{self.function} returns" if self.function else self.stands
            words += f", {self.result}" if self.result else ""
        else:
            words = self.stands
            words += f" in {self.line if lines else self.function}" if self.function else ""
        words += f"; refused: {self.refused}" if self.refused else ""
        return words + (f"; next: {self.next}" if ahead and self.next else "")

    def as_json(self, actors: dict[str, int]) -> dict[str, Any]:
        """Return it with plain values only; actors: who last took a step in each column."""
        return {
            "step": self.number,
            "actor": self.actor,
            "cpu": self.cpu,
            "words": self.words,
            "operation": self.operation,
            "memory_refused": bool(self.refused),
            "from": self.left_gap,
            "to": self.gap,
            "function": self.function,
            "line": self.where,
            "stands": self.stands,
            "next": self.next,
            "result": self.result,
            "lock_taken": self.locked,
            "mutex_holder": actors.get(self.state.mutex),
            "mutex": bool(self.state.mutex),
            "floats": list(self.state.floats),
            "broken": dict(self.broken),
        } | _state_record(self.state)


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A schedule that breaks a clause, from the setup to the step that shows it."""

    subject: str  # a variant's name or file, or a tree: "Linux 6.12.117"
    clause: str
    message: str  # what is wrong
    geometry: str
    setup: tuple[OperationWords, ...]  # runs alone, before
    at_once: tuple[OperationWords, ...]  # what the CPUs do, in the order of their numbers
    before: StateRows
    steps: tuple[CpuStep, ...]
    token: str
    mechanism: str = ""  # what is known to break it: findings, or the reason a variant declares
    bound: str = ""  # how far was searched; empty where a schedule was only run again
    stopped: str = ""  # why a compiled kernel went no further
    origin: str = ""  # of a schedule that is run again: what found it, and how far that went
    others: str = ""  # by what else the clause is broken, and how that is printed

    @property
    def title(self) -> str:
        """The clause's title."""
        return title_of(self.clause)

    @property
    def sentence(self) -> str:
        """The clause's statement."""
        return sentence_of(self.clause)

    @property
    def source_of_clause(self) -> str:
        """The kernel functions that the clause binds."""
        return kernel_of(self.clause)

    @property
    def reach(self) -> str:
        """How far was searched, in words; of a schedule that is run again that none was."""
        if self.bound:
            return f"Searched: {self.bound}"
        by = f"Found by {self.origin}" if self.origin else "What found it is not known"
        return f"Searched: nothing, this is a replay. {by}"

    def cpus_since(self, number: int = 0) -> tuple[str, ...]:
        """Return who takes steps behind the first `number`, as columns are: CPUs, then the work."""
        seen = {step.cpu for step in self.steps[number:]}
        return tuple(sorted(seen, key=lambda cpu: (cpu == WORK, len(cpu), cpu)))

    @property
    def broken(self) -> dict[str, str]:
        """Every clause that it breaks, with what is wrong the first time."""
        first: dict[str, str] = {}
        for step in self.steps:
            for clause, wrong in step.broken:
                first.setdefault(clause, wrong)
        return first

    def broken_before(self, number: int) -> dict[str, str]:
        """Return the clauses that the first `number` steps break, with what was wrong last."""
        return {clause: wrong for step in self.steps[:number] for clause, wrong in step.broken}

    def state_at(self, number: int) -> StateRows:
        """Return the state behind the first `number` steps."""
        return self.steps[number - 1].state if number else self.before

    def states(self) -> Iterator[tuple[StateRows, CpuStep]]:
        """Yield each step with the state before it."""
        before = self.before
        for step in self.steps:
            yield before, step
            before = step.state

    def as_json(self) -> dict[str, Any]:
        """Return it with plain values only."""
        actors: dict[str, int] = {}
        steps = []
        for step in self.steps:
            actors[step.cpu] = step.actor
            steps.append(step.as_json(actors))
        return {
            "variant": self.subject,
            "clause": self.clause,
            "sentence": self.sentence,
            "kernel": self.source_of_clause,
            "mechanism": self.mechanism,
            "message": self.message,
            "geometry": self.geometry,
            "bound": self.bound or self.origin,
            "broken": sorted(self.broken),
            "setup": [one.operation for one in self.setup],
            "actors": [one.operation for one in self.at_once],
            "before": _state_record(self.before),
            "steps": steps,
            "token": self.token,
        }


def _state_record(state: StateRows) -> dict[str, Any]:
    return {
        "counters": dict(state.counters),
        "memory": [f"{row.place:13} {row.name}: {row.pages}" for row in state.chunks],
    }


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
    words = f"{c.sentence} {c.title} {c.message}"
    counters = {
        name
        for name, value in states[0].counters
        if (not spoken_only and any(dict(s.counters).get(name) != value for s in states))
        or re.search(_SPOKEN.get(name.partition("[")[0], "$^"), words, re.IGNORECASE)
    }
    changed = {name for state in states for name, *_ in _rows(states[0]) ^ _rows(state)}
    chunks = changed | set(re.findall(r"\bchunk (-?\d+)", c.message))
    for list_name in ("sidelined", "to_depopulate"):
        if list_name in words:
            chunks |= {r.name for s in states for r in s.chunks if list_name in r.place}
    if re.search(r"first (and the reserved )?chunk", words):
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
    count = 0
    for number, step in enumerate(c.steps[:-1], 1):
        if any(clause == c.clause for clause, _ in step.broken):
            break
        following = c.steps[number]
        if step.ends and following.begins:
            count = number
        elif following.begins or following.actor != step.actor:
            break
    return count
