"""Chunks taken out of circulation. Kernel: pcpu_isolate_chunk, pcpu_reintegrate_chunk."""

from __future__ import annotations

from percpu_contracts.binding import states
from percpu_spec.definitions import listed_chunks
from percpu_spec.views import AllocatorView, ChunkView


@states("ISO-1")
def released_is_hidden(allocator: AllocatorView, chunk: ChunkView) -> str | None:
    """A chunk whose pages are being released is on to_depopulate or on no list."""
    for slot, listed in listed_chunks(allocator):
        if listed is chunk and slot != allocator.to_depopulate_slot:
            return f"a chunk whose pages are being released is on list {slot}"
    return None


@states("ISO-2")
def isolated_are_apart(allocator: AllocatorView) -> str | None:
    """A listed chunk is isolated exactly when it is on to_depopulate or sidelined."""
    apart = (allocator.sidelined_slot, allocator.to_depopulate_slot)
    for slot, chunk in listed_chunks(allocator):
        if chunk.isolated != (slot in apart):
            return f"a chunk on list {slot} is {'' if chunk.isolated else 'not '}isolated"
    return None
