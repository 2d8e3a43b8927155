"""The model that a replay drives step by step: its searches noted, just booted or in a state.

Which events end the gaps that they stand in; moments that a trace leaves open, and the
contradictions that show one was assumed wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from percpu_contracts.contract import Level, ensure
from percpu_contracts.functions import fast
from percpu_proofs.recorded.replay.requests import AreaAddress, MapSearch, TraceRequest
from percpu_proofs.recorded.states.snapshot import COUNTS, BlockSnapshot, ChunkSnapshot, Snapshot
from percpu_proofs.recorded.traces import events as ev
from percpu_reference.chunk import Area, Block, Chunk
from percpu_reference.gaps import Gap, Kind, Steps
from percpu_reference.variants import Allocator, build
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS


class SearchLog(Protocol):
    """What `with_search_log` adds to an allocator."""

    attempts: list[MapSearch]  # every search of an allocation map (alloc_area)
    relocations: list[tuple[int, int]]  # every relocation: chunk address, slot before
    asked: bool  # balance work has been asked for
    last_pass: bool  # the balance work has come to its second pass over free chunks
    # they ask the contracts of `alloc` and `balance` (level fast) at the end of the steps of each
    allocated: Callable[[int, Area | None], Area | None]
    balanced: Callable[[], None]


def with_search_log(variant: type[Allocator]) -> type[Allocator]:
    """Return the variant with what a SearchLog has."""

    # A class to mix in will not do: its slots and a variant's own are two layouts (linux_5_12,
    # rfc_series); mypy takes no class from a variable for a base.
    class SearchRecorder(variant):  # type: ignore[valid-type, misc]
        """The variant, each search of a map noted."""

        __slots__ = ("asked", "attempts", "last_pass", "relocations")

        def __init__(self, geometry: Geometry, **given: Any) -> None:
            self.attempts: list[MapSearch] = []
            self.relocations: list[tuple[int, int]] = []
            self.asked = self.last_pass = False
            super().__init__(geometry, **given)

        def alloc_area(self, chunk: Chunk, alloc_bits: int, align: int, start: int) -> int:
            self.attempts.append(MapSearch(chunk.base_addr, alloc_bits, align, start))
            off: int = super().alloc_area(chunk, alloc_bits, align, start)
            return off

        def chunk_relocate(self, chunk: Chunk, oslot: int) -> None:
            self.relocations.append((chunk.base_addr, oslot))
            super().chunk_relocate(chunk, oslot)

        def schedule_balance_work(self) -> None:
            self.asked = True
            super().schedule_balance_work()

        def balance_free(self, empty_only: bool, chunk_type: int = 0) -> Steps[None]:
            self.last_pass = empty_only
            yield from super().balance_free(empty_only, chunk_type)

        @ensure(fast.ALLOC, fast.alloc_holds, "fast")
        def allocated(self, size: int, area: Area | None) -> Area | None:
            return area

        @ensure(fast.BALANCE, fast.balance_holds, "fast")
        def balanced(self) -> None:
            return

    SearchRecorder.__name__ = variant.__name__
    return SearchRecorder


def model_at_boot(
    variant: type[Allocator], geometry: Geometry, first_base: int, contracts: Level = "off"
) -> Allocator:
    """Return a model just booted, its first chunk at address `first_base`, its searches noted."""
    model = build(with_search_log(variant), geometry, contracts=contracts)
    moved = first_base - model.first_chunk.base_addr
    model.first_chunk.base_addr += moved
    if model.reserved_chunk is not None:
        model.reserved_chunk.base_addr += moved
    return model


def model_in_state(
    variant: type[Allocator], snapshot: Snapshot, contracts: Level = "off"
) -> Allocator:
    """Return a model in a recorded state, nothing in progress; work is asked for if it says so.

    Boundaries within free memory are lost, which nothing reads (MAP-3).
    """
    model = model_at_boot(variant, snapshot.geometry, snapshot.first_chunk.base_addr, contracts)
    if snapshot.reserved_chunk is not None:
        model.reserved_chunk = _chunk(snapshot.reserved_chunk, model, -1)
    lists = model.nr_slots // model.chunk_types
    for head, recorded in zip(model.chunk_lists, snapshot.lists, strict=True):
        head.next = head.prev = head
        for one in recorded:
            first = one.base_addr == snapshot.first_chunk.base_addr
            chunk = _chunk(one, model, 0 if first else model.next_id)
            if first:
                model.first_chunk = chunk
            else:
                model.next_id += 1
                chunk.obj_exts = {} if model.has_vector(head.slot // lists) else None
            chunk.prev, chunk.next = head.prev, head
            head.prev.next = head.prev = chunk
    model.set_floats([snapshot.float_of(kind) for kind in range(snapshot.chunk_types)])
    model.nr_populated = snapshot.nr_populated
    model.atomic_alloc_failed = snapshot.atomic_alloc_failed
    model.async_enabled = snapshot.async_enabled
    model.work_pending = "pending" in snapshot.globals.get("work", "").split(",")
    return model


def _chunk(recorded: ChunkSnapshot, model: Allocator, chunk_id: int) -> Chunk:
    chunk = model.new_chunk(chunk_id, recorded.nr_pages, recorded.base_addr)
    chunk.alloc_map[:] = recorded.alloc_map
    chunk.bound_map[:] = recorded.bound_map
    chunk.populated[:] = recorded.populated
    _fill(chunk.chunk_md, recorded.chunk_md)
    for block, hints in zip(chunk.md_blocks, recorded.md_blocks, strict=True):
        _fill(block, hints)
    for name in COUNTS:
        setattr(chunk, name, getattr(recorded, name))
    return chunk


def _fill(block: Block, hints: BlockSnapshot) -> None:
    for name in HINTS:
        setattr(block, name, getattr(hints, name))


class Moment(NamedTuple):
    """One point in time that no event shows: the `nth` step of an operation.

    `call`: of the request whose first event is `at` (its print, or the chunk that it creates);
    `work`: of the run of the balance work that was entered, or possible, at event `at`;
    `again`: a search in vain of the request whose area is taken at event `at`, before that;
    `creator`: not a point in time: which request makes the chunk of event `at`.
    """

    kind: str
    at: int
    nth: int = 0


class MomentChoice(NamedTuple):
    """A moment and the event before which it was taken to lie.

    Locks and the order of events allow it before any event from `since` to `until`.
    """

    moment: Moment
    before: int
    since: int
    until: int


Order = dict[Moment, int]
"""Events before which moments lie, where that is not the rule's guess."""


