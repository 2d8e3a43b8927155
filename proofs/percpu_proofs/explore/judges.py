"""Judging a search: each state and chunk once, each step, and worlds under contracts at full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Protocol

from percpu_contracts.lock_guard import gap_misuse
from percpu_contracts.monitor import Monitor
from percpu_contracts.operation_steps import Judged, judged_step
from percpu_contracts.registry import Scope, When, asked, statements
from percpu_contracts.situations import SITUATIONS, SituationCoverage
from percpu_contracts.violations import ClauseViolation
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.fingerprint import ids
from percpu_proofs.explore.schedulers.fixed import drain
from percpu_proofs.explore.system import Runner, Schedule, WorldCopy, actor_of
from percpu_proofs.explore.world import World
from percpu_proofs.refine.checker import RefinementChecker
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.catalogue import REFINE, clauses
from percpu_spec.counts import counted
from percpu_spec.definitions import Listing
from percpu_spec.steps import Kind
from percpu_spec.views import AllocatorView, ChunkView

ENDLESS = "BAL-3"
"""The clause whose violation ends a run: without that the operation would not end."""

_PASSED = frozenset(clauses()) - {ENDLESS}


def passing_monitor(allocator: Allocator) -> Monitor:
    """Return a monitor that lets pass every violation but that of ENDLESS."""
    inapplicable = set(type(allocator).NOT_APPLICABLE)
    if allocator.geometry.backing == "vm":
        inapplicable.add("POP-5")
    return Monitor(_PASSED, inapplicable)


class ContractedWorld(World):
    """A world with a monitor, whose history is the world's; for starts under contracts at full."""

    def new_monitor(self) -> Monitor:
        """Return a monitor for the world's allocator."""
        return passing_monitor(self.allocator)

    def _take_over(self, saved: WorldCopy) -> None:
        super()._take_over(saved)
        self.monitor.begin(self.history)

    def guarded_step(self, step: int) -> Runner:
        """Let an actor take one step; what it breaks is in the monitor.

        Raises ClauseViolation if it breaks ENDLESS.
        """
        guard = self.monitor.guard
        guard.actor, guard.holder = actor_of(step), self.holder
        return self.step(step)


_OF_ALL = asked(Scope.ALLOCATOR, When.ALWAYS)
_ISOLATED = asked(Scope.ALLOCATOR, When.ISOLATED)
_OF_CHUNKS = frozenset(s.clause for s in statements() if s.scope in (Scope.BLOCK, Scope.CHUNK))


class ChunkListing(Listing):
    """The listing of a model's state, made for each of very many of them."""

    def walk(self, allocator: AllocatorView, /) -> list[tuple[int, ChunkView]]:
        """Return every listed chunk with the number of its list; empty lists cost nothing."""
        assert isinstance(allocator, Allocator)
        numbered: list[tuple[int, ChunkView]] = []
        for head in allocator.chunk_lists:
            chunk = head.next
            while chunk is not head:
                numbered.append((head.slot, chunk))
                chunk = chunk.next
        return numbered

    @property
    def has_isolated(self) -> bool:
        """Whether a chunk is isolated, or on a list for such chunks."""
        apart = self.sidelined_slot, self.to_depopulate_slot
        slots = self.nr_slots // self.chunk_types
        return any(chunk.isolated for chunk in self.owned) or any(
            chunk.isolated or number % slots in apart for number, chunk in self.listed
        )


class StateJudge:
    """Judges states of one variant at one geometry, in as many searches as there are."""

    def __init__(self, variant: type[Allocator]) -> None:
        self.whole = WholeState(variant.NOT_APPLICABLE)
        self._of_chunks = _OF_CHUNKS - variant.NOT_APPLICABLE.keys()
        self._sightings = SituationCoverage(never=SITUATIONS.keys() - self._of_chunks)
        self._states: dict[object, list[Judged]] = {}  # what is broken in those met
        self._records: dict[object, list[Judged]] = {}  # the same of chunks

    def judged(self, world: World) -> list[Judged]:
        """Return the verdicts on the present state; of one met before only what is broken."""
        waiting = [placed.chunk for placed, _ in world.waiting()]
        key = world.protected(), tuple(ids(waiting))
        broken = self._states.get(key)
        if broken is not None:
            return broken
        walk = ChunkListing(world.allocator)
        judged: list[Judged] = [(clause, state(walk)) for clause, state in _OF_ALL]
        if walk.has_isolated:
            judged += [(clause, state(walk)) for clause, state in _ISOLATED]
        self._sightings.look(walk, world.history, quiescent=False)
        for chunk in walk.live:
            judged += self._of_chunk(world, chunk, chunk not in waiting)
        self._states[key] = [verdict for verdict in judged if verdict[1] is not None]
        return judged

    def _of_chunk(self, world: World, chunk: ChunkView, settled: bool) -> list[Judged]:
        """Return the verdicts on a chunk; settled: none of its areas awaits its pages."""
        assert isinstance(chunk, Chunk)
        record = *world.fingerprints.record(chunk), settled
        known = self._records.get(record)
        if known is not None:
            return known
        broken: list[Judged] = list(self.whole.broken_by(chunk, world.allocator.geometry, settled))
        self._records[record] = broken
        names = {clause for clause, _ in broken}
        holding = (self._sightings.seen & self._of_chunks) - names
        return [*broken, *((clause, None) for clause in sorted(holding))]


_AT_REST = asked(Scope.ALLOCATOR, When.QUIESCENT)


class JudgedSearch(Protocol):
    """What a judge enters verdicts into: the result of a search."""

    situations: Counter[str]  # gaps reached, by name
    witnessed: Counter[str]  # how often each clause was asked
    callers_errors: set[str]

    def enter(self, clause: str, message: str, schedule: Schedule) -> None:
        """Enter that a schedule breaks a clause."""


class StepJudge:
    """Judges the steps of worlds and enters what is broken into the result of a search.

    of_states: judges their states; one for each search if it is not given.
    """

    def __init__(
        self,
        result: JudgedSearch,
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
        self._enter(lock_verdicts(world, runner), schedule)
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
        for clause, wrong_then in end_verdicts(world, ChunkListing(world.allocator)):
            runs = counted(world.drained, "more run")
            more = f", after {runs} of the work" if world.drained else ""
            self._enter([(clause, wrong_then and wrong_then + more)], schedule)

    def _enter(self, judged: Iterable[Judged], schedule: Schedule) -> None:
        witnessed = self.result.witnessed
        for clause, wrong in judged:
            witnessed[clause] += 1
            if wrong is not None:
                self.result.enter(clause, wrong, schedule)


def lock_verdicts(world: World, runner: Runner) -> Iterator[Judged]:
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


def end_verdicts(world: World, listing: ChunkListing) -> Iterator[Judged]:
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
