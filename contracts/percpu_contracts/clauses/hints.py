"""Hints of blocks and chunks. Kernel: struct pcpu_block_md and the pcpu_*_update* functions.

A hint of length 0 says nothing: its start may be stale.
"""

from __future__ import annotations

from percpu_contracts.registry import Scope, When, in_every_block, states
from percpu_spec.counts import counted
from percpu_spec.definitions import (
    first_free,
    left_free,
    longest_free_run,
    longest_run,
    longest_run_and_place,
    right_free,
)
from percpu_spec.geometry import Geometry
from percpu_spec.views import BitMap, BlockView, ChunkView


def _overclaimed(bits: BitMap, base: int, end: int, start: int, length: int) -> bool:
    """Say whether [start, start + length) after `base` leaves [base, end) or has a used bit."""
    first = base + start
    return start < 0 or first + length > end or bits.find(1, first, first + length) >= 0


def _runs_are_sound(bits: BitMap, base: int, end: int, md: BlockView) -> str | None:
    """Check contig_hint, scan_hint and first_free of one block or of a whole chunk."""
    contig = md.contig_hint
    if contig < 0 or (contig and _overclaimed(bits, base, end, md.contig_hint_start, contig)):
        return f"contig_hint of {counted(contig, 'bit')} at {md.contig_hint_start} is not all free"
    scan = md.scan_hint
    if scan < 0 or (scan and _overclaimed(bits, base, end, md.scan_hint_start, scan)):
        return f"scan_hint of {counted(scan, 'bit')} at {md.scan_hint_start} is not all free"
    if md.first_free > 0 and bits.find(0, base, min(base + md.first_free, end)) >= 0:
        return f"first_free {md.first_free} lies behind free bit {first_free(bits, base, end)}"
    return None


@states("HINT-1", Scope.BLOCK, When.ALWAYS)
def block_hints_are_sound(chunk: ChunkView, index: int, geometry: Geometry) -> str | None:
    """A block advertises only free runs, its left_free and right_free included."""
    md, bits = chunk.md_blocks[index], chunk.alloc_map
    base = index * geometry.block_bits
    end = base + geometry.block_bits
    wrong = _runs_are_sound(bits, base, end, md)
    if wrong is not None:
        return f"block {index}: {wrong}"
    left, right = md.left_free, md.right_free
    if left > left_free(bits, base, end):
        return f"block {index}: left_free {left} of {counted(left_free(bits, base, end), 'bit')}"
    if right > right_free(bits, base, end):
        return f"block {index}: right_free {right} of {counted(right_free(bits, base, end), 'bit')}"
    return None


@states("HINT-1", Scope.CHUNK, When.ALWAYS)
def chunk_hint_is_sound(chunk: ChunkView, geometry: Geometry) -> str | None:
    """The chunk's own hints advertise only free runs; left_free and right_free excepted."""
    bits = chunk.alloc_map
    wrong = _runs_are_sound(bits, 0, len(bits), chunk.chunk_md)
    return None if wrong is None else f"chunk: {wrong}"


@states("HINT-2", Scope.BLOCK, When.ALWAYS)
def block_left_is_exact(chunk: ChunkView, index: int, geometry: Geometry) -> str | None:
    """left_free is exact, and so is first_free unless the block is full."""
    md, bits = chunk.md_blocks[index], chunk.alloc_map
    base = index * geometry.block_bits
    end = base + geometry.block_bits
    left = left_free(bits, base, end)
    if md.left_free != left:
        return f"block {index}: left_free {md.left_free}, expected {counted(left, 'bit')}"
    first = left and base
    if not left:
        first = bits.find(0, base, end)
    if first >= 0 and md.first_free != first - base:
        return f"block {index}: first_free {md.first_free}, expected {first - base}"
    return None


@states("HINT-3", Scope.BLOCK, When.ALWAYS)
def block_right_is_exact(chunk: ChunkView, index: int, geometry: Geometry) -> str | None:
    """right_free is exact."""
    base = index * geometry.block_bits
    right = right_free(chunk.alloc_map, base, base + geometry.block_bits)
    found = chunk.md_blocks[index].right_free
    if found == right:
        return None
    return f"block {index}: right_free {found}, expected {counted(right, 'bit')}"


def hint_is_ordered(md: BlockView) -> str | None:
    """HINT-4 for the hints of a block, or of a chunk."""
    scan, contig = md.scan_hint, md.contig_hint
    if scan <= 0 or contig <= 0:
        return None
    if (md.scan_hint_start > md.contig_hint_start) == (scan == contig):
        return None
    return (
        f"scan_hint of {counted(scan, 'bit')} at {md.scan_hint_start}, "
        f"contig_hint of {counted(contig, 'bit')} at {md.contig_hint_start}"
    )


