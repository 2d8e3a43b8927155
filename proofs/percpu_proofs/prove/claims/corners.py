"""Corners that the other obligations are too small for: blocks of 4 bits, and a float just high."""

from __future__ import annotations

from percpu_contracts.clauses import hints, reclaim
from percpu_proofs.prove.claims.hints import any_runs
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.variants import Allocator

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
BESIDE = (
    "a block of {bits} map bits, any bits used, exact hints; {pages} blocks in all, the others "
    "free, full or used at one end"
)
ANY_BITS = "a chunk of {pages} pages with {bits} map bits each, any bits used, exact hints"
PAGES = (
    "a chunk of {pages} pages, each unpopulated, empty or used; up to 2 empty pages elsewhere, "
    "HIGH is 2"
)


@obligation(
    "FIT-2",
    "fit.Fit.next_fit_region",
    words=BESIDE + "; every length, aligned to a page",
    small=Size(2, 4),
    large=Size(3, 4),
)
def aligned_region(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A region found for an aligned request holds it."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_with_block()
    nr = 1 + choose.number(chunk.map_bits)
    return MethodCall(scene, "next_fit_region", chunk, nr, size.bits, 0).run()


@obligation(
    "FIT-1",
    "fit.Fit.find_block_fit",
    "fit.Fit.next_fit_region",
    words=ANY_BITS + "; a request for its longest run",
    small=Size(2, 4),
    large=Size(3, 4),
    variants=("reference",),
)
def longest_run_is_found(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A request for the longest run there is does not miss it."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    assume(chunk.chunk_md.contig_hint)
    return MethodCall(scene, "find_block_fit", chunk, chunk.chunk_md.contig_hint, 1, False).run()


@obligation(
    "HINT-5",
    "hints.Hints.chunk_refresh_hint",
    words=ANY_BITS + "; a full scan",
    small=Size(2, 4),
    large=Size(3, 4),
    variants=BOTH,
)
def full_scan_finds_the_longest(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Where the blocks know their runs, a full scan finds the longest that lies in a block."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    chunk.chunk_md.contig_hint = chunk.chunk_md.contig_hint_start = 0
    wrong = MethodCall(scene, "chunk_refresh_hint", chunk, True).run()
    short = hints.chunk_hint_is_close(chunk, scene.geometry)
    return wrong or (short and f"HINT-5: {short}")


@obligation(
    "HINT-6",
    "hints.Hints.block_update",
    words="a block of {bits} bits: any ordered hints in which no run before scan_hint is longer; "
    "any run entered, whole runs all",
    small=Size(1, 6),
    large=Size(1, 6),
    variants=("reference",),
)
def no_longer_run_before_scan_hint(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A run entered before a scan_hint and longer takes its place, so a refresh misses none."""
    scene = Scene(cls, choose, Size(4, 1))
    block, start, end = any_runs(choose, size.bits)
    assume(hints.hint_is_ordered(block) is None)
    scene.allocator.block_update(block, start, end)
    scan = block.scan_hint
    if scan and start < block.scan_hint_start and end - start > scan:
        return f"HINT-6: {end - start} bits at {start} before a scan_hint of {scan}"
    return None


@obligation(
    "RCL-1",
    "backing.VmBacking.should_reclaim_chunk",
    words=PAGES,
    small=Size(3, 2),
    large=Size(7, 1),
)
def float_stays_high(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk qualifies for reclaim only if the float stays at HIGH without it."""
    scene = Scene(cls, choose, size, first_empty=choose.number(3), empty_high=2)
    chunk = scene.put(scene.chunk_of_pages())
    return MethodCall(scene, "should_reclaim_chunk", chunk).run()


@obligation(
    "RCL-1",
    "operations.Operations.check_freed_chunk",
    words=PAGES,
    small=Size(3, 2),
    large=Size(7, 1),
)
def free_isolates_with_restraint(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A free isolates its chunk only if the float stays at HIGH without it."""
    scene = Scene(cls, choose, size, first_empty=choose.number(3), empty_high=2)
    allocator = scene.allocator
    chunk = scene.put(scene.chunk_of_pages())
    before = allocator.nr_empty_pop_pages
    allocator.check_freed_chunk(chunk)
    wrong = reclaim.float_stays_high(before, allocator.nr_empty_pop_pages, scene.geometry)
    return (wrong and f"RCL-1: {wrong}") or scene.wrong()
