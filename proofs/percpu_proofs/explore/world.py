"""A world: one allocator, the areas its callers hold, and actors under way.

An actor runs one operation. It stands at a Gap between two of its steps; a step runs it to its next
gap. A world is a function of its start and its schedule, so any of them can be run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from percpu_contracts import balance
from percpu_contracts.attach import lock_checked, observed
from percpu_contracts.history import History
from percpu_contracts.monitor import Monitor
from percpu_contracts.steps import Actor, after, before, handed_out, waiting
from percpu_proofs.explore.standing import chunk_state, standing
from percpu_proofs.oplist import Operation
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Kind, Steps
from percpu_reference.variants import Allocator
from percpu_spec.steps import Area, Step

_CREATING = frozenset((Kind.CREATE, Kind.GROW))
_ASKING = _CREATING | {Kind.FILL, Kind.POPULATE}
"""Kinds of gaps before steps that ask for memory, and may be refused it."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a world begins with: an allocator at rest, handles, and the actors' operations."""

    allocator: Allocator
    handles: dict[int, tuple[Chunk, int] | None]
    operations: tuple[Operation, ...]
    works: int = 2  # at most so many runs of the balance work that was asked for
    waiting: bool = False  # actors may begin while pcpu_alloc_mutex is held, and wait for it
    failures: int = 0  # so many steps that ask for memory may fail


MOST_STEPS = 20_000
"""Of one operation. No operation of a shipped variant comes near it; one without end is an error
of a reviewer's variant, where a search does not see that its steps lead back."""


class Runner(Actor):
    """One actor: its operation, where it stands, and what came of it.

    One that is done does not change any more.
    """

    __slots__ = ("count", "done", "operation", "result", "steps")

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation[0])
        self.operation = operation
        self.count = 0  # steps taken
        self.steps: Steps[Any] | None = None
        self.done = False
        self.result: Any = None


class Saved(NamedTuple):
    """A world in which no operation is under way, to come back to."""

    origin: Allocator
    copies: dict[Chunk, Chunk]  # the chunks of origin, and which of the world's each stands for
    handles: dict[int, tuple[Chunk, int] | None]
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
        "_protected",
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
        self._plain = observed(type(self.allocator))
        self._guarded = lock_checked(self._plain)
        self.allocator.__class__ = self._plain
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
        self._protected: tuple[Any, ...] | None = None
        self.history = self.monitor.history = saved.history.copy()
        self.allocator.monitor = self.monitor

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
        return gap is not None and gap.kind in _ASKING

    def _able(self, runner: Runner, mutex: bool) -> bool:
        gap = runner.gap
        if gap is not None:
            return not (mutex and gap.kind is Kind.WAIT)
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
        gap = self.runners[index].gap
        creating = gap is not None and gap.kind in _CREATING
        creating = creating and self.allocator.geometry.backing == "vm"
        fault = env.vm_fault if creating else env.page_fault
        fault.next = 1
        runner = self.advance(index)
        fault.next = 0
        return runner

    def advance(self, index: int) -> Runner:
        """Let an actor run to its next gap, or to its end."""
        allocator, runners = self.allocator, self.runners
        created = allocator.next_id
        self._protected = None
        if index == len(runners):
            self.works -= 1
            self.alone = 0
            runners.append(Runner(("b", 0, 0, 0, False, 0)))
        runner = runners[index]
        runner.leave(allocator)
        steps = runner.steps
        if steps is None:
            steps = runner.steps = self._begin(runner)
        runner.count += 1
        try:
            if runner.count > MOST_STEPS:
                steps.throw(RuntimeError(f"an operation has not ended after {MOST_STEPS} steps"))
            runner.gap = next(steps)
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
        runner.arrive(allocator, runners)
        return runner

    def waiting(self) -> list[tuple[Area, bool]]:
        """Return the areas of blocking allocations under way, and who of them holds the mutex."""
        return waiting(self.allocator, self.runners, self._holder())

    def _holder(self) -> Runner | None:
        return None if self.holder is None else self.runners[self.holder]

    def before(self, actor: int) -> Step:
        """Return what is to be known of a step before an actor takes it."""
        if actor == len(self.runners):
            return before(self.allocator, Actor("b"))
        runner = self.runners[actor]
        kind, handle, *_ = runner.operation
        area = self.handles.get(handle) if kind == "f" else None
        return before(self.allocator, runner, area and area[0])

    def after(self, step: Step, runner: Runner) -> Step:
        """Complete the description of a step that a runner has taken."""
        area = None
        if runner.kind == "a" and runner.done:
            area = handed_out(self.allocator, runner.result, runner.operation[2])
        return after(step, self.allocator, runner, self.runners, self._holder(), area)

    def watched_step(self, step: int) -> Runner:
        """Let an actor take one step with its locks watched; `misuse` has what is wrong."""
        allocator, guard = self.allocator, self.monitor.guard
        guard.begin(allocator, max(step, ~step), self.holder)
        allocator.__class__ = self._guarded
        try:
            return self.step(step)
        finally:
            guard.inside = False
            allocator.__class__ = self._plain

    def _begin(self, runner: Runner) -> Steps[Any]:
        kind, handle, size, align, reserved, gfp = runner.operation
        if kind == "a":
            runner.blocking = not self.allocator.is_atomic(gfp)
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
            tuple(sorted([(h, a[0].id, a[1]) if a else (h,) for h, a in self.handles.items()])),
            tuple([_runner(runner) for runner in self.runners]),
        )

    def protected(self) -> tuple[Any, ...]:
        """Return all that the two locks protect, and what was unmapped and is not flushed yet."""
        if self._protected is None:
            self._protected = self._look()
        return self._protected

    def _look(self) -> tuple[Any, ...]:
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
    placed = runner.placed
    where = placed and (placed.chunk.id, placed.off)  # type: ignore[attr-defined]
    return standing(runner.steps), runner.asked, runner.exposed, where
