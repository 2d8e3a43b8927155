"""Charges and statistics. Kernel: pcpu_memcg_*_hook, struct percpu_stats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from percpu_contracts.registry import states
from percpu_spec.counts import counted
from percpu_spec.definitions import charged_size, live_chunks, served_areas
from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView


class StatsView(Protocol):
    """Lifetime and current counts (struct percpu_stats)."""

    @property
    def nr_alloc(self) -> int:
        """Areas ever taken."""
    @property
    def nr_dealloc(self) -> int:
        """Areas ever given back."""
    @property
    def nr_cur_alloc(self) -> int:
        """Areas that live."""
    @property
    def nr_max_alloc(self) -> int:
        """Most areas that lived at once."""
    @property
    def nr_chunks(self) -> int:
        """Chunks that live; the first and the reserved one are one."""
    @property
    def nr_max_chunks(self) -> int:
        """Most chunks that lived at once."""
    @property
    def min_alloc_size(self) -> int:
        """The smallest area ever taken, in bytes."""
    @property
    def max_alloc_size(self) -> int:
        """The largest, in bytes."""


@states("ACC-1")
def charge_is_owed(
    charged: int, accounted: Iterable[int], geometry: Geometry, *, vector: bool = True
) -> str | None:
    """Bytes charged now are those of the live `accounted` areas, given as sizes in bytes.

    vector: an area also pays for its share of the object vector.
    """
    wanted = sum(charged_size(geometry, size, vector=vector) for size in accounted)
    return None if charged == wanted else f"{charged} bytes charged, live areas owe {wanted}"


@states("STAT-1")
def counts_agree(stats: StatsView) -> str | None:
    """Current allocations are those made less those freed; no maximum is below its current."""
    if stats.nr_cur_alloc != stats.nr_alloc - stats.nr_dealloc:
        return (
            f"nr_cur_alloc {stats.nr_cur_alloc}, "
            f"expected {stats.nr_alloc} made - {stats.nr_dealloc} freed"
        )
    if stats.nr_max_alloc < stats.nr_cur_alloc or stats.nr_max_chunks < stats.nr_chunks:
        return (
            f"maxima of {counted(stats.nr_max_alloc, 'area')}, "
            f"{counted(stats.nr_max_chunks, 'chunk')} are below "
            f"the current {stats.nr_cur_alloc} and {stats.nr_chunks}"
        )
    return None


@states("STAT-1")
def counts_are_true(allocator: AllocatorView, stats: StatsView) -> str | None:
    """The current counts are the live areas and chunks; first and reserved chunk are one."""
    wrong = counts_agree(stats)
    if wrong is not None:
        return wrong
    chunks = list(live_chunks(allocator))
    if stats.nr_chunks != len(chunks):
        return f"nr_chunks {stats.nr_chunks}, expected {len(chunks)}"
    if allocator.reserved_chunk is not None:
        chunks.append(allocator.reserved_chunk)
    areas = sum(1 for chunk in chunks for _ in served_areas(chunk, allocator.geometry))
    if stats.nr_cur_alloc != areas:
        return f"nr_cur_alloc {stats.nr_cur_alloc}, expected {counted(areas, 'live area')}"
    return None


@states("STAT-1")
def sizes_bracket(stats: StatsView, size: int) -> str | None:
    """An area of `size` bytes, just taken, lies between the least and the largest seen."""
    low, high = stats.min_alloc_size, stats.max_alloc_size
    return None if low <= size <= high else f"area of {size} bytes outside {low}..{high} seen"


@states("ACC-2")
def success_is_charged(charged: bool) -> str | None:
    """An accounted area in a chunk with an object vector is entered there."""
    return None if charged else "an accounted area is in no object vector: nothing was charged"
