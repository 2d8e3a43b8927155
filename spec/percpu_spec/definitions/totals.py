"""Sums over the live chunks of an allocator."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_spec.definitions.pages import empty_populated_pages
from percpu_spec.views import AllocatorView, ChunkView


class Listing:
    """An allocator's present state with its lists walked, for many questions in a row."""

    def __init__(self, allocator: AllocatorView) -> None:
        self.geometry = allocator.geometry
        self.source = allocator
        self.nr_slots = allocator.nr_slots
        self.chunk_types = allocator.chunk_types
        self.free_slot = allocator.free_slot
        self.sidelined_slot = allocator.sidelined_slot
        self.to_depopulate_slot = allocator.to_depopulate_slot
        self.nr_empty_pop_pages = allocator.nr_empty_pop_pages
        self.nr_populated = allocator.nr_populated
        self.first_chunk = allocator.first_chunk
        self.reserved_chunk = allocator.reserved_chunk
        self.listed = self.walk(allocator)
        self.owned = list(allocator.owned_chunks())
        self.live = _together([chunk for _, chunk in self.listed], self.owned)

    def walk(self, allocator: AllocatorView, /) -> list[tuple[int, ChunkView]]:
        """Return every listed chunk with the number of its list."""
        return listed_chunks(allocator)

    def chunk_type(self, chunk: ChunkView, /) -> int:
        """Return the type of a chunk."""
        return self.source.chunk_type(chunk)

    def float_of(self, chunk_type: int, /) -> int:
        """Return the float that requests for a type go by, in pages."""
        return self.source.float_of(chunk_type)

    def slot_chunks(self, slot: int, /) -> list[ChunkView]:
        """Return the chunks of one list, head to tail."""
        return [chunk for on, chunk in self.listed if on == slot]

    def owned_chunks(self) -> list[ChunkView]:
        """Return the chunks held by a running step."""
        return self.owned


def listed_chunks(allocator: AllocatorView) -> list[tuple[int, ChunkView]]:
    """Return every listed chunk as (list number, chunk), list by list, head to tail."""
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
    return _together(chunks, list(allocator.owned_chunks()))


def _together(listed: list[ChunkView], owned: list[ChunkView]) -> list[ChunkView]:
    """Join listed and owned chunks; one that is both, against LIST-1, counts once."""
    return listed + [o for o in owned if not any(o is c for c in listed)] if owned else listed


def dynamic_chunks(allocator: AllocatorView) -> Iterator[ChunkView]:
    """Yield the chunks created after boot: live, not the first."""
    first = allocator.first_chunk
    return (chunk for chunk in live_chunks(allocator) if chunk is not first)


def chunks_of_type(allocator: AllocatorView, chunk_type: int) -> list[ChunkView]:
    """Return the live chunks of one type."""
    chunks = live_chunks(allocator)
    if allocator.chunk_types == 1:
        return chunks
    return [chunk for chunk in chunks if allocator.chunk_type(chunk) == chunk_type]


def empty_page_float(allocator: AllocatorView, chunk_type: int = 0) -> int:
    """Sum the empty populated pages of a type's chunks neither reserved nor isolated (FLT-1)."""
    geometry, reserved = allocator.geometry, allocator.reserved_chunk
    return sum(
        empty_populated_pages(chunk, geometry)
        for chunk in chunks_of_type(allocator, chunk_type)
        if not chunk.isolated and chunk is not reserved
    )


def first_chunk_pages(allocator: AllocatorView) -> int:
    """Whole pages of the static, reserved and dynamic part: populated from boot (POP-3)."""
    g = allocator.geometry
    return (g.static + g.reserved + g.dyn) // g.page
