"""Partial depopulation. Kernel: pcpu_reclaim_populated, pcpu_should_reclaim_chunk."""

from __future__ import annotations

from percpu_contracts.binding import states
from percpu_spec.definitions import empty_page_float, empty_populated_pages, lists_of_slot
from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView, ChunkView


@states("RCL-1")
def float_stays_high(before: int, after: int, geometry: Geometry) -> str | None:
    """One isolation or reclaim step leaves the float, in pages, at HIGH or as it was."""
    if after >= min(before, geometry.empty_high):
        return None
    return f"float fell from {before} to {after} pages, below {geometry.empty_high}"


@states("RCL-2")
def immutable_is_whole(chunk: ChunkView) -> str | None:
    """An immutable chunk has every page populated."""
    page = chunk.populated.find(0, 0, chunk.nr_pages) if chunk.immutable else -1
    return None if page < 0 else f"immutable chunk lacks page {page}"


@states("RCL-3")
def reclaim_is_done(allocator: AllocatorView) -> str | None:
    """Quiescent: to_depopulate is empty, no sidelined chunk has an empty populated page."""
    for number in lists_of_slot(allocator, allocator.to_depopulate_slot):
        waiting = sum(1 for _ in allocator.slot_chunks(number))
        if waiting:
            return f"{waiting} chunks wait on to_depopulate and no work is pending"
    for number in lists_of_slot(allocator, allocator.sidelined_slot):
        for chunk in allocator.slot_chunks(number):
            pages = empty_populated_pages(chunk, allocator.geometry)
            if pages:
                return f"a sidelined chunk keeps {pages} empty populated pages"
    return None


@states("RCL-4")
def chunk_is_drained(allocator: AllocatorView, chunk: ChunkView) -> str | None:
    """A chunk just reclaimed alone has no empty page left, or the rest is below HIGH.

    The rest is the empty pages of the other chunks of its type.
    """
    pages = empty_populated_pages(chunk, allocator.geometry)
    rest = empty_page_float(allocator, allocator.chunk_type(chunk))
    rest -= 0 if chunk.isolated else pages
    if not pages or rest < allocator.geometry.empty_high:
        return None
    return f"{pages} empty populated pages left after reclaim; the float without them is {rest}"


@states("RCL-5")
def special_stay_active(allocator: AllocatorView) -> str | None:
    """Neither the first nor the reserved chunk is isolated."""
    if allocator.first_chunk.isolated:
        return "the first chunk is isolated"
    reserved = allocator.reserved_chunk
    if reserved is not None and reserved.isolated:
        return "the reserved chunk is isolated"
    return None
