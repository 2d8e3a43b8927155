"""Chunks taken out of circulation. Kernel: pcpu_isolate_chunk, pcpu_reintegrate_chunk."""

from __future__ import annotations

from percpu_contracts.binding import states
from percpu_spec.definitions import listed_chunks, slots_per_type
from percpu_spec.views import AllocatorView, ChunkView


@states("ISO-1")
def released_is_hidden(allocator: AllocatorView, chunk: ChunkView) -> str | None:
    """A chunk whose pages are being released is on to_depopulate or on no list."""
    slots, hidden = slots_per_type(allocator), allocator.to_depopulate_slot
    for number, listed in listed_chunks(allocator):
        if listed is chunk and number % slots != hidden:
            return f"a chunk whose pages are being released is on list {number}"
    return None


@states("ISO-2")
def isolated_are_apart(allocator: AllocatorView) -> str | None:
    """A listed chunk is isolated exactly when it is on to_depopulate or sidelined."""
    slots = slots_per_type(allocator)
    apart = (allocator.sidelined_slot, allocator.to_depopulate_slot)
    for number, chunk in listed_chunks(allocator):
        if chunk.isolated != (number % slots in apart):
            return f"a chunk on list {number} is {'' if chunk.isolated else 'not '}isolated"
    return None
