"""Pages of a chunk: fully free, populated, empty."""

from __future__ import annotations

from percpu_spec.geometry import Geometry
from percpu_spec.views import ChunkView


def is_fully_free(chunk: ChunkView, geometry: Geometry) -> bool:
    """Say whether a whole unit is free; false for the first chunk, which hides its static part."""
    return chunk.nr_pages == geometry.unit_pages and chunk.alloc_map.find(1) < 0


def empty_populated_pages(chunk: ChunkView, geometry: Geometry) -> int:
    """Count pages that are populated and hold no allocated bit (POP-1). Hidden bits are allocated.

    Jumps from one used page to the next, so a chunk with little in it costs few steps.
    """
    bits, populated, pages = chunk.alloc_map, chunk.populated, chunk.nr_pages
    block = geometry.block_bits
    page = found = 0
    while page < pages:
        used = bits.find(1, page * block)
        if used < 0:
            return found + populated.count(1, page, pages)
        at = used // block
        if at > page:
            found += populated.count(1, page, at)
        page = at + 1
    return found


def pages_of(geometry: Geometry, start: int, end: int) -> tuple[int, int]:
    """Return the half-open range of pages that the bits [start, end) touch."""
    block = geometry.block_bits
    return start // block, (end + block - 1) // block


def is_populated(chunk: ChunkView, start: int, end: int, geometry: Geometry) -> bool:
    """Say whether every page under the bits [start, end) is populated (POP-2)."""
    first, behind = pages_of(geometry, start, end)
    return chunk.populated.find(0, first, behind) < 0
