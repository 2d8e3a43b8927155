"""Hints: entering a run, and refreshing those of a block and of a chunk.

States are arbitrary valid ones: any map, and any hints that the variant's own invariant allows.
What is assumed is what is shown again.
"""

from __future__ import annotations

from percpu_contracts.clauses import hints
from percpu_proofs.prove.small.case import Size, ask, claim
from percpu_proofs.prove.small.invariant import (
    ANY_BLOCK,
    choose_block_hints,
    choose_chunk_hints,
    judge_hints,
)
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import BOTH, obligation
from percpu_proofs.prove.small.scene import BITS, Scene
from percpu_proofs.run.choices import assume
from percpu_reference.chunk import Block, Chunk

NO_CHUNK = Size(4, 1)
"""The shape of a scene for a block that is part of no chunk; the case's size is the block's."""


def _any_runs(scene: Scene) -> tuple[Block, int, int]:
    """Choose a block's hints and a free run to enter, each a whole run, consistent with it."""
    choose, nr_bits = scene.choose, scene.case.bits
    block = Block(nr_bits)
    start, end = scene.range_in(nr_bits)
    known = []
    for _ in range(2):
        at = choose.number(nr_bits)
        length = choose.number(nr_bits - at + 1)
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
    block.first_free = choose.number(nr_bits + 1)
    assume(not contig or block.first_free <= contig_at)
    assume(not scan or block.first_free <= scan_at)
    return block, start, end


@obligation(
    "HINT-1",
    "Hints.block_update",
    words="a block of {bits} bits: any contig_hint, scan_hint and run entered, whole runs all",
    sizes=((1, 8), (1, 9)),
    variants=BOTH,
    shape=NO_CHUNK,
)
def update_block(scene: Scene) -> None:
    """Entering a run keeps hints to runs that are known, the longest of them as contig_hint."""
    nr_bits = scene.case.bits
    block, start, end = _any_runs(scene)
    call(scene, "block_update", block, start, end, only=("HINT-1", "HINT-2"))
    left = end if start == 0 else nr_bits
    claim("HINT-2", block.left_free == left, f"left_free {block.left_free} after a run at {start}")
    right = end - start if end == nr_bits else nr_bits
    wrong = f"right_free {block.right_free} after a run of bits {start}..{end}"
    claim("HINT-3", block.right_free == right, wrong)


@obligation(
    "HINT-4",
    "Hints.block_update",
    words="a block of {bits} bits: any ordered contig_hint and scan_hint, any run entered",
    sizes=((1, 8), (1, 9)),
    shape=NO_CHUNK,
    fixed=True,
)
def order_of_hints(scene: Scene) -> None:
    """If scan_hint lay behind contig_hint exactly when they are equal, it still does."""
    block, start, end = _any_runs(scene)
    assume(hints.hint_is_ordered(block) is None)
    call(scene, "block_update", block, start, end, only=("HINT-4",))


def _any_block(scene: Scene, *, exact_right: bool = False) -> tuple[Chunk, int]:
    """Return a chunk, and the number of a block in it with any bits and any valid hints."""
    index = scene.choose.number(scene.size.pages)
    chunk = scene.chunk_with_block(index)
    choose_block_hints(scene, chunk, index, exact_right=exact_right)
    return chunk, index


def _refresh(scene: Scene, chunk: Chunk, index: int) -> None:
    """Break the contig_hint of a block by using a bit of it, and refresh the block."""
    block, size = chunk.md_blocks[index], scene.size.bits
    assume(block.contig_hint)
    at = block.contig_hint_start + scene.choose.number(block.contig_hint)
    chunk.alloc_map[index * size + at] = 1
    if at == block.first_free:  # as the caller does before
        first = chunk.alloc_map.find(0, index * size + at, (index + 1) * size)
        block.first_free = size if first < 0 else first - index * size
    assume(not 0 <= at - block.scan_hint_start < block.scan_hint)
    block.left_free = min(block.left_free, at)
    call(scene, "block_refresh_hint", chunk, index)


def _refresh_valid(scene: Scene, *, with_scan: bool) -> None:
    """Refresh a block with or without a scan_hint, and judge its hints."""
    chunk, index = _any_block(scene)
    assume((chunk.md_blocks[index].scan_hint > 0) == with_scan)
    _refresh(scene, chunk, index)
    judge_hints(scene, chunk, blocks=(index,))


