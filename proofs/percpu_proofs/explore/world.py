"""A world: one allocator, the areas its callers hold, and actors under way.

An actor runs one operation. It stands at a Gap between two of its steps; a step runs it to its next
gap. A world is a function of its start and its schedule, so any of them can be run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from percpu_contracts import balance
from percpu_contracts.attach import lock_checked
from percpu_contracts.history import History
from percpu_contracts.monitor import Monitor
from percpu_proofs.explore.standing import KNOWN, check_name, chunk_state, standing
from percpu_proofs.oplist import Operation
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import MUTEX, Gap, Steps
from percpu_reference.variants import Allocator

_ASKING = frozenset(
    ("alloc: populate", "balance: populate", "alloc: create a chunk", "balance: create a chunk")
)
"""Gaps before steps that ask for memory, and may be refused it."""

@dataclass(frozen=True, slots=True)
class Start:
    """What a world begins with: an allocator at rest, handles, and the actors' operations."""

    allocator: Allocator
    handles: dict[int, Area | None]
    operations: tuple[Operation, ...]
    works: int = 2  # at most so many runs of the balance work that was asked for
    waiting: bool = False  # actors may begin while pcpu_alloc_mutex is held, and wait for it
    failures: int = 0  # so many steps that ask for memory may fail


class Runner:
    """One actor: its operation, where it stands, and what came of it.

    One that is done does not change any more.
    """

    __slots__ = ("done", "gap", "operation", "result", "steps")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.steps: Steps[Any] | None = None
        self.gap: Gap | None = None
        self.done = False
        self.result: Any = None


class Saved(NamedTuple):
    """A world in which no operation is under way, to come back to."""

    origin: Allocator
    copies: dict[Chunk, Chunk]  # the chunks of origin, and which of the world's each stands for
    handles: dict[int, Area | None]
    runners: tuple[Runner | Operation, ...]  # those that are done; operations not begun
    works: int
    failures: int
    alone: int
    holder: int | None
    history: History


