"""Judging every step of a world: always-clauses after each, clauses about rest at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from percpu_contracts import balance, floats, isolation, lists, population, reclaim, tlb
from percpu_contracts.functions.areas import list_of
from percpu_contracts.guard import gap_misuse
from percpu_contracts.monitor import ClauseViolation
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.schedulers.drain import drain
from percpu_proofs.explore.world import Runner, World
from percpu_proofs.refinement import REFINE
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import Gap, Kind
from percpu_reference.variants import Allocator
from percpu_spec.definitions import Listing, is_fully_free, pages_of
from percpu_spec.views import AllocatorView, ChunkView

if TYPE_CHECKING:
    from percpu_proofs.explore.follower import Follower
    from percpu_proofs.explore.search import Explored
    from percpu_proofs.explore.system import Schedule

Judged = tuple[str, str | None]
"""A clause, and what is wrong; None where it holds."""

ALWAYS = (
    ("LIST-1", lists.chunks_have_one_place),
    ("LIST-3", lists.free_list_is_exact),
    ("FLT-1", floats.float_is_counted),
    ("POP-3", population.all_populated_pages_are_counted),
)
ISOLATED = (  # asked where a chunk is isolated or on a list for such chunks
    ("ISO-2", isolation.isolated_are_apart),
    ("RCL-5", reclaim.special_stay_active),
)

JUDGED = (
    *(clause for clause, _ in ALWAYS + ISOLATED),
    "ISO-1",
    "POP-2",
    "RCL-1",
    "RCL-2",
    "RCL-3",
    "LIST-2",
    "BAL-1",
    "BAL-2",
    "BAL-3",
    "TLB-1",
    "LOCK-1",
    "LOCK-2",
)
"""The clauses that a search judges."""





RELEASING = (Kind.RELEASE, Kind.DRAIN)


class Moved(NamedTuple):
    """What is to be known of a step to judge it: who, from where, and each type's float before."""

    runner: Runner
    left: Gap | None
    floats: tuple[int, ...]
    freed: Area | None


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
    """Judges the steps of worlds and enters what is broken into the result of a search."""

    def __init__(self, result: Explored, follower: Follower | None = None) -> None:
        self.result = result
        self.follower = follower  # checks that each step is one of the machine's
        self._whole_state = WholeState()

    def step(self, world: World, actor: int, schedule: Schedule) -> None:
        """Let an actor take a step and judge it."""
        left = freed = None
        who = max(actor, ~actor)
        if who < len(world.runners):
            left = world.runners[who].gap
            kind, handle, *_ = world.runners[who].operation
            freed = world.handles.get(handle) if kind == "f" and left is None else None
        before = floats_of(world.allocator)
        runner = world.watched_step(actor)
        gap = runner.gap
        if gap is not None:
            self.result.situations[gap.name] += 1
        self._enter(judged_by(world, Moved(runner, left, before, freed)), schedule)
        if self.follower is not None:
            unlike = self.follower.after(world, who)
            if unlike is not None:
                self.result.enter(REFINE, unlike, schedule)

    def at_end(self, world: World, schedule: Schedule) -> None:
        """Judge a world in which nobody can take a step.

        Work that is still asked for is run to rest first, which uses the world up.
        """
        if world.finished and not world.runaway:
            for clause, wrong in self._whole_state.broken(Walk(world.allocator)):
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


def floats_of(allocator: Allocator) -> tuple[int, ...]:
    """Return the float of each type of chunks, in pages."""
    return tuple([allocator.float_of(kind) for kind in range(allocator.chunk_types)])


def judged_by(world: World, moved: Moved) -> Iterator[Judged]:
    """Yield the verdict of each clause whose question a step, or the state after it, raises."""
    allocator, guard = world.allocator, world.monitor.guard
    runner, left = moved.runner, moved.left
    kind = runner.operation[0]
    if guard.locked:
        yield "LOCK-1", None
    if guard.mutex:
        yield "LOCK-2", None
    if world.misuse:
        yield from world.misuse
        world.misuse.clear()
    if allocator.lock:
        yield gap_misuse(runner.gap is None or runner.gap.last)

    if left is None or not left.last:  # else only flags and requests have changed
        walk = Walk(allocator)
        for clause, state in ALWAYS:
            yield clause, state(walk)
        if walk.has_isolated:
            for clause, state in ISOLATED:
                yield clause, state(walk)
        for other in world.runners:
            gap = other.gap
            if gap is not None and gap.chunk is not None and gap.kind in RELEASING:
                yield "ISO-1", isolation.released_is_hidden(walk, gap.chunk)

    if left is not None and left.chunk is not None:
        yield from _judged_by_leaving(world, moved, left, left.chunk)
    if kind == "f" and left is None:
        for before, after in zip(moved.floats, floats_of(allocator), strict=True):
            if after < before:
                yield "RCL-1", reclaim.float_stays_high(before, after, allocator.geometry)
        if moved.freed is not None:
            chunk = moved.freed[0]
            yield "LIST-2", lists.chunk_is_on_its_list(allocator, chunk, list_of(chunk))
    if kind == "a" and runner.done and runner.result is not None:
        yield from _judged_by_area(world, runner)


def _judged_by_leaving(world: World, moved: Moved, left: Gap, chunk: Chunk) -> Iterator[Judged]:
    """Yield what is to be said of pages released or populated on the way out of a gap."""
    allocator = world.allocator
    kind = allocator.chunk_type(chunk)
    before, after = moved.floats[kind], allocator.float_of(kind)
    if left.kind in RELEASING:
        size = allocator.block_bits
        used = chunk.alloc_map.find(1, left.start * size, left.end * size)
        wrong = None if used < 0 else f"page {used // size} was released with allocated bit {used}"
        yield "POP-2", wrong
        wrong = f"pages {left.start}..{left.end} of an immutable chunk were released"
        yield "RCL-2", wrong if chunk.immutable else None
        if left.kind is not Kind.DRAIN:
            yield "RCL-1", reclaim.float_stays_high(before, after, allocator.geometry)
    elif left.kind is Kind.POPULATE and chunk.populated.find(0, left.start, left.end) < 0:
        # a chunk reintegrated in the same step adds the empty pages it had before
        risen = min(after - before, left.end - left.start)
        yield "BAL-1", balance.population_raises_float(0, risen, left.end - left.start)


def _judged_by_area(world: World, runner: Runner) -> Iterator[Judged]:
    """Yield what is to be said of an area just handed out."""
    chunk, off = runner.result
    geometry = world.allocator.geometry
    size = -(-runner.operation[2] // geometry.granule) * geometry.granule
    yield "POP-2", population.area_is_populated(chunk, off, size, geometry)
    first, behind = pages_of(geometry, off // geometry.granule, (off + size) // geometry.granule)
    for other in world.runners:
        gap = other.gap
        if (
            gap is not None
            and gap.chunk is chunk
            and gap.kind in RELEASING
            and first < gap.end
            and gap.start < behind
        ):
            yield (
                "POP-2",
                (
                    f"area of {size} bytes at byte {off} handed out while pages "
                    f"{gap.start}..{gap.end} of its chunk are being released"
                ),
            )
    given_back = {page for held, page in world.history.given_back if held is chunk}
    if not given_back.isdisjoint(range(first, behind)):
        stale = {page for held, page in world.history.stale if held is chunk}
        yield "TLB-1", tlb.no_stale_translation(range(first, behind), stale)


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