@states("HINT-4", Scope.BLOCK, When.ALWAYS)
def block_hints_are_ordered(chunk: ChunkView, index: int, geometry: Geometry) -> str | None:
    """A block's scan hint lies behind its contig hint exactly when the two are equally long."""
    wrong = hint_is_ordered(chunk.md_blocks[index])
    return wrong and f"block {index}: {wrong}"


@states("HINT-4", Scope.CHUNK, When.ALWAYS)
def chunk_hints_are_ordered(chunk: ChunkView, geometry: Geometry) -> str | None:
    """A chunk's scan hint lies behind its contig hint exactly when the two are equally long."""
    wrong = hint_is_ordered(chunk.chunk_md)
    return wrong and f"chunk: {wrong}"


@states("HINT-5", Scope.CHUNK, When.ALWAYS)
def chunk_hint_is_close(chunk: ChunkView, geometry: Geometry) -> str | None:
    """contig_hint misses less than a page of the longest run, nothing if a block holds it.

    Nor does it of a chunk that is all free: the allocator knows such a chunk by it.
    """
    longest, inside = longest_run_and_place(chunk, geometry)
    return contig_is_close(chunk, longest, inside, geometry)


def contig_is_close(
    chunk: ChunkView, longest: int, inside: bool, geometry: Geometry
) -> str | None:
    """HINT-5 of a chunk whose longest run, and whether one block holds it, are known."""
    contig, bits = chunk.chunk_md.contig_hint, len(chunk.alloc_map)
    if longest == bits != contig:
        return f"chunk: contig_hint {contig} of {counted(bits, 'bit')}, all free"
    if inside and contig != longest:
        return (
            f"chunk: contig_hint {contig}, expected {counted(longest, 'bit')}, a run inside "
            "one block"
        )
    if not longest - geometry.block_bits < contig <= longest:
        return (
            f"chunk: contig_hint {contig} is a page or more off the longest run, "
            f"{counted(longest, 'bit')}"
        )
    return None


@states("HINT-6", Scope.BLOCK, When.ALWAYS)
def block_hint_is_longest(chunk: ChunkView, index: int, geometry: Geometry) -> str | None:
    """A block's contig_hint equals its longest free run."""
    base = index * geometry.block_bits
    longest = longest_free_run(chunk.alloc_map, base, base + geometry.block_bits)[1]
    contig = chunk.md_blocks[index].contig_hint
    if contig == longest:
        return None
    return f"block {index}: contig_hint {contig}, longest run {counted(longest, 'bit')}"


@states("HINT-6", Scope.CHUNK, When.ALWAYS)
def chunk_hint_is_longest(chunk: ChunkView, geometry: Geometry) -> str | None:
    """The chunk's contig_hint equals its longest free run."""
    longest, contig = longest_run(chunk), chunk.chunk_md.contig_hint
    if contig == longest:
        return None
    return f"chunk: contig_hint {contig}, longest run {counted(longest, 'bit')}"


@states("HINT-7", Scope.CHUNK, When.ALWAYS)
def chunk_first_free_is_exact(chunk: ChunkView, geometry: Geometry) -> str | None:
    """The chunk's first_free is its first free bit, the map's size if it is full."""
    bits = chunk.alloc_map
    first, found = first_free(bits, 0, len(bits)), chunk.chunk_md.first_free
    return None if found == first else f"chunk: first_free {found}, expected bit {first}"


@states("HINT-8", Scope.BLOCK, When.ALWAYS)
def block_emptiness_shows(chunk: ChunkView, index: int, geometry: Geometry) -> str | None:
    """contig_hint is the whole block exactly when the block is free."""
    block = geometry.block_bits
    base = index * block
    free = chunk.alloc_map.find(1, base, base + block) < 0
    contig = chunk.md_blocks[index].contig_hint
    if (contig == block) == free:
        return None
    return f"block {index}: contig_hint {contig} of {block} bits, {'' if free else 'not '}all free"


hints_are_sound = in_every_block(block_hints_are_sound, chunk_hint_is_sound)
left_is_exact = in_every_block(block_left_is_exact)
right_is_exact = in_every_block(block_right_is_exact)
hints_are_ordered = in_every_block(block_hints_are_ordered, chunk_hints_are_ordered)
hints_are_longest = in_every_block(block_hint_is_longest, chunk_hint_is_longest)
emptiness_shows = in_every_block(block_emptiness_shows)
