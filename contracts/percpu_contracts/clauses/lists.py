"""Where chunks are: lists and slots. Kernel: pcpu_chunk_relocate, pcpu_chunk_slot.

Chunks are told apart by identity, so a view must hand out one object per chunk.
"""

from __future__ import annotations

from collections.abc import Iterable

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec.counts import counted
from percpu_spec.definitions import (
    chunk_slot,
    computed_list,
    is_fully_free,
    listed_chunks,
    slot_layout,
    slots_per_type,
)
from percpu_spec.geometry import Geometry
from percpu_spec.steps import Step
from percpu_spec.views import AllocatorView, ChunkView


@states("LIST-1", Scope.ALLOCATOR, When.ALWAYS)
def chunks_have_one_place(allocator: AllocatorView, live: Iterable[ChunkView] = ()) -> str | None:
    """No chunk is in two places, the reserved chunk in none, the first and each `live` in one."""
    places: dict[int, int] = {}
    for slot, chunk in listed_chunks(allocator):
        if chunk is allocator.reserved_chunk:
            return f"the reserved chunk is on list {slot}"
        if id(chunk) in places:
            return f"a chunk is on list {places[id(chunk)]} and on list {slot}"
        places[id(chunk)] = slot
    for chunk in allocator.owned_chunks():
        if id(chunk) in places:
            where = f"on list {places[id(chunk)]}" if places[id(chunk)] >= 0 else "owned twice"
            return f"a chunk owned by a running step is also {where}"
        if chunk is allocator.reserved_chunk:
            return "the reserved chunk is owned by a running step"
        places[id(chunk)] = -1
    if id(allocator.first_chunk) not in places:
        return "the first chunk is on no list"
    for number, chunk in enumerate(live):
        if id(chunk) not in places and chunk is not allocator.reserved_chunk:
            return f"live chunk {number} is on no list and owned by no step"
    return None


@states("LIST-2")
def chunk_is_on_its_list(allocator: AllocatorView, chunk: ChunkView, slot: int) -> str | None:
    """A chunk just freed into, found on list `slot`, is on the list computed from its hints.

    The list is given by number, -1 for none: so it may be while a running step owns the chunk.
    """
    if chunk.isolated or chunk is allocator.reserved_chunk:
        return None
    wanted = computed_list(allocator, chunk)
    if slot == wanted or (slot < 0 and any(o is chunk for o in allocator.owned_chunks())):
        return None
    return f"after a free the chunk is on list {slot}, not {wanted}"


@states("LIST-3", Scope.ALLOCATOR, When.ALWAYS)
def free_list_is_exact(allocator: AllocatorView) -> str | None:
    """The free lists hold every fully free chunk that is not isolated, and nothing else."""
    geometry, free_slot = allocator.geometry, allocator.free_slot
    slots = slots_per_type(allocator)
    for number, chunk in listed_chunks(allocator):
        is_free = number % slots == free_slot
        if is_free != (not chunk.isolated and is_fully_free(chunk, geometry)):
            kind = "isolated" if chunk.isolated else f"{chunk.free_bytes} bytes free"
            return f"a chunk ({kind}) is on list {number}; the free list is {free_slot}"
    return None


@states("LIST-4", Scope.ALLOCATOR, When.ALWAYS)
def placement_is_explained(allocator: AllocatorView) -> str | None:
    """A listed, unisolated chunk is on its computed list or relegated to slot 0 of its type."""
    slots, threshold = slots_per_type(allocator), allocator.geometry.relegation_slot
    for number, chunk in listed_chunks(allocator):
        if chunk.isolated:
            continue
        wanted = computed_list(allocator, chunk)
        computed = wanted % slots
        if number != wanted and not (number == wanted - computed and computed < threshold):
            return f"a chunk is on list {number}, computed list {wanted}"
    return None


@states("SLOT-1")
def computed_slot_is(
    chunk: ChunkView, slot: int, geometry: Geometry, free_slot: int | None = None
) -> str | None:
    """`slot`, as an implementation computed it, is the chunk's slot by definition."""
    wanted = chunk_slot(chunk, geometry, free_slot)
    if slot == wanted:
        return None
    return (
        f"slot {slot} for contig_hint {counted(chunk.chunk_md.contig_hint, 'bit')}, expected "
        f"{wanted}"
    )


@states("SLOT-2", Scope.ALLOCATOR, When.ALWAYS)
def layout_is(allocator: AllocatorView) -> str | None:
    """The sidelined, free and to_depopulate slots follow the active ones, in this order.

    So for each type; the first and the last only if the allocator has them.
    """
    found = (
        allocator.sidelined_slot,
        allocator.free_slot,
        allocator.to_depopulate_slot,
        allocator.nr_slots,
    )
    *slots, count = slot_layout(
        allocator.geometry,
        sidelined=allocator.sidelined_slot >= 0,
        to_depopulate=allocator.to_depopulate_slot >= 0,
    )
    wanted = (*slots, count * allocator.chunk_types)
    if found == wanted:
        return None
    return f"sidelined, free, to_depopulate, count {found}, expected {wanted}"


@states("LIST-2", Scope.STEP, When.STEP)
def freed_chunk_is_on_its_list(
    step: Step, allocator: AllocatorView, history: History
) -> str | None:
    """After the step of a free that clears the area, its chunk is on its computed list."""
    if step.freed is None or step.left is not None:
        return NOT_ASKED
    slot = next((n for n, chunk in listed_chunks(allocator) if chunk is step.freed), -1)
    return chunk_is_on_its_list(allocator, step.freed, slot)
