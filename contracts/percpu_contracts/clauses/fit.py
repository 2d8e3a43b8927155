"""Whether a search finds what is there. Kernel: pcpu_find_block_fit, pcpu_find_zero_area."""

from __future__ import annotations

from percpu_contracts.registry import states
from percpu_spec.counts import counted
from percpu_spec.definitions import is_populated, longest_run
from percpu_spec.geometry import Geometry
from percpu_spec.views import BitMap, ChunkView


@states("FIT-1")
def miss_is_genuine(chunk: ChunkView, bits: int) -> str | None:
    """A request of `bits` without alignment missed in a chunk where no run fits."""
    longest = longest_run(chunk)
    if longest < bits:
        return None
    return f"request of {counted(bits, 'bit')} missed a run of {counted(longest, 'bit')}"


def zero_area(bits: BitMap, start: int, end: int, nr: int, align: int) -> int:
    """Return the first multiple of align in [start, end - nr] with nr free bits, or -1."""
    at = -(-start // align) * align
    while at + nr <= end:
        used = bits.rfind(1, at, at + nr)
        if used < 0:
            return at
        at = -(-(used + 1) // align) * align
    return -1


@states("FIT-2")
def hit_is_genuine(
    chunk: ChunkView, off: int, bits: int, align: int, pop_only: bool, geometry: Geometry
) -> str | None:
    """From bit `off` an aligned free area of `bits` lies within one block's length.

    With pop_only it lies in populated pages.
    """
    end = min(off + bits + geometry.block_bits, len(chunk.alloc_map))
    at = zero_area(chunk.alloc_map, off, end, bits, align)
    if at < 0:
        return f"no area of {counted(bits, 'bit')} aligned to {align} in bits {off}..{end}"
    if pop_only and not is_populated(chunk, at, at + bits, geometry):
        return (
            f"atomic request of {counted(bits, 'bit')} would get bits {at}.. in an unpopulated "
            "page"
        )
    return None


@states("FIT-3")
def hit_is_served(
    chunk: ChunkView, off: int, bits: int, align: int, geometry: Geometry
) -> str | None:
    """No area of `bits` was to be had from bit `off` on, within one block's length."""
    end = min(off + bits + geometry.block_bits, len(chunk.alloc_map))
    at = zero_area(chunk.alloc_map, off, end, bits, align)
    if at < 0:
        return None
    return f"a search from bit {off} gave up, with {counted(bits, 'bit')} free at {at}"
