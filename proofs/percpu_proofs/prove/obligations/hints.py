"""Hints: their update, refresh, and what allocations and frees make of them.

States are arbitrary valid ones: any map, and any hints that the variant's own invariant allows.
What is assumed is what is shown again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from percpu_contracts import hints
from percpu_proofs.prove.choices import Choices
from percpu_proofs.prove.invariant import choose_block_hints, choose_chunk_hints, hints_wrong
from percpu_proofs.prove.judging import Call, Wrong
from percpu_proofs.prove.obligation import Size, obligation
from percpu_proofs.prove.scene import Scene, assume
from percpu_reference.chunk import Block, Chunk
from percpu_reference.variants import Allocator
from percpu_spec.definitions import free_runs

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
BLOCKS = "a chunk of {pages} pages with {bits} map bits each, any bits used, any valid block hints"
BESIDE = (
    "a block of {bits} map bits, any bits used, any valid hints; {pages} blocks in all, the others "
    "free, full or used at one end"
)
CHUNKS = "a chunk of {pages} pages with {bits} map bits each, any bits used, any valid chunk hints"


# one block's hints as plain numbers


def _runs(choose: Choices, nr_bits: int) -> tuple[Block, Any, Any]:
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
    small=Size(1, 64),
    large=Size(1, 3),
    symbols=(1, 8),
    variants=BOTH,
)
def update_block(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Entering a run keeps hints to runs that are known, the longest of them as contig_hint."""
    scene = Scene(cls, choose, Size(4, 1))
    block, start, end = _runs(choose, size.bits)
    call = Call(scene.allocator, "block_update", block, start, end, only=("HINT-1", "HINT-2"))
    wrong = call.run()
    if wrong is not None:
        return wrong
    if (start == 0 and block.left_free != end) or (start > 0 and block.left_free != size.bits):
        return f"HINT-2: left_free {block.left_free} after a run at {start}"
    if end == size.bits and block.right_free != end - start:
        return f"HINT-3: right_free {block.right_free} after a run from {start} to the end"
    return None


