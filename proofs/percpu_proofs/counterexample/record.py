"""What a counterexample shows, of the model and of compiled code alike: plain values for renderers.

Names are the kernel's, ranges of pages are closed: [1, 4] are four pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from percpu_proofs.counterexample.sentences import kernel_of, sentence_of, title_of
from percpu_proofs.show.rows import StateRows

WORK = "work"
"""Names the column of the balance work, which runs on a CPU of its own."""


class Spoken(NamedTuple):
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

    def said(self, *, lines: bool = True, ahead: bool = True) -> str:
        """Return what it does; lines: with those of the source, ahead: with what comes next."""
        said = self.beginning
        if self.ends:
            said += f"{self.function} returns" if self.function else self.stands
            said += f", {self.result}" if self.result else ""
        else:
            said += self.stands
            said += f" in {self.line if lines else self.function}" if self.function else ""
        said += f"; refused: {self.refused}" if self.refused else ""
        return said + (f"; next: {self.next}" if ahead and self.next else "")

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
    mechanism: str  # what is known to break it: a finding, or the reason that a variant declares
    message: str  # what is wrong
    geometry: str
    setup: tuple[Spoken, ...]  # runs alone, before
    at_once: tuple[Spoken, ...]  # what the CPUs do, in the order of their numbers
    before: StateRows
    steps: tuple[CpuStep, ...]
    bound: str  # how far was searched; empty where a schedule was only run again
    token: str
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
        found = f"Found by {self.origin}" if self.origin else "What found it is not known"
        return f"Searched: nothing, this is a replay. {found}"

    @property
    def cpus(self) -> tuple[str, ...]:
        """Who takes steps, in the order of their columns: CPUs, then the work."""
        return self.cpus_since(0)

    def cpus_since(self, number: int) -> tuple[str, ...]:
        """Return who takes steps behind the first `number`."""
        seen = {step.cpu for step in self.steps[number:]}
        return tuple(sorted(seen, key=lambda cpu: (cpu == WORK, len(cpu), cpu)))

    @property
    def broken(self) -> dict[str, str]:
        """Every clause that it breaks, with what is wrong the first time."""
        found: dict[str, str] = {}
        for step in self.steps:
            for clause, wrong in step.broken:
                found.setdefault(clause, wrong)
        return found

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
