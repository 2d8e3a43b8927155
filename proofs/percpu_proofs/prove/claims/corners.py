"""Corners that the other obligations are too small for: blocks of 4 bits, and a float just high."""

from __future__ import annotations

from percpu_contracts.clauses import hints, reclaim
from percpu_proofs.prove.claims.hints import NO_CHUNK, any_runs
from percpu_proofs.prove.small.case import ask, claim
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import BOTH, obligation
from percpu_proofs.prove.small.scene import BITS, BLOCK, OTHERS, PAGES, Scene
from percpu_proofs.run.choices import assume

EXACT = BITS + ", exact hints"
JUST_HIGH = PAGES + "; up to 2 empty pages elsewhere, HIGH is 2"


@obligation(
    "FIT-2",
    "fit.Fit.next_fit_region",
    words=BLOCK + ", exact hints" + OTHERS + "; every length, aligned to a page",
    sizes=((2, 4), (3, 4)),
)
def aligned_region(scene: Scene) -> None:
    """A region found for an aligned request holds it."""
    chunk = scene.chunk_with_block()
    nr = 1 + scene.choose.number(chunk.map_bits)
    call(scene, "next_fit_region", chunk, nr, scene.size.bits, 0)


@obligation(
    "FIT-1",
    "fit.Fit.find_block_fit",
    "fit.Fit.next_fit_region",
    words=EXACT + "; a request for its longest run",
    sizes=((2, 4), (3, 4)),
    variants=("reference",),
)
def longest_run_is_found(scene: Scene) -> None:
    """A request for the longest run there is does not miss it."""
    chunk = scene.chunk_of_bits()
    assume(chunk.chunk_md.contig_hint)
    call(scene, "find_block_fit", chunk, chunk.chunk_md.contig_hint, 1, False)


@obligation(
    "HINT-5",
    "hints.Hints.chunk_refresh_hint",
    words=EXACT + "; a full scan",
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
    "hints.Hints.block_update",
    words="a block of {bits} bits: any ordered hints in which no run before scan_hint is longer; "
    "any run entered, whole runs all",
    sizes=((1, 6), (1, 6)),
    variants=("reference",),
    shape=NO_CHUNK,
)
def no_longer_run_before_scan_hint(scene: Scene) -> None:
    """A run entered before a scan_hint and longer takes its place, so a refresh misses none."""
    block, start, end = any_runs(scene)
    assume(hints.hint_is_ordered(block) is None)
    scene.allocator.block_update(block, start, end)
    scan, length = block.scan_hint, end - start
    claim(
        "HINT-6",
        not scan or start >= block.scan_hint_start or length <= scan,
        f"{length} bits at {start} before a scan_hint of {scan}",
    )


@obligation(
    "RCL-1",
    "backing.VmBacking.should_reclaim_chunk",
    words=JUST_HIGH,
    sizes=((3, 2), (7, 1)),
    first_empty=range(3),
    empty_high=2,
)
def float_stays_high(scene: Scene) -> None:
    """A chunk qualifies for reclaim only if the float stays at HIGH without it."""
    call(scene, "should_reclaim_chunk", scene.put(scene.chunk_of_pages()))


@obligation(
    "RCL-1",
    "operations.Operations.check_freed_chunk",
    words=JUST_HIGH,
    sizes=((3, 2), (7, 1)),
    first_empty=range(3),
    empty_high=2,
)
def free_isolates_with_restraint(scene: Scene) -> None:
    """A free isolates its chunk only if the float stays at HIGH without it."""
    allocator = scene.allocator
    chunk = scene.put(scene.chunk_of_pages())
    before = allocator.nr_empty_pop_pages
    allocator.check_freed_chunk(chunk)
    ask("RCL-1", reclaim.float_stays_high(before, allocator.nr_empty_pop_pages, scene.geometry))
    scene.judge()
