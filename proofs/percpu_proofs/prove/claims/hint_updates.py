"""Hints over allocations and frees, from any valid hints to valid hints again."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_contracts.clauses import hints
from percpu_proofs.prove.small.case import ask
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
    start, end = scene.pick(_free_ranges(scene, chunk))
    chunk.alloc_map[start:end] = b"\1" * (end - start)
    if start == chunk.chunk_md.first_free:
        first = chunk.alloc_map.find(0, end)
        chunk.chunk_md.first_free = chunk.map_bits if first < 0 else first
    call(scene, "block_update_hint_alloc", chunk, start, end - start, only=only)


def _free(scene: Scene, chunk: Chunk, *only: str) -> None:
    """Free any used range of a chunk and bring the hints up to date."""
    start, end = scene.pick(_used_ranges(chunk))
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
@obligation(
    "HINT-1",
    "Hints.block_update_hint_alloc block_refresh_hint",
    words=ANY_BLOCK + ALLOCATED,
    sizes=((2, 4), (3, 4)),
    variants=BOTH,
    name="alloc-over-an-edge",
)
def alloc_in_a_block(scene: Scene) -> None:
    """Block hints stay valid over an allocation, and empty pages are counted (POP-1).

    It may reach over the next blocks.
    """
    chunk = _any_block(scene)
    _alloc(scene, chunk, "HINT-1", "POP-1")
    judge_hints(scene, chunk)


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
@obligation(
    "HINT-1",
    "Hints.block_update_hint_free",
    words=ANY_BLOCK + FREED,
    sizes=((2, 4), (3, 4)),
    variants=BOTH,
    name="free-over-an-edge",
)
def free_in_a_block(scene: Scene) -> None:
    """Block hints stay valid over a free, and emptied pages are counted (POP-1).

    It may reach over the next blocks.
    """
    chunk = _any_block(scene)
    _free(scene, chunk, "HINT-1", "POP-1")
    judge_hints(scene, chunk)


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
