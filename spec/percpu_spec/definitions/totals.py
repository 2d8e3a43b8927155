"""Sums over the live chunks of an allocator."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_spec.definitions.pages import empty_populated_pages
from percpu_spec.views import AllocatorView, ChunkView


class Listing:
    """An allocator's present state with its lists walked, for many questions in a row."""

    def __init__(self, allocator: AllocatorView) -> None:
        self.geometry = allocator.geometry
        self.nr_slots = allocator.nr_slots
        self.free_slot = allocator.free_slot
        self.sidelined_slot = allocator.sidelined_slot
        self.to_depopulate_slot = allocator.to_depopulate_slot
        self.nr_empty_pop_pages = allocator.nr_empty_pop_pages
        self.nr_populated = allocator.nr_populated
        self.first_chunk = allocator.first_chunk
        self.reserved_chunk = allocator.reserved_chunk
        self.listed = listed_chunks(allocator)
        self.owned = list(allocator.owned_chunks())
        self.live = [chunk for _, chunk in self.listed] + self.owned

    def slot_chunks(self, slot: int, /) -> list[ChunkView]:
        """Return the chunks of one list, head to tail."""
        return [chunk for on, chunk in self.listed if on == slot]

    def owned_chunks(self) -> list[ChunkView]:
        """Return the chunks held by a running step."""
        return self.owned


def listed_chunks(allocator: AllocatorView) -> list[tuple[int, ChunkView]]:
    """Return every listed chunk as (slot, chunk), slot by slot, head to tail."""
    if isinstance(allocator, Listing):
        return allocator.listed
    slot_chunks = allocator.slot_chunks
    return [(slot, chunk) for slot in range(allocator.nr_slots) for chunk in slot_chunks(slot)]


def live_chunks(allocator: AllocatorView) -> list[ChunkView]:
    """Return every chunk that is listed or owned by a running step: all but the reserved one."""
    if isinstance(allocator, Listing):
        return allocator.live
    slot_chunks = allocator.slot_chunks
    chunks = [chunk for slot in range(allocator.nr_slots) for chunk in slot_chunks(slot)]
    chunks.extend(allocator.owned_chunks())
    return chunks


def dynamic_chunks(allocator: AllocatorView) -> Iterator[ChunkView]:
    """Yield the chunks created after boot: live, not the first."""
    first = allocator.first_chunk
    return (chunk for chunk in live_chunks(allocator) if chunk is not first)


def empty_page_float(allocator: AllocatorView) -> int:
    """Sum the empty populated pages of live chunks neither reserved nor isolated (FLT-1)."""
    geometry, reserved = allocator.geometry, allocator.reserved_chunk
    return sum(
        empty_populated_pages(chunk, geometry)
        for chunk in live_chunks(allocator)
        if not chunk.isolated and chunk is not reserved
    )


def first_chunk_pages(allocator: AllocatorView) -> int:
    """Whole pages of the static, reserved and dynamic part: populated from boot (POP-3)."""
    g = allocator.geometry
    return (g.static + g.reserved + g.dyn) // g.page
