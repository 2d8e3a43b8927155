"""The kernel's percpu_stats file (mm/percpu-stats.c, STAT-1), written from a model state."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator

_RULE = "-" * 40
_UNKNOWN = "-"  # the geometry fixes the unit, not how units were put together at boot


_COUNTERS = (
    "nr_alloc", "nr_dealloc", "nr_cur_alloc", "nr_max_alloc", "nr_chunks", "nr_max_chunks",
    "min_alloc_size", "max_alloc_size",
)  # fmt: skip


def stats_text(allocator: Allocator) -> str:
    """Return the text of percpu_stats; sizes in bytes, first_bit in map bits.

    Raises ValueError for an allocator built without statistics.
    """
    return "\n".join(_lines(allocator)) + "\n"


def _lines(allocator: Allocator) -> Iterator[str]:
    stats, geometry = allocator.stats, allocator.geometry
    if stats is None:
        raise ValueError("expected an allocator built with stats=True")

    yield from ("Percpu Memory Statistics", "Allocation Info:", _RULE)
    for name in ("unit", "static", "reserved", "dyn"):
        yield _row(f"{name}_size", getattr(geometry, name))
    yield _row("atom_size", _UNKNOWN)
    yield _row("alloc_size", _UNKNOWN)
    yield ""

    yield from ("Global Stats:", _RULE)
    for name in _COUNTERS:
        yield _row(name, getattr(stats, name))
    yield _row("empty_pop_pages", allocator.nr_empty_pop_pages)
    yield ""

    yield from ("Per Chunk Stats:", _RULE)
    if allocator.reserved_chunk is not None:
        yield "Chunk: <- Reserved Chunk"
        yield from _chunk_rows(allocator.reserved_chunk, allocator.granule)
    slots = allocator.nr_slots // allocator.chunk_types
    for head in allocator.chunk_lists:
        slot = head.slot % slots
        for chunk in head:
            if chunk is allocator.first_chunk:
                yield "Chunk: <- First Chunk"
            elif slot == allocator.to_depopulate_slot:
                yield "Chunk (to_depopulate)"
            elif slot == allocator.sidelined_slot:
                yield "Chunk (sidelined):"
            else:
                yield "Chunk:"
            yield from _chunk_rows(chunk, allocator.granule)


def _row(name: str, value: int | str) -> str:
    return f"  {name:<20}: {value:>12}"


def _chunk_rows(chunk: Chunk, granule: int) -> Iterator[str]:
    sizes = fragments(chunk, granule)
    free = [-size for size in sizes if size < 0]
    used = [size for size in sizes if size > 0]
    yield _row("nr_alloc", chunk.nr_alloc)
    yield _row("max_alloc_size", chunk.max_alloc_size)
    yield _row("empty_pop_pages", chunk.nr_empty_pop_pages)
    yield _row("first_bit", chunk.chunk_md.first_free)
    yield _row("free_bytes", chunk.free_bytes)
    yield _row("contig_bytes", chunk.chunk_md.contig_hint * granule)
    yield _row("sum_frag", sum(free))
    yield _row("max_frag", max(free, default=0))
    yield _row("cur_min_alloc", used[0] if used else 0)
    # the lower median of the areas, which stand behind the holes
    yield _row("cur_med_alloc", sizes[(len(free) + len(sizes) - 1) // 2] if used else 0)
    yield _row("cur_max_alloc", used[-1] if used else 0)
    yield ""


def fragments(chunk: Chunk, granule: int) -> list[int]:
    """Return the sizes of areas, and negative of the holes between them, sorted; bytes.

    Only what lies before the end of the last area counts. Like the kernel, the search for that end
    leaves out the last bit of the served range unless nothing else is allocated.
    """
    size = len(chunk.alloc_map) - chunk.end_offset // granule - 1
    last = chunk.alloc_map.rfind(1, 0, size)
    if last < 0:
        last = size
    last = last + 1 if chunk.alloc_map[last] else 0

    sizes: list[int] = []
    start = chunk.start_offset // granule
    while start < last:
        allocated = chunk.alloc_map[start]
        end = (chunk.bound_map if allocated else chunk.alloc_map).find(1, start + 1, last)
        if end < 0:
            end = last
        sizes.append((end - start) * granule * (1 if allocated else -1))
        start = end
    return sorted(sizes)