@obligation(
    "HINT-1",
    "Hints.block_refresh_hint",
    words=ANY_BLOCK + "; with a scan_hint; any bit of the contig_hint used",
    sizes=((1, 8), (3, 8)),
    variants=BOTH,
)
def promote_scan_hint(scene: Scene) -> None:
    """A block that promotes its scan_hint claims only free runs; fixed, it knows its longest."""
    _refresh_valid(scene, with_scan=True)


@obligation(
    "HINT-1",
    "Hints.block_refresh_hint",
    words=ANY_BLOCK + "; no scan_hint; any bit of the contig_hint used",
    sizes=((1, 8), (3, 8)),
    variants=BOTH,
)
def rescan_block(scene: Scene) -> None:
    """A block scanned from its first free bit claims only free runs and knows its longest."""
    _refresh_valid(scene, with_scan=False)


@obligation(
    "HINT-3",
    "Hints.block_refresh_hint",
    words=ANY_BLOCK + "; any bit of the contig_hint used",
    sizes=((1, 8), (3, 8)),
    fixed=True,
)
def right_edge_of_refreshed_block(scene: Scene) -> None:
    """A refreshed block knows its right edge exactly."""
    chunk, index = _any_block(scene, exact_right=True)
    _refresh(scene, chunk, index)
    ask("HINT-3", hints.block_right_is_exact(chunk, index, scene.geometry))


@obligation(
    "HINT-1",
    "Hints.chunk_refresh_hint",
    words=BITS + ", any valid chunk hints; a full scan, or one behind scan_hint",
    sizes=((3, 2), (3, 4)),
    variants=BOTH,
)
def refresh_chunk(scene: Scene) -> None:
    """A refreshed chunk claims only free runs; fixed, the longest there is."""
    chunk = scene.chunk_of_bits()
    choose_chunk_hints(scene, chunk)
    md = chunk.chunk_md
    full = scene.choose.bit()
    if not full:  # asked for when an allocation has broken contig_hint: use a bit of it
        assume(md.contig_hint)
        at = md.contig_hint_start + scene.choose.number(md.contig_hint)
        assume(not 0 <= at - md.scan_hint_start < md.scan_hint)
        chunk.alloc_map[at] = 1
        scene.refill(chunk)
    call(scene, "chunk_refresh_hint", chunk, full)
    judge_hints(scene, chunk, blocks=(), whole=True)


@obligation(
    "HINT-1",
    "Hints.block_update_scan",
    words=BITS + ", any valid block hints; any run that a search skipped",
    sizes=((3, 2), (2, 4)),
    variants=BOTH,
)
def enter_skipped_run(scene: Scene) -> None:
    """A run that an aligned search skipped, widened to its left, leaves valid hints."""
    chunk = scene.chunk_of_bits()
    start = scene.choose.number(chunk.map_bits)
    assume(not chunk.alloc_map[start])
    end = chunk.alloc_map.find(1, start)
    end = chunk.map_bits if end < 0 else end
    choose_block_hints(scene, chunk, start // scene.size.bits)
    call(scene, "block_update_scan", chunk, start, end - start)
    judge_hints(scene, chunk)


@obligation(
    "HINT-5",
    "Hints.chunk_refresh_hint",
    words=BITS + ", exact hints; a full scan",
    sizes=((2, 4), (3, 4)),
    variants=BOTH,
)
def full_scan_finds_the_longest(scene: Scene) -> None:
    """Where the blocks know their runs, a full scan finds the longest that lies in a block."""
    chunk = scene.chunk_of_bits()
    chunk.chunk_md.contig_hint = chunk.chunk_md.contig_hint_start = 0
    call(scene, "chunk_refresh_hint", chunk, True)
    ask("HINT-5", hints.chunk_hint_is_close(chunk, scene.geometry))


@obligation(
    "HINT-6",
    "Hints.block_update",
    words="a block of {bits} bits: any ordered hints in which no run before scan_hint is longer; "
    "any run entered, whole runs all",
    sizes=((1, 6), (1, 6)),
    variants=("reference",),
    shape=NO_CHUNK,
)
def no_longer_run_before_scan_hint(scene: Scene) -> None:
    """A run entered before a scan_hint and longer takes its place, so a refresh misses none."""
    block, start, end = _any_runs(scene)
    assume(hints.hint_is_ordered(block) is None)
    scene.allocator.block_update(block, start, end)
    scan, length = block.scan_hint, end - start
    claim(
        "HINT-6",
        not scan or start >= block.scan_hint_start or length <= scan,
        f"{length} bits at {start} before a scan_hint of {scan}",
    )