@obligation(
    "HINT-4",
    "hints.Hints.block_update",
    words="a block of {bits} bits: any ordered contig_hint and scan_hint, any run entered",
    small=Size(1, 64),
    large=Size(1, 3),
    symbols=(1, 8),
    variants=("reference",),
    refuted=("linux_6_12",),
)
def order_of_hints(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """If scan_hint lay behind contig_hint exactly when they are equal, it still does."""
    scene = Scene(cls, choose, Size(4, 1))
    block, start, end = _runs(choose, size.bits)
    assume(hints.hint_is_ordered(block) is None)
    return Call(scene.allocator, "block_update", block, start, end, only=("HINT-4",)).run()


# refreshes


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
    return Call(scene.allocator, "block_refresh_hint", chunk, index).run()


@obligation(
    "HINT-1",
    "hints.Hints.block_refresh_hint",
    words=BLOCKS + ", a scan_hint among them; any bit of the contig_hint used",
    small=Size(1, 8),
    large=Size(2, 8),
    variants=BOTH,
)
def promote_scan_hint(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A block that promotes its scan_hint claims only free runs; fixed, it knows its longest."""
    return _refresh(cls, choose, size, with_scan=True)


@obligation(
    "HINT-1",
    "hints.Hints.block_refresh_hint",
    words=BLOCKS + ", no scan_hint; any bit of the contig_hint used",
    small=Size(1, 8),
    large=Size(2, 8),
    variants=BOTH,
)
def rescan_block(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A block scanned from its first free bit claims only free runs and knows its longest."""
    return _refresh(cls, choose, size, with_scan=False)


def _refresh(cls: Cls, choose: Choices, size: Size, *, with_scan: bool) -> Wrong:
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    index = choose.number(size.pages)
    choose_block_hints(scene, chunk, index)
    assume((chunk.md_blocks[index].scan_hint > 0) == with_scan)
    return _refreshed(scene, chunk, index) or hints_wrong(
        scene, chunk, blocks=(index,), whole=False
    )


@obligation(
    "HINT-3",
    "hints.Hints.block_refresh_hint",
    words=BLOCKS + "; any bit of the contig_hint used",
    small=Size(1, 8),
    large=Size(1, 8),
    variants=("reference",),
    refuted=("linux_6_12",),
)
def right_edge_of_refreshed_block(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A refreshed block knows its right edge exactly."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    choose_block_hints(scene, chunk, 0, exact_right=True)
    wrong = _refreshed(scene, chunk, 0) or hints.block_right_is_exact(chunk, 0, scene.geometry)
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
    return Call(scene.allocator, "chunk_refresh_hint", chunk, full).run() or hints_wrong(
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
    return Call(
        scene.allocator, "block_update_scan", chunk, start, end - start
    ).run() or hints_wrong(scene, chunk, blocks=(index,), whole=False)


# allocations and frees


def _placed(scene: Scene, chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Yield every free range that a search can take.

    It starts at the first bit, for some alignment, of a free run or of a run's part in a block.
    """
    bits, count = scene.size.bits, chunk.map_bits
    runs = set(free_runs(chunk.alloc_map))
    for base in range(0, count, bits):
        edge = chunk.alloc_map.find(1, base)
        if edge < 0 or edge > base:
            runs.add((base, count if edge < 0 else edge))
    aligns = [1 << shift for shift in range(bits.bit_length())]
    starts = {(-(-start // align) * align, end) for start, end in runs for align in aligns}
    for start, behind in sorted(starts):
        for end in range(start + 1, behind + 1):
            yield start, end


def _used(scene: Scene, chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Yield every used range."""
    bits = bytes(chunk.alloc_map)
    for start in range(len(bits)):
        for end in range(start + 1, len(bits) + 1):
            if not bits[end - 1]:
                break
            yield start, end


def _alloc(scene: Scene, chunk: Chunk, only: tuple[str, ...]) -> Wrong:
    """Use any free range of a chunk and bring the hints up to date."""
    with scene.choose.plain():
        areas = list(_placed(scene, chunk))
    assume(areas)
    start, end = areas[scene.choose.number(len(areas))]
    chunk.alloc_map[start:end] = b"\1" * (end - start)
    if start == chunk.chunk_md.first_free:
        first = chunk.alloc_map.find(0, end)
        chunk.chunk_md.first_free = chunk.map_bits if first < 0 else first
    call = Call(
        scene.allocator, "block_update_hint_alloc", chunk, start, end - start, only=only
    )
    return call.run()


def _free(scene: Scene, chunk: Chunk, only: tuple[str, ...]) -> Wrong:
    """Free any used range of a chunk and bring the hints up to date."""
    with scene.choose.plain():
        areas = list(_used(scene, chunk))
    assume(areas)
    start, end = areas[scene.choose.number(len(areas))]
    chunk.alloc_map[start:end] = bytes(end - start)
    chunk.chunk_md.first_free = min(chunk.chunk_md.first_free, start)
    return Call(
        scene.allocator, "block_update_hint_free", chunk, start, end - start, only=only
    ).run()


KEPT = ("HINT-1", "POP-1")


@obligation(
    "HINT-1",
    "hints.Hints.block_update_hint_alloc",
    words=BESIDE + "; any area allocated that a search can choose",
    small=Size(2, 4),
    large=Size(1, 8),
    variants=BOTH,
)
def alloc_in_a_block(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Block hints stay valid over an allocation, and empty pages are counted (POP-1)."""
    scene = Scene(cls, choose, size)
    chunk = scene.put(scene.chunk_with_block())
    choose_block_hints(scene, chunk, 0)
    return _alloc(scene, chunk, KEPT) or hints_wrong(
        scene, chunk, blocks=range(size.pages), whole=False
    )


@obligation(
    "HINT-1",
    "hints.Hints.block_update_hint_alloc",
    words=CHUNKS + "; any area allocated that a search can choose",
    small=Size(3, 2),
    large=Size(4, 2),
    variants=BOTH,
)
def alloc_across_blocks(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Chunk hints stay valid over an allocation across blocks, and empty pages are counted."""
    scene = Scene(cls, choose, size)
    chunk = scene.put(scene.chunk_of_bits())
    choose_chunk_hints(scene, chunk)
    return _alloc(scene, chunk, KEPT) or hints_wrong(
        scene, chunk, blocks=range(size.pages), whole=True
    )


@obligation(
    "HINT-1",
    "hints.Hints.block_update_hint_free",
    words=BESIDE + "; any used range freed",
    small=Size(2, 4),
    large=Size(1, 8),
    variants=BOTH,
)
def free_in_a_block(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Block hints stay valid over a free, and emptied pages are counted (POP-1)."""
    scene = Scene(cls, choose, size)
    chunk = scene.put(scene.chunk_with_block())
    choose_block_hints(scene, chunk, 0)
    return _free(scene, chunk, KEPT) or hints_wrong(
        scene, chunk, blocks=range(size.pages), whole=False
    )


@obligation(
    "HINT-1",
    "hints.Hints.block_update_hint_free",
    "hints.Hints.chunk_update_hint_free",
    words=CHUNKS + "; any used range freed",
    small=Size(3, 2),
    large=Size(4, 2),
    variants=BOTH,
)
def free_across_blocks(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Chunk hints stay valid over a free across blocks, and emptied pages are counted."""
    scene = Scene(cls, choose, size)
    chunk = scene.put(scene.chunk_of_bits())
    choose_chunk_hints(scene, chunk)
    return _free(scene, chunk, KEPT) or hints_wrong(
        scene, chunk, blocks=range(size.pages), whole=True
    )


@obligation(
    "HINT-5",
    "hints.Hints.block_update_hint_free",
    "hints.Hints.chunk_update_hint_free",
    words=CHUNKS + "; any used range freed",
    small=Size(3, 2),
    large=Size(4, 2),
    variants=("reference",),
    refuted=("linux_6_12",),
)
def contig_after_free(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk whose contig_hint was close to its longest run before a free is so after it."""
    scene = Scene(cls, choose, size)
    chunk = scene.put(scene.chunk_of_bits())
    choose_chunk_hints(scene, chunk)
    assume(hints.chunk_hint_is_close(chunk, scene.geometry) is None)
    _free(scene, chunk, ())
    wrong = hints.chunk_hint_is_close(chunk, scene.geometry)
    return wrong and f"HINT-5: {wrong}"


@obligation(
    "HINT-5",
    "hints.Hints.block_update_hint_alloc",
    "hints.Hints.chunk_refresh_hint",
    words=CHUNKS + "; any area allocated that a search can choose",
    small=Size(3, 2),
    large=Size(4, 2),
    variants=("reference",),
    refuted=("linux_6_12",),
)
def contig_after_alloc(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk whose contig_hint was close to its longest run before an allocation stays so."""
    scene = Scene(cls, choose, size)
    chunk = scene.put(scene.chunk_of_bits())
    choose_chunk_hints(scene, chunk)
    assume(hints.chunk_hint_is_close(chunk, scene.geometry) is None)
    _alloc(scene, chunk, ())
    wrong = hints.chunk_hint_is_close(chunk, scene.geometry)
    return wrong and f"HINT-5: {wrong}"
