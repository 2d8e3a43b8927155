"""Hints: entering a run, and refreshing those of a block and of a chunk.

States are arbitrary valid ones: any map, and any hints that the variant's own invariant allows.
What is assumed is what is shown again.
"""

from __future__ import annotations

from typing import Any

from percpu_contracts.clauses import hints
from percpu_proofs.prove.small.invariant import (
    ANY_BLOCK,
    choose_block_hints,
    choose_chunk_hints,
    hints_wrong,
)
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.chunk import Block, Chunk
from percpu_reference.variants import Allocator

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
BLOCKS = "a chunk of {pages} pages with {bits} map bits each, any bits used, any valid block hints"
CHUNKS = "a chunk of {pages} pages with {bits} map bits each, any bits used, any valid chunk hints"


def any_runs(choose: Choices, nr_bits: int) -> tuple[Block, Any, Any]:
    """Choose a block's hints and a free run to enter, each a whole run, consistent with it."""
    block = Block(nr_bits)
    start = choose.whole(nr_bits)
    end = start + 1 + choose.whole(nr_bits - start)
    known = []
    for _ in range(2):
        at = choose.whole(nr_bits)
        length = choose.whole(nr_bits - at + 1)
        # whole runs: it is apart from the run entered, or has grown into it, or is gone
        apart = at + length < start or end < at
        inside = start <= at and at + length <= end
        assume(length == 0 or apart or inside)
        known.append((at, length))
    (contig_at, contig), (scan_at, scan) = known
    assume(scan <= contig)
    assume(
        not scan
        or (contig_at == scan_at and contig == scan)
        or contig_at + contig < scan_at
        or scan_at + scan < contig_at
    )
    block.contig_hint_start, block.contig_hint = contig_at, contig
    block.scan_hint_start, block.scan_hint = scan_at, scan
    block.first_free = choose.whole(nr_bits + 1)
    assume(not contig or block.first_free <= contig_at)
    assume(not scan or block.first_free <= scan_at)
    return block, start, end


