"""Where chunks are: lists and slots. Kernel: pcpu_chunk_relocate, pcpu_chunk_slot.

Chunks are told apart by identity, so a view must hand out one object per chunk.
"""

from __future__ import annotations

from collections.abc import Iterable

from percpu_contracts.binding import states
from percpu_spec.definitions import chunk_slot, is_fully_free, listed_chunks, slot_layout
from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView, ChunkView


@states("LIST-1")
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
    """A chunk just freed into, found on list `slot`, is on the list computed from its hints."""
    if chunk.isolated or chunk is allocator.reserved_chunk:
        return None
    wanted = chunk_slot(chunk, allocator.geometry)
    return None if slot == wanted else f"after a free the chunk is on list {slot}, not {wanted}"


@states("LIST-3")
def free_list_is_exact(allocator: AllocatorView) -> str | None:
    """The free list holds every fully free chunk that is not isolated, and nothing else."""
    geometry, free_slot = allocator.geometry, allocator.free_slot
    for slot, chunk in listed_chunks(allocator):
        if (slot == free_slot) != (not chunk.isolated and is_fully_free(chunk, geometry)):
            kind = "isolated" if chunk.isolated else f"{chunk.free_bytes} bytes free"
            return f"a chunk ({kind}) is on list {slot}; the free list is {free_slot}"
    return None


@states("LIST-4")
def placement_is_explained(allocator: AllocatorView) -> str | None:
    """A listed, unisolated chunk is on its computed list or relegated to slot 0."""
    geometry = allocator.geometry
    for slot, chunk in listed_chunks(allocator):
        if chunk.isolated:
            continue
        wanted = chunk_slot(chunk, geometry)
        if slot != wanted and not (slot == 0 and wanted < geometry.relegation_slot):
            return f"a chunk is on list {slot}, computed list {wanted}"
    return None


@states("SLOT-1")
def computed_slot_is(chunk: ChunkView, slot: int, geometry: Geometry) -> str | None:
    """`slot`, as an implementation computed it, is the chunk's slot by definition."""
    wanted = chunk_slot(chunk, geometry)
    if slot == wanted:
        return None
    return f"slot {slot} for contig_hint {chunk.chunk_md.contig_hint} bits, expected {wanted}"


@states("SLOT-2")
def layout_is(allocator: AllocatorView) -> str | None:
    """The sidelined, free and to_depopulate lists follow the active ones, in this order."""
    found = (
        allocator.sidelined_slot,
        allocator.free_slot,
        allocator.to_depopulate_slot,
        allocator.nr_slots,
    )
    wanted = tuple(slot_layout(allocator.geometry))
    if found == wanted:
        return None
    return f"sidelined, free, to_depopulate, count {found}, expected {wanted}"
