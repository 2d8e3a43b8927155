"""Hints over allocations and frees, from any valid hints to valid hints again."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_contracts.clauses import hints, reclaim
from percpu_proofs.prove.claims.hints import NO_CHUNK, any_runs
from percpu_proofs.prove.small.case import ask, claim
from percpu_proofs.prove.small.invariant import (
    ANY_BLOCK,
    choose_block_hints,
    choose_chunk_hints,
    judge_hints,
)
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import BOTH, obligation
from percpu_proofs.prove.small.scene import BITS, BLOCK, OTHERS, PAGES, Scene
from percpu_proofs.run.choices import assume
from percpu_reference.chunk import Chunk
from percpu_spec.definitions import free_runs

CHUNKS = BITS + ", any valid chunk hints"
ALLOCATED = "; any area allocated that a search can choose"
FREED = "; any used range freed"


def _free_ranges(scene: Scene, chunk: Chunk) -> Iterator[tuple[int, int]]:
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


def _used_ranges(chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Yield every used range."""
    bits = bytes(chunk.alloc_map)
    for start in range(len(bits)):
        for end in range(start + 1, len(bits) + 1):
            if not bits[end - 1]:
                break
            yield start, end


def _alloc(scene: Scene, chunk: Chunk, *only: str) -> None:
    """Use any free range of a chunk and bring the hints up to date."""
    areas = list(_free_ranges(scene, chunk))
    assume(areas)
    start, end = scene.choose.pick(areas)
    chunk.alloc_map[start:end] = b"\1" * (end - start)
    if start == chunk.chunk_md.first_free:
        first = chunk.alloc_map.find(0, end)
        chunk.chunk_md.first_free = chunk.map_bits if first < 0 else first
    call(scene, "block_update_hint_alloc", chunk, start, end - start, only=only)


def _free(scene: Scene, chunk: Chunk, *only: str) -> None:
    """Free any used range of a chunk and bring the hints up to date."""
    areas = list(_used_ranges(chunk))
    assume(areas)
    start, end = scene.choose.pick(areas)
    chunk.alloc_map[start:end] = bytes(end - start)
    chunk.chunk_md.first_free = min(chunk.chunk_md.first_free, start)
    call(scene, "block_update_hint_free", chunk, start, end - start, only=only)


def _any_block(scene: Scene) -> Chunk:
    """Return a listed chunk whose first block has any bits and valid hints."""
    chunk = scene.put(scene.chunk_with_block())
    choose_block_hints(scene, chunk, 0)
    return chunk


def _any_chunk(scene: Scene) -> Chunk:
    """Return a listed chunk with any bits and valid hints of its own."""
    chunk = scene.put(scene.chunk_of_bits())
    choose_chunk_hints(scene, chunk)
    return chunk


@obligation(
    "HINT-1",
    "Hints.block_update_hint_alloc block_refresh_hint",
    words=ANY_BLOCK + ALLOCATED,
    sizes=((1, 8), (2, 8)),
    variants=BOTH,
)
def alloc_in_a_block(scene: Scene) -> None:
    """Block hints stay valid over an allocation, and empty pages are counted (POP-1)."""
    chunk = _any_block(scene)
    _alloc(scene, chunk, "HINT-1", "POP-1")
    judge_hints(scene, chunk)


@obligation(
    "HINT-1",
    "Hints.block_update_hint_alloc block_refresh_hint",
    words=ANY_BLOCK + ALLOCATED,
    sizes=((2, 4), (3, 4)),
    variants=BOTH,
)
def alloc_over_an_edge(scene: Scene) -> None:
    """Block hints stay valid over an allocation that may reach over the next blocks."""
    alloc_in_a_block(scene)


@obligation(
    "HINT-1",
    "Hints.block_update_hint_alloc",
    words=CHUNKS + ALLOCATED,
    sizes=((3, 2), (4, 2)),
    variants=BOTH,
)
def alloc_across_blocks(scene: Scene) -> None:
    """Chunk hints stay valid over an allocation across blocks, and empty pages are counted."""
    chunk = _any_chunk(scene)
    _alloc(scene, chunk, "HINT-1", "POP-1")
    judge_hints(scene, chunk, whole=True)


@obligation(
    "HINT-1",
    "Hints.block_update_hint_free",
    words=ANY_BLOCK + FREED,
    sizes=((1, 8), (2, 8)),
    variants=BOTH,
)
def free_in_a_block(scene: Scene) -> None:
    """Block hints stay valid over a free, and emptied pages are counted (POP-1)."""
    chunk = _any_block(scene)
    _free(scene, chunk, "HINT-1", "POP-1")
    judge_hints(scene, chunk)


@obligation(
    "HINT-1",
    "Hints.block_update_hint_free",
    words=ANY_BLOCK + FREED,
    sizes=((2, 4), (3, 4)),
    variants=BOTH,
)
def free_over_an_edge(scene: Scene) -> None:
    """Block hints stay valid over a free that may reach over the next blocks."""
    free_in_a_block(scene)


@obligation(
    "HINT-1",
    "Hints.block_update_hint_free chunk_update_hint_free",
    words=CHUNKS + FREED,
    sizes=((3, 2), (4, 2)),
    variants=BOTH,
)
def free_across_blocks(scene: Scene) -> None:
    """Chunk hints stay valid over a free across blocks, and emptied pages are counted."""
    chunk = _any_chunk(scene)
    _free(scene, chunk, "HINT-1", "POP-1")
    judge_hints(scene, chunk, whole=True)


@obligation(
    "HINT-5",
    "Hints.block_update_hint_free chunk_update_hint_free",
    words=CHUNKS + FREED,
    sizes=((3, 2), (4, 2)),
    fixed=True,
)
def contig_after_free(scene: Scene) -> None:
    """A chunk whose contig_hint was close to its longest run before a free is so after it."""
    chunk = _any_chunk(scene)
    assume(hints.chunk_hint_is_close(chunk, scene.geometry) is None)
    _free(scene, chunk)
    ask("HINT-5", hints.chunk_hint_is_close(chunk, scene.geometry))


@obligation(
    "HINT-5",
    "Hints.block_update_hint_alloc chunk_refresh_hint",
    words=CHUNKS + ALLOCATED,
    sizes=((3, 2), (4, 2)),
    fixed=True,
)
def contig_after_alloc(scene: Scene) -> None:
    """A chunk whose contig_hint was close to its longest run before an allocation stays so."""
    chunk = _any_chunk(scene)
    assume(hints.chunk_hint_is_close(chunk, scene.geometry) is None)
    _alloc(scene, chunk)
    ask("HINT-5", hints.chunk_hint_is_close(chunk, scene.geometry))


EXACT = BITS + ", exact hints"
JUST_HIGH = PAGES + "; up to 2 empty pages elsewhere, HIGH is 2"


@obligation(
    "FIT-2",
    "Fit.next_fit_region",
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
    "Fit.find_block_fit next_fit_region",
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
    "Hints.chunk_refresh_hint",
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
    "Hints.block_update",
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
    "VmBacking.should_reclaim_chunk",
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
    "Operations.check_freed_chunk",
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
