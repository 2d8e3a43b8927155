"""Free runs of a map and of a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from percpu_spec.geometry import Geometry
from percpu_spec.views import BitMap, ChunkView


def is_free(bits: BitMap, start: int, end: int) -> bool:
    """Say whether no bit of [start, end) is allocated."""
    return bits.find(1, start, end) < 0


def free_bits(bits: BitMap) -> int:
    """Count the free bits of a map (MAP-2)."""
    return bits.count(0)


def free_runs(bits: BitMap, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield every maximal free run of [start, end) as (first bit, bit behind it), in order.

    >>> list(free_runs(bytearray([0, 0, 1, 0])))
    [(0, 2), (3, 4)]
    """
    stop = len(bits) if end is None else end
    at = bits.find(0, start, stop)
    while at >= 0:
        behind = bits.find(1, at, stop)
        if behind < 0:
            behind = stop
        yield at, behind
        at = bits.find(0, behind, stop)


def longest_free_run(bits: BitMap, start: int = 0, end: int | None = None) -> tuple[int, int]:
    """Return (first bit, length) of the first longest free run of [start, end).

    Length 0 means that nothing is free; the position then says nothing. Skips by the length found
    so far, so a dense map costs few steps.

    >>> longest_free_run(bytearray([0, 1, 0, 0, 1, 0, 0]))
    (2, 2)
    """
    stop = len(bits) if end is None else end
    best_at, best = start, 0
    at = bits.find(0, start, stop)
    while at >= 0 and at + best < stop:
        used = bits.rfind(1, at, at + best + 1)
        if used < 0:
            used = bits.find(1, at + best + 1, stop)
            if used < 0:
                return at, stop - at
            best_at, best = at, used - at
        at = bits.find(0, used, stop)
    return best_at, best


def runs_of_at_least(bits: BitMap, length: int) -> Iterator[int]:
    """Yield the first bit of every maximal free run of at least `length` >= 1 bits, in order."""
    stop = len(bits)
    at = bits.find(0)
    while at >= 0 and at + length <= stop:
        used = bits.rfind(1, at, at + length)
        if used < 0:
            yield at
            used = bits.find(1, at + length)
            if used < 0:
                return
        at = bits.find(0, used)


def left_free(bits: BitMap, start: int, end: int) -> int:
    """Length of the free run at the left edge of [start, end) (HINT-2)."""
    used = bits.find(1, start, end)
    return (end if used < 0 else used) - start


def right_free(bits: BitMap, start: int, end: int) -> int:
    """Length of the free run at the right edge of [start, end) (HINT-3)."""
    used = bits.rfind(1, start, end)
    return end - (start if used < 0 else used + 1)


def first_free(bits: BitMap, start: int, end: int) -> int:
    """Distance from `start` to the first free bit of [start, end); its length if it is full."""
    at = bits.find(0, start, end)
    return (end if at < 0 else at) - start


def longest_run(chunk: ChunkView) -> int:
    """Length of the longest free run of a chunk, across blocks."""
    return longest_free_run(chunk.alloc_map)[1]


def longest_across(blocks: Iterable[tuple[int, int, int]], size: int) -> tuple[int, bool]:
    """Return the longest free run over adjacent blocks, and whether a block holds one as long.

    Each block of `size` bits is given as its left free, longest and right free run; the last two
    are the first where it is all free.

    >>> longest_across([(0, 2, 1), (4, 4, 4), (0, 5, 0)], 4)
    (5, True)
    """
    best = inside = run = 0
    for left, longest, right in blocks:
        inside = max(inside, longest)
        run += left
        if left != size:
            best = max(best, run)
            run = right
    best = max(best, run, inside)
    return best, inside == best


def longest_run_and_place(chunk: ChunkView, geometry: Geometry) -> tuple[int, bool]:
    """Return the chunk's longest free run and whether one of that length lies in one block.

    A full chunk gives (0, True). Source: HINT-5.
    """
    bits, block = chunk.alloc_map, geometry.block_bits
    length = longest_free_run(bits)[1]
    if not 0 < length <= block:
        return length, length == 0
    inside = any(at // block == (at + length - 1) // block for at in runs_of_at_least(bits, length))
    return length, inside
