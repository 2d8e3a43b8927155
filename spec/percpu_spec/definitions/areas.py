"""Live areas of a chunk, as its two maps delimit them."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_spec.geometry import Geometry
from percpu_spec.views import ChunkView


def live_areas(chunk: ChunkView) -> Iterator[tuple[int, int]]:
    """Yield every live area as (first bit, bit behind it), in order, hidden parts included.

    An area starts at an allocated bit with its boundary bit set and ends at the next boundary bit.
    An allocated bit that no boundary bit starts is taken as a start too; MAP-3 reports it.
    """
    bits, bounds = chunk.alloc_map, chunk.bound_map
    size = len(bits)
    at = bits.find(1)
    while at >= 0:
        end = bounds.find(1, at + 1)
        if end < 0 or end > size:
            end = size
        yield at, end
        at = bits.find(1, end)


def served_range(chunk: ChunkView, geometry: Geometry) -> tuple[int, int]:
    """Return the bits [first, behind) that requests may get: the chunk without its hidden parts."""
    behind = chunk.nr_pages * geometry.page - chunk.end_offset
    return chunk.start_offset // geometry.granule, behind // geometry.granule


def served_areas(chunk: ChunkView, geometry: Geometry) -> Iterator[tuple[int, int]]:
    """Yield the live areas that requests hold, as bits: `live_areas` without the hidden parts."""
    first, behind = served_range(chunk, geometry)
    return (area for area in live_areas(chunk) if first <= area[0] and area[1] <= behind)


def area_size(chunk: ChunkView, off: int, geometry: Geometry) -> int | None:
    """Return the size in bytes of the live area that starts at byte `off`, None if none does."""
    bit, rest = divmod(off, geometry.granule)
    first, behind = served_range(chunk, geometry)
    if rest or not first <= bit < behind or not (chunk.alloc_map[bit] and chunk.bound_map[bit]):
        return None
    end = chunk.bound_map.find(1, bit + 1)
    return ((len(chunk.alloc_map) if end < 0 else end) - bit) * geometry.granule