@obligation(
    "HINT-1",
    "hints.Hints.block_update",
    words="a block of {bits} bits: any contig_hint, scan_hint and run entered, whole runs all",
    small=Size(1, 8),
    large=Size(1, 9),
    variants=BOTH,
)
def update_block(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Entering a run keeps hints to runs that are known, the longest of them as contig_hint."""
    scene = Scene(cls, choose, Size(4, 1))
    block, start, end = any_runs(choose, size.bits)
    call = MethodCall(scene, "block_update", block, start, end, only=("HINT-1", "HINT-2"))
    wrong = call.run()
    if wrong is not None:
        return wrong
    if (start == 0 and block.left_free != end) or (start > 0 and block.left_free != size.bits):
        return f"HINT-2: left_free {block.left_free} after a run at {start}"
    right = end - start if end == size.bits else size.bits
    if block.right_free != right:
        return f"HINT-3: right_free {block.right_free} after a run of bits {start}..{end}"
    return None


@obligation(
    "HINT-4",
    "hints.Hints.block_update",
    words="a block of {bits} bits: any ordered contig_hint and scan_hint, any run entered",
    small=Size(1, 8),
    large=Size(1, 9),
    variants=("reference",),
    refuted=("linux_6_12",),
)
def order_of_hints(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """If scan_hint lay behind contig_hint exactly when they are equal, it still does."""
    scene = Scene(cls, choose, Size(4, 1))
    block, start, end = any_runs(choose, size.bits)
    assume(hints.hint_is_ordered(block) is None)
    return MethodCall(scene, "block_update", block, start, end, only=("HINT-4",)).run()


def _refreshed(scene: Scene, chunk: Chunk, index: int) -> Wrong:
    """Break the contig_hint of a block by using a bit of it, and refresh the block."""
    block, size = chunk.md_blocks[index], scene.size.bits
    assume(block.contig_hint)
    at = block.contig_hint_start + scene.choose.number(block.contig_hint)
    chunk.alloc_map[index * size + at] = 1
    if at == block.first_free:  # as the caller does before
        first = chunk.alloc_map.find(0, index * size + at, (index + 1) * size)
        block.first_free = size if first < 0 else first - index * size
    assume(not block.scan_hint or not block.scan_hint_start <= at < (
        block.scan_hint_start + block.scan_hint
    ))
    block.left_free = min(block.left_free, at)
    return MethodCall(scene, "block_refresh_hint", chunk, index).run()


@obligation(
    "HINT-1",
    "hints.Hints.block_refresh_hint",
    words=ANY_BLOCK + "; with a scan_hint; any bit of the contig_hint used",
    small=Size(1, 8),
    large=Size(3, 8),
    variants=BOTH,
)
def promote_scan_hint(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A block that promotes its scan_hint claims only free runs; fixed, it knows its longest."""
    return _refresh(cls, choose, size, with_scan=True)


@obligation(
    "HINT-1",
    "hints.Hints.block_refresh_hint",
    words=ANY_BLOCK + "; no scan_hint; any bit of the contig_hint used",
    small=Size(1, 8),
    large=Size(3, 8),
    variants=BOTH,
)
def rescan_block(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A block scanned from its first free bit claims only free runs and knows its longest."""
    return _refresh(cls, choose, size, with_scan=False)


def _refresh(cls: Cls, choose: Choices, size: Size, *, with_scan: bool) -> Wrong:
    scene = Scene(cls, choose, size)
    index = choose.number(size.pages)
    chunk = scene.chunk_with_block(index)
    choose_block_hints(scene, chunk, index)
    assume((chunk.md_blocks[index].scan_hint > 0) == with_scan)
    return _refreshed(scene, chunk, index) or hints_wrong(
        scene, chunk, blocks=(index,), whole=False
    )


@obligation(
    "HINT-3",
    "hints.Hints.block_refresh_hint",
    words=ANY_BLOCK + "; any bit of the contig_hint used",
    small=Size(1, 8),
    large=Size(3, 8),
    variants=("reference",),
    refuted=("linux_6_12",),
)
def right_edge_of_refreshed_block(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A refreshed block knows its right edge exactly."""
    scene = Scene(cls, choose, size)
    index = choose.number(size.pages)
    chunk = scene.chunk_with_block(index)
    choose_block_hints(scene, chunk, index, exact_right=True)
    wrong = _refreshed(scene, chunk, index) or hints.block_right_is_exact(
        chunk, index, scene.geometry
    )
    return wrong and f"HINT-3: {wrong}"


@obligation(
    "HINT-1",
    "hints.Hints.chunk_refresh_hint",
    words=CHUNKS + "; a full scan, or one behind scan_hint",
    small=Size(3, 2),
    large=Size(3, 4),
    variants=BOTH,
)
def refresh_chunk(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A refreshed chunk claims only free runs; fixed, the longest there is."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    choose_chunk_hints(scene, chunk)
    md = chunk.chunk_md
    full = bool(choose.number(2))
    if not full:  # asked for when an allocation has broken contig_hint: use a bit of it
        assume(md.contig_hint)
        at = md.contig_hint_start + choose.number(md.contig_hint)
        assume(not md.scan_hint or not 0 <= at - md.scan_hint_start < md.scan_hint)
        chunk.alloc_map[at] = 1
        with choose.plain():
            scene.refill(chunk)
    return MethodCall(scene, "chunk_refresh_hint", chunk, full).run() or hints_wrong(
        scene, chunk, blocks=(), whole=True
    )


@obligation(
    "HINT-1",
    "hints.Hints.block_update_scan",
    words=BLOCKS + "; any run that a search skipped",
    small=Size(3, 2),
    large=Size(2, 4),
    variants=BOTH,
)
def enter_skipped_run(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A run that an aligned search skipped, widened to its left, leaves valid hints."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    start = choose.number(chunk.map_bits)
    assume(not chunk.alloc_map[start])
    end = chunk.alloc_map.find(1, start)
    end = chunk.map_bits if end < 0 else end
    index = start // size.bits
    choose_block_hints(scene, chunk, index)
    return MethodCall(
        scene, "block_update_scan", chunk, start, end - start
    ).run() or hints_wrong(scene, chunk, blocks=range(size.pages), whole=False)
