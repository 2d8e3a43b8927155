"""A world: one allocator, the areas its callers hold, and actors under way.

An actor runs one operation. It stands at a Gap between two of its steps; a step runs it to its next
gap. A world is a function of its start and its schedule, so any of them can be run again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from percpu_contracts.attach import lock_checked, observed
from percpu_contracts.clauses import balance
from percpu_contracts.history import History
from percpu_contracts.monitor import Monitor
from percpu_contracts.operation_steps import Actor, after, before, handed_out, is_seen, waiting
from percpu_proofs.explore.fingerprint import Fingerprints, generator_key
from percpu_proofs.explore.system import (
    MOST_STEPS,
    ActorPosition,
    Need,
    Runner,
    SharedState,
    Start,
    Twins,
    WorldCopy,
    actor_of,
    enabled,
    handles_in,
)
from percpu_proofs.run.driver import WrongFree, aim, place_of, script
from percpu_proofs.run.operations import WRONG, Operation
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Kind, Steps
from percpu_spec.steps import AreaExtent, Step

_CREATING = frozenset((Kind.CREATE, Kind.GROW))
_FREE, _NOTHING_LEFT, _MUTEX = Need(), Need(more=False), Need(mutex=True)
_OF_KIND = dict.fromkeys((*_CREATING, Kind.FILL, Kind.POPULATE), Need(memory=True))
_OF_KIND[Kind.WAIT] = _MUTEX
"""What it takes to leave gaps of some kinds."""


class World:
    """One run of a start under a schedule, as far as it has come; numbers are as system.py says."""

    def __init__(self, start: Start) -> None:
        self.allocator, copies = start.allocator.clone()
        self._twins = Twins(copies.values())
        self.fingerprints = Fingerprints()
        self._plain = observed(type(self.allocator))
        self._guarded = lock_checked(self._plain)
        self.allocator.__class__ = self._plain
        self.misuse: list[tuple[str, str]] = []  # of locks, by steps since it was last emptied
        self.monitor = self.new_monitor()
        self.restart(start)

    def new_monitor(self) -> Monitor:
        """Return a monitor for the world's allocator."""
        monitor = Monitor(strict=False)
        monitor.guard.report = lambda *broken: self.misuse.append(broken)
        return monitor

    def restart(self, start: Start) -> None:
        """Begin with another start, of the same variant in the same geometry."""
        self._start = start
        made, freed = ({o[1] for o in start.operations if o[0] == kind} for kind in "af")
        # handles of frees that no area has yet, or another actor's
        self._passed = frozenset(freed & made | freed - start.handles.keys())
        # handles that are freed wrongly, once they hold nothing any more or while they do
        self._again = frozenset(o[1] for o in start.operations if o[0] in WRONG)
        self._passed |= {o[1] for o in start.operations if o[0] == "w"} & made
        copies = self._twins.of(start.allocator)
        history = History()
        history.concurrent = True
        self.begin = WorldCopy(
            start.allocator,
            copies,
            handles_in(start.handles, copies),
            start.operations,
            start.works,
            start.failures,
            0,
            None,
            history,
            {h: place for h, place in start.freed.items() if h in self._again},
        )
        self.load(self.begin)

    @property
    def at_rest(self) -> bool:
        """Whether no operation is under way."""
        return all(runner.gap is None for runner in self.runners)

    def save(self) -> WorldCopy:
        """Return what `load` comes back to; only for a world at rest."""
        origin, copies = self.allocator.clone()
        return WorldCopy(
            origin,
            {copy: chunk for chunk, copy in copies.items()},
            self.handles.copy(),
            tuple([runner if runner.done else runner.operation for runner in self.runners]),
            self.works,
            self.failures,
            self.alone,
            self.holder,
            self.history.copy(),
            self.freed.copy(),
        )

    def load(self, saved: WorldCopy) -> None:
        """Go back to a saved state of this world."""
        self.monitor.guard.quiesce(saved.copies.values(), saved.origin)
        self.allocator.restore(saved.origin, saved.copies)
        self._take_over(saved)

    def _take_over(self, saved: WorldCopy) -> None:
        """Set all but the allocator's state."""
        self.handles = saved.handles.copy()
        self.freed = saved.freed.copy()
        self.errors: list[str] = []  # of callers, since the last state come back to (API-2)
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
        return enabled(self._shared(None), [self._need(runner) for runner in self.runners])

    @property
    def runaway(self) -> str | None:
        """What is wrong with the number of chunks that the work has created alone (BAL-3)."""
        return balance.creations_end(
            self.alone, self.allocator.chunk_types, self.allocator.geometry
        )

    def _need(self, runner: Runner) -> Need:
        """Return what it takes for an actor to go on."""
        if runner.done:
            return _NOTHING_LEFT
        gap = runner.gap
        if gap is not None:
            return _OF_KIND.get(gap.kind, _FREE)
        kind, handle, *_, gfp = runner.operation
        if kind == "f":
            return Need(handle=handle) if handle in self._passed else _FREE
        if kind == "d":
            return Need(handle=~handle)
        if kind == "w" and handle not in self.handles and handle not in self.freed:
            return Need(handle=handle)
        if kind in WRONG:
            return _FREE
        if self._start.waiting or (kind == "a" and self.allocator.is_atomic(gfp)):
            return _FREE
        return _MUTEX

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

    def waiting(self) -> list[tuple[AreaExtent, bool]]:
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
        wrong = kind in WRONG and runner.gap is None and self._aim(runner.operation)
        refusal = bool(wrong and wrong.area)
        return before(self.allocator, runner, area and area[0], refusal=refusal)

    def after(self, step: Step, runner: Runner) -> Step:
        """Complete the description of a step that a runner has taken."""
        area = None
        if runner.kind == "a" and runner.done:
            area = handed_out(self.allocator, runner.result, runner.operation[2])
        return after(step, self.allocator, runner, self.runners, self._holder(), area)

    def guarded_step(self, step: int) -> Runner:
        """Let an actor take one step under the guard of its locks; `misuse` has what is wrong."""
        allocator, guard = self.allocator, self.monitor.guard
        allocator.__class__ = self._guarded
        guard.begin(allocator, actor_of(step), self.holder)
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
            area = self.handles.pop(handle)
            if handle in self._again:
                self.freed[handle] = place_of(area)
            return self.allocator.free_percpu(area)
        if kind in WRONG:
            return self._free_wrongly(runner.operation)
        if kind == "b" or (kind == "B" and self.allocator.work_pending):
            return self.allocator.balance_workfn()
        return self._script(kind, handle)

    def _free_wrongly(self, operation: Operation) -> Steps[None]:
        """Return the steps of a free that API-2 forbids: none where the allocator is not asked."""
        wrong = self._aim(operation)
        if wrong is None:
            return self.allocator.free_percpu(None)
        self.errors.append(str(wrong))
        return self.allocator.free_percpu(wrong.area)

    def _aim(self, operation: Operation) -> WrongFree | None:
        """Return what a free aims at that API-2 forbids; the caller's look needs no lock."""
        guard = self.monitor.guard
        was, guard.inside = guard.inside, False
        try:
            return aim(self.allocator, operation, self.handles, self.freed)
        finally:
            guard.inside = was

    def _script(self, kind: str, arg: int) -> Steps[None]:
        if kind != "B":
            script(self.allocator, kind, arg)
        return
        yield

    @property
    def finished(self) -> bool:
        """Whether every actor has run to its end."""
        return all(runner.done for runner in self.runners)

    def shared(self) -> SharedState:
        """Return all that a step depends on, but for where its actor stands."""
        allocator = self.allocator
        # an allocation that failed leaves a handle too, one that is under way does not
        handles = [(h, self.handles[h]) for h in self._passed if h in self.handles]
        return self._shared(
            (
                self.protected(),
                allocator.work_pending,
                allocator.atomic_alloc_failed,
                allocator.pages_array,
                allocator.next_id,
                allocator.env.faults(),
                self.works,
                self.failures,
                self.alone,
                tuple([(handle, area and _area(area)) for handle, area in handles]),
                tuple(sorted(self.freed.items())),
                # chunks that were to be found while somebody held them: what that is, others' steps
                frozenset([(_held(r.gap), r.exposed) for r in self.runners if r.exposed]),
            )
        )

    def _shared(self, key: Hashable) -> SharedState:
        mutex, waiting = self.allocator.alloc_mutex, self._start.waiting
        begins = self.allocator.work_pending and self.works > 0 and (waiting or not mutex)
        handles = frozenset(self._passed & self.handles.keys()) | {~h for h in self.freed}
        stopped = self.alone > 0 and self.runaway is not None
        return SharedState(key, stopped, mutex, begins, self.failures, handles)

    def place(self, actor: int) -> ActorPosition:
        """Return where an actor stands: the gaps and local values of its functions under way."""
        runner = self.runners[actor]
        need = self._need(runner)
        kind, handle, *request = runner.operation
        rest: list[Hashable] = [*request]
        if kind == "a" and handle in self._passed:  # it is for another actor to free
            rest.append(handle)
        if runner.done:
            done = runner.result and _area(runner.result) if kind == "a" else kind == "b"
            return ActorPosition((True, kind, done), need, None, False, kind == "b")
        gap = runner.gap
        if gap is None:
            if kind == "f" and handle not in self._passed:
                area = self.handles[handle]
                rest = [area and _area(area)]
            elif kind not in "ab":
                rest = [handle, request[0]]
            return ActorPosition((False, kind, need, tuple(rest)), need, None, False, False)
        placed = None
        if runner.placed is not None and runner.blocking and gap.kind is not Kind.FLAGS:
            chunk: Any = runner.placed.chunk
            placed = chunk.id, runner.placed.off, self.holder == actor
        seen = _held(gap), placed
        key = (kind, tuple(rest), seen, runner.asked, generator_key(runner.steps))
        return ActorPosition(key, need, seen, is_seen(gap) or placed is not None, kind)

    def protected(self) -> tuple[Any, ...]:
        """Return all that the two locks protect, and what was unmapped and is not flushed yet."""
        if self._protected is None:
            self._protected = self.fingerprints.of(self.allocator, self.history)
        return self._protected


def _held(gap: Any) -> tuple[object, ...]:
    return gap.kind, gap.chunk and gap.chunk.id, gap.start, gap.end


def _area(area: tuple[Chunk, int]) -> tuple[int, int]:
    return area[0].id, area[1]
