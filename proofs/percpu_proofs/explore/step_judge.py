"""Judging every step of a world: always-clauses after each, clauses about rest at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from percpu_contracts.lock_guard import gap_misuse
from percpu_contracts.operation_steps import Judged, judged_step
from percpu_contracts.registry import Scope, When, asked
from percpu_contracts.situations import SITUATIONS
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.explore.schedulers.quiesce import drain
from percpu_proofs.explore.start import Runner
from percpu_proofs.explore.state_judge import ChunkListing, StateJudge
from percpu_proofs.explore.system import Schedule, actor_of
from percpu_proofs.explore.world import World
from percpu_spec.catalogue import REFINE
from percpu_spec.counts import counted
from percpu_spec.steps import Kind

if TYPE_CHECKING:
    from percpu_proofs.explore.search import Exploration
    from percpu_proofs.refine.checker import RefinementChecker

_AT_REST = asked(Scope.ALLOCATOR, When.QUIESCENT)


class StepJudge:
    """Judges the steps of worlds and enters what is broken into the result of a search.

    of_states: judges their states; one for each search if it is not given.
    """

    def __init__(
        self,
        result: Exploration,
        checker: RefinementChecker | None = None,
        of_states: StateJudge | None = None,
    ) -> None:
        self.result = result
        self.checker = checker  # that each step is one of the machine's
        self._of_states = of_states

    def step(self, world: World, actor: int, schedule: Schedule) -> None:
        """Let an actor take a step and judge it."""
        who = actor_of(actor)
        step = world.before(who)
        runner = world.guarded_step(actor)
        world.after(step, runner)
        self.result.callers_errors.update(world.errors)
        if runner.gap is not None:
            self.result.situations[runner.gap.name] += 1
        self._enter(judged_locks(world, runner), schedule)
        if step.left is None or step.left.kind is not Kind.FLAGS:  # else no more than flags change
            self._enter(self._judge(world).judged(world), schedule)
        self._enter(judged_step(step, world.allocator, world.history), schedule)
        if self.checker is not None:
            unlike = self.checker.judge(who, runner.gap, world.history)
            if unlike is not None:
                self.result.enter(REFINE, unlike, schedule)

    def _judge(self, world: World) -> StateJudge:
        if self._of_states is None:
            self._of_states = StateJudge(type(world.allocator))
        return self._of_states

    def at_end(self, world: World, schedule: Schedule) -> None:
        """Judge a world in which nobody can take a step.

        Work that is still asked for is run to rest first, which uses the world up.
        """
        if world.finished and not world.runaway:
            for clause, wrong in self._judge(world).judged(world):
                if wrong is not None:
                    self.result.enter(clause, wrong, schedule)
            try:
                endless = drain(world)
            except ClauseViolation as violation:  # of a world under contracts
                endless = violation.message
            if endless is not None:
                self.result.enter("BAL-3", endless, schedule)
                return
        for clause, found in judged_at_end(world, ChunkListing(world.allocator)):
            runs = counted(world.drained, "more run")
            more = f", after {runs} of the work" if world.drained else ""
            self._enter([(clause, found and found + more)], schedule)

    def _enter(self, judged: Iterable[Judged], schedule: Schedule) -> None:
        witnessed = self.result.witnessed
        for clause, wrong in judged:
            witnessed[clause] += 1
            if wrong is not None:
                self.result.enter(clause, wrong, schedule)


def judged_locks(world: World, runner: Runner) -> Iterator[Judged]:
    """Yield what a step has shown of the locks (LOCK-1, LOCK-2)."""
    guard = world.monitor.guard
    if guard.locked:
        yield "LOCK-1", None
    if guard.mutex:
        yield "LOCK-2", None
    if world.misuse:
        yield from world.misuse
        world.misuse.clear()
    if world.allocator.lock:
        yield gap_misuse(runner.gap is None or runner.gap.last)


def judged_at_end(world: World, listing: ChunkListing) -> Iterator[Judged]:
    """Yield verdicts where nobody can take a step: about rest, if it is rest."""
    runaway = world.runaway
    if runaway is not None:
        yield "BAL-3", runaway
        return
    if not world.finished:
        stuck = [r.operation[0] for r in world.runners if not r.done and r.steps is not None]
        if stuck:
            yield "BAL-3", f"actors {', '.join(stuck)} can never go on"
        return
    held = "pcpu_alloc_mutex is held and every step has ended"
    yield "LOCK-2", held if world.allocator.alloc_mutex else None
    if any(runner.operation[0] == "b" for runner in world.runners):
        yield "BAL-3", None
    if world.allocator.quiescent:
        for clause, state in _AT_REST:
            wrong = state(listing)
            if wrong is not None or SITUATIONS[clause](listing, world.history):
                yield clause, wrong