class World:
    """One run of a start under a schedule, as far as it has come.

    Actors are numbered: those of the start first, then runs of the balance work that was asked
    for, as they become possible. A step of actor n is written n, and ~n if it asks for memory in
    vain.
    """

    __slots__ = (
        "_guarded",
        "_plain",
        "_saved",
        "_start",
        "allocator",
        "alone",
        "drained",
        "failures",
        "handles",
        "history",
        "holder",
        "misuse",
        "monitor",
        "runners",
        "works",
    )

    def __init__(self, start: Start) -> None:
        self._start = start
        self.allocator, copies = start.allocator.clone()
        self._plain = type(self.allocator)
        self._guarded = lock_checked(self._plain)
        self.misuse: list[tuple[str, str]] = []  # of locks, by steps since it was last emptied
        self.monitor = Monitor(strict=False)
        self.monitor.guard.report = lambda *broken: self.misuse.append(broken)
        handles = {
            handle: None if area is None else (copies[area[0]], area[1])
            for handle, area in start.handles.items()
        }
        history = History()
        history.concurrent = True
        self._saved = Saved(
            start.allocator,
            copies,
            handles,
            start.operations,
            start.works,
            start.failures,
            0,
            None,
            history,
        )
        self._take_over(self._saved)

    def reset(self) -> None:
        """Go back to the start."""
        self.load(self._saved)

    @property
    def at_rest(self) -> bool:
        """Whether no operation is under way."""
        return all(runner.gap is None for runner in self.runners)

    def save(self) -> Saved:
        """Return what `load` comes back to; only for a world at rest."""
        origin, copies = self.allocator.clone()
        return Saved(
            origin,
            {copy: chunk for chunk, copy in copies.items()},
            self.handles.copy(),
            tuple([runner if runner.done else runner.operation for runner in self.runners]),
            self.works,
            self.failures,
            self.alone,
            self.holder,
            self.history.copy(),
        )

    def load(self, saved: Saved) -> None:
        """Go back to a saved state of this world."""
        self.monitor.guard.rest(saved.copies.values(), saved.origin.next_id)
        self.allocator.restore(saved.origin, saved.copies)
        self._take_over(saved)

    def _take_over(self, saved: Saved) -> None:
        """Set all but the allocator's state."""
        self.handles = saved.handles.copy()
        self.runners = [
            runner if isinstance(runner, Runner) else Runner(runner) for runner in saved.runners
        ]
        self.works = saved.works
        self.failures = saved.failures
        self.alone = saved.alone  # chunks that the work created since anybody else took a step
        self.holder = saved.holder  # who holds pcpu_alloc_mutex
        self.drained = 0  # runs of the work since everybody was done
        self.misuse.clear()
        self.history = saved.history.copy()

    def enabled(self) -> list[int]:
        """Return the steps that can be taken now; a new run of the work counts as an actor.

        None can if the work, alone, has created more chunks than it may ever need (BAL-3).
        """
        allocator = self.allocator
        mutex = allocator.alloc_mutex
        if self.alone and self.runaway:
            return []
        able = [
            index
            for index, runner in enumerate(self.runners)
            if not runner.done and self._able(runner, mutex)
        ]
        waiting = self._start.waiting
        if allocator.work_pending and self.works and (waiting or not mutex):
            able.append(len(self.runners))
        if self.failures:
            able += [~index for index in able if self._asks(index)]
        return able

    @property
    def runaway(self) -> str | None:
        """What is wrong with the number of chunks that the work has created alone (BAL-3)."""
        return balance.creations_end(
            self.alone, self.allocator.chunk_types, self.allocator.geometry
        )

    def _asks(self, index: int) -> bool:
        """Return whether an actor's next step asks for memory."""
        gap = self.runners[index].gap if index < len(self.runners) else None
        return gap is not None and gap.name in _ASKING

    def _able(self, runner: Runner, mutex: bool) -> bool:
        gap = runner.gap
        if gap is not None:
            return not (mutex and gap is MUTEX)
        kind, handle, *_, gfp = runner.operation
        if kind == "f":
            return handle in self.handles
        return not mutex or self._start.waiting or (kind == "a" and self.allocator.is_atomic(gfp))

    def step(self, step: int) -> Runner:
        """Let an actor take one step and return it."""
        if step >= 0:
            return self.advance(step)
        index = ~step
        self.failures -= 1
        env = self.allocator.env
        creating = "create" in self._gap_name(index) and self.allocator.geometry.backing == "vm"
        fault = env.vm_fault if creating else env.page_fault
        fault.next = 1
        runner = self.advance(index)
        fault.next = 0
        return runner

    def advance(self, index: int) -> Runner:
        """Let an actor run to its next gap, or to its end."""
        allocator, runners = self.allocator, self.runners
        created = allocator.next_id
        if index == len(runners):
            self.works -= 1
            self.alone = 0
            runners.append(Runner(("b", 0, 0, 0, False, 0)))
        runner = runners[index]
        left = runner.gap
        steps = runner.steps
        if steps is None:
            steps = runner.steps = self._begin(runner.operation)
        try:
            gap = runner.gap = next(steps)
            if gap.chunk is not None and gap.name not in KNOWN:
                check_name(gap)
        except StopIteration as stop:
            runner.done = True
            runner.gap = None
            runner.result = stop.value
            if runner.operation[0] == "a":
                self.handles[runner.operation[1]] = stop.value
        if runner.operation[0] != "b":
            self.alone = 0
        else:
            self.alone += allocator.next_id - created
        if not allocator.alloc_mutex:
            self.holder = None
        elif self.holder is None:
            self.holder = index
        if left is not None and left.chunk is not None:
            self._note(left)
        return runner

    def _note(self, left: Gap) -> None:
        """Keep what a step did on its way out of a gap that held a chunk."""
        chunk = left.chunk
        assert chunk is not None
        if "release" in left.name:
            self.history.released(chunk, range(left.start, left.end))
        elif "flush" in left.name:
            self.history.flushed(chunk, range(left.start, left.end))
        elif "destroy" in left.name:
            self.history.destroyed(chunk)

    def _gap_name(self, index: int) -> str:
        gap = self.runners[index].gap
        return "" if gap is None else gap.name

    def watched_step(self, step: int) -> Runner:
        """Let an actor take one step with its locks watched; `misuse` has what is wrong."""
        allocator, guard = self.allocator, self.monitor.guard
        allocator.monitor = self.monitor
        allocator.__class__ = self._guarded
        guard.begin(allocator, max(step, ~step), self.holder)
        try:
            return self.step(step)
        finally:
            guard.inside = False
            allocator.__class__ = self._plain
            allocator.monitor = None

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
            self.protected(),
            allocator.work_pending,
            allocator.atomic_alloc_failed,
            allocator.env.page_fault.next,
            self.works,
            self.failures,
            self.alone,
            tuple([(area[0].id, area[1]) if area else None for area in self.handles.values()]),
            tuple(self.handles),
            tuple([_runner(runner) for runner in self.runners]),
        )

    def protected(self) -> tuple[Any, ...]:
        """Return all that the two locks protect, and what was unmapped and is not flushed yet."""
        allocator = self.allocator
        chunks = []
        lists = []
        for head in allocator.chunk_lists:
            chunk = head.next
            while chunk is not head:
                lists.append((head.slot, chunk.id))
                chunks.append(chunk_state(chunk))
                chunk = chunk.next
        history = self.history
        reserved = allocator.reserved_chunk
        return (
            allocator.nr_empty_pop_pages,
            allocator.own_state(),
            allocator.alloc_mutex,
            tuple(lists),
            tuple(chunks),
            tuple([chunk_state(chunk) for chunk in allocator.owned]),
            None if reserved is None else chunk_state(reserved),
            frozenset([(c.id, page) for c, page in history.stale]),  # type: ignore[attr-defined]
            frozenset([c.id for c in history.depopulated]),  # type: ignore[attr-defined]
        )


def _runner(runner: Runner) -> Any:
    """Return where a runner stands: the gaps and local values of its functions under way."""
    if runner.done:
        return True
    if runner.steps is None:
        return False
    return standing(runner.steps)
