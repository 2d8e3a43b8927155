"""A world: one allocator, the areas its callers hold, and actors under way.

An actor runs one operation. It stands at a Gap between two of its steps; a step runs it to its next
gap. A world is a function of its start and its schedule, so any of them can be run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from percpu_contracts.history import History
from percpu_proofs.oplist import Operation
from percpu_reference.chunk import Area, Chunk, ListHead
from percpu_reference.gaps import MUTEX, Gap, Steps
from percpu_reference.variants import Allocator

_hints = attrgetter(
    "scan_hint",
    "scan_hint_start",
    "contig_hint",
    "contig_hint_start",
    "left_free",
    "right_free",
    "first_free",
)


@dataclass(frozen=True, slots=True)
class Start:
    """What a world begins with: an allocator at rest, handles, and the actors' operations."""

    allocator: Allocator
    handles: dict[int, Area | None]
    operations: tuple[Operation, ...]
    works: int = 2  # at most so many runs of the balance work that was asked for


class Runner:
    """One actor: its operation, where it stands, and what came of it."""

    __slots__ = ("done", "gap", "operation", "result", "steps")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.steps: Steps[Any] | None = None
        self.gap: Gap | None = None
        self.done = False
        self.result: Any = None


class World:
    """One run of a start under a schedule, as far as it has come.

    Actors are numbered: those of the start first, then runs of the balance work that was asked
    for, as they become possible.
    """

    __slots__ = ("_copies", "_start", "allocator", "handles", "history", "runners", "works")

    def __init__(self, start: Start) -> None:
        self._start = start
        self.allocator, self._copies = start.allocator.clone()
        self.handles: dict[int, Area | None] = {}
        self.runners: list[Runner] = []
        self._begin_all()

    def reset(self) -> None:
        """Go back to the start."""
        self.allocator.restore(self._start.allocator, self._copies)
        self._begin_all()

    def _begin_all(self) -> None:
        start, copies = self._start, self._copies
        self.handles = {
            handle: None if area is None else (copies[area[0]], area[1])
            for handle, area in start.handles.items()
        }
        self.runners = [Runner(operation) for operation in start.operations]
        self.works = start.works
        self.history = History()
        self.history.concurrent = True

    def enabled(self) -> list[int]:
        """Return the actors that can take a step now; a new run of the work counts as one."""
        mutex = self.allocator.alloc_mutex
        able = [
            index
            for index, runner in enumerate(self.runners)
            if not runner.done and self._able(runner, mutex)
        ]
        if self.allocator.work_pending and self.works and not mutex:
            able.append(len(self.runners))
        return able

    def _able(self, runner: Runner, mutex: bool) -> bool:
        gap = runner.gap
        if gap is not None:
            return not (mutex and gap is MUTEX)
        kind, handle, *_, gfp = runner.operation
        if kind == "f":
            return handle in self.handles
        return not mutex or (kind == "a" and self.allocator.is_atomic(gfp))

    def step(self, index: int) -> Runner:
        """Let an actor take one step and return it."""
        if index == len(self.runners):
            self.works -= 1
            self.runners.append(Runner(("b", 0, 0, 0, False, 0)))
        runner = self.runners[index]
        if runner.steps is None:
            runner.steps = self._begin(runner.operation)
        try:
            runner.gap = next(runner.steps)
        except StopIteration as stop:
            runner.done = True
            runner.gap = None
            runner.result = stop.value
            if runner.operation[0] == "a":
                self.handles[runner.operation[1]] = stop.value
        return runner

    def _begin(self, operation: Operation) -> Steps[Any]:
        kind, handle, size, align, reserved, gfp = operation
        if kind == "a":
            return self.allocator.alloc_percpu(size, align, reserved, gfp)
        if kind == "f":
            return self.allocator.free_percpu(self.handles.pop(handle))
        if kind == "b":
            return self.allocator.balance_workfn()
        return self._fail_pages(handle)

    def _fail_pages(self, count: int) -> Steps[None]:
        """Let the next `count` page allocations fail: memory runs short at this moment."""
        self.allocator.env.page_fault.next = count
        return
        yield

    @property
    def finished(self) -> bool:
        """Whether every actor has run to its end."""
        return all(runner.done for runner in self.runners)

    def fingerprint(self) -> tuple[Any, ...]:
        """Return a value that is equal for worlds that will behave alike.

        The maps are left out: live areas, held or under way, say the same.
        """
        allocator = self.allocator
        return (
            allocator.nr_empty_pop_pages,
            allocator.own_state(),
            allocator.work_pending,
            allocator.atomic_alloc_failed,
            allocator.alloc_mutex,
            allocator.env.page_fault.next,
            self.works,
            tuple([(area[0].id, area[1]) if area else None for area in self.handles.values()]),
            tuple(self.handles),
            tuple([_chunk(chunk) for chunk in allocator.chunks()]),
            tuple([tuple([c.id for c in head]) for head in allocator.chunk_lists]),
            tuple([_runner(runner) for runner in self.runners]),
            frozenset((chunk.id, page) for chunk, page in self.history.stale),  # type: ignore[attr-defined]
            frozenset(chunk.id for chunk in self.history.depopulated),  # type: ignore[attr-defined]
        )


def _chunk(chunk: Chunk) -> tuple[Any, ...]:
    return (
        chunk.id,
        chunk.isolated,
        chunk.free_bytes,
        chunk.nr_empty_pop_pages,
        bytes(chunk.populated),
        _hints(chunk.chunk_md),
        tuple(map(_hints, chunk.md_blocks)),
    )


def _runner(runner: Runner) -> Any:
    """Return where a runner stands: the gaps and local values of its functions under way."""
    if runner.done:
        return True
    if runner.steps is None:
        return False
    standing: list[Any] = []
    steps: Any = runner.steps
    while steps is not None:
        frame = steps.gi_frame
        standing.append(frame.f_lasti)
        standing.extend([_value(value) for value in frame.f_locals.values()])
        steps = steps.gi_yieldfrom
    return tuple(standing)


def _value(value: Any) -> Any:
    if isinstance(value, (int, str)) or value is None:
        return value
    if isinstance(value, Chunk):
        return ("chunk", value.id)
    if isinstance(value, ListHead):
        return ("list", value.slot)
    if isinstance(value, (list, tuple)):
        return tuple([_value(item) for item in value])
    return None  # the allocator, tables and functions: the same in every world of a start
