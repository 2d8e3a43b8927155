"""A schedule as a ladder: who does what in which order, who holds the mutex, what memory is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

from percpu_contracts.monitor import ClauseViolation
from percpu_contracts.steps import floats
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.contracted import ContractedWorld
from percpu_proofs.explore.follower import Follower
from percpu_proofs.explore.schedulers.replay import InTurn, Replay
from percpu_proofs.explore.search import Explored
from percpu_proofs.explore.start import Runner, Start
from percpu_proofs.explore.system import Scheduler, actor_of, scheduled
from percpu_proofs.explore.token import Token
from percpu_proofs.explore.watch import Watch
from percpu_proofs.explore.world import World
from percpu_proofs.oplist import WRONG, text_of
from percpu_proofs.refinement import machine_of
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Gap, Kind
from percpu_spec.views import ChunkView

_RELEASING = (Kind.RELEASE, Kind.DRAIN)


@dataclass(frozen=True, slots=True)
class Rung:
    """One step: the actor, what it did, where it stands now, and the state it left."""

    number: int
    actor: int
    operation: str
    failed: bool  # it asked for memory in vain
    from_gap: str
    to_gap: str
    lanes: str  # a character for each actor, see lane
    locked: bool  # pcpu_lock was taken in the step; it is free in every gap
    holder: int | None  # who holds pcpu_alloc_mutex after the step
    floats: tuple[int, ...]  # the float that each type of chunks goes by, in pages
    memory: tuple[str, ...]  # a line for each chunk
    broken: tuple[tuple[str, str], ...]


def climb(world: World, schedule: tuple[int, ...]) -> Iterator[Rung]:
    """Yield the rungs of a schedule, from the start of a world."""
    allocator = world.allocator
    machine = machine_of(type(allocator), allocator.geometry.backing)
    follower = None if machine is None else Follower(machine, world)
    yield from _climb(world, Replay(schedule), follower, last=len(schedule))


def replayed(token: Token) -> Iterator[Rung]:
    """Yield the rungs of a token, everything from boot on under contracts at full.

    What its setup breaks is not shown. Without a schedule the actors run one after the other.
    """
    scenario = token.scenario
    prepared, actors = scenario.prepared, scenario.concurrent
    allocator = build(token.variant, scenario.sizes, contracts="full", strict=False)
    start = Start(
        allocator,
        {},
        prepared + actors,
        scenario.works,
        scenario.waiting,
        scenario.failures,
    )
    world = ContractedWorld(start)
    first = len(prepared)
    world.history.concurrent = False
    for step in scheduled(world, InTurn(range(first))):
        with suppress(ClauseViolation):
            world.step(step)
    world.history.concurrent = bool(token.schedule)
    order: Scheduler = InTurn(range(len(start.operations)))
    if token.schedule:
        order = Replay([s + first if s >= 0 else ~(~s + first) for s in token.schedule])
    yield from _climb(world, order, first=first)


def _climb(
    world: World,
    order: Scheduler,
    follower: Follower | None = None,
    *,
    first: int = 0,
    last: int | None = None,
) -> Iterator[Rung]:
    """Yield the rungs of a world; at the `last` step the hints are judged too.

    Actors below `first` are not shown.
    """
    monitor = world.monitor
    for number, step in enumerate(scheduled(world, order), 1):
        result = Explored("all")
        watch = Watch(result, follower)
        left = _left(world, step)
        counts = {c: v.count for c, v in monitor.violations.items()}
        monitor.operation = number
        ended = False
        try:
            watch.step(world, step, ())
        except ClauseViolation:
            ended = True
        if not world.enabled():
            watch.at_end(world, ())
        if number == last:  # the hints are judged where nothing is under way
            for clause, wrong in WholeState().broken(world.allocator):
                result.enter(clause, wrong, ())
        broken = {
            clause: violation.first_message
            for clause, violation in monitor.violations.items()
            if violation.count > counts.get(clause, 0)
        }
        broken |= {f.clause: f.message for f in result.findings.values()}
        yield _rung(world, number, step, left, broken, first)
        if ended:
            return


def _left(world: World, step: int) -> Gap | None:
    """Return the gap that a step leaves."""
    actor = actor_of(step)
    return world.runners[actor].gap if actor < len(world.runners) else None


def _rung(
    world: World,
    number: int,
    step: int,
    left: Gap | None,
    broken: dict[str, str],
    first: int = 0,
) -> Rung:
    """Return the rung of a step just taken; actors below `first` are not shown."""
    actor = actor_of(step)
    runner = world.runners[actor]
    return Rung(
        number,
        actor - first,
        text_of(runner.operation),
        step < 0,
        left.name if left is not None else "begins",
        _standing(world, runner),
        "".join(lane(world, index, actor) for index in range(first, len(world.runners))),
        world.monitor.guard.locked,
        None if world.holder is None else world.holder - first,
        floats(world.allocator),
        tuple(memory_lines(world)),
        tuple(broken.items()),
    )


def lane(world: World, index: int, moved: int) -> str:
    """Return an actor's place on the ladder after a step.

    `*` it moved, `M` it stands in a gap and holds pcpu_alloc_mutex, `|` it stands in a gap, `.` it
    has not begun, a blank: it is done.
    """
    runner = world.runners[index]
    if index == moved:
        return "*"
    if runner.done:
        return " "
    if runner.steps is None:
        return "."
    return "M" if world.holder == index else "|"


def _standing(world: World, runner: Runner) -> str:
    if not runner.done:
        assert runner.gap is not None
        gap = runner.gap
        where = f" (chunk {gap.chunk.id}, pages {gap.start}..{gap.end})" if gap.chunk else ""
        return f"{gap.name}{where}"
    if runner.operation[0] in WRONG and world.errors:
        return f"done: the caller's error (API-2), {world.errors[-1]}"
    if runner.operation[0] != "a":
        return "done"
    if runner.result is None:
        return "done: failed"
    chunk, off = runner.result
    return f"done: chunk {chunk.id}, byte {off}"


def memory_lines(world: World) -> Iterator[str]:
    """Yield a line for each chunk: its list, and a character a page.

    `-` unpopulated, `e` empty and populated, `#` in use, `!` in use but not populated, `x` being
    released.
    """
    allocator = world.allocator
    names = {
        allocator.sidelined_slot: "sidelined",
        allocator.free_slot: "free",
        allocator.to_depopulate_slot: "to_depopulate",
    }
    slots = allocator.nr_slots // allocator.chunk_types
    for head in allocator.chunk_lists:
        chunk_type, slot = divmod(head.slot, slots)
        for chunk in head:
            name = ("memcg " if chunk_type else "") + names.get(slot, f"slot {slot}")
            yield f"{name:13} {chunk.id}: {_pages(world, chunk)}"
    for chunk in allocator.owned:
        yield f"{'no list':13} {chunk.id}: {_pages(world, chunk)}"


def _pages(world: World, chunk: Chunk) -> str:
    releasing = {
        page
        for runner in world.runners
        if runner.gap is not None and runner.gap.chunk is chunk and runner.gap.kind in _RELEASING
        for page in range(runner.gap.start, runner.gap.end)
    }
    return page_row(chunk, world.allocator.block_bits, releasing)


def page_row(chunk: ChunkView, block_bits: int, losing: Collection[int]) -> str:
    """Return a character for each page of a chunk; losing: pages that are on their way out.

    `-` unpopulated, `e` empty and populated, `#` in use, `!` in use but not populated, `x` losing,
    `X` losing and in use.
    """
    line = ""
    for page in range(chunk.nr_pages):
        used = chunk.alloc_map.find(1, page * block_bits, (page + 1) * block_bits) >= 0
        if page in losing:
            line += "X" if used else "x"
        elif used:
            line += "#" if chunk.populated[page] else "!"
        else:
            line += "e" if chunk.populated[page] else "-"
    return line
