"""Every state of one chunk that allocations and frees, in any order and number, can lead to."""

from __future__ import annotations

from typing import Any, NamedTuple

from percpu_contracts.clauses import hints
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.definitions import longest_free_run, longest_run
from percpu_spec.geometry import Geometry

Areas = tuple[tuple[int, int], ...]
"""First bit and length of each area."""


class Found(NamedTuple):
    """How many states there are, how many steps lead to the farthest, what is wrong in the first
    bad one, and how it was reached: `+length/align` or `-first bit`.
    """

    states: int
    depth: int
    wrong: str | None
    steps: tuple[str, ...]


def every_state(cls: type[Allocator], blocks: int, block_bits: int) -> Found:
    """Visit the states breadth first and judge the hints in each, until none is left or one is bad.

    The chunk is populated and on no list. Every length and every alignment up to a block is asked
    for, with no limit on the depth.
    """
    page = block_bits * 4
    unit = blocks * page
    allocator: Any = build(
        cls, Geometry(page=page, unit=unit, static=4, reserved=0, dyn=4, least_unit=unit, cpus=1)
    )
    allocator.spin_lock()
    chunk = allocator.alloc_chunk()
    chunk.isolated = True  # lists are not looked at
    aligns = [1 << shift for shift in range(block_bits.bit_length())]
    level: list[tuple[Chunk, Areas, tuple[str, ...]]] = [(chunk, (), ())]
    met = {_key(chunk, ())}
    depth = -1
    while level:
        depth += 1
        behind: list[tuple[Chunk, Areas, tuple[str, ...]]] = []
        for chunk, areas, steps in level:
            for after, left, step in _steps(allocator, chunk, areas, aligns):
                if after is None:
                    return Found(len(met), depth, "FIT-1", (*steps, step))
                key = _key(after, left)
                if key not in met:
                    met.add(key)
                    wrong = _wrong(after, allocator.geometry)
                    if wrong is not None:
                        return Found(len(met), depth, wrong, (*steps, step))
                    behind.append((after, left, (*steps, step)))
        level = behind
    return Found(len(met), depth, None, ())


def _steps(allocator: Any, chunk: Chunk, areas: Areas, aligns: list[int]) -> Any:
    """Yield (chunk, areas, step) for every allocation and free; no chunk for a false miss."""
    longest = longest_run(chunk)
    for bits in range(1, chunk.map_bits + 1):
        for align in aligns:
            step = f"+{bits}/{align}"
            off = allocator.find_block_fit(chunk, bits, align, False)
            if off < 0:
                if align == 1 and bits <= longest:
                    yield None, areas, step
                continue
            after = chunk.clone()
            taken = allocator.alloc_area(after, bits, align, off) // allocator.granule
            assert taken >= 0
            yield after, tuple(sorted((*areas, (taken, bits)))), step
    for area in areas:
        after = chunk.clone()
        allocator.free_area(after, area[0] * allocator.granule)
        yield after, tuple(other for other in areas if other != area), f"-{area[0]}"


def _key(chunk: Chunk, areas: Areas) -> Any:
    blocks = tuple(tuple(block.as_list()) for block in chunk.md_blocks)
    return areas, tuple(chunk.chunk_md.as_list()), blocks


def _wrong(chunk: Chunk, geometry: Geometry) -> str | None:
    """Return what is wrong with the hints: HINT-1 to HINT-8, or a run passed over."""
    for judge in (hints.hints_are_sound, hints.left_is_exact, hints.right_is_exact):
        if wrong := judge(chunk, geometry):
            return wrong
    for asked in (hints.hints_are_longest, hints.emptiness_shows):
        if wrong := asked(chunk, geometry):
            return wrong
    return hints.hints_are_ordered(chunk, geometry) or passed_over(chunk, geometry.block_bits)


def passed_over(chunk: Any, block_bits: int) -> str | None:
    """Say where a run before a scan_hint is longer: the statement that makes contig_hint exact."""
    known = [(0, chunk.chunk_md)]
    known += [(index * block_bits, block) for index, block in enumerate(chunk.md_blocks)]
    for base, block in known:
        if block.scan_hint:
            at, length = longest_free_run(chunk.alloc_map, base, base + block.scan_hint_start)
            if length > block.scan_hint:
                return f"{length} bits free at {at}, before a scan_hint of {block.scan_hint} bits"
    return None
