"""A map of bytes and its twin, a list of booleans, are the same map: whole runs agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_state import SMALL, Bools
from workloads import Scene, boot, scenes

from percpu_proofs.run.driver import Driver
from percpu_reference.chunk import Chunk
from percpu_reference.fit import Fit
from percpu_reference.variants import Allocator, build, with_backing
from percpu_reference.variants.linux_6_12 import Linux612

STEPS = 350


class TwinChunk(Chunk):
    """A chunk whose maps are lists of booleans, as symbolic harnesses use them."""

    __slots__ = ()

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.alloc_map: Any = Bools(map(bool, self.alloc_map))
        self.bound_map: Any = Bools(map(bool, self.bound_map))
        self.populated: Any = Bools(map(bool, self.populated))


def contents(allocator: Allocator) -> list[object]:
    """Return all that an allocator holds, maps as bytes and chunks by their ids."""
    held: list[object] = [(head.slot, chunk.id) for head in allocator.chunk_lists for chunk in head]
    held.append((allocator.nr_empty_pop_pages, allocator.nr_populated, allocator.work_pending))
    for chunk in allocator.chunks():
        held.append((chunk.id, chunk.isolated, chunk.free_bytes, chunk.nr_populated))
        held.append((chunk.nr_empty_pop_pages, chunk.chunk_md.as_list()))
        held.append([block.as_list() for block in chunk.md_blocks])
        held.extend(bytes(bits) for bits in (chunk.alloc_map, chunk.bound_map, chunk.populated))
    return held


class Twin(Linux612):
    """The allocator with such chunks."""

    __slots__ = ()

    CHUNK = TwinChunk


def states(scene: Scene, cls: type[Allocator], kind: type[Chunk]) -> list[list[object]]:
    """Return the contents after each of the first operations of a scene; chunks are of a kind."""
    machine = Driver(boot(with_backing(cls, scene.geometry.backing), scene.geometry))
    found = []
    for n in range(STEPS):
        machine.run(scene.listed, n, n + 1)
        found.append(contents(machine.allocator))
    assert {type(chunk) for chunk in machine.allocator.chunks()} == {kind}
    return found


@pytest.mark.parametrize("scene", scenes(), ids=[scene.name for scene in scenes()])
def test_runs_agree(scene: Scene) -> None:
    wanted = states(scene, Linux612, Chunk)
    for n, found in enumerate(states(scene, Twin, TwinChunk)):
        assert found == wanted[n], f"after operation {n + 1}"


def kernels_zero_area(
    bits: bytearray, size: int, start: int, nr: int, align_mask: int
) -> tuple[int, int, int]:
    """Return what the model's find_zero_area is to return, by the kernel's loop, round by round."""
    largest = (0, 0)
    while True:
        index = bits.find(0, start, size)
        index = (size if index < 0 else index) + align_mask & ~align_mask
        if index + nr > size:
            return -1, *largest
        used = bits.find(1, index, index + nr)
        if used < 0:
            return index, *largest
        off, length = largest
        better = not index or (index & -index) > (off & -off)
        if used - index > length or (used - index == length and off and better):
            largest = (index, used - index)
        start = used + 1


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_rounds_that_skip_nothing_may_be_left_out(data: st.DataObject) -> None:
    bits = bytearray(data.draw(st.lists(st.integers(0, 1), min_size=8, max_size=40)))
    start, size = (data.draw(st.integers(0, len(bits))) for _ in range(2))
    nr, align_mask = data.draw(st.integers(1, 5)), data.draw(st.sampled_from((0, 1, 3, 7)))
    allocator = build(Linux612, SMALL)
    chunk = allocator.first_chunk
    chunk.alloc_map = bits
    index, *largest = Fit.find_zero_area(allocator, chunk, size, start, nr, align_mask)
    found = index if index + nr <= size else -1
    assert (found, *largest) == kernels_zero_area(bits, size, start, nr, align_mask)
