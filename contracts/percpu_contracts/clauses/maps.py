"""The allocation and boundary maps. Kernel: pcpu_alloc_area, pcpu_free_area."""

from __future__ import annotations

from collections.abc import Iterable

from percpu_contracts.registry import Scope, When, in_every_block, states
from percpu_spec.counts import counted
from percpu_spec.definitions import free_bits, served_areas, served_range
from percpu_spec.geometry import Geometry
from percpu_spec.views import ChunkView


@states("MAP-1")
def areas_match(
    chunk: ChunkView, held: Iterable[tuple[int, int]], geometry: Geometry
) -> str | None:
    """The chunk's areas are those that callers hold, given as (byte offset, bytes) pairs."""
    granule = geometry.granule
    found = [(at * granule, (end - at) * granule) for at, end in served_areas(chunk, geometry)]
    wanted = sorted(held)
    if found == wanted:
        return None
    lost = sorted(set(wanted) - set(found))[:1]
    extra = sorted(set(found) - set(wanted))[:1]
    return (
        f"{counted(len(found), 'area')} in the map, {len(wanted)} held (offset, bytes): "
        f"held but not in the map {lost}, in the map but not held {extra}"
    )


@states("MAP-2", Scope.CHUNK, When.ALWAYS)
def free_bytes_are_counted(chunk: ChunkView, geometry: Geometry) -> str | None:
    """free_bytes equals the clear bits of the allocation map."""
    free = free_bits(chunk.alloc_map) * geometry.granule
    return None if chunk.free_bytes == free else f"free_bytes {chunk.free_bytes}, {free} bytes free"


@states("MAP-3", Scope.BLOCK, When.ALWAYS)
def block_bounds_delimit_areas(chunk: ChunkView, index: int, geometry: Geometry) -> str | None:
    """A boundary bit starts every live area and stands behind its last bit.

    Inside a run of allocated bits any boundary bit may be right, so only its ends are judged: here
    those in block `index`, or at its end.
    """
    bits, bounds = chunk.alloc_map, chunk.bound_map
    base = index * geometry.block_bits
    stop = base + geometry.block_bits
    at = bits.find(1, base, stop)
    while at >= 0:
        if not bounds[at] and (at > base or not base or not bits[at - 1]):
            return f"allocated bit {at}: no boundary bit starts its area"
        end = bits.find(0, at, stop)
        if end < 0:
            end = stop
            if end < len(bits) and bits[end]:
                return None  # goes on in the next block
        if not bounds[end]:
            return f"allocated bits end at {end}: no boundary bit ends their area"
        at = bits.find(1, end, stop)
    return None


@states("MAP-3", Scope.CHUNK, When.ALWAYS)
def hidden_parts_are_areas(chunk: ChunkView, geometry: Geometry) -> str | None:
    """What a chunk does not serve at either end is allocated, with a boundary bit at both its ends.
    """
    bits, bounds = chunk.alloc_map, chunk.bound_map
    first, behind = served_range(chunk, geometry)
    for start, end in ((0, first), (behind, len(bits))):
        if start == end:
            continue
        if not 0 <= start < end <= len(bits):
            return f"hidden bits {start} to {end} of {len(bits)}"
        if bits.find(0, start, end) >= 0:
            return f"hidden bit {bits.find(0, start, end)} is not allocated"
        if not bounds[start] or not bounds[end]:
            edge = end if bounds[start] else start
            return f"no boundary bit at {edge}, an end of the hidden bits"
    return None


@states("MAP-4")
def free_returns_area(freed: int, size: int) -> str | None:
    """A free gives back the bytes that its allocation took."""
    return None if freed == size else f"freed {freed} bytes of an area of {size} bytes"


@states("MAP-5", Scope.CHUNK, When.ALWAYS)
def shape_fits(chunk: ChunkView, geometry: Geometry) -> str | None:
    """Maps and blocks have the sizes that the chunk's pages ask for."""
    pages, block = chunk.nr_pages, geometry.block_bits
    bits = pages * block
    sizes = (
        ("alloc_map", len(chunk.alloc_map), bits),
        ("bound_map", len(chunk.bound_map), bits + 1),
        ("populated", len(chunk.populated), pages),
        ("md_blocks", len(chunk.md_blocks), pages),
        ("chunk_md.nr_bits", chunk.chunk_md.nr_bits, bits),
    )
    for name, found, wanted in sizes:
        if found != wanted:
            return (
                f"{name}: {found}, expected {wanted} for {counted(pages, 'page')} of {block} "
                "bits"
            )
    for index, md in enumerate(chunk.md_blocks):
        if md.nr_bits != block:
            return f"md_blocks[{index}].nr_bits: {md.nr_bits}, expected {block}"
    return None


bounds_delimit_areas = in_every_block(block_bounds_delimit_areas)