class Contradiction(Exception):
    """The model, in the order assumed so far, cannot have produced an event.

    `remedies` are other moments worth trying, best first.
    """

    def __init__(
        self, index: int, kind: str, detail: str, remedies: tuple[tuple[Moment, int], ...] = ()
    ) -> None:
        super().__init__(f"event {index}: {kind}: {detail}")
        self.index = index
        self.kind = kind
        self.detail = detail
        self.remedies = remedies


SHOWN_BY: Final[dict[Kind, type[ev.TraceEvent]]] = {
    Kind.CREATE: ev.CreateChunkEvent,
    Kind.GROW: ev.CreateChunkEvent,
    Kind.FILL: ev.Populated,
    Kind.POPULATE: ev.Populated,
    Kind.DRAIN: ev.Depopulated,
    Kind.RELEASE: ev.Depopulated,
    Kind.DESTROY: ev.DestroyChunkEvent,
}
"""The event that tells of the step which leaves a gap; of other gaps none does."""

CREATING: Final = frozenset((Kind.CREATE, Kind.GROW))


def gap_words(gap: Gap | None) -> str:
    """Return a gap in words."""
    if gap is None:
        return "finished"
    if gap.chunk is None:
        return gap.name
    return f"{gap.name} {gap.chunk.base_addr:x} pages [{gap.start}, {gap.end})"


@dataclass(slots=True, eq=False)
class ReplayActor:
    """An operation under way."""

    kind: str  # of its moments
    at: int  # the event that they are named by
    steps: Steps[Any] | None = None  # None: not begun
    gap: Gap | None = None
    seen: bool = False  # an event has told that what the gap is for is being done
    done: bool = False
    nth: int = 0  # steps taken
    since: int = 0  # the event before which the next step may lie
    changes: int = 0  # steps that all had taken when it became possible

    @property
    def moment(self) -> Moment:
        """When it takes its next step."""
        return Moment(self.kind, self.at, self.nth)

    def stands(self, *kinds: Kind) -> bool:
        """Return whether it stands in a gap of one of these kinds."""
        return self.gap is not None and self.gap.kind in kinds

    def holds(self, base: int, start: int = 0, end: int = 0) -> bool:
        """Return whether it stands in a gap with pages [start, end) of the chunk at `base`."""
        gap = self.gap
        if gap is None or gap.chunk is None:
            return False
        return (gap.chunk.base_addr, gap.start, gap.end) == (base, start, end)


@dataclass(slots=True, eq=False)
class Call(ReplayActor):
    """A request under way."""

    request: TraceRequest = field(kw_only=True)
    attempts: list[MapSearch] = field(default_factory=list)
    outcome: AreaAddress | None = None


@dataclass(slots=True, eq=False)
class Work(ReplayActor):
    """A run of the balance work."""

    entered: bool = False  # it was seen to enter
