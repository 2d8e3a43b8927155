"""Judging every step of a world: always-clauses after each, clauses about rest at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from percpu_contracts import balance, reclaim
from percpu_contracts.guard import gap_misuse
from percpu_contracts.monitor import ClauseViolation
from percpu_contracts.registry import Scope, When, asked, statements
from percpu_contracts.situations import SITUATIONS, Sightings
from percpu_contracts.steps import Judged, judged_step
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.rest import drain
from percpu_proofs.explore.standing import chunk_state
from percpu_proofs.explore.world import Runner, World
from percpu_proofs.refinement import REFINE
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.definitions import Listing, is_fully_free
from percpu_spec.steps import Kind
from percpu_spec.views import AllocatorView, ChunkView

if TYPE_CHECKING:
    from percpu_proofs.explore.follower import Follower
    from percpu_proofs.explore.search import Explored, Schedule

_OF_ALL = asked(Scope.ALLOCATOR, When.ALWAYS)
_OF_CHUNKS = frozenset(
    s.clause for s in statements() if s.scope in (Scope.BLOCK, Scope.CHUNK)
)
_ISOLATED = asked(Scope.ALLOCATOR, When.ISOLATED)


class Walk(Listing):
    """The listing of a model's state, made for each of very many of them."""

    def walk(self, allocator: AllocatorView, /) -> list[tuple[int, ChunkView]]:
        """Return every listed chunk with the number of its list; empty lists cost nothing."""
        assert isinstance(allocator, Allocator)
        found: list[tuple[int, ChunkView]] = []
        for head in allocator.chunk_lists:
            chunk = head.next
            while chunk is not head:
                found.append((head.slot, chunk))
                chunk = chunk.next
        return found

    @property
    def has_isolated(self) -> bool:
        """Whether a chunk is isolated, or on a list for such chunks."""
        apart = self.sidelined_slot, self.to_depopulate_slot
        slots = self.nr_slots // self.chunk_types
        for number, chunk in self.listed:
            if chunk.isolated or number % slots in apart:
                return True
        return any(chunk.isolated for chunk in self.owned)


class Watch:
    """Judges the steps of worlds and enters what is broken into the result of a search.

    A state of the allocator, and a chunk in one state, is judged once however often it is met.
    """

    def __init__(self, result: Explored, follower: Follower | None = None) -> None:
        self.result = result
        self.follower = follower  # checks that each step is one of the machine's
        self._whole_state: WholeState | None = None
        self._states: dict[object, list[Judged]] = {}  # what is broken in those met
        self._sightings = Sightings(never=SITUATIONS.keys() - _OF_CHUNKS)
        self._records: dict[object, list[Judged]] = {}  # the same of chunks

    def step(self, world: World, actor: int, schedule: Schedule) -> None:
        """Let an actor take a step and judge it."""
        who = max(actor, ~actor)
        step = world.before(who)
        runner = world.watched_step(actor)
        world.after(step, runner)
        if runner.gap is not None:
            self.result.situations[runner.gap.name] += 1
        self._enter(judged_locks(world, runner), schedule)
        if step.left is None or step.left.kind is not Kind.FLAGS:  # else only flags and requests have changed
            self._state(world, schedule)
        self._enter(judged_step(step, world.allocator, world.history), schedule)
        if self.follower is not None:
            unlike = self.follower.after(world, who)
            if unlike is not None:
                self.result.enter(REFINE, unlike, schedule)

    def _state(self, world: World, schedule: Schedule) -> None:
        """Judge the state of the allocator, and each chunk, unless they were met before."""
        key = world.protected()
        broken = self._states.get(key)
        if broken is None:
            walk = Walk(world.allocator)
            judged = [(clause, state(walk)) for clause, state in _OF_ALL]
            if walk.has_isolated:
                judged += [(clause, state(walk)) for clause, state in _ISOLATED]
            judged += self._chunks(world, walk)
            self._enter(iter(judged), schedule)
            broken = self._states[key] = [verdict for verdict in judged if verdict[1] is not None]
        else:
            for clause, wrong in broken:
                self.result.enter(clause, str(wrong), schedule)

    def _of(self, allocator: Allocator) -> WholeState:
        if self._whole_state is None:
            self._whole_state = WholeState(type(allocator).NOT_APPLICABLE)
        return self._whole_state

    def _chunks(self, world: World, walk: Walk) -> list[Judged]:
        """Return what is broken in the chunks; an area that awaits its pages is let wait."""
        self._sightings.look(walk, world.history, quiescent=False)
        waiting = [placed.chunk for placed, _ in world.waiting()]
        broken: list[Judged] = []
        for chunk in walk.live:
            assert isinstance(chunk, Chunk)
            record = (chunk_state(chunk), chunk in waiting)
            if record not in self._records:
                self._records[record] = list(
                    self._of(world.allocator).broken_by(
                        chunk, walk.geometry, chunk not in waiting
                    )
                )
                for clause in self._sightings.seen & _OF_CHUNKS:
                    self.result.witnessed[clause] += 1
            broken += self._records[record]
        return broken

    def at_end(self, world: World, schedule: Schedule) -> None:
        """Judge a world in which nobody can take a step.

        Work that is still asked for is run to rest first, which uses the world up.
        """
        if world.finished and not world.runaway:
            for clause, wrong in self._of(world.allocator).broken(Walk(world.allocator)):
                self.result.enter(clause, wrong, schedule)
            try:
                endless = drain(world)
            except ClauseViolation as violation:  # of a world under contracts
                endless = violation.message
            if endless is not None:
                self.result.enter("BAL-3", endless, schedule)
                return
        for clause, found in judged_at_end(world, Walk(world.allocator)):
            more = f", after {world.drained} more runs of the work" if world.drained else ""
            self._enter(iter([(clause, found and found + more)]), schedule)

    def _enter(self, judged: Iterator[Judged], schedule: Schedule) -> None:
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


def judged_at_end(world: World, listing: Walk) -> Iterator[Judged]:
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
        if world.history.given_back or any(chunk.isolated for chunk in listing.live):
            yield "RCL-3", reclaim.reclaim_is_done(listing)
        if any(is_fully_free(chunk, listing.geometry) for chunk in listing.live):
            yield "BAL-2", balance.one_free_chunk(listing)
