"""Hints over allocations and frees, from any valid hints to valid hints again."""

from __future__ import annotations

from collections.abc import Iterator

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
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.definitions import free_runs

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
CHUNKS = "a chunk of {pages} pages with {bits} map bits each, any bits used, any valid chunk hints"


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
    call = MethodCall(
        scene, "block_update_hint_alloc", chunk, start, end - start, only=only
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
    return MethodCall(
        scene, "block_update_hint_free", chunk, start, end - start, only=only
    ).run()


KEPT = ("HINT-1", "POP-1")


@obligation(
    "HINT-1",
    "hints.Hints.block_update_hint_alloc",
    "hints.Hints.block_refresh_hint",
    words=ANY_BLOCK + "; any area allocated that a search can choose",
    small=Size(1, 8),
    large=Size(2, 8),
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
    "hints.Hints.block_refresh_hint",
    words=ANY_BLOCK + "; any area allocated that a search can choose",
    small=Size(2, 4),
    large=Size(3, 4),
    variants=BOTH,
)
def alloc_over_an_edge(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Block hints stay valid over an allocation that may reach over the next blocks."""
    return alloc_in_a_block(cls, choose, size)


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
    words=ANY_BLOCK + "; any used range freed",
    small=Size(1, 8),
    large=Size(2, 8),
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
    words=ANY_BLOCK + "; any used range freed",
    small=Size(2, 4),
    large=Size(3, 4),
    variants=BOTH,
)
def free_over_an_edge(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Block hints stay valid over a free that may reach over the next blocks."""
    return free_in_a_block(cls, choose, size)


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
