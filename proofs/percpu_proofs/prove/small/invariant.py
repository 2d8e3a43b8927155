"""The invariant of the hints, variant by variant, and every state of hints that it allows.

Of every variant: hints name whole free runs, left_free and first_free are exact, a free block shows
as one. A variant that is held to more adds it: right_free exact (HINT-3), scan_hint in order
(HINT-4), contig_hint the longest run (HINT-6), with the statement that makes that inductive: no
run before a scan_hint is longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product

from percpu_contracts.clauses import hints
from percpu_proofs.prove.small.case import BrokenError
from percpu_proofs.prove.small.scene import Scene
from percpu_reference.chunk import Block, Chunk
from percpu_spec.definitions import free_runs, longest_free_run

ANY_BLOCK = (
    "a block of {bits} map bits, any bits used, any valid hints, of {pages} in a chunk; the others "
    "free, full or used at one end"
)
"""The bound of an obligation on a scene's `chunk_with_block` and `choose_block_hints`."""


def judge_hints(
    scene: Scene, chunk: Chunk, *, blocks: Iterable[int] | None = None, whole: bool = False
) -> None:
    """Ask the variant's invariant of blocks, all unless told, and if whole of the chunk's hints.

    Raises BrokenError.
    """
    for wrong in _broken(scene, chunk, range(chunk.nr_pages) if blocks is None else blocks, whole):
        raise BrokenError(wrong)


def _broken(scene: Scene, chunk: Chunk, blocks: Iterable[int], whole: bool) -> Iterator[str]:
    geometry, allocator = scene.geometry, scene.allocator
    gone = {*allocator.EXPECTED, *allocator.NOT_APPLICABLE}
    for index in blocks:
        for clause, found in (
            ("HINT-1", hints.block_hints_are_sound(chunk, index, geometry)),
            ("HINT-2", hints.block_left_is_exact(chunk, index, geometry)),
            ("HINT-3", hints.block_right_is_exact(chunk, index, geometry)),
            ("HINT-4", hints.hint_is_ordered(chunk.md_blocks[index])),
            ("HINT-6", hints.block_hint_is_longest(chunk, index, geometry)),
            ("HINT-8", hints.block_emptiness_shows(chunk, index, geometry)),
        ):
            if found and clause not in gone:
                yield f"{clause}: {found}"
        block = chunk.md_blocks[index]
        if block.left_free == block.nr_bits != block.right_free:
            yield f"HINT-8: block {index} is free, its right_free {block.right_free}"
        if "HINT-6" not in gone:
            start = index * geometry.block_bits
            yield from _passed_over(chunk, chunk.md_blocks[index], start)
    if whole:
        for clause, found in (
            ("HINT-1", hints.chunk_hint_is_sound(chunk, geometry)),
            ("HINT-4", hints.hint_is_ordered(chunk.chunk_md)),
            ("HINT-6", hints.chunk_hint_is_longest(chunk, geometry)),
        ):
            if found and clause not in gone:
                yield f"{clause}: {found}"
        if "HINT-6" not in gone:
            yield from _passed_over(chunk, chunk.chunk_md, 0)


def _passed_over(chunk: Chunk, md: Block, base: int) -> Iterator[str]:
    """Yield where a run before a scan_hint is longer, so that a refresh would pass it over."""
    if md.scan_hint:
        at, length = longest_free_run(chunk.alloc_map, base, base + md.scan_hint_start)
        if length > md.scan_hint:
            yield f"HINT-6: {length} bits free at {at}, before a scan_hint of {md.scan_hint} bits"


Run = tuple[int, int]  # first bit and length
Hints = tuple[Run, Run, int]  # contig_hint, scan_hint and right_free


def choose_block_hints(
    scene: Scene, chunk: Chunk, index: int, *, exact_right: bool = False
) -> None:
    """Give a block any hints that the invariant allows."""
    bits = scene.size.bits
    block = chunk.md_blocks[index]
    used = bytes(chunk.alloc_map[index * bits : (index + 1) * bits])
    key = type(scene.allocator), used, exact_right
    if key not in _ALLOWED:  # the same block is met in very many cases
        _ALLOWED[key] = _allowed_hints(scene, chunk, index, exact_right)
    _enter(block, *scene.pick(_ALLOWED[key]))


_ALLOWED: dict[object, list[Hints]] = {}
"""Hints that a block may have, by variant, its bits, and whether right_free is exact."""


def _allowed_hints(
    scene: Scene, chunk: Chunk, index: int, exact_right: bool
) -> list[Hints]:
    """Return the contig_hint, scan_hint and right_free that the invariant allows a block."""
    bits = scene.size.bits
    base = index * bits
    block = chunk.md_blocks[index]
    runs = [(at - base, end - at) for at, end in free_runs(chunk.alloc_map, base, base + bits)]
    rights = {block.right_free} if exact_right else {block.right_free, 0}
    return _valid_hints(block, runs, rights, lambda: _broken(scene, chunk, (index,), False))


def _valid_hints(
    block: Block, runs: list[Run], rights: Iterable[int], broken: Callable[[], Iterable[str]]
) -> list[Hints]:
    """Return contig_hint, scan_hint and right_free, of these, with which nothing is broken."""
    valid = []
    for contig, scan, right in product(runs or [(0, 0)], [(0, 0), *runs], rights):
        _enter(block, contig, scan, right)
        if scan[1] <= contig[1] and not any(broken()):
            valid.append((contig, scan, right))
    return valid


def choose_chunk_hints(scene: Scene, chunk: Chunk) -> None:
    """Give a chunk any hints that the invariant allows: whole runs, or their part in a block."""
    md, bits = chunk.chunk_md, scene.size.bits
    runs = {(at, end - at) for at, end in free_runs(chunk.alloc_map)}
    if "HINT-6" in scene.allocator.NOT_APPLICABLE:
        for base in range(0, chunk.map_bits, bits):
            inside = free_runs(chunk.alloc_map, base, base + bits)
            runs |= {(at, end - at) for at, end in inside}
    valid = _valid_hints(
        md, sorted(runs), [md.right_free], lambda: _broken(scene, chunk, (), True)
    )
    _enter(md, *scene.pick(valid))


def _enter(block: Block, contig: Run, scan: Run, right: int) -> None:
    block.contig_hint_start, block.contig_hint = contig
    block.scan_hint_start, block.scan_hint = scan
    block.right_free = right
